/* Loading. A file is read twice: once to see that all of it is good, once to
 * take it, so that a bad file leaves nothing behind. Between the two nobody
 * writes into it, for files are replaced, not changed.
 *
 * Ages are shifted by the time that passed since the file was written, by the
 * wall clock; if that runs backwards, by nothing. */
#include "tracker/server/statefile_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/cursor.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define WHY_BYTES 512

struct reader {
	int fd;
	const char *path; /* borrowed, as all but BLOCK */
	bool is_taking;   /* the second time */
	struct swarms *swarms;
	struct statefile_blobs *blobs;
	int64_t wall_s, saved_s;
	uint8_t *block; /* owned; head, payload, sum */
	uint32_t num_blocks;
	struct infohash last; /* of a torrent */
	bool has_last;
	uint64_t torrents, peers, expired;
	char *why; /* WHY_BYTES */
};

#define BLOCK_MAX (BLOCK_HEAD_BYTES + LIMIT_STATEFILE_BLOCK + BLOCK_SUM_BYTES)

__attribute__((format(printf, 2, 3))) static int bad(struct reader *r,
						     const char *format, ...)
{
	int n = snprintf(r->why, WHY_BYTES, "%s: ", r->path);
	va_list args;

	va_start(args, format);
	if (n > 0 && n < WHY_BYTES)
		vsnprintf(r->why + n, (size_t)(WHY_BYTES - n), format, args);
	va_end(args);
	return -EBADMSG;
}

/* Returns 0, or -EBADMSG when there are fewer. */
static int read_full(struct reader *r, void *out, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(r->fd, (uint8_t *)out + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return bad(r, "%s", strerror(errno));
		if (n == 0)
			return bad(r, "cut short in block %u", r->num_blocks);
		done += (size_t)n;
	}
	return 0;
}

static int read_header(struct reader *r)
{
	uint8_t head[STATEFILE_HEADER_BYTES];
	int err = read_full(r, head, sizeof(head));
	uint32_t version;

	if (err)
		return err;
	if (memcmp(head, STATEFILE_MAGIC, STATEFILE_MAGIC_SIZE))
		return bad(r, "not a state file of weir-tracker");
	version = load_be32(head + 8);
	if (version != STATEFILE_VERSION)
		return bad(r, "of version %u, this program reads %u", version,
			   STATEFILE_VERSION);
	if (load_be32(head + 20) != statefile_sum(head, 20))
		return bad(r, "damaged at its beginning");
	r->saved_s = (int64_t)load_be64(head + 12);
	return r->saved_s < 0 ? bad(r, "damaged at its beginning") : 0;
}

/* Returns the kind and its PAYLOAD, or -EBADMSG. */
static int read_block(struct reader *r, struct cursor *payload)
{
	int err = read_full(r, r->block, BLOCK_HEAD_BYTES);
	uint32_t kind, sequence, len;

	if (err)
		return err;
	kind = load_be32(r->block);
	sequence = load_be32(r->block + 4);
	len = load_be32(r->block + 8);
	if (len > LIMIT_STATEFILE_BLOCK)
		return bad(r, "block %u is damaged: %u bytes", r->num_blocks,
			   len);
	err = read_full(r, r->block + BLOCK_HEAD_BYTES, len + BLOCK_SUM_BYTES);
	if (err)
		return err;
	if (load_be32(r->block + BLOCK_HEAD_BYTES + len) !=
	    statefile_sum(r->block, BLOCK_HEAD_BYTES + len))
		return bad(r, "block %u is damaged", r->num_blocks);
	if (sequence != r->num_blocks || kind < BLOCK_BLOB || kind > BLOCK_END)
		return bad(r, "block %u is another's", r->num_blocks);
	*payload = cursor_of(r->block + BLOCK_HEAD_BYTES, len);
	r->num_blocks++;
	return (int)kind;
}

static int take_blob(struct reader *r, struct cursor *c)
{
	uint32_t which = cursor_be32(c);
	struct span s = cursor_rest(c);

	if (c->is_bad || which >= STATEFILE_BLOBS)
		return bad(r, "an unknown blob");
	if (r->is_taking) {
		buf_clear(&r->blobs->of[which]);
		buf_add(&r->blobs->of[which], s.ptr, s.len);
	}
	return 0;
}

static uint64_t age_now(const struct reader *r, uint32_t minute)
{
	uint64_t saved_min = (uint64_t)(r->saved_s / 60), age = 0;

	if (minute < saved_min)
		age = saved_min - minute;
	if (r->wall_s > r->saved_s)
		age += ((uint64_t)r->wall_s - (uint64_t)r->saved_s + 30) / 60;
	return age;
}

static void take_peer(struct reader *r, struct swarm_record *record,
		      uint64_t age)
{
	record->age_min = (uint8_t)age;
	if (age <= UINT8_MAX && swarms_apply(r->swarms, record))
		r->peers++;
	else
		r->expired++;
}

