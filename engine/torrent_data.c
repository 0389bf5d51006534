/* Blocks become pieces: gather in memory, hash and write on a worker, then
 * tell everyone.
 *
 * A piece of at most LIMIT_PIECE_BUFFER bytes is gathered in one buffer; the
 * worker hashes it, and writes it only if it is right. A larger one, and any
 * one begun while the buffers of all torrents hold LIMIT_PARTIAL_BYTES, goes to
 * disk block by block, unverified and unmarked, and is hashed from there: so
 * nobody who waits for a piece waits for a buffer. In both cases the have-bit,
 * and with it every reader and peer, waits for hash and write. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/sha.h"
#include "engine/engine_private.h"

#define LIARS_MAX     16           /* convicted by one piece */
#define FILL_ROUND    16           /* blocks a peer gets before the next one */
#define READ_STEP     (256u << 10) /* bytes, hashing a piece from disk */
#define DISK_RETRY_MS 10000

/* A piece in flight; hangs at the picker's partial. */
struct filling {
	struct job job;
	struct torrent *torrent;
	uint32_t piece, size;
	uint8_t *bytes;        /* owned; NULL: written block by block */
	unsigned writes_out;   /* block writes under way */
	bool is_whole;         /* every block is here */
	bool is_dropped;       /* to be freed when its writes are back */
	int r;                 /* of write or read */
	struct givers *givers; /* owned */
	bool is_accused;       /* it was wrong before */
	bool is_right;
	uint64_t *digests; /* owned; of its blocks, if there is a case */
};

struct block_write {
	struct job job;
	struct filling *filling;
	uint64_t off;
	uint32_t len;
	int r;
	uint8_t bytes[];
};

static void filling_free(struct filling *f)
{
	if (f->bytes)
		engine_buffer_put(f->torrent->engine, f->bytes, f->size);
	givers_free(f->givers);
	free(f->digests);
	free(f);
}

/* Nobody wants what PIECE has gathered so far: it is here by another way. The
 * picker forgets the partial next. */
static void drop_filling(struct torrent *t, uint32_t piece)
{
	void **data = picker_partial_data(t->picker, piece);
	struct filling *f = data ? *data : NULL;

	if (!f)
		return;
	*data = NULL;
	if (f->writes_out)
		f->is_dropped = true;
	else
		filling_free(f);
}

/* --- worker --- */

static int hash_from_disk(struct filling *f, uint64_t off, uint8_t *out)
{
	struct hasher *h = hasher_new(HASH_SHA1);
	uint8_t *step = mem_alloc(READ_STEP);
	int r = 0;

	for (uint32_t at = 0; at < f->size && !r; at += READ_STEP) {
		uint32_t n =
			f->size - at < READ_STEP ? f->size - at : READ_STEP;

		r = store_read(f->torrent->store, off + at, step, n);
		if (!r)
			hasher_update(h, step, n);
	}
	hasher_final(h, out);
	hasher_free(h);
	free(step);
	return r;
}

/* Of the blocks of a piece that is on disk already. */
static uint64_t *digest_from_disk(struct filling *f, uint64_t off)
{
	uint32_t n = 0,
		 blocks = layout_blocks(&f->torrent->mi->layout, f->piece);
	uint64_t *out = mem_try(blocks, sizeof(*out)), *part = NULL;
	uint8_t *step = mem_alloc(READ_STEP);

	for (uint32_t at = 0; out && at < f->size; at += READ_STEP) {
		uint32_t len =
			f->size - at < READ_STEP ? f->size - at : READ_STEP;

		if (!store_read(f->torrent->store, off + at, step, len))
			part = blame_digest(step, len);
		if (!part) {
			free(out);
			out = NULL;
			break;
		}
		for (uint32_t i = 0; i * LIMIT_BLOCK_BYTES < len; i++)
			out[n++] = part[i];
		free(part);
		part = NULL;
	}
	free(step);
	return out;
}

static void verify_run(struct job *job)
{
	struct filling *f = container_of(job, struct filling, job);
	const struct metainfo *mi = f->torrent->mi;
	uint64_t off = layout_piece_start(&mi->layout, f->piece);
	uint8_t hash[SHA1_LEN];

	if (f->r)
		return; /* a block could not be written: nobody's lie */
	if (f->bytes)
		sha1(f->bytes, f->size, hash);
	else
		f->r = hash_from_disk(f, off, hash);
	if (f->r)
		return;
	f->is_right = !memcmp(
		hash, mi->piece_hashes + (size_t)f->piece * SHA1_LEN, SHA1_LEN);
	if (!f->is_right || f->is_accused)
		f->digests = f->bytes ? blame_digest(f->bytes, f->size)
				      : digest_from_disk(f, off);
	if (f->is_right && f->bytes)
		f->r = store_write(f->torrent->store, off, f->bytes, f->size);
}

