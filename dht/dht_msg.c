#include "dht/dht_msg.h"

#include <stddef.h>
#include <stdio.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

static bool is_key(struct span key, const char *name, size_t len)
{
	return key.len == len && !memcmp(key.ptr, name, len);
}
#define IS(key, name) is_key(key, name, sizeof(name) - 1)

static enum dht_method method_of(struct span s)
{
	static const struct {
		const char *name;
		enum dht_method method;
	} names[] = {
		{ "ping", DHT_PING },
		{ "find_node", DHT_FIND_NODE },
		{ "get_peers", DHT_GET_PEERS },
		{ "announce_peer", DHT_ANNOUNCE_PEER },
		{ "get", DHT_GET },
		{ "put", DHT_PUT },
		{ "sample_infohashes", DHT_SAMPLE },
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (is_key(s, names[i].name, strlen(names[i].name)))
			return names[i].method;
	}
	return DHT_UNKNOWN;
}

/* Where a key of "a" or "r" goes. LEN: 0 any, 20 exactly, 26 and 38 a
 * multiple. */
static const struct {
	const char *name;
	size_t offset, len;
} STRINGS[] = {
	{ "id", offsetof(struct dht_msg, id), 20 },
	{ "target", offsetof(struct dht_msg, target), 20 },
	{ "info_hash", offsetof(struct dht_msg, info_hash), 20 },
	{ "token", offsetof(struct dht_msg, token), 0 },
	{ "nodes", offsetof(struct dht_msg, nodes), 26 },
	{ "nodes6", offsetof(struct dht_msg, nodes6), 38 },
	{ "samples", offsetof(struct dht_msg, samples), 0 },
	{ "k", offsetof(struct dht_msg, k), 32 },
	{ "sig", offsetof(struct dht_msg, sig), 64 },
	{ "salt", offsetof(struct dht_msg, salt), 0 },
	{ "BFsd", offsetof(struct dht_msg, bf_seeds), 256 },
	{ "BFpe", offsetof(struct dht_msg, bf_peers), 256 },
	/* As some write it, after a slip in an example of BEP 44. */
	{ "target:", offsetof(struct dht_msg, target), 20 },
};

static const struct {
	const char *name;
	size_t offset;
} INTS[] = {
	{ "port", offsetof(struct dht_msg, port) },
	{ "implied_port", offsetof(struct dht_msg, implied_port) },
	{ "seed", offsetof(struct dht_msg, seed) },
	{ "scrape", offsetof(struct dht_msg, scrape) },
	{ "noseed", offsetof(struct dht_msg, noseed) },
	{ "seq", offsetof(struct dht_msg, seq) },
	{ "cas", offsetof(struct dht_msg, cas) },
	{ "interval", offsetof(struct dht_msg, interval) },
	{ "num", offsetof(struct dht_msg, num) },
};

static void take_string(struct dht_msg *m, struct span key, struct span s)
{
	for (size_t i = 0; i < ARRAY_LEN(STRINGS); i++) {
		size_t len = STRINGS[i].len;
		struct span *out;

		if (!is_key(key, STRINGS[i].name, strlen(STRINGS[i].name)))
			continue;
		out = (struct span *)(void *)((char *)m + STRINGS[i].offset);
		if (out->ptr) /* the first one counts */
			return;
		if (len == 26 || len == 38)
			s.len -= s.len % len;
		else if (len && s.len != len) {
			m->is_odd |= len == 20;
			return;
		}
		*out = s;
		return;
	}
}

static void take_int(struct dht_msg *m, struct span key, int64_t v)
{
	for (size_t i = 0; i < ARRAY_LEN(INTS); i++) {
		if (!is_key(key, INTS[i].name, strlen(INTS[i].name)))
			continue;
		memcpy((char *)m + INTS[i].offset, &v, sizeof(v));
		m->has_port |= IS(key, "port");
		m->has_seq |= IS(key, "seq");
		m->has_cas |= IS(key, "cas");
		return;
	}
}

static void take_want(struct dht_msg *m, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct span key, s;
	struct bnode n;

	m->has_want = true;
	while (bwalk_next(&w, &key, &n)) {
		if (!bnode_str(n, &s))
			continue;
		m->want4 |= IS(s, "n4");
		m->want6 |= IS(s, "n6");
	}
}

