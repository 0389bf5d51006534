/* dht/kad_table.h: the nodes we know, one address family of one overlay.
 *
 * Bucket i holds nodes that share exactly i leading bits with us. The first
 * four are wide, 16k 8k 4k 2k, the others hold k: one lookup's first step then
 * gets seven bits closer instead of three. Next to each bucket lie up to k
 * spares, nodes that answered when the bucket was full.
 *
 * What holds of every node in a bucket: it answered a query of ours, from the
 * address it was sent to, under this id; no other node of the table has its
 * address; no other node of its bucket is in its /24 (IPv6: /64). Who only
 * asked us something is a candidate: to be pinged later, when a hole that his
 * packet made in some NAT has closed again.
 *
 * Takes time as an argument; no I/O. One thread at a time. */
#pragma once

#include <stddef.h>

#include "dht/kad_id.h"
#include "engine/base/limits.h"

#define KAD_RTT_UNKNOWN UINT16_MAX

struct kad_node {
	struct kad_id id; /* first: closeness is judged by its first 8 bytes */
	struct addr addr;
	uint16_t rtt_ms;
	uint8_t fails;    /* queries in a row without an answer */
	uint8_t timeouts; /* the same; counts while nobody answers, too */
	bool is_verified; /* the id rule holds (BEP 42 in mainline) */
	int64_t first_ms; /* first answer */
	int64_t answered_ms, asked_ms;
};

enum kad_state {
	KAD_GOOD,    /* told to others */
	KAD_SUSPECT, /* checked again soon */
	KAD_DEAD,    /* gives its place to whoever comes */
};

/* What an overlay decides. Constant while in use. */
struct kad_rules {
	unsigned k; /* 1..LIMIT_KAD_K: nodes that answer for a key */
	/* Id rule: has this address a right to this id? */
	bool (*is_verified)(void *arg, const struct kad_id *id,
			    const struct addr *addr);
	/* Liveness rule. NULL: kad_state_by_fails. */
	enum kad_state (*state)(void *arg, const struct kad_node *node);
	/* May two of one subnet be in a lookup, as their ids are apart? NULL:
	 * never. An id rule that binds ids to subnets may allow it. */
	bool (*is_apart)(void *arg, const struct kad_id *a,
			 const struct kad_id *b);
	void *arg; /* borrowed; for all of them */
	/* The limits on addresses and subnets spare loopback, private and
	 * link-local ones: for private swarms and tests. */
	bool exempt_local;
	int64_t stale_ms;     /* without an answer for so long: is pinged */
	int64_t candidate_ms; /* wait before an unsolicited sender is pinged */
};

/* Good without failures; dead from the third on. */
enum kad_state kad_state_by_fails(void *arg, const struct kad_node *node);

struct kad_bucket {
	struct kad_node *nodes; /* owned; `cap` nodes, then k spares */
	uint16_t cap, num, num_spares;
};

struct kad_candidate {
	struct kad_contact contact;
	int64_t due_ms;
};

struct kad_table_stats {
	unsigned nodes, good, spares, candidates, buckets;
};

struct kad_table {
	const struct kad_rules *rules; /* borrowed */
	struct kad_id self;
	struct kad_bucket buckets[KAD_ID_BITS];
	unsigned depth; /* buckets from here on are empty */
	unsigned num_nodes;
	uint32_t changes; /* grows when a node comes, goes, falls or rises */
	unsigned num_candidates;
	unsigned candidate_floor; /* who shares fewer bits finds no room */
	int64_t full_ms; /* next look at a sender whose bucket is full */
	struct kad_candidate candidates[LIMIT_KAD_CANDIDATES];
};

void kad_table_init(struct kad_table *t, const struct kad_rules *rules,
		    const struct kad_id *self);
void kad_table_release(struct kad_table *t);
/* Our id changed: every node finds its new place, or none. */
void kad_table_set_self(struct kad_table *t, const struct kad_id *self);

/* CONTACT answered a query of ours. RTT_MS may be KAD_RTT_UNKNOWN. True: it is
 * in the table. */
bool kad_table_on_answer(struct kad_table *t, int64_t now_ms,
			 const struct kad_contact *contact, uint16_t rtt_ms);
/* It did not, though it was asked TRIES times. It does not become dead while
 * IS_OUTAGE: nobody answers, so it may be our own line that is. */
void kad_table_on_timeout(struct kad_table *t,
			  const struct kad_contact *contact, unsigned tries,
			  bool is_outage);
/* Somebody else answers at ADDR: who was thought to be there goes. */
void kad_table_evict(struct kad_table *t, const struct kad_id *id,
		     const struct addr *addr);
/* CONTACT asked us something (!IS_HEARD), or was told of. Becomes a candidate
 * if the table would take it. */
void kad_table_suggest(struct kad_table *t, int64_t now_ms,
		       const struct kad_contact *contact, bool is_heard);

/* The N closest to TARGET, closest first, all good. Returns how many. What OUT
 * points to is valid until the table changes. */
unsigned kad_table_closest(const struct kad_table *t,
			   const struct kad_id *target, unsigned n,
			   const struct kad_node **out);
/* The same with suspects as well: to begin a lookup with. */
unsigned kad_table_closest_any(const struct kad_table *t,
			       const struct kad_id *target, unsigned n,
			       const struct kad_node **out);

/*
 * Takes out a candidate that is to be pinged now. Table short of nodes: none
 * waits. False: nobody; *next_ms is when.
 */
bool kad_table_next_candidate(struct kad_table *t, int64_t now_ms,
			      struct kad_contact *out, int64_t *next_ms);
/* The good node that was silent for longest, and notes that it will be asked.
 * NULL: each was heard of in the last SILENT_MS. */
struct kad_node *kad_table_next_stale(struct kad_table *t, int64_t now_ms,
				      int64_t silent_ms);
/* Who failed to answer and is to be asked again, likewise. NULL: nobody before
 * *next_ms. */
struct kad_node *kad_table_next_suspect(struct kad_table *t, int64_t now_ms,
					int64_t *next_ms);
bool kad_table_is_short(const struct kad_table *t); /* fewer than 4k good */
/* Is there room in the bucket that ID belongs to? */
bool kad_table_has_room(const struct kad_table *t, const struct kad_id *id);

/* Good nodes to be kept on disk, freshest buckets' first. Returns how many. */
unsigned kad_table_save(const struct kad_table *t, struct kad_contact *out,
			unsigned max);

const struct kad_node *kad_table_find(const struct kad_table *t,
				      const struct kad_id *id);
enum kad_state kad_table_state(const struct kad_table *t,
			       const struct kad_node *n);
void kad_table_stats(const struct kad_table *t, struct kad_table_stats *out);

/* What an address may hold one of: the limits do not know this one. */
bool kad_addr_is_exempt(const struct kad_rules *rules, const struct addr *addr);
/* May a node at FROM send us to ADDR? What is private there is not what is
 * private here. */
bool kad_addr_may_tell(const struct kad_rules *rules, const struct addr *from,
		       const struct addr *addr);
/* Equal in the first 24 bits, IPv6 64. */
bool kad_addr_same_net(const struct addr *a, const struct addr *b);
