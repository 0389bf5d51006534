/*
 * A list of at most LIMIT_KAD_LOOKUP_LIST nodes sorted by distance, each
 *
 *     NEW --> ASKED --> ANSWERED
 *               |  \--> DEAD      refused, timed out, wrong id
 *               \-----> LEFT      silent too often; may still answer
 *
 * and after each event a walk from the top: whoever is NEW is asked until alpha
 * of those passed are being waited for, or k have answered.
 */
#include "dht/kad_lookup.h"

#include <math.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define ALPHA       5
#define NO_NODE     UINT8_MAX
#define RETRY_PART  4          /* of the usual time, between further tries */
#define SIZE_WEIGHT (1.0 / 16) /* of one more lookup in the estimate */
#define SIZE_TRUST  8          /* lookups before it judges others */
#define NEAR_FACTOR 4 /* so many times closer than expected is no chance */

enum entry_state {
	ENTRY_NEW,
	ENTRY_ASKED,
	ENTRY_ANSWERED,
	ENTRY_LEFT,
	ENTRY_DEAD
};

struct entry {
	struct kad_lookup *lookup;
	struct kad_call *call; /* NULL: none is out */
	struct kad_found found;
	enum entry_state state;
	bool has_id, is_slow, is_used;
	bool is_renamed; /* had another id before: not a second time */
};

struct kad_lookup {
	struct list node; /* first: kad_release knows */
	struct kad *kad;
	struct kad_lookup_spec spec;
	int64_t start_ms;
	bool is_held, is_step_due;
	bool is_exhausted; /* the last pass reached the end of the list */
	bool is_filled;    /* all of our table was added */
	bool *gone;        /* set by a cancel inside a callback */
	unsigned num_flying, queries, answers, hops;
	unsigned num;                         /* in order */
	uint8_t order[LIMIT_KAD_LOOKUP_LIST]; /* closest first */
	struct entry entries[LIMIT_KAD_LOOKUP_LIST];
};

static_assert(offsetof(struct kad_lookup, node) == 0, "kad_release casts");
static_assert(LIMIT_KAD_LOOKUP_LIST < NO_NODE, "an index fits into a byte");

static struct entry *nth(struct kad_lookup *l, unsigned i)
{
	return &l->entries[l->order[i]];
}

/* --- the list --- */

static bool is_before(const struct kad_lookup *l, const struct entry *a,
		      const struct entry *b)
{
	if (a->has_id != b->has_id)
		return a->has_id;
	return a->has_id &&
	       kad_id_compare(&l->spec.target, &a->found.contact.id,
			      &b->found.contact.id) < 0;
}

static void place(struct kad_lookup *l, uint8_t index)
{
	unsigned at = l->num++;

	while (at && is_before(l, &l->entries[index], nth(l, at - 1))) {
		l->order[at] = l->order[at - 1];
		at--;
	}
	l->order[at] = index;
}

static void take_out(struct kad_lookup *l, unsigned i)
{
	l->num--;
	memmove(l->order + i, l->order + i + 1, l->num - i);
}

static unsigned rank_of(struct kad_lookup *l, const struct entry *e)
{
	for (unsigned i = 0; i < l->num; i++) {
		if (nth(l, i) == e)
			return i;
	}
	return l->num;
}

static void remove_entry(struct kad_lookup *l, unsigned i)
{
	struct entry *e = nth(l, i);

	CHECK(!e->call);
	e->is_used = false;
	take_out(l, i);
}

static bool is_rival_in_net(const struct kad_rules *rules,
			    const struct entry *e, const struct kad_id *id,
			    const struct addr *addr)
{
	const struct kad_contact *c = &e->found.contact;

	if (!kad_addr_same_net(&c->addr, addr))
		return false;
	return !rules->is_apart || !id || !e->has_id ||
	       addr_ip_eq(&c->addr, addr) ||
	       !rules->is_apart(rules->arg, id, &c->id);
}

/* Somebody at the same address or in the same subnet, or of the same id. */
static unsigned find_rival(struct kad_lookup *l, const struct kad_id *id,
			   const struct addr *addr)
{
	const struct kad_rules *rules = &l->kad->o.rules;
	bool is_exempt = kad_addr_is_exempt(rules, addr);

	for (unsigned i = 0; i < l->num; i++) {
		struct entry *e = nth(l, i);
		const struct kad_contact *c = &e->found.contact;

		if (is_exempt ? addr_eq(&c->addr, addr)
			      : is_rival_in_net(rules, e, id, addr))
			return i;
		if (id && e->has_id && kad_id_eq(&c->id, id))
			return i;
	}
	return l->num;
}

