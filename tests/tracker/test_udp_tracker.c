/* Goal: UDP tracker packets are those of BEP 15 and 41, byte for byte, and a
 * reply cut anywhere is refused or gives whole peers only. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "tracker/udp_tracker.h"

#define CID 0x0123456789abcdefull
#define TID 0x12345678u

static void expect_hex(const uint8_t *bytes, size_t len, const char *wanted)
{
	char *hex = mem_alloc(2 * len + 1);

	assert_string_equal(hex_encode(bytes, len, hex), wanted);
	free(hex);
}

static size_t unhex(const char *hex, uint8_t *out)
{
	assert_true(hex_decode(hex, strlen(hex), out, strlen(hex) / 2));
	return strlen(hex) / 2;
}

static void fill(struct announce_request *q)
{
	*q = (struct announce_request){
		.left = 1000,
		.event = ANNOUNCE_STARTED,
		.num_want = UINT32_MAX,
		.key = 0xcafebabe,
		.port = 6881,
	};
	memcpy(q->infohash.b, "mnopqrstuvwxyz123456", 20);
	memcpy(q->peerid.b, "-SF0001-abcdefghijkl", 20);
}

#define ANNOUNCE                                                               \
	"0123456789abcdef0000000112345678"                                     \
	"6d6e6f707172737475767778797a313233343536"                             \
	"2d5346303030312d6162636465666768696a6b6c"                             \
	"000000000000000000000000000003e80000000000000000"                     \
	"0000000200000000cafebabeffffffff1ae1"

static void test_connect__golden(void **state)
{
	uint8_t b[64];
	uint64_t cid;

	udp_tracker_connect(b, TID);
	expect_hex(b, UDP_TRACKER_CONNECT_BYTES,
		   "00000417271019800000000012345678");
	unhex("00000000123456780123456789abcdef", b);
	assert_int_equal(udp_tracker_parse_connect(b, 16, &cid), 0);
	assert_true(cid == CID);
	for (size_t len = 0; len < 16; len++)
		assert_int_equal(udp_tracker_parse_connect(b, len, &cid),
				 -EBADMSG);
	b[3] = 1;
	assert_int_equal(udp_tracker_parse_connect(b, 16, &cid), -EBADMSG);
}

static void test_announce__golden(void **state)
{
	struct announce_request q;
	uint8_t b[UDP_TRACKER_PACKET_MAX];
	size_t len;

	fill(&q);
	len = udp_tracker_announce(b, CID, TID, &q, 4, NULL);
	assert_int_equal(len, 98);
	expect_hex(b, len, ANNOUNCE);
	len = udp_tracker_announce(b, CID, TID, &q, 4, "/dir?a=b&c=d");
	expect_hex(b, len, ANNOUNCE "020c2f6469723f613d6226633d64");
}

static void test_announce__address_only_where_it_fits(void **state)
{
	struct announce_request q;
	uint8_t b[UDP_TRACKER_PACKET_MAX];

	fill(&q);
	assert_int_equal(addr_parse("198.51.100.7", 0, &q.ip4), 0);
	assert_int_equal(addr_parse("2001:db8::1", 0, &q.ip6), 0);
	udp_tracker_announce(b, CID, TID, &q, 4, NULL);
	expect_hex(b + 84, 4, "c6336407");
	udp_tracker_announce(b, CID, TID, &q, 6, NULL);
	expect_hex(b + 84, 4, "00000000");
	q.left = UINT64_MAX;
	udp_tracker_announce(b, CID, TID, &q, 6, NULL);
	expect_hex(b + 64, 8, "0000000000004000");
}

static void test_announce__longest_url(void **state)
{
	struct announce_request q;
	uint8_t b[UDP_TRACKER_PACKET_MAX];
	char path[LIMIT_URL_BYTES + 1];
	size_t len, at = 98, seen = 0;

	fill(&q);
	memset(path, 'p', LIMIT_URL_BYTES);
	path[LIMIT_URL_BYTES] = '\0';
	len = udp_tracker_announce(b, CID, TID, &q, 4, path);
	while (at < len) {
		assert_int_equal(b[at], 2);
		seen += b[at + 1];
		at += 2 + (size_t)b[at + 1];
	}
	assert_int_equal(at, len);
	assert_int_equal(seen, LIMIT_URL_BYTES);
}

#define REPLY4                                                                 \
	"0000000112345678000007080000000100000002c00002011ae1c6336407c8d5"
#define REPLY6                                                                 \
	"000000011234567800000708000000010000000120010db8000000000000000000"   \
	"0000011ae1"

static void test_reply__golden(void **state)
{
	struct announce_answer a;
	uint8_t b[64];
	char s[ADDR_STR_MAX];
	size_t len = unhex(REPLY4, b);

	announce_answer_init(&a);
	assert_int_equal(udp_tracker_parse_announce(b, len, 4, &a), 0);
	assert_int_equal(a.interval_s, 1800);
	assert_int_equal(a.leechers, 1);
	assert_int_equal(a.seeders, 2);
	assert_int_equal(a.num_peers, 2);
	assert_string_equal(addr_str(&a.peers[0], s), "192.0.2.1:6881");
	assert_string_equal(addr_str(&a.peers[1], s), "198.51.100.7:51413");
	announce_answer_release(&a);
	len = unhex(REPLY6, b);
	assert_int_equal(len, 38);
	assert_int_equal(udp_tracker_parse_announce(b, len, 6, &a), 0);
	assert_int_equal(a.num_peers, 1);
	assert_string_equal(addr_str(&a.peers[0], s), "[2001:db8::1]:6881");
	announce_answer_release(&a);
}

static void test_reply__every_prefix(void **state)
{
	uint8_t all[64];
	size_t full = unhex(REPLY4, all);

	for (size_t len = 0; len < full; len++) {
		uint8_t *b = mem_dup(all, len);
		struct announce_answer a;
		int r;

		announce_answer_init(&a);
		r = udp_tracker_parse_announce(b, len, 4, &a);
		assert_int_equal(r, len < 20 ? -EBADMSG : 0);
		assert_int_equal(a.num_peers, len < 20 ? 0 : (len - 20) / 6);
		announce_answer_release(&a);
		free(b);
	}
}

static void test_reply__hostile_numbers(void **state)
{
	struct announce_answer a;
	uint8_t b[64];

	announce_answer_init(&a);
	unhex("0000000112345678ffffffffffffffffffffffff", b);
	assert_int_equal(udp_tracker_parse_announce(b, 20, 4, &a), 0);
	assert_int_equal(a.interval_s, 0);
	assert_true(a.seeders == UINT32_MAX);
	/* Another action is no answer to an announce. */
	b[3] = 2;
	assert_int_equal(udp_tracker_parse_announce(b, 20, 4, &a), -EBADMSG);
}

