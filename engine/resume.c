/* What survives: bits, in the order data -> sync -> bit.
 *
 * Writing. Pieces are written, then every LIMIT_SYNC_MS or LIMIT_SYNC_BYTES
 * the bits of that moment are copied, the files synced, and the copy committed.
 * A committed bit so always stands on synced bytes. Before a session's first
 * write the row is marked dirty. A clean stop commits the bits with the stamps
 * of the files, and takes the mark away; it comes after the last write, and
 * only if all that is on disk was looked at. A stop in the middle of that look
 * leaves the row dirty, and one before the bits were even loaded leaves it as
 * it is. So does a session in which nothing changed.
 *
 * Reading. After a clean stop the bits count for every file whose stamp is the
 * same; pieces of other files are hashed. After an unclean one the stamps say
 * little: the bits count where the file is the same one (inode) and as long as
 * it should be, and pieces without a bit whose bytes are on disk, those of the
 * open batch, are hashed.
 *
 * Bytes that are somebody's own (engine_add_published) are believed while their
 * stamp is the same, after a clean stop or not, and hashed again otherwise. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

struct resume {
	struct job job; /* the sync under way */
	struct torrent *torrent;
	bool is_loaded; /* the bits of the last run are known, or that there
			 * are none */
	bool is_out, is_again;
	bool is_marked_dirty, has_made_empty, makes_empty;
	bool is_clean; /* row and stamps on record still say the truth */
	uint64_t unsynced_bytes;
	int64_t unsynced_since_ms;
	uint8_t *have; /* owned; bits of the moment the sync began */
	struct store_stamp *stamps; /* owned; of a clean stop only */
	int r;
};

/* --- writing --- */

static struct resume *resume_get(struct torrent *t)
{
	if (!t->resume) {
		t->resume = mem_alloc(sizeof(*t->resume));
		t->resume->torrent = t;
	}
	return t->resume;
}

static void sync_run(struct job *job)
{
	struct resume *s = container_of(job, struct resume, job);
	struct store *store = s->torrent->store;

	if (s->makes_empty)
		(void)store_make_empty(store); /* it says so in its problem */
	s->r = store_sync(store);
	if (!s->r && s->stamps)
		s->r = store_stamps(store, s->stamps);
}

static void save_ended(struct torrent *t, int r)
{
	struct resume *s = t->resume;
	bool is_again = s->is_again;

	free(s->have);
	free(s->stamps);
	s->have = NULL;
	s->stamps = NULL;
	s->is_out = s->is_again = false;
	t->jobs_out--;
	if (r) {
		/* The bytes or bits are not safe: the record stays as it is,
		 * and the next round tries again. */
		log_warn("state of %s is not saved: %s", t->name, strerror(-r));
		s->unsynced_bytes++;
		s->unsynced_since_ms = loop_now_ms(t->engine->loop);
	} else if (is_again && !t->is_closing) {
		resume_save(t);
	}
}

static void put_done(void *arg, int r, int64_t id)
{
	save_ended(arg, r);
}

static void commit(struct torrent *t)
{
	struct resume *s = t->resume;
	struct state_torrent row = {
		.id = t->id,
		.infohash = t->infohash,
		.added_s = t->added_s,
		.has_metainfo = true,
		.have = s->have,
		.have_len = bitfield_size(&t->have),
		.is_dirty = !s->stamps,
		.stamps = s->stamps,
		.num_stamps = s->stamps ? t->mi->num_files : 0,
		.uploaded = t->uploaded,
		.downloaded = t->downloaded,
	};

	if (!t->engine->state) {
		save_ended(t, 0);
		return;
	}
	state_put_have(t->engine->state, &row, put_done, t);
}

static void sync_done(struct job *job)
{
	struct resume *s = container_of(job, struct resume, job);
	struct torrent *t = s->torrent;

	if (s->r) {
		torrent_set_error(t, s->r, "syncing");
		save_ended(t, s->r);
		return;
	}
	if (s->makes_empty)
		s->has_made_empty = true;
	commit(t);
}

