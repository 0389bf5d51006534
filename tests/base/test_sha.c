/* Goal: SHA-1 and SHA-256 give the values of FIPS 180-4, whole, in parts, and
 * from many threads at once. */
#include "tests/cmocka_all.h"

#include <pthread.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/sha.h"

static const struct {
	const char *text, *sha1, *sha256;
} vectors[] = {
	{ "", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
	  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
	  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

#define MILLION_SHA1 "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
#define MILLION_SHA256                                                         \
	"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void expect(const uint8_t *digest, size_t len, const char *hex)
{
	char text[2 * SHA256_LEN + 1];

	assert_string_equal(hex_encode(digest, len, text), hex);
}

static void test_sha__fips_vectors(void **state)
{
	uint8_t d[SHA256_LEN];
	size_t i;

	for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		sha1(vectors[i].text, strlen(vectors[i].text), d);
		expect(d, SHA1_LEN, vectors[i].sha1);
		sha256(vectors[i].text, strlen(vectors[i].text), d);
		expect(d, SHA256_LEN, vectors[i].sha256);
	}
}

static void test_hasher__in_parts(void **state)
{
	struct hasher *one = hasher_new(HASH_SHA1);
	struct hasher *two = hasher_new(HASH_SHA256);
	uint8_t d[SHA256_LEN];
	char part[997];
	size_t left, n;

	memset(part, 'a', sizeof(part));
	hasher_update(one, "forgotten", 9);
	hasher_reset(one);
	for (left = 1000000; left; left -= n) {
		n = left < sizeof(part) ? left : sizeof(part);
		hasher_update(one, part, n);
		hasher_update(two, part, n);
	}
	hasher_final(one, d);
	expect(d, SHA1_LEN, MILLION_SHA1);
	hasher_final(two, d);
	expect(d, SHA256_LEN, MILLION_SHA256);
	hasher_free(one);
	hasher_free(two);
	hasher_free(NULL);
}

static void test_hasher__is_reset_by_final(void **state)
{
	struct hasher *h = hasher_new(HASH_SHA1);
	uint8_t d[SHA1_LEN];
	int i;

	for (i = 0; i < 3; i++) {
		hasher_update(h, "a", 1);
		hasher_update(h, NULL, 0);
		hasher_update(h, "bc", 2);
		hasher_final(h, d);
		expect(d, SHA1_LEN, vectors[1].sha1);
	}
	hasher_final(h, d);
	expect(d, SHA1_LEN, vectors[0].sha1);
	hasher_free(h);
}

static void *hash_much(void *arg)
{
	size_t *wrong = arg;
	uint8_t d[SHA1_LEN], want[SHA1_LEN];
	int i;

	(void)hex_decode(vectors[1].sha1, 40, want, SHA1_LEN); /* it is hex */
	for (i = 0; i < 2000; i++) {
		sha1("abc", 3, d);
		*wrong += !!memcmp(d, want, SHA1_LEN);
	}
	return NULL;
}

static void test_sha__from_threads(void **state)
{
	pthread_t t[4];
	size_t wrong[4] = { 0 };
	int i;

	for (i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&t[i], NULL, hash_much, &wrong[i]), 0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_int_equal(wrong[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha__from_threads),
		cmocka_unit_test(test_sha__fips_vectors),
		cmocka_unit_test(test_hasher__in_parts),
		cmocka_unit_test(test_hasher__is_reset_by_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
