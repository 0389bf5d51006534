/* Goal: swarms go to new owners and both answer meanwhile (S5), a clock that
 * jumps harms nobody (S11), announces at who is no owner reach the owners and
 * are answered from what they have, swarms with a KEY live there, and who lies
 * is not believed and costs nothing. */
#include "tests/cmocka_all.h"

#include <malloc.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/tracker/syncnet.h"
#include "tracker/overlay/sync_private.h"

#define MINUTE_MS   60000
#define PEERS       4000
#define QUEUE_BYTES (2u << 20)

static struct syncnet *new_net(uint64_t seed, unsigned num)
{
	struct sim_options so = { .seed = seed,
				  .max_hosts = num + 8,
				  .rtt_min_ms = 10,
				  .rtt_max_ms = 90 };
	struct syncnet *n = syncnet_new(&so, num + 8);

	syncnet_grow(n, num);
	return n;
}

static void come(struct syncnet *n, unsigned i, unsigned swarm, unsigned peer,
		 const struct kad_id *key)
{
	struct syncnet_announce a = { .swarm = swarm,
				      .peer = peer,
				      .event = ANNOUNCE_STARTED,
				      .is_seed = peer % 4 == 0,
				      .key = key };

	syncnet_announce(n, i, &a);
}

static unsigned held_by(struct syncnet *n, unsigned i, unsigned swarm)
{
	uint8_t held[PEERS];

	return n->nodes[i].swarms ? syncnet_held(n, i, (int)swarm, held, PEERS)
				  : 0;
}

static bool is_among(unsigned i, const unsigned *set, unsigned n)
{
	bool is = false;

	for (unsigned j = 0; j < n; j++)
		is |= set[j] == i;
	return is;
}

static unsigned nobody(struct syncnet *n, unsigned swarm)
{
	unsigned owners[KT_REPLICAS], num = syncnet_owners(n, swarm, owners);
	unsigned i = 0;

	while (is_among(i, owners, num))
		i++;
	return i;
}

static void test_s5__closer_tracker_joins(void **state)
{
	/* Goal: a tracker joins and becomes an owner; it is given the swarms
	 * without anybody announcing again; who owned them before answers with
	 * all that it had. */
	struct syncnet *n = new_net(5, 5);
	unsigned owners[KT_REPLICAS], before[60][KT_REPLICAS], late, taken = 0;
	int64_t joined_ms, took_ms = 0;

	for (unsigned swarm = 0; swarm < 60; swarm++) {
		(void)syncnet_owners(n, swarm, before[swarm]);
		for (unsigned p = 0; p < 50; p++)
			come(n, before[swarm][p % 3], swarm, swarm * 50 + p,
			     NULL);
	}
	syncnet_run(n, 5000);
	late = syncnet_join(n);
	/* It owns nothing before it has settled. */
	syncnet_run(n, 9 * MINUTE_MS);
	for (unsigned swarm = 0; swarm < 60; swarm++)
		assert_int_equal(held_by(n, before[swarm][0], swarm), 50);
	joined_ms = sim_now(n->sim);
	for (unsigned swarm = 0; swarm < 60; swarm++) {
		unsigned num = syncnet_owners(n, swarm, owners);

		if (!is_among(late, owners, num))
			continue;
		taken++;
		while (held_by(n, late, swarm) < 50 &&
		       sim_now(n->sim) < joined_ms + 4 * MINUTE_MS)
			syncnet_run(n, 1000);
		took_ms = sim_now(n->sim) - joined_ms;
		assert_int_equal(held_by(n, late, swarm), 50);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(held_by(n, before[swarm][i], swarm),
					 50);
	}
	print_message("# S5: %u of 60 swarms handed on, all there %ld ms after "
		      "the ninth minute\n",
		      taken, took_ms);
	assert_true(taken > 0);
	syncnet_free(n);
}

static void test_s5__one_becomes_four(void **state)
{
	/* Goal: a lone tracker with swarms is joined by three that are closer
	 * to some of them; in the end each swarm is at its owners. */
	struct syncnet *n = new_net(15, 1);
	unsigned owners[KT_REPLICAS], missing = 0, offered = 0;

	for (unsigned p = 0; p < 2000; p++)
		come(n, 0, p % 40, p, NULL);
	for (unsigned i = 0; i < 3; i++) {
		(void)syncnet_join(n);
		syncnet_run(n, 20000);
	}
	syncnet_run(n, 12 * MINUTE_MS);
	for (unsigned swarm = 0; swarm < 40; swarm++) {
		unsigned num = syncnet_owners(n, swarm, owners);

		assert_int_equal(num, 3);
		offered += !is_among(0, owners, num);
		for (unsigned i = 0; i < num; i++)
			missing += 50 - held_by(n, owners[i], swarm);
	}
	print_message("# S5: one becomes four: %u missing; %u of 40 swarms are "
		      "no longer the first one's\n",
		      missing, offered);
	assert_int_equal(missing, 0);
	assert_true(offered > 0);
	syncnet_free(n);
}

