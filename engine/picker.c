/* Which block to ask a peer for.
 *
 * Below any demand of readers: pieces in flight before new ones, so that few
 * are open and what is half here becomes whole; the one that lacks least goes
 * first. A new piece is the rarest that the peer has; the first four are
 * random. When nothing wanted is free for a peer, it helps out with blocks that
 * others owe too long (endgame), at most two peers a block; a reader may ask a
 * third.
 *
 * A partial is opened for a peer only when the peer can add to none of those
 * that are open, so there are about as many open partials as peers. */
#include "engine/picker_private.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

/* A bitfield with more pieces than this is counted and sorted later. */
#define BULK_PIECES 50

struct picker *picker_new(const struct layout *layout, uint64_t seed)
{
	struct picker *p = mem_alloc(sizeof(*p));

	CHECK(layout->num_pieces && layout->num_pieces <= LIMIT_PIECES);
	p->layout = *layout;
	p->prng.state = seed;
	p->pieces = mem_alloc_array(layout->num_pieces, sizeof(*p->pieces));
	bitfield_init(&p->unneeded, layout->num_pieces);
	bitfield_set_all(&p->unneeded);
	bands_init(p);
	return p;
}

void picker_free(struct picker *p)
{
	if (!p)
		return;
	for (uint32_t i = 0; i < p->num_partials; i++)
		free(p->partials[i]);
	free(p->partials);
	bands_release(p);
	bitfield_release(&p->unneeded);
	free(p->pieces);
	free(p);
}

/* --- availability --- */

static void count_pieces(struct picker *p, const struct bitfield *have,
			 int change)
{
	uint32_t n = p->layout.num_pieces;

	CHECK(have->num_bits == n);
	if (have->num_set > BULK_PIECES) {
		bands_add(p, have, change);
		return;
	}
	for (uint32_t i = bitfield_next_set(have, 0, n); i < n;
	     i = bitfield_next_set(have, i + 1, n)) {
		if (change > 0)
			picker_on_have(p, i);
		else
			picker_on_donthave(p, i);
	}
}

void picker_add_peer(struct picker *p, const struct bitfield *have, bool seed)
{
	p->num_peers++;
	if (seed)
		p->num_seeds++;
	else
		count_pieces(p, have, 1);
}

void picker_remove_peer(struct picker *p, const struct bitfield *have,
			bool seed)
{
	CHECK(p->num_peers);
	p->num_peers--;
	if (seed) {
		CHECK(p->num_seeds);
		p->num_seeds--;
	} else {
		count_pieces(p, have, -1);
	}
}

void picker_on_have(struct picker *p, uint32_t piece)
{
	CHECK(piece < p->layout.num_pieces &&
	      p->pieces[piece].num_peers < UINT16_MAX);
	bands_more(p, piece);
}

void picker_on_donthave(struct picker *p, uint32_t piece)
{
	CHECK(piece < p->layout.num_pieces && p->pieces[piece].num_peers);
	bands_fewer(p, piece);
}

uint32_t picker_availability(const struct picker *p, uint32_t piece)
{
	return p->num_seeds + p->pieces[piece].num_peers;
}

/* --- what is here, what is wanted --- */

static void set_flags(struct picker *p, uint32_t piece, bool here, bool wanted)
{
	struct piece *pc = &p->pieces[piece];
	bool was_in_bands = piece_is_in_bands(pc);
	bool was_needed = pc->is_wanted && !pc->is_here;

	if (was_in_bands && (here || !wanted))
		bands_remove(p, piece);
	p->num_here += (uint32_t)here - pc->is_here;
	pc->is_here = here;
	pc->is_wanted = wanted;
	if (!was_in_bands && piece_is_in_bands(pc))
		bands_insert(p, piece);
	if (was_needed == (wanted && !here))
		return;
	if (was_needed) {
		p->num_wanted_left--;
		bitfield_set(&p->unneeded, piece);
	} else {
		p->num_wanted_left++;
		bitfield_clear(&p->unneeded, piece);
	}
}

void picker_set_have(struct picker *p, uint32_t piece, bool have)
{
	struct partial *part;

	CHECK(piece < p->layout.num_pieces);
	set_flags(p, piece, have, p->pieces[piece].is_wanted);
	part = partial_find(p, piece);
	if (have && part)
		partial_close(p, part);
	if (!have)
		p->generation++;
}

bool picker_has(const struct picker *p, uint32_t piece)
{
	return p->pieces[piece].is_here;
}

void picker_set_wanted(struct picker *p, uint32_t first, uint32_t count,
		       bool wanted)
{
	CHECK(first <= p->layout.num_pieces &&
	      count <= p->layout.num_pieces - first);
	if (count > BULK_PIECES)
		bands_make_dirty(p);
	for (uint32_t i = first; i < first + count; i++) {
		struct partial *part = partial_find(p, i);

		set_flags(p, i, p->pieces[i].is_here, wanted);
		if (part)
			partial_settle(p, part);
	}
}

uint32_t picker_wanted_left(const struct picker *p)
{
	return p->num_wanted_left;
}

bool picker_is_interesting(const struct picker *p,
			   const struct picker_peer *peer)
{
	if (!p->num_wanted_left)
		return false;
	if (peer->only) {
		for (size_t i = 0; i < peer->num_only; i++) {
			uint32_t piece = peer->only[i];

			if (piece < p->layout.num_pieces &&
			    !bitfield_has(&p->unneeded, piece) &&
			    picker_peer_has(peer, piece))
				return true;
		}
		return false;
	}
	return peer->is_seed || bitfield_has_beyond(peer->have, &p->unneeded);
}

