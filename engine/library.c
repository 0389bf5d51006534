/* The library: which torrents there are, and how they come and go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"
#include "engine/names.h"

static struct torrent **bucket_of(struct engine *e, const struct infohash *ih)
{
	return &e->by_hash[load_be32(ih->b) % TORRENT_BUCKETS];
}

struct torrent *engine_find(struct engine *e, const struct infohash *ih)
{
	for (struct torrent *t = *bucket_of(e, ih); t; t = t->hash_next) {
		if (infohash_eq(&t->infohash, ih))
			return t;
	}
	return NULL;
}

struct torrent *engine_by_id(struct engine *e, int64_t id)
{
	list_foreach(t, &e->torrents, struct torrent, node) {
		if (t->id == id)
			return t;
	}
	return NULL;
}

struct torrent *engine_first(struct engine *e)
{
	return list_first(&e->torrents, struct torrent, node);
}

struct torrent *engine_next(struct torrent *t)
{
	return t->node.next == &t->engine->torrents
		       ? NULL
		       : list_entry(t->node.next, struct torrent, node);
}

size_t engine_num_torrents(const struct engine *e)
{
	return e->num_torrents;
}

static void enter(struct engine *e, struct torrent *t)
{
	struct torrent **b = bucket_of(e, &t->infohash);

	t->hash_next = *b;
	*b = t;
	list_push_back(&e->torrents, &t->node);
	e->num_torrents++;
}

static void leave(struct engine *e, struct torrent *t)
{
	struct torrent **b = bucket_of(e, &t->infohash);

	while (*b != t)
		b = &(*b)->hash_next;
	*b = t->hash_next;
	list_remove(&t->node);
	e->num_torrents--;
}

/* An add that waits for the disk, to tell whoever asked. */
struct saving {
	struct engine *engine;
	void (*saved)(void *arg, int r);
	void *arg;
};

static void on_put(void *arg, int r, int64_t id)
{
	struct saving *s = arg;

	s->engine->num_saving--;
	if (s->saved)
		s->saved(s->arg, r);
	free(s);
}

static struct saving *saving_new(struct engine *e,
				 void (*saved)(void *arg, int r), void *arg)
{
	struct saving *s = mem_alloc(sizeof(*s));

	s->engine = e;
	s->saved = saved;
	s->arg = arg;
	e->num_saving++;
	return s;
}

/* LEFT (or NULL) has bits and stamps, if they are known. */
static void put_row(struct engine *e, struct torrent *t,
		    const struct state_torrent *left,
		    void (*saved)(void *arg, int r), void *arg)
{
	struct state_torrent row = {
		.id = t->id,
		.infohash = t->infohash,
		.magnet = t->mi ? NULL : t->magnet,
		.has_metainfo = t->mi != NULL,
		.added_s = t->added_s,
		.have = left ? left->have : NULL,
		.have_len = left ? left->have_len : 0,
		.stamps = left ? left->stamps : NULL,
		.num_stamps = left ? left->num_stamps : 0,
	};
	struct saving *s;
	struct buf b;

	if (!e->state) {
		if (saved)
			saved(arg, 0);
		return;
	}
	s = saving_new(e, saved, arg);
	buf_init(&b, 0);
	if (t->mi)
		metainfo_write(t->mi, &b);
	state_put(e->state, &row, t->mi ? b.ptr : NULL, b.len, on_put, s);
	buf_release(&b);
}

/* Does a torrent that was removed still write or delete where T has its data?
 */
static bool is_place_in_use(const struct torrent *t)
{
	const struct engine *e = t->engine;

	list_foreach(old, &e->leaving, struct torrent, node) {
		if (infohash_eq(&old->infohash, &t->infohash) ||
		    (e->config.is_flat && !strcmp(old->name, t->name)))
			return true;
	}
	return false;
}

/* Metadata is new here: looks at what is on disk, once it is T's alone. */
static void begin(struct torrent *t)
{
	t->is_waiting = is_place_in_use(t);
	if (!t->is_waiting)
		resume_start(t, NULL);
}

void engine_save_new(struct engine *e, struct torrent *t)
{
	put_row(e, t, NULL, NULL, NULL);
	begin(t);
}

static int64_t new_id(struct engine *e)
{
	return e->state ? state_new_id(e->state) : ++e->next_id;
}

/* More trackers, and metadata for a magnet: what a second add brings. */
static int add_again(struct torrent *t, struct metainfo *mi,
		     void (*saved)(void *arg, int r), void *arg)
{
	for (size_t i = 0; i < mi->num_trackers; i++)
		torrent_add_url(t, mi->trackers[i], mi->tier_of[i]);
	if (t->mi) {
		metainfo_free(mi);
		if (saved)
			saved(arg, 0);
		return -EEXIST;
	}
	metaxfer_free(t->metaxfer);
	t->metaxfer = NULL;
	torrent_attach(t, mi);
	put_row(t->engine, t, NULL, saved, arg);
	begin(t);
	engine_on_event_metadata(t->engine, t);
	return -EEXIST;
}

