/* engine/blame.h: who gave the wrong block. Pure. Loop thread only, but for
 * blame_digest.
 *
 * A piece with a wrong hash that came from several addresses accuses nobody
 * yet: all but one of them were honest. Digests of its blocks are kept, with
 * the address that gave each, and when the piece is right at last, the blocks
 * that differ name the liars. Addresses, not peers: a liar may be gone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"

/* Who gave which block of a piece that is being gathered. */
struct givers;

struct givers *givers_new(uint32_t num_blocks);
void givers_free(struct givers *g);
void givers_note(struct givers *g, uint32_t block, const struct addr *from);
/* True when one address gave every block; *out is it. */
bool givers_are_one(const struct givers *g, struct addr *out);

/* One digest for each block of 16 KiB (the last may be shorter). Any thread.
 * Owned by the caller; NULL: no memory. */
uint64_t *blame_digest(const uint8_t *bytes, size_t len);

struct blame;

struct blame *blame_new(void);
void blame_free(struct blame *b);
/* PIECE was wrong. Takes G and DIGESTS (NULL: nothing is noted). */
void blame_accuse(struct blame *b, uint32_t piece, struct givers *g,
		  uint64_t *digests);
bool blame_has(const struct blame *b, uint32_t piece);
/* PIECE is right, with these DIGESTS. OUT gets the addresses that gave other
 * bytes, at most MAX; returns how many. The case is closed. */
size_t blame_convict(struct blame *b, uint32_t piece, const uint64_t *digests,
		     struct addr *out, size_t max);
