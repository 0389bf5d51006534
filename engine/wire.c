/* The peer protocol as bytes.
 *
 * A frame is judged as soon as enough of it is here to judge it, and before
 * anything of it is kept:
 *	4 bytes   the length is at most LIMIT_MESSAGE_BYTES
 *	5 bytes   the length is right for the id
 *	6 bytes   EXTENDED: the length is right for what we announced
 *	13 bytes  PIECE: the block lies inside its piece; the rest is a stream
 * A message that is whole in the input is handed out from there. One that the
 * end of the input cuts is completed in `carry`, which therefore never holds
 * more than one checked message, and never a block. */
#include "engine/wire.h"

#include <errno.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"

#define PREFIX_LEN       4
#define BLOCK_HEADER_LEN 9 /* id, piece, begin */

/* --- the handshake --- */

#define PROTOCOL "\023BitTorrent protocol"

enum { /* reserved bytes of the handshake, BEP 4 */
	RESERVED_AT = 20,
	INFOHASH_AT = 28,
	PEERID_AT = 48,
};

void wire_write_handshake(uint8_t out[WIRE_HANDSHAKE_LEN],
			  const struct wire_handshake *h)
{
	uint8_t *reserved = out + RESERVED_AT;

	memset(out, 0, WIRE_HANDSHAKE_LEN);
	memcpy(out, PROTOCOL, RESERVED_AT);
	if (h->has_extended)
		reserved[5] |= 0x10;
	if (h->has_dht)
		reserved[7] |= 0x01;
	if (h->has_fast)
		reserved[7] |= 0x04;
	if (h->has_v2)
		reserved[7] |= 0x10;
	memcpy(out + INFOHASH_AT, h->infohash.b, sizeof(h->infohash.b));
	memcpy(out + PEERID_AT, h->peerid.b, sizeof(h->peerid.b));
}

int wire_read_handshake(const uint8_t in[WIRE_HANDSHAKE_LEN],
			struct wire_handshake *out)
{
	const uint8_t *reserved = in + RESERVED_AT;

	if (memcmp(in, PROTOCOL, RESERVED_AT))
		return -EPROTO;
	out->has_extended = reserved[5] & 0x10;
	out->has_dht = reserved[7] & 0x01;
	out->has_fast = reserved[7] & 0x04;
	out->has_v2 = reserved[7] & 0x10;
	memcpy(out->infohash.b, in + INFOHASH_AT, sizeof(out->infohash.b));
	memcpy(out->peerid.b, in + PEERID_AT, sizeof(out->peerid.b));
	return 0;
}

/* --- incoming: what a message must be --- */

static int refuse(const char **why, const char *reason)
{
	*why = reason;
	return -EPROTO;
}

static bool is_bitfield_length(const struct wire_in *w, uint32_t length)
{
	if (w->num_pieces)
		return length == 1 + (w->num_pieces + 7) / 8;
	return length >= 2 && length <= 1 + LIMIT_PIECES / 8;
}

/* Is LENGTH (with the id) possible for a message ID? */
static bool is_length_ok(const struct wire_in *w, uint8_t id, uint32_t length)
{
	switch ((enum wire_type)id) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		return length == 1;
	case WIRE_HAVE:
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		return length == 5;
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		return length == 13;
	case WIRE_PORT:
		return length == 3;
	case WIRE_PIECE:
		return length > BLOCK_HEADER_LEN &&
		       length <= BLOCK_HEADER_LEN + LIMIT_BLOCK_SERVE_BYTES;
	case WIRE_BITFIELD:
		return is_bitfield_length(w, length);
	case WIRE_EXTENDED:
		return length >= 2;
	case WIRE_KEEPALIVE:
	case WIRE_UNKNOWN:
		break;
	}
	return true;
}

static bool is_known(uint8_t id)
{
	return id <= WIRE_PORT ||
	       (id >= WIRE_SUGGEST && id <= WIRE_ALLOWED_FAST) ||
	       id == WIRE_EXTENDED;
}

