/* tests/dht/sim.h: thousands of nodes in one process and virtual time. Every
 * packet has a delay that depends on who sends to whom, and may be lost; a node
 * behind a NAT gets nothing from an address that it has not sent to lately. All
 * chance comes from one seed: the same seed gives the same run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/random.h"

#define SIM_NOBODY UINT32_MAX

struct sim;

struct sim_options {
	uint64_t seed;
	unsigned max_hosts;
	unsigned loss_permille;
	unsigned rtt_min_ms, rtt_max_ms; /* of a pair, fixed for it */
	unsigned jitter_ms;              /* of a packet */
};

struct sim_ops { /* a program on a host */
	void (*on_packet)(void *node, int64_t now_ms, const struct addr *from,
			  const uint8_t *bytes, size_t len);
	void (*tick)(void *node, int64_t now_ms);
	int64_t (*next_ms)(void *node);
};

struct sim_traffic {
	uint64_t packets_out, bytes_out, packets_in, bytes_in;
};

struct sim *sim_new(const struct sim_options *options);
void sim_free(struct sim *s);
int64_t sim_now(const struct sim *s);
uint64_t sim_random(struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t bound);

/* A host at ADDR, which nobody has yet. Its number. */
uint32_t sim_add(struct sim *s, const struct addr *addr, bool is_natted);
/* Runs NODE on HOST; ops NULL: switches it off. */
void sim_run_node(struct sim *s, uint32_t host, const struct sim_ops *ops,
		  void *node);
/* The node did something outside a callback: looks again when it is due. */
void sim_poke(struct sim *s, uint32_t host);
uint32_t sim_find(const struct sim *s, const struct addr *addr);
const struct addr *sim_addr(const struct sim *s, uint32_t host);
const struct sim_traffic *sim_traffic(const struct sim *s, uint32_t host);

void sim_send(struct sim *s, uint32_t host, const struct addr *to,
	      const uint8_t *bytes, size_t len);
/* A packet with a forged sender. */
void sim_send_as(struct sim *s, const struct addr *from, const struct addr *to,
		 const uint8_t *bytes, size_t len);

void sim_run(struct sim *s, int64_t until_ms);
/* Until *STOP or then. */
void sim_run_until(struct sim *s, const bool *stop, int64_t until_ms);
