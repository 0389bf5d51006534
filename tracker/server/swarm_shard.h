/* tracker/server/swarm_shard.h: the torrents of one shard, side by side in one
 * array and found through a table of their places by a keyed hash. Both grow by
 * parts, so that there is never much room for nothing.
 *
 * All calls want the shard's lock held, but shard_init and shard_release. A
 * struct swarm is borrowed until the next shard_add or shard_remove. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "tracker/server/swarm_list.h"

struct shard_shared { /* by all shards */
	uint64_t key[2];
	unsigned ttl_min;
	bool is_replicated;
	atomic_uint now_min;
	/* Written now and then, by all threads: a line of its own. */
	_Alignas(64) atomic_size_t bytes;
	atomic_uint torrents;
};

struct shard {
	_Alignas(64) pthread_mutex_t lock; /* a leaf; of all below */
	struct swarm *swarms;              /* owned; num of cap */
	uint32_t *index; /* owned: place + 1, and ten bits of the hash */
	uint32_t cap, index_size;
	atomic_uint num; /* may be looked at without the lock */
	uint32_t peers4, peers6, seeders, gone; /* peers: not the gone */
	uint64_t completed, expired, evicted, refused;
};

#define SHARD_SWARMS_MAX ((1u << 22) - 2)

void shard_init(struct shard *sh);
void shard_release(struct shard *sh);

uint64_t shard_hash(const struct shard_shared *x, const struct infohash *h);
struct swarm *shard_find(const struct shard *sh, uint64_t hash,
			 const struct infohash *h);
/* H is not there. NULL: no memory. */
struct swarm *shard_add(struct shard *sh, struct shard_shared *x, uint64_t hash,
			const struct infohash *h);
void shard_remove(struct shard *sh, struct shard_shared *x, struct swarm *s);

/* Removes peers that were silent for too long. True: nobody and nothing is left
 * that would be missed; the caller removes the torrent. */
bool shard_sweep_swarm(struct shard *sh, struct shard_shared *x,
		       struct swarm *s);
/* The same for all; removes torrents. */
void shard_sweep(struct shard *sh, struct shard_shared *x);

/* The change that a call of swarm_list_... returned. */
void shard_account(struct shard_shared *x, int64_t change);
