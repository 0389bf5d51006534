/* A piece in flight: the state of each of its blocks.
 *
 *   free  --partial_take-->  asked  --picker_on_block-->  got
 *     ^                      |  ^ |                        |
 *     +----picker_on_lost----+  +-+ partial_take_late      |
 *     +----picker_on_verified(wrong)-----------------------+
 *
 * Nobody is asked for a block twice, and no more than three for one. A block
 * does not go back to free while one of them still owes it. Whoever lost a
 * block (a reject, as a rule) is not asked for it again for a second, so that
 * ask and reject do not chase each other.
 *
 * Parole: after a piece came out wrong it is given to one peer at a time, so
 * that the next failure names the culprit. The next one gets its turn when the
 * first owes nothing any more. Blocks that are very late go to a second peer
 * even so: a piece that nobody finishes helps nobody.
 *
 * Free blocks, and those asked of one peer or of two, are bits as well, so that
 * finding one among 32768 costs a few loads. */
#include "engine/picker_private.h"

#include <stdlib.h>

#include "engine/base/mem.h"

#define LOST_PAUSE_MS 1000
#define DOUBTED_MS    60000 /* age of an asking that is not believed in */
/* On parole, "late" is this many times later. */
#define PAROLE_PATIENCE 4

static uint32_t words_of(uint32_t num_blocks)
{
	return (num_blocks + 63) / 64;
}

static void set_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << (i & 63);
}

static void clear_bit(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(1ull << (i & 63));
}

struct partial *partial_find(const struct picker *p, uint32_t piece)
{
	const struct piece *pc = &p->pieces[piece];

	return pc->is_partial ? p->partials[pc->index] : NULL;
}

static void partial_swap(struct picker *p, uint32_t a, uint32_t b)
{
	struct partial *part = p->partials[a];

	p->partials[a] = p->partials[b];
	p->partials[b] = part;
	p->pieces[p->partials[a]->piece].index = a;
	p->pieces[p->partials[b]->piece].index = b;
}

void partial_settle(struct picker *p, struct partial *part)
{
	const struct piece *pc = &p->pieces[part->piece];
	bool is_open = pc->is_wanted && part->num_free && !part->is_verifying;

	if (is_open && pc->index >= p->num_open)
		partial_swap(p, pc->index, p->num_open++);
	else if (!is_open && pc->index < p->num_open)
		partial_swap(p, pc->index, --p->num_open);
}

/* All blocks free, none got. */
static void set_all_free(struct picker *p, struct partial *part)
{
	uint32_t n = part->num_blocks, words = words_of(n);

	for (uint32_t i = 0; i < n; i++)
		part->blocks[i] = (struct block){ .state = BLOCK_FREE };
	for (uint32_t i = 0; i < words; i++) {
		part->free_bits[i] = UINT64_MAX;
		part->copies[0].bits[i] = part->copies[1].bits[i] = 0;
	}
	if (n & 63)
		part->free_bits[words - 1] = (1ull << (n & 63)) - 1;
	part->num_free = n;
	part->num_asked = part->num_got = 0;
	part->copies[0].num = part->copies[1].num = 0;
	part->free_cursor = 0;
	part->owner = 0;
	part->is_verifying = false;
}

struct partial *partial_open(struct picker *p, uint32_t piece)
{
	uint32_t n = layout_blocks(&p->layout, piece);
	size_t words = words_of(n);
	/* Rounded up: the bits behind them are words. */
	size_t blocks = (n * sizeof(struct block) + 7) & ~(size_t)7;
	struct partial *part;

	part = mem_try(1, sizeof(*part) + blocks +
				  PICKER_COPIES * words * sizeof(uint64_t));
	if (!part)
		return NULL;
	part->piece = piece;
	part->num_blocks = n;
	part->free_bits = (uint64_t *)(void *)((char *)part->blocks + blocks);
	part->copies[0].bits = part->free_bits + words;
	part->copies[1].bits = part->free_bits + 2 * words;
	set_all_free(p, part);
	if (p->num_partials == p->room) {
		p->room = p->room ? 2 * p->room : 16;
		p->partials = mem_realloc_array(p->partials, p->room,
						sizeof(struct partial *));
	}
	if (piece_is_in_bands(&p->pieces[piece]))
		bands_remove(p, piece);
	p->pieces[piece].is_partial = true;
	p->pieces[piece].index = p->num_partials;
	p->partials[p->num_partials++] = part;
	partial_settle(p, part);
	return part;
}

