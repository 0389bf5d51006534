/* From quiet to torrent:
 *
 *   look    a worker lists what there is. Not quiet for long enough yet: wait.
 *           As it was when its torrent was made: nothing to do.
 *   hash    what is not hashed, or was when the file had another stamp
 *   verify  look again, if anything was hashed: all stamps must be the same
 *   make    a worker assembles the torrent
 *   add     the library takes it, the one before it leaves
 *
 * A torrent keeps its name when the file or folder is renamed, as long as its
 * bytes are the same: links that were given away go on working. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "fs/publish_parts.h"
#include "fs/publish_private.h"

/* Hashes of larger entries are not kept in memory once they are published, and
 * none of a tree that is only read. */
#define KEEP_BYTES (64ull << 30)

#define TICK_MS 20 /* longer than one of any file system's clock */

enum seal_phase {
	SEAL_LOOK,
	SEAL_HASH,
	SEAL_VERIFY,
	SEAL_MAKE,
	SEAL_ADD,
};

struct seal {
	struct job job;
	struct publish *p;
	struct publish_entry *entry; /* NULL: nobody wants it any more */
	enum seal_phase phase;
	bool is_out;  /* at a worker, or being saved */
	bool is_busy; /* begins to hash: news of it must wait */
	bool has_hashed;
	int64_t looked_ms; /* wall clock, before it was looked at */
	char *path;        /* owned; of the entry when it began */
	struct publish_scan scan, again;
	struct publish_parts *parts; /* owned; what the torrent is made of */
	char *name;                  /* owned; that it had before; or NULL */
	struct infohash before;
	struct metainfo *mi;        /* owned; made */
	struct store_stamp *stamps; /* owned; of mi's files */
	char why[MAKE_WHY_SIZE];
	int r;
};

static void seal_free(struct seal *s)
{
	publish_scan_release(&s->scan);
	publish_scan_release(&s->again);
	publish_parts_free(s->parts);
	metainfo_free(s->mi);
	free(s->stamps);
	free(s->name);
	free(s->path);
	free(s);
}

void seal_stop(struct publish_entry *e)
{
	struct seal *s = e->seal;

	if (!s)
		return;
	e->seal = NULL;
	s->entry = NULL;
	if (!s->is_out)
		seal_free(s);
}

/* To a worker. */
static void submit(struct seal *s, enum seal_phase phase, enum worker_lane lane,
		   void (*run)(struct job *job))
{
	s->phase = phase;
	s->is_out = true;
	s->p->num_jobs++;
	s->job.run = run;
	worker_submit(s->p->s->workers, lane, &s->job);
}

/* Back from there. False: nobody wants it. */
static bool is_back(struct seal *s)
{
	s->is_out = false;
	s->p->num_jobs--;
	if (s->entry)
		return true;
	seal_free(s);
	return false;
}

static void end(struct seal *s, enum publish_state state)
{
	struct publish_entry *e = s->entry;

	e->is_urgent &= state == PUBLISH_SETTLING;
	publish_set_state(e, state);
	seal_stop(e);
}

static void fail(struct seal *s, int r, const char *why)
{
	struct publish_entry *e = s->entry;
	char text[sizeof(e->error)]; /* WHY may be S's own */

	snprintf(text, sizeof(text), "%s", *why ? why : strerror(-r));
	log_warn("publish %s: %s", e->path, text);
	end(s, PUBLISH_FAILED);
	memcpy(e->error, text, sizeof(text));
}

/* ---- look ---- */

static void look_run(struct job *job)
{
	struct seal *s = container_of(job, struct seal, job);

	s->looked_ms = clock_wall_ms();
	s->r = publish_scan(s->p->root, s->path,
			    s->phase == SEAL_LOOK ? &s->scan : &s->again);
}

static char *path_of(const struct seal *s, const struct publish_item *item)
{
	return mem_printf("%s%s%s", s->path, *item->path ? "/" : "",
			  item->path);
}

/* Is it quiet? What happens behind our back stops no clock but this. Even what
 * must be published now waits for the clock of the file system to move on: a
 * change within one of its ticks would leave the same stamp. */
