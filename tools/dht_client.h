/* tools/dht_client.h: a DHT node for one command: loop, workers, UDP port, a
 * node that asks and is in nobody's table (BEP 43), ^C. */
#pragma once

#include "dht/dht.h"
#include "dht/dht_loop.h"
#include "engine/base/udp.h"
#include "fs/opts.h"
#include "tools/command.h"

struct dht_client {
	struct opts opts;       /* dht_client_init to dht_client_close */
	unsigned queries_per_s; /* 0: the default; set before opening */
	struct loop *loop;
	struct workers *workers;
	struct udp *udp;
	struct dht_loop *node;
	struct dht *dht;
	struct event on_int, on_term;
	int exit_code;
};

void dht_client_init(struct dht_client *c);
/* The node begins to look for others at once. SERVES: it answers them too and
 * may be in their tables. 0, or an exit code after saying why. */
int dht_client_open(struct dht_client *c, bool serves);
/* Until dht_client_stop or ^C. Returns the exit code. */
int dht_client_run(struct dht_client *c);
void dht_client_stop(struct dht_client *c, int exit_code);
void dht_client_close(struct dht_client *c); /* legal at any time after init */

/* Why nothing was found, for people. */
const char *dht_client_excuse(struct dht_client *c);
