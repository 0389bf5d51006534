/* What is read from a link: xt, dn, tr, ws, x.pe, so; other keys are somebody
 * else's. "tr.1" counts as "tr", "&amp;" as "&". A broken escape stands for
 * itself. A list with a broken entry loses that entry, but a broken infohash
 * or file selection is refused: to guess would fetch something else. */
#include "engine/magnet.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/addr.h"
#include "engine/base/buf.h"
#include "engine/base/bytes.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/safeurl.h"

#define HOST_SIZE 256 /* a host name and its end */

struct magnet_parser {
	struct magnet *m;
	char *why;        /* borrowed */
	struct buf value; /* of the parameter at hand, unescaped */
};

__attribute__((format(printf, 3, 4))) static int
refuse(struct magnet_parser *p, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(p->why, MAGNET_WHY_SIZE, format, ap); /* cut is fine */
	va_end(ap);
	return err;
}

static bool is_prefix(const char *prefix, struct span s)
{
	size_t n = strlen(prefix);

	return s.len >= n && !strncasecmp((const char *)s.ptr, prefix, n);
}

static void unescape(struct buf *out, struct span s, bool plus_is_blank)
{
	uint8_t byte;

	buf_clear(out);
	for (size_t i = 0; i < s.len; i++) {
		byte = s.ptr[i];
		if (byte == '%' && s.len - i > 2 &&
		    hex_decode((const char *)s.ptr + i + 1, 2, &byte, 1))
			i += 2;
		else if (byte == '+' && plus_is_blank)
			byte = ' ';
		buf_add(out, &byte, 1);
	}
}

static int set_v1(struct magnet_parser *p, const struct infohash *ih)
{
	if (p->m->has_v1 && !infohash_eq(&p->m->infohash, ih))
		return refuse(p, -EBADMSG,
			      "the link has two different infohashes");
	p->m->has_v1 = true;
	p->m->infohash = *ih;
	return 0;
}

static int set_v2(struct magnet_parser *p, const struct infohash2 *ih)
{
	if (p->m->has_v2 && !infohash2_eq(&p->m->infohash2, ih))
		return refuse(p, -EBADMSG,
			      "the link has two different infohashes");
	p->m->has_v2 = true;
	p->m->infohash2 = *ih;
	return 0;
}

static int parse_btih(struct magnet_parser *p, const char *s, size_t len)
{
	struct infohash ih;

	if (!hex_decode(s, len, ih.b, sizeof(ih.b)) &&
	    !base32_decode(s, len, ih.b, sizeof(ih.b)))
		return refuse(p, -EBADMSG,
			      "the infohash (urn:btih) must be 40 hex or 32 "
			      "base32 digits");
	return set_v1(p, &ih);
}

static int parse_btmh(struct magnet_parser *p, const char *s, size_t len)
{
	uint8_t bytes[2 + sizeof(struct infohash2)];
	struct infohash2 ih;

	/* multihash: 0x12 is SHA-256, 0x20 its length */
	if (!hex_decode(s, len, bytes, sizeof(bytes)) || bytes[0] != 0x12 ||
	    bytes[1] != sizeof(ih.b))
		return refuse(p, -EBADMSG,
			      "the infohash (urn:btmh) must be 1220 and 64 hex "
			      "digits");
	memcpy(ih.b, bytes + 2, sizeof(ih.b));
	return set_v2(p, &ih);
}

static int parse_xt(struct magnet_parser *p, struct span v)
{
	static const char btih[] = "urn:btih:", btmh[] = "urn:btmh:";
	const char *s = (const char *)v.ptr;

	if (is_prefix(btih, v))
		return parse_btih(p, s + strlen(btih), v.len - strlen(btih));
	if (is_prefix(btmh, v))
		return parse_btmh(p, s + strlen(btmh), v.len - strlen(btmh));
	return 0; /* another network's name for the same thing */
}

static void parse_name(struct magnet_parser *p, struct span v)
{
	char *name;

	if (p->m->name || !v.len)
		return;
	name = mem_dup(v.ptr, v.len);
	for (size_t i = 0; i < v.len; i++)
		if (!name[i])
			name[i] = '_'; /* a C string cannot hold it */
	p->m->name = mem_strndup(name, v.len);
	free(name);
}

static void parse_peer(struct magnet_parser *p, struct span v)
{
	struct magnet *m = p->m;
	char host[HOST_SIZE], *text;
	uint16_t port = 0;

	for (size_t i = 0; i < v.len; i++)
		if (v.ptr[i] <= ' ' || v.ptr[i] >= 0x7f)
			return;
	if (!v.len || v.len > LIMIT_URL_BYTES)
		return;
	text = mem_strndup((const char *)v.ptr, v.len);
	if (addr_split(text, host, sizeof(host), &port) < 0 || !*host || !port)
		free(text);
	else
		(void)safeurl_add(&m->peers, &m->num_peers, LIMIT_MAGNET_PEERS,
				  text); /* one that is there is fine */
}

