/* Goal: 5,000 nodes in virtual time, one packet in ten lost, 30 % of all
 * contacts dead, some nodes behind NATs, nodes coming and going: a lookup finds
 * the 8 closest of those that live and can be reached, soon, and a node that
 * does nothing costs next to nothing. WEIRFS_TEST_SEED gives another run. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "dht/dht_private.h"
#include "tests/dht/net.h"

#define NODES        5000
#define NATTED       750 /* of them */
#define DEAD_PERCENT 30  /* of all contacts */
#define LOOKUPS      1000
#define SETTLE_MS    60000
#define IDLE_MS      30000
#define SESSION_MS   (60 * 60 * 1000) /* mean life of a node */
#define MATURE_MS    (5 * 60 * 1000)  /* older ones are known by others */
#define EVERY_MS     150              /* a lookup begins, churn goes on */

static struct net *start(void)
{
	const char *seed = getenv("WEIRFS_TEST_SEED");
	unsigned reachable = NODES - NATTED;
	unsigned num_ghosts = reachable * DEAD_PERCENT / (100 - DEAD_PERCENT);
	struct sim_options o = { .seed = seed ? strtoull(seed, NULL, 0) : 1,
				 .max_hosts = NODES + 100,
				 .loss_permille = 100,
				 .rtt_min_ms = 60,
				 .rtt_max_ms = 140,
				 .jitter_ms = 5 };
	struct net *n = net_new(&o, NODES);
	struct kad_contact *ghosts =
		mem_alloc_array(num_ghosts, sizeof(*ghosts));

	for (unsigned i = 0; i < NODES; i++) {
		struct addr a = net_addr(i);

		(void)net_add(n, &a, i % (NODES / NATTED) == 0);
	}
	for (unsigned i = 0; i < num_ghosts; i++) {
		struct addr a = net_addr(NODES + i);

		ghosts[i] = net_contact(n, &a);
	}
	net_seed(n, ghosts, num_ghosts);
	free(ghosts);
	return n;
}

/* How many of what the tables hold, and tell, do not live any more. */
static double dead_share(struct net *n)
{
	unsigned all = 0, dead = 0;

	for (unsigned i = 0; i < n->num; i += 10) {
		struct kad *k;

		if (!n->nodes[i].dht)
			continue;
		k = net_kad(n, i);
		for (unsigned b = 0; b < k->table.depth; b++) {
			for (unsigned j = 0; j < k->table.buckets[b].num; j++) {
				const struct kad_node *x =
					&k->table.buckets[b].nodes[j];
				uint32_t h = sim_find(n->sim, &x->addr);

				if (x->fails)
					continue;
				all++;
				dead += h == SIM_NOBODY || !n->nodes[h].dht;
			}
		}
	}
	return all ? (double)dead / all : 0;
}

static unsigned live_one(struct net *n)
{
	unsigned i;

	do
		i = sim_below(n->sim, n->num);
	while (!n->nodes[i].dht || n->nodes[i].up_ms);
	return i;
}

/* One node goes for good as often as its kind lives long; another comes, at an
 * address where one was before, and knows a single node. BUSY stays. */
static void churn(struct net *n, int64_t ms, unsigned busy)
{
	unsigned chance =
		(unsigned)((uint64_t)NODES * (uint64_t)ms * 1000 / SESSION_MS);

	for (; chance; chance = chance > 1000 ? chance - 1000 : 0) {
		unsigned i = sim_below(n->sim, n->num);

		if (sim_below(n->sim, 1000) >= chance || i == busy)
			continue;
		n->boot = *sim_addr(n->sim, n->nodes[live_one(n)].host);
		if (n->nodes[i].dht)
			net_off(n, i);
		else
			net_on(n, i);
	}
}

/* Half of those that go come back. */
static void come_back(struct net *n, unsigned busy)
{
	for (unsigned tries = 0; tries < 4; tries++) {
		unsigned i = sim_below(n->sim, n->num);

		if (n->nodes[i].dht || i == busy)
			continue;
		n->boot = *sim_addr(n->sim, n->nodes[live_one(n)].host);
		net_on(n, i);
		return;
	}
}