/* The same for EXTENDED; LENGTH counts both ids. */
static bool is_ext_length_ok(uint8_t ext_id, uint32_t length)
{
	switch ((enum wire_ext)ext_id) {
	case WIRE_EXT_HANDSHAKE:
		return length <= 2 + LIMIT_EXT_HANDSHAKE_BYTES;
	case WIRE_EXT_METADATA:
		return length <= 2 + LIMIT_METADATA_MSG_BYTES;
	case WIRE_EXT_DONTHAVE:
		return length == 2 + 4;
	case WIRE_EXT_PEX:
		return length <= 2 + LIMIT_PEX_BYTES;
	}
	return true;
}

static bool is_ext_known(uint8_t ext_id)
{
	return ext_id <= WIRE_EXT_PEX;
}

static bool is_index_ok(const struct wire_in *w, uint32_t piece)
{
	return piece < (w->num_pieces ? w->num_pieces : LIMIT_PIECES);
}

static uint32_t piece_size(const struct wire_in *w, uint32_t piece)
{
	if (!w->piece_length)
		return LIMIT_PIECE_LENGTH;
	if (w->num_pieces && piece == w->num_pieces - 1)
		return (uint32_t)(w->total - (uint64_t)piece * w->piece_length);
	return w->piece_length;
}

static int check_index(const struct wire_in *w, uint32_t piece,
		       const char **why)
{
	return is_index_ok(w, piece) ? 0 : refuse(why, "piece index");
}

static int check_block(const struct wire_in *w, const struct wire_msg *m,
		       const char **why)
{
	uint32_t size;

	if (!is_index_ok(w, m->piece))
		return refuse(why, "piece index");
	if (!m->length || m->length > LIMIT_BLOCK_SERVE_BYTES)
		return refuse(why, "block length");
	size = piece_size(w, m->piece);
	if (m->begin > size || m->length > size - m->begin)
		return refuse(why, "block outside its piece");
	return 0;
}

/* --- incoming: taking frames apart --- */

/* A whole message of a known id: P is behind the id, LEN its payload. */
static int decode(const struct wire_in *w, uint8_t id, const uint8_t *p,
		  size_t len, struct wire_msg *m, const char **why)
{
	m->type = (enum wire_type)id;
	switch (m->type) {
	case WIRE_HAVE:
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		m->piece = load_be32(p);
		return check_index(w, m->piece, why);
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		m->piece = load_be32(p);
		m->begin = load_be32(p + 4);
		m->length = load_be32(p + 8);
		return check_block(w, m, why);
	case WIRE_PORT:
		m->port = load_be16(p);
		return 0;
	case WIRE_BITFIELD:
		m->payload = (struct span){ p, len };
		return 0;
	case WIRE_EXTENDED:
		m->ext_id = p[0];
		m->payload = (struct span){ p + 1, len - 1 };
		if (m->ext_id == WIRE_EXT_DONTHAVE)
			return check_index(w, load_be32(p + 1), why);
		return 0;
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
	case WIRE_PIECE:
	case WIRE_KEEPALIVE:
	case WIRE_UNKNOWN:
		break;
	}
	return 0;
}

/*
 * Judges the frame that begins at P, of which LEN bytes are here. Returns 1
 * with *msg, and in *need the bytes that it took: all of them for a small
 * message, the header for a PIECE, the ids for an unknown one. Returns 0 when
 * *need bytes are needed to go on, or -EPROTO. Takes the same time whatever
 * LEN is, so that a peer that sends byte by byte costs no more.
 */
static int judge(struct wire_in *w, const uint8_t *p, size_t len, size_t *need,
		 struct wire_msg *msg, const char **why)
{
	uint32_t length;
	uint8_t id;
	int r;

	*need = PREFIX_LEN;
	if (len < *need)
		return 0;
	length = load_be32(p);
	*msg = (struct wire_msg){ .type = WIRE_KEEPALIVE };
	if (!length)
		return 1;
	if (length > LIMIT_MESSAGE_BYTES)
		return refuse(why, "oversized message");

