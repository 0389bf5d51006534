/* engine/layout.h: the arithmetic of byte, piece and block. Pure. */
#pragma once

#include <stdint.h>

#include "engine/base/limits.h"

struct layout {
	uint64_t total;        /* bytes of the torrent, pads included; > 0 */
	uint32_t piece_length; /* bytes; the last piece may be shorter */
	uint32_t num_pieces;
};

struct block_ref {
	uint32_t piece;
	uint32_t index; /* of the block in its piece */
};

static inline uint32_t layout_piece_size(const struct layout *l, uint32_t piece)
{
	uint64_t start = (uint64_t)piece * l->piece_length;
	uint64_t left = l->total - start;

	return left < l->piece_length ? (uint32_t)left : l->piece_length;
}

static inline uint64_t layout_piece_start(const struct layout *l,
					  uint32_t piece)
{
	return (uint64_t)piece * l->piece_length;
}

static inline uint32_t layout_blocks(const struct layout *l, uint32_t piece)
{
	return (layout_piece_size(l, piece) + LIMIT_BLOCK_BYTES - 1) /
	       LIMIT_BLOCK_BYTES;
}

static inline uint32_t layout_block_size(const struct layout *l,
					 struct block_ref b)
{
	uint32_t left =
		layout_piece_size(l, b.piece) - b.index * LIMIT_BLOCK_BYTES;

	return left < LIMIT_BLOCK_BYTES ? left : LIMIT_BLOCK_BYTES;
}

static inline uint32_t layout_piece_at(const struct layout *l, uint64_t off)
{
	return (uint32_t)(off / l->piece_length);
}
