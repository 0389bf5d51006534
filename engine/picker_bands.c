/* Bands: pieces sorted by rarity at the price of a swap.
 *
 * order[] holds the pieces that may be opened, all of band 0 first, then all
 * of band 1, and so on. A peer's HAVE moves a piece up one band: it changes
 * places with the last of its own, and the border steps over it. Seeds have
 * everything and change no order, so they are counted and not entered. A
 * bitfield with many bits would be as many swaps, so it only adds to the
 * counts and leaves a mark; the next one who asks pays for sorting, once.
 *
 * A piece that comes into a band takes a random place there, so that peers who
 * see the same rarity do not all fetch the same piece. */
#include "engine/picker_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

/* Places looked at before a search goes through the bits instead. */
#define SEARCH_STEPS 2048
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

/* The piece at AT, which is in BAND, changes places with any of them. */
static void shuffle_in(struct picker *p, uint32_t band, uint32_t at)
{
	uint32_t start = band_start(&p->bands, band);

	swap(p, at, start + prng_below(&p->prng, p->bands.ends[band] - start));
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
	shuffle_in(p, band, hole);
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

void bands_more(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	struct piece *pc = &p->pieces[piece];
	uint32_t band = pc->num_peers++;

	if (b->is_dirty || !piece_is_in_bands(pc))
		return;
	grow(b, band + 1);
	swap(p, pc->index, --b->ends[band]);
	shuffle_in(p, band + 1, b->ends[band]);
}

void bands_fewer(struct picker *p, uint32_t piece)
{
	struct bands *b = &p->bands;
	struct piece *pc = &p->pieces[piece];
	uint32_t band = pc->num_peers--;

	if (b->is_dirty || !piece_is_in_bands(pc))
		return;
	swap(p, pc->index, b->ends[band - 1]++);
	shuffle_in(p, band - 1, b->ends[band - 1] - 1);
}

void bands_make_dirty(struct picker *p)
{
	p->bands.is_dirty = true;
}

/* Behind the counting: a random order inside each band. */
static void shuffle_all(struct picker *p)
{
	struct bands *b = &p->bands;
	uint32_t at = 0;

	for (uint32_t band = 0; band < b->num_bands; band++) {
		uint32_t start = at;

		for (; at < b->ends[band]; at++) {
			uint32_t other =
				start + prng_below(&p->prng, at - start + 1);
			uint32_t piece = b->order[at];

			b->order[at] = b->order[other];
			b->order[other] = piece;
		}
	}
	for (uint32_t i = 0; i < b->num; i++)
		p->pieces[b->order[i]].index = i;
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
			b->order[b->ends[p->pieces[i].num_peers]++] = i;
	shuffle_all(p);
}

/* 64 pieces from 8 * AT on that PEER has and that are needed, the first one in
 * the highest bit. */
static uint64_t common_bits(const struct picker *p,
			    const struct picker_peer *peer, size_t at)
{
	size_t len = bitfield_size(&p->unneeded) - at;
	uint8_t have[8] = { 0 }, unneeded[8];

	if (len > 8)
		len = 8;
	memset(unneeded, 0xff, sizeof(unneeded));
	memcpy(unneeded, p->unneeded.bytes + at, len);
	if (peer->is_seed)
		memset(have, 0xff, sizeof(have));
	else
		memcpy(have, peer->have->bytes + at, len);
	return load_be64(have) & ~load_be64(unneeded);
}

/* The rarest of the first few that fit, from a random place on. */
static uint32_t find_by_bits(struct picker *p, const struct picker_peer *peer)
{
	uint32_t words = (p->layout.num_pieces + 63) / 64;
	uint32_t start = prng_below(&p->prng, words);
	uint32_t best = UINT32_MAX, seen = 0;

	for (uint32_t k = 0; k < words && seen < SEARCH_SAMPLE; k++) {
		uint32_t at = (start + k) % words * 64;
		uint64_t bits = common_bits(p, peer, at / 8);

		for (; bits; bits &= ~(1ull << 63 >> __builtin_clzll(bits))) {
			uint32_t i = at + (uint32_t)__builtin_clzll(bits);

			/* The spare bits of the last byte are no piece. */
			if (i >= p->layout.num_pieces)
				break;
			if (!piece_is_in_bands(&p->pieces[i]))
				continue;
			seen++;
			if (best == UINT32_MAX ||
			    p->pieces[i].num_peers < p->pieces[best].num_peers)
				best = i;
		}
	}
	return best;
}

uint32_t bands_find(struct picker *p, const struct picker_peer *peer,
		    uint32_t *from)
{
	struct bands *b = &p->bands;
	uint32_t first, end;

	if (!b->num)
		return UINT32_MAX;
	bands_refresh(p);
	/* What nobody but seeds has, only a seed can give. */
	first = p->num_seeds || peer->is_seed ? 0 : b->ends[0];
	if (p->num_here < RANDOM_PIECES && b->num > first) {
		for (int i = 0; i < 16; i++) {
			uint32_t at =
				first + prng_below(&p->prng, b->num - first);

			if (picker_peer_has(peer, b->order[at]))
				return b->order[at];
		}
	}
	if (*from < first)
		*from = first;
	if (*from > b->num)
		*from = b->num;
	end = b->num - *from > SEARCH_STEPS ? *from + SEARCH_STEPS : b->num;
	for (; *from < end; ++*from)
		if (picker_peer_has(peer, b->order[*from]))
			return b->order[*from];
	return *from < b->num ? find_by_bits(p, peer) : UINT32_MAX;
}
