/* tracker/server/udp_answer.h: what the tracker answers to a datagram (BEP 15,
 * 41). Bytes in, bytes out; no socket, no clock.
 *
 * A connection id is a keyed hash of its time window and of the address that it
 * was given to. It is good in that window of two minutes and in the next. None
 * begins with 'd', 'K' or zero: the first byte of a datagram tells KRPC, owners
 * and connects from all that needs an id.
 *
 * An asker belongs to one thread; the core is shared and never changes. */
#pragma once

#include <stdatomic.h>

#include "engine/base/random.h"
#include "tracker/server/policy.h"

#define UDP_ANSWER_BYTES 1232 /* the most that passes everywhere (IPv6) */

struct udp_counts { /* written by one thread, read by any */
	atomic_uint_fast64_t connects, announces, scrapes, errors_out;
	atomic_uint_fast64_t bad_connection_id, malformed, rate_limited, denied;
	atomic_uint_fast64_t overlay_in, overlay_dropped, send_failed;
};

/* Cheaper than an atomic addition: only one thread writes. */
static inline void udp_count(atomic_uint_fast64_t *c)
{
	atomic_store_explicit(c,
			      atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

struct udp_core {
	struct tracker_policy *policy; /* borrowed */
	uint64_t key[2];               /* of connection ids */
};

struct udp_asker {
	const struct udp_core *core;
	struct udp_counts *counts; /* borrowed */
	struct prng random; /* jitter, and where windows of peers begin */
	int64_t now_ms;     /* monotonic; set before each batch */
};

/* Returns the length of the answer; 0: silence is best. FROM is IPv4 for mapped
 * addresses, as struct addr always is. */
size_t udp_answer(struct udp_asker *a, const struct addr *from,
		  const uint8_t *in, size_t len, uint8_t out[UDP_ANSWER_BYTES]);

/* The id that FROM has now. */
uint64_t udp_connection_id(const struct udp_core *core, int64_t now_ms,
			   const struct addr *from);

/* The KEY that the options behind an announce name (BEP 41): a path
 * "/KEY/announce", or "kt=KEY" in a query. Returns its length, 0: none. */
size_t udp_announce_key(const uint8_t *options, size_t len, char *out,
			size_t size);