static void take_body(struct dht_msg *m, struct bnode body)
{
	struct bwalk w = bwalk_of(body);
	struct span key, s;
	struct bnode n;
	int64_t v;

	while (bwalk_next(&w, &key, &n)) {
		if (IS(key, "v"))
			m->v = bnode_raw(n);
		else if (bnode_str(n, &s))
			take_string(m, key, s);
		else if (bnode_int(n, &v))
			take_int(m, key, v);
		else if (IS(key, "want") && bnode_is_list(n))
			take_want(m, n);
		else if (IS(key, "values") && bnode_is_list(n))
			m->values = n;
	}
}

static void take_error(struct dht_msg *m, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct span key;
	struct bnode n;

	if (bwalk_next(&w, &key, &n))
		(void)bnode_int(n, &m->code);
}

/* The top level. False: not a dict of the kind we know. */
static bool take_top(struct dht_msg *m, struct bnode top)
{
	struct bwalk w = bwalk_of(top);
	struct bnode n, a = { 0 }, r = { 0 }, e = { 0 };
	struct span key, s, y = { 0 }, q = { 0 };
	int64_t v;

	while (bwalk_next(&w, &key, &n)) {
		if (IS(key, "a") && bnode_is_dict(n))
			a = n;
		else if (IS(key, "r") && bnode_is_dict(n))
			r = n;
		else if (IS(key, "e") && bnode_is_list(n))
			e = n;
		else if (IS(key, "ro") && bnode_int(n, &v))
			m->is_read_only = v == 1;
		else if (!bnode_str(n, &s))
			continue;
		else if (IS(key, "y"))
			y = s;
		else if (IS(key, "q"))
			q = s;
		else if (IS(key, "t"))
			m->tid = s;
		else if (IS(key, "v"))
			m->version = s;
		else if (IS(key, "ip"))
			m->ip = s;
	}
	if (y.len != 1 || !m->tid.len || m->tid.len > LIMIT_DHT_TID_BYTES)
		return false;
	m->kind = y.ptr[0];
	m->method = method_of(q);
	if (m->kind == DHT_QUERY && q.ptr)
		take_body(m, a);
	else if (m->kind == DHT_ANSWER && r.ptr)
		take_body(m, r);
	else if (m->kind == DHT_ERROR)
		take_error(m, e);
	else
		return false;
	return true;
}

bool dht_msg_parse(const uint8_t *bytes, size_t len, struct dht_msg *out)
{
	static const struct bencode_limits limits = {
		.depth = LIMIT_DHT_DEPTH, .tokens = LIMIT_DHT_TOKENS
	};
	struct bnode top;
	size_t used;

	memset(out, 0, sizeof(*out));
	out->interval = out->num = -1;
	if (len < LIMIT_DHT_MESSAGE_MIN || len > LIMIT_DHT_MESSAGE_BYTES ||
	    bencode_parse(bytes, len, &limits, &top, &used, NULL) ||
	    !bnode_is_dict(top))
		return false;
	return take_top(out, top);
}

/* --- writing --- */

static size_t digits(uint8_t out[20], uint64_t v)
{
	uint8_t rev[20];
	size_t n = 0;

	do
		rev[n++] = (uint8_t)('0' + v % 10);
	while (v /= 10);
	for (size_t i = 0; i < n; i++)
		out[i] = rev[n - 1 - i];
	return n;
}

void dht_put_raw(struct wcursor *c, const void *s, size_t len)
{
	wcursor_copy(c, s, len);
}

void dht_put_str(struct wcursor *c, const void *s, size_t len)
{
	uint8_t head[21];
	size_t n = digits(head, len);

	head[n++] = ':';
	wcursor_copy(c, head, n);
	wcursor_copy(c, s, len);
}

void dht_put_key(struct wcursor *c, const char *key)
{
	dht_put_str(c, key, strlen(key));
}

void dht_put_int(struct wcursor *c, int64_t v)
{
	uint8_t text[20];
	size_t n = digits(text, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);

	wcursor_u8(c, 'i');
	if (v < 0)
		wcursor_u8(c, '-');
	wcursor_copy(c, text, n);
	wcursor_u8(c, 'e');
}

size_t dht_write_error(uint8_t *out, size_t size, struct span tid,
		       enum dht_code code, const char *text)
{
	struct wcursor c = wcursor_of(out, size);

	wcursor_copy(&c, "d1:el", 5);
	dht_put_int(&c, code);
	dht_put_key(&c, text);
	wcursor_copy(&c, "e1:t", 4);
	dht_put_str(&c, tid.ptr, tid.len);
	dht_key_str(&c, "v", DHT_VERSION, 4);
	wcursor_copy(&c, "1:y1:ee", 7);
	return c.is_bad ? 0 : wcursor_len(&c);
}