uint32_t picker_generation(const struct picker *p)
{
	return p->generation;
}

void picker_limit_partials(struct picker *p, uint32_t max)
{
	p->max_partials = max;
}

unsigned picker_waste_permille(const struct picker *p)
{
	return (unsigned)(1000ull * p->num_duplicate /
			  (p->num_new + p->num_duplicate + 1));
}

/* --- asking --- */

static void set_now(struct picker *p, int64_t now_ms)
{
	p->now_ms = (uint32_t)now_ms;
	/* What is long past weighs half. */
	if (p->num_new > 8192) {
		p->num_new /= 2;
		p->num_duplicate /= 2;
	}
}

static bool is_candidate(const struct picker *p, const struct picker_peer *peer,
			 uint32_t piece)
{
	return piece < p->layout.num_pieces && !p->pieces[piece].is_here &&
	       picker_peer_has(peer, piece);
}

size_t picker_take(struct picker *p, const struct picker_peer *peer,
		   uint32_t piece, size_t max, int64_t now_ms,
		   struct block_ref *out)
{
	struct partial *part;

	if (!max || !is_candidate(p, peer, piece))
		return 0;
	set_now(p, now_ms);
	part = partial_find(p, piece);
	if (!part) {
		partial_close_stale(p);
		part = partial_open(p, piece);
	}
	return part ? partial_take(p, part, peer, max, out) : 0;
}

/* The open partial that lacks least, of those that PEER can add to. */
static struct partial *best_open(const struct picker *p,
				 const struct picker_peer *peer)
{
	struct partial *best = NULL;

	for (uint32_t i = 0; i < p->num_open; i++) {
		struct partial *part = p->partials[i];

		if ((!best || part->num_free < best->num_free) &&
		    partial_is_open_to(part, peer) &&
		    picker_peer_has(peer, part->piece))
			best = part;
	}
	return best;
}

static size_t take_open(struct picker *p, const struct picker_peer *peer,
			size_t max, struct block_ref *out)
{
	struct partial *best = best_open(p, peer);
	size_t n = best ? partial_take(p, best, peer, max, out) : 0;

	/* One that is used up leaves its slot to another. */
	for (uint32_t i = 0; best && i < p->num_open && n < max;) {
		struct partial *part = p->partials[i];

		if (picker_peer_has(peer, part->piece))
			n += partial_take(p, part, peer, max - n, out + n);
		if (i < p->num_open && p->partials[i] == part)
			i++;
	}
	return n;
}

size_t picker_take_rarest(struct picker *p, const struct picker_peer *peer,
			  size_t max, int64_t now_ms, struct block_ref *out)
{
	size_t n;

	if (!max || !p->num_wanted_left)
		return 0;
	set_now(p, now_ms);
	n = take_open(p, peer, max, out);
	for (size_t i = 0; peer->only && i < peer->num_only && n < max; i++)
		if (peer->only[i] < p->layout.num_pieces &&
		    piece_is_in_bands(&p->pieces[peer->only[i]]))
			n += picker_take(p, peer, peer->only[i], max - n,
					 now_ms, out + n);
	while (!peer->only && n < max) {
		uint32_t piece;
		size_t got;

		if (p->max_partials && p->num_partials >= p->max_partials)
			break;
		piece = bands_find(p, peer);
		if (piece == UINT32_MAX)
			break;
		got = picker_take(p, peer, piece, max - n, now_ms, out + n);
		if (!got)
			break;
		n += got;
	}
	return n;
}

size_t picker_take_late(struct picker *p, const struct picker_peer *peer,
			uint32_t piece, size_t max, int copies, int64_t now_ms,
			int64_t late_ms, struct block_ref *out)
{
	struct partial *part;

	if (!is_candidate(p, peer, piece))
		return 0;
	part = partial_find(p, piece);
	if (!part)
		return 0;
	set_now(p, now_ms);
	return partial_take_late(p, part, peer, max, copies, late_ms, out);
}

/* Is there a wanted block that nobody was asked for and PEER could give? */
static bool has_free_for(struct picker *p, const struct picker_peer *peer)
{
	if (best_open(p, peer))
		return true;
	if (!peer->only)
		return p->bands.num && bands_find(p, peer) != UINT32_MAX;
	for (size_t i = 0; i < peer->num_only; i++)
		if (is_candidate(p, peer, peer->only[i]) &&
		    piece_is_in_bands(&p->pieces[peer->only[i]]))
			return true;
	return false;
}

size_t picker_take_endgame(struct picker *p, const struct picker_peer *peer,
			   size_t max, int64_t now_ms, int64_t late_ms,
			   struct block_ref *out)
{
	size_t n = 0;

	if (!max || !p->num_wanted_left || has_free_for(p, peer))
		return 0;
	set_now(p, now_ms);
	for (uint32_t i = 0; i < p->num_partials && n < max; i++) {
		struct partial *part = p->partials[i];

		if (p->pieces[part->piece].is_wanted &&
		    picker_peer_has(peer, part->piece))
			n += partial_take_late(p, part, peer, max - n, 2,
					       late_ms, out + n);
	}
	return n;
}