/* Digits at *AT up to END; false when there are none or too many. */
static bool read_index(const char **at, const char *end, uint32_t *out)
{
	const char *start = *at;
	uint64_t v = 0;

	for (; *at < end && isdigit((unsigned char)**at); ++*at) {
		v = v * 10 + (uint64_t)(**at - '0');
		if (v >= LIMIT_FILES)
			return false;
	}
	*out = (uint32_t)v;
	return *at > start;
}

static int parse_select(struct magnet_parser *p, struct span v)
{
	const char *at = (const char *)v.ptr, *end = at + v.len;
	struct magnet *m = p->m;
	struct magnet_range range;

	while (at < end) {
		if (!read_index(&at, end, &range.first))
			goto bad;
		range.last = range.first;
		if (at < end && *at == '-') {
			at++;
			if (!read_index(&at, end, &range.last))
				goto bad;
		}
		if (range.last < range.first)
			goto bad;
		if (at < end && (*at++ != ',' || at == end))
			goto bad;
		m->ranges = mem_realloc_array(m->ranges, m->num_ranges + 1,
					      sizeof(*m->ranges));
		m->ranges[m->num_ranges++] = range;
	}
	return 0;
bad:
	return refuse(p, -EBADMSG,
		      "the file selection (so) must look like 0,2,5-9");
}

static int range_compare(const void *a, const void *b)
{
	const struct magnet_range *ra = a, *rb = b;

	return (ra->first > rb->first) - (ra->first < rb->first);
}

static void join_ranges(struct magnet *m)
{
	size_t n = 0;

	if (!m->num_ranges)
		return;
	qsort(m->ranges, m->num_ranges, sizeof(*m->ranges), range_compare);
	for (size_t i = 1; i < m->num_ranges; i++) {
		if (m->ranges[i].first > m->ranges[n].last + 1)
			m->ranges[++n] = m->ranges[i];
		else if (m->ranges[i].last > m->ranges[n].last)
			m->ranges[n].last = m->ranges[i].last;
	}
	m->num_ranges = n + 1;
}

/* "tr", and "tr.1" and so on, which stand for more of them. */
static bool is_key(struct span key, const char *name)
{
	size_t n = strlen(name);

	if (!is_prefix(name, key))
		return false;
	if (key.len == n)
		return true;
	if (key.ptr[n] != '.' || key.len == n + 1)
		return false;
	while (++n < key.len)
		if (!isdigit(key.ptr[n]))
			return false;
	return true;
}

static int parse_param(struct magnet_parser *p, struct span key,
		       struct span raw)
{
	struct magnet *m = p->m;
	struct span v;

	if (is_prefix("amp;", key)) { /* copied from the source of a page */
		key.ptr += 4;
		key.len -= 4;
	}
	unescape(&p->value, raw, is_key(key, "dn"));
	if (p->value.is_broken)
		return refuse(p, -ENOMEM, "out of memory");
	v = (struct span){ p->value.ptr, p->value.len };
	if (!v.len)
		return 0;
	if (is_key(key, "xt"))
		return parse_xt(p, v);
	if (is_key(key, "so"))
		return parse_select(p, v);
	if (is_key(key, "dn"))
		parse_name(p, v);
	else if (is_key(key, "x.pe"))
		parse_peer(p, v);
	else if (is_key(key, "tr"))
		(void)safeurl_add(&m->trackers, &m->num_trackers,
				  LIMIT_TRACKERS,
				  safeurl_clean(v.ptr, v.len, SAFEURL_TRACKER));
	else if (is_key(key, "ws"))
		(void)safeurl_add(&m->webseeds, &m->num_webseeds,
				  LIMIT_WEBSEEDS,
				  safeurl_clean(v.ptr, v.len, SAFEURL_WEBSEED));
	return 0;
}

static int parse_params(struct magnet_parser *p, struct span s)
{
	int r = 0;

	while (s.len && !r) {
		const uint8_t *amp = memchr(s.ptr, '&', s.len);
		size_t len = amp ? (size_t)(amp - s.ptr) : s.len;
		const uint8_t *equals = memchr(s.ptr, '=', len);

		if (equals) {
			size_t n = (size_t)(equals - s.ptr);

			r = parse_param(
				p, (struct span){ s.ptr, n },
				(struct span){ equals + 1, len - n - 1 });
		}
		s.ptr += amp ? len + 1 : len;
		s.len -= amp ? len + 1 : len;
	}
	return r;
}

