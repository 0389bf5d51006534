/* Goal: the vectors of BEP 33, 42, 44 and 46, and the limits of the stores. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dht/bloom.h"
#include "dht/budget.h"
#include "dht/dht_msg.h"
#include "dht/itemstore.h"
#include "dht/peerstore.h"
#include "dht/secure_id.h"
#include "dht/token.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

static const uint8_t SEED[16] = "a seed of bytes";

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, 6881, &a), 0);
	return a;
}

static void unhex(const char *s, uint8_t *out, size_t len)
{
	assert_true(hex_decode(s, strlen(s), out, len));
}

static void test_secure_id__vectors(void **state)
{
	static const struct {
		const char *ip;
		uint8_t random;
		uint32_t crc; /* the first 21 bits count */
	} vectors[] = {
		{ "124.31.75.21", 1, 0x5fbfbdb2 },
		{ "21.75.31.124", 86, 0x5a3ce9b0 },
		{ "65.23.51.170", 22, 0xa5d4344a },
		{ "84.124.73.14", 65, 0x1b03217b },
		{ "43.213.53.83", 90, 0xe56f6972 },
		{ "2001:db8::1", 1, 0x7189ac24 },
		{ "2001:4860:4860::8888", 7, 0xd02a3e7f },
		{ "2a03:b0c0:1:d0::bea:8001", 90, 0x58bf7f35 },
	};

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct addr ip = address(vectors[i].ip);
		struct kad_id id;

		memset(&id, 0xff, sizeof(id));
		secure_id_make(&id, &ip, vectors[i].random);
		assert_int_equal(load_be32(id.b) >> 11, vectors[i].crc >> 11);
		assert_int_equal(id.b[19], vectors[i].random);
		assert_true(secure_id_check(&id, &ip));
		id.b[2] ^= 7; /* free bits */
		assert_true(secure_id_check(&id, &ip));
		id.b[2] ^= 8;
		assert_false(secure_id_check(&id, &ip));
	}
}

static void check_item(struct item *item, const char *target_hex)
{
	uint8_t target[20], want[20];

	item_target(item, target);
	unhex(target_hex, want, sizeof(want));
	assert_memory_equal(target, want, sizeof(want));
}

static void test_item__vectors(void **state)
{
	static const uint8_t v[] = "12:Hello World!";
	struct item item = { .v = { v, 15 }, .is_mutable = true, .seq = 1 };

	unhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548",
	      item.pk, 32);
	unhex("305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
	      "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
	      item.sig, 64);
	check_item(&item, "4a533d47ec9c7d95b1ad75f576cffc641853b750");
	assert_true(item_verify(&item));
	item.seq = 2;
	assert_false(item_verify(&item));
	item.seq = 1;
	item.salt = (struct span){ (const uint8_t *)"foobar", 6 };
	assert_false(item_verify(&item));
	unhex("6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
	      "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
	      item.sig, 64);
	check_item(&item, "411eba73b6f087ca51a3795d9c8c938d365e32c1");
	assert_true(item_verify(&item));
	item = (struct item){ .v = { v, 15 } };
	check_item(&item, "e5f96f6f38320f0f33959cb4d3d656452117aadb");
}

static void test_item__signs(void **state)
{
	uint8_t seed[32], want[64], value[29];
	struct item item = { .v = { value, 29 },
			     .is_mutable = true,
			     .seq = 7,
			     .salt = { (const uint8_t *)"tracker", 7 } };

	memcpy(value, "d2:ih20:", 8);
	memset(value + 8, 0xaa, 20);
	value[28] = 'e';
	for (unsigned i = 0; i < 32; i++)
		seed[i] = (uint8_t)i;
	assert_true(item_sign(&item, seed));
	unhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
	      want, 32);
	assert_memory_equal(item.pk, want, 32);
	unhex("82ba2e02129af116b8da122f64587b6ebd00f98a2ea1208cba594b23e05fd655"
	      "8bb54985914f57d4b83b18e36270600531e2087faff57e1cb2109f53f956f40e",
	      want, 64);
	assert_memory_equal(item.sig, want, 64);
	check_item(&item, "b9a37549f3f1466f377627b8a087330ad0a58409");
	assert_true(item_verify(&item));
}

static void test_item__mutable_torrents(void **state)
{
	/* Goal: BEP 46, with a salt and without. */
	struct item item = { .is_mutable = true };

	unhex("8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e",
	      item.pk, 32);
	check_item(&item, "cc3f9d90b572172053626f9980ce261a850d050b");
	item.salt = (struct span){ (const uint8_t *)"n", 1 };
	check_item(&item, "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f");
}

