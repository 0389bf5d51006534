/* Goal: table and transactions of the Kademlia core, one rule at a time. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "dht/kad_rpc.h"
#include "dht/kad_table.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"

static bool ends_even(void *arg, const struct kad_id *id,
		      const struct addr *addr)
{
	return id->b[19] % 2 == 0;
}

static const struct kad_rules RULES = { .k = 8,
					.is_verified = ends_even,
					.stale_ms = 180000,
					.candidate_ms = 90000 };

/* First byte and number of the subnet; everything else is zero. */
static struct kad_contact contact(uint8_t first, unsigned net)
{
	struct kad_contact c = { .addr = { .family = 4,
					   .ip = { 11, (uint8_t)(net >> 8),
						   (uint8_t)net, 1 },
					   .port = 6881 } };

	c.id.b[0] = first;
	store_be16(c.id.b + 10, (uint16_t)net);
	return c;
}

static void open_table(struct kad_table *t)
{
	static const struct kad_id self;

	kad_table_init(t, &RULES, &self);
}

static void test_table__wide_buckets_first(void **state)
{
	static const unsigned caps[] = { 128, 64, 32, 16, 8, 8 };
	struct kad_table t;

	open_table(&t);
	for (unsigned b = 0; b < ARRAY_LEN(caps); b++) {
		for (unsigned i = 0; i < 200; i++) {
			struct kad_contact c =
				contact((uint8_t)(0x80 >> b), b * 200 + i);

			(void)kad_table_on_answer(&t, 1000, &c, 50);
		}
		assert_int_equal(t.buckets[b].num, caps[b]);
		assert_int_equal(t.buckets[b].num_spares, 8);
	}
	kad_table_release(&t);
}

static void test_table__one_a_subnet_and_address(void **state)
{
	struct kad_contact a = contact(0x80, 1), b = contact(0x81, 1);
	struct kad_contact far = contact(0x40, 1), same = contact(0x20, 1);
	struct kad_table t;

	open_table(&t);
	b.addr.ip[3] = far.addr.ip[3] = 2;
	assert_true(kad_table_on_answer(&t, 0, &a, 50));
	assert_false(kad_table_on_answer(&t, 0, &b, 50));  /* subnet */
	assert_true(kad_table_on_answer(&t, 0, &far, 50)); /* other bucket */
	same.addr.port++;
	assert_false(kad_table_on_answer(&t, 0, &same, 50)); /* address */
	/* Who fails loses the place. */
	kad_table_evict(&t, &far.id, &far.addr);
	kad_table_on_timeout(&t, &a, 1, false);
	assert_true(kad_table_on_answer(&t, 0, &b, 50));
	assert_null(kad_table_find(&t, &a.id));
	/* At one port there is one node: a new id takes the place at once. */
	same = b;
	same.id.b[5]++;
	assert_true(kad_table_on_answer(&t, 0, &same, 50));
	assert_null(kad_table_find(&t, &b.id));
	kad_table_release(&t);
}

static void test_table__the_dead_are_followed_by_spares(void **state)
{
	struct kad_contact c, first = contact(0x08, 0);
	const struct kad_node *near[8];
	struct kad_table t;

	open_table(&t);
	for (unsigned i = 0; i < 9; i++) {
		c = contact(0x08, i);
		c.id.b[1] = (uint8_t)(i * 16);
		if (!i)
			first = c;
		(void)kad_table_on_answer(&t, 0, &c, 50);
	}
	assert_int_equal(t.buckets[4].num_spares, 1);
	kad_table_on_timeout(&t, &first, 1, false);
	assert_int_equal(kad_table_closest(&t, &first.id, 8, near), 7);
	assert_int_equal(kad_table_closest_any(&t, &first.id, 8, near), 8);
	kad_table_on_timeout(&t, &first, 2, false);
	assert_null(kad_table_find(&t, &first.id));
	assert_int_equal(t.buckets[4].num, 8);
	assert_int_equal(t.buckets[4].num_spares, 0);
	/* It was silent for long: not told before it answers again. */
	assert_int_equal(kad_table_closest(&t, &first.id, 8, near), 7);
	kad_table_release(&t);
}

static void test_table__our_own_line_is_dead(void **state)
{
	struct kad_contact c = contact(0x80, 1);
	struct kad_table t;

	open_table(&t);
	(void)kad_table_on_answer(&t, 0, &c, 50);
	for (unsigned i = 0; i < 100; i++)
		kad_table_on_timeout(&t, &c, 5, true);
	assert_int_equal(t.num_nodes, 1);
	(void)kad_table_on_answer(&t, 9, &c, 50);
	assert_int_equal(kad_table_find(&t, &c.id)->fails, 0);
	kad_table_release(&t);
}

