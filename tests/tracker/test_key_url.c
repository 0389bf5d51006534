/* Goal: URLs that name keys are told from those that name machines, and all
 * names of a key are known as one. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "tracker/key_url.h"

static void expect_key(const char *url, const char *key, int rank,
		       const char *id)
{
	struct key_url k;
	char hex[41];

	assert_true(key_url_parse(url, &k));
	assert_string_equal(k.key, key);
	assert_int_equal(k.what.rank, rank);
	assert_string_equal(k.domain, "bt.example.org");
	assert_string_equal(hex_encode(k.what.id.b, 20, hex), id);
}

static void test_parse__keys_ranks_and_ids(void **state)
{
	static const char foo[] = "0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33";

	expect_key("http://foo.bt.example.org:6969/announce", "foo", -1, foo);
	expect_key("UDP://u:p@FOO.bt.Example.org.:6969", "foo", -1, foo);
	expect_key("https://foo--r2.bt.example.org?x=y", "foo", 2, foo);
	expect_key("http://FFFAAFFF.node.bt.example.org/announce",
		   "fffaafff.node", -1,
		   "00000000000000000000000000000000fffaafff");
}

static void test_parse__machines(void **state)
{
	static const char *const urls[] = {
		"http://tracker.example.org/announce",
		"http://bt.example.org/announce",
		"http://root.bt.example.org/announce",
		"http://.bt.example.org/announce",
		"http://a%b.bt.example.org/announce",
		"http://zz.node.bt.example.org/announce",
		"http://192.0.2.1/a.bt.example.org",
		"http://[2001:db8::1]:80/announce",
		"http:///announce",
		"foo.bt.example.org",
		"",
	};
	struct key_url k;

	for (size_t i = 0; i < ARRAY_LEN(urls); i++)
		assert_false(key_url_parse(urls[i], &k));
}

static void test_kin__whatever_rank_scheme_and_port(void **state)
{
	char a[KEY_KIN_BYTES], b[KEY_KIN_BYTES];
	struct key_url k;

	assert_true(key_url_parse("http://foo.bt.example.org:1/announce", &k));
	key_url_kin(&k, a);
	assert_true(key_url_parse("udp://FOO--r1.bt.example.org:2/x", &k));
	assert_string_equal(key_url_kin(&k, b), a);
	assert_true(key_url_parse("udp://foo.bt.example.com:2/x", &k));
	assert_string_not_equal(key_url_kin(&k, b), a);
	assert_true(key_url_parse("udp://bar.bt.example.org:2/x", &k));
	assert_string_not_equal(key_url_kin(&k, b), a);
}

static void expect_path(const char *path, const char *want)
{
	struct key_url k;
	struct buf b;

	assert_true(key_url_parse("udp://Foo--r1.bt.example.org:1", &k));
	buf_init(&b, 0);
	key_url_path(&k, path, &b);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
}

static void test_path__carries_the_key(void **state)
{
	expect_path(NULL, "/announce?kt=foo");
	expect_path("", "/announce?kt=foo");
	expect_path("/x", "/x?kt=foo");
	expect_path("/x?a=b", "/x?a=b&kt=foo");
	expect_path("?a=b", "/announce?a=b&kt=foo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__keys_ranks_and_ids),
		cmocka_unit_test(test_parse__machines),
		cmocka_unit_test(test_kin__whatever_rank_scheme_and_port),
		cmocka_unit_test(test_path__carries_the_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
