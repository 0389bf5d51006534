/* tests/dht/seed.h: tables as an overlay has them that has been up for long,
 * without the hours of virtual time: each node's buckets are filled from all
 * contacts there are, living or dead, as if each had answered once. And who
 * really is closest, by brute force. */
#pragma once

#include "dht/kad.h"
#include "tests/dht/sim.h"

struct seed_pool; /* all contacts, sorted by id */

struct seed_pool *seed_pool_new(const struct kad_contact *contacts, size_t n);
void seed_pool_free(struct seed_pool *pool);

/* Fills the table of K, whose nodes were last seen up to AGE_MS ago. */
void seed_table(struct sim *s, struct kad *k, const struct seed_pool *pool,
		int64_t age_ms);