static void save(struct torrent *t, bool is_clean)
{
	struct resume *s = t->resume;

	s->unsynced_bytes = 0;
	s->r = 0;
	s->is_out = true;
	t->jobs_out++;
	s->have = mem_dup(t->have.bytes, bitfield_size(&t->have));
	if (is_clean)
		s->stamps =
			mem_alloc_array(t->mi->num_files, sizeof(*s->stamps));
	s->makes_empty = torrent_is_complete(t) && !s->has_made_empty &&
			 !torrent_is_read_only(t);
	s->job.run = sync_run;
	s->job.done = sync_done;
	worker_submit(t->engine->workers, LANE_DISK, &s->job);
}

void resume_save(struct torrent *t)
{
	struct resume *s = resume_get(t);

	if (s->is_out)
		s->is_again = true;
	else if (!s->is_clean)
		save(t, false);
}

void resume_finish(struct torrent *t, bool is_sure)
{
	struct resume *s = t->resume;
	bool is_moved = t->session_up || t->session_down;

	CHECK(!t->jobs_out);
	if (s && s->is_loaded && (!s->is_clean || (is_sure && is_moved)))
		save(t, is_sure);
}

static void note_change(struct torrent *t, uint64_t bytes)
{
	struct resume *s = resume_get(t);

	if (!s->is_marked_dirty && t->engine->state)
		state_mark_dirty(t->engine->state, t->id, NULL, NULL);
	/* The mark that is not durable yet is before the bits in the queue. */
	s->is_marked_dirty = true;
	s->is_clean = false;
	if (!s->unsynced_bytes)
		s->unsynced_since_ms = loop_now_ms(t->engine->loop);
	s->unsynced_bytes += bytes;
	if (s->unsynced_bytes >= LIMIT_SYNC_BYTES && !s->is_out &&
	    !t->is_closing)
		resume_save(t);
}

void resume_on_written(struct torrent *t, uint32_t piece)
{
	note_change(t, layout_piece_size(&t->mi->layout, piece));
}

void resume_on_lost(struct torrent *t)
{
	note_change(t, 1);
}

void resume_tick(struct torrent *t, int64_t now_ms)
{
	struct resume *s = t->resume;

	if (s && s->unsynced_bytes && !s->is_out &&
	    now_ms - s->unsynced_since_ms >= LIMIT_SYNC_MS)
		resume_save(t);
}

void resume_free(struct torrent *t)
{
	if (!t->resume)
		return;
	CHECK(!t->resume->is_out);
	free(t->resume);
	t->resume = NULL;
}

/* --- reading --- */

struct load_job {
	struct job job;
	struct torrent *torrent;
	uint8_t *have; /* owned; as committed */
	bool was_dirty;
	struct store_stamp *then, *now; /* owned; then: NULL if none */
	int r;
};

static void load_run(struct job *job)
{
	struct load_job *j = container_of(job, struct load_job, job);

	j->r = store_stamps(j->torrent->store, j->now);
}

static bool is_unchanged(const struct load_job *j, uint32_t file)
{
	const struct metainfo_file *f = &j->torrent->mi->files[file];
	const struct store_stamp *now = &j->now[file];

	if (j->r)
		return false;
	if (f->flags & (FILE_PAD | FILE_SYMLINK) || !f->length)
		return true;
	if (now->size < 0 || (uint64_t)now->size != f->length)
		return false;
	/* What others write to is believed by its stamp alone. */
	if (j->was_dirty && !j->torrent->place.dir)
		return !j->then || j->then[file].size < 0 ||
		       j->then[file].ino == now->ino;
	return j->then && !memcmp(&j->then[file], now, sizeof(*now));
}

