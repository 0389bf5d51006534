#include "tests/dht/net.h"

#include <stdlib.h>

#include "dht/dht_private.h"
#include "dht/secure_id.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tests/dht/seed.h"

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct net_node *n = arg;
	bool is_second = n->host6 != SIM_NOBODY && to->family == 6;

	sim_send(n->sim, is_second ? n->host6 : n->host, to, bytes, len);
}

static int64_t on_now(void *arg)
{
	return sim_now(((struct net_node *)arg)->sim);
}

static void on_random(void *arg, void *out, size_t len)
{
	struct net_node *n = arg;
	uint8_t *p = out;

	while (len) {
		uint64_t v = sim_random(n->sim);
		size_t part = len < sizeof(v) ? len : sizeof(v);

		memcpy(p, &v, part);
		p += part;
		len -= part;
	}
}

static void on_want_nodes(void *arg)
{
	struct net_node *n = arg;
	bool is_six = sim_addr(n->sim, n->host)->family == 6;
	const struct addr *boot =
		is_six && n->net->boot6.family ? &n->net->boot6 : &n->net->boot;

	n->net->asked++;
	if (n->dht && boot->family && !addr_eq(boot, sim_addr(n->sim, n->host)))
		dht_bootstrap(n->dht, boot, 1);
}

static void on_wake(void *arg)
{
	struct net_node *n = arg;

	if (n->dht)
		sim_poke(n->sim, n->host);
}

static void on_packet(void *node, int64_t now_ms, const struct addr *from,
		      const uint8_t *bytes, size_t len)
{
	dht_on_packet(((struct net_node *)node)->dht, from, bytes, len);
}

static void tick(void *node, int64_t now_ms)
{
	dht_tick(((struct net_node *)node)->dht);
}

static int64_t next_ms(void *node)
{
	return dht_next_ms(((struct net_node *)node)->dht);
}

static const struct sim_ops OPS = { on_packet, tick, next_ms };

/* The second host of a node has no time of its own. */
static void on_packet6(void *node, int64_t now_ms, const struct addr *from,
		       const uint8_t *bytes, size_t len)
{
	on_packet(node, now_ms, from, bytes, len);
	on_wake(node);
}

static void tick6(void *node, int64_t now_ms)
{
}

static int64_t never(void *node)
{
	return INT64_MAX;
}

static const struct sim_ops OPS6 = { on_packet6, tick6, never };

struct net *net_new(const struct sim_options *options, unsigned max)
{
	struct net *n = mem_alloc(sizeof(*n));

	n->sim = sim_new(options);
	n->nodes = mem_alloc_array(max, sizeof(*n->nodes));
	n->max = max;
	n->options.v4 = true;
	return n;
}

void net_free(struct net *n)
{
	for (unsigned i = 0; i < n->num; i++)
		dht_free(n->nodes[i].dht);
	sim_free(n->sim);
	free(n->nodes);
	free(n);
}

struct addr net_addr(unsigned i)
{
	/* 16.0.0.0 to 31.255.255.0: nothing reserved in there */
	return (struct addr){ .family = 4,
			      .ip = { (uint8_t)(16 + (i >> 16)),
				      (uint8_t)(i >> 8), (uint8_t)i, 9 },
			      .port = 6881 };
}

struct addr net_addr6(unsigned i)
{
	return (struct addr){ .family = 6,
			      .ip = { 0x20, 0x01, 0x04, 0x70, 0,
				      (uint8_t)(i >> 8), (uint8_t)i },
			      .port = 6881 };
}

struct kad_contact net_contact(struct net *n, const struct addr *addr)
{
	struct kad_contact c = { .addr = *addr };
	struct net_node tmp = { .sim = n->sim };

	on_random(&tmp, c.id.b, sizeof(c.id.b));
	secure_id_make(&c.id, addr, c.id.b[19]);
	return c;
}

