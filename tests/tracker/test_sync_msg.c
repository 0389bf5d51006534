/* Goal: packets and records of replication are what sync_msg.h says; whatever
 * is cut, too long, or means nothing is refused. And the side table of places,
 * the keys and the MAC. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "engine/base/mem.h"
#include "tracker/overlay/places.h"
#include "tracker/overlay/sync_msg.h"

static const uint8_t SEED[SYNC_KEY_BYTES] = "a seed of thirty-two bytes, not";

static size_t make(unsigned which, uint8_t *out)
{
	const struct sync_acks acks = { 7, 0x8000000000000001u };
	const struct kad_id to = { { 1, 2, 3 } };
	uint8_t key[SYNC_KEY_BYTES];
	size_t n;

	memset(key, 0x11, sizeof(key));
	switch (which) {
	case 0:
		return sync_put_hello(out, key, &to, key, key);
	case 1:
		return sync_put_cookie(out, key, key);
	case 2:
		return sync_put_accept(out, key, key, key);
	case 3:
		return sync_put_please(out);
	case 4:
		return sync_put_unknown(out, 0x0102030405060708u);
	case 5:
		n = sync_put_data(out, 9, 5, &acks, 1234, SEED, sizeof(SEED));
		break;
	default:
		n = sync_put_ack(out, 9, &acks);
		break;
	}
	memset(out + n, 0xaa, SYNC_MAC_BYTES);
	return n + SYNC_MAC_BYTES;
}

static void test_packets__round_trip(void **state)
{
	uint8_t out[SYNC_PACKET_BYTES];
	struct sync_packet_view v;

	assert_int_equal(make(0, out), SYNC_HELLO_BYTES);
	assert_true(sync_packet_parse(out, SYNC_HELLO_BYTES, &v));
	assert_int_equal(v.kind, SYNC_HELLO);
	assert_int_equal(v.to[1], 2);
	assert_ptr_equal(v.sig, out + SYNC_HELLO_BYTES - SYNC_SIG_BYTES);
	assert_true(sync_packet_parse(out, make(4, out), &v));
	assert_true(v.session == 0x0102030405060708u);
	assert_true(sync_packet_parse(out, make(5, out), &v));
	assert_true(v.session == 9 && v.seq == 5 && v.late_ms == 1250);
	assert_true(v.acks.cum == 7 && v.acks.bits == 0x8000000000000001u);
	assert_int_equal(v.payload.len, sizeof(SEED));
	assert_memory_equal(v.payload.ptr, SEED, sizeof(SEED));
	assert_int_equal(v.signed_part.len, SYNC_HEAD_BYTES + sizeof(SEED));
	assert_int_equal(v.mac[0], 0xaa);
	assert_true(sync_packet_parse(out, make(6, out), &v));
	assert_int_equal(v.kind, SYNC_ACK);
}

static void test_packets__answers_are_no_longer_than_questions(void **state)
{
	uint8_t out[SYNC_PACKET_BYTES];

	assert_true(make(1, out) < make(0, out));
	assert_true(make(2, out) < make(0, out));
	assert_true(make(4, out) < make(6, out));
}

static void test_packets__refuses_what_is_cut_or_padded(void **state)
{
	uint8_t out[SYNC_PACKET_BYTES + 1] = { 0 };
	struct sync_packet_view v;

	for (unsigned which = 0; which < 7; which++) {
		size_t n = make(which, out);

		for (size_t len = 0; len < n; len++) {
			/* Data may be of any length down to none. */
			if (which == 5 &&
			    len >= SYNC_HEAD_BYTES + SYNC_MAC_BYTES)
				break;
			assert_false(sync_packet_parse(out, len, &v));
		}
		if (which != 5)
			assert_false(sync_packet_parse(out, n + 1, &v));
	}
	(void)make(5, out);
	assert_false(sync_packet_parse(out, SYNC_PACKET_BYTES + 1, &v));
	(void)make(0, out);
	out[2] = 2; /* another version */
	assert_false(sync_packet_parse(out, SYNC_HELLO_BYTES, &v));
	out[1] = 'z';
	assert_false(sync_packet_parse(out, SYNC_HELLO_BYTES, &v));
	out[0] = 'd';
	assert_false(sync_packet_parse(out, SYNC_HELLO_BYTES, &v));
}

static void test_frames__end_with_the_payload(void **state)
{
	static const uint8_t good[] = { 1, 0, 0, 99, 0, 2, 5, 6 };
	static const uint8_t bad[] = { 1, 0, 0, 2, 0, 9, 5, 6 };
	struct cursor c = cursor_of(good, sizeof(good));
	struct sync_frame f;

	assert_true(sync_frame_next(&c, &f));
	assert_true(f.kind == SYNC_F_PING && !f.body.len);
	assert_true(sync_frame_next(&c, &f));
	assert_true(f.kind == 99 && f.body.len == 2 && f.body.ptr[1] == 6);
	assert_false(sync_frame_next(&c, &f));
	assert_false(c.is_bad);
	c = cursor_of(bad, sizeof(bad));
	assert_true(sync_frame_next(&c, &f));
	assert_false(sync_frame_next(&c, &f));
	assert_true(c.is_bad);
}

