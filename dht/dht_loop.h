/* dht/dht_loop.h: a DHT node on the loop: UDP_KRPC of the port, timers, names
 * of the nodes to start from. Loop thread only. */
#pragma once

#include "dht/dht.h"
#include "engine/base/udp.h"
#include "engine/base/worker.h"

struct dht_loop;

struct dht_loop_options {
	bool is_read_only, allow_local;
	/* What strangers may cost; 0: the defaults of limits.h. */
	unsigned upload_bps, queries_per_s, address_per_s;
	/* "host", "host:port"; NULL: public ones. Copied. */
	const char *const *bootstrap;
	size_t num_bootstrap;
};

/* UDP, LOOP and WORKERS are borrowed. Takes over UDP_KRPC there. Begins on the
 * next turn: dht_load comes before that. */
struct dht_loop *dht_loop_new(struct loop *loop, struct workers *workers,
			      struct udp *udp,
			      const struct dht_loop_options *options);
/* All sources on it have been freed. Harmless on NULL. */
void dht_loop_free(struct dht_loop *l);

struct dht *dht_loop_node(struct dht_loop *l);
