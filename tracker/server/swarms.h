/* tracker/server/swarms.h: who is in which swarm. All that the tracker knows of
 * torrents, in shards behind a lock each, for any number of threads.
 *
 * A peer is its endpoint and two bytes: the minute of its last announce, the
 * minute in which other owners last heard of it, and what it is. Endpoints of a
 * swarm lie side by side, leechers first, seeders behind them, those who left
 * ("gone", kept for one life so that an older copy cannot bring them back) at
 * the end: an answer is two windows of memory, copied. Swarms with one or two
 * IPv4 peers need no memory of their own.
 *
 * Records are last-writer-wins by infohash and endpoint, so owners can apply
 * each other's in any order. Time is an argument (monotonic, so a change of the
 * wall clock expires nobody). A shard's lock is a leaf: nothing is called while
 * it is held but a visitor.
 *
 * Any thread, if not said otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/id.h"
#include "tracker/request.h" /* enum announce_event */

struct swarms;

struct swarms_options {
	size_t max_bytes; /* all peers and torrents; 0: LIMIT_SWARMS_BYTES */
	unsigned max_torrents; /* 0: LIMIT_SWARMS */
	unsigned ttl_min;      /* life of a peer after an announce; 0: 45 */
	bool is_replicated;    /* other owners hold copies: gone are kept */
	uint8_t seed[16];      /* of hashes that nobody shall guess */
};

struct swarms *swarms_new(const struct swarms_options *options, int64_t now_ms);
void swarms_free(struct swarms *s);
unsigned swarms_ttl_min(const struct swarms *s);

/* The clock of all that follows. One thread, once a second at least: frees a
 * slice of what is too old each time. Over a cap, torrents that were silent for
 * longest go first. */
void swarms_tick(struct swarms *s, int64_t now_ms);

/* --- the hot path --- */

enum swarm_state { /* of a peer */
	SWARM_LEECHER,
	SWARM_SEEDER,           /* was one when it came */
	SWARM_SEEDER_COMPLETED, /* and its completion was counted */
	SWARM_GONE,
};

enum swarms_tell { /* what other owners should hear of an announce */
	SWARMS_TELL_NOTHING,
	SWARMS_TELL_RENEWAL, /* nothing new, but their copy grows old */
	SWARMS_TELL_CHANGE,  /* new, other state, completed, gone */
};

struct swarms_announce {
	struct infohash infohash;
	struct addr peer; /* the endpoint to be listed; decides the family */
	enum announce_event event;
	bool is_seed;
	bool is_partial;       /* BEP 21: wants no more; listed as a leecher */
	unsigned want4, want6; /* peers wanted of each family */
	uint8_t *out4, *out6;  /* room for 6 * want4, 18 * want6 bytes */
};

struct swarms_counts {
	uint32_t seeders, leechers, completed; /* both families; not the gone */
};

struct swarms_answer {
	struct swarms_counts counts;
	unsigned num4, num6; /* peers written; never who asks. A seeder is told
			      * of leechers alone; who stops, of nobody */
	enum swarms_tell tell;
	enum swarm_state state;
	bool is_full; /* a cap: not listed, though answered */
};

/* RANDOM: any, chooses where the windows begin. */
void swarms_announce(struct swarms *s, const struct swarms_announce *a,
		     uint32_t random, struct swarms_answer *out);
/* False, and zeros: no such swarm. */
bool swarms_scrape(struct swarms *s, const struct infohash *infohash,
		   struct swarms_counts *out);

/* --- copies --- */

struct swarm_record { /* one peer, as owners tell each other and files hold */
	struct infohash infohash;
	struct addr peer;
	enum swarm_state state;
	bool is_completion; /* it completed just now: is counted */
	uint8_t age_min;    /* since its last announce, or since it left */
};

/* What another owner or a file says. True: it was news. Too old, or older than
 * what is here: ignored. Of equal age, a completed seeder wins over a seeder
 * over a leecher. Minutes begin at another moment at each owner: so what says
 * nothing new must be two minutes younger than what is here, and gone wins over
 * who is at most a minute younger. Who knows better, that it came back, does
 * not apply it. Gone are kept only if is_replicated. Never asks to be told on.
 */
bool swarms_apply(struct swarms *s, const struct swarm_record *r);
/* Counters only grow: the larger one stays. Makes the swarm if it must, which
 * then lives for LIMIT_SWARM_EMPTY_MIN without peers: owners should not tell
 * each other of torrents without peers, or those would never end. */
void swarms_raise_completed(struct swarms *s, const struct infohash *infohash,
			    uint32_t completed);
/* A torrent that is no longer tracked here (access lists). */
void swarms_drop(struct swarms *s, const struct infohash *infohash);

#define SWARMS_SHARDS 1024 /* by the first ten bits of a keyed hash */

struct swarm_view { /* of one swarm; borrowed until the visitor returns */
	const struct infohash *infohash;
	struct swarms_counts counts;
	/* The I-th peer, 0..num_peers-1, the gone among them. */
	unsigned num_peers;
	const void *swarm;
};
void swarm_view_peer(const struct swarms *s, const struct swarm_view *v,
		     unsigned i, struct swarm_record *out);

/* Each swarm of shard 0..SWARMS_SHARDS-1, its lock held: FN is quick and calls
 * nothing of swarms but swarm_view_peer. */
void swarms_visit(struct swarms *s, unsigned shard,
		  void (*fn)(void *arg, const struct swarm_view *v), void *arg);
/* The same for one swarm. False: there is none. */
bool swarms_visit_one(struct swarms *s, const struct infohash *infohash,
		      void (*fn)(void *arg, const struct swarm_view *v),
		      void *arg);

struct swarms_stats {
	uint64_t torrents, peers4, peers6, seeders, gone;
	uint64_t completed;                 /* sum */
	size_t bytes;                       /* of what max_bytes bounds */
	uint64_t expired, evicted, refused; /* peers, torrents, announces */
};
void swarms_stats(struct swarms *s, struct swarms_stats *out);
