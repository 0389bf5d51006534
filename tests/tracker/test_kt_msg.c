/* Goal: messages of the overlay are byte for byte what they should be, bad ones
 * are refused, and ids, proofs and certificates hold what their rules say. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_id.h"
#include "tracker/overlay/kt_msg.h"

#define DOMAIN "bt.example.org" /* its realm: 3a1d828bc3a9a45b */

static struct span of(const char *s)
{
	return (struct span){ (const uint8_t *)s, strlen(s) };
}

static void assert_bytes(const uint8_t *bytes, size_t len, const char *hex)
{
	char got[2 * KT_PACKET_BYTES + 1];

	assert_string_equal(hex_encode(bytes, len, got), hex);
}

static const uint8_t FOO[] = { 0x0b, 0xee, 0xc7, 0xb5, 0xea, 0x3f, 0x0f,
			       0xdb, 0xc9, 0x5d, 0x0d, 0xd4, 0x7f, 0x3c,
			       0x5b, 0xc2, 0x75, 0xda, 0x8a, 0x33 };

static void test_find__byte_for_byte(void **state)
{
	/* Goal: the question and its answer with one node, 112 and 158 bytes,
	 * computed by another program. */
	uint8_t realm[KT_REALM_BYTES], out[KT_PACKET_BYTES], node[38];
	struct addr ip = { .family = 4, .ip = { 16, 0, 9, 9 }, .port = 6969 };
	struct addr at = { .family = 4, .ip = { 16, 0, 7, 9 }, .port = 6969 };
	struct kt_tracker tr = { .http_port = 6969, .udp_port = 6969 };
	struct kt_query q = { .realm = realm,
			      .tid = of("aa"),
			      .method = KT_FIND,
			      .id = of("abcdefghij0123456789"),
			      .target = { FOO, sizeof(FOO) } };
	struct kt_answer a = { .realm = realm,
			       .tid = of("aa"),
			       .id = of("mnopqrstuvwxyz123456"),
			       .token = of("aoeusnth"),
			       .nodes = { node, 26 },
			       .has_nodes = { true, false },
			       .ip = &ip,
			       .tr = &tr };
	struct kt_msg m;
	size_t n;

	kt_realm(DOMAIN, realm);
	n = kt_msg_write_query(out, sizeof(out), &q);
	assert_int_equal(n, 112);
	assert_bytes(out, n,
		     "64313a6164323a696432303a6162636465666768696a303132333435"
		     "36373839363a74617267657432303a0beec7b5ea3f0fdbc95d0dd47f"
		     "3c5bc275da8a3365313a6e383a3a1d828bc3a9a45b313a71373a6b74"
		     "5f66696e64313a74323a6161313a76343a57460001313a79313a716"
		     "5");
	assert_true(kt_msg_is_of(out, n, realm));
	assert_true(kt_msg_parse(out, n, &m));
	assert_int_equal(m.kind, DHT_QUERY);
	assert_int_equal(m.method, KT_FIND);
	assert_memory_equal(m.target.ptr, FOO, 20);
	assert_memory_equal(m.realm.ptr, realm, 8);
	memset(node, 'B', 20);
	(void)addr_to_compact(&at, node + 20);
	n = kt_msg_write_answer(out, sizeof(out), &a);
	assert_int_equal(n, 158);
	assert_bytes(out, n,
		     "64323a6970363a100009091b39313a6e383a3a1d828bc3a9a45b313a"
		     "7264323a696432303a6d6e6f707172737475767778797a3132333435"
		     "36353a6e6f64657332363a4242424242424242424242424242424242"
		     "424242100007091b39353a746f6b656e383a616f6575736e7468323a"
		     "747264313a68693639363965313a756936393639656565313a74323a"
		     "6161313a76343a57460001313a79313a7265");
	assert_true(kt_msg_parse(out, n, &m));
	assert_int_equal(m.kind, DHT_ANSWER);
	assert_true(m.has_tr);
	assert_int_equal(m.tr.http_port, 6969);
	assert_int_equal(m.tr.https_port, 0);
	assert_int_equal(m.nodes.len, 26);
	assert_int_equal(m.ip.len, 6);
}

static void test_query__all_keys_and_padding(void **state)
{
	uint8_t realm[KT_REALM_BYTES], out[KT_PACKET_BYTES];
	struct kt_query q = { .realm = realm,
			      .tid = of("abcd"),
			      .method = KT_OWN,
			      .is_read_only = true,
			      .id = of("abcdefghij0123456789"),
			      .target = { FOO, sizeof(FOO) },
			      .token = of("aoeusnth"),
			      .challenge = of("01234567"),
			      .endpoint = of("123456"),
			      .want = { true, true },
			      .pad_to = 235 };
	struct kt_msg m;
	size_t n;

	kt_realm(DOMAIN, realm);
	n = kt_msg_write_query(out, sizeof(out), &q);
	assert_true(n >= 235 && n < 260);
	assert_true(kt_msg_parse(out, n, &m));
	assert_int_equal(m.method, KT_OWN);
	assert_true(m.is_read_only && m.want[0] && m.want[1]);
	assert_memory_equal(m.challenge.ptr, "01234567", 8);
	assert_int_equal(m.endpoint.len, 6);
	assert_int_equal(m.token.len, 8);
	for (size_t size = 0; size < n; size++)
		assert_int_equal(kt_msg_write_query(out, size, &q), 0);
}

