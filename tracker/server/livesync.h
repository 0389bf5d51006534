/* tracker/server/livesync.h: a member of a cluster of opentrackers ("live
 * sync"): what is announced here is multicast to the others on the local net,
 * and what they say is believed and not told on (livesync_packet.h is the
 * format).
 *
 * The protocol has no signatures: whoever can send datagrams from an allowed
 * source, or forge its address, writes into the swarms. Use it on a net where
 * nobody else can.
 *
 * Loop thread. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/server/policy.h"

#define LIVESYNC_GROUP "224.0.23.5"
#define LIVESYNC_PORT  9696

struct livesync;

struct livesync_options {
	/* The address of the interface, IPv4, and the port of all members; port
	 * 0: LIVESYNC_PORT. */
	struct addr bind;
	struct addr group;                /* family 0: LIVESYNC_GROUP */
	struct swarms *swarms;            /* borrowed */
	const struct access_list *access; /* NULL: every torrent; borrowed */
	const struct subnet *sources;     /* who is believed; copied */
	size_t num_sources;               /* 1 to LIMIT_LIVESYNC_SOURCES */
	/* IPv4 peers as ::ffff:a.b.c.d. Opentrackers of 2024 to 2026 take
	 * IPv4 records for IPv6 ones and list nonsense; this form they
	 * understand. Older ones understand only the other. */
	bool is_v4_mapped;
};

/* Returns 0, or -errno with WHY for people and nothing open. */
int livesync_start(struct loop *loop, const struct livesync_options *options,
		   struct livesync **out, char *why, size_t why_size);
/* What waits goes out before. NULL is harmless. */
void livesync_stop(struct livesync *l);

/* Announces that were answered here, as the queue brings them (tellq.h; the
 * swarms must be told that they are replicated, or they tell nothing). A
 * renewal among them is told only when copies grow old, so it always goes. */
void livesync_tell(struct livesync *l, const struct telling *t, size_t n);

/* A datagram of the group: the sockets' way in, and tests'. BYTES are borrowed
 * until return. */
void livesync_receive(struct livesync *l, const struct addr *from,
		      const uint8_t *bytes, size_t len);

struct livesync_stats {
	uint64_t packets_out, records_out, send_failed;
	uint64_t packets_in, records_in, news_in; /* believed */
	/* Not believed: datagrams, but for the last two. */
	uint64_t strangers, own, over_rate, malformed, unknown_type;
	uint64_t martians, denied; /* records */
};
void livesync_stats(const struct livesync *l, struct livesync_stats *out);
