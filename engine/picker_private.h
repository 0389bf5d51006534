/* engine/picker_private.h: what the three files of the picker share. Nobody
 * else includes this, but for its tests.
 *
 * A piece is in exactly one place, and INDEX says where in it:
 *
 *   here       nowhere; INDEX is unused
 *   partial    in flight: its slot in p->partials
 *   in bands   wanted, not here, not in flight: its place in p->bands.order,
 *              unless the bands are dirty
 *   idle       none of these; INDEX is unused
 */
#pragma once

#include "engine/base/random.h"
#include "engine/picker.h"

struct piece {
	uint32_t num_peers : 16; /* that have it, seeds not counted */
	uint32_t is_here : 1;
	uint32_t is_wanted : 1;
	uint32_t is_partial : 1;
	uint32_t index;
};
_Static_assert(sizeof(struct piece) == 8, "8 bytes a piece");

/* Pieces to open next: order[] is cut into bands of equal num_peers, band A
 * ending before ends[A]. Inside a band the order is random. While dirty,
 * order[] and the INDEX of its pieces mean nothing; NUM is always right. */
struct bands {
	uint32_t *order; /* owned; room for every piece */
	uint32_t num;
	uint32_t *ends; /* owned */
	uint32_t num_bands;
	bool is_dirty;
};

enum block_state {
	BLOCK_FREE,
	BLOCK_ASKED,
	BLOCK_GOT
};

struct block {
	/* Free: who[0] is the peer that lost it last, or 0. Asked: by whom,
	 * who[0] first. Got: who[0] gave it. */
	uint32_t who[PICKER_COPIES];
	uint32_t when_ms; /* asked last, or lost; low bits of the clock */
	uint8_t state;
};
_Static_assert(sizeof(struct block) == 20, "20 bytes a block");

/* Blocks of which so and so many copies are under way. */
struct copies {
	uint64_t *bits; /* behind the blocks */
	uint32_t num;
	uint32_t oldest_ms; /* no such block was asked before */
};

struct partial {
	uint32_t piece;
	uint32_t num_blocks, num_free, num_asked, num_got;
	uint32_t free_cursor; /* words of free_bits below hold no bit */
	uint32_t lost_ms;     /* when a block was lost last */
	uint32_t owner;       /* on parole: the peer it is given to; 0: none */
	bool is_parole, is_verifying;
	void *data;                              /* the torrent's */
	uint64_t *free_bits;                     /* behind the blocks */
	struct copies copies[PICKER_COPIES - 1]; /* [i]: of i + 1 */
	struct block blocks[];
};

struct picker {
	struct layout layout;
	struct prng prng;
	uint32_t now_ms; /* of the last call that told */
	uint32_t generation;
	uint32_t num_seeds, num_peers; /* added; seeds are peers too */
	uint32_t num_here, num_wanted_left;
	struct piece *pieces;     /* owned */
	struct bitfield unneeded; /* here or not wanted */
	struct bands bands;

	/* In flight. Slots below num_open hold the wanted ones with free
	 * blocks that are not being verified. */
	struct partial **partials; /* owned, and so is each */
	uint32_t num_partials, num_open, room;
	uint32_t max_partials;
	uint32_t sweep; /* slot that is looked at next for being stale */

	uint32_t num_new, num_duplicate; /* blocks of late, for the waste */
};

/* --- picker_bands.c: the order in which new pieces are opened --- */

void bands_init(struct picker *p);
void bands_release(struct picker *p);
/* The piece starts or stops to be wanted, not here and not in flight; its
 * flags say so already (insert) or still (remove) or whatever (dirty). */
void bands_insert(struct picker *p, uint32_t piece);
void bands_remove(struct picker *p, uint32_t piece);
/* One more or one fewer peer has PIECE; it may be anywhere. */
void bands_more(struct picker *p, uint32_t piece);
void bands_fewer(struct picker *p, uint32_t piece);
/* Everything may have changed: sorts again before the next use. */
void bands_make_dirty(struct picker *p);
void bands_refresh(struct picker *p);
/* The same for all bits of HAVE, for CHANGE = 1 or -1; dirty afterwards. */
void bands_add(struct picker *p, const struct bitfield *have, int change);
/* The rarest piece in the bands that PEER has, or UINT32_MAX. */
uint32_t bands_find(struct picker *p, const struct picker_peer *peer);
bool piece_is_in_bands(const struct piece *pc);

/* --- picker_partial.c: pieces in flight, and their blocks --- */

struct partial *partial_find(const struct picker *p, uint32_t piece);
/* NULL when there is no memory. PIECE is not here and has no partial. */
struct partial *partial_open(struct picker *p, uint32_t piece);
/* The piece goes back to the bands if it is wanted and not here. */
void partial_close(struct picker *p, struct partial *part);
void partial_close_stale(struct picker *p);
/* After anything that num_open depends on has changed. */
void partial_settle(struct picker *p, struct partial *part);
size_t partial_take(struct picker *p, struct partial *part,
		    const struct picker_peer *peer, size_t max,
		    struct block_ref *out);
size_t partial_take_late(struct picker *p, struct partial *part,
			 const struct picker_peer *peer, size_t max, int copies,
			 int64_t late_ms, struct block_ref *out);
/* Could PEER take one of its free blocks, now or after a pause? */
bool partial_is_open_to(const struct partial *part,
			const struct picker_peer *peer);
