#include "tests/tracker/syncnet.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

static unsigned index_of(const struct syncnet_node *node)
{
	return (unsigned)(node - node->net->nodes);
}

static struct ktnet_node *kt_of(const struct syncnet_node *node)
{
	return &node->net->kt->nodes[index_of(node)];
}

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct syncnet_node *n = arg;

	CHECK(len <= LIMIT_SYNC_PACKET_BYTES);
	if (n->net->on_send)
		n->net->on_send(n->net->arg, index_of(n), to, bytes, len);
	sim_send(n->net->sim, kt_of(n)->host, to, bytes, len);
}

static int64_t on_now(void *arg)
{
	const struct syncnet_node *n = arg;

	return sim_now(n->net->sim) + n->skew_ms;
}

static void on_random(void *arg, void *out, size_t len)
{
	struct syncnet_node *n = arg;

	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)sim_random(n->net->sim);
}

static void on_wake(void *arg)
{
	struct syncnet_node *n = arg;

	if (n->sync)
		sim_poke(n->net->sim, kt_of(n)->host);
}

static bool is_cut_off(const struct syncnet_node *n, const struct addr *from)
{
	uint32_t host = sim_find(n->net->sim, from);

	for (unsigned i = 0; i < n->net->kt->num; i++) {
		if (n->net->kt->nodes[i].host == host)
			return n->net->nodes[i].group != n->group;
	}
	return false;
}

static void on_packet(void *node, int64_t now_ms, const struct addr *from,
		      const uint8_t *bytes, size_t len)
{
	struct syncnet_node *n = node;
	int64_t t;

	if (is_cut_off(n, from))
		return;
	if (bytes[0] != 'K') {
		(void)kt_on_packet(kt_of(n)->kt, from, bytes, len);
		return;
	}
	t = clock_now_us();
	sync_on_packet(n->sync, from, bytes, len);
	n->net->cpu_us += (uint64_t)(clock_now_us() - t);
}

static void tick(void *node, int64_t now_ms)
{
	struct syncnet_node *n = node;
	int64_t t;

	kt_tick(kt_of(n)->kt);
	if (n->clock_ms <= now_ms) {
		swarms_tick(n->swarms, on_now(n));
		n->clock_ms = now_ms + 1000;
	}
	t = clock_now_us();
	sync_tick(n->sync);
	n->net->cpu_us += (uint64_t)(clock_now_us() - t);
}

static int64_t next_ms(void *node)
{
	struct syncnet_node *n = node;
	int64_t next = kt_next_ms(kt_of(n)->kt),
		ms = sync_next_ms(n->sync) - n->skew_ms;

	if (n->clock_ms < next)
		next = n->clock_ms;
	return ms < next ? ms : next;
}

static const struct sim_ops OPS = { on_packet, tick, next_ms };

struct syncnet *syncnet_new(const struct sim_options *options, unsigned max)
{
	struct syncnet *n = mem_alloc(sizeof(*n));

	n->kt = ktnet_new(options, max);
	n->sim = n->kt->sim;
	n->nodes = mem_alloc_array(max, sizeof(*n->nodes));
	return n;
}

static void stop(struct syncnet_node *n)
{
	sync_free(n->sync);
	swarms_free(n->swarms);
	n->sync = NULL;
	n->swarms = NULL;
}

void syncnet_free(struct syncnet *n)
{
	for (unsigned i = 0; i < n->kt->num; i++)
		stop(&n->nodes[i]);
	ktnet_free(n->kt);
	free(n->nodes);
	free(n);
}

/* kt runs already. */
static void start(struct syncnet *n, unsigned i)
{
	struct syncnet_node *node = &n->nodes[i];
	struct swarms_options so = { .is_replicated = true,
				     .ttl_min = n->ttl_min };
	struct sync_io io = { .send = on_send,
			      .now = on_now,
			      .random = on_random,
			      .wake = on_wake,
			      .arg = node };
	struct sync_options o = { .kt = n->kt->nodes[i].kt,
				  .key = n->kt->nodes[i].seed };

	node->net = n;
	on_random(node, so.seed, sizeof(so.seed));
	node->skew_ms = sim_below(n->sim, 24 * 3600 * 1000);
	node->swarms = swarms_new(&so, on_now(node));
	node->clock_ms = sim_now(n->sim) + sim_below(n->sim, 1000);
	o.swarms = node->swarms;
	node->sync = sync_new(&io, &o);
	sim_run_node(n->sim, n->kt->nodes[i].host, &OPS, node);
}

