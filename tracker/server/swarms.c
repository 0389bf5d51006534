/* Policy.
 * - An announce lists the peer and is answered under one hold of its shard's
 *   lock, so nothing can be swept away in between.
 * - Who was silent for ttl_min is removed when its torrent is next touched,
 * once a minute at most, or when the clock comes by its shard, every two
 * minutes.
 * - Stamps are minutes modulo 128. They cannot be mistaken for younger ones: a
 *   life is at most 60 minutes, a shard is swept before the next 60 have
 * passed, and a clock that jumps further empties everything.
 * - Over a cap, some torrents are looked at and the one silent for longest is
 *   dropped, until the cap is kept; a single torrent may not hold more than its
 *   share. What finds no room then is answered, but not listed.
 * - Who left stays as "gone" for a life where other owners hold copies. There
 *   are at most so many of them in a list as LIMIT_SWARM_GONE_PART says; the
 *   oldest that is seen makes room. Who left a moment ago stays in any case, up
 *   to LIMIT_SWARM_GONE_YOUNG: news that it came may still be on its way.
 * - A copy replaces what is here if it is younger; of equal age, the state that
 *   is further on wins, gone last, so that owners agree in any order. Minutes
 *   begin at another moment at each owner: a copy that says the same must be
 *   two minutes younger, or two owners would keep each other's dead alive; and
 *   gone wins over who seems to have come in the minute after it, for it may
 *   have been the same minute. */
#include "tracker/server/swarms.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/server/swarms_private.h"

#define TTL_MIN_DEFAULT 45
#define SWEEP_MS        (120 * 1000) /* of all shards, once round */
#define MINUTE_MS       60000
#define SWEEP_LENGTH    256 /* longer lists wait for their shard's turn */
/* A renewal is told when that part of a life has passed since others last heard
 * of the peer: who comes again after an interval, two thirds of a life, and a
 * bit, is then still there. */
#define RENEW_PART     4
#define GONE_LOOKS     32
#define GONE_YOUNG_MIN 2

struct swarms *swarms_new(const struct swarms_options *options, int64_t now_ms)
{
	struct swarms *s = aligned_alloc(64, sizeof(*s));
	size_t n = SWARMS_SHARDS * sizeof(*s->shards);

	CHECK(s);
	memset(s, 0, sizeof(*s));
	s->shards = aligned_alloc(64, n);
	CHECK(s->shards);
	memset(s->shards, 0, n);
	for (unsigned i = 0; i < SWARMS_SHARDS; i++)
		shard_init(&s->shards[i]);
	memcpy(s->x.key, options->seed, sizeof(s->x.key));
	s->x.ttl_min = options->ttl_min ? options->ttl_min : TTL_MIN_DEFAULT;
	if (s->x.ttl_min > LIMIT_SWARM_TTL_MIN)
		s->x.ttl_min = LIMIT_SWARM_TTL_MIN;
	s->x.is_replicated = options->is_replicated;
	s->max_bytes =
		options->max_bytes ? options->max_bytes : LIMIT_SWARMS_BYTES;
	s->max_torrents =
		options->max_torrents ? options->max_torrents : LIMIT_SWARMS;
	s->tick_ms = now_ms;
	s->x.now_min = (unsigned)(now_ms / MINUTE_MS);
	return s;
}

void swarms_free(struct swarms *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SWARMS_SHARDS; i++)
		shard_release(&s->shards[i]);
	free(s->shards);
	free(s);
}

unsigned swarms_ttl_min(const struct swarms *s)
{
	return s->x.ttl_min;
}

/* --- lists --- */

static void count_in(struct shard *sh, uint8_t family, enum swarm_state state,
		     int by)
{
	if (state == SWARM_GONE) {
		sh->gone += (uint32_t)by;
		return;
	}
	*(family == 6 ? &sh->peers6 : &sh->peers4) += (uint32_t)by;
	if (state != SWARM_LEECHER)
		sh->seeders += (uint32_t)by;
}

/* The oldest of the first few, who came first. */
static uint32_t oldest_gone(const struct swarms *s, const struct swarm_list *l)
{
	uint32_t first = l->num[0] + l->num[1], oldest = first;

	for (uint32_t i = 1; i < l->num[REGION_GONE] && i < GONE_LOOKS; i++) {
		if (meta_age(l->meta[first + i], s->x.now_min) >
		    meta_age(l->meta[oldest], s->x.now_min))
			oldest = first + i;
	}
	return oldest;
}

