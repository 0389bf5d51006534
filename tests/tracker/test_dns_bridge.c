/* Goal: over real sockets the DNS bridge's answers are right to the byte, and
 * no packet makes it say anything else, or nothing ever again. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "tests/tracker/fake_kt.h"
#include "tracker/overlay/dns_bridge.h"

#define QUIET_MS 60 /* without an answer by then there is none */

/* A question for foo.bt.example.org, A, and the answer 192.0.2.7. */
#define QUESTION                                                               \
	"12340100000100000000000003666f6f026274076578616d706c65036f726700"     \
	"00010001"
#define ANSWER                                                                 \
	"12348500000100010000000003666f6f026274076578616d706c65036f726700"     \
	"00010001c00c000100010000001e0004c0000207"

struct world {
	struct loop *loop;
	struct kt kt;
	struct dns_bridge *bridge;
	struct addr at;
	int fd;
};

static void open_bridge(struct world *w, const char *on, bool has_local_limit)
{
	struct dns_bridge_options o = { .domain = "bt.example.org",
					.port = 6969,
					.has_local_limit = has_local_limit };
	struct sockaddr_storage sa;
	struct addr addr;
	socklen_t len;

	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	fake_kt_init(&w->kt);
	fake_kt_add(&w->kt, "192.0.2.7", 6969);
	loop_run_once(w->loop, 0); /* this is its thread */
	w->bridge = dns_bridge_new(w->loop, &w->kt, &o);
	assert_int_equal(addr_parse(on, 0, &addr), 0);
	assert_int_equal(dns_bridge_listen(w->bridge, &addr, &w->at), 0);
	len = addr_to_sockaddr(&w->at, &sa);
	w->fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(w->fd, (struct sockaddr *)&sa, len), 0);
}

static void close_bridge(struct world *w)
{
	dns_bridge_free(w->bridge);
	loop_run_once(w->loop, 0);
	close(w->fd);
	loop_free(w->loop);
}

/* Returns the length of the answer, 0 for none. */
static size_t ask(struct world *w, const void *bytes, size_t len,
		  uint8_t out[512 + 1])
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	assert_int_equal(send(w->fd, bytes, len, 0), (ssize_t)len);
	for (int waited = 0; waited < QUIET_MS; waited += 10) {
		loop_run_once(w->loop, 10);
		fake_kt_answer(&w->kt);
		if (poll(&p, 1, 0) > 0)
			return (size_t)recv(w->fd, out, 513, 0);
	}
	return 0;
}

static size_t unhex(const char *hex, uint8_t *out)
{
	assert_true(hex_decode(hex, strlen(hex), out, strlen(hex) / 2));
	return strlen(hex) / 2;
}

static void expect(struct world *w, const char *question, const char *answer)
{
	uint8_t bytes[512], out[513];
	char hex[2 * 513 + 1];
	size_t n = ask(w, bytes, unhex(question, bytes), out);

	assert_string_equal(hex_encode(out, n, hex), answer);
}

static void test_vector__to_the_byte(void **state)
{
	struct world w;

	open_bridge(&w, "127.0.0.1", false);
	expect(&w, QUESTION, ANSWER);
	assert_int_equal(w.kt.finds, 1);
	expect(&w, QUESTION, ANSWER); /* now from memory */
	assert_int_equal(w.kt.finds, 1);
	/* Without "recursion desired", with cases changed: both come back. */
	expect(&w,
	       "123400000001000000000000"
	       "03466f4f024254074578616d706c65036f52670000010001",
	       "123484000001000100000000"
	       "03466f4f024254074578616d706c65036f52670000010001"
	       "c00c000100010000001e0004c0000207");
	close_bridge(&w);
}

static void test_vector__over_ipv6(void **state)
{
	struct world w;

	open_bridge(&w, "[::1]", false);
	expect(&w, QUESTION, ANSWER);
	close_bridge(&w);
}

/* AAAA of a name with A alone: no error, no answer, SOA beside. */
static void test_no_data__with_soa(void **state)
{
	struct world w;

	open_bridge(&w, "127.0.0.1", false);
	expect(&w,
	       "123401000001000000000000"
	       "03666f6f026274076578616d706c65036f726700001c0001",
	       "123485000001000000010000"
	       "03666f6f026274076578616d706c65036f726700001c0001"
	       "c01000060001"
	       "0000001e"
	       "0027"
	       "036e7331c010"
	       "0a686f73746d6173746572c010"
	       "00000007"
	       "00000e10"
	       "00000258"
	       "00015180"
	       "0000001e");
	close_bridge(&w);
}