void partial_close(struct picker *p, struct partial *part)
{
	struct piece *pc = &p->pieces[part->piece];

	if (pc->index < p->num_open)
		partial_swap(p, pc->index, --p->num_open);
	partial_swap(p, pc->index, --p->num_partials);
	pc->is_partial = false;
	if (piece_is_in_bands(pc))
		bands_insert(p, part->piece);
	free(part);
}

/* Looks at two partials each time a new one is wanted, so that what lost its
 * peers and never held a byte does not pile up. */
void partial_close_stale(struct picker *p)
{
	for (int i = 0; i < 2 && p->num_partials; i++) {
		struct partial *part;

		p->sweep = (p->sweep + 1) % p->num_partials;
		part = p->partials[p->sweep];
		if (!part->num_got && !part->num_asked && !part->data &&
		    !part->is_parole &&
		    p->now_ms - part->lost_ms > LOST_PAUSE_MS)
			partial_close(p, part);
	}
}

bool partial_is_open_to(const struct partial *part,
			const struct picker_peer *peer)
{
	if (part->is_verifying || !part->num_free)
		return false;
	return !part->is_parole || !part->owner || part->owner == peer->id ||
	       !part->num_asked;
}

/* How many peers owe block B. */
static int num_copies(const struct block *b)
{
	int n = 0;

	while (n < PICKER_COPIES && b->who[n])
		n++;
	return n;
}

/* The block is asked of one of them more or fewer: it changes its list. */
static void leave_copies(struct partial *part, uint32_t i)
{
	int n = num_copies(&part->blocks[i]);

	if (n == PICKER_COPIES)
		return;
	clear_bit(part->copies[n - 1].bits, i);
	part->copies[n - 1].num--;
}

static void join_copies(struct partial *part, uint32_t i)
{
	const struct block *b = &part->blocks[i];
	int n = num_copies(b);
	struct copies *c = &part->copies[n - 1];

	if (n == PICKER_COPIES)
		return;
	set_bit(c->bits, i);
	if (!c->num++ || (int32_t)(b->when_ms - c->oldest_ms) < 0)
		c->oldest_ms = b->when_ms;
}

static void ask_first(struct picker *p, struct partial *part, uint32_t i,
		      uint32_t peer_id)
{
	struct block *b = &part->blocks[i];

	*b = (struct block){ .who = { peer_id },
			     .when_ms = p->now_ms,
			     .state = BLOCK_ASKED };
	clear_bit(part->free_bits, i);
	join_copies(part, i);
	part->num_free--;
	part->num_asked++;
}

size_t partial_take(struct picker *p, struct partial *part,
		    const struct picker_peer *peer, size_t max,
		    struct block_ref *out)
{
	uint32_t words = words_of(part->num_blocks);
	size_t n = 0;

	if (!partial_is_open_to(part, peer))
		return 0;
	for (uint32_t w = part->free_cursor; w < words && n < max; w++) {
		uint64_t bits = part->free_bits[w];

		for (; bits && n < max; bits &= bits - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
			const struct block *b = &part->blocks[i];

			if (b->who[0] == peer->id &&
			    p->now_ms - b->when_ms < LOST_PAUSE_MS)
				continue;
			ask_first(p, part, i, peer->id);
			out[n++] = (struct block_ref){ part->piece, i };
		}
	}
	while (part->free_cursor < words && !part->free_bits[part->free_cursor])
		part->free_cursor++;
	if (n && part->is_parole)
		part->owner = peer->id;
	partial_settle(p, part);
	return n;
}

