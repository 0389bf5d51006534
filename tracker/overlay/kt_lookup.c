/*
 * Who owns a key: one search for all who ask for the same.
 *
 * In each family a lookup of the core, and beside it, unless the lookup asks
 * all there are anyway, the question kt_own to some of those that we begin
 * with, of different subnets. Whom they name is asked as well: so it takes all
 * of them to hide an owner. Who of the trackers found has been there for long
 * their neighbours know better than we: everybody who names a node says whether
 * it is new to him, and if more than half of them say so it comes last.
 *
 * Owners are few, and one of them has to be found on bad lines as well: who is
 * silent is asked more often than mainline would.
 *
 * If the k closest are nearer to the key than chance would have them, somebody
 * has packed it: then those who come after are told as well.
 *
 * A client with a thousand keys does not ask for all of them in one second:
 * trackers would not answer. They wait for each other, PACE_MS apart, once a
 * burst of them is under way.
 *
 * Answers are remembered: for FRESH_MS in place of a search, for STALE_MS in
 * place of nothing.
 */
#include <math.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tracker/overlay/kt_private.h"

#define FRESH_MS   30000
#define STALE_MS   (10 * 60 * 1000)
#define PACE_MS    100
#define PACE_BURST 64
#define WAIT_MS    1500 /* for a first node */
#define VOICES     3    /* asked with kt_own, in each family */
#define ENOUGH     2    /* of them are waited for */
#define NAMED_MAX  (2 * VOICES * KT_OWNERS_MAX)
#define FOUND_MAX  (2 * KAD_FOUND_MAX + 1)

struct kt_cached {
	struct list node;
	struct kad_id key;
	int64_t at_ms;
	bool is_forgotten; /* good for nothing but STALE_MS */
	unsigned num;
	struct kt_owner owners[KT_OWNERS_MAX];
};

struct voice { /* one that is asked with kt_own */
	struct kt_search *search;
	struct kad_call *call; /* NULL: over */
	uint8_t family;
};

struct kt_search {
	struct list node;
	struct kt *kt;
	struct kad_id key;
	int64_t start_ms, wait_until_ms;
	bool has_begun;
	struct kad_lookup *lookup[2]; /* NULL: not begun, or over */
	struct voice voices[2][VOICES];
	unsigned out[2], heard[2]; /* voices that are waited for, that spoke */
	struct {
		struct kad_id id;
		uint16_t votes, news; /* news: of these, that it is new */
	} named[NAMED_MAX];
	unsigned num_named;
	struct {
		struct kt_owner owner;
		bool is_settled;
	} found[FOUND_MAX]; /* closest first */
	unsigned num_found;
	unsigned queries, hops;
	double packed;       /* distance up to which the key is; 0: it is not */
	struct list waiters; /* of struct kt_lookup */
};

struct kt_lookup {
	struct list node; /* of a search, or of those to be told */
	struct kt *kt;
	struct kt_search *search; /* NULL: found */
	void (*fn)(void *arg, const struct kt_found *found);
	void *arg; /* borrowed */
	struct kt_found found;
	struct kt_owner owners[KT_OWNERS_MAX];
};

/* --- memory --- */

static struct kt_cached *find_cached(struct kt *k, const struct kad_id *key)
{
	list_foreach(c, &k->cached, struct kt_cached, node) {
		if (kad_id_eq(&c->key, key))
			return c;
	}
	return NULL;
}

static void drop_cached(struct kt *k, struct kt_cached *c)
{
	list_remove(&c->node);
	free(c);
	k->num_cached--;
}

static void remember(struct kt *k, const struct kad_id *key,
		     const struct kt_owner *owners, unsigned num)
{
	struct kt_cached *c = find_cached(k, key);

	if (!c && k->num_cached == LIMIT_KT_CACHE)
		drop_cached(k, list_first(&k->cached, struct kt_cached, node));
	if (c) {
		list_remove(&c->node);
	} else {
		c = mem_alloc(sizeof(*c));
		k->num_cached++;
	}
	c->key = *key;
	c->at_ms = k->now_ms;
	c->is_forgotten = false;
	c->num = num;
	memcpy(c->owners, owners, num * sizeof(*owners));
	list_push_back(&k->cached, &c->node); /* the oldest is in front */
}

