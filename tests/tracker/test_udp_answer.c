/* Goal: the published packets get the published answers, an id is good for its
 * address and its time alone, and what no client would send gets no peers. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/hex.h"
#include "engine/base/loop.h"
#include "tracker/overlay/names.h"
#include "tracker/server/udp_answer.h"

#define T0        600000000ll
#define WINDOW_MS 120000
#define CONNECT   "00000417271019800000000012345678"
#define HASH      "6d6e6f707172737475767778797a313233343536"
#define TAIL                                                                   \
	"2d5346303030312d6162636465666768696a6b6c000000000000000000000000"     \
	"000003e800000000000000000000000200000000cafebabeffffffff1ae1"

struct lab {
	struct tracker_policy policy;
	struct udp_core core;
	struct udp_counts counts;
	struct udp_asker asker;
	struct addr me;
	uint8_t in[2048], out[UDP_ANSWER_BYTES];
	size_t len, out_len;
};

static void lab_start(struct lab *l)
{
	struct swarms_options o = { .is_replicated = true };

	memset(l, 0, sizeof(*l));
	l->policy.swarms = swarms_new(&o, T0);
	l->policy.interval_s = 1800;
	l->policy.num_want = 50;
	l->policy.max_want = 200;
	l->core.policy = &l->policy;
	l->core.key[0] = 7;
	l->asker.core = &l->core;
	l->asker.counts = &l->counts;
	l->asker.now_ms = T0;
	addr_parse("203.0.113.9:4000", 0, &l->me);
}

static void lab_stop(struct lab *l)
{
	swarms_free(l->policy.swarms);
}

static void put_hex(struct lab *l, const char *hex)
{
	l->len = strlen(hex) / 2;
	assert_true(hex_decode(hex, strlen(hex), l->in, l->len));
}

static size_t send_in(struct lab *l)
{
	/* In a block of its own size, so that sanitizers see a read too far. */
	uint8_t *exact = test_malloc(l->len ? l->len : 1);

	memcpy(exact, l->in, l->len);
	l->out_len = udp_answer(&l->asker, &l->me, exact, l->len, l->out);
	test_free(exact);
	assert_true(l->out_len <= UDP_ANSWER_BYTES);
	return l->out_len;
}

static void put_announce(struct lab *l, const char *options)
{
	char hex[2048];

	snprintf(hex, sizeof(hex),
		 "0123456789abcdef0000000112345678" HASH TAIL "%s", options);
	put_hex(l, hex);
	store_be64(l->in, udp_connection_id(&l->core, l->asker.now_ms, &l->me));
}

static size_t announce(struct lab *l)
{
	put_announce(l, "");
	return send_in(l);
}

static void list(struct lab *l, const char *who, bool is_seed)
{
	struct swarms_announce a = { .is_seed = is_seed };
	struct swarms_answer got;

	assert_true(hex_decode(HASH, 40, a.infohash.b, 20));
	assert_int_equal(addr_parse(who, 0, &a.peer), 0);
	swarms_announce(l->policy.swarms, &a, 0, &got);
}

static void expect_error(const struct lab *l, const char *why)
{
	assert_int_equal(load_be32(l->out), 3);
	assert_int_equal(load_be32(l->out + 4), 0x12345678);
	assert_int_equal(l->out_len, 8 + strlen(why));
	assert_memory_equal(l->out + 8, why, strlen(why));
}

static void connect_vector(void **state)
{
	struct lab l;
	uint8_t want[16];

	(void)state;
	lab_start(&l);
	put_hex(&l, CONNECT);
	assert_int_equal(send_in(&l), 16);
	assert_true(hex_decode("0000000012345678", 16, want, 8));
	store_be64(want + 8, udp_connection_id(&l.core, T0, &l.me));
	assert_memory_equal(l.out, want, 16);
	/* More bytes than a connect has, as newer clients may send. */
	l.len += 9;
	assert_int_equal(send_in(&l), 16);
	lab_stop(&l);
}

