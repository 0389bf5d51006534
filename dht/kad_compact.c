#include <string.h>

#include "dht/kad.h"

static size_t stride_of(int family)
{
	return KAD_ID_BYTES + (family == 6 ? 18 : 6);
}

static void read_one(const uint8_t *p, int family, struct kad_contact *out)
{
	memcpy(out->id.b, p, KAD_ID_BYTES);
	if (family == 6)
		addr_from_compact6(&out->addr, p + KAD_ID_BYTES);
	else
		addr_from_compact4(&out->addr, p + KAD_ID_BYTES);
}

void kad_msg_take(struct kad_msg *out, struct span s, int family)
{
	size_t stride = stride_of(family);

	for (size_t at = 0;
	     at + stride <= s.len && out->num_nodes < LIMIT_KAD_MSG_NODES;
	     at += stride) {
		struct kad_contact *c = &out->nodes[out->num_nodes];

		read_one(s.ptr + at, family, c);
		if (!addr_is_martian(&c->addr))
			out->num_nodes++;
	}
}

size_t kad_save(const struct kad *k, uint8_t out[KAD_SAVED_BYTES])
{
	struct kad_contact nodes[LIMIT_KAD_SAVED];
	unsigned n = kad_table_save(&k->table, nodes, LIMIT_KAD_SAVED);
	uint8_t *at = out;

	for (unsigned i = 0; i < n; i++) {
		memcpy(at, nodes[i].id.b, KAD_ID_BYTES);
		at += KAD_ID_BYTES;
		at += addr_to_compact(&nodes[i].addr, at);
	}
	return (size_t)(at - out);
}

void kad_load(struct kad *k, int64_t now_ms, struct span s)
{
	size_t stride = stride_of(k->o.family);

	for (size_t at = 0; at + stride <= s.len; at += stride) {
		struct kad_contact c;

		read_one(s.ptr + at, k->o.family, &c);
		kad_suggest(k, now_ms, &c);
	}
}