/* --- verdict --- */

static struct peer *peer_by_id(struct torrent *t, uint32_t id)
{
	list_foreach(p, &t->peers, struct peer, node) {
		if (p->id == id)
			return p;
	}
	return NULL;
}

static void ban_address(struct torrent *t, const struct addr *a,
			const char *why)
{
	swarm_ban(t->swarm, a);
	list_foreach_safe(p, &t->peers, struct peer, node) {
		if (addr_ip_eq(&p->addr, a))
			peer_ban(p, why);
	}
}

/* Who gave all of a wrong piece did it. Of several each is suspected, and
 * nobody punished: the picker lets the piece come from one peer alone the next
 * time, and when it is right, its blocks tell who lied. */
static void accuse(struct torrent *t, struct filling *f)
{
	struct addr only;

	log_info("piece=%u of %s has a wrong hash", f->piece, t->name);
	if (givers_are_one(f->givers, &only)) {
		ban_address(t, &only, "sent a wrong piece alone");
		return;
	}
	blame_accuse(t->blame, f->piece, f->givers, f->digests);
	f->givers = NULL;
	f->digests = NULL;
}

static void convict(struct torrent *t, struct filling *f)
{
	struct addr liars[LIARS_MAX];
	size_t n =
		blame_convict(t->blame, f->piece, f->digests, liars, LIARS_MAX);

	for (size_t i = 0; i < n; i++)
		ban_address(t, &liars[i], "sent a wrong block");
}

static void on_right(struct torrent *t, uint32_t piece, uint32_t size)
{
	torrent_set_piece(t, piece, true);
	t->error[0] = '\0';
	resume_on_written(t, piece);
	torrent_tell_have(t, piece);
	sched_on_piece(t->sched, t->picker, piece,
		       loop_now_ms(t->engine->loop));
}

static void on_disk_failure(struct torrent *t, int r)
{
	torrent_set_error(t, r, "writing");
	t->blocked_until_ms = loop_now_ms(t->engine->loop) + DISK_RETRY_MS;
	sched_fail_all(t->sched, r == -ENOSPC || r == -EDQUOT ? r : -EIO);
}

static void verify_done(struct job *job)
{
	struct filling *f = container_of(job, struct filling, job);
	struct torrent *t = f->torrent;

	t->jobs_out--;
	t->verifying_bytes -= f->size;
	if (f->is_right && !f->r) {
		on_right(t, f->piece, f->size);
		convict(t, f);
	} else {
		picker_on_verified(t->picker, f->piece, false, NULL, 0);
		t->wasted += f->size;
		if (f->r)
			on_disk_failure(t, f->r);
		else
			accuse(t, f);
	}
	filling_free(f);
	if (!t->is_closing)
		torrent_fill_all(t);
}

static void verify(struct filling *f)
{
	struct torrent *t = f->torrent;

	f->job.run = verify_run;
	f->job.done = verify_done;
	f->is_accused = blame_has(t->blame, f->piece);
	t->jobs_out++;
	t->verifying_bytes += f->size;
	worker_submit(t->engine->workers, LANE_HASH, &f->job);
}

/* --- blocks --- */

static struct filling *filling_of(struct torrent *t, uint32_t piece)
{
	void **data = picker_partial_data(t->picker, piece);
	struct filling *f;

	CHECK(data);
	if (*data)
		return *data;
	f = mem_alloc(sizeof(*f));
	f->torrent = t;
	f->piece = piece;
	f->size = layout_piece_size(&t->mi->layout, piece);
	f->givers = givers_new(layout_blocks(&t->mi->layout, piece));
	if (f->size <= LIMIT_PIECE_BUFFER)
		f->bytes = engine_buffer_try(t->engine, f->size);
	*data = f;
	return f;
}

static void block_write_run(struct job *job)
{
	struct block_write *w = container_of(job, struct block_write, job);

	w->r = store_write(w->filling->torrent->store, w->off, w->bytes,
			   w->len);
}

static void block_write_done(struct job *job)
{
	struct block_write *w = container_of(job, struct block_write, job);
	struct filling *f = w->filling;

	f->torrent->jobs_out--;
	f->torrent->verifying_bytes -= w->len;
	f->writes_out--;
	if (w->r)
		f->r = w->r;
	if (f->is_dropped && !f->writes_out)
		filling_free(f);
	else if (f->is_whole && !f->writes_out)
		verify(f);
	free(w);
}

