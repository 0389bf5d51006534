/* engine/merkle.h: the hash trees of BEP 52: SHA-256 over pairs; leaves are
 * blocks of LIMIT_BLOCK_BYTES; the lowest layer is filled up with zero hashes
 * to a power of two. A layer of height h has one node per 2^h leaves.
 * Pure; workers for anything longer than a few hundred nodes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/base/sha.h"

/* The node above 2^HEIGHT leaves that are all filling. HEIGHT < 64. */
void merkle_filling(unsigned height, uint8_t out[SHA256_LEN]);

/* The root above COUNT > 0 nodes of the layer at HEIGHT, the missing ones up
 * to a power of two being filling. */
void merkle_root(const uint8_t *nodes, size_t count, unsigned height,
		 uint8_t root[SHA256_LEN]);

/* The height of the layer with one node per piece (BEP 52, "piece layers").
 * PIECE_LENGTH is a power of two >= LIMIT_BLOCK_BYTES. */
unsigned merkle_piece_height(uint32_t piece_length);
