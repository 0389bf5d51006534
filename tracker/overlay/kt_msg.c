#include "tracker/overlay/kt_msg.h"

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_id.h"

#define PAD_MAX 255

static bool is_key(struct span key, const char *name)
{
	size_t len = strlen(name);

	return key.len == len && !memcmp(key.ptr, name, len);
}

static const char *const METHODS[] = {
	[KT_PING] = "kt_ping",
	[KT_FIND] = "kt_find",
	[KT_OWN] = "kt_own",
};

static enum kt_method method_of(struct span s)
{
	for (unsigned i = 0; i < ARRAY_LEN(METHODS); i++) {
		if (is_key(s, METHODS[i]))
			return (enum kt_method)i;
	}
	return KT_UNKNOWN;
}

/* --- reading --- */

/* Where a string of "a" or "r" goes. LEN: 0 any, 26 and 38 a multiple, others
 * exactly. */
static const struct {
	const char *name;
	size_t offset, len;
} STRINGS[] = {
	{ "c", offsetof(struct kt_msg, challenge), KT_CHALLENGE_BYTES },
	{ "cert", offsetof(struct kt_msg, cert), KT_CERT_BYTES },
	{ "ep", offsetof(struct kt_msg, endpoint), 0 },
	{ "id", offsetof(struct kt_msg, id), KAD_ID_BYTES },
	{ "k", offsetof(struct kt_msg, pk), KT_PK_BYTES },
	{ "new", offsetof(struct kt_msg, fresh[0]), 1 },
	{ "new6", offsetof(struct kt_msg, fresh[1]), 1 },
	{ "nodes", offsetof(struct kt_msg, nodes), 26 },
	{ "nodes6", offsetof(struct kt_msg, nodes6), 38 },
	{ "own", offsetof(struct kt_msg, own), 26 },
	{ "own6", offsetof(struct kt_msg, own6), 38 },
	{ "sig", offsetof(struct kt_msg, sig), KT_SIG_BYTES },
	{ "target", offsetof(struct kt_msg, target), KAD_ID_BYTES },
	{ "token", offsetof(struct kt_msg, token), 0 },
};

static void take_string(struct kt_msg *m, struct span key, struct span s)
{
	for (size_t i = 0; i < ARRAY_LEN(STRINGS); i++) {
		size_t len = STRINGS[i].len;
		struct span *out;

		if (!is_key(key, STRINGS[i].name))
			continue;
		out = (struct span *)(void *)((char *)m + STRINGS[i].offset);
		if (out->ptr) /* the first one counts */
			return;
		if (len == 26 || len == 38)
			s.len -= s.len % len;
		else if (len && s.len != len)
			return;
		*out = s;
		return;
	}
}

static uint16_t port_of(int64_t v)
{
	return v > 0 && v <= UINT16_MAX ? (uint16_t)v : 0;
}

static void take_tracker(struct kt_msg *m, struct bnode dict)
{
	struct bwalk w = bwalk_of(dict);
	struct span key;
	struct bnode n;
	int64_t v;

	m->has_tr = true;
	while (bwalk_next(&w, &key, &n)) {
		if (!bnode_int(n, &v) || v < 0)
			continue;
		if (is_key(key, "h"))
			m->tr.http_port = port_of(v);
		else if (is_key(key, "s"))
			m->tr.https_port = port_of(v);
		else if (is_key(key, "u"))
			m->tr.udp_port = port_of(v);
		else if (is_key(key, "l"))
			m->tr.load = (uint8_t)(v < UINT8_MAX ? v : UINT8_MAX);
		else if (is_key(key, "t"))
			m->tr.uptime_s =
				(uint32_t)(v < UINT32_MAX ? v : UINT32_MAX);
	}
}

static void take_want(struct kt_msg *m, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct span key, s;
	struct bnode n;

	while (bwalk_next(&w, &key, &n)) {
		if (!bnode_str(n, &s))
			continue;
		m->want[0] |= is_key(s, "n4");
		m->want[1] |= is_key(s, "n6");
	}
}

