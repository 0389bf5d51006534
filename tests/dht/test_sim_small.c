/* Goal: overlays of 1, 2, 3, 7, 8 and 50 nodes: a lookup finds them all, in
 * order, and the dead never cost it more than two seconds. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "dht/dht_private.h"
#include "tests/dht/net.h"

#define DEAD_MS 2000

static const struct sim_options SIM = {
	.seed = 11, .max_hosts = 200, .rtt_min_ms = 60, .rtt_max_ms = 140
};

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	((struct outcome *)arg)->peers += (unsigned)n;
}

static void random_id(struct sim *s, struct kad_id *id)
{
	for (unsigned i = 0; i < KAD_ID_BYTES; i++)
		id->b[i] = (uint8_t)sim_random(s);
}

static struct net *grow(unsigned n)
{
	struct net *net = net_new(&SIM, 200);

	net->boot = net_addr(0);
	for (unsigned i = 0; i < n; i++) {
		struct addr a = net_addr(i);

		(void)net_add(net, &a, false);
		sim_run(net->sim, sim_now(net->sim) + 200);
	}
	sim_run(net->sim, sim_now(net->sim) + 240000);
	return net;
}

static void look_up(struct net *net, unsigned me, struct outcome *o,
		    struct kad_id *target)
{
	memset(o, 0, sizeof(*o));
	random_id(net->sim, target);
	assert_non_null(
		dht_find_node(net->nodes[me].dht, target, outcome_on_done, o));
	sim_run_until(net->sim, &o->is_done, sim_now(net->sim) + 20000);
	assert_true(o->is_done);
}

static void check(struct net *net, unsigned me, const struct outcome *o,
		  const struct kad_id *target)
{
	unsigned want[DHT_K], n;

	n = net_closest(net, target, sim_now(net->sim), me, DHT_K, want);
	assert_true(o->r.num_nodes >= n);
	for (unsigned i = 0; i < n; i++)
		assert_true(
			kad_id_eq(&o->nodes[i].id, &net->nodes[want[i]].id));
}

static void test_small__all_are_found(void **state)
{
	static const unsigned sizes[] = { 2, 3, 7, 8, 50 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct net *net = grow(sizes[i]);
		int64_t worst = 0;

		for (unsigned round = 0; round < 40; round++) {
			unsigned me = sim_below(net->sim, sizes[i]);
			struct kad_id target;
			struct outcome o;

			look_up(net, me, &o, &target);
			check(net, me, &o, &target);
			if (o.r.took_ms > worst)
				worst = o.r.took_ms;
		}
		print_message("# %u nodes: slowest %lld ms\n", sizes[i],
			      (long long)worst);
		assert_true(worst < 1000);
		net_free(net);
	}
}

static void test_small__alone_it_ends(void **state)
{
	/* Goal: one node finds nobody, and says so. */
	struct net *net = net_new(&SIM, 2);
	struct addr a = net_addr(0);
	struct kad_id target;
	struct outcome o;

	(void)net_add(net, &a, false);
	for (unsigned round = 0; round < 3; round++) {
		/* The first one it is told of is itself, or nobody; later a
		 * dead one. */
		net->boot = round == 2 ? net_addr(1) : a;
		look_up(net, 0, &o, &target);
		check(net, 0, &o, &target);
		assert_int_equal(o.r.num_nodes, 0);
		assert_int_equal(o.r.answers, 0);
		/* For as long as somebody may turn up, and no longer. */
		assert_true(o.r.took_ms <= 8000);
		sim_run(net->sim, sim_now(net->sim) + 60000);
	}
	net_free(net);
}

static void test_small__the_dead_cost_two_seconds_at_most(void **state)
{
	static const unsigned sizes[] = { 2, 3, 7, 8, 50 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct net *net = grow(sizes[i]);
		struct kad_id target;
		struct outcome o;

		for (unsigned j = 1; j < sizes[i]; j += 2)
			net_off(net, j);
		for (unsigned round = 0; round < 10; round++) {
			look_up(net, 0, &o, &target);
			check(net, 0, &o, &target);
			assert_true(o.r.took_ms <= DEAD_MS);
		}
		net_free(net);
	}
}