static int read_peer(struct reader *r, struct swarm_record *record,
		     struct cursor *c)
{
	uint8_t state = cursor_u8(c), compact[18];
	uint32_t minute = cursor_be32(c);
	bool is_ipv6 = state & PEER_IS_IPV6;

	cursor_copy(c, compact, is_ipv6 ? 18 : 6);
	state &= (uint8_t)~PEER_IS_IPV6;
	if (c->is_bad || state > SWARM_GONE)
		return bad(r, "block %u makes no sense", r->num_blocks - 1);
	record->state = (enum swarm_state)state;
	if (is_ipv6)
		addr_from_compact6(&record->peer, compact);
	else
		addr_from_compact4(&record->peer, compact);
	if (r->is_taking)
		take_peer(r, record, age_now(r, minute));
	else
		r->peers++;
	return 0;
}

static int take_swarm(struct reader *r, struct cursor *c)
{
	struct swarm_record record = { 0 };
	uint32_t completed, n;

	cursor_copy(c, record.infohash.b, sizeof(record.infohash.b));
	completed = cursor_be32(c);
	n = cursor_be32(c);
	if (!r->has_last || !infohash_eq(&r->last, &record.infohash))
		r->torrents++;
	r->has_last = true;
	r->last = record.infohash;
	for (uint32_t i = 0; i < n; i++) { /* ends with the block, if not N */
		int err = read_peer(r, &record, c);

		if (err)
			return err;
	}
	if (c->is_bad)
		return bad(r, "block %u makes no sense", r->num_blocks - 1);
	if (r->is_taking)
		swarms_raise_completed(r->swarms, &record.infohash, completed);
	return 0;
}

static int check_end(struct reader *r, struct cursor *c)
{
	uint64_t torrents = cursor_be64(c), peers = cursor_be64(c);
	uint8_t more;

	if (c->is_bad || cursor_left(c) || torrents != r->torrents ||
	    peers != r->peers + r->expired)
		return bad(r, "the end does not fit the rest");
	return read(r->fd, &more, 1) ? bad(r, "something behind the end") : 0;
}

static int read_all(struct reader *r)
{
	struct cursor c;
	int kind, err;

	r->num_blocks = 0;
	r->has_last = false;
	r->torrents = r->peers = r->expired = 0;
	err = lseek(r->fd, 0, SEEK_SET) ? bad(r, "%s", strerror(errno))
					: read_header(r);
	while (!err) {
		kind = read_block(r, &c);
		if (kind < 0)
			return kind;
		if (kind == BLOCK_END)
			return check_end(r, &c);
		if (kind == BLOCK_BLOB)
			err = take_blob(r, &c);
		while (!err && kind == BLOCK_SWARMS && cursor_left(&c))
			err = take_swarm(r, &c);
	}
	return err;
}

/* 0, -ENOENT, -EBADMSG, or -errno of what cannot be opened or is no file. */
static int open_file(struct reader *r)
{
	struct stat st;
	int err;

	r->fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	err = r->fd < 0 || fstat(r->fd, &st) ? -errno : 0;
	if (!err && !S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if (err)
		(void)bad(r, "%s",
			  err == -EINVAL ? "not a regular file"
					 : strerror(-err)); /* ERR is told */
	return err;
}

static int load_one(const char *path, struct reader *r)
{
	int err;

	r->path = path;
	r->is_taking = false;
	err = open_file(r);
	if (!err)
		err = read_all(r);
	r->is_taking = true;
	if (!err)
		err = read_all(r);
	if (r->fd >= 0)
		close(r->fd);
	return err;
}

/* Tries both generations. FIRST: what is wrong with PATH. */
static int load(const char *path, const char *previous, struct reader *r,
		bool *is_previous, char *first)
{
	char second[WHY_BYTES] = "";
	size_t len;
	int err;

	r->why = first;
	err = load_one(path, r);
	if (err != -EBADMSG && (err != -ENOENT || access(previous, F_OK)))
		return err;
	r->why = second;
	if (!load_one(previous, r)) {
		*is_previous = true;
		return 0;
	}
	len = strlen(first);
	snprintf(first + len, WHY_BYTES - len, "; %s", second);
	return -EBADMSG;
}

int statefile_load(const char *path, struct swarms *s,
		   struct statefile_blobs *blobs, int64_t wall_s,
		   struct statefile_loaded *out, char *why, size_t why_size)
{
	char *previous = statefile_beside(path, ".1");
	char first[WHY_BYTES] = "";
	struct reader r = { .swarms = s, .blobs = blobs, .wall_s = wall_s };
	int err;

	memset(out, 0, sizeof(*out));
	r.block = mem_alloc(BLOCK_MAX);
	err = load(path, previous, &r, &out->is_previous, first);
	if (!err) {
		out->torrents = r.torrents;
		out->peers = r.peers;
		out->expired = r.expired;
	}
	snprintf(why, why_size, "%s", first);
	free(r.block);
	free(previous);
	return err;
}
