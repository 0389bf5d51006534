/* tests/dht/net.h: mainline nodes on the simulator. */
#pragma once

#include "dht/dht.h"
#include "dht/kad_lookup.h"
#include "tests/dht/sim.h"

struct net_node {
	struct sim *sim;
	struct net *net;
	uint32_t host;
	uint32_t host6;  /* of a node on both families; or SIM_NOBODY */
	struct dht *dht; /* NULL: off */
	bool is_natted;
	struct kad_id id;
	int64_t up_ms, down_ms; /* down: when it went off, while off */
};

struct net {
	struct sim *sim;
	struct net_node *nodes; /* owned */
	unsigned num, max;
	struct dht_options options;
	struct addr boot;  /* who is asked for nodes; family 0: nobody */
	struct addr boot6; /* likewise, by those without IPv4 */
	unsigned asked;    /* times that somebody wanted nodes */
};

struct net *net_new(const struct sim_options *options, unsigned max);
void net_free(struct net *n);

/* A public IPv4 address, each in a /24 of its own. */
struct addr net_addr(unsigned i);
struct addr net_addr6(unsigned i); /* and IPv6, in a /64 of its own */
/* A node at ADDR with a BEP 42 id, switched on. Its number. */
unsigned net_add(struct net *n, const struct addr *addr, bool is_natted);
/* The same on both families: the simulator sees two hosts. It stays on. */
unsigned net_add_dual(struct net *n, const struct addr *four,
		      const struct addr *six);
void net_off(struct net *n, unsigned i);
void net_on(struct net *n, unsigned i); /* as a new node at the old address */
struct kad *net_kad(struct net *n, unsigned i);
void net_poke(struct net *n, unsigned i);

/* Fills all tables from the nodes that can be reached, and GHOSTS who are
 * not there any more. */
void net_seed(struct net *n, const struct kad_contact *ghosts,
	      unsigned num_ghosts);
/* A contact with a right to its id. */
struct kad_contact net_contact(struct net *n, const struct addr *addr);

/* The K closest to TARGET of those that can be reached and were up at some
 * time since SINCE_MS; not ME. Returns how many. */
unsigned net_closest(struct net *n, const struct kad_id *target,
		     int64_t since_ms, unsigned me, unsigned k, unsigned *out);

/* What came of an operation; give it as ARG. */
struct outcome {
	bool is_done;
	struct dht_result r;
	struct kad_contact nodes[2 * KAD_FOUND_MAX]; /* in place of r.nodes */
	unsigned peers, false_peers;                 /* as a test counts them */
};
void outcome_on_done(void *arg, const struct dht_result *r);
