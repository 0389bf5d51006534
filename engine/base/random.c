#include "engine/base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "engine/base/check.h"

void random_bytes(void *out, size_t len)
{
	uint8_t *p = out;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		CHECK(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

uint32_t random_u32(void)
{
	uint32_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

uint64_t prng_u64(struct prng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint32_t prng_below(struct prng *r, uint32_t bound)
{
	/* The bias of a plain product is at most 2^-32 here. */
	return (uint32_t)(((prng_u64(r) >> 32) * bound) >> 32);
}
