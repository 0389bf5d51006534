/* Goal: the Kademlia core is no mainline in disguise: an overlay with messages,
 * ids, liveness and k of its own works on it, small or large. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "dht/kad.h"
#include "dht/kad_lookup.h"
#include "engine/base/bytes.h"
#include "engine/base/cursor.h"
#include "engine/base/mem.h"
#include "tests/dht/sim.h"

#define TOY_MAGIC 0x746f7931u /* "toy1" */
#define TOY_K     5
#define TOY_WORD  (KAD_METHOD_OWN) /* a method of the overlay's own */
#define TOY_MAX   400

/* A message: magic, kind, method, tid, id; then a target, or nodes of 26 bytes
 * and, as answer to TOY_WORD, a word. */
enum toy_kind {
	TOY_QUERY = 'q',
	TOY_ANSWER = 'a'
};

struct toy {
	struct kad kad;
	struct sim *sim;
	uint32_t host;
	bool is_live;
	uint8_t method;       /* of the message at hand */
	struct kad_id target; /* likewise */
	struct span word;     /* likewise */
	unsigned asked;
};

static size_t toy_write(void *arg, const struct kad_query *q, uint8_t *out,
			size_t size)
{
	struct toy *t = arg;
	struct wcursor c = wcursor_of(out, size);

	wcursor_be32(&c, TOY_MAGIC);
	wcursor_u8(&c, TOY_QUERY);
	wcursor_u8(&c, q->method);
	wcursor_copy(&c, q->tid, sizeof(q->tid));
	wcursor_copy(&c, t->kad.o.self.b, KAD_ID_BYTES);
	if (q->target)
		wcursor_copy(&c, q->target->b, KAD_ID_BYTES);
	return c.is_bad ? 0 : wcursor_len(&c);
}

static bool toy_parse(void *arg, const struct addr *from, const uint8_t *bytes,
		      size_t len, struct kad_msg *out)
{
	struct toy *t = arg;
	struct cursor c = cursor_of(bytes, len);
	uint8_t kind;

	if (cursor_be32(&c) != TOY_MAGIC)
		return false;
	kind = cursor_u8(&c);
	t->method = cursor_u8(&c);
	out->kind = kind == TOY_QUERY ? KAD_QUERY : KAD_ANSWERS;
	out->tid = cursor_span(&c, KAD_TID_BYTES);
	out->has_id = true;
	cursor_copy(&c, out->id.b, KAD_ID_BYTES);
	out->token = (struct span){ NULL, 0 };
	out->num_nodes = 0;
	out->body = t;
	t->word = (struct span){ NULL, 0 };
	if (out->kind == KAD_QUERY && t->method != KAD_PING)
		cursor_copy(&c, t->target.b, KAD_ID_BYTES);
	while (out->kind == KAD_ANSWERS && cursor_left(&c) >= 26 &&
	       out->num_nodes < LIMIT_KAD_MSG_NODES) {
		struct kad_contact *k = &out->nodes[out->num_nodes++];
		struct span compact;

		cursor_copy(&c, k->id.b, KAD_ID_BYTES);
		compact = cursor_span(&c, 6);
		addr_from_compact4(&k->addr, compact.ptr);
	}
	if (out->kind == KAD_ANSWERS)
		t->word = cursor_rest(&c);
	return !c.is_bad;
}

static void toy_on_query(void *arg, int64_t now_ms, const struct addr *from,
			 const struct kad_msg *m)
{
	struct toy *t = arg;
	const struct kad_node *near[TOY_K];
	struct kad_contact who = { .id = m->id, .addr = *from };
	uint8_t bytes[400], compact[18];
	struct wcursor c = wcursor_of(bytes, sizeof(bytes));
	unsigned n = 0;

	wcursor_be32(&c, TOY_MAGIC);
	wcursor_u8(&c, TOY_ANSWER);
	wcursor_u8(&c, t->method);
	wcursor_copy(&c, m->tid.ptr, m->tid.len);
	wcursor_copy(&c, t->kad.o.self.b, KAD_ID_BYTES);
	if (t->method != KAD_PING)
		n = kad_table_closest(&t->kad.table, &t->target, TOY_K, near);
	for (unsigned i = 0; i < n; i++) {
		wcursor_copy(&c, near[i]->id.b, KAD_ID_BYTES);
		wcursor_copy(&c, compact,
			     addr_to_compact(&near[i]->addr, compact));
	}
	if (t->method == TOY_WORD)
		wcursor_copy(&c, "hello", 5);
	t->asked++;
	sim_send(t->sim, t->host, from, bytes, wcursor_len(&c));
	kad_on_sender(&t->kad, now_ms, &who);
}