static void tell_cached(struct kt_lookup *l, const struct kt_cached *c)
{
	l->found.num = c->num;
	memcpy(l->owners, c->owners, sizeof(l->owners));
}

void kt_find_forget(struct kt *k, const struct kad_id *key)
{
	struct kt_cached *c = find_cached(k, key);

	if (c)
		c->is_forgotten = true;
}

/* --- what was found --- */

static void add_found(struct kt_search *s, const struct kt_owner *o,
		      bool is_settled)
{
	unsigned at;

	if (s->num_found == FOUND_MAX)
		return;
	at = s->num_found++;
	while (at && kad_id_compare(&s->key, &o->id,
				    &s->found[at - 1].owner.id) < 0) {
		s->found[at] = s->found[at - 1];
		at--;
	}
	s->found[at].owner = *o;
	s->found[at].is_settled = is_settled;
}

/* Somebody names ID. */
static void vote(struct kt_search *s, const struct kad_id *id, bool is_new)
{
	unsigned i = 0;

	while (i < s->num_named && !kad_id_eq(&s->named[i].id, id))
		i++;
	if (i == NAMED_MAX)
		return;
	if (i == s->num_named) {
		s->num_named++;
		s->named[i].id = *id;
		s->named[i].votes = s->named[i].news = 0;
	}
	s->named[i].votes++;
	s->named[i].news += is_new;
}

static bool is_settled(const struct kt_search *s, unsigned i)
{
	const struct kad_id *id = &s->found[i].owner.id;

	for (unsigned j = 0; j < s->num_named; j++) {
		if (kad_id_eq(&s->named[j].id, id))
			return 2 * s->named[j].news <= s->named[j].votes;
	}
	return s->found[i].is_settled;
}

static double distance(const struct kt_search *s, const struct kad_id *id)
{
	return ldexp((double)kad_distance64(&s->key, id), -64);
}

/* Who was found on both families counts by his IPv4 id. */
static bool is_second(const struct kt_search *s, const struct kt_owner *o)
{
	if (o->addr.family == 4)
		return false;
	for (unsigned i = 0; i < s->num_found; i++) {
		if (kt_owner_is_same(&s->found[i].owner, o))
			return true;
	}
	return false;
}

/* Appends those farther than LEAST; who is new comes last. */
static unsigned choose(const struct kt_search *s, double least,
		       struct kt_owner *out, unsigned n, unsigned max)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < s->num_found && n < max; i++) {
			const struct kt_owner *o = &s->found[i].owner;

			if (is_settled(s, i) == (round == 0) &&
			    distance(s, &o->id) >= least && !is_second(s, o) &&
			    kt_owner_may_join(s->kt, out, n, o))
				out[n++] = *o;
		}
	}
	return n;
}

static void free_search(struct kt_search *s)
{
	for (unsigned f = 0; f < 2; f++) {
		kad_lookup_cancel(s->lookup[f]);
		for (unsigned i = 0; i < VOICES; i++) {
			if (s->voices[f][i].call)
				kad_rpc_forget(s->voices[f][i].call);
		}
	}
	list_remove(&s->node);
	s->kt->num_searches--;
	free(s);
}

