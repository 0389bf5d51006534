/* Goal: owners hold equal copies, whatever happens to them: one is killed under
 * load (S2), all restart one after the other (S3), the network parts and heals
 * (S4), packets get lost. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/tracker/syncnet.h"

static struct syncnet *new_net(uint64_t seed, unsigned num, unsigned loss)
{
	struct sim_options so = { .seed = seed,
				  .max_hosts = num + 8,
				  .loss_permille = loss,
				  .rtt_min_ms = 10,
				  .rtt_max_ms = 90,
				  .jitter_ms = 3 };
	struct syncnet *n = syncnet_new(&so, num + 8);

	syncnet_grow(n, num);
	return n;
}

/* --- announces, and what should be remembered of them --- */

struct load {
	struct syncnet *net;
	unsigned num, max, swarms;
	unsigned *swarm; /* of a peer */
	uint8_t *state;  /* as syncnet_held has it */
	int64_t *at_ms;
	uint8_t *held;
};

static struct load *load_new(struct syncnet *n, unsigned swarms, unsigned max)
{
	struct load *l = mem_alloc(sizeof(*l));

	l->net = n;
	l->max = max;
	l->swarms = swarms;
	l->swarm = mem_alloc_array(max, sizeof(*l->swarm));
	l->state = mem_alloc(max);
	l->at_ms = mem_alloc_array(max, sizeof(*l->at_ms));
	l->held = mem_alloc(max);
	return l;
}

static void load_free(struct load *l)
{
	free(l->swarm);
	free(l->state);
	free(l->at_ms);
	free(l->held);
	free(l);
}

/* At any of the owners that are on. */
static void tell_owner(struct load *l, const struct syncnet_announce *a,
		       unsigned group)
{
	unsigned owners[KT_REPLICAS];
	unsigned n = syncnet_owners(l->net, a->swarm, owners), i;

	for (unsigned tries = 0; tries < 50; tries++) {
		i = owners[sim_below(l->net->sim, n)];
		if (!l->net->nodes[i].sync || l->net->nodes[i].group != group)
			continue;
		syncnet_announce(l->net, i, a);
		break;
	}
	l->state[a->peer] = a->event == ANNOUNCE_STOPPED ? SYNCNET_GONE
			    : a->is_seed                 ? 1 + SWARM_SEEDER
							 : 1 + SWARM_LEECHER;
	l->at_ms[a->peer] = sim_now(l->net->sim);
}

static void come(struct load *l, unsigned group)
{
	struct syncnet_announce a = { .peer = l->num++ };

	a.swarm = sim_below(l->net->sim, l->swarms);
	a.event = ANNOUNCE_STARTED;
	a.is_seed = sim_below(l->net->sim, 4) == 0;
	a.is_v6 = a.peer % 5 == 0;
	l->swarm[a.peer] = a.swarm;
	tell_owner(l, &a, group);
}

static void leave(struct load *l, unsigned peer, unsigned group)
{
	struct syncnet_announce a = { .swarm = l->swarm[peer],
				      .peer = peer,
				      .event = ANNOUNCE_STOPPED,
				      .is_v6 = peer % 5 == 0 };

	tell_owner(l, &a, group);
}

/* PER_S announces a second for MS; one of eight is of who leaves. */
static void run_load(struct load *l, unsigned per_s, int64_t ms)
{
	for (int64_t t = 0; t < ms; t += 10) {
		for (unsigned i = 0; i < per_s / 100 && l->num < l->max; i++) {
			unsigned peer =
				l->num ? sim_below(l->net->sim, l->num) : 0;

			/* Who leaves at another owner at once, before
			 * that has heard of the swarm, is not meant. */
			if (l->num > 100 && i % 8 == 7 &&
			    l->state[peer] != SYNCNET_GONE &&
			    l->at_ms[peer] < sim_now(l->net->sim) - 1000)
				leave(l, peer, 0);
			else
				come(l, 0);
		}
		syncnet_run(l->net, 10);
	}
}

