#include "tracker/overlay/sync_msg.h"

#include <assert.h>
#include <string.h>

#define VERSION 1

/* --- packets --- */

static const uint8_t *take(struct cursor *c, size_t len)
{
	return cursor_span(c, len).ptr;
}

static void parse_acks(struct cursor *c, struct sync_acks *out)
{
	out->cum = cursor_be32(c);
	out->bits = cursor_be64(c);
}

/* The MAC is at the end, and of all before it. */
static void parse_sealed(struct cursor *c, const uint8_t *bytes, size_t len,
			 struct sync_packet_view *out)
{
	size_t left = cursor_left(c);

	if (left < SYNC_MAC_BYTES) {
		c->is_bad = true;
		return;
	}
	out->payload = cursor_span(c, left - SYNC_MAC_BYTES);
	out->mac = take(c, SYNC_MAC_BYTES);
	out->signed_part = (struct span){ bytes, len - SYNC_MAC_BYTES };
}

static bool parse_body(struct cursor *c, const uint8_t *bytes, size_t len,
		       struct sync_packet_view *out)
{
	switch (out->kind) {
	case SYNC_HELLO:
		if (cursor_u8(c) != VERSION)
			return false;
		out->key = take(c, SYNC_KEY_BYTES);
		out->to = take(c, KAD_ID_BYTES);
		out->cookie = take(c, SYNC_COOKIE_BYTES);
		out->pk = take(c, SYNC_KEY_BYTES);
		out->sig = take(c, SYNC_SIG_BYTES);
		return true;
	case SYNC_COOKIE:
		out->tag = take(c, SYNC_TAG_BYTES);
		out->cookie = take(c, SYNC_COOKIE_BYTES);
		return true;
	case SYNC_ACCEPT:
		out->tag = take(c, SYNC_TAG_BYTES);
		out->key = take(c, SYNC_KEY_BYTES);
		out->pk = take(c, SYNC_KEY_BYTES);
		out->sig = take(c, SYNC_SIG_BYTES);
		return true;
	case SYNC_PLEASE:
		return true;
	case SYNC_UNKNOWN:
		out->session = cursor_be64(c);
		return true;
	case SYNC_DATA:
		out->session = cursor_be64(c);
		out->seq = cursor_be32(c);
		parse_acks(c, &out->acks);
		out->late_ms = (int64_t)cursor_u8(c) * SYNC_LATE_MS;
		parse_sealed(c, bytes, len, out);
		return true;
	case SYNC_ACK:
		out->session = cursor_be64(c);
		parse_acks(c, &out->acks);
		parse_sealed(c, bytes, len, out);
		return !out->payload.len;
	}
	return false;
}

bool sync_packet_parse(const uint8_t *bytes, size_t len,
		       struct sync_packet_view *out)
{
	struct cursor c = cursor_of(bytes, len);

	memset(out, 0, sizeof(*out));
	if (len > SYNC_PACKET_BYTES || cursor_u8(&c) != 'K')
		return false;
	out->kind = (enum sync_packet_kind)cursor_u8(&c);
	return parse_body(&c, bytes, len, out) && !c.is_bad && !cursor_left(&c);
}

static struct wcursor begin(uint8_t *out, enum sync_packet_kind kind)
{
	struct wcursor w = wcursor_of(out, SYNC_PACKET_BYTES);

	wcursor_u8(&w, 'K');
	wcursor_u8(&w, (uint8_t)kind);
	return w;
}

size_t sync_put_hello(uint8_t *out, const uint8_t *key, const struct kad_id *to,
		      const uint8_t *cookie, const uint8_t *pk)
{
	static const uint8_t none[SYNC_SIG_BYTES];
	struct wcursor w = begin(out, SYNC_HELLO);

	wcursor_u8(&w, VERSION);
	wcursor_copy(&w, key, SYNC_KEY_BYTES);
	wcursor_copy(&w, to->b, KAD_ID_BYTES);
	wcursor_copy(&w, cookie, SYNC_COOKIE_BYTES);
	wcursor_copy(&w, pk, SYNC_KEY_BYTES);
	wcursor_copy(&w, none, SYNC_SIG_BYTES);
	return wcursor_len(&w);
}

size_t sync_put_cookie(uint8_t *out, const uint8_t *tag, const uint8_t *cookie)
{
	struct wcursor w = begin(out, SYNC_COOKIE);

	wcursor_copy(&w, tag, SYNC_TAG_BYTES);
	wcursor_copy(&w, cookie, SYNC_COOKIE_BYTES);
	return wcursor_len(&w);
}

size_t sync_put_accept(uint8_t *out, const uint8_t *tag, const uint8_t *key,
		       const uint8_t *pk)
{
	static const uint8_t none[SYNC_SIG_BYTES];
	struct wcursor w = begin(out, SYNC_ACCEPT);

	wcursor_copy(&w, tag, SYNC_TAG_BYTES);
	wcursor_copy(&w, key, SYNC_KEY_BYTES);
	wcursor_copy(&w, pk, SYNC_KEY_BYTES);
	wcursor_copy(&w, none, SYNC_SIG_BYTES);
	return wcursor_len(&w);
}

size_t sync_put_please(uint8_t *out)
{
	struct wcursor w = begin(out, SYNC_PLEASE);

	return wcursor_len(&w);
}

