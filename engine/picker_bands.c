/* Bands: pieces sorted by rarity at the price of a swap.
 *
 * order[] holds the pieces that may be opened, all of band 0 first, then all
 * of band 1, and so on. A peer's HAVE moves a piece up one band: it changes
 * places with the last of its own, and the border steps over it. Seeds have
 * everything and change no order, so they are counted and not entered. A
 * bitfield with many bits would be as many swaps, so it only adds to the
 * counts and leaves a mark; the next one who asks pays for sorting, once.
 *
 * A search goes through each band from a random place on, so that peers who
 * see the same rarity do not all fetch the same piece. */
#include "engine/picker_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

/* Places looked at before a search goes through the bits instead. */
#define SEARCH_STEPS 256
/* Fitting pieces found through the bits among which the rarest is chosen. */
#define SEARCH_SAMPLE 64
/* Until this many pieces are here the choice is random, so that there is soon
 * something to trade. */
#define RANDOM_PIECES 4

bool piece_is_in_bands(const struct piece *pc)
{
	return pc->is_wanted && !pc->is_here && !pc->is_partial;
}

bool picker_peer_has(const struct picker_peer *peer, uint32_t piece)
{
	if (peer->only) {
		size_t i = 0;

		while (i < peer->num_only && peer->only[i] != piece)
			i++;
		if (i == peer->num_only)
			return false;
	}
	return peer->is_seed || bitfield_has(peer->have, piece);
}

void bands_init(struct picker *p)
{
	struct bands *b = &p->bands;

	b->order = mem_alloc_array(p->layout.num_pieces, sizeof(*b->order));
	b->num_bands = 1;
	b->ends = mem_alloc(sizeof(*b->ends));
}

void bands_release(struct picker *p)
{
	free(p->bands.order);
	free(p->bands.ends);
}

/* 64 bits from AT (a multiple of 64) on, as they lie in memory; zeros behind
 * the end. */
static uint64_t raw_bits(const struct bitfield *bf, uint32_t at)
{
	size_t len = bitfield_size(bf) - at / 8;
	uint64_t bits = 0;

	if (len >= sizeof(bits))
		memcpy(&bits, bf->bytes + at / 8, sizeof(bits));
	else
		memcpy(&bits, bf->bytes + at / 8, len);
	return bits;
}

/* The same, the bit of piece AT highest. */
static uint64_t in_order(uint64_t raw)
{
	uint8_t bytes[sizeof(raw)];

	memcpy(bytes, &raw, sizeof(raw));
	return load_be64(bytes);
}

static void put(struct picker *p, uint32_t piece, uint32_t at)
{
	p->bands.order[at] = piece;
	p->pieces[piece].index = at;
}

static void swap(struct picker *p, uint32_t a, uint32_t b)
{
	uint32_t piece = p->bands.order[a];

	put(p, p->bands.order[b], a);
	put(p, piece, b);
}

static uint32_t band_start(const struct bands *b, uint32_t band)
{
	return band ? b->ends[band - 1] : 0;
}

static void grow(struct bands *b, uint32_t band)
{
	if (band < b->num_bands)
		return;
	b->ends = mem_realloc_array(b->ends, band + 1, sizeof(*b->ends));
	for (uint32_t i = b->num_bands; i <= band; i++)
		b->ends[i] = b->num;
	b->num_bands = band + 1;
}

void bands_insert(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	uint32_t band = p->pieces[piece].num_peers;
	uint32_t hole;

	if (b->is_dirty) {
		b->num++;
		return;
	}
	grow(b, band);
	hole = b->num++;
	for (uint32_t i = b->num_bands - 1; i > band; i--) {
		uint32_t first = b->ends[i - 1];

		if (first != hole)
			put(p, b->order[first], hole);
		hole = first;
		b->ends[i]++;
	}
	b->ends[band]++;
	put(p, piece, hole);
}

void bands_remove(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	uint32_t hole = p->pieces[piece].index;

	b->num--;
	if (b->is_dirty)
		return;
	for (uint32_t i = p->pieces[piece].num_peers; i < b->num_bands; i++) {
		uint32_t last = --b->ends[i];

		if (last != hole)
			put(p, b->order[last], hole);
		hole = last;
	}
}

void bands_add(struct picker *p, const struct bitfield *have, int change)
{
	uint32_t n = p->layout.num_pieces;

	p->bands.is_dirty = true;
	for (uint32_t at = 0; at < n; at += 64) {
		uint64_t bits = in_order(raw_bits(have, at));

		for (; bits; bits &= bits - 1) {
			uint32_t i = at + 63 - (uint32_t)__builtin_ctzll(bits);

			if (i >= n)
				continue;
			CHECK(change > 0 ? p->pieces[i].num_peers < UINT16_MAX
					 : p->pieces[i].num_peers > 0);
			p->pieces[i].num_peers += (uint32_t)change;
		}
	}
}

