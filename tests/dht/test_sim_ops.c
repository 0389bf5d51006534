/* Goal: operations across a network of either family: peers, items put and got,
 * samples, counts of BEP 33; and cancel is silence. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "dht/dht_private.h"
#include "dht/item.h"
#include "engine/base/mem.h"
#include "tests/dht/net.h"

#define NODES 60

static struct net *grow(bool six)
{
	struct sim_options o = { .seed = 21,
				 .max_hosts = 2 * NODES,
				 .rtt_min_ms = 60,
				 .rtt_max_ms = 140 };
	struct net *n = net_new(&o, NODES);

	n->options.v4 = !six;
	n->options.v6 = six;
	n->boot = net_addr(0);
	for (unsigned i = 0; i < NODES; i++) {
		struct addr a = net_addr(i);

		if (six)
			a = net_addr6(i);
		if (!i)
			n->boot = a;
		(void)net_add(n, &a, false);
		sim_run(n->sim, sim_now(n->sim) + 300);
	}
	sim_run(n->sim, sim_now(n->sim) + 200000);
	return n;
}

struct heard {
	bool is_done;
	struct dht_result r;
	unsigned peers, values, pongs;
	unsigned ports[2], of_family[2]; /* told peers: sum of ports, number */
	int family;
	int64_t seq, num;
	size_t hashes;
	uint8_t v[LIMIT_DHT_ITEM_BYTES];
	size_t len;
};

static void on_done(void *arg, const struct dht_result *r)
{
	struct heard *o = arg;

	o->is_done = true;
	o->r = *r;
}

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	struct heard *o = arg;

	o->peers += (unsigned)n;
	o->family = addrs[0].family;
	for (size_t i = 0; i < n; i++) {
		o->ports[addrs[i].family == 6] += addrs[i].port;
		o->of_family[addrs[i].family == 6]++;
	}
}

static void on_value(void *arg, const struct item *v)
{
	struct heard *o = arg;

	o->values++;
	o->seq = v->seq;
	o->len = v->v.len;
	memcpy(o->v, v->v.ptr, v->v.len);
}

static void on_pong(void *arg, const struct kad_id *id, int64_t rtt_ms)
{
	struct heard *o = arg;

	o->is_done = true;
	o->pongs += id && rtt_ms >= 0;
}

static void on_sample(void *arg, const struct infohash *hashes, size_t n,
		      int64_t interval_s, int64_t num)
{
	struct heard *o = arg;

	o->is_done = true;
	o->hashes = n;
	o->num = num;
}

static void finish(struct net *n, struct heard *o)
{
	sim_run_until(n->sim, &o->is_done, sim_now(n->sim) + 20000);
	assert_true(o->is_done);
}

static void get_peers(struct net *n, unsigned me, bool announce, bool scrape,
		      struct heard *o)
{
	struct dht_get_peers spec = { .infohash.b = "an infohash of 20 by",
				      .is_announce = announce,
				      .want_scrape = scrape,
				      .port = (uint16_t)(7000 + me),
				      .is_seed = me % 2,
				      .on_peers = on_peers,
				      .on_done = on_done,
				      .arg = o };

	memset(o, 0, sizeof(*o));
	assert_non_null(dht_get_peers(n->nodes[me].dht, &spec));
	finish(n, o);
}

static void test_ops__peers_on_each_family(void **state)
{
	for (unsigned six = 0; six < 2; six++) {
		struct net *n = grow(six);
		struct heard o;

		for (unsigned i = 1; i < 21; i++) {
			get_peers(n, i, true, false, &o);
			assert_in_range(o.r.num_stored, 7, 8);
		}
		get_peers(n, 40, false, false, &o);
		/* Each of eight tells some, chosen at random. */
		assert_in_range(o.peers, 14, 20);
		assert_int_equal(o.r.num_peers, o.peers);
		assert_int_equal(o.family, six ? 6 : 4);
		assert_true(o.r.hops >= 1);
		net_free(n);
	}
}

/* A third each on IPv4, IPv6 and both. Who has IPv4 begins with an IPv4
 * address, and has to hear of IPv6 nodes from others. */
static struct net *grow_dual(void)
{
	struct sim_options o = { .seed = 22,
				 .max_hosts = 3 * NODES,
				 .rtt_min_ms = 60,
				 .rtt_max_ms = 140 };
	struct net *n = net_new(&o, NODES);

