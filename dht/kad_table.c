/*
 * Who stays when a bucket is full, in this order: the dead and the suspect
 * make room; then those who have no right to their id, for those who have; then
 * the ids in a bucket are kept apart from each other, so that whatever is asked
 * for, one of them lies near (each half, quarter, ... of the bucket's range is
 * a slot of its own, as many slots as places); then, within a slot, the nearest
 * by round trip. Who loses becomes a spare, and follows who fails.
 */
#include "dht/kad_table.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define WIDE_BUCKETS 4
#define FULL_MS      50 /* between looks at senders without a free place */
#define FAILS_DEAD   3
#define FAILS_MAX    6 /* then a dead one goes even if nobody follows */

enum kad_state kad_state_by_fails(void *arg, const struct kad_node *node)
{
	if (!node->fails)
		return KAD_GOOD;
	return node->fails < FAILS_DEAD ? KAD_SUSPECT : KAD_DEAD;
}

enum kad_state kad_table_state(const struct kad_table *t,
			       const struct kad_node *n)
{
	if (!t->rules->state)
		return kad_state_by_fails(NULL, n);
	return t->rules->state(t->rules->arg, n);
}

bool kad_addr_is_exempt(const struct kad_rules *rules, const struct addr *addr)
{
	return rules->exempt_local && addr_is_local(addr);
}

bool kad_addr_may_tell(const struct kad_rules *rules, const struct addr *from,
		       const struct addr *addr)
{
	return !addr_is_local(addr) || kad_addr_is_exempt(rules, from);
}

bool kad_addr_same_net(const struct addr *a, const struct addr *b)
{
	return a->family == b->family &&
	       !memcmp(a->ip, b->ip, a->family == 4 ? 3 : 8);
}

void kad_table_init(struct kad_table *t, const struct kad_rules *rules,
		    const struct kad_id *self)
{
	CHECK(rules->k >= 1 && rules->k <= LIMIT_KAD_K);
	memset(t, 0, sizeof(*t));
	t->rules = rules;
	t->self = *self;
}

void kad_table_release(struct kad_table *t)
{
	for (unsigned i = 0; i < KAD_ID_BITS; i++)
		free(t->buckets[i].nodes);
	memset(t->buckets, 0, sizeof(t->buckets));
	t->depth = t->num_nodes = t->num_candidates = 0;
}

static unsigned bucket_cap(const struct kad_table *t, unsigned i)
{
	return i < WIDE_BUCKETS ? t->rules->k << (WIDE_BUCKETS - i)
				: t->rules->k;
}

/* NULL: ID is our own. Buckets without memory are returned as they are. */
static struct kad_bucket *bucket_of(const struct kad_table *t,
				    const struct kad_id *id, unsigned *index)
{
	*index = kad_id_prefix(&t->self, id);
	if (*index == KAD_ID_BITS)
		return NULL;
	return (struct kad_bucket *)&t->buckets[*index];
}

static struct kad_node *spares_of(const struct kad_bucket *b)
{
	return b->nodes + b->cap;
}

static struct kad_node *find_in(struct kad_node *nodes, unsigned n,
				const struct kad_id *id)
{
	uint64_t first = load_be64(id->b);

	for (unsigned i = 0; i < n; i++) {
		if (load_be64(nodes[i].id.b) == first &&
		    kad_id_eq(&nodes[i].id, id))
			return &nodes[i];
	}
	return NULL;
}

const struct kad_node *kad_table_find(const struct kad_table *t,
				      const struct kad_id *id)
{
	unsigned i;
	struct kad_bucket *b = bucket_of(t, id, &i);

	return b ? find_in(b->nodes, b->num, id) : NULL;
}

/* --- addresses --- */

/* Somebody of the table at this address (port apart, unless exempt). */
static struct kad_node *find_addr(struct kad_table *t, const struct addr *addr,
				  struct kad_bucket **in)
{
	bool is_exempt = kad_addr_is_exempt(t->rules, addr);

