/* Goal: over real sockets and several threads every datagram is answered once,
 * to who sent it, from where it was sent to; the overlay's reach the loop; the
 * port is ours alone; stopping ends every thread. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "tracker/server/packets.h"

#define CLIENTS 20

struct lab {
	struct loop *loop;
	struct tracker_policy policy;
	struct packets *packets;
	struct addr at[2];
	unsigned num_overlay;
	struct addr overlay_from;
	uint8_t overlay[LIMIT_UDP_REQUEST_BYTES];
	size_t overlay_len;
	bool answers_at_once;
};

static void on_overlay(void *arg, const struct addr *from, const uint8_t *bytes,
		       size_t len)
{
	struct lab *l = arg;

	l->num_overlay++;
	l->overlay_from = *from;
	memcpy(l->overlay, bytes, len);
	l->overlay_len = len;
	if (l->answers_at_once)
		assert_int_equal(packets_send(l->packets, from, "here", 4), 0);
}

static int start(struct lab *l, const struct addr *binds, size_t n)
{
	struct packets_options o = { .policy = &l->policy,
				     .binds = binds,
				     .num_binds = n,
				     .threads = 3,
				     .on_overlay = on_overlay,
				     .arg = l };
	char why[200];

	return packets_start(l->loop, &o, &l->packets, why, sizeof(why));
}

static void lab_start(struct lab *l)
{
	struct swarms_options o = { .max_bytes = 0 };
	struct addr binds[2];

	memset(l, 0, sizeof(*l));
	l->loop = loop_new();
	l->policy.swarms = swarms_new(&o, clock_now_ms());
	l->policy.interval_s = 1800;
	l->policy.num_want = 50;
	l->policy.max_want = 200;
	addr_parse("127.0.0.1:0", 0, &binds[0]);
	addr_parse("[::1]:0", 0, &binds[1]);
	assert_int_equal(start(l, binds, 2), 0);
	packets_address(l->packets, 0, &l->at[0]);
	packets_address(l->packets, 1, &l->at[1]);
	assert_true(l->at[0].port && l->at[1].port);
}

static void lab_stop(struct lab *l)
{
	packets_stop(l->packets);
	swarms_free(l->policy.swarms);
	loop_free(l->loop);
}

static int client(const struct addr *to)
{
	struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	return fd;
}

static uint64_t connect_id(int fd, uint32_t tid)
{
	uint8_t b[16];

	store_be64(b, 0x41727101980);
	store_be32(b + 8, 0);
	store_be32(b + 12, tid);
	assert_int_equal(send(fd, b, 16, 0), 16);
	assert_int_equal(recv(fd, b, sizeof(b), 0), 16);
	assert_int_equal(load_be32(b), 0);
	assert_int_equal(load_be32(b + 4), tid);
	return load_be64(b + 8);
}

static void send_announce(int fd, uint64_t id, uint32_t tid, uint16_t port)
{
	uint8_t b[98] = { 0 };

	store_be64(b, id);
	store_be32(b + 8, 1);
	store_be32(b + 12, tid);
	memset(b + 16, 'h', 20);
	store_be64(b + 64, 1);
	store_be32(b + 92, UINT32_MAX);
	store_be16(b + 96, port);
	assert_int_equal(send(fd, b, sizeof(b), 0), (int)sizeof(b));
}

static void many_clients(void **state)
{
	struct packets_stats stats;
	struct lab l;

	(void)state;
	lab_start(&l);
	for (unsigned f = 0; f < 2; f++) {
		unsigned width = f ? 18 : 6, peers = 0;
		uint8_t b[1500];
		int fd[CLIENTS];

		for (uint32_t i = 0; i < CLIENTS; i++) {
			fd[i] = client(&l.at[f]);
			/* Several at once, in one batch or in more. */
			for (uint32_t k = 0; k < 5; k++)
				send_announce(fd[i], 1, 100 + k, 1);
			for (uint32_t k = 0; k < 5; k++) {
				assert_true(recv(fd[i], b, sizeof(b), 0) > 8);
				assert_int_equal(load_be32(b), 3);
				assert_int_equal(load_be32(b + 4), 100 + k);
			}
			send_announce(fd[i], connect_id(fd[i], i), i,
				      (uint16_t)(i + 1));
		}
		for (uint32_t i = 0; i < CLIENTS; i++) {
			ssize_t n = recv(fd[i], b, sizeof(b), 0);

			assert_true(n >= 20);
			assert_int_equal(load_be32(b), 1);
			assert_int_equal(load_be32(b + 4), i);
			peers += (unsigned)(n - 20) / width;
			close(fd[i]);
		}
		/* Each was told of those that came before it. */
		assert_int_equal(peers, CLIENTS * (CLIENTS - 1) / 2);
	}
	packets_stats(l.packets, &stats);
	assert_int_equal(stats.announces, 2 * CLIENTS);
	assert_int_equal(stats.connects, 2 * CLIENTS);
	assert_int_equal(stats.bad_connection_id, 10 * CLIENTS);
	lab_stop(&l);
}

static void wait_for_overlay(struct lab *l, unsigned n)
{
	int64_t end = clock_now_ms() + 10000;

	while (l->num_overlay < n && clock_now_ms() < end)
		loop_run_once(l->loop, 50);
	assert_int_equal(l->num_overlay, n);
}

