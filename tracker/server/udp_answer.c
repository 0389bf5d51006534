/* Policy.
 * - What cannot be from a client of this protocol gets silence, as do floods:
 *   an answer would be a gift to whoever forged the source. What is well formed
 *   and refused gets an error, so that people see why.
 * - Who asks too often gets an error once a second for its whole subnet, and
 *   silence for the rest. Silence alone would make clients send it all again,
 *   after 15, 30, 60 s and so on; an error is final, shown to people, and
 *   followed by the client's own pause. It goes to holders of a connection id
 *   only and is shorter than what it answers, so it is no gift to forgers.
 * - Torrents that are not tracked here count as empty in scrapes.
 * - Peers are only told to who holds a connection id of this address.
 * - num_want: negative means the default, 0 means none; never more than fit.
 * - Only peers of the asker's family fit into this protocol (BEP 15).
 * - Intervals vary by a tenth, so that who came together does not stay so. */
#include "tracker/server/udp_answer.h"

#include <string.h>

#include "dht/token.h"
#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "tracker/overlay/names.h"

#define CONNECT_MAGIC  0x41727101980ull
#define WINDOW_MS      (120 * 1000)
#define ANNOUNCE_BYTES 98
#define HEAD_BYTES     16 /* connection id, action, transaction id */
#define SCRAPE_HASHES  74
#define EVENT_PAUSED   4 /* as some clients say that they want no more */

enum {
	ACTION_CONNECT,
	ACTION_ANNOUNCE,
	ACTION_SCRAPE,
	ACTION_ERROR
};

static uint64_t id_in_window(const struct udp_core *core, int64_t window,
			     const struct addr *from)
{
	uint8_t b[8 + 1 + 16];
	uint64_t id;

	store_be64(b, (uint64_t)window);
	b[8] = from->family;
	memcpy(b + 9, from->ip, 16);
	id = siphash(core->key, b, from->family == 4 ? 13 : sizeof(b));
	switch (id >> 56) {
	case 'd':
	case 'K':
	case 0:
		id ^= 1ull << 63;
		break;
	default:
		break;
	}
	return id;
}

uint64_t udp_connection_id(const struct udp_core *core, int64_t now_ms,
			   const struct addr *from)
{
	return id_in_window(core, now_ms / WINDOW_MS, from);
}

/* In the same time whatever ID is. */
static bool is_connected(const struct udp_asker *a, const struct addr *from,
			 uint64_t id)
{
	int64_t window = a->now_ms / WINDOW_MS;
	uint64_t now = id ^ id_in_window(a->core, window, from);
	uint64_t then = id ^ id_in_window(a->core, window - 1, from);

	return !now | !then;
}

static size_t answer_error(struct udp_asker *a, const uint8_t *in,
			   const char *why, uint8_t *out)
{
	size_t len = strlen(why);

	udp_count(&a->counts->errors_out);
	store_be32(out, ACTION_ERROR);
	memcpy(out + 4, in + 12, 4);
	memcpy(out + 8, why, len);
	return 8 + len;
}

static size_t answer_connect(struct udp_asker *a, const struct addr *from,
			     const uint8_t *in, uint8_t *out)
{
	udp_count(&a->counts->connects);
	store_be32(out, ACTION_CONNECT);
	memcpy(out + 4, in + 12, 4);
	store_be64(out + 8, udp_connection_id(a->core, a->now_ms, from));
	return 16;
}

/* --- the URL behind an announce --- */

/* Puts the URLData blocks together. False: they do not hold, or are too long.
 */
static bool url_of(const uint8_t *p, size_t len, char *out, size_t *out_len)
{
	size_t at = 0;

	*out_len = 0;
	while (at < len && p[at]) { /* 0: the end of options */
		size_t n;

		if (p[at] == 1) { /* nothing, one byte long */
			at++;
			continue;
		}
		if (len - at < 2 || len - at - 2 < p[at + 1])
			return false;
		n = p[at + 1];
		if (p[at] == 2) {
			if (n > LIMIT_UDP_URL_BYTES - *out_len)
				return false;
			memcpy(out + *out_len, p + at + 2, n);
			*out_len += n;
		}
		at += 2 + n;
	}
	return true;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX. Returns the length; 0: it is nobody's key. */
static size_t take_key(const char *p, size_t len, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (n == size)
			return 0;
		if (p[i] != '%') {
			out[n++] = p[i];
			continue;
		}
		if (len - i < 3 || digit_of(p[i + 1]) < 0 ||
		    digit_of(p[i + 2]) < 0)
			return 0;
		out[n++] = (char)(digit_of(p[i + 1]) << 4 | digit_of(p[i + 2]));
		i += 2;
	}
	return n;
}

