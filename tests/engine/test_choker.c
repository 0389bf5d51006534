/* Goal: slots go to those who give, or go round; nobody starves, nobody gains
 * by pretending, and no slot is empty while somebody waits. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/choker.h"

#define PIECE 262144u
#define MAX   100

/* A torrent in virtual time: unchoked peers are sent data at rate, and give
 * some back. */
struct sim {
	struct choker choker;
	struct choker_policy policy;
	struct choker_peer peers[MAX];
	uint64_t rate_bps[MAX];   /* what it can be sent */
	uint64_t gives_bps[MAX];  /* what it gives while unchoked */
	bool is_hiding[MAX];      /* says nothing of what it gained */
	int64_t unchoked_ms[MAX]; /* in all */
	int64_t longest_wait_ms;
	size_t n;
	int64_t now_ms;
};

static void sim_init(struct sim *s, bool is_seeding, unsigned slots, size_t n)
{
	memset(s, 0, sizeof(*s));
	choker_init(&s->choker, 42);
	s->policy = (struct choker_policy){ .slots = slots,
					    .is_seeding = is_seeding,
					    .piece_length = PIECE };
	s->n = n;
	for (size_t i = 0; i < n; i++) {
		s->peers[i] = (struct choker_peer){ .id = (uint32_t)i + 1,
						    .is_interested = true };
		s->rate_bps[i] = 100000;
	}
}

static void sim_apply(struct sim *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct choker_peer *p = &s->peers[i];

		if (p->unchoke == p->is_unchoked)
			continue;
		if (p->unchoke && s->now_ms - p->since_ms > s->longest_wait_ms)
			s->longest_wait_ms = s->now_ms - p->since_ms;
		p->is_unchoked = p->unchoke;
		p->since_ms = s->now_ms;
		p->turn_bytes = 0;
	}
}

static unsigned sim_count(const struct sim *s)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->peers[i].is_unchoked;
	return n;
}

static void sim_round(struct sim *s)
{
	choker_round(&s->choker, &s->policy, s->peers, s->n, s->now_ms);
	sim_apply(s);
	assert_true(sim_count(s) <= s->policy.slots);
	s->now_ms += CHOKER_ROUND_MS;
	for (size_t i = 0; i < s->n; i++) {
		struct choker_peer *p = &s->peers[i];
		uint64_t sent = s->rate_bps[i] * CHOKER_ROUND_MS / 1000;

		p->down_bps = p->is_unchoked ? s->gives_bps[i] : 0;
		if (!p->is_unchoked)
			continue;
		s->unchoked_ms[i] += CHOKER_ROUND_MS;
		p->turn_bytes += sent;
		p->sent_bytes += sent;
		if (!s->is_hiding[i])
			p->gained_bytes += sent;
	}
}

static void sim_rounds(struct sim *s, unsigned n)
{
	while (n--)
		sim_round(s);
}

static void test_round__only_interested_and_never_more_than_slots(void **state)
{
	struct sim s;

	for (unsigned slots = 0; slots < 12; slots++) {
		for (int seeding = 0; seeding < 2; seeding++) {
			sim_init(&s, seeding, slots, 10);
			s.peers[3].is_interested = false;
			s.peers[4].is_interested = false;
			s.peers[4].is_unchoked = true;
			sim_round(&s);
			assert_int_equal(sim_count(&s), slots < 8 ? slots : 8);
			assert_false(s.peers[3].is_unchoked);
			assert_false(s.peers[4].is_unchoked);
		}
	}
	sim_init(&s, true, 4, 0);
	sim_round(&s);
	assert_int_equal(choker_fill(&s.choker, &s.policy, s.peers, 0, 0), 0);
}

static void test_leech__the_fastest_givers_keep_their_slots(void **state)
{
	struct sim s;

	sim_init(&s, false, 4, 20);
	for (size_t i = 0; i < 3; i++)
		s.gives_bps[5 + i] = 500000;
	sim_rounds(&s, 720); /* 2 h; chance finds all three in the end */
	memset(s.unchoked_ms, 0, sizeof(s.unchoked_ms));
	sim_rounds(&s, 360);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(s.unchoked_ms[5 + i], 3600000);
}