static void finish(struct kt_search *s)
{
	struct kt *k = s->kt;
	struct kt_owner self, owners[KT_OWNERS_MAX];
	struct kt_cached *c = NULL;
	unsigned n;

	if (kt_owner_of_self(k, &self))
		add_found(s, &self, k->now_ms - k->start_ms >= KT_SETTLED_MS);
	n = choose(s, 0, owners, 0, KT_REPLICAS);
	if (s->packed > 0)
		n = choose(s, s->packed, owners, n, KT_OWNERS_MAX);
	if (n)
		remember(k, &s->key, owners, n);
	else
		c = find_cached(k, &s->key);
	if (c && k->now_ms - c->at_ms > STALE_MS)
		c = NULL;
	list_foreach(l, &s->waiters, struct kt_lookup, node) {
		l->search = NULL;
		l->found.queries = s->queries;
		l->found.hops = s->hops;
		l->found.took_ms = k->now_ms - s->start_ms;
		l->found.is_stale = c != NULL;
		l->found.num = n;
		memcpy(l->owners, owners, n * sizeof(*owners));
		if (c)
			tell_cached(l, c);
	}
	list_splice_back(&k->finished, &s->waiters);
	free_search(s);
}

/* --- voices --- */

static void take_named(struct kt_search *s, unsigned f, const struct addr *from,
		       const struct kad_id *from_id, struct span list,
		       size_t stride, unsigned max)
{
	const struct kad_rules *rules = &s->kt->family[f].kad.o.rules;

	for (size_t at = 0; at + stride <= list.len && max--; at += stride) {
		struct kad_contact c;

		memcpy(c.id.b, list.ptr + at, KAD_ID_BYTES);
		if (stride == 26)
			addr_from_compact4(&c.addr,
					   list.ptr + at + KAD_ID_BYTES);
		else
			addr_from_compact6(&c.addr,
					   list.ptr + at + KAD_ID_BYTES);
		if (s->lookup[f] && !kad_id_eq(&c.id, from_id) &&
		    !addr_is_martian(&c.addr) &&
		    kad_addr_may_tell(rules, from, &c.addr))
			kad_lookup_add(s->lookup[f], &c.id, &c.addr);
	}
}

/* The lookup may end once enough of them have spoken, or none will. */
static void let_go(struct kt_search *s, unsigned f)
{
	if (s->lookup[f] && (!s->out[f] || s->heard[f] >= ENOUGH))
		kad_lookup_hold(s->lookup[f], false);
}

static void on_voice(void *arg, struct kad_call *call, enum kad_event event,
		     const struct kad_msg *msg)
{
	struct voice *v = arg;
	struct kt_search *s = v->search;
	struct kad *kad = &s->kt->family[v->family].kad;
	const struct kt_msg *m = msg ? msg->body : NULL;
	struct kad_query q = { .method = KT_OWN, .target = &s->key };

	if (event == KAD_SLOW && call->sends == 1) {
		s->queries++;
		kad_ask_again(kad, kad->now_ms, call, &q,
			      kad_rpc_soft_ms(&kad->rpc));
		return;
	}
	if (event == KAD_SLOW)
		kad_rpc_forget(call);
	v->call = NULL;
	s->out[v->family]--;
	if (event == KAD_ANSWER) {
		s->heard[v->family]++;
		take_named(s, v->family, &call->to.addr, &msg->id,
			   v->family ? m->own6 : m->own, v->family ? 38 : 26,
			   KT_OWNERS_MAX);
	}
	let_go(s, v->family);
}

static void ask_voices(struct kt_search *s, unsigned f)
{
	struct kad *kad = &s->kt->family[f].kad;
	const struct kad_node *near[KT_K];
	unsigned n = kad_table_closest(&kad->table, &s->key, KT_K, near);
	struct kad_query q = { .method = KT_OWN, .target = &s->key };

	for (unsigned i = 0; i < n && s->out[f] < VOICES; i++) {
		struct voice *v = &s->voices[f][s->out[f]];
		bool is_apart = true;

		for (unsigned j = 0; j < i; j++)
			is_apart &= !addr_same_subnet(&near[i]->addr,
						      &near[j]->addr) ||
				    kad_addr_is_exempt(&kad->o.rules,
						       &near[i]->addr);
		if (!is_apart)
			continue;
		v->search = s;
		v->family = (uint8_t)f;
		v->call = kad_ask(kad, s->kt->now_ms, &q, &near[i]->id,
				  &near[i]->addr, on_voice, v);
		if (!v->call)
			break;
		s->out[f]++;
		s->queries++;
	}
}

