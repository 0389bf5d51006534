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
		ktnet_free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kt__few_find_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