	for (unsigned i = 0; i < t->depth; i++) {
		struct kad_bucket *b = &t->buckets[i];

		for (unsigned j = 0; j < b->num; j++) {
			const struct addr *a = &b->nodes[j].addr;

			if (is_exempt ? addr_eq(a, addr)
				      : addr_ip_eq(a, addr)) {
				*in = b;
				return &b->nodes[j];
			}
		}
	}
	return NULL;
}

static struct kad_node *find_net(const struct kad_table *t,
				 const struct kad_bucket *b,
				 const struct addr *addr)
{
	if (kad_addr_is_exempt(t->rules, addr))
		return NULL;
	for (unsigned j = 0; j < b->num; j++) {
		if (kad_addr_same_net(&b->nodes[j].addr, addr))
			return &b->nodes[j];
	}
	return NULL;
}

/* --- places --- */

static void forget_depth(struct kad_table *t)
{
	while (t->depth && !t->buckets[t->depth - 1].num)
		t->depth--;
}

static void remove_node(struct kad_table *t, struct kad_bucket *b,
			struct kad_node *n)
{
	*n = b->nodes[--b->num];
	t->num_nodes--;
	t->changes++;
	forget_depth(t);
}

static void add_node(struct kad_table *t, struct kad_bucket *b, unsigned index,
		     const struct kad_node *n)
{
	b->nodes[b->num++] = *n;
	t->num_nodes++;
	t->changes++;
	if (t->depth <= index)
		t->depth = index + 1;
}

static void remove_spare(struct kad_bucket *b, struct kad_node *s)
{
	*s = spares_of(b)[--b->num_spares];
}

/* Keeps the newest k; one for each subnet. */
static void add_spare(struct kad_table *t, struct kad_bucket *b,
		      const struct kad_node *n)
{
	struct kad_node *spares = spares_of(b), *victim = NULL;

	for (unsigned i = 0; i < b->num_spares; i++) {
		struct kad_node *s = &spares[i];

		if (kad_id_eq(&s->id, &n->id) || addr_eq(&s->addr, &n->addr) ||
		    (!kad_addr_is_exempt(t->rules, &n->addr) &&
		     kad_addr_same_net(&s->addr, &n->addr))) {
			*s = *n;
			return;
		}
		if (!victim || s->answered_ms < victim->answered_ms)
			victim = s;
	}
	if (b->num_spares < t->rules->k)
		victim = &spares[b->num_spares++];
	*victim = *n;
}

/* The best spare that breaks no rule takes the place of who is gone. */
static void promote(struct kad_table *t, struct kad_bucket *b, unsigned index)
{
	struct kad_bucket *in;

	while (b->num < b->cap && b->num_spares) {
		struct kad_node *spares = spares_of(b), *best = &spares[0];
		struct kad_node n;

		for (unsigned i = 1; i < b->num_spares; i++) {
			struct kad_node *s = &spares[i];

			if (s->is_verified != best->is_verified
				    ? s->is_verified
				    : s->answered_ms > best->answered_ms)
				best = s;
		}
		n = *best;
		remove_spare(b, best);
		if (find_addr(t, &n.addr, &in) || find_net(t, b, &n.addr))
			continue;
		n.fails = 1; /* not told to others before it answers again */
		add_node(t, b, index, &n);
	}
}

/* --- who stays --- */

static unsigned slot_bits(const struct kad_bucket *b)
{
	return 31 - (unsigned)__builtin_clz(b->cap);
}

/* The bits after the prefix, as many as give each place a slot. */
static unsigned slot_of(unsigned bits, unsigned index, const struct kad_id *id)
{
	uint32_t window = 0;
	unsigned at = (index + 1) / 8;

	for (unsigned i = 0; i < 4; i++)
		window = window << 8 |
			 (at + i < KAD_ID_BYTES ? id->b[at + i] : 0u);
	return bits ? window << (index + 1) % 8 >> (32 - bits) : 0;
}