static void take_body(struct kt_msg *m, struct bnode body)
{
	struct bwalk w = bwalk_of(body);
	struct span key, s;
	struct bnode n;

	while (bwalk_next(&w, &key, &n)) {
		if (bnode_str(n, &s))
			take_string(m, key, s);
		else if (is_key(key, "tr") && bnode_is_dict(n) && !m->has_tr)
			take_tracker(m, n);
		else if (is_key(key, "want") && bnode_is_list(n))
			take_want(m, n);
	}
	if (m->endpoint.len != 6 && m->endpoint.len != 18)
		m->endpoint = (struct span){ NULL, 0 };
}

static void take_error(struct kt_msg *m, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct span key;
	struct bnode n;

	if (bwalk_next(&w, &key, &n))
		(void)bnode_int(n, &m->code);
}

static bool take_top(struct kt_msg *m, struct bnode top)
{
	struct span y, q;
	struct bnode body;
	int64_t v;

	if (!bnode_get_str(top, "n", &m->realm) ||
	    m->realm.len != KT_REALM_BYTES || !bnode_get_str(top, "y", &y) ||
	    y.len != 1 || !bnode_get_str(top, "t", &m->tid) || !m->tid.len ||
	    m->tid.len > LIMIT_DHT_TID_BYTES)
		return false;
	m->kind = y.ptr[0];
	m->is_read_only = bnode_get_int(top, "ro", &v) && v == 1;
	(void)bnode_get_str(top, "ip", &m->ip);
	(void)bnode_get_str(top, "v", &m->version);
	if (m->kind == DHT_ERROR) {
		take_error(m, bnode_get_list(top, "e"));
		return true;
	}
	if (m->kind == DHT_QUERY) {
		if (!bnode_get_str(top, "q", &q))
			return false;
		m->method = method_of(q);
	} else if (m->kind != DHT_ANSWER) {
		return false;
	}
	body = bnode_get_dict(top, m->kind == DHT_QUERY ? "a" : "r");
	if (!body.ptr)
		return false;
	take_body(m, body);
	return true;
}

bool kt_msg_parse(const uint8_t *bytes, size_t len, struct kt_msg *out)
{
	static const struct bencode_limits limits = {
		.depth = LIMIT_DHT_DEPTH, .tokens = LIMIT_DHT_TOKENS
	};
	struct bnode top;
	size_t used;

	memset(out, 0, sizeof(*out));
	return len >= LIMIT_DHT_MESSAGE_MIN && len <= LIMIT_KT_MESSAGE_BYTES &&
	       !bencode_parse(bytes, len, &limits, &top, &used, NULL) &&
	       bnode_is_dict(top) && take_top(out, top);
}

bool kt_msg_is_of(const uint8_t *bytes, size_t len,
		  const uint8_t realm[KT_REALM_BYTES])
{
	uint8_t key[5 + KT_REALM_BYTES] = "1:n8:";

	memcpy(key + 5, realm, KT_REALM_BYTES);
	return memmem(bytes, len, key, sizeof(key)) != NULL;
}

/* --- writing --- */

static void put_span(struct wcursor *c, const char *key, struct span s)
{
	if (s.ptr)
		dht_key_str(c, key, s.ptr, s.len);
}

static void put_number(struct wcursor *c, const char *key, uint32_t v)
{
	if (!v)
		return;
	dht_put_key(c, key);
	dht_put_int(c, v);
}

static void put_tracker(struct wcursor *c, const struct kt_tracker *tr)
{
	if (!tr)
		return;
	dht_put_key(c, "tr");
	dht_put_raw(c, "d", 1);
	put_number(c, "h", tr->http_port);
	put_number(c, "l", tr->load);
	put_number(c, "s", tr->https_port);
	put_number(c, "t", tr->uptime_s);
	put_number(c, "u", tr->udp_port);
	dht_put_raw(c, "e", 1);
}