/* How many peers told before BEFORE_MS tracker I should have otherwise. */
static unsigned count_wrong(struct load *l, unsigned i, int64_t before_ms)
{
	unsigned wrong = 0, owners[KT_REPLICAS];
	bool *is_ours = mem_alloc_array(l->swarms, sizeof(*is_ours));

	for (unsigned swarm = 0; swarm < l->swarms; swarm++) {
		unsigned n = syncnet_owners(l->net, swarm, owners);

		for (unsigned j = 0; j < n; j++)
			is_ours[swarm] |= owners[j] == i;
	}
	(void)syncnet_held(l->net, i, -1, l->held, l->max);
	for (unsigned p = 0; p < l->num; p++) {
		bool live = l->state[p] != SYNCNET_GONE;
		bool held = l->held[p] && l->held[p] != SYNCNET_GONE;

		if (is_ours[l->swarm[p]] && l->at_ms[p] < before_ms)
			wrong += live ? l->held[p] != l->state[p] : held;
	}
	free(is_ours);
	return wrong;
}

static unsigned count_all_wrong(struct load *l, int64_t before_ms)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < l->net->kt->num; i++) {
		if (l->net->nodes[i].sync)
			wrong += count_wrong(l, i, before_ms);
	}
	return wrong;
}

static void print_stats(struct syncnet *n, const char *what)
{
	for (unsigned i = 0; i < n->kt->num; i++) {
		struct sync_stats st;

		if (!n->nodes[i].sync)
			continue;
		st = syncnet_stats(n, i);
		print_message(
			"# %s: %u: sessions %u out %lu in %lu news %lu "
			"B out %lu resent %lu dup %lu refused %lu mac %lu "
			"hello %lu = %lu != %lu handed %lu fwd %lu "
			"over %lu bad %lu\n",
			what, i, st.sessions, st.records_out, st.records_in,
			st.news_in, st.bytes_out, st.resent, st.duplicates,
			st.refused, st.bad_mac, st.bad_hello, st.digests_equal,
			st.digests_different, st.handed_off, st.forwarded,
			st.overflows, st.bad_packets);
	}
}

/* --- scenarios --- */

static void test_s2__kill_one_under_load(void **state)
{
	struct syncnet *n = new_net(2, 8, 0);
	struct load *l = load_new(n, 200, 200000);
	unsigned owners[KT_REPLICAS], wrong;
	int64_t dead_ms;

	run_load(l, 5000, 12000);
	(void)syncnet_owners(n, 0, owners);
	dead_ms = sim_now(n->sim);
	/* Whoever held them with it must have them when it dies. */
	wrong = count_all_wrong(l, dead_ms - 2000);
	syncnet_off(n, owners[0]);
	print_stats(n, "S2");
	print_message(
		"# S2: %u peers, %u wrong 2 s before the end, cpu %lu us\n",
		l->num, wrong, n->cpu_us);
	assert_int_equal(wrong, 0);
	/* And the next closest becomes an owner of what it had. */
	wrong = count_all_wrong(l, dead_ms - 2000);
	assert_true(wrong > 0);
	while (wrong && sim_now(n->sim) < dead_ms + 60000) {
		syncnet_run(n, 1000);
		wrong = count_all_wrong(l, dead_ms - 2000);
	}
	print_message("# S2: %u wrong after %ld ms\n", wrong,
		      sim_now(n->sim) - dead_ms);
	assert_int_equal(wrong, 0);
	load_free(l);
	syncnet_free(n);
}

/* The least of what its owners say. */
static uint32_t completed_of(struct syncnet *n, unsigned swarm)
{
	struct infohash ih = syncnet_swarm(swarm);
	unsigned owners[KT_REPLICAS], num = syncnet_owners(n, swarm, owners);
	struct swarms_counts counts;
	uint32_t least = UINT32_MAX;

	for (unsigned i = 0; i < num; i++) {
		if (!n->nodes[owners[i]].swarms)
			continue;
		swarms_scrape(n->nodes[owners[i]].swarms, &ih, &counts);
		least = counts.completed < least ? counts.completed : least;
	}
	return least;
}