static bool is_quiet(const struct seal *s)
{
	struct publish_entry *e = s->entry;
	int64_t age_ms = s->looked_ms - s->scan.newest_ns / 1000000;
	int64_t need_ms =
		e->is_urgent || e->delay_ms < TICK_MS ? TICK_MS : e->delay_ms;

	if (age_ms < 0 || age_ms >= need_ms)
		return true;
	timer_set_ms(&e->timer, need_ms - age_ms + 1);
	return false;
}

/* As when its torrent was made, or when that was taken away by hand. */
static bool is_known(const struct seal *s)
{
	struct publish_entry *e = s->entry;

	if (memcmp(e->fingerprint, s->scan.fingerprint,
		   sizeof(e->fingerprint)) != 0)
		return false;
	return e->state == PUBLISH_WITHDRAWN || publish_torrent(e);
}

static uint32_t choose_piece_length(const struct seal *s)
{
	return make_piece_length(s->scan.total);
}

/* What there is on disk decides. True: it is hashed already. */
static bool prepare_file(struct seal *s, const struct publish_item *item)
{
	char *path = path_of(s, item);
	struct publish_file *f = publish_file_of(s->entry, path, true);

	free(path);
	if (!filehash_resize(&f->hash, (uint64_t)item->stamp.size))
		s->r = -ENOMEM;
	if (!publish_stamp_eq(&f->stamp, &item->stamp)) {
		publish_hash_void(f, 0, UINT64_MAX);
		filehash_forget(&f->hash, 0, UINT64_MAX);
		f->stamp = item->stamp;
	}
	if (f->hash.piece_length != choose_piece_length(s)) {
		publish_hash_void(f, 0, UINT64_MAX);
		filehash_set_piece_length(&f->hash, choose_piece_length(s));
	}
	f->from = f->until = 0;
	if (filehash_is_whole(&f->hash) && list_is_empty(&f->steps))
		return true;
	publish_hash(f, 0, f->hash.num_pieces);
	return false;
}

/* Files that are gone take their hashes with them. */
static void forget_absent(struct seal *s)
{
	struct publish_entry *e = s->entry;
	size_t seen = 0, all = 0;

	list_foreach(f, &e->files, struct publish_file, node)
		all++;
	for (size_t i = 0; i < s->scan.num_items; i++) {
		char *path = path_of(s, &s->scan.items[i]);
		struct publish_file *f = publish_file_of(e, path, false);

		free(path);
		if (!f)
			continue;
		/* Those that are left in front are absent. */
		list_remove(&f->node);
		list_push_back(&e->files, &f->node);
		seen++;
	}
	for (; all > seen; all--)
		publish_file_free(
			list_first(&e->files, struct publish_file, node));
}

static void verify_or_make(struct seal *s);

static void start_hashing(struct seal *s)
{
	struct publish_entry *e = s->entry;
	bool is_whole = true;

	s->phase = SEAL_HASH;
	s->is_busy = true;
	forget_absent(s);
	e->bytes = s->scan.total;
	for (size_t i = 0; i < s->scan.num_items && !s->r; i++)
		is_whole &= prepare_file(s, &s->scan.items[i]);
	s->is_busy = false;
	s->has_hashed = !is_whole;
	/* One that only has another name or time goes on as it was. */
	if (!is_whole || e->state != PUBLISH_DONE)
		publish_set_state(e, PUBLISH_HASHING);
	if (s->r < 0)
		fail(s, s->r, "no memory for its hashes");
	else if (is_whole)
		verify_or_make(s);
	else
		seal_on_hashed(e); /* it may be done meanwhile */
}

static void look_done(struct job *job)
{
	struct seal *s = container_of(job, struct seal, job);
	struct publish_entry *e;

	if (!is_back(s))
		return;
	e = s->entry;
	if (s->r == -ENOENT) {
		publish_on_removed(s->p, e->path);
		return;
	}
	if (s->r < 0) {
		fail(s, s->r, s->scan.why);
		return;
	}
	e->is_dir = s->scan.is_dir;
	watch_entry(e, s->scan.folders, s->scan.num_folders);
	if (is_known(s)) {
		e->bytes = s->scan.total;
		end(s, e->state == PUBLISH_WITHDRAWN ? PUBLISH_WITHDRAWN
						     : PUBLISH_DONE);
	} else if (!is_quiet(s)) {
		end(s, PUBLISH_SETTLING);
	} else if (!s->scan.total) {
		e->bytes = 0;
		end(s, PUBLISH_NOTHING);
		publish_drop_torrent(e);
	} else {
		start_hashing(s);
	}
}