static bool is_worse(const struct kad_node *a, const struct kad_node *b)
{
	return !b || a->rtt_ms > b->rtt_ms;
}

/* Who gives way to N in the full bucket B, or NULL. */
static struct kad_node *victim_for(struct kad_table *t, struct kad_bucket *b,
				   unsigned index, const struct kad_node *n)
{
	uint16_t counts[LIMIT_KAD_K << WIDE_BUCKETS] = { 0 };
	unsigned bits = slot_bits(b), slot = slot_of(bits, index, &n->id);
	unsigned fullest = 0;
	struct kad_node *failing = NULL, *unproven = NULL, *crowded = NULL;
	struct kad_node *slow = NULL;

	for (unsigned i = 0; i < b->num; i++) {
		struct kad_node *o = &b->nodes[i];

		if (kad_table_state(t, o) != KAD_GOOD &&
		    (!failing || o->fails > failing->fails))
			failing = o;
		if (!o->is_verified && is_worse(o, unproven))
			unproven = o;
		counts[slot_of(bits, index, &o->id)]++;
	}
	if (failing)
		return failing;
	if (unproven && n->is_verified)
		return unproven;
	if (unproven || n->is_verified) {
		for (unsigned i = 0; i < b->num; i++) {
			struct kad_node *o = &b->nodes[i];
			unsigned s = slot_of(bits, index, &o->id);

			if (s == slot && o->rtt_ms > n->rtt_ms &&
			    is_worse(o, slow))
				slow = o;
			if (counts[s] > fullest ||
			    (counts[s] == fullest && is_worse(o, crowded))) {
				fullest = counts[s];
				crowded = o;
			}
		}
	}
	if (crowded && fullest > (unsigned)counts[slot] + 1)
		return crowded;
	return slow;
}

static void ensure_memory(struct kad_table *t, struct kad_bucket *b,
			  unsigned index)
{
	if (b->nodes)
		return;
	b->cap = (uint16_t)bucket_cap(t, index);
	b->nodes = mem_alloc_array(b->cap + t->rules->k, sizeof(*b->nodes));
}

/* N answered and is in no bucket yet. */
static bool insert(struct kad_table *t, struct kad_bucket *b, unsigned index,
		   const struct kad_node *n)
{
	struct kad_bucket *in;
	struct kad_node *other, *spare, *victim;

	/* Who holds the address or the subnet stays, unless it fails; but at
	 * one port there can only be one, who has a new id now. */
	other = find_addr(t, &n->addr, &in);
	if (other && kad_table_state(t, other) == KAD_GOOD &&
	    !addr_eq(&other->addr, &n->addr))
		return false;
	if (other)
		remove_node(t, in, other);
	other = find_net(t, b, &n->addr);
	if (other && kad_table_state(t, other) == KAD_GOOD)
		return false;
	if (other)
		remove_node(t, b, other);
	ensure_memory(t, b, index);
	spare = find_in(spares_of(b), b->num_spares, &n->id);
	if (spare)
		remove_spare(b, spare);
	if (b->num < b->cap) {
		add_node(t, b, index, n);
		return true;
	}
	victim = victim_for(t, b, index, n);
	if (!victim) {
		add_spare(t, b, n);
		return false;
	}
	if (kad_table_state(t, victim) == KAD_GOOD)
		add_spare(t, b, victim);
	*victim = *n;
	t->changes++;
	return true;
}

