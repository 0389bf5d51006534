/* Goal: CRC-32C is right for known answers, and agrees with the definition for
 * all lengths and alignments. */
#include "engine/base/crc32c.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tests/cmocka_all.h"

static uint32_t by_definition(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;

	while (len--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void expect(const uint8_t *p, size_t len, uint32_t sum)
{
	assert_int_equal(by_definition(p, len), sum);
	assert_int_equal(crc32c(p, len), sum);
}

static void test_known_answers(void **state)
{
	uint8_t bytes[32];

	expect(NULL, 0, 0);
	expect((const uint8_t *)"123456789", 9, 0xe3069283);
	/* RFC 3720, B.4 */
	memset(bytes, 0, sizeof(bytes));
	expect(bytes, sizeof(bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	expect(bytes, sizeof(bytes), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	expect(bytes, sizeof(bytes), 0x46dd794e);
}

static void test_lengths_and_alignments(void **state)
{
	struct prng r = { 4711 };
	uint8_t bytes[4096];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)prng_u64(&r);
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < 200; len++)
			expect(bytes + at, len, by_definition(bytes + at, len));
	for (int i = 0; i < 2000; i++) {
		size_t at = prng_below(&r, 4096);
		size_t len = prng_below(&r, (uint32_t)(4096 - at) + 1);

		expect(bytes + at, len, by_definition(bytes + at, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_answers),
		cmocka_unit_test(test_lengths_and_alignments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