void seal_start(struct publish_entry *e)
{
	struct seal *s;

	if (e->p->is_stopping || e->writers || e->is_held)
		return;
	seal_stop(e);
	timer_stop(&e->timer);
	s = mem_alloc(sizeof(*s));
	s->p = e->p;
	s->entry = e;
	s->path = mem_strdup(e->path);
	s->job.done = look_done;
	e->seal = s;
	submit(s, SEAL_LOOK, LANE_DISK, look_run);
}

/* ---- hash ---- */

uint64_t seal_bytes_missing(const struct publish_entry *e)
{
	uint64_t n = 0;

	list_foreach(f, &e->files, struct publish_file, node) {
		uint64_t missing =
			(uint64_t)f->hash.missing * f->hash.piece_length;

		n += missing < f->hash.size ? missing : f->hash.size;
	}
	return n;
}

void seal_on_hashed(struct publish_entry *e)
{
	struct seal *s = e->seal;

	if (!s || s->phase != SEAL_HASH || s->is_busy)
		return;
	list_foreach(f, &e->files, struct publish_file, node) {
		if (!list_is_empty(&f->steps) || f->from < f->until)
			return; /* more is to come */
		if (filehash_is_whole(&f->hash))
			continue;
		if (f->r == -ENOENT || f->r == -ESTALE || !f->r)
			publish_settle(e, false); /* it changes under us */
		else
			fail(s, f->r, "");
		return;
	}
	verify_or_make(s);
}

/* ---- verify ---- */

static void make_start(struct seal *s);

static void verify_done(struct job *job)
{
	struct seal *s = container_of(job, struct seal, job);

	if (!is_back(s))
		return;
	if (s->r < 0 || memcmp(s->again.fingerprint, s->scan.fingerprint,
			       sizeof(s->scan.fingerprint)) != 0)
		publish_settle(s->entry, false);
	else
		make_start(s);
}

static void verify_or_make(struct seal *s)
{
	if (!s->has_hashed) {
		make_start(s);
		return;
	}
	s->job.done = verify_done;
	submit(s, SEAL_VERIFY, LANE_DISK, look_run);
}

/* ---- make ---- */

/* The torrent's own name is kept if that gives the torrent that is there. */
static void make_run(struct job *job)
{
	struct seal *s = container_of(job, struct seal, job);
	const char *slash = strrchr(s->path, '/');

	if (s->name) {
		s->r = publish_parts_assemble(s->parts, s->name, &s->mi,
					      s->why);
		if (!s->r && infohash_eq(&s->mi->infohash, &s->before))
			return;
		metainfo_free(s->mi);
		s->mi = NULL;
	}
	s->r = publish_parts_assemble(s->parts, slash ? slash + 1 : s->path,
				      &s->mi, s->why);
}

/* Where the stamps of the scan go: pads have none. */
static void spread_stamps(struct seal *s)
{
	const struct metainfo *mi = s->mi;

	s->stamps = mem_alloc_array(mi->num_files, sizeof(*s->stamps));
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];
		struct publish_item key = {
			.path = mi->is_multi ? f->origpath : "",
		};
		struct publish_item *item;

		if (f->flags & FILE_PAD)
			continue;
		item = bsearch(&key, s->scan.items, s->scan.num_items,
			       sizeof(key), publish_item_cmp);
		if (item)
			s->stamps[i] = item->stamp;
	}
}

static void add(struct seal *s);

static void make_done(struct job *job)
{
	struct seal *s = container_of(job, struct seal, job);

	if (!is_back(s))
		return;
	if (s->r < 0) {
		fail(s, s->r, s->why);
		return;
	}
	spread_stamps(s);
	add(s);
}

static void add_part(struct seal *s, const struct publish_item *item)
{
	char *path = path_of(s, item);
	struct publish_file *f = publish_file_of(s->entry, path, false);

	free(path);
	publish_parts_add(s->parts, item->path, item->is_exec, &f->hash);
}

/* BEP 19: of a file its own URL, of a folder that of the one above it, with a
 * slash; whoever uses it adds the names in the torrent. */
