/* Goal: bencode_parse accepts exactly the strict grammar of its header, within
 * its limits, and the walkers find what is there. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

static const struct bencode_limits wide = { .depth = 100, .tokens = 1000 };

static int parse_with(const struct bencode_limits *limits, const void *s,
		      size_t len, struct bnode *out, size_t *at)
{
	size_t out_len, error_at = SIZE_MAX;
	uint8_t *copy = mem_dup(s, len);
	int r;

	/* An allocation of the exact size, so that ASan sees any over-read. */
	r = bencode_parse(copy, len, limits, out, &out_len, &error_at);
	if (r < 0) {
		assert_null(out->ptr);
		assert_int_equal(out_len, 0);
		assert_true(error_at <= len);
		*at = error_at;
	} else {
		assert_int_equal(bnode_raw(*out).len, out_len);
		*at = out_len;
	}
	free(copy);
	return r;
}

static int parse(const char *s, size_t *at)
{
	struct bnode n;

	return parse_with(&wide, s, strlen(s), &n, at);
}

/* The root of a literal that must be good to its end. */
static struct bnode root(const char *s)
{
	struct bnode n;
	size_t len;

	assert_int_equal(bencode_parse((const uint8_t *)s, strlen(s), &wide, &n,
				       &len, NULL),
			 0);
	assert_int_equal(len, strlen(s));
	return n;
}

static void assert_span(struct span s, const char *want)
{
	assert_int_equal(s.len, strlen(want));
	assert_memory_equal(s.ptr, want, s.len);
}

static void test_parse__accepts(void **state)
{
	static const char *const good[] = {
		"i0e",
		"i7e",
		"i-7e",
		"i9223372036854775807e",
		"i-9223372036854775808e",
		"0:",
		"3:abc",
		"10:0123456789",
		"le",
		"de",
		"li1e1:aldeee",
		"d1:ai1e1:bi2ee",
		"d1:bi1e1:ai2ee", /* unsorted */
		"d1:ai1e1:ai2ee", /* duplicate */
		"d0:0:e",
		"d1:ad1:bd1:cdeeee",
		"lllleeee",
	};
	size_t i, at;

	for (i = 0; i < ARRAY_LEN(good); i++) {
		if (parse(good[i], &at) != 0 || at != strlen(good[i]))
			fail_msg("refused: %s", good[i]);
	}
}

static void test_parse__refuses(void **state)
{
	static const struct {
		const char *text;
		size_t at;
	} bad[] = {
		{ "", 0 },
		{ "x", 0 },
		{ "e", 0 },
		{ "-1:a", 0 },
		{ " i1e", 0 },
		{ "ie", 1 },
		{ "i-e", 2 },
		{ "i--1e", 2 },
		{ "i+1e", 1 },
		{ "i 1e", 1 },
		{ "i07e", 2 },
		{ "i00e", 2 },
		{ "i-0e", 3 },
		{ "i-07e", 3 },
		{ "i1.5e", 2 },
		{ "i1", 2 },
		{ "i12x", 3 },
		{ "i9223372036854775808e", 19 },
		{ "i-9223372036854775809e", 20 },
		{ "i18446744073709551615e", 20 },
		{ "i18446744073709551616e", 20 },
		{ "i99999999999999999999999999999999e", 19 },
		{ "1", 1 },
		{ "1:", 0 },
		{ "3:ab", 0 },
		{ "00:", 1 },
		{ "01:a", 1 },
		{ "1;a", 1 },
		{ "1-:a", 1 },
		{ "18446744073709551615:abc", 0 },
		{ "18446744073709551616:abc", 0 },
		{ "18446744073709551619:abc", 0 },
		{ "99999999999999999999999999999999:abc", 0 },
		{ "l", 1 },
		{ "li1e", 4 },
		{ "lx", 1 },
		{ "d", 1 },
		{ "d1:ae", 4 },
		{ "d1:a", 4 },
		{ "di1e1:ae", 1 },
		{ "dlee", 1 },
		{ "ddee", 1 },
		{ "d-1:ae", 1 },
		{ "d1:ai1ei2ei3ee", 7 },
		{ "d1:a1:b", 7 },
		{ "d1:ale1:be", 9 },
		{ "ld1:aee", 5 },
	};
	size_t i, at;

	for (i = 0; i < ARRAY_LEN(bad); i++) {
		if (parse(bad[i].text, &at) != -EBADMSG)
			fail_msg("not malformed: %s", bad[i].text);
		if (at != bad[i].at)
			fail_msg("%s: at %zu", bad[i].text, at);
	}
}