static unsigned rcode_of(const uint8_t *out, size_t n)
{
	assert_true(n >= 12);
	assert_true(out[2] & 0x80);
	return out[3] & 15;
}

/* Changes the header or the tail of the question. */
static void expect_rcode(struct world *w, size_t at, uint16_t value, int rcode)
{
	uint8_t bytes[64], out[513];
	size_t len = unhex(QUESTION, bytes), n;

	store_be16(bytes + at, value);
	n = ask(w, bytes, len, out);
	if (rcode < 0)
		assert_int_equal(n, 0);
	else
		assert_int_equal(rcode_of(out, n), rcode);
}

static void test_hostile__headers(void **state)
{
	struct world w;

	open_bridge(&w, "127.0.0.1", false);
	expect_rcode(&w, 2, 0x2800, -1); /* UPDATE */
	expect_rcode(&w, 2, 0x2000, -1); /* NOTIFY */
	expect_rcode(&w, 2, 0x8100, -1); /* an answer */
	expect_rcode(&w, 4, 0, -1);
	expect_rcode(&w, 4, 2, -1); /* says two, has one */
	expect_rcode(&w, 4, 65535, -1);
	expect_rcode(&w, 34, 3, DNS_REFUSED);              /* CHAOS */
	expect_rcode(&w, 32, 255, DNS_REFUSED);            /* ANY */
	expect_rcode(&w, 32, 252, DNS_REFUSED);            /* AXFR */
	expect_rcode(&w, 17, 'y' << 8 | 't', DNS_REFUSED); /* not our zone */
	expect(&w, QUESTION, ANSWER);
	close_bridge(&w);
}

static void test_hostile__two_questions(void **state)
{
	uint8_t bytes[128], out[513];
	struct world w;
	size_t len = unhex(QUESTION, bytes);

	open_bridge(&w, "127.0.0.1", false);
	memcpy(bytes + len, bytes + 12, len - 12);
	bytes[5] = 2;
	assert_int_equal(rcode_of(out, ask(&w, bytes, 2 * len - 12, out)),
			 DNS_FORMERR);
	close_bridge(&w);
}

/* Every prefix (evdns alone would end the program at the shortest), pointers
 * that go round, labels past the end, noise. */
static void test_hostile__bodies(void **state)
{
	static const char *const bodies[] = {
		"c00c00010001",     "c00d00010001", "03666f6fc00c00010001",
		"c0ff00010001",     "3f666f6f",     "80666f6f00010001",
		"ffffffffffffffff", "00",           "0001000100010001",
	};
	uint8_t bytes[600], out[513];
	size_t len = unhex(QUESTION, bytes);
	uint32_t noise = 1;
	struct world w;

	open_bridge(&w, "127.0.0.1", false);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(send(w.fd, bytes, n, 0), (ssize_t)n);
	assert_int_equal(ask(&w, bytes, len - 1, out), 0);
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		size_t n = unhex(bodies[i], bytes + 12);

		assert_int_equal(send(w.fd, bytes, 12 + n, 0),
				 (ssize_t)(12 + n));
	}
	for (int i = 0; i < 500; i++) {
		for (size_t k = i % 2 ? 0 : 12; k < sizeof(bytes); k++) {
			noise = noise * 1664525 + 1013904223;
			bytes[k] = (uint8_t)(noise >> 24);
		}
		assert_int_equal(send(w.fd, bytes, noise % 600, 0),
				 (ssize_t)(noise % 600));
		loop_run_once(w.loop, 0);
		while (recv(w.fd, out, sizeof(out), MSG_DONTWAIT) > 0)
			continue;
	}
	loop_run_once(w.loop, 10);
	while (recv(w.fd, out, sizeof(out), MSG_DONTWAIT) > 0)
		continue;
	expect(&w, QUESTION, ANSWER);
	close_bridge(&w);
}

