/* Goal: a million peers in ten thousand swarms, and many swarms of one peer, at
 * three owners: comparing equal copies costs little, and so does telling what
 * changes; the figures are printed. Who lost all is given all of it. */
#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/tracker/syncnet.h"

struct size {
	unsigned peers, swarms;
};

#define MINUTE_S 60
/* What a million peers have to say: a renewal each 22.5 min of an announce each
 * 30 min, a third of whom come and go in an hour; computed beforehand. */
#define RECORDS_S 1481

static void fill(struct syncnet *n, unsigned i, const struct size *z)
{
	for (unsigned p = 0; p < z->peers; p++) {
		struct swarm_record r = {
			.infohash = syncnet_swarm(p % z->swarms),
			.peer = syncnet_peer(p, false),
			.state = p % 4 ? SWARM_LEECHER : SWARM_SEEDER,
			.age_min = (uint8_t)(p % 30)
		};

		(void)swarms_apply(n->nodes[i].swarms, &r);
	}
}

struct figures {
	uint64_t bytes, packets, records, walks, different, handed, cpu_us;
};

static struct figures sum(struct syncnet *n)
{
	struct figures f = { .cpu_us = n->cpu_us };

	for (unsigned i = 0; i < n->kt->num; i++) {
		struct sync_stats st = syncnet_stats(n, i);

		f.bytes += st.bytes_out;
		f.packets += st.packets_out;
		f.records += st.records_out;
		f.walks += st.walks;
		f.different += st.digests_different;
		f.handed += st.handed_off;
	}
	return f;
}

/* SPENT s of 3 owners since BEFORE. */
static void print_figures(const char *what, struct syncnet *n,
			  const struct figures *before, unsigned spent_s)
{
	struct figures f = sum(n);

	print_message(
		"# %s: a tracker and second: %.1f kB in %.1f packets out, "
		"%.0f records of news, %.1f of comparisons, cpu %.2f %%; "
		"walks %lu, rounds with differences %lu\n",
		what, (double)(f.bytes - before->bytes) / 3e3 / spent_s,
		(double)(f.packets - before->packets) / 3 / spent_s,
		(double)(f.records - before->records) / 3 / spent_s,
		(double)(f.handed - before->handed) / 3 / spent_s,
		(double)(f.cpu_us - before->cpu_us) / 3e4 / spent_s,
		f.walks - before->walks, f.different - before->different);
}

static void load(struct syncnet *n, unsigned seconds, const struct size *z)
{
	unsigned peer = z->peers, due = 0;

	for (unsigned t = 0; t < seconds * 100; t++) {
		for (due += RECORDS_S; due >= 100; due -= 100, peer++) {
			struct syncnet_announce a = {
				.swarm = sim_below(n->sim, z->swarms),
				.peer = peer,
				.event = ANNOUNCE_STARTED
			};

			syncnet_announce(n, peer % 3, &a);
		}
		syncnet_run(n, 10);
	}
}

static unsigned live_peers(struct syncnet *n, unsigned i)
{
	struct swarms_stats st;

	swarms_stats(n->nodes[i].swarms, &st);
	return (unsigned)(st.peers4 + st.peers6);
}

static void measure(const struct size *z)
{
	struct sim_options so = {
		.seed = 1, .max_hosts = 8, .rtt_min_ms = 20, .rtt_max_ms = 60
	};
	struct syncnet *n = syncnet_new(&so, 8);
	struct figures before;
	int64_t begun_ms;

	syncnet_grow(n, 3);
	print_message("# %u peers in %u swarms\n", z->peers, z->swarms);
	for (unsigned i = 0; i < 3; i++)
		fill(n, i, z);
	syncnet_run(n, 1000);
	/* Sessions begin with what is theirs. */
	sync_on_change(n->nodes[0].sync);
	syncnet_run(n, 10000);
	before = sum(n);
	syncnet_run(n, MINUTE_S * 1000);
	print_figures("quiet", n, &before, MINUTE_S);
	assert_int_equal(sum(n).different, before.different);
	before = sum(n);
	load(n, MINUTE_S, z);
	print_figures("1,481 records/s", n, &before, MINUTE_S);
	syncnet_run(n, 2000);
	for (unsigned i = 1; i < 3; i++)
		assert_int_equal(live_peers(n, i), live_peers(n, 0));
	/* One is lost with all it had, and comes back. */
	syncnet_off(n, 2);
	syncnet_run(n, 1000);
	syncnet_on(n, 2);
	before = sum(n);
	begun_ms = sim_now(n->sim);
	while (live_peers(n, 2) < live_peers(n, 0) &&
	       sim_now(n->sim) < begun_ms + 300000)
		syncnet_run(n, 100);
	print_message("# %u peers given to who lost them in %ld ms, %.1f MB\n",
		      live_peers(n, 2), sim_now(n->sim) - begun_ms,
		      (double)(sum(n).bytes - before.bytes) / 1e6);
	assert_int_equal(live_peers(n, 2), live_peers(n, 0));
	syncnet_free(n);
}

static void test_million(void **state)
{
	measure(&(struct size){ 1000000, 10000 });
}

static void test_lonely_peers(void **state)
{
	measure(&(struct size){ 200000, 200000 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_million),
		cmocka_unit_test(test_lonely_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
