/* Goal: what a person waits for. Copies, players and probers read through the
 * real scheduler and picker from simulated peers, some slow, some silent; what
 * they waited, fetched and wasted is held against figures. */
#include "tests/cmocka_all.h"

#include "engine/base/random.h"
#include "tests/engine/swarm_sim.h"

#define GIB (1ull << 30)

static const uint32_t piece_lengths[] = { 16384, 262144, MIB, 16 * MIB,
					  64 * MIB };

static void add_peers(struct sim *sim, int n, uint64_t bps, int rtt_ms)
{
	for (int i = 0; i < n; i++)
		sim_add_peer(sim, &(struct sim_peer_config){
					  .rate_bps = bps, .rtt_ms = rtt_ms });
}

static int add_copy(struct sim *sim, uint64_t start, uint64_t end,
		    int64_t start_ms)
{
	return sim_add_reader(
		sim, &(struct sim_reader_config){ .kind = SIM_COPY,
						  .start = start,
						  .end = end,
						  .read_bytes = 131072,
						  .start_ms = start_ms });
}

static int add_player(struct sim *sim, uint64_t end, int64_t every_ms)
{
	return sim_add_reader(
		sim, &(struct sim_reader_config){ .kind = SIM_PLAYER,
						  .end = end,
						  .read_bytes = 65536,
						  .rate_bps = 1000000,
						  .every_ms = every_ms });
}

static int add_prober(struct sim *sim, uint64_t end, unsigned max_reads)
{
	return sim_add_reader(
		sim, &(struct sim_reader_config){ .kind = SIM_PROBER,
						  .end = end,
						  .read_bytes = 65536,
						  .every_ms = 2000,
						  .max_reads = max_reads });
}

static void assert_waste(const struct sim *sim, unsigned permille)
{
	assert_true(sim_wasted(sim) * 1000 <= sim_fetched(sim) * permille);
}

static void test_copy__one_fast_peer_never_runs_dry(void **state)
{
	for (size_t i = 0; i < 5; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 500 * MIB, 1);
		int r = add_copy(sim, 0, GIB, 0);

		add_peers(sim, 1, 500 * MIB, 1);
		sim_run(sim, 10000);
		/* 2048 ms is the link. */
		assert_in_range(sim_result(sim, r)->ended_ms, 2000,
				2048 * 100 / 95);
		assert_int_equal(sim_fetched(sim), GIB);
		assert_int_equal(sim_wasted(sim), 0);
		sim_free(sim);
	}
}

static void test_copy__many_peers_fill_the_link(void **state)
{
	for (size_t i = 0; i < 4; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 100 * MIB, 2);
		int r = add_copy(sim, 0, GIB, 0);

		for (int k = 0; k < 10; k++)
			add_peers(sim, 1, (5 + 5 * (uint64_t)k) * MIB,
				  20 + 10 * k);
		sim_run(sim, 30000);
		assert_in_range(sim_result(sim, r)->ended_ms, 10240,
				10240 * 100 / 95);
		assert_int_equal(sim_fetched(sim), GIB);
		assert_waste(sim, 10);
		sim_free(sim);
	}
}

static void test_fill__many_peers_fill_the_link(void **state)
{
	for (size_t i = 1; i < 4; i++) {
		struct sim *sim =
			sim_new(GIB / 2, piece_lengths[i], 100 * MIB, 3);

		for (int k = 0; k < 10; k++)
			sim_add_peer(sim,
				     &(struct sim_peer_config){
					     .rate_bps = 20 * MIB,
					     .rtt_ms = 20 + 10 * k,
					     .percent_have = k < 2 ? 0 : 70 });
		sim_fill(sim);
		sim_run(sim, 30000);
		assert_int_equal(sim_missing(sim), 0);
		assert_in_range(sim_now_ms(sim), 5120, 5120 * 100 / 95);
		assert_waste(sim, 10);
		sim_free(sim);
	}
}

