/* What travels inside EXTENDED messages: the handshake of BEP 10 with the keys
 * of BEP 9, 11, 21 and 54, ut_metadata, and lt_donthave.
 *
 * A peer that sends no bencoding is refused. One whose numbers make no sense
 * (a port of 70000, a reqq of -1) is treated as if it had not sent them: real
 * clients do that, and nothing depends on it. */
#include "engine/wire.h"

#include <errno.h>

#include "engine/base/bencode.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"

/* A handshake nests "m" and nothing else; extensions we do not know may put a
 * little more there. */
static const struct bencode_limits payload_limits = {
	.depth = 10,
	.tokens = LIMIT_WIRE_BENCODE_TOKENS,
};

static int parse_dict(struct span payload, struct bnode *out, size_t *out_len)
{
	if (bencode_parse(payload.ptr, payload.len, &payload_limits, out,
			  out_len, NULL) ||
	    !bnode_is_dict(*out))
		return -EPROTO;
	return 0;
}

/* Opens an EXTENDED message; returns where it starts. */
static size_t begin_extended(struct buf *b, uint8_t ext_id)
{
	static const uint8_t prefix[4];
	const uint8_t ids[2] = { WIRE_EXTENDED, ext_id };
	size_t start = b->len;

	buf_add(b, prefix, sizeof(prefix));
	buf_add(b, ids, sizeof(ids));
	return start;
}

/* Closes it: the length is known now. */
static void end_extended(struct buf *b, size_t start)
{
	if (!b->is_broken)
		store_be32(b->ptr + start, (uint32_t)(b->len - start - 4));
}

static void add_key_int(struct buf *b, const char *key, int64_t value)
{
	benc_cstr(b, key);
	benc_int(b, value);
}

/* --- the handshake, BEP 10 --- */

void wire_add_ext_handshake(struct buf *b, const struct wire_ext_handshake *h)
{
	size_t start = begin_extended(b, WIRE_EXT_HANDSHAKE);

	benc_dict(b);
	benc_cstr(b, "m");
	benc_dict(b);
	if (h->says_donthave)
		add_key_int(b, "lt_donthave", h->id_donthave);
	if (h->says_metadata)
		add_key_int(b, "ut_metadata", h->id_metadata);
	if (h->says_pex)
		add_key_int(b, "ut_pex", h->id_pex);
	benc_end(b);
	if (h->metadata_size)
		add_key_int(b, "metadata_size", h->metadata_size);
	if (h->port)
		add_key_int(b, "p", h->port);
	if (h->reqq)
		add_key_int(b, "reqq", h->reqq);
	if (h->has_upload_only)
		add_key_int(b, "upload_only", h->upload_only);
	if (h->client[0]) {
		benc_cstr(b, "v");
		benc_cstr(b, h->client);
	}
	if (h->yourip.family) {
		benc_cstr(b, "yourip");
		benc_str(b, h->yourip.ip, h->yourip.family == 4 ? 4 : 16);
	}
	benc_end(b);
	end_extended(b, start);
}

/* The number under KEY if it lies in [1, MAX], else 0. */
static uint32_t get_number(struct bnode dict, const char *key, uint32_t max)
{
	int64_t v;

	if (!bnode_get_int(dict, key, &v) || v < 1 || v > max)
		return 0;
	return (uint32_t)v;
}

/* An id of BEP 10: 0 takes the extension back. */
static void get_ext_id(struct bnode m, const char *key, bool *says, uint8_t *id)
{
	int64_t v;

	*says = bnode_get_int(m, key, &v) && v >= 0 && v <= UINT8_MAX;
	*id = *says ? (uint8_t)v : 0;
}

static void get_client(struct bnode dict, char out[65])
{
	struct span v = { NULL, 0 };

	out[0] = '\0';
	if (bnode_get_str(dict, "v", &v))
		log_vis(v.ptr, v.len, out, LIMIT_CLIENT_NAME_BYTES + 1);
}