static struct swarm_record record(const char *addr)
{
	struct swarm_record r = { .state = SWARM_SEEDER_COMPLETED,
				  .is_completion = true,
				  .age_min = 17 };

	memset(r.infohash.b, 0x42, sizeof(r.infohash.b));
	assert_int_equal(addr_parse(addr, 0, &r.peer), 0);
	return r;
}

static void test_records__round_trip(void **state)
{
	const char *addrs[] = { "1.2.3.4:5", "[2a00::1]:65535" };
	uint8_t out[SYNC_RECORD6_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		struct swarm_record r = record(addrs[i]);
		struct sync_record got;

		assert_int_equal(sync_put_record(out, &r, true),
				 i ? SYNC_RECORD6_BYTES : SYNC_RECORD4_BYTES);
		assert_true(sync_get_record(out, i ? 6 : 4, &got));
		assert_true(got.is_forwarded && got.r.is_completion);
		assert_int_equal(got.r.state, SWARM_SEEDER_COMPLETED);
		assert_int_equal(got.r.age_min, 17);
		assert_true(addr_eq(&got.r.peer, &r.peer));
		assert_true(infohash_eq(&got.r.infohash, &r.infohash));
	}
}

static void test_records__refuses_where_nobody_is(void **state)
{
	const char *addrs[] = { "1.2.3.4:0",      "0.0.0.0:80",
				"224.0.0.1:80",   "255.255.255.255:80",
				"192.0.2.1:6881", "[::]:80",
				"[ff02::1]:80",   "[2001:db8::1]:80",
				"[2a00::1]:0",    "240.0.0.1:80" };
	uint8_t out[SYNC_RECORD6_BYTES];
	struct sync_record got;
	struct swarm_record r;

	for (unsigned i = 0; i < ARRAY_LEN(addrs); i++) {
		r = record(addrs[i]);
		(void)sync_put_record(out, &r, false);
		assert_false(sync_get_record(out, r.peer.family, &got));
	}
	r = record("1.2.3.4:5");
	(void)sync_put_record(out, &r, false);
	out[26] |= 0x10; /* a bit that means nothing */
	assert_false(sync_get_record(out, 4, &got));
	/* ::ffff:1.2.3.4 is 1.2.3.4, and that is told as such. */
	memset(out + 20, 0, 10);
	memset(out + 30, 0xff, 2);
	memcpy(out + 32, "\1\2\3\4\0\5\0\0", 8);
	assert_false(sync_get_record(out, 6, &got));
}

static void test_buckets__refuses_what_does_not_fit(void **state)
{
	uint8_t body[SYNC_PAYLOAD_BYTES] = { 0 };
	struct sync_buckets b;

	body[28] = 4;
	assert_true(
		sync_get_buckets((struct span){ body, 31 + 64 }, false, &b));
	assert_int_equal(b.rest.len, 64);
	assert_false(
		sync_get_buckets((struct span){ body, 31 + 68 }, false, &b));
	assert_false(
		sync_get_buckets((struct span){ body, 31 + 3 }, false, &b));
	assert_false(sync_get_buckets((struct span){ body, 31 }, false, &b));
	assert_false(sync_get_buckets((struct span){ body, 20 }, false, &b));
	assert_true(sync_get_buckets((struct span){ body, 31 + 32 }, true, &b));
	assert_false(
		sync_get_buckets((struct span){ body, 31 + 33 }, true, &b));
	body[30] = 16; /* past the end */
	assert_false(
		sync_get_buckets((struct span){ body, 31 + 4 }, false, &b));
	body[28] = LIMIT_SYNC_BUCKETS_LOG2 + 1;
	body[30] = 0;
	assert_false(
		sync_get_buckets((struct span){ body, 31 + 4 }, false, &b));
}

/* --- keys --- */