static bool has_asked(const struct block *b, uint32_t peer_id)
{
	for (int i = 0; i < PICKER_COPIES; i++)
		if (b->who[i] == peer_id)
			return true;
	return false;
}

/* Of the blocks that N are asked for already. */
static size_t take_copies(struct picker *p, struct partial *part, int n_asked,
			  uint32_t peer_id, size_t max, int64_t late_ms,
			  struct block_ref *out)
{
	struct copies *c = &part->copies[n_asked - 1];
	uint32_t words = words_of(part->num_blocks), oldest = 0;
	size_t n = 0;

	if (!c->num || (int32_t)(p->now_ms - c->oldest_ms) <= late_ms)
		return 0;
	for (uint32_t w = 0; w < words; w++) {
		uint64_t bits = c->bits[w];

		for (; bits; bits &= bits - 1) {
			uint32_t i = w * 64 + (uint32_t)__builtin_ctzll(bits);
			struct block *b = &part->blocks[i];
			uint32_t age = p->now_ms - b->when_ms;

			if (has_asked(b, peer_id) || (int32_t)age <= late_ms) {
				oldest = age > oldest ? age : oldest;
				continue;
			}
			if (n == max)
				return n;
			leave_copies(part, i);
			b->who[n_asked] = peer_id;
			b->when_ms = p->now_ms;
			join_copies(part, i);
			out[n++] = (struct block_ref){ part->piece, i };
		}
	}
	c->oldest_ms = p->now_ms - oldest;
	return n;
}

size_t partial_take_late(struct picker *p, struct partial *part,
			 const struct picker_peer *peer, size_t max, int copies,
			 int64_t late_ms, struct block_ref *out)
{
	size_t n = 0;

	if (part->is_parole)
		late_ms *= PAROLE_PATIENCE;
	if (part->is_verifying)
		return 0;
	for (int i = 1; i < copies && n < max; i++)
		n += take_copies(p, part, i, peer->id, max - n, late_ms,
				 out + n);
	return n;
}

/* The partial that REF lies in, or NULL. */
static struct partial *partial_of(struct picker *p, struct block_ref ref)
{
	struct partial *part = ref.piece < p->layout.num_pieces
				       ? partial_find(p, ref.piece)
				       : NULL;

	return part && ref.index < part->num_blocks ? part : NULL;
}

/* The block if PEER was asked for it, or NULL. */
static struct block *find_asked(struct partial *part, uint32_t peer_id,
				uint32_t index)
{
	struct block *b = part ? &part->blocks[index] : NULL;

	return b && peer_id && b->state == BLOCK_ASKED && has_asked(b, peer_id)
		       ? b
		       : NULL;
}

void picker_on_doubt(struct picker *p, uint32_t peer_id, struct block_ref ref)
{
	struct partial *part = partial_of(p, ref);
	struct block *b = find_asked(part, peer_id, ref.index);

	if (!b)
		return;
	leave_copies(part, ref.index);
	b->when_ms = p->now_ms - DOUBTED_MS;
	join_copies(part, ref.index);
}

static void forget_asked(struct partial *part, uint32_t i)
{
	leave_copies(part, i);
	part->num_asked--;
}

/* PEER owes it no more, others do. */
static void lose_copy(struct partial *part, uint32_t index, uint32_t peer_id)
{
	struct block *b = &part->blocks[index];
	int n = num_copies(b), k = 0;

	leave_copies(part, index);
	for (int i = 0; i < n; i++)
		if (b->who[i] != peer_id)
			b->who[k++] = b->who[i];
	b->who[k] = 0;
	join_copies(part, index);
}

void picker_on_lost(struct picker *p, uint32_t peer_id, struct block_ref ref)
{
	struct partial *part = partial_of(p, ref);
	struct block *b = find_asked(part, peer_id, ref.index);

	if (!b)
		return;
	if (b->who[1]) {
		lose_copy(part, ref.index, peer_id);
		return;
	}
	forget_asked(part, ref.index);
	*b = (struct block){ .who = { peer_id }, .when_ms = p->now_ms };
	set_bit(part->free_bits, ref.index);
	part->num_free++;
	part->lost_ms = p->now_ms;
	if (ref.index / 64 < part->free_cursor)
		part->free_cursor = ref.index / 64;
	p->generation++;
	partial_settle(p, part);
}

