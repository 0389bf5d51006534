/* Goal: text forms of hashes decode to one value or are refused. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/base/hex.h"

static void test_hex__round_trip(void **state)
{
	uint8_t all[256], back[256];
	char text[513];
	int i;

	for (i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	assert_ptr_equal(hex_encode(all, 256, text), text);
	assert_int_equal(strlen(text), 512);
	assert_memory_equal(text, "000102", 6);
	assert_true(hex_decode(text, 512, back, 256));
	assert_memory_equal(all, back, 256);
	assert_string_equal(hex_encode(all, 0, text), "");
}

static void test_hex__takes_both_cases(void **state)
{
	uint8_t b[2];

	assert_true(hex_decode("aBCd", 4, b, 2));
	assert_int_equal(b[0] << 8 | b[1], 0xabcd);
}

static void test_hex__refuses(void **state)
{
	uint8_t b[4];

	assert_false(hex_decode("abc", 3, b, 1));
	assert_false(hex_decode("abcd", 4, b, 1));
	assert_false(hex_decode("ab", 2, b, 2));
	assert_false(hex_decode("0g", 2, b, 1));
	assert_false(hex_decode("/0", 2, b, 1));
	assert_false(hex_decode("@0", 2, b, 1));
	assert_false(hex_decode("0\xe1", 2, b, 1));
	assert_false(hex_decode("0x", 2, b, 1));
	assert_true(hex_decode("", 0, b, 0));
}

/* RFC 4648, section 10, without its padding. */
static void test_base32__rfc_vectors(void **state)
{
	static const struct {
		const char *text, *bytes;
	} v[] = {
		{ "", "" },
		{ "MY", "f" },
		{ "MZXQ", "fo" },
		{ "MZXW6", "foo" },
		{ "MZXW6YQ", "foob" },
		{ "MZXW6YTB", "fooba" },
		{ "MZXW6YTBOI", "foobar" },
	};
	uint8_t out[8];
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		assert_true(base32_decode(v[i].text, strlen(v[i].text), out,
					  strlen(v[i].bytes)));
		assert_memory_equal(out, v[i].bytes, strlen(v[i].bytes));
	}
}

static void test_base32__infohash(void **state)
{
	uint8_t a[20], b[20], want[20];

	memset(want, 0xff, sizeof(want));
	assert_true(
		base32_decode("77777777777777777777777777777777", 32, a, 20));
	assert_memory_equal(a, want, 20);
	assert_true(
		base32_decode("abcdefghijklmnopqrstuvwxyz234567", 32, a, 20));
	assert_true(
		base32_decode("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32, b, 20));
	assert_memory_equal(a, b, 20);
	assert_int_equal(a[0] << 24 | a[1] << 16 | a[2] << 8 | a[3],
			 0x00443214);
}

static void test_base32__refuses(void **state)
{
	uint8_t b[20];

	assert_false(base32_decode("MZXW6YT", 7, b, 5));
	assert_false(base32_decode("MZXW6YTBA", 9, b, 5));
	assert_false(base32_decode("MZXW6YT1", 8, b, 5));
	assert_false(base32_decode("MZXW6YT8", 8, b, 5));
	assert_false(base32_decode("MZXW6YT=", 8, b, 5));
	assert_false(base32_decode("MY======", 8, b, 1));
	assert_false(base32_decode("MZ", 2, b, 1)); /* bits left over */
	assert_false(base32_decode("MZ", 2, b, SIZE_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hex__round_trip),
		cmocka_unit_test(test_hex__takes_both_cases),
		cmocka_unit_test(test_hex__refuses),
		cmocka_unit_test(test_base32__rfc_vectors),
		cmocka_unit_test(test_base32__infohash),
		cmocka_unit_test(test_base32__refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