static void test_keys__sign_share_and_seal(void **state)
{
	struct sync_signer *s = sync_signer_new(SEED);
	uint8_t sig[SYNC_SIG_BYTES], a[32], b[32], pa[32], pb[32], x[32], y[32];
	uint8_t mac[SYNC_MAC_BYTES];
	struct sync_mac *m;

	sync_sign(s, (const uint8_t *)"hello", 5, sig);
	assert_true(sync_verify(sync_signer_pk(s), (const uint8_t *)"hello", 5,
				sig));
	assert_false(sync_verify(sync_signer_pk(s), (const uint8_t *)"hellp", 5,
				 sig));
	sig[3] ^= 1;
	assert_false(sync_verify(sync_signer_pk(s), (const uint8_t *)"hello", 5,
				 sig));
	sync_signer_free(s);
	memset(a, 1, sizeof(a));
	memset(b, 2, sizeof(b));
	sync_dh_public(a, pa);
	sync_dh_public(b, pb);
	assert_true(sync_dh(a, pb, x) && sync_dh(b, pa, y));
	assert_memory_equal(x, y, sizeof(x));
	memset(pb, 0, sizeof(pb)); /* the point that everybody knows */
	assert_false(sync_dh(a, pb, x));
	m = sync_mac_new(a);
	sync_mac_of(m, SEED, sizeof(SEED), mac);
	assert_true(sync_mac_is(m, SEED, sizeof(SEED), mac));
	assert_false(sync_mac_is(m, SEED, sizeof(SEED) - 1, mac));
	mac[15] ^= 0x80;
	assert_false(sync_mac_is(m, SEED, sizeof(SEED), mac));
	sync_mac_free(m);
}

static void test_mac__is_hmac_sha256(void **state)
{
	/* RFC 4231, case 1, has a key of 20 bytes; padded with zeros it is the
	 * same key. */
	static const uint8_t want[] = { 0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb,
					0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce,
					0xaf, 0x0b, 0xf1, 0x2b };
	uint8_t key[SYNC_KEY_BYTES] = { 0 }, mac[SYNC_MAC_BYTES];
	struct sync_mac *m;

	memset(key, 0x0b, 20);
	m = sync_mac_new(key);
	sync_mac_of(m, (const uint8_t *)"Hi There", 8, mac);
	assert_memory_equal(mac, want, sizeof(want));
	sync_mac_free(m);
}

/* --- places --- */

static struct infohash hash(unsigned i)
{
	struct infohash ih = { { 0 } };

	store_be32(ih.b, i);
	return ih;
}

static void test_places__first_key_stays_for_a_life(void **state)
{
	struct places *p = places_new(SEED, 1000);
	struct kad_id a = { { 1 } }, b = { { 2 } };
	struct infohash ih = hash(1);

	assert_null(places_find(p, &ih));
	assert_true(places_learn(p, &ih, &a, 0));
	assert_true(places_learn(p, &ih, &a, 500));
	assert_false(places_learn(p, &ih, &b, 600));
	assert_true(kad_id_eq(&places_find(p, &ih)->key, &a));
	places_expire(p, 1600);
	assert_non_null(places_find(p, &ih));
	places_expire(p, 1601);
	assert_null(places_find(p, &ih));
	places_free(p);
}

static void test_places__is_bounded(void **state)
{
	struct places *p = places_new(SEED, 1000);
	struct kad_id a = { { 1 } };
	struct infohash first = hash(0), second = hash(1);

	for (unsigned i = 0; i < LIMIT_SYNC_PLACES; i++) {
		struct infohash ih = hash(i);

		(void)places_learn(p, &ih, &a, 0);
	}
	(void)places_get(p, &first, 1);
	for (unsigned i = 0; i < 10; i++) {
		struct infohash ih = hash(LIMIT_SYNC_PLACES + i);

		(void)places_learn(p, &ih, &a, 2);
	}
	assert_int_equal(places_num(p), LIMIT_SYNC_PLACES);
	assert_non_null(places_find(p, &first));
	assert_null(places_find(p, &second));
	places_free(p);
}

static void test_places__subscribers_are_bounded(void **state)
{
	struct places *p = places_new(SEED, 1000);
	struct infohash ih = hash(1);
	struct place *at;

	for (unsigned i = 0; i < 3 * LIMIT_SYNC_SUBSCRIBERS; i++)
		places_subscribe(p, &ih, i % (2 * LIMIT_SYNC_SUBSCRIBERS), i);
	at = places_find(p, &ih);
	assert_int_equal(at->num_subscribers, LIMIT_SYNC_SUBSCRIBERS);
	for (unsigned i = 0; i < at->num_subscribers; i++)
		assert_true(at->subscribers[i].until_ms >
			    1000 + LIMIT_SYNC_SUBSCRIBERS);
	places_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets__round_trip),
		cmocka_unit_test(
			test_packets__answers_are_no_longer_than_questions),
		cmocka_unit_test(test_packets__refuses_what_is_cut_or_padded),
		cmocka_unit_test(test_frames__end_with_the_payload),
		cmocka_unit_test(test_records__round_trip),
		cmocka_unit_test(test_records__refuses_where_nobody_is),
		cmocka_unit_test(test_buckets__refuses_what_does_not_fit),
		cmocka_unit_test(test_keys__sign_share_and_seal),
		cmocka_unit_test(test_mac__is_hmac_sha256),
		cmocka_unit_test(test_places__first_key_stays_for_a_life),
		cmocka_unit_test(test_places__is_bounded),
		cmocka_unit_test(test_places__subscribers_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
