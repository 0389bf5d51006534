#include "engine/bitfield.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

static uint8_t mask_of(uint32_t i)
{
	return (uint8_t)(0x80u >> (i & 7));
}

/* The bits of the last byte that stand for no piece. */
static uint8_t spare_mask(uint32_t num_bits)
{
	return num_bits & 7 ? (uint8_t)(0xffu >> (num_bits & 7)) : 0;
}

static uint32_t count_set(const uint8_t *bytes, size_t len)
{
	uint32_t n = 0;
	size_t i = 0;

	for (; len - i >= 8; i += 8)
		n += (uint32_t)__builtin_popcountll(load_be64(bytes + i));
	for (; i < len; i++)
		n += (uint32_t)__builtin_popcount(bytes[i]);
	return n;
}

void bitfield_init(struct bitfield *bf, uint32_t num_bits)
{
	memset(bf, 0, sizeof(*bf));
	bf->num_bits = num_bits;
	/* A byte even for no bits, so that a set up field is never NULL. */
	bf->bytes = mem_alloc(bitfield_size(bf) + 1);
}

void bitfield_release(struct bitfield *bf)
{
	free(bf->bytes);
	memset(bf, 0, sizeof(*bf));
}

bool bitfield_load(struct bitfield *bf, const uint8_t *bytes, size_t len)
{
	if (len != bitfield_size(bf))
		return false;
	if (len && bytes[len - 1] & spare_mask(bf->num_bits))
		return false;
	if (len)
		memcpy(bf->bytes, bytes, len);
	bf->num_set = count_set(bf->bytes, len);
	return true;
}

void bitfield_set_all(struct bitfield *bf)
{
	size_t len = bitfield_size(bf);

	if (!len)
		return;
	memset(bf->bytes, 0xff, len);
	bf->bytes[len - 1] &= (uint8_t)~spare_mask(bf->num_bits);
	bf->num_set = bf->num_bits;
}

void bitfield_clear_all(struct bitfield *bf)
{
	if (bf->bytes)
		memset(bf->bytes, 0, bitfield_size(bf));
	bf->num_set = 0;
}

bool bitfield_set(struct bitfield *bf, uint32_t i)
{
	CHECK(i < bf->num_bits);
	if (bf->bytes[i / 8] & mask_of(i))
		return false;
	bf->bytes[i / 8] |= mask_of(i);
	bf->num_set++;
	return true;
}

bool bitfield_clear(struct bitfield *bf, uint32_t i)
{
	CHECK(i < bf->num_bits);
	if (!(bf->bytes[i / 8] & mask_of(i)))
		return false;
	bf->bytes[i / 8] &= (uint8_t)~mask_of(i);
	bf->num_set--;
	return true;
}

/* First bit in [from, to) unlike SKIP (0x00 or 0xff: a byte of nothing but
 * bits that do not interest), or to. */
static uint32_t next_unlike(const struct bitfield *bf, uint32_t from,
			    uint32_t to, uint8_t skip)
{
	uint64_t skip8 = skip ? UINT64_MAX : 0;
	uint32_t end = to < bf->num_bits ? to : bf->num_bits;
	uint32_t i = from;

	while (i < end) {
		uint8_t odd = bf->bytes[i / 8] ^ skip;

		if (!(i & 7) && end - i >= 64 &&
		    load_be64(bf->bytes + i / 8) == skip8)
			i += 64;
		else if (!(i & 7) && end - i >= 8 && !odd)
			i += 8;
		else if (odd & mask_of(i))
			return i;
		else
			i++;
	}
	return to;
}

uint32_t bitfield_next_clear(const struct bitfield *bf, uint32_t from,
			     uint32_t to)
{
	return next_unlike(bf, from, to, 0xff);
}

uint32_t bitfield_next_set(const struct bitfield *bf, uint32_t from,
			   uint32_t to)
{
	return next_unlike(bf, from, to, 0x00);
}

bool bitfield_has_beyond(const struct bitfield *a, const struct bitfield *b)
{
	size_t len = bitfield_size(a), i = 0;

	CHECK(a->num_bits == b->num_bits);
	for (; len - i >= 8; i += 8)
		if (load_be64(a->bytes + i) & ~load_be64(b->bytes + i))
			return true;
	for (; i < len; i++)
		if (a->bytes[i] & ~b->bytes[i])
			return true;
	return false;
}
