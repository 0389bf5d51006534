/* Goal: whoever wants a key needs subnets, and many of them; and who has them
 * is noticed. */
#include "tests/cmocka_all.h"

#include "tests/tracker/ktnet.h"

static void test_s6__one_subnet_owns_one_of_three(void **state)
{
	/* Goal: 64 trackers in one /24 that has the very prefix of a key, all
	 * settled: clients and trackers give them one of three places. */
	struct ktnet *n = ktnet_old(6, 100, 80, 0);
	unsigned first = n->num, client, theirs;
	struct addr own = ktnet_addr(9000);
	struct ktnet_outcome o;
	struct kt_owner owners[KT_REPLICAS];
	struct kad_id key;

	for (unsigned i = 0; i < 64; i++) {
		struct addr a = ktnet_addr(7777);

		a.ip[3] = (uint8_t)(1 + i);
		ktnet_add(n, &a);
		sim_run(n->sim, sim_now(n->sim) + 1000);
	}
	sim_run(n->sim, sim_now(n->sim) + KT_SETTLED_MS + 60000);
	client = ktnet_add_client(n, &own);
	sim_run(n->sim, sim_now(n->sim) + 60000);
	key = n->nodes[first].id;
	ktnet_find(n, client, &key, &o);
	theirs = 0;
	for (unsigned i = 0; i < o.found.num; i++)
		theirs += o.owners[i].addr.ip[1] == 7777 >> 8 &&
			  o.owners[i].addr.ip[2] == (7777 & 255);
	print_message("# S6: one /24 with 64 trackers owns %u of %u\n", theirs,
		      o.found.num);
	assert_true(o.found.num >= 3);
	assert_int_equal(theirs, 1);
	for (unsigned i = 0; i < first; i++) {
		theirs = 0;
		assert_int_equal(kt_owners(n->nodes[i].kt, &key, owners), 3);
		for (unsigned j = 0; j < 3; j++)
			theirs += owners[j].addr.ip[1] == 7777 >> 8 &&
				  owners[j].addr.ip[2] == (7777 & 255);
		assert_true(theirs <= 1);
	}
	ktnet_free(n);
}

static void test_s6__what_subnets_buy(void **state)
{
	/* Goal: what M subnets win of random keys, by the id rule alone:
	 * 2M / (2M + N) for the first place, and few keys as a whole. */
	enum {
		HONEST_NUM = 100,
		KEYS = 4000
	};
	static const unsigned nets[] = { 1, 8 };
	struct ktnet *n = ktnet_plain(66, 1, 0);
	uint8_t realm[KT_REALM_BYTES];
	struct kad_id ids[HONEST_NUM + 16];

	kt_realm(KTNET_DOMAIN, realm);
	for (unsigned i = 0; i < HONEST_NUM; i++)
		ids[i] = ktnet_random_id(n);
	for (unsigned t = 0; t < 2; t++) {
		unsigned m = nets[t], rank0 = 0, any = 0, all = 0;

		/* Both prefixes of each subnet. */
		for (unsigned i = 0; i < 2 * m; i++) {
			struct addr a = ktnet_addr(100000 + i / 2);
			struct kad_id *id = &ids[HONEST_NUM + i];

			do {
				struct kad_id pk = ktnet_random_id(n);
				uint8_t seed[KT_PK_BYTES] = { 0 };

				memcpy(seed, pk.b, KAD_ID_BYTES);
				kt_id_make(realm, seed, &a, id);
			} while (i % 2 && !memcmp(id->b, id[-1].b, 4));
		}
		for (unsigned k = 0; k < KEYS; k++) {
			struct kad_id key = ktnet_random_id(n);
			unsigned best[KT_REPLICAS], num = 0, theirs = 0;

			for (unsigned i = 0; i < HONEST_NUM + 2 * m; i++) {
				unsigned at = num;

				while (at &&
				       kad_id_compare(&key, &ids[i],
						      &ids[best[at - 1]]) < 0)
					at--;
				if (at == KT_REPLICAS)
					continue;
				if (num < KT_REPLICAS)
					num++;
				memmove(best + at + 1, best + at,
					(num - at - 1) * sizeof(*best));
				best[at] = i;
			}
			for (unsigned i = 0; i < KT_REPLICAS; i++)
				theirs += best[i] >= HONEST_NUM;
			rank0 += best[0] >= HONEST_NUM;
			any += theirs > 0;
			all += theirs == KT_REPLICAS;
		}
		print_message("# S6: %u subnets among 100 trackers: first of "
			      "%.1f %% of keys, some of %.1f %%, all three of "
			      "%.2f %%\n",
			      m, 100.0 * rank0 / KEYS, 100.0 * any / KEYS,
			      100.0 * all / KEYS);
		assert_true(all < KEYS / 50);
	}
	ktnet_free(n);
}

static unsigned bits_shared(const uint8_t *realm, const struct addr *at,
			    const struct kad_id *key, struct kad_id *id)
{
	uint8_t pk[KT_PK_BYTES] = { 0 };
	unsigned best = 0;

	/* Two of eight keys have either prefix, almost for sure. */
	for (unsigned i = 0; i < 8; i++) {
		struct kad_id try;
		unsigned bits;

		pk[0] = (uint8_t)i;
		kt_id_make(realm, pk, at, &try);
		bits = kad_id_prefix(&try, key);
		if (!i || bits > best) {
			best = bits;
			*id = try;
		}
	}
	return best;
}

static void test_packed__more_are_told(void **state)
{
	/* Goal: somebody with 60,000 subnets to choose from sits around a key
	 * with twelve trackers, so that all owners are his. That is noticed,
	 * and honest ones beyond are told as well. */
	enum {
		THEIRS = 12
	};
	struct ktnet *n = ktnet_old(71, 200, 40, 0);
	struct kad_id key = ktnet_random_id(n);
	struct addr own = ktnet_addr(900), at[THEIRS];
	unsigned client, num = 0, honest = 0;
	uint8_t realm[KT_REALM_BYTES];
	struct ktnet_outcome o;

	kt_realm(KTNET_DOMAIN, realm);
	for (unsigned i = 0; i < 60000 && num < THEIRS; i++) {
		struct addr a = ktnet_addr(100000 + i);
		struct kad_id id;

		if (bits_shared(realm, &a, &key, &id) >= 12)
			at[num++] = a;
	}
	assert_int_equal(num, THEIRS);
	for (unsigned i = 0; i < THEIRS; i++) {
		unsigned who = ktnet_add(n, &at[i]);

		/* With keys until the prefix is the nearer one. */
		while (kad_id_prefix(&n->nodes[who].id, &key) < 12) {
			ktnet_off(n, who);
			n->nodes[who].seed[0]++;
			ktnet_on(n, who);
		}
	}
	client = ktnet_add_client(n, &own);
	ktnet_seed(n);
	/* Lookups teach it how large the overlay is. */
	for (unsigned i = 0; i < 12; i++) {
		struct kad_id other = ktnet_random_id(n);

		ktnet_find(n, client, &other, &o);
		assert_int_equal(o.found.num, 3);
	}
	ktnet_find(n, client, &key, &o);
	for (unsigned i = 0; i < o.found.num; i++)
		honest += o.owners[i].addr.ip[0] == 16;
	print_message("# packed key: %u told, %u of them honest\n", o.found.num,
		      honest);
	assert_true(o.found.num > KT_REPLICAS);
	assert_true(honest >= 3);
	ktnet_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s6__one_subnet_owns_one_of_three),
		cmocka_unit_test(test_s6__what_subnets_buy),
		cmocka_unit_test(test_packed__more_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