static void test_s11__clock_jumps(void **state)
{
	/* Goal: one tracker sleeps for ten minutes (its clock goes on, it does
	 * not): it catches up, and its peers do not end with it. The wall clock
	 * is asked nowhere. */
	struct syncnet *n = new_net(11, 3);
	unsigned wrong = 0;

	for (unsigned p = 0; p < 1000; p++)
		come(n, p % 3, p % 20, p, NULL);
	syncnet_run(n, 2000);
	n->nodes[1].group = 7;
	syncnet_run(n, 10 * MINUTE_MS);
	n->nodes[1].group = 0;
	for (unsigned i = 1; i < 3; i++)
		kt_bootstrap(n->kt->nodes[i].kt, &n->kt->boot, 1);
	for (unsigned p = 1000; p < 2000; p++)
		come(n, p % 3, p % 20, p, NULL);
	syncnet_run(n, 90000);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned swarm = 0; swarm < 20; swarm++)
			wrong += 100 - held_by(n, i, swarm);
	assert_int_equal(wrong, 0);
	syncnet_free(n);
}

static void test_non_owner__no_split(void **state)
{
	/* Goal: two trackers that own nothing of a swarm are announced to; the
	 * owners hear of it at once, and each of the two hears of the other's
	 * and of the owners' peers. */
	struct syncnet *n = new_net(21, 8);
	unsigned owners[KT_REPLICAS], a, b;

	(void)syncnet_owners(n, 0, owners);
	a = nobody(n, 0);
	b = a + 1;
	while (is_among(b, owners, 3))
		b++;
	for (unsigned p = 0; p < 300; p++)
		come(n, owners[p % 3], 0, p, NULL);
	syncnet_run(n, 3000);
	come(n, a, 0, 1000, NULL);
	syncnet_run(n, 1000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(held_by(n, owners[i], 0), 301);
	syncnet_run(n, 1000);
	assert_int_equal(held_by(n, a, 0), 301);
	come(n, b, 0, 1001, NULL);
	syncnet_run(n, 3000);
	assert_int_equal(held_by(n, a, 0), 302);
	assert_int_equal(held_by(n, b, 0), 302);
	/* They are told of news, for one life. */
	come(n, owners[2], 0, 1002, NULL);
	syncnet_run(n, 1000);
	assert_int_equal(held_by(n, a, 0), 303);
	assert_int_equal(held_by(n, b, 0), 303);
	syncnet_free(n);
}

static void test_restart__of_a_client(void **state)
{
	/* Goal: a client leaves and comes back three seconds later, each time
	 * at another owner: all owners have it, though within one minute who
	 * left wins. */
	struct syncnet *n = new_net(22, 3);
	struct syncnet_announce stop = { .peer = 1, .event = ANNOUNCE_STOPPED };

	come(n, 0, 0, 1, NULL);
	come(n, 0, 0, 2, NULL);
	for (unsigned i = 0; i < 6; i++) {
		syncnet_run(n, 3000);
		syncnet_announce(n, i % 3, &stop);
		syncnet_run(n, 3000);
		for (unsigned j = 0; j < 3; j++)
			assert_int_equal(held_by(n, j, 0), 1);
		come(n, (i + 1) % 3, 0, 1, NULL);
		syncnet_run(n, 1000);
		for (unsigned j = 0; j < 3; j++)
			assert_int_equal(held_by(n, j, 0), 2);
	}
	syncnet_free(n);
}

static void test_restart__missed_by_an_owner(void **state)
{
	/* Goal: a client leaves and is back within a minute; one owner heard
	 * that it left, and was cut off before it came back. When they meet
	 * again, all owners have it. */
	for (unsigned seed = 0; seed < 4; seed++) {
		struct syncnet *n = new_net(60 + seed, 3);
		struct syncnet_announce stop = { .peer = 1,
						 .event = ANNOUNCE_STOPPED };

		come(n, 0, 0, 1, NULL);
		come(n, 0, 0, 2, NULL);
		syncnet_run(n, 3000 + seed * 15000);
		syncnet_announce(n, 0, &stop);
		syncnet_run(n, 3000);
		n->nodes[2].group = 7;
		come(n, 1, 0, 1, NULL);
		syncnet_run(n, 100000);
		assert_int_equal(held_by(n, 2, 0), 1);
		n->nodes[2].group = 0;
		for (unsigned i = 1; i < 3; i++)
			kt_bootstrap(n->kt->nodes[i].kt, &n->kt->boot, 1);
		syncnet_run(n, 90000);
		/* Who missed it may have to wait for the next announce, but
		 * it takes the peer from nobody. */
		assert_int_equal(held_by(n, 0, 0), 2);
		assert_int_equal(held_by(n, 1, 0), 2);
		syncnet_free(n);
	}
}

static void test_key__swarm_lives_there(void **state)
{
	/* Goal: a swarm whose announces name a KEY lives at the KEY's owners;
	 * announces there that name none follow it; when one of the owners
	 * dies, the next one is given the swarm and its place. */
	struct syncnet *n = new_net(31, 9);
	unsigned owners[KT_REPLICAS], next[KT_REPLICAS], default_owners[3];
	unsigned where = 0, away = 0, fresh = 0;
	struct kad_id key = { { 0 } };

	(void)syncnet_owners(n, 0, default_owners);
	/* One whose owners have nothing to do with the infohash's. */
	do {
		key = ktnet_random_id(n->kt);
		(void)ktnet_owners(n->kt, &key, owners);
		away = 0;
		for (unsigned i = 0; i < 3; i++)
			away += !is_among(owners[i], default_owners, 3);
	} while (away < 3);
	for (unsigned p = 0; p < 90; p++)
		come(n, owners[p % 3], 0, p, &key);
	syncnet_run(n, 1000);
	for (unsigned p = 90; p < 100; p++)
		come(n, owners[p % 3], 0, p, NULL);
	syncnet_run(n, 1000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(held_by(n, owners[i], 0), 100);
	for (unsigned i = 0; i < n->kt->num; i++)
		where += held_by(n, i, 0) > 0;
	assert_int_equal(where, 3);
	syncnet_off(n, owners[0]);
	syncnet_run(n, 60000);
	(void)ktnet_owners(n->kt, &key, next);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(held_by(n, next[i], 0), 100);
		if (!is_among(next[i], owners, 3))
			fresh = next[i];
	}
	come(n, fresh, 0, 200, NULL);
	syncnet_run(n, 1000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(held_by(n, next[i], 0), 101);
	syncnet_free(n);
}

static void test_key__does_not_take_a_swarm_away(void **state)
{
	/* Goal: whoever names a KEY for a swarm that has peers here does not
	 * move it. */
	struct syncnet *n = new_net(32, 8);
	unsigned owners[KT_REPLICAS];
	struct kad_id key = ktnet_random_id(n->kt);

	(void)syncnet_owners(n, 0, owners);
	for (unsigned p = 0; p < 30; p++)
		come(n, owners[p % 3], 0, p, NULL);
	syncnet_run(n, 1000);
	come(n, owners[0], 0, 100, &key);
	come(n, owners[0], 0, 101, NULL);
	syncnet_run(n, 1000);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(held_by(n, owners[i], 0), 32);
	assert_int_equal(syncnet_stats(n, owners[0]).places, 0);
	syncnet_free(n);
}

/* --- lies --- */

static struct sync_peer *peer_of(struct syncnet *n, unsigned i, unsigned other)
{
	return sync_peer_of(n->nodes[i].sync, kt_id(n->kt->nodes[other].kt));
}

/* LIAR says to VICTIM that PEER is in SWARM, or left, whatever it knows. */
static void lie_of(struct syncnet *n, unsigned liar, unsigned victim,
		   unsigned swarm, struct addr peer, bool is_forwarded,
		   enum swarm_state state)
{
	struct swarm_record r = { .infohash = syncnet_swarm(swarm),
				  .state = state,
				  .peer = peer };
	const struct addr *at = sim_addr(n->sim, n->kt->nodes[victim].host);
	struct sync_peer *p = sync_peer_get(n->nodes[liar].sync,
					    kt_id(n->kt->nodes[victim].kt), at);

	assert_non_null(p);
	assert_true(
		sync_queue_record(n->nodes[liar].sync, p, &r, is_forwarded));
	sim_poke(n->sim, n->kt->nodes[liar].host);
}

static void lie(struct syncnet *n, unsigned liar, unsigned victim,
		unsigned swarm, struct addr peer, bool is_forwarded)
{
	lie_of(n, liar, victim, swarm, peer, is_forwarded, SWARM_LEECHER);
}

/* Furthest from the swarm: it never was an owner. */
static unsigned furthest(struct syncnet *n, unsigned swarm)
{
	struct infohash ih = syncnet_swarm(swarm);
	struct kad_id place;
	unsigned far = 0;

	kt_infohash_id(ih.b, &place);
	for (unsigned i = 1; i < n->kt->num; i++) {
		if (kad_id_compare(&place, &n->kt->nodes[i].id,
				   &n->kt->nodes[far].id) > 0)
			far = i;
	}
	return far;
}

static void test_liar__beyond_its_right(void **state)
{
	/* Goal: a member that owns nothing of a swarm cannot write to it, but
	 * for forwarding a bounded number of announces; nobody lists private
	 * addresses from outside. */
	struct syncnet *n = new_net(41, 16);
	unsigned owners[KT_REPLICAS], liar = furthest(n, 0), victim;
	struct addr private = { .family = 4,
				.ip = { 192, 168, 1, 2 },
				.port = 6881 };
	struct sync_stats st;

	(void)syncnet_owners(n, 0, owners);
	victim = owners[0];
	for (unsigned i = 0; i < 500; i++)
		lie(n, liar, victim, 0, syncnet_peer(i, false), false);
	syncnet_run(n, 3000);
	st = syncnet_stats(n, victim);
	assert_int_equal(held_by(n, victim, 0), 0);
	assert_int_equal(st.refused, 500);
	/* One owner to another. */
	lie(n, owners[1], victim, 0, private, false);
	lie(n, owners[1], victim, 0, syncnet_peer(7, false), false);
	syncnet_run(n, 3000);
	assert_int_equal(held_by(n, victim, 0), 1);
	assert_int_equal(syncnet_stats(n, victim).refused, 501);
	for (unsigned i = 0; i < 5000; i++)
		lie(n, liar, victim, 0, syncnet_peer(i, false), true);
	syncnet_run(n, 1000);
	st = syncnet_stats(n, victim);
	print_message("# liar: %u of 5000 forwarded were taken, %lu refused\n",
		      held_by(n, victim, 0), st.refused);
	assert_true(held_by(n, victim, 0) > 1);
	assert_true(held_by(n, victim, 0) <= LIMIT_SYNC_FORWARDS_PER_S * 3);
	/* That they left is believed of some of them alone. */
	for (unsigned i = 0; i < PEERS; i++)
		lie_of(n, liar, victim, 0, syncnet_peer(i, false), true,
		       SWARM_GONE);
	syncnet_run(n, 1000);
	print_message("# liar: %u of %u are left\n", held_by(n, victim, 0),
		      PEERS);
	assert_true(held_by(n, victim, 0) > PEERS / 3);
	syncnet_free(n);
}

static void test_liar__compares_all_the_time(void **state)
{
	/* Goal: an owner that begins one comparison after the other costs no
	 * more walks than it may, and keeps nobody from comparing. */
	struct syncnet *n = new_net(43, 3);
	unsigned liar = 0;
	struct sync_stats before, after;

	for (unsigned i = 1; i < 3; i++) {
		if (sync_leads(n->nodes[i].sync, kt_id(n->kt->nodes[liar].kt)))
			liar = i;
	}
	for (unsigned p = 0; p < 100; p++)
		come(n, p % 3, 0, p, NULL);
	syncnet_run(n, 5000);
	before = syncnet_stats(n, (liar + 1) % 3);
	for (unsigned i = 0; i < 9000; i++) {
		uint8_t body[9] = { 0 };

		store_be32(body, i + 1);
		body[8] = LIMIT_SYNC_GROUPS_LOG2;
		for (unsigned j = 1; j < 3; j++) {
			struct sync_peer *p = peer_of(n, liar, (liar + j) % 3);

			assert_true(sync_queue_frame(n->nodes[liar].sync, p,
						     SYNC_F_BEGIN, body, 9));
		}
		sim_poke(n->sim, n->kt->nodes[liar].host);
		syncnet_run(n, 10);
	}
	after = syncnet_stats(n, (liar + 1) % 3);
	print_message("# liar: %lu walks in 90 s, %lu comparisons\n",
		      after.walks - before.walks,
		      after.digests_equal - before.digests_equal);
	assert_true(after.walks - before.walks < 110);
	assert_true(after.digests_equal > before.digests_equal);
	syncnet_free(n);
}

struct tapped { /* data that one tracker sent to another */
	struct syncnet *net;
	unsigned num;
	uint8_t bytes[64][SYNC_PACKET_BYTES];
	size_t len[64];
};

static void on_send(void *arg, unsigned from, const struct addr *to,
		    const uint8_t *bytes, size_t len)
{
	struct tapped *t = arg;

	if (from || t->num == 64 || bytes[1] != 'd' ||
	    sim_find(t->net->sim, to) != t->net->kt->nodes[1].host)
		return;
	memcpy(t->bytes[t->num], bytes, len);
	t->len[t->num++] = len;
}

static void test_outsider__replays_and_forgeries(void **state)
{
	/* Goal: packets that are sent again, or changed in any byte, or made
	 * up, change nothing and are counted; a flood of hellos makes no
	 * state. */
	struct syncnet *n = new_net(42, 3);
	const struct addr *a = sim_addr(n->sim, n->kt->nodes[0].host);
	const struct addr *b = sim_addr(n->sim, n->kt->nodes[1].host);
	struct sync *sa = n->nodes[0].sync;
	struct tapped t = { .net = n };
	struct sync_stats before, after;
	size_t used;
	uint8_t hello[SYNC_PACKET_BYTES], key[32];
	unsigned made, num_now = 0; /* of the present session */

	n->on_send = on_send;
	n->arg = &t;
	for (unsigned p = 0; p < 100; p++) {
		come(n, p % 3, 0, p, NULL);
		syncnet_run(n, 300);
	}
	syncnet_run(n, 5000);
	assert_true(t.num > 20);
	n->on_send = NULL;
	assert_non_null(peer_of(n, 1, 0));
	before = syncnet_stats(n, 1);
	used = mallinfo2().uordblks;
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t junk[200];

		for (size_t j = 0; j < sizeof(junk); j++)
			junk[j] = (uint8_t)sim_random(n->sim);
		junk[0] = 'K';
		junk[1] = i % 2 ? 'd' : 'a';
		if (i % 4 < 2)
			store_be64(junk + 2, peer_of(n, 1, 0)->session.id);
		sim_send_as(n->sim, a, b, junk,
			    junk[1] == 'a' ? SYNC_ACK_BYTES : sizeof(junk));
	}
	for (unsigned i = 0; i < 3 * t.num; i++)
		sim_send_as(n->sim, a, b, t.bytes[i % t.num], t.len[i % t.num]);
	for (unsigned i = 0; i < t.num; i++) {
		num_now += load_be64(t.bytes[i] + 2) ==
			   peer_of(n, 1, 0)->session.id;
		t.bytes[i][10 + i % (t.len[i] - 10)] ^= (uint8_t)(1 << i % 8);
		sim_send_as(n->sim, a, b, t.bytes[i], t.len[i]);
	}
	memset(key, 9, sizeof(key));
	for (unsigned i = 0; i < 10000; i++) {
		struct addr from = syncnet_peer(i, false);
		size_t len =
			sync_put_hello(hello, key, kt_id(n->kt->nodes[1].kt),
				       key, sync_signer_pk(sa->signer));

		sim_send_as(n->sim, &from, b, hello, len);
	}
	made = n->nodes[1].sync->num_peers;
	syncnet_run(n, 3000);
	after = syncnet_stats(n, 1);
	/* Memory is as it was, but for what the simulator's queue holds. */
	assert_true(mallinfo2().uordblks <= used + QUEUE_BYTES);
	print_message("# outsider: bad MACs %lu, bad packets %lu, hellos %lu\n",
		      after.bad_mac - before.bad_mac,
		      after.bad_packets - before.bad_packets,
		      after.bad_hello - before.bad_hello);
	assert_int_equal(after.bad_mac - before.bad_mac, 1000 + num_now);
	assert_true(after.duplicates - before.duplicates >= 3 * num_now);
	assert_true(num_now > 20);
	assert_int_equal(after.records_in, before.records_in);
	assert_int_equal(n->nodes[1].sync->num_peers, made);
	assert_int_equal(after.sessions, 2);
	assert_int_equal(held_by(n, 1, 0), 100);
	syncnet_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s5__closer_tracker_joins),
		cmocka_unit_test(test_s5__one_becomes_four),
		cmocka_unit_test(test_s11__clock_jumps),
		cmocka_unit_test(test_non_owner__no_split),
		cmocka_unit_test(test_restart__of_a_client),
		cmocka_unit_test(test_restart__missed_by_an_owner),
		cmocka_unit_test(test_key__swarm_lives_there),
		cmocka_unit_test(test_key__does_not_take_a_swarm_away),
		cmocka_unit_test(test_liar__beyond_its_right),
		cmocka_unit_test(test_liar__compares_all_the_time),
		cmocka_unit_test(test_outsider__replays_and_forgeries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
