#include "tests/engine/picker_check.h"

#include "engine/base/check.h"
#include "engine/picker_private.h"

static bool has_bit(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> (i & 63) & 1;
}

static void check_block(const struct picker *p, const struct partial *part,
			uint32_t i, uint32_t count[5])
{
	const struct block *b = &part->blocks[i];
	int askings = 0;

	CHECK(has_bit(part->free_bits, i) == (b->state == BLOCK_FREE));
	for (int k = 0; b->state == BLOCK_ASKED && k < PICKER_COPIES; k++) {
		askings += b->who[k] > 0;
		CHECK(!k || !b->who[k] || b->who[k - 1]);
	}
	for (int k = 1; k < PICKER_COPIES; k++) {
		const struct copies *c = &part->copies[k - 1];

		CHECK(has_bit(c->bits, i) == (askings == k));
		if (askings == k)
			CHECK((int32_t)(b->when_ms - c->oldest_ms) >= 0);
		count[2 + k] += askings == k;
	}
	CHECK(b->state != BLOCK_ASKED || b->who[0]);
	CHECK(b->state == BLOCK_ASKED || !b->who[1]);
	CHECK(b->who[0] != b->who[1] || !b->who[1]);
	CHECK(!b->who[2] || (b->who[2] != b->who[0] && b->who[2] != b->who[1]));
	if (b->state == BLOCK_FREE)
		CHECK(i / 64 >= part->free_cursor);
	count[b->state]++;
}

static void check_partial(const struct picker *p, uint32_t slot)
{
	const struct partial *part = p->partials[slot];
	const struct piece *pc = &p->pieces[part->piece];
	uint32_t count[5] = { 0 };

	CHECK(pc->is_partial && !pc->is_here && pc->index == slot);
	CHECK(part->num_blocks == layout_blocks(&p->layout, part->piece));
	for (uint32_t i = 0; i < part->num_blocks; i++)
		check_block(p, part, i, count);
	CHECK(count[BLOCK_FREE] == part->num_free);
	CHECK(count[BLOCK_ASKED] == part->num_asked);
	CHECK(count[BLOCK_GOT] == part->num_got);
	CHECK(count[3] == part->copies[0].num);
	CHECK(count[4] == part->copies[1].num);
	CHECK(part->is_verifying == (part->num_got == part->num_blocks));
	CHECK((slot < p->num_open) ==
	      (pc->is_wanted && part->num_free && !part->is_verifying));
}

static void check_bands(const struct picker *p, uint32_t in_bands)
{
	const struct bands *b = &p->bands;
	uint32_t at = 0;

	CHECK(b->num == in_bands);
	if (b->is_dirty)
		return;
	for (uint32_t band = 0; band < b->num_bands; band++) {
		CHECK(b->ends[band] >= at && b->ends[band] <= b->num);
		for (; at < b->ends[band]; at++) {
			const struct piece *pc = &p->pieces[b->order[at]];

			CHECK(pc->index == at && pc->num_peers == band);
			CHECK(piece_is_in_bands(pc));
		}
	}
	CHECK(at == b->num);
}

void picker_check(struct picker *p)
{
	uint32_t here = 0, left = 0, partials = 0, in_bands = 0;

	for (uint32_t i = 0; i < p->layout.num_pieces; i++) {
		const struct piece *pc = &p->pieces[i];
		bool is_needed = pc->is_wanted && !pc->is_here;

		here += pc->is_here;
		left += is_needed;
		partials += pc->is_partial;
		in_bands += piece_is_in_bands(pc);
		CHECK(bitfield_has(&p->unneeded, i) == !is_needed);
	}
	CHECK(here == p->num_here && left == p->num_wanted_left);
	CHECK(partials == p->num_partials && p->num_open <= partials);
	for (uint32_t i = 0; i < p->num_partials; i++)
		check_partial(p, i);
	check_bands(p, in_bands);
}
