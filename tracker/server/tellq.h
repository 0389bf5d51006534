/* tracker/server/tellq.h: what packet workers have to say to the other owners,
 * on its way to the loop. Bounded; what does not fit is counted and dropped:
 * owners compare their copies every minute anyway.
 *
 * tellq_push: any thread. The rest: loop thread. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/server/swarms.h"

struct telling {
	struct swarm_record record;
	bool is_change;  /* else a renewal */
	bool has_key;    /* the announce named a KEY, not just an infohash: */
	uint8_t key[20]; /* sha1 of it */
};

struct tellq;

struct tellq *tellq_new(struct loop *loop,
			void (*on_tellings)(void *arg, const struct telling *t,
					    size_t n),
			void *arg);
void tellq_free(struct tellq *q); /* every worker has ended */
void tellq_push(struct tellq *q, const struct telling *t);
uint64_t tellq_dropped(struct tellq *q);