static void get_yourip(struct bnode dict, struct addr *out)
{
	struct span ip;
	uint8_t compact[18] = { 0 };

	*out = (struct addr){ 0 };
	if (!bnode_get_str(dict, "yourip", &ip))
		return;
	if (ip.len == 4) {
		memcpy(compact, ip.ptr, 4);
		addr_from_compact4(out, compact);
	} else if (ip.len == 16) {
		memcpy(compact, ip.ptr, 16);
		addr_from_compact6(out, compact);
	}
}

int wire_read_ext_handshake(struct span payload, struct wire_ext_handshake *out)
{
	struct bnode dict, m;
	int64_t v;
	size_t len;

	memset(out, 0, sizeof(*out));
	if (parse_dict(payload, &dict, &len))
		return -EPROTO;
	m = bnode_get_dict(dict, "m");
	get_ext_id(m, "ut_metadata", &out->says_metadata, &out->id_metadata);
	get_ext_id(m, "lt_donthave", &out->says_donthave, &out->id_donthave);
	get_ext_id(m, "ut_pex", &out->says_pex, &out->id_pex);
	out->metadata_size =
		get_number(dict, "metadata_size", LIMIT_METADATA_BYTES);
	out->reqq = get_number(dict, "reqq", INT32_MAX);
	out->port = (uint16_t)get_number(dict, "p", UINT16_MAX);
	out->has_upload_only = bnode_get_int(dict, "upload_only", &v);
	out->upload_only = out->has_upload_only && v;
	get_client(dict, out->client);
	get_yourip(dict, &out->yourip);
	return 0;
}

/* --- ut_metadata, BEP 9 --- */

void wire_add_metadata(struct buf *b, uint8_t ext_id,
		       const struct wire_metadata *m)
{
	size_t start = begin_extended(b, ext_id);

	benc_dict(b);
	add_key_int(b, "msg_type", m->type);
	add_key_int(b, "piece", m->part);
	if (m->type == WIRE_METADATA_DATA)
		add_key_int(b, "total_size", m->total_size);
	benc_end(b);
	if (m->type == WIRE_METADATA_DATA)
		buf_add(b, m->data.ptr, m->data.len);
	end_extended(b, start);
}

int wire_read_metadata(struct span payload, struct wire_metadata *out)
{
	struct bnode dict;
	int64_t type, part;
	size_t len;

	memset(out, 0, sizeof(*out));
	if (parse_dict(payload, &dict, &len) ||
	    !bnode_get_int(dict, "msg_type", &type))
		return -EPROTO;
	if (type < WIRE_METADATA_REQUEST || type > WIRE_METADATA_REJECT)
		return -EOPNOTSUPP;
	if (!bnode_get_int(dict, "piece", &part) || part < 0 ||
	    part >= LIMIT_METADATA_BYTES / LIMIT_BLOCK_BYTES)
		return -EPROTO;
	out->type = (enum wire_metadata_type)type;
	out->part = (uint32_t)part;
	if (out->type != WIRE_METADATA_DATA)
		return 0;
	out->total_size = get_number(dict, "total_size", LIMIT_METADATA_BYTES);
	out->data = (struct span){ payload.ptr + len, payload.len - len };
	if (!out->total_size || !out->data.len ||
	    out->data.len > LIMIT_BLOCK_BYTES)
		return -EPROTO;
	return 0;
}

/* --- lt_donthave, BEP 54 --- */

void wire_add_donthave(struct buf *b, uint8_t ext_id, uint32_t piece)
{
	size_t start = begin_extended(b, ext_id);
	uint8_t index[4];

	store_be32(index, piece);
	buf_add(b, index, sizeof(index));
	end_extended(b, start);
}

int wire_read_donthave(struct span payload, uint32_t *piece)
{
	if (payload.len != 4)
		return -EPROTO;
	*piece = load_be32(payload.ptr);
	return 0;
}