static void test_bloom__vector(void **state)
{
	uint8_t filter[BLOOM_BYTES] = { 0 }, hash[20], want[20];
	struct addr a = address("192.0.2.0"), b = address("2001:db8::");

	for (unsigned i = 0; i < 256; i++) {
		a.ip[3] = (uint8_t)i;
		bloom_add(filter, &a);
	}
	for (unsigned i = 0; i < 0x3e8; i++) {
		store_be16(b.ip + 14, (uint16_t)i);
		bloom_add(filter, &b);
	}
	sha1(filter, sizeof(filter), hash);
	unhex("e4dabf3c822dcd0030ee21df8369bfef2594b52b", want, 20);
	assert_memory_equal(hash, want, 20);
	assert_true(fabs(bloom_count(filter) - 1224.9308) < 0.01);
}

static void test_token__is_bound(void **state)
{
	/* Goal: good for its address, id and target, ten minutes at most. */
	struct addr a = address("9.8.7.6"), other = address("9.8.7.5");
	struct token_secrets t;
	uint8_t id[20] = "id", target[20] = "target", token[TOKEN_BYTES];
	struct span s = { token, sizeof(token) };
	int64_t now = 1000;

	token_init(&t, SEED, now);
	token_make(&t, now, &a, id, target, token);
	assert_true(token_check(&t, now, &a, id, target, s));
	a.port++; /* NATs move ports */
	assert_true(token_check(&t, now, &a, id, target, s));
	assert_false(token_check(&t, now, &other, id, target, s));
	assert_false(token_check(&t, now, &a, target, target, s));
	assert_false(token_check(&t, now, &a, id, id, s));
	assert_true(
		token_check(&t, now + LIMIT_DHT_TOKEN_MS, &a, id, target, s));
	assert_false(token_check(&t, now + 2 * LIMIT_DHT_TOKEN_MS + 1, &a, id,
				 target, s));
	s.len--;
	assert_false(token_check(&t, now, &a, id, target, s));
}

static void test_peerstore__is_bounded(void **state)
{
	/* Goal: every limit is reached, and none passed. */
	struct peerstore *s = peerstore_new(SEED);
	struct addr a = address("11.0.0.1");
	struct infohash ih = { "an infohash" }, found[LIMIT_DHT_SAMPLES];
	uint8_t out[100 * 6];
	unsigned refused = 0, n;

	for (unsigned i = 0; i < LIMIT_DHT_SWARM_PEERS + 10; i++) {
		store_be16(a.ip + 1, (uint16_t)i);
		refused += peerstore_add(s, 1000, &ih, &a, i % 2) == -ENOSPC;
	}
	assert_int_equal(refused, 10);
	assert_true(peerstore_is_full(s, &ih));
	assert_int_equal(peerstore_get(s, 1000, &ih, 4, false, 77, out, 100),
			 100);
	assert_int_equal(peerstore_get(s, 1000, &ih, 6, false, 77, out, 30), 0);
	assert_int_equal(peerstore_get(s, 1000 + LIMIT_DHT_PEER_MS, &ih, 4,
				       false, 77, out, 100),
			 0);
	refused = 0;
	for (unsigned i = 0; i < 2 * LIMIT_DHT_HASHES_PER_NET; i++) {
		store_be32(ih.b, i + 1);
		refused += peerstore_add(s, 1000, &ih, &a, false) == -ENOSPC;
	}
	assert_int_equal(refused, LIMIT_DHT_HASHES_PER_NET);
	for (unsigned i = 0; i < 4 * LIMIT_DHT_HASHES; i++) {
		store_be32(ih.b, i + 1000000);
		store_be16(a.ip + 1, (uint16_t)(i / 100));
		(void)peerstore_add(s, 1000, &ih, &a, false);
	}
	assert_int_equal(peerstore_hashes(s), LIMIT_DHT_HASHES);
	n = peerstore_sample(s, 1000, found, LIMIT_DHT_SAMPLES);
	assert_int_equal(n, LIMIT_DHT_SAMPLES);
	for (unsigned i = 1; i < n; i++)
		assert_false(infohash_eq(&found[0], &found[i]));
	for (unsigned i = 0; i < 200; i++)
		peerstore_sweep(s, 1000 + LIMIT_DHT_PEER_MS);
	assert_int_equal(peerstore_hashes(s), 0);
	assert_int_equal(peerstore_peers(s), 0);
	peerstore_free(s);
}

static void test_itemstore__order_of_numbers(void **state)
{
	static const uint8_t one[] = "3:one", two[] = "3:two";
	struct itemstore *s = itemstore_new(SEED);
	struct addr a = address("11.0.0.1");
	struct item item = { .v = { one, 5 }, .is_mutable = true, .seq = 5 };
	struct itemstore_entry e;
	struct kad_id target = { "target" };
	int64_t cas = 4;

	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a), 0);
	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a), 0);
	item.v.ptr = two;
	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a), 302);
	item.seq = 4;
	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a), 302);
	item.seq = 6;
	assert_int_equal(itemstore_put(s, 0, &target, &item, &cas, &a), 301);
	cas = 5;
	assert_int_equal(itemstore_put(s, 0, &target, &item, &cas, &a), 0);
	assert_true(itemstore_get(s, 0, &target, &e));
	assert_memory_equal(e.v.ptr, two, 5);
	assert_false(itemstore_get(s, LIMIT_DHT_ITEM_MS, &target, &e));
	itemstore_free(s);
}