static void put_tail(struct wcursor *c, struct span tid, char kind)
{
	dht_key_str(c, "t", tid.ptr, tid.len);
	dht_key_str(c, "v", DHT_VERSION, 4);
	dht_key_str(c, "y", &kind, 1);
	dht_put_raw(c, "e", 1);
}

static size_t write_query(uint8_t *out, size_t size, const struct kt_query *q,
			  size_t pad)
{
	static const uint8_t zeros[PAD_MAX];
	struct wcursor c = wcursor_of(out, size);

	dht_put_raw(&c, "d1:ad", 5);
	put_span(&c, "c", q->challenge);
	put_span(&c, "ep", q->endpoint);
	put_span(&c, "id", q->id);
	put_span(&c, "target", q->target);
	put_span(&c, "token", q->token);
	put_tracker(&c, q->tr);
	if (q->want[0] || q->want[1]) {
		dht_put_key(&c, "want");
		dht_put_raw(&c, "l", 1);
		if (q->want[0])
			dht_put_str(&c, "n4", 2);
		if (q->want[1])
			dht_put_str(&c, "n6", 2);
		dht_put_raw(&c, "e", 1);
	}
	if (pad)
		dht_key_str(&c, "zpad", zeros, pad);
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "n", q->realm, KT_REALM_BYTES);
	dht_put_key(&c, "q");
	dht_put_key(&c, METHODS[q->method]);
	if (q->is_read_only)
		dht_put_raw(&c, "2:roi1e", 7);
	put_tail(&c, q->tid, DHT_QUERY);
	return c.is_bad ? 0 : wcursor_len(&c);
}

size_t kt_msg_write_query(uint8_t *out, size_t size, const struct kt_query *q)
{
	size_t len = write_query(out, size, q, 0), pad;

	if (!len || len >= q->pad_to)
		return len;
	pad = q->pad_to - len;
	return write_query(out, size, q, pad < PAD_MAX ? pad : PAD_MAX);
}

size_t kt_msg_write_answer(uint8_t *out, size_t size, const struct kt_answer *a)
{
	struct wcursor c = wcursor_of(out, size);
	uint8_t compact[18];

	dht_put_raw(&c, "d", 1);
	if (a->ip)
		dht_key_str(&c, "ip", compact, addr_to_compact(a->ip, compact));
	dht_key_str(&c, "n", a->realm, KT_REALM_BYTES);
	dht_put_raw(&c, "1:rd", 4);
	put_span(&c, "cert", a->cert);
	put_span(&c, "id", a->id);
	put_span(&c, "k", a->pk);
	if (a->fresh[0])
		dht_key_str(&c, "new", &a->fresh[0], 1);
	if (a->fresh[1])
		dht_key_str(&c, "new6", &a->fresh[1], 1);
	if (a->has_nodes[0])
		dht_key_str(&c, "nodes", a->nodes.ptr, a->nodes.len);
	if (a->has_nodes[1])
		dht_key_str(&c, "nodes6", a->nodes6.ptr, a->nodes6.len);
	put_span(&c, "own", a->own);
	put_span(&c, "own6", a->own6);
	put_span(&c, "sig", a->sig);
	put_span(&c, "token", a->token);
	put_tracker(&c, a->tr);
	dht_put_raw(&c, "e", 1);
	put_tail(&c, a->tid, DHT_ANSWER);
	return c.is_bad ? 0 : wcursor_len(&c);
}

size_t kt_msg_write_error(uint8_t *out, size_t size, const uint8_t *realm,
			  struct span tid, enum dht_code code, const char *text)
{
	struct wcursor c = wcursor_of(out, size);

	dht_put_raw(&c, "d1:el", 5);
	dht_put_int(&c, code);
	dht_put_key(&c, text);
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "n", realm, KT_REALM_BYTES);
	put_tail(&c, tid, DHT_ERROR);
	return c.is_bad ? 0 : wcursor_len(&c);
}
