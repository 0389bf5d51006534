/* Goal: what the BEPs print is what we compute: ids (42), items (44, 46),
 * filters (33), messages (5); and tokens and stores keep their limits. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dht/bloom.h"
#include "dht/budget.h"
#include "dht/dht_msg.h"
#include "dht/item.h"
#include "dht/itemstore.h"
#include "dht/peerstore.h"
#include "dht/secure_id.h"
#include "dht/token.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

static const uint8_t SEED[16] = "a seed for tests";

static void unhex(const char *hex, uint8_t *out, size_t len)
{
	assert_true(hex_decode(hex, 2 * len, out, len));
}

static struct span text(const char *s)
{
	return (struct span){ (const uint8_t *)s, strlen(s) };
}

static struct addr at(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(s, 6881, &a), 0);
	return a;
}

/* ---- BEP 42 ---- */

static void test_secure_id__is_that_of_the_bep(void **state)
{
	static const struct {
		const char *ip;
		uint8_t random;
		uint8_t first[3]; /* of which 21 bits count */
	} cases[] = {
		{ "124.31.75.21", 1, { 0x5f, 0xbf, 0xbf } },
		{ "21.75.31.124", 86, { 0x5a, 0x3c, 0xe9 } },
		{ "65.23.51.170", 22, { 0xa5, 0xd4, 0x32 } },
		{ "84.124.73.14", 65, { 0x1b, 0x03, 0x21 } },
		{ "43.213.53.83", 90, { 0xe5, 0x6f, 0x6c } },
		/* Derived from the BEP's text, IPv6. */
		{ "2001:db8::1", 1, { 0x71, 0x89, 0xac } },
		{ "2001:4860:4860::8888", 7, { 0xd0, 0x2a, 0x3e } },
		{ "2a03:b0c0:1:d0::bea:8001", 90, { 0x58, 0xbf, 0x7f } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct addr ip = at(cases[i].ip);
		struct kad_id id = { { 0 } };

		secure_id_make(&id, &ip, cases[i].random);
		assert_int_equal(id.b[0], cases[i].first[0]);
		assert_int_equal(id.b[1], cases[i].first[1]);
		assert_int_equal(id.b[2] & 0xf8, cases[i].first[2] & 0xf8);
		assert_int_equal(id.b[19], cases[i].random);
		assert_true(secure_id_check(&id, &ip));
		for (unsigned bit = 0; bit < 21; bit++) {
			struct kad_id wrong = id;

			wrong.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			assert_false(secure_id_check(&wrong, &ip));
		}
		id.b[5] ^= 1; /* what lies between is free */
		assert_true(secure_id_check(&id, &ip));
	}
}

/* ---- BEP 44, 46 ---- */

#define BEP44_KEY                                                              \
	"77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"

static void check_mutable(const char *salt, const char *sig, const char *target)
{
	struct item item = {
		.v = text("12:Hello World!"),
		.is_mutable = true,
		.seq = 1,
		.salt = text(salt),
	};
	uint8_t got[20], want[20];

	unhex(BEP44_KEY, item.pk, sizeof(item.pk));
	unhex(sig, item.sig, sizeof(item.sig));
	unhex(target, want, sizeof(want));
	item_target(&item, got);
	assert_memory_equal(got, want, sizeof(want));
	assert_true(item_verify(&item));
	item.seq = 2;
	assert_false(item_verify(&item));
	item.seq = 1;
	item.v = text("12:Hello world!");
	assert_false(item_verify(&item));
}

static void test_item__signatures_of_the_bep(void **state)
{
	check_mutable("",
		      "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091"
		      "e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce"
		      "53a1608ecd7ae21f01",
		      "4a533d47ec9c7d95b1ad75f576cffc641853b750");
	check_mutable("foobar",
		      "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded5"
		      "53d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b"
		      "5f18f14951a87d9a08",
		      "411eba73b6f087ca51a3795d9c8c938d365e32c1");
}

static void test_item__immutable_target(void **state)
{
	struct item item = { .v = text("12:Hello World!") };
	uint8_t got[20], want[20];

	unhex("e5f96f6f38320f0f33959cb4d3d656452117aadb", want, 20);
	item_target(&item, got);
	assert_memory_equal(got, want, 20);
	assert_true(item_verify(&item));
}

static void test_item__signs_as_others_do(void **state)
{
	uint8_t v[29] = "d2:ih20:", seed[32], want[64], key[32], target[20];
	uint8_t got[20];
	struct item item = { .is_mutable = true,
			     .seq = 7,
			     .salt = text("tracker"),
			     .v = { v, sizeof(v) } };

	memset(v + 8, 0xaa, 20);
	v[28] = 'e';
	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)i;
	assert_true(item_sign(&item, seed));
	unhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
	      key, sizeof(key));
	assert_memory_equal(item.pk, key, sizeof(key));
	unhex("82ba2e02129af116b8da122f64587b6ebd00f98a2ea1208cba594b23e05fd655"
	      "8bb54985914f57d4b83b18e36270600531e2087faff57e1cb2109f53f956f40e",
	      want, sizeof(want));
	assert_memory_equal(item.sig, want, sizeof(want));
	unhex("b9a37549f3f1466f377627b8a087330ad0a58409", target, 20);
	item_target(&item, got);
	assert_memory_equal(got, target, 20);
}

