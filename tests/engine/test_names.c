/* Goal: no name from a torrent can leave its folder, hide what it is, break a
 * file system's limits or take another file's place. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/names.h"

static const uint8_t seed[16] = "0123456789abcde";

static void check_n(const char *raw, size_t len, const char *want)
{
	struct buf b;
	bool is_added;

	buf_init(&b, 0);
	is_added = names_add_element(&b, (const uint8_t *)raw, len);
	assert_int_equal(is_added, *want != 0);
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
}

static void check(const char *raw, const char *want)
{
	check_n(raw, strlen(raw), want);
}

static void test_element__cannot_leave(void **state)
{
	check("", "");
	check(".", "");
	check("..", "");
	check("/", "_");
	check("\\", "_");
	check("/..", "");
	check("../", "");
	check("./.", "");
	check("\\..\\", "");
	check("\xe2\x80\x8b..", "");
	check("...", "...");
	check("/foobar", "foobar");
	check("\\est2", "est2");
	check("foo/../../../bar", "foo......bar");
	check("abc/../../def", "abc....def");
	check("temp/../../abc", "temp....abc");
	check("C:\\a", "C:a");
}

static void test_element__shows_what_it_is(void **state)
{
	check("a\x01"
	      "b\x1f\x7f",
	      "a_b__");
	check("a\n\tb", "a__b");
	check_n("a\0\0b", 4, "a__b");
	check("a\xc2\x85z\xc2\x9f", "a_z_"); /* C1 */
	check("a\xe2\x80\xa8z", "a_z");      /* line separator */
	check("exe.\xe2\x80\xaegpj", "exe.gpj");
	check("\xe2\x81\xa6x\xe2\x81\xa9", "x");
	check("\xef\xbb\xbf"
	      "bom",
	      "bom");
	check("a\xe2\x80\x8b\xe2\x80\x8c\xe2\x80\x8d\xe2\x81\xa0z", "az");
	check("\xe2\x80\x8b", "_");
	check("plain \xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80.txt",
	      "plain \xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80.txt");
}

static void test_element__becomes_utf8(void **state)
{
	check("file\x82name", "file_name");
	check("file\xffname\xfe", "file_name_");
	check("a\xc0\xaf.", "a_."); /* '/' in two bytes */
	check("a\xe0\x80\xae", "a_");
	check("a\xf0\x80\x80\xae"
	      "b",
	      "a_b");
	check("filename\xf8\x9f\x9f\x9f\x9f"
	      "foobar",
	      "filename_foobar");
	check("\xfc\x84\x80\x80\x80\x80z", "_z");
	check("a\xed\xa0\x80z", "a_z");     /* surrogate */
	check("a\xf4\x90\x80\x80z", "a_z"); /* past U+10FFFF */
	check("a\xe2\x80", "a_");           /* cut short */
	check("a\xe2/abc", "a_abc");
	check("a\xe2\x80/abc", "a_abc");
	check("\x82/estMB", "_estMB");
}

static void test_element__is_cut_but_keeps_its_extension(void **state)
{
	char raw[400], want[400];

	memset(raw, 'a', 300);
	memcpy(raw + 300, ".mkv", 5);
	memset(want, 'a', LIMIT_NAME_BYTES - 4);
	memcpy(want + LIMIT_NAME_BYTES - 4, ".mkv", 5);
	check(raw, want);
	/* What follows a far dot is no extension. */
	raw[10] = '.';
	raw[300] = 0;
	memcpy(want, raw, LIMIT_NAME_BYTES);
	want[LIMIT_NAME_BYTES] = 0;
	check(raw, want);
	/* Never in the middle of a character: 3-byte ones, 240 - 4 = 78.6. */
	for (int i = 0; i < 100; i++)
		memcpy(raw + 3 * i, "\xe6\xbc\xa2", 3);
	memcpy(raw + 300, ".mkv", 5);
	memcpy(want, raw, 234);
	memcpy(want + 234, ".mkv", 5);
	check(raw, want);
}

static void test_element__exactly_at_the_limit(void **state)
{
	char raw[LIMIT_NAME_BYTES + 2];

	memset(raw, 'x', sizeof(raw));
	raw[LIMIT_NAME_BYTES] = 0;
	check(raw, raw);
	raw[LIMIT_NAME_BYTES] = 'x';
	raw[LIMIT_NAME_BYTES + 1] = 0;
	check_n(raw, LIMIT_NAME_BYTES + 1, strndupa(raw, LIMIT_NAME_BYTES));
}

static void test_path__joins_what_is_left(void **state)
{
	static const char *const raw[] = { "..", "a", "", ".", "b/", "/", "c" };
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < ARRAY_LEN(raw); i++)
		(void)names_add_element(&b, (const uint8_t *)raw[i],
					strlen(raw[i]));
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, "a/b/_/c");
	buf_release(&b);
}

