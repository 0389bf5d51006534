/* Goal: the DNS bridge names the right trackers for each kind of name, and
 * says "does not exist" of nothing that may exist. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tests/tracker/fake_kt.h"
#include "tracker/overlay/dns_answer.h"

#define CLASS_CHAOS 3
#define CLASS_ANY   255
#define TYPE_MX     15
#define TYPE_IXFR   251
#define TYPE_AXFR   252
#define TYPE_ANY    255

static const struct dns_zone zone = { .domain = "bt.example.org",
				      .port = 6969 };

static void ask(const struct dns_zone *z, const char *name, unsigned type,
		const struct kt *k, struct dns_answer *out)
{
	struct dns_known known = { .epoch = 7 };
	struct dns_question q;

	dns_question_read(z, name, type, DNS_CLASS_IN, &q);
	known.owners = q.need == DNS_NEED_MEMBERS ? k->members : k->owners;
	known.num = q.need == DNS_NEED_MEMBERS ? k->num_members : k->num;
	if (q.need == DNS_NEED_NOTHING)
		known.num = 0;
	dns_answer_make(z, &q, &known, out);
}

static void expect_ip(const struct dns_record *r, enum dns_section section,
		      const char *name, const char *ip)
{
	struct addr a;

	assert_int_equal(addr_parse(ip, 0, &a), 0);
	assert_int_equal(r->section, section);
	assert_int_equal(r->type, a.family == 6 ? DNS_AAAA : DNS_A);
	assert_string_equal(r->name, name);
	assert_int_equal(r->len, a.family == 6 ? 16 : 4);
	assert_memory_equal(r->data, a.ip, r->len);
}

static void expect_no_data(const struct dns_answer *a, enum dns_rcode rcode)
{
	assert_int_equal(a->rcode, rcode);
	assert_true(a->is_authoritative);
	assert_int_equal(a->num, 1);
	assert_int_equal(a->records[0].section, DNS_AUTHORITY);
	assert_int_equal(a->records[0].type, DNS_SOA);
	assert_true(!strcasecmp(a->records[0].name, zone.domain));
	/* minimum: how long "no" is remembered */
	assert_memory_equal(a->records[0].data + a->records[0].len - 4,
			    "\0\0\0\x1e", 4);
}

static void fill(struct kt *k)
{
	fake_kt_init(k);
	fake_kt_add(k, "192.0.2.1", 6969);
	fake_kt_add(k, "[2001:db8::2]", 6969);
	fake_kt_add(k, "192.0.2.9", 1234); /* elsewhere */
	fake_kt_add(k, "192.0.2.3", 6969);
	fake_kt_add(k, "192.0.2.4", 6969);
}

static void test_key__its_three_owners_in_order(void **state)
{
	struct dns_answer a;
	struct kt k;

	fill(&k);
	ask(&zone, "FoO.bt.Example.org", DNS_A, &k, &a);
	assert_int_equal(a.rcode, DNS_NOERROR);
	assert_true(a.is_authoritative);
	assert_int_equal(a.num, 2); /* the third is of IPv6 */
	expect_ip(&a.records[0], DNS_ANSWER, "FoO.bt.Example.org", "192.0.2.1");
	expect_ip(&a.records[1], DNS_ANSWER, "FoO.bt.Example.org", "192.0.2.3");
	ask(&zone, "foo.bt.example.org.", DNS_AAAA, &k, &a);
	assert_int_equal(a.num, 1);
	expect_ip(&a.records[0], DNS_ANSWER, "foo.bt.example.org",
		  "2001:db8::2");
}