static void the_overlay_has_its_own(void **state)
{
	struct packets_stats stats;
	struct sockaddr_storage ss;
	socklen_t ss_len = sizeof(ss);
	struct addr me;
	struct lab l;
	char b[3000];
	int fd;

	(void)state;
	lab_start(&l);
	fd = client(&l.at[1]);
	getsockname(fd, (struct sockaddr *)&ss, &ss_len);
	addr_from_sockaddr(&me, (struct sockaddr *)&ss, ss_len);
	assert_int_equal(send(fd, "d1:ade", 6, 0), 6);
	wait_for_overlay(&l, 1);
	assert_true(addr_eq(&l.overlay_from, &me));
	assert_int_equal(l.overlay_len, 6);
	assert_memory_equal(l.overlay, "d1:ade", 6);
	assert_int_equal(send(fd, "KTS1", 4, 0), 4);
	wait_for_overlay(&l, 2);
	/* From the tracker's own port. */
	assert_int_equal(packets_send(l.packets, &me, "answer", 6), 0);
	assert_int_equal(recv(fd, b, sizeof(b), 0), 6);
	/* Too long for anybody, and empty: nothing happens. */
	memset(b, 'd', sizeof(b));
	assert_int_equal(send(fd, b, sizeof(b), 0), (int)sizeof(b));
	assert_int_equal(send(fd, b, 0, 0), 0);
	connect_id(fd, 1);
	packets_stats(l.packets, &stats);
	assert_int_equal(stats.overlay_in, 2);
	assert_int_equal(stats.overlay_dropped, 0);
	close(fd);
	lab_stop(&l);
}

static void a_flood_is_bounded(void **state)
{
	struct packets_stats stats;
	struct lab l;
	int fd;

	(void)state;
	lab_start(&l);
	fd = client(&l.at[0]);
	for (unsigned i = 0; i < 3 * LIMIT_OVERLAY_QUEUE; i++) {
		assert_int_equal(send(fd, "d", 1, 0), 1);
		if (i % 100 == 0) /* so that no socket buffer is the bound */
			connect_id(fd, i);
	}
	connect_id(fd, 1);
	packets_stats(l.packets, &stats);
	assert_int_equal(stats.overlay_in, 3 * LIMIT_OVERLAY_QUEUE);
	assert_int_equal(stats.overlay_dropped, 2 * LIMIT_OVERLAY_QUEUE);
	wait_for_overlay(&l, LIMIT_OVERLAY_QUEUE);
	assert_int_equal(send(fd, "d", 1, 0), 1);
	connect_id(fd, 1);
	close(fd);
	lab_stop(&l); /* with one more on its way */
}

static void a_port_has_one_tracker(void **state)
{
	struct lab l, other;

	(void)state;
	lab_start(&l);
	memset(&other, 0, sizeof(other));
	other.loop = l.loop;
	other.policy.swarms = l.policy.swarms;
	assert_int_equal(start(&other, l.at, 2), -EADDRINUSE);
	assert_null(other.packets);
	lab_stop(&l);
}

/* A client that is ME, and sees what comes from TO alone. */
static int client_from(const char *me_text, const struct addr *to,
		       struct addr *me)
{
	struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	assert_int_equal(addr_parse(me_text, 0, me), 0);
	len = addr_to_sockaddr(me, &ss);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	len = addr_to_sockaddr(to, &ss);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	len = sizeof(ss);
	getsockname(fd, (struct sockaddr *)&ss, &len);
	addr_from_sockaddr(me, (struct sockaddr *)&ss, len);
	return fd;
}

/* The answers of a socket bound to ANY, asked at AT, come from AT. */
static void answers_from(const char *any, const char *at)
{
	struct addr bind, to, me;
	struct lab l;
	char b[16];
	int fd;

	lab_start(&l);
	packets_stop(l.packets);
	addr_parse(any, 0, &bind);
	assert_int_equal(start(&l, &bind, 1), 0);
	packets_address(l.packets, 0, &bind);
	assert_int_equal(addr_parse(at, bind.port, &to), 0);
	fd = client_from(to.family == 6 ? "[::1]:0" : "127.0.0.1:0", &to, &me);
	for (uint32_t i = 0; i < 100; i++)
		connect_id(fd, i);
	/* What the overlay says to it within the call, too. */
	l.answers_at_once = true;
	assert_int_equal(send(fd, "d1:ade", 6, 0), 6);
	wait_for_overlay(&l, 1);
	assert_true(addr_eq(&l.overlay_from, &me));
	assert_int_equal(recv(fd, b, sizeof(b), 0), 4);
	assert_memory_equal(b, "here", 4);
	close(fd);
	lab_stop(&l);
}

static void a_wildcard_answers_as_asked(void **state)
{
	(void)state;
	answers_from("0.0.0.0:0", "127.0.0.1");
	answers_from("0.0.0.0:0", "127.0.0.2");
	answers_from("0.0.0.0:0", "127.9.9.9");
	answers_from("[::]:0", "::1");
}

/* Gives the loopback of a network namespace of our own two more addresses. */
static const char *second_address(void)
{
	if (unshare(CLONE_NEWNET))
		return "needs root for a network namespace";
	if (system("ip link set lo up && "
		   "ip -6 addr add 2001:db8::2/128 dev lo nodad && "
		   "ip -6 addr add 2001:db8::3/128 dev lo nodad"))
		return "needs ip and IPv6";
	return NULL;
}

/* Last: the namespace is this process's from now on. */
static void a_wildcard_of_ipv6_too(void **state)
{
	const char *why = second_address();

	(void)state;
	if (why) {
		print_message("SKIP: %s\n", why);
		skip();
	}
	answers_from("[::]:0", "2001:db8::2");
	answers_from("[::]:0", "2001:db8::3");
	answers_from("[::]:0", "::1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_clients),
		cmocka_unit_test(the_overlay_has_its_own),
		cmocka_unit_test(a_flood_is_bounded),
		cmocka_unit_test(a_port_has_one_tracker),
		cmocka_unit_test(a_wildcard_answers_as_asked),
		cmocka_unit_test(a_wildcard_of_ipv6_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