/* Room for one more who left, as the policy has it. */
static void bound_gone(struct swarms *s, struct shard *sh, struct swarm_list *l)
{
	uint32_t most = (l->num[0] + l->num[1]) / LIMIT_SWARM_GONE_PART +
			LIMIT_SWARM_GONE;

	while (l->num[REGION_GONE] > most) {
		uint32_t i = oldest_gone(s, l);

		if (l->num[REGION_GONE] <= LIMIT_SWARM_GONE_YOUNG &&
		    meta_age(l->meta[i], s->x.now_min) < GONE_YOUNG_MIN)
			break;
		swarm_list_remove(l, i);
		sh->gone--;
	}
}

/* Puts META for END, who is at I or new. Returns the place, or SWARM_NOWHERE:
 * there is no room. */
static uint32_t put(struct swarms *s, struct shard *sh, struct swarm_list *l,
		    uint32_t i, const uint8_t *end, uint16_t meta,
		    bool has_room)
{
	int64_t change;

	if (i != SWARM_NOWHERE) {
		count_in(sh, l->family, meta_state(l->meta[i]), -1);
		i = swarm_list_set(l, i, meta);
	} else {
		if (!has_room || swarm_list_bytes(l->swarm) >
					 s->max_bytes / LIMIT_SWARM_SHARE)
			return i;
		change = swarm_list_add(l, end, meta, &i);
		if (change == -ENOMEM)
			return SWARM_NOWHERE;
		shard_account(&s->x, change);
	}
	count_in(sh, l->family, meta_state(meta), 1);
	if (meta_state(meta) == SWARM_GONE)
		bound_gone(s, sh, l);
	return i;
}

static void touch(struct swarms *s, struct shard *sh, struct swarm *w)
{
	uint32_t n4[3], n6[3];

	if (w->swept_min == (uint16_t)s->x.now_min)
		return;
	swarm_list_counts(w, 4, n4);
	swarm_list_counts(w, 6, n6);
	if (n4[0] + n4[1] + n4[2] + n6[0] + n6[1] + n6[2] <= SWEEP_LENGTH)
		shard_sweep_swarm(sh, &s->x, w);
}

static void counts_of(const struct swarm *w, struct swarms_counts *out)
{
	uint32_t n4[3], n6[3];

	swarm_list_counts(w, 4, n4);
	swarm_list_counts(w, 6, n6);
	out->leechers = n4[REGION_LEECHERS] + n6[REGION_LEECHERS];
	out->seeders = n4[REGION_SEEDERS] + n6[REGION_SEEDERS];
	out->completed = w->completed;
}

/* Removes W if nothing of it would be missed. */
static void tidy(struct swarms *s, struct shard *sh, struct swarm *w)
{
	uint32_t n4[3];

	swarm_list_counts(w, 4, n4);
	if (!w->completed && !w->v6 && !(n4[0] | n4[1] | n4[2]))
		shard_remove(sh, &s->x, w);
}

/* --- announces --- */

struct told { /* an announce under way */
	const struct swarms_announce *a;
	struct swarms_answer *out;
	uint8_t end[18];
	uint32_t place; /* of the peer in its own list */
	bool has_room;
};

static enum swarm_state next_state(const struct swarms_announce *a,
				   bool is_known, enum swarm_state old)
{
	if (a->event == ANNOUNCE_STOPPED)
		return SWARM_GONE;
	if (!a->is_seed || a->is_partial)
		return SWARM_LEECHER;
	if (a->event == ANNOUNCE_COMPLETED ||
	    (is_known && old == SWARM_SEEDER_COMPLETED))
		return SWARM_SEEDER_COMPLETED;
	return SWARM_SEEDER;
}

static void leave(struct swarms *s, struct shard *sh, struct swarm_list *l,
		  struct told *t, unsigned now)
{
	uint32_t i = t->place;
	bool was_here =
		i != SWARM_NOWHERE && meta_state(l->meta[i]) != SWARM_GONE;

	if (s->x.is_replicated) {
		put(s, sh, l, i, t->end, meta_make(SWARM_GONE, now, now),
		    t->has_room);
		t->out->tell = SWARMS_TELL_CHANGE;
	} else if (was_here) {
		count_in(sh, l->family, meta_state(l->meta[i]), -1);
		swarm_list_remove(l, i);
	}
	t->place = SWARM_NOWHERE;
}

