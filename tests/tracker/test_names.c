/* Goal: names mean what Kenosis meant by them, whatever a resolver does to
 * their case. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/hex.h"
#include "tracker/overlay/names.h"

#define D "bt.example.org"

static const char *hex_of(const struct kad_id *id)
{
	static char hex[41];

	return hex_encode(id->b, sizeof(id->b), hex);
}

static void expect(const char *host, enum kt_name_kind kind, int rank,
		   const char *hex)
{
	struct kt_name n;

	kt_name_parse(host, D, &n);
	assert_int_equal(n.kind, kind);
	if (hex) {
		assert_int_equal(n.rank, rank);
		assert_string_equal(hex_of(&n.id), hex);
	}
}

static void vectors(void **state)
{
	const char *foo = "0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33";

	(void)state;
	expect("foo.bt.example.org", KT_NAME_KEY, KT_RANK_ALL, foo);
	expect("FoO.bT.eXample.ORG.", KT_NAME_KEY, KT_RANK_ALL, foo);
	expect("foo--r1.bt.example.org", KT_NAME_KEY, 1, foo);
	expect("FOO--R2.bt.example.org", KT_NAME_KEY, 2, foo);
	expect("FFFAAFFF.node.bt.example.org", KT_NAME_NODE, KT_RANK_ALL,
	       "00000000000000000000000000000000fffaafff");
	expect("0xfffaafff.node.bt.example.org", KT_NAME_NODE, KT_RANK_ALL,
	       "00000000000000000000000000000000fffaafff");
	/* sha1 of "a.b" */
	expect("a.b.bt.example.org", KT_NAME_KEY, KT_RANK_ALL,
	       "69f6642c9d71b463485b4faf4e989dc3fe77a8c6");
}

static void other_names(void **state)
{
	char long_label[80], host[300];

	(void)state;
	expect("adfasdf", KT_NAME_FOREIGN, 0, NULL);
	expect("", KT_NAME_FOREIGN, 0, NULL);
	expect("foo.bt.example.com", KT_NAME_FOREIGN, 0, NULL);
	expect("foobt.example.org", KT_NAME_FOREIGN, 0, NULL);
	expect("bt.example.org", KT_NAME_APEX, 0, NULL);
	expect("ROOT.bt.example.org", KT_NAME_ROOT, 0, NULL);
	expect(".bt.example.org", KT_NAME_BAD, 0, NULL);
	expect("a..b.bt.example.org", KT_NAME_BAD, 0, NULL);
	expect("a b.bt.example.org", KT_NAME_BAD, 0, NULL);
	expect("xyz.node.bt.example.org", KT_NAME_BAD, 0, NULL);
	expect("--r1.bt.example.org", KT_NAME_KEY, KT_RANK_ALL, NULL);
	memset(long_label, 'a', 64);
	long_label[64] = 0;
	(void)snprintf(host, sizeof(host), "%s.%s", long_label, D);
	expect(host, KT_NAME_BAD, 0, NULL);
	(void)snprintf(host, sizeof(host), "%s.%s", long_label + 1, D);
	expect(host, KT_NAME_KEY, 0, NULL);
	memset(host, 'a', 299);
	host[299] = 0;
	expect(host, KT_NAME_FOREIGN, 0, NULL);
}

static void domains(void **state)
{
	char d[KT_DOMAIN_BYTES];

	(void)state;
	assert_true(kt_domain_of("foo.BT.example.org", d));
	assert_string_equal(d, "bt.example.org");
	assert_true(kt_domain_of("a.bt.b.bt.c", d));
	assert_string_equal(d, "bt.c");
	assert_false(kt_domain_of("bt.example.org", d));
	assert_false(kt_domain_of(".bt.example.org", d));
	assert_false(kt_domain_of("tracker.example.org", d));
	assert_false(kt_domain_of("foo.bt.", d));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors),
		cmocka_unit_test(other_names),
		cmocka_unit_test(domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