static void start(struct net *n, struct net_node *node)
{
	struct dht_io io = { .send = on_send,
			     .now = on_now,
			     .random = on_random,
			     .want_nodes = on_want_nodes,
			     .wake = on_wake,
			     .arg = node };
	struct dht_options o = n->options;
	bool is_dual = node->host6 != SIM_NOBODY;
	struct kad_contact me = net_contact(n, sim_addr(n->sim, node->host));
	struct kad_contact six = me;

	if (is_dual)
		six = net_contact(n, sim_addr(n->sim, node->host6));
	o.v4 &= me.addr.family == 4;
	o.v6 &= six.addr.family == 6;
	if (o.v4)
		o.id4 = &me.id;
	if (o.v6)
		o.id6 = &six.id;
	node->id = me.id;
	node->dht = dht_new(&io, &o);
	node->up_ms = sim_now(n->sim);
	sim_run_node(n->sim, node->host, &OPS, node);
	if (is_dual)
		sim_run_node(n->sim, node->host6, &OPS6, node);
}

static struct net_node *new_node(struct net *n, const struct addr *addr,
				 bool is_natted)
{
	struct net_node *node = &n->nodes[n->num];

	CHECK(n->num < n->max);
	node->sim = n->sim;
	node->net = n;
	node->is_natted = is_natted;
	node->host = sim_add(n->sim, addr, is_natted);
	node->host6 = SIM_NOBODY;
	return node;
}

unsigned net_add_dual(struct net *n, const struct addr *four,
		      const struct addr *six)
{
	struct net_node *node = new_node(n, four, false);

	node->host6 = sim_add(n->sim, six, false);
	start(n, node);
	return n->num++;
}

unsigned net_add(struct net *n, const struct addr *addr, bool is_natted)
{
	start(n, new_node(n, addr, is_natted));
	return n->num++;
}

void net_off(struct net *n, unsigned i)
{
	struct net_node *node = &n->nodes[i];

	sim_run_node(n->sim, node->host, NULL, NULL);
	dht_free(node->dht);
	node->dht = NULL;
	node->down_ms = sim_now(n->sim);
}

void net_on(struct net *n, unsigned i)
{
	start(n, &n->nodes[i]);
}

struct kad *net_kad(struct net *n, unsigned i)
{
	unsigned f = dht_index(sim_addr(n->sim, n->nodes[i].host)->family);

	return &n->nodes[i].dht->family[f].kad;
}

void net_poke(struct net *n, unsigned i)
{
	sim_poke(n->sim, n->nodes[i].host);
}

void net_seed(struct net *n, const struct kad_contact *ghosts,
	      unsigned num_ghosts)
{
	struct kad_contact *all =
		mem_alloc_array(n->num + num_ghosts, sizeof(*all));
	struct seed_pool *pool;
	unsigned num = 0;

	for (unsigned i = 0; i < n->num; i++) {
		if (n->nodes[i].is_natted || !n->nodes[i].dht)
			continue;
		all[num].id = net_kad(n, i)->o.self;
		all[num++].addr = *sim_addr(n->sim, n->nodes[i].host);
	}
	for (unsigned i = 0; i < num_ghosts; i++)
		all[num++] = ghosts[i];
	pool = seed_pool_new(all, num);
	for (unsigned i = 0; i < n->num; i++) {
		struct kad *k = net_kad(n, i);

		seed_table(n->sim, k, pool, 20 * 60 * 1000);
		/* They have not all been switched on in the same second. */
		k->self_ms =
			sim_now(n->sim) + 1 + sim_below(n->sim, 20 * 60 * 1000);
		n->nodes[i].up_ms = k->start_ms = 0;
		net_poke(n, i);
	}
	seed_pool_free(pool);
	free(all);
}

unsigned net_closest(struct net *n, const struct kad_id *target,
		     int64_t since_ms, unsigned me, unsigned k, unsigned *out)
{
	unsigned num = 0;

	for (unsigned i = 0; i < n->num; i++) {
		const struct net_node *node = &n->nodes[i];
		unsigned at;

		if (node->is_natted || i == me ||
		    (!node->dht && node->down_ms < since_ms))
			continue;
		at = num;
		while (at && kad_id_compare(target, &node->id,
					    &n->nodes[out[at - 1]].id) < 0)
			at--;
		if (at == k)
			continue;
		if (num < k)
			num++;
		memmove(out + at + 1, out + at, (num - at - 1) * sizeof(*out));
		out[at] = i;
	}
	return num;
}

void outcome_on_done(void *arg, const struct dht_result *r)
{
	struct outcome *o = arg;

	o->is_done = true;
	o->r = *r;
	for (unsigned i = 0; i < r->num_nodes; i++)
		o->nodes[i] = r->nodes[i];
}
