/* Each call becomes an op: a job of its own on the state lane, with copies of
 * what it needs. The first op whose turn comes takes all that wait and runs
 * them as one batch, so that a thousand torrents cost one transaction and not
 * a thousand; the jobs of the others then find nothing left to do and only
 * carry their done() back to the loop, in the order of the calls.
 *
 * A batch goes step by step, so that a row never names a file that could be
 * missing:
 *   1. write and sync the metainfo files of its puts, then their folder;
 *   2. one transaction for all rows;
 *   3. delete the files of its removes, of puts that got no row, and magnets
 *      that have metainfo now.
 * A put behind a remove begins a new batch: step 3 must not take its file.
 * When the transaction fails, each op is tried alone and gets its own result.
 */
#include "engine/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/state_files.h"
#include "engine/state_private.h"
#include "engine/state_sql.h"

enum op_kind {
	OP_PUT,
	OP_PUT_HAVE,
	OP_MARK_DIRTY,
	OP_REMOVE,
	OP_NOTE
};

struct op {
	struct job job;
	struct state *st; /* not looked at any more once the job has run */
	struct op *next;  /* in waiting, then in its batch */
	enum op_kind kind;
	bool is_taken;    /* state lane only */
	bool is_file_new; /* the put made its file */
	int r;
	struct state_torrent t; /* points into copies */
	const uint8_t *metainfo;
	size_t metainfo_len;
	const char *key; /* of a note; its value is METAINFO, or NULL */
	uint8_t *copies; /* owned; or NULL */
	state_done_fn *done;
	void *arg;
};

/* --- running --- */

static bool is_ready(const struct op *op)
{
	return !op->r;
}

/* Step 1 for one put. True if the folder is to be synced. */
static bool write_file(struct op *op)
{
	const struct state_torrent *t = &op->t;
	int fd = op->st->torrents_fd;

	if (op->metainfo)
		op->r = state_files_write(fd, &t->infohash, STATE_FILE_TORRENT,
					  op->metainfo, op->metainfo_len,
					  &op->is_file_new);
	else if (t->magnet && !t->has_metainfo)
		op->r = state_files_write(fd, &t->infohash, STATE_FILE_MAGNET,
					  (const uint8_t *)t->magnet,
					  strlen(t->magnet), &op->is_file_new);
	else
		return false;
	return is_ready(op);
}

static void write_files(struct op *first, struct op *end)
{
	bool is_written = false;
	int r;

	for (struct op *op = first; op != end; op = op->next)
		if (op->kind == OP_PUT && is_ready(op))
			is_written |= write_file(op);
	r = is_written ? state_files_sync(first->st->torrents_fd) : 0;
	for (struct op *op = first; r && op != end; op = op->next)
		if (op->kind == OP_PUT && is_ready(op))
			op->r = r;
}

/* Step 2 for one op. */
static int run_row(struct op *op)
{
	struct state_sql *sql = op->st->sql;

	switch (op->kind) {
	case OP_PUT:
		return state_sql_put(sql, &op->t, &op->t.id);
	case OP_PUT_HAVE:
		return state_sql_put_have(sql, &op->t);
	case OP_MARK_DIRTY:
		return state_sql_mark_dirty(sql, op->t.id);
	case OP_REMOVE:
		return state_sql_remove(sql, op->t.id);
	case OP_NOTE:
		return state_sql_put_note(sql, op->key, op->metainfo,
					  op->metainfo_len);
	}
	return 0;
}

/* All rows of a batch, or none. An op without its row is no failure of the
 * batch. */
static int run_rows(struct op *first, struct op *end)
{
	struct state_sql *sql = first->st->sql;
	int r = state_sql_begin(sql);

	for (struct op *op = first; !r && op != end; op = op->next) {
		if (!is_ready(op))
			continue;
		r = run_row(op);
		if (r == -ENOENT) {
			op->r = r;
			r = 0;
		}
	}
	if (!r)
		return state_sql_commit(sql);
	state_sql_rollback(sql);
	return r;
}

static void run_rows_alone(struct op *first, struct op *end)
{
	for (struct op *op = first; op != end; op = op->next) {
		int r = is_ready(op) ? run_rows(op, op->next) : 0;

		if (r)
			op->r = r;
	}
}

/* Step 3 for one put. What stays behind is cleared at the next start. */
static void clean_after_put(struct op *op)
{
	const struct infohash *ih = &op->t.infohash;
	int fd = op->st->torrents_fd;
	bool has_metainfo;
	int64_t id;

	if (is_ready(op) && op->metainfo)
		(void)state_files_remove(fd, ih, STATE_FILE_MAGNET);
	if (!op->is_file_new || is_ready(op) ||
	    state_sql_find(op->st->sql, ih, &id, &has_metainfo) != -ENOENT)
		return;
	(void)state_files_remove(
		fd, ih, op->metainfo ? STATE_FILE_TORRENT : STATE_FILE_MAGNET);
}

static void clean_after_remove(struct op *op)
{
	const struct infohash *ih = &op->t.infohash;
	int fd = op->st->torrents_fd;
	int r;

	op->r = state_files_remove(fd, ih, STATE_FILE_TORRENT);
	r = state_files_remove(fd, ih, STATE_FILE_MAGNET);
	op->r = op->r ? op->r : r;
}

static void clean_files(struct op *first, struct op *end)
{
	bool is_removed = false;
	int r;

	for (struct op *op = first; op != end; op = op->next) {
		if (op->kind == OP_PUT)
			clean_after_put(op);
		if (op->kind != OP_REMOVE || !is_ready(op))
			continue;
		clean_after_remove(op);
		is_removed = true;
	}
	r = is_removed ? state_files_sync(first->st->torrents_fd) : 0;
	for (struct op *op = first; r && op != end; op = op->next)
		if (op->kind == OP_REMOVE && is_ready(op))
			op->r = r;
}