static void announce_vector(void **state)
{
	struct lab l;
	uint8_t peers[12];
	uint32_t interval;

	(void)state;
	lab_start(&l);
	list(&l, "192.0.2.1:6881", true);
	list(&l, "198.51.100.7:51413", true);
	assert_int_equal(announce(&l), 32);
	assert_int_equal(load_be32(l.out), 1);
	assert_int_equal(load_be32(l.out + 4), 0x12345678);
	interval = load_be32(l.out + 8);
	assert_in_range(interval, 1620, 1980);
	assert_int_equal(load_be32(l.out + 12), 1);
	assert_int_equal(load_be32(l.out + 16), 2);
	assert_true(hex_decode("c00002011ae1c6336407c8d5", 24, peers, 12));
	if (memcmp(l.out + 20, peers, 6) != 0) { /* either order */
		assert_memory_equal(l.out + 20, peers + 6, 6);
		assert_memory_equal(l.out + 26, peers, 6);
	} else {
		assert_memory_equal(l.out + 20, peers, 12);
	}
	/* The interval does vary. */
	for (int i = 0; i < 50; i++) {
		announce(&l);
		if (load_be32(l.out + 8) != interval)
			break;
		assert_true(i < 49);
	}
	lab_stop(&l);
}

static void announce_vector_v6(void **state)
{
	struct lab l;
	uint8_t peer[18];

	(void)state;
	lab_start(&l);
	addr_parse("[2001:db9::9]:4000", 0, &l.me);
	list(&l, "[2001:db8::1]:6881", false);
	list(&l, "192.0.2.1:6881", false); /* does not fit in here */
	assert_int_equal(announce(&l), 38);
	assert_int_equal(load_be32(l.out + 12), 3);
	assert_true(hex_decode("20010db80000000000000000000000011ae1", 36, peer,
			       18));
	assert_memory_equal(l.out + 20, peer, 18);
	/* A mapped source is one of IPv4, with six bytes a peer. */
	addr_parse("[::ffff:203.0.113.9]:4000", 0, &l.me);
	assert_int_equal(announce(&l), 26);
	lab_stop(&l);
}

static void scrape_vector(void **state)
{
	struct lab l;
	uint8_t want[20];
	struct infohash h;

	(void)state;
	lab_start(&l);
	for (int i = 0; i < 8; i++) {
		char who[32];

		snprintf(who, sizeof(who), "192.0.2.%d:6881", i + 1);
		list(&l, who, i < 5);
	}
	assert_true(hex_decode(HASH, 40, h.b, 20));
	swarms_raise_completed(l.policy.swarms, &h, 77);
	put_hex(&l, "0123456789abcdef0000000212345678" HASH);
	store_be64(l.in, udp_connection_id(&l.core, T0, &l.me));
	assert_int_equal(send_in(&l), 20);
	assert_true(hex_decode("0000000212345678000000050000004d00000003", 40,
			       want, 20));
	assert_memory_equal(l.out, want, 20);
	/* The 75th is left out; part of one, too. */
	for (unsigned n = 1; n <= 80; n++) {
		memset(l.in + 16, 0, sizeof(l.in) - 16);
		l.len = 16 + 20 * n + n % 20;
		assert_int_equal(send_in(&l), 8 + 12 * (n < 74 ? n : 74));
	}
	l.len = 16 + 19;
	assert_int_equal(send_in(&l), 0);
	lab_stop(&l);
}

static void ids_have_a_time(void **state)
{
	struct lab l;
	uint64_t id;

	(void)state;
	lab_start(&l);
	announce(&l);
	id = load_be64(l.in);
	l.asker.now_ms = T0 + WINDOW_MS;
	assert_true(udp_connection_id(&l.core, l.asker.now_ms, &l.me) != id);
	assert_true(send_in(&l) >= 20);
	assert_int_equal(load_be32(l.out), 1);
	l.asker.now_ms = T0 + 2 * WINDOW_MS;
	send_in(&l);
	expect_error(&l, "bad connection id");
	l.asker.now_ms = T0 - 2 * WINDOW_MS;
	send_in(&l);
	expect_error(&l, "bad connection id");
	lab_stop(&l);
}

static void ids_have_an_address(void **state)
{
	struct lab l;

	(void)state;
	lab_start(&l);
	put_announce(&l, "");
	l.me.port++; /* a NAT may do that */
	send_in(&l);
	assert_int_equal(load_be32(l.out), 1);
	l.me.ip[3]++;
	send_in(&l);
	expect_error(&l, "bad connection id");
	assert_int_equal(l.counts.bad_connection_id, 1);
	lab_stop(&l);
}

static void first_bytes_are_ours(void **state)
{
	struct lab l;
	struct addr a;

	(void)state;
	lab_start(&l);
	addr_parse("10.0.0.0:1", 0, &a);
	for (uint32_t i = 0; i < 100000; i++) {
		uint8_t first;

		store_be32(a.ip, i);
		first = (uint8_t)(udp_connection_id(&l.core, T0, &a) >> 56);
		assert_true(first && first != 'd' && first != 'K');
	}
	lab_stop(&l);
}

