/* What a person asked for: checked, and as keys of the .torrent. All URLs go
 * through safeurl both times, so that nothing is written that our own parser
 * would drop. */
#include "engine/make_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/addr.h"
#include "engine/base/bencode.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/safeurl.h"

#define HOST_BYTES  254 /* a host name with its zero byte, RFC 1035 */
#define LABEL_BYTES 63  /* what stands between its dots */

/* The trackers of a key, in their tiers. One rank, one name: a client that
 * keeps a dead address of one moves on to the next by BEP 12. */
static const struct {
	const char *scheme, *rank;
	unsigned tier;
} kenosis_trackers[] = {
	{ "http", "", 0 },    { "udp", "", 1 },      { "http", "--r1", 2 },
	{ "udp", "--r1", 2 }, { "http", "--r2", 3 }, { "udp", "--r2", 3 },
};

#define KENOSIS_KEY_BYTES 44 /* a hash of 20 bytes in hex, and a rank */

int make_fail(char why[MAKE_WHY_SIZE], int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(why, MAKE_WHY_SIZE, format, ap); /* cut is fine */
	va_end(ap);
	return err;
}

/* --- what is asked for --- */

static bool check_url(const char *url, enum safeurl_kind kind)
{
	char *clean = safeurl_clean(url, strlen(url), kind);
	bool is_url = clean && safeurl_is_of_use(clean);

	free(clean);
	return is_url;
}

static int check_trackers(const struct make_options *o, char *why)
{
	size_t num = o->num_trackers;

	if (o->kenosis)
		num += ARRAY_LEN(kenosis_trackers);
	if (num > LIMIT_TRACKERS)
		return make_fail(why, -E2BIG, "at most %d trackers",
				 LIMIT_TRACKERS);
	for (size_t i = 0; i < o->num_trackers; i++) {
		if (!check_url(o->trackers[i], SAFEURL_TRACKER))
			return make_fail(why, -EINVAL,
					 "%s: a tracker is an http, https or "
					 "udp URL",
					 o->trackers[i]);
		if (o->tiers && i && o->tiers[i] < o->tiers[i - 1])
			return make_fail(why, -EINVAL,
					 "%s: its tier is before that of the "
					 "one before",
					 o->trackers[i]);
	}
	return 0;
}

/* "DOMAIN", "DOMAIN:PORT": in lower case, for resolvers change the case. */
static bool read_domain(const char *text, char host[HOST_BYTES], uint16_t *port)
{
	size_t label = 0;

	*port = MAKE_KENOSIS_PORT;
	if (addr_split(text, host, HOST_BYTES, port) < 0 || !*port)
		return false;
	for (char *s = host; *s; s++) {
		*s = (char)tolower((unsigned char)*s);
		if (*s == '.' ? !label
			      : !(isalnum((unsigned char)*s) || *s == '-'))
			return false;
		label = *s == '.' ? 0 : label + 1;
		if (label > LABEL_BYTES)
			return false;
	}
	return label &&
	       strlen(host) + KENOSIS_KEY_BYTES + strlen(".bt.") < HOST_BYTES;
}

static int check_kenosis(const struct make_options *o, char *why)
{
	char host[HOST_BYTES];
	uint16_t port;

	if (!o->kenosis || read_domain(o->kenosis, host, &port))
		return 0;
	return make_fail(why, -EINVAL,
			 "%s: must be DOMAIN or DOMAIN:PORT of a tracker "
			 "overlay",
			 o->kenosis);
}

static bool read_node(const char *text, char host[HOST_BYTES], uint16_t *port)
{
	*port = 0;
	return !addr_split(text, host, HOST_BYTES, port) && *host && *port;
}

static int check_nodes(const struct make_options *o, char *why)
{
	char host[HOST_BYTES];
	uint16_t port;

	if (o->num_nodes > LIMIT_DHT_NODES)
		return make_fail(why, -E2BIG, "at most %d nodes",
				 LIMIT_DHT_NODES);
	for (size_t i = 0; i < o->num_nodes; i++)
		if (!read_node(o->nodes[i], host, &port))
			return make_fail(why, -EINVAL,
					 "%s: a node of the DHT is HOST:PORT",
					 o->nodes[i]);
	return 0;
}

static int check_webseeds(const struct make_options *o, char *why)
{
	if (o->num_webseeds > LIMIT_WEBSEEDS)
		return make_fail(why, -E2BIG, "at most %d web seeds",
				 LIMIT_WEBSEEDS);
	for (size_t i = 0; i < o->num_webseeds; i++)
		if (!check_url(o->webseeds[i], SAFEURL_WEBSEED))
			return make_fail(why, -EINVAL,
					 "%s: a web seed is an http or https "
					 "URL",
					 o->webseeds[i]);
	return 0;
}

