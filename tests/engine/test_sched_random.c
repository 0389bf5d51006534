/* Goal: whatever readers and peers do, and in whatever order, the scheduler's
 * books balance, a peer that could give a demanded block is not sent away, what
 * nobody demands is not fetched, and each read ends exactly once. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/sched_private.h"
#include "tests/engine/picker_check.h"

#define PEERS     4
#define READERS   5
#define WANTS     12
#define MAX_ASKED 1024
#define MIB       (1u << 20)

struct sim_want {
	struct want want;
	int ended; /* times since it was parked */
	bool is_cancelled;
};

struct sim_peer {
	struct picker_peer pp;
	struct bitfield have;
	struct block_ref asked[MAX_ASKED];
	size_t num_asked;
};

struct sim {
	struct layout layout;
	struct picker *p;
	struct sched *s;
	struct prng prng;
	struct sim_peer peers[PEERS];
	struct reader *readers[READERS];
	uint64_t at[READERS]; /* where each reads next */
	struct sim_want wants[WANTS];
	int64_t now_ms;
	unsigned ends[4]; /* right, -ENODATA, -ETIMEDOUT, -EIO */
};

static uint32_t below(struct sim *sim, uint32_t bound)
{
	return prng_below(&sim->prng, bound);
}

/* --- what must always be true --- */

static bool is_whole(const struct sim *sim, uint64_t off, uint64_t len)
{
	struct piece_span sp = span_of(&sim->layout, off, len);

	while (sp.first < sp.end && picker_has(sim->p, sp.first))
		sp.first++;
	return sp.first == sp.end;
}

static void check_span(const struct sim *sim, const struct piece_span *sp)
{
	if (sp->generation != picker_generation(sim->p))
		return;
	for (uint32_t i = sp->first; i < sp->cursor && i < sp->end; i++)
		CHECK(!picker_free_blocks(sim->p, i));
}

static void check_wants(const struct sim *sim)
{
	const struct sched *s = sim->s;
	unsigned n = 0, placed = 0, parked[READERS] = { 0 };
	bool is_fed = s->hungry_generation == picker_generation(sim->p);
	int64_t since_ms = 0;

	list_foreach(w, &s->wants, struct want, node) {
		n++;
		CHECK(w->sched == s && w->since_ms >= since_ms);
		CHECK(w->progress_ms >= w->since_ms);
		since_ms = w->since_ms;
		CHECK(!is_whole(sim, w->off, w->len));
		check_span(sim, &w->span);
		is_fed = is_fed && &w->node != s->hungry;
		if (is_fed)
			CHECK(!picker_free_blocks(sim->p, w->span.first));
		for (int i = 0; i < READERS; i++)
			parked[i] += w->reader && w->reader == sim->readers[i];
	}
	for (int i = 0; i < PLACE_BUCKETS; i++)
		list_foreach(w, &s->places[i], struct want, place)
			placed++;
	list_foreach(w, &s->long_wants, struct want, place)
		placed++;
	CHECK(n == s->num_wants && placed == n);
	for (int i = 0; i < READERS; i++)
		CHECK(!sim->readers[i] ||
		      sim->readers[i]->num_parked == parked[i]);
}

static void check_all(struct sim *sim)
{
	unsigned active = 0;

	picker_check(sim->p);
	check_wants(sim);
	list_foreach(r, &sim->s->active, struct reader, active) {
		active++;
		CHECK(r->sched == sim->s);
		check_span(sim, &r->window);
		check_span(sim, &r->prefetch);
	}
	CHECK(active == sim->s->num_active);
}

/* --- readers --- */

static void on_done(struct want *w, int r)
{
	struct sim_want *sw = container_of(w, struct sim_want, want);

	CHECK(!sched_is_parked(w) && !sw->is_cancelled);
	sw->ended++;
	CHECK(sw->ended == 1);
}

static void close_reader(struct sim *sim, uint32_t i)
{
	for (int k = 0; k < WANTS; k++) {
		struct sim_want *sw = &sim->wants[k];

		if (sw->want.reader != sim->readers[i] || !sim->readers[i])
			continue;
		sched_cancel(&sw->want);
		sw->is_cancelled = true;
	}
	reader_free(sim->readers[i]);
	sim->readers[i] = NULL;
}