static void test_parse__takes_any_byte_in_strings(void **state)
{
	static const char s[] = "d2:\0\xff"
				"4:\0\0ed"
				"e";
	size_t len = sizeof(s) - 1, got;
	struct bnode n;

	assert_int_equal(parse_with(&wide, s, len, &n, &got), 0);
	assert_int_equal(got, len);
}

static void test_parse__leaves_what_follows(void **state)
{
	size_t at;

	assert_int_equal(parse("i1ei2e", &at), 0);
	assert_int_equal(at, 3);
	assert_int_equal(parse("de\xff\xff", &at), 0);
	assert_int_equal(at, 2);
	assert_int_equal(parse("0:e", &at), 0);
	assert_int_equal(at, 2);
}

static void test_parse__refuses_every_prefix(void **state)
{
	static const char whole[] =
		"d1:ad2:id20:abcdefghij0123456789e4:infod6:lengthi-12e4:name"
		"3:x y5:filesld4:pathl1:a1:beeeee";
	struct bnode n;
	size_t i, at;

	for (i = 0; i < sizeof(whole) - 1; i++) {
		if (parse_with(&wide, whole, i, &n, &at) != -EBADMSG)
			fail_msg("taken: the first %zu bytes", i);
	}
	assert_int_equal(parse(whole, &at), 0);
}

static void test_parse__survives_every_changed_byte(void **state)
{
	char s[] = "d1:ad2:idi-42ee1:bl1:xi7edee3:ccc0:e";
	size_t i, at, len = sizeof(s) - 1;
	struct bnode n;
	int v;

	for (i = 0; i < len; i++) {
		char was = s[i];

		for (v = 0; v < 256; v++) {
			s[i] = (char)v;
			(void)parse_with(&wide, s, len, &n, &at);
		}
		s[i] = was;
	}
}

static void fill_nested(uint8_t *out, size_t depth)
{
	memset(out, 'l', depth);
	memset(out + depth, 'e', depth);
}

static void test_parse__depth(void **state)
{
	struct bencode_limits l = { .depth = 3, .tokens = 100 };
	static uint8_t deep[2 * LIMIT_BENCODE_DEPTH + 2];
	struct bnode n;
	size_t at;

	assert_int_equal(parse_with(&l, "lllee", 5, &n, &at), -EBADMSG);
	assert_int_equal(parse_with(&l, "llleee", 6, &n, &at), 0);
	assert_int_equal(parse_with(&l, "lllleeee", 8, &n, &at), -E2BIG);
	assert_int_equal(at, 3);
	assert_int_equal(parse_with(&l, "lllelelelee", 11, &n, &at), -EBADMSG);
	assert_int_equal(parse_with(&l, "d1:ad1:ad1:ai1eeee", 18, &n, &at), 0);
	l.depth = 0;
	assert_int_equal(parse_with(&l, "i1e", 3, &n, &at), 0);
	assert_int_equal(parse_with(&l, "le", 2, &n, &at), -E2BIG);

	/* However wide the caller's limit is, ours holds. */
	l = (struct bencode_limits){ UINT_MAX, UINT_MAX };
	fill_nested(deep, LIMIT_BENCODE_DEPTH);
	assert_int_equal(parse_with(&l, deep, 2 * LIMIT_BENCODE_DEPTH, &n, &at),
			 0);
	fill_nested(deep, LIMIT_BENCODE_DEPTH + 1);
	assert_int_equal(parse_with(&l, deep, sizeof(deep), &n, &at), -E2BIG);
	assert_int_equal(at, LIMIT_BENCODE_DEPTH);
}

