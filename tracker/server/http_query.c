#include "tracker/server/http_query.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "tracker/server/http_parse.h"

/* Takes the next NAME=VALUE. False: there is none left. */
static bool next_pair(struct span *rest, struct span *name, struct span *value)
{
	const uint8_t *at, *end, *eq;
	size_t len;

	while (rest->len && rest->ptr[0] == '&')
		*rest = (struct span){ rest->ptr + 1, rest->len - 1 };
	if (!rest->len)
		return false;
	at = rest->ptr;
	end = memchr(at, '&', rest->len);
	if (!end)
		end = at + rest->len;
	len = (size_t)(end - at);
	*rest = (struct span){ end, rest->len - len };
	eq = memchr(at, '=', len);
	*name = (struct span){ at, eq ? (size_t)(eq - at) : len };
	*value = (struct span){ eq ? eq + 1 : end,
				eq ? (size_t)(end - eq - 1) : 0 };
	return true;
}

/* Digits alone. False: none, others, or too many for 64 bits. */
static bool number_of(struct span s, uint64_t *out)
{
	uint64_t v = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9' ||
		    !checked_mul(v, 10, &v) ||
		    !checked_add(v, s.ptr[i] - (unsigned)'0', &v))
			return false;
	*out = v;
	return true;
}

static bool address_of(struct span value, struct addr *out)
{
	char text[ADDR_STR_MAX];
	int n = http_unescape(value, (uint8_t *)text, sizeof(text) - 1);

	if (n < 1 || memchr(text, 0, (size_t)n))
		return false;
	text[n] = 0;
	return addr_parse(text, 0, out) == 0;
}

static bool hash_of(struct span value, struct infohash *out)
{
	return http_unescape(value, out->b, sizeof(out->b)) ==
	       (int)sizeof(out->b);
}

/* --- announce --- */

enum param {
	PARAM_INFO_HASH,
	PARAM_PEER_ID,
	PARAM_PORT,
	PARAM_LEFT,
	PARAM_EVENT,
	PARAM_PAUSED,
	PARAM_COMPACT,
	PARAM_NUMWANT,
	PARAM_IP,
	PARAM_IPV4,
	PARAM_IPV6,
	PARAM_OTHER,
};

static enum param param_of(struct span name)
{
	static const char *const names[PARAM_OTHER] = {
		"info_hash", "peer_id", "port", "left", "event", "paused",
		"compact",   "numwant", "ip",   "ipv4", "ipv6",
	};

	for (unsigned i = 0; i < PARAM_OTHER; i++)
		if (name.len && name.ptr[0] == (uint8_t)names[i][0] &&
		    http_span_is(name, names[i]))
			return (enum param)i;
	return PARAM_OTHER;
}

static void on_event(struct span value, struct http_announce *out)
{
	if (http_span_is(value, "started"))
		out->event = ANNOUNCE_STARTED;
	else if (http_span_is(value, "stopped"))
		out->event = ANNOUNCE_STOPPED;
	else if (http_span_is(value, "completed"))
		out->event = ANNOUNCE_COMPLETED;
	else if (http_span_is(value, "paused"))
		out->is_partial = true;
}

static const char *on_left(struct span value, struct http_announce *out)
{
	if (value.len && value.ptr[0] == '-') {
		out->left = UINT64_MAX;
		return NULL;
	}
	return number_of(value, &out->left) ? NULL : "left is no number";
}

static void on_num_want(struct span value, struct http_announce *out)
{
	uint64_t n;

	if (!number_of(value, &n))
		return; /* -1 among them: as many as we like */
	out->has_num_want = true;
	out->num_want = n > UINT_MAX ? UINT_MAX : (unsigned)n;
}

static const char *on_peer_id(struct span value)
{
	struct peerid id;

	return http_unescape(value, id.b, sizeof(id.b)) == (int)sizeof(id.b)
		       ? NULL
		       : "peer_id must be 20 bytes";
}

static const char *on_port(struct span value, struct http_announce *out)
{
	uint64_t n;

	if (!number_of(value, &n) || !n || n > UINT16_MAX)
		return "port must be from 1 to 65535";
	out->port = (uint16_t)n;
	return NULL;
}

static const char *on_param(enum param param, struct span value,
			    struct http_announce *out)
{
	switch (param) {
	case PARAM_INFO_HASH:
		return hash_of(value, &out->infohash)
			       ? NULL
			       : "info_hash must be 20 bytes";
	case PARAM_PEER_ID:
		return on_peer_id(value);
	case PARAM_PORT:
		return on_port(value, out);
	case PARAM_LEFT:
		return on_left(value, out);
	case PARAM_EVENT:
		on_event(value, out);
		return NULL;
	case PARAM_PAUSED:
		out->is_partial |= http_span_is(value, "1");
		return NULL;
	case PARAM_COMPACT:
		out->is_compact = !http_span_is(value, "0");
		return NULL;
	case PARAM_NUMWANT:
		on_num_want(value, out);
		return NULL;
	case PARAM_IP:
		return !value.len || address_of(value, &out->ip)
			       ? NULL
			       : "ip is no address";
	case PARAM_IPV4:
		return !address_of(value, &out->ip4) || out->ip4.family != 4
			       ? "ipv4 is no IPv4 address"
			       : NULL;
	case PARAM_IPV6:
		return !address_of(value, &out->ip6) || out->ip6.family != 6
			       ? "ipv6 is no IPv6 address"
			       : NULL;
	case PARAM_OTHER:
		break;
	}
	return NULL;
}

static void give_port(struct addr *a, uint16_t port)
{
	if (a->family && !a->port)
		a->port = port;
}

const char *http_query_announce(struct span query, struct http_announce *out)
{
	bool has_infohash = false;
	struct span name, value;
	const char *why;

	memset(out, 0, sizeof(*out));
	out->left = UINT64_MAX;
	out->is_compact = true;
	while (next_pair(&query, &name, &value)) {
		enum param param = param_of(name);

		if (param == PARAM_INFO_HASH && has_infohash)
			return "info_hash is given twice";
		has_infohash |= param == PARAM_INFO_HASH;
		why = on_param(param, value, out);
		if (why)
			return why;
	}
	if (!has_infohash)
		return "info_hash is missing";
	if (!out->port)
		return "port is missing";
	out->ip.port = out->port;
	give_port(&out->ip4, out->port);
	give_port(&out->ip6, out->port);
	return NULL;
}

/* --- scrape --- */

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct infohash));
}

const char *http_query_scrape(struct span query,
			      struct infohash out[LIMIT_WEB_SCRAPE_HASHES],
			      unsigned *num)
{
	struct span name, value;
	unsigned n = 0, kept = 0;

	*num = 0;
	while (next_pair(&query, &name, &value)) {
		if (!http_span_is(name, "info_hash"))
			continue;
		if (n == LIMIT_WEB_SCRAPE_HASHES)
			return "too many info_hash in one scrape";
		if (!hash_of(value, &out[n++]))
			return "info_hash must be 20 bytes";
	}
	if (n)
		qsort(out, n, sizeof(out[0]), compare);
	for (unsigned i = 0; i < n; i++)
		if (!kept || compare(&out[kept - 1], &out[i]) != 0)
			out[kept++] = out[i];
	*num = kept;
	return NULL;
}