	n->options.v6 = true;
	n->boot = net_addr(0);
	n->boot6 = net_addr6(0);
	for (unsigned i = 0; i < NODES; i++) {
		struct addr four = net_addr(i), six = net_addr6(i);

		if (i % 3 == 0)
			(void)net_add_dual(n, &four, &six);
		else
			(void)net_add(n, i % 3 == 1 ? &four : &six, false);
		sim_run(n->sim, sim_now(n->sim) + 300);
	}
	sim_run(n->sim, sim_now(n->sim) + 200000);
	return n;
}

static void test_ops__both_families_at_once(void **state)
{
	struct net *n = grow_dual();
	struct dht_stats s;
	struct heard o;

	/* Goal: one node on IPv4 and IPv6 has nodes of both (BEP 32), finds
	 * peers of both, and is found on both. */
	for (unsigned i = 0; i < NODES; i += 3) {
		dht_stats(n->nodes[i].dht, &s);
		assert_true(s.good[0] >= 20 && s.good[1] >= 20);
	}
	get_peers(n, 4, true, false, &o); /* IPv4 alone */
	assert_int_equal(o.r.num_stored, 8);
	get_peers(n, 5, true, false, &o); /* IPv6 alone */
	assert_int_equal(o.r.num_stored, 8);
	get_peers(n, 30, true, false, &o);
	assert_int_equal(o.r.num_stored, 16);
	assert_int_equal(o.ports[0], 7004);
	assert_int_equal(o.ports[1], 7005);
	get_peers(n, 33, false, false, &o);
	assert_int_equal(o.of_family[0], 2);
	assert_int_equal(o.of_family[1], 2);
	assert_int_equal(o.ports[0], 7004 + 7030);
	assert_int_equal(o.ports[1], 7005 + 7030);
	get_peers(n, 7, false, false, &o);
	assert_int_equal(o.ports[0], 7004 + 7030);
	assert_int_equal(o.of_family[1], 0);
	get_peers(n, 8, false, false, &o);
	assert_int_equal(o.ports[1], 7005 + 7030);
	assert_int_equal(o.of_family[0], 0);
	net_free(n);
}

static void test_ops__mutable_items(void **state)
{
	static const uint8_t seed[32] = "a key", one[] = "3:one",
			     two[] = "3:two";
	struct net *n = grow(false);
	struct item item = { .v = { one, 5 }, .is_mutable = true, .seq = 1 };
	struct dht_put_item put = { .on_done = on_done };
	struct dht_get_item get = { .is_mutable = true,
				    .on_value = on_value,
				    .on_done = on_done };
	struct heard o;

	for (unsigned round = 0; round < 2; round++) {
		memset(&o, 0, sizeof(o));
		item.v.ptr = round ? two : one;
		item.seq = round + 1;
		assert_true(item_sign(&item, seed));
		put.value = (struct item){ .v = item.v,
					   .is_mutable = true,
					   .seq = item.seq };
		memcpy(put.value.pk, item.pk, 32);
		memcpy(put.value.sig, item.sig, 64);
		put.arg = &o;
		assert_non_null(dht_put_item(n->nodes[3].dht, &put));
		finish(n, &o);
		assert_in_range(o.r.num_stored, 7, 8);
	}
	memset(&o, 0, sizeof(o));
	item_target(&item, get.target.b);
	memcpy(get.pk, item.pk, 32);
	get.arg = &o;
	assert_non_null(dht_get_item(n->nodes[30].dht, &get));
	finish(n, &o);
	assert_int_equal(o.values, 1);
	assert_int_equal(o.seq, 2);
	assert_memory_equal(o.v, two, 5);
	/* A wrong signature is stored by nobody. */
	memset(&o, 0, sizeof(o));
	put.value.seq = 9;
	assert_non_null(dht_put_item(n->nodes[3].dht, &put));
	finish(n, &o);
	assert_int_equal(o.r.num_stored, 0);
	net_free(n);
}

