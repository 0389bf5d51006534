/* engine/base/sha_ni.h: blocks of SHA-1 and SHA-256 with the x86 SHA
 * instructions, two hashes at a time. For sha_side.c alone. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA_BLOCK    64
#define SHA1_WORDS   5
#define SHA256_WORDS 8

bool sha_ni_is_here(void); /* if not, the others must not be called */

/* N blocks at A into SA, and N at B into SB. */
void sha_ni_1_pair(uint32_t sa[SHA1_WORDS], const uint8_t *a,
		   uint32_t sb[SHA1_WORDS], const uint8_t *b, size_t n);
void sha_ni_256_pair(uint32_t sa[SHA256_WORDS], const uint8_t *a,
		     uint32_t sb[SHA256_WORDS], const uint8_t *b, size_t n);
/* The same N blocks into both. */
void sha_ni_both(uint32_t s1[SHA1_WORDS], uint32_t s256[SHA256_WORDS],
		 const uint8_t *p, size_t n);
