/*
 * What the table is asked: who is closest, who needs to be looked at, what to
 * keep.
 */
#include "dht/kad_table.h"

#define SUSPECT_MS 2000 /* doubled with each failure, between checks */

struct best { /* a list of at most n nodes that is kept sorted */
	const struct kad_id *target;
	const struct kad_node **out;
	unsigned num, first, max; /* first: of the bucket at hand */
	uint64_t last; /* distance of the last one, if the list is full */
};

static void best_add(struct best *l, const struct kad_node *n, uint64_t d)
{
	unsigned at = l->num == l->max ? l->max - 1 : l->num++;

	while (at > l->first) {
		uint64_t e = kad_distance64(&l->out[at - 1]->id, l->target);

		if (e < d ||
		    (e == d && kad_id_compare(l->target, &l->out[at - 1]->id,
					      &n->id) < 0))
			break;
		l->out[at] = l->out[at - 1];
		at--;
	}
	l->out[at] = n;
	if (l->num == l->max)
		l->last = kad_distance64(&l->out[l->max - 1]->id, l->target);
}

static void best_of_bucket(const struct kad_table *t,
			   const struct kad_bucket *b, struct best *l,
			   enum kad_state worst)
{
	l->first = l->num;
	l->last = UINT64_MAX;
	for (unsigned i = 0; i < b->num; i++) {
		const struct kad_node *n = &b->nodes[i];
		uint64_t d = kad_distance64(&n->id, l->target);

		if (d > l->last || kad_table_state(t, n) > worst)
			continue;
		best_add(l, n, d);
	}
}

/*
 * Buckets are ranges of distance that do not overlap. Closest is the one that
 * TARGET itself belongs to; then come those below it, in an order that the
 * bits of TARGET give: where it differs from us, a bucket is nearer than all
 * deeper ones, where it does not, farther; then those above it, each farther
 * than the one before.
 */
static unsigned closest(const struct kad_table *t, const struct kad_id *target,
			unsigned n, const struct kad_node **out,
			enum kad_state worst)
{
	struct best l = { .target = target, .out = out, .max = n };
	unsigned own = kad_id_prefix(&t->self, target);

	if (!n)
		return 0;
	if (own < t->depth)
		best_of_bucket(t, &t->buckets[own], &l, worst);
	for (unsigned i = own + 1; i < t->depth && l.num < n; i++) {
		if (kad_id_bit(target, i) != kad_id_bit(&t->self, i))
			best_of_bucket(t, &t->buckets[i], &l, worst);
	}
	for (unsigned i = t->depth; i > own + 1 && l.num < n; i--) {
		if (kad_id_bit(target, i - 1) == kad_id_bit(&t->self, i - 1))
			best_of_bucket(t, &t->buckets[i - 1], &l, worst);
	}
	for (unsigned i = own < t->depth ? own : t->depth; i > 0 && l.num < n;
	     i--)
		best_of_bucket(t, &t->buckets[i - 1], &l, worst);
	return l.num;
}

unsigned kad_table_closest(const struct kad_table *t,
			   const struct kad_id *target, unsigned n,
			   const struct kad_node **out)
{
	return closest(t, target, n, out, KAD_GOOD);
}

unsigned kad_table_closest_any(const struct kad_table *t,
			       const struct kad_id *target, unsigned n,
			       const struct kad_node **out)
{
	return closest(t, target, n, out, KAD_SUSPECT);
}

static int64_t last_news_ms(const struct kad_node *n)
{
	return n->answered_ms > n->asked_ms ? n->answered_ms : n->asked_ms;
}

struct kad_node *kad_table_next_stale(struct kad_table *t, int64_t now_ms,
				      int64_t silent_ms)
{
	struct kad_node *best = NULL;

	for (unsigned i = 0; i < t->depth; i++) {
		struct kad_bucket *b = &t->buckets[i];

		for (unsigned j = 0; j < b->num; j++) {
			struct kad_node *n = &b->nodes[j];

			if (now_ms - last_news_ms(n) < silent_ms ||
			    kad_table_state(t, n) != KAD_GOOD)
				continue;
			if (!best || n->answered_ms < best->answered_ms)
				best = n;
		}
	}
	if (best)
		best->asked_ms = now_ms;
	return best;
}

/* Doubled with each failure: the dead must not take all the time there is. */
static int64_t suspect_due_ms(const struct kad_table *t,
			      const struct kad_node *n)
{
	int64_t ms = (int64_t)SUSPECT_MS << (n->timeouts < 8 ? n->timeouts : 8);

	return last_news_ms(n) +
	       (ms < t->rules->stale_ms ? ms : t->rules->stale_ms);
}

struct kad_node *kad_table_next_suspect(struct kad_table *t, int64_t now_ms,
					int64_t *next_ms)
{
	struct kad_node *best = NULL;

	*next_ms = INT64_MAX;
	for (unsigned i = 0; i < t->depth; i++) {
		struct kad_bucket *b = &t->buckets[i];

		for (unsigned j = 0; j < b->num; j++) {
			struct kad_node *n = &b->nodes[j];
			int64_t due;

			if (kad_table_state(t, n) == KAD_GOOD)
				continue;
			due = suspect_due_ms(t, n);
			if (due < *next_ms) {
				*next_ms = due;
				best = n;
			}
		}
	}
	if (!best || *next_ms > now_ms)
		return NULL;
	best->asked_ms = now_ms;
	return best;
}

unsigned kad_table_save(const struct kad_table *t, struct kad_contact *out,
			unsigned max)
{
	unsigned num = 0;

	/* Deepest first: neighbours are the hardest to find again. */
	for (unsigned i = t->depth; i > 0; i--) {
		const struct kad_bucket *b = &t->buckets[i - 1];

		for (unsigned j = 0; j < b->num && num < max; j++) {
			if (kad_table_state(t, &b->nodes[j]) != KAD_GOOD)
				continue;
			out[num].id = b->nodes[j].id;
			out[num++].addr = b->nodes[j].addr;
		}
	}
	return num;
}

void kad_table_stats(const struct kad_table *t, struct kad_table_stats *out)
{
	*out = (struct kad_table_stats){ .nodes = t->num_nodes,
					 .candidates = t->num_candidates,
					 .buckets = t->depth };
	for (unsigned i = 0; i < KAD_ID_BITS; i++) {
		const struct kad_bucket *b = &t->buckets[i];

		out->spares += b->num_spares;
		for (unsigned j = 0; j < b->num; j++)
			out->good +=
				kad_table_state(t, &b->nodes[j]) == KAD_GOOD;
	}
}
