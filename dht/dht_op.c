/*
 * The life of an operation that looks something up:
 *
 *   waiting --> searching, in one family or both --> writing --> finished
 *
 * It waits, WAIT_MS at most, while no table has anybody. A family joins as soon
 * as its table has a node or the other family's answers name one (BEP 32). The
 * closest that gave a token are written to, if the operation writes.
 */
#include <stdlib.h>

#include "dht/bloom.h"
#include "dht/dht_private.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

#define WAIT_MS    8000 /* for a first node */
#define WRITES_MAX 16   /* nodes written to, in each family, under attack */
#define NODES_MAX  (2 * KAD_FOUND_MAX)

struct dht_op *dht_op_new(struct dht *d, enum dht_op_kind kind,
			  const struct kad_id *target)
{
	struct dht_op *op;

	if (d->num_ops == LIMIT_KAD_LOOKUPS)
		return NULL;
	op = mem_alloc(sizeof(*op));
	op->dht = d;
	op->kind = kind;
	if (target)
		op->target = *target;
	d->now_ms = d->io.now(d->io.arg);
	op->start_ms = d->now_ms;
	op->wait_until_ms = d->now_ms + WAIT_MS;
	for (unsigned f = 0; f < 2; f++) {
		op->search[f].op = op;
		op->search[f].is_over = !d->family[f].is_on;
	}
	list_push_back(&d->ops, &op->node);
	d->num_ops++;
	return op;
}

void dht_op_cancel(struct dht_op *op)
{
	if (!op)
		return;
	for (unsigned f = 0; f < 2; f++)
		kad_lookup_cancel(op->search[f].lookup);
	for (unsigned i = 0; i < op->num_writes; i++) {
		if (op->writes[i].call)
			kad_rpc_forget(op->writes[i].call);
	}
	if (op->call)
		kad_rpc_forget(op->call);
	list_remove(&op->node);
	op->dht->num_ops--;
	free(op->writes);
	free(op->nodes);
	free(op->v);
	free(op->seen);
	free(op);
}

void dht_op_finish(struct dht_op *op)
{
	struct dht_result result = op->result;
	struct kad_contact *nodes = op->nodes;
	dht_done_fn *on_done = op->on_done;
	void *arg = op->arg;

	result.took_ms = op->dht->now_ms - op->start_ms;
	if (op->has_bloom) {
		result.seeds = (unsigned)(bloom_count(op->bloom[0]) + 0.5);
		result.downloaders =
			(unsigned)(bloom_count(op->bloom[1]) + 0.5);
	}
	result.nodes = nodes;
	op->nodes = NULL;
	dht_op_cancel(op);
	if (on_done)
		on_done(arg, &result);
	free(nodes);
}

/* --- searching --- */

static void on_answer(void *arg, const struct kad_found *from,
		      const struct kad_msg *m);
static void on_search_done(void *arg, const struct kad_lookup_result *r);

uint8_t dht_op_method(const struct dht_op *op, bool is_write)
{
	switch (op->kind) {
	case DHT_OP_PEERS:
		return is_write ? DHT_ANNOUNCE_PEER : DHT_GET_PEERS;
	case DHT_OP_GET:
	case DHT_OP_PUT:
		return is_write ? DHT_PUT : DHT_GET;
	case DHT_OP_PING:
		return DHT_PING;
	case DHT_OP_SAMPLE:
		return DHT_SAMPLE;
	case DHT_OP_NODE:
		break;
	}
	return DHT_FIND_NODE;
}

static void begin_search(struct dht_op *op, unsigned f)
{
	struct dht_search *s = &op->search[f];
	struct kad_lookup_spec spec = {
		.target = op->target,
		.method = dht_op_method(op, false),
		.ctx = op,
		.on_answer = on_answer,
		.on_done = on_search_done,
		.arg = s,
	};

	s->lookup = kad_lookup_start(&op->dht->family[f].kad, op->dht->now_ms,
				     &spec);
	if (!s->lookup)
		s->is_over = true;
}

static bool is_searching(const struct dht_op *op)
{
	return op->search[0].lookup || op->search[1].lookup;
}

