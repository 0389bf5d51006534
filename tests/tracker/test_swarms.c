/* Goal: whatever order announces, copies and minutes come in, the store says of
 * every swarm what a plain list of all peers says; answers hold no stranger,
 * nobody twice and not who asks; caps and lives are kept. */
#include "tests/cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "tracker/server/swarms.h"

#define MINUTE 60000
#define T0     (1000ll * MINUTE)
#define TTL    45

static struct swarms *store_new(bool is_replicated, size_t max_bytes,
				unsigned max_torrents)
{
	struct swarms_options o = { .max_bytes = max_bytes,
				    .max_torrents = max_torrents,
				    .is_replicated = is_replicated,
				    .seed = "0123456789abcde" };

	return swarms_new(&o, T0);
}

static struct infohash hash_of(uint32_t i)
{
	struct infohash h = { 0 };

	store_be32(h.b, i * 2654435761u);
	store_be32(h.b + 16, i);
	return h;
}

static struct addr peer_of(uint32_t i, uint8_t family)
{
	struct addr a = { .family = family, .port = (uint16_t)(1000 + i % 7) };

	if (family == 4) {
		store_be32(a.ip, 0x09000000u + i);
	} else {
		store_be32(a.ip, 0x20010db9);
		store_be32(a.ip + 12, i);
	}
	return a;
}

struct asked { /* an answer with room for it */
	struct swarms_answer answer;
	uint8_t out4[6 * 200], out6[18 * 200];
};

static void ask(struct swarms *s, uint32_t torrent, const struct addr *peer,
		enum announce_event event, bool is_seed, unsigned want,
		struct asked *r)
{
	struct swarms_announce a = { .infohash = hash_of(torrent),
				     .peer = *peer,
				     .event = event,
				     .is_seed = is_seed,
				     .want4 = want,
				     .want6 = want,
				     .out4 = r->out4,
				     .out6 = r->out6 };

	swarms_announce(s, &a, random_u32(), &r->answer);
}

static struct asked tell(struct swarms *s, uint32_t torrent, uint32_t peer,
			 enum announce_event event, bool is_seed)
{
	struct addr a = peer_of(peer, 4);
	struct asked r;

	ask(s, torrent, &a, event, is_seed, 50, &r);
	return r;
}

static void one_and_two(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct swarms_counts c;
	struct swarms_stats st;
	struct asked r;
	struct infohash h = hash_of(1);
	struct addr p1 = peer_of(1, 4);
	uint8_t end[18];

	(void)state;
	assert_false(swarms_scrape(s, &h, &c));
	r = tell(s, 1, 1, ANNOUNCE_STARTED, false);
	assert_int_equal(r.answer.num4, 0);
	assert_int_equal(r.answer.counts.leechers, 1);
	r = tell(s, 1, 2, ANNOUNCE_STARTED, true);
	assert_int_equal(r.answer.num4, 1);
	addr_to_compact(&p1, end);
	assert_memory_equal(r.out4, end, 6);
	assert_int_equal(r.answer.counts.seeders, 1);
	/* A seeder hears of leechers alone. */
	r = tell(s, 1, 3, ANNOUNCE_STARTED, true);
	assert_int_equal(r.answer.num4, 1);
	r = tell(s, 1, 1, ANNOUNCE_NONE, false);
	assert_int_equal(r.answer.num4, 2);
	r = tell(s, 1, 1, ANNOUNCE_STOPPED, false);
	assert_int_equal(r.answer.num4, 0);
	assert_int_equal(r.answer.counts.leechers, 0);
	assert_int_equal(r.answer.state, SWARM_GONE);
	tell(s, 1, 2, ANNOUNCE_STOPPED, true);
	tell(s, 1, 3, ANNOUNCE_STOPPED, true);
	assert_false(swarms_scrape(s, &h, &c));
	tell(s, 1, 3, ANNOUNCE_STOPPED, true);
	swarms_stats(s, &st);
	assert_int_equal(st.torrents, 0);
	assert_int_equal(st.peers4, 0);
	assert_int_equal(st.seeders, 0);
	assert_int_equal(st.gone, 0);
	swarms_free(s);
}

