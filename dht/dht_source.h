/* dht/dht_source.h: the DHT as a source of peers. Each torrent that is not
 * private is looked up and announced every 15 to 30 minutes, some at a time.
 * While the table is short, the nodes that a torrent names are asked as well.
 * Loop thread only. */
#pragma once

#include "dht/dht.h"
#include "engine/base/loop.h"
#include "engine/base/peersource.h"
#include "engine/base/worker.h"

struct dht_source;

struct dht_source_options {
	uint16_t port;     /* where peers reach us */
	bool implied_port; /* or at the port that the DHT is seen at: NAT */
	struct workers *workers; /* borrowed; NULL: no names are looked up */
};

/* DHT and LOOP are borrowed. */
struct dht_source *dht_source_new(struct loop *loop, struct dht *dht,
				  const struct dht_source_options *options);
void dht_source_free(struct dht_source *s); /* all jobs have been stopped */
struct peersource *dht_source_face(struct dht_source *s);
