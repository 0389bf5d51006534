/* Goal: each query is answered as its BEP says, from the literal vectors of
 * BEP 5 on, and none makes us say more than we may. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/dht_private.h"
#include "dht/item.h"
#include "dht/bloom.h"
#include "dht/secure_id.h"
#include "engine/base/random.h"

#define ID_US "mnopqrstuvwxyz123456"

struct box {
	struct dht *d;
	int64_t now;
	struct prng prng;
	unsigned sent;
	struct addr to;
	uint8_t bytes[1500];
	size_t len;
	struct dht_msg m; /* the last one sent */
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct box *b = arg;

	b->sent++;
	b->to = *to;
	memcpy(b->bytes, bytes, len);
	b->len = len;
	assert_true(dht_msg_parse(b->bytes, len, &b->m));
}

static int64_t on_now(void *arg)
{
	return ((struct box *)arg)->now;
}

static void on_random(void *arg, void *out, size_t len)
{
	uint8_t *p = out;

	while (len--)
		*p++ = (uint8_t)prng_u64(&((struct box *)arg)->prng);
}

static struct kad_id id_of(const char *text)
{
	struct kad_id id;

	memcpy(id.b, text, sizeof(id.b));
	return id;
}

static void open_box(struct box *b, bool read_only)
{
	struct dht_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = b
	};
	struct kad_id id = id_of(ID_US);
	struct dht_options o = { .v4 = true,
				 .v6 = true,
				 .is_read_only = read_only,
				 .id4 = &id,
				 .id6 = &id };

	memset(b, 0, sizeof(*b));
	b->now = 1000000;
	b->prng.state = 5;
	b->d = dht_new(&io, &o);
}

static struct addr peer(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, 6881, &a), 0);
	return a;
}

/* True: there was an answer. */
static bool ask_bytes(struct box *b, const struct addr *from, const void *q,
		      size_t len)
{
	unsigned sent = b->sent;

	b->now += 200; /* stays within the budgets */
	b->len = 0;
	dht_on_packet(b->d, from, q, len);
	assert_true(b->sent <= sent + 1);
	if (b->sent > sent)
		assert_true(addr_eq(&b->to, from));
	return b->sent > sent;
}

static bool ask(struct box *b, const struct addr *from, const char *q)
{
	return ask_bytes(b, from, q, strlen(q));
}

static void must_be_error(struct box *b, const struct addr *from, const char *q,
			  int code)
{
	assert_true(ask(b, from, q));
	assert_int_equal(b->m.kind, DHT_ERROR);
	assert_int_equal(b->m.code, code);
}

/* N good nodes in the table of one family. */
static void fill(struct box *b, unsigned n, int family)
{
	for (unsigned i = 0; i < n; i++) {
		struct kad_contact c = { .addr = { .family = (uint8_t)family,
						   .port = 6881 } };

		c.addr.ip[0] = family == 4 ? 11 : 0x20;
		c.addr.ip[1] = family == 4 ? 0 : 0x01;
		store_be16(c.addr.ip + (family == 4 ? 1 : 4), (uint16_t)i);
		for (unsigned j = 0; j < KAD_ID_BYTES; j++)
			c.id.b[j] = (uint8_t)prng_u64(&b->prng);
		secure_id_make(&c.id, &c.addr, 1);
		(void)kad_table_on_answer(&b->d->family[family == 6].kad.table,
					  b->now, &c, 50);
	}
}

#define PING "d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"
#define FIND                                                                   \
	"d1:ad2:id20:abcdefghij01234567896:target20:" ID_US                    \
	"e1:q9:find_node1:t2:aa1:y1:qe"
#define GET_PEERS                                                              \
	"d1:ad2:id20:abcdefghij01234567899:info_hash20:" ID_US                 \
	"e1:q9:get_peers1:t2:aa1:y1:qe"

static void test_server__ping(void **state)
{
	static const char answer[] =
		"d2:ip6:\x09\x08\x07\x06\x1a\xe1"
		"1:rd2:id20:" ID_US "e1:t2:aa1:v4:" DHT_VERSION;
	struct addr from = peer("9.8.7.6");
	struct box b;

	open_box(&b, false);
	assert_true(ask(&b, &from, PING));
	assert_memory_equal(b.bytes, answer, sizeof(answer) - 1);
	assert_memory_equal(b.bytes + b.len - 7, "1:y1:re", 7);
	dht_free(b.d);
}

