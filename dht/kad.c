#include "dht/kad.h"

#include <math.h>

#include "dht/kad_lookup.h"
#include "engine/base/check.h"

#define CHECK_MS           5000 /* between looks at a stale node */
#define CHECK_SHORT_MS     1000 /* the same while the table is short */
#define SUSPECT_GAP_MS     1000 /* between looks at those who failed */
#define CANDIDATE_MS       1000 /* between pings of candidates */
#define CANDIDATE_SHORT_MS 250
#define OUTAGE_MS          30000            /* nobody answered for so long */
#define SELF_MS            (10 * 60 * 1000) /* and up to three times that */
#define SELF_SHORT_MS      30000            /* doubled up to SELF_MS */
#define SELF_YOUNG_MS      (3 * 60 * 1000)  /* between the first few */
#define YOUNG_MS           (10 * 60 * 1000)

void kad_init(struct kad *k, const struct kad_options *options, int64_t now_ms)
{
	memset(k, 0, sizeof(*k));
	k->o = *options;
	CHECK(options->family == 4 || options->family == 6);
	kad_table_init(&k->table, &k->o.rules, &options->self);
	kad_rpc_init(&k->rpc, options->tag, options->io.random,
		     options->io.arg);
	list_init(&k->lookups);
	k->now_ms = k->start_ms = now_ms;
	k->check_ms = now_ms + k->o.io.random(k->o.io.arg) % CHECK_MS;
	k->candidate_ms = now_ms;
	k->self_ms = now_ms;
	k->suspect_ms = k->lookup_ms = INT64_MAX;
}

void kad_release(struct kad *k)
{
	while (!list_is_empty(&k->lookups))
		kad_lookup_cancel((struct kad_lookup *)(void *)k->lookups.next);
	kad_table_release(&k->table);
	kad_rpc_release(&k->rpc);
}

void kad_set_self(struct kad *k, const struct kad_id *self)
{
	k->o.self = *self;
	kad_table_set_self(&k->table, self);
	k->self_tries = 0;
	k->self_ms = k->now_ms;
}

/* --- asking --- */

static bool transmit(struct kad *k, struct kad_call *c, struct kad_query *q)
{
	uint8_t bytes[KAD_PACKET_BYTES];
	size_t len;

	kad_rpc_tid(&k->rpc, c, q->tid);
	q->to = &c->to.addr;
	len = k->o.codec.write(k->o.io.arg, q, bytes, sizeof(bytes));
	if (len)
		k->o.io.send(k->o.io.arg, &c->to.addr, bytes, len);
	return len > 0;
}

struct kad_call *kad_ask(struct kad *k, int64_t now_ms,
			 const struct kad_query *query, const struct kad_id *id,
			 const struct addr *to, kad_call_fn *fn, void *arg)
{
	struct kad_call *c = kad_rpc_ask(&k->rpc, now_ms, id, to, fn, arg);
	struct kad_query q = *query;

	if (!c)
		return NULL;
	c->method = q.method;
	if (transmit(k, c, &q))
		return c;
	kad_rpc_end(&k->rpc, c);
	return NULL;
}

void kad_ask_again(struct kad *k, int64_t now_ms, struct kad_call *call,
		   const struct kad_query *query, int64_t wait_ms)
{
	struct kad_query q = *query;

	kad_rpc_wait(&k->rpc, now_ms, call, wait_ms, true);
	(void)transmit(k, call, &q); /* it did fit */
}

/* --- upkeep: who is there still? --- */

/* A name at random that shares the first BITS with us and not the next. */
static void random_near(struct kad *k, unsigned bits, struct kad_id *out)
{
	for (unsigned i = 0; i < KAD_ID_BYTES; i += 4)
		store_be32(out->b + i, k->o.io.random(k->o.io.arg));
	for (unsigned i = 0; i <= bits && i < KAD_ID_BITS; i++) {
		unsigned bit = kad_id_bit(&k->o.self, i) ^ (i == bits);
		uint8_t mask = (uint8_t)(0x80 >> i % 8);

		out->b[i / 8] =
			(uint8_t)((out->b[i / 8] & ~mask) | (bit ? mask : 0));
	}
}

