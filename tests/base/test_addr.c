/* Goal: an endpoint survives every form it travels in, and addresses where
 * nobody can be are known. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "engine/base/addr.h"

static struct addr addr(const char *s)
{
	struct addr a;

	if (addr_parse(s, 6881, &a) < 0)
		fail_msg("not an address: %s", s);
	return a;
}

static uint32_t priority(const char *s, const char *t)
{
	struct addr a = addr(s), b = addr(t);

	assert_int_equal(addr_priority(&a, &b), addr_priority(&b, &a));
	return addr_priority(&a, &b);
}

static void test_parse__and_format(void **state)
{
	static const char *const same[] = {
		"1.2.3.4:80", "255.255.255.255:65535",      "0.0.0.0:0",
		"[::1]:80",   "[2001:db8::ff00:42:8329]:1", "[fe80::1]:65535",
	};
	static const struct {
		const char *in, *out;
	} other[] = {
		{ "1.2.3.4", "1.2.3.4:6881" },
		{ "::1", "[::1]:6881" },
		{ "[::1]", "[::1]:6881" },
		{ "::ffff:1.2.3.4", "1.2.3.4:6881" },
		{ "[::ffff:1.2.3.4]:9", "1.2.3.4:9" },
		{ "[2001:DB8:0::1]:009", "[2001:db8::1]:9" },
	};
	char text[ADDR_STR_MAX];
	struct addr a;
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		a = addr(same[i]);
		assert_string_equal(addr_str(&a, text), same[i]);
	}
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		a = addr(other[i].in);
		assert_string_equal(addr_str(&a, text), other[i].out);
	}
	a = addr("[::1]:80");
	assert_string_equal(addr_ip_str(&a, text), "::1");
	memset(&a, 0, sizeof(a));
	assert_string_equal(addr_str(&a, text), "none");
	assert_string_equal(addr_ip_str(&a, text), "none");
}

static void test_parse__refuses(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":80",
		"1.2.3.4:",
		"1.2.3.4:65536",
		"1.2.3.4:123456",
		"1.2.3.4:-1",
		"1.2.3.4:8 ",
		"1.2.3.4:0x50",
		"1.2.3",
		"1.2.3.4.5",
		"256.1.1.1",
		"localhost",
		"[::1",
		"[::1]80",
		"[::1]:",
		"[]:80",
		"[1.2.3.4]:80",
		":::",
		"1:2",
		"fe80::1%eth0",
		"[x]:1",
		" 1.2.3.4",
		"::1 ",
	};
	struct addr a;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (addr_parse(bad[i], 1, &a) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(a.family, 0);
	}
}

static void test_split__host_and_port(void **state)
{
	uint16_t port = 7;
	char host[16];

	assert_int_equal(addr_split("tracker.test:80", host, 16, &port), 0);
	assert_string_equal(host, "tracker.test");
	assert_int_equal(port, 80);
	assert_int_equal(addr_split("[fe80::1]:81", host, 16, &port), 0);
	assert_string_equal(host, "fe80::1");
	assert_int_equal(port, 81);
	port = 7;
	assert_int_equal(addr_split("tracker.test", host, 16, &port), 0);
	assert_int_equal(port, 7);
	assert_int_equal(addr_split("fe80::1:2", host, 16, &port), 0);
	assert_string_equal(host, "fe80::1:2");
	assert_int_equal(port, 7);
	assert_int_equal(addr_split("fifteen-letters:1", host, 16, &port), 0);
	port = 7;
	assert_int_equal(addr_split("sixteen--letters:1", host, 16, &port),
			 -EINVAL);
	assert_int_equal(addr_split("host:http", host, 16, &port), -EINVAL);
	assert_int_equal(port, 7);
}

static void test_sockaddr__round_trip(void **state)
{
	static const char *const all[] = { "1.2.3.4:80", "[2600::1]:443" };
	struct sockaddr_storage ss;
	struct addr a, b;
	socklen_t len;
	size_t i;

	for (i = 0; i < 2; i++) {
		a = addr(all[i]);
		len = addr_to_sockaddr(&a, &ss);
		assert_true(
			addr_from_sockaddr(&b, (struct sockaddr *)&ss, len));
		assert_true(addr_eq(&a, &b));
		assert_false(addr_from_sockaddr(&b, (struct sockaddr *)&ss,
						len - 1));
		assert_int_equal(b.family, 0);
	}
	memset(&a, 0, sizeof(a));
	assert_int_equal(addr_to_sockaddr(&a, &ss), 0);
	ss.ss_family = AF_UNIX;
	assert_false(
		addr_from_sockaddr(&b, (struct sockaddr *)&ss, sizeof(ss)));
}

static void test_sockaddr__mapped_becomes_v4(void **state)
{
	struct sockaddr_in6 s6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(80) };
	struct addr a, b = addr("1.2.3.4:80");

	memcpy(s6.sin6_addr.s6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4",
	       16);
	assert_true(addr_from_sockaddr(&a, (struct sockaddr *)&s6, sizeof(s6)));
	assert_true(addr_eq(&a, &b));
}

static void test_compact__round_trip(void **state)
{
	static const uint8_t four[6] = { 1, 2, 3, 4, 0x1a, 0xe1 };
	static const uint8_t six[18] = { 0x26, [15] = 1, 0x01, 0xbb };
	static const uint8_t mapped[18] = { [10] = 0xff, 0xff, 1,    2,
					    3,           4,    0x1a, 0xe1 };
	uint8_t out[18];
	struct addr a, b;

	addr_from_compact4(&a, four);
	b = addr("1.2.3.4:6881");
	assert_true(addr_eq(&a, &b));
	assert_int_equal(addr_to_compact(&a, out), 6);
	assert_memory_equal(out, four, 6);

	addr_from_compact6(&a, six);
	b = addr("[2600::1]:443");
	assert_true(addr_eq(&a, &b));
	assert_int_equal(addr_to_compact(&a, out), 18);
	assert_memory_equal(out, six, 18);

	addr_from_compact6(&a, mapped);
	assert_int_equal(addr_to_compact(&a, out), 6);
	assert_memory_equal(out, four, 6);

	memset(&a, 0, sizeof(a));
	assert_int_equal(addr_to_compact(&a, out), 0);
}

static void test_eq__and_hash(void **state)
{
	struct addr a = addr("1.2.3.4:80"), b = addr("1.2.3.4:81");
	struct addr c = addr("1.2.3.5:80"), d = addr("[102:304::]:80");

	assert_true(addr_ip_eq(&a, &b));
	assert_false(addr_eq(&a, &b));
	assert_false(addr_ip_eq(&a, &c));
	assert_false(addr_ip_eq(&a, &d)); /* same bytes, other family */
	assert_int_not_equal(addr_hash(&a), addr_hash(&b));
	assert_int_not_equal(addr_hash(&a), addr_hash(&c));
	assert_int_not_equal(addr_hash(&a), addr_hash(&d));
	b.port = 80;
	assert_int_equal(addr_hash(&a), addr_hash(&b));
}