static void test_table__verified_then_spread_then_near(void **state)
{
	struct kad_contact c, good = contact(0x08, 100);
	struct kad_table t;

	open_table(&t);
	for (unsigned i = 0; i < 8; i++) {
		c = contact(0x08, i);
		c.id.b[19] = 1; /* no right to the id */
		(void)kad_table_on_answer(&t, 0, &c, (uint16_t)(50 + i));
	}
	assert_true(kad_table_on_answer(&t, 0, &good, 500));
	assert_null(kad_table_find(&t, &c.id)); /* the slowest went */
	kad_table_release(&t);

	open_table(&t);
	for (unsigned i = 0; i < 8; i++) {
		c = contact(0x08, i);
		(void)kad_table_on_answer(&t, 0, &c, (uint16_t)(50 + i));
	}
	good = contact(0x0f, 200); /* another eighth of the range */
	assert_true(kad_table_on_answer(&t, 0, &good, 500));
	good = contact(0x08, 201);
	assert_false(kad_table_on_answer(&t, 0, &good, 500));
	good = contact(0x08, 202);
	assert_true(kad_table_on_answer(&t, 0, &good, 10));
	kad_table_release(&t);
}

/* The closest of all in T, farther than AFTER unless that is NULL. */
static const struct kad_id *next_best(const struct kad_table *t,
				      const struct kad_id *target,
				      const struct kad_id *after)
{
	const struct kad_id *best = NULL;

	for (unsigned b = 0; b < t->depth; b++) {
		for (unsigned j = 0; j < t->buckets[b].num; j++) {
			const struct kad_id *id = &t->buckets[b].nodes[j].id;

			if (after && kad_id_compare(target, id, after) <= 0)
				continue;
			if (!best || kad_id_compare(target, id, best) < 0)
				best = id;
		}
	}
	return best;
}

static void random_id(struct prng *r, struct kad_id *id, unsigned shift)
{
	for (unsigned b = 0; b < KAD_ID_BYTES; b++)
		id->b[b] = (uint8_t)prng_u64(r);
	id->b[0] >>= shift; /* deep buckets as well */
	id->b[19] = 0;
}

static void test_table__closest_is_what_brute_force_says(void **state)
{
	struct prng r = { .state = 9 };
	struct kad_table t;

	open_table(&t);
	for (unsigned i = 0; i < 3000; i++) {
		struct kad_contact c = contact(0, i);

		random_id(&r, &c.id, i % 8);
		(void)kad_table_on_answer(&t, 0, &c, 50);
	}
	for (unsigned round = 0; round < 2000; round++) {
		const struct kad_node *near[8];
		const struct kad_id *best = NULL;
		struct kad_id target;

		random_id(&r, &target, round % 8);
		assert_int_equal(kad_table_closest(&t, &target, 8, near), 8);
		for (unsigned i = 0; i < 8; i++) {
			best = next_best(&t, &target, best);
			assert_true(kad_id_eq(best, &near[i]->id));
		}
	}
	kad_table_release(&t);
}

static void test_table__strangers_wait(void **state)
{
	struct kad_contact c = contact(0x80, 1), out;
	struct kad_table t;
	int64_t next;

	open_table(&t);
	for (unsigned i = 0; i < 64; i++) { /* not short of nodes */
		struct kad_contact o = contact(0x80, 100 + i);

		(void)kad_table_on_answer(&t, 0, &o, 50);
	}
	kad_table_suggest(&t, 1000, &c, false);
	kad_table_suggest(&t, 1000, &c, false);
	assert_int_equal(t.num_candidates, 1);
	assert_false(kad_table_next_candidate(&t, 90999, &out, &next));
	assert_int_equal(next, 91000);
	assert_true(kad_table_next_candidate(&t, 91000, &out, &next));
	assert_true(kad_id_eq(&out.id, &c.id));
	for (unsigned i = 0; i < 1000; i++) {
		c = contact(0x80, 200 + i);
		kad_table_suggest(&t, 1000, &c, false);
	}
	assert_int_equal(t.num_candidates, LIMIT_KAD_CANDIDATES);
	c = contact(0x01, 5000); /* a neighbour finds room */
	kad_table_suggest(&t, 1000, &c, true);
	assert_true(kad_table_next_candidate(&t, 1000, &out, &next));
	assert_true(kad_id_eq(&out.id, &c.id));
	/* And now there is room for those far away once more. */
	c = contact(0x80, 6000);
	kad_table_suggest(&t, 1000, &c, false);
	assert_int_equal(t.num_candidates, LIMIT_KAD_CANDIDATES);
	kad_table_release(&t);
}

/* --- transactions --- */

static uint32_t chance(void *arg)
{
	return (uint32_t)prng_u64(arg);
}

