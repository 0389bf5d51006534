/* Goal: no state file, also with sums that are right, makes the loader
 * misbehave, and what is refused leaves nothing behind. The first byte says
 * whether the input is the file as it is, or a list of blocks (kind 1, length
 * 2, payload) that get headers and sums. Files are in memory. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/cursor.h"
#include "tracker/server/statefile_private.h"

#define WALL 1900000020

static void put_be32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4];

	store_be32(bytes, v);
	buf_add(b, bytes, sizeof(bytes));
}

static void put_block(struct buf *b, struct cursor *c, uint32_t sequence)
{
	size_t start = b->len, len;
	struct span s;
	uint32_t kind = cursor_u8(c);

	len = cursor_be16(c);
	s = cursor_span(c, len < cursor_left(c) ? len : cursor_left(c));
	put_be32(b, kind);
	put_be32(b, sequence);
	put_be32(b, (uint32_t)s.len);
	buf_add(b, s.ptr, s.len);
	put_be32(b, statefile_sum(b->ptr + start, b->len - start));
}

static void build(struct buf *b, const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);

	if (!(cursor_u8(&c) & 1)) {
		struct span s = cursor_rest(&c);

		buf_add(b, s.ptr, s.len);
		return;
	}
	buf_add_str(b, "weirtrkr");
	put_be32(b, STATEFILE_VERSION);
	put_be32(b, 0);
	put_be32(b, WALL);
	put_be32(b, statefile_sum(b->ptr, b->len));
	for (uint32_t i = 0; cursor_left(&c); i++)
		put_block(b, &c, i);
}

struct loaded {
	struct swarms *swarms;
	struct statefile_blobs blobs;
	struct statefile_loaded counts;
	struct swarms_stats stats;
	int r;
};

static void load(struct loaded *l, const char *path)
{
	struct swarms_options options = { .max_bytes = 1 << 22,
					  .is_replicated = true };
	char why[200];

	l->swarms = swarms_new(&options, 7200000);
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_init(&l->blobs.of[i], 0);
	l->r = statefile_load(path, l->swarms, &l->blobs, WALL, &l->counts, why,
			      sizeof(why));
	swarms_stats(l->swarms, &l->stats);
	CHECK(!l->r || l->r == -EBADMSG);
	if (l->r) {
		CHECK(!l->stats.torrents && !l->blobs.of[0].len &&
		      !l->blobs.of[1].len);
	}
}

static void release(struct loaded *l)
{
	swarms_free(l->swarms);
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_release(&l->blobs.of[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct loaded l;
	struct buf file;
	char path[64];

	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	buf_init(&file, 0);
	build(&file, data, size);
	CHECK(write(fd, file.ptr, file.len) == (ssize_t)file.len);
	load(&l, path);
	CHECK(l.stats.peers4 + l.stats.peers6 + l.stats.gone <=
	      l.counts.peers * 2);
	release(&l);
	buf_release(&file);
	close(fd);
	return 0;
}