static void test_small__one_finds_what_the_other_has(void **state)
{
	/* Goal: announce and get_peers in a net of two, begun before either
	 * knew the other. */
	struct net *net = net_new(&SIM, 2);
	struct addr a = net_addr(0), b = net_addr(1);
	struct outcome o = { 0 };
	struct dht_get_peers spec = { .infohash.b = "an infohash of 20 by",
				      .is_announce = true,
				      .port = 7777,
				      .on_peers = on_peers,
				      .on_done = outcome_on_done,
				      .arg = &o };

	net->boot = a;
	(void)net_add(net, &a, false);
	(void)net_add(net, &b, false);
	assert_non_null(dht_get_peers(net->nodes[1].dht, &spec));
	sim_run_until(net->sim, &o.is_done, sim_now(net->sim) + 20000);
	assert_true(o.is_done);
	assert_int_equal(o.r.num_stored, 1);
	assert_true(o.r.took_ms < 1000);
	sim_run(net->sim, sim_now(net->sim) + 100000);
	memset(&o, 0, sizeof(o));
	assert_non_null(dht_get_peers(net->nodes[1].dht, &spec));
	sim_run_until(net->sim, &o.is_done, sim_now(net->sim) + 20000);
	assert_int_equal(o.peers, 1);
	net_free(net);
}

static void test_small__a_dead_bootstrap_is_no_storm(void **state)
{
	/* Goal: nobody answers for six hours: few questions, ever fewer. */
	struct net *net = net_new(&SIM, 2);
	struct addr a = net_addr(0);
	const struct sim_traffic *t;

	net->boot = net_addr(1); /* nobody is there */
	(void)net_add(net, &a, false);
	sim_run(net->sim, sim_now(net->sim) + 6 * 3600 * 1000);
	t = sim_traffic(net->sim, net->nodes[0].host);
	print_message("# 6 h: asked %u times, %llu packets\n", net->asked,
		      (unsigned long long)t->packets_out);
	assert_true(net->asked >= 10 && net->asked <= 90);
	assert_true(t->packets_out <= 2 * net->asked);
	net_free(net);
}

static void test_small__comes_back_after_sleep(void **state)
{
	/* Goal: everybody it knew is gone; it starts over by itself. */
	struct net *net = grow(20);
	struct dht_stats s;

	for (unsigned i = 1; i < 20; i++)
		net_off(net, i);
	sim_run(net->sim, sim_now(net->sim) + 600000);
	dht_stats(net->nodes[0].dht, &s);
	assert_false(s.is_well);
	for (unsigned i = 20; i < 40; i++) {
		struct addr a = net_addr(i);

		(void)net_add(net, &a, false);
	}
	net->boot = net_addr(25);
	sim_run(net->sim, sim_now(net->sim) + 600000);
	dht_stats(net->nodes[0].dht, &s);
	assert_true(s.is_well);
	print_message("# %u good of %u\n", s.good[0], s.nodes[0]);
	assert_true(s.good[0] >= DHT_K);
	net_free(net);
}

static void test_small__the_saved_table_is_enough(void **state)
{
	/* Goal: a restart asks no bootstrap node. */
	struct net *net = grow(50);
	struct dht_stats s;
	struct buf saved;
	unsigned asked;

	buf_init(&saved, 0);
	dht_save(net->nodes[7].dht, &saved);
	net_off(net, 7);
	asked = net->asked;
	net_on(net, 7);
	assert_int_equal(dht_load(net->nodes[7].dht, saved.ptr, saved.len), 0);
	sim_run(net->sim, sim_now(net->sim) + 20000);
	dht_stats(net->nodes[7].dht, &s);
	assert_true(s.good[0] >= 30);
	assert_int_equal(net->asked, asked);
	for (size_t i = 0; i < saved.len; i++)
		assert_int_not_equal(dht_load(net->nodes[7].dht, saved.ptr, i),
				     0);
	buf_release(&saved);
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small__all_are_found),
		cmocka_unit_test(test_small__alone_it_ends),
		cmocka_unit_test(test_small__the_dead_cost_two_seconds_at_most),
		cmocka_unit_test(test_small__one_finds_what_the_other_has),
		cmocka_unit_test(test_small__a_dead_bootstrap_is_no_storm),
		cmocka_unit_test(test_small__comes_back_after_sleep),
		cmocka_unit_test(test_small__the_saved_table_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
