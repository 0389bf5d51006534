/* A lookup that finds nobody does not make the owners of before worse: they
 * stay for as long as they may, and the next look is DNS_NOBODY_MS away. */
#include "tracker/overlay/dns_cache.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define BUCKETS 1024

struct dns_cache {
	struct dns_place *buckets[BUCKETS];
	struct list used; /* longest ago first */
	unsigned num;
};

/* Ids are hashes of what somebody chose: chains can be made long on purpose,
 * but never longer than LIMIT_DNS_PLACES. */
static struct dns_place **bucket_of(struct dns_cache *c,
				    const struct kad_id *id)
{
	return &c->buckets[load_be32(id->b + 8) % BUCKETS];
}

struct dns_cache *dns_cache_new(void)
{
	struct dns_cache *c = mem_alloc(sizeof(*c));

	list_init(&c->used);
	return c;
}

static void forget(struct dns_cache *c, struct dns_place *p)
{
	struct dns_place **at = bucket_of(c, &p->id);

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	list_remove(&p->node);
	c->num--;
	free(p);
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	list_foreach_safe(p, &c->used, struct dns_place, node)
		forget(c, p);
	free(c);
}

static bool make_room(struct dns_cache *c)
{
	if (c->num < LIMIT_DNS_PLACES)
		return true;
	list_foreach(p, &c->used, struct dns_place, node) {
		if (!p->lookup) {
			forget(c, p);
			return true;
		}
	}
	return false;
}

struct dns_place *dns_cache_get(struct dns_cache *c, const struct kad_id *id)
{
	struct dns_place **bucket = bucket_of(c, id), *p;

	for (p = *bucket; p; p = p->next) {
		if (!memcmp(p->id.b, id->b, sizeof(id->b)))
			break;
	}
	if (p) {
		list_remove(&p->node);
	} else if (make_room(c)) {
		p = mem_alloc(sizeof(*p));
		p->id = *id;
		p->fresh_ms = p->stale_ms = INT64_MIN;
		list_init(&p->waiting);
		list_init(&p->looking);
		p->next = *bucket;
		*bucket = p;
		c->num++;
	} else {
		return NULL;
	}
	list_push_back(&c->used, &p->node);
	return p;
}

bool dns_place_is_fresh(const struct dns_place *p, int64_t now_ms)
{
	return now_ms < p->fresh_ms;
}

unsigned dns_place_stale(const struct dns_place *p, int64_t now_ms)
{
	return now_ms < p->stale_ms ? p->num : 0;
}

void dns_place_put(struct dns_place *p, int64_t now_ms,
		   const struct kt_found *found)
{
	unsigned n = found->num < KT_OWNERS_MAX ? found->num : KT_OWNERS_MAX;

	if (!n || found->is_stale)
		p->fresh_ms = now_ms + DNS_NOBODY_MS;
	else
		p->fresh_ms = now_ms + DNS_FRESH_MS;
	if (!n)
		return;
	memcpy(p->owners, found->owners, n * sizeof(*p->owners));
	p->num = n;
	if (!found->is_stale)
		p->stale_ms = now_ms + DNS_FRESH_MS + DNS_STALE_MS;
	else if (p->stale_ms < p->fresh_ms)
		p->stale_ms = p->fresh_ms; /* kt says when they are too old */
}
