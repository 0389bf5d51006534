#include "tracker/overlay/places.h"

#include <stdlib.h>

#include "engine/base/random.h"

#define SLOTS (LIMIT_SYNC_PLACES / 2)

struct places {
	uint64_t seed;
	int64_t life_ms;
	unsigned num;
	struct list by_use;
	struct place *slots[SLOTS]; /* owned chains */
};

struct places *places_new(const uint8_t seed[16], int64_t life_ms)
{
	struct places *p = mem_alloc(sizeof(*p));

	p->seed = load_be64(seed);
	p->life_ms = life_ms;
	list_init(&p->by_use);
	return p;
}

/* Infohashes are chosen by strangers: which of them meet must not be known. */
static struct place **slot_of(struct places *p, const struct infohash *ih)
{
	struct prng r = { .state = p->seed ^ load_be64(ih->b) };

	r.state = prng_u64(&r) ^ load_be64(ih->b + 8);
	r.state = prng_u64(&r) ^ load_be32(ih->b + 16);
	return &p->slots[prng_u64(&r) % SLOTS];
}

static void drop(struct places *p, struct place *gone)
{
	struct place **at = slot_of(p, &gone->infohash);

	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	list_remove(&gone->node);
	p->num--;
	free(gone);
}

void places_free(struct places *p)
{
	if (!p)
		return;
	list_foreach_safe(place, &p->by_use, struct place, node)
		free(place);
	free(p);
}

struct place *places_find(struct places *p, const struct infohash *ih)
{
	struct place *at;

	if (!p->num)
		return NULL;
	at = *slot_of(p, ih);
	while (at && !infohash_eq(&at->infohash, ih))
		at = at->next;
	return at;
}

struct place *places_get(struct places *p, const struct infohash *ih,
			 int64_t now_ms)
{
	struct place *at = places_find(p, ih), **slot;

	if (!at) {
		if (p->num >= LIMIT_SYNC_PLACES)
			drop(p, list_first(&p->by_use, struct place, node));
		at = mem_alloc(sizeof(*at));
		at->infohash = *ih;
		list_init(&at->node);
		slot = slot_of(p, ih);
		at->next = *slot;
		*slot = at;
		p->num++;
	}
	at->used_ms = now_ms;
	list_remove(&at->node);
	list_push_back(&p->by_use, &at->node);
	return at;
}

bool places_learn(struct places *p, const struct infohash *ih,
		  const struct kad_id *key, int64_t now_ms)
{
	struct place *at = places_get(p, ih, now_ms);

	if (at->has_key)
		return kad_id_eq(&at->key, key);
	at->has_key = true;
	at->key = *key;
	return true;
}

void places_subscribe(struct places *p, const struct infohash *ih,
		      uint32_t peer, int64_t now_ms)
{
	struct place *at = places_get(p, ih, now_ms);
	unsigned i = 0, oldest = 0;

	while (i < at->num_subscribers && at->subscribers[i].peer != peer) {
		if (at->subscribers[i].until_ms <
		    at->subscribers[oldest].until_ms)
			oldest = i;
		i++;
	}
	if (i == LIMIT_SYNC_SUBSCRIBERS)
		i = oldest;
	else if (i == at->num_subscribers)
		at->num_subscribers++;
	at->subscribers[i].peer = peer;
	at->subscribers[i].until_ms = now_ms + p->life_ms;
}

void places_expire(struct places *p, int64_t now_ms)
{
	struct place *first;

	while ((first = list_first(&p->by_use, struct place, node)) &&
	       now_ms - first->used_ms > p->life_ms)
		drop(p, first);
}

unsigned places_num(const struct places *p)
{
	return p->num;
}
