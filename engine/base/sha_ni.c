/* A lane is one hash under way in registers. Its steps are macros over the
 * lane's letter, so that steps of two lanes can stand alternately in one
 * function; the compiler needs the round number as a constant anyway. A quad is
 * four rounds: FIPS 180-4 has 20 of them in SHA-1, 16 in SHA-256. */
#include "engine/base/sha_ni.h"

#include "engine/base/check.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define WITH_SHA __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

static bool ask_cpu(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) ||
	    !(c & bit_SSE4_1))
		return false;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

bool sha_ni_is_here(void)
{
	/* Asking is slow: a virtual machine leaves the guest for it. Threads
	 * that ask at once find the same. */
	static atomic_int known; /* 0: not asked, 1: no, 2: yes */
	int is = atomic_load_explicit(&known, memory_order_relaxed);

	if (!is) {
		is = 1 + ask_cpu();
		atomic_store_explicit(&known, is, memory_order_relaxed);
	}
	return is == 2;
}

/* --- SHA-1: abcd, and e in the top word --- */

struct lane1 {
	__m128i abcd, e, abcd0, e0, w[4];
};

/* Swaps all sixteen bytes: the first word is the top one. */
#define ORDER1 _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f)
#define LOAD(p, i, order)                                                      \
	_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p) + (i)), order)

#define OPEN1(l, state)                                                        \
	((l).abcd = _mm_shuffle_epi32(                                         \
		 _mm_loadu_si128((const __m128i *)(state)), 0x1b),             \
	 (l).e = _mm_set_epi32((int)(state)[4], 0, 0, 0))
#define CLOSE1(l, state)                                                       \
	(_mm_storeu_si128((__m128i *)(state),                                  \
			  _mm_shuffle_epi32((l).abcd, 0x1b)),                  \
	 (state)[4] = (uint32_t)_mm_extract_epi32((l).e, 3))

#define BLOCK1(l, p)                                                           \
	((l).abcd0 = (l).abcd, (l).e0 = (l).e, (l).w[0] = LOAD(p, 0, ORDER1),  \
	 (l).w[1] = LOAD(p, 1, ORDER1), (l).w[2] = LOAD(p, 2, ORDER1),         \
	 (l).w[3] = LOAD(p, 3, ORDER1))
#define END1(l)                                                                \
	((l).e = _mm_sha1nexte_epu32((l).e, (l).e0),                           \
	 (l).abcd = _mm_add_epi32((l).abcd, (l).abcd0))

/* The next four words of the schedule take the place of the oldest. */
#define SCHEDULE1(l, i)                                                        \
	((l).w[(i) % 4] = _mm_sha1msg2_epu32(                                  \
		 _mm_xor_si128(_mm_sha1msg1_epu32((l).w[(i) % 4],              \
						  (l).w[((i) + 1) % 4]),       \
			       (l).w[((i) + 2) % 4]),                          \
		 (l).w[((i) + 3) % 4]))
#define QUAD1(l, i)                                                            \
	do {                                                                   \
		__m128i in;                                                    \
		if ((i) >= 4)                                                  \
			SCHEDULE1(l, i);                                       \
		in = (i) ? _mm_sha1nexte_epu32((l).e, (l).w[(i) % 4])          \
			 : _mm_add_epi32((l).e, (l).w[0]);                     \
		(l).e = (l).abcd;                                              \
		(l).abcd = _mm_sha1rnds4_epu32((l).abcd, in, (i) / 5);         \
	} while (0)

/* --- SHA-256: abef and cdgh --- */

struct lane256 {
	__m128i abef, cdgh, abef0, cdgh0, w[4];
};

#define ORDER256 _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203)

WITH_SHA static inline void open256(struct lane256 *l, const uint32_t *state)
{
	__m128i cdab = _mm_shuffle_epi32(
		_mm_loadu_si128((const __m128i *)state), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(
		_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);

	l->abef = _mm_alignr_epi8(cdab, efgh, 8);
	l->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

WITH_SHA static inline void close256(const struct lane256 *l, uint32_t *state)
{
	__m128i feba = _mm_shuffle_epi32(l->abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);

	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4),
			 _mm_alignr_epi8(dchg, feba, 8));
}

#define BLOCK256(l, p)                                                         \
	((l).abef0 = (l).abef, (l).cdgh0 = (l).cdgh,                           \
	 (l).w[0] = LOAD(p, 0, ORDER256), (l).w[1] = LOAD(p, 1, ORDER256),     \
	 (l).w[2] = LOAD(p, 2, ORDER256), (l).w[3] = LOAD(p, 3, ORDER256))
