/* tracker/overlay/dns_cache.h: who owns the places that were asked for, and
 * how long that may be said: DNS_FRESH_MS without a look, DNS_STALE_MS more
 * when nobody answers; that nobody did, DNS_NOBODY_MS. Bounded by
 * LIMIT_DNS_PLACES; the one unused for longest goes first. Time is an
 * argument. One thread at a time. */
#pragma once

#include "engine/base/list.h"
#include "tracker/overlay/kt.h"

#define DNS_FRESH_MS  30000
#define DNS_STALE_MS  600000
#define DNS_NOBODY_MS 5000

struct dns_place {
	struct list node;       /* in order of use */
	struct dns_place *next; /* of its bucket */
	struct kad_id id;
	struct kt_owner owners[KT_OWNERS_MAX];
	unsigned num;
	int64_t fresh_ms; /* until then */
	int64_t stale_ms; /* until then OWNERS are better than nothing */
	/* For the desk, untouched here: one with a lookup stays. */
	struct kt_lookup *lookup;
	struct list looking; /* among those with one */
	struct list waiting;
	struct dns_desk *desk;
};

struct dns_cache;

struct dns_cache *dns_cache_new(void);
void dns_cache_free(struct dns_cache *c); /* NULL is harmless */

/* The place of ID, made if it was not known. NULL: all are being looked up. */
struct dns_place *dns_cache_get(struct dns_cache *c, const struct kad_id *id);
bool dns_place_is_fresh(const struct dns_place *p, int64_t now_ms);
/* How many of its owners may still be told when nobody answers. */
unsigned dns_place_stale(const struct dns_place *p, int64_t now_ms);
/* A lookup has ended. */
void dns_place_put(struct dns_place *p, int64_t now_ms,
		   const struct kt_found *found);
