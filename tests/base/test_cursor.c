/* Goal: a decoder that runs past its bytes sees zeros and one sticky error,
 * and an encoder never writes past its room. */
#include "tests/cmocka_all.h"

#include "engine/base/cursor.h"

static const uint8_t bytes[] = { 1, 2,  3,  4,  5,  6,  7, 8,
				 9, 10, 11, 12, 13, 14, 15 };

static void test_cursor__reads_big_endian(void **state)
{
	struct cursor c = cursor_of(bytes, sizeof(bytes));

	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_be16(&c), 0x0203);
	assert_int_equal(cursor_be32(&c), 0x04050607);
	assert_true(cursor_be64(&c) == 0x08090a0b0c0d0e0full);
	assert_int_equal(cursor_left(&c), 0);
	assert_false(c.is_bad);
}

static void test_cursor__spans_borrow(void **state)
{
	struct cursor c = cursor_of(bytes, sizeof(bytes));
	uint8_t three[3];
	struct span s;

	s = cursor_span(&c, 4);
	assert_ptr_equal(s.ptr, bytes);
	assert_int_equal(s.len, 4);
	cursor_skip(&c, 2);
	cursor_copy(&c, three, sizeof(three));
	assert_memory_equal(three, bytes + 6, 3);
	s = cursor_rest(&c);
	assert_ptr_equal(s.ptr, bytes + 9);
	assert_int_equal(s.len, 6);
	assert_int_equal(cursor_rest(&c).len, 0);
	assert_false(c.is_bad);
}

static void test_cursor__error_sticks_and_gives_zeros(void **state)
{
	struct cursor c = cursor_of(bytes, 3);
	uint8_t two[2] = { 9, 9 };

	assert_int_equal(cursor_be32(&c), 0);
	assert_true(c.is_bad);
	assert_int_equal(cursor_left(&c), 0);
	assert_int_equal(cursor_u8(&c), 0);
	assert_int_equal(cursor_be16(&c), 0);
	assert_true(cursor_be64(&c) == 0);
	assert_null(cursor_span(&c, 0).ptr);
	cursor_copy(&c, two, 2);
	assert_int_equal(two[0] | two[1], 0);
	cursor_skip(&c, 0);
	assert_true(c.is_bad);
}

static void test_cursor__refuses_huge_lengths(void **state)
{
	struct cursor c = cursor_of(bytes, sizeof(bytes));

	assert_null(cursor_span(&c, SIZE_MAX).ptr);
	assert_true(c.is_bad);
	c = cursor_of(bytes, sizeof(bytes));
	cursor_skip(&c, SIZE_MAX - 3);
	assert_true(c.is_bad);
}

static void test_cursor__over_nothing(void **state)
{
	struct cursor c = cursor_of(NULL, 0);

	assert_int_equal(cursor_left(&c), 0);
	cursor_skip(&c, 0);
	cursor_copy(&c, NULL, 0);
	assert_false(c.is_bad);
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(c.is_bad);
}

static void test_wcursor__mirrors_the_reader(void **state)
{
	uint8_t out[sizeof(bytes)];
	struct wcursor c = wcursor_of(out, sizeof(out));

	wcursor_u8(&c, 1);
	wcursor_be16(&c, 0x0203);
	wcursor_be32(&c, 0x04050607);
	wcursor_copy(&c, bytes + 7, 0);
	wcursor_be64(&c, 0x08090a0b0c0d0e0full);
	assert_false(c.is_bad);
	assert_int_equal(wcursor_len(&c), sizeof(bytes));
	assert_memory_equal(out, bytes, sizeof(bytes));
}

static void test_wcursor__writes_nothing_after_a_failure(void **state)
{
	uint8_t out[4] = { 0xee, 0xee, 0xee, 0xee };
	struct wcursor c = wcursor_of(out, 3);

	wcursor_u8(&c, 1);
	wcursor_be32(&c, 2);
	assert_true(c.is_bad);
	wcursor_u8(&c, 3);
	wcursor_be16(&c, 3);
	wcursor_be64(&c, 3);
	wcursor_copy(&c, bytes, 1);
	assert_int_equal(wcursor_len(&c), 1);
	assert_int_equal(out[1], 0xee);
	assert_int_equal(out[3], 0xee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor__reads_big_endian),
		cmocka_unit_test(test_cursor__spans_borrow),
		cmocka_unit_test(test_cursor__error_sticks_and_gives_zeros),
		cmocka_unit_test(test_cursor__refuses_huge_lengths),
		cmocka_unit_test(test_cursor__over_nothing),
		cmocka_unit_test(test_wcursor__mirrors_the_reader),
		cmocka_unit_test(test_wcursor__writes_nothing_after_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