static void test_leech__chance_moves_every_30_s_and_reaches_all(void **state)
{
	struct sim s;
	uint32_t last = 0;
	unsigned changes = 0;

	sim_init(&s, false, 3, 20);
	for (size_t i = 0; i < 2; i++)
		s.gives_bps[i] = s.peers[i].down_bps = 500000;
	for (int i = 0; i < 1080; i++) { /* 3 h */
		sim_round(&s);
		changes += s.choker.optimistic_id != last;
		last = s.choker.optimistic_id;
		assert_true(last > 2); /* those have earned theirs */
	}
	assert_in_range(changes, 350, 361);
	for (size_t i = 2; i < s.n; i++)
		assert_true(s.unchoked_ms[i] >= 4 * 30000);
	/* Free riders got the slot of chance and nothing more. */
	assert_int_equal(s.unchoked_ms[0], 10800000);
	assert_int_equal(s.unchoked_ms[1], 10800000);
}

static void test_leech__newcomers_draw_three_lots(void **state)
{
	struct sim s;
	unsigned won = 0;

	for (uint64_t seed = 1; seed <= 3000; seed++) {
		sim_init(&s, false, 1, 10);
		choker_init(&s.choker, seed);
		s.now_ms = 1000000;
		s.peers[7].connected_ms = s.now_ms - 30000;
		sim_round(&s);
		won += s.peers[7].is_unchoked;
	}
	assert_in_range(won, 675, 825); /* 3 of 12 lots: 750 */
}

static void test_leech__slots_nobody_earned_go_round(void **state)
{
	struct sim s;

	sim_init(&s, false, 5, 40);
	sim_rounds(&s, 2160); /* 6 h: on average 45 min each */
	for (size_t i = 0; i < s.n; i++)
		assert_in_range(s.unchoked_ms[i], 1900000, 3800000);
	assert_true(s.longest_wait_ms <= 15 * 60000);
}

static void test_seed__everybody_gets_the_same_time(void **state)
{
	struct sim s;

	sim_init(&s, true, 4, 40);
	for (size_t i = 0; i < s.n; i++)
		s.rate_bps[i] = 1000 * (i + 1); /* too slow for 20 pieces */
	sim_rounds(&s, 1800);                   /* 5 h: 30 min each */
	for (size_t i = 0; i < s.n; i++)
		assert_in_range(s.unchoked_ms[i], 1740000, 1860000);
	assert_true(s.longest_wait_ms <= 10 * 60000);
}

static void test_seed__a_turn_is_20_pieces_or_a_minute(void **state)
{
	struct sim s;

	sim_init(&s, true, 1, 2);
	s.rate_bps[0] = 20 * PIECE / 20; /* 20 pieces in 20 s */
	s.rate_bps[1] = 10000;
	sim_rounds(&s, 2);
	assert_true(s.peers[0].is_unchoked);
	sim_round(&s);
	assert_true(s.peers[1].is_unchoked);
	sim_rounds(&s, 5);
	assert_true(s.peers[1].is_unchoked);
	sim_round(&s);
	assert_true(s.peers[0].is_unchoked);
}

static void test_seed__who_takes_nothing_is_relieved_soon(void **state)
{
	struct sim s;

	sim_init(&s, true, 8, 9);
	for (size_t i = 0; i < 8; i++)
		s.rate_bps[i] = 0; /* interested, and asks for nothing */
	sim_rounds(&s, 2);
	assert_false(s.peers[8].is_unchoked);
	sim_round(&s);
	assert_true(s.peers[8].is_unchoked);
}

static void test_seed__a_turn_goes_on_while_nobody_waits(void **state)
{
	struct sim s;

	sim_init(&s, true, 4, 4);
	sim_rounds(&s, 100);
	for (size_t i = 0; i < s.n; i++)
		assert_int_equal(s.unchoked_ms[i], 100 * CHOKER_ROUND_MS);
}