static void write_block(struct filling *f, struct block_ref b, uint32_t len,
			const uint8_t *bytes)
{
	struct torrent *t = f->torrent;
	struct block_write *w = mem_alloc(sizeof(*w) + len);

	w->job.run = block_write_run;
	w->job.done = block_write_done;
	w->filling = f;
	w->len = len;
	w->off = layout_piece_start(&t->mi->layout, b.piece) +
		 (uint64_t)b.index * LIMIT_BLOCK_BYTES;
	memcpy(w->bytes, bytes, len);
	f->writes_out++;
	t->jobs_out++;
	t->verifying_bytes += len;
	worker_submit(t->engine->workers, LANE_DISK, &w->job);
}

void torrent_on_block(struct torrent *t, struct peer *p, struct block_ref b,
		      const uint8_t *bytes)
{
	uint32_t len = layout_block_size(&t->mi->layout, b);
	uint32_t others[PICKER_COPIES];
	size_t num_others = 0;
	struct filling *f;
	enum picker_block is;

	rate_add(&t->down, len);
	t->downloaded += len;
	t->session_down += len;
	is = picker_on_block(t->picker, p->id, b, others, &num_others);
	if (is == PICKER_DUPLICATE) {
		t->wasted += len;
		return;
	}
	f = filling_of(t, b.piece);
	givers_note(f->givers, b.index, &p->addr);
	if (f->bytes)
		memcpy(f->bytes + (size_t)b.index * LIMIT_BLOCK_BYTES, bytes,
		       len);
	else
		write_block(f, b, len, bytes);
	sched_on_block(t->sched, b.piece, p->heard_ms);
	for (size_t i = 0; i < num_others; i++) {
		struct peer *q = peer_by_id(t, others[i]);

		if (q)
			peer_cancel_block(q, b);
	}
	if (is == PICKER_COMPLETE) {
		f->is_whole = true;
		/* The picker forgets the partial when the verdict is in. */
		*picker_partial_data(t->picker, b.piece) = NULL;
		if (!f->writes_out)
			verify(f);
	}
}

/* --- have --- */

void torrent_tell_have(struct torrent *t, uint32_t piece)
{
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_tell_have(p, piece);
}

void torrent_set_piece(struct torrent *t, uint32_t piece, bool have)
{
	bool is_news = have ? bitfield_set(&t->have, piece)
			    : bitfield_clear(&t->have, piece);

	if (have)
		drop_filling(t, piece);
	picker_set_have(t->picker, piece, have);
	if (!is_news || have)
		return;
	t->was_complete = false;
	t->connect_ms = 0; /* seeds are of use again */
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_tell_donthave(p, piece);
	resume_on_lost(t);
}

static void free_filling(void *arg, uint32_t piece, void *data)
{
	if (data)
		filling_free(data);
}

void torrent_drop_partials(struct torrent *t)
{
	/* Pieces being verified or written are not among them: their jobs
	 * come back by themselves. */
	picker_each_partial(t->picker, free_filling, NULL);
}

static void ask_route(void *arg, struct sched_route *route, struct block_ref b)
{
	peer_ask(route->owner, b);
}

/* Each block that a reader waits for goes where it is here first. */
static void assign(struct torrent *t)
{
	struct sched_route routes[LIMIT_PEERS_PER_TORRENT];
	size_t n = 0;

	if (!sched_num_parked(t->sched) || t->engine->down_limit.bps)
		return;
	list_foreach(p, &t->peers, struct peer, node) {
		if (n == LIMIT_PEERS_PER_TORRENT)
			break;
		routes[n] = peer_as_route(p);
		n += routes[n].room > 0;
	}
	/* With one there is no choice: it asks for more at a time. */
	if (n > 1)
		(void)sched_assign(t->sched, t->picker, routes, n,
				   loop_now_ms(t->engine->loop), ask_route, t);
}

void torrent_hedge(struct torrent *t, int64_t now_ms)
{
	if (!t->is_ready || !sched_num_parked(t->sched))
		return;
	list_foreach(p, &t->peers, struct peer, node)
		peer_doubt(p, now_ms);
	assign(t);
}

void torrent_fill_all(struct torrent *t)
{
	bool has_taken = true;

	if (!t->is_ready)
		return;
	assign(t);
	/* A few blocks each, in turn: a piece that a reader waits for comes
	 * from all who have it at once. */
	while (has_taken) {
		has_taken = false;
		list_foreach_safe(p, &t->peers, struct peer, node) {
			if (peer_fill(p, FILL_ROUND))
				has_taken = true;
		}
	}
}
