#include "tracker/server/swarm_shard.h"

#include <stdlib.h>

#include "dht/token.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

/* An entry of the index: ten bits of the hash tell most of the wrong ones
 * without a look at the torrent. */
#define PLACE_BITS 22
#define PLACE_MASK ((1u << PLACE_BITS) - 1)

/* What a torrent is charged for itself: its place in the array and in the index
 * with their room. Not what was allocated, or dropping one would free nothing.
 */
#define TORRENT_BYTES 88

static uint32_t entry_of(uint64_t hash, uint32_t place)
{
	return (uint32_t)(hash >> 32) << PLACE_BITS | (place + 1);
}

static bool entry_may_be(uint32_t entry, uint64_t hash)
{
	return (entry ^ (uint32_t)(hash >> 32) << PLACE_BITS) >> PLACE_BITS ==
	       0;
}

void shard_init(struct shard *sh)
{
	pthread_mutex_init(&sh->lock, NULL);
}

void shard_release(struct shard *sh)
{
	for (uint32_t i = 0; i < sh->num; i++)
		swarm_free_lists(&sh->swarms[i]);
	free(sh->swarms);
	free(sh->index);
	pthread_mutex_destroy(&sh->lock);
}

void shard_account(struct shard_shared *x, int64_t change)
{
	if (change)
		atomic_fetch_add_explicit(&x->bytes, (size_t)change,
					  memory_order_relaxed);
}

uint64_t shard_hash(const struct shard_shared *x, const struct infohash *h)
{
	return siphash(x->key, h->b, sizeof(h->b));
}

static uint32_t home(const struct shard *sh, uint64_t hash)
{
	return (uint32_t)((hash & UINT32_MAX) * sh->index_size >> 32);
}

static uint32_t next_slot(const struct shard *sh, uint32_t slot)
{
	return slot + 1 == sh->index_size ? 0 : slot + 1;
}

struct swarm *shard_find(const struct shard *sh, uint64_t hash,
			 const struct infohash *h)
{
	uint32_t slot, entry;

	if (!sh->index_size)
		return NULL;
	slot = home(sh, hash);
	while ((entry = sh->index[slot])) {
		struct swarm *s = &sh->swarms[(entry & PLACE_MASK) - 1];

		if (entry_may_be(entry, hash) && infohash_eq(&s->infohash, h))
			return s;
		slot = next_slot(sh, slot);
	}
	return NULL;
}

static void index_add(struct shard *sh, uint64_t hash, uint32_t place)
{
	uint32_t slot = home(sh, hash);

	while (sh->index[slot])
		slot = next_slot(sh, slot);
	sh->index[slot] = entry_of(hash, place);
}

static uint32_t index_slot_of(const struct shard *sh, uint64_t hash,
			      uint32_t place)
{
	uint32_t slot = home(sh, hash);

	while (sh->index[slot] != entry_of(hash, place)) {
		CHECK(sh->index[slot]);
		slot = next_slot(sh, slot);
	}
	return slot;
}

static void index_remove(struct shard *sh, const struct shard_shared *x,
			 uint32_t hole)
{
	uint32_t slot = hole, size = sh->index_size, entry;

	while ((entry = sh->index[slot = next_slot(sh, slot)])) {
		const struct swarm *s = &sh->swarms[(entry & PLACE_MASK) - 1];
		uint32_t from = home(sh, shard_hash(x, &s->infohash));

		/* May move back unless its home lies behind the hole. */
		if ((slot + size - from) % size < (slot + size - hole) % size)
			continue;
		sh->index[hole] = entry;
		hole = slot;
	}
	sh->index[hole] = 0;
}

static bool index_resize(struct shard *sh, struct shard_shared *x,
			 uint32_t size)
{
	uint32_t *index = mem_try(size, sizeof(*index));

	if (!index)
		return false;
	free(sh->index);
	sh->index = index;
	sh->index_size = size;
	for (uint32_t i = 0; i < sh->num; i++)
		index_add(sh, shard_hash(x, &sh->swarms[i].infohash), i);
	return true;
}

