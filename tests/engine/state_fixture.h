/* tests/engine/state_fixture.h: a state in a folder of its own, with loop and
 * workers, and torrents to put into it. */
#pragma once

#include "tests/engine/scratch.h"

#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "engine/state.h"

struct world {
	char top[PATH_MAX]; /* removed in the end */
	char dir[PATH_MAX]; /* of the state */
	struct loop *loop;
	struct workers *workers;
	struct state *state;
	char why[STATE_WHY_SIZE];
	unsigned num_done;
	int last_r;
	int64_t last_id;
};

static inline int world_open(struct world *w)
{
	int r;

	w->loop = loop_new();
	w->workers = workers_new(w->loop);
	assert_non_null(w->workers);
	r = state_open(w->dir, w->workers, &w->state, w->why);
	if (r)
		w->state = NULL;
	return r;
}

static inline void world_close(struct world *w)
{
	workers_free(w->workers);
	loop_free(w->loop);
	state_close(w->state);
	w->state = NULL;
}

static inline struct world *world_new(const char *base)
{
	struct world *w = mem_alloc(sizeof(*w));

	scratch_make(base, w->top);
	snprintf(w->dir, sizeof(w->dir), "%s", w->top);
	return w;
}

/* The state's folder is REL below the test's. */
static inline void world_enter(struct world *w, const char *rel)
{
	snprintf(w->dir, sizeof(w->dir), "%s", scratch_path(w->top, rel));
}

static inline void world_free(struct world *w)
{
	scratch_remove(w->top);
	free(w);
}

static inline void world_on_done(void *arg, int r, int64_t id)
{
	struct world *w = arg;

	w->num_done++;
	w->last_r = r;
	w->last_id = id;
}

/* Runs the loop until COUNT calls are done in all. */
static inline int world_wait(struct world *w, unsigned count)
{
	while (w->num_done < count)
		loop_run_once(w->loop, 1000);
	return w->last_r;
}

/* A .torrent of one file, different for each N. Owned by the caller. */
static inline char *torrent_make(unsigned n, size_t *len, struct infohash *ih)
{
	char info[200], *out;
	int info_len = snprintf(info, sizeof(info),
				"d6:lengthi16384e4:name12:film-%07u"
				"12:piece lengthi16384e6:pieces20:%020ue",
				n, n);
	out = mem_printf("d4:info%se", info);
	*len = strlen(out);
	sha1(info, (size_t)info_len, ih->b);
	return out;
}

static inline int world_put(struct world *w, unsigned n, bool is_dirty)
{
	struct state_torrent t = { .added_s = 1000 + n, .is_dirty = is_dirty };
	size_t len;
	char *bytes = torrent_make(n, &len, &t.infohash);

	state_put(w->state, &t, (const uint8_t *)bytes, len, world_on_done, w);
	free(bytes);
	return world_wait(w, w->num_done + 1);
}

/* Version V of somebody's bits and stamps. */
#define BITS   3000
#define STAMPS 40
static inline void version_fill(uint32_t v, uint8_t bits[BITS],
				struct store_stamp stamps[STAMPS])
{
	memset(bits, (int)(v * 37 + 1), BITS);
	memcpy(bits, &v, sizeof(v));
	for (uint32_t i = 0; i < STAMPS; i++)
		stamps[i] = (struct store_stamp){ v, i, (int64_t)v << 32, ~v };
}

/* The version of what was loaded, or UINT32_MAX if it is none ever written. */
static inline uint32_t version_of(const struct state_torrent *t)
{
	struct store_stamp stamps[STAMPS];
	uint8_t bits[BITS];
	uint32_t v;

	if (t->have_len != BITS || t->num_stamps != STAMPS)
		return UINT32_MAX;
	memcpy(&v, t->have, sizeof(v));
	version_fill(v, bits, stamps);
	if (memcmp(bits, t->have, BITS) ||
	    memcmp(stamps, t->stamps, sizeof(stamps)))
		return UINT32_MAX;
	return v;
}

static inline void world_put_version(struct world *w, int64_t id, uint32_t v)
{
	struct store_stamp stamps[STAMPS];
	uint8_t bits[BITS];
	struct state_torrent t = {
		.id = id,
		.have = bits,
		.have_len = BITS,
		.stamps = stamps,
		.num_stamps = STAMPS,
		.uploaded = v,
	};

	version_fill(v, bits, stamps);
	state_put_have(w->state, &t, world_on_done, w);
}

/* What state_load said, with copies of what is compared. */
struct loaded {
	struct {
		struct infohash infohash;
		int64_t id, added_s;
		bool has_metainfo, is_dirty, has_bits;
		uint32_t version;
		uint64_t uploaded;
		char magnet[200];
	} t[2000];
	unsigned num;
};

static inline void loaded_on_torrent(void *arg, const struct state_torrent *t)
{
	struct loaded *l = arg;

	assert_true(l->num < ARRAY_LEN(l->t));
	l->t[l->num].infohash = t->infohash;
	l->t[l->num].id = t->id;
	l->t[l->num].added_s = t->added_s;
	l->t[l->num].has_metainfo = t->has_metainfo;
	l->t[l->num].is_dirty = t->is_dirty;
	l->t[l->num].has_bits = t->have != NULL;
	l->t[l->num].version = t->have ? version_of(t) : 0;
	l->t[l->num].uploaded = t->uploaded;
	snprintf(l->t[l->num].magnet, sizeof(l->t[0].magnet), "%s",
		 t->magnet ? t->magnet : "");
	if (l->num)
		assert_true(t->id > l->t[l->num - 1].id);
	l->num++;
}

static inline struct loaded *world_load(struct world *w)
{
	struct loaded *l = mem_alloc(sizeof(*l));

	assert_int_equal(state_load(w->state, loaded_on_torrent, l), 0);
	return l;
}

/* Is N's metainfo readable and as it was put? */
static inline bool world_has_metainfo(struct world *w, unsigned n)
{
	struct infohash ih;
	size_t len, got;
	char *bytes = torrent_make(n, &len, &ih);
	uint8_t *read;
	bool same = false;

	if (!state_read_metainfo(w->state, &ih, &read, &got)) {
		same = got == len && !memcmp(read, bytes, len);
		free(read);
	}
	free(bytes);
	return same;
}

static inline struct infohash torrent_infohash(unsigned n)
{
	struct infohash ih;
	size_t len;

	free(torrent_make(n, &len, &ih));
	return ih;
}