static void come(struct swarms *s, struct shard *sh, struct swarm_list *l,
		 struct told *t, unsigned now)
{
	bool is_known = t->place != SWARM_NOWHERE;
	uint16_t meta = is_known ? l->meta[t->place] : 0;
	enum swarm_state old = meta_state(meta), state = t->out->state;
	unsigned told_min = meta & 127;

	if (!is_known || old != state)
		t->out->tell = SWARMS_TELL_CHANGE;
	else if (meta_told_age(meta, now) >= s->x.ttl_min / RENEW_PART)
		t->out->tell = SWARMS_TELL_RENEWAL;
	if (t->out->tell != SWARMS_TELL_NOTHING)
		told_min = now;
	meta = meta_make(state, now, told_min);
	t->place = put(s, sh, l, t->place, t->end, meta, t->has_room);
	if (t->place == SWARM_NOWHERE) {
		t->out->is_full = true;
		t->out->tell = SWARMS_TELL_NOTHING;
		sh->refused++;
	} else if (state == SWARM_SEEDER_COMPLETED &&
		   (!is_known || old != SWARM_SEEDER_COMPLETED)) {
		l->swarm->completed++;
		sh->completed++;
	}
	if (!s->x.is_replicated)
		t->out->tell = SWARMS_TELL_NOTHING;
}

static unsigned copy_family(struct swarms *s, struct swarm *w, uint8_t family,
			    const struct told *t, unsigned want,
			    uint32_t random, uint8_t *out)
{
	bool is_own = t->a->peer.family == family;
	struct swarm_list l;
	uint32_t pool;

	if (!want || t->out->state == SWARM_GONE)
		return 0;
	swarm_list_open(&l, w, family, s->x.key[0]);
	pool = l.num[REGION_LEECHERS];
	if (t->out->state == SWARM_LEECHER)
		pool += l.num[REGION_SEEDERS];
	return swarm_list_copy(&l, pool, is_own ? t->place : SWARM_NOWHERE,
			       want, random, out);
}

static void list_peer(struct swarms *s, struct shard *sh, struct swarm *w,
		      struct told *t)
{
	unsigned now = s->x.now_min;
	bool is_known;
	struct swarm_list l;

	w->heard_min = (uint16_t)now;
	touch(s, sh, w);
	swarm_list_open(&l, w, t->a->peer.family, s->x.key[0]);
	t->place = swarm_list_find(&l, t->end);
	is_known = t->place != SWARM_NOWHERE;
	t->out->state = next_state(t->a, is_known,
				   is_known ? meta_state(l.meta[t->place]) : 0);
	if (t->out->state == SWARM_GONE)
		leave(s, sh, &l, t, now);
	else
		come(s, sh, &l, t, now);
	shard_account(&s->x, swarm_list_close(&l));
	counts_of(w, &t->out->counts);
}

