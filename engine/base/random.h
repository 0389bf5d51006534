/* engine/base/random.h: entropy for secrets, and a small seeded generator for
 * everything that must be replayable (picker, jitter, simulations). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Fills from the kernel's generator. Any thread. Cannot fail. */
void random_bytes(void *out, size_t len);
uint32_t random_u32(void);

/* A generator with its state in the caller's hands (splitmix64). */
struct prng {
	uint64_t state;
};

uint64_t prng_u64(struct prng *r);
uint32_t prng_below(struct prng *r, uint32_t bound); /* bound > 0 */