static void test_itemstore__is_bounded(void **state)
{
	static const uint8_t v[] = "3:one";
	struct itemstore *s = itemstore_new(SEED);
	struct addr a = address("11.0.0.1");
	struct item item = { .v = { v, 5 } };
	struct kad_id target = { "target" };
	unsigned refused = 0;

	for (unsigned i = 0; i < 2 * LIMIT_DHT_ITEMS_PER_NET; i++) {
		store_be32(target.b, i);
		refused += itemstore_put(s, 0, &target, &item, NULL, &a) != 0;
	}
	assert_int_equal(refused, LIMIT_DHT_ITEMS_PER_NET);
	for (unsigned i = 0; i < 2 * LIMIT_DHT_ITEMS; i++) {
		store_be32(target.b, i + 1000);
		store_be16(a.ip + 1, (uint16_t)(i / 10));
		(void)itemstore_put(s, 0, &target, &item, NULL, &a);
	}
	assert_int_equal(itemstore_count(s), LIMIT_DHT_ITEMS);
	itemstore_free(s);
}

static void test_budget__holds(void **state)
{
	struct addr a = address("11.0.0.1");
	struct budget b;
	unsigned ok = 0;
	size_t sent = 0;

	budget_init(&b, 0, 0, 0, SEED);
	for (unsigned ms = 0; ms < 10000; ms += 2)
		ok += budget_query(&b, 1000000 + ms, &a) == BUDGET_OK;
	assert_in_range(ok, LIMIT_DHT_ADDRESS_PER_S * 10,
			LIMIT_DHT_ADDRESS_PER_S * 10 + LIMIT_DHT_ADDRESS_BURST);
	budget_init(&b, 0, 0, 0, SEED);
	ok = 0;
	for (unsigned i = 0; i < 100000; i++) {
		store_be32(a.ip, 0x0b000000 + i * 256);
		ok += budget_query(&b, 1000000 + i / 10, &a) == BUDGET_OK;
	}
	assert_in_range(ok, LIMIT_DHT_QUERIES_PER_S * 10,
			LIMIT_DHT_QUERIES_PER_S * 10 + LIMIT_DHT_QUERIES_BURST);
	for (unsigned i = 0; i < 100000; i++)
		sent += budget_reply(&b, 1000000 + i / 10, 300) ? 300 : 0;
	assert_in_range(sent, LIMIT_DHT_UPLOAD_BPS * 10,
			LIMIT_DHT_UPLOAD_BPS *
				(10 + LIMIT_DHT_UPLOAD_BURST_MS / 1000 + 1));
}

static void test_msg__refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"d",
		"de",
		"d1:y1:qe",
		"le",
		"i1e",
		"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:y1:qe",
		"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t0:1:y1:qe",
		"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t21:aaaaaaaaaaaaaa"
		"aaaaaaa1:y1:qe",
		"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y2:qqe",
		"d1:rl2:ide1:t2:aa1:y1:re",
		"d1:allllllllee1:q4:ping1:t2:aa1:y1:qe",
		"d1:ai-0e1:q4:ping1:t2:aa1:y1:qe",
	};
	struct dht_msg m;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(dht_msg_parse((const uint8_t *)bad[i],
					   strlen(bad[i]), &m));
}

static void test_msg__every_prefix_is_refused(void **state)
{
	static const char good[] =
		"d1:ad2:id20:abcdefghij01234567899:info_hash20:"
		"mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";
	struct dht_msg m;

	for (size_t i = 0; i < sizeof(good) - 1; i++)
		assert_false(dht_msg_parse((const uint8_t *)good, i, &m));
	assert_true(dht_msg_parse((const uint8_t *)good, sizeof(good) - 1, &m));
	assert_int_equal(m.method, DHT_GET_PEERS);
	assert_memory_equal(m.info_hash.ptr, "mnopqrstuvwxyz123456", 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secure_id__vectors),
		cmocka_unit_test(test_item__vectors),
		cmocka_unit_test(test_item__signs),
		cmocka_unit_test(test_item__mutable_torrents),
		cmocka_unit_test(test_bloom__vector),
		cmocka_unit_test(test_token__is_bound),
		cmocka_unit_test(test_peerstore__is_bounded),
		cmocka_unit_test(test_itemstore__order_of_numbers),
		cmocka_unit_test(test_itemstore__is_bounded),
		cmocka_unit_test(test_budget__holds),
		cmocka_unit_test(test_msg__refuses),
		cmocka_unit_test(test_msg__every_prefix_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
