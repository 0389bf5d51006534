/* Goal: queries of announces and scrapes mean what BEP 3 and its kin say, and
 * each thing that is wrong with one is named. */
#include "tests/cmocka_all.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "tracker/server/http_query.h"

#define HASH "info_hash=mnopqrstuvwxyz%31%32345%36"

static struct span span_of(const char *text)
{
	return (struct span){ (const uint8_t *)text, strlen(text) };
}

static struct http_announce taken(const char *query)
{
	struct http_announce a;
	const char *why = http_query_announce(span_of(query), &a);

	if (why)
		fail_msg("%s: %s", query, why);
	return a;
}

static void refused(const char *query, const char *want)
{
	struct http_announce a;
	const char *why = http_query_announce(span_of(query), &a);

	if (!why || strcmp(why, want) != 0)
		fail_msg("%s: %s instead of %s", query, why ? why : "taken",
			 want);
}

static void takes_an_announce(void **state)
{
	struct http_announce a = taken(
		HASH "&peer_id=-SF0001-abcdefghijkl&port=6881&uploaded=1"
		     "&downloaded=2&left=1000&event=started&numwant=30"
		     "&compact=1&no_peer_id=1&key=cafebabe&trackerid=x&odd");

	assert_memory_equal(a.infohash.b, "mnopqrstuvwxyz123456", 20);
	assert_int_equal(a.port, 6881);
	assert_int_equal(a.left, 1000);
	assert_int_equal(a.event, ANNOUNCE_STARTED);
	assert_true(a.has_num_want);
	assert_int_equal(a.num_want, 30);
	assert_true(a.is_compact);
	assert_false(a.is_partial);
	assert_int_equal(a.ip.family, 0);
}

static void has_defaults(void **state)
{
	struct http_announce a = taken("&&port=1&" HASH "&");

	assert_true(a.is_compact);
	assert_false(a.has_num_want);
	assert_true(a.left == UINT64_MAX);
	assert_int_equal(a.event, ANNOUNCE_NONE);
}

static void knows_events_and_forms(void **state)
{
	assert_int_equal(taken(HASH "&port=1&event=stopped").event,
			 ANNOUNCE_STOPPED);
	assert_int_equal(taken(HASH "&port=1&event=completed").event,
			 ANNOUNCE_COMPLETED);
	assert_int_equal(taken(HASH "&port=1&event=").event, ANNOUNCE_NONE);
	assert_int_equal(taken(HASH "&port=1&event=odd").event, ANNOUNCE_NONE);
	assert_true(taken(HASH "&port=1&event=paused").is_partial);
	assert_true(taken(HASH "&port=1&paused=1").is_partial);
	assert_false(taken(HASH "&port=1&compact=0").is_compact);
	assert_true(taken(HASH "&port=1&left=-1").left == UINT64_MAX);
	assert_int_equal(taken(HASH "&port=1&left=0").left, 0);
}

static void counts_want(void **state)
{
	struct http_announce a = taken(HASH "&port=1&numwant=0");

	assert_true(a.has_num_want);
	assert_int_equal(a.num_want, 0);
	assert_false(taken(HASH "&port=1&numwant=-1").has_num_want);
	a = taken(HASH "&port=1&numwant=99999999999999");
	assert_true(a.num_want == UINT_MAX);
}

static void takes_addresses(void **state)
{
	char text[ADDR_STR_MAX];
	struct http_announce a =
		taken("ip=10.1.2.3&ipv4=10.0.0.9:7&ipv6=%5Bfd00%3A%3A1%5D%3A9&"
		      "port=5&" HASH);

	assert_string_equal(addr_str(&a.ip, text), "10.1.2.3:5");
	assert_string_equal(addr_str(&a.ip4, text), "10.0.0.9:7");
	assert_string_equal(addr_str(&a.ip6, text), "[fd00::1]:9");
	a = taken("ipv6=fd00::1&ip=&port=5&" HASH);
	assert_string_equal(addr_str(&a.ip6, text), "[fd00::1]:5");
	assert_int_equal(a.ip.family, 0);
	refused(HASH "&port=1&ip=localhost", "ip is no address");
	refused(HASH "&port=1&ip=1.2.3.4%00", "ip is no address");
	refused(HASH "&port=1&ipv4=::1", "ipv4 is no IPv4 address");
	refused(HASH "&port=1&ipv6=1.2.3.4", "ipv6 is no IPv6 address");
}