static void test_s3__rolling_restart(void **state)
{
	/* Goal: each tracker leaves, is off for 5 s and comes back with
	 * nothing but its key; when all have, everything is still there. */
	struct syncnet *n = new_net(3, 5, 10);
	struct load *l = load_new(n, 50, 20000);
	struct syncnet_announce done = { .swarm = 1,
					 .peer = 0,
					 .event = ANNOUNCE_COMPLETED,
					 .is_seed = true };
	unsigned waited, wrong;

	run_load(l, 1000, 10000);
	for (unsigned i = 0; i < 20; i++) {
		done.peer = l->num;
		l->swarm[l->num++] = 1;
		tell_owner(l, &done, 0);
		l->state[done.peer] = 1 + SWARM_SEEDER_COMPLETED;
	}
	syncnet_run(n, 5000);
	assert_int_equal(completed_of(n, 1), 20);
	for (unsigned i = 0; i < 5; i++) {
		sync_leave(n->nodes[i].sync);
		for (waited = 0; !sync_is_idle(n->nodes[i].sync); waited++) {
			assert_true(waited < 300);
			syncnet_run(n, 100);
		}
		syncnet_off(n, i);
		run_load(l, 500, 5000);
		syncnet_on(n, i);
		run_load(l, 500, 20000);
		print_message(
			"# S3: %u left after %u ms; %u wrong 20 s after it "
			"is back\n",
			i, waited * 100,
			count_all_wrong(l, sim_now(n->sim) - 2000));
	}
	syncnet_run(n, 60000);
	wrong = count_all_wrong(l, sim_now(n->sim) - 2000);
	print_stats(n, "S3");
	print_message("# S3: %u peers, %u wrong\n", l->num, wrong);
	assert_int_equal(wrong, 0);
	assert_int_equal(completed_of(n, 1), 20);
	load_free(l);
	syncnet_free(n);
}

static void part(struct syncnet *n, bool is_parted)
{
	for (unsigned i = 0; i < n->kt->num; i++)
		n->nodes[i].group = is_parted && i % 2;
}

static void test_s4__partition(void **state)
{
	/* Goal: two halves of a network hear of different things for ten
	 * minutes; 90 s after they meet, owners hold the union, and who left
	 * in one half does not come back by the other. */
	struct syncnet *n = new_net(4, 6, 0);
	struct load *l = load_new(n, 50, 40000);
	int64_t healed_ms;
	unsigned wrong = 1, before;

	run_load(l, 1000, 10000);
	/* Some leave in one half in the minute in which they came. */
	syncnet_run(n, 3000);
	before = l->num;
	part(n, true);
	for (unsigned i = 0; i < 600; i++) {
		syncnet_run(n, 1000);
		for (unsigned j = 0; j < 10; j++)
			come(l, j % 2);
		if (i < 60)
			for (unsigned j = 0; j < 10; j++)
				leave(l, i * 20 + j * 2, j % 2);
	}
	print_stats(n, "S4 parted");
	part(n, false);
	/* As a tracker's main does when there are few nodes. */
	for (unsigned i = 1; i < n->kt->num; i++)
		kt_bootstrap(n->kt->nodes[i].kt, &n->kt->boot, 1);
	healed_ms = sim_now(n->sim);
	assert_true(count_all_wrong(l, healed_ms) > 5000);
	while (wrong && sim_now(n->sim) < healed_ms + 90000) {
		syncnet_run(n, 1000);
		wrong = count_all_wrong(l, healed_ms);
	}
	print_stats(n, "S4");
	print_message("# S4: %u peers, %u before; %u wrong after %ld ms\n",
		      l->num, before, wrong, sim_now(n->sim) - healed_ms);
	assert_int_equal(wrong, 0);
	syncnet_run(n, 180000);
	wrong = count_all_wrong(l, healed_ms);
	print_message("# S4: %u wrong 3 min later\n", wrong);
	assert_int_equal(wrong, 0);
	load_free(l);
	syncnet_free(n);
}

/* AFTER_MS < 0: so long after the last announce. With many packets lost, kt
 * takes the living for dead at times; what was not told then is compared. */
static void lose(unsigned percent, int64_t after_ms)
{
	struct syncnet *n = new_net(percent, 4, percent * 10);
	struct load *l = load_new(n, 50, 40000);
	int64_t before_ms;
	unsigned wrong;

	run_load(l, 1000, 30000);
	before_ms = sim_now(n->sim) - after_ms;
	if (after_ms < 0) {
		before_ms = sim_now(n->sim);
		syncnet_run(n, -after_ms);
	}
	wrong = count_all_wrong(l, before_ms);
	print_stats(n, "loss");
	print_message("# %u %% loss: %u peers, %u wrong after %ld ms\n",
		      percent, l->num, wrong, labs(after_ms));
	assert_int_equal(wrong, 0);
	load_free(l);
	syncnet_free(n);
}

static void test_loss__nothing_is_missing_soon(void **state)
{
	lose(0, 500);
	lose(10, 4000);
	lose(30, -90000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s2__kill_one_under_load),
		cmocka_unit_test(test_s3__rolling_restart),
		cmocka_unit_test(test_s4__partition),
		cmocka_unit_test(test_loss__nothing_is_missing_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