static void toy_send(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len)
{
	struct toy *t = arg;

	sim_send(t->sim, t->host, to, bytes, len);
}

static uint32_t toy_random(void *arg)
{
	return (uint32_t)sim_random(((struct toy *)arg)->sim);
}

/* The overlay's id rule: ids end in the port. */
static bool toy_is_verified(void *arg, const struct kad_id *id,
			    const struct addr *addr)
{
	return load_be16(id->b + 18) == addr->port;
}

/* And its liveness: one silence is enough. */
static enum kad_state toy_state(void *arg, const struct kad_node *n)
{
	return n->fails ? KAD_DEAD : KAD_GOOD;
}

static void on_packet(void *node, int64_t now_ms, const struct addr *from,
		      const uint8_t *bytes, size_t len)
{
	struct toy *t = node;

	(void)kad_on_packet(&t->kad, now_ms, from, bytes, len);
}

static void tick(void *node, int64_t now_ms)
{
	kad_tick(&((struct toy *)node)->kad, now_ms);
}

static int64_t next_ms(void *node)
{
	return kad_next_ms(&((struct toy *)node)->kad);
}

static const struct sim_ops OPS = { on_packet, tick, next_ms };

static void toy_start(struct toy *t, struct sim *s, unsigned i)
{
	struct kad_options o = {
		.rules = { .k = TOY_K,
			   .is_verified = toy_is_verified,
			   .state = toy_state,
			   .stale_ms = 60000,
			   .candidate_ms = 5000 },
		.codec = { toy_write, toy_parse },
		.io = { .send = toy_send,
			.random = toy_random,
			.on_query = toy_on_query,
			.arg = t },
		.family = 4,
		.tag = 't',
	};
	struct addr a = { .family = 4,
			  .ip = { 9, (uint8_t)(i >> 8), (uint8_t)i, 1 },
			  .port = 4000 };

	for (unsigned b = 0; b < 18; b++)
		o.self.b[b] = (uint8_t)sim_random(s);
	store_be16(o.self.b + 18, a.port);
	t->sim = s;
	t->host = sim_add(s, &a, false);
	t->is_live = true;
	kad_init(&t->kad, &o, sim_now(s));
	sim_run_node(s, t->host, &OPS, t);
}

/* Everybody knows the first one and joins in turn. */
static struct toy *start_all(struct sim *s, unsigned n)
{
	struct toy *all = mem_alloc_array(n, sizeof(*all));
	struct kad_contact first;

	for (unsigned i = 0; i < n; i++) {
		toy_start(&all[i], s, i);
		first.id = all[0].kad.o.self;
		first.addr = *sim_addr(s, all[0].host);
		if (i)
			kad_suggest(&all[i].kad, sim_now(s), &first);
		sim_poke(s, all[i].host);
		sim_run(s, sim_now(s) + 100);
	}
	sim_run(s, sim_now(s) + 120000);
	return all;
}

static void stop_all(struct toy *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		kad_release(&all[i].kad);
	free(all);
}

struct outcome {
	bool is_done;
	unsigned num, words;
	int64_t took_ms;
	struct kad_id ids[KAD_FOUND_MAX];
};

static void on_answer(void *arg, const struct kad_found *from,
		      const struct kad_msg *m)
{
	const struct toy *t = m->body;

	((struct outcome *)arg)->words +=
		t->word.len == 5 && !memcmp(t->word.ptr, "hello", 5);
}

