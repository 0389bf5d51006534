/* Goal: what HTTP trackers are asked is exact, what they answer is taken in
 * every form they use, and no answer, cut anywhere, does harm. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "tracker/http_tracker.h"

static void fill(struct announce_request *q)
{
	*q = (struct announce_request){
		.uploaded = 1,
		.downloaded = 2,
		.left = 3,
		.num_want = 50,
		.key = 0xbeef,
		.port = 6881,
	};
	memcpy(q->infohash.b,
	       "\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89"
	       "\xab\xcd\xef\x12\x34\x56\x78\x9a",
	       20);
	memcpy(q->peerid.b, "-WF0100-~._- /\0\xff%&=A", 20);
}

#define HASH "%124Vx%9a%bc%de%f1%23Eg%89%ab%cd%ef%124Vx%9a"
#define ID   "-WF0100-~._-%20%2f%00%ff%25%26%3dA"
#define REST                                                                   \
	"&port=6881&uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1"     \
	"&numwant=50&key=0000beef"

static void expect_url(const char *url, const struct announce_request *q,
		       int family, const char *wanted)
{
	struct buf b;

	buf_init(&b, LIMIT_HTTP_URL_BYTES + 1);
	assert_int_equal(http_tracker_url(url, q, family, NULL, 0, &b), 0);
	assert_string_equal((char *)b.ptr, wanted);
	buf_release(&b);
}

static void test_url__golden(void **state)
{
	struct announce_request q;

	fill(&q);
	expect_url("http://t/announce", &q, 4,
		   "http://t/announce?info_hash=" HASH "&peer_id=" ID REST);
}

static void test_url__queries_and_fragments(void **state)
{
	struct announce_request q;

	fill(&q);
	memset(q.infohash.b, 'a', 20);
	memset(q.peerid.b, 'b', 20);
#define TAIL "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb" REST
	expect_url("http://t/a?passkey=x", &q, 4, "http://t/a?passkey=x&" TAIL);
	expect_url("http://t/a?", &q, 4, "http://t/a?" TAIL);
	expect_url("http://t/a?x&", &q, 4, "http://t/a?x&" TAIL);
	expect_url("http://t/a#f", &q, 4, "http://t/a?" TAIL);
	expect_url("http://t/a#f?g", &q, 4, "http://t/a?" TAIL);
	expect_url("http://t/a?x#f", &q, 4, "http://t/a?x&" TAIL);
	expect_url("https://u:p@[::1]:8/a?my_port=1", &q, 4,
		   "https://u:p@[::1]:8/a?my_port=1&" TAIL);
	q.event = ANNOUNCE_STARTED;
	expect_url("http://t/a", &q, 4, "http://t/a?" TAIL "&event=started");
	q.event = ANNOUNCE_COMPLETED;
	expect_url("http://t/a", &q, 4, "http://t/a?" TAIL "&event=completed");
	q.is_partial_seed = true;
	q.event = ANNOUNCE_STOPPED;
	expect_url("http://t/a", &q, 4, "http://t/a?" TAIL "&event=stopped");
	q.event = ANNOUNCE_NONE;
	expect_url("http://t/a", &q, 4, "http://t/a?" TAIL "&event=paused");
}

static void test_url__addresses_and_tracker_id(void **state)
{
	struct announce_request q;
	struct buf b;

	fill(&q);
	memset(q.infohash.b, 'a', 20);
	memset(q.peerid.b, 'b', 20);
	assert_int_equal(addr_parse("198.51.100.7", 0, &q.ip4), 0);
	expect_url("http://t/a", &q, 4, "http://t/a?" TAIL "&ip=198.51.100.7");
	expect_url("http://t/a", &q, 6,
		   "http://t/a?" TAIL "&ipv4=198.51.100.7");
	assert_int_equal(addr_parse("2001:db8::1", 0, &q.ip6), 0);
	expect_url("http://t/a", &q, 6,
		   "http://t/a?" TAIL
		   "&ip=2001%3adb8%3a%3a1&ipv4=198.51.100.7");
	q.ip4.family = q.ip6.family = 0;
	buf_init(&b, LIMIT_HTTP_URL_BYTES + 1);
	assert_int_equal(http_tracker_url("http://t/a", &q, 4,
					  (const uint8_t *)"a&\0", 3, &b),
			 0);
	assert_string_equal((char *)b.ptr,
			    "http://t/a?" TAIL "&trackerid=a%26%00");
	buf_release(&b);
}

static void test_url__left_unknown_is_not_a_seed(void **state)
{
	struct announce_request q;
	struct buf b;

	fill(&q);
	q.left = UINT64_MAX;
	buf_init(&b, LIMIT_HTTP_URL_BYTES + 1);
	assert_int_equal(http_tracker_url("http://t/a", &q, 4, NULL, 0, &b), 0);
	assert_non_null(strstr((char *)b.ptr, "&left=16384&"));
	buf_release(&b);
}

static void test_url__refuses_what_is_ours_to_say(void **state)
{
	const char *bad[] = {
		"http://t/a?info_hash=x",      "http://t/a?x&port=1",
		"http://t/a?PEER_ID=1",        "http://t/a?left",
		"http://t/a?a;event=stopped",  "http://t/a?a=?left=0",
		"http://t/a?x=1&ip=10.0.0.1#f"
	};
	struct announce_request q;
	uint8_t id[LIMIT_TRACKER_ID_BYTES] = { 0 };
	char *url = mem_alloc(LIMIT_HTTP_URL_BYTES + 1);
	struct buf b;

	fill(&q);
	buf_init(&b, LIMIT_HTTP_URL_BYTES + 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(http_tracker_url(bad[i], &q, 4, NULL, 0, &b),
				 -EINVAL);
	memset(url, 'a', LIMIT_HTTP_URL_BYTES);
	memcpy(url, "http://t/", 9);
	assert_int_equal(http_tracker_url(url, &q, 4, NULL, 0, &b), -E2BIG);
	buf_clear(&b);
	/* The longest of each that we allow fits. */
	url[LIMIT_URL_BYTES] = '\0';
	memset(q.infohash.b, 0xff, 20);
	memset(q.peerid.b, 0xff, 20);
	q.uploaded = q.downloaded = UINT64_MAX;
	assert_int_equal(http_tracker_url(url, &q, 4, id, sizeof(id), &b), 0);
	buf_release(&b);
	free(url);
}

