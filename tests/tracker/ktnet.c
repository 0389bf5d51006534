#include "tests/tracker/ktnet.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tests/dht/seed.h"

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct ktnet_node *n = arg;

	CHECK(len <= KT_PACKET_BYTES);
	sim_send(n->net->sim,
		 to->family == 6 && n->host6 != SIM_NOBODY ? n->host6 : n->host,
		 to, bytes, len);
}

static int64_t on_now(void *arg)
{
	return sim_now(((struct ktnet_node *)arg)->net->sim);
}

static int64_t on_wall(void *arg)
{
	struct ktnet *net = ((struct ktnet_node *)arg)->net;

	net->wall_asked++;
	return net->wall_s + sim_now(net->sim) / 1000;
}

static void fill_random(struct sim *s, uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)sim_random(s);
}

static void on_random(void *arg, void *out, size_t len)
{
	fill_random(((struct ktnet_node *)arg)->net->sim, out, len);
}

static void ask_for_nodes(struct ktnet_node *n, const struct addr *boot,
			  uint32_t host)
{
	if (n->kt && boot->family && host != SIM_NOBODY &&
	    sim_addr(n->net->sim, host)->family == boot->family &&
	    !addr_eq(boot, sim_addr(n->net->sim, host)))
		kt_bootstrap(n->kt, boot, 1);
}

static void on_want_nodes(void *arg)
{
	struct ktnet_node *n = arg;

	ask_for_nodes(n, &n->net->boot, n->host);
	ask_for_nodes(n, &n->net->boot6,
		      n->host6 != SIM_NOBODY ? n->host6 : n->host);
}

static void on_wake(void *arg)
{
	struct ktnet_node *n = arg;

	if (n->kt)
		sim_poke(n->net->sim, n->host);
}

static void on_change(void *arg)
{
	((struct ktnet_node *)arg)->changes++;
}

static void on_packet(void *node, int64_t now_ms, const struct addr *from,
		      const uint8_t *bytes, size_t len)
{
	(void)kt_on_packet(((struct ktnet_node *)node)->kt, from, bytes, len);
}

static void tick(void *node, int64_t now_ms)
{
	kt_tick(((struct ktnet_node *)node)->kt);
}