	*need = PREFIX_LEN + 1;
	if (len < *need)
		return 0;
	id = p[PREFIX_LEN];
	if (!is_length_ok(w, id, length))
		return refuse(why, "message length");
	msg->type = WIRE_UNKNOWN;
	if (!is_known(id)) {
		w->skip_left = length - 1;
		return 1;
	}

	if (id == WIRE_EXTENDED) {
		*need = PREFIX_LEN + 2;
		if (len < *need)
			return 0;
		if (!is_ext_length_ok(p[PREFIX_LEN + 1], length))
			return refuse(why, "extended message length");
		if (!is_ext_known(p[PREFIX_LEN + 1])) {
			w->skip_left = length - 2;
			return 1;
		}
	}

	*need = PREFIX_LEN + (id == WIRE_PIECE ? BLOCK_HEADER_LEN : length);
	if (len < *need)
		return 0;
	if (id != WIRE_PIECE) {
		r = decode(w, id, p + PREFIX_LEN + 1, length - 1, msg, why);
		return r ? r : 1;
	}
	msg->type = WIRE_PIECE;
	msg->piece = load_be32(p + 5);
	msg->begin = load_be32(p + 9);
	msg->length = length - BLOCK_HEADER_LEN;
	if (check_block(w, msg, why))
		return -EPROTO;
	w->piece = *msg;
	w->piece_left = msg->length;
	return 1;
}

static void advance(struct span *in, size_t n)
{
	in->ptr += n;
	in->len -= n;
}

/* Drops what is still to come of an unknown message. */
static void skip(struct wire_in *w, struct span *in)
{
	uint32_t n = w->skip_left;

	if (n > in->len)
		n = (uint32_t)in->len;
	w->skip_left -= n;
	advance(in, n);
}

/* The next part of the block being delivered. IN is not empty. */
static int next_part(struct wire_in *w, struct span *in, struct wire_msg *msg)
{
	uint32_t n = w->piece_left;

	if (n > in->len)
		n = (uint32_t)in->len;
	*msg = w->piece;
	msg->part_at = w->piece.length - w->piece_left;
	msg->payload = (struct span){ in->ptr, n };
	w->piece_left -= n;
	msg->is_last_part = !w->piece_left;
	advance(in, n);
	return 1;
}

/* Judges what is in the carry, feeding it no more than each step needs. */
static int judge_carry(struct wire_in *w, struct span *in, struct wire_msg *msg,
		       const char **why)
{
	size_t need, n;
	int r;

	for (;;) {
		r = judge(w, w->carry.ptr, w->carry.len, &need, msg, why);
		if (r)
			return r;
		n = need - w->carry.len;
		if (n > in->len)
			n = in->len;
		if (!n)
			return 0;
		buf_add(&w->carry, in->ptr, n);
		if (w->carry.is_broken) {
			*why = "out of memory";
			return -ENOMEM;
		}
		advance(in, n);
	}
}

/* One frame from *IN, through the carry only if it is cut. */
static int next_frame(struct wire_in *w, struct span *in, struct wire_msg *msg,
		      const char **why)
{
	size_t need;
	int r;

	if (!w->carry.len) {
		r = judge(w, in->ptr, in->len, &need, msg, why);
		if (r < 0)
			return r;
		if (r) {
			advance(in, need);
			return 1;
		}
	}
	r = judge_carry(w, in, msg, why);
	if (r > 0)
		w->is_spent = true;
	return r;
}

/* A carry that was large for once is given back. */
static void forget_carry(struct wire_in *w)
{
	if (w->carry.cap > LIMIT_BLOCK_BYTES)
		buf_release(&w->carry);
	else
		buf_clear(&w->carry);
	w->is_spent = false;
}