static void test_rpc__address_and_id_must_match(void **state)
{
	struct kad_contact a = contact(1, 1), b = contact(1, 2);
	struct prng r = { .state = 1 };
	uint8_t tid[KAD_TID_BYTES];
	struct kad_call *c;
	struct kad_rpc rpc;

	kad_rpc_init(&rpc, 'x', chance, &r);
	c = kad_rpc_ask(&rpc, 0, &a.id, &a.addr, NULL, NULL);
	kad_rpc_tid(&rpc, c, tid);
	assert_int_equal(tid[0], 'x');
	assert_ptr_equal(kad_rpc_match(&rpc, tid, 4, &a.addr), c);
	assert_null(kad_rpc_match(&rpc, tid, 4, &b.addr));
	assert_null(kad_rpc_match(&rpc, tid, 3, &a.addr));
	assert_int_equal(rpc.stats.spoofed, 1);
	for (unsigned i = 0; i < 32; i++) {
		tid[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_null(kad_rpc_match(&rpc, tid, 4, &a.addr));
		tid[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	kad_rpc_end(&rpc, c);
	assert_null(kad_rpc_match(&rpc, tid, 4, &a.addr));
	kad_rpc_release(&rpc);
}

static void test_rpc__round_trips_are_exact(void **state)
{
	/* Goal: each sending has an id of its own. */
	struct kad_contact a = contact(1, 1);
	struct prng r = { .state = 1 };
	uint8_t first[KAD_TID_BYTES], second[KAD_TID_BYTES];
	struct kad_call *c;
	struct kad_rpc rpc;

	kad_rpc_init(&rpc, 'x', chance, &r);
	c = kad_rpc_ask(&rpc, 1000, &a.id, &a.addr, NULL, NULL);
	kad_rpc_tid(&rpc, c, first);
	kad_rpc_wait(&rpc, 1300, c, 300, true);
	kad_rpc_tid(&rpc, c, second);
	assert_ptr_equal(kad_rpc_match(&rpc, first, 4, &a.addr), c);
	assert_int_equal(kad_rpc_on_answer(&rpc, 1350, c, first), 350);
	assert_int_equal(kad_rpc_on_answer(&rpc, 1350, c, second), 50);
	kad_rpc_release(&rpc);
}

static void answer_all(struct kad_rpc *rpc, const struct addr *a, int64_t rtt)
{
	for (unsigned i = 0; i < KAD_RTT_SAMPLES; i++) {
		struct kad_call *c = kad_rpc_ask(rpc, 0, NULL, a, NULL, NULL);
		uint8_t tid[KAD_TID_BYTES];

		kad_rpc_tid(rpc, c, tid);
		(void)kad_rpc_on_answer(rpc, rtt, c, tid);
		kad_rpc_end(rpc, c);
	}
}

static void test_rpc__adapts_and_is_bounded(void **state)
{
	struct kad_contact a = contact(1, 1);
	struct prng r = { .state = 1 };
	enum kad_event event;
	struct kad_call *c;
	struct kad_rpc rpc;
	unsigned over = 0;

	kad_rpc_init(&rpc, 'x', chance, &r);
	answer_all(&rpc, &a.addr, 10);
	assert_int_equal(kad_rpc_soft_ms(&rpc), 150);
	answer_all(&rpc, &a.addr, 200);
	assert_int_equal(kad_rpc_soft_ms(&rpc), 400);
	for (unsigned i = 0; i < LIMIT_KAD_CALLS + 10; i++)
		(void)kad_rpc_ask(&rpc, 0, NULL, &a.addr, NULL, NULL);
	assert_int_equal(rpc.num_calls, LIMIT_KAD_CALLS);
	assert_int_equal(rpc.stats.full, 10);
	assert_null(kad_rpc_due(&rpc, 399, &event));
	assert_non_null(kad_rpc_due(&rpc, 400, &event));
	assert_int_equal(event, KAD_SLOW);
	while ((c = kad_rpc_due(&rpc, LIMIT_KAD_TIMEOUT_MS, &event))) {
		if (event != KAD_TIMEOUT)
			continue;
		over++;
		kad_rpc_end(&rpc, c);
	}
	assert_int_equal(over, LIMIT_KAD_CALLS);
	assert_int_equal(kad_rpc_next_ms(&rpc), INT64_MAX);
	kad_rpc_release(&rpc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table__wide_buckets_first),
		cmocka_unit_test(test_table__one_a_subnet_and_address),
		cmocka_unit_test(test_table__the_dead_are_followed_by_spares),
		cmocka_unit_test(test_table__our_own_line_is_dead),
		cmocka_unit_test(test_table__verified_then_spread_then_near),
		cmocka_unit_test(test_table__closest_is_what_brute_force_says),
		cmocka_unit_test(test_table__strangers_wait),
		cmocka_unit_test(test_rpc__address_and_id_must_match),
		cmocka_unit_test(test_rpc__round_trips_are_exact),
		cmocka_unit_test(test_rpc__adapts_and_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