static void test_error__has_the_realm(void **state)
{
	uint8_t realm[KT_REALM_BYTES], out[KT_PACKET_BYTES];
	struct kt_msg m;
	size_t n;

	kt_realm(DOMAIN, realm);
	n = kt_msg_write_error(out, sizeof(out), realm, of("aa"), DHT_PROTOCOL,
			       "no target");
	assert_true(kt_msg_parse(out, n, &m));
	assert_int_equal(m.kind, DHT_ERROR);
	assert_int_equal(m.code, 203);
}

static void test_parse__must_fail(void **state)
{
#define Q "1:ad2:id20:abcdefghij0123456789e"
#define N "1:n8:01234567"
	static const char *const bad[] = {
		"",
		"d",
		"le",
		"i1234567890123456e",
		"d" Q "1:q7:kt_ping1:t2:aa1:y1:qe",             /* no n */
		"d" Q "1:n7:01234561:q7:kt_ping1:t2:aa1:y1:qe", /* short n */
		"d" Q "1:n9:0123456781:q7:kt_ping1:t2:aa1:y1:qe",
		"d" Q N "1:q7:kt_ping1:y1:qe",      /* no t */
		"d" Q N "1:q7:kt_ping1:t0:1:y1:qe", /* an empty one */
		"d" Q N "1:q7:kt_ping1:t21:aaaaaaaaaaaaaaaaaaaaa1:y1:qe",
		"d" Q N "1:q7:kt_ping1:t2:aae",       /* no y */
		"d" Q N "1:q7:kt_ping1:t2:aa1:y1:xe", /* another y */
		"d" Q N "1:q7:kt_ping1:t2:aa1:y2:qqe",
		"d" Q N "1:t2:aa1:y1:qe",                /* no q */
		"d" N "1:q7:kt_ping1:t2:aa1:y1:qe",      /* no a */
		"d1:ale" N "1:q7:kt_ping1:t2:aa1:y1:qe", /* a list */
		"d" N "1:t2:aa1:y1:re",                  /* no r */
		"d" Q N "1:q7:kt_ping1:t2:aa1:y1:q",     /* cut */
		"d" Q N "1:q99:kt_ping1:t2:aa1:y1:qe",   /* too long */
		"d" N "1:rd1:xlllllllllleeeeeeeeeee1:t2:aa1:y1:re", /* deep */
	};
	uint8_t big[LIMIT_KT_MESSAGE_BYTES + 1];
	struct kt_msg m;
	int n;

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		if (kt_msg_parse((const uint8_t *)bad[i], strlen(bad[i]), &m))
			fail_msg("taken: %s", bad[i]);
	}
	n = snprintf((char *)big, sizeof(big),
		     "d" Q N "1:q7:kt_ping1:t2:aa1:y1:q1:z1100:");
	memset(big + n, 'z', sizeof(big) - (size_t)n);
	big[sizeof(big) - 1] = 'e';
	assert_false(kt_msg_parse(big, sizeof(big), &m));
}

static void test_parse__odd_parts_are_left_out(void **state)
{
	/* Goal: what has a wrong length or type counts as not there. */
	static const char odd[] =
		"d" N "1:rd1:c3:abc4:cert2:xx2:ep7:12345672:id3:abc"
		"1:k2:xx3:new2:xx5:nodes27:abcdefghijklmnopqrstuvwxyz1"
		"3:own1:x3:sig1:s6:targeti5e5:token2:tt"
		"2:trd1:hi70000e1:li999e1:si-1e1:u2:xx1:ti99999999999eee"
		"1:t2:aa1:y1:re";
	struct kt_msg m;

	assert_true(kt_msg_parse((const uint8_t *)odd, sizeof(odd) - 1, &m));
	assert_null(m.challenge.ptr);
	assert_null(m.cert.ptr);
	assert_null(m.endpoint.ptr);
	assert_null(m.id.ptr);
	assert_null(m.pk.ptr);
	assert_null(m.sig.ptr);
	assert_null(m.target.ptr);
	assert_null(m.fresh[0].ptr);
	assert_int_equal(m.nodes.len, 26);
	assert_int_equal(m.own.len, 0);
	assert_int_equal(m.token.len, 2);
	assert_int_equal(m.tr.http_port, 0);
	assert_int_equal(m.tr.https_port, 0);
	assert_int_equal(m.tr.load, 255);
	assert_true(m.tr.uptime_s == UINT32_MAX);
}