static void test_limit__of_equal_questions(void **state)
{
	uint8_t bytes[64], out[513];
	size_t len = unhex(QUESTION, bytes);
	struct dns_bridge_stats stats;
	struct world w;
	unsigned n = 0, cut = 0;

	open_bridge(&w, "127.0.0.1", true);
	for (int i = 0; i < LIMIT_DNS_BURST + 5; i++) {
		assert_int_equal(send(w.fd, bytes, len, 0), (ssize_t)len);
		loop_run_once(w.loop, 0);
		fake_kt_answer(&w.kt);
	}
	loop_run_once(w.loop, 0);
	while (recv(w.fd, out, sizeof(out), MSG_DONTWAIT) > 0) {
		n++;
		cut += (out[2] & 2) != 0;
	}
	dns_bridge_stats(w.bridge, &stats);
	assert_true(stats.limited >= 1);
	assert_int_equal(cut, stats.limited / 2); /* the others are dropped */
	assert_int_equal(n - cut + stats.limited, LIMIT_DNS_BURST + 5);
	close_bridge(&w);
	open_bridge(&w, "127.0.0.1", false); /* local ones are free of it */
	for (int i = 0; i < LIMIT_DNS_BURST + 5; i++)
		expect(&w, QUESTION, ANSWER);
	close_bridge(&w);
}

/* The longest names and the most addresses stay within 512 bytes, uncut. */
static void test_size__never_cut(void **state)
{
	uint8_t bytes[300], out[513];
	struct world w;
	size_t n;

	open_bridge(&w, "127.0.0.1", false);
	for (int i = 0; i < FAKE_KT_OWNERS; i++)
		fake_kt_member(&w.kt, "[2001:db8::1]", 6969, (uint8_t)i);
	n = unhex("123401000001000000000000"
		  "04726f6f74026274076578616d706c65036f726700001c0001",
		  bytes);
	n = ask(&w, bytes, n, out);
	assert_int_equal(load_be16(out + 6), DNS_MEMBERS_MAX);
	assert_int_equal(out[2] & 2, 0);
	assert_true(n <= LIMIT_DNS_ANSWER_BYTES);
	close_bridge(&w);
}

static int connect_tcp(struct world *w)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&w->at, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

/* Bytes that came until N are here, the other side closed, or it is quiet. */
static size_t hear(struct world *w, int fd, uint8_t *out, size_t n)
{
	size_t got = 0;

	for (int waited = 0; waited < QUIET_MS && got < n; waited += 10) {
		ssize_t r;

		loop_run_once(w->loop, 10);
		fake_kt_answer(&w->kt);
		r = recv(fd, out + got, n - got, MSG_DONTWAIT);
		if (!r)
			break;
		if (r > 0)
			got += (size_t)r;
	}
	return got;
}

