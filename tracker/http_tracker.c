#include "tracker/http_tracker.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "engine/base/bencode.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

static const struct bencode_limits limits = { LIMIT_TRACKER_DEPTH,
					      LIMIT_TRACKER_TOKENS };

/* --- asking --- */

/* RFC 3986 "unreserved" stays, the rest becomes %xx. */
static void add_escaped(struct buf *b, const uint8_t *p, size_t len)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789-_.~";

	for (size_t i = 0; i < len; i++) {
		if (p[i] && strchr(plain, p[i]))
			buf_add(b, &p[i], 1);
		else
			buf_printf(b, "%%%02x", p[i]);
	}
}

static bool is_ours(const char *key, size_t len)
{
	static const char *const ours[] = {
		"info_hash",  "peer_id", "port",    "uploaded",
		"downloaded", "left",    "event",   "ip",
		"ipv4",       "ipv6",    "numwant", "trackerid",
	};

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (strlen(ours[i]) == len && !strncasecmp(ours[i], key, len))
			return true;
	}
	return false;
}

/* QUERY: what follows '?'; ends at NUL or '#'. Servers disagree about what
 * parts it; whatever any of them might take for a key counts. */
static bool query_has_ours(const char *query)
{
	const char *end = query + strcspn(query, "#");

	while (query < end) {
		if (is_ours(query, strcspn(query, "=&;?#")))
			return true;
		query += strcspn(query, "&;?#");
		if (query < end)
			query++;
	}
	return false;
}

static const char *event_name(const struct announce_request *q)
{
	switch (q->event) {
	case ANNOUNCE_STARTED:
		return "started";
	case ANNOUNCE_COMPLETED:
		return "completed";
	case ANNOUNCE_STOPPED:
		return "stopped";
	case ANNOUNCE_NONE:
		break;
	}
	return q->is_partial_seed ? "paused" : NULL;
}

static void add_ip(struct buf *b, const char *key, const struct addr *a)
{
	char s[ADDR_STR_MAX];

	if (!a->family)
		return;
	buf_printf(b, "&%s=", key);
	addr_ip_str(a, s);
	add_escaped(b, (const uint8_t *)s, strlen(s));
}

int http_tracker_url(const char *url, const struct announce_request *q,
		     int family, const uint8_t *id, size_t id_len,
		     struct buf *out)
{
	const char *query = strchr(url, '?');
	size_t len = strcspn(url, "#"); /* a fragment is not sent */
	uint64_t left = q->left == UINT64_MAX ? ANNOUNCE_LEFT_UNKNOWN : q->left;

	if (query && query >= url + len)
		query = NULL;
	if (query && query_has_ours(query + 1))
		return -EINVAL;
	buf_add(out, url, len);
	if (!query)
		buf_add_str(out, "?");
	else if (query + 1 < url + len && url[len - 1] != '&')
		buf_add_str(out, "&");
	buf_add_str(out, "info_hash=");
	add_escaped(out, q->infohash.b, sizeof(q->infohash.b));
	buf_add_str(out, "&peer_id=");
	add_escaped(out, q->peerid.b, sizeof(q->peerid.b));
	buf_printf(out,
		   "&port=%u&uploaded=%" PRIu64 "&downloaded=%" PRIu64
		   "&left=%" PRIu64 "&compact=1&no_peer_id=1&numwant=%u"
		   "&key=%08" PRIx32,
		   q->port, q->uploaded, q->downloaded, left, q->num_want,
		   q->key);
	if (event_name(q))
		buf_printf(out, "&event=%s", event_name(q));
	add_ip(out, "ip", family == 6 ? &q->ip6 : &q->ip4);
	if (family == 6)
		add_ip(out, "ipv4", &q->ip4);
	else
		add_ip(out, "ipv6", &q->ip6);
	if (id_len) {
		buf_add_str(out, "&trackerid=");
		add_escaped(out, id, id_len);
	}
	buf_add(out, "", 1);
	return out->is_broken || out->len > LIMIT_HTTP_URL_BYTES ? -E2BIG : 0;
}

/* --- hearing --- */

static void add_compact(struct announce_answer *a, struct span s, size_t each)
{
	for (size_t at = 0; at + each <= s.len; at += each) {
		struct addr peer;

		if (each == 6)
			addr_from_compact4(&peer, s.ptr + at);
		else
			addr_from_compact6(&peer, s.ptr + at);
		announce_answer_add_peer(a, &peer);
	}
}

