/* Goal: access lists say what their file says, name file and line of what they
 * cannot read and keep what they had, and answer any number of threads while
 * they change. Run it under ThreadSanitizer. */
#include "tracker/server/access.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tests/cmocka_all.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233"
#define HEX_B "FFEEDDCCBBAA99887766554433221100FFEEDDCC"
#define V2    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"

struct scratch {
	char dir[64], path[96];
};

static int set_up(void **state)
{
	struct scratch *s = mem_alloc(sizeof(*s));

	snprintf(s->dir, sizeof(s->dir), "/tmp/weir-access-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/list", s->dir);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scratch *s = *state;

	if (unlink(s->path) && errno == EISDIR)
		assert_return_code(rmdir(s->path), errno);
	assert_return_code(rmdir(s->dir), errno);
	free(s);
	return 0;
}

static void write_list(const struct scratch *s, const char *text, size_t len)
{
	FILE *f = fopen(s->path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void write_text(const struct scratch *s, const char *text)
{
	write_list(s, text, strlen(text));
}

static struct infohash numbered(uint64_t n)
{
	struct infohash h = { { 0 } };

	for (int i = 0; i < 8; i++)
		h.b[12 + i] = (uint8_t)(n >> (56 - 8 * i));
	return h;
}

static struct infohash hash_a(void)
{
	struct infohash h;

	for (int i = 0; i < 20; i++)
		h.b[i] = (uint8_t)(0x11 * (i % 16));
	return h;
}

static void test_modes(void **state)
{
	struct infohash a = hash_a(), other = numbered(7);
	struct access_list *l;
	char why[200];

	write_text(*state, HEX_A "\n" HEX_B "\n");
	l = access_new(ACCESS_ALLOW, ((struct scratch *)*state)->path, why,
		       sizeof(why));
	assert_non_null(l);
	assert_int_equal(access_count(l), 2);
	assert_true(access_allows(l, &a));
	assert_false(access_allows(l, &other));
	access_free(l);
	l = access_new(ACCESS_DENY, ((struct scratch *)*state)->path, why,
		       sizeof(why));
	assert_false(access_allows(l, &a));
	assert_true(access_allows(l, &other));
	access_free(l);
	l = access_new(ACCESS_ALL, NULL, why, sizeof(why));
	assert_true(access_allows(l, &a));
	assert_int_equal(access_reload(l, why, sizeof(why)), 0);
	access_free(l);
	access_free(NULL);
}

static void test_what_a_file_may_hold(void **state)
{
	struct infohash v2;
	struct access_list *l;
	char why[200], text[2000];

	for (int i = 0; i < 20; i++)
		v2.b[i] = (uint8_t)(i + 1);
	snprintf(text, sizeof(text),
		 "# a comment %0900d\n\n \t\r\n  " HEX_A
		 "  # who asked\r\n" HEX_A "\n\t" V2 "#\n" HEX_B,
		 0);
	write_text(*state, text);
	l = access_new(ACCESS_ALLOW, ((struct scratch *)*state)->path, why,
		       sizeof(why));
	assert_non_null(l);
	assert_int_equal(access_count(l), 3);
	assert_true(access_allows(l, &v2));
	write_text(*state, "");
	assert_int_equal(access_reload(l, why, sizeof(why)), 0);
	assert_int_equal(access_count(l), 0);
	assert_false(access_allows(l, &v2));
	access_free(l);
}

struct bad {
	const char *text;
	size_t len;
	const char *says;
};
#define BAD(text, says)                                                        \
	{                                                                      \
		text, sizeof(text) - 1, says                                   \
	}

static void test_bad_lines(void **state)
{
	static const struct bad bad[] = {
		BAD("0011\n", ":1: '0011' is no infohash"),
		BAD(HEX_A "\n" HEX_A "0\n", ":2: "),
		BAD(HEX_A " " HEX_B "\n", ":1: "),
		BAD("\n\n#x\nzz112233445566778899aabbccddeeff00112233",
		    ":4: 'zz"),
		BAD("\0\n", ":1: '\\x00'"),
		BAD("\xef\xbb\xbf" HEX_A "\n", ":1: "),
		BAD("0x" HEX_A "\n", ":1: "),
		BAD(HEX_A "," HEX_B HEX_B HEX_B HEX_B HEX_B HEX_B HEX_B "\n",
		    ":1: "),
	};
	struct scratch *s = *state;
	struct infohash a = hash_a();
	struct access_list *l;
	char why[200];

	write_text(s, HEX_A "\n");
	l = access_new(ACCESS_ALLOW, s->path, why, sizeof(why));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		write_list(s, bad[i].text, bad[i].len);
		why[0] = 0;
		assert_int_equal(access_reload(l, why, sizeof(why)), -EINVAL);
		assert_int_equal(strncmp(why, s->path, strlen(s->path)), 0);
		assert_non_null(strstr(why, bad[i].says));
		assert_true(access_allows(l, &a)); /* as before */
		assert_null(access_new(ACCESS_DENY, s->path, why, sizeof(why)));
	}
	access_free(l);
}

static void test_files_that_are_none(void **state)
{
	struct scratch *s = *state;
	struct access_list *l;
	char why[200] = "";

	assert_null(access_new(ACCESS_DENY, s->path, why, sizeof(why)));
	assert_non_null(strstr(why, "No such file"));
	assert_int_equal(mkfifo(s->path, 0600), 0);
	assert_null(access_new(ACCESS_DENY, s->path, why, sizeof(why)));
	assert_non_null(strstr(why, "not a regular file"));
	unlink(s->path);
	write_text(s, HEX_A);
	l = access_new(ACCESS_DENY, s->path, why, sizeof(why));
	unlink(s->path);
	assert_int_equal(access_reload(l, why, sizeof(why)), -ENOENT);
	assert_int_equal(access_count(l), 1);
	assert_int_equal(mkdir(s->path, 0700), 0);
	assert_int_equal(access_reload(l, why, sizeof(why)), -EISDIR);
	assert_int_equal(access_count(l), 1);
	access_free(l);
}

static void test_add_and_remove(void **state)
{
	enum {
		N = 5000
	};
	struct scratch *s = *state;
	struct access_list *l;
	char why[200];

	write_text(s, HEX_A);
	l = access_new(ACCESS_ALLOW, s->path, why, sizeof(why));
	for (int round = 0; round < 3; round++)
		for (uint64_t n = 0; n < N; n++) {
			struct infohash h = numbered(n);

			assert_int_equal(access_add(l, &h), 0);
			assert_int_equal(access_add(l, &h), 0);
			assert_true(access_allows(l, &h));
			if (n % 2) {
				access_remove(l, &h);
				access_remove(l, &h);
				assert_false(access_allows(l, &h));
			}
		}
	assert_int_equal(access_count(l), 1 + N / 2);
	for (uint64_t n = 0; n < N; n++) {
		struct infohash h = numbered(n);

		assert_int_equal(access_allows(l, &h), n % 2 == 0);
	}
	/* Only ever one at a time is listed: removed ones leave no trail. */
	for (uint64_t n = N; n < 20 * N; n++) {
		struct infohash h = numbered(n);

		assert_int_equal(access_add(l, &h), 0);
		access_remove(l, &h);
	}
	assert_int_equal(access_count(l), 1 + N / 2);
	assert_int_equal(access_reload(l, why, sizeof(why)), 0);
	assert_int_equal(access_count(l), 1);
	access_free(l);
}

/* --- readers while it changes --- */

#define READERS 4
#define KEPT    200u /* listed all the time */

struct reading {
	const struct access_list *list;
	pthread_barrier_t *start; /* else it could be over before they run */
	atomic_bool *is_over;
	uint64_t wrong, asked;
};

static void *reader(void *arg)
{
	struct reading *r = arg;

	pthread_barrier_wait(r->start);
	do {
		for (uint64_t n = 0; n < KEPT; n++) {
			struct infohash in = numbered(n);
			struct infohash out = numbered(n + (1 << 20));

			r->wrong += !access_allows(r->list, &in);
			r->wrong += access_allows(r->list, &out);
			r->asked++;
		}
	} while (!atomic_load(r->is_over));
	return NULL;
}

static void write_kept(const struct scratch *s)
{
	FILE *f = fopen(s->path, "w");

	for (uint64_t n = 0; n < KEPT; n++)
		fprintf(f, "%040llx\n", (unsigned long long)n);
	assert_int_equal(fclose(f), 0);
}

static void test_readers_while_it_changes(void **state)
{
	struct scratch *s = *state;
	struct reading readings[READERS] = { 0 };
	atomic_bool is_over = false;
	pthread_t threads[READERS];
	pthread_barrier_t start;
	struct access_list *l;
	char why[200];

	write_kept(s);
	assert_int_equal(pthread_barrier_init(&start, NULL, READERS + 1), 0);
	l = access_new(ACCESS_ALLOW, s->path, why, sizeof(why));
	for (int i = 0; i < READERS; i++) {
		readings[i].list = l;
		readings[i].start = &start;
		readings[i].is_over = &is_over;
		assert_int_equal(
			pthread_create(&threads[i], NULL, reader, &readings[i]),
			0);
	}
	pthread_barrier_wait(&start);
	for (int round = 0; round < 60; round++) {
		for (uint64_t n = 0; n < 600; n++) { /* grows once or twice */
			struct infohash h = numbered(1000 + n);

			assert_int_equal(access_add(l, &h), 0);
			if (n & 1)
				access_remove(l, &h);
		}
		assert_int_equal(access_reload(l, why, sizeof(why)), 0);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readings[i].wrong, 0);
		assert_true(readings[i].asked > 0);
	}
	pthread_barrier_destroy(&start);
	assert_int_equal(access_count(l), KEPT);
	access_free(l);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_modes),          T(test_what_a_file_may_hold),
		T(test_bad_lines),      T(test_files_that_are_none),
		T(test_add_and_remove), T(test_readers_while_it_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
