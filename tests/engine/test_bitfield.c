/* Goal: a bitfield behaves like an array of bools, counts right at all times,
 * and takes nothing from the wire that BEP 3 forbids. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/bitfield.h"

#define MODEL_MAX 300

static void check_against(const struct bitfield *bf, const bool *model)
{
	uint32_t set = 0;

	for (uint32_t i = 0; i < bf->num_bits; i++) {
		set += model[i];
		assert_int_equal(bitfield_has(bf, i), model[i]);
	}
	assert_int_equal(bf->num_set, set);
	for (uint32_t i = bf->num_bits; i < bitfield_size(bf) * 8; i++)
		assert_false(bf->bytes[i / 8] >> (7 - i % 8) & 1);
}

static uint32_t model_next(const bool *model, uint32_t n, uint32_t from,
			   uint32_t to, bool value)
{
	for (uint32_t i = from; i < to && i < n; i++)
		if (model[i] == value)
			return i;
	return to;
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void test_bitfield__is_an_array_of_bools(void **state)
{
	uint32_t seed = 1;

	for (uint32_t n = 0; n < MODEL_MAX; n += 1 + n / 20) {
		bool model[MODEL_MAX] = { false };
		struct bitfield bf;

		bitfield_init(&bf, n);
		for (uint32_t step = 0; n && step < 2 * n; step++) {
			uint32_t i = next_random(&seed) % n;
			bool on = next_random(&seed) & 1;

			if (on)
				assert_int_equal(bitfield_set(&bf, i),
						 !model[i]);
			else
				assert_int_equal(bitfield_clear(&bf, i),
						 model[i]);
			model[i] = on;
		}
		check_against(&bf, model);
		bitfield_set_all(&bf);
		memset(model, true, n);
		check_against(&bf, model);
		assert_int_equal(bitfield_is_full(&bf), n > 0);
		bitfield_clear_all(&bf);
		memset(model, false, n);
		check_against(&bf, model);
		assert_false(bitfield_is_full(&bf));
		bitfield_release(&bf);
	}
}

static void test_bitfield__first_piece_is_the_high_bit(void **state)
{
	struct bitfield bf;

	bitfield_init(&bf, 9);
	bitfield_set(&bf, 0);
	bitfield_set(&bf, 8);
	assert_int_equal(bf.bytes[0], 0x80);
	assert_int_equal(bf.bytes[1], 0x80);
	assert_false(bitfield_has(&bf, 9));
	assert_false(bitfield_has(&bf, UINT32_MAX));
	bitfield_release(&bf);
}

static void test_next__agrees_with_a_plain_search(void **state)
{
	bool model[MODEL_MAX] = { false };
	struct bitfield bf;
	uint32_t seed = 7;

	bitfield_init(&bf, MODEL_MAX - 3);
	/* Long runs, so that the steps of 64 and 8 are taken. */
	for (uint32_t i = 0; i < bf.num_bits;) {
		uint32_t run = next_random(&seed) % 150;
		bool on = next_random(&seed) & 1;

		for (; run-- && i < bf.num_bits; i++) {
			model[i] = on;
			if (on)
				bitfield_set(&bf, i);
		}
	}
	for (uint32_t from = 0; from <= bf.num_bits; from++)
		for (uint32_t to = from; to <= bf.num_bits + 2; to++) {
			assert_int_equal(
				bitfield_next_set(&bf, from, to),
				model_next(model, bf.num_bits, from, to, true));
			assert_int_equal(bitfield_next_clear(&bf, from, to),
					 model_next(model, bf.num_bits, from,
						    to, false));
		}
	assert_int_equal(bitfield_next_set(&bf, 9, 4), 4);
	bitfield_release(&bf);
}

static void test_load__takes_only_what_the_wire_allows(void **state)
{
	static const uint8_t good[] = { 0xa5, 0xe0 };
	static const uint8_t spare[] = { 0xa5, 0xf0 };
	struct bitfield bf;

	bitfield_init(&bf, 11);
	bitfield_set(&bf, 1);
	assert_false(bitfield_load(&bf, spare, 2));
	assert_false(bitfield_load(&bf, good, 1));
	assert_false(bitfield_load(&bf, good, 3));
	assert_false(bitfield_load(&bf, good, 0));
	assert_int_equal(bf.num_set, 1);
	assert_true(bitfield_has(&bf, 1));
	assert_true(bitfield_load(&bf, good, 2));
	assert_int_equal(bf.num_set, 7);
	assert_true(bitfield_has(&bf, 10));
	assert_false(bitfield_has(&bf, 1));
	bitfield_release(&bf);
}

static void test_load__counts_long_fields(void **state)
{
	uint8_t bytes[37];
	struct bitfield bf;

	memset(bytes, 0x11, sizeof(bytes));
	bitfield_init(&bf, sizeof(bytes) * 8);
	assert_true(bitfield_load(&bf, bytes, sizeof(bytes)));
	assert_int_equal(bf.num_set, 2 * sizeof(bytes));
	bitfield_release(&bf);
}

static void test_beyond__sees_one_bit_anywhere(void **state)
{
	struct bitfield a, b;

	bitfield_init(&a, 150);
	bitfield_init(&b, 150);
	assert_false(bitfield_has_beyond(&a, &b));
	for (uint32_t i = 0; i < 150; i++) {
		bitfield_set(&a, i);
		assert_true(bitfield_has_beyond(&a, &b));
		assert_false(bitfield_has_beyond(&b, &a));
		bitfield_set(&b, i);
		assert_false(bitfield_has_beyond(&a, &b));
	}
	bitfield_release(&a);
	bitfield_release(&b);
}

static void test_release__is_fine_twice_and_before_init(void **state)
{
	struct bitfield bf = { 0 };

	assert_false(bitfield_has(&bf, 0));
	assert_false(bitfield_is_full(&bf));
	bitfield_clear_all(&bf);
	bitfield_release(&bf);
	bitfield_release(&bf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bitfield__is_an_array_of_bools),
		cmocka_unit_test(test_bitfield__first_piece_is_the_high_bit),
		cmocka_unit_test(test_next__agrees_with_a_plain_search),
		cmocka_unit_test(test_load__takes_only_what_the_wire_allows),
		cmocka_unit_test(test_load__counts_long_fields),
		cmocka_unit_test(test_beyond__sees_one_bit_anywhere),
		cmocka_unit_test(test_release__is_fine_twice_and_before_init),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