static int64_t next_ms(void *node)
{
	return kt_next_ms(((struct ktnet_node *)node)->kt);
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

struct ktnet *ktnet_new(const struct sim_options *options, unsigned max)
{
	struct ktnet *n = mem_alloc(sizeof(*n));

	n->sim = sim_new(options);
	n->nodes = mem_alloc_array(max, sizeof(*n->nodes));
	n->max = max;
	n->wall_s = 1700000000;
	n->options = (struct kt_options){
		.domain = KTNET_DOMAIN,
		.v4 = true,
		.self = { .http_port = 6969, .udp_port = 6969 },
		.tag = 'K',
	};
	return n;
}

void ktnet_free(struct ktnet *n)
{
	for (unsigned i = 0; i < n->num; i++)
		kt_free(n->nodes[i].kt);
	sim_free(n->sim);
	free(n->nodes);
	free(n);
}

struct addr ktnet_addr(unsigned i)
{
	/* 16.0.0.0 to 31.255.255.0: nothing reserved in there */
	return (struct addr){ .family = 4,
			      .ip = { (uint8_t)(16 + (i >> 16)),
				      (uint8_t)(i >> 8), (uint8_t)i, 9 },
			      .port = 6969 };
}

struct addr ktnet_addr6(unsigned i)
{
	return (struct addr){ .family = 6,
			      .ip = { 0x20, 0x01, 0x04, 0x70, (uint8_t)(i >> 8),
				      (uint8_t)i },
			      .port = 6969 };
}

static void start(struct ktnet *n, struct ktnet_node *node)
{
	struct kt_io io = { .send = on_send,
			    .now = on_now,
			    .random = on_random,
			    .wall_s = on_wall,
			    .want_nodes = on_want_nodes,
			    .wake = on_wake,
			    .on_change = on_change,
			    .arg = node };
	struct kt_options o = n->options;
	const struct addr *at = sim_addr(n->sim, node->host), *six = at;

	if (node->host6 != SIM_NOBODY)
		six = sim_addr(n->sim, node->host6);
	o.is_client = node->is_client;
	o.key = node->seed;
	o.v4 = at->family == 4;
	o.v6 = six->family == 6;
	if (!n->is_learnt && o.v4)
		o.external4 = *at;
	if (!n->is_learnt && o.v6)
		o.external6 = *six;
	node->kt = kt_new(&io, &o);
	node->id = *kt_id(node->kt);
	sim_run_node(n->sim, node->host, &OPS, node);
	if (node->host6 != SIM_NOBODY)
		sim_run_node(n->sim, node->host6, &OPS6, node);
}

static unsigned add(struct ktnet *n, const struct addr *addr,
		    const struct addr *second, bool is_client)
{
	struct ktnet_node *node = &n->nodes[n->num];

	CHECK(n->num < n->max);
	node->net = n;
	node->host = sim_add(n->sim, addr, false);
	node->host6 = second ? sim_add(n->sim, second, false) : SIM_NOBODY;
	node->is_client = is_client;
	fill_random(n->sim, node->seed, sizeof(node->seed));
	start(n, node);
	return n->num++;
}

unsigned ktnet_add(struct ktnet *n, const struct addr *addr)
{
	return add(n, addr, NULL, false);
}

unsigned ktnet_add_client(struct ktnet *n, const struct addr *addr)
{
	return add(n, addr, NULL, true);
}

unsigned ktnet_add_dual(struct ktnet *n, const struct addr *four,
			const struct addr *six, bool is_client)
{
	return add(n, four, six, is_client);
}

void ktnet_off(struct ktnet *n, unsigned i)
{
	struct ktnet_node *node = &n->nodes[i];

	sim_run_node(n->sim, node->host, NULL, NULL);
	kt_free(node->kt);
	node->kt = NULL;
}

void ktnet_on(struct ktnet *n, unsigned i)
{
	start(n, &n->nodes[i]);
}

struct kt_member *ktnet_prove(struct ktnet *n, unsigned i,
			      const struct kad_contact *who,
			      const uint8_t pk[KT_PK_BYTES], int64_t age_ms)
{
	struct kt_member m = { .at = *who,
			       .tr = n->options.self,
			       .first_ms = sim_now(n->sim) - age_ms,
			       .heard_ms = sim_now(n->sim),
			       .expiry_s = INT64_MAX };

	memcpy(m.pk, pk, KT_PK_BYTES);
	return kt_member_add(n->nodes[i].kt, &m);
}

void ktnet_seed(struct ktnet *n)
{
	struct kad_contact *all = mem_alloc_array(n->num, sizeof(*all));
	struct seed_pool *pool;
	unsigned num = 0;

	for (unsigned i = 0; i < n->num; i++) {
		if (!n->nodes[i].kt || n->nodes[i].is_client)
			continue;
		all[num].id = n->nodes[i].id;
		all[num++].addr = *sim_addr(n->sim, n->nodes[i].host);
	}
	pool = seed_pool_new(all, num);
	for (unsigned i = 0; i < n->num; i++) {
		struct ktnet_node *node = &n->nodes[i];
		struct kad *k;

		if (!node->kt)
			continue;
		k = &node->kt->family[0].kad;
		seed_table(n->sim, k, pool, 60000);
		for (unsigned j = 0; j < n->num; j++) {
			struct kad_contact c = { .id = n->nodes[j].id };

			c.addr = *sim_addr(n->sim, n->nodes[j].host);
			if (i != j && kad_table_find(&k->table, &c.id))
				(void)ktnet_prove(n, i, &c,
						  n->nodes[j].kt->key.pk,
						  2 * KT_SETTLED_MS);
		}
		/* They have not all been switched on in the same second. */
		k->self_ms =
			sim_now(n->sim) + 1 + sim_below(n->sim, 20 * 60 * 1000);
		k->start_ms = 0;
		node->kt->start_ms = sim_now(n->sim) - 2 * KT_SETTLED_MS;
		sim_poke(n->sim, node->host);
	}
	seed_pool_free(pool);
	free(all);
}

void ktnet_join(struct ktnet *n, unsigned num, int64_t step_ms)
{
	for (unsigned i = 0; i < num; i++) {
		struct addr a = ktnet_addr(n->num + 1);

		if (!n->boot.family)
			n->boot = a;
		ktnet_add(n, &a);
		sim_run(n->sim, sim_now(n->sim) + step_ms);
	}
}

struct ktnet *ktnet_plain(uint64_t seed, unsigned max, unsigned loss)
{
	struct sim_options so = { .seed = seed,
				  .max_hosts = max,
				  .loss_permille = loss,
				  .rtt_min_ms = 60,
				  .rtt_max_ms = 140 };

	return ktnet_new(&so, max);
}

struct ktnet *ktnet_old(uint64_t seed, unsigned num, unsigned more,
			unsigned loss)
{
	struct ktnet *n = ktnet_plain(seed, num + more, loss);

	for (unsigned i = 0; i < num; i++) {
		struct addr a = ktnet_addr(i + 1);

		ktnet_add(n, &a);
	}
	n->boot = *sim_addr(n->sim, n->nodes[0].host);
	ktnet_seed(n);
	sim_run(n->sim, sim_now(n->sim) + 5000);
	return n;
}

struct kad_id ktnet_random_id(struct ktnet *n)
{
	struct kad_id id;

	fill_random(n->sim, id.b, sizeof(id.b));
	return id;
}

void ktnet_on_found(void *arg, const struct kt_found *found)
{
	struct ktnet_outcome *o = arg;

	o->is_done = true;
	o->calls++;
	o->found = *found;
	CHECK(found->num <= KT_OWNERS_MAX);
	memcpy(o->owners, found->owners, found->num * sizeof(*o->owners));
}

void ktnet_find(struct ktnet *n, unsigned i, const struct kad_id *key,
		struct ktnet_outcome *out)
{
	memset(out, 0, sizeof(*out));
	CHECK(kt_find(n->nodes[i].kt, key, ktnet_on_found, out));
	sim_run_until(n->sim, &out->is_done, sim_now(n->sim) + 20000);
}

unsigned ktnet_owners(const struct ktnet *n, const struct kad_id *key,
		      unsigned out[KT_REPLICAS])
{
	unsigned num = 0;

	for (unsigned i = 0; i < n->num; i++) {
		const struct ktnet_node *node = &n->nodes[i];
		unsigned at = num;

		if (!node->kt || node->is_client)
			continue;
		while (at && kad_id_compare(key, &node->id,
					    &n->nodes[out[at - 1]].id) < 0)
			at--;
		if (at == KT_REPLICAS)
			continue;
		if (num < KT_REPLICAS)
			num++;
		memmove(out + at + 1, out + at, (num - at - 1) * sizeof(*out));
		out[at] = i;
	}
	return num;
}

bool ktnet_is_right(const struct ktnet *n, const struct kad_id *key,
		    const struct ktnet_outcome *o)
{
	unsigned want[KT_REPLICAS], num = ktnet_owners(n, key, want);

	if (!o->is_done || o->found.num < num)
		return false;
	for (unsigned i = 0; i < num; i++) {
		if (!kad_id_eq(&o->owners[i].id, &n->nodes[want[i]].id))
			return false;
	}
	return num == o->found.num || num == KT_REPLICAS;
}
