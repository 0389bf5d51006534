/* Goal: the right address is tried next, at the right time; nothing that a
 * source or a stranger says makes a good address be forgotten for ever. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/swarm.h"

#define MINUTE 60000

static struct swarm *swarm;
static int64_t now;

static int set_up(void **state)
{
	swarm = swarm_new();
	now = 1000000;
	return 0;
}

static int tear_down(void **state)
{
	swarm_free(swarm);
	return 0;
}

static struct addr at(unsigned n)
{
	struct addr a = { .family = 4, .port = 6881 };

	a.ip[0] = 11;
	a.ip[1] = (uint8_t)(n >> 16);
	a.ip[2] = (uint8_t)(n >> 8);
	a.ip[3] = (uint8_t)n;
	return a;
}

static void add(unsigned n, enum peer_origin origin)
{
	struct addr a = at(n);

	swarm_add(swarm, &a, origin);
}

static struct candidate *next(int64_t *wait_ms)
{
	return swarm_next(swarm, false, now, wait_ms);
}

/* Tries the next address; fails the test if it is not N. */
static void try(unsigned n)
{
	struct addr a = at(n);
	int64_t wait;
	struct candidate *c = next(&wait);

	assert_non_null(c);
	assert_true(addr_eq(&c->addr, &a));
	swarm_on_connecting(c, now);
}

static void lose(unsigned n, bool good)
{
	struct addr a = at(n);

	swarm_on_lost(swarm, &a, good, now);
}

static void test_next__persons_first_then_fewest_failures(void **state)
{
	int64_t wait;

	add(1, ORIGIN_TRACKER);
	add(2, ORIGIN_TRACKER);
	add(3, ORIGIN_USER);
	try(3);
	try(1);
	lose(1, false);
	now += 10 * MINUTE;
	try(2);
	try(1);
	assert_null(next(&wait));
	assert_int_equal(wait, -1);
}

static void test_next__tells_how_long_to_wait(void **state)
{
	int64_t wait;

	add(1, ORIGIN_TRACKER);
	try(1);
	lose(1, false);
	assert_null(next(&wait));
	assert_int_equal(wait, 2 * MINUTE);
	now += 2 * MINUTE;
	try(1);
	lose(1, true); /* it worked: the failure is forgotten */
	assert_null(next(&wait));
	assert_int_equal(wait, MINUTE);
}

static void test_next__leaves_seeds_to_leechers(void **state)
{
	struct addr a = at(1);
	int64_t wait;

	add(1, ORIGIN_TRACKER);
	swarm_find(swarm, &a)->was_seed = true;
	assert_null(swarm_next(swarm, true, now, &wait));
	assert_non_null(swarm_next(swarm, false, now, &wait));
}

static void fail_until_given_up(unsigned n)
{
	struct addr a = at(n);

	while (swarm_find(swarm, &a)->failures < LIMIT_PEER_FAILURES) {
		now += 10 * MINUTE;
		try(n);
		lose(n, false);
	}
}

static void test_person__is_tried_for_ever_each_5_s(void **state)
{
	int64_t wait;

	add(1, ORIGIN_USER);
	for (int i = 0; i < 100; i++) {
		try(1);
		lose(1, false);
		assert_null(next(&wait));
		assert_int_equal(wait, 5000);
		now += 5000;
	}
	assert_int_equal(swarm_num_usable(swarm), 1);
}

static void test_given_up__until_somebody_names_it_again(void **state)
{
	int64_t wait;

	add(1, ORIGIN_TRACKER);
	fail_until_given_up(1);
	now += 60 * MINUTE;
	assert_null(next(&wait));
	assert_int_equal(swarm_num_usable(swarm), 0);
	/* Half an hour later it is on again, and its tracker says so. */
	add(1, ORIGIN_TRACKER);
	assert_int_equal(swarm_num_usable(swarm), 1);
	try(1);
	lose(1, false);
	/* One more chance a naming, and not at once. */
	add(1, ORIGIN_TRACKER);
	assert_null(next(&wait));
	assert_true(wait >= MINUTE);
}

static void test_hurry__tries_everybody_again(void **state)
{
	int64_t wait;

	add(1, ORIGIN_TRACKER);
	add(2, ORIGIN_TRACKER);
	try(1);
	lose(1, false);
	try(2);
	fail_until_given_up(1);
	assert_null(next(&wait));
	swarm_hurry(swarm, now);
	try(1);
	lose(1, false);
	/* At most every 10 s. */
	now += 9000;
	swarm_hurry(swarm, now);
	assert_null(next(&wait));
	now += 1000;
	swarm_hurry(swarm, now);
	try(1);
}