static void test_item__mutable_torrent_targets(void **state)
{
	struct item item = { .is_mutable = true };
	uint8_t got[20], want[20], salt = 'n';

	unhex("8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e",
	      item.pk, 32);
	unhex("cc3f9d90b572172053626f9980ce261a850d050b", want, 20);
	item_target(&item, got);
	assert_memory_equal(got, want, 20);
	item.salt = (struct span){ &salt, 1 };
	unhex("59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f", want, 20);
	item_target(&item, got);
	assert_memory_equal(got, want, 20);
}

static void test_item__sizes_have_their_codes(void **state)
{
	char big[1002] = "998:";
	struct item item = { .v = { (uint8_t *)big, 1000 } };

	assert_int_equal(item_check_sizes(&item), 0);
	item.v.len = 1001;
	assert_int_equal(item_check_sizes(&item), DHT_TOO_BIG);
	item.v.len = 5;
	item.is_mutable = true;
	item.salt = (struct span){ (uint8_t *)big, 64 };
	assert_int_equal(item_check_sizes(&item), 0);
	item.salt.len = 65;
	assert_int_equal(item_check_sizes(&item), DHT_SALT_TOO_BIG);
}

/* ---- BEP 33 ---- */

static void test_bloom__is_that_of_the_bep(void **state)
{
	uint8_t filter[BLOOM_BYTES] = { 0 }, hash[SHA1_LEN], want[SHA1_LEN];
	struct addr a = at("192.0.2.0"), b = at("2001:db8::");

	for (unsigned i = 0; i < 256; i++) {
		a.ip[3] = (uint8_t)i;
		bloom_add(filter, &a);
	}
	for (unsigned i = 0; i < 0x3e8; i++) {
		b.ip[14] = (uint8_t)(i >> 8);
		b.ip[15] = (uint8_t)i;
		bloom_add(filter, &b);
	}
	sha1(filter, sizeof(filter), hash);
	unhex("e4dabf3c822dcd0030ee21df8369bfef2594b52b", want, SHA1_LEN);
	assert_memory_equal(hash, want, SHA1_LEN);
	assert_true(fabs(bloom_count(filter) - 1224.9309) < 0.001);
}

/* ---- BEP 5: messages ---- */

static bool parse(const char *s, struct dht_msg *m)
{
	return dht_msg_parse((const uint8_t *)s, strlen(s), m);
}

static void test_msg__reads_the_examples(void **state)
{
	struct dht_msg m;
	struct bwalk w;
	struct bnode n;
	struct span s, key;

	assert_true(parse("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:"
			  "y1:qe",
			  &m));
	assert_int_equal(m.kind, DHT_QUERY);
	assert_int_equal(m.method, DHT_PING);
	assert_memory_equal(m.id.ptr, "abcdefghij0123456789", 20);
	assert_int_equal(m.tid.len, 2);
	assert_true(parse("d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstu"
			  "vwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
			  &m));
	assert_int_equal(m.method, DHT_FIND_NODE);
	assert_memory_equal(m.target.ptr, "mnopqrstuvwxyz123456", 20);
	assert_true(parse("d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:v"
			  "aluesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
			  &m));
	assert_int_equal(m.kind, DHT_ANSWER);
	assert_int_equal(m.token.len, 8);
	w = bwalk_of(m.values);
	assert_true(bwalk_next(&w, &key, &n) && bnode_str(n, &s));
	assert_memory_equal(s.ptr, "axje.u", 6);
	assert_true(parse("d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:"
			  "info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8"
			  ":aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
			  &m));
	assert_int_equal(m.method, DHT_ANNOUNCE_PEER);
	assert_int_equal(m.implied_port, 1);
	assert_int_equal(m.port, 6881);
	assert_true(parse("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
			  &m));
	assert_int_equal(m.kind, DHT_ERROR);
	assert_int_equal(m.code, 201);
}

