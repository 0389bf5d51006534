/* Goal: no payload of an extended message hurts, what is read keeps inside the
 * limits, and written again it is read the same.
 *
 * Input: one byte that chooses the message, its payload. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/wire.h"

/* What a whole EXTENDED message carries, checked to be one. */
static struct span payload_of(const struct buf *b, uint8_t ext_id)
{
	CHECK(b->len >= 6 && load_be32(b->ptr) == b->len - 4);
	CHECK(b->ptr[4] == WIRE_EXTENDED && b->ptr[5] == ext_id);
	return (struct span){ b->ptr + 6, b->len - 6 };
}

static void check_handshake(struct span payload)
{
	struct wire_ext_handshake h, again;
	struct buf b;

	if (wire_read_ext_handshake(payload, &h))
		return;
	CHECK(h.metadata_size <= LIMIT_METADATA_BYTES);
	CHECK(strlen(h.client) <= LIMIT_CLIENT_NAME_BYTES);
	CHECK(!h.yourip.port && (h.yourip.family == 0 || h.yourip.family == 4 ||
				 h.yourip.family == 6));
	for (const char *s = h.client; *s; s++)
		CHECK((uint8_t)*s >= ' ' && *s != 0x7f && *s != '"');

	/* What was escaped once is escaped again: that one field differs. */
	if (strchr(h.client, '\\'))
		h.client[0] = '\0';
	buf_init(&b, 0);
	wire_add_ext_handshake(&b, &h);
	CHECK(!wire_read_ext_handshake(payload_of(&b, WIRE_EXT_HANDSHAKE),
				       &again));
	CHECK(again.says_metadata == h.says_metadata &&
	      again.id_metadata == h.id_metadata);
	CHECK(again.says_donthave == h.says_donthave &&
	      again.id_donthave == h.id_donthave);
	CHECK(again.says_pex == h.says_pex && again.id_pex == h.id_pex);
	CHECK(again.metadata_size == h.metadata_size && again.reqq == h.reqq &&
	      again.port == h.port);
	CHECK(again.upload_only == h.upload_only &&
	      again.has_upload_only == h.has_upload_only);
	CHECK(!strcmp(again.client, h.client));
	CHECK(addr_eq(&again.yourip, &h.yourip));
	buf_release(&b);
}

static void check_metadata(struct span payload)
{
	struct wire_metadata m, again;
	struct buf b;
	int r;

	r = wire_read_metadata(payload, &m);
	CHECK(r == 0 || r == -EPROTO || r == -EOPNOTSUPP);
	if (r)
		return;
	CHECK(m.part < LIMIT_METADATA_BYTES / LIMIT_BLOCK_BYTES);
	CHECK(m.total_size <= LIMIT_METADATA_BYTES);
	CHECK(m.data.len <= LIMIT_BLOCK_BYTES);
	buf_init(&b, 0);
	wire_add_metadata(&b, 200, &m);
	CHECK(!wire_read_metadata(payload_of(&b, 200), &again));
	CHECK(again.type == m.type && again.part == m.part &&
	      again.total_size == m.total_size && again.data.len == m.data.len);
	CHECK(!m.data.len || !memcmp(again.data.ptr, m.data.ptr, m.data.len));
	buf_release(&b);
}

static void check_donthave(struct span payload)
{
	uint32_t piece;
	struct buf b;

	if (wire_read_donthave(payload, &piece))
		return;
	buf_init(&b, 0);
	wire_add_donthave(&b, 7, piece);
	CHECK(payload_of(&b, 7).len == payload.len);
	CHECK(!memcmp(payload_of(&b, 7).ptr, payload.ptr, payload.len));
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span payload;

	if (!size)
		return 0;
	payload = (struct span){ data + 1, size - 1 };
	switch (data[0] % 3) {
	case WIRE_EXT_HANDSHAKE:
		check_handshake(payload);
		break;
	case WIRE_EXT_METADATA:
		check_metadata(payload);
		break;
	case WIRE_EXT_DONTHAVE:
		check_donthave(payload);
		break;
	}
	return 0;
}