/* Dicts and lists in turn, as deep as may be: each level remembers its kind. */
static void test_parse__remembers_every_level(void **state)
{
	struct buf b;
	struct bnode n;
	size_t at;
	int i;

	buf_init(&b, 0);
	for (i = 0; i < LIMIT_BENCODE_DEPTH; i++) {
		if (i % 2) {
			benc_list(&b);
		} else {
			benc_dict(&b);
			benc_cstr(&b, "k");
		}
	}
	benc_cstr(&b, "leaf");
	for (i = LIMIT_BENCODE_DEPTH - 1; i >= 0; i--) {
		if (i % 2)
			benc_int(&b, i); /* only a list takes it */
		benc_end(&b);
	}
	assert_int_equal(parse_with(&wide, b.ptr, b.len, &n, &at), 0);
	b.ptr[b.len - 1] = 'l';
	assert_int_equal(parse_with(&wide, b.ptr, b.len, &n, &at), -EBADMSG);
	buf_release(&b);
}

static void test_parse__tokens(void **state)
{
	struct bencode_limits l = { .depth = 10, .tokens = 3 };
	struct bnode n;
	size_t at;

	assert_int_equal(parse_with(&l, "li1e1:ae", 8, &n, &at), 0);
	assert_int_equal(parse_with(&l, "li1e1:a0:e", 10, &n, &at), -E2BIG);
	assert_int_equal(at, 7);
	assert_int_equal(parse_with(&l, "d1:a0:1:b0:e", 12, &n, &at), 0);
	assert_int_equal(parse_with(&l, "lleleleee", 9, &n, &at), -E2BIG);
	l.tokens = 0;
	assert_int_equal(parse_with(&l, "i1e", 3, &n, &at), -E2BIG);
}

static void test_node__kinds(void **state)
{
	struct bnode absent = { NULL, NULL };
	struct bnode n = root("li-5e3:abcdelee");
	struct bwalk w = bwalk_of(n);
	struct span key, s;
	struct bnode v;
	int64_t i;

	assert_true(bnode_is_list(n));
	assert_false(bnode_is_dict(n));
	assert_int_equal(bnode_count(n), 4);

	assert_true(bwalk_next(&w, &key, &v));
	assert_null(key.ptr);
	assert_true(bnode_is_int(v));
	assert_true(bnode_int(v, &i));
	assert_true(i == -5);
	assert_false(bnode_str(v, &s));
	assert_span(bnode_raw(v), "i-5e");

	assert_true(bwalk_next(&w, &key, &v));
	assert_true(bnode_is_str(v));
	assert_true(bnode_str(v, &s));
	assert_span(s, "abc");
	assert_span(bnode_raw(v), "3:abc");
	assert_false(bnode_int(v, &i));

	assert_true(bwalk_next(&w, &key, &v));
	assert_true(bnode_is_dict(v));
	assert_int_equal(bnode_count(v), 0);
	assert_true(bwalk_next(&w, &key, &v));
	assert_true(bnode_is_list(v));
	assert_span(bnode_raw(v), "le");
	assert_false(bwalk_next(&w, &key, &v));
	assert_null(v.ptr);
	assert_false(bwalk_next(&w, &key, &v));

	assert_false(bnode_is_dict(absent) || bnode_is_list(absent) ||
		     bnode_is_str(absent) || bnode_is_int(absent));
	assert_false(bnode_int(absent, &i) || bnode_str(absent, &s));
	assert_null(bnode_raw(absent).ptr);
	assert_int_equal(bnode_raw(absent).len, 0);
	assert_int_equal(bnode_count(absent), 0);
	assert_null(bnode_get(absent, "x").ptr);
	w = bwalk_of(absent);
	assert_false(bwalk_next(&w, &key, &v));
	w = bwalk_of(root("i1e"));
	assert_false(bwalk_next(&w, &key, &v));
}

static void test_node__extreme_integers(void **state)
{
	int64_t i;

	assert_true(bnode_int(root("i-9223372036854775808e"), &i));
	assert_true(i == INT64_MIN);
	assert_true(bnode_int(root("i9223372036854775807e"), &i));
	assert_true(i == INT64_MAX);
	assert_true(bnode_int(root("i0e"), &i));
	assert_true(i == 0);
}

