/* Saving. The order of things on disk is what makes it safe:
 *
 * 1. PATH.tmp is written whole and synced. Until then PATH and PATH.1 are as
 *    they were.
 * 2. PATH and PATH.tmp are exchanged in one step: there is always a PATH, and
 *    it is always whole. Where the file system cannot exchange, PATH is linked
 *    to PATH.1 first and then replaced.
 * 3. What is now PATH.tmp, the generation before, becomes PATH.1.
 * 4. The folder is synced.
 *
 * A shard is turned into blocks in memory while its lock is held, and written
 * after. */
#include "tracker/server/statefile_private.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define WRITE_BYTES (256u << 10) /* that are worth a write */
#define CHUNK_PEERS 16384u       /* of one entry */

static_assert(WRITE_BYTES + SWARM_HEAD_BYTES + CHUNK_PEERS * PEER_BYTES_MAX <
		      LIMIT_STATEFILE_BLOCK,
	      "a block is ended in time");

struct writer {
	int fd;
	struct swarms *swarms; /* borrowed */
	uint32_t saved_min;
	struct buf out;      /* blocks, the last one perhaps not ended */
	size_t block;        /* where it begins; out.len: there is none */
	uint32_t num_blocks; /* begun */
	uint64_t torrents, peers;
};

char *statefile_beside(const char *path, const char *suffix)
{
	return mem_printf("%s%s", path, suffix);
}

/* --- blocks --- */

static void begin_block(struct writer *w, enum statefile_block kind)
{
	uint8_t *p = buf_reserve(&w->out, BLOCK_HEAD_BYTES);

	w->block = w->out.len;
	store_be32(p, kind);
	store_be32(p + 4, w->num_blocks++);
	w->out.len += BLOCK_HEAD_BYTES;
}

static void end_block(struct writer *w)
{
	size_t len = w->out.len - w->block;
	uint8_t *p = buf_reserve(&w->out, BLOCK_SUM_BYTES);
	uint8_t *start = w->out.ptr + w->block;

	CHECK(len - BLOCK_HEAD_BYTES <= LIMIT_STATEFILE_BLOCK);
	store_be32(start + 8, (uint32_t)(len - BLOCK_HEAD_BYTES));
	store_be32(p, statefile_sum(start, len));
	w->out.len += BLOCK_SUM_BYTES;
	w->block = w->out.len;
}

