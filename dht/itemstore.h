/* dht/itemstore.h: items of others (BEP 44), for LIMIT_DHT_ITEM_MS after the
 * last put. Bounded in number, bytes and items begun by one subnet; when it is
 * full, the one that was put by the fewest, longest ago, makes room. Time is an
 * argument. One thread at a time. */
#pragma once

#include "dht/item.h"

struct itemstore;

struct itemstore_entry { /* borrowed until the store changes */
	struct span v;
	bool is_mutable;
	const uint8_t *pk, *sig;
	int64_t seq;
};

struct itemstore *itemstore_new(const uint8_t seed[16]);
void itemstore_free(struct itemstore *s);
bool itemstore_get(struct itemstore *s, int64_t now_ms,
		   const struct kad_id *target, struct itemstore_entry *out);
/* ITEM was verified and is TARGET's. CAS may be NULL. 0, or a code: 301 cas,
 * 302 seq, 202 no room for one of this subnet. */
int itemstore_put(struct itemstore *s, int64_t now_ms,
		  const struct kad_id *target, const struct item *item,
		  const int64_t *cas, const struct addr *from);
unsigned itemstore_count(const struct itemstore *s);
void itemstore_sweep(struct itemstore *s, int64_t now_ms);
