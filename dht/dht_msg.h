/* dht/dht_msg.h: messages of mainline (KRPC: BEP 5, 32, 33, 42, 43, 44, 51),
 * read in one pass and written without a buffer that grows. No allocation, no
 * state. Any thread. */
#pragma once

#include "dht/kad_id.h"
#include "engine/base/bencode.h"
#include "engine/base/cursor.h"

#define DHT_PACKET_BYTES 1400 /* BEP 44 puts are the largest */

enum dht_kind {
	DHT_QUERY = 'q',
	DHT_ANSWER = 'r',
	DHT_ERROR = 'e'
};

enum dht_method { /* the first two are the core's */
	DHT_PING,
	DHT_FIND_NODE,
	DHT_GET_PEERS,
	DHT_ANNOUNCE_PEER,
	DHT_GET,
	DHT_PUT,
	DHT_SAMPLE,
	DHT_UNKNOWN
};

enum dht_code { /* of errors */
	DHT_GENERIC = 201,
	DHT_SERVER = 202,
	DHT_PROTOCOL = 203,
	DHT_NO_METHOD = 204,
	DHT_TOO_BIG = 205,
	DHT_BAD_SIGNATURE = 206,
	DHT_SALT_TOO_BIG = 207,
	DHT_CAS_MISMATCH = 301,
	DHT_SEQ_TOO_OLD = 302
};

/* What was not in the message is {NULL, 0}, false, or an absent node. Strings
 * of a fixed length that had another one are absent and set is_odd. */
struct dht_msg {
	enum dht_kind kind;
	enum dht_method method; /* of a query */
	struct span tid;        /* 1..LIMIT_DHT_TID_BYTES */
	struct span version, ip;
	bool is_read_only; /* BEP 43 */
	bool is_odd;       /* an id, target or info_hash not of 20 bytes */
	struct span id, target, info_hash; /* 20 bytes */
	struct span token;
	struct span nodes, nodes6; /* multiples of 26 and 38 */
	struct bnode values;       /* list of 6 or 18 bytes */
	bool has_want, want4, want6;
	bool has_port, has_seq, has_cas;
	int64_t port, implied_port, seed, scrape, noseed, seq, cas;
	int64_t interval, num; /* -1: absent */
	struct span samples;
	struct span k, sig, salt, v; /* v: bencoded, as it came */
	struct span bf_seeds, bf_peers;
	int64_t code; /* of an error */
};

/* False: not a message, silence is the answer. */
bool dht_msg_parse(const uint8_t *bytes, size_t len, struct dht_msg *out);

/* --- writing --- */

/* Keys and values; the caller keeps keys sorted. */
void dht_put_key(struct wcursor *c, const char *key);
void dht_put_str(struct wcursor *c, const void *s, size_t len);
void dht_put_int(struct wcursor *c, int64_t v);
void dht_put_raw(struct wcursor *c, const void *s, size_t len);
static inline void dht_key_str(struct wcursor *c, const char *key,
			       const void *s, size_t len)
{
	dht_put_key(c, key);
	dht_put_str(c, s, len);
}

/* {e: [code, text], t, v, y}. Returns the length. */
size_t dht_write_error(uint8_t *out, size_t size, struct span tid,
		       enum dht_code code, const char *text);

#define DHT_VERSION "WF\0\1" /* 4 bytes, top-level "v" */