void wire_init(struct wire_in *w)
{
	memset(w, 0, sizeof(*w));
	buf_init(&w->carry, PREFIX_LEN + LIMIT_MESSAGE_BYTES);
}

void wire_release(struct wire_in *w)
{
	buf_release(&w->carry);
	wire_init(w);
}

int wire_next(struct wire_in *w, struct span *in, struct wire_msg *msg,
	      const char **why)
{
	int r;

	if (w->is_spent)
		forget_carry(w);
	while (in->len) {
		skip(w, in);
		if (!in->len)
			break;
		if (w->piece_left)
			return next_part(w, in, msg);
		r = next_frame(w, in, msg, why);
		if (r <= 0 || msg->type != WIRE_PIECE)
			return r;
		/* Only its header was taken so far. */
		if (w->is_spent)
			forget_carry(w);
	}
	return 0;
}

bool wire_is_mid_message(const struct wire_in *w)
{
	return w->piece_left || w->skip_left || (w->carry.len && !w->is_spent);
}

/* --- outgoing --- */

/* Prefix, id and up to three numbers; every fixed-size message is one. */
static void add_message(struct buf *b, enum wire_type type, unsigned n,
			uint32_t v0, uint32_t v1, uint32_t v2)
{
	uint8_t m[PREFIX_LEN + 1 + 3 * 4];

	store_be32(m, 1 + 4 * n);
	m[PREFIX_LEN] = (uint8_t)type;
	store_be32(m + 5, v0);
	store_be32(m + 9, v1);
	store_be32(m + 13, v2);
	buf_add(b, m, PREFIX_LEN + 1 + 4 * n);
}

void wire_add_keepalive(struct buf *b)
{
	static const uint8_t zero[PREFIX_LEN];

	buf_add(b, zero, sizeof(zero));
}

void wire_add_simple(struct buf *b, enum wire_type type)
{
	CHECK(type <= WIRE_NOT_INTERESTED || type == WIRE_HAVE_ALL ||
	      type == WIRE_HAVE_NONE);
	add_message(b, type, 0, 0, 0, 0);
}

void wire_add_have(struct buf *b, uint32_t piece)
{
	add_message(b, WIRE_HAVE, 1, piece, 0, 0);
}

void wire_add_bitfield(struct buf *b, const uint8_t *bits, size_t len)
{
	uint8_t m[PREFIX_LEN + 1];

	CHECK(len <= LIMIT_PIECES / 8);
	store_be32(m, (uint32_t)(1 + len));
	m[PREFIX_LEN] = WIRE_BITFIELD;
	buf_add(b, m, sizeof(m));
	buf_add(b, bits, len);
}

void wire_add_request(struct buf *b, enum wire_type type, uint32_t piece,
		      uint32_t begin, uint32_t length)
{
	CHECK(type == WIRE_REQUEST || type == WIRE_CANCEL ||
	      type == WIRE_REJECT);
	add_message(b, type, 3, piece, begin, length);
}

void wire_add_piece_header(struct buf *b, uint32_t piece, uint32_t begin,
			   uint32_t length)
{
	uint8_t m[PREFIX_LEN + BLOCK_HEADER_LEN];

	CHECK(length <= LIMIT_BLOCK_SERVE_BYTES);
	store_be32(m, BLOCK_HEADER_LEN + length);
	m[PREFIX_LEN] = WIRE_PIECE;
	store_be32(m + 5, piece);
	store_be32(m + 9, begin);
	buf_add(b, m, sizeof(m));
}

void wire_add_index(struct buf *b, enum wire_type type, uint32_t piece)
{
	CHECK(type == WIRE_SUGGEST || type == WIRE_ALLOWED_FAST);
	add_message(b, type, 1, piece, 0, 0);
}

void wire_add_port(struct buf *b, uint16_t port)
{
	uint8_t m[PREFIX_LEN + 3];

	store_be32(m, 3);
	m[PREFIX_LEN] = WIRE_PORT;
	store_be16(m + 5, port);
	buf_add(b, m, sizeof(m));
}