static void nonsense_gets_silence(void **state)
{
	struct lab l;

	(void)state;
	lab_start(&l);
	put_hex(&l, CONNECT);
	for (l.len = 0; l.len < 16; l.len++)
		assert_int_equal(send_in(&l), 0);
	l.in[7] ^= 1; /* magic */
	assert_int_equal(send_in(&l), 0);
	for (uint32_t action = 0; action < 300; action++) {
		put_announce(&l, "");
		store_be32(l.in + 8, action ? action + 2 : UINT32_MAX);
		assert_int_equal(send_in(&l), 0);
	}
	put_announce(&l, "");
	for (l.len = 0; l.len < 98; l.len++)
		assert_int_equal(send_in(&l), 0);
	l.me.port = 0;
	l.len = 98;
	assert_int_equal(send_in(&l), 0);
	assert_int_equal(l.counts.announces, 0);
	assert_true(l.counts.malformed > 400);
	lab_stop(&l);
}

static void wrong_ids_get_no_peers(void **state)
{
	struct lab l;

	(void)state;
	lab_start(&l);
	list(&l, "192.0.2.1:6881", true);
	put_announce(&l, "");
	for (unsigned bit = 0; bit < 64; bit++) {
		l.in[bit / 8] ^= (uint8_t)(1 << bit % 8);
		send_in(&l);
		expect_error(&l, "bad connection id");
		l.in[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	/* The magic number is no id. */
	store_be64(l.in, 0x41727101980);
	send_in(&l);
	expect_error(&l, "bad connection id");
	lab_stop(&l);
}

static size_t announce_wanting(struct lab *l, uint32_t num_want)
{
	put_announce(l, "");
	store_be32(l->in + 92, num_want);
	send_in(l);
	assert_int_equal(load_be32(l->out), 1);
	return l->out_len - 20;
}

static void how_many_are_wanted(void **state)
{
	struct lab l;

	(void)state;
	lab_start(&l);
	for (int i = 0; i < 300; i++) {
		char who[48];

		snprintf(who, sizeof(who), "192.0.%d.%d:6881", i / 200,
			 i % 200 + 1);
		list(&l, who, false);
		snprintf(who, sizeof(who), "[2001:db9::%x]:6881", i + 10);
		list(&l, who, false);
	}
	assert_int_equal(announce_wanting(&l, UINT32_MAX), 6 * 50);
	assert_int_equal(announce_wanting(&l, 0x80000000u), 6 * 50);
	assert_int_equal(announce_wanting(&l, 0), 0);
	assert_int_equal(announce_wanting(&l, 1), 6);
	assert_int_equal(announce_wanting(&l, 7), 6 * 7);
	assert_int_equal(announce_wanting(&l, 0x7fffffff), 6 * 200);
	l.policy.max_want = 100000;
	assert_int_equal(announce_wanting(&l, 0x7fffffff), 6 * 202);
	addr_parse("[2001:db9::9]:4000", 0, &l.me);
	assert_int_equal(announce_wanting(&l, 0x7fffffff), 18 * 67);
	lab_stop(&l);
}

static void leaving_and_odd_fields(void **state)
{
	struct lab l;

	(void)state;
	lab_start(&l);
	list(&l, "192.0.2.1:6881", true);
	put_announce(&l, "");
	store_be32(l.in + 84, 0x01020304); /* an address that does not count */
	assert_int_equal(send_in(&l), 26);
	l.me.ip[3]++;
	put_announce(&l, "");
	assert_int_equal(send_in(&l), 32);
	/* It was listed as seen: both addresses of this test are told. */
	assert_memory_equal(l.out + 20, "\xcb\x00\x71\x09\x1a\xe1", 6);
	store_be32(l.in + 80, 77); /* no event that we know */
	assert_int_equal(send_in(&l), 32);
	store_be32(l.in + 80, 3);
	assert_int_equal(send_in(&l), 20);
	assert_int_equal(load_be32(l.out + 12), 1);
	put_announce(&l, "");
	store_be16(l.in + 96, 0);
	send_in(&l);
	expect_error(&l, "port 0 is no port");
	l.policy.is_leaving = true;
	announce(&l);
	expect_error(&l, "going down, retry in a minute");
	lab_stop(&l);
}

/* Who is limited now, and has been told already. */
static void expect_told_each_second(struct lab *l)
{
	unsigned told = 0, listed = 0;

	for (int i = 1; i <= 3000; i++) {
		l->asker.now_ms++;
		for (int k = 0; k < 2; k++) {
			if (!announce(l))
				continue;
			told += load_be32(l->out) == 3;
			listed += load_be32(l->out) == 1;
		}
	}
	assert_int_equal(told, 3);
	assert_in_range(listed, 29, 31);
}

static void scrapes_obey_the_list(void **state)
{
	static const uint8_t nothing[12];
	struct infohash h;
	struct lab l;
	char why[100];

	(void)state;
	lab_start(&l);
	list(&l, "192.0.2.1:6881", true);
	l.policy.access = access_new(ACCESS_ALLOW, NULL, why, sizeof(why));
	put_hex(&l, "0123456789abcdef0000000212345678" HASH HASH);
	store_be64(l.in, udp_connection_id(&l.core, T0, &l.me));
	l.in[16] ^= 1; /* another torrent, and then the one with a peer */
	assert_int_equal(send_in(&l), 8 + 24);
	assert_int_equal(load_be32(l.out), 2);
	assert_memory_equal(l.out + 8, nothing, 12);
	assert_memory_equal(l.out + 20, nothing, 12);
	assert_true(hex_decode(HASH, 40, h.b, 20));
	access_add(l.policy.access, &h);
	assert_int_equal(send_in(&l), 8 + 24);
	assert_memory_equal(l.out + 8, nothing, 12);
	assert_int_equal(load_be32(l.out + 20), 1);
	access_free(l.policy.access);
	l.policy.access = NULL;
	lab_stop(&l);
}

static void denied_and_limited(void **state)
{
	struct lab l;
	char why[100];

	(void)state;
	lab_start(&l);
	l.policy.access = access_new(ACCESS_ALLOW, NULL, why, sizeof(why));
	announce(&l);
	expect_error(&l, "this torrent is not tracked here");
	assert_int_equal(l.counts.denied, 1);
	access_free(l.policy.access);
	l.policy.access = NULL;

	l.policy.limit = subnet_limit_new(10, 5);
	addr_parse("8.8.8.8:4000", 0, &l.me);
	for (int i = 0; i < 5; i++)
		assert_true(announce(&l));
	l.me.ip[3] = 9; /* the same subnet */
	announce(&l);
	expect_error(&l, "too many requests from your network");
	assert_int_equal(l.counts.rate_limited, 1);
	assert_int_equal(announce(&l), 0); /* told once a second */
	l.me.ip[3] = 8;
	assert_int_equal(announce(&l), 0);
	assert_int_equal(l.counts.rate_limited, 3);
	l.me.ip[2] = 9;
	assert_true(announce(&l));
	addr_parse("10.0.0.1:4000", 0, &l.me);
	for (int i = 0; i < 50; i++)
		assert_true(announce(&l));
	l.policy.limits_private = true;
	for (int i = 0; i < 50; i++)
		assert_true(!announce(&l) == (i > 5));
	expect_told_each_second(&l);
	subnet_limit_free(l.policy.limit);
	lab_stop(&l);
}

static void limits_over_time(void **state)
{
	struct subnet_limit *s = subnet_limit_new(100, 20);
	struct addr a;
	unsigned n = 0;

	(void)state;
	assert_null(subnet_limit_new(0, 5));
	addr_parse("[2001:db9::1]:1", 0, &a);
	for (int64_t ms = T0; ms < T0 + 10000; ms++)
		n += subnet_limit_take(s, ms, &a);
	assert_in_range(n, 1000, 1021);
	/* A flood of subnets does not give one of them more. */
	for (uint32_t i = 0; i < 300000; i++) {
		struct addr other = { .family = 4, .port = 1 };

		store_be32(other.ip, i << 8);
		subnet_limit_take(s, T0 + 10000, &other);
	}
	n = 0;
	for (int i = 0; i < 100; i++)
		n += subnet_limit_take(s, T0 + 10000, &a);
	assert_true(n <= 20);
	subnet_limit_free(s);
}

/* --- BEP 41 --- */

static void expect_key(const char *hex, const char *key)
{
	uint8_t options[600];
	char got[64];
	size_t len = strlen(hex) / 2, n;

	assert_true(hex_decode(hex, strlen(hex), options, len));
	n = udp_announce_key(options, len, got, sizeof(got));
	assert_int_equal(n, strlen(key));
	assert_memory_equal(got, key, n);
}

static void url_data(void **state)
{
	struct lab l;
	char text[600] = "02ff";

	(void)state;
	/* None of these changes what is answered. */
	lab_start(&l);
	for (unsigned i = 0; i < 6; i++) {
		static const char *const tails[] = {
			"020c2f6469723f613d6226633d64",
			"010100",
			"0200",
			"0202612f02016203",
			"05036162630202",
			"ff"
		};

		put_announce(&l, tails[i]);
		assert_int_equal(send_in(&l), 20);
	}
	lab_stop(&l);
	expect_key("020c2f6469723f613d6226633d64", "");
	expect_key("", "");
	expect_key("02", "");
	expect_key("0200", "");
	/* "/foo/announce" */
	expect_key("020d2f666f6f2f616e6e6f756e6365", "foo");
	/* ... in two blocks, with nothing between and something unknown */
	expect_key("02032f666f01010703abcdef020a6f2f616e6e6f756e6365", "foo");
	/* ... behind the end of options */
	expect_key("00020d2f666f6f2f616e6e6f756e6365", "");
	/* ... longer than the packet */
	expect_key("020e2f666f6f2f616e6e6f756e6365", "");
	/* "/announce?a=b&kt=f%6Fo", "?kt=foo", "/announce?kt=", "?kt=%6" */
	expect_key("02162f616e6e6f756e63653f613d62266b743d662536466f", "foo");
	expect_key("02073f6b743d666f6f", "foo");
	expect_key("020d2f616e6e6f756e63653f6b743d", "");
	expect_key("02063f6b743d2536", "");
	/* "/announce", "//announce", "/a/b/announce" */
	expect_key("02092f616e6e6f756e6365", "");
	expect_key("020a2f2f616e6e6f756e6365", "");
	expect_key("020d2f612f622f616e6e6f756e6365", "");
	/* A key longer than there is room for, and more URL than is read. */
	for (int i = 0; i < 255; i++)
		snprintf(text + 4 + 2 * i, 3, "%s",
			 i == 0   ? "3f"
			 : i == 1 ? "6b"
			 : i == 2 ? "74"
			 : i == 3 ? "3d"
				  : "61");
	expect_key(text, "");
}

struct heard {
	struct telling t;
	size_t n;
};

static void on_tellings(void *arg, const struct telling *t, size_t n)
{
	struct heard *h = arg;

	h->t = t[n - 1];
	h->n += n;
}

static void owners_are_told(void **state)
{
	struct loop *loop = loop_new();
	struct heard heard = { .n = 0 };
	struct kad_id foo;
	struct lab l;

	(void)state;
	lab_start(&l);
	l.policy.tellq = tellq_new(loop, on_tellings, &heard);
	l.policy.domain = "bt.example.org";
	put_announce(&l, "020d2f666f6f2f616e6e6f756e6365");
	assert_int_equal(send_in(&l), 20);
	assert_int_equal(send_in(&l), 20); /* nothing new */
	loop_run_once(loop, 0);
	assert_int_equal(heard.n, 1);
	assert_true(heard.t.is_change);
	assert_true(heard.t.has_key);
	kt_key_id("foo", 3, &foo);
	assert_memory_equal(heard.t.key, foo.b, 20);
	assert_memory_equal(heard.t.record.infohash.b, "mnopqrstuvwxyz123456",
			    20);
	assert_int_equal(heard.t.record.peer.port, 6881);
	assert_int_equal(heard.t.record.state, SWARM_LEECHER);
	assert_false(heard.t.record.is_completion);
	put_announce(&l, "");
	store_be64(l.in + 64, 0); /* nothing left */
	store_be32(l.in + 80, 1);
	send_in(&l);
	loop_run_once(loop, 0);
	assert_int_equal(heard.n, 2);
	assert_false(heard.t.has_key);
	assert_true(heard.t.record.is_completion);
	assert_int_equal(heard.t.record.state, SWARM_SEEDER_COMPLETED);
	tellq_free(l.policy.tellq);
	lab_stop(&l);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect_vector),
		cmocka_unit_test(announce_vector),
		cmocka_unit_test(announce_vector_v6),
		cmocka_unit_test(scrape_vector),
		cmocka_unit_test(ids_have_a_time),
		cmocka_unit_test(ids_have_an_address),
		cmocka_unit_test(first_bytes_are_ours),
		cmocka_unit_test(nonsense_gets_silence),
		cmocka_unit_test(wrong_ids_get_no_peers),
		cmocka_unit_test(how_many_are_wanted),
		cmocka_unit_test(leaving_and_odd_fields),
		cmocka_unit_test(scrapes_obey_the_list),
		cmocka_unit_test(denied_and_limited),
		cmocka_unit_test(limits_over_time),
		cmocka_unit_test(url_data),
		cmocka_unit_test(owners_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