static void read_more(struct sim *sim, uint32_t i)
{
	struct sim_want *sw = &sim->wants[below(sim, WANTS)];
	uint64_t total = sim->layout.total, len = 1 + below(sim, 300000);
	uint64_t off = sim->at[i];

	if (!below(sim, 30))
		len = 1 + below(sim, 16 * MIB);
	if (!below(sim, 6))
		off = prng_u64(&sim->prng) % total;
	else if (!below(sim, 6))
		off += below(sim, 4 * MIB);
	off = off < total ? off : 0;
	len = len < total - off ? len : total - off;
	sim->at[i] = off + len;
	reader_on_read(sim->readers[i], off, len, sim->now_ms);
	if (is_whole(sim, off, len) || sched_is_parked(&sw->want))
		return;
	*sw = (struct sim_want){
		.want = { .off = off, .len = len, .done = on_done }
	};
	sched_park(sim->s, below(sim, 4) ? sim->readers[i] : NULL, &sw->want,
		   sim->now_ms);
}

static void step_reader(struct sim *sim)
{
	uint32_t i = below(sim, READERS);
	struct sim_want *sw = &sim->wants[below(sim, WANTS)];

	if (!sim->readers[i]) {
		sim->readers[i] = reader_new(sim->s, 0, sim->layout.total);
		sim->at[i] = prng_u64(&sim->prng) % sim->layout.total;
	}
	switch (below(sim, 20)) {
	case 0:
		close_reader(sim, i);
		break;
	case 1:
		if (sched_is_parked(&sw->want))
			sw->is_cancelled = true;
		sched_cancel(&sw->want);
		break;
	case 2:
		reader_prefetch(sim->readers[i], sim->at[i],
				1 + below(sim, 3 * MIB), sim->now_ms);
		break;
	default:
		read_more(sim, i);
	}
}

/* --- peers --- */

static void ask(void *arg, struct sched_route *route, struct block_ref b)
{
	struct sim_peer *peer = route->owner;

	CHECK(peer->num_asked < MAX_ASKED);
	CHECK(picker_peer_has(&peer->pp, b.piece));
	peer->asked[peer->num_asked++] = b;
}

/* Nothing demanded that PEER could give may be left when it was sent away. */
static void check_nothing_left(struct sim *sim, struct sim_peer *peer)
{
	struct block_ref b;

	list_foreach(w, &sim->s->wants, struct want, node)
		for (uint32_t i = w->span.first; i < w->span.end; i++)
			CHECK(!picker_take(sim->p, &peer->pp, i, 1, sim->now_ms,
					   &b));
	list_foreach(r, &sim->s->active, struct reader, active)
		for (uint32_t i = r->window.first; i < r->window.end; i++)
			CHECK(!picker_take(sim->p, &peer->pp, i, 1, sim->now_ms,
					   &b));
}

static void take(struct sim *sim, struct sim_peer *peer)
{
	size_t max = 1 + below(sim, 100), n;
	struct block_ref *out = peer->asked + peer->num_asked;

	if (peer->num_asked + max > MAX_ASKED)
		return;
	peer->pp.is_slow = !below(sim, 4);
	n = sched_take(sim->s, sim->p, &peer->pp, max, sim->now_ms, 200, out);
	CHECK(n <= max);
	peer->num_asked += n;
	if (n < max && !peer->pp.is_slow)
		check_nothing_left(sim, peer);
	for (size_t i = 0; i < n; i++) {
		CHECK(picker_peer_has(&peer->pp, out[i].piece));
		CHECK(sched_is_demanded(sim->s, out[i].piece, sim->now_ms));
	}
}

static void assign(struct sim *sim)
{
	struct sched_route routes[PEERS];

	for (int i = 0; i < PEERS; i++) {
		struct sim_peer *peer = &sim->peers[i];
		size_t room = MAX_ASKED - peer->num_asked;

		routes[i] = (struct sched_route){
			.peer = peer->pp,
			.room = room < 50 ? room : below(sim, 50),
			.ready_us = below(sim, 1000000),
			.block_us = 1 + below(sim, 300000),
			.owner = peer,
		};
	}
	sched_assign(sim->s, sim->p, routes, PEERS, sim->now_ms, ask, sim);
}

static struct block_ref pull(struct sim *sim, struct sim_peer *peer)
{
	uint32_t k = below(sim, (uint32_t)peer->num_asked);
	struct block_ref b = peer->asked[k];

