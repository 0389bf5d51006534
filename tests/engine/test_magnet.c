/* Goal: links as people paste them are understood, what would fetch something
 * else is refused, and a link that we write reads back as the same. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/magnet.h"

#define HEX40 "0123456789abcdef0123456789abcdef01234567"
#define HEX64 "00112233445566778899aabbccddeeffffeeddccbbaa99887766554433221100"
#define BTIH  "magnet:?xt=urn:btih:" HEX40
#define BTMH  "xt=urn:btmh:1220" HEX64

static struct magnet *accept_n(const char *text, size_t len)
{
	char why[MAGNET_WHY_SIZE];
	struct magnet *m;
	int r = magnet_parse(text, len, &m, why);

	if (r)
		print_error("refused: %s: %s\n", text, why);
	assert_int_equal(r, 0);
	assert_string_equal(why, "");
	return m;
}

static struct magnet *accept_link(const char *text)
{
	return accept_n(text, strlen(text));
}

static void refuse(const char *text, const char *rule)
{
	char why[MAGNET_WHY_SIZE];
	struct magnet *m;

	assert_int_equal(magnet_parse(text, strlen(text), &m, why), -EBADMSG);
	if (!strstr(why, rule))
		print_error("%s: \"%s\", not \"%s\"\n", text, why, rule);
	assert_non_null(strstr(why, rule));
	assert_null(m);
}

/* TEXT reads as what CANON says, and CANON is a fixed point. */
static void canonical(const char *text, const char *canon)
{
	struct magnet *m = accept_link(text), *again;
	char *out = magnet_format(m), *out2;

	assert_string_equal(out, canon);
	again = accept_link(out);
	assert_int_equal(m->has_v1, again->has_v1);
	assert_int_equal(m->has_v2, again->has_v2);
	assert_true(infohash_eq(&m->infohash, &again->infohash));
	if (m->has_v2)
		assert_true(infohash2_eq(&m->infohash2, &again->infohash2));
	out2 = magnet_format(again);
	assert_string_equal(out2, canon);
	free(out);
	free(out2);
	magnet_free(m);
	magnet_free(again);
}

static void test_infohash__in_every_dress(void **state)
{
	static const char b32[] = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH";
	char text[200], hex[41];
	struct magnet *m;

	canonical(HEX40, BTIH);
	canonical("  " HEX40 "\r\n", BTIH);
	canonical("0123456789ABCDEF0123456789ABCDEF01234567", BTIH);
	canonical(
		"magnet:?xt=urn:btih:0123456789ABCDEF0123456789abcdef01234567",
		BTIH);
	canonical("MAGNET:?XT=URN:BTIH:" HEX40, BTIH);
	canonical("magnet:?xt=urn%3Abtih%3a" HEX40, BTIH);
	canonical("magnet:?dn=&xt=urn:btih:" HEX40 "&&x&=&", BTIH);
	canonical("magnet:?xt.1=urn:btih:" HEX40, BTIH);
	canonical("magnet:?xt=urn:sha1:ABC&xt=urn:btih:" HEX40, BTIH);
	canonical(BTIH "&xt=urn:btih:" HEX40, BTIH);
	canonical("magnet:?" BTMH, "magnet:?" BTMH);
	canonical(HEX64, "magnet:?" BTMH);
	canonical("magnet:?" BTMH "&xt=urn:btih:" HEX40, BTIH "&" BTMH);
	snprintf(text, sizeof(text), "magnet:?xt=urn:btih:%s", b32);
	m = accept_link(text);
	assert_string_equal(hex_encode(m->infohash.b, 20, hex), HEX40);
	magnet_free(m);
}

static void test_infohash__of_v2_is_cut_to_20_bytes(void **state)
{
	struct magnet *m = accept_link("magnet:?" BTMH);

	assert_false(m->has_v1);
	assert_true(m->has_v2);
	assert_memory_equal(m->infohash.b, m->infohash2.b, 20);
	magnet_free(m);
}

static void test_refused(void **state)
{
	static const char not_a_link[] = "neither \"magnet:?...\"";

	refuse("", not_a_link);
	refuse("   ", not_a_link);
	refuse("http://example.org/x.torrent", not_a_link);
	refuse("magnet:xt=urn:btih:" HEX40, not_a_link);
	refuse(HEX40 "0", not_a_link);
	refuse("z123456789abcdef0123456789abcdef01234567", not_a_link);
	refuse("magnet:?", "has no infohash");
	refuse("magnet:?dn=x&tr=http://a/", "has no infohash");
	refuse("magnet:?xt=", "has no infohash");
	refuse("magnet:?xt=urn:sha1:" HEX40, "has no infohash");
	refuse("magnet:?xt=urn:btih:", "urn:btih");
	refuse("magnet:?xt=urn:btih:" HEX40 "0", "urn:btih");
	refuse("magnet:?xt=urn:btih:0123", "urn:btih");
	refuse("magnet:?xt=urn:btih:" HEX64, "urn:btih");
	refuse("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef0123456g",
	       "urn:btih");
	refuse("magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASGRL1",
	       "urn:btih");
	refuse("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef0123%00",
	       "urn:btih");
	refuse("magnet:?xt=urn:btmh:" HEX64, "urn:btmh");
	refuse("magnet:?xt=urn:btmh:1120" HEX64, "urn:btmh");
	refuse("magnet:?xt=urn:btmh:1221" HEX64, "urn:btmh");
	refuse("magnet:?xt=urn:btmh:1220" HEX40, "urn:btmh");
	refuse(BTIH "&xt=urn:btih:1123456789abcdef0123456789abcdef01234567",
	       "two different");
}