void syncnet_grow(struct syncnet *n, unsigned num)
{
	unsigned first = n->kt->num;

	for (unsigned i = 0; i < num; i++) {
		struct addr a = ktnet_addr(n->kt->num + 1);

		(void)ktnet_add(n->kt, &a);
	}
	n->kt->boot = *sim_addr(n->sim, n->kt->nodes[0].host);
	ktnet_seed(n->kt);
	for (unsigned i = first; i < n->kt->num; i++)
		start(n, i);
	syncnet_run(n, 5000);
}

unsigned syncnet_join(struct syncnet *n)
{
	struct addr a = ktnet_addr(n->kt->num + 1);
	unsigned i = ktnet_add(n->kt, &a);

	start(n, i);
	return i;
}

void syncnet_off(struct syncnet *n, unsigned i)
{
	stop(&n->nodes[i]);
	ktnet_off(n->kt, i);
}

void syncnet_on(struct syncnet *n, unsigned i)
{
	ktnet_on(n->kt, i);
	start(n, i);
}

void syncnet_run(struct syncnet *n, int64_t ms)
{
	sim_run(n->sim, sim_now(n->sim) + ms);
}

/* --- swarms --- */

struct infohash syncnet_swarm(unsigned swarm)
{
	struct infohash ih;
	struct prng r = { .state = swarm };

	for (unsigned i = 0; i < 16; i += 8)
		store_be64(ih.b + i, prng_u64(&r));
	store_be32(ih.b + 16, swarm);
	return ih;
}

struct addr syncnet_peer(unsigned peer, bool is_v6)
{
	struct addr a = { .family = is_v6 ? 6 : 4, .port = 6881 };

	if (is_v6) {
		memcpy(a.ip, "\x2a\x01\x04\xf8", 4);
		store_be32(a.ip + 12, peer);
	} else {
		store_be32(a.ip, 40u << 24 | peer);
	}
	return a;
}

void syncnet_announce(struct syncnet *n, unsigned i,
		      const struct syncnet_announce *a)
{
	struct syncnet_node *node = &n->nodes[i];
	struct swarms_announce sa = { .infohash = syncnet_swarm(a->swarm),
				      .peer = syncnet_peer(a->peer, a->is_v6),
				      .event = a->event,
				      .is_seed = a->is_seed };
	struct telling t = { .has_key = a->key != NULL };
	struct swarms_answer out;
	int64_t us;

	swarms_announce(node->swarms, &sa, (uint32_t)sim_random(n->sim), &out);
	if (out.tell == SWARMS_TELL_NOTHING)
		return;
	t.record = (struct swarm_record){
		.infohash = sa.infohash,
		.peer = sa.peer,
		.state = out.state,
		.is_completion = a->event == ANNOUNCE_COMPLETED,
	};
	t.is_change = out.tell == SWARMS_TELL_CHANGE;
	if (a->key)
		memcpy(t.key, a->key->b, sizeof(t.key));
	us = clock_now_us();
	sync_tell(node->sync, &t, 1);
	n->cpu_us += (uint64_t)(clock_now_us() - us);
	sim_poke(n->sim, n->kt->nodes[i].host);
}

unsigned syncnet_owners(struct syncnet *n, unsigned swarm,
			unsigned out[KT_REPLICAS])
{
	struct infohash ih = syncnet_swarm(swarm);
	struct kad_id place;

	kt_infohash_id(ih.b, &place);
	return ktnet_owners(n->kt, &place, out);
}

struct holding {
	const struct swarms *swarms;
	int swarm;
	uint8_t *held;
	unsigned num, live;
};

static void hold(void *arg, const struct swarm_view *v)
{
	struct holding *h = arg;
	struct swarm_record r;
	unsigned peer;

	if (h->swarm >= 0 &&
	    load_be32(v->infohash->b + 16) != (unsigned)h->swarm)
		return;
	for (unsigned i = 0; i < v->num_peers; i++) {
		swarm_view_peer(h->swarms, v, i, &r);
		peer = r.peer.family == 4 ? load_be32(r.peer.ip) & 0xffffff
					  : load_be32(r.peer.ip + 12);
		if (peer < h->num)
			h->held[peer] = (uint8_t)(1 + r.state);
		h->live += r.state != SWARM_GONE;
	}
}

unsigned syncnet_held(struct syncnet *n, unsigned i, int swarm, uint8_t *held,
		      unsigned num)
{
	struct holding h = { n->nodes[i].swarms, swarm, held, num, 0 };

	memset(held, 0, num);
	for (unsigned shard = 0; shard < SWARMS_SHARDS; shard++)
		swarms_visit(n->nodes[i].swarms, shard, hold, &h);
	return h.live;
}

struct sync_stats syncnet_stats(struct syncnet *n, unsigned i)
{
	struct sync_stats st;

	sync_stats(n->nodes[i].sync, &st);
	return st;
}