static void completed_once(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct infohash h = hash_of(1);
	struct swarms_counts c;

	(void)state;
	tell(s, 1, 1, ANNOUNCE_STARTED, false);
	tell(s, 1, 1, ANNOUNCE_COMPLETED, true);
	tell(s, 1, 1, ANNOUNCE_COMPLETED, true);
	tell(s, 1, 1, ANNOUNCE_NONE, true);
	tell(s, 1, 1, ANNOUNCE_COMPLETED, true);
	/* One that lacks bytes has not completed, whatever it says. */
	tell(s, 1, 2, ANNOUNCE_COMPLETED, false);
	assert_true(swarms_scrape(s, &h, &c));
	assert_int_equal(c.completed, 1);
	assert_int_equal(c.seeders, 1);
	assert_int_equal(c.leechers, 1);
	swarms_raise_completed(s, &h, 77);
	swarms_raise_completed(s, &h, 5);
	assert_true(swarms_scrape(s, &h, &c));
	assert_int_equal(c.completed, 77);
	swarms_free(s);
}

static void what_to_tell(void **state)
{
	struct swarms *s = store_new(true, 0, 0);
	struct asked r;

	(void)state;
	r = tell(s, 1, 1, ANNOUNCE_STARTED, false);
	assert_int_equal(r.answer.tell, SWARMS_TELL_CHANGE);
	r = tell(s, 1, 1, ANNOUNCE_NONE, false);
	assert_int_equal(r.answer.tell, SWARMS_TELL_NOTHING);
	/* Later it would not be told again before others forget it. */
	swarms_tick(s, T0 + 10 * MINUTE);
	r = tell(s, 1, 1, ANNOUNCE_NONE, false);
	assert_int_equal(r.answer.tell, SWARMS_TELL_NOTHING);
	swarms_tick(s, T0 + 11 * MINUTE);
	r = tell(s, 1, 1, ANNOUNCE_NONE, false);
	assert_int_equal(r.answer.tell, SWARMS_TELL_RENEWAL);
	r = tell(s, 1, 1, ANNOUNCE_NONE, false);
	assert_int_equal(r.answer.tell, SWARMS_TELL_NOTHING);
	r = tell(s, 1, 1, ANNOUNCE_NONE, true);
	assert_int_equal(r.answer.tell, SWARMS_TELL_CHANGE);
	r = tell(s, 1, 1, ANNOUNCE_COMPLETED, true);
	assert_int_equal(r.answer.tell, SWARMS_TELL_CHANGE);
	assert_int_equal(r.answer.state, SWARM_SEEDER_COMPLETED);
	r = tell(s, 1, 1, ANNOUNCE_STOPPED, true);
	assert_int_equal(r.answer.tell, SWARMS_TELL_CHANGE);
	r = tell(s, 1, 1, ANNOUNCE_STARTED, true);
	assert_int_equal(r.answer.tell, SWARMS_TELL_CHANGE);
	swarms_free(s);
}

static void lives_end(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct swarms_stats st;
	struct asked r;

	(void)state;
	for (uint32_t i = 0; i < 600; i++)
		tell(s, i % 2, i, ANNOUNCE_STARTED, i % 3 == 0);
	for (int m = 1; m < 40; m++)
		swarms_tick(s, T0 + m * MINUTE);
	tell(s, 1, 1, ANNOUNCE_NONE, false);
	for (int m = 40; m < 48; m++)
		swarms_tick(s, T0 + m * MINUTE);
	swarms_stats(s, &st);
	assert_int_equal(st.torrents, 1);
	assert_int_equal(st.peers4, 1);
	assert_int_equal(st.expired, 599);
	r = tell(s, 1, 9999, ANNOUNCE_STARTED, false);
	assert_int_equal(r.answer.num4, 1);
	/* A day without a tick, and then stamps that would look young. */
	swarms_tick(s, T0 + 47 * MINUTE + 128 * 11 * MINUTE);
	swarms_stats(s, &st);
	assert_int_equal(st.torrents, 0);
	assert_int_equal(st.peers4, 0);
	swarms_free(s);
}

static void touched_lists_are_swept(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct asked r;

	(void)state;
	tell(s, 1, 1, ANNOUNCE_STARTED, false);
	/* No slice of this tick reaches the torrent before it is touched. */
	swarms_tick(s, T0 + 44 * MINUTE);
	r = tell(s, 1, 2, ANNOUNCE_STARTED, false);
	assert_int_equal(r.answer.num4, 1);
	swarms_tick(s, T0 + 45 * MINUTE);
	r = tell(s, 1, 3, ANNOUNCE_STARTED, false);
	assert_int_equal(r.answer.num4, 1);
	assert_int_equal(r.answer.counts.leechers, 2);
	swarms_free(s);
}

