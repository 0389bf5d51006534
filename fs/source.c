/* From what a person names to a torrent in the engine.
 *
 *   text --(URL)--> http --+
 *     |                    v
 *     +--(path)--> worker: read, parse --> loop: engine_add_* --> saved: done
 *     +--(magnet, hash)-^
 *
 * Parsing runs on a worker: a .torrent may have 80 MB. */
#include "fs/session.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "fs/follow.h"

struct add {
	struct list node; /* in session->adds */
	struct job job;
	struct session *s;
	char *path;     /* owned; to be read, or NULL */
	uint8_t *bytes; /* owned */
	size_t len;
	struct http_request *request; /* under way */

	struct metainfo *mi; /* owned: one of the two, if r is 0 */
	struct magnet *magnet;
	int r;
	char why[SESSION_WHY_SIZE];
	int64_t id;
	bool is_in_engine, is_saved;
	bool is_new; /* the engine did not have it before */
	session_add_fn *done;
	void *arg;
};

static bool has_prefix(const char *text, const char *prefix)
{
	return !strncasecmp(text, prefix, strlen(prefix));
}

static bool is_hash(const char *text)
{
	size_t n = strspn(text, "0123456789abcdefABCDEF");

	return !text[n] && (n == 40 || n == 64);
}

static bool is_url(const char *text)
{
	return has_prefix(text, "http://") || has_prefix(text, "https://");
}

/* Neither a path nor a URL. A file by the name of a hash is a file. */
static bool is_magnet(const char *text)
{
	return has_prefix(text, "magnet:") ||
	       (is_hash(text) && access(text, F_OK) < 0);
}

/* ---- reading and parsing: any thread ---- */

