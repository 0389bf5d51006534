/* Goal: one port serves both families, and each datagram reaches whom it is
 * for, in batches, without trusting its sender. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "engine/base/udp.h"

static const struct addr ANY4 = { .family = 4 };
static const struct addr ANY6 = { .family = 6 };
static const struct addr LO4 = { .family = 4, .ip = { 127, 0, 0, 1 } };
static const struct addr LO6 = { .family = 6, .ip = { [15] = 1 } };

struct got {
	struct udp *close_me;
	struct addr from;
	uint8_t first;
	size_t len;
	int n;
};

static void receive(void *arg, const struct addr *from, const uint8_t *bytes,
		    size_t len)
{
	struct got *g = arg;

	g->from = *from;
	g->first = bytes[0];
	g->len = len;
	g->n++;
	if (g->close_me)
		udp_close(g->close_me);
}

static void run_until(struct loop *l, const int *n, int want)
{
	for (int i = 0; i < 200 && *n < want; i++)
		loop_run_once(l, 10);
}

static void test_kind__by_first_byte(void **state)
{
	uint8_t b[32] = { 'd' };

	assert_int_equal(udp_kind_of(b, 1), UDP_KRPC);
	for (int type = 0; type <= 4; type++) {
		b[0] = (uint8_t)(type << 4 | 1);
		assert_int_equal(udp_kind_of(b, 20), UDP_UTP);
		assert_int_equal(udp_kind_of(b, 19), UDP_TRACKER);
	}
	b[0] = 0x51;
	assert_int_equal(udp_kind_of(b, 20), UDP_TRACKER);
	b[0] = 0x02;
	assert_int_equal(udp_kind_of(b, 20), UDP_TRACKER);
	b[0] = 0;
	assert_int_equal(udp_kind_of(b, 16), UDP_TRACKER);
}

static void test_send__reaches_the_right_taker(void **state)
{
	struct loop *l = loop_new();
	struct udp *a, *b;
	struct got tracker = { 0 }, krpc = { 0 };
	struct addr to = LO4;
	char big[65507];

	assert_int_equal(udp_open(l, &LO4, NULL, 0, &a), 0);
	assert_int_equal(udp_open(l, &LO4, NULL, 0, &b), 0);
	assert_true(udp_port(b) != 0);
	assert_true(udp_has_family(b, 4));
	assert_false(udp_has_family(b, 6));
	udp_register(b, UDP_TRACKER, receive, &tracker);
	udp_register(b, UDP_KRPC, receive, &krpc);
	to.port = udp_port(b);
	assert_int_equal(udp_send(a, &to, "d1:q", 4), 0);
	assert_int_equal(udp_send(a, &to, "", 0), 0);
	/* uTP without a taker: dropped */
	assert_int_equal(udp_send(a, &to, "\x01__________________________", 20),
			 0);
	memset(big, 0, sizeof(big));
	assert_int_equal(udp_send(a, &to, big, sizeof(big)), 0);
	run_until(l, &tracker.n, 1);
	assert_int_equal(krpc.n, 1);
	assert_int_equal(krpc.len, 4);
	assert_int_equal(krpc.from.port, udp_port(a));
	assert_true(addr_ip_eq(&krpc.from, &LO4));
	assert_int_equal(tracker.n, 1);
	assert_int_equal(tracker.len, sizeof(big));
	assert_int_equal(udp_send(a, &LO6, "x", 1), -EAFNOSUPPORT);
	udp_close(a);
	udp_close(b);
	loop_free(l);
}

static void test_open__same_port_in_both_families(void **state)
{
	struct loop *l = loop_new();
	struct udp *u, *v;
	struct got g = { 0 };
	struct addr to = LO6;

	assert_int_equal(udp_open(l, &ANY4, &ANY6, 0, &u), 0);
	if (!udp_has_family(u, 6)) {
		udp_close(u);
		loop_free(l);
		return; /* no such family here: nothing to see */
	}
	udp_register(u, UDP_TRACKER, receive, &g);
	to.port = udp_port(u);
	assert_int_equal(udp_send(u, &to, "\0a", 2), 0);
	run_until(l, &g.n, 1);
	assert_int_equal(g.from.family, 6);
	to = LO4;
	to.port = udp_port(u);
	assert_int_equal(udp_send(u, &to, "\0b", 2), 0);
	run_until(l, &g.n, 2);
	assert_int_equal(g.from.family, 4);
	/* Taken in one family is taken. */
	assert_int_equal(udp_open(l, &ANY4, NULL, udp_port(u), &v),
			 -EADDRINUSE);
	assert_int_equal(udp_open(l, NULL, &ANY6, udp_port(u), &v),
			 -EADDRINUSE);
	udp_close(u);
	loop_free(l);
}