static void run_batch(struct op *first, struct op *end)
{
	write_files(first, end);
	if (run_rows(first, end))
		run_rows_alone(first, end);
	clean_files(first, end);
}

static struct op *batch_end(struct op *first)
{
	bool has_remove = false;
	struct op *op;

	for (op = first; op; op = op->next) {
		if (has_remove && op->kind == OP_PUT)
			break;
		has_remove |= op->kind == OP_REMOVE;
	}
	return op;
}

static void op_run(struct job *job)
{
	struct op *op = container_of(job, struct op, job), *end;
	struct state *st = op->st;

	if (op->is_taken)
		return;
	pthread_mutex_lock(&st->lock);
	op = st->waiting;
	st->waiting = NULL;
	st->waiting_end = &st->waiting;
	pthread_mutex_unlock(&st->lock);

	for (struct op *o = op; o; o = o->next)
		o->is_taken = true;
	for (; op; op = end) {
		end = batch_end(op);
		run_batch(op, end);
	}
}

static void op_done(struct job *job)
{
	struct op *op = container_of(job, struct op, job);

	if (op->done)
		op->done(op->arg, op->r, op->t.id);
	else if (op->r)
		log_warn("state: not saved: %s", strerror(-op->r));
	free(op->copies);
	free(op);
}

/* --- putting --- */

static struct op *op_new(struct state *st, enum op_kind kind,
			 state_done_fn *done, void *arg)
{
	struct op *op = mem_alloc(sizeof(*op));

	op->job.run = op_run;
	op->job.done = op_done;
	op->st = st;
	op->kind = kind;
	op->done = done;
	op->arg = arg;
	return op;
}

static void op_submit(struct op *op)
{
	struct state *st = op->st;

	pthread_mutex_lock(&st->lock);
	*st->waiting_end = op;
	st->waiting_end = &op->next;
	pthread_mutex_unlock(&st->lock);
	worker_submit(st->workers, LANE_STATE, &op->job);
}

static const void *copy_into(uint8_t **at, const void *bytes, size_t len)
{
	uint8_t *to = *at;

	if (!bytes || !len)
		return NULL;
	memcpy(to, bytes, len);
	*at += len;
	return to;
}

/* Copies what T and METAINFO point to. Stamps first: they want alignment. */
static int op_copy(struct op *op, const struct state_torrent *t,
		   const uint8_t *metainfo, size_t metainfo_len)
{
	size_t magnet_len = t->magnet ? strlen(t->magnet) + 1 : 0;
	size_t stamps_len = t->stamps ? t->num_stamps * sizeof(*t->stamps) : 0;
	size_t have_len = t->have ? t->have_len : 0;
	uint8_t *at;

	op->t = *t;
	op->t.magnet = NULL;
	op->t.have = NULL;
	op->t.stamps = NULL;
	if (magnet_len > LIMIT_MAGNET_BYTES || t->num_stamps > LIMIT_FILES ||
	    have_len > (LIMIT_PIECES + 7) / 8 ||
	    metainfo_len > LIMIT_TORRENT_FILE_BYTES)
		return -E2BIG;
	at = mem_try(1, stamps_len + have_len + magnet_len + metainfo_len + 1);
	if (!at)
		return -ENOMEM;
	op->copies = at;
	op->t.stamps = copy_into(&at, t->stamps, stamps_len);
	op->t.have = copy_into(&at, t->have, have_len);
	op->t.magnet = copy_into(&at, t->magnet, magnet_len);
	op->metainfo = copy_into(&at, metainfo, metainfo_len);
	op->metainfo_len = metainfo_len;
	return 0;
}

int64_t state_new_id(struct state *st)
{
	return ++st->last_id;
}

void state_put(struct state *st, const struct state_torrent *t,
	       const uint8_t *metainfo, size_t metainfo_len,
	       state_done_fn *done, void *arg)
{
	struct op *op = op_new(st, OP_PUT, done, arg);

	op->r = op_copy(op, t, metainfo, metainfo ? metainfo_len : 0);
	if (!op->t.id)
		op->t.id = state_new_id(st);
	op->t.has_metainfo |= op->metainfo != NULL;
	op_submit(op);
}

void state_put_have(struct state *st, const struct state_torrent *t,
		    state_done_fn *done, void *arg)
{
	struct op *op = op_new(st, OP_PUT_HAVE, done, arg);

	op->r = op_copy(op, t, NULL, 0);
	op_submit(op);
}

void state_mark_dirty(struct state *st, int64_t id, state_done_fn *done,
		      void *arg)
{
	struct op *op = op_new(st, OP_MARK_DIRTY, done, arg);

	op->t.id = id;
	op_submit(op);
}

void state_remove(struct state *st, int64_t id, const struct infohash *ih,
		  state_done_fn *done, void *arg)
{
	struct op *op = op_new(st, OP_REMOVE, done, arg);

	op->t.id = id;
	op->t.infohash = *ih;
	op_submit(op);
}

void state_put_note(struct state *st, const char *key, const void *value,
		    size_t len, state_done_fn *done, void *arg)
{
	struct op *op = op_new(st, OP_NOTE, done, arg);
	size_t key_len = strlen(key) + 1;
	uint8_t *at;

	at = len <= LIMIT_NOTE_BYTES ? mem_try(1, key_len + len) : NULL;
	if (at) {
		op->copies = at;
		op->key = copy_into(&at, key, key_len);
		op->metainfo = copy_into(&at, value, len);
		op->metainfo_len = len;
	} else {
		op->r = len <= LIMIT_NOTE_BYTES ? -ENOMEM : -E2BIG;
	}
	op_submit(op);
}