/* The form of BEP 3. Names are not looked up: a tracker could send us to ask
 * any name server for anything, once per peer. */
static void add_dicts(struct announce_answer *a, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct bnode peer;
	struct span key;

	while (bwalk_next(&w, &key, &peer)) {
		char text[ADDR_STR_MAX];
		struct addr addr;
		struct span ip;
		int64_t port;

		if (!bnode_get_str(peer, "ip", &ip) ||
		    !bnode_get_int(peer, "port", &port) ||
		    ip.len >= sizeof(text) || port < 1 || port > UINT16_MAX)
			continue;
		memcpy(text, ip.ptr, ip.len);
		text[ip.len] = '\0';
		if (strlen(text) != ip.len || addr_parse(text, 0, &addr))
			continue;
		addr.port = (uint16_t)port;
		announce_answer_add_peer(a, &addr);
	}
}

static bool add_peers(struct announce_answer *a, struct bnode top,
		      const char *key, size_t each)
{
	struct bnode peers = bnode_get(top, key);
	struct span s;

	if (bnode_str(peers, &s))
		add_compact(a, s, each);
	else if (bnode_is_list(peers))
		add_dicts(a, peers);
	else
		return false;
	return true;
}

static int64_t positive(struct bnode top, const char *key, int64_t otherwise)
{
	int64_t v;

	return bnode_get_int(top, key, &v) && v >= 0 ? v : otherwise;
}

/* BEP 31: minutes as an integer, or "never". Its own example has the integer
 * as a string. */
static int64_t retry_of(struct bnode top)
{
	int64_t minutes = 0;
	struct span s;

	if (bnode_get_str(top, "retry in", &s)) {
		if (s.len == 5 && !memcmp(s.ptr, "never", 5))
			return -1;
		for (size_t i = 0; i < s.len && i < 6; i++) {
			if (s.ptr[i] < '0' || s.ptr[i] > '9')
				return 0;
			minutes = minutes * 10 + (s.ptr[i] - '0');
		}
	} else {
		minutes = positive(top, "retry in", 0);
	}
	return minutes > LIMIT_TRACKER_INTERVAL_S / 60
		       ? LIMIT_TRACKER_INTERVAL_S
		       : minutes * 60;
}

static void take_external_ip(struct announce_answer *a, struct bnode top)
{
	uint8_t compact[18] = { 0 };
	struct span s;

	if (!bnode_get_str(top, "external ip", &s))
		return;
	if (s.len == 4) {
		memcpy(compact, s.ptr, 4);
		addr_from_compact4(&a->external_ip, compact);
	} else if (s.len == 16) {
		memcpy(compact, s.ptr, 16);
		addr_from_compact6(&a->external_ip, compact);
	}
}

static int fail(struct announce_answer *a, int r, const char *why)
{
	return announce_answer_fail(a, r, why, strlen(why));
}

int http_tracker_parse(const uint8_t *body, size_t len,
		       struct announce_answer *out)
{
	bool has_peers, has_peers6;
	struct bnode top;
	struct span s;
	size_t used;
	int r;

	r = bencode_parse(body, len, &limits, &top, &used, NULL);
	if (r == -E2BIG)
		return fail(out, r, "answer is too complex");
	if (r || !bnode_is_dict(top))
		return fail(out, -EBADMSG, "answer is not bencoded");
	if (bnode_get_str(top, "failure reason", &s)) {
		out->retry_s = retry_of(top);
		return announce_answer_fail(out, -EPERM, s.ptr, s.len);
	}
	has_peers = add_peers(out, top, "peers", 6);
	has_peers6 = add_peers(out, top, "peers6", 18);
	out->interval_s = positive(top, "interval", 0);
	if (!has_peers && !has_peers6 && !out->interval_s)
		return fail(out, -EBADMSG, "answer without peers");
	out->min_interval_s = positive(top, "min interval", 0);
	out->seeders = positive(top, "complete", -1);
	out->leechers = positive(top, "incomplete", -1);
	if (bnode_get_str(top, "warning message", &s))
		log_vis(s.ptr, s.len, out->warning, sizeof(out->warning));
	if (bnode_get_str(top, "tracker id", &s) &&
	    s.len <= sizeof(out->tracker_id)) {
		memcpy(out->tracker_id, s.ptr, s.len);
		out->tracker_id_len = s.len;
	}
	take_external_ip(out, top);
	return 0;
}