static void test_ops__immutable_items_ping_and_sample(void **state)
{
	static const uint8_t v[] = "12:Hello World!";
	struct net *n = grow(false);
	struct item item = { .v = { v, 15 } };
	struct heard o = { 0 };
	struct dht_put_item put = { .value.v = { v, 15 },
				    .on_done = on_done,
				    .arg = &o };
	struct dht_get_item get = { .on_value = on_value,
				    .on_done = on_done,
				    .arg = &o };
	struct addr a = net_addr(9);
	struct kad_id target = { "x" };

	assert_non_null(dht_put_item(n->nodes[3].dht, &put));
	finish(n, &o);
	memset(&o, 0, sizeof(o));
	item_target(&item, get.target.b);
	assert_non_null(dht_get_item(n->nodes[30].dht, &get));
	finish(n, &o);
	assert_int_equal(o.values, 1);
	assert_memory_equal(o.v, v, 15);
	memset(&o, 0, sizeof(o));
	assert_non_null(dht_ping(n->nodes[1].dht, &a, on_pong, &o));
	finish(n, &o);
	assert_int_equal(o.pongs, 1);
	get_peers(n, 5, true, false, &o);
	memset(&o, 0, sizeof(o));
	for (unsigned i = 0, found = 0; !found; i++) {
		a = net_addr(i % NODES);
		o.is_done = false;
		if (i % NODES == 1)
			continue;
		assert_non_null(dht_sample(n->nodes[1].dht, &a, &target,
					   on_sample, &o));
		finish(n, &o);
		found = o.hashes == 1 && o.num == 1;
		assert_true(i < NODES);
	}
	net_free(n);
}

static void test_ops__the_largest_items(void **state)
{
	static const uint8_t seed[32] = "a key";
	static uint8_t v[LIMIT_DHT_ITEM_BYTES] = "996:";
	struct net *n = grow(false);

	/* Goal: what may be put can be got, though nobody is told more than
	 * three times what it asked. */
	for (unsigned is_mutable = 0; is_mutable < 2; is_mutable++) {
		struct heard o = { 0 };
		struct item item = { .v = { v, sizeof(v) },
				     .is_mutable = is_mutable,
				     .seq = INT64_MAX };
		struct dht_put_item put = { .on_done = on_done, .arg = &o };
		struct dht_get_item get = { .is_mutable = is_mutable,
					    .on_value = on_value,
					    .on_done = on_done,
					    .arg = &o };

		if (is_mutable)
			assert_true(item_sign(&item, seed));
		memcpy(get.pk, item.pk, 32);
		item_target(&item, get.target.b);
		put.value = item;
		assert_non_null(dht_put_item(n->nodes[3].dht, &put));
		finish(n, &o);
		assert_in_range(o.r.num_stored, 7, 8);
		memset(&o, 0, sizeof(o));
		assert_non_null(dht_get_item(n->nodes[30].dht, &get));
		finish(n, &o);
		assert_int_equal(o.values, 1);
		assert_int_equal(o.len, sizeof(v));
	}
	net_free(n);
}

static void test_ops__scrape(void **state)
{
	struct net *n = grow(false);
	struct heard o;

	for (unsigned i = 1; i < 31; i++)
		get_peers(n, i, true, false, &o);
	get_peers(n, 40, false, true, &o);
	print_message("# scrape: %u seeds, %u downloaders\n", o.r.seeds,
		      o.r.downloaders);
	assert_in_range(o.r.seeds, 13, 17);
	assert_in_range(o.r.downloaders, 13, 17);
	net_free(n);
}

static void test_ops__cancel_is_silence(void **state)
{
	struct net *n = grow(false);
	struct dht_get_peers spec = { .infohash.b = "an infohash of 20 by",
				      .is_announce = true,
				      .port = 1,
				      .on_peers = on_peers,
				      .on_done = on_done };

	for (unsigned ms = 0; ms < 800; ms += 20) {
		struct heard *o = mem_alloc(sizeof(*o));
		struct dht_op *op;

		spec.arg = o;
		op = dht_get_peers(n->nodes[4].dht, &spec);
		sim_run_until(n->sim, &o->is_done, sim_now(n->sim) + ms);
		if (!o->is_done)
			dht_op_cancel(op);
		free(o);
		sim_run(n->sim, sim_now(n->sim) + 3000);
	}
	net_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ops__peers_on_each_family),
		cmocka_unit_test(test_ops__both_families_at_once),
		cmocka_unit_test(test_ops__mutable_items),
		cmocka_unit_test(test_ops__immutable_items_ping_and_sample),
		cmocka_unit_test(test_ops__the_largest_items),
		cmocka_unit_test(test_ops__scrape),
		cmocka_unit_test(test_ops__cancel_is_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