/* Nodes of the other family, which may not know any yet. */
static void hand_over(struct dht_op *op, unsigned other,
		      const struct addr *from, const struct kad_msg *m)
{
	struct dht_search *s = &op->search[other];
	const struct kad_rules *rules = &op->dht->family[other].kad.o.rules;

	for (unsigned i = 0; i < m->num_nodes; i++) {
		const struct kad_contact *c = &m->nodes[i];

		if (dht_index(c->addr.family) != other || s->is_over ||
		    !kad_addr_may_tell(rules, from, &c->addr))
			continue;
		if (!s->lookup)
			begin_search(op, other);
		if (s->lookup)
			kad_lookup_add(s->lookup, &c->id, &c->addr);
	}
}

/* --- peers --- */

#define SEEN_SLOTS 4096
static_assert(SEEN_SLOTS >= 2 * LIMIT_DHT_PEERS_FOUND, "half of it is free");

static bool is_new_peer(struct dht_op *op, const struct addr *a)
{
	uint32_t hash = addr_hash(a) | 1, i = hash % SEEN_SLOTS;

	if (op->result.num_peers >= LIMIT_DHT_PEERS_FOUND)
		return false;
	if (!op->seen)
		op->seen = mem_alloc_array(SEEN_SLOTS, sizeof(*op->seen));
	for (; op->seen[i]; i = (i + 1) % SEEN_SLOTS) {
		if (op->seen[i] == hash)
			return false;
	}
	op->seen[i] = hash;
	op->result.num_peers++;
	return true;
}

/* Returns how many of VALUES are new. */
static size_t read_values(struct dht_op *op, struct bnode values,
			  bool local_is_fine, struct addr *out, size_t max)
{
	struct bwalk w = bwalk_of(values);
	struct span key, s;
	struct bnode n;
	size_t num = 0;

	while (num < max && bwalk_next(&w, &key, &n)) {
		struct addr a;

		if (!bnode_str(n, &s) || (s.len != 6 && s.len != 18))
			continue;
		if (s.len == 6)
			addr_from_compact4(&a, s.ptr);
		else
			addr_from_compact6(&a, s.ptr);
		if (addr_is_martian(&a) ||
		    (addr_is_local(&a) && !local_is_fine))
			continue;
		if (is_new_peer(op, &a))
			out[num++] = a;
	}
	return num;
}

static void on_peers(struct dht_op *op, const struct kad_found *from,
		     const struct dht_msg *m)
{
	struct addr found[LIMIT_DHT_VALUES];
	bool local =
		op->dht->o.allow_local || addr_is_local(&from->contact.addr);
	size_t n;

	if (m->bf_seeds.ptr && m->bf_peers.ptr && op->peers.want_scrape) {
		op->has_bloom = true;
		for (unsigned i = 0; i < 256; i++) {
			op->bloom[0][i] |= m->bf_seeds.ptr[i];
			op->bloom[1][i] |= m->bf_peers.ptr[i];
		}
	}
	n = read_values(op, m->values, local, found, LIMIT_DHT_VALUES);
	if (n && op->peers.on_peers)
		op->peers.on_peers(op->peers.arg, found, n);
}

static void on_answer(void *arg, const struct kad_found *from,
		      const struct kad_msg *m)
{
	struct dht_search *s = arg;
	struct dht_op *op = s->op;

	hand_over(op, s == &op->search[0], &from->contact.addr, m);
	/* The last thing: it may cancel the operation. */
	if (op->kind == DHT_OP_PEERS)
		on_peers(op, from, m->body);
	else if (op->kind == DHT_OP_GET)
		dht_items_on_answer(op, m->body);
}

/* --- writing --- */

static bool is_writing(const struct dht_op *op)
{
	return (op->kind == DHT_OP_PEERS && op->peers.is_announce) ||
	       op->kind == DHT_OP_PUT;
}

static struct kad_query write_query(struct dht_write *w)
{
	return (struct kad_query){ .method = dht_op_method(w->op, true),
				   .ctx = w->op,
				   .token = { w->token, w->token_len } };
}