/* --- copies --- */

static bool copy(struct swarms *s, uint32_t peer, enum swarm_state state,
		 unsigned age)
{
	struct swarm_record r = { .infohash = hash_of(1),
				  .peer = peer_of(peer, 4),
				  .state = state,
				  .age_min = (uint8_t)age };

	return swarms_apply(s, &r);
}

static void last_writer_wins(void **state)
{
	struct swarms *s = store_new(true, 0, 0);
	struct infohash h = hash_of(1);
	struct swarm_record done = { .infohash = h,
				     .peer = peer_of(9, 4),
				     .state = SWARM_SEEDER_COMPLETED,
				     .is_completion = true };
	struct swarms_counts c;

	(void)state;
	assert_false(copy(s, 1, SWARM_LEECHER, TTL));
	assert_true(copy(s, 1, SWARM_LEECHER, TTL - 1));
	assert_false(copy(s, 1, SWARM_LEECHER, TTL - 1));
	assert_true(copy(s, 1, SWARM_LEECHER, 10));
	assert_false(copy(s, 1, SWARM_LEECHER, 9));
	assert_false(copy(s, 1, SWARM_GONE, 12));
	assert_true(copy(s, 1, SWARM_GONE, 10));
	assert_false(copy(s, 1, SWARM_SEEDER, 10));
	assert_true(swarms_scrape(s, &h, &c));
	assert_int_equal(c.leechers + c.seeders, 0);
	assert_true(copy(s, 1, SWARM_SEEDER, 9));
	assert_true(swarms_apply(s, &done));
	assert_false(swarms_apply(s, &done));
	assert_true(swarms_scrape(s, &h, &c));
	assert_int_equal(c.seeders, 2);
	assert_int_equal(c.completed, 1);
	/* An older copy does not bring back who left here. */
	tell(s, 1, 1, ANNOUNCE_STOPPED, false);
	assert_false(copy(s, 1, SWARM_SEEDER, 1));
	/* One minute there may be two here. */
	assert_true(copy(s, 3, SWARM_LEECHER, 4));
	assert_true(copy(s, 3, SWARM_GONE, 5));
	assert_false(copy(s, 3, SWARM_LEECHER, 5));
	/* One who was never seen may have left elsewhere. */
	assert_true(copy(s, 2, SWARM_GONE, 3));
	assert_false(copy(s, 2, SWARM_LEECHER, 5));
	swarms_free(s);
}

struct seen {
	struct swarms *s;
	unsigned n, gone, of[5000];
};

static void see(void *arg, const struct swarm_view *v)
{
	struct seen *seen = arg;
	struct swarm_record r;

	for (unsigned i = 0; i < v->num_peers; i++) {
		swarm_view_peer(seen->s, v, i, &r);
		assert_true(infohash_eq(&r.infohash, v->infohash));
		if (r.state == SWARM_GONE) {
			seen->gone++;
			continue;
		}
		seen->n++;
		assert_true(r.age_min < TTL);
		seen->of[load_be32(r.peer.ip + (r.peer.family == 4 ? 0 : 12)) &
			 4095]++;
	}
}

static void gone_are_bounded(void **state)
{
	struct swarms *s = store_new(true, 0, 0);
	struct seen seen = { .s = s };
	struct infohash h = hash_of(1);

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		tell(s, 1, i, ANNOUNCE_STARTED, false);
		if (i % 10)
			tell(s, 1, i, ANNOUNCE_STOPPED, false);
	}
	for (uint32_t i = 1000; i < 2000; i++)
		tell(s, 1, i, ANNOUNCE_STOPPED, false);
	assert_true(swarms_visit_one(s, &h, see, &seen));
	assert_int_equal(seen.gone, LIMIT_SWARM_GONE_YOUNG);
	swarms_tick(s, T0 + 2 * MINUTE);
	tell(s, 1, 2000, ANNOUNCE_STOPPED, false);
	seen.n = seen.gone = 0;
	assert_true(swarms_visit_one(s, &h, see, &seen));
	assert_int_equal(seen.n, 100);
	assert_true(seen.gone <=
		    100 / LIMIT_SWARM_GONE_PART + LIMIT_SWARM_GONE);
	assert_true(seen.gone >= 20);
	swarms_free(s);
}