static void on_done(void *arg, const struct kad_lookup_result *r)
{
	struct outcome *o = arg;

	o->is_done = true;
	o->num = r->num_nodes;
	o->took_ms = r->took_ms;
	for (unsigned i = 0; i < r->num_nodes; i++)
		o->ids[i] = r->nodes[i].contact.id;
}

/* Is what was found what there is? By brute force. */
static bool is_right(const struct toy *all, unsigned n, const struct toy *me,
		     const struct kad_id *target, const struct outcome *o)
{
	unsigned want = 0;

	for (unsigned rank = 0; rank < TOY_K; rank++) {
		const struct kad_id *best = NULL;

		for (unsigned i = 0; i < n; i++) {
			const struct kad_id *id = &all[i].kad.o.self;

			if (!all[i].is_live || &all[i] == me ||
			    (want && kad_id_compare(target, id,
						    &o->ids[want - 1]) <= 0))
				continue;
			if (!best || kad_id_compare(target, id, best) < 0)
				best = id;
		}
		if (!best)
			return o->num == want;
		if (want >= o->num || !kad_id_eq(best, &o->ids[want]))
			return false;
		want++;
	}
	return true;
}

static void lookups(struct sim *s, struct toy *all, unsigned n, int64_t max_ms)
{
	for (unsigned round = 0; round < 50; round++) {
		struct outcome o = { 0 };
		struct kad_lookup_spec spec = { .method = TOY_WORD,
						.on_answer = on_answer,
						.on_done = on_done,
						.arg = &o };
		struct toy *me;

		do
			me = &all[sim_below(s, n)];
		while (!me->is_live);
		for (unsigned b = 0; b < KAD_ID_BYTES; b++)
			spec.target.b[b] = (uint8_t)sim_random(s);
		assert_non_null(kad_lookup_start(&me->kad, sim_now(s), &spec));
		sim_poke(s, me->host);
		sim_run_until(s, &o.is_done, sim_now(s) + 10000);
		assert_true(o.is_done);
		assert_true(o.took_ms <= max_ms);
		assert_int_equal(o.words, o.num);
		assert_true(is_right(all, n, me, &spec.target, &o));
	}
}

static void test_toy__finds_the_closest(void **state)
{
	/* Goal: right with 1 node and with 400, and nobody asks mainline. */
	static const unsigned sizes[] = { 1, 2, 3, 5, 6, 40, TOY_MAX };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct sim_options so = { .seed = sizes[i],
					  .max_hosts = TOY_MAX,
					  .rtt_min_ms = 60,
					  .rtt_max_ms = 140 };
		struct sim *s = sim_new(&so);
		struct toy *all = start_all(s, sizes[i]);

		lookups(s, all, sizes[i], 2000);
		stop_all(all, sizes[i]);
		sim_free(s);
	}
}

static void test_toy__its_liveness_rule_counts(void **state)
{
	/* Goal: who was silent once is told to nobody. */
	struct sim_options so = { .seed = 7,
				  .max_hosts = TOY_MAX,
				  .rtt_min_ms = 60,
				  .rtt_max_ms = 140 };
	struct sim *s = sim_new(&so);
	struct toy *all = start_all(s, 40);

	for (unsigned i = 1; i < 40; i += 3) {
		all[i].is_live = false;
		sim_run_node(s, all[i].host, NULL, NULL);
	}
	lookups(s, all, 40, 2000);
	sim_run(s, sim_now(s) + 600000);
	for (unsigned i = 0; i < 40; i++) {
		const struct kad_node *near[TOY_K];
		unsigned n;

		if (!all[i].is_live)
			continue;
		n = kad_table_closest(&all[i].kad.table, &all[1].kad.o.self,
				      TOY_K, near);
		assert_int_equal(n, TOY_K);
		assert_false(kad_id_eq(&near[0]->id, &all[1].kad.o.self));
	}
	stop_all(all, 40);
	sim_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_toy__finds_the_closest),
		cmocka_unit_test(test_toy__its_liveness_rule_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