void bands_more(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	struct piece *pc = &p->pieces[piece];
	uint32_t band = pc->num_peers++;

	if (b->is_dirty || !piece_is_in_bands(pc))
		return;
	grow(b, band + 1);
	swap(p, pc->index, --b->ends[band]);
}

void bands_fewer(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	struct piece *pc = &p->pieces[piece];
	uint32_t band = pc->num_peers--;

	if (b->is_dirty || !piece_is_in_bands(pc))
		return;
	swap(p, pc->index, b->ends[band - 1]++);
}

void bands_make_dirty(struct picker *p)
{
	p->bands.is_dirty = true;
}

/* A counting sort. */
void bands_refresh(struct picker *p)
{
	struct bands *b = &p->bands;
	uint32_t most = 0, sum = 0;

	if (!b->is_dirty)
		return;
	b->is_dirty = false;
	for (uint32_t i = 0; i < p->layout.num_pieces; i++)
		if (p->pieces[i].num_peers > most)
			most = p->pieces[i].num_peers;
	grow(b, most);
	memset(b->ends, 0, b->num_bands * sizeof(*b->ends));
	for (uint32_t i = 0; i < p->layout.num_pieces; i++)
		if (piece_is_in_bands(&p->pieces[i]))
			b->ends[p->pieces[i].num_peers]++;
	for (uint32_t i = 0; i < b->num_bands; i++) {
		uint32_t count = b->ends[i];

		b->ends[i] = sum; /* where the band starts, for now */
		sum += count;
	}
	CHECK(sum == b->num);
	for (uint32_t i = 0; i < p->layout.num_pieces; i++)
		if (piece_is_in_bands(&p->pieces[i]))
			put(p, i, b->ends[p->pieces[i].num_peers]++);
}

/* The rarest of the first few that fit, from a random place on. */
static uint32_t find_by_bits(struct picker *p, const struct picker_peer *peer)
{
	uint32_t words = (p->layout.num_pieces + 63) / 64;
	uint32_t start = prng_below(&p->prng, words);
	uint32_t best = UINT32_MAX, seen = 0;

	for (uint32_t k = 0; k < words && seen < SEARCH_SAMPLE; k++) {
		uint32_t word =
			start + k < words ? start + k : start + k - words;
		uint64_t bits = ~raw_bits(&p->unneeded, word * 64);

		if (!peer->is_seed)
			bits &= raw_bits(peer->have, word * 64);
		for (bits = bits ? in_order(bits) : 0; bits; bits &= bits - 1) {
			uint32_t i = word * 64 + 63 -
				     (uint32_t)__builtin_ctzll(bits);

			/* Spare bits are no piece. */
			if (i >= p->layout.num_pieces ||
			    !piece_is_in_bands(&p->pieces[i]))
				continue;
			seen++;
			if (best == UINT32_MAX ||
			    p->pieces[i].num_peers < p->pieces[best].num_peers)
				best = i;
		}
	}
	return best;
}

/* A piece of [start, end) that PEER has, from a random place on. */
static uint32_t find_in(struct picker *p, const struct picker_peer *peer,
			uint32_t start, uint32_t end, uint32_t *steps)
{
	const uint32_t *order = p->bands.order;
	uint32_t n = end - start, at = start + prng_below(&p->prng, n);

	for (; n && *steps; n--, --*steps) {
		if (picker_peer_has(peer, order[at]))
			return order[at];
		at = at + 1 < end ? at + 1 : start;
	}
	return UINT32_MAX;
}

uint32_t bands_find(struct picker *p, const struct picker_peer *peer)
{
	struct bands *b = &p->bands;
	uint32_t steps = SEARCH_STEPS, found = UINT32_MAX;
	/* What nobody but seeds has, only a seed can give. */
	uint32_t band = p->num_seeds || peer->is_seed ? 0 : 1;

	if (!b->num)
		return UINT32_MAX;
	bands_refresh(p);
	if (p->num_here < RANDOM_PIECES)
		found = find_in(p, peer, 0, b->num, &steps);
	for (; band < b->num_bands && found == UINT32_MAX && steps; band++) {
		uint32_t start = band_start(b, band);

		if (start < b->ends[band])
			found = find_in(p, peer, start, b->ends[band], &steps);
	}
	return found == UINT32_MAX && !steps ? find_by_bits(p, peer) : found;
}