static void stops_before_starts(void **state)
{
	struct swarms *s = store_new(true, 0, 0);
	struct swarms_stats st;

	for (uint32_t i = 0; i < 500; i++)
		assert_true(copy(s, i, SWARM_GONE, 0));
	for (uint32_t i = 0; i < 500; i++)
		assert_false(copy(s, i, SWARM_LEECHER, 0));
	swarms_stats(s, &st);
	assert_int_equal(st.gone, 500);
	swarms_free(s);
}

/* --- the naive model --- */

#define TORRENTS 5
#define PEERS    1500

struct known {
	enum swarm_state state;
	int64_t heard_min;
	bool is_known;
};

struct model {
	struct known of[TORRENTS][2][PEERS];
	uint32_t completed[TORRENTS];
	int64_t now_min;
};

static void model_expire(struct model *m)
{
	for (unsigned t = 0; t < TORRENTS; t++) {
		for (unsigned i = 0; i < 2 * PEERS; i++) {
			struct known *k = &m->of[t][i / PEERS][i % PEERS];

			if (m->now_min - k->heard_min >= TTL)
				k->is_known = false;
		}
	}
}

static void model_announce(struct model *m, unsigned t, struct known *k,
			   enum announce_event event, bool is_seed)
{
	bool was_counted = k->is_known && k->state == SWARM_SEEDER_COMPLETED;

	if (event == ANNOUNCE_STOPPED) {
		k->is_known = false;
		return;
	}
	k->state = !is_seed ? SWARM_LEECHER : SWARM_SEEDER;
	if (is_seed && (was_counted || event == ANNOUNCE_COMPLETED))
		k->state = SWARM_SEEDER_COMPLETED;
	if (k->state == SWARM_SEEDER_COMPLETED && !was_counted)
		m->completed[t]++;
	k->is_known = true;
	k->heard_min = m->now_min;
}

static void model_counts(const struct model *m, unsigned t, uint32_t n[2][2])
{
	memset(n, 0, sizeof(uint32_t[2][2]));
	for (unsigned i = 0; i < 2 * PEERS; i++) {
		const struct known *k = &m->of[t][i / PEERS][i % PEERS];

		if (k->is_known)
			n[i / PEERS][k->state != SWARM_LEECHER]++;
	}
}

static void check_answer(const struct model *m, unsigned t, unsigned family,
			 unsigned asker, bool is_own, bool is_seed,
			 const uint8_t *out, unsigned n)
{
	static uint8_t is_told[PEERS];
	unsigned width = family == 4 ? 6 : 18;

	memset(is_told, 0, sizeof(is_told));
	for (unsigned i = 0; i < n; i++, out += width) {
		struct addr a, want;
		unsigned p;

		if (family == 4)
			addr_from_compact4(&a, out);
		else
			addr_from_compact6(&a, out);
		p = load_be32(a.ip + (family == 4 ? 0 : 12)) & 0xffffff;
		assert_true(p < PEERS);
		want = peer_of(p, (uint8_t)family);
		assert_true(addr_eq(&a, &want));
		assert_false(is_own && p == asker);
		assert_false(is_told[p]++);
		assert_true(m->of[t][family == 6][p].is_known);
		assert_false(is_seed &&
			     m->of[t][family == 6][p].state != SWARM_LEECHER);
	}
}

static void compare(struct swarms *s, const struct model *m, unsigned t,
		    unsigned p, uint8_t family, const struct known *k,
		    const struct asked *r, unsigned want, bool is_stop)
{
	bool is_seed = k->state != SWARM_LEECHER;
	uint32_t n[2][2];

	model_counts(m, t, n);
	assert_int_equal(r->answer.counts.leechers, n[0][0] + n[1][0]);
	assert_int_equal(r->answer.counts.seeders, n[0][1] + n[1][1]);
	for (unsigned f = 0; f < 2; f++) {
		bool is_own = (family == 6) == f;
		unsigned pool = n[f][0] + (is_seed ? 0 : n[f][1]);
		unsigned got = f ? r->answer.num6 : r->answer.num4;

		if (is_own && !is_seed && pool)
			pool--;
		if (is_stop)
			pool = 0;
		assert_int_equal(got, pool < want ? pool : want);
		check_answer(m, t, f ? 6 : 4, p, is_own, is_seed,
			     f ? r->out6 : r->out4, got);
	}
}