static void test_probe__fetches_little_and_soon(void **state)
{
	/* Half of the peers are 40 times slower than the others. */
	for (size_t i = 0; i < 3; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 100 * MIB, 4);
		const struct sim_reader_result *res;

		for (int k = 0; k < 20; k++)
			add_peers(sim, 1, k % 2 ? 2 * MIB : 50000, 80);
		res = sim_result(sim, add_prober(sim, GIB, 50));
		sim_run(sim, 1000000);
		assert_int_equal(res->reads, 50);
		assert_true(res->worst_fetched <= 2 * MIB);
		/* A round trip, 1 MiB at 20 MiB/s, and who is slow is learnt
		 * in the first. */
		assert_true(res->total_ms / res->reads <= 200);
		assert_true(res->worst_ms <= 700);
		assert_waste(sim, 50);
		sim_free(sim);
	}
}

static void test_probe__beside_a_copy(void **state)
{
	struct sim *sim = sim_new(GIB, MIB, 20 * MIB, 5);
	const struct sim_reader_result *probe, *copy;

	add_peers(sim, 10, 4 * MIB, 40);
	copy = sim_result(sim, add_copy(sim, 0, GIB / 4, 0));
	probe = sim_result(sim, add_prober(sim, GIB, 6));
	sim_run(sim, 60000);
	/* Behind what was asked for already: 0.3 s and what the link holds. */
	assert_int_equal(probe->reads, 6);
	assert_true(probe->worst_ms <= 1500);
	assert_in_range(copy->ended_ms, 256000 / 20, 256000 / 20 * 115 / 100);
	assert_waste(sim, 50);
	sim_free(sim);
}

/* Thirty peers from 20 kB/s to 5 MB/s, and nobody knows which is which. */
static void test_probe__wastes_little_among_strangers(void **state)
{
	for (size_t i = 1; i < 4; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 100 * MIB, 1);
		const struct sim_reader_result *copy, *probe;

		for (int k = 0; k < 30; k++)
			add_peers(sim, 1, 20000ull << (k * 7 % 9),
				  20 + k * 29 % 300);
		copy = sim_result(sim, add_copy(sim, 0, GIB / 8, 0));
		probe = sim_result(sim, add_prober(sim, GIB, 15));
		sim_run(sim, 1000000);
		assert_int_equal(probe->reads, 15);
		assert_true(copy->ended_ms <= 7700);
		assert_true(probe->worst_ms <= 4000);
		assert_waste(sim, 50);
		sim_free(sim);
	}
}

static void test_player__does_not_stall(void **state)
{
	/* 1.33 times what it plays, from twenty peers who are slow all. */
	for (size_t i = 0; i < 3; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 100 * MIB, 6);
		const struct sim_reader_result *res;

		for (int k = 0; k < 20; k++)
			add_peers(sim, 1, k % 2 ? 100000 : 33000, 80);
		res = sim_result(sim, add_player(sim, 100 * MIB, 0));
		sim_run(sim, 1000000);
		assert_int_equal(res->bytes, 100 * MIB);
		assert_true(res->first_ms <= 2500);
		assert_true(res->stalled_ms <= 200);
		assert_waste(sim, 50);
		sim_free(sim);
	}
}

static void test_player__does_not_stall_beside_a_copy(void **state)
{
	for (size_t i = 1; i < 4; i++) {
		struct sim *sim = sim_new(GIB, piece_lengths[i], 100 * MIB, 7);
		const struct sim_reader_result *player, *copy;

		for (int k = 0; k < 20; k++)
			add_peers(sim, 1, k % 2 ? 200000 : 50000, 80);
		player = sim_result(sim, add_player(sim, 100 * MIB, 0));
		copy = sim_result(
			sim, add_copy(sim, GIB / 2, GIB / 2 + GIB / 16, 5000));
		sim_run(sim, 1000000);
		assert_int_equal(player->bytes, 100 * MIB);
		assert_int_equal(player->stalls, 0);
		/* Who can wait is not forgotten either: 1.5 MB/s are left. */
		assert_true(copy->ended_ms > 0 && copy->ended_ms < 75000);
		assert_true(copy->worst_ms < 30000);
		assert_waste(sim, 20);
		sim_free(sim);
	}
}