static bool is_found(const struct outcome *o, const struct kad_id *id)
{
	for (unsigned i = 0; i < o->r.num_nodes; i++) {
		if (kad_id_eq(&o->nodes[i].id, id))
			return true;
	}
	return false;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t bytes_out(struct net *n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n->num; i++)
		sum += sim_traffic(n->sim, n->nodes[i].host)->bytes_out;
	return sum;
}

struct tally {
	unsigned looked_for, found, lookups, all_found, queries, hops;
	int64_t took_ms[LOOKUPS];
};

/* The 8 closest are those of all that were up while it ran; who had just come,
 * or went meanwhile, need not have been found. */
static void judge(struct net *n, unsigned me, const struct kad_id *target,
		  int64_t start_ms, const struct outcome *o, struct tally *t)
{
	unsigned want[DHT_K], num, missed = 0;

	num = net_closest(n, target, start_ms, me, DHT_K, want);
	assert_int_equal(num, DHT_K);
	for (unsigned i = 0; i < num; i++) {
		const struct net_node *x = &n->nodes[want[i]];

		if (!x->dht || x->up_ms > start_ms - MATURE_MS)
			continue;
		t->looked_for++;
		if (is_found(o, &x->id))
			t->found++;
		else
			missed++;
	}
	t->all_found += !missed;
	t->took_ms[t->lookups++] = o->r.took_ms;
	t->queries += o->r.queries;
	t->hops += o->r.hops;
}

static void look_up(struct net *n, struct tally *t)
{
	struct outcome o = { 0 };
	unsigned me = live_one(n);
	int64_t start_ms = sim_now(n->sim);
	struct kad_id target;

	for (unsigned i = 0; i < KAD_ID_BYTES; i++)
		target.b[i] = (uint8_t)sim_random(n->sim);
	assert_non_null(
		dht_find_node(n->nodes[me].dht, &target, outcome_on_done, &o));
	while (!o.is_done) {
		sim_run_until(n->sim, &o.is_done, sim_now(n->sim) + EVERY_MS);
		churn(n, EVERY_MS, me);
		come_back(n, me);
	}
	judge(n, me, &target, start_ms, &o, t);
}

static void test_lookup__5000_nodes(void **state)
{
	struct tally *t = mem_alloc(sizeof(*t));
	struct net *n = start();
	uint64_t before;
	double idle;

	sim_run(n->sim, sim_now(n->sim) + SETTLE_MS);
	before = bytes_out(n);
	sim_run(n->sim, sim_now(n->sim) + IDLE_MS);
	idle = (double)(bytes_out(n) - before) / NODES / (IDLE_MS / 1000.0);
	print_message("# idle: %.1f B/s a node; dead contacts: %.1f %%\n", idle,
		      100 * dead_share(n));
	for (unsigned i = 0; i < LOOKUPS; i++)
		look_up(n, t);
	qsort(t->took_ms, LOOKUPS, sizeof(t->took_ms[0]), compare);
	print_message("# %u lookups: all of the 8 closest found in %.1f %%, "
		      "%.2f %% of all nodes\n",
		      LOOKUPS, 100.0 * t->all_found / LOOKUPS,
		      100.0 * t->found / t->looked_for);
	print_message("# median %lld ms, p90 %lld ms, p99 %lld ms, slowest "
		      "%lld ms; %.1f queries, %.2f hops; dead contacts at the "
		      "end %.1f %%\n",
		      (long long)t->took_ms[LOOKUPS / 2],
		      (long long)t->took_ms[LOOKUPS * 9 / 10],
		      (long long)t->took_ms[LOOKUPS * 99 / 100],
		      (long long)t->took_ms[LOOKUPS - 1],
		      (double)t->queries / LOOKUPS, (double)t->hops / LOOKUPS,
		      100 * dead_share(n));
	assert_true(t->all_found >= LOOKUPS * 99 / 100);
	assert_true(t->took_ms[LOOKUPS / 2] < 700);
	assert_true(t->took_ms[LOOKUPS * 99 / 100] < 3000);
	assert_true(idle <= 1000);
	net_free(n);
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookup__5000_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