/* PLACE and LEFT may be NULL. */
static int add_metainfo(struct engine *e, struct metainfo *mi,
			struct engine_place *place,
			const struct state_torrent *left, struct torrent **out,
			void (*saved)(void *arg, int r), void *arg)
{
	struct torrent *t = engine_find(e, &mi->infohash);

	if (!mi->has_v1) {
		metainfo_free(mi);
		return -EOPNOTSUPP;
	}
	*out = t;
	if (e->is_stopping) {
		metainfo_free(mi);
		return -ESHUTDOWN;
	}
	if (t)
		return add_again(t, mi, saved, arg);
	if (e->num_torrents >= LIMIT_TORRENTS) {
		metainfo_free(mi);
		return -E2BIG;
	}
	*out = t = torrent_new(e, &mi->infohash);
	t->id = new_id(e);
	t->added_s = clock_wall_s();
	enter(e, t);
	if (place) {
		t->place = *place;
		memset(place, 0, sizeof(*place));
	}
	torrent_attach(t, mi);
	put_row(e, t, left, saved, arg);
	torrent_start(t);
	if (left)
		resume_start(t, left);
	else
		begin(t);
	if (e->events.on_added)
		e->events.on_added(e->events_arg, t);
	engine_wake(e);
	return 0;
}

int engine_add_metainfo(struct engine *e, struct metainfo *mi,
			struct torrent **out, void (*saved)(void *arg, int r),
			void *arg)
{
	return add_metainfo(e, mi, NULL, NULL, out, saved, arg);
}

/* T is what lies in PLACE, and what it had lost has been hashed anew. */
static void regain(struct torrent *t, const struct engine_place *place,
		   const struct state_torrent *left)
{
	if (!t->mi || !t->place.name || strcmp(t->place.name, place->name))
		return;
	for (uint32_t i = 0; i < t->have.num_bits; i++) {
		if (bitfield_has(&t->have, i))
			continue;
		torrent_set_piece(t, i, true);
		torrent_tell_have(t, i);
	}
	put_row(t->engine, t, left, NULL, NULL);
}

int engine_add_published(struct engine *e, struct metainfo *mi,
			 struct engine_place *place,
			 const struct store_stamp *stamps, struct torrent **out,
			 void (*saved)(void *arg, int r), void *arg)
{
	struct bitfield have;
	struct state_torrent left = { .stamps = stamps,
				      .num_stamps = mi->num_files };
	int r;

	bitfield_init(&have, mi->layout.num_pieces);
	bitfield_set_all(&have);
	left.have = have.bytes;
	left.have_len = bitfield_size(&have);
	r = add_metainfo(e, mi, place, &left, out, saved, arg);
	if (r == -EEXIST)
		regain(*out, place, &left);
	bitfield_release(&have);
	free(place->dir);
	free(place->name);
	return r;
}

/* Peers of a magnet are numeric here; names would need a look-up and are left
 * to trackers. */
static void add_from_magnet(struct torrent *t, const struct magnet *m)
{
	for (size_t i = 0; i < m->num_trackers; i++)
		torrent_add_url(t, m->trackers[i], (unsigned)i);
	for (size_t i = 0; i < m->num_peers; i++) {
		struct addr a;

		if (!addr_parse(m->peers[i], 0, &a))
			torrent_add_peer(t, &a, ORIGIN_USER);
	}
}

static void name_from_magnet(struct torrent *t, const struct magnet *m)
{
	struct buf name;

	t->has_v1 = m->has_v1;
	t->has_v2 = m->has_v2;
	t->infohash2 = m->infohash2;
	t->magnet = magnet_format(m);
	buf_init(&name, LIMIT_PATH_BYTES);
	if (m->name && names_add_element(&name, (const uint8_t *)m->name,
					 strlen(m->name))) {
		free(t->name);
		t->name = mem_strndup((const char *)name.ptr, name.len);
	}
	buf_release(&name);
}

int engine_add_magnet(struct engine *e, struct magnet *m, struct torrent **out,
		      void (*saved)(void *arg, int r), void *arg)
{
	struct torrent *t = engine_find(e, &m->infohash);
	int r = 0;

	*out = t;
	if (t) {
		add_from_magnet(t, m);
		if (saved)
			saved(arg, 0);
		r = -EEXIST;
	} else if (!m->has_v1) {
		r = -EOPNOTSUPP;
	} else if (e->num_torrents >= LIMIT_TORRENTS) {
		r = -E2BIG;
	} else if (e->is_stopping) {
		r = -ESHUTDOWN;
	} else {
		*out = t = torrent_new(e, &m->infohash);
		t->id = new_id(e);
		t->added_s = clock_wall_s();
		name_from_magnet(t, m);
		enter(e, t);
		add_from_magnet(t, m);
		put_row(e, t, NULL, saved, arg);
		torrent_start(t);
		if (e->events.on_added)
			e->events.on_added(e->events_arg, t);
		engine_wake(e);
	}
	magnet_free(m);
	return r;
}