static void random_against_model(void **state)
{
	struct model *m = calloc(1, sizeof(*m));
	struct swarms *s = store_new(*(int *)*state, 0, 0);
	struct prng rng = { 42 };
	struct swarms_stats st;

	m->now_min = T0 / MINUTE;
	for (unsigned step = 0; step < 60000; step++) {
		unsigned t = prng_below(&rng, TORRENTS);
		unsigned p = prng_below(&rng, t == 4   ? PEERS
					      : t == 3 ? 150
						       : 3 + t);
		uint8_t family = prng_below(&rng, 3) ? 4 : 6;
		enum announce_event e =
			(enum announce_event)prng_below(&rng, 4);
		unsigned want =
			prng_below(&rng, 4) ? 30 : prng_below(&rng, 200);
		bool is_seed = prng_below(&rng, 2);
		struct known *k = &m->of[t][family == 6][p];
		struct addr a = peer_of(p, family);
		struct asked r;

		if (!prng_below(&rng, 200)) {
			m->now_min += 1 + prng_below(&rng, 4);
			/* A whole round, so that long lists are swept. */
			swarms_tick(s, m->now_min * MINUTE - MINUTE);
			swarms_tick(s,
				    m->now_min * MINUTE + 120 * 1000 - MINUTE);
			m->now_min++;
			model_expire(m);
		}
		if (e == ANNOUNCE_STOPPED && t == 4 && prng_below(&rng, 4))
			e = ANNOUNCE_NONE;
		model_announce(m, t, k, e, is_seed);
		ask(s, t, &a, e, is_seed, want, &r);
		if (e != ANNOUNCE_STOPPED || r.answer.counts.leechers)
			compare(s, m, t, p, family, k, &r, want,
				e == ANNOUNCE_STOPPED);
	}
	for (int i = 1; i < 3 * TTL; i++)
		swarms_tick(s, (m->now_min + i) * MINUTE);
	swarms_stats(s, &st);
	assert_int_equal(st.peers4 + st.peers6 + st.seeders + st.gone, 0);
	assert_int_equal(st.torrents, TORRENTS); /* counters stay for a day */
	for (int i = 0; i < LIMIT_SWARM_EMPTY_MIN; i += 30)
		swarms_tick(s, (m->now_min + 3 * TTL + i) * MINUTE);
	swarms_stats(s, &st);
	assert_int_equal(st.torrents, 0);
	assert_int_equal(st.bytes < 100000, 1);
	swarms_free(s);
	free(m);
}

/* --- caps --- */

static void silent_ones_go_first(void **state)
{
	struct swarms *s = store_new(false, 0, 200);
	struct swarms_stats st;
	unsigned kept[2] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 200; i++) {
		tell(s, i, 1, ANNOUNCE_STARTED, true);
		if (i == 99)
			swarms_tick(s, T0 + 10 * MINUTE);
	}
	swarms_tick(s, T0 + 20 * MINUTE);
	for (uint32_t i = 1000; i < 1100; i++)
		tell(s, i, 1, ANNOUNCE_STARTED, true);
	swarms_stats(s, &st);
	assert_in_range(st.torrents, 200, 201);
	assert_in_range(st.evicted, 99, 100);
	for (uint32_t i = 0; i < 200; i++) {
		struct infohash h = hash_of(i);
		struct swarms_counts c;

		kept[i / 100] += swarms_scrape(s, &h, &c);
	}
	/* It looks at some of them, not at all: nearly right is right. */
	assert_true(kept[0] <= 15);
	assert_true(kept[1] >= 85);
	swarms_free(s);
}

static void flood_of_torrents(void **state)
{
	size_t cap = 4u << 20;
	struct swarms *s = store_new(true, cap, 0);
	struct swarms_stats st;
	struct asked r;

	(void)state;
	for (uint32_t i = 0; i < 300000; i++) {
		r = tell(s, i, i, ANNOUNCE_STARTED, false);
		assert_false(r.answer.is_full);
		if (i % 1000 == 0) {
			swarms_stats(s, &st);
			assert_true(st.bytes < cap + (256u << 10));
		}
	}
	assert_true(st.torrents > cap / 128);
	assert_true(st.evicted > 200000);
	swarms_free(s);
}