/* Splits IN at '|', makes unique, compares with WANT. "-" is a hidden file. */
static void unique(const char *in, const char *want)
{
	char *copy = strdup(in), *rest = copy, *paths[16], *word;
	size_t n = 0, culprit;
	struct buf b;

	while ((word = strsep(&rest, "|")))
		paths[n++] = strcmp(word, "-") ? strdup(word) : NULL;
	assert_int_equal(names_make_unique(paths, n, seed, &culprit), 0);
	buf_init(&b, 0);
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%s%s", i ? "|" : "", paths[i] ? paths[i] : "-");
		free(paths[i]);
	}
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
	free(copy);
}

static void test_unique__renames_the_later_file(void **state)
{
	unique("a|b|c/d", "a|b|c/d");
	unique("bar.txt|bar.txt", "bar.txt|bar.1.txt");
	unique("d/bar.txt|d/bar.txt|bar.txt", "d/bar.txt|d/bar.1.txt|bar.txt");
	unique("f|f|f", "f|f.1|f.2");
	unique(".profile|.profile", ".profile|.profile.1");
	unique("a.tar.gz|a.tar.gz", "a.tar.gz|a.tar.1.gz");
	unique("a|-|a|-", "a|-|a.1|-");
	unique("A|a", "A|a");
}

static void test_unique__folders_keep_their_name(void **state)
{
	unique("foo|foo/bar", "foo.1|foo/bar");
	unique("foo/bar|foo", "foo/bar|foo.1");
	unique("a/b/c|a/b|a", "a/b/c|a/b.1|a.1");
	unique("x.y/z|x.y", "x.y/z|x.1.y");
	unique("f|f|f/g|f.1/h", "f.2|f.3|f/g|f.1/h");
}

static void test_unique__a_new_name_takes_nobodys(void **state)
{
	unique("a.t|a.1.t|a.t", "a.t|a.1.t|a.2.t");
	unique("a.t|a.t|a.1.t", "a.t|a.1.t|a.1.1.t");
	unique("a.t|a.t|a.1.t|a.1.t|a.t", "a.t|a.1.t|a.1.1.t|a.1.2.t|a.2.t");
}

static void test_unique__a_new_name_is_not_too_long(void **state)
{
	char in[2 * LIMIT_NAME_BYTES + 8], name[LIMIT_NAME_BYTES + 1];
	char *paths[3];
	size_t culprit;

	memset(name, 'n', sizeof(name));
	memcpy(name + LIMIT_NAME_BYTES - 4, ".mkv", 5);
	snprintf(in, sizeof(in), "dir/%s", name);
	for (int i = 0; i < 3; i++)
		paths[i] = strdup(in);
	assert_int_equal(names_make_unique(paths, 3, seed, &culprit), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(strlen(paths[i]), 4 + LIMIT_NAME_BYTES);
		assert_string_equal(paths[i] + LIMIT_NAME_BYTES, ".mkv");
		assert_true(!i || paths[i][LIMIT_NAME_BYTES - 1] == '0' + i);
		free(paths[i]);
	}
}

static int repeat(size_t num, size_t *culprit)
{
	char **paths = calloc(num, sizeof(*paths));
	int r;

	for (size_t i = 0; i < num; i++)
		paths[i] = strdup("same.txt");
	r = names_make_unique(paths, num, seed, culprit);
	for (size_t i = 0; i < num; i++)
		free(paths[i]);
	free(paths);
	return r;
}

static void test_unique__has_a_limit(void **state)
{
	size_t culprit;

	assert_int_equal(repeat(LIMIT_DUPLICATE_NAMES, &culprit), 0);
	assert_int_equal(repeat(LIMIT_DUPLICATE_NAMES + 1, &culprit), -E2BIG);
	assert_int_equal(culprit, LIMIT_DUPLICATE_NAMES);
}

/* Bad cases for naive algorithms; the time is a wide margin over what linear
 * work takes (some 0.1 s) and far below what quadratic work would. */
static void test_unique__is_linear(void **state)
{
	enum {
		MANY = 200000
	};
	char **paths = calloc(MANY, sizeof(*paths));
	struct timespec start, end;
	size_t culprit;

	for (int i = 0; i < MANY / 2; i++) {
		paths[i] = mem_printf("%d/a.%d.t", i / 100, i % 100 + 1);
		paths[MANY / 2 + i] = mem_printf("%d/%0*d", i % 5, 200, i / 2);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(names_make_unique(paths, MANY, seed, &culprit), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - start.tv_sec < 10);
	for (int i = 0; i < MANY; i++)
		free(paths[i]);
	free(paths);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_element__cannot_leave),
		cmocka_unit_test(test_element__shows_what_it_is),
		cmocka_unit_test(test_element__becomes_utf8),
		cmocka_unit_test(test_element__is_cut_but_keeps_its_extension),
		cmocka_unit_test(test_element__exactly_at_the_limit),
		cmocka_unit_test(test_path__joins_what_is_left),
		cmocka_unit_test(test_unique__renames_the_later_file),
		cmocka_unit_test(test_unique__folders_keep_their_name),
		cmocka_unit_test(test_unique__a_new_name_takes_nobodys),
		cmocka_unit_test(test_unique__a_new_name_is_not_too_long),
		cmocka_unit_test(test_unique__has_a_limit),
		cmocka_unit_test(test_unique__is_linear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