/* A free entry; the farthest gives way if it is farther than ID. */
static uint8_t make_room(struct kad_lookup *l, const struct kad_id *id)
{
	if (l->num == LIMIT_KAD_LOOKUP_LIST) {
		unsigned i = l->num - 1;
		struct entry *last = nth(l, i);

		if (last->call ||
		    (id && last->has_id &&
		     kad_id_compare(&l->spec.target, id,
				    &last->found.contact.id) >= 0))
			return NO_NODE;
		remove_entry(l, i);
	}
	for (uint8_t i = 0; i < LIMIT_KAD_LOOKUP_LIST; i++) {
		if (!l->entries[i].is_used)
			return i;
	}
	return NO_NODE;
}

/* NULL: it is no better than who is there. */
static struct entry *add(struct kad_lookup *l, const struct kad_id *id,
			 const struct addr *addr, unsigned hops)
{
	const struct kad_rules *rules = &l->kad->o.rules;
	bool is_verified;
	unsigned rival;
	uint8_t index;
	struct entry *e;

	if (addr->family != l->kad->o.family || addr_is_martian(addr) ||
	    (id && kad_id_eq(id, &l->kad->o.self)))
		return NULL;
	is_verified = id && rules->is_verified(rules->arg, id, addr);
	rival = find_rival(l, id, addr);
	if (rival < l->num) {
		struct entry *r = nth(l, rival);
		bool may_go = r->state == ENTRY_DEAD ||
			      (r->state == ENTRY_NEW && is_verified &&
			       !r->found.is_verified);

		/* Its own echo, or no better than who holds the place. */
		if (!may_go || r->call ||
		    (r->has_id && id && kad_id_eq(&r->found.contact.id, id)))
			return NULL;
		remove_entry(l, rival);
	}
	index = make_room(l, id);
	if (index == NO_NODE)
		return NULL;
	e = &l->entries[index];
	*e = (struct entry){ .lookup = l, .has_id = id, .is_used = true };
	if (id)
		e->found.contact.id = *id;
	e->found.contact.addr = *addr;
	e->found.is_verified = is_verified;
	e->found.hops = (uint8_t)(hops < UINT8_MAX ? hops : UINT8_MAX);
	place(l, index);
	return e;
}

/* --- asking --- */

static struct kad_query query_of(const struct kad_lookup *l)
{
	return (struct kad_query){ .method = l->spec.method,
				   .target = &l->spec.target,
				   .ctx = l->spec.ctx };
}

static void land(struct entry *e, enum entry_state state)
{
	e->state = state;
	if (e->call)
		e->lookup->num_flying--;
	e->call = NULL;
}

static void step(struct kad_lookup *l);

/* How many at the top are asked once the end is near: some will be dead. */
static unsigned wide_of(unsigned k)
{
	return 2 * k;
}

static void on_answer(struct kad_lookup *l, struct entry *e,
		      const struct kad_msg *m)
{
	unsigned rank = rank_of(l, e);
	bool gone = false;

	land(e, ENTRY_ANSWERED);
	l->answers++;
	if (e->found.hops > l->hops)
		l->hops = e->found.hops;
	if (!e->has_id) {
		const struct kad_rules *rules = &l->kad->o.rules;

		e->has_id = true;
		e->found.contact.id = m->id;
		e->found.is_verified = rules->is_verified(
			rules->arg, &m->id, &e->found.contact.addr);
		take_out(l, rank);
		place(l, (uint8_t)(e - l->entries));
	}
	if (m->token.len && m->token.len <= LIMIT_KAD_TOKEN_BYTES) {
		e->found.token_len = (uint8_t)m->token.len;
		memcpy(e->found.token, m->token.ptr, m->token.len);
	}
	for (unsigned i = 0; i < m->num_nodes; i++) {
		const struct addr *a = &m->nodes[i].addr;

		if (kad_addr_may_tell(&l->kad->o.rules, &e->found.contact.addr,
				      a))
			(void)add(l, &m->nodes[i].id, a, e->found.hops + 1u);
	}
	if (!l->spec.on_answer)
		return step(l);
	l->gone = &gone;
	l->spec.on_answer(l->spec.arg, &e->found, m);
	if (gone)
		return;
	l->gone = NULL;
	step(l);
}

/* Does the end wait for it? Not if k closer ones have answered, nor while there
 * are others enough that may still answer. */
static bool is_needed(struct kad_lookup *l, const struct entry *e)
{
	unsigned k = l->kad->o.rules.k, answered = 0, alive = 0;

	for (unsigned i = 0; i < l->num; i++) {
		const struct entry *o = nth(l, i);

		if (o == e)
			return true;
		if (o->state == ENTRY_DEAD || o->state == ENTRY_LEFT)
			continue;
		answered += o->state == ENTRY_ANSWERED;
		if (answered == k || ++alive == wide_of(k))
			return false;
	}
	return false;
}

