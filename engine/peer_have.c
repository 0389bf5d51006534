/* Who has what: what a peer says that it has, and what we say. Before the
 * metadata of a magnet is here its words are kept raw, and read again then. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/engine_private.h"
#include "engine/peer.h"

/* First news of what it has: availability counts from now. */
static void told_have(struct peer *p)
{
	struct torrent *t = p->torrent;

	if (p->has_told_have)
		return;
	p->has_told_have = true;
	if (t->picker)
		picker_add_peer(t->picker, &p->have, p->is_seed);
}

static void became_seed(struct peer *p)
{
	struct torrent *t = p->torrent;

	if (p->has_told_have && t->picker) {
		picker_remove_peer(t->picker, &p->have, false);
		picker_add_peer(t->picker, NULL, true);
	}
	p->is_seed = true;
	bitfield_clear_all(&p->have);
}

/* Before metadata nobody knows how many pieces there are. A HAVE beyond the
 * bitfield that was told is kept as a number: one of the last possible piece
 * must not cost a bitfield of that size. */
static void note_early_have(struct peer *p, uint32_t piece)
{
	if (piece / 8 < p->early_bits.len)
		p->early_bits.ptr[piece / 8] |= (uint8_t)(0x80 >> piece % 8);
	else if (p->early_haves.len < LIMIT_EARLY_HAVES * sizeof(piece))
		buf_add(&p->early_haves, &piece, sizeof(piece));
}

/* True when all of them are pieces. */
static bool take_early_haves(struct peer *p)
{
	uint32_t piece;

	for (size_t i = 0; i < p->early_haves.len; i += sizeof(piece)) {
		memcpy(&piece, p->early_haves.ptr + i, sizeof(piece));
		if (piece >= p->have.num_bits)
			return false;
		bitfield_set(&p->have, piece);
	}
	return true;
}

void peer_on_have(struct peer *p, uint32_t piece)
{
	struct torrent *t = p->torrent;

	if (!t->mi) {
		note_early_have(p, piece);
		return;
	}
	told_have(p);
	if (p->is_seed || !bitfield_set(&p->have, piece))
		return;
	p->haves_told++;
	picker_on_have(t->picker, piece);
	/* One that takes back and gives again stays bit by bit: to change
	 * between the two costs a walk over all pieces. */
	if (bitfield_is_full(&p->have) && !p->has_taken_back)
		became_seed(p);
	if (!p->am_interested && !bitfield_has(&t->have, piece))
		peer_consider(p, piece);
}

void peer_on_donthave(struct peer *p, uint32_t piece)
{
	struct torrent *t = p->torrent;

	if (!t->mi || piece >= t->mi->layout.num_pieces)
		return;
	p->has_taken_back = true;
	if (p->is_seed) {
		picker_remove_peer(t->picker, NULL, true);
		p->is_seed = false;
		bitfield_set_all(&p->have);
		picker_add_peer(t->picker, &p->have, false);
	}
	if (bitfield_clear(&p->have, piece))
		picker_on_donthave(t->picker, piece);
}

int peer_on_bits(struct peer *p, const struct wire_msg *m, const char **why)
{
	struct torrent *t = p->torrent;

	if (!t->mi) {
		p->early_all = m->type == WIRE_HAVE_ALL;
		buf_clear(&p->early_bits);
		buf_clear(&p->early_haves);
		buf_add(&p->early_bits, m->payload.ptr, m->payload.len);
		return 0;
	}
	if (p->has_told_have) {
		/* Some clients send it again, or after a first HAVE: start
		 * over from what it says now. Each time is a walk over all
		 * pieces, so not too often. */
		if (++p->num_retold > LIMIT_HAVE_RETOLD) {
			*why = "tells what it has over and over";
			return -EPROTO;
		}
		picker_remove_peer(t->picker, &p->have, p->is_seed);
		p->has_told_have = p->is_seed = false;
	}
	bitfield_clear_all(&p->have);
	if (m->type == WIRE_BITFIELD &&
	    !bitfield_load(&p->have, m->payload.ptr, m->payload.len)) {
		*why = "bitfield of wrong size or with spare bits";
		return -EPROTO;
	}
	if (m->type == WIRE_HAVE_ALL || bitfield_is_full(&p->have)) {
		p->is_seed = true;
		bitfield_clear_all(&p->have);
	}
	told_have(p);
	peer_update_interest(p);
	return 0;
}

bool peer_on_metadata(struct peer *p)
{
	struct torrent *t = p->torrent;
	struct layout *l = &t->mi->layout;

	p->wire.num_pieces = l->num_pieces;
	p->wire.piece_length = l->piece_length;
	p->wire.total = l->total;
	bitfield_init(&p->have, l->num_pieces);
	if (p->early_all) {
		p->is_seed = true;
	} else {
		if (p->early_bits.len &&
		    !bitfield_load(&p->have, p->early_bits.ptr,
				   p->early_bits.len))
			return false;
		if (!take_early_haves(p))
			return false;
		if (bitfield_is_full(&p->have)) {
			p->is_seed = true;
			bitfield_clear_all(&p->have);
		}
	}
	if (p->is_seed || p->early_bits.len || p->early_haves.len)
		told_have(p);
	buf_release(&p->early_bits);
	buf_release(&p->early_haves);
	return true;
}

/* --- what we say --- */

void peer_add_what_we_have(struct peer *p, struct buf *b)
{
	struct torrent *t = p->torrent;

	if (!t->mi) { /* a magnet; BEP 6 wants to hear something */
		if (p->theirs.has_fast)
			wire_add_simple(b, WIRE_HAVE_NONE);
		return;
	}
	if (!t->have.num_set && p->theirs.has_fast)
		wire_add_simple(b, WIRE_HAVE_NONE);
	else if (bitfield_is_full(&t->have) && p->theirs.has_fast)
		wire_add_simple(b, WIRE_HAVE_ALL);
	else if (t->have.num_set)
		wire_add_bitfield(b, t->have.bytes, bitfield_size(&t->have));
}

void peer_tell_have(struct peer *p, uint32_t piece)
{
	struct buf b;

	if (p->state != PEER_READY || p->is_seed ||
	    bitfield_has(&p->have, piece))
		return;
	buf_init(&b, 0);
	wire_add_have(&b, piece);
	peer_send(p, &b);
}

void peer_tell_all(struct peer *p)
{
	const struct bitfield *ours = &p->torrent->have;
	uint32_t n = ours->num_bits;
	struct buf b;

	if (p->state != PEER_READY || p->is_seed)
		return;
	buf_init(&b, 0);
	for (uint32_t i = bitfield_next_set(ours, 0, n); i < n;
	     i = bitfield_next_set(ours, i + 1, n)) {
		if (!bitfield_has(&p->have, i))
			wire_add_have(&b, i);
	}
	peer_send(p, &b);
}

void peer_tell_donthave(struct peer *p, uint32_t piece)
{
	struct buf b;

	if (p->state != PEER_READY || !p->ext.id_donthave)
		return;
	buf_init(&b, 0);
	wire_add_donthave(&b, p->ext.id_donthave, piece);
	peer_send(p, &b);
}
