#include "tracker/udp_tracker.h"

#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/cursor.h"

#define MAGIC        0x41727101980ull /* BEP 15 */
#define OPTION_URL   2                /* BEP 41: URLData */
#define OPTION_BYTES 255

void udp_tracker_connect(uint8_t out[UDP_TRACKER_CONNECT_BYTES], uint32_t tid)
{
	struct wcursor w = wcursor_of(out, UDP_TRACKER_CONNECT_BYTES);

	wcursor_be64(&w, MAGIC);
	wcursor_be32(&w, UDP_TRACKER_CONNECT);
	wcursor_be32(&w, tid);
	CHECK(!w.is_bad && wcursor_len(&w) == UDP_TRACKER_CONNECT_BYTES);
}

static void add_path(struct wcursor *w, const char *path)
{
	size_t left = strlen(path);

	CHECK(left <= LIMIT_URL_BYTES);
	while (left) {
		size_t n = left < OPTION_BYTES ? left : OPTION_BYTES;

		wcursor_u8(w, OPTION_URL);
		wcursor_u8(w, (uint8_t)n);
		wcursor_copy(w, path, n);
		path += n;
		left -= n;
	}
}

size_t udp_tracker_announce(uint8_t out[UDP_TRACKER_PACKET_MAX], uint64_t cid,
			    uint32_t tid, const struct announce_request *q,
			    int family, const char *path)
{
	struct wcursor w = wcursor_of(out, UDP_TRACKER_PACKET_MAX);

	wcursor_be64(&w, cid);
	wcursor_be32(&w, UDP_TRACKER_ANNOUNCE);
	wcursor_be32(&w, tid);
	wcursor_copy(&w, q->infohash.b, sizeof(q->infohash.b));
	wcursor_copy(&w, q->peerid.b, sizeof(q->peerid.b));
	wcursor_be64(&w, q->downloaded);
	wcursor_be64(&w,
		     q->left == UINT64_MAX ? ANNOUNCE_LEFT_UNKNOWN : q->left);
	wcursor_be64(&w, q->uploaded);
	wcursor_be32(&w, q->event);
	/* 32 bits: an IPv6 address has no place here. */
	if (family == 4 && q->ip4.family == 4)
		wcursor_copy(&w, q->ip4.ip, 4);
	else
		wcursor_be32(&w, 0);
	wcursor_be32(&w, q->key);
	wcursor_be32(&w, q->num_want);
	wcursor_be16(&w, q->port);
	if (path)
		add_path(&w, path);
	CHECK(!w.is_bad);
	return wcursor_len(&w);
}

size_t udp_tracker_scrape(uint8_t out[UDP_TRACKER_PACKET_MAX], uint64_t cid,
			  uint32_t tid, const struct infohash *hashes, size_t n)
{
	struct wcursor w = wcursor_of(out, UDP_TRACKER_PACKET_MAX);

	CHECK(n <= UDP_TRACKER_SCRAPE_HASHES);
	wcursor_be64(&w, cid);
	wcursor_be32(&w, UDP_TRACKER_SCRAPE);
	wcursor_be32(&w, tid);
	for (size_t i = 0; i < n; i++)
		wcursor_copy(&w, hashes[i].b, sizeof(hashes[i].b));
	CHECK(!w.is_bad);
	return wcursor_len(&w);
}

bool udp_tracker_peek(const uint8_t *bytes, size_t len, uint32_t *action,
		      uint32_t *tid)
{
	struct cursor c = cursor_of(bytes, len);

	*action = cursor_be32(&c);
	*tid = cursor_be32(&c);
	return !c.is_bad;
}

/* Stands after action and transaction id when the action is right. */
static struct cursor open_reply(const uint8_t *bytes, size_t len,
				enum udp_tracker_action action)
{
	struct cursor c = cursor_of(bytes, len);

	if (cursor_be32(&c) != action)
		c.is_bad = true;
	cursor_skip(&c, 4);
	return c;
}

int udp_tracker_parse_connect(const uint8_t *bytes, size_t len, uint64_t *cid)
{
	struct cursor c = open_reply(bytes, len, UDP_TRACKER_CONNECT);

	*cid = cursor_be64(&c);
	return c.is_bad ? -EBADMSG : 0;
}

static int parse_error(const uint8_t *bytes, size_t len,
		       struct announce_answer *out)
{
	struct cursor c = open_reply(bytes, len, UDP_TRACKER_ERROR);
	struct span text = cursor_rest(&c);

	/* Some end the text with NUL, as C strings. */
	while (text.len && !text.ptr[text.len - 1])
		text.len--;
	if (!text.len)
		text = (struct span){ (const uint8_t *)"refused", 7 };
	return announce_answer_fail(out, -EPERM, text.ptr, text.len);
}

int udp_tracker_parse_announce(const uint8_t *bytes, size_t len, int family,
			       struct announce_answer *out)
{
	struct cursor c = open_reply(bytes, len, UDP_TRACKER_ANNOUNCE);
	size_t each = family == 6 ? 18 : 6;
	uint32_t action, tid;

	if (udp_tracker_peek(bytes, len, &action, &tid) &&
	    action == UDP_TRACKER_ERROR)
		return parse_error(bytes, len, out);
	out->interval_s = (int32_t)cursor_be32(&c);
	out->leechers = cursor_be32(&c);
	out->seeders = cursor_be32(&c);
	if (c.is_bad) {
		announce_answer_release(out);
		return announce_answer_fail(out, -EBADMSG, "answer is cut", 13);
	}
	if (out->interval_s < 0)
		out->interval_s = 0;
	while (cursor_left(&c) >= each) {
		struct span s = cursor_span(&c, each);
		struct addr peer;

		if (each == 6)
			addr_from_compact4(&peer, s.ptr);
		else
			addr_from_compact6(&peer, s.ptr);
		announce_answer_add_peer(out, &peer);
	}
	return 0;
}

int udp_tracker_parse_scrape(const uint8_t *bytes, size_t len,
			     struct udp_tracker_counts *out, size_t n,
			     size_t *got)
{
	struct cursor c = open_reply(bytes, len, UDP_TRACKER_SCRAPE);

	*got = 0;
	if (c.is_bad)
		return -EBADMSG;
	while (*got < n && cursor_left(&c) >= 12) {
		struct udp_tracker_counts *o = &out[(*got)++];

		o->seeders = cursor_be32(&c);
		o->completed = cursor_be32(&c);
		o->leechers = cursor_be32(&c);
	}
	return 0;
}
