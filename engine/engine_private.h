/* engine/engine_private.h: the engine from inside. Loop thread only. */
#pragma once

#include "engine/base/random.h"
#include "engine/base/ratelimit.h"
#include "engine/engine.h"
#include "engine/torrent.h"

#define TORRENT_BUCKETS 4096 /* a power of two */

struct engine {
	struct loop *loop; /* borrowed, as are the next two */
	struct workers *workers;
	struct state *state; /* NULL: nothing is remembered */
	struct engine_config config;
	struct engine_events events;
	void *events_arg;
	struct peerid peerid;
	uint16_t port;
	struct prng prng;

	struct conn_hub *hub;          /* owned */
	struct fdcache *fdcache;       /* owned */
	struct listener *listeners[2]; /* owned; IPv4, IPv6 */
	struct timer tick;
	struct event reaper; /* frees closed peers after the turn */

	struct list torrents; /* by id */
	struct torrent *by_hash[TORRENT_BUCKETS];
	size_t num_torrents;
	int64_t next_id;   /* without a state */
	uint16_t dht_port; /* told to peers; 0: no node */
	struct peersource *sources[SOURCES_MAX];
	size_t num_sources;
	struct addr *user_peers; /* owned */
	size_t num_user_peers;
	char **user_trackers; /* owned */
	size_t num_user_trackers;

	struct list strangers; /* incoming peers without a torrent */
	struct list dead;      /* closed peers to be freed */
	struct list leaving;   /* torrents that were removed, jobs out */
	unsigned num_strangers, num_peers, num_half_open;
	uint32_t next_peer_id;
	struct ratelimit down_limit, up_limit;
	double connect_tokens; /* outgoing connects allowed now */
	int64_t tick_ms;

	struct buffer *buffers; /* free piece buffers, kept for reuse */
	size_t buffer_bytes;    /* of them */
	size_t filling_bytes;   /* of those in use */

	unsigned num_saving; /* rows that the state was given, adds and
			      * removals, not yet durable */
	bool is_stopping;
	int64_t stop_ms; /* when that began */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* --- engine.c --- */
void engine_bury(struct engine *e, struct peer *p); /* peer_free later */
void engine_on_event_metadata(struct engine *e, struct torrent *t);
void engine_on_event_complete(struct engine *e, struct torrent *t);
/* --- torrent_room.c --- */
/* In any torrent. NEWCOMER may be NULL: a candidate of ours. */
bool engine_make_room(struct engine *e, const struct addr *newcomer);
/* --- library.c --- */
/* Frees torrents that were removed and have no job out any more, and begins
 * those that waited for them. */
void library_tick(struct engine *e);
/* Writes T's row, and its metainfo if it has one. */
void engine_save_new(struct engine *e, struct torrent *t);
/* Piece buffers, reused. NULL: LIMIT_PARTIAL_BYTES of them are in use. */
uint8_t *engine_buffer_try(struct engine *e, size_t size);
void engine_buffer_put(struct engine *e, uint8_t *bytes, size_t size);
bool engine_is_limited(const struct engine *e);
/* URGENT: a reader waits. Such connects may run ahead of the rate and have a
 * few half-open ones to themselves. */
bool engine_may_connect(const struct engine *e, bool urgent);
/* Sooner than the next tick. */
void engine_wake(struct engine *e);
