/* Goal: a handful of trackers find each other, agree on owners, notice who
 * dies, and answer clients; nobody is believed who has not proven his key. */
#include "tests/cmocka_all.h"

#include "engine/base/mem.h"
#include "tests/tracker/ktnet.h"

static struct ktnet *small(unsigned num, uint64_t seed)
{
	struct sim_options so = { .seed = seed,
				  .max_hosts = 80,
				  .rtt_min_ms = 20,
				  .rtt_max_ms = 80 };
	struct ktnet *n = ktnet_new(&so, 80);

	ktnet_join(n, num, 1000);
	sim_run(n->sim, sim_now(n->sim) + 60000);
	return n;
}

static void test_kt__few_find_each_other(void **state)
{
	/* Goal: with 1 to 12 trackers everyone knows everyone, a client and
	 * each tracker find the true owners, and kt_owners says the same. */
	static const unsigned sizes[] = { 1, 2, 3, 7, 8, 12 };

	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		struct ktnet *n = small(sizes[i], sizes[i]);
		struct addr a = ktnet_addr(500);
		unsigned client = ktnet_add_client(n, &a);

		for (unsigned j = 0; j < sizes[i]; j++) {
			struct kt_stats s;

			kt_stats(n->nodes[j].kt, &s);
			assert_int_equal(s.good[0], sizes[i] - 1);
			assert_int_equal(s.bad_sig + s.bad_id, 0);
		}
		for (unsigned round = 0; round < 20; round++) {
			struct kad_id key = ktnet_random_id(n);
			struct ktnet_outcome o, t;
			struct kt_owner own[KT_REPLICAS];
			unsigned want[KT_REPLICAS], num, who;

			who = round % sizes[i];
			ktnet_find(n, client, &key, &o);
			assert_true(ktnet_is_right(n, &key, &o));
			assert_true(o.found.took_ms <= 2000);
			ktnet_find(n, who, &key, &t);
			assert_true(ktnet_is_right(n, &key, &t));
			num = ktnet_owners(n, &key, want);
			assert_int_equal(kt_owners(n->nodes[who].kt, &key, own),
					 num);
			for (unsigned j = 0; j < num; j++)
				assert_true(kad_id_eq(&own[j].id,
						      &n->nodes[want[j]].id));
		}
		/* S11: no clock that can jump is looked at. */
		assert_int_equal(n->wall_asked, 0);
		ktnet_free(n);
	}
}

static unsigned num_known(struct ktnet *n, unsigned i)
{
	struct kt_stats s;

	kt_stats(n->nodes[i].kt, &s);
	return s.good[0];
}

static void test_kt__who_come_at_once_meet_at_once(void **state)
{
	/* Goal: six that come in one moment and know one of them alone have all
	 * met three seconds later. */
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct ktnet *n = ktnet_plain(70 + seed, 20, 0);

		ktnet_join(n, 6, 0);
		sim_run(n->sim, sim_now(n->sim) + 3000);
		for (unsigned i = 0; i < 6; i++)
			assert_int_equal(num_known(n, i), 5);
		ktnet_free(n);
	}
}

static void test_kt__halves_that_never_met(void **state)
{
	/* Goal: two overlays of a realm that are large enough for themselves
	 * become one when a name leads from one to the other. */
	struct ktnet *n = ktnet_plain(80, 40, 0);

	ktnet_join(n, 12, 100);
	sim_run(n->sim, sim_now(n->sim) + 120000);
	n->boot.family = 0;
	ktnet_join(n, 12, 100);
	sim_run(n->sim, sim_now(n->sim) + 120000);
	for (unsigned i = 0; i < 24; i++)
		assert_true(num_known(n, i) <= 11);
	n->boot = *sim_addr(n->sim, n->nodes[0].host);
	sim_run(n->sim, sim_now(n->sim) + 30 * 60 * 1000);
	for (unsigned i = 0; i < 24; i++)
		assert_true(num_known(n, i) > 11);
	for (unsigned i = 0; i < 48; i++) {
		struct kad_id key = ktnet_random_id(n);
		struct ktnet_outcome o;

		ktnet_find(n, i % 24, &key, &o);
		assert_true(ktnet_is_right(n, &key, &o));
	}
	ktnet_free(n);
}