static int parse_link(struct magnet_parser *p, struct span s)
{
	static const char scheme[] = "magnet:?";
	int r;

	if (!is_prefix(scheme, s))
		return refuse(p, -EBADMSG,
			      "neither \"magnet:?...\" nor an infohash of 40 "
			      "or 64 hex digits");
	s.ptr += strlen(scheme);
	s.len -= strlen(scheme);
	r = parse_params(p, s);
	if (r < 0)
		return r;
	if (!p->m->has_v1 && !p->m->has_v2)
		return refuse(p, -EBADMSG,
			      "the link has no infohash (xt=urn:btih:... or "
			      "xt=urn:btmh:...)");
	if (!p->m->has_v1)
		p->m->infohash = infohash2_truncate(&p->m->infohash2);
	join_ranges(p->m);
	return 0;
}

static int parse_text(struct magnet_parser *p, struct span s)
{
	struct magnet *m = p->m;
	const char *text = (const char *)s.ptr;

	if (hex_decode(text, s.len, m->infohash.b, sizeof(m->infohash.b))) {
		m->has_v1 = true;
		return 0;
	}
	if (hex_decode(text, s.len, m->infohash2.b, sizeof(m->infohash2.b))) {
		m->has_v2 = true;
		m->infohash = infohash2_truncate(&m->infohash2);
		return 0;
	}
	return parse_link(p, s);
}

int magnet_parse(const char *text, size_t len, struct magnet **out,
		 char why[MAGNET_WHY_SIZE])
{
	struct magnet_parser p = { .why = why };
	struct span s = { (const uint8_t *)text, len };
	int r;

	*out = NULL;
	*why = '\0';
	if (len > LIMIT_MAGNET_BYTES)
		return refuse(&p, -E2BIG, "the link is longer than %d bytes",
			      LIMIT_MAGNET_BYTES);
	while (s.len && isspace(*s.ptr)) {
		s.ptr++;
		s.len--;
	}
	while (s.len && isspace(s.ptr[s.len - 1]))
		s.len--;
	p.m = mem_alloc(sizeof(*p.m));
	buf_init(&p.value, LIMIT_MAGNET_BYTES);
	r = parse_text(&p, s);
	buf_release(&p.value);
	if (r < 0)
		magnet_free(p.m);
	else
		*out = p.m;
	return r;
}

static void free_list(char **list, size_t num)
{
	for (size_t i = 0; i < num; i++)
		free(list[i]);
	free(list);
}

void magnet_free(struct magnet *m)
{
	if (!m)
		return;
	free(m->name);
	free_list(m->trackers, m->num_trackers);
	free_list(m->webseeds, m->num_webseeds);
	free_list(m->peers, m->num_peers);
	free(m->ranges);
	free(m);
}

/* RFC 3986's unreserved characters, and those that EXTRA names. */
static void add_escaped(struct buf *out, const char *s, const char *extra)
{
	for (; *s; s++) {
		if ((isascii(*s) && isalnum((unsigned char)*s)) ||
		    strchr("-._~", *s) || strchr(extra, *s))
			buf_add(out, s, 1);
		else
			buf_printf(out, "%%%02X", (unsigned char)*s);
	}
}

static void add_list(struct buf *out, const char *key, char *const *list,
		     size_t num, const char *extra)
{
	for (size_t i = 0; i < num; i++) {
		buf_add_str(out, key);
		add_escaped(out, list[i], extra);
	}
}

char *magnet_format(const struct magnet *m)
{
	char hex[2 * sizeof(m->infohash2) + 1];
	const char *next = "";
	struct buf out;
	char *text;

	buf_init(&out, 0);
	buf_add_str(&out, "magnet:?");
	if (m->has_v1) {
		buf_printf(
			&out, "xt=urn:btih:%s",
			hex_encode(m->infohash.b, sizeof(m->infohash.b), hex));
		next = "&";
	}
	if (m->has_v2)
		buf_printf(&out, "%sxt=urn:btmh:1220%s", next,
			   hex_encode(m->infohash2.b, sizeof(m->infohash2.b),
				      hex));
	if (m->name && *m->name)
		add_list(&out, "&dn=", &m->name, 1, "");
	add_list(&out, "&tr=", m->trackers, m->num_trackers, "");
	add_list(&out, "&ws=", m->webseeds, m->num_webseeds, "");
	add_list(&out, "&x.pe=", m->peers, m->num_peers, ":");
	for (size_t i = 0; i < m->num_ranges; i++) {
		const struct magnet_range *r = &m->ranges[i];

		buf_add_str(&out, i ? "," : "&so=");
		if (r->first == r->last)
			buf_printf(&out, "%" PRIu32, r->first);
		else
			buf_printf(&out, "%" PRIu32 "-%" PRIu32, r->first,
				   r->last);
	}
	text = mem_strndup((const char *)out.ptr, out.len);
	buf_release(&out);
	return text;
}
