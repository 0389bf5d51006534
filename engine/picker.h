/* engine/picker.h: which block to ask a peer for. Pure: no I/O, time and seed
 * are arguments. Loop thread only.
 *
 * The picker knows, per piece, how many peers have it, whether it is here,
 * whether it is wanted, and for pieces in flight the state of each block. It
 * decides rarest-first; what readers wait for is decided above it (sched.h),
 * with the same block states. */
#pragma once

#include <stdbool.h>

#include "engine/bitfield.h"
#include "engine/layout.h"

struct picker;

/* The peer that would be asked. */
struct picker_peer {
	uint32_t id;                 /* unique among the torrent's peers, > 0 */
	const struct bitfield *have; /* borrowed; ignored if is_seed */
	bool is_seed;
	/* While choked: only these pieces (BEP 6); NULL: any. */
	const uint32_t *only;
	size_t num_only;
	/* Far slower than the others: gets blocks that are not urgent, and
	 * those under parked reads only when nobody else took them in time.
	 * Only sched_take looks at this. */
	bool is_slow;
};

bool picker_peer_has(const struct picker_peer *peer, uint32_t piece);

struct picker *picker_new(const struct layout *layout, uint64_t seed);
void picker_free(struct picker *p);

/* --- availability: each peer's pieces, added once and taken back once ---
 * A peer added as a seed is taken back as one; if it loses a piece, take it
 * back and add it with its bits. Pieces are checked by the caller: <
 * num_pieces, and news only if it changed the peer's bit. */
void picker_add_peer(struct picker *p, const struct bitfield *have, bool seed);
void picker_remove_peer(struct picker *p, const struct bitfield *have,
			bool seed);
void picker_on_have(struct picker *p, uint32_t piece); /* a peer got it */
void picker_on_donthave(struct picker *p, uint32_t piece);
uint32_t picker_availability(const struct picker *p, uint32_t piece);

/* --- what is here, what is wanted --- */
/* A partial of a piece that is here is forgotten; its data is the caller's to
 * free first. */
void picker_set_have(struct picker *p, uint32_t piece, bool have);
bool picker_has(const struct picker *p, uint32_t piece);
/* Wanted pieces are fetched rarest first when nothing is urgent. */
void picker_set_wanted(struct picker *p, uint32_t first, uint32_t count,
		       bool wanted);
uint32_t picker_wanted_left(const struct picker *p); /* wanted, not here */
/* Would any wanted piece not here come from this peer? */
bool picker_is_interesting(const struct picker *p,
			   const struct picker_peer *peer);

/* --- blocks: free -> asked (by one peer, at most three) -> got --- */

#define PICKER_COPIES 3 /* askings of a block under way, at most */

/* Up to MAX free blocks of PIECE, first ones first, marked asked by PEER. 0 if
 * the peer does not have it, it is here, being verified, or on parole with
 * another. A block that PEER lost is not offered to it again for a second. */
size_t picker_take(struct picker *p, const struct picker_peer *peer,
		   uint32_t piece, size_t max, int64_t now_ms,
		   struct block_ref *out);
/* The same, rarest first over wanted pieces: pieces in flight before new ones
 * (so about as many partials as peers), the first four at random. */
size_t picker_take_rarest(struct picker *p, const struct picker_peer *peer,
			  size_t max, int64_t now_ms, struct block_ref *out);
/* Blocks of PIECE of which fewer than COPIES (2 or 3) are under way, the last
 * one asked more than LATE_MS ago: one more. Never one PEER has itself. */
size_t picker_take_late(struct picker *p, const struct picker_peer *peer,
			uint32_t piece, size_t max, int copies, int64_t now_ms,
			int64_t late_ms, struct block_ref *out);
/* Endgame: the same, of 2 copies, over all wanted pieces in flight, when no
 * wanted block that PEER has is free. */
size_t picker_take_endgame(struct picker *p, const struct picker_peer *peer,
			   size_t max, int64_t now_ms, int64_t late_ms,
			   struct block_ref *out);

/* The asking came to nothing: reject, choke, timeout, cancel, peer gone. The
 * block is free again unless it is here or another peer still owes it. It may
 * come even so. */
void picker_on_lost(struct picker *p, uint32_t peer_id, struct block_ref b);

/* PEER will be long with B, or is suspected to: whatever LATE_MS, it counts as
 * asked that long ago, from now on. */
void picker_on_doubt(struct picker *p, uint32_t peer_id, struct block_ref b);

enum picker_block {
	PICKER_NEW,       /* first copy: store it */
	PICKER_DUPLICATE, /* here already: drop it */
	PICKER_COMPLETE,  /* first copy, and the piece is whole: verify it */
};
/* A whole block came from PEER, that was asked for it now or once: what was
 * given up and comes after all is welcome, and what comes twice is counted
 * here. *others gets the ids of peers that were asked for it too and must be
 * sent a cancel. On parole, what was given up counts for nothing.
 */
enum picker_block picker_on_block(struct picker *p, uint32_t peer_id,
				  struct block_ref b,
				  uint32_t others[PICKER_COPIES],
				  size_t *num_others);
/* Verified: right (it is here now, the partial is gone) or wrong (all blocks
 * free again, and from now on given to one peer at a time, so that a second
 * failure has one giver). GIVERS gets the distinct peers whose blocks were
 * used, at most MAX; returns how many. */
size_t picker_on_verified(struct picker *p, uint32_t piece, bool right,
			  uint32_t *givers, size_t max);

/* Blocks of late that came twice, of 1000. */
unsigned picker_waste_permille(const struct picker *p);

/* --- pieces in flight --- */
uint32_t picker_num_partials(const struct picker *p);
/* picker_take_rarest opens no new piece while MAX are in flight; 0: no limit.
 * Who sets one drops idle partials, lest they fill it. */
void picker_limit_partials(struct picker *p, uint32_t max);
bool picker_is_partial(const struct picker *p, uint32_t piece);
bool picker_is_verifying(const struct picker *p, uint32_t piece);
/* In flight, but nobody is asked for a block of it now. */
bool picker_is_idle(const struct picker *p, uint32_t piece);
/* Blocks neither here nor asked for; 0 for a piece that is here. */
uint32_t picker_free_blocks(const struct picker *p, uint32_t piece);
/* One pointer per partial, the torrent's own (its buffer). NULL at first; NULL
 * is returned when there is no partial. Valid until the partial goes: by right
 * verification, set_have or drop; one that holds no block and no data may also
 * go when another is taken. */
void **picker_partial_data(struct picker *p, uint32_t piece);
/* Forgets a partial: no block here counts any more, and none as asked. */
void picker_drop_partial(struct picker *p, uint32_t piece);
/* Changes when blocks that were not free have become free again: what was
 * found to be all asked must be looked at anew. */
uint32_t picker_generation(const struct picker *p);
/* Calls FN for each partial; FN may not change the set. */
void picker_each_partial(struct picker *p,
			 void (*fn)(void *arg, uint32_t piece, void *data),
			 void *arg);
