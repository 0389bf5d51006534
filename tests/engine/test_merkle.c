/* Goal: layers fold to the root that BEP 52 means, for every count, whichever
 * layer one starts from. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/base/hex.h"
#include "engine/merkle.h"

#define LEAVES_MAX 70

/* The plain way: fill up to a power of two, then halve. */
static void fold_plainly(const uint8_t *nodes, size_t count, unsigned height,
			 uint8_t root[32])
{
	static uint8_t layer[128 * 32];
	size_t width = 1;

	memcpy(layer, nodes, count * 32);
	while (width < count)
		width *= 2;
	for (size_t i = count; i < width; i++)
		merkle_filling(height, layer + i * 32);
	for (; width > 1; width /= 2)
		for (size_t i = 0; i < width; i += 2)
			sha256(layer + i * 32, 64, layer + i / 2 * 32);
	memcpy(root, layer, 32);
}

static void make_leaves(uint8_t *out, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sha256(&i, sizeof(i), out + i * 32);
}

static void test_root__is_what_halving_gives(void **state)
{
	uint8_t leaves[LEAVES_MAX * 32], got[32], want[32];

	make_leaves(leaves, LEAVES_MAX);
	for (size_t count = 1; count <= LEAVES_MAX; count++)
		for (unsigned height = 0; height < 4; height++) {
			merkle_root(leaves, count, height, got);
			fold_plainly(leaves, count, height, want);
			assert_memory_equal(got, want, 32);
		}
}

static void test_root__is_the_same_from_any_layer(void **state)
{
	uint8_t leaves[LEAVES_MAX * 32], layer[LEAVES_MAX * 32];
	uint8_t from_leaves[32], from_layer[32];

	make_leaves(leaves, LEAVES_MAX);
	for (size_t count = 5; count <= LEAVES_MAX; count++) {
		/* Layer of height 2: each node above four leaves. */
		size_t nodes = (count + 3) / 4;

		for (size_t i = 0; i < nodes; i++) {
			uint8_t four[4 * 32] = { 0 };
			size_t n = count - 4 * i < 4 ? count - 4 * i : 4;

			memcpy(four, leaves + i * 4 * 32, n * 32);
			merkle_root(four, 4, 0, layer + i * 32);
		}
		merkle_root(leaves, count, 0, from_leaves);
		merkle_root(layer, nodes, 2, from_layer);
		assert_memory_equal(from_leaves, from_layer, 32);
	}
}

static void test_filling__known_values(void **state)
{
	uint8_t out[32];
	char hex[65];

	merkle_filling(0, out);
	assert_string_equal(hex_encode(out, 32, hex),
			    "0000000000000000000000000000000000000000000000000"
			    "000000000000000");
	/* SHA-256 of 64 zero bytes */
	merkle_filling(1, out);
	assert_string_equal(hex_encode(out, 32, hex),
			    "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8e"
			    "a9831a92759fb4b");
}

static void test_height__of_the_piece_layer(void **state)
{
	assert_int_equal(merkle_piece_height(16384), 0);
	assert_int_equal(merkle_piece_height(32768), 1);
	assert_int_equal(merkle_piece_height(1 << 20), 6);
	assert_int_equal(merkle_piece_height(512u << 20), 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root__is_what_halving_gives),
		cmocka_unit_test(test_root__is_the_same_from_any_layer),
		cmocka_unit_test(test_filling__known_values),
		cmocka_unit_test(test_height__of_the_piece_layer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
