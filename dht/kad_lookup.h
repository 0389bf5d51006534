/* dht/kad_lookup.h: the iterative lookup: ask the closest nodes known for
 * closer ones until the k closest have answered.
 *
 * Aggressive at the top: what is limited (alpha) is how many of the closest
 * known are being waited for; those farther down do not count, nor does who is
 * slow. Once the closest of all has answered, all of the k closest are asked
 * at once. Who is among the k closest and silent is asked again at the pace of
 * usual round trips, up to four times: with one packet in ten lost, one try
 * misses each fifth node, four one in seven hundred. Then it is left behind;
 * LIMIT_KAD_TIMEOUT_MS is the end in any case.
 *
 * Ends when the k closest known have answered, or nobody is left to ask and
 * nobody in flight: so it is right with one node or two.
 *
 * Against those who sit around a key on purpose: one node per address and per
 * subnet; who has no right to its id does not count as one of the k, and if k
 * who have are implausibly close for the size of the overlay, more are asked
 * (both up to 3k in all); a liar can name only as many as one answer holds. */
#pragma once

#include "dht/kad.h"

struct kad_lookup;

struct kad_found {
	struct kad_contact contact;
	bool is_verified;
	uint8_t hops; /* 1: was in our table */
	uint8_t token_len;
	uint8_t token[LIMIT_KAD_TOKEN_BYTES];
};

#define KAD_FOUND_MAX (3 * LIMIT_KAD_K)

struct kad_lookup_result {
	const struct kad_found *nodes; /* that answered, closest first */
	unsigned num_nodes;
	unsigned queries, answers, hops;
	int64_t took_ms;
	bool is_suspicious; /* they are implausibly close: nearer than this */
	double plausible;   /* part of all ids; 0: no opinion */
};

struct kad_lookup_spec {
	struct kad_id target;
	uint8_t method;  /* KAD_FIND or an overlay's own */
	const void *ctx; /* borrowed until the end; for the codec */
	unsigned alpha;  /* 0: 5 */
	/* How often a silent one of the closest is asked, up to KAD_SENDS_MAX;
	 * 0: KAD_SENDS_USUAL. */
	unsigned sends;
	/* Each answer as it comes. May be NULL. */
	void (*on_answer)(void *arg, const struct kad_found *from,
			  const struct kad_msg *msg);
	/* Borrowed until return; the lookup is gone. Called from kad_tick or
	 * kad_on_packet. */
	void (*on_done)(void *arg, const struct kad_lookup_result *result);
	void *arg; /* borrowed */
};

/* Starts with the closest nodes of the table. NULL: LIMIT_KAD_LOOKUPS. */
struct kad_lookup *kad_lookup_start(struct kad *k, int64_t now_ms,
				    const struct kad_lookup_spec *spec);
void kad_lookup_cancel(struct kad_lookup *lookup); /* no callback any more */
/* Another node to start from, or one whose id is not known (ID NULL). */
void kad_lookup_add(struct kad_lookup *lookup, const struct kad_id *id,
		    const struct addr *addr);
/* Does not end before it is told so: somebody may still be added. */
void kad_lookup_hold(struct kad_lookup *lookup, bool hold);

/* For kad.c. */
void kad_lookup_step_all(struct kad *k, int64_t now_ms);
