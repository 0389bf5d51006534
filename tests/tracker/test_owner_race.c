/* Goal: a key's owners are asked in order, the next one in time when one is
 * dead, and a second one where a lie could hide a swarm. In virtual time. */
#include "tests/cmocka_all.h"

#include "tracker/owner_race.h"

static int64_t wake;

static void test_first_answers__nobody_else_is_asked(void **state)
{
	struct owner_race r;

	owner_race_init(&r, 3, true);
	assert_int_equal(owner_race_next(&r, 0, &wake), 0);
	assert_int_equal(owner_race_next(&r, 0, &wake), -1);
	assert_int_equal(wake, OWNER_SILENT_MS);
	owner_race_on_answer(&r, OWNER_FEW_PEERS);
	assert_int_equal(owner_race_next(&r, 10000, &wake), -1);
	assert_int_equal(wake, INT64_MAX);
	assert_false(owner_race_is_lost(&r, 10000));
}

static void test_failure__the_next_one_at_once(void **state)
{
	struct owner_race r;

	owner_race_init(&r, 3, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(owner_race_next(&r, i, &wake), i);
		assert_false(owner_race_is_lost(&r, i));
		owner_race_on_failure(&r);
	}
	assert_int_equal(owner_race_next(&r, 3, &wake), -1);
	assert_true(owner_race_is_lost(&r, 3));
}

/* The whole race takes less than 2 s. */
static void test_silence__beside_it(void **state)
{
	struct owner_race r;
	int64_t now = 5000;

	owner_race_init(&r, 3, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(owner_race_next(&r, now, &wake), i);
		assert_int_equal(owner_race_next(&r, now, &wake), -1);
		assert_int_equal(wake, now + OWNER_SILENT_MS);
		assert_false(owner_race_is_lost(&r, wake - 1));
		now = wake;
	}
	assert_int_equal(owner_race_next(&r, now, &wake), -1);
	assert_true(owner_race_is_lost(&r, now));
	assert_true(now - 5000 <= 2000);
	owner_race_on_answer(&r, 100); /* late, and welcome */
	assert_false(owner_race_is_lost(&r, now));
}

static void test_few_peers__a_second_owner(void **state)
{
	struct owner_race r;

	owner_race_init(&r, 3, true);
	assert_int_equal(owner_race_next(&r, 0, &wake), 0);
	owner_race_on_answer(&r, 0);
	assert_int_equal(owner_race_next(&r, 1, &wake), 1);
	assert_int_equal(owner_race_next(&r, 1, &wake), -1);
	owner_race_on_failure(&r);
	assert_int_equal(owner_race_next(&r, 2, &wake), 2);
	owner_race_on_answer(&r, 0);
	assert_int_equal(owner_race_next(&r, 3, &wake), -1);
	assert_int_equal(wake, INT64_MAX);
}

static void test_few_peers__enough_for_who_wants_none(void **state)
{
	struct owner_race r;

	owner_race_init(&r, 3, false);
	assert_int_equal(owner_race_next(&r, 0, &wake), 0);
	owner_race_on_answer(&r, 0);
	assert_int_equal(owner_race_next(&r, 5000, &wake), -1);
}

static void test_few_owners(void **state)
{
	struct owner_race r;

	owner_race_init(&r, 1, true);
	assert_int_equal(owner_race_next(&r, 0, &wake), 0);
	owner_race_on_answer(&r, 0);
	assert_int_equal(owner_race_next(&r, 5000, &wake), -1);
	assert_int_equal(wake, INT64_MAX);
	owner_race_init(&r, 0, true);
	assert_int_equal(owner_race_next(&r, 0, &wake), -1);
	assert_true(owner_race_is_lost(&r, 0));
	owner_race_init(&r, 9, true); /* no more than it has room for */
	assert_int_equal(r.num, OWNER_RACE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_answers__nobody_else_is_asked),
		cmocka_unit_test(test_failure__the_next_one_at_once),
		cmocka_unit_test(test_silence__beside_it),
		cmocka_unit_test(test_few_peers__a_second_owner),
		cmocka_unit_test(test_few_peers__enough_for_who_wants_none),
		cmocka_unit_test(test_few_owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