static void test_subnet(void **state)
{
	struct addr a = addr("1.2.3.4"), b = addr("1.2.3.200");
	struct addr c = addr("1.2.4.4"), none = { 0 };

	assert_true(addr_same_subnet(&a, &b));
	assert_false(addr_same_subnet(&a, &c));
	assert_false(addr_same_subnet(&none, &none));
	a = addr("2001:470:1:2::1");
	b = addr("2001:470:1:ffff::");
	c = addr("2001:470:2::");
	assert_true(addr_same_subnet(&a, &b));
	assert_false(addr_same_subnet(&a, &c));
}

enum {
	LOOPBACK = 1,
	LINK = 2,
	PRIVATE = 4,
	MULTICAST = 8,
	UNSPECIFIED = 16,
	MARTIAN = 32
};

static void test_classes(void **state)
{
	static const struct {
		const char *ip;
		unsigned classes;
	} v[] = {
		{ "1.1.1.1", 0 },
		{ "0.0.0.0", UNSPECIFIED | MARTIAN },
		{ "0.0.0.1", MARTIAN },
		{ "127.0.0.1", LOOPBACK },
		{ "127.255.255.255", LOOPBACK },
		{ "128.0.0.1", 0 },
		{ "169.254.0.1", LINK },
		{ "10.255.0.1", PRIVATE },
		{ "172.15.255.255", 0 },
		{ "172.16.0.1", PRIVATE },
		{ "172.31.255.255", PRIVATE },
		{ "172.32.0.1", 0 },
		{ "192.168.0.1", PRIVATE },
		{ "100.63.255.255", 0 },
		{ "100.64.0.1", PRIVATE },
		{ "100.127.255.255", PRIVATE },
		{ "100.128.0.1", 0 },
		{ "192.0.0.8", MARTIAN },
		{ "192.0.2.1", MARTIAN },
		{ "192.0.3.1", 0 },
		{ "198.18.0.1", 0 },
		{ "198.51.100.7", MARTIAN },
		{ "203.0.113.9", MARTIAN },
		{ "223.255.255.255", 0 },
		{ "224.0.0.1", MULTICAST | MARTIAN },
		{ "239.255.255.255", MULTICAST | MARTIAN },
		{ "240.0.0.1", MARTIAN },
		{ "255.255.255.255", MARTIAN },
		{ "::", UNSPECIFIED | MARTIAN },
		{ "::1", LOOPBACK },
		{ "::2", MARTIAN },
		{ "::ffff:127.0.0.1", LOOPBACK },
		{ "::1.2.3.4", MARTIAN },
		{ "64:ff9b::1.2.3.4", 0 },
		{ "100::1", MARTIAN },
		{ "1fff::1", MARTIAN },
		{ "2001::1", 0 },
		{ "2001:db7::1", 0 },
		{ "2001:db8::1", MARTIAN },
		{ "2002:102:304::1", 0 },
		{ "3fff:fff::1", MARTIAN },
		{ "3fff:1000::1", 0 },
		{ "4000::1", MARTIAN },
		{ "fbff::1", MARTIAN },
		{ "fc00::1", PRIVATE },
		{ "fdff::1", PRIVATE },
		{ "fe80::1", LINK },
		{ "febf::1", LINK },
		{ "fec0::1", MARTIAN },
		{ "ff02::1", MULTICAST | MARTIAN },
	};
	struct addr a;
	unsigned got;
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		a = addr(v[i].ip);
		got = addr_is_loopback(&a) * LOOPBACK |
		      addr_is_link_local(&a) * LINK |
		      addr_is_private(&a) * PRIVATE |
		      addr_is_multicast(&a) * MULTICAST |
		      addr_is_unspecified(&a) * UNSPECIFIED |
		      addr_is_martian(&a) * MARTIAN;
		assert_int_equal(addr_is_local(&a),
				 !!(got & (LOOPBACK | LINK | PRIVATE)));
		if (got != v[i].classes)
			fail_msg("%s: %#x, not %#x", v[i].ip, got,
				 v[i].classes);
	}
	a = addr("1.1.1.1:0");
	assert_true(addr_is_martian(&a));
	memset(&a, 0, sizeof(a));
	a.port = 1;
	assert_true(addr_is_martian(&a));
	assert_false(addr_is_unspecified(&a));
}

