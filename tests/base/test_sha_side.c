/* Goal: hashes side by side are those of OpenSSL, for every length around a
 * block and two, in parts that end anywhere. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/sha_side.h"

#define MOST (70u << 10)

struct bytes {
	uint8_t a[MOST], b[MOST];
};

static int setup(void **state)
{
	struct bytes *x = mem_alloc(sizeof(*x));
	struct prng r = { 7 };

	for (unsigned i = 0; i < MOST; i++) {
		x->a[i] = (uint8_t)prng_u64(&r);
		x->b[i] = (uint8_t)prng_u64(&r);
	}
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void expect1(struct sha1_run *r, const void *p, size_t len)
{
	uint8_t is[SHA1_LEN], should[SHA1_LEN];

	sha1_run_final(r, is);
	sha1(p, len, should);
	assert_memory_equal(is, should, sizeof(is));
}

static void expect256(const uint8_t *is, const void *p, size_t len)
{
	uint8_t should[SHA256_LEN];

	sha256(p, len, should);
	assert_memory_equal(is, should, sizeof(should));
}

static void every_length(void **state)
{
	struct bytes *x = *state;
	struct sha1_run *r = sha1_run_new(), *r2 = sha1_run_new();
	uint8_t a[SHA256_LEN], b[SHA256_LEN];

	for (size_t n = 0; n < 300; n++) {
		sha256_pair(x->a, x->b, n, a, b);
		expect256(a, x->a, n);
		expect256(b, x->b, n);
		sha1_run_update(r, x->a, n);
		expect1(r, x->a, n);
		sha1_run_update_pair(r, x->a, r2, x->b, n);
		expect1(r, x->a, n);
		expect1(r2, x->b, n);
		sha1_run_update_leaf(r, x->a, n, a);
		expect1(r, x->a, n);
		expect256(a, x->a, n);
	}
	sha1_run_free(r);
	sha1_run_free(r2);
}

/* Parts of any length, fed in any of the three ways. */
static void random_parts(void **state)
{
	struct bytes *x = *state;
	struct sha1_run *r = sha1_run_new(), *r2 = sha1_run_new();
	struct prng chance = { 11 };
	uint8_t leaf[SHA256_LEN];

	for (int round = 0; round < 300; round++) {
		size_t at = 0, most = prng_below(&chance, MOST);

		while (at < most) {
			size_t n = prng_below(&chance, 20000);

			if (prng_below(&chance, 2))
				n &= ~(size_t)63;
			n = n < most - at ? n : most - at;
			switch (prng_below(&chance, 3)) {
			case 0:
				sha1_run_update(r, x->a + at, n);
				sha1_run_update(r2, x->b + at, n);
				break;
			case 1:
				sha1_run_update_pair(r, x->a + at, r2,
						     x->b + at, n);
				break;
			default:
				sha1_run_update(r2, x->b + at, n);
				sha1_run_update_leaf(r, x->a + at, n, leaf);
				expect256(leaf, x->a + at, n);
			}
			at += n;
		}
		expect1(r, x->a, most);
		expect1(r2, x->b, most);
	}
	sha1_run_free(r);
	sha1_run_free(r2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length),
		cmocka_unit_test(random_parts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