static void test_server__find_node(void **state)
{
	struct addr from = peer("9.8.7.6"), six = peer("[2001:470::1]:6881");
	struct box b;

	open_box(&b, false);
	fill(&b, 200, 4);
	fill(&b, 200, 6);
	assert_true(ask(&b, &from, FIND));
	assert_int_equal(b.m.nodes.len, DHT_K * 26 - 26); /* three times */
	assert_true(b.len <= 3 * strlen(FIND));
	assert_null(b.m.nodes6.ptr);
	assert_true(ask(&b, &six, FIND));
	assert_null(b.m.nodes.ptr);
	assert_int_not_equal(b.m.nodes6.len, 0);
	assert_true(ask(&b, &from,
			"d1:ad2:id20:abcdefghij01234567896:target20:" ID_US
			"4:wantl2:n42:n6ee1:q9:find_node1:t2:aa1:v4:abcd1:y1:"
			"qe"));
	assert_int_equal(b.m.nodes.len, DHT_K * 26);
	dht_free(b.d);
}

static void test_server__announce_and_get(void **state)
{
	/* Goal: the token of one answer is the key to the other; peers come
	 * with nodes, and the literal announce of BEP 5 is understood. */
	struct addr from = peer("9.8.7.6"), other = peer("9.8.5.5");
	char q[400];
	int len;
	struct box b;

	open_box(&b, false);
	fill(&b, 200, 4);
	must_be_error(&b, &from,
		      "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:"
		      "info_hash20:" ID_US
		      "4:porti6881e5:token8:aoeusnthe1:q13:"
		      "announce_peer1:t2:aa1:y1:qe",
		      203);
	assert_true(ask(&b, &from, GET_PEERS));
	assert_int_equal(b.m.token.len, TOKEN_BYTES);
	assert_null(b.m.values.ptr);
	assert_true(b.m.nodes.len >= 6 * 26);
	len = snprintf(q, sizeof(q),
		       "d1:ad2:id20:abcdefghij01234567899:"
		       "info_hash20:" ID_US "4:porti11893e5:"
		       "token8:");
	memcpy(q + len, b.m.token.ptr, 8);
	memcpy(q + len + 8, "e1:q13:announce_peer1:t2:aa1:y1:qe", 34);
	assert_true(ask_bytes(&b, &from, q, (size_t)len + 8 + 34));
	assert_int_equal(b.m.kind, DHT_ANSWER);
	/* Replayed from elsewhere it is worth nothing. */
	assert_true(ask_bytes(&b, &other, q, (size_t)len + 8 + 34));
	assert_int_equal(b.m.code, 203);
	/* A full table leaves room for the peer. */
	assert_true(ask(&b, &other, GET_PEERS));
	assert_int_equal(bnode_count(b.m.values), 1);
	assert_true(b.len <= 3 * strlen(GET_PEERS));
	assert_int_not_equal(b.m.nodes.len, 0);
	dht_free(b.d);
}

/* {a: {id, ARGS}, q, t, v, y}: ARGS after "id" in the order of bytes; PAD makes
 * the question long enough for a long answer. */
static size_t query(uint8_t *out, size_t size, const char *method,
		    const void *args, size_t args_len, size_t pad)
{
	static const uint8_t padding[900];
	struct wcursor c = wcursor_of(out, size);

	dht_put_raw(&c, "d1:ad", 5);
	dht_key_str(&c, "id", "abcdefghij0123456789", 20);
	dht_put_raw(&c, args, args_len);
	if (pad)
		dht_key_str(&c, "zpad", padding, pad);
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "q", method, strlen(method));
	dht_key_str(&c, "t", "aa", 2);
	dht_key_str(&c, "y", "q", 1);
	dht_put_raw(&c, "e", 1);
	assert_false(c.is_bad);
	return wcursor_len(&c);
}

