/* tracker/overlay/kt_msg.h: messages between trackers and to their clients:
 * KRPC as mainline has it, with the realm as top-level "n" in queries, answers
 * and errors. Keys of "a" and "r", sorted:
 *
 *   c       8 bytes: prove your key over this (query), for
 *   ep      compact address that the query goes to (query)
 *   cert    certificate of a closed realm (answer)
 *   id      of the sender
 *   k sig   public key, and the proof of kt_id.h (answer)
 *   new new6  of nodes and nodes6, which the answerer has not known for
 *           KT_SETTLED_MS: a byte, bit i for the i-th; left out if 0 (answer)
 *   nodes nodes6 own own6   id and compact address, 26 or 38 bytes each
 *   target  20 bytes
 *   token   as in mainline
 *   tr      what a tracker says of itself: {f: flags, h: http port, l: load
 *           0..255, s: https port, t: uptime in s, u: udp port, w: websocket
 *           port}; ours have no f and w, and what is 0 is left out
 *   want    list of n4, n6
 *   zpad    nothing, so that the answer may be long
 *
 * At top level: ip (answer), n, q, ro (BEP 43), t, v, y. Nothing here is longer
 * than KT_PACKET_BYTES. No allocation, no state. Any thread. */
#pragma once

#include "tracker/overlay/kt.h"

#include "dht/dht_msg.h"

#define KT_PACKET_BYTES    1232 /* IPv6's least MTU without its headers */
#define KT_CHALLENGE_BYTES 8

enum kt_method { /* the first two are the core's */
	KT_PING,
	KT_FIND,
	KT_OWN,
	KT_UNKNOWN
};

/* What was not in the message, or of a wrong length, is {NULL, 0} or false. */
struct kt_msg {
	enum dht_kind kind;
	enum kt_method method; /* of a query */
	struct span tid;       /* 1..LIMIT_DHT_TID_BYTES */
	struct span realm;     /* 8 bytes, always there */
	struct span ip, version;
	bool is_read_only;
	struct span id, target; /* 20 bytes */
	struct span token;
	struct span nodes, nodes6, own, own6; /* whole contacts */
	struct span fresh[2];                 /* a byte; of nodes, nodes6 */
	struct span challenge;                /* 8 bytes */
	struct span endpoint;                 /* 6 or 18 bytes */
	struct span pk, sig, cert;
	bool want[2]; /* IPv4, IPv6 */
	bool has_tr;
	struct kt_tracker tr;
	int64_t code; /* of an error */
};

/* False: not a message of any overlay of trackers. */
bool kt_msg_parse(const uint8_t *bytes, size_t len, struct kt_msg *out);
/* Quick: is it worth to be parsed by who is of REALM? */
bool kt_msg_is_of(const uint8_t *bytes, size_t len,
		  const uint8_t realm[KT_REALM_BYTES]);

/* To write; absent spans and NULLs are left out. PAD_TO: length at least. Both
 * return the length, 0: does not fit. */
struct kt_query {
	const uint8_t *realm;
	struct span tid;
	enum kt_method method;
	bool is_read_only;
	struct span id, target, token, challenge, endpoint;
	const struct kt_tracker *tr;
	bool want[2];
	size_t pad_to;
};
size_t kt_msg_write_query(uint8_t *out, size_t size, const struct kt_query *q);

struct kt_answer {
	const uint8_t *realm;
	struct span tid, id, token, nodes, nodes6, own, own6, pk, sig, cert;
	const struct addr *ip; /* whom we answer */
	const struct kt_tracker *tr;
	bool has_nodes[2]; /* an empty list is said as well */
	uint8_t fresh[2];
};
size_t kt_msg_write_answer(uint8_t *out, size_t size,
			   const struct kt_answer *a);
size_t kt_msg_write_error(uint8_t *out, size_t size, const uint8_t *realm,
			  struct span tid, enum dht_code code,
			  const char *text);