static void on_slow(struct kad_lookup *l, struct entry *e)
{
	struct kad *k = l->kad;
	int64_t usual = kad_rpc_usual_ms(&k->rpc), wait;
	struct kad_query q = query_of(l);
	unsigned sends = l->spec.sends ? l->spec.sends : KAD_SENDS_USUAL;

	if (k->now_ms - e->call->first_ms >= usual)
		e->is_slow = true;
	if (e->call->sends == sends) {
		e->state = ENTRY_LEFT;
	} else if (is_needed(l, e)) {
		l->queries++;
		wait = e->call->sends + 1u < sends ? usual / RETRY_PART : usual;
		kad_ask_again(k, k->now_ms, e->call, &q, wait);
	} else {
		kad_rpc_wait(&k->rpc, k->now_ms, e->call, usual / RETRY_PART,
			     false);
	}
}

static void on_event(void *arg, struct kad_call *call, enum kad_event event,
		     const struct kad_msg *msg)
{
	struct entry *e = arg;
	struct kad_lookup *l = e->lookup;
	struct entry *again = NULL;

	switch (event) {
	case KAD_ANSWER:
		on_answer(l, e, msg);
		return;
	case KAD_SLOW:
		on_slow(l, e);
		break;
	case KAD_REFUSED:
	case KAD_TIMEOUT:
		land(e, ENTRY_DEAD);
		break;
	}
	/* It has a new id: once more, under that. */
	if (event == KAD_TIMEOUT && msg && msg->has_id && !e->is_renamed)
		again = add(l, &msg->id, &call->to.addr, e->found.hops);
	if (again)
		again->is_renamed = true;
	step(l);
}

static void ask(struct kad_lookup *l, struct entry *e)
{
	struct kad *k = l->kad;
	struct kad_query q = query_of(l);

	e->call = kad_ask(k, k->now_ms, &q,
			  e->has_id ? &e->found.contact.id : NULL,
			  &e->found.contact.addr, on_event, e);
	if (!e->call) {
		e->state = ENTRY_DEAD;
		return;
	}
	kad_rpc_wait(&k->rpc, k->now_ms, e->call, kad_rpc_usual_ms(&k->rpc),
		     false);
	e->state = ENTRY_ASKED;
	l->num_flying++;
	l->queries++;
}

/* --- is it over? --- */

/* Distance as a part of all there is. */
static double part_of(const struct kad_id *a, const struct kad_id *b)
{
	return ldexp((double)kad_distance64(a, b), -64);
}

/* What lies beyond a k-th closest node in an overlay of the estimated size;
 * 0: no opinion. */
static double plausible_distance(const struct kad_lookup *l)
{
	const struct kad *k = l->kad;

	if (k->size_samples < SIZE_TRUST)
		return 0;
	return k->o.rules.k / kad_size(k) / NEAR_FACTOR;
}

/* The closest of our table, as many as there is room for. */
static void fill(struct kad_lookup *l, unsigned n)
{
	const struct kad_node *near[LIMIT_KAD_LOOKUP_LIST];

	n = kad_table_closest_any(&l->kad->table, &l->spec.target, n, near);
	for (unsigned i = 0; i < n; i++)
		(void)add(l, &near[i]->id, &near[i]->addr, 1);
}

/* One pass from the top. True: those that matter have all answered. */
static bool pass(struct kad_lookup *l)
{
	unsigned k = l->kad->o.rules.k, wide = l->spec.alpha, busy = 0;
	unsigned counted = 0, answered = 0, pending = 0;
	double plausible = plausible_distance(l);

	if (!wide)
		wide = ALPHA;
	for (unsigned i = 0; i < l->num; i++) {
		struct entry *e = nth(l, i);

		if (e->state == ENTRY_NEW &&
		    l->queries < LIMIT_KAD_LOOKUP_QUERIES) {
			if (l->num_flying >= LIMIT_KAD_IN_FLIGHT)
				return false;
			ask(l, e);
		}
		if (e->state == ENTRY_ANSWERED) {
			answered++;
			if (answered == 1 && wide < wide_of(k))
				wide = wide_of(k);
			if (e->found.is_verified)
				counted++;
			if ((counted >= k &&
			     part_of(&e->found.contact.id, &l->spec.target) >=
				     plausible) ||
			    answered >= 3 * k)
				return !pending;
		} else if (e->state == ENTRY_ASKED) {
			pending++;
			if (!e->is_slow && ++busy >= wide)
				return false;
		}
	}
	l->is_exhausted = true;
	return !pending;
}