static void test_refused__too_long(void **state)
{
	char *text = mem_alloc(LIMIT_MAGNET_BYTES + 2), why[MAGNET_WHY_SIZE];
	struct magnet *m;

	memset(text, 'x', LIMIT_MAGNET_BYTES + 1);
	memcpy(text, BTIH "&", strlen(BTIH) + 1);
	assert_int_equal(magnet_parse(text, LIMIT_MAGNET_BYTES + 1, &m, why),
			 -E2BIG);
	assert_int_equal(magnet_parse(text, LIMIT_MAGNET_BYTES, &m, why), 0);
	magnet_free(m);
	free(text);
}

static void test_name(void **state)
{
	struct magnet *m = accept_link(BTIH "&dn=a%20b+c%2Bd&dn=other");

	assert_string_equal(m->name, "a b c+d");
	magnet_free(m);
	m = accept_link(BTIH "&amp;dn=%C3%A9%2e%2E%2Fx");
	assert_string_equal(m->name, "\xc3\xa9../x");
	magnet_free(m);
	m = accept_link(BTIH "&dn=100%&dn=x");
	assert_string_equal(m->name, "100%");
	magnet_free(m);
	m = accept_link(BTIH "&dn=a%00b%zz%4");
	assert_string_equal(m->name, "a_b%zz%4");
	magnet_free(m);
	canonical(BTIH "&dn=a b/\xc3\xa9~", BTIH "&dn=a%20b%2F%C3%A9~");
}

static void test_nul__in_the_text(void **state)
{
	static const char text[] = BTIH "\0&dn=x";
	char why[MAGNET_WHY_SIZE];
	struct magnet *m;

	assert_int_equal(magnet_parse(text, sizeof(text) - 1, &m, why),
			 -EBADMSG);
	m = accept_n(BTIH "&dn=x\0y", sizeof(BTIH "&dn=x\0y") - 1);
	assert_string_equal(m->name, "x_y");
	magnet_free(m);
}

static void test_trackers_and_webseeds(void **state)
{
	struct magnet *m = accept_link(
		BTIH "&tr=http%3A%2F%2Fa%2Fx%3Fk%3Dv%26w&tr.1=udp://b:80"
		     "&tr=http://a/x?k=v%26w&tr=ftp://c/&tr=http%3A%2F%2Fd%2F"
		     "%0Ax&ws=https://w/f+g&ws=udp://w:1");

	assert_int_equal(m->num_trackers, 2);
	assert_string_equal(m->trackers[0], "http://a/x?k=v&w");
	assert_string_equal(m->trackers[1], "udp://b:80");
	assert_int_equal(m->num_webseeds, 1);
	assert_string_equal(m->webseeds[0], "https://w/f+g");
	magnet_free(m);
	canonical(BTIH "&ws=http://w/&tr=http://a/?b=c&tr=udp://b:1",
		  BTIH "&tr=http%3A%2F%2Fa%2F%3Fb%3Dc&tr=udp%3A%2F%2Fb%3A1"
		       "&ws=http%3A%2F%2Fw%2F");
}

static void test_trackers__are_bounded(void **state)
{
	struct buf b;
	struct magnet *m;

	buf_init(&b, 0);
	buf_add_str(&b, BTIH);
	for (int i = 0; i < LIMIT_TRACKERS + 9; i++)
		buf_printf(&b, "&tr=http://t/%d&x.pe=h:%d", i, i + 1);
	m = accept_n((const char *)b.ptr, b.len);
	assert_int_equal(m->num_trackers, LIMIT_TRACKERS);
	assert_int_equal(m->num_peers, LIMIT_MAGNET_PEERS);
	magnet_free(m);
	buf_release(&b);
}

static void test_peers(void **state)
{
	struct magnet *m = accept_link(
		BTIH "&x.pe=1.2.3.4:80&x.pe=host.example:6881"
		     "&x.pe=%5B::1%5D:99&x.pe=nope&x.pe=1.2.3.4:0&x.pe=:80"
		     "&x.pe=a%20b:80&x.pe=1.2.3.4:99999&x.pe=a%00b:80");

	assert_int_equal(m->num_peers, 3);
	assert_string_equal(m->peers[0], "1.2.3.4:80");
	assert_string_equal(m->peers[1], "host.example:6881");
	assert_string_equal(m->peers[2], "[::1]:99");
	magnet_free(m);
	canonical(BTIH "&x.pe=[::1]:99", BTIH "&x.pe=%5B::1%5D:99");
}

static void test_selection(void **state)
{
	canonical(BTIH "&so=0,2,4,6-8", BTIH "&so=0,2,4,6-8");
	canonical(BTIH "&so=9,3-5,4-7,8,1,1", BTIH "&so=1,3-9");
	canonical(BTIH "&so=5&so=1-2", BTIH "&so=1-2,5");
	canonical(BTIH "&so=1048575", BTIH "&so=1048575");
	refuse(BTIH "&so=x", "file selection");
	refuse(BTIH "&so=-1", "file selection");
	refuse(BTIH "&so=1-", "file selection");
	refuse(BTIH "&so=3-1", "file selection");
	refuse(BTIH "&so=1,", "file selection");
	refuse(BTIH "&so=,1", "file selection");
	refuse(BTIH "&so=1;2", "file selection");
	refuse(BTIH "&so=1048576", "file selection");
	refuse(BTIH "&so=99999999999999999999999", "file selection");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_infohash__in_every_dress),
		cmocka_unit_test(test_infohash__of_v2_is_cut_to_20_bytes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused__too_long),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_nul__in_the_text),
		cmocka_unit_test(test_trackers_and_webseeds),
		cmocka_unit_test(test_trackers__are_bounded),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_selection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
