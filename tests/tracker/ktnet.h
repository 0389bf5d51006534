/* tests/tracker/ktnet.h: an overlay of trackers on the simulator, and clients
 * that ask it. */
#pragma once

#include "tests/dht/sim.h"
#include "tracker/overlay/kt_private.h"

#define KTNET_DOMAIN "bt.example.org"

struct ktnet_node {
	struct ktnet *net;
	uint32_t host;
	uint32_t host6; /* of a node on both families; or SIM_NOBODY */
	struct kt *kt;  /* NULL: off */
	struct kad_id id;
	uint8_t seed[KT_SEED_BYTES];
	bool is_client;
	unsigned changes; /* that it told of */
};

struct ktnet {
	struct sim *sim;
	struct ktnet_node *nodes; /* owned */
	unsigned num, max;
	struct kt_options options;
	struct addr boot;    /* who is asked for nodes; family 0: nobody */
	struct addr boot6;   /* likewise, by those without IPv4 */
	int64_t wall_s;      /* at the beginning */
	unsigned wall_asked; /* times that somebody looked at it */
	bool is_learnt;      /* nobody is told its address */
};

struct ktnet *ktnet_new(const struct sim_options *options, unsigned max);
void ktnet_free(struct ktnet *n);
/* Round trips of 60 to 140 ms; of 1000 packets LOSS are lost. */
struct ktnet *ktnet_plain(uint64_t seed, unsigned max, unsigned loss);

struct addr ktnet_addr(unsigned i); /* public, in a /24 of its own */
unsigned ktnet_add(struct ktnet *n, const struct addr *addr);
struct addr ktnet_addr6(unsigned i); /* in a /48 of its own */
/* On both families: the simulator sees two hosts. It stays on. */
unsigned ktnet_add_dual(struct ktnet *n, const struct addr *four,
			const struct addr *six, bool is_client);
unsigned ktnet_add_client(struct ktnet *n, const struct addr *addr);
void ktnet_off(struct ktnet *n, unsigned i);
void ktnet_on(struct ktnet *n, unsigned i); /* with its old key */
/* Trackers know each other as if for long: tables from all who are on, proofs
 * made, all settled. */
void ktnet_seed(struct ktnet *n);
/* The same with NUM of them, as if for long, and room for MORE nodes. */
struct ktnet *ktnet_old(uint64_t seed, unsigned num, unsigned more,
			unsigned loss);
/* N trackers that join one after the other, STEP_MS apart. */
void ktnet_join(struct ktnet *n, unsigned num, int64_t step_ms);
/* Adds who is ID at ADDR as if it had proven itself to I. */
struct kt_member *ktnet_prove(struct ktnet *n, unsigned i,
			      const struct kad_contact *who,
			      const uint8_t pk[KT_PK_BYTES], int64_t age_ms);
struct kad_id ktnet_random_id(struct ktnet *n);

struct ktnet_outcome {
	bool is_done;
	struct kt_found found;
	struct kt_owner owners[KT_OWNERS_MAX];
	unsigned calls;
};
void ktnet_on_found(void *arg, const struct kt_found *found);
/* By node I, until it is done. */
void ktnet_find(struct ktnet *n, unsigned i, const struct kad_id *key,
		struct ktnet_outcome *out);
/* The owners by brute force, of those that are on. Returns how many. */
unsigned ktnet_owners(const struct ktnet *n, const struct kad_id *key,
		      unsigned out[KT_REPLICAS]);
bool ktnet_is_right(const struct ktnet *n, const struct kad_id *key,
		    const struct ktnet_outcome *o);