static int read_file(const char *path, uint8_t **out, size_t *len,
		     char why[SESSION_WHY_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	struct buf b;
	ssize_t n = 0;
	int r = 0;

	buf_init(&b, LIMIT_TORRENT_FILE_BYTES + 1);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		snprintf(why, SESSION_WHY_SIZE, "%.300s: %s", path,
			 strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		r = -EBADMSG;
		snprintf(why, SESSION_WHY_SIZE,
			 "%.300s: not a file; a source is a .torrent, a magnet "
			 "link, an infohash or a URL",
			 path);
		goto out;
	}
	do {
		uint8_t *p = buf_reserve(&b, 65536);

		if (!p && b.len <= LIMIT_TORRENT_FILE_BYTES - 65536) {
			r = -ENOMEM;
			goto out;
		}
		n = p ? read(fd, p, 65536) : -1;
		b.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	if (b.is_broken || b.len > LIMIT_TORRENT_FILE_BYTES) {
		r = -E2BIG;
		snprintf(why, SESSION_WHY_SIZE,
			 "%.300s: larger than any .torrent may be", path);
	} else if (n < 0) {
		r = -errno;
		snprintf(why, SESSION_WHY_SIZE, "%.300s: %s", path,
			 strerror(errno));
	} else {
		*out = b.ptr;
		*len = b.len;
		b.ptr = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	buf_release(&b);
	return r;
}

/* A bencoded dict begins with 'd'; everything else is held to be text. */
static int parse(const uint8_t *bytes, size_t len, struct metainfo **mi,
		 struct magnet **magnet, char why[SESSION_WHY_SIZE])
{
	size_t start = 0;

	if (len && bytes[0] == 'd')
		return metainfo_parse(bytes, len, mi, why);
	while (start < len && isspace(bytes[start]))
		start++;
	if (start == len) {
		snprintf(why, SESSION_WHY_SIZE,
			 "empty: neither a torrent nor a magnet link");
		return -EBADMSG;
	}
	if (isxdigit(bytes[start]) ||
	    (len - start > 7 &&
	     !strncasecmp((const char *)bytes + start, "magnet:", 7)))
		return magnet_parse((const char *)bytes, len, magnet, why);
	snprintf(why, SESSION_WHY_SIZE,
		 "not a torrent (it begins with neither \"d\" nor "
		 "\"magnet:\")");
	return -EBADMSG;
}

char *source_instance(const char *text, char why[SESSION_WHY_SIZE])
{
	struct metainfo *mi = NULL;
	struct magnet *magnet = NULL;
	char hex[41], reason[SESSION_WHY_SIZE];
	uint8_t digest[SHA1_LEN], *bytes = NULL;
	struct follow_link link;
	size_t len = 0;
	int r = 0;

	if (is_url(text) || follow_parse(text, &link)) {
		sha1(text, strlen(text), digest);
		return mem_strdup(hex_encode(digest, sizeof(digest), hex));
	}
	if (is_magnet(text)) {
		bytes = (uint8_t *)mem_strdup(text);
		len = strlen(text);
	} else {
		r = read_file(text, &bytes, &len, why);
	}
	if (!r) {
		r = parse(bytes, len, &mi, &magnet, reason);
		if (r < 0)
			snprintf(why, SESSION_WHY_SIZE, "%.200s: %.300s", text,
				 reason);
	}
	if (!r)
		hex_encode(mi ? mi->infohash.b : magnet->infohash.b, 20, hex);
	metainfo_free(mi);
	magnet_free(magnet);
	free(bytes);
	return r < 0 ? NULL : mem_strdup(hex);
}

/* ---- one addition ---- */

static void add_finish(struct add *a, int r, const char *why)
{
	if (r < 0)
		snprintf(a->s->refusal, sizeof(a->s->refusal), "%s", why);
	a->done(a->arg, r, a->id, why);
	list_remove(&a->node);
	metainfo_free(a->mi);
	magnet_free(a->magnet);
	free(a->path);
	free(a->bytes);
	free(a);
}

static void add_fail(struct add *a)
{
	char why[SESSION_WHY_SIZE];

	if (a->path && strncmp(a->why, a->path, strlen(a->path)))
		snprintf(why, sizeof(why), "%.200s: %.300s", a->path, a->why);
	else
		snprintf(why, sizeof(why), "%s",
			 *a->why ? a->why : strerror(-a->r));
	add_finish(a, a->r, why);
}

/* What was refused must not be in the library all the same: adding it again
 * would say that all is well, and the next run would not know it. */
static void forget(struct add *a)
{
	struct torrent *t = engine_by_id(a->s->engine, a->id);

	if (t && a->is_new && !a->s->is_stopping)
		engine_remove(a->s->engine, t, false);
}

/* The engine may say "saved" before it returns; then it waits. */
static void on_saved(void *arg, int r)
{
	struct add *a = arg;
	char why[SESSION_WHY_SIZE] = "";

	a->is_saved = true;
	a->r = r;
	if (a->is_in_engine)
		return;
	if (r < 0) {
		snprintf(why, sizeof(why), "cannot remember the torrent: %s",
			 strerror(-r));
		forget(a);
	}
	add_finish(a, r, why);
}

static const char *engine_says(int r)
{
	switch (r) {
	case -EOPNOTSUPP:
		return "a v2-only torrent: this version needs v1 or hybrid "
		       "ones";
	case -E2BIG:
		return "the library is full";
	default:
		return strerror(-r);
	}
}

static void add_to_engine(struct add *a)
{
	struct engine *e = a->s->engine;
	struct torrent *t = NULL;
	int r;

	a->is_in_engine = true;
	a->is_new = !engine_find(e, a->mi ? &a->mi->infohash
					  : &a->magnet->infohash);
	if (a->mi)
		r = engine_add_metainfo(e, a->mi, &t, on_saved, a);
	else
		r = engine_add_magnet(e, a->magnet, &t, on_saved, a);
	a->mi = NULL;
	a->magnet = NULL;
	a->is_in_engine = false;
	if (t) {
		a->id = torrent_id(t);
		library_put(a->s->library, t);
	}
	if (r < 0 && r != -EEXIST) {
		a->r = r;
		snprintf(a->why, sizeof(a->why), "%s", engine_says(r));
		add_fail(a);
	} else if (a->is_saved) {
		on_saved(a, a->r);
	}
}

static void add_run(struct job *job)
{
	struct add *a = container_of(job, struct add, job);

	if (a->path)
		a->r = read_file(a->path, &a->bytes, &a->len, a->why);
	if (!a->r)
		a->r = parse(a->bytes, a->len, &a->mi, &a->magnet, a->why);
}

static void add_done(struct job *job)
{
	struct add *a = container_of(job, struct add, job);

	if (a->s->is_stopping) {
		a->r = -ESHUTDOWN;
		snprintf(a->why, sizeof(a->why), "shutting down");
	}
	if (a->r < 0)
		add_fail(a);
	else
		add_to_engine(a);
}

static void add_parse(struct add *a)
{
	a->job.run = add_run;
	a->job.done = add_done;
	worker_submit(a->s->workers, LANE_DISK, &a->job);
}

static void fetch_run(struct job *job)
{
	struct add *a = container_of(job, struct add, job);

	if (!a->r)
		a->r = parse(a->bytes, a->len, &a->mi, &a->magnet, a->why);
}

static void on_http(void *arg, const struct http_result *result)
{
	struct add *a = arg;

	a->request = NULL;
	if (result->r < 0 || result->status != 200) {
		a->r = result->r < 0 ? result->r : -ENOENT;
		if (result->r < 0)
			snprintf(a->why, sizeof(a->why), "%.300s", result->why);
		else
			snprintf(a->why, sizeof(a->why),
				 "the server answers HTTP %d", result->status);
		add_fail(a);
		return;
	}
	a->bytes = mem_dup(result->body, result->len);
	a->len = result->len;
	worker_submit(a->s->workers, LANE_DISK, &a->job);
}

static void add_fetch(struct add *a)
{
	struct http_options options = { .max_body = LIMIT_TORRENT_FILE_BYTES };

	a->job.run = fetch_run;
	a->job.done = add_done;
	a->request = http_get(a->s->http, a->path, &options, on_http, a);
	if (a->request)
		return;
	a->r = -EINVAL;
	snprintf(a->why, sizeof(a->why), "not a URL that can be fetched");
	worker_submit(a->s->workers, LANE_DISK, &a->job);
}

static struct add *add_new(struct session *s, session_add_fn *done, void *arg)
{
	struct add *a = mem_alloc(sizeof(*a));

	a->s = s;
	a->done = done;
	a->arg = arg;
	list_push_back(&s->adds, &a->node);
	return a;
}

void session_add(struct session *s, const char *text, session_add_fn *done,
		 void *arg)
{
	struct follow_link link;
	struct add *a;

	if (follow_parse(text, &link)) {
		follows_add(s->follows, &link, done, arg);
		return;
	}
	a = add_new(s, done, arg);
	if (is_magnet(text)) {
		a->bytes = (uint8_t *)mem_strdup(text);
		a->len = strlen(text);
		add_parse(a);
	} else if (is_url(text)) {
		a->path = mem_strdup(text);
		add_fetch(a);
	} else {
		a->path = mem_strdup(has_prefix(text, "file:///") ? text + 7
								  : text);
		add_parse(a);
	}
}

/* A file with nothing but a link to a mutable torrent in it. */
static bool is_link(const uint8_t *bytes, size_t len, struct follow_link *out)
{
	char text[FOLLOW_LINK_MAX];

	if (len >= sizeof(text) || memchr(bytes, 0, len))
		return false;
	memcpy(text, bytes, len);
	text[len] = '\0';
	return follow_parse(text, out);
}

void session_add_bytes(struct session *s, uint8_t *bytes, size_t len,
		       session_add_fn *done, void *arg)
{
	struct follow_link link;
	struct add *a;

	if (is_link(bytes, len, &link)) {
		free(bytes);
		follows_add(s->follows, &link, done, arg);
		return;
	}
	a = add_new(s, done, arg);
	a->bytes = bytes;
	a->len = len;
	add_parse(a);
}

struct entry *session_add_hash(struct session *s, const struct infohash *ih)
{
	struct torrent *t = engine_find(s->engine, ih);
	struct magnet *m;
	char hex[41], why[MAGNET_WHY_SIZE];

	if (!t && !s->is_stopping) {
		hex_encode(ih->b, sizeof(ih->b), hex);
		if (!magnet_parse(hex, 40, &m, why))
			engine_add_magnet(s->engine, m, &t, NULL, NULL);
	}
	return t ? library_put(s->library, t) : NULL;
}

void source_stop(struct session *s)
{
	list_foreach_safe(a, &s->adds, struct add, node) {
		if (!a->request)
			continue; /* its worker or the engine comes back */
		http_cancel(a->request);
		a->r = -ESHUTDOWN;
		snprintf(a->why, sizeof(a->why), "shutting down");
		add_fail(a);
	}
}