static int parse(const char *body, size_t len, struct announce_answer *a)
{
	announce_answer_init(a);
	return http_tracker_parse((const uint8_t *)body, len, a);
}

static int parse_str(const char *body, struct announce_answer *a)
{
	return parse(body, strlen(body), a);
}

static void expect_peer(const struct announce_answer *a, size_t i,
			const char *wanted)
{
	char s[ADDR_STR_MAX];

	assert_true(i < a->num_peers);
	assert_string_equal(addr_str(&a->peers[i], s), wanted);
}

/* BEP 23 and 7, and the keys of BEP 3, 24 and of common usage. */
static const char full[] =
	"d8:completei2e11:external ip4:\xc0\x00\x02\x09"
	"10:incompletei1e8:intervali1800e12:min intervali900e"
	"5:peers12:\xc0\x00\x02\x01\x1a\xe1\xc6\x33\x64\x07\xc8\xd5"
	"6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe1"
	"10:tracker id3:abc15:warning message4:slow";

static void test_parse__golden(void **state)
{
	struct announce_answer a;
	char body[sizeof(full) + 1], s[ADDR_STR_MAX];

	memcpy(body, full, sizeof(full) - 1);
	memcpy(body + sizeof(full) - 1, "e\n", 2);
	assert_int_equal(parse(body, sizeof(body), &a), 0);
	assert_int_equal(a.interval_s, 1800);
	assert_int_equal(a.min_interval_s, 900);
	assert_int_equal(a.seeders, 2);
	assert_int_equal(a.leechers, 1);
	assert_int_equal(a.num_peers, 3);
	expect_peer(&a, 0, "192.0.2.1:6881");
	expect_peer(&a, 1, "198.51.100.7:51413");
	expect_peer(&a, 2, "[2001:db8::1]:6881");
	assert_string_equal(addr_ip_str(&a.external_ip, s), "192.0.2.9");
	assert_int_equal(a.tracker_id_len, 3);
	assert_memory_equal(a.tracker_id, "abc", 3);
	assert_string_equal(a.warning, "slow");
	assert_string_equal(a.text, "");
	announce_answer_release(&a);
	assert_int_equal(a.num_peers, 0);
}