static void test_server__values_with_nodes(void **state)
{
	/* Goal: with room, 100 peers at most, and still nodes and a token. */
	struct addr from = peer("9.8.7.6");
	struct infohash ih;
	uint8_t q[1200];
	struct box b;
	size_t len;

	open_box(&b, false);
	fill(&b, 200, 4);
	memcpy(ih.b, ID_US, 20);
	for (unsigned i = 0; i < 300; i++) {
		struct addr p = peer("12.0.0.1");

		store_be16(p.ip + 1, (uint16_t)i);
		assert_int_equal(
			peerstore_add(b.d->peers, b.now, &ih, &p, i < 200), 0);
	}
	len = query(q, sizeof(q), "get_peers", "9:info_hash20:" ID_US, 34, 400);
	assert_true(ask_bytes(&b, &from, q, len));
	assert_int_equal(b.m.nodes.len, DHT_K * 26);
	assert_int_equal(b.m.token.len, TOKEN_BYTES);
	assert_in_range(bnode_count(b.m.values), 60, 100);
	assert_true(b.len <= 1024);
	/* BEP 33: filters, and counts that can be read off them. */
	len = query(q, sizeof(q), "get_peers",
		    "9:info_hash20:" ID_US "6:scrapei1e", 45, 400);
	assert_true(ask_bytes(&b, &from, q, len));
	assert_in_range((int)bloom_count(b.m.bf_seeds.ptr), 180, 220);
	assert_in_range((int)bloom_count(b.m.bf_peers.ptr), 85, 115);
	dht_free(b.d);
}

static void test_server__errors(void **state)
{
	struct addr from = peer("9.8.7.6");
	struct box b;

	open_box(&b, false);
	fill(&b, 20, 4);
	must_be_error(&b, &from,
		      "d1:ad2:id20:abcdefghij0123456789e1:q3:foo1:t2:aa1:y1:qe",
		      204);
	must_be_error(&b, &from, "d1:ad2:id4:abcde1:q4:ping1:t2:aa1:y1:qe",
		      203);
	must_be_error(&b, &from,
		      "d1:ad2:id20:abcdefghij0123456789e1:q9:get_peers1:t2:aa"
		      "1:y1:qe",
		      203);
	must_be_error(&b, &from,
		      "d1:ad2:id20:abcdefghij01234567896:target3:abce1:q9:"
		      "find_node1:t2:aa1:y1:qe",
		      203);
	/* Unknown, but with a target: nodes. */
	assert_true(ask(&b, &from,
			"d1:ad2:id20:abcdefghij01234567896:target20:" ID_US
			"e1:q7:kt_find1:t2:aa1:y1:qe"));
	assert_int_not_equal(b.m.nodes.len, 0);
	/* Silence. */
	assert_false(ask(&b, &from, "d1:y1:qe"));
	assert_false(ask(&b, &from, "dxxxxxxxxxxxxxxxxxxxxxxxxx"));
	assert_false(ask(&b, &from,
			 "d1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re"));
	assert_false(ask(&b, &from,
			 "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:"
			 "ee"));
	/* Ourselves. */
	assert_false(ask(&b, &from,
			 "d1:ad2:id20:" ID_US "e1:q4:ping1:t2:aa1:y1:qe"));
	from.port = 0;
	assert_false(ask(&b, &from, PING));
	dht_free(b.d);
}

static void test_server__who_becomes_a_candidate(void **state)
{
	/* Goal: nobody is in the table for having asked; who is read-only is
	 * never asked back. */
	struct addr from = peer("9.8.7.6"), other = peer("9.8.5.5");
	struct box b;

	open_box(&b, false);
	assert_true(ask(&b, &other,
			"d1:ad2:id20:abcdefghij0123456788e1:q4:ping2:roi1e1:t"
			"2:aa1:y1:qe"));
	assert_int_equal(b.d->family[0].kad.table.num_candidates, 0);
	assert_true(ask(&b, &from, PING));
	assert_int_equal(b.d->family[0].kad.table.num_candidates, 1);
	assert_int_equal(b.d->family[0].kad.table.num_nodes, 0);
	dht_free(b.d);
	open_box(&b, true);
	assert_false(ask(&b, &from, PING)); /* BEP 43 */
	dht_free(b.d);
}