/* --- the last run --- */

static void load_metainfo(struct engine *e, struct torrent *t,
			  const struct state_torrent *row)
{
	char why[METAINFO_WHY_SIZE] = "";
	struct metainfo *mi = NULL;
	uint8_t *bytes = NULL;
	size_t len = 0;
	int r = state_read_metainfo(e->state, &row->infohash, &bytes, &len);

	if (!r)
		r = metainfo_parse(bytes, len, &mi, why);
	free(bytes);
	if (!r && !infohash_eq(&mi->infohash, &row->infohash)) {
		metainfo_free(mi);
		r = -EBADMSG;
	}
	if (r) {
		log_warn("metainfo of %s is lost: %s; fetching it again",
			 t->name, why[0] ? why : strerror(-r));
		return;
	}
	torrent_attach(t, mi);
}

static void load_one(void *arg, const struct state_torrent *row)
{
	struct engine *e = arg;
	struct torrent *t;
	struct magnet *m = NULL;
	char why[MAGNET_WHY_SIZE];

	if (e->num_torrents >= LIMIT_TORRENTS || engine_find(e, &row->infohash))
		return;
	t = torrent_new(e, &row->infohash);
	t->id = row->id;
	t->added_s = row->added_s;
	t->uploaded = row->uploaded;
	t->downloaded = row->downloaded;
	t->has_v1 = true;
	enter(e, t);
	if (row->magnet &&
	    !magnet_parse(row->magnet, strlen(row->magnet), &m, why)) {
		name_from_magnet(t, m);
		add_from_magnet(t, m);
		magnet_free(m);
	}
	if (e->config.place)
		(void)e->config.place(e->config.place_arg, &row->infohash,
				      &t->place);
	if (row->has_metainfo)
		load_metainfo(e, t, row);
	torrent_start(t);
	if (t->mi)
		resume_start(t, row);
	if (e->events.on_added)
		e->events.on_added(e->events_arg, t);
}

int engine_load(struct engine *e)
{
	return e->state ? state_load(e->state, load_one, e) : 0;
}

/* --- leaving --- */

struct removal {
	struct job job;
	struct torrent *torrent;
	char *folder; /* owned; goes with the data; or NULL */
};

static void delete_run(struct job *job)
{
	struct removal *d = container_of(job, struct removal, job);
	int r = store_delete(d->torrent->store);

	if (r)
		log_warn("data of %s is not all deleted: %s", d->torrent->name,
			 strerror(-r));
	/* The folder of the infohash is ours, a folder of weirctl's user is
	 * not. It stays when strangers' files are in it. */
	if (d->folder)
		(void)rmdir(d->folder);
}

static void delete_done(struct job *job)
{
	struct removal *d = container_of(job, struct removal, job);

	d->torrent->jobs_out--;
	free(d->folder);
	free(d);
}

static void delete_data(struct torrent *t)
{
	struct removal *d = mem_alloc(sizeof(*d));
	char hex[41];

	if (!t->engine->config.is_flat)
		d->folder = mem_printf(
			"%s/%s", t->engine->config.data_dir,
			hex_encode(t->infohash.b, sizeof(t->infohash.b), hex));
	t->delete_data = false;
	d->job.run = delete_run;
	d->job.done = delete_done;
	d->torrent = t;
	t->jobs_out++;
	worker_submit(t->engine->workers, LANE_DISK, &d->job);
}

void engine_remove(struct engine *e, struct torrent *t, bool delete)
{
	if (e->events.on_removed)
		e->events.on_removed(e->events_arg, t);
	torrent_close(t);
	leave(e, t);
	list_push_back(&e->leaving, &t->node);
	/* Data goes when no write is under way any more. */
	t->delete_data = delete &&t->store && !torrent_is_read_only(t);
	if (e->state)
		state_remove(e->state, t->id, &t->infohash, on_put,
			     saving_new(e, NULL, NULL));
	engine_wake(e);
}

static void begin_waiting(struct engine *e)
{
	list_foreach_safe(t, &e->torrents, struct torrent, node) {
		if (t->is_waiting && !t->is_closing)
			begin(t);
	}
}

void library_tick(struct engine *e)
{
	bool has_left = false;

	list_foreach_safe(t, &e->leaving, struct torrent, node) {
		if (!torrent_is_idle(t))
			continue;
		if (t->delete_data) {
			delete_data(t);
			continue;
		}
		list_remove(&t->node);
		torrent_free(t);
		has_left = true;
	}
	if (has_left)
		begin_waiting(e);
}
