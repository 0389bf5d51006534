/* tracker/server/packets.h: the UDP side of the tracker (BEP 15, 41): N threads
 * for every address, with a SO_REUSEPORT socket each. A thread waits in
 * recvmmsg, answers what came at once, and sends that with one sendmmsg.
 *
 * Datagrams that begin with 'd' (KRPC) or 'K' (owners' sync) are the overlay's:
 * they go to the loop through a bounded queue. No connection id of ours begins
 * with either.
 *
 * Answers leave from the address that the datagram was sent to, whatever the
 * socket is bound to. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/server/policy.h"

struct packets;

struct packets_options {
	struct tracker_policy *policy; /* borrowed */
	const struct addr *binds;      /* with ports; 0: any free one */
	size_t num_binds;
	unsigned threads; /* 0: one for each core, at most 64 */
	/* The overlay's, on the loop thread; NULL: dropped. BYTES are borrowed
	 * until return. */
	void (*on_overlay)(void *arg, const struct addr *from,
			   const uint8_t *bytes, size_t len);
	void *arg; /* borrowed */
};

/* Returns 0, or -errno with WHY for people and nothing bound. */
int packets_start(struct loop *loop, const struct packets_options *options,
		  struct packets **out, char *why, size_t why_size);
void packets_stop(struct packets *p); /* joins the threads; NULL is harmless */

/* Where the I-th of binds is, with its port. */
void packets_address(const struct packets *p, size_t i, struct addr *out);

/* From the tracker's own port. Within on_overlay, what is sent to who is being
 * listened to leaves from the address that it had asked; all else from the
 * first of its family. Loop thread. Returns 0 or -errno. */
int packets_send(struct packets *p, const struct addr *to, const void *bytes,
		 size_t len);

struct packets_stats {
	uint64_t connects, announces, scrapes, errors_out;
	uint64_t bad_connection_id, malformed, rate_limited, denied;
	uint64_t overlay_in, overlay_dropped, send_failed;
};
void packets_stats(struct packets *p, struct packets_stats *out);