static void on_check(void *arg, struct kad_call *call, enum kad_event event,
		     const struct kad_msg *msg)
{
	struct kad *k = arg;

	const struct kad_query ping = { .method = KAD_PING };

	if (event == KAD_SLOW && call->sends == 1)
		kad_ask_again(k, k->now_ms, call, &ping, LIMIT_KAD_TIMEOUT_MS);
	if (event != KAD_ANSWER)
		return;
	for (unsigned i = 0; i < msg->num_nodes; i++) {
		const struct kad_contact *c = &msg->nodes[i];

		if (c->addr.family == k->o.family &&
		    kad_addr_may_tell(&k->o.rules, &call->to.addr, &c->addr) &&
		    kad_table_has_room(&k->table, &c->id))
			kad_table_suggest(&k->table, k->now_ms, c, true);
	}
}

/* Where there is room, the question whether it lives is one for more nodes as
 * well, at the same price. */
static void check_node(struct kad *k, const struct kad_id *id,
		       const struct addr *addr)
{
	unsigned prefix = kad_id_prefix(&k->o.self, id);
	struct kad_id target;
	struct kad_query q = { .method = KAD_PING };

	if (kad_table_has_room(&k->table, id) ||
	    kad_table_is_short(&k->table)) {
		q.method = KAD_FIND;
		q.target = &target;
		if (kad_table_is_short(&k->table))
			target = k->o.self;
		else
			random_near(k, prefix, &target);
	}
	(void)kad_ask(k, k->now_ms, &q, id, addr, on_check, k);
}

static void check_stale(struct kad *k)
{
	/* Somebody is asked every half a minute, that we know of our line. */
	bool is_quiet = k->rpc.last_answer_ms < k->now_ms - OUTAGE_MS;
	struct kad_node *n = kad_table_next_stale(
		&k->table, k->now_ms,
		is_quiet ? OUTAGE_MS / 2 : k->o.rules.stale_ms);
	bool is_short = kad_table_is_short(&k->table);

	k->check_ms = k->now_ms + (is_short ? CHECK_SHORT_MS : CHECK_MS);
	if (n)
		check_node(k, &n->id, &n->addr);
}

static void check_suspects(struct kad *k)
{
	int64_t next;
	struct kad_node *n =
		kad_table_next_suspect(&k->table, k->now_ms, &next);

	k->suspect_ms = n ? k->now_ms + SUSPECT_GAP_MS : next;
	if (n)
		check_node(k, &n->id, &n->addr);
}

static void check_candidates(struct kad *k)
{
	struct kad_contact c;
	int64_t next;

	k->candidate_ms =
		k->now_ms + (kad_table_is_short(&k->table) ? CANDIDATE_SHORT_MS
							   : CANDIDATE_MS);
	if (kad_table_next_candidate(&k->table, k->now_ms, &c, &next))
		check_node(k, &c.id, &c.addr);
}

static void on_self_done(void *arg, const struct kad_lookup_result *r)
{
	struct kad *k = arg;

	k->self_lookup = NULL;
}

void kad_refresh(struct kad *k, int64_t now_ms)
{
	struct kad_lookup_spec spec = {
		.target = k->o.self,
		.method = KAD_FIND,
		.on_done = on_self_done,
		.arg = k,
	};
	int64_t wait = SELF_MS + k->o.io.random(k->o.io.arg) % (2 * SELF_MS);

	if (kad_table_is_short(&k->table)) {
		/* Our own neighbourhood and the rest of the world by turns. */
		if (k->self_tries % 2)
			random_near(k, k->self_tries / 2 % 4, &spec.target);
		wait = (int64_t)SELF_SHORT_MS << k->self_tries;
		if (wait > SELF_MS)
			wait = SELF_MS;
		else
			k->self_tries++;
		wait += k->o.io.random(k->o.io.arg) % (wait / 4);
	} else {
		k->self_tries = 0;
		if (now_ms - k->start_ms < YOUNG_MS)
			wait = SELF_YOUNG_MS;
	}
	k->self_ms = now_ms + wait;
	if (!k->self_lookup && k->table.num_nodes)
		k->self_lookup = kad_lookup_start(k, now_ms, &spec);
}

void kad_on_sender(struct kad *k, int64_t now_ms, const struct kad_contact *c)
{
	kad_table_suggest(&k->table, now_ms, c, false);
}

void kad_suggest(struct kad *k, int64_t now_ms, const struct kad_contact *c)
{
	kad_table_suggest(&k->table, now_ms, c, true);
}

/* --- time and packets --- */