/* --- the lookups --- */

/* Those who were told of: the first eight of each family, as the bits are. */
static void on_answer(void *arg, const struct kad_found *from,
		      const struct kad_msg *msg)
{
	struct kt_search *s = arg;
	const struct kt_msg *m = msg->body;
	unsigned f = kt_index(from->contact.addr.family);
	struct span list = f ? m->nodes6 : m->nodes;
	size_t stride = f ? 38 : 26;
	unsigned bits = m->fresh[f].ptr ? m->fresh[f].ptr[0] : 0;

	for (unsigned i = 0; i < KT_K && (i + 1) * stride <= list.len; i++) {
		struct kad_id id;

		memcpy(id.b, list.ptr + i * stride, KAD_ID_BYTES);
		vote(s, &id, bits >> i & 1);
	}
}

static void on_done(struct kt_search *s, unsigned f,
		    const struct kad_lookup_result *r)
{
	struct kt *k = s->kt;

	s->lookup[f] = NULL;
	s->queries += r->queries;
	if (r->hops > s->hops)
		s->hops = r->hops;
	if (r->is_suspicious && r->plausible > s->packed)
		s->packed = r->plausible;
	for (unsigned i = 0; i < r->num_nodes; i++) {
		const struct kad_contact *c = &r->nodes[i].contact;
		const struct kt_member *m = kt_member_of(k, &c->id, &c->addr);
		struct kt_owner o;

		if (!m || !r->nodes[i].is_verified)
			continue;
		kt_owner_of(k, m, &o);
		add_found(s, &o, kt_member_is_settled(k, m));
	}
}

static void on_done4(void *arg, const struct kad_lookup_result *r)
{
	on_done(arg, 0, r);
}

static void on_done6(void *arg, const struct kad_lookup_result *r)
{
	on_done(arg, 1, r);
}

static void begin(struct kt_search *s)
{
	struct kt *k = s->kt;
	struct kad_lookup_spec spec = { .target = s->key,
					.method = KAD_FIND,
					.alpha = KT_K,
					.sends = KAD_SENDS_MAX,
					.on_answer = on_answer,
					.arg = s };

	s->has_begun = true;
	for (unsigned f = 0; f < 2; f++) {
		if (!k->family[f].is_on || !k->family[f].kad.table.num_nodes)
			continue;
		spec.on_done = f ? on_done6 : on_done4;
		s->lookup[f] =
			kad_lookup_start(&k->family[f].kad, k->now_ms, &spec);
		if (!s->lookup[f])
			continue;
		if (k->family[f].kad.table.num_nodes > KT_REPLICAS)
			ask_voices(s, f);
		if (s->out[f])
			kad_lookup_hold(s->lookup[f], true);
	}
}

static bool has_nodes(const struct kt *k)
{
	for (unsigned f = 0; f < 2; f++) {
		if (k->family[f].is_on && k->family[f].kad.table.num_nodes)
			return true;
	}
	return false;
}

static bool may_begin(const struct kt *k)
{
	return has_nodes(k) && (!k->o.is_client ||
				k->pace_ms <= k->now_ms + PACE_BURST * PACE_MS);
}

static void begin_if_allowed(struct kt_search *s)
{
	struct kt *k = s->kt;

	if (s->has_begun || !may_begin(k))
		return;
	if (k->pace_ms < k->now_ms)
		k->pace_ms = k->now_ms;
	k->pace_ms += PACE_MS;
	begin(s);
}

/* --- the face --- */

static struct kt_search *new_search(struct kt *k, const struct kad_id *key)
{
	struct kt_search *s = mem_alloc(sizeof(*s));

