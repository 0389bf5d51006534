/* Goal: whatever peers do, and in whatever order, the picker's books balance:
 * bands, partials and block states are checked after each of many thousand
 * random operations against a plain model of who was asked for what. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/picker_private.h"
#include "tests/engine/picker_check.h"

#define PEERS     7
#define MAX_ASKED 4096

struct sim_peer {
	uint32_t id;
	struct bitfield have;
	bool is_seed, is_here;
	struct block_ref asked[MAX_ASKED];
	size_t num_asked;
};

struct sim {
	struct layout layout;
	struct picker *p;
	struct prng prng;
	struct sim_peer peers[PEERS];
	uint32_t next_id;
	int64_t now_ms;
};

static uint32_t below(struct sim *sim, uint32_t bound)
{
	return prng_below(&sim->prng, bound);
}

static struct picker_peer as_peer(const struct sim_peer *peer)
{
	return (struct picker_peer){ .id = peer->id,
				     .have = &peer->have,
				     .is_seed = peer->is_seed };
}

/* How many peers owe B, by the model. */
static unsigned num_owing(const struct sim *sim, struct block_ref b)
{
	unsigned n = 0;

	for (int i = 0; i < PEERS; i++)
		for (size_t k = 0; k < sim->peers[i].num_asked; k++)
			n += sim->peers[i].asked[k].piece == b.piece &&
			     sim->peers[i].asked[k].index == b.index;
	return n;
}

static void join(struct sim *sim, struct sim_peer *peer)
{
	uint32_t n = sim->layout.num_pieces;

	peer->id = ++sim->next_id;
	peer->is_here = true;
	peer->is_seed = !below(sim, 4);
	bitfield_clear_all(&peer->have);
	for (uint32_t i = 0; i < n && !peer->is_seed; i++)
		if (below(sim, 2))
			bitfield_set(&peer->have, i);
	picker_add_peer(sim->p, &peer->have, peer->is_seed);
}

static void leave(struct sim *sim, struct sim_peer *peer)
{
	peer->is_here = false;
	picker_remove_peer(sim->p, &peer->have, peer->is_seed);
	while (peer->num_asked)
		picker_on_lost(sim->p, peer->id,
			       peer->asked[--peer->num_asked]);
}

static void ask(struct sim *sim, struct sim_peer *peer)
{
	struct picker_peer pp = as_peer(peer);
	struct block_ref out[20];
	size_t max = 1 + below(sim, 20), n = 0;
	uint32_t piece = below(sim, sim->layout.num_pieces);
	int kind = (int)below(sim, 8), copies = 2 + (int)below(sim, 2);

	if (peer->num_asked + max > MAX_ASKED)
		return;
	if (kind == 0)
		n = picker_take(sim->p, &pp, piece, max, sim->now_ms, out);
	else if (kind < 6)
		n = picker_take_rarest(sim->p, &pp, max, sim->now_ms, out);
	else if (kind == 6)
		n = picker_take_late(sim->p, &pp, piece, max, copies,
				     sim->now_ms, 50, out);
	else
		n = picker_take_endgame(sim->p, &pp, max, sim->now_ms, 50, out);
	assert_true(n <= max);
	for (size_t i = 0; i < n; i++) {
		assert_true(picker_peer_has(&pp, out[i].piece));
		assert_false(picker_has(sim->p, out[i].piece));
		assert_in_range(num_owing(sim, out[i]), kind >= 6,
				kind < 6    ? 0
				: kind == 6 ? copies - 1
					    : 1);
		for (size_t k = 0; k < peer->num_asked; k++)
			assert_memory_not_equal(&peer->asked[k], &out[i],
						sizeof(out[i]));
		peer->asked[peer->num_asked++] = out[i];
	}
	if (peer->num_asked && !below(sim, 4))
		picker_on_doubt(sim->p, peer->id, peer->asked[0]);
}

static struct block_ref pull(struct sim *sim, struct sim_peer *peer)
{
	uint32_t k = below(sim, (uint32_t)peer->num_asked);
	struct block_ref b = peer->asked[k];

	peer->asked[k] = peer->asked[--peer->num_asked];
	return b;
}

