/* tracker/server/packets.h: the UDP side of the tracker (BEP 15, 41): N threads
 * with a SO_REUSEPORT socket each for every address, batches of datagrams in
 * and out with recvmmsg and sendmmsg, answers made in place.
 *
 * Datagrams that begin with 'd' (KRPC) or 'K' (owners' sync) are the overlay's:
 * they go to the loop through a bounded queue. No connection id of ours begins
 * with either. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/server/policy.h"

struct packets;

struct packets_options {
	struct tracker_policy *policy; /* borrowed */
	const struct addr *binds;      /* with ports */
	size_t num_binds;
	unsigned threads; /* 0: one for each core, at most 64 */
	/* The overlay's, on the loop thread; NULL: dropped. TO is the local
	 * address of the socket. BYTES are borrowed until return. */
	void (*on_overlay)(void *arg, const struct addr *from,
			   const uint8_t *bytes, size_t len);
	void *arg; /* borrowed */
};

/* Returns 0, or -errno with WHY for people and nothing bound. */
int packets_start(struct loop *loop, const struct packets_options *options,
		  struct packets **out, char *why, size_t why_size);
void packets_stop(struct packets *p); /* joins the threads; NULL is harmless */

/* From the tracker's own port. Loop thread. Returns 0 or -errno. */
int packets_send(struct packets *p, const struct addr *to, const void *bytes,
		 size_t len);

struct packets_stats {
	uint64_t connects, announces, scrapes, errors_out;
	uint64_t bad_connection_id, malformed, rate_limited, denied;
	uint64_t overlay_in, overlay_dropped, send_failed;
};
void packets_stats(struct packets *p, struct packets_stats *out);
