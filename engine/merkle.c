#include "engine/merkle.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"

#define HEIGHT_MAX 64

static void hash_pair(const uint8_t *left, const uint8_t *right,
		      uint8_t out[SHA256_LEN])
{
	uint8_t pair[2 * SHA256_LEN];

	memcpy(pair, left, SHA256_LEN);
	memcpy(pair + SHA256_LEN, right, SHA256_LEN);
	sha256(pair, sizeof(pair), out);
}

void merkle_filling(unsigned height, uint8_t out[SHA256_LEN])
{
	CHECK(height < HEIGHT_MAX);
	memset(out, 0, SHA256_LEN);
	while (height--)
		hash_pair(out, out, out);
}

/* Joins nodes from left to right as a binary counter adds ones: waiting[l] is
 * a left node at level l whose sibling has not come. So a layer of any length
 * needs a fixed amount of memory. */
void merkle_root(const uint8_t *nodes, size_t count, unsigned height,
		 uint8_t root[SHA256_LEN])
{
	uint8_t waiting[HEIGHT_MAX][SHA256_LEN], fill[SHA256_LEN];
	unsigned level;
	size_t i, n;

	CHECK(count);
	for (i = 0; i < count; i++) {
		memcpy(root, nodes + i * SHA256_LEN, SHA256_LEN);
		for (level = 0; i >> level & 1; level++)
			hash_pair(waiting[level], root, root);
		memcpy(waiting[level], root, SHA256_LEN);
	}
	/* ROOT is the last of N nodes at this level. Go up: what waits is on
	 * its left, filling on its right. */
	level = (unsigned)__builtin_ctzll(count);
	merkle_filling(height + level, fill);
	for (n = count >> level; n > 1; n = (n + 1) / 2) {
		if (n & 1)
			hash_pair(root, fill, root);
		else
			hash_pair(waiting[level], root, root);
		hash_pair(fill, fill, fill);
		level++;
	}
}

unsigned merkle_piece_height(uint32_t piece_length)
{
	CHECK(piece_length >= LIMIT_BLOCK_BYTES);
	return (unsigned)__builtin_ctz(piece_length / LIMIT_BLOCK_BYTES);
}