static void add_webseed(struct seal *s)
{
	const char *base = s->p->s->opts->publish_webseed;
	size_t n = strlen(base), len = strlen(s->path);
	struct buf url;

	while (n && base[n - 1] == '/')
		n--;
	while (s->scan.is_dir && len && s->path[len - 1] != '/')
		len--;
	buf_init(&url, LIMIT_URL_BYTES);
	buf_add(&url, base, n);
	buf_add_str(&url, "/");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s->path[i];

		if (isalnum(c) || strchr("/-._~", c))
			buf_add(&url, &c, 1);
		else
			buf_printf(&url, "%%%02X", c);
	}
	buf_add(&url, "", 1);
	if (!url.is_broken)
		publish_parts_add_webseed(s->parts, (const char *)url.ptr);
	buf_release(&url);
}

static void make_start(struct seal *s)
{
	const struct publish_options *o = &s->scan.options;
	const struct opts_list *own = &s->p->s->opts->trackers;
	struct torrent *t = publish_torrent(s->entry);

	/* Trackers of -o tracker= are for everything that is public. */
	s->parts = publish_parts_new(s->scan.is_dir, choose_piece_length(s), o,
				     own->items, o->is_private ? 0 : own->num);
	if (s->p->s->opts->publish_webseed)
		add_webseed(s);
	for (size_t i = 0; i < s->scan.num_items; i++)
		add_part(s, &s->scan.items[i]);
	if (t && torrent_metainfo(t)) {
		s->name = mem_strdup(torrent_metainfo(t)->origname);
		s->before = *torrent_infohash(t);
	}
	s->job.done = make_done;
	submit(s, SEAL_MAKE, LANE_HASH, make_run);
}

/* ---- add ---- */

static void release_large(struct publish_entry *e)
{
	if (e->bytes <= KEEP_BYTES && !e->p->is_read_only)
		return;
	list_foreach_safe(f, &e->files, struct publish_file, node)
		publish_file_free(f);
}

static void on_saved(void *arg, int r)
{
	struct seal *s = arg;
	struct publish_entry *e = s->entry;
	char hex[41];

	s->is_out = false;
	s->p->num_jobs--;
	if (!e) {
		seal_free(s);
		return;
	}
	if (r < 0) {
		fail(s, r, "the torrent cannot be saved");
		return;
	}
	log_info("published %s: infohash=%s bytes=%llu", e->path,
		 hex_encode(e->infohash.b, sizeof(e->infohash.b), hex),
		 (unsigned long long)e->bytes);
	release_large(e);
	end(s, PUBLISH_DONE);
}

/* The note first, then the torrent before it leaves and the new one comes. */
static void add(struct seal *s)
{
	struct publish_entry *e = s->entry;
	struct engine *engine = e->p->s->engine;
	struct torrent *old = publish_torrent(e), *t;
	struct infohash before = e->infohash;
	struct metainfo *mi = s->mi;
	struct store_stamp *stamps = s->stamps;
	bool is_same = old && infohash_eq(&s->mi->infohash, &before);
	struct engine_place place = {
		.dir = mem_strdup(e->p->s->opts->publish_dir),
		.name = mem_strdup(e->path),
	};
	int r;

	e->infohash = s->mi->infohash;
	e->has_torrent = true;
	memcpy(e->fingerprint, s->scan.fingerprint, sizeof(e->fingerprint));
	if (!is_same)
		publish_set_state(e, PUBLISH_HASHING); /* not withdrawn */
	memory_put(e, old && !is_same ? &before : NULL);
	list_foreach(f, &e->files, struct publish_file, node)
		f->index = UINT32_MAX;
	/* First, so that the new one has its name in the library. */
	if (old && !is_same && torrent_place(old) &&
	    !strcmp(torrent_place(old), e->path))
		engine_remove(engine, old, false);
	s->is_out = true;
	s->p->num_jobs++;
	s->phase = SEAL_ADD;
	s->mi = NULL;
	s->stamps = NULL;
	/* S may be gone when this returns, but for an error. */
	r = engine_add_published(engine, mi, &place, stamps, &t, on_saved, s);
	free(stamps);
	if (r < 0 && r != -EEXIST) {
		e->has_torrent = false;
		s->is_out = false;
		s->p->num_jobs--;
		fail(s, r, r == -E2BIG ? "the library is full" : "");
	}
}
