/* tracker/server/swarms_private.h: what swarms.c and swarms_caps.c share. */
#pragma once

#include "tracker/server/swarm_shard.h"

#define SWARMS_EVICT_AT_ONCE 8 /* torrents, by one announce */
#define SWARMS_EVICT_TICK    4096

struct swarms {
	struct shard_shared x;
	struct shard *shards; /* owned; SWARMS_SHARDS */
	size_t max_bytes;
	unsigned max_torrents;
	atomic_uint evict_at; /* the shard looked at next */
	/* Of the thread that ticks: */
	int64_t tick_ms;
	unsigned sweep_at;
	int64_t sweep_credit; /* shards due, times SWEEP_MS */
};

static inline struct shard *swarms_shard_of(struct swarms *s, uint64_t hash)
{
	return &s->shards[hash >> 54];
}

bool swarms_is_over(const struct swarms *s);
/* Evicts AT_MOST torrents, not SPARED, while a cap is passed; no lock may be
 * held. True: there is room for one peer more, and its torrent. */
bool swarms_make_room(struct swarms *s, const struct infohash *spared,
		      unsigned at_most);