bool kad_table_on_answer(struct kad_table *t, int64_t now_ms,
			 const struct kad_contact *c, uint16_t rtt_ms)
{
	unsigned index;
	struct kad_bucket *b = bucket_of(t, &c->id, &index);
	struct kad_node *n, fresh;

	if (!b)
		return false;
	n = find_in(b->nodes, b->num, &c->id);
	if (n && addr_eq(&n->addr, &c->addr)) {
		if (rtt_ms != KAD_RTT_UNKNOWN)
			n->rtt_ms =
				n->rtt_ms == KAD_RTT_UNKNOWN
					? rtt_ms
					: (uint16_t)((n->rtt_ms * 3u + rtt_ms) /
						     4u);
		if (n->timeouts)
			t->changes++;
		n->fails = n->timeouts = 0;
		n->answered_ms = now_ms;
		return true;
	}
	/* The same id elsewhere: one of them lies, or it moved. Who is known
	 * and well stays. */
	if (n && kad_table_state(t, n) == KAD_GOOD)
		return false;
	if (n)
		remove_node(t, b, n);
	fresh = (struct kad_node){
		.id = c->id,
		.addr = c->addr,
		.rtt_ms = rtt_ms,
		.is_verified =
			t->rules->is_verified(t->rules->arg, &c->id, &c->addr),
		.first_ms = now_ms,
		.answered_ms = now_ms,
		.asked_ms = now_ms,
	};
	return insert(t, b, index, &fresh);
}

void kad_table_on_timeout(struct kad_table *t, const struct kad_contact *c,
			  unsigned tries, bool is_outage)
{
	unsigned index;
	struct kad_bucket *b = bucket_of(t, &c->id, &index);
	struct kad_node *n = b ? find_in(b->nodes, b->num, &c->id) : NULL;

	if (!n || !addr_eq(&n->addr, &c->addr))
		return;
	if (n->timeouts < UINT8_MAX)
		n->timeouts++;
	tries += n->fails;
	if (is_outage)
		tries = 1;
	n->fails = (uint8_t)(tries < UINT8_MAX ? tries : UINT8_MAX);
	t->changes++;
	if (kad_table_state(t, n) == KAD_DEAD &&
	    (b->num_spares || n->fails >= FAILS_MAX)) {
		remove_node(t, b, n);
		promote(t, b, index);
	}
}

void kad_table_evict(struct kad_table *t, const struct kad_id *id,
		     const struct addr *addr)
{
	unsigned index;
	struct kad_bucket *b = bucket_of(t, id, &index);
	struct kad_node *n = b ? find_in(b->nodes, b->num, id) : NULL;

	if (!n || !addr_eq(&n->addr, addr))
		return;
	remove_node(t, b, n);
	promote(t, b, index);
}

void kad_table_set_self(struct kad_table *t, const struct kad_id *self)
{
	struct kad_table old = *t;

	kad_table_init(t, old.rules, self);
	t->changes = old.changes + 1;
	t->num_candidates = old.num_candidates;
	memcpy(t->candidates, old.candidates, sizeof(t->candidates));
	for (unsigned i = 0; i < KAD_ID_BITS; i++) {
		struct kad_bucket *from = &old.buckets[i];

		for (unsigned j = 0; j < from->num; j++) {
			unsigned index;
			struct kad_bucket *to =
				bucket_of(t, &from->nodes[j].id, &index);

			if (to)
				(void)insert(t, to, index, &from->nodes[j]);
		}
	}
	kad_table_release(&old);
}

/* --- candidates --- */

static bool would_take(struct kad_table *t, const struct kad_contact *c)
{
	unsigned index;
	struct kad_bucket *b = bucket_of(t, &c->id, &index), *in;
	struct kad_node *other, n;

	if (!b || addr_is_martian(&c->addr) ||
	    find_in(b->nodes, b->num, &c->id))
		return false;
	other = find_addr(t, &c->addr, &in);
	if (other && addr_eq(&other->addr, &c->addr))
		return true; /* says that it has a new id: is asked */
	if (other && kad_table_state(t, other) == KAD_GOOD)
		return false;
	other = find_net(t, b, &c->addr);
	if (other && kad_table_state(t, other) == KAD_GOOD)
		return false;
	if (!b->nodes || b->num < b->cap)
		return true;
	n = (struct kad_node){
		.id = c->id,
		.rtt_ms = KAD_RTT_UNKNOWN,
		.is_verified =
			t->rules->is_verified(t->rules->arg, &c->id, &c->addr),
	};
	return victim_for(t, b, index, &n) != NULL;
}