static bool is_closed(int fd)
{
	uint8_t c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* The same bytes, in pieces, several questions at once. */
static void test_tcp__says_the_same(void **state)
{
	uint8_t q[2 + 64], a[2 + 64], out[4 * 66];
	size_t len = unhex(QUESTION, q + 2), want = unhex(ANSWER, a + 2);
	struct world w;
	int fd;

	open_bridge(&w, "127.0.0.1", false);
	store_be16(q, (uint16_t)len);
	store_be16(a, (uint16_t)want);
	fd = connect_tcp(&w);
	for (size_t i = 0; i < len + 2; i++) {
		assert_int_equal(send(fd, q + i, 1, 0), 1);
		loop_run_once(w.loop, 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(fd, q, len + 2, 0), len + 2);
	assert_int_equal(hear(&w, fd, out, 4 * (want + 2)), 4 * (want + 2));
	for (int i = 0; i < 4; i++)
		assert_memory_equal(out + (size_t)i * (want + 2), a, want + 2);
	close(fd);
	close_bridge(&w);
}

/* SOA and glue, where names are packed differently. */
static void test_tcp__packs_as_evdns_does(void **state)
{
	static const char *const asked[] = {
		"026274076578616d706c65036f72670000020001", /* NS */
		"026274076578616d706c65036f72670000060001", /* SOA */
		"046e6f6e65026274076578616d706c65036f726700000f0001",
		"00"
		"00020001",
	};
	uint8_t q[2 + 64], udp[513], tcp[2 + 513];
	struct world w;
	int fd;

	open_bridge(&w, "127.0.0.1", false);
	fake_kt_member(&w.kt, "192.0.2.1", 6969, 1);
	fake_kt_member(&w.kt, "[2001:db8::2]", 6969, 2);
	fd = connect_tcp(&w);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		size_t len = unhex("123401000001000000000000", q + 2), n;

		len += unhex(asked[i], q + 2 + len);
		store_be16(q, (uint16_t)len);
		n = ask(&w, q + 2, len, udp);
		assert_true(n > 12);
		assert_int_equal(send(fd, q, len + 2, 0), len + 2);
		assert_int_equal(hear(&w, fd, tcp, n + 2), n + 2);
		assert_int_equal(load_be16(tcp), n);
		assert_memory_equal(tcp + 2, udp, n);
	}
	close(fd);
	close_bridge(&w);
}

static void test_tcp__hostile(void **state)
{
	uint8_t q[2 + 64], out[2 + 64];
	size_t len = unhex(QUESTION, q + 2);
	struct world w;
	int fd, many[LIMIT_DNS_TCP_CONNS + 1];

	open_bridge(&w, "127.0.0.1", false);
	store_be16(q, (uint16_t)len);
	fd = connect_tcp(&w); /* UPDATE: said to be unknown, goes on */
	q[4] = 0x28;
	assert_int_equal(send(fd, q, len + 2, 0), len + 2);
	assert_int_equal(hear(&w, fd, out, 14), 14);
	assert_int_equal(out[5] & 15, DNS_NOTIMP);
	q[4] = 1;
	q[7] = 2; /* two questions */
	assert_int_equal(send(fd, q, len + 2, 0), len + 2);
	assert_int_equal(hear(&w, fd, out, 14), 14);
	assert_int_equal(out[5] & 15, DNS_FORMERR);
	q[4] = 0x81; /* an answer */
	assert_int_equal(send(fd, q, len + 2, 0), len + 2);
	assert_int_equal(hear(&w, fd, out, 1), 0);
	assert_true(is_closed(fd));
	close(fd);
	fd = connect_tcp(&w); /* longer than any question */
	assert_int_equal(send(fd, "\xff\xff", 2, 0), 2);
	assert_int_equal(hear(&w, fd, out, 1), 0);
	assert_true(is_closed(fd));
	close(fd);
	for (size_t i = 0; i < ARRAY_LEN(many); i++) {
		many[i] = connect_tcp(&w);
		loop_run_once(w.loop, 10);
	}
	loop_run_once(w.loop, 10);
	assert_true(is_closed(many[0]));
	assert_false(is_closed(many[1]));
	/* With a question of one of them waiting. */
	q[4] = 1;
	q[7] = 1;
	assert_int_equal(send(many[1], q, len + 2, 0), len + 2);
	loop_run_once(w.loop, 10);
	close_bridge(&w);
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		close(many[i]);
}

/* A stranger's resolver, if there is one here. */
static void test_dig__understands_it(void **state)
{
	char port[16], text[256] = "";
	int out[2], status = -1;
	struct world w;
	pid_t pid;

	if (access("/usr/bin/dig", X_OK) < 0)
		skip();
	open_bridge(&w, "127.0.0.1", false);
	snprintf(port, sizeof(port), "%u", w.at.port);
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		execl("/usr/bin/dig", "dig", "@127.0.0.1", "-p", port, "+short",
		      "+time=5", "+tries=1", "Foo.bt.example.org", "A", NULL);
		_exit(127);
	}
	close(out[1]);
	for (int i = 0; i < 600 && waitpid(pid, &status, WNOHANG) == 0; i++) {
		loop_run_once(w.loop, 10);
		fake_kt_answer(&w.kt);
	}
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	close(out[0]);
	assert_int_equal(status, 0);
	assert_string_equal(text, "192.0.2.7\n");
	close_bridge(&w);
}

/* Whoever waits when the bridge goes is told, and nothing is left. */
static void test_free__with_questions_that_wait(void **state)
{
	uint8_t bytes[64], out[513];
	size_t len = unhex(QUESTION, bytes);
	struct world w;
	ssize_t n;

	open_bridge(&w, "127.0.0.1", false);
	assert_int_equal(send(w.fd, bytes, len, 0), (ssize_t)len);
	loop_run_once(w.loop, 20);
	assert_int_equal(w.kt.finds, 1);
	dns_bridge_free(w.bridge);
	n = recv(w.fd, out, sizeof(out), 0);
	assert_int_equal(rcode_of(out, (size_t)n), DNS_SERVFAIL);
	assert_int_equal(w.kt.cancels, 1);
	w.bridge = NULL;
	close_bridge(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector__to_the_byte),
		cmocka_unit_test(test_vector__over_ipv6),
		cmocka_unit_test(test_no_data__with_soa),
		cmocka_unit_test(test_hostile__headers),
		cmocka_unit_test(test_hostile__two_questions),
		cmocka_unit_test(test_hostile__bodies),
		cmocka_unit_test(test_limit__of_equal_questions),
		cmocka_unit_test(test_size__never_cut),
		cmocka_unit_test(test_tcp__says_the_same),
		cmocka_unit_test(test_tcp__packs_as_evdns_does),
		cmocka_unit_test(test_tcp__hostile),
		cmocka_unit_test(test_dig__understands_it),
		cmocka_unit_test(test_free__with_questions_that_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