#define END256(l)                                                              \
	((l).abef = _mm_add_epi32((l).abef, (l).abef0),                        \
	 (l).cdgh = _mm_add_epi32((l).cdgh, (l).cdgh0))
#define SCHEDULE256(l, i)                                                      \
	((l).w[(i) % 4] = _mm_sha256msg2_epu32(                                \
		 _mm_add_epi32(_mm_sha256msg1_epu32((l).w[(i) % 4],            \
						    (l).w[((i) + 1) % 4]),     \
			       _mm_alignr_epi8((l).w[((i) + 3) % 4],           \
					       (l).w[((i) + 2) % 4], 4)),      \
		 (l).w[((i) + 3) % 4]))
#define QUAD256(l, i)                                                          \
	do {                                                                   \
		__m128i in;                                                    \
		if ((i) >= 4)                                                  \
			SCHEDULE256(l, i);                                     \
		in = _mm_add_epi32(                                            \
			(l).w[(i) % 4],                                        \
			_mm_loadu_si128(                                       \
				(const __m128i *)(sha256_k + 4 * (i))));       \
		(l).cdgh = _mm_sha256rnds2_epu32((l).cdgh, (l).abef, in);      \
		(l).abef = _mm_sha256rnds2_epu32((l).abef, (l).cdgh,           \
						 _mm_shuffle_epi32(in, 0x0e)); \
	} while (0)

/* --- two lanes --- */

#define EACH_OF_16(m)                                                          \
	m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12)    \
		m(13) m(14) m(15)
#define EACH_OF_20(m) EACH_OF_16(m) m(16) m(17) m(18) m(19)

WITH_SHA void sha_ni_1_pair(uint32_t sa[SHA1_WORDS], const uint8_t *a,
			    uint32_t sb[SHA1_WORDS], const uint8_t *b, size_t n)
{
	struct lane1 x, y;

	OPEN1(x, sa);
	OPEN1(y, sb);
	for (; n; n--, a += SHA_BLOCK, b += SHA_BLOCK) {
		BLOCK1(x, a);
		BLOCK1(y, b);
#define STEP(i)                                                                \
	QUAD1(x, i);                                                           \
	QUAD1(y, i);
		EACH_OF_20(STEP)
#undef STEP
		END1(x);
		END1(y);
	}
	CLOSE1(x, sa);
	CLOSE1(y, sb);
}

WITH_SHA void sha_ni_256_pair(uint32_t sa[SHA256_WORDS], const uint8_t *a,
			      uint32_t sb[SHA256_WORDS], const uint8_t *b,
			      size_t n)
{
	struct lane256 x, y;

	open256(&x, sa);
	open256(&y, sb);
	for (; n; n--, a += SHA_BLOCK, b += SHA_BLOCK) {
		BLOCK256(x, a);
		BLOCK256(y, b);
#define STEP(i)                                                                \
	QUAD256(x, i);                                                         \
	QUAD256(y, i);
		EACH_OF_16(STEP)
#undef STEP
		END256(x);
		END256(y);
	}
	close256(&x, sa);
	close256(&y, sb);
}

WITH_SHA void sha_ni_both(uint32_t s1[SHA1_WORDS], uint32_t s256[SHA256_WORDS],
			  const uint8_t *p, size_t n)
{
	struct lane1 x;
	struct lane256 y;

	OPEN1(x, s1);
	open256(&y, s256);
	for (; n; n--, p += SHA_BLOCK) {
		BLOCK1(x, p);
		BLOCK256(y, p);
#define STEP(i)                                                                \
	QUAD1(x, i);                                                           \
	QUAD256(y, i);
		EACH_OF_16(STEP)
#undef STEP
		QUAD1(x, 16);
		QUAD1(x, 17);
		QUAD1(x, 18);
		QUAD1(x, 19);
		END1(x);
		END256(y);
	}
	CLOSE1(x, s1);
	close256(&y, s256);
}

#else

bool sha_ni_is_here(void)
{
	return false;
}

void sha_ni_1_pair(uint32_t sa[SHA1_WORDS], const uint8_t *a,
		   uint32_t sb[SHA1_WORDS], const uint8_t *b, size_t n)
{
	CHECK(false);
}

void sha_ni_256_pair(uint32_t sa[SHA256_WORDS], const uint8_t *a,
		     uint32_t sb[SHA256_WORDS], const uint8_t *b, size_t n)
{
	CHECK(false);
}

void sha_ni_both(uint32_t s1[SHA1_WORDS], uint32_t s256[SHA256_WORDS],
		 const uint8_t *p, size_t n)
{
	CHECK(false);
}

#endif