/* Takes away the bits of every piece that touches FILE. True: there were. */
static bool doubt_file(struct torrent *t, struct bitfield *have, uint32_t file)
{
	const struct metainfo_file *f = &t->mi->files[file];
	uint32_t first = layout_piece_at(&t->mi->layout, f->offset);
	uint32_t last;
	bool any = false;

	if (!f->length)
		return false;
	last = layout_piece_at(&t->mi->layout, f->offset + f->length - 1);
	for (uint32_t i = first; i <= last; i++) {
		any |= bitfield_has(have, i) && bitfield_clear(have, i);
	}
	return any;
}

/* In a store of ours, bytes that were never written are holes. In somebody
 * else's, a hole may be a run of right zeros. */
static enum check_which which_to_check(const struct torrent *t)
{
	return torrent_is_read_only(t) ? CHECK_ALL : CHECK_ALLOCATED;
}

/* True: something is on disk that was not there, or not so, when the bits were
 * saved. A file that has no bits may have come back with its disk. */
static bool doubt_changed(const struct load_job *j, struct bitfield *have)
{
	struct torrent *t = j->torrent;
	bool any = false;

	for (uint32_t i = 0; i < t->mi->num_files; i++) {
		if (is_unchanged(j, i))
			continue;
		if (!doubt_file(t, have, i) && j->now[i].size < 0)
			continue;
		log_info("file %s of %s changed since the last run: hashing it",
			 t->mi->files[i].path, t->name);
		any = true;
	}
	return any;
}

static void load_free(struct load_job *j)
{
	free(j->have);
	free(j->then);
	free(j->now);
	free(j);
}

/* A read may have been parked before anything was known to be here. */
static void wake_reads(struct torrent *t)
{
	int64_t now_ms = loop_now_ms(t->engine->loop);

	for (uint32_t i = 0; i < t->have.num_bits && sched_num_parked(t->sched);
	     i++) {
		if (bitfield_has(&t->have, i))
			sched_on_piece(t->sched, t->picker, i, now_ms);
	}
}

static void load_done(struct job *job)
{
	struct load_job *j = container_of(job, struct load_job, job);
	struct torrent *t = j->torrent;
	struct bitfield have;
	bool any;

	t->jobs_out--;
	if (t->is_closing) {
		load_free(j);
		return;
	}
	bitfield_init(&have, t->mi->layout.num_pieces);
	(void)bitfield_load(&have, j->have, bitfield_size(&have));
	any = doubt_changed(j, &have);
	for (uint32_t i = 0; i < have.num_bits; i++) {
		if (bitfield_has(&have, i))
			torrent_set_piece(t, i, true);
	}
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_tell_all(p);
	t->resume->is_loaded = true;
	t->resume->is_marked_dirty = j->was_dirty;
	t->resume->is_clean = !any && !j->was_dirty && j->then;
	any |= j->was_dirty;
	bitfield_release(&have);
	load_free(j);
	if (any)
		check_start(t, which_to_check(t));
	else
		torrent_on_checked(t);
	wake_reads(t);
}

void resume_start(struct torrent *t, const struct state_torrent *left)
{
	size_t size = bitfield_size(&t->have);
	struct load_job *j;

	resume_get(t);
	if (!left || !left->have || left->have_len != size) {
		t->resume->is_loaded = true;
		if (!adopt_start(t))
			check_start(t, which_to_check(t));
		return;
	}
	j = mem_alloc(sizeof(*j));
	j->job.run = load_run;
	j->job.done = load_done;
	j->torrent = t;
	j->have = mem_dup(left->have, size);
	j->was_dirty = left->is_dirty;
	if (left->stamps && left->num_stamps == t->mi->num_files)
		j->then = mem_dup(left->stamps,
				  left->num_stamps * sizeof(*j->then));
	j->now = mem_alloc_array(t->mi->num_files, sizeof(*j->now));
	t->resume->is_marked_dirty = true; /* no mark while bits are set */
	t->jobs_out++;
	worker_submit(t->engine->workers, LANE_DISK, &j->job);
}
