#include "tracker/server/subnet_limit.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "dht/token.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"

/*
 * A place holds sixteen bits that name the subnet, and the moment at which it
 * will have paid for all that it asked, in microseconds. Each announce moves
 * that moment on by the time that one costs; it may lie as far ahead as a burst
 * costs. A place whose moment has passed is free.
 */
#define WAYS          4 /* places that a subnet may have */
#define TELL_EVERY_MS 1000
#define TOLD          1024 /* turns of being told */
#define MOMENT_BITS   48
#define MOMENT_MASK   ((1ull << MOMENT_BITS) - 1)

struct subnet_limit {
	uint64_t key[2];
	uint64_t cost_us, burst_us;
	atomic_uint_fast64_t places[LIMIT_SUBNETS];
	_Atomic int64_t told_ms[TOLD]; /* may be told again at */
};

struct subnet_limit *subnet_limit_new(unsigned rate, unsigned burst)
{
	struct subnet_limit *l;

	if (!rate)
		return NULL;
	l = mem_alloc(sizeof(*l));
	random_bytes(l->key, sizeof(l->key));
	l->cost_us = 1000000 / rate ? 1000000 / rate : 1;
	l->burst_us = (burst ? burst : 1) * l->cost_us;
	return l;
}

void subnet_limit_free(struct subnet_limit *l)
{
	free(l);
}

static uint64_t hash_of(const struct subnet_limit *l, const struct addr *a)
{
	return siphash(l->key, a->ip, a->family == 4 ? 3 : 6);
}

static atomic_uint_fast64_t *place_of(struct subnet_limit *l, uint64_t hash,
				      uint64_t tag, uint64_t now_us)
{
	atomic_uint_fast64_t *p =
		&l->places[hash % (LIMIT_SUBNETS / WAYS) * WAYS];
	unsigned unused = WAYS;

	for (unsigned i = 0; i < WAYS; i++) {
		uint64_t v = atomic_load_explicit(&p[i], memory_order_relaxed);

		if (v && v >> MOMENT_BITS == tag)
			return &p[i];
		if (unused == WAYS && (v & MOMENT_MASK) <= now_us)
			unused = i;
	}
	return &p[unused < WAYS ? unused : hash >> 32 & (WAYS - 1)];
}

bool subnet_limit_take(struct subnet_limit *l, int64_t now_ms,
		       const struct addr *from)
{
	uint64_t now_us = (uint64_t)now_ms * 1000 & MOMENT_MASK;
	uint64_t hash, tag, old, moment;
	atomic_uint_fast64_t *p;

	if (!l)
		return true;
	hash = hash_of(l, from);
	tag = hash >> MOMENT_BITS;
	p = place_of(l, hash, tag, now_us);
	old = atomic_load_explicit(p, memory_order_relaxed);
	do {
		moment = old & MOMENT_MASK;
		if (moment < now_us)
			moment = now_us;
		moment += l->cost_us;
		if (moment - now_us > l->burst_us)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		p, &old, tag << MOMENT_BITS | (moment & MOMENT_MASK),
		memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool subnet_limit_tell(struct subnet_limit *l, int64_t now_ms,
		       const struct addr *from)
{
	_Atomic int64_t *turn = &l->told_ms[hash_of(l, from) % TOLD];
	int64_t due = atomic_load_explicit(turn, memory_order_relaxed);

	return now_ms >= due &&
	       atomic_compare_exchange_strong_explicit(
		       turn, &due, now_ms + TELL_EVERY_MS, memory_order_relaxed,
		       memory_order_relaxed);
}
