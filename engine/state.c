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
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/metainfo.h"
#include "engine/state_files.h"
#include "engine/state_sql.h"

struct state {
	struct workers *workers; /* borrowed */
	int64_t last_id;         /* given out; loop thread */
	char *dir;               /* owned */
	int lock_fd, torrents_fd;

	/* State lane; main thread before and after. */
	struct state_sql *sql; /* owned */

	pthread_mutex_t lock;              /* leaf: never held across a call */
	struct op *waiting, **waiting_end; /* guarded by lock */
};

enum op_kind {
	OP_PUT,
	OP_PUT_HAVE,
	OP_MARK_DIRTY,
	OP_REMOVE
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

/* --- loading --- */

int state_load(struct state *st,
	       void (*fn)(void *arg, const struct state_torrent *t), void *arg)
{
	return state_sql_each(st->sql, fn, arg);
}

int state_read_metainfo(struct state *st, const struct infohash *ih,
			uint8_t **out, size_t *len)
{
	return state_files_read(st->torrents_fd, ih, STATE_FILE_TORRENT, out,
				len);
}

/* --- opening --- */

struct adoption {
	struct state *st;
	unsigned num;
	int r;
};

/* A new database beside old files does not know which ids were in use. As
 * nobody adds a torrent each second for years, the clock is ahead of all. */
static int skip_used_ids(struct state *st)
{
	return state_sql_is_new(st->sql)
		       ? state_sql_skip_ids(st->sql, clock_wall_s())
		       : 0;
}

/* Only what says of itself what its name says. */
static bool is_torrent(const struct infohash *ih, const uint8_t *bytes,
		       size_t len)
{
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;
	bool same;

	if (metainfo_parse(bytes, len, &mi, why))
		return false;
	same = infohash_eq(&mi->infohash, ih);
	metainfo_free(mi);
	return same;
}

/* Gives the file a row. */
static int adopt_file(struct state *st, const struct infohash *ih,
		      enum state_file kind)
{
	struct state_torrent t = {
		.infohash = *ih,
		.added_s = clock_wall_s(),
		.is_dirty = true,
	};
	uint8_t *bytes;
	size_t len;
	int64_t id;
	int r;

	r = state_files_read(st->torrents_fd, ih, kind, &bytes, &len);
	if (r)
		return r;
	if (kind == STATE_FILE_MAGNET)
		t.magnet = (const char *)bytes;
	else if (is_torrent(ih, bytes, len))
		t.has_metainfo = true;
	else
		r = -EBADMSG;
	if (!r)
		r = state_sql_put(st->sql, &t, &id);
	free(bytes);
	return r;
}

static void on_file(void *arg, const struct infohash *ih, enum state_file kind)
{
	struct adoption *a = arg;
	char hex[2 * sizeof(ih->b) + 1];
	bool has_metainfo = false;
	int64_t id;
	int r;

	r = state_sql_find(a->st->sql, ih, &id, &has_metainfo);
	if (r && r != -ENOENT) {
		a->r = r;
		return;
	}
	if (kind == STATE_FILE_MAGNET) {
		if (has_metainfo)
			(void)state_files_remove(a->st->torrents_fd, ih, kind);
		if (!r)
			return;
	} else if (!r && has_metainfo) {
		return;
	}
	r = a->num ? 0 : skip_used_ids(a->st);
	if (!r)
		r = adopt_file(a->st, ih, kind);
	if (!r)
		a->num++;
	else if (r == -EBADMSG || r == -E2BIG || r == -ENOENT)
		log_warn("state: torrents/%s is no such torrent, left alone",
			 hex_encode(ih->b, sizeof(ih->b), hex));
	else
		a->r = r;
}

/* Files without a row: put, and killed before the row was there; removed, and
 * killed before the file was gone; or all of them, after a rebuild. */
static int adopt_files(struct state *st)
{
	struct adoption a = { .st = st };
	int r;

	r = state_sql_begin(st->sql);
	if (r)
		return r;
	r = state_files_each(st->torrents_fd, on_file, &a);
	r = r ? r : a.r;
	if (r)
		state_sql_rollback(st->sql);
	else
		r = state_sql_commit(st->sql);
	if (!r && a.num)
		log_info("state: found %u torrents that the database did not"
			 " know",
			 a.num);
	return r;
}

static int open_database(struct state *st, char why[STATE_WHY_SIZE])
{
	char *path = mem_printf("%s/state.db", st->dir);
	unsigned n;
	int r, s;

	r = state_sql_open(path, &st->sql, why);
	if (r != -EUCLEAN)
		goto out_path;
	s = state_files_move_aside(st->dir, &n);
	if (s) {
		snprintf(why, STATE_WHY_SIZE,
			 "%s is damaged and cannot be moved aside: %s", path,
			 strerror(-s));
		r = s;
		goto out_path;
	}
	log_error("state: %s is damaged, kept as state.db.broken-%u and rebuilt"
		  " from torrents/: what is on disk will be checked again",
		  path, n);
	r = state_sql_open(path, &st->sql, why);
	if (!r)
		r = skip_used_ids(st);
	if (r && !why[0])
		snprintf(why, STATE_WHY_SIZE, "%s: %s", path, strerror(-r));
out_path:
	free(path);
	return r;
}

int state_open(const char *dir, struct workers *workers, struct state **out,
	       char why[STATE_WHY_SIZE])
{
	struct state *st = mem_alloc(sizeof(*st));
	int r;

	why[0] = '\0';
	st->workers = workers;
	st->dir = mem_strdup(dir);
	st->torrents_fd = -1;
	st->waiting_end = &st->waiting;
	pthread_mutex_init(&st->lock, NULL);
	st->lock_fd = state_files_lock(dir, why);
	if (st->lock_fd < 0) {
		r = st->lock_fd;
		goto out_close;
	}
	st->torrents_fd = state_files_open(dir);
	if (st->torrents_fd < 0) {
		r = st->torrents_fd;
		snprintf(why, STATE_WHY_SIZE, "%s/torrents: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	r = open_database(st, why);
	if (r)
		goto out_close;
	r = adopt_files(st);
	if (r) {
		snprintf(why, STATE_WHY_SIZE, "reading %s/torrents: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	r = state_sql_last_id(st->sql, &st->last_id);
	if (r) {
		snprintf(why, STATE_WHY_SIZE, "%s/state.db: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	*out = st;
	return 0;
out_close:
	state_close(st);
	return r;
}

void state_close(struct state *st)
{
	if (!st)
		return;
	CHECK(!st->waiting);
	state_sql_close(st->sql);
	if (st->torrents_fd >= 0)
		close(st->torrents_fd);
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	pthread_mutex_destroy(&st->lock);
	free(st->dir);
	free(st);
}
