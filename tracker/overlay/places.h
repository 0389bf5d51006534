/* tracker/overlay/places.h: where swarms live that do not live at their own
 * infohash: those whose announces named a KEY. And who wants to hear of a swarm
 * without owning it, and of which swarms we do.
 *
 * Bounded: past LIMIT_SYNC_PLACES the one that was asked for least lately goes.
 * What nobody used for one life is forgotten. Loop thread. */
#pragma once

#include "dht/kad_id.h"
#include "engine/base/id.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"

struct place {
	struct infohash infohash;
	bool has_key;
	struct kad_id key; /* if it has one */
	int64_t used_ms;
	int64_t pulled_ms; /* we asked its owners for it; 0: never */
	unsigned num_subscribers;
	struct {
		uint32_t peer; /* a number of the caller's */
		int64_t until_ms;
	} subscribers[LIMIT_SYNC_SUBSCRIBERS];
	struct list node; /* by use, latest last */
	struct place *next;
};

struct places;

struct places *places_new(const uint8_t seed[16], int64_t life_ms);
void places_free(struct places *p);
/* Borrowed until the next call that may add or expire. NULL: nothing known. */
struct place *places_find(struct places *p, const struct infohash *ih);
/* The same, made if need be; and it counts as used. */
struct place *places_get(struct places *p, const struct infohash *ih,
			 int64_t now_ms);
/* False: it had another key, which stays. */
bool places_learn(struct places *p, const struct infohash *ih,
		  const struct kad_id *key, int64_t now_ms);
void places_subscribe(struct places *p, const struct infohash *ih,
		      uint32_t peer, int64_t now_ms);
void places_expire(struct places *p, int64_t now_ms);
unsigned places_num(const struct places *p);
