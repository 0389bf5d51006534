#include "tracker/server/web_address.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/random.h"

#define BUCKETS 1024

struct web_addresses {
	uint64_t seed; /* nobody shall choose addresses that meet */
	struct list buckets[BUCKETS];
};

struct web_addresses *web_addresses_new(void)
{
	struct web_addresses *t = mem_alloc(sizeof(*t));

	random_bytes(&t->seed, sizeof(t->seed));
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&t->buckets[i]);
	return t;
}

void web_addresses_free(struct web_addresses *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		CHECK(list_is_empty(&t->buckets[i]));
	free(t);
}

static struct list *bucket_of(struct web_addresses *t, const struct addr *a)
{
	/* The first eight bytes are all that count of either family. */
	struct prng mix = { load_be64(a->ip) ^ t->seed };

	return &t->buckets[prng_u64(&mix) % BUCKETS];
}

struct web_address *web_address_of(struct web_addresses *t,
				   const struct addr *a)
{
	struct addr key = *a;
	struct web_address *e;
	struct list *bucket;

	key.port = 0;
	if (key.family == 6)
		memset(key.ip + 8, 0, 8);
	bucket = bucket_of(t, &key);
	list_foreach(at, bucket, struct web_address, chain) {
		if (addr_ip_eq(&at->addr, &key))
			return at;
	}
	e = mem_alloc(sizeof(*e));
	e->addr = key;
	list_init(&e->conns);
	list_push_front(bucket, &e->chain);
	return e;
}

void web_address_add(struct web_address *e, struct list *conn)
{
	list_push_back(&e->conns, conn);
	e->num++;
}

void web_address_remove(struct web_address *e, struct list *conn)
{
	list_remove(conn);
	if (--e->num)
		return;
	list_remove(&e->chain);
	free(e);
}
