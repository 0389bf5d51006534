/* Goal: over any stretch of time no more passes than the limit and one burst,
 * and what may pass is not lost to rounding. */
#include "tests/cmocka_all.h"

#include "engine/base/ratelimit.h"

static void test_no_limit__never_waits(void **state)
{
	struct ratelimit r = { 0 };

	assert_true(ratelimit_room(&r, 1) == UINT64_MAX);
	ratelimit_take(&r, 1ull << 40);
	assert_true(ratelimit_room(&r, 1) == UINT64_MAX);
}

static void test_limit__is_kept_over_time(void **state)
{
	static const uint64_t limits[] = { 1000, 16384, 1000000, 1ull << 33 };

	for (size_t i = 0; i < 4; i++) {
		struct ratelimit r = { .bps = limits[i] };
		uint64_t sent = 0, most, least;

		for (int64_t now = 1000; now <= 61000; now += 50) {
			while (ratelimit_room(&r, now)) {
				ratelimit_take(&r, 16384);
				sent += 16384;
			}
		}
		most = limits[i] * 60 + limits[i] / 4 + 16384;
		least = limits[i] * 60 - limits[i] / 4;
		assert_true(sent <= most);
		assert_true(sent + 16384 >= least);
	}
}

static void test_limit__a_pause_saves_one_burst_alone(void **state)
{
	struct ratelimit r = { .bps = 1000 };

	assert_int_equal(ratelimit_room(&r, 1000), 250);
	ratelimit_take(&r, 250);
	assert_int_equal(ratelimit_room(&r, 1000), 0);
	assert_int_equal(ratelimit_room(&r, 3600000), 250);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_limit__never_waits),
		cmocka_unit_test(test_limit__is_kept_over_time),
		cmocka_unit_test(test_limit__a_pause_saves_one_burst_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