static void on_written(void *arg, struct kad_call *call, enum kad_event event,
		       const struct kad_msg *msg)
{
	struct dht_write *w = arg;
	struct dht_op *op = w->op;
	struct kad_query q = write_query(w);

	if (event == KAD_SLOW) {
		int64_t wait = kad_rpc_soft_ms(&w->kad->rpc);

		if (call->sends < KAD_SENDS_USUAL)
			kad_ask_again(w->kad, op->dht->now_ms, call, &q, wait);
		return;
	}
	w->call = NULL;
	if (event == KAD_ANSWER)
		op->result.num_stored++;
	if (!--op->writes_out && !is_searching(op))
		dht_op_finish(op);
}

static void write_to(struct dht_op *op, unsigned f, const struct kad_found *to)
{
	struct dht_write *w = &op->writes[op->num_writes];
	struct kad *kad = &op->dht->family[f].kad;
	struct kad_query q;

	w->op = op;
	w->kad = kad;
	w->token_len = to->token_len;
	memcpy(w->token, to->token, to->token_len);
	q = write_query(w);
	w->call = kad_ask(kad, op->dht->now_ms, &q, &to->contact.id,
			  &to->contact.addr, on_written, w);
	if (!w->call)
		return;
	op->num_writes++;
	op->writes_out++;
}

static void write_to_closest(struct dht_op *op, unsigned f,
			     const struct kad_lookup_result *r)
{
	unsigned max = r->is_suspicious ? WRITES_MAX : DHT_K, n = 0;

	/* Calls keep pointers into it: it never grows. */
	if (!op->writes)
		op->writes =
			mem_alloc_array(2 * WRITES_MAX, sizeof(*op->writes));
	for (unsigned i = 0; i < r->num_nodes && n < max; i++) {
		if (!r->nodes[i].token_len)
			continue;
		write_to(op, f, &r->nodes[i]);
		n++;
	}
}

static void on_search_done(void *arg, const struct kad_lookup_result *r)
{
	struct dht_search *s = arg;
	struct dht_op *op = s->op;
	unsigned f = s == &op->search[1];
	struct dht_result *t = &op->result;

	s->lookup = NULL;
	s->is_over = true;
	t->queries += r->queries;
	t->answers += r->answers;
	if (r->hops > t->hops)
		t->hops = r->hops;
	if (!op->nodes)
		op->nodes = mem_alloc_array(NODES_MAX, sizeof(*op->nodes));
	for (unsigned i = 0; i < r->num_nodes; i++)
		op->nodes[t->num_nodes++] = r->nodes[i].contact;
	if (is_writing(op))
		write_to_closest(op, f, r);
	if (!is_searching(op) && !op->writes_out)
		dht_op_finish(op);
}

/* --- waiting --- */

static bool may_begin(const struct dht_op *op, unsigned f)
{
	return !op->search[f].is_over && !op->search[f].lookup &&
	       op->dht->family[f].kad.table.num_nodes;
}

static bool is_waiting(const struct dht_op *op)
{
	return op->kind != DHT_OP_PING && op->kind != DHT_OP_SAMPLE &&
	       !is_searching(op) && !op->writes_out && !op->num_writes &&
	       !op->result.answers;
}

/* True: it is over and was freed. */
static bool step(struct dht_op *op)
{
	if (!is_waiting(op))
		return false;
	for (unsigned f = 0; f < 2; f++) {
		if (may_begin(op, f))
			begin_search(op, f);
	}
	if (is_searching(op) || op->dht->now_ms < op->wait_until_ms)
		return false;
	dht_op_finish(op);
	return true;
}

void dht_ops_step(struct dht *d)
{
	bool again = true;

	while (again) {
		again = false;
		list_foreach(op, &d->ops, struct dht_op, node) {
			if (step(op)) {
				again = true; /* the list has changed */
				break;
			}
		}
	}
}

int64_t dht_ops_next_ms(const struct dht *d)
{
	int64_t next = INT64_MAX;

	list_foreach(op, &d->ops, struct dht_op, node) {
		if (is_waiting(op) && op->wait_until_ms < next)
			next = op->wait_until_ms;
	}
	return next;
}

void dht_op_start(struct dht_op *op)
{
	for (unsigned f = 0; f < 2; f++) {
		if (may_begin(op, f))
			begin_search(op, f);
	}
	dht_wake(op->dht);
}

/* --- the face --- */