static void test_open__reports_a_taken_port(void **state)
{
	struct loop *l = loop_new();
	struct udp *u, *v;
	const struct addr elsewhere = { .family = 4, .ip = { 203, 0, 113, 9 } };

	assert_int_equal(udp_open(l, &LO4, NULL, 0, &u), 0);
	/* IPv6 would work, the port is still refused as a whole. */
	assert_int_equal(udp_open(l, &LO4, &LO6, udp_port(u), &v), -EADDRINUSE);
	assert_int_equal(udp_open(l, &elsewhere, NULL, 0, &v), -EADDRNOTAVAIL);
	assert_int_equal(udp_open(l, NULL, NULL, 0, &v), -EAFNOSUPPORT);
	udp_close(u);
	loop_free(l);
}

static void test_receive__many_and_close_inside(void **state)
{
	struct loop *l = loop_new();
	struct udp *a, *b;
	struct got g = { 0 };
	struct addr to = LO4;
	int had;

	assert_int_equal(udp_open(l, &LO4, NULL, 0, &a), 0);
	assert_int_equal(udp_open(l, &LO4, NULL, 0, &b), 0);
	udp_register(b, UDP_TRACKER, receive, &g);
	to.port = udp_port(b);
	for (int i = 0; i < 100; i++)
		assert_int_equal(udp_send(a, &to, "\0", 1), 0);
	run_until(l, &g.n, 100);
	assert_int_equal(g.n, 100);
	had = g.n;
	g.close_me = b;
	for (int i = 0; i < 10; i++)
		assert_int_equal(udp_send(a, &to, "\0", 1), 0);
	run_until(l, &g.n, had + 1);
	assert_int_equal(g.n, had + 1);
	udp_close(a);
	udp_close(NULL);
	loop_free(l);
}

struct tapper {
	struct udp_tap tap;
	char wants;
	int asked, taken;
	bool leaves; /* removes itself while it is asked */
};

static bool take(struct udp_tap *tap, const struct addr *from,
		 const uint8_t *bytes, size_t len)
{
	struct tapper *t = (struct tapper *)(void *)tap;

	t->asked++;
	if (t->leaves)
		udp_remove_tap(tap);
	if (bytes[1] != t->wants)
		return false;
	t->taken++;
	return true;
}

static void test_taps__come_first(void **state)
{
	/* Goal: KRPC goes to the first tap that takes it, else to who
	 * registered; other kinds pass all taps by. */
	static const char *const sent[] = { "da", "db", "dc", "\0\0", "da" };
	struct loop *l = loop_new();
	struct udp *u;
	struct got krpc = { 0 }, tracker = { 0 };
	struct tapper a = { .tap.take = take, .wants = 'a' };
	struct tapper b = { .tap.take = take, .wants = 'b', .leaves = true };
	struct addr to = LO4;

	assert_int_equal(udp_open(l, &LO4, NULL, 0, &u), 0);
	to.port = udp_port(u);
	udp_register(u, UDP_KRPC, receive, &krpc);
	udp_register(u, UDP_TRACKER, receive, &tracker);
	udp_add_tap(u, &a.tap);
	udp_add_tap(u, &b.tap);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(udp_send(u, &to, sent[i], 2), 0);
	run_until(l, &a.taken, 2);
	assert_int_equal(a.asked, 4);
	assert_int_equal(a.taken, 2);
	assert_int_equal(b.asked, 1);
	assert_int_equal(b.taken, 1);
	assert_int_equal(krpc.n, 1);
	assert_int_equal(tracker.n, 1);
	udp_remove_tap(&a.tap);
	udp_close(u);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kind__by_first_byte),
		cmocka_unit_test(test_send__reaches_the_right_taker),
		cmocka_unit_test(test_open__same_port_in_both_families),
		cmocka_unit_test(test_open__reports_a_taken_port),
		cmocka_unit_test(test_receive__many_and_close_inside),
		cmocka_unit_test(test_taps__come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