static void test_error__text(void **state)
{
	struct announce_answer a;
	uint8_t b[64];
	size_t len;

	len = unhex("000000031234567862616420636f6e6e656374696f6e206964", b);
	announce_answer_init(&a);
	assert_int_equal(udp_tracker_parse_announce(b, len, 4, &a), -EPERM);
	assert_string_equal(a.text, "bad connection id");
	b[len++] = '\0';
	assert_int_equal(udp_tracker_parse_announce(b, len, 4, &a), -EPERM);
	assert_string_equal(a.text, "bad connection id");
	assert_int_equal(udp_tracker_parse_announce(b, 8, 4, &a), -EPERM);
	assert_string_not_equal(a.text, "");
}

static void test_scrape__golden(void **state)
{
	struct udp_tracker_counts counts[2];
	struct infohash hash;
	uint8_t b[UDP_TRACKER_PACKET_MAX];
	size_t got, len;

	memcpy(hash.b, "mnopqrstuvwxyz123456", 20);
	len = udp_tracker_scrape(b, CID, TID, &hash, 1);
	expect_hex(b, len,
		   "0123456789abcdef00000002123456786d6e6f707172737475"
		   "767778797a313233343536");
	len = unhex("0000000212345678000000050000004d00000003", b);
	assert_int_equal(udp_tracker_parse_scrape(b, len, counts, 2, &got), 0);
	assert_int_equal(got, 1);
	assert_int_equal(counts[0].seeders, 5);
	assert_int_equal(counts[0].completed, 77);
	assert_int_equal(counts[0].leechers, 3);
	for (size_t cut = 0; cut < len; cut++) {
		int r = udp_tracker_parse_scrape(b, cut, counts, 2, &got);

		assert_int_equal(r, cut < 8 ? -EBADMSG : 0);
		assert_int_equal(got, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect__golden),
		cmocka_unit_test(test_announce__golden),
		cmocka_unit_test(test_announce__address_only_where_it_fits),
		cmocka_unit_test(test_announce__longest_url),
		cmocka_unit_test(test_reply__golden),
		cmocka_unit_test(test_reply__every_prefix),
		cmocka_unit_test(test_reply__hostile_numbers),
		cmocka_unit_test(test_error__text),
		cmocka_unit_test(test_scrape__golden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
