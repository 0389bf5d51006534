/* Goal: a full scrape is one sorted dictionary of all torrents, however many
 * and however coded, and nobody has one too often. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "tracker/server/full_scrape.h"

#define MANY (LIMIT_WEB_FULL_SORTED + 20000u) /* take two passes */

static struct swarms *swarms_with(unsigned num)
{
	struct swarms_options o = { 0 };
	struct swarms *s = swarms_new(&o, 1000);
	struct swarms_announce a = { .is_seed = true };
	struct swarms_answer said;
	struct prng r = { 1 };

	addr_parse("9.9.9.9:9", 0, &a.peer);
	for (unsigned i = 0; i < num; i++) {
		for (unsigned k = 0; k < 20; k++)
			a.infohash.b[k] = (uint8_t)prng_below(&r, 256);
		swarms_announce(s, &a, 0, &said);
	}
	return s;
}

static void all_of(struct full_scrape *full, struct buf *body)
{
	while (full_scrape_next(full, body))
		;
	assert_false(body->is_broken);
	full_scrape_free(full);
}

static void unchunk(struct buf *b)
{
	size_t at = 0, to = 0, n;
	char *end;

	buf_add(b, "", 1); /* ends strtoul */
	b->len--;
	do {
		n = strtoul((char *)b->ptr + at, &end, 16);
		at = (size_t)((uint8_t *)end + 2 - b->ptr);
		memmove(b->ptr + to, b->ptr + at, n);
		to += n;
		at += n + 2;
	} while (n);
	assert_int_equal(at, b->len);
	b->len = to;
}

static void unpack(struct buf *b, int window)
{
	z_stream z = { .next_in = b->ptr, .avail_in = (unsigned)b->len };
	struct buf plain;

	buf_init(&plain, 0);
	assert_non_null(buf_reserve(&plain, (size_t)MANY * 100));
	z.next_out = plain.ptr;
	z.avail_out = (unsigned)plain.cap;
	assert_int_equal(inflateInit2(&z, window), Z_OK);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	plain.len = z.total_out;
	inflateEnd(&z);
	buf_release(b);
	*b = plain;
}

static void check_sorted(const struct buf *b, unsigned want)
{
	const uint8_t *last = NULL, *end;
	size_t at = 9;
	unsigned n = 0;

	assert_memory_equal(b->ptr, "d5:filesd", 9);
	for (; b->ptr[at] != 'e'; n++) {
		assert_memory_equal(b->ptr + at, "20:", 3);
		if (last)
			assert_true(memcmp(last, b->ptr + at + 3, 20) < 0);
		last = b->ptr + at + 3;
		end = memmem(last + 20, 80, "ee", 2);
		assert_non_null(end);
		at = (size_t)(end + 2 - b->ptr);
	}
	assert_int_equal(n, want);
	assert_int_equal(b->len, at + 2);
}

static void scrape(unsigned num, enum full_coding coding, bool is_chunked)
{
	struct swarms *s = swarms_with(num);
	struct full_scrapes *f = full_scrapes_new(s);
	struct full_options o = { .is_exempt = true,
				  .coding = coding,
				  .is_chunked = is_chunked };
	struct full_scrape *full;
	struct buf body;
	int64_t wait_ms;

	buf_init(&body, 0);
	assert_int_equal(full_scrape_new(f, &o, &full, &wait_ms), 0);
	all_of(full, &body);
	if (is_chunked)
		unchunk(&body);
	if (coding != FULL_PLAIN)
		unpack(&body, coding == FULL_GZIP ? 15 + 16 : 15);
	check_sorted(&body, num);
	buf_release(&body);
	full_scrapes_free(f);
	swarms_free(s);
}

static void none_and_some(void **state)
{
	scrape(0, FULL_PLAIN, false);
	scrape(0, FULL_GZIP, true);
	scrape(1, FULL_PLAIN, true);
	scrape(2000, FULL_DEFLATE, false);
	scrape(2000, FULL_GZIP, true);
}

static void more_than_are_sorted_at_a_time(void **state)
{
	scrape(MANY, FULL_PLAIN, true);
	scrape(MANY, FULL_GZIP, true);
	scrape(2 * LIMIT_WEB_FULL_SORTED, FULL_PLAIN, false);
}

static int try_from(struct full_scrapes *f, const char *ip, int64_t now_ms,
		    int64_t *wait_ms)
{
	struct full_options o = { .now_ms = now_ms };
	struct full_scrape *full;
	int r;

	assert_int_equal(addr_parse(ip, 0, &o.source), 0);
	r = full_scrape_new(f, &o, &full, wait_ms);
	if (!r)
		full_scrape_free(full);
	return r;
}

static void one_to_a_source(void **state)
{
	struct swarms *s = swarms_with(1);
	struct full_scrapes *f = full_scrapes_new(s);
	int64_t wait_ms;

	assert_int_equal(try_from(f, "1.2.3.4", 1000, &wait_ms), 0);
	assert_int_equal(try_from(f, "1.2.3.5", 1000, &wait_ms), 0);
	assert_int_equal(try_from(f, "1.2.3.4", 2000, &wait_ms), -EAGAIN);
	assert_int_equal(wait_ms, LIMIT_WEB_FULL_MS - 1000);
	assert_int_equal(try_from(f, "2a00::1", 1000, &wait_ms), 0);
	assert_int_equal(try_from(f, "2a00::2:3:4:5", 1000, &wait_ms),
			 -EAGAIN); /* the same /64 */
	assert_int_equal(try_from(f, "2a00:0:0:1::1", 1000, &wait_ms), 0);
	assert_int_equal(
		try_from(f, "1.2.3.4", 1000 + LIMIT_WEB_FULL_MS, &wait_ms), 0);
	full_scrapes_free(f);
	swarms_free(s);
}

static void many_sources(void **state)
{
	struct swarms *s = swarms_with(1);
	struct full_scrapes *f = full_scrapes_new(s);
	struct addr a = { .family = 4, .ip = { 5, 0, 0, 1 } };
	char text[ADDR_STR_MAX];
	int64_t wait_ms;

	for (unsigned i = 0; i < LIMIT_WEB_FULL_SOURCES; i++) {
		a.ip[1] = (uint8_t)(i >> 8);
		a.ip[2] = (uint8_t)i;
		assert_int_equal(
			try_from(f, addr_ip_str(&a, text), 1000, &wait_ms), 0);
	}
	assert_int_equal(try_from(f, "6.6.6.6", 2000, &wait_ms), -EBUSY);
	assert_int_equal(
		try_from(f, "6.6.6.6", 1000 + LIMIT_WEB_FULL_MS, &wait_ms), 0);
	full_scrapes_free(f);
	swarms_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_and_some),
		cmocka_unit_test(more_than_are_sorted_at_a_time),
		cmocka_unit_test(one_to_a_source),
		cmocka_unit_test(many_sources),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
