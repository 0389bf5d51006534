#include "tracker/server/swarms_private.h"

#define EVICT_LOOKS 32 /* torrents that are compared */

bool swarms_is_over(const struct swarms *s)
{
	return atomic_load_explicit(&s->x.bytes, memory_order_relaxed) >
		       s->max_bytes ||
	       atomic_load_explicit(&s->x.torrents, memory_order_relaxed) >
		       s->max_torrents;
}

struct candidate { /* for eviction */
	struct infohash infohash;
	uint64_t hash;
	int silent_min; /* -1: none yet */
};

static void look_in(struct swarms *s, struct shard *sh, unsigned start,
		    unsigned *looks, const struct infohash *spared,
		    struct candidate *c)
{
	pthread_mutex_lock(&sh->lock);
	for (uint32_t i = 0; i < sh->num && *looks; i++, (*looks)--) {
		const struct swarm *w = &sh->swarms[(start + i) % sh->num];
		uint16_t silent = (uint16_t)(s->x.now_min - w->heard_min);

		if ((int)silent <= c->silent_min ||
		    (spared && infohash_eq(&w->infohash, spared)))
			continue;
		c->silent_min = silent;
		c->infohash = w->infohash;
	}
	pthread_mutex_unlock(&sh->lock);
}

/* Drops the torrent that was silent for longest among those looked at; not
 * SPARED. False: there is none. */
static bool evict(struct swarms *s, const struct infohash *spared)
{
	unsigned looks = EVICT_LOOKS, at = 0;
	struct candidate c = { .silent_min = -1 };
	struct swarm *victim;
	struct shard *sh;

	for (unsigned i = 0; i < SWARMS_SHARDS && looks; i++) {
		at = atomic_fetch_add_explicit(&s->evict_at, 1,
					       memory_order_relaxed);
		sh = &s->shards[at % SWARMS_SHARDS];
		if (atomic_load_explicit(&sh->num, memory_order_relaxed))
			look_in(s, sh, at / SWARMS_SHARDS * EVICT_LOOKS, &looks,
				spared, &c);
	}
	if (c.silent_min < 0)
		return false;
	c.hash = shard_hash(&s->x, &c.infohash);
	sh = swarms_shard_of(s, c.hash);
	pthread_mutex_lock(&sh->lock);
	victim = shard_find(sh, c.hash, &c.infohash);
	if (victim) {
		shard_remove(sh, &s->x, victim);
		sh->evicted++;
	}
	pthread_mutex_unlock(&sh->lock);
	return true;
}

bool swarms_make_room(struct swarms *s, const struct infohash *spared,
		      unsigned at_most)
{
	while (swarms_is_over(s)) {
		if (!at_most-- || !evict(s, spared))
			return false;
	}
	return true;
}