static void names_what_is_wrong(void **state)
{
	refused("", "info_hash is missing");
	refused("port=1", "info_hash is missing");
	refused(HASH, "port is missing");
	refused("info_hash=short&port=1", "info_hash must be 20 bytes");
	refused("info_hash=&port=1", "info_hash must be 20 bytes");
	refused(HASH "7&port=1", "info_hash must be 20 bytes");
	refused("info_hash=mnopqrstuvwxyz12345%3&port=1",
		"info_hash must be 20 bytes");
	refused("info_hash=6d6e6f707172737475767778797a313233343536&port=1",
		"info_hash must be 20 bytes");
	refused(HASH "&" HASH "&port=1", "info_hash is given twice");
	refused(HASH "&port=0", "port must be from 1 to 65535");
	refused(HASH "&port=65536", "port must be from 1 to 65535");
	refused(HASH "&port=-1", "port must be from 1 to 65535");
	refused(HASH "&port=18446744073709551617",
		"port must be from 1 to 65535");
	refused(HASH "&port=1&left=x", "left is no number");
	refused(HASH "&port=1&left=18446744073709551616", "left is no number");
	refused(HASH "&port=1&peer_id=short", "peer_id must be 20 bytes");
}

static void sorts_scrapes(void **state)
{
	struct infohash out[LIMIT_WEB_SCRAPE_HASHES];
	unsigned n;

	assert_null(
		http_query_scrape(span_of("info_hash=bbbbbbbbbbbbbbbbbbbb&x=y&"
					  "info_hash=aaaaaaaaaaaaaaaaaaa%ff&"
					  "info_hash=bbbbbbbbbbbbbbbbbbbb&"
					  "info_hash=%61aaaaaaaaaaaaaaaaaaa"),
				  out, &n));
	assert_int_equal(n, 3);
	assert_memory_equal(out[0].b, "aaaaaaaaaaaaaaaaaaaa", 20);
	assert_memory_equal(out[1].b, "aaaaaaaaaaaaaaaaaaa\xff", 20);
	assert_memory_equal(out[2].b, "bbbbbbbbbbbbbbbbbbbb", 20);
	assert_null(http_query_scrape(span_of(""), out, &n));
	assert_int_equal(n, 0);
	assert_non_null(http_query_scrape(span_of("info_hash=a"), out, &n));
}

static void bounds_scrapes(void **state)
{
	static char text[31 * (LIMIT_WEB_SCRAPE_HASHES + 1) + 1];
	struct infohash out[LIMIT_WEB_SCRAPE_HASHES];
	unsigned n;

	for (unsigned i = 0; i <= LIMIT_WEB_SCRAPE_HASHES; i++)
		snprintf(text + 31 * i, 32, "&info_hash=%020u", i);
	assert_non_null(http_query_scrape(span_of(text), out, &n));
	text[31 * LIMIT_WEB_SCRAPE_HASHES] = 0;
	assert_null(http_query_scrape(span_of(text), out, &n));
	assert_int_equal(n, LIMIT_WEB_SCRAPE_HASHES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_an_announce),
		cmocka_unit_test(has_defaults),
		cmocka_unit_test(knows_events_and_forms),
		cmocka_unit_test(counts_want),
		cmocka_unit_test(takes_addresses),
		cmocka_unit_test(names_what_is_wrong),
		cmocka_unit_test(sorts_scrapes),
		cmocka_unit_test(bounds_scrapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
