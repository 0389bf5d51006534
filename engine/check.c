/* Hashing what is on disk: a few pieces at a time, each a job of its own; where
 * only allocated pieces count, one job before them finds out which those are.
 * While it runs the torrent asks peers for nothing; what was right already
 * can be read. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/sha.h"
#include "engine/engine_private.h"

#define JOBS_MAX  4
#define READ_STEP (256u << 10)

struct check_job {
	struct job job;
	struct torrent *torrent;
	uint32_t piece;
	uint64_t round; /* of the check that began it */
	bool is_right;
};

/* Leaves the pieces that have bytes on disk. */
struct filter_job {
	struct job job;
	struct torrent *torrent;
	uint64_t round;
	struct bitfield pieces; /* owned */
};

struct check {
	struct bitfield todo; /* pieces not yet begun */
	uint64_t round;
	uint32_t next, total, num_done;
	unsigned jobs_out;
};

static bool piece_is_right(struct torrent *t, uint32_t piece)
{
	const struct layout *l = &t->mi->layout;
	uint64_t off = layout_piece_start(l, piece);
	uint32_t size = layout_piece_size(l, piece);
	struct hasher *h = hasher_new(HASH_SHA1);
	uint8_t *step = mem_alloc(READ_STEP), hash[SHA1_LEN];
	int r = 0;

	for (uint32_t at = 0; at < size && !r; at += READ_STEP) {
		uint32_t n = size - at < READ_STEP ? size - at : READ_STEP;

		r = store_read(t->store, off + at, step, n);
		if (!r)
			hasher_update(h, step, n);
	}
	hasher_final(h, hash);
	hasher_free(h);
	free(step);
	return !r &&
	       !memcmp(hash, t->mi->piece_hashes + (size_t)piece * SHA1_LEN,
		       SHA1_LEN);
}

static void check_run(struct job *job)
{
	struct check_job *j = container_of(job, struct check_job, job);

	j->is_right = piece_is_right(j->torrent, j->piece);
}

static void check_go_on(struct torrent *t);

static void check_done(struct job *job)
{
	struct check_job *j = container_of(job, struct check_job, job);
	struct torrent *t = j->torrent;
	struct check *c = t->check;

	t->jobs_out--;
	if (c && c->round == j->round) {
		c->jobs_out--;
		c->num_done++;
		if (j->is_right && !bitfield_has(&t->have, j->piece)) {
			torrent_set_piece(t, j->piece, true);
			torrent_tell_have(t, j->piece);
			resume_on_written(t, j->piece);
			sched_on_piece(t->sched, t->picker, j->piece,
				       loop_now_ms(t->engine->loop));
		}
		if (t->check)
			check_go_on(t);
	}
	free(j);
}

static void check_go_on(struct torrent *t)
{
	struct check *c = t->check;

	while (c->jobs_out < JOBS_MAX && c->todo.num_set) {
		struct check_job *j = mem_alloc(sizeof(*j));

		c->next =
			bitfield_next_set(&c->todo, c->next, c->todo.num_bits);
		if (c->next == c->todo.num_bits)
			c->next = bitfield_next_set(&c->todo, 0,
						    c->todo.num_bits);
		bitfield_clear(&c->todo, c->next);
		j->job.run = check_run;
		j->job.done = check_done;
		j->torrent = t;
		j->piece = c->next;
		j->round = c->round;
		c->jobs_out++;
		t->jobs_out++;
		worker_submit(t->engine->workers, LANE_HASH, &j->job);
	}
	if (!c->jobs_out) {
		log_debug("check of %s: %u of %u pieces looked at, have=%u",
			  t->name, c->num_done, c->total, t->have.num_set);
		check_stop(t);
		torrent_on_checked(t);
	}
}

static struct check *check_new(struct torrent *t)
{
	struct check *c = mem_alloc(sizeof(*c));

	bitfield_init(&c->todo, t->mi->layout.num_pieces);
	c->round = ++t->check_rounds;
	t->check = c;
	t->is_ready = false;
	return c;
}

static void filter_run(struct job *job)
{
	struct filter_job *f = container_of(job, struct filter_job, job);
	const struct layout *l = &f->torrent->mi->layout;
	uint64_t run_end = 0; /* bytes before it are known to be allocated,
			       * from the piece at hand on */

	for (uint32_t i = 0; i < l->num_pieces; i++) {
		uint64_t at = layout_piece_start(l, i);
		uint64_t end = at + layout_piece_size(l, i);

		while (at < end && bitfield_has(&f->pieces, i)) {
			if (run_end <= at)
				run_end = store_allocated_to(f->torrent->store,
							     at);
			if (run_end <= at)
				bitfield_clear(&f->pieces, i);
			else
				at = run_end < end ? run_end : end;
		}
	}
}

static void filter_done(struct job *job)
{
	struct filter_job *f = container_of(job, struct filter_job, job);
	struct torrent *t = f->torrent;
	struct check *c = t->check;

	t->jobs_out--;
	if (c && c->round == f->round) {
		c->jobs_out--;
		for (uint32_t i = 0; i < c->todo.num_bits; i++) {
			if (bitfield_has(&f->pieces, i))
				c->total += bitfield_set(&c->todo, i);
		}
		check_go_on(t);
	}
	bitfield_release(&f->pieces);
	free(f);
}

void check_start(struct torrent *t, enum check_which which)
{
	uint32_t num_pieces = t->mi->layout.num_pieces;
	struct filter_job *f;
	struct bitfield missing;
	struct check *c;

	check_stop(t);
	c = check_new(t);
	bitfield_init(&missing, num_pieces);
	for (uint32_t i = 0; i < num_pieces; i++) {
		if (!bitfield_has(&t->have, i))
			bitfield_set(&missing, i);
	}
	if (which == CHECK_ALL) {
		bitfield_release(&c->todo);
		c->todo = missing;
		c->total = missing.num_set;
		check_go_on(t);
		return;
	}
	f = mem_alloc(sizeof(*f));
	f->job.run = filter_run;
	f->job.done = filter_done;
	f->torrent = t;
	f->round = c->round;
	f->pieces = missing;
	c->jobs_out++;
	t->jobs_out++;
	worker_submit(t->engine->workers, LANE_DISK, &f->job);
}

void check_add(struct torrent *t, uint32_t first, uint32_t count)
{
	struct check *c = t->check;

	if (!c)
		c = check_new(t);
	for (uint32_t i = first; i < first + count; i++) {
		if (bitfield_has(&t->have, i))
			torrent_set_piece(t, i, false);
		if (picker_is_partial(t->picker, i))
			continue; /* on its way already */
		c->total += bitfield_set(&c->todo, i);
	}
	check_go_on(t);
}

unsigned check_percent(const struct torrent *t)
{
	if (!t->check || !t->check->total)
		return 100;
	return (unsigned)((uint64_t)t->check->num_done * 100 / t->check->total);
}

/* Jobs that are out come back to a torrent without a check. */
void check_stop(struct torrent *t)
{
	if (!t->check)
		return;
	bitfield_release(&t->check->todo);
	free(t->check);
	t->check = NULL;
}