/* No route, no descriptor: that says nothing about the other end. */
static void test_local_failure__is_not_counted(void **state)
{
	struct addr a = at(1);

	add(1, ORIGIN_TRACKER);
	for (int i = 0; i < 10; i++) {
		try(1);
		swarm_on_not_tried(swarm, &a, now);
		now += MINUTE;
	}
	assert_int_equal(swarm_num_usable(swarm), 1);
	assert_int_equal(swarm_find(swarm, &a)->failures, 0);
}

static void test_ban__covers_every_port(void **state)
{
	struct addr a = at(1), b = at(1);
	int64_t wait;

	b.port = 7000;
	swarm_add(swarm, &a, ORIGIN_USER);
	swarm_ban(swarm, &b);
	assert_null(next(&wait));
	swarm_add(swarm, &b, ORIGIN_TRACKER);
	assert_null(next(&wait));
	assert_true(swarm_is_banned(swarm, &a));
	assert_int_equal(swarm_num_usable(swarm), 0);
}

static void test_martians__stay_out(void **state)
{
	struct addr a = at(1);

	a.port = 0;
	assert_false(swarm_add(swarm, &a, ORIGIN_USER));
	a = (struct addr){ .family = 4, .ip = { 224, 0, 0, 1 }, .port = 1 };
	assert_false(swarm_add(swarm, &a, ORIGIN_TRACKER));
	assert_int_equal(swarm_size(swarm), 0);
}

static void test_full__the_hopeless_leave_first(void **state)
{
	struct addr banned = at(7), dead = at(8), good = at(9);

	for (unsigned i = 1; i <= LIMIT_PEER_CANDIDATES; i++)
		add(i, ORIGIN_TRACKER);
	swarm_ban(swarm, &banned);
	swarm_find(swarm, &dead)->failures = 2;
	swarm_find(swarm, &good)->is_connected = true;
	add(100001, ORIGIN_TRACKER);
	assert_int_equal(swarm_size(swarm), LIMIT_PEER_CANDIDATES);
	assert_null(swarm_find(swarm, &banned));
	add(100002, ORIGIN_TRACKER);
	assert_null(swarm_find(swarm, &dead));
	for (unsigned i = 0; i < 2 * LIMIT_PEER_CANDIDATES; i++)
		add(200000 + i, ORIGIN_TRACKER);
	assert_int_equal(swarm_size(swarm), LIMIT_PEER_CANDIDATES);
	assert_non_null(swarm_find(swarm, &good));
}

static void test_untried__is_told_from_tried_in_vain(void **state)
{
	add(1, ORIGIN_TRACKER);
	assert_true(swarm_has_untried(swarm, now));
	try(1);
	assert_true(swarm_has_untried(swarm, now + 1000));
	assert_false(swarm_has_untried(swarm, now + MINUTE));
	lose(1, false);
	assert_false(swarm_has_untried(swarm, now));
	add(2, ORIGIN_USER);
	try(2);
	lose(2, false);
	assert_false(swarm_has_untried(swarm, now));
	assert_int_equal(swarm_num_usable(swarm), 2);
}

/* Whoever connects to us may name an address; it does not push out those that
 * a tracker vouched for. */
static void test_full__strangers_push_out_nobody_better(void **state)
{
	for (unsigned i = 1; i <= LIMIT_PEER_CANDIDATES; i++)
		add(i, ORIGIN_TRACKER);
	for (unsigned i = 0; i < 100; i++)
		add(300000 + i, ORIGIN_INCOMING);
	for (unsigned i = 1; i <= LIMIT_PEER_CANDIDATES; i++) {
		struct addr a = at(i);

		assert_non_null(swarm_find(swarm, &a));
	}
}

static void test_add__a_person_outranks_what_was_known(void **state)
{
	struct addr a = at(1);

	add(1, ORIGIN_INCOMING);
	add(1, ORIGIN_TRACKER);
	assert_int_equal(swarm_find(swarm, &a)->origin, ORIGIN_TRACKER);
	fail_until_given_up(1);
	add(1, ORIGIN_USER);
	try(1); /* at once: a person said so */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_next__persons_first_then_fewest_failures),
		CASE(test_next__tells_how_long_to_wait),
		CASE(test_next__leaves_seeds_to_leechers),
		CASE(test_person__is_tried_for_ever_each_5_s),
		CASE(test_given_up__until_somebody_names_it_again),
		CASE(test_hurry__tries_everybody_again),
		CASE(test_local_failure__is_not_counted),
		CASE(test_ban__covers_every_port),
		CASE(test_martians__stay_out),
		CASE(test_full__the_hopeless_leave_first),
		CASE(test_untried__is_told_from_tried_in_vain),
		CASE(test_full__strangers_push_out_nobody_better),
		CASE(test_add__a_person_outranks_what_was_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