static void test_get__finds_by_key(void **state)
{
	struct bnode n = root("d4:nameli1ee1:zd4:namei9ee4:infod1:xi3ee"
			      "3:str2:hi3:numi42e0:5:emptye");
	struct span s;
	int64_t i;

	assert_span(bnode_raw(bnode_get(n, "name")), "li1ee");
	assert_span(bnode_raw(bnode_get_dict(n, "info")), "d1:xi3ee");
	assert_null(bnode_get_list(n, "info").ptr);
	assert_null(bnode_get_dict(n, "name").ptr);
	assert_true(bnode_get_list(n, "name").ptr);
	assert_true(bnode_get_str(n, "str", &s));
	assert_span(s, "hi");
	assert_false(bnode_get_str(n, "num", &s));
	assert_true(bnode_get_int(n, "num", &i));
	assert_true(i == 42);
	assert_false(bnode_get_int(n, "str", &i));
	assert_true(bnode_get_str(n, "", &s));
	assert_span(s, "empty");
	assert_null(bnode_get(n, "x").ptr);   /* only deeper */
	assert_null(bnode_get(n, "nam").ptr); /* only a part of a key */
	assert_null(bnode_get(n, "names").ptr);
	assert_null(bnode_get(n, "hi").ptr); /* a value, not a key */
	assert_null(bnode_get(bnode_get(n, "name"), "x").ptr);
}

static void test_get__first_of_duplicates_counts(void **state)
{
	struct bnode n = root("d1:bi1e1:ai2e1:bi3ee"), v;
	struct bwalk w = bwalk_of(n);
	struct span key;
	int64_t i;

	assert_true(bnode_get_int(n, "b", &i));
	assert_true(i == 1);
	assert_true(bnode_get_int(n, "a", &i));
	assert_true(i == 2);
	assert_int_equal(bnode_count(n), 3);
	assert_true(bwalk_next(&w, &key, &v));
	assert_span(key, "b");
	assert_true(bwalk_next(&w, &key, &v));
	assert_span(key, "a");
	assert_true(bwalk_next(&w, &key, &v));
	assert_span(key, "b");
	assert_span(bnode_raw(v), "i3e");
	assert_false(bwalk_next(&w, &key, &v));
}

static void test_get__is_not_fooled_by_strings(void **state)
{
	struct bnode n = root("d1:a12:1:bi7eee1:be1:bi5ee");
	int64_t i;

	assert_true(bnode_get_int(n, "b", &i));
	assert_true(i == 5);
}

static void test_write__round_trip(void **state)
{
	struct buf b;
	struct bnode n;
	size_t at;

	buf_init(&b, 0);
	benc_dict(&b);
	benc_cstr(&b, "a");
	benc_int(&b, INT64_MIN);
	benc_cstr(&b, "b");
	benc_list(&b);
	benc_int(&b, 0);
	benc_int(&b, INT64_MAX);
	benc_str(&b, "\0x", 2);
	benc_str(&b, NULL, 0);
	benc_end(&b);
	benc_end(&b);
	assert_false(b.is_broken);
	assert_span((struct span){ b.ptr, 32 },
		    "d1:ai-9223372036854775808e1:bli0");
	assert_int_equal(parse_with(&wide, b.ptr, b.len, &n, &at), 0);
	assert_int_equal(at, b.len);
	buf_release(&b);
}

static void test_write__respects_the_cap(void **state)
{
	struct buf b;

	buf_init(&b, 4);
	benc_cstr(&b, "abcd");
	assert_true(b.is_broken);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__accepts),
		cmocka_unit_test(test_parse__refuses),
		cmocka_unit_test(test_parse__takes_any_byte_in_strings),
		cmocka_unit_test(test_parse__leaves_what_follows),
		cmocka_unit_test(test_parse__refuses_every_prefix),
		cmocka_unit_test(test_parse__survives_every_changed_byte),
		cmocka_unit_test(test_parse__depth),
		cmocka_unit_test(test_parse__remembers_every_level),
		cmocka_unit_test(test_parse__tokens),
		cmocka_unit_test(test_node__kinds),
		cmocka_unit_test(test_node__extreme_integers),
		cmocka_unit_test(test_get__finds_by_key),
		cmocka_unit_test(test_get__first_of_duplicates_counts),
		cmocka_unit_test(test_get__is_not_fooled_by_strings),
		cmocka_unit_test(test_write__round_trip),
		cmocka_unit_test(test_write__respects_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