enum picker_block picker_on_block(struct picker *p, uint32_t peer_id,
				  struct block_ref ref,
				  uint32_t others[PICKER_COPIES],
				  size_t *num_others)
{
	struct partial *part = partial_of(p, ref);
	struct block *b;

	*num_others = 0;
	if (!part) {
		p->num_duplicate += ref.piece < p->layout.num_pieces &&
				    p->pieces[ref.piece].is_here;
		return PICKER_DUPLICATE;
	}
	b = &part->blocks[ref.index];
	if (b->state == BLOCK_GOT ||
	    (part->is_parole && !has_asked(b, peer_id))) {
		p->num_duplicate += b->state == BLOCK_GOT;
		return PICKER_DUPLICATE;
	}
	if (b->state == BLOCK_ASKED) {
		forget_asked(part, ref.index);
		for (int i = 0; i < PICKER_COPIES; i++)
			if (b->who[i] && b->who[i] != peer_id)
				others[(*num_others)++] = b->who[i];
	} else {
		clear_bit(part->free_bits, ref.index);
		part->num_free--;
	}
	*b = (struct block){ .who = { peer_id }, .state = BLOCK_GOT };
	part->num_got++;
	p->num_new++;
	part->is_verifying = part->num_got == part->num_blocks;
	partial_settle(p, part);
	return part->is_verifying ? PICKER_COMPLETE : PICKER_NEW;
}

static size_t list_givers(const struct partial *part, uint32_t *givers,
			  size_t max)
{
	uint32_t last = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < part->num_blocks; i++) {
		uint32_t id = part->blocks[i].who[0];
		size_t k = 0;

		if (part->blocks[i].state != BLOCK_GOT || id == last)
			continue;
		last = id;
		while (k < n && givers[k] != id)
			k++;
		if (k == n && n < max)
			givers[n++] = id;
	}
	return n;
}

size_t picker_on_verified(struct picker *p, uint32_t piece, bool right,
			  uint32_t *givers, size_t max)
{
	struct partial *part = partial_find(p, piece);
	size_t n;

	if (!part)
		return 0;
	n = list_givers(part, givers, max);
	if (right) {
		picker_set_have(p, piece, true);
		return n;
	}
	set_all_free(p, part);
	part->is_parole = true;
	p->generation++;
	partial_settle(p, part);
	return n;
}

uint32_t picker_num_partials(const struct picker *p)
{
	return p->num_partials;
}

bool picker_is_partial(const struct picker *p, uint32_t piece)
{
	return p->pieces[piece].is_partial;
}

bool picker_is_verifying(const struct picker *p, uint32_t piece)
{
	const struct partial *part = partial_find(p, piece);

	return part && part->is_verifying;
}

bool picker_is_idle(const struct picker *p, uint32_t piece)
{
	const struct partial *part = partial_find(p, piece);

	return part && !part->is_verifying && !part->num_asked;
}

uint32_t picker_free_blocks(const struct picker *p, uint32_t piece)
{
	const struct partial *part;

	if (p->pieces[piece].is_here)
		return 0;
	part = partial_find(p, piece);
	if (!part)
		return layout_blocks(&p->layout, piece);
	return part->is_verifying ? 0 : part->num_free;
}

void **picker_partial_data(struct picker *p, uint32_t piece)
{
	struct partial *part = partial_find(p, piece);

	return part ? &part->data : NULL;
}

void picker_drop_partial(struct picker *p, uint32_t piece)
{
	struct partial *part = partial_find(p, piece);

	if (!part)
		return;
	partial_close(p, part);
	p->generation++;
}

void picker_each_partial(struct picker *p,
			 void (*fn)(void *arg, uint32_t piece, void *data),
			 void *arg)
{
	for (uint32_t i = 0; i < p->num_partials; i++)
		fn(arg, p->partials[i]->piece, p->partials[i]->data);
}
