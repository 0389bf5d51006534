/* tests/tracker/syncnet.h: trackers that replicate, on the simulator: ktnet's
 * nodes with swarms and sync beside them, and what announces to them. Peers are
 * numbers, so that what a tracker holds is an array. */
#pragma once

#include "tests/tracker/ktnet.h"
#include "tracker/overlay/sync.h"

struct syncnet_node {
	struct syncnet *net;
	struct sync *sync;     /* NULL: off */
	struct swarms *swarms; /* NULL: off */
	int64_t clock_ms;      /* swarms_tick is due */
	int64_t skew_ms;       /* of its clock: minutes begin elsewhere */
	unsigned group;        /* only who is in the same one is heard */
};

struct syncnet {
	struct ktnet *kt;
	struct sim *sim;            /* of kt */
	struct syncnet_node *nodes; /* owned; as kt->nodes */
	unsigned ttl_min;
	uint64_t cpu_us; /* spent in sync */
	/* Hears what trackers send. May be NULL. */
	void (*on_send)(void *arg, unsigned from, const struct addr *to,
			const uint8_t *bytes, size_t len);
	void *arg;
};

/* What a tracker holds of a peer: 0 nothing, else 1 + enum swarm_state. */
#define SYNCNET_NOTHING 0
#define SYNCNET_GONE    (1 + SWARM_GONE)

struct syncnet *syncnet_new(const struct sim_options *options, unsigned max);
void syncnet_free(struct syncnet *n);
/* NUM trackers that have known each other for long. */
void syncnet_grow(struct syncnet *n, unsigned num);
unsigned syncnet_join(struct syncnet *n);        /* one more, with nothing */
void syncnet_off(struct syncnet *n, unsigned i); /* as by kill -9 */
void syncnet_on(struct syncnet *n, unsigned i);  /* its key, no swarms */
void syncnet_run(struct syncnet *n, int64_t ms);

struct infohash syncnet_swarm(unsigned swarm);
/* PEER: below 1 << 24. */
struct addr syncnet_peer(unsigned peer, bool is_v6);

struct syncnet_announce {
	unsigned swarm, peer;
	enum announce_event event;
	bool is_seed, is_v6;
	const struct kad_id *key; /* NULL: none */
};
void syncnet_announce(struct syncnet *n, unsigned i,
		      const struct syncnet_announce *a);
/* Indices of the owners, by brute force. */
unsigned syncnet_owners(struct syncnet *n, unsigned swarm,
			unsigned out[KT_REPLICAS]);
/* HELD[peer], NUM of them, of one swarm or (swarm < 0) of all. Returns how many
 * are there that have not left. */
unsigned syncnet_held(struct syncnet *n, unsigned i, int swarm, uint8_t *held,
		      unsigned num);
struct sync_stats syncnet_stats(struct syncnet *n, unsigned i);
