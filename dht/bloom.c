#include "dht/bloom.h"

#include <math.h>

#include "engine/base/sha.h"

#define BITS (BLOOM_BYTES * 8)

void bloom_add(uint8_t filter[BLOOM_BYTES], const struct addr *ip)
{
	uint8_t h[SHA1_LEN];

	sha1(ip->ip, ip->family == 4 ? 4 : 16, h);
	for (unsigned i = 0; i < 4; i += 2) {
		unsigned bit = (h[i] | (unsigned)h[i + 1] << 8) % BITS;

		filter[bit / 8] |= (uint8_t)(1u << bit % 8);
	}
}

double bloom_count(const uint8_t filter[BLOOM_BYTES])
{
	unsigned zeros = 0;

	for (unsigned i = 0; i < BLOOM_BYTES; i++)
		zeros += 8 - (unsigned)__builtin_popcount(filter[i]);
	if (!zeros)
		zeros = 1;
	return log((double)zeros / BITS) / (2 * log1p(-1.0 / BITS));
}
