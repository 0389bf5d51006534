/* tracker/overlay/sync_msg.h: what trackers say to each other, as bytes. A
 * datagram of at most SYNC_PACKET_BYTES begins with 'K' and a letter; numbers
 * are big-endian.
 *
 *   h  hello   version 1, key 32, to whom 20, cookie 16, pk 32, signature 64
 *   c  cookie  tag 8 (of the hello's key), cookie 16: say hello again with it
 *   y  accept  tag 8, key 32, pk 32, signature 64
 *   w  please say hello: whose id is smaller does
 *   x  session 8: I know no such session
 *   d  data    session 8, number 4, acks 12, late 1, frames, MAC 16
 *   a  acks    session 8, acks 12, MAC 16
 *
 * Late is for how long the oldest record has waited, in units of SYNC_LATE_MS:
 * records tell their age. Acks are the number up to which all came, and a bit
 * for each of the 64 after it. A hello is longer than what answers it, so that
 * nobody is flooded through us. A frame is a kind, two bytes of length, a body;
 * unknown kinds are passed over. Frames may arrive in any order and more than
 * once.
 *
 * Plain bytes: no state. Any thread. */
#pragma once

#include "dht/kad_id.h"
#include "engine/base/cursor.h"
#include "engine/base/limits.h"
#include "tracker/overlay/sync_keys.h"
#include "tracker/server/swarms.h"

#define SYNC_PACKET_BYTES LIMIT_SYNC_PACKET_BYTES
#define SYNC_HEAD_BYTES   27 /* of data */
#define SYNC_LATE_MS      250
#define SYNC_ACK_BYTES    (22 + SYNC_MAC_BYTES)
#define SYNC_PAYLOAD_BYTES                                                     \
	(SYNC_PACKET_BYTES - SYNC_HEAD_BYTES - SYNC_MAC_BYTES)
#define SYNC_HELLO_BYTES  167
#define SYNC_COOKIE_BYTES 16
#define SYNC_TAG_BYTES    8

enum sync_packet_kind {
	SYNC_HELLO = 'h',
	SYNC_COOKIE = 'c',
	SYNC_ACCEPT = 'y',
	SYNC_PLEASE = 'w',
	SYNC_UNKNOWN = 'x',
	SYNC_DATA = 'd',
	SYNC_ACK = 'a',
};

struct sync_acks {
	uint32_t cum;  /* all up to this one came */
	uint64_t bits; /* the lowest is cum + 1 */
};

struct sync_packet_view { /* pointers are borrowed from the packet */
	enum sync_packet_kind kind;
	const uint8_t *key, *to, *cookie, *pk, *sig, *tag;
	uint64_t session;
	uint32_t seq;
	struct sync_acks acks;
	int64_t late_ms;
	struct span payload;
	struct span signed_part; /* what the MAC is of */
	const uint8_t *mac;
};

/* False: not a packet of ours. MAC and signature are not looked at. */
bool sync_packet_parse(const uint8_t *bytes, size_t len,
		       struct sync_packet_view *out);

/* Write a packet, return its length. The signature goes in last. */
size_t sync_put_hello(uint8_t *out, const uint8_t *key, const struct kad_id *to,
		      const uint8_t *cookie, const uint8_t *pk);
size_t sync_put_cookie(uint8_t *out, const uint8_t *tag, const uint8_t *cookie);
size_t sync_put_accept(uint8_t *out, const uint8_t *tag, const uint8_t *key,
		       const uint8_t *pk);
size_t sync_put_please(uint8_t *out);
size_t sync_put_unknown(uint8_t *out, uint64_t session);
/* Without the MAC, which covers all that is there. */
size_t sync_put_data(uint8_t *out, uint64_t session, uint32_t seq,
		     const struct sync_acks *acks, int64_t late_ms,
		     const uint8_t *payload, size_t len);
size_t sync_put_ack(uint8_t *out, uint64_t session,
		    const struct sync_acks *acks);

/* --- frames --- */

enum sync_frame_kind {
	SYNC_F_PING = 1,
	SYNC_F_RECORDS4, /* records */
	SYNC_F_RECORDS6,
	SYNC_F_KEYS,    /* infohash 20, id of its KEY 20, again and again */
	SYNC_F_NUDGE,   /* please begin a comparison */
	SYNC_F_BEGIN,   /* nonce 8, log2 of the number of groups 1 */
	SYNC_F_GROUPS,  /* nonce 8, log2 1, first 4, sums 4 each */
	SYNC_F_DIFF,    /* nonce 8, first 4, bits: groups that differ */
	SYNC_F_SWARMS,  /* nonce 8, items: of groups that differ */
	SYNC_F_OFFER,   /* the same: from who is no owner any more */
	SYNC_F_WANT,    /* infohashes: send me all of them */
	SYNC_F_BUCKETS, /* nonce 8, infohash 20, log2 1, first 2, sums 4 each */
	SYNC_F_DIFFER,  /* nonce 8, infohash 20, log2 1, first 2, bits */
	SYNC_F_PULL,   /* nonce 8, infohash 20, has a KEY 1, its id 20, sum 4 */
	SYNC_F_GIVEN,  /* infohashes: that was all of them */
	SYNC_F_COUNTS, /* as SWARMS: completions alone */
};

#define SYNC_FRAME_HEAD      3
#define SYNC_RECORD4_BYTES   28
#define SYNC_RECORD6_BYTES   40
#define SYNC_ITEM_BYTES      28
#define SYNC_KEYITEM_BYTES   40
#define SYNC_BUCKETS_AT_ONCE 256
#define SYNC_PULL_BYTES      53

struct sync_frame {
	unsigned kind;
	struct span body;
};

/* False: the end, or (C is bad then) a frame that is longer than the rest. */
bool sync_frame_next(struct cursor *c, struct sync_frame *out);
/* A frame's head; the body follows. */
void sync_put_frame(struct wcursor *w, enum sync_frame_kind kind, size_t len);

struct sync_record {
	struct swarm_record r;
	bool is_forwarded; /* by who is no owner */
};

/* OUT holds SYNC_RECORD6_BYTES. Returns the length by family. */
size_t sync_put_record(uint8_t *out, const struct swarm_record *r,
		       bool is_forwarded);
/* False: no such record can be: port 0, an address where nobody is, unknown
 * bits. FAMILY 4 or 6: P holds 28 or 40 bytes. */
bool sync_get_record(const uint8_t *p, uint8_t family, struct sync_record *out);

struct sync_item { /* one swarm, summed up */
	struct infohash infohash;
	uint32_t sum, completed;
};

void sync_put_item(uint8_t out[SYNC_ITEM_BYTES], const struct sync_item *item);
void sync_get_item(const uint8_t p[SYNC_ITEM_BYTES], struct sync_item *out);

struct sync_buckets { /* of BUCKETS and DIFFER */
	uint64_t nonce;
	struct infohash infohash;
	unsigned log2, first;
	struct span rest; /* sums or bits */
};

/* False: more buckets than there can be, or past their end. */
bool sync_get_buckets(struct span body, bool are_bits,
		      struct sync_buckets *out);
void sync_put_buckets(struct wcursor *w, const struct sync_buckets *b);