size_t sync_put_unknown(uint8_t *out, uint64_t session)
{
	struct wcursor w = begin(out, SYNC_UNKNOWN);

	wcursor_be64(&w, session);
	return wcursor_len(&w);
}

static void put_acks(struct wcursor *w, const struct sync_acks *acks)
{
	wcursor_be32(w, acks->cum);
	wcursor_be64(w, acks->bits);
}

size_t sync_put_data(uint8_t *out, uint64_t session, uint32_t seq,
		     const struct sync_acks *acks, int64_t late_ms,
		     const uint8_t *payload, size_t len)
{
	struct wcursor w = begin(out, SYNC_DATA);
	int64_t late = (late_ms + SYNC_LATE_MS - 1) / SYNC_LATE_MS;

	wcursor_be64(&w, session);
	wcursor_be32(&w, seq);
	put_acks(&w, acks);
	wcursor_u8(&w, late > UINT8_MAX ? UINT8_MAX : (uint8_t)late);
	wcursor_copy(&w, payload, len);
	return wcursor_len(&w);
}

size_t sync_put_ack(uint8_t *out, uint64_t session,
		    const struct sync_acks *acks)
{
	struct wcursor w = begin(out, SYNC_ACK);

	wcursor_be64(&w, session);
	put_acks(&w, acks);
	return wcursor_len(&w);
}

/* --- frames --- */

bool sync_frame_next(struct cursor *c, struct sync_frame *out)
{
	if (!cursor_left(c))
		return false;
	out->kind = cursor_u8(c);
	out->body = cursor_span(c, cursor_be16(c));
	return !c->is_bad;
}

void sync_put_frame(struct wcursor *w, enum sync_frame_kind kind, size_t len)
{
	wcursor_u8(w, (uint8_t)kind);
	wcursor_be16(w, (uint16_t)len);
}

enum record_bits {
	BITS_STATE = 3,
	BIT_COMPLETION = 4,
	BIT_FORWARDED = 8,
	BITS_KNOWN = 15,
};

size_t sync_put_record(uint8_t *out, const struct swarm_record *r,
		       bool is_forwarded)
{
	size_t n = sizeof(r->infohash.b);

	memcpy(out, r->infohash.b, n);
	n += addr_to_compact(&r->peer, out + n);
	out[n++] = (uint8_t)((unsigned)r->state |
			     (r->is_completion ? BIT_COMPLETION : 0u) |
			     (is_forwarded ? BIT_FORWARDED : 0u));
	out[n++] = r->age_min;
	return n;
}

static_assert(SYNC_RECORD4_BYTES == 20 + 6 + 2, "as opentracker's livesync");
static_assert(SYNC_RECORD6_BYTES == 20 + 18 + 2, "as opentracker's livesync");

bool sync_get_record(const uint8_t *p, uint8_t family, struct sync_record *out)
{
	size_t at = sizeof(out->r.infohash.b);
	unsigned bits;

	memset(out, 0, sizeof(*out));
	memcpy(out->r.infohash.b, p, at);
	if (family == 4)
		addr_from_compact4(&out->r.peer, p + at);
	else
		addr_from_compact6(&out->r.peer, p + at);
	at += family == 4 ? 6 : 18;
	bits = p[at];
	out->r.state = (enum swarm_state)(bits & BITS_STATE);
	out->r.is_completion = bits & BIT_COMPLETION;
	out->is_forwarded = bits & BIT_FORWARDED;
	out->r.age_min = p[at + 1];
	/* An IPv4 address dressed as IPv6 would be listed twice. */
	return !(bits & ~(unsigned)BITS_KNOWN) &&
	       out->r.peer.family == family && !addr_is_martian(&out->r.peer);
}

void sync_put_item(uint8_t out[SYNC_ITEM_BYTES], const struct sync_item *item)
{
	memcpy(out, item->infohash.b, 20);
	store_be32(out + 20, item->sum);
	store_be32(out + 24, item->completed);
}

void sync_get_item(const uint8_t p[SYNC_ITEM_BYTES], struct sync_item *out)
{
	memcpy(out->infohash.b, p, 20);
	out->sum = load_be32(p + 20);
	out->completed = load_be32(p + 24);
}

bool sync_get_buckets(struct span body, bool are_bits, struct sync_buckets *out)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	size_t n;

	out->nonce = cursor_be64(&c);
	cursor_copy(&c, out->infohash.b, 20);
	out->log2 = cursor_u8(&c);
	out->first = cursor_be16(&c);
	out->rest = cursor_rest(&c);
	if (c.is_bad || out->log2 > LIMIT_SYNC_BUCKETS_LOG2 || !out->rest.len ||
	    (!are_bits && out->rest.len % 4))
		return false;
	n = are_bits ? 1 : out->rest.len / 4;
	return n <= SYNC_BUCKETS_AT_ONCE &&
	       out->rest.len <= (are_bits ? SYNC_BUCKETS_AT_ONCE / 8
					  : SYNC_BUCKETS_AT_ONCE * 4) &&
	       out->first + n <= 1u << out->log2;
}

void sync_put_buckets(struct wcursor *w, const struct sync_buckets *b)
{
	wcursor_be64(w, b->nonce);
	wcursor_copy(w, b->infohash.b, 20);
	wcursor_u8(w, (uint8_t)b->log2);
	wcursor_be16(w, (uint16_t)b->first);
	wcursor_copy(w, b->rest.ptr, b->rest.len);
}