static void test_parse__every_prefix(void **state)
{
	for (size_t len = 0; len < sizeof(full); len++) {
		char *body = mem_dup(full, len);
		struct announce_answer a;

		assert_int_equal(parse(body, len, &a), -EBADMSG);
		assert_int_equal(a.num_peers, 0);
		assert_string_not_equal(a.text, "");
		announce_answer_release(&a);
		free(body);
	}
}

static void test_parse__peers_as_dicts(void **state)
{
	struct announce_answer a;

	assert_int_equal(parse_str("d8:intervali60e5:peersl"
				   "d2:ip9:192.0.2.17:peer id2:xx4:porti80ee"
				   "d2:ip11:2001:db8::14:porti81ee"
				   "d2:ip11:example.com4:porti82ee" /* a name */
				   "d2:ip9:192.0.2.24:porti0ee"
				   "d2:ip9:192.0.2.24:porti65536ee"
				   "d2:ip9:192.0.2.24:porti-1ee"
				   "d2:ip9:192.0.2.2e"
				   "d4:porti80eei7e3:abcle"
				   "d2:ip9:192.0.2.34:porti83eeee",
				   &a),
			 0);
	assert_int_equal(a.num_peers, 3);
	expect_peer(&a, 0, "192.0.2.1:80");
	expect_peer(&a, 1, "[2001:db8::1]:81");
	expect_peer(&a, 2, "192.0.2.3:83");
	announce_answer_release(&a);
	/* An address with a NUL in it is none. */
	assert_int_equal(parse("d5:peersld2:ip10:192.0.2.1\0"
			       "4:porti80eeee",
			       40, &a),
			 0);
	assert_int_equal(a.num_peers, 0);
	announce_answer_release(&a);
}

static void test_parse__odd_but_harmless(void **state)
{
	struct announce_answer a;

	/* Half an entry at the end, port 0, no interval, numbers below 0. */
	assert_int_equal(parse("d8:completei-5e5:peers15:"
			       "\x01\x02\x03\x04\0\0\x01\x02\x03\x04\0\x01"
			       "xyze",
			       41, &a),
			 0);
	assert_int_equal(a.num_peers, 1);
	assert_int_equal(a.interval_s, 0);
	assert_int_equal(a.seeders, -1);
	announce_answer_release(&a);
	/* opentracker, nobody there */
	assert_int_equal(parse_str("d8:completei1e10:downloadedi0e10:incomplete"
				   "i0e8:intervali1710e12:min intervali855e"
				   "5:peers0:e",
				   &a),
			 0);
	assert_int_equal(a.num_peers, 0);
	assert_int_equal(a.min_interval_s, 855);
	announce_answer_release(&a);
	/* An IPv4 tracker that answers only what it must */
	assert_int_equal(parse_str("d8:intervali5ee", &a), 0);
	/* Wrong types are as good as absent. */
	assert_int_equal(parse_str("d11:external ip3:abc8:interval1:x"
				   "5:peersde6:peers60:e",
				   &a),
			 0);
	assert_int_equal(a.external_ip.family, 0);
}