struct dht_op *dht_find_node(struct dht *d, const struct kad_id *id,
			     dht_done_fn *on_done, void *arg)
{
	struct dht_op *op = dht_op_new(d, DHT_OP_NODE, id);

	if (!op)
		return NULL;
	op->on_done = on_done;
	op->arg = arg;
	dht_op_start(op);
	return op;
}

struct dht_op *dht_get_peers(struct dht *d, const struct dht_get_peers *spec)
{
	struct kad_id target;
	struct dht_op *op;

	memcpy(target.b, spec->infohash.b, sizeof(target.b));
	op = dht_op_new(d, DHT_OP_PEERS, &target);
	if (!op)
		return NULL;
	op->peers = *spec;
	op->on_done = spec->on_done;
	op->arg = spec->arg;
	dht_op_start(op);
	return op;
}

static void on_pong(void *arg, struct kad_call *call, enum kad_event event,
		    const struct kad_msg *msg)
{
	struct dht_op *op = arg;
	void (*on_done)(void *, const struct kad_id *, int64_t) = op->on_pong;
	struct kad *kad = &op->dht->family[dht_index(call->to.addr.family)].kad;
	const struct kad_query q = { .method = DHT_PING };
	int64_t rtt = op->dht->now_ms - call->first_ms;
	void *user = op->arg;

	if (event == KAD_SLOW) {
		if (call->sends < KAD_SENDS_USUAL)
			kad_ask_again(kad, op->dht->now_ms, call, &q,
				      kad_rpc_soft_ms(&kad->rpc));
		return;
	}
	op->call = NULL;
	dht_op_cancel(op);
	on_done(user, msg && msg->has_id ? &msg->id : NULL,
		event == KAD_ANSWER ? rtt : -1);
}

struct dht_op *dht_ping(struct dht *d, const struct addr *to,
			void (*on_done)(void *arg, const struct kad_id *id,
					int64_t rtt_ms),
			void *arg)
{
	struct dht_family *f = &d->family[dht_index(to->family)];
	const struct kad_query q = { .method = DHT_PING };
	struct dht_op *op = f->is_on ? dht_op_new(d, DHT_OP_PING, NULL) : NULL;

	if (!op)
		return NULL;
	op->on_pong = on_done;
	op->arg = arg;
	op->call = kad_ask(&f->kad, d->now_ms, &q, NULL, to, on_pong, op);
	if (!op->call) {
		dht_op_cancel(op);
		return NULL;
	}
	dht_wake(d);
	return op;
}

static void on_sampled(void *arg, struct kad_call *call, enum kad_event event,
		       const struct kad_msg *msg)
{
	struct dht_op *op = arg;
	struct infohash hashes[LIMIT_DHT_SAMPLES_TAKEN];
	const struct dht_msg *m = msg ? msg->body : NULL;
	struct dht_op copy = *op;
	size_t n = 0;

	if (event == KAD_SLOW)
		return;
	if (event == KAD_ANSWER && m->samples.ptr && m->interval >= 0) {
		n = m->samples.len / sizeof(hashes[0]);
		if (n > LIMIT_DHT_SAMPLES_TAKEN)
			n = LIMIT_DHT_SAMPLES_TAKEN;
		memcpy(hashes, m->samples.ptr, n * sizeof(hashes[0]));
	} else {
		m = NULL;
	}
	op->call = NULL;
	dht_op_cancel(op);
	copy.on_sample(copy.arg, hashes, n, m ? m->interval : -1,
		       m ? m->num : -1);
}

struct dht_op *
dht_sample(struct dht *d, const struct addr *to, const struct kad_id *target,
	   void (*on_done)(void *arg, const struct infohash *hashes, size_t n,
			   int64_t interval_s, int64_t num),
	   void *arg)
{
	struct dht_family *f = &d->family[dht_index(to->family)];
	const struct kad_query q = { .method = DHT_SAMPLE, .target = target };
	struct dht_op *op =
		f->is_on ? dht_op_new(d, DHT_OP_SAMPLE, target) : NULL;

	if (!op)
		return NULL;
	op->on_sample = on_done;
	op->arg = arg;
	op->call = kad_ask(&f->kad, d->now_ms, &q, NULL, to, on_sampled, op);
	if (!op->call) {
		dht_op_cancel(op);
		return NULL;
	}
	dht_wake(d);
	return op;
}
