/* engine/swarm.h: the addresses of a torrent: whom to connect to next, whom
 * never again. Pure: time is an argument. Loop thread only.
 *
 * An address is tried when it is not connected, not banned, and its waiting
 * time is over: 60 s x (failures + 1) after a failure or a lost connection.
 * After LIMIT_PEER_FAILURES failures it is given up until a source names it
 * again or a reader is in need (swarm_hurry); then it gets one more chance.
 * Addresses a person gave are never given up, and tried again after 5 s.
 * Order: given by a person first, then fewest failures, then longest untried.
 */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/peersource.h"

struct swarm;

struct candidate {
	struct addr addr;
	enum peer_origin origin; /* the best one that named it */
	unsigned failures;
	int64_t next_try_ms, tried_ms;
	bool is_connected, is_banned;
	bool is_self;  /* it answered with our own peer id */
	bool was_seed; /* of no use to a seed */
	bool is_shy;   /* greeted with much at once, it left */
};

struct swarm *swarm_new(void);
void swarm_free(struct swarm *s);
/* True when there is something new to try: the address is new, or has one more
 * chance. Martians and, over LIMIT_PEER_CANDIDATES, the worst addresses are
 * dropped. */
bool swarm_add(struct swarm *s, const struct addr *a, enum peer_origin origin);
/* The address to try now, or NULL. *wait_ms: until there may be one, -1: not
 * before news. AM_SEED: seeds are left out. */
struct candidate *swarm_next(struct swarm *s, bool am_seed, int64_t now_ms,
			     int64_t *wait_ms);
struct candidate *swarm_find(struct swarm *s, const struct addr *a);
void swarm_on_connecting(struct candidate *c, int64_t now_ms);
/* The connection ended. GOOD: it got as far as a handshake. */
void swarm_on_lost(struct swarm *s, const struct addr *a, bool good,
		   int64_t now_ms);
/* It was not even tried: no route, no descriptor. */
void swarm_on_not_tried(struct swarm *s, const struct addr *a, int64_t now_ms);
/* Bans every port of A's address. */
void swarm_ban(struct swarm *s, const struct addr *a);
bool swarm_is_banned(struct swarm *s, const struct addr *a);
size_t swarm_size(const struct swarm *s);
/* Addresses not yet given up. */
size_t swarm_num_usable(const struct swarm *s);
/* Is there an address of which nobody knows yet whether it answers? */
bool swarm_has_untried(const struct swarm *s, int64_t now_ms);
/* All waiting times end now: somebody waits for data. At most every 10 s; true
 * when it was done. */
bool swarm_hurry(struct swarm *s, int64_t now_ms);