	peer->asked[k] = peer->asked[--peer->num_asked];
	return b;
}

static void deliver(struct sim *sim, struct sim_peer *peer)
{
	struct block_ref b = pull(sim, peer);
	uint32_t others[PICKER_COPIES];
	size_t n;
	enum picker_block r;

	r = picker_on_block(sim->p, peer->pp.id, b, others, &n);
	if (r != PICKER_DUPLICATE)
		sched_on_block(sim->s, b.piece, sim->now_ms);
	if (r != PICKER_COMPLETE)
		return;
	if (!below(sim, 20)) {
		picker_on_verified(sim->p, b.piece, false, others, 2);
		return;
	}
	picker_on_verified(sim->p, b.piece, true, others, 2);
	sched_on_piece(sim->s, sim->p, b.piece, sim->now_ms);
}

static void step_peer(struct sim *sim)
{
	struct sim_peer *peer = &sim->peers[below(sim, PEERS)];
	uint32_t kind = below(sim, 10), n = 1 + below(sim, 100);

	if (kind < 3)
		take(sim, peer);
	else if (kind < 5)
		assign(sim);
	else
		for (; n && peer->num_asked; n--) {
			if (kind < 9)
				deliver(sim, peer);
			else
				picker_on_lost(sim->p, peer->pp.id,
					       pull(sim, peer));
		}
}

static void step_other(struct sim *sim)
{
	uint32_t piece = below(sim, sim->layout.num_pieces);

	switch (below(sim, 6)) {
	case 0:
	case 1:
		if (picker_has(sim->p, piece))
			picker_set_have(sim->p, piece, false);
		break;
	case 2:
		sched_tick(sim->s, sim->now_ms, 20000, false, 0);
		break;
	case 3:
		if (!below(sim, 10))
			sched_tick(sim->s, sim->now_ms, 0, true, 5000);
		break;
	case 4:
		if (!below(sim, 20))
			sched_fail_all(sim->s, -EIO);
		break;
	case 5:
		if (!below(sim, 20))
			sim->now_ms += 31000;
		break;
	}
}

static void run(uint64_t seed, uint32_t piece_length)
{
	struct sim sim = { .prng = { seed }, .now_ms = 1000 };

	sim.layout.total = 40ull * MIB + below(&sim, MIB);
	sim.layout.piece_length = piece_length;
	sim.layout.num_pieces =
		(uint32_t)((sim.layout.total - 1) / piece_length + 1);
	sim.p = picker_new(&sim.layout, seed);
	sim.s = sched_new(&sim.layout);
	for (uint32_t i = 0; i < PEERS; i++) {
		struct sim_peer *peer = &sim.peers[i];

		bitfield_init(&peer->have, sim.layout.num_pieces);
		for (uint32_t k = 0; k < sim.layout.num_pieces; k++)
			if (below(&sim, 2))
				bitfield_set(&peer->have, k);
		peer->pp = (struct picker_peer){ .id = i + 1,
						 .have = &peer->have,
						 .is_seed = i < 2 };
		picker_add_peer(sim.p, &peer->have, i < 2);
	}
	for (int i = 0; i < 1500; i++) {
		uint32_t kind = below(&sim, 20);

		sim.now_ms += below(&sim, 200);
		if (kind < 6)
			step_reader(&sim);
		else if (kind < 18)
			step_peer(&sim);
		else
			step_other(&sim);
		check_all(&sim);
	}
	for (uint32_t i = 0; i < READERS; i++)
		close_reader(&sim, i);
	sched_fail_all(sim.s, -ESHUTDOWN);
	sched_free(sim.s);
	picker_free(sim.p);
	for (int i = 0; i < WANTS; i++)
		assert_true(!sim.wants[i].want.done || sim.wants[i].ended ||
			    sim.wants[i].is_cancelled);
	for (int i = 0; i < PEERS; i++)
		bitfield_release(&sim.peers[i].have);
}

static void test_random__small_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++)
		run(seed, 16384);
}

static void test_random__middling_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 15; seed++)
		run(seed, 200000);
}

static void test_random__large_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 15; seed++)
		run(seed, 4 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random__small_pieces),
		cmocka_unit_test(test_random__middling_pieces),
		cmocka_unit_test(test_random__large_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
