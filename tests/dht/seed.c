#include "tests/dht/seed.h"

#include <stdlib.h>

#include "engine/base/mem.h"

struct seed_pool {
	struct kad_contact *all; /* owned */
	size_t num;
};

static int compare(const void *a, const void *b)
{
	const struct kad_contact *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, KAD_ID_BYTES);
}

struct seed_pool *seed_pool_new(const struct kad_contact *contacts, size_t n)
{
	struct seed_pool *p = mem_alloc(sizeof(*p));

	p->all = mem_alloc_array(n, sizeof(*p->all));
	memcpy(p->all, contacts, n * sizeof(*p->all));
	p->num = n;
	qsort(p->all, n, sizeof(*p->all), compare);
	return p;
}

void seed_pool_free(struct seed_pool *p)
{
	free(p->all);
	free(p);
}

static size_t first_not_below(const struct seed_pool *p,
			      const struct kad_id *id)
{
	size_t lo = 0, hi = p->num;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (memcmp(p->all[mid].id.b, id->b, KAD_ID_BYTES) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The range of contacts that share BITS bits with SELF and not the next. */
static void range_of(const struct seed_pool *p, const struct kad_id *self,
		     unsigned bits, size_t *from, size_t *to)
{
	struct kad_id lo = *self, hi;

	lo.b[bits / 8] ^= (uint8_t)(0x80 >> bits % 8);
	hi = lo;
	for (unsigned i = bits + 1; i < KAD_ID_BITS; i++) {
		lo.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
		hi.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	}
	*from = first_not_below(p, &lo);
	*to = first_not_below(p, &hi);
}

void seed_table(struct sim *s, struct kad *k, const struct seed_pool *p,
		int64_t age_ms)
{
	for (unsigned bits = 0; bits < 40; bits++) {
		unsigned wide = bits < 4 ? 16u >> bits : 1;
		unsigned tries = k->o.rules.k * wide + k->o.rules.k / 2;
		size_t from, to;

		range_of(p, &k->o.self, bits, &from, &to);
		if (from == to)
			continue;
		if (to - from <= tries)
			tries = (unsigned)(to - from);
		for (unsigned i = 0; i < tries; i++) {
			size_t at =
				to - from > tries
					? from + sim_below(s, (uint32_t)(to -
									 from))
					: from + i;
			int64_t age = sim_below(s, (uint32_t)age_ms);

			(void)kad_table_on_answer(
				&k->table, sim_now(s) - age, &p->all[at],
				(uint16_t)(60 + sim_below(s, 81)));
		}
	}
}