	s->kt = k;
	s->key = *key;
	s->start_ms = k->now_ms;
	/* A tracker that has been alone for long is all there is. */
	s->wait_until_ms = (k->o.is_client ? k->now_ms : k->start_ms) + WAIT_MS;
	list_init(&s->waiters);
	list_push_back(&k->searches, &s->node);
	k->num_searches++;
	k->stats.lookups++;
	begin_if_allowed(s);
	return s;
}

static struct kt_search *search_for(struct kt *k, const struct kad_id *key)
{
	list_foreach(s, &k->searches, struct kt_search, node) {
		if (kad_id_eq(&s->key, key))
			return s;
	}
	return k->num_searches < LIMIT_KT_SEARCHES ? new_search(k, key) : NULL;
}

struct kt_lookup *kt_find(struct kt *k, const struct kad_id *key,
			  void (*fn)(void *arg, const struct kt_found *found),
			  void *arg)
{
	struct kt_search *s = NULL;
	struct kt_cached *c;
	struct kt_lookup *l;

	if (k->num_waiters == LIMIT_KT_WAITERS)
		return NULL;
	k->now_ms = k->io.now(k->io.arg);
	c = find_cached(k, key);
	if (!c || c->is_forgotten || k->now_ms - c->at_ms > FRESH_MS) {
		c = NULL;
		s = search_for(k, key);
		if (!s)
			return NULL;
	}
	l = mem_alloc(sizeof(*l));
	l->kt = k;
	l->search = s;
	l->fn = fn;
	l->arg = arg;
	if (c)
		tell_cached(l, c);
	list_push_back(s ? &s->waiters : &k->finished, &l->node);
	k->num_waiters++;
	kt_wake(k);
	return l;
}

static void free_lookup(struct kt_lookup *l)
{
	list_remove(&l->node);
	l->kt->num_waiters--;
	free(l);
}

/* A search that nobody waits for goes on: it is remembered. */
void kt_find_cancel(struct kt_lookup *l)
{
	if (l)
		free_lookup(l);
}

static void tell(struct kt_lookup *l)
{
	struct kt_owner owners[KT_OWNERS_MAX];
	struct kt_found found = l->found;
	void (*fn)(void *, const struct kt_found *) = l->fn;
	void *arg = l->arg;

	memcpy(owners, l->owners, sizeof(owners));
	found.owners = owners;
	free_lookup(l);
	fn(arg, &found);
}

void kt_lookups_step(struct kt *k)
{
	struct list now;

	list_foreach_safe(s, &k->searches, struct kt_search, node) {
		begin_if_allowed(s);
		if (s->has_begun
			    ? !s->lookup[0] && !s->lookup[1]
			    : !has_nodes(k) && k->now_ms >= s->wait_until_ms)
			finish(s);
	}
	/* What is asked for in here is answered next time. */
	list_init(&now);
	list_splice_back(&now, &k->finished);
	while (!list_is_empty(&now))
		tell(list_first(&now, struct kt_lookup, node));
}

int64_t kt_lookups_next_ms(const struct kt *k)
{
	int64_t next = list_is_empty(&k->finished) ? INT64_MAX : k->now_ms;

	list_foreach(s, &k->searches, struct kt_search, node) {
		int64_t at = has_nodes(k) ? k->pace_ms - PACE_BURST * PACE_MS
					  : s->wait_until_ms;

		if (!s->has_begun && at < next)
			next = at;
	}
	return next;
}

void kt_lookups_release(struct kt *k)
{
	while (!list_is_empty(&k->searches)) {
		struct kt_search *s =
			list_first(&k->searches, struct kt_search, node);

		list_splice_back(&k->finished, &s->waiters);
		free_search(s);
	}
	while (!list_is_empty(&k->finished))
		free_lookup(list_first(&k->finished, struct kt_lookup, node));
	while (!list_is_empty(&k->cached))
		drop_cached(k, list_first(&k->cached, struct kt_cached, node));
}