static void run_call(struct kad *k, struct kad_call *c, enum kad_event event)
{
	if (event == KAD_SLOW) {
		if (c->fn)
			c->fn(c->arg, c, event, NULL);
		return;
	}
	if (c->has_id) {
		k->suspect_ms = k->now_ms; /* finds out when */
		kad_table_on_timeout(&k->table, &c->to, c->sends,
				     k->rpc.last_answer_ms <
					     k->now_ms - OUTAGE_MS);
	}
	if (c->fn)
		c->fn(c->arg, c, event, NULL);
	kad_rpc_end(&k->rpc, c);
}

void kad_tick(struct kad *k, int64_t now_ms)
{
	enum kad_event event;
	struct kad_call *c;

	k->now_ms = now_ms;
	while ((c = kad_rpc_due(&k->rpc, now_ms, &event)))
		run_call(k, c, event);
	if (now_ms >= k->check_ms)
		check_stale(k);
	if (now_ms >= k->suspect_ms)
		check_suspects(k);
	if (k->table.num_candidates && now_ms >= k->candidate_ms)
		check_candidates(k);
	if (now_ms >= k->self_ms)
		kad_refresh(k, now_ms);
	if (now_ms >= k->lookup_ms)
		kad_lookup_step_all(k, now_ms);
}

int64_t kad_next_ms(const struct kad *k)
{
	int64_t next = kad_rpc_next_ms(&k->rpc);

	if (k->check_ms < next)
		next = k->check_ms;
	if (k->suspect_ms < next)
		next = k->suspect_ms;
	if (k->table.num_candidates && k->candidate_ms < next)
		next = k->candidate_ms;
	if (k->self_ms < next)
		next = k->self_ms;
	return k->lookup_ms < next ? k->lookup_ms : next;
}

/* Who answers under another id than it was asked for is not who we think. */
static bool is_who_was_asked(struct kad *k, struct kad_call *c,
			     const struct kad_msg *m)
{
	if (!m->has_id || kad_id_eq(&m->id, &k->o.self))
		return false;
	if (!c->has_id || kad_id_eq(&c->to.id, &m->id))
		return true;
	k->rpc.stats.mismatch++;
	kad_table_evict(&k->table, &c->to.id, &c->to.addr);
	return false;
}

static void on_answer(struct kad *k, const struct addr *from,
		      const struct kad_msg *m)
{
	struct kad_call *c =
		kad_rpc_match(&k->rpc, m->tid.ptr, m->tid.len, from);
	struct kad_contact who = { .id = m->id, .addr = *from };
	uint16_t rtt;

	if (!c)
		return;
	rtt = kad_rpc_on_answer(&k->rpc, k->now_ms, c, m->tid.ptr);
	if (m->kind == KAD_ERROR) {
		k->rpc.stats.refused++;
		if (c->fn)
			c->fn(c->arg, c, KAD_REFUSED, m);
	} else if (!is_who_was_asked(k, c, m)) {
		if (c->fn)
			c->fn(c->arg, c, KAD_TIMEOUT, m);
	} else {
		(void)kad_table_on_answer(&k->table, k->now_ms, &who, rtt);
		if (k->o.io.on_answer)
			k->o.io.on_answer(k->o.io.arg, k->now_ms, from, m);
		for (unsigned i = 0; i < m->num_nodes && k->o.io.on_foreign;
		     i++) {
			if (m->nodes[i].addr.family != k->o.family)
				k->o.io.on_foreign(k->o.io.arg, k->now_ms,
						   &m->nodes[i]);
		}
		c->to.id = m->id;
		if (c->fn)
			c->fn(c->arg, c, KAD_ANSWER, m);
	}
	kad_rpc_end(&k->rpc, c);
	if (k->lookup_ms <= k->now_ms)
		kad_lookup_step_all(k, k->now_ms);
}

bool kad_on_packet(struct kad *k, int64_t now_ms, const struct addr *from,
		   const uint8_t *bytes, size_t len)
{
	struct kad_msg m;

	k->now_ms = now_ms;
	if (!k->o.codec.parse(k->o.io.arg, from, bytes, len, &m))
		return false;
	if (m.kind == KAD_QUERY)
		k->o.io.on_query(k->o.io.arg, now_ms, from, &m);
	else
		on_answer(k, from, &m);
	return true;
}

double kad_size(const struct kad *k)
{
	return k->size_samples ? exp2(k->size_log2) : 0;
}