static void test_player__seeks(void **state)
{
	struct sim *sim = sim_new(GIB, MIB, 100 * MIB, 8);
	const struct sim_reader_result *res;

	add_peers(sim, 10, MIB, 60);
	res = sim_result(sim, add_player(sim, GIB, 30000));
	sim_run(sim, 300000);
	/* Each seek is a cold read, and its window is waste of no use. */
	assert_true(res->worst_ms <= 1200);
	assert_int_equal(res->stalled_ms, 0);
	sim_free(sim);
}

static void test_players__of_one_file_both_get_on(void **state)
{
	struct sim *sim = sim_new(GIB, MIB, 100 * MIB, 9);
	const struct sim_reader_result *a, *b;

	add_peers(sim, 12, 250000, 50);
	a = sim_result(sim, add_player(sim, 60 * MIB, 0));
	b = sim_result(sim, sim_add_reader(sim, &(struct sim_reader_config){
							.kind = SIM_PLAYER,
							.start = 500 * MIB,
							.end = 560 * MIB,
							.read_bytes = 65536,
							.rate_bps = 1000000,
						}));
	sim_run(sim, 1000000);
	assert_int_equal(a->bytes + b->bytes, 120 * MIB);
	assert_true(a->stalled_ms + b->stalled_ms <= 500);
	sim_free(sim);
}

/* Seven slow peers and a fast one: the first read waits for none of the slow
 * ones, though each of them was asked for some of it. */
static void test_parked__first_under_slow_peers(void **state)
{
	struct sim *sim = sim_new(GIB, MIB, 100 * MIB, 10);
	const struct sim_reader_result *res;

	add_peers(sim, 7, 20000, 100);
	add_peers(sim, 1, 4 * MIB, 50);
	res = sim_result(sim, add_prober(sim, GIB, 10));
	sim_run(sim, 1000000);
	assert_int_equal(res->reads, 10);
	assert_true(res->worst_ms <= 1500);
	assert_true(res->total_ms / res->reads <= 600);
	sim_free(sim);
}

static void test_silent__last_blocks_come_from_others(void **state)
{
	for (size_t i = 1; i < 4; i++) {
		for (int is_fill = 0; is_fill < 2; is_fill++) {
			struct sim *sim = sim_new(GIB / 8, piece_lengths[i],
						  100 * MIB, 11);

			/* 12.8 s for all of it, and one leaves at 12 s with
			 * whatever it was asked for. */
			add_peers(sim, 4, 2 * MIB, 80);
			sim_add_peer(sim, &(struct sim_peer_config){
						  .rate_bps = 2 * MIB,
						  .rtt_ms = 80,
						  .silent_ms = 12000 });
			if (is_fill)
				sim_fill(sim);
			else
				add_copy(sim, 0, GIB / 8, 0);
			sim_run(sim, 60000);
			assert_int_equal(sim_missing(sim), 0);
			assert_in_range(sim_now_ms(sim), 12800, 17000);
			assert_waste(sim, 50);
			sim_free(sim);
		}
	}
}

/* One fast seeder and three slow ones; one of them stops while a film plays
 * that the others can carry: no read waits a second for it. */