static bool array_resize(struct shard *sh, uint32_t cap)
{
	struct swarm *p = reallocarray(sh->swarms, cap, sizeof(*p));

	if (!p)
		return false;
	sh->swarms = p;
	sh->cap = cap;
	return true;
}

struct swarm *shard_add(struct shard *sh, struct shard_shared *x, uint64_t hash,
			const struct infohash *h)
{
	uint32_t n = sh->num;
	struct swarm *s;

	if (n == SHARD_SWARMS_MAX)
		return NULL;
	if (n == sh->cap && !array_resize(sh, n + n / 8 + 4))
		return NULL;
	if (n >= sh->index_size / 4 * 3 && !index_resize(sh, x, n / 4 * 7 + 8))
		return NULL;
	s = &sh->swarms[n];
	memset(s, 0, sizeof(*s));
	s->infohash = *h;
	s->heard_min = s->swept_min = (uint16_t)x->now_min;
	index_add(sh, hash, n);
	sh->num = n + 1;
	atomic_fetch_add_explicit(&x->torrents, 1, memory_order_relaxed);
	shard_account(x, TORRENT_BYTES);
	return s;
}

static void forget_peers(struct shard *sh, struct shard_shared *x,
			 struct swarm *s)
{
	uint32_t n4[3], n6[3];

	swarm_list_counts(s, 4, n4);
	swarm_list_counts(s, 6, n6);
	sh->peers4 -= n4[0] + n4[1];
	sh->peers6 -= n6[0] + n6[1];
	sh->seeders -= n4[1] + n6[1];
	sh->gone -= n4[2] + n6[2];
	sh->completed -= s->completed;
	shard_account(x, -TORRENT_BYTES - (int64_t)swarm_list_bytes(s));
	swarm_free_lists(s);
}

void shard_remove(struct shard *sh, struct shard_shared *x, struct swarm *s)
{
	uint32_t place = (uint32_t)(s - sh->swarms), last = sh->num - 1;
	uint64_t hash = shard_hash(x, &s->infohash), moved;

	forget_peers(sh, x, s);
	index_remove(sh, x, index_slot_of(sh, hash, place));
	if (place != last) {
		moved = shard_hash(x, &sh->swarms[last].infohash);
		sh->index[index_slot_of(sh, moved, last)] =
			entry_of(moved, place);
		*s = sh->swarms[last];
	}
	sh->num = last;
	atomic_fetch_sub_explicit(&x->torrents, 1, memory_order_relaxed);
	if (last < sh->cap / 2 && sh->cap > 8) {
		array_resize(sh, last + last / 8 + 4);
		index_resize(sh, x, last / 4 * 7 + 8);
	}
}

static bool sweep_list(struct shard *sh, struct shard_shared *x,
		       struct swarm *s, uint8_t family)
{
	uint32_t removed[3] = { 0 }, live;
	struct swarm_list l;

	swarm_list_open(&l, s, family, x->key[0]);
	swarm_list_sweep(&l, x->now_min, x->ttl_min, removed);
	shard_account(x, swarm_list_close(&l));
	live = removed[REGION_LEECHERS] + removed[REGION_SEEDERS];
	*(family == 6 ? &sh->peers6 : &sh->peers4) -= live;
	sh->seeders -= removed[REGION_SEEDERS];
	sh->gone -= removed[REGION_GONE];
	sh->expired += live;
	return !swarm_list_len(&l);
}

bool shard_sweep_swarm(struct shard *sh, struct shard_shared *x,
		       struct swarm *s)
{
	uint16_t silent = (uint16_t)(x->now_min - s->heard_min);
	bool is_empty = sweep_list(sh, x, s, 4);

	if (s->v6)
		is_empty &= sweep_list(sh, x, s, 6);
	s->swept_min = (uint16_t)x->now_min;
	return is_empty && (!s->completed || silent >= LIMIT_SWARM_EMPTY_MIN);
}

void shard_sweep(struct shard *sh, struct shard_shared *x)
{
	/* From the end: who fills the place of one removed was swept. */
	for (uint32_t i = sh->num; i-- > 0;) {
		if (shard_sweep_swarm(sh, x, &sh->swarms[i]))
			shard_remove(sh, x, &sh->swarms[i]);
	}
}
