/* dht/kad_id.h: names of nodes and keys, 160 bits, and the distance between
 * two of them: their exclusive or, read as a number. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/addr.h"
#include "engine/base/bytes.h"

#define KAD_ID_BYTES 20
#define KAD_ID_BITS  160

struct kad_id {
	uint8_t b[KAD_ID_BYTES];
};

struct kad_contact { /* what nodes tell each other of nodes */
	struct kad_id id;
	struct addr addr;
};

static inline bool kad_id_eq(const struct kad_id *a, const struct kad_id *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/* The first 64 bits of the distance: enough to order all but neighbours. */
static inline uint64_t kad_distance64(const struct kad_id *a,
				      const struct kad_id *b)
{
	return load_be64(a->b) ^ load_be64(b->b);
}

/* < 0: A is closer to TARGET than B; 0: the same id. */
static inline int kad_id_compare(const struct kad_id *target,
				 const struct kad_id *a, const struct kad_id *b)
{
	for (unsigned i = 0; i < KAD_ID_BYTES; i++) {
		int x = a->b[i] ^ target->b[i], y = b->b[i] ^ target->b[i];

		if (x != y)
			return x - y;
	}
	return 0;
}

/* How many leading bits A and B share, 0..160. */
static inline unsigned kad_id_prefix(const struct kad_id *a,
				     const struct kad_id *b)
{
	for (unsigned i = 0; i < KAD_ID_BYTES; i++) {
		unsigned x = a->b[i] ^ b->b[i];

		if (x)
			return i * 8 + (unsigned)__builtin_clz(x) - 24;
	}
	return KAD_ID_BITS;
}

static inline unsigned kad_id_bit(const struct kad_id *a, unsigned i)
{
	return a->b[i / 8] >> (7 - i % 8) & 1;
}
