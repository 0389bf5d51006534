/* Keeps the state of hashes between blocks; what is done with a block is in
 * sha_ni.c. Full blocks are hashed where they lie. What is left of a part waits
 * in `tail`, and while something waits there a run is fed alone. */
#include "engine/base/sha_side.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "engine/base/sha_ni.h"

struct sha1_run {
	struct hasher *slow; /* owned; NULL: the fields below are in use */
	uint32_t state[SHA1_WORDS];
	uint8_t tail[SHA_BLOCK];
	size_t tail_len;
	uint64_t len; /* bytes so far */
};

static const uint32_t sha1_start[SHA1_WORDS] = { 0x67452301, 0xefcdab89,
						 0x98badcfe, 0x10325476,
						 0xc3d2e1f0 };
static const uint32_t sha256_start[SHA256_WORDS] = { 0x6a09e667, 0xbb67ae85,
						     0x3c6ef372, 0xa54ff53a,
						     0x510e527f, 0x9b05688c,
						     0x1f83d9ab, 0x5be0cd19 };

/* What follows a message of LEN bytes, whose last LEN % 64 are at TAIL: writes
 * one block or two, returns how many. */
static size_t finish(const uint8_t *tail, uint64_t len,
		     uint8_t out[2 * SHA_BLOCK])
{
	size_t left = len % SHA_BLOCK, end = left < 56 ? 1 : 2;

	memset(out, 0, 2 * SHA_BLOCK);
	if (left)
		memcpy(out, tail, left);
	out[left] = 0x80;
	store_be64(out + end * SHA_BLOCK - 8, len * 8);
	return end;
}

static void store_words(const uint32_t *words, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
		store_be32(out + 4 * i, words[i]);
}

/* --- SHA-256 --- */

void sha256_pair(const void *a, const void *b, size_t len,
		 uint8_t out_a[SHA256_LEN], uint8_t out_b[SHA256_LEN])
{
	uint32_t sa[SHA256_WORDS], sb[SHA256_WORDS];
	uint8_t end_a[2 * SHA_BLOCK], end_b[2 * SHA_BLOCK];
	size_t whole = len / SHA_BLOCK * SHA_BLOCK, n;

	if (!sha_ni_is_here()) {
		sha256(a, len, out_a);
		sha256(b, len, out_b);
		return;
	}
	memcpy(sa, sha256_start, sizeof(sa));
	memcpy(sb, sha256_start, sizeof(sb));
	sha_ni_256_pair(sa, a, sb, b, len / SHA_BLOCK);
	(void)finish((const uint8_t *)a + whole, len, end_a);
	n = finish((const uint8_t *)b + whole, len, end_b);
	sha_ni_256_pair(sa, end_a, sb, end_b, n);
	store_words(sa, SHA256_WORDS, out_a);
	store_words(sb, SHA256_WORDS, out_b);
}

/* The last blocks of one alone. */
static void sha256_end(uint32_t state[SHA256_WORDS], const uint8_t *tail,
		       size_t len, uint8_t out[SHA256_LEN])
{
	uint32_t unused[SHA256_WORDS] = { 0 };
	uint8_t end[2 * SHA_BLOCK];
	size_t n = finish(tail, len, end);

	sha_ni_256_pair(state, end, unused, end, n);
	store_words(state, SHA256_WORDS, out);
}

/* --- SHA-1 --- */

void sha1_run_reset(struct sha1_run *r)
{
	if (r->slow) {
		hasher_reset(r->slow);
		return;
	}
	memcpy(r->state, sha1_start, sizeof(r->state));
	r->tail_len = 0;
	r->len = 0;
}

struct sha1_run *sha1_run_new(void)
{
	struct sha1_run *r = mem_alloc(sizeof(*r));

	if (!sha_ni_is_here())
		r->slow = hasher_new(HASH_SHA1);
	sha1_run_reset(r);
	return r;
}

void sha1_run_free(struct sha1_run *r)
{
	if (!r)
		return;
	hasher_free(r->slow);
	free(r);
}

static void blocks_alone(struct sha1_run *r, const uint8_t *p, size_t n)
{
	uint32_t unused[SHA1_WORDS] = { 0 };

	sha_ni_1_pair(r->state, p, unused, p, n);
}

static void keep_tail(struct sha1_run *r, const uint8_t *p, size_t len)
{
	if (len)
		memcpy(r->tail + r->tail_len, p, len);
	r->tail_len += len;
}

void sha1_run_update(struct sha1_run *r, const void *p, size_t len)
{
	const uint8_t *at = p;

	if (r->slow) {
		hasher_update(r->slow, p, len);
		return;
	}
	r->len += len;
	if (r->tail_len) {
		size_t n = SHA_BLOCK - r->tail_len;

		n = n < len ? n : len;
		keep_tail(r, at, n);
		at += n;
		len -= n;
		if (r->tail_len < SHA_BLOCK)
			return;
		blocks_alone(r, r->tail, 1);
		r->tail_len = 0;
	}
	blocks_alone(r, at, len / SHA_BLOCK);
	keep_tail(r, at + len / SHA_BLOCK * SHA_BLOCK, len % SHA_BLOCK);
}

void sha1_run_update_pair(struct sha1_run *r, const void *p,
			  struct sha1_run *r2, const void *p2, size_t len)
{
	const uint8_t *a = p, *b = p2;
	size_t whole = len / SHA_BLOCK * SHA_BLOCK;

	if (r->slow || r->tail_len || r2->tail_len) {
		sha1_run_update(r, p, len);
		sha1_run_update(r2, p2, len);
		return;
	}
	sha_ni_1_pair(r->state, a, r2->state, b, len / SHA_BLOCK);
	r->len += len;
	r2->len += len;
	keep_tail(r, a + whole, len - whole);
	keep_tail(r2, b + whole, len - whole);
}

void sha1_run_update_leaf(struct sha1_run *r, const void *p, size_t len,
			  uint8_t leaf[SHA256_LEN])
{
	const uint8_t *at = p;
	size_t whole = len / SHA_BLOCK * SHA_BLOCK;
	uint32_t state[SHA256_WORDS];

	if (r->slow || r->tail_len) {
		sha1_run_update(r, p, len);
		sha256(p, len, leaf);
		return;
	}
	memcpy(state, sha256_start, sizeof(state));
	sha_ni_both(r->state, state, at, len / SHA_BLOCK);
	r->len += len;
	keep_tail(r, at + whole, len - whole);
	sha256_end(state, at + whole, len, leaf);
}

void sha1_run_final(struct sha1_run *r, uint8_t out[SHA1_LEN])
{
	uint8_t end[2 * SHA_BLOCK];
	size_t n;

	if (r->slow) {
		hasher_final(r->slow, out);
		return;
	}
	n = finish(r->tail, r->len, end);
	blocks_alone(r, end, n);
	store_words(r->state, SHA1_WORDS, out);
	sha1_run_reset(r);
}