static void test_server__sample(void **state)
{
	struct addr from = peer("9.8.7.6"), p = peer("12.0.0.1");
	struct infohash ih = { "x" };
	uint8_t q[1200];
	struct box b;
	size_t len;

	open_box(&b, false);
	fill(&b, 20, 4);
	len = query(q, sizeof(q), "sample_infohashes", "6:target20:" ID_US, 31,
		    400);
	assert_true(ask_bytes(&b, &from, q, len));
	assert_non_null(b.m.samples.ptr);
	assert_int_equal(b.m.samples.len, 0);
	assert_int_equal(b.m.num, 0);
	assert_in_range(b.m.interval, 0, 21600);
	for (unsigned i = 0; i < 100; i++) {
		ih.b[0] = (uint8_t)i;
		(void)peerstore_add(b.d->peers, b.now, &ih, &p, false);
	}
	assert_true(ask_bytes(&b, &from, q, len));
	assert_int_equal(b.m.samples.len, 20 * LIMIT_DHT_SAMPLES);
	assert_int_equal(b.m.num, 100);
	assert_int_not_equal(b.m.nodes.len, 0);
	dht_free(b.d);
}

/* Asks for a token for TARGET, then puts ARGS with it in place of "#". */
static bool put(struct box *b, const struct addr *from,
		const struct kad_id *target, const struct item *item,
		const int64_t *cas)
{
	uint8_t q[1600], args[1400], token[TOKEN_BYTES];
	struct wcursor c = wcursor_of(args, sizeof(args));

	dht_key_str(&c, "target", target->b, 20);
	assert_true(ask_bytes(
		b, from, q,
		query(q, sizeof(q), "get", args, wcursor_len(&c), 0)));
	assert_int_equal(b->m.token.len, TOKEN_BYTES);
	memcpy(token, b->m.token.ptr, TOKEN_BYTES);
	c = wcursor_of(args, sizeof(args));
	if (item->is_mutable)
		dht_key_str(&c, "k", item->pk, 32);
	if (item->salt.len)
		dht_key_str(&c, "salt", item->salt.ptr, item->salt.len);
	if (item->is_mutable) {
		dht_put_key(&c, "seq");
		dht_put_int(&c, item->seq);
		dht_key_str(&c, "sig", item->sig, 64);
	}
	dht_key_str(&c, "token", token, sizeof(token));
	dht_put_key(&c, "v");
	dht_put_raw(&c, item->v.ptr, item->v.len);
	if (cas) {
		dht_put_key(&c, "cas"); /* out of order: it is allowed */
		dht_put_int(&c, *cas);
	}
	assert_true(ask_bytes(
		b, from, q,
		query(q, sizeof(q), "put", args, wcursor_len(&c), 0)));
	return b->m.kind == DHT_ANSWER;
}

static void test_server__items(void **state)
{
	static const uint8_t seed[32] = "a key", one[] = "3:one";
	struct addr from = peer("9.8.7.6");
	struct item item = { .v = { one, 5 }, .is_mutable = true, .seq = 3 };
	int64_t cas = 2;
	uint8_t q[1600], args[100], salt[70] = { 0 };
	struct wcursor c = wcursor_of(args, sizeof(args));
	struct kad_id target;
	struct box b;

	open_box(&b, false);
	fill(&b, 200, 4);
	assert_true(item_sign(&item, seed));
	item_target(&item, target.b);
	assert_true(put(&b, &from, &target, &item, NULL));
	dht_key_str(&c, "target", target.b, 20);
	assert_true(ask_bytes(
		&b, &from, q,
		query(q, sizeof(q), "get", args, wcursor_len(&c), 200)));
	assert_int_equal(b.m.v.len, 5);
	assert_memory_equal(b.m.sig.ptr, item.sig, 64);
	assert_memory_equal(b.m.k.ptr, item.pk, 32);
	assert_int_equal(b.m.seq, 3);
	assert_int_not_equal(b.m.nodes.len, 0);
	assert_false(put(&b, &from, &target, &item, &cas));
	assert_int_equal(b.m.code, 301);
	item.seq = 2;
	assert_true(item_sign(&item, seed));
	assert_false(put(&b, &from, &target, &item, NULL));
	assert_int_equal(b.m.code, 302);
	item.seq = 9;
	assert_false(put(&b, &from, &target, &item, NULL));
	assert_int_equal(b.m.code, 206);
	item.salt = (struct span){ salt, 65 };
	assert_false(put(&b, &from, &target, &item, NULL));
	assert_int_equal(b.m.code, 207);
	dht_free(b.d);
}