static void test_msg__is_silent_about_the_rest(void **state)
{
	static const char *const bad[] = {
		"",
		"d",
		"de",
		"le",
		"i1e",
		"d1:t2:aae",       /* no y */
		"d1:t2:aa1:y1:xe", /* another y */
		"d1:y1:qe",        /* no t */
		"d1:t2:aa1:y1:q",  /* not closed */
		"d1:t0:1:q4:ping1:y1:qe",
		"d1:ad2:id20:abcdefghij01234567891:xllllllllleeeeeeeeee1:q4:"
		"ping1:t2:aa1:y1:qe", /* nested too deep */
	};
	static const char good[] = "d1:ad2:id20:abcdefghij0123456789e1:q4:ping"
				   "1:t2:aa1:y1:qe";
	struct dht_msg m;
	char *copy;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(parse(bad[i], &m));
	for (size_t len = 0; len < sizeof(good) - 1; len++) {
		/* On the heap, so that reading past the end is found. */
		copy = mem_alloc(len + 1);
		memcpy(copy, good, len);
		assert_false(dht_msg_parse((uint8_t *)copy, len, &m));
		free(copy);
	}
}

static void test_msg__an_id_of_another_length_is_odd(void **state)
{
	struct dht_msg m;

	assert_true(parse("d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1"
			  ":qe",
			  &m));
	assert_true(m.is_odd);
	assert_null(m.id.ptr);
}

/* ---- tokens ---- */

static void test_token__good_for_one_for_a_while(void **state)
{
	struct token_secrets t;
	struct addr a = at("1.2.3.4"), b = at("1.2.3.5");
	uint8_t id[20] = "abcdefghij012345678", id2[20] = "b";
	uint8_t target[20] = "t", bytes[TOKEN_BYTES];
	struct span token = { bytes, sizeof(bytes) };

	token_init(&t, SEED, 0);
	token_make(&t, 0, &a, id, target, bytes);
	assert_true(token_check(&t, 1, &a, id, target, token));
	assert_false(token_check(&t, 1, &b, id, target, token));
	assert_false(token_check(&t, 1, &a, id2, target, token));
	assert_false(token_check(&t, 1, &a, id, id2, token));
	token.len--;
	assert_false(token_check(&t, 1, &a, id, target, token));
	token.len++;
	assert_true(token_check(&t, LIMIT_DHT_TOKEN_MS, &a, id, target, token));
	assert_false(token_check(&t, 2 * LIMIT_DHT_TOKEN_MS + 1, &a, id, target,
				 token));
}

/* ---- stores ---- */

static struct infohash hash_of(unsigned n)
{
	struct infohash ih;

	sha1(&n, sizeof(n), ih.b);
	return ih;
}

static struct addr stranger(unsigned n)
{
	return (struct addr){ .family = 4,
			      .ip = { (uint8_t)(16 + (n >> 16)),
				      (uint8_t)(n >> 8), (uint8_t)n, 9 },
			      .port = 6881 };
}

static void test_peers__keep_their_caps(void **state)
{
	struct peerstore *s = peerstore_new(SEED);
	struct infohash ih = hash_of(1);
	uint8_t out[6 * 100];
	struct addr a;

	for (unsigned i = 0; i < 2 * LIMIT_DHT_SWARM_PEERS; i++) {
		a = stranger(i);
		(void)peerstore_add(s, 1000, &ih, &a, i % 2);
	}
	assert_int_equal(peerstore_peers(s), LIMIT_DHT_SWARM_PEERS);
	assert_true(peerstore_is_full(s, &ih));
	assert_int_equal(peerstore_get(s, 1000, &ih, 4, false, 7, out, 100),
			 100);
	assert_int_equal(peerstore_get(s, 1000, &ih, 6, false, 7, out, 30), 0);
	/* One subnet cannot fill it with torrents. */
	for (unsigned i = 0; i < 1000; i++) {
		ih = hash_of(100 + i);
		a = stranger(5);
		(void)peerstore_add(s, 1000, &ih, &a, false);
	}
	assert_true(peerstore_hashes(s) <= 1 + LIMIT_DHT_HASHES_PER_NET);
	/* Many subnets fill it, and no further. */
	for (unsigned i = 0; i < 2 * LIMIT_DHT_HASHES; i++) {
		ih = hash_of(10000 + i);
		a = stranger(i);
		(void)peerstore_add(s, 1000, &ih, &a, false);
	}
	assert_true(peerstore_hashes(s) <= LIMIT_DHT_HASHES);
	ih = hash_of(1);
	assert_int_equal(peerstore_get(s, 1000 + LIMIT_DHT_PEER_MS + 1, &ih, 4,
				       false, 7, out, 100),
			 0);
	peerstore_free(s);
}

