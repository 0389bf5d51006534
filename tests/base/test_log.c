/* Goal: foreign bytes never reach a terminal or a log raw. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/base/log.h"

static void test_vis__keeps_printable(void **state)
{
	char out[64];

	assert_string_equal(log_vis("a \xc3\xa9!", 5, out, sizeof(out)),
			    "a \xc3\xa9!");
}

static void test_vis__escapes_control_quotes_and_bad_utf8(void **state)
{
	char out[64];

	assert_string_equal(log_vis("\n\x1b\"\\", 4, out, sizeof(out)),
			    "\\x0a\\x1b\\x22\\x5c");
	assert_string_equal(log_vis("\xff\xc0\xaf", 3, out, sizeof(out)),
			    "\\xff\\xc0\\xaf");
	assert_string_equal(log_vis("\xed\xa0\x80", 3, out, sizeof(out)),
			    "\\xed\\xa0\\x80");
	assert_string_equal(log_vis("\xc2\x85", 2, out, sizeof(out)),
			    "\\xc2\\x85");
}

static void test_vis__cuts_and_always_ends(void **state)
{
	char out[6];

	assert_string_equal(log_vis("abcdefgh", 8, out, sizeof(out)), "abcde");
	assert_string_equal(log_vis("abc\n", 4, out, sizeof(out)), "abc");
	assert_string_equal(log_vis("", 0, out, sizeof(out)), "");
}

static void test_limit__one_a_second(void **state)
{
	struct log_limit l = { 0 };

	assert_true(log_limit_ok(&l, 1000));
	assert_false(log_limit_ok(&l, 1999));
	assert_true(log_limit_ok(&l, 2000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vis__keeps_printable),
		cmocka_unit_test(test_vis__escapes_control_quotes_and_bad_utf8),
		cmocka_unit_test(test_vis__cuts_and_always_ends),
		cmocka_unit_test(test_limit__one_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
