/* engine/bitfield.h: pieces as bits, in the order of the wire (BEP 3: the high
 * bit of the first byte is piece 0), with a count. Spare bits stay zero. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bitfield {
	uint8_t *bytes; /* owned; NULL while unset or before bitfield_init */
	uint32_t num_bits;
	uint32_t num_set;
};

void bitfield_init(struct bitfield *bf, uint32_t num_bits); /* all clear */
void bitfield_release(struct bitfield *bf);
/* False, and BF unchanged: LEN is not the exact size, or a spare bit is set. */
bool bitfield_load(struct bitfield *bf, const uint8_t *bytes, size_t len);
void bitfield_set_all(struct bitfield *bf);
void bitfield_clear_all(struct bitfield *bf);

static inline size_t bitfield_size(const struct bitfield *bf)
{
	return ((size_t)bf->num_bits + 7) / 8;
}

static inline bool bitfield_has(const struct bitfield *bf, uint32_t i)
{
	return i < bf->num_bits && (bf->bytes[i / 8] >> (7 - i % 8) & 1);
}

static inline bool bitfield_is_full(const struct bitfield *bf)
{
	return bf->num_bits && bf->num_set == bf->num_bits;
}

/* True when this changed the bit. I < num_bits. */
bool bitfield_set(struct bitfield *bf, uint32_t i);
bool bitfield_clear(struct bitfield *bf, uint32_t i);
/* First clear bit in [from, to), or to. */
uint32_t bitfield_next_clear(const struct bitfield *bf, uint32_t from,
			     uint32_t to);
uint32_t bitfield_next_set(const struct bitfield *bf, uint32_t from,
			   uint32_t to);
/* Does A hold a bit that B has not? Same size. */
bool bitfield_has_beyond(const struct bitfield *a, const struct bitfield *b);