static void test_seed__speed_buys_no_slots(void **state)
{
	struct sim s;

	sim_init(&s, true, 4, 20);
	for (size_t i = 0; i < 3; i++)
		s.rate_bps[i] = 100000000;
	sim_rounds(&s, 720);
	for (size_t i = 3; i < s.n; i++)
		assert_true(s.unchoked_ms[i] > s.unchoked_ms[0]);
}

static void test_seed__hiding_progress_buys_no_slots(void **state)
{
	struct sim s;

	sim_init(&s, true, 4, 20);
	for (size_t i = 0; i < 5; i++)
		s.is_hiding[i] = true;
	sim_rounds(&s, 2160);
	for (size_t i = 5; i < s.n; i++)
		assert_true(s.unchoked_ms[i] > 2 * s.unchoked_ms[0]);
	/* But it is not shut out either: mounts evict. */
	assert_true(s.unchoked_ms[0] > 10 * 60000);
}

static void test_fill__gives_free_slots_at_once_and_chokes_nobody(void **state)
{
	struct sim s;

	sim_init(&s, true, 3, 5);
	for (size_t i = 2; i < 5; i++)
		s.peers[i].is_interested = false;
	sim_round(&s);
	assert_int_equal(sim_count(&s), 2);

	s.now_ms += 500;
	s.peers[3].is_interested = s.peers[4].is_interested = true;
	s.peers[3].since_ms = s.now_ms;
	s.peers[4].since_ms = s.now_ms - 1; /* came first */
	assert_int_equal(
		choker_fill(&s.choker, &s.policy, s.peers, s.n, s.now_ms), 1);
	sim_apply(&s);
	assert_true(s.peers[0].is_unchoked && s.peers[1].is_unchoked);
	assert_true(s.peers[4].is_unchoked);
	assert_false(s.peers[3].is_unchoked);
	assert_int_equal(
		choker_fill(&s.choker, &s.policy, s.peers, s.n, s.now_ms), 0);
	/* The next round does not take it away again after a second. */
	s.now_ms += 1000;
	choker_round(&s.choker, &s.policy, s.peers, s.n, s.now_ms);
	assert_true(s.peers[4].unchoke);
}

static void test_fill__a_slot_of_one_who_lost_interest_is_free(void **state)
{
	struct sim s;

	sim_init(&s, true, 2, 3);
	sim_round(&s);
	assert_false(s.peers[2].is_unchoked);
	s.peers[0].is_interested = false;
	assert_int_equal(
		choker_fill(&s.choker, &s.policy, s.peers, s.n, s.now_ms), 1);
	assert_true(s.peers[2].unchoke && s.peers[0].unchoke);
}

static void test_replay__the_same_seed_decides_the_same(void **state)
{
	struct sim a, b;

	sim_init(&a, false, 4, 50);
	sim_init(&b, false, 4, 50);
	for (size_t i = 0; i < 50; i++)
		a.gives_bps[i] = b.gives_bps[i] = i * 500;
	for (int i = 0; i < 500; i++) {
		sim_round(&a);
		sim_round(&b);
		assert_memory_equal(a.peers, b.peers, sizeof(a.peers));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_round__only_interested_and_never_more_than_slots),
		cmocka_unit_test(
			test_leech__the_fastest_givers_keep_their_slots),
		cmocka_unit_test(
			test_leech__chance_moves_every_30_s_and_reaches_all),
		cmocka_unit_test(test_leech__newcomers_draw_three_lots),
		cmocka_unit_test(test_leech__slots_nobody_earned_go_round),
		cmocka_unit_test(test_seed__everybody_gets_the_same_time),
		cmocka_unit_test(test_seed__a_turn_is_20_pieces_or_a_minute),
		cmocka_unit_test(test_seed__who_takes_nothing_is_relieved_soon),
		cmocka_unit_test(test_seed__a_turn_goes_on_while_nobody_waits),
		cmocka_unit_test(test_seed__speed_buys_no_slots),
		cmocka_unit_test(test_seed__hiding_progress_buys_no_slots),
		cmocka_unit_test(
			test_fill__gives_free_slots_at_once_and_chokes_nobody),
		cmocka_unit_test(
			test_fill__a_slot_of_one_who_lost_interest_is_free),
		cmocka_unit_test(test_replay__the_same_seed_decides_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