static void test_parse__refusals(void **state)
{
	struct announce_answer a;

	assert_int_equal(parse_str("d14:failure reason63:Requested download is "
				   "not authorized for use with this tracker.e",
				   &a),
			 -EPERM);
	assert_string_equal(a.text, "Requested download is not authorized for "
				    "use with this tracker.");
	assert_int_equal(a.retry_s, 0);
	/* BEP 31, in the three forms that it can be read */
	assert_int_equal(parse_str("d14:failure reason10:Overloaded"
				   "8:retry ini5ee",
				   &a),
			 -EPERM);
	assert_int_equal(a.retry_s, 300);
	parse_str("d14:failure reason1:x8:retry in1:7e", &a);
	assert_int_equal(a.retry_s, 420);
	parse_str("d14:failure reason1:x8:retry in5:nevere", &a);
	assert_int_equal(a.retry_s, -1);
	parse_str("d14:failure reason1:x8:retry in4:soone", &a);
	assert_int_equal(a.retry_s, 0);
	parse_str("d14:failure reason1:x8:retry ini-3ee", &a);
	assert_int_equal(a.retry_s, 0);
	parse_str("d14:failure reason1:x8:retry ini9223372036854775807ee", &a);
	assert_int_equal(a.retry_s, LIMIT_TRACKER_INTERVAL_S);
	/* Peers beside a reason are not taken. */
	assert_int_equal(parse_str("d14:failure reason3:\x1b[m"
				   "5:peers6:abcdefe",
				   &a),
			 -EPERM);
	assert_int_equal(a.num_peers, 0);
	assert_string_equal(a.text, "\\x1b[m");
}

static void test_parse__what_is_no_answer(void **state)
{
	const char *bad[] = { "",
			      "le",
			      "i5e",
			      "5:hello",
			      "d",
			      "de",
			      "<html></html>",
			      "d5:peersi5ee",
			      "d8:intervali0ee",
			      "d8:intervali-7ee",
			      "d8:intervali05ee" };
	struct announce_answer a;
	struct buf b;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(parse_str(bad[i], &a), -EBADMSG);
	buf_init(&b, 0);
	buf_add_str(&b, "d5:peers");
	for (int i = 0; i < 100; i++)
		buf_add_str(&b, "l");
	for (int i = 0; i < 100; i++)
		buf_add_str(&b, "e");
	buf_add_str(&b, "e");
	announce_answer_init(&a);
	assert_int_equal(http_tracker_parse(b.ptr, b.len, &a), -E2BIG);
	buf_release(&b);
}

static void test_parse__caps(void **state)
{
	struct announce_answer a;
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b, "d5:peers%d:", 6 * 10000);
	for (int i = 0; i < 10000; i++)
		buf_add(&b, "\x01\x02\x03\x04\x05\x06", 6);
	buf_printf(&b, "10:tracker id%d:", LIMIT_TRACKER_ID_BYTES + 1);
	for (int i = 0; i < LIMIT_TRACKER_ID_BYTES + 1; i++)
		buf_add_str(&b, "x");
	buf_printf(&b, "15:warning message9999:");
	for (int i = 0; i < 9999; i++)
		buf_add_str(&b, "w");
	buf_add_str(&b, "e");
	announce_answer_init(&a);
	assert_int_equal(http_tracker_parse(b.ptr, b.len, &a), 0);
	assert_int_equal(a.num_peers, LIMIT_TRACKER_PEERS);
	assert_int_equal(a.tracker_id_len, 0);
	assert_int_equal(strlen(a.warning), LIMIT_TRACKER_TEXT_BYTES - 1);
	announce_answer_release(&a);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url__golden),
		cmocka_unit_test(test_url__queries_and_fragments),
		cmocka_unit_test(test_url__addresses_and_tracker_id),
		cmocka_unit_test(test_url__left_unknown_is_not_a_seed),
		cmocka_unit_test(test_url__refuses_what_is_ours_to_say),
		cmocka_unit_test(test_parse__golden),
		cmocka_unit_test(test_parse__every_prefix),
		cmocka_unit_test(test_parse__peers_as_dicts),
		cmocka_unit_test(test_parse__odd_but_harmless),
		cmocka_unit_test(test_parse__refusals),
		cmocka_unit_test(test_parse__what_is_no_answer),
		cmocka_unit_test(test_parse__caps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