int make_options_check(const struct make_options *o, char why[MAKE_WHY_SIZE])
{
	uint32_t n = o->piece_length;
	int r = 0;

	if (n && (n & (n - 1) || n < MAKE_PIECE_LENGTH_MIN ||
		  n > LIMIT_PIECE_LENGTH))
		r = make_fail(why, -EINVAL,
			      "piece length is %u: must be a power of two from "
			      "%u to %u",
			      n, MAKE_PIECE_LENGTH_MIN, LIMIT_PIECE_LENGTH);
	if (!r)
		r = check_trackers(o, why);
	if (!r)
		r = check_kenosis(o, why);
	if (!r)
		r = check_nodes(o, why);
	return r < 0 ? r : check_webseeds(o, why);
}

/* --- as keys --- */

struct tracker {
	char *url; /* owned; clean */
	unsigned tier;
};

static size_t list_kenosis(const struct make_options *o,
			   const struct infohash *infohash, struct tracker *out)
{
	char host[HOST_BYTES], key[2 * sizeof(infohash->b) + 1];
	uint16_t port;

	if (!o->kenosis || !read_domain(o->kenosis, host, &port))
		return 0;
	hex_encode(infohash->b, sizeof(infohash->b), key);
	for (size_t i = 0; i < ARRAY_LEN(kenosis_trackers); i++) {
		out[i].url = mem_printf("%s://%s%s.bt.%s:%u/announce",
					kenosis_trackers[i].scheme, key,
					kenosis_trackers[i].rank, host, port);
		out[i].tier = kenosis_trackers[i].tier;
	}
	return ARRAY_LEN(kenosis_trackers);
}

static size_t list_trackers(const struct make_options *o,
			    const struct infohash *infohash,
			    struct tracker out[LIMIT_TRACKERS])
{
	size_t num = list_kenosis(o, infohash, out);
	unsigned base = num ? out[num - 1].tier + 1 : 0;

	for (size_t i = 0; i < o->num_trackers; i++, num++) {
		out[num].url =
			safeurl_clean(o->trackers[i], strlen(o->trackers[i]),
				      SAFEURL_TRACKER);
		out[num].tier = base + (o->tiers ? o->tiers[i] : (unsigned)i);
	}
	return num;
}

static void write_trackers(const struct tracker *t, size_t num, struct buf *b)
{
	if (num) {
		benc_cstr(b, "announce");
		benc_cstr(b, t[0].url);
	}
	if (num < 2)
		return;
	benc_cstr(b, "announce-list");
	benc_list(b);
	for (size_t i = 0; i < num; i++) {
		if (!i || t[i].tier != t[i - 1].tier)
			benc_list(b);
		benc_cstr(b, t[i].url);
		if (i + 1 == num || t[i].tier != t[i + 1].tier)
			benc_end(b);
	}
	benc_end(b);
}

static void write_text(struct buf *b, const char *key, const char *text)
{
	if (!text || !*text)
		return;
	benc_cstr(b, key);
	benc_cstr(b, text);
}

void make_options_write_head(const struct make_options *o,
			     const struct infohash *infohash, struct buf *b)
{
	struct tracker trackers[LIMIT_TRACKERS];
	size_t num = list_trackers(o, infohash, trackers);

	write_trackers(trackers, num, b);
	while (num)
		free(trackers[--num].url);
	write_text(b, "comment", o->comment);
	write_text(b, "created by", o->created_by);
	if (o->creation_date) {
		benc_cstr(b, "creation date");
		benc_int(b, o->creation_date);
	}
}

void make_options_write_nodes(const struct make_options *o, struct buf *b)
{
	char host[HOST_BYTES];
	uint16_t port;

	if (!o->num_nodes)
		return;
	benc_cstr(b, "nodes");
	benc_list(b);
	for (size_t i = 0; i < o->num_nodes; i++) {
		if (!read_node(o->nodes[i], host, &port))
			continue;
		benc_list(b);
		benc_cstr(b, host);
		benc_int(b, port);
		benc_end(b);
	}
	benc_end(b);
}

void make_options_write_webseeds(const struct make_options *o, struct buf *b)
{
	char *clean;

	if (!o->num_webseeds)
		return;
	benc_cstr(b, "url-list");
	benc_list(b);
	for (size_t i = 0; i < o->num_webseeds; i++) {
		clean = safeurl_clean(o->webseeds[i], strlen(o->webseeds[i]),
				      SAFEURL_WEBSEED);
		benc_cstr(b, clean);
		free(clean);
	}
	benc_end(b);
}