static void test_id__follows_from_key_and_subnet(void **state)
{
	/* Goal: prefixes as another program computed them; another subnet,
	 * another key or a bit more are refused. */
	uint8_t realm[KT_REALM_BYTES], seed[KT_SEED_BYTES] = { 1 };
	struct addr at = { .family = 4, .ip = { 16, 0, 7, 9 } }, other = at;
	struct addr six = { .family = 6, .ip = { 0x20, 1, 4, 0x70, 0, 1 } };
	struct addr home = { .family = 4, .ip = { 192, 168, 1, 2 } };
	struct kad_id id, local;
	struct kt_key key;
	bool seen[2] = { false, false };

	kt_realm(DOMAIN, realm);
	for (unsigned i = 0; i < 16; i++) {
		seed[1] = (uint8_t)i;
		kt_key_init(&key, seed);
		kt_id_make(realm, key.pk, &at, &id);
		if (load_be32(id.b) == 0x725f270b)
			seen[0] = true;
		else if (load_be32(id.b) == 0x415256c7)
			seen[1] = true;
		else
			fail();
		assert_true(kt_id_fits_net(realm, &id, &at));
		assert_true(kt_id_fits_key(&id, key.pk));
		other.ip[2] = 8;
		assert_false(kt_id_fits_net(realm, &id, &other));
		kt_id_make(realm, key.pk, &home, &local);
		assert_memory_equal(local.b + 4, id.b + 4, 16);
		assert_true(kt_id_fits_key(&local, key.pk));
		id.b[19] ^= 1;
		assert_false(kt_id_fits_key(&id, key.pk));
		kt_key_release(&key);
	}
	assert_true(seen[0] && seen[1]);
	memcpy(id.b, "\x16\x47\xa9\x88", 4);
	assert_true(kt_id_fits_net(realm, &id, &six));
	six.ip[6] = 1; /* the same /48 */
	assert_true(kt_id_fits_net(realm, &id, &six));
	six.ip[5] = 2;
	assert_false(kt_id_fits_net(realm, &id, &six));
}

static void test_proof__is_good_once_and_there(void **state)
{
	uint8_t realm[KT_REALM_BYTES], seed[KT_SEED_BYTES] = { 3 };
	uint8_t sig[KT_SIG_BYTES], c[8] = { 1 }, d[8] = { 2 };
	struct addr at = { .family = 4, .ip = { 16, 0, 7, 9 }, .port = 1 };
	struct addr port = at, ip = at;
	struct kad_id id, wrong;
	struct kt_key key;

	kt_realm(DOMAIN, realm);
	kt_key_init(&key, seed);
	kt_id_make(realm, key.pk, &at, &id);
	wrong = id;
	wrong.b[0] ^= 1;
	port.port = 2;
	ip.ip[3] = 10;
	kt_proof_make(&key, realm, c, &id, &at, sig);
	assert_true(kt_proof_check(key.pk, realm, c, &id, &at, sig));
	assert_false(kt_proof_check(key.pk, realm, d, &id, &at, sig));
	assert_false(kt_proof_check(key.pk, realm, c, &id, &port, sig));
	assert_false(kt_proof_check(key.pk, realm, c, &id, &ip, sig));
	assert_false(kt_proof_check(key.pk, realm, c, &wrong, &at, sig));
	realm[7] ^= 1;
	assert_false(kt_proof_check(key.pk, realm, c, &id, &at, sig));
	kt_key_release(&key);
}

static void test_certificate__binds_key_realm_and_time(void **state)
{
	uint8_t realm[KT_REALM_BYTES], seed[KT_SEED_BYTES] = { 4 };
	uint8_t cert[KT_CERT_BYTES], pk[KT_PK_BYTES] = { 9 };
	struct span s = { cert, sizeof(cert) };
	struct kt_key key;
	int64_t end;

	kt_realm(DOMAIN, realm);
	kt_key_init(&key, seed);
	kt_cert_make(&key, realm, pk, 1000, cert);
	assert_true(kt_cert_check(key.pk, realm, pk, s, 999, &end));
	assert_int_equal(end, 1000);
	assert_false(kt_cert_check(key.pk, realm, pk, s, 1000, &end));
	assert_false(kt_cert_check(pk, realm, pk, s, 999, &end));
	assert_false(kt_cert_check(key.pk, realm, key.pk, s, 999, &end));
	s.len--;
	assert_false(kt_cert_check(key.pk, realm, pk, s, 999, &end));
	s.len++;
	cert[6] ^= 0xff; /* a later end */
	assert_false(kt_cert_check(key.pk, realm, pk, s, 999, &end));
	kt_key_release(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find__byte_for_byte),
		cmocka_unit_test(test_query__all_keys_and_padding),
		cmocka_unit_test(test_error__has_the_realm),
		cmocka_unit_test(test_parse__must_fail),
		cmocka_unit_test(test_parse__odd_parts_are_left_out),
		cmocka_unit_test(test_id__follows_from_key_and_subnet),
		cmocka_unit_test(test_proof__is_good_once_and_there),
		cmocka_unit_test(test_certificate__binds_key_realm_and_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