static size_t key_in_query(const char *q, size_t len, char *out, size_t size)
{
	while (len) {
		const char *amp = memchr(q, '&', len);
		size_t n = amp ? (size_t)(amp - q) : len;

		if (n > 3 && !memcmp(q, "kt=", 3))
			return take_key(q + 3, n - 3, out, size);
		n += amp != NULL;
		q += n;
		len -= n;
	}
	return 0;
}

static size_t key_in_path(const char *p, size_t len, char *out, size_t size)
{
	static const char tail[] = "/announce";
	size_t tail_len = sizeof(tail) - 1;

	if (len < 2 + tail_len || *p != '/' ||
	    memcmp(p + len - tail_len, tail, tail_len) != 0)
		return 0;
	p++;
	len -= 1 + tail_len;
	return memchr(p, '/', len) ? 0 : take_key(p, len, out, size);
}

size_t udp_announce_key(const uint8_t *options, size_t len, char *out,
			size_t size)
{
	char url[LIMIT_UDP_URL_BYTES];
	size_t url_len, path_len, n;
	const char *query;

	if (!url_of(options, len, url, &url_len) || !url_len)
		return 0;
	query = memchr(url, '?', url_len);
	path_len = query ? (size_t)(query - url) : url_len;
	n = key_in_path(url, path_len, out, size);
	if (!n && query)
		n = key_in_query(query + 1, url_len - path_len - 1, out, size);
	return n;
}

/* --- announce --- */

static void tell_owners(const struct udp_asker *a,
			const struct swarms_announce *q,
			const struct swarms_answer *said, const uint8_t *in,
			size_t len)
{
	const struct tracker_policy *policy = a->core->policy;
	struct telling t = { .is_change = said->tell == SWARMS_TELL_CHANGE };
	char key[LIMIT_UDP_KEY_BYTES];
	struct kad_id id;
	size_t n = 0;

	if (!policy->tellq || said->tell == SWARMS_TELL_NOTHING)
		return;
	t.record = (struct swarm_record){
		.infohash = q->infohash,
		.peer = q->peer,
		.state = said->state,
		.is_completion = t.is_change &&
				 said->state == SWARM_SEEDER_COMPLETED &&
				 q->event == ANNOUNCE_COMPLETED,
	};
	if (policy->domain && len > ANNOUNCE_BYTES)
		n = udp_announce_key(in + ANNOUNCE_BYTES, len - ANNOUNCE_BYTES,
				     key, sizeof(key));
	if (n) {
		kt_key_id(key, n, &id);
		memcpy(t.key, id.b, sizeof(t.key));
		t.has_key = true;
	}
	tellq_push(policy->tellq, &t);
}

static unsigned wanted(const struct tracker_policy *policy, uint32_t num_want,
		       unsigned fit)
{
	unsigned n = num_want > INT32_MAX ? policy->num_want : num_want;

	if (n > policy->max_want)
		n = policy->max_want;
	return n < fit ? n : fit;
}

static void read_announce(const struct udp_asker *a, const struct addr *from,
			  const uint8_t *in, uint8_t *out,
			  struct swarms_announce *q)
{
	uint32_t event = load_be32(in + 80), num_want = load_be32(in + 92);
	bool is_v6 = from->family == 6;
	unsigned want = wanted(a->core->policy, num_want,
			       (UDP_ANSWER_BYTES - 20) / (is_v6 ? 18 : 6));

	*q = (struct swarms_announce){
		.peer = *from,
		.event = event <= ANNOUNCE_STOPPED ? (enum announce_event)event
						   : ANNOUNCE_NONE,
		.is_seed = !load_be64(in + 64),
		.is_partial = event == EVENT_PAUSED,
		.want4 = is_v6 ? 0 : want,
		.want6 = is_v6 ? want : 0,
		.out4 = out + 20,
		.out6 = out + 20,
	};
	q->peer.port = load_be16(in + 96);
	memcpy(q->infohash.b, in + 16, sizeof(q->infohash.b));
}