static bool has_room_in(const struct kad_bucket *b)
{
	return !b->nodes || b->num < b->cap;
}

/* Where a new one goes: neighbours matter more than those far away, who are
 * many. NULL: no room. */
static struct kad_candidate *candidate_place(struct kad_table *t,
					     const struct kad_id *id)
{
	unsigned prefix = kad_id_prefix(&t->self, id), least = prefix;
	struct kad_candidate *place = NULL;

	if (t->num_candidates < LIMIT_KAD_CANDIDATES)
		return &t->candidates[t->num_candidates++];
	for (unsigned i = 0; i < t->num_candidates; i++) {
		struct kad_candidate *k = &t->candidates[i];
		unsigned p = kad_id_prefix(&t->self, &k->contact.id);

		if (p < least) {
			least = p;
			place = k;
		}
	}
	return place;
}

void kad_table_suggest(struct kad_table *t, int64_t now_ms,
		       const struct kad_contact *c, bool is_heard)
{
	bool is_exempt = kad_addr_is_exempt(t->rules, &c->addr);
	unsigned prefix = kad_id_prefix(&t->self, &c->id);
	struct kad_candidate *k;

	/* A flood ends here: places in full buckets are not worth a look at
	 * the whole table for each of a hundred thousand senders. */
	if (prefix < t->candidate_floor || prefix == KAD_ID_BITS)
		return;
	if (!has_room_in(&t->buckets[prefix])) {
		if (now_ms < t->full_ms)
			return;
		t->full_ms = now_ms + FULL_MS;
	}
	for (unsigned i = 0; i < t->num_candidates; i++) {
		const struct addr *a = &t->candidates[i].contact.addr;

		if (is_exempt ? addr_eq(a, &c->addr) : addr_ip_eq(a, &c->addr))
			return;
	}
	if (!would_take(t, c))
		return;
	k = candidate_place(t, &c->id);
	if (!k) {
		t->candidate_floor = prefix + 1;
		return;
	}
	k->contact = *c;
	k->due_ms = is_heard ? now_ms : now_ms + t->rules->candidate_ms;
}

/* The closest that is due. */
static struct kad_candidate *due_candidate(struct kad_table *t, int64_t now_ms,
					   int64_t *next_ms)
{
	bool is_short = kad_table_is_short(t);
	struct kad_candidate *best = NULL;

	*next_ms = INT64_MAX;
	for (unsigned i = 0; i < t->num_candidates; i++) {
		struct kad_candidate *k = &t->candidates[i];

		if (!is_short && k->due_ms > now_ms) {
			if (k->due_ms < *next_ms)
				*next_ms = k->due_ms;
			continue;
		}
		if (!best || kad_id_compare(&t->self, &k->contact.id,
					    &best->contact.id) < 0)
			best = k;
	}
	return best;
}

bool kad_table_next_candidate(struct kad_table *t, int64_t now_ms,
			      struct kad_contact *out, int64_t *next_ms)
{
	struct kad_candidate *k;

	while ((k = due_candidate(t, now_ms, next_ms))) {
		*out = k->contact;
		*k = t->candidates[--t->num_candidates];
		t->candidate_floor = 0;
		if (would_take(t, out))
			return true;
	}
	return false;
}

bool kad_table_is_short(const struct kad_table *t)
{
	return t->num_nodes < 4 * t->rules->k;
}

bool kad_table_has_room(const struct kad_table *t, const struct kad_id *id)
{
	unsigned i;
	struct kad_bucket *b = bucket_of(t, id, &i);

	return b && (!b->nodes || b->num < b->cap);
}