static void one_torrent_has_a_share(void **state)
{
	size_t cap = 1u << 20;
	struct swarms *s = store_new(false, cap, 0);
	struct swarms_stats st;
	unsigned full = 0;
	struct asked r;

	(void)state;
	for (uint32_t i = 0; i < 200000; i++) {
		struct addr a = peer_of(i, 6);

		ask(s, 1, &a, ANNOUNCE_STARTED, false, 50, &r);
		full += r.answer.is_full;
	}
	assert_int_equal(r.answer.num6, 50);
	assert_true(full > 100000);
	swarms_stats(s, &st);
	assert_int_equal(st.refused, full);
	assert_true(st.bytes < cap);
	r = tell(s, 2, 1, ANNOUNCE_STARTED, false);
	assert_false(r.answer.is_full);
	swarms_free(s);
}

static void memory_of_peers(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct swarms_stats before, after;

	(void)state;
	for (uint32_t i = 0; i < 20000; i++)
		tell(s, i, 1, ANNOUNCE_STARTED, true);
	swarms_stats(s, &before);
	assert_true(before.bytes / 20000 <= 128);
	for (uint32_t i = 0; i < 20000; i++)
		tell(s, 30000 + i % 20, i, ANNOUNCE_STARTED, i & 1);
	swarms_stats(s, &after);
	assert_true((after.bytes - before.bytes) / 20000 <= 14);
	swarms_free(s);
}

static void dropped(void **state)
{
	struct swarms *s = store_new(false, 0, 0);
	struct infohash h = hash_of(1);
	struct swarms_counts c;

	(void)state;
	for (uint32_t i = 0; i < 500; i++)
		tell(s, 1, i, ANNOUNCE_STARTED, true);
	swarms_drop(s, &h);
	swarms_drop(s, &h);
	assert_false(swarms_scrape(s, &h, &c));
	swarms_free(s);
}

/* --- threads --- */

struct crowd {
	struct swarms *s;
	unsigned which;
};

static void *crowd_run(void *arg)
{
	struct crowd *c = arg;
	struct prng rng = { c->which };

	for (unsigned i = 0; i < 30000; i++) {
		uint32_t p = prng_below(&rng, 500);
		struct addr a = peer_of(p, p % 3 ? 4 : 6);
		struct asked r;

		ask(c->s, prng_below(&rng, 4000), &a,
		    (enum announce_event)prng_below(&rng, 4), p & 1, 20, &r);
		assert_true(r.answer.num4 <= 20 && r.answer.num6 <= 20);
	}
	return NULL;
}

static void two_threads_and_a_clock(void **state)
{
	struct swarms *s = store_new(true, 1u << 20, 3000);
	struct crowd c[2] = { { s, 1 }, { s, 2 } };
	struct seen *seen = calloc(1, sizeof(*seen));
	struct swarms_stats st;
	pthread_t threads[2];

	(void)state;
	seen->s = s;
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, crowd_run, &c[i]);
	for (int m = 0; m < 100; m++) {
		swarms_tick(s, T0 + m * 5000);
		swarms_visit(s, (unsigned)m, see, seen);
		swarms_stats(s, &st);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	swarms_tick(s, T0 + 600 * 1000);
	swarms_stats(s, &st);
	assert_true(st.torrents <= 3000);
	memset(seen, 0, sizeof(*seen));
	seen->s = s;
	for (unsigned i = 0; i < SWARMS_SHARDS; i++)
		swarms_visit(s, i, see, seen);
	assert_int_equal(seen->n, st.peers4 + st.peers6);
	assert_int_equal(seen->gone, st.gone);
	swarms_free(s);
	free(seen);
}

int main(void)
{
	static int alone = 0, replicated = 1;
	void *modes[] = { &alone, &replicated };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_and_two),
		cmocka_unit_test(completed_once),
		cmocka_unit_test(what_to_tell),
		cmocka_unit_test(lives_end),
		cmocka_unit_test(touched_lists_are_swept),
		cmocka_unit_test(last_writer_wins),
		cmocka_unit_test(gone_are_bounded),
		cmocka_unit_test(stops_before_starts),
		cmocka_unit_test_prestate(random_against_model, &modes[0]),
		cmocka_unit_test_prestate(random_against_model, &modes[1]),
		cmocka_unit_test(silent_ones_go_first),
		cmocka_unit_test(flood_of_torrents),
		cmocka_unit_test(one_torrent_has_a_share),
		cmocka_unit_test(memory_of_peers),
		cmocka_unit_test(dropped),
		cmocka_unit_test(two_threads_and_a_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
