/* Goal: a stream of peer messages reads the same however it is cut, keeps
 * inside the torrent and the limits, and written again is the same bytes.
 *
 * Input: one byte of geometry, one of how many cuts, the cuts, the stream. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/wire.h"

struct reading {
	struct wire_in wire;
	struct buf log;   /* every message, blocks whole */
	struct buf again; /* every message, written again */
	uint32_t block_left;
	bool has_unknown; /* those cannot be written again */
	int result;
};

static void start(struct reading *r, uint8_t geometry)
{
	memset(r, 0, sizeof(*r));
	wire_init(&r->wire);
	buf_init(&r->log, 0);
	buf_init(&r->again, 0);
	if (!(geometry & 1))
		return; /* a magnet: nothing is known */
	r->wire.num_pieces = 1 + (geometry >> 2);
	r->wire.piece_length = geometry & 2 ? 16384 : 1u << 20;
	r->wire.total =
		(uint64_t)r->wire.num_pieces * r->wire.piece_length - 1000;
}

static void check_inside(const struct wire_in *w, const struct wire_msg *m)
{
	uint64_t end = (uint64_t)m->begin + m->length;

	CHECK(m->length <= LIMIT_BLOCK_SERVE_BYTES);
	CHECK(m->payload.len <= LIMIT_MESSAGE_BYTES);
	if (!w->num_pieces) {
		CHECK(m->piece < LIMIT_PIECES && end <= LIMIT_PIECE_LENGTH);
		return;
	}
	CHECK(m->piece < w->num_pieces && end <= w->piece_length);
	CHECK((uint64_t)m->piece * w->piece_length + end <= w->total);
}

static void write_again(struct reading *r, const struct wire_msg *m)
{
	uint8_t head[6] = { [4] = WIRE_EXTENDED, [5] = m->ext_id };

	switch (m->type) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		wire_add_simple(&r->again, m->type);
		break;
	case WIRE_HAVE:
		wire_add_have(&r->again, m->piece);
		break;
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		wire_add_index(&r->again, m->type, m->piece);
		break;
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		wire_add_request(&r->again, m->type, m->piece, m->begin,
				 m->length);
		break;
	case WIRE_PORT:
		wire_add_port(&r->again, m->port);
		break;
	case WIRE_BITFIELD:
		wire_add_bitfield(&r->again, m->payload.ptr, m->payload.len);
		break;
	case WIRE_PIECE:
		if (!m->part_at)
			wire_add_piece_header(&r->again, m->piece, m->begin,
					      m->length);
		buf_add(&r->again, m->payload.ptr, m->payload.len);
		break;
	case WIRE_EXTENDED:
		store_be32(head, (uint32_t)(2 + m->payload.len));
		buf_add(&r->again, head, sizeof(head));
		buf_add(&r->again, m->payload.ptr, m->payload.len);
		break;
	case WIRE_KEEPALIVE:
		wire_add_keepalive(&r->again);
		break;
	case WIRE_UNKNOWN:
		r->has_unknown = true;
		break;
	}
}

static void note(struct reading *r, const struct wire_msg *m)
{
	if (m->type == WIRE_PIECE) {
		CHECK(m->payload.len);
		CHECK(m->part_at ==
		      (m->part_at ? m->length - r->block_left : 0));
		r->block_left =
			m->length - m->part_at - (uint32_t)m->payload.len;
		CHECK(m->is_last_part == !r->block_left);
	}
	if (!m->part_at)
		buf_printf(&r->log, "\n%d %u %u %u %u %u ", m->type, m->piece,
			   m->begin, m->length, m->port, m->ext_id);
	buf_add(&r->log, m->payload.ptr, m->payload.len);
}

/* One run of the stream, in memory of its own size. */
static void feed(struct reading *r, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = mem_dup(bytes, len);
	struct span in = { copy, len };
	struct wire_msg m;
	const char *why = NULL;

	while ((r->result = wire_next(&r->wire, &in, &m, &why)) == 1) {
		check_inside(&r->wire, &m);
		write_again(r, &m);
		note(r, &m);
	}
	CHECK(r->result == 0 || r->result == -EPROTO);
	CHECK(r->result || !in.len);
	if (r->result)
		buf_add_str(&r->log, why);
	CHECK(r->wire.carry.len <= 4 + LIMIT_MESSAGE_BYTES);
	free(copy);
}

static void finish(struct reading *r)
{
	wire_release(&r->wire);
	buf_release(&r->log);
	buf_release(&r->again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading whole, cut;
	const uint8_t *cuts;
	size_t num_cuts, at = 0, n;

	if (size < 2)
		return 0;
	num_cuts = data[1] % 16;
	if (size < 2 + num_cuts)
		return 0;
	cuts = data + 2;
	start(&whole, data[0]);
	start(&cut, data[0]);
	data += 2 + num_cuts;
	size -= 2 + num_cuts;

	feed(&whole, data, size);
	for (size_t i = 0; at < size && !cut.result; i++, at += n) {
		n = num_cuts ? 1 + cuts[i % num_cuts] : 1;
		n = n < size - at ? n : size - at;
		feed(&cut, data + at, n);
	}
	CHECK(cut.result == whole.result);
	CHECK(cut.log.len == whole.log.len);
	CHECK(!whole.log.len ||
	      !memcmp(cut.log.ptr, whole.log.ptr, whole.log.len));
	if (!whole.result) {
		CHECK(wire_is_mid_message(&cut.wire) ==
		      wire_is_mid_message(&whole.wire));
		CHECK(whole.again.len <= size);
		CHECK(whole.has_unknown || wire_is_mid_message(&whole.wire) ||
		      whole.again.len == size);
	}
	if (!whole.has_unknown && whole.again.len)
		CHECK(!memcmp(whole.again.ptr, data, whole.again.len));
	finish(&whole);
	finish(&cut);
	return 0;
}
