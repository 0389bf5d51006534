/* Goal: a look-up answers once, on a later turn, and never after a cancel. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "engine/base/resolve.h"

struct got {
	int calls, r;
	size_t n;
	struct addr first;
	bool has_why;
};

static void on_done(void *arg, int r, const struct addr *addrs, size_t n,
		    const char *why)
{
	struct got *g = arg;

	g->calls++;
	g->r = r;
	g->n = n;
	if (n)
		g->first = addrs[0];
	g->has_why = why && *why;
}

struct world {
	struct loop *loop;
	struct workers *workers;
};

static void world_open(struct world *w)
{
	w->loop = loop_new();
	w->workers = workers_new(w->loop);
	assert_non_null(w->workers);
}

static void world_close(struct world *w)
{
	workers_free(w->workers);
	loop_free(w->loop);
}

static void run_until(struct world *w, const int *calls)
{
	for (int i = 0; i < 1000 && !*calls; i++)
		loop_run_once(w->loop, 20);
}

static void test_resolve__numeric_on_a_later_turn(void **state)
{
	struct world w;
	struct got g4 = { 0 }, g6 = { 0 };

	world_open(&w);
	resolve_start(w.loop, w.workers, "127.0.0.1", 80, on_done, &g4);
	resolve_start(w.loop, w.workers, "::1", 81, on_done, &g6);
	assert_int_equal(g4.calls, 0);
	run_until(&w, &g6.calls);
	assert_int_equal(g4.calls, 1);
	assert_int_equal(g4.r, 0);
	assert_int_equal(g4.n, 1);
	assert_int_equal(g4.first.port, 80);
	assert_true(addr_is_loopback(&g4.first));
	assert_int_equal(g6.first.family, 6);
	assert_int_equal(g6.first.port, 81);
	world_close(&w);
}

static void test_resolve__names(void **state)
{
	struct world w;
	struct got good = { 0 }, bad = { 0 };
	char too_long[300];

	world_open(&w);
	resolve_start(w.loop, w.workers, "localhost", 6969, on_done, &good);
	run_until(&w, &good.calls);
	assert_int_equal(good.r, 0);
	assert_true(good.n >= 1);
	assert_true(addr_is_loopback(&good.first));
	assert_int_equal(good.first.port, 6969);
	/* Longer than a name can be: fails without asking anyone. */
	memset(too_long, 'a', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = '\0';
	resolve_start(w.loop, w.workers, too_long, 1, on_done, &bad);
	run_until(&w, &bad.calls);
	assert_int_equal(bad.r, -EHOSTUNREACH);
	assert_int_equal(bad.n, 0);
	assert_true(bad.has_why);
	world_close(&w);
}

static void test_cancel__promises_silence(void **state)
{
	struct world w;
	struct got g[3] = { 0 };
	struct resolve *r[3];

	world_open(&w);
	r[0] = resolve_start(w.loop, w.workers, "127.0.0.1", 1, on_done, &g[0]);
	r[1] = resolve_start(w.loop, w.workers, "localhost", 1, on_done, &g[1]);
	resolve_start(w.loop, w.workers, "localhost", 1, on_done, &g[2]);
	resolve_cancel(r[0]);
	resolve_cancel(r[1]);
	resolve_cancel(NULL);
	run_until(&w, &g[2].calls);
	world_close(&w);
	assert_int_equal(g[0].calls, 0);
	assert_int_equal(g[1].calls, 0);
	assert_int_equal(g[2].calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve__numeric_on_a_later_turn),
		cmocka_unit_test(test_resolve__names),
		cmocka_unit_test(test_cancel__promises_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