static void test_kt__who_was_here_is_no_newcomer(void **state)
{
	/* Goal: a tracker that was gone for longer than it is kept as a member
	 * is an owner again as soon as it has proven itself; not if that is
	 * more than a day ago. */
	for (unsigned hours = 1; hours < 26; hours += 24) {
		struct ktnet *n = ktnet_old(90, 12, 8, 0);
		struct kad_id key = n->nodes[5].id;
		struct addr at = *sim_addr(n->sim, n->nodes[5].host);
		struct kt_owner own[KT_REPLICAS];

		sim_run(n->sim, sim_now(n->sim) + 60000);
		ktnet_off(n, 5);
		sim_run(n->sim, sim_now(n->sim) + hours * 3600 * 1000ll);
		assert_null(kt_member_find(n->nodes[1].kt, &at));
		ktnet_on(n, 5);
		sim_run(n->sim, sim_now(n->sim) + 60000);
		assert_non_null(kt_member_find(n->nodes[1].kt, &at));
		assert_int_equal(kt_owners(n->nodes[1].kt, &key, own), 3);
		assert_true(kad_id_eq(&own[0].id, &key) == (hours == 1));
		ktnet_free(n);
	}
}

static void test_kt__both_families(void **state)
{
	/* Goal: of five trackers on both families, three on IPv4 and three on
	 * IPv6 alone, who is on both finds the owners among all eleven, each
	 * once; who is on one those that it can reach. */
	struct sim_options so = {
		.seed = 46, .max_hosts = 80, .rtt_min_ms = 20, .rtt_max_ms = 80
	};
	struct ktnet *n = ktnet_new(&so, 80);
	struct addr four = ktnet_addr(1), six = ktnet_addr6(1);
	unsigned both, old, is_over_six = 0;
	struct kt_stats s;

	n->boot = four;
	n->boot6 = six;
	for (unsigned i = 0; i < 11; i++) {
		four = ktnet_addr(1 + i);
		six = ktnet_addr6(1 + i);
		if (i < 5)
			ktnet_add_dual(n, &four, &six, false);
		else
			ktnet_add(n, i < 8 ? &four : &six);
		sim_run(n->sim, sim_now(n->sim) + 1000);
	}
	four = ktnet_addr(100);
	six = ktnet_addr6(100);
	both = ktnet_add_dual(n, &four, &six, true);
	four.ip[3]++;
	old = ktnet_add_client(n, &four);
	sim_run(n->sim, sim_now(n->sim) + 120000);
	kt_stats(n->nodes[0].kt, &s);
	assert_int_equal(s.good[0], 7);
	assert_int_equal(s.good[1], 7);
	for (unsigned round = 0; round < 50; round++) {
		struct kad_id key = ktnet_random_id(n);
		struct kt_owner own[KT_REPLICAS];
		struct ktnet_outcome o;

		ktnet_find(n, both, &key, &o);
		assert_true(ktnet_is_right(n, &key, &o));
		for (unsigned i = 0; i < o.found.num; i++)
			is_over_six += o.owners[i].addr.family == 6;
		assert_int_equal(kt_owners(n->nodes[0].kt, &key, own), 3);
		for (unsigned i = 0; i < 3; i++)
			assert_true(kad_id_eq(&own[i].id, &o.owners[i].id));
		ktnet_find(n, old, &key, &o);
		assert_int_equal(o.found.num, 3);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(o.owners[i].addr.family, 4);
	}
	assert_true(is_over_six > 10 && is_over_six < 100);
	ktnet_free(n);
}

static void test_kt__what_is_saved_is_found_again(void **state)
{
	/* Goal: key and nodes outlive the process; without them, and without
	 * anybody to ask, there is nothing; torn bytes are refused. */
	struct ktnet *n = small(6, 8);
	struct kt_stats s;
	struct kad_id id = n->nodes[3].id;
	struct buf b;

	buf_init(&b, 0);
	kt_save(n->nodes[3].kt, &b);
	ktnet_off(n, 3);
	n->boot.family = 0;
	for (unsigned i = 0; i < sizeof(n->nodes[3].seed); i++)
		n->nodes[3].seed[i] ^= 0x55;
	ktnet_on(n, 3);
	n->nodes[3].kt->is_key_given = false;
	assert_false(kad_id_eq(kt_id(n->nodes[3].kt), &id));
	for (size_t len = 0; len < b.len; len++)
		assert_int_not_equal(kt_load(n->nodes[3].kt, b.ptr, len), 0);
	assert_int_equal(kt_load(n->nodes[3].kt, b.ptr, b.len), 0);
	assert_true(kad_id_eq(kt_id(n->nodes[3].kt), &id));
	sim_poke(n->sim, n->nodes[3].host);
	sim_run(n->sim, sim_now(n->sim) + 10000);
	kt_stats(n->nodes[3].kt, &s);
	assert_int_equal(s.good[0], 5);
	buf_release(&b);
	ktnet_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kt__few_find_each_other),
		cmocka_unit_test(test_kt__who_come_at_once_meet_at_once),
		cmocka_unit_test(test_kt__halves_that_never_met),
		cmocka_unit_test(test_kt__who_was_here_is_no_newcomer),
		cmocka_unit_test(test_kt__both_families),
		cmocka_unit_test(test_kt__what_is_saved_is_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