static void test_items__keep_their_caps_and_order(void **state)
{
	struct itemstore *s = itemstore_new(SEED);
	struct addr a = stranger(1);
	struct item item = { .v = text("1:a"), .is_mutable = true, .seq = 5 };
	struct itemstore_entry e;
	struct kad_id target = { "t" };
	int64_t cas = 4;

	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a), 0);
	item.seq = 4;
	assert_int_equal(itemstore_put(s, 0, &target, &item, NULL, &a),
			 DHT_SEQ_TOO_OLD);
	item.seq = 6;
	assert_int_equal(itemstore_put(s, 0, &target, &item, &cas, &a),
			 DHT_CAS_MISMATCH);
	cas = 5;
	assert_int_equal(itemstore_put(s, 0, &target, &item, &cas, &a), 0);
	assert_true(itemstore_get(s, 1, &target, &e));
	assert_int_equal(e.seq, 6);
	assert_false(itemstore_get(s, LIMIT_DHT_ITEM_MS + 1, &target, &e));
	for (unsigned i = 0; i < 3 * LIMIT_DHT_ITEMS; i++) {
		struct item other = { .v = text("1:b") };

		a = stranger(i);
		sha1(&i, sizeof(i), target.b);
		(void)itemstore_put(s, 1, &target, &other, NULL, &a);
	}
	assert_true(itemstore_count(s) <= LIMIT_DHT_ITEMS);
	itemstore_free(s);
}

static void test_budget__bounds_one_and_all(void **state)
{
	struct budget b;
	struct addr a = stranger(1);
	unsigned one = 0, all = 0;
	size_t bytes = 0;

	budget_init(&b, 0, 0, 0, SEED);
	for (unsigned i = 0; i < 1000; i++)
		one += budget_query(&b, 0, &a) == BUDGET_OK;
	assert_true(one >= LIMIT_DHT_ADDRESS_BURST - 1 &&
		    one <= LIMIT_DHT_ADDRESS_BURST + 1);
	for (unsigned i = 0; i < 5000; i++) {
		a = stranger(100 + i);
		all += budget_query(&b, 0, &a) == BUDGET_OK;
	}
	assert_true(all <= LIMIT_DHT_QUERIES_BURST + 1);
	for (unsigned i = 0; i < 10000; i++)
		bytes += budget_reply(&b, (int64_t)i, 300) ? 300 : 0;
	/* Ten seconds and a burst. */
	assert_true(bytes <= 10 * LIMIT_DHT_UPLOAD_BPS +
				     LIMIT_DHT_UPLOAD_BPS *
					     LIMIT_DHT_UPLOAD_BURST_MS / 1000 +
				     300);
	assert_true(bytes >= 9 * LIMIT_DHT_UPLOAD_BPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secure_id__is_that_of_the_bep),
		cmocka_unit_test(test_item__signatures_of_the_bep),
		cmocka_unit_test(test_item__immutable_target),
		cmocka_unit_test(test_item__signs_as_others_do),
		cmocka_unit_test(test_item__mutable_torrent_targets),
		cmocka_unit_test(test_item__sizes_have_their_codes),
		cmocka_unit_test(test_bloom__is_that_of_the_bep),
		cmocka_unit_test(test_msg__reads_the_examples),
		cmocka_unit_test(test_msg__is_silent_about_the_rest),
		cmocka_unit_test(test_msg__an_id_of_another_length_is_odd),
		cmocka_unit_test(test_token__good_for_one_for_a_while),
		cmocka_unit_test(test_peers__keep_their_caps),
		cmocka_unit_test(test_items__keep_their_caps_and_order),
		cmocka_unit_test(test_budget__bounds_one_and_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