/* Where most are dead, those that it began with may not be enough. */
static bool walk(struct kad_lookup *l)
{
	bool is_over;

	l->is_exhausted = false;
	is_over = pass(l);
	if (!l->is_exhausted || l->is_filled)
		return is_over;
	l->is_filled = true;
	fill(l, LIMIT_KAD_LOOKUP_LIST);
	return pass(l);
}

/* The closest at distances d(i), i = 1..k: the best line i = N * d(i). */
static void learn_size(struct kad_lookup *l, struct kad_lookup_result *r)
{
	struct kad *k = l->kad;
	double ii = 0, id = 0, d = 0, log2_size;
	unsigned n = 0;

	for (unsigned i = 0; i < r->num_nodes && n < k->o.rules.k; i++) {
		if (!r->nodes[i].is_verified)
			continue;
		n++;
		d = part_of(&r->nodes[i].contact.id, &l->spec.target);
		ii += (double)n * n;
		id += n * d;
	}
	if (n < k->o.rules.k || id <= 0)
		return;
	r->plausible = plausible_distance(l);
	r->is_suspicious = d < r->plausible;
	/* Our own neighbourhood counts as any other; one that is packed on
	 * purpose does not. */
	if (r->is_suspicious)
		return;
	log2_size = log2(ii / id);
	k->size_log2 +=
		(log2_size - k->size_log2) *
		(k->size_samples < SIZE_TRUST ? 1.0 / (k->size_samples + 1)
					      : SIZE_WEIGHT);
	k->size_samples++;
}

static void finish(struct kad_lookup *l)
{
	struct kad_found found[KAD_FOUND_MAX];
	struct kad_lookup_result r = {
		.nodes = found,
		.queries = l->queries,
		.answers = l->answers,
		.hops = l->hops,
		.took_ms = l->kad->now_ms - l->start_ms,
	};
	void (*on_done)(void *, const struct kad_lookup_result *) =
		l->spec.on_done;
	void *arg = l->spec.arg;

	for (unsigned i = 0; i < l->num && r.num_nodes < KAD_FOUND_MAX; i++) {
		if (nth(l, i)->state == ENTRY_ANSWERED)
			found[r.num_nodes++] = nth(l, i)->found;
	}
	learn_size(l, &r);
	kad_lookup_cancel(l);
	on_done(arg, &r);
}

static void step(struct kad_lookup *l)
{
	bool is_over = walk(l);

	/* Ends on a walk that sent nothing, and never inside another call. */
	if (is_over && !l->is_held)
		l->is_step_due = true;
	if (l->is_step_due)
		l->kad->lookup_ms = l->kad->now_ms;
}

void kad_lookup_step_all(struct kad *k, int64_t now_ms)
{
	bool again = true;

	k->lookup_ms = INT64_MAX;
	while (again) {
		again = false;
		list_foreach(l, &k->lookups, struct kad_lookup, node) {
			if (!l->is_step_due)
				continue;
			l->is_step_due = false;
			if (walk(l) && !l->is_held) {
				finish(l);
				again = true; /* the list has changed */
				break;
			}
		}
	}
}

/* --- the face --- */

struct kad_lookup *kad_lookup_start(struct kad *k, int64_t now_ms,
				    const struct kad_lookup_spec *spec)
{
	struct kad_lookup *l;

	if (k->num_lookups == LIMIT_KAD_LOOKUPS)
		return NULL;
	k->now_ms = now_ms;
	l = mem_alloc(sizeof(*l));
	l->kad = k;
	l->spec = *spec;
	l->start_ms = now_ms;
	list_push_back(&k->lookups, &l->node);
	k->num_lookups++;
	fill(l, 2 * k->o.rules.k);
	(void)walk(l);
	l->is_step_due = true;
	k->lookup_ms = now_ms;
	return l;
}

void kad_lookup_cancel(struct kad_lookup *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < l->num; i++) {
		if (nth(l, i)->call)
			kad_rpc_forget(nth(l, i)->call);
	}
	if (l->gone)
		*l->gone = true;
	list_remove(&l->node);
	l->kad->num_lookups--;
	free(l);
}

void kad_lookup_add(struct kad_lookup *l, const struct kad_id *id,
		    const struct addr *addr)
{
	(void)add(l, id, addr, 1);
	l->is_step_due = true;
	l->kad->lookup_ms = l->kad->now_ms;
}

void kad_lookup_hold(struct kad_lookup *l, bool hold)
{
	l->is_held = hold;
	l->is_step_due = true;
	l->kad->lookup_ms = l->kad->now_ms;
}