static void test_stopped__costs_a_player_no_second(void **state)
{
	for (size_t i = 0; i < 3; i++) {
		for (int who = 0; who < 2; who++) {
			struct sim *sim =
				sim_new(GIB, piece_lengths[i], 100 * MIB, 13);
			const struct sim_reader_result *res, *probe;

			for (int k = 0; k < 4; k++)
				sim_add_peer(
					sim,
					&(struct sim_peer_config){
						.rate_bps =
							k ? 600000 : 8 * MIB,
						.rtt_ms = 50,
						.silent_ms =
							k == who ? 10200 : 0 });
			res = sim_result(sim, add_player(sim, 60 * MIB, 0));
			probe = sim_result(sim, add_prober(sim, 4 * MIB, 8));
			sim_run(sim, 1000000);
			assert_int_equal(res->bytes, 60 * MIB);
			assert_int_equal(res->stalled_ms, 0);
			assert_true(res->worst_ms <= 1000);
			assert_true(probe->reads == 8);
			assert_waste(sim, 50);
			sim_free(sim);
		}
	}
}

static void test_reject__costs_time_and_nothing_else(void **state)
{
	struct sim *sim = sim_new(64 * MIB, 262144, 100 * MIB, 12);

	for (int i = 0; i < 6; i++)
		sim_add_peer(sim, &(struct sim_peer_config){
					  .rate_bps = 2 * MIB,
					  .rtt_ms = 50,
					  .percent_reject = i % 2 ? 30 : 0 });
	add_copy(sim, 0, 64 * MIB, 0);
	sim_run(sim, 60000);
	assert_int_equal(sim_missing(sim), 0);
	assert_in_range(sim_now_ms(sim), 5333, 6400);
	assert_waste(sim, 50);
	sim_free(sim);
}

/* Anything at once, replayable by its seed: everybody gets to the end. */
static void test_any__nobody_starves(void **state)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct prng prng = { seed };
		uint32_t length = piece_lengths[prng_below(&prng, 4)];
		struct sim *sim = sim_new(200 * MIB + prng_below(&prng, MIB),
					  length, 20 * MIB, seed);
		int peers = 2 + (int)prng_below(&prng, 15), readers = 0;

		add_peers(sim, 1, MIB, 50);
		for (int i = 0; i < peers; i++)
			sim_add_peer(
				sim,
				&(struct sim_peer_config){
					.rate_bps = 20000
						    << prng_below(&prng, 8),
					.rtt_ms =
						1 + (int)prng_below(&prng, 300),
					.silent_ms =
						prng_below(&prng, 3)
							? 0
							: prng_below(&prng,
								     30000),
					.percent_have =
						(int)prng_below(&prng, 100),
					.percent_reject =
						(int)prng_below(&prng, 3) * 10,
				});
		readers += add_copy(sim, 10 * MIB, 40 * MIB, 0) >= 0;
		readers += add_copy(sim, 30 * MIB, 60 * MIB, 3000) >= 0;
		readers += add_player(sim, 20 * MIB, 0) >= 0;
		readers += add_prober(sim, 200 * MIB, 20) >= 0;
		if (seed % 3 == 0)
			sim_fill(sim);
		sim_run(sim, 600000);
		for (int i = 0; i < readers; i++)
			assert_true(sim_result(sim, i)->ended_ms > 0);
		if (seed % 3 == 0)
			assert_int_equal(sim_missing(sim), 0);
		assert_waste(sim, 80);
		sim_free(sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy__one_fast_peer_never_runs_dry),
		cmocka_unit_test(test_copy__many_peers_fill_the_link),
		cmocka_unit_test(test_fill__many_peers_fill_the_link),
		cmocka_unit_test(test_probe__fetches_little_and_soon),
		cmocka_unit_test(test_probe__beside_a_copy),
		cmocka_unit_test(test_probe__wastes_little_among_strangers),
		cmocka_unit_test(test_player__does_not_stall),
		cmocka_unit_test(test_player__does_not_stall_beside_a_copy),
		cmocka_unit_test(test_player__seeks),
		cmocka_unit_test(test_players__of_one_file_both_get_on),
		cmocka_unit_test(test_parked__first_under_slow_peers),
		cmocka_unit_test(test_silent__last_blocks_come_from_others),
		cmocka_unit_test(test_stopped__costs_a_player_no_second),
		cmocka_unit_test(test_reject__costs_time_and_nothing_else),
		cmocka_unit_test(test_any__nobody_starves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