static size_t answer_announce(struct udp_asker *a, const struct addr *from,
			      const uint8_t *in, size_t len, uint8_t *out)
{
	const struct tracker_policy *policy = a->core->policy;
	unsigned tenth = policy->interval_s / 10;
	struct swarms_announce q;
	struct swarms_answer said;
	uint64_t random = prng_u64(&a->random);

	read_announce(a, from, in, out, &q);
	if (!q.peer.port)
		return answer_error(a, in, "port 0 is no port", out);
	if (policy->access && !access_allows(policy->access, &q.infohash)) {
		udp_count(&a->counts->denied);
		return answer_error(a, in, "this torrent is not tracked here",
				    out);
	}
	swarms_announce(policy->swarms, &q, (uint32_t)random, &said);
	tell_owners(a, &q, &said, in, len);
	udp_count(&a->counts->announces);
	store_be32(out, ACTION_ANNOUNCE);
	memcpy(out + 4, in + 12, 4);
	store_be32(out + 8,
		   policy->interval_s - tenth +
			   (uint32_t)((random >> 32) * (2 * tenth + 1) >> 32));
	store_be32(out + 12, said.counts.leechers);
	store_be32(out + 16, said.counts.seeders);
	return 20 + said.num4 * (size_t)6 + said.num6 * (size_t)18;
}

static size_t answer_scrape(struct udp_asker *a, const uint8_t *in, size_t len,
			    uint8_t *out)
{
	const struct tracker_policy *policy = a->core->policy;
	size_t n = (len - HEAD_BYTES) / 20;

	if (n > SCRAPE_HASHES)
		n = SCRAPE_HASHES;
	udp_count(&a->counts->scrapes);
	store_be32(out, ACTION_SCRAPE);
	memcpy(out + 4, in + 12, 4);
	for (size_t i = 0; i < n; i++) {
		struct swarms_counts c;
		struct infohash h;

		memcpy(h.b, in + HEAD_BYTES + 20 * i, sizeof(h.b));
		if (policy->access && !access_allows(policy->access, &h))
			memset(&c, 0, sizeof(c));
		else
			swarms_scrape(policy->swarms, &h, &c);
		store_be32(out + 8 + 12 * i, c.seeders);
		store_be32(out + 12 + 12 * i, c.completed);
		store_be32(out + 16 + 12 * i, c.leechers);
	}
	return 8 + 12 * n;
}

static bool may_ask(struct udp_asker *a, const struct addr *from)
{
	const struct tracker_policy *policy = a->core->policy;

	if (!policy->limit ||
	    (addr_is_local(from) && !policy->limits_private) ||
	    subnet_limit_take(policy->limit, a->now_ms, from))
		return true;
	udp_count(&a->counts->rate_limited);
	return false;
}

static size_t answer_limited(struct udp_asker *a, const struct addr *from,
			     const uint8_t *in, uint8_t *out)
{
	if (!subnet_limit_tell(a->core->policy->limit, a->now_ms, from))
		return 0;
	return answer_error(a, in, "too many requests from your network", out);
}

static size_t silence(struct udp_asker *a)
{
	udp_count(&a->counts->malformed);
	return 0;
}

size_t udp_answer(struct udp_asker *a, const struct addr *from,
		  const uint8_t *in, size_t len, uint8_t out[UDP_ANSWER_BYTES])
{
	uint64_t id;
	uint32_t action;

	if (len < HEAD_BYTES || !from->port)
		return silence(a);
	id = load_be64(in);
	action = load_be32(in + 8);
	if (id == CONNECT_MAGIC && action == ACTION_CONNECT)
		return answer_connect(a, from, in, out);
	if (!(action == ACTION_ANNOUNCE && len >= ANNOUNCE_BYTES) &&
	    !(action == ACTION_SCRAPE && len >= HEAD_BYTES + 20))
		return silence(a);
	if (!is_connected(a, from, id)) {
		udp_count(&a->counts->bad_connection_id);
		return answer_error(a, in, "bad connection id", out);
	}
	if (!may_ask(a, from))
		return answer_limited(a, from, in, out);
	if (atomic_load_explicit(&a->core->policy->is_leaving,
				 memory_order_relaxed))
		return answer_error(a, in, "going down, retry in a minute",
				    out);
	return action == ACTION_ANNOUNCE
		       ? answer_announce(a, from, in, len, out)
		       : answer_scrape(a, in, len, out);
}