static void answer(struct sim *sim, struct sim_peer *peer)
{
	struct block_ref b = pull(sim, peer);
	uint32_t others[PICKER_COPIES], givers[8];
	size_t num_others = 0;
	enum picker_block r;

	r = picker_on_block(sim->p, peer->id, b, others, &num_others);
	if (r == PICKER_DUPLICATE) {
		assert_int_equal(num_others, 0);
		return;
	}
	assert_int_equal(num_others, num_owing(sim, b));
	/* Those get a cancel. */
	for (int i = 0; i < PEERS; i++)
		for (size_t k = 0; k < sim->peers[i].num_asked; k++)
			if (!memcmp(&sim->peers[i].asked[k], &b, sizeof(b)))
				sim->peers[i].asked[k] =
					sim->peers[i].asked
						[--sim->peers[i].num_asked];
	if (r == PICKER_COMPLETE) {
		bool right = below(sim, 5);
		size_t n;

		assert_true(picker_is_verifying(sim->p, b.piece));
		picker_check(sim->p);
		n = picker_on_verified(sim->p, b.piece, right, givers, 8);
		assert_in_range(n, 1, 8);
		assert_int_equal(picker_has(sim->p, b.piece), right);
	}
}

static void other(struct sim *sim, struct sim_peer *peer)
{
	uint32_t n = sim->layout.num_pieces, piece = below(sim, n);
	uint32_t count = below(sim, n - piece + 1);

	switch (below(sim, 6)) {
	case 0:
		if (!peer->is_seed && bitfield_set(&peer->have, piece))
			picker_on_have(sim->p, piece);
		break;
	case 1:
		if (!peer->is_seed && bitfield_clear(&peer->have, piece))
			picker_on_donthave(sim->p, piece);
		break;
	case 2:
		picker_set_wanted(sim->p, piece, count, below(sim, 4));
		break;
	case 3:
		if (picker_has(sim->p, piece))
			picker_set_have(sim->p, piece, false);
		break;
	case 4:
		if (picker_is_idle(sim->p, piece))
			picker_drop_partial(sim->p, piece);
		break;
	case 5:
		leave(sim, peer);
		break;
	}
}

static void step(struct sim *sim)
{
	struct sim_peer *peer = &sim->peers[below(sim, PEERS)];
	uint32_t kind = below(sim, 100);

	sim->now_ms += below(sim, 30);
	if (!peer->is_here)
		join(sim, peer);
	else if (kind < 45)
		ask(sim, peer);
	else if (kind < 85 && peer->num_asked)
		answer(sim, peer);
	else if (kind < 95 && peer->num_asked)
		picker_on_lost(sim->p, peer->id, pull(sim, peer));
	else
		other(sim, peer);
}

static void run(uint64_t seed, uint32_t num_pieces, uint32_t piece_length,
		int steps)
{
	struct sim sim = { .prng = { seed } };
	uint64_t last = 1 + (uint64_t)seed * 7919 % piece_length;

	sim.layout = (struct layout){
		.total = (uint64_t)(num_pieces - 1) * piece_length + last,
		.piece_length = piece_length,
		.num_pieces = num_pieces,
	};
	/* Near the end of 32 bits of clock, so that they wrap. */
	sim.now_ms = 0xffff0000;
	sim.p = picker_new(&sim.layout, seed);
	for (int i = 0; i < PEERS; i++)
		bitfield_init(&sim.peers[i].have, num_pieces);
	picker_set_wanted(sim.p, 0, num_pieces, true);
	for (int i = 0; i < steps; i++) {
		step(&sim);
		picker_check(sim.p);
	}
	picker_free(sim.p);
	for (int i = 0; i < PEERS; i++)
		bitfield_release(&sim.peers[i].have);
}

static void test_random__small_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		run(seed, 40, 16384, 1500);
}

static void test_random__large_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++)
		run(seed, 3, 70 * 16384, 1500);
}

static void test_random__many_pieces(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++)
		run(seed, 300, 5 * 16384 + 1000, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random__small_pieces),
		cmocka_unit_test(test_random__large_pieces),
		cmocka_unit_test(test_random__many_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
