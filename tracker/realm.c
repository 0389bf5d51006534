#include "tracker/realm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/random.h"
#include "tracker/overlay/kt_loop.h"

#define CERTIFICATE_S (365 * 24 * 60 * 60) /* then people make another one */

static int write_all(int fd, const struct buf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t n = write(fd, b->ptr + at, b->len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

int realm_new(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	uint8_t seed[KT_SEED_BYTES];
	struct buf text;
	int r = fd < 0 ? -errno : 0;

	buf_init(&text, 0);
	if (!r) {
		random_bytes(seed, sizeof(seed));
		kt_realm_file_make(seed, &text);
		r = write_all(fd, &text);
		if (!r && fsync(fd))
			r = -errno;
		close(fd);
		if (r) /* half a key is none */
			unlink(path);
	}
	if (r)
		fprintf(stderr, "weir-tracker: %s: %s\n", path, strerror(-r));
	else
		printf("%s: give it to trackers that you trust to let others "
		       "in; for the\nothers: weir-tracker --domain NAME "
		       "--realm-key %s --certify KEY\n",
		       path, path);
	explicit_bzero(seed, sizeof(seed));
	buf_release(&text);
	return r;
}

int realm_certify(const struct tracker_options *options)
{
	struct kt_realm_file realm;
	uint8_t pk[KT_PK_BYTES];
	char why[256];
	struct buf text;
	int r = kt_realm_file_read(options->realm_key, &realm, why,
				   sizeof(why));

	if (!r && !realm.has_secret) {
		snprintf(why, sizeof(why),
			 "%s: holds no key that can certify others",
			 options->realm_key);
		r = -EINVAL;
	}
	if (!r && !hex_decode(options->certify, strlen(options->certify), pk,
			      sizeof(pk))) {
		snprintf(why, sizeof(why),
			 "--certify: 64 hex digits, as a tracker's log says "
			 "them: '%.80s'",
			 options->certify);
		r = -EINVAL;
	}
	if (r) {
		fprintf(stderr, "weir-tracker: %s\n", why);
		return r;
	}
	buf_init(&text, 0);
	kt_realm_file_certify(&realm, options->domain, pk,
			      clock_wall_s() + CERTIFICATE_S, &text);
	r = write_all(STDOUT_FILENO, &text);
	buf_release(&text);
	explicit_bzero(&realm, sizeof(realm));
	return r;
}