static void test_rank__that_owner_alone(void **state)
{
	struct dns_answer a;
	struct kt k;

	fill(&k);
	ask(&zone, "foo--r0.bt.example.org", DNS_A, &k, &a);
	assert_int_equal(a.num, 1);
	expect_ip(&a.records[0], DNS_ANSWER, "foo--r0.bt.example.org",
		  "192.0.2.1");
	ask(&zone, "foo--r1.bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NOERROR); /* it is of IPv6 */
	ask(&zone, "foo--r3.bt.example.org", DNS_A, &k, &a);
	assert_int_equal(a.num, 1);
	expect_ip(&a.records[0], DNS_ANSWER, "foo--r3.bt.example.org",
		  "192.0.2.4");
	ask(&zone, "foo--r9.bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
}

static void test_types__that_are_not_there_are_no_data(void **state)
{
	struct dns_answer a;
	struct kt k;

	fake_kt_init(&k);
	fake_kt_add(&k, "192.0.2.1", 6969);
	ask(&zone, "foo.bt.example.org", DNS_AAAA, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
	/* Nobody needs to be asked for these. */
	k.num = 0;
	ask(&zone, "foo.bt.example.org", TYPE_MX, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
	ask(&zone, "foo.bt.example.org", DNS_TXT, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
	ask(&zone, "bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
	ask(&zone, "root.bt.example.org", DNS_NS, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
}

static void test_overlay_down__fails_and_never_says_no_such_name(void **state)
{
	static const char *const names[] = {
		"foo.bt.example.org",      "foo--r2.bt.example.org",
		"abc.node.bt.example.org", "root.bt.example.org",
		"ns1.bt.example.org",      "ns3.bt.example.org",
	};
	struct dns_answer a;
	struct kt k;

	fake_kt_init(&k);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		ask(&zone, names[i], DNS_A, &k, &a);
		assert_int_equal(a.rcode, DNS_SERVFAIL);
		assert_false(a.is_authoritative);
		assert_int_equal(a.num, 0);
		ask(&zone, names[i], DNS_AAAA, &k, &a);
		assert_int_equal(a.rcode, DNS_SERVFAIL);
	}
	ask(&zone, "bt.example.org", DNS_NS, &k, &a);
	assert_int_equal(a.rcode, DNS_SERVFAIL);
	/* Owners that serve elsewhere are nobody to name. */
	fake_kt_add(&k, "192.0.2.1", 1234);
	ask(&zone, "foo.bt.example.org", DNS_A, &k, &a);
	assert_int_equal(a.rcode, DNS_SERVFAIL);
}

static void test_bad_names__do_not_exist(void **state)
{
	struct dns_answer a;
	struct kt k;

	fill(&k);
	ask(&zone, "xyz.node.bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NXDOMAIN);
	ask(&zone, "a%b.bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NXDOMAIN);
}

static void test_node__by_its_literal_id(void **state)
{
	struct dns_question q;

	dns_question_read(&zone, "FFFAAFFF.node.bt.example.org", DNS_A,
			  DNS_CLASS_IN, &q);
	assert_int_equal(q.need, DNS_NEED_OWNERS);
	assert_memory_equal(q.what.id.b + 16, "\xff\xfa\xaf\xff", 4);
	assert_int_equal(q.what.id.b[15], 0);
}

static void test_root__live_members_at_most_eight(void **state)
{
	struct dns_answer a;
	struct kt k;
	char ip[20];

	fake_kt_init(&k);
	for (unsigned i = 0; i < FAKE_KT_OWNERS; i++) {
		snprintf(ip, sizeof(ip), "192.0.2.%u", i + 1);
		fake_kt_member(&k, ip, 6969, (uint8_t)i);
	}
	ask(&zone, "root.bt.example.org", DNS_A, &k, &a);
	assert_int_equal(a.num, DNS_MEMBERS_MAX);
	expect_ip(&a.records[7], DNS_ANSWER, "root.bt.example.org",
		  "192.0.2.8");
}

static void test_apex__soa_and_servers_with_glue(void **state)
{
	struct dns_answer a;
	struct kt k;

	fake_kt_init(&k);
	fake_kt_member(&k, "192.0.2.3", 6969, 3);
	fake_kt_member(&k, "192.0.2.1", 6969, 1);
	fake_kt_member(&k, "192.0.2.4", 6969, 4);
	fake_kt_member(&k, "[2001:db8::2]", 6969, 2);
	ask(&zone, "BT.example.org", DNS_SOA, &k, &a);
	assert_int_equal(a.num, 1);
	assert_int_equal(a.records[0].section, DNS_ANSWER);
	assert_int_equal(a.records[0].type, DNS_SOA);
	assert_memory_equal(a.records[0].data,
			    "\3ns1\xc0\x0c\x0ahostmaster\xc0\x0c\0\0\0\7", 23);
	ask(&zone, "BT.example.org", DNS_NS, &k, &a);
	assert_int_equal(a.num, 6);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(a.records[i].section, DNS_ANSWER);
		assert_int_equal(a.records[i].type, DNS_NS);
		assert_int_equal(a.records[i].len, 6);
		assert_int_equal(a.records[i].data[3], '1' + i);
	}
	expect_ip(&a.records[3], DNS_ADDITIONAL, "ns1.BT.example.org",
		  "192.0.2.1");
	expect_ip(&a.records[4], DNS_ADDITIONAL, "ns2.BT.example.org",
		  "2001:db8::2");
	expect_ip(&a.records[5], DNS_ADDITIONAL, "ns3.BT.example.org",
		  "192.0.2.3");
	/* The glue is what the servers' own names say. */
	ask(&zone, "ns3.bt.example.org", DNS_A, &k, &a);
	assert_int_equal(a.num, 1);
	expect_ip(&a.records[0], DNS_ANSWER, "ns3.bt.example.org", "192.0.2.3");
	ask(&zone, "ns2.bt.example.org", DNS_A, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
}

static void test_txt__with_the_option_alone(void **state)
{
	static const char text[] = "\x1d"
				   "BITTORRENT UDP:6969 TCP:6969";
	struct dns_zone with = zone;
	struct dns_answer a;
	struct kt k;

	fake_kt_init(&k);
	with.has_txt = true;
	ask(&with, "foo.bt.example.org", DNS_TXT, &k, &a);
	assert_int_equal(a.num, 1);
	assert_int_equal(a.records[0].len, sizeof(text) - 1);
	assert_memory_equal(a.records[0].data + 1, text + 1, 28);
	assert_int_equal(a.records[0].data[0], 28);
	ask(&with, "root.bt.example.org", DNS_TXT, &k, &a);
	expect_no_data(&a, DNS_NOERROR);
}

static void expect_refused(const char *name, unsigned type, unsigned class)
{
	struct dns_question q;
	struct dns_answer a;

	dns_question_read(&zone, name, type, class, &q);
	assert_int_equal(q.need, DNS_NEED_NOTHING);
	dns_answer_make(&zone, &q, NULL, &a);
	assert_int_equal(a.rcode, DNS_REFUSED);
	assert_false(a.is_authoritative);
	assert_int_equal(a.num, 0);
}

static void test_refused__what_is_not_ours_to_say(void **state)
{
	char longest[400];

	expect_refused("example.org", DNS_A, DNS_CLASS_IN);
	expect_refused("notbt.example.org", DNS_A, DNS_CLASS_IN);
	expect_refused("", DNS_NS, DNS_CLASS_IN);
	expect_refused(".", DNS_NS, DNS_CLASS_IN);
	expect_refused("version.bind", DNS_TXT, CLASS_CHAOS);
	expect_refused("foo.bt.example.org", DNS_A, CLASS_CHAOS);
	expect_refused("foo.bt.example.org", DNS_A, CLASS_ANY);
	expect_refused("foo.bt.example.org", TYPE_ANY, DNS_CLASS_IN);
	expect_refused("bt.example.org", TYPE_AXFR, DNS_CLASS_IN);
	expect_refused("bt.example.org", TYPE_IXFR, DNS_CLASS_IN);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	expect_refused(longest, DNS_A, DNS_CLASS_IN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key__its_three_owners_in_order),
		cmocka_unit_test(test_rank__that_owner_alone),
		cmocka_unit_test(test_types__that_are_not_there_are_no_data),
		cmocka_unit_test(
			test_overlay_down__fails_and_never_says_no_such_name),
		cmocka_unit_test(test_bad_names__do_not_exist),
		cmocka_unit_test(test_node__by_its_literal_id),
		cmocka_unit_test(test_root__live_members_at_most_eight),
		cmocka_unit_test(test_apex__soa_and_servers_with_glue),
		cmocka_unit_test(test_txt__with_the_option_alone),
		cmocka_unit_test(test_refused__what_is_not_ours_to_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