static int flush(struct writer *w)
{
	size_t done = 0;

	while (done < w->out.len) {
		ssize_t n = write(w->fd, w->out.ptr + done, w->out.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		done += (size_t)n;
	}
	buf_clear(&w->out);
	w->block = 0;
	return 0;
}

static void put_header(struct writer *w, int64_t wall_s)
{
	uint8_t *p = buf_reserve(&w->out, STATEFILE_HEADER_BYTES);

	memcpy(p, STATEFILE_MAGIC, STATEFILE_MAGIC_SIZE);
	store_be32(p + 8, STATEFILE_VERSION);
	store_be64(p + 12, (uint64_t)wall_s);
	store_be32(p + 20, statefile_sum(p, 20));
	w->out.len += STATEFILE_HEADER_BYTES;
}

static int put_blobs(struct writer *w, const struct statefile_blobs *blobs)
{
	for (uint32_t i = 0; i < STATEFILE_BLOBS; i++) {
		const struct buf *b = &blobs->of[i];
		uint8_t which[4];

		if (!b->len)
			continue;
		if (b->len > LIMIT_STATEFILE_BLOCK - sizeof(which))
			return -E2BIG;
		begin_block(w, BLOCK_BLOB);
		store_be32(which, i);
		buf_add(&w->out, which, sizeof(which));
		buf_add(&w->out, b->ptr, b->len);
		end_block(w);
	}
	return 0;
}

/* --- swarms --- */

static void put_peer(struct writer *w, const struct swarm_record *r)
{
	uint8_t *p = buf_reserve(&w->out, PEER_BYTES_MAX);

	p[0] = (uint8_t)(r->state | (r->peer.family == 6 ? PEER_IS_IPV6 : 0));
	store_be32(p + 1, w->saved_min - r->age_min);
	w->out.len += 5 + addr_to_compact(&r->peer, p + 5);
}

static void put_chunk(struct writer *w, const struct swarm_view *v,
		      unsigned from, unsigned n)
{
	uint8_t *p = buf_reserve(&w->out, SWARM_HEAD_BYTES);

	memcpy(p, v->infohash->b, 20);
	store_be32(p + 20, v->counts.completed);
	store_be32(p + 24, n);
	w->out.len += SWARM_HEAD_BYTES;
	for (unsigned i = from; i < from + n; i++) {
		struct swarm_record r;

		swarm_view_peer(w->swarms, v, i, &r);
		put_peer(w, &r);
	}
	if (w->out.len - w->block >= WRITE_BYTES) {
		end_block(w);
		begin_block(w, BLOCK_SWARMS);
	}
}

static void put_swarm(void *arg, const struct swarm_view *v)
{
	struct writer *w = arg;
	unsigned from = 0;

	do {
		unsigned n = v->num_peers - from;

		n = n < CHUNK_PEERS ? n : CHUNK_PEERS;
		put_chunk(w, v, from, n);
		from += n;
	} while (from < v->num_peers);
	w->torrents++;
	w->peers += v->num_peers;
}

static int put_swarms(struct writer *w)
{
	int r = 0;

	begin_block(w, BLOCK_SWARMS);
	for (unsigned shard = 0; !r && shard < SWARMS_SHARDS; shard++) {
		swarms_visit(w->swarms, shard, put_swarm, w);
		if (w->out.len < WRITE_BYTES)
			continue;
		end_block(w);
		r = flush(w);
		begin_block(w, BLOCK_SWARMS);
	}
	end_block(w);
	return r;
}

static void put_end(struct writer *w)
{
	uint8_t counts[END_BYTES];

	store_be64(counts, w->torrents);
	store_be64(counts + 8, w->peers);
	begin_block(w, BLOCK_END);
	buf_add(&w->out, counts, sizeof(counts));
	end_block(w);
}

static int write_all(struct writer *w, const struct statefile_blobs *blobs,
		     int64_t wall_s)
{
	int r;

	put_header(w, wall_s);
	r = put_blobs(w, blobs);
	if (!r)
		r = put_swarms(w);
	if (r)
		return r;
	put_end(w);
	r = flush(w);
	return r || !fsync(w->fd) ? r : -errno;
}

/* --- files --- */

static int sync_folder(const char *path)
{
	char *copy = mem_strdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

/* The new file is PATH, what was PATH is PATH.1. */
static int put_in_place(const char *path, const char *tmp, const char *previous)
{
	if (!renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE)) {
		int r = sync_folder(path);

		if (!r && rename(tmp, previous))
			r = -errno;
		return r ? r : sync_folder(path);
	}
	if (errno != ENOENT) { /* there is a PATH, and no exchange to be had */
		if (unlink(previous) && errno != ENOENT)
			return -errno;
		if (link(path, previous))
			return -errno;
	}
	return rename(tmp, path) ? -errno : sync_folder(path);
}

static int check_target(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(st.st_mode))
		return 0;
	return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
}

static int save(const char *path, const char *tmp, const char *previous,
		struct writer *w, const struct statefile_blobs *blobs,
		int64_t wall_s)
{
	int r = check_target(path);

	if (r)
		return r;
	w->fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		     0600);
	if (w->fd < 0)
		return -errno;
	r = write_all(w, blobs, wall_s);
	if (close(w->fd) && !r)
		r = -errno;
	if (!r)
		return put_in_place(path, tmp, previous);
	unlink(tmp);
	return r;
}

int statefile_save(const char *path, struct swarms *s,
		   const struct statefile_blobs *blobs, int64_t wall_s,
		   char *why, size_t why_size)
{
	char *tmp = statefile_beside(path, ".tmp");
	char *previous = statefile_beside(path, ".1");
	struct writer w = { .swarms = s, .saved_min = (uint32_t)(wall_s / 60) };
	int r;

	buf_init(&w.out, 0);
	r = save(path, tmp, previous, &w, blobs, wall_s);
	if (r)
		snprintf(why, why_size, "%s: %s", path,
			 r == -EINVAL ? "not a regular file" : strerror(-r));
	buf_release(&w.out);
	free(previous);
	free(tmp);
	return r;
}