static void test_server__value_too_big(void **state)
{
	struct addr from = peer("9.8.7.6");
	uint8_t v[1005] = "1000:";
	struct item item = { .v = { v, sizeof(v) } };
	struct kad_id target;
	struct box b;

	open_box(&b, false);
	item_target(&item, target.b);
	assert_false(put(&b, &from, &target, &item, NULL));
	assert_int_equal(b.m.code, 205);
	memcpy(v, "996:", 4);
	item.v.len = 1000;
	item_target(&item, target.b);
	assert_true(put(&b, &from, &target, &item, NULL));
	dht_free(b.d);
}

static void test_server__three_times_at_most(void **state)
{
	/* Goal: whatever is asked without a token, the answer is no more than
	 * three times as long. */
	static const char *const methods[] = {
		"ping", "find_node",         "get_peers",
		"get",  "sample_infohashes", "foo"
	};
	struct addr from = peer("9.8.7.6"), p = peer("12.0.0.1");
	struct infohash ih;
	double worst = 0;
	struct box b;

	open_box(&b, false);
	fill(&b, 300, 4);
	fill(&b, 300, 6);
	memcpy(ih.b, ID_US, 20);
	for (unsigned i = 0; i < 400; i++) {
		p.port = (uint16_t)(i + 1);
		(void)peerstore_add(b.d->peers, b.now, &ih, &p, false);
	}
	for (unsigned i = 0; i < ARRAY_LEN(methods); i++) {
		for (size_t pad = 0; pad < 300; pad += 7) {
			static const char args[] =
				"9:info_hash20:" ID_US
				"6:scrapei1e6:target20:" ID_US
				"4:wantl2:n42:n6e";
			uint8_t q[900];
			size_t len = query(q, sizeof(q), methods[i], args,
					   sizeof(args) - 1, pad);

			b.now += 1000;
			assert_true(ask_bytes(&b, &from, q, len));
			assert_true(b.len <= 3 * len);
			assert_true(b.len <= 1024);
			if ((double)b.len / (double)len > worst)
				worst = (double)b.len / (double)len;
		}
	}
	print_message("# largest answer: %.2f times the question\n", worst);
	dht_free(b.d);
}

static void test_server__our_address_by_vote(void **state)
{
	/* Goal: five subnets agree, then the id is one that fits. */
	struct kad_id first;
	struct box b;
	struct dht_stats s;

	open_box(&b, false);
	b.d->family[0].is_id_given = false;
	first = *dht_id(b.d, 4);
	for (unsigned i = 0; i < 5; i++) {
		struct addr from = peer("9.8.7.6");
		uint8_t q[300];
		struct wcursor c = wcursor_of(q, sizeof(q));

		assert_true(kad_id_eq(&first, dht_id(b.d, 4)));
		from.ip[1] = (uint8_t)i;
		dht_bootstrap(b.d, &from, 1);
		dht_put_raw(&c, "d2:ip6:\x7c\x1f\x4b\x15\x1a\xe1", 13);
		dht_put_raw(&c, "1:rd2:id20:abcdefghij012345678", 30);
		dht_put_raw(&c, &"01234"[i], 1);
		dht_put_raw(&c, "e", 1);
		dht_key_str(&c, "t", b.m.tid.ptr, b.m.tid.len);
		dht_put_raw(&c, "1:y1:re", 7);
		dht_on_packet(b.d, &from, q, wcursor_len(&c));
	}
	dht_stats(b.d, &s);
	assert_false(kad_id_eq(&first, dht_id(b.d, 4)));
	assert_true(s.is_id_verified[0]);
	dht_free(b.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server__ping),
		cmocka_unit_test(test_server__find_node),
		cmocka_unit_test(test_server__announce_and_get),
		cmocka_unit_test(test_server__values_with_nodes),
		cmocka_unit_test(test_server__errors),
		cmocka_unit_test(test_server__who_becomes_a_candidate),
		cmocka_unit_test(test_server__sample),
		cmocka_unit_test(test_server__items),
		cmocka_unit_test(test_server__value_too_big),
		cmocka_unit_test(test_server__three_times_at_most),
		cmocka_unit_test(test_server__our_address_by_vote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