void swarms_announce(struct swarms *s, const struct swarms_announce *a,
		     uint32_t random, struct swarms_answer *out)
{
	uint64_t hash = shard_hash(&s->x, &a->infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct told t = { .a = a, .out = out };
	struct swarm *w;

	memset(out, 0, sizeof(*out));
	CHECK(addr_to_compact(&a->peer, t.end));
	t.has_room = swarms_make_room(s, &a->infohash, SWARMS_EVICT_AT_ONCE);
	pthread_mutex_lock(&sh->lock);
	w = shard_find(sh, hash, &a->infohash);
	if (!w && a->event != ANNOUNCE_STOPPED && t.has_room)
		w = shard_add(sh, &s->x, hash, &a->infohash);
	if (w) {
		list_peer(s, sh, w, &t);
		out->num4 = copy_family(s, w, 4, &t, a->want4, random, a->out4);
		out->num6 = copy_family(s, w, 6, &t, a->want6, random, a->out6);
		tidy(s, sh, w);
	} else {
		out->state = next_state(a, false, 0);
		out->is_full = out->state != SWARM_GONE;
		sh->refused += out->is_full;
		if (s->x.is_replicated && !out->is_full)
			out->tell = SWARMS_TELL_CHANGE;
	}
	pthread_mutex_unlock(&sh->lock);
}

bool swarms_scrape(struct swarms *s, const struct infohash *infohash,
		   struct swarms_counts *out)
{
	uint64_t hash = shard_hash(&s->x, infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct swarm *w;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&sh->lock);
	w = shard_find(sh, hash, infohash);
	if (w) {
		touch(s, sh, w);
		counts_of(w, out);
	}
	pthread_mutex_unlock(&sh->lock);
	return w != NULL;
}

/* --- copies --- */

/* META is here: is R to replace it? */
static bool is_news(uint16_t meta, const struct swarm_record *r, unsigned now)
{
	unsigned age = meta_age(meta, now);
	enum swarm_state old = meta_state(meta);

	if (r->state == old)
		return r->age_min + 1u < age;
	if (r->state == SWARM_GONE)
		return r->age_min <= age + 1;
	return r->age_min < age || (r->age_min == age && r->state > old);
}

static bool apply(struct swarms *s, struct shard *sh, struct swarm *w,
		  const struct swarm_record *r, const uint8_t *end,
		  bool has_room)
{
	unsigned now = s->x.now_min, then = now - r->age_min;
	enum swarm_state old = SWARM_GONE;
	struct swarm_list l;
	bool is_done;
	uint32_t i;

	swarm_list_open(&l, w, r->peer.family, s->x.key[0]);
	i = swarm_list_find(&l, end);
	if (i != SWARM_NOWHERE) {
		if (!is_news(l.meta[i], r, now))
			return false;
		old = meta_state(l.meta[i]);
	}
	if (r->state == SWARM_GONE && !s->x.is_replicated) {
		is_done = i != SWARM_NOWHERE;
		if (is_done) {
			count_in(sh, l.family, old, -1);
			swarm_list_remove(&l, i);
		}
	} else {
		i = put(s, sh, &l, i, end, meta_make(r->state, then, then),
			has_room);
		is_done = i != SWARM_NOWHERE;
	}
	shard_account(&s->x, swarm_list_close(&l));
	if (is_done && r->is_completion && old != SWARM_SEEDER_COMPLETED) {
		w->completed++;
		sh->completed++;
	}
	return is_done;
}

static struct swarm *find_or_add(struct swarms *s, struct shard *sh,
				 uint64_t hash, const struct infohash *h,
				 unsigned age_min, bool has_room)
{
	struct swarm *w = shard_find(sh, hash, h);
	uint16_t then = (uint16_t)(s->x.now_min - age_min);

	if (!w && has_room) {
		w = shard_add(sh, &s->x, hash, h);
		if (w)
			w->heard_min = then;
	}
	if (w && (int16_t)(then - w->heard_min) > 0)
		w->heard_min = then;
	return w;
}

bool swarms_apply(struct swarms *s, const struct swarm_record *r)
{
	uint64_t hash = shard_hash(&s->x, &r->infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct swarm *w;
	uint8_t end[18];
	bool is_done = false, has_room;

	if (r->age_min >= s->x.ttl_min || !addr_to_compact(&r->peer, end))
		return false;
	has_room = swarms_make_room(s, &r->infohash, SWARMS_EVICT_AT_ONCE);
	pthread_mutex_lock(&sh->lock);
	w = find_or_add(s, sh, hash, &r->infohash, r->age_min, has_room);
	if (w) {
		touch(s, sh, w);
		is_done = apply(s, sh, w, r, end, has_room);
		tidy(s, sh, w);
	}
	pthread_mutex_unlock(&sh->lock);
	return is_done;
}

void swarms_raise_completed(struct swarms *s, const struct infohash *infohash,
			    uint32_t completed)
{
	uint64_t hash = shard_hash(&s->x, infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct swarm *w;
	bool has_room;

	if (!completed)
		return;
	has_room = swarms_make_room(s, infohash, SWARMS_EVICT_AT_ONCE);
	pthread_mutex_lock(&sh->lock);
	w = shard_find(sh, hash, infohash);
	if (!w && has_room)
		w = shard_add(sh, &s->x, hash, infohash);
	if (w && w->completed < completed) {
		sh->completed += completed - w->completed;
		w->completed = completed;
	}
	pthread_mutex_unlock(&sh->lock);
}

void swarms_drop(struct swarms *s, const struct infohash *infohash)
{
	uint64_t hash = shard_hash(&s->x, infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct swarm *w;

	pthread_mutex_lock(&sh->lock);
	w = shard_find(sh, hash, infohash);
	if (w)
		shard_remove(sh, &s->x, w);
	pthread_mutex_unlock(&sh->lock);
}

static void show(struct swarm *w, void (*fn)(void *, const struct swarm_view *),
		 void *arg)
{
	struct swarm_view v = { .infohash = &w->infohash, .swarm = w };
	uint32_t n4[3], n6[3];

	swarm_list_counts(w, 4, n4);
	swarm_list_counts(w, 6, n6);
	counts_of(w, &v.counts);
	v.num_peers = n4[0] + n4[1] + n4[2] + n6[0] + n6[1] + n6[2];
	fn(arg, &v);
}

void swarm_view_peer(const struct swarms *s, const struct swarm_view *v,
		     unsigned i, struct swarm_record *out)
{
	struct swarm *w = (struct swarm *)v->swarm;
	struct swarm_list l;
	uint16_t meta;

	memset(out, 0, sizeof(*out));
	out->infohash = w->infohash;
	swarm_list_open(&l, w, 4, 0);
	if (i < swarm_list_len(&l)) {
		addr_from_compact4(&out->peer, swarm_list_end(&l, i));
	} else {
		i -= swarm_list_len(&l);
		swarm_list_open(&l, w, 6, 0);
		CHECK(i < swarm_list_len(&l));
		addr_from_compact6(&out->peer, swarm_list_end(&l, i));
	}
	meta = l.meta[i];
	out->state = meta_state(meta);
	out->age_min = (uint8_t)meta_age(meta, s->x.now_min);
}

void swarms_visit(struct swarms *s, unsigned shard,
		  void (*fn)(void *arg, const struct swarm_view *v), void *arg)
{
	struct shard *sh = &s->shards[shard];

	pthread_mutex_lock(&sh->lock);
	for (uint32_t i = 0; i < sh->num; i++)
		show(&sh->swarms[i], fn, arg);
	pthread_mutex_unlock(&sh->lock);
}

bool swarms_visit_one(struct swarms *s, const struct infohash *infohash,
		      void (*fn)(void *arg, const struct swarm_view *v),
		      void *arg)
{
	uint64_t hash = shard_hash(&s->x, infohash);
	struct shard *sh = swarms_shard_of(s, hash);
	struct swarm *w;

	pthread_mutex_lock(&sh->lock);
	w = shard_find(sh, hash, infohash);
	if (w)
		show(w, fn, arg);
	pthread_mutex_unlock(&sh->lock);
	return w != NULL;
}

/* --- the clock --- */

static void sweep_next(struct swarms *s)
{
	struct shard *sh = &s->shards[s->sweep_at];

	pthread_mutex_lock(&sh->lock);
	shard_sweep(sh, &s->x);
	pthread_mutex_unlock(&sh->lock);
	s->sweep_at = (s->sweep_at + 1) % SWARMS_SHARDS;
}

static void clear(struct shard *sh, struct shard_shared *x)
{
	pthread_mutex_lock(&sh->lock);
	for (uint32_t i = sh->num; i-- > 0;) {
		uint32_t before = sh->peers4 + sh->peers6;

		shard_remove(sh, x, &sh->swarms[i]);
		sh->expired += before - (sh->peers4 + sh->peers6);
	}
	pthread_mutex_unlock(&sh->lock);
}

void swarms_tick(struct swarms *s, int64_t now_ms)
{
	int64_t passed = now_ms - s->tick_ms;

	if (passed <= 0)
		return;
	if (passed >= s->x.ttl_min * (int64_t)MINUTE_MS) {
		for (unsigned i = 0; i < SWARMS_SHARDS; i++)
			clear(&s->shards[i], &s->x);
	}
	s->tick_ms = now_ms;
	s->x.now_min = (unsigned)(now_ms / MINUTE_MS);
	s->sweep_credit +=
		(passed < SWEEP_MS ? passed : SWEEP_MS) * SWARMS_SHARDS;
	for (; s->sweep_credit >= SWEEP_MS; s->sweep_credit -= SWEEP_MS)
		sweep_next(s);
	(void)swarms_make_room(s, NULL, SWARMS_EVICT_TICK);
}

void swarms_stats(struct swarms *s, struct swarms_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < SWARMS_SHARDS; i++) {
		struct shard *sh = &s->shards[i];

		pthread_mutex_lock(&sh->lock);
		out->torrents += sh->num;
		out->peers4 += sh->peers4;
		out->peers6 += sh->peers6;
		out->seeders += sh->seeders;
		out->gone += sh->gone;
		out->completed += sh->completed;
		out->expired += sh->expired;
		out->evicted += sh->evicted;
		out->refused += sh->refused;
		pthread_mutex_unlock(&sh->lock);
	}
	out->bytes = atomic_load_explicit(&s->x.bytes, memory_order_relaxed);
}