/* BEP 40 prints the first two; the others are its rules applied by hand, with
 * the checksum from an independent CRC-32C. */
static void test_priority__bep40(void **state)
{
	struct addr a = addr("1.2.3.4"), six = addr("2600::1"), none = { 0 };

	assert_int_equal(priority("123.213.32.10", "98.76.54.32"), 0xec2d7224);
	assert_int_equal(priority("123.213.32.10", "123.213.32.234"),
			 0x99568189);
	/* same /16: mask ff.ff.ff.55 */
	assert_int_equal(priority("123.213.33.10", "123.213.32.234"),
			 0x803227bb);
	/* same address: the ports */
	assert_int_equal(priority("1.2.3.4:1234", "1.2.3.4:300"), 0xae8b7034);
	/* IPv6: apart, same /48, same /56 */
	assert_int_equal(priority("2600:1:2:3:4:5:6:7", "2a00:ff::ffff"),
			 0x5349263d);
	assert_int_equal(priority("2600:1:2:ff00::ff", "2600:1:2:1000::ff"),
			 0xda460c75);
	assert_int_equal(priority("2600:1:2:ff01::ff", "2600:1:2:ff02::ff"),
			 0xc9a58a15);
	assert_int_equal(addr_priority(&a, &six), 0);
	assert_int_equal(addr_priority(&none, &none), 0);
}

/* What a mask hides must not matter. */
static void test_priority__masks(void **state)
{
	assert_int_equal(priority("1.2.3.4", "9.9.0.0"),
			 priority("1.2.3.4", "9.9.170.170"));
	assert_int_not_equal(priority("1.2.3.4", "9.9.0.0"),
			     priority("1.2.3.4", "9.9.1.0"));
	assert_int_equal(priority("1.2.3.4", "1.2.9.0"),
			 priority("1.2.3.4", "1.2.9.170"));
	assert_int_not_equal(priority("1.2.3.4", "1.2.9.0"),
			     priority("1.2.3.4", "1.2.8.0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__and_format),
		cmocka_unit_test(test_parse__refuses),
		cmocka_unit_test(test_split__host_and_port),
		cmocka_unit_test(test_sockaddr__round_trip),
		cmocka_unit_test(test_sockaddr__mapped_becomes_v4),
		cmocka_unit_test(test_compact__round_trip),
		cmocka_unit_test(test_eq__and_hash),
		cmocka_unit_test(test_subnet),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_priority__bep40),
		cmocka_unit_test(test_priority__masks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
