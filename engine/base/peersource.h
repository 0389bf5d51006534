/* engine/base/peersource.h: where peers come from.
 *
 * The engine needs peers, and those who find them need torrents; this page is
 * all they know of each other. tracker/ (and dht/) implement peersource_ops;
 * the engine holds a list of struct peersource and starts each one for each
 * torrent. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/id.h"

enum peer_origin {
	ORIGIN_TRACKER,
	ORIGIN_DHT,
	ORIGIN_PEX,
	ORIGIN_LSD,
	ORIGIN_USER, /* peer=HOST:PORT, x.pe of a magnet */
	ORIGIN_INCOMING,
};

/* How a torrent's transfer stands, asked when an announce goes out. */
struct peersource_stats {
	uint64_t uploaded, downloaded; /* payload bytes since the start */
	uint64_t left;        /* bytes missing; UINT64_MAX before metadata */
	unsigned wanted;      /* how many peers the engine would take now */
	bool is_partial_seed; /* nothing more is wanted, not all is here */
};

/* One torrent, as sources see it. Owned by the engine, alive from start() to
 * the return of stop(). */
struct swarm_face {
	struct infohash infohash; /* as on the wire */
	bool is_private;          /* BEP 27: trackers only */
	/* Announce URLs in order; tier_of[i] never falls. May grow (magnet:
	 * metadata came); then on_urls() is called. Borrowed. */
	const char *const *urls;
	const unsigned *tier_of;
	size_t num_urls;
	/* "nodes" of the .torrent (BEP 5), "host:port": hearsay, at most
	 * LIMIT_DHT_NODES, none of a private torrent. Come with the metadata.
	 * Borrowed. */
	const char *const *nodes;
	size_t num_nodes;

	void (*stats)(struct swarm_face *face, struct peersource_stats *out);
	/* News from a source. ADDRS and TEXT are borrowed until return. */
	void (*on_peers)(struct swarm_face *face, enum peer_origin origin,
			 const struct addr *addrs, size_t n);
	/* What went wrong or right, for people: "tracker http://..: reason".
	 * NULL text: all is well again. */
	void (*on_message)(struct swarm_face *face, const char *text);
	/* A source has asked everyone it knows once, found or not. */
	void (*on_round_done)(struct swarm_face *face);
};

struct peersource;
struct peersource_job; /* one torrent at one source; owned by the source */

struct peersource_ops {
	const char *name; /* "tracker", "dht" */
	/* Begins announcing FACE. NULL: nothing to do for such a torrent. */
	struct peersource_job *(*start)(struct peersource *source,
					struct swarm_face *face);
	void (*on_urls)(struct peersource_job *job);
	void (*on_complete)(struct peersource_job *job); /* became a seed */
	/* Peers are short: announce earlier, within what the source allows. */
	void (*more)(struct peersource_job *job);
	/* Ends the job: says goodbye (in the background, without FACE) if SAY,
	 * and never calls back. */
	void (*stop)(struct peersource_job *job, bool say);
	/* One line of JSON for status: state of each tracker. OUT has SIZE
	 * bytes. May be NULL. */
	void (*describe)(struct peersource_job *job, char *out, size_t size);
	/* A peer of a public torrent says that a DHT node is at ADDR (BEP 5).
	 * Hearsay, at most one a connection. May be NULL. */
	void (*hint_node)(struct peersource *source, const struct addr *addr);
};

struct peersource { /* embedded by the implementor */
	const struct peersource_ops *ops;
};
