/* tracker/overlay/dns_bridge.h: the overlay for clients that know DNS alone: a
 * name server for DOMAIN and nothing else, on UDP over libevent's evdns and on
 * TCP (dns_tcp.h). What it says: dns_answer.c; when: dns_desk.c. It asks nobody
 * else. Loop thread only. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/overlay/dns_desk.h"

struct dns_bridge;

struct dns_bridge_options {
	const char *domain;   /* copied */
	uint16_t port;        /* on which trackers serve; dns_zone */
	bool has_txt;         /* BEP 34 */
	bool has_local_limit; /* private sources have limits, too */
	/* Of dns_desk. Family 0: an address that we listen on. */
	struct addr self4, self6;
};

/* KT is borrowed. */
struct dns_bridge *dns_bridge_new(struct loop *loop, struct kt *kt,
				  const struct dns_bridge_options *options);
/* Who waits hears what is known now. NULL is harmless. */
void dns_bridge_free(struct dns_bridge *b);

/* Answers there from now on, UDP and TCP; port 0: the kernel chooses. BOUND may
 * be NULL.
 * Returns 0, -E2BIG past LIMIT_DNS_PORTS, or -errno. */
int dns_bridge_listen(struct dns_bridge *b, const struct addr *on,
		      struct addr *bound);

struct dns_bridge_stats {
	struct dns_desk_stats desk;
	uint64_t malformed; /* not one question */
	uint64_t limited;   /* dropped, or told to come by TCP */
};
void dns_bridge_stats(const struct dns_bridge *b, struct dns_bridge_stats *out);
