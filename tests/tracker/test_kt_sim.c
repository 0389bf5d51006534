/* Goal: owners are found by whoever asks, quickly, in overlays of 1 to 1,000
 * trackers, while packets get lost, trackers die and come, and the overlay
 * grows from one. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/tracker/ktnet.h"

#define RTT_MEAN_MS 100

struct figures { /* of many lookups */
	unsigned right, num;
	unsigned took[400], hops[400], queries;
};

static int compare(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

static void note(struct figures *f, const struct ktnet_outcome *o, bool right)
{
	f->took[f->num] = (unsigned)o->found.took_ms;
	f->hops[f->num++] = o->found.hops;
	f->queries += o->found.queries;
	f->right += right;
}

/* Sorts. */
static void print_figures(const char *what, struct figures *f)
{
	qsort(f->took, f->num, sizeof(f->took[0]), compare);
	qsort(f->hops, f->num, sizeof(f->hops[0]), compare);
	print_message("# %s: %u/%u right, ms median %u p95 %u max %u, "
		      "round trips %.1f, hops median %u max %u, "
		      "queries %.1f\n",
		      what, f->right, f->num, f->took[f->num / 2],
		      f->took[f->num * 95 / 100], f->took[f->num - 1],
		      f->took[f->num / 2] / (double)RTT_MEAN_MS,
		      f->hops[f->num / 2], f->hops[f->num - 1],
		      f->queries / (double)f->num);
}

static unsigned add_client(struct ktnet *n)
{
	struct addr a = ktnet_addr(5000 + n->num);
	unsigned client = ktnet_add_client(n, &a);

	sim_run(n->sim, sim_now(n->sim) + 60000);
	return client;
}

static void find_many(struct ktnet *n, unsigned who, unsigned times,
		      struct figures *f)
{
	for (unsigned i = 0; i < times; i++) {
		struct kad_id key = ktnet_random_id(n);
		struct ktnet_outcome o;

		ktnet_find(n, who, &key, &o);
		assert_int_equal(o.calls, 1);
		note(f, &o, ktnet_is_right(n, &key, &o));
	}
}

static void test_s1__finds_the_true_owners(void **state)
{
	static const unsigned sizes[] = { 1, 2, 3, 7, 8, 50, 1000 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct ktnet *n = ktnet_old(sizes[i], sizes[i], 20, 0);
		unsigned client = add_client(n);
		struct figures f = { 0 }, t = { 0 };
		char what[64];

		find_many(n, client, 200, &f);
		(void)snprintf(what, sizeof(what), "S1 %u trackers, client",
			       sizes[i]);
		print_figures(what, &f);
		assert_int_equal(f.right, f.num);
		assert_true(f.took[f.num - 1] <= 2000);
		assert_true(f.took[f.num / 2] <= 2.5 * RTT_MEAN_MS);
		find_many(n, 0, 50, &t);
		(void)snprintf(what, sizeof(what), "S1 %u trackers, tracker",
			       sizes[i]);
		print_figures(what, &t);
		assert_int_equal(t.right, t.num);
		ktnet_free(n);
	}
}

static void test_s1__the_dead_cost_no_more_than_2_s(void **state)
{
	/* Goal: with each third tracker gone a moment ago, lookups are right
	 * and none takes longer than a timeout. */
	struct ktnet *n = ktnet_old(11, 300, 20, 0);
	unsigned client = add_client(n);
	struct figures f = { 0 };

	for (unsigned i = 1; i < 300; i += 3)
		ktnet_off(n, i);
	find_many(n, client, 100, &f);
	print_figures("S1 300 trackers, a third died a moment ago", &f);
	assert_true(f.right >= 98);
	assert_true(f.took[f.num - 1] <= 2100);
	ktnet_free(n);
}

/* One of them is enough to announce: they hold equal copies. */
static bool has_true_owner(const struct ktnet *n, const struct kad_id *key,
			   const struct ktnet_outcome *o)
{
	unsigned want[KT_REPLICAS], num = ktnet_owners(n, key, want);

	for (unsigned i = 0; i < num; i++) {
		for (unsigned j = 0; j < o->found.num; j++) {
			if (kad_id_eq(&o->owners[j].id, &n->nodes[want[i]].id))
				return true;
		}
	}
	return false;
}

static void test_s8__most_packets_are_lost(void **state)
{
	struct ktnet *n = ktnet_old(8, 50, 20, 600);
	unsigned client = add_client(n);
	struct figures f = { 0 };
	unsigned num = 0;

	for (unsigned i = 0; i < 200; i++) {
		struct kad_id key = ktnet_random_id(n);
		struct ktnet_outcome o;

		ktnet_find(n, client, &key, &o);
		num += !o.found.is_stale && has_true_owner(n, &key, &o);
		note(&f, &o, ktnet_is_right(n, &key, &o));
	}
	print_figures("S8 50 trackers, 60 % loss", &f);
	print_message("# S8 found a true owner: %u/200\n", num);
	assert_true(num >= 190);
	ktnet_free(n);
}

static void test_growth__one_to_fifty(void **state)
{
	/* Goal: trackers join one after the other; at every size lookups are
	 * right, and in the end everybody knows the same owners. */
	struct ktnet *n = ktnet_plain(3, 64, 0);
	unsigned agree = 0, asked = 0, client = 0;
	struct figures f = { 0 };

	for (unsigned i = 0; i < 50; i++) {
		ktnet_join(n, 1, 5000);
		if (!i)
			client = add_client(n);
		find_many(n, client, 3, &f);
	}
	print_figures("growth 1 to 50", &f);
	assert_true(f.right >= f.num * 97 / 100);
	sim_run(n->sim, sim_now(n->sim) + 15 * 60 * 1000);
	for (unsigned round = 0; round < 20; round++) {
		struct kad_id key = ktnet_random_id(n);
		unsigned want[KT_REPLICAS];

		(void)ktnet_owners(n, &key, want);
		for (unsigned i = 0; i < n->num; i++) {
			struct kt_owner own[KT_REPLICAS];
			bool is_right = true;

			if (i == client)
				continue;
			is_right = kt_owners(n->nodes[i].kt, &key, own) == 3;
			for (unsigned j = 0; j < 3; j++)
				is_right &= kad_id_eq(&own[j].id,
						      &n->nodes[want[j]].id);
			agree += is_right;
			asked++;
		}
	}
	print_message("# growth: kt_owners right %u/%u\n", agree, asked);
	assert_true(agree >= asked * 95 / 100);
	ktnet_free(n);
}

static void test_churn__trackers_come_and_go(void **state)
{
	/* Goal: one of forty restarts or dies each ten seconds for half an
	 * hour; what clients are told is alive. */
	struct ktnet *n = ktnet_old(5, 40, 20, 20);
	unsigned client = add_client(n), down = 0, dead = 0, told = 0;
	struct figures f = { 0 };

	for (unsigned round = 0; round < 180; round++) {
		struct kad_id key = ktnet_random_id(n);
		unsigned who = 1 + sim_below(n->sim, 39);
		struct ktnet_outcome o;

		if (!n->nodes[who].kt) {
			ktnet_on(n, who);
			down--;
		} else if (down < 10) {
			ktnet_off(n, who);
			down++;
		}
		sim_run(n->sim, sim_now(n->sim) + 10000);
		ktnet_find(n, client, &key, &o);
		note(&f, &o, ktnet_is_right(n, &key, &o));
		for (unsigned i = 0; i < o.found.num; i++) {
			uint32_t h = sim_find(n->sim, &o.owners[i].addr);

			told++;
			for (unsigned j = 0; j < n->num; j++)
				dead += n->nodes[j].host == h &&
					!n->nodes[j].kt;
		}
	}
	print_figures("churn", &f);
	print_message("# churn: %u of %u owners told were dead\n", dead, told);
	assert_int_equal(dead, 0);
	/* Newcomers come last for ten minutes: so not all are the closest. */
	assert_true(told >= 3 * 180 - 5);
	ktnet_free(n);
}

static void test_liveness__silence_ends_ownership(void **state)
{
	/* Goal: who is reported silent is asked at once, and is no owner two
	 * seconds later; who lives stays. The epoch tells. */
	struct ktnet *n = ktnet_old(6, 30, 20, 0);
	struct kad_id key = ktnet_random_id(n);
	struct kt_owner before[KT_REPLICAS], after[KT_REPLICAS];
	unsigned want[KT_REPLICAS], me = 0, changes;
	uint32_t epoch;

	(void)ktnet_owners(n, &key, want);
	while (me == want[0] || me == want[1] || me == want[2])
		me++;
	assert_int_equal(kt_owners(n->nodes[me].kt, &key, before), 3);
	ktnet_off(n, want[0]);
	epoch = kt_epoch(n->nodes[me].kt);
	changes = n->nodes[me].changes;
	kt_on_silence(n->nodes[me].kt, &before[0].addr);
	kt_on_silence(n->nodes[me].kt, &before[1].addr);
	sim_run(n->sim, sim_now(n->sim) + 2100);
	assert_int_equal(kt_owners(n->nodes[me].kt, &key, after), 3);
	assert_true(kad_id_eq(&after[0].id, &before[1].id));
	assert_true(kad_id_eq(&after[1].id, &before[2].id));
	assert_true(kt_epoch(n->nodes[me].kt) != epoch);
	assert_true(n->nodes[me].changes > changes);
	/* And it comes back. */
	ktnet_on(n, want[0]);
	sim_run(n->sim, sim_now(n->sim) + 12 * 60 * 1000);
	assert_int_equal(kt_owners(n->nodes[me].kt, &key, after), 3);
	assert_true(kad_id_eq(&after[0].id, &before[0].id));
	ktnet_free(n);
}

static void test_newcomers__wait_ten_minutes(void **state)
{
	/* Goal: a tracker that comes to sit nearest to a key is no owner of it
	 * before KT_SETTLED_MS, neither in tables nor for clients; then it
	 * is. */
	struct ktnet *n = ktnet_old(9, 20, 20, 0);
	unsigned client = add_client(n), late = 0;
	struct kad_id key;
	struct ktnet_outcome o;
	struct kt_owner own[KT_REPLICAS];

	ktnet_join(n, 1, 60000);
	late = n->num - 1;
	key = n->nodes[late].id;
	ktnet_find(n, client, &key, &o);
	assert_int_equal(o.found.num, 3);
	assert_int_equal(kt_owners(n->nodes[1].kt, &key, own), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(kad_id_eq(&o.owners[i].id, &key));
		assert_false(kad_id_eq(&own[i].id, &key));
	}
	sim_run(n->sim, sim_now(n->sim) + KT_SETTLED_MS + 10000);
	ktnet_find(n, client, &key, &o);
	assert_true(kad_id_eq(&o.owners[0].id, &key));
	assert_int_equal(kt_owners(n->nodes[1].kt, &key, own), 3);
	assert_true(kad_id_eq(&own[0].id, &key));
	ktnet_free(n);
}

static void test_votes__address_is_learnt(void **state)
{
	/* Goal: who is not told its address learns it from five subnets, and
	 * only then is found by others. */
	struct ktnet *n = ktnet_old(10, 12, 20, 0);
	struct kt_stats s;
	struct addr a = ktnet_addr(300);
	unsigned i;

	n->is_learnt = true;
	i = ktnet_add(n, &a);
	kt_stats(n->nodes[i].kt, &s);
	assert_false(s.is_member[0]);
	sim_run(n->sim, sim_now(n->sim) + 180000);
	kt_stats(n->nodes[i].kt, &s);
	assert_true(s.is_member[0]);
	assert_true(addr_ip_eq(&s.external[0], &a));
	assert_true(kt_id_fits_net(n->nodes[i].kt->realm, kt_id(n->nodes[i].kt),
				   &a));
	kt_stats(n->nodes[0].kt, &s);
	assert_int_equal(s.good[0], 12);
	ktnet_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s1__finds_the_true_owners),
		cmocka_unit_test(test_s1__the_dead_cost_no_more_than_2_s),
		cmocka_unit_test(test_s8__most_packets_are_lost),
		cmocka_unit_test(test_growth__one_to_fifty),
		cmocka_unit_test(test_churn__trackers_come_and_go),
		cmocka_unit_test(test_liveness__silence_ends_ownership),
		cmocka_unit_test(test_newcomers__wait_ten_minutes),
		cmocka_unit_test(test_votes__address_is_learnt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
