/* Goal: what one attacker with many addresses, and many with few, can do to a
 * node and to lookups is bounded by limits.h: each limit is reached, holds, and
 * honest lookups succeed all the while. */
#include "tests/cmocka_all.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "dht/dht_private.h"
#include "dht/secure_id.h"
#include "engine/base/limits.h"
#include "tests/dht/net.h"

#define HONEST 400
#define SYBILS 1000
#define NETS   50 /* subnets that the sybils share */
#define MEMORY (8u << 20)

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	struct outcome *o = arg;

	for (size_t i = 0; i < n; i++) {
		if (addrs[i].port == 7777)
			o->peers++;
		else
			o->false_peers++;
	}
}

static struct net *honest_net(unsigned max)
{
	struct sim_options o = { .seed = 3,
				 .max_hosts = max,
				 .loss_permille = 20,
				 .rtt_min_ms = 60,
				 .rtt_max_ms = 140 };
	struct net *n = net_new(&o, max);

	for (unsigned i = 0; i < HONEST; i++) {
		struct addr a = net_addr(i);

		(void)net_add(n, &a, false);
	}
	net_seed(n, NULL, 0);
	sim_run(n->sim, sim_now(n->sim) + 30000);
	return n;
}

static void get_peers(struct net *n, unsigned me, const struct infohash *ih,
		      bool announce, struct outcome *o)
{
	struct dht_get_peers spec = { .infohash = *ih,
				      .is_announce = announce,
				      .port = 7777,
				      .on_peers = on_peers,
				      .on_done = outcome_on_done,
				      .arg = o };

	memset(o, 0, sizeof(*o));
	assert_non_null(dht_get_peers(n->nodes[me].dht, &spec));
	sim_run_until(n->sim, &o->is_done, sim_now(n->sim) + 20000);
	assert_true(o->is_done);
}

/* --- sybils: they answer everything with each other, and lie about peers ---
 */

struct sybil {
	struct sim *sim;
	uint32_t host;
	struct kad_contact me;
	const struct sybil *all;
	unsigned asked;
};

static void sybil_on_packet(void *node, int64_t now_ms, const struct addr *from,
			    const uint8_t *bytes, size_t len)
{
	struct sybil *s = node;
	uint8_t out[1200], nodes[16 * 26], *at = nodes;
	struct wcursor c = wcursor_of(out, sizeof(out));
	struct dht_msg m;

	if (!dht_msg_parse(bytes, len, &m) || m.kind != DHT_QUERY)
		return;
	s->asked++;
	for (unsigned i = 0; i < 16; i++) {
		const struct sybil *o = &s->all[sim_below(s->sim, SYBILS)];

		memcpy(at, o->me.id.b, 20);
		at += 20;
		at += addr_to_compact(&o->me.addr, at);
	}
	dht_put_raw(&c, "d1:rd", 5);
	dht_key_str(&c, "id", s->me.id.b, 20);
	dht_key_str(&c, "nodes", nodes, sizeof(nodes));
	dht_key_str(&c, "token", "sybil", 5);
	dht_put_raw(&c,
		    "6:valuesl6:\x0c\x0c\x0c\x0c\x11\x11"
		    "ee",
		    19);
	dht_key_str(&c, "t", m.tid.ptr, m.tid.len);
	dht_put_raw(&c, "1:y1:re", 7);
	sim_send(s->sim, s->host, from, out, wcursor_len(&c));
}

static void sybil_tick(void *node, int64_t now_ms)
{
}

static int64_t sybil_next_ms(void *node)
{
	return INT64_MAX;
}

static const struct sim_ops SYBIL = { sybil_on_packet, sybil_tick,
				      sybil_next_ms };

/* An id at the target; with a right to it as near as an address allows. */
static void sybil_id(struct sim *s, struct sybil *y,
		     const struct kad_id *target, bool is_lawful)
{
	y->me.id = *target;
	y->me.id.b[18] = (uint8_t)sim_random(s);
	y->me.id.b[19] = (uint8_t)sim_random(s);
	if (is_lawful)
		secure_id_make(&y->me.id, &y->me.addr, y->me.id.b[19]);
}

static struct sybil *add_sybils(struct net *n, const struct kad_id *target,
				bool is_lawful)
{
	struct sybil *all = mem_alloc_array(SYBILS, sizeof(*all));

	for (unsigned i = 0; i < SYBILS; i++) {
		struct sybil *y = &all[i];

		y->sim = n->sim;
		y->all = all;
		y->me.addr = net_addr(100000 + i % NETS);
		y->me.addr.ip[3] = (uint8_t)(1 + i / NETS);
		sybil_id(n->sim, y, target, is_lawful);
		y->host = sim_add(n->sim, &y->me.addr, false);
		sim_run_node(n->sim, y->host, &SYBIL, y);
	}
	return all;
}

/* They make themselves known to everybody who might keep them. */
static void knock(struct net *n, struct sybil *all)
{
	for (unsigned i = 0; i < SYBILS; i++) {
		for (unsigned j = 0; j < 20; j++) {
			uint8_t q[200];
			struct wcursor c = wcursor_of(q, sizeof(q));
			const struct addr *to = sim_addr(
				n->sim,
				n->nodes[sim_below(n->sim, HONEST)].host);

			dht_put_raw(&c, "d1:ad", 5);
			dht_key_str(&c, "id", all[i].me.id.b, 20);
			dht_put_raw(&c, "e1:q4:ping1:t2:aa1:y1:qe", 24);
			sim_send(n->sim, all[i].host, to, q, wcursor_len(&c));
		}
		if (i % 100 == 0)
			sim_run(n->sim, sim_now(n->sim) + 10000);
	}
	sim_run(n->sim, sim_now(n->sim) + 300000);
}

static bool is_sybil(const struct addr *a)
{
	return a->ip[0] == 17 && a->ip[3] != 9;
}

static void surround(bool is_lawful)
{
	struct net *n = honest_net(HONEST + SYBILS);
	struct infohash ih = { "the torrent in need" };
	unsigned found = 0, told = 0, queries = 0, most = 0;
	struct kad_id target;
	struct sybil *all;
	struct outcome o;

	memcpy(target.b, ih.b, 20);
	get_peers(n, 1, &ih, true, &o);
	told = o.r.num_stored;
	all = add_sybils(n, &target, is_lawful);
	knock(n, all);
	get_peers(n, 2, &ih, true, &o);
	told += o.r.num_stored;
	for (unsigned i = 0; i < 50; i++) {
		unsigned sybils = 0;

		get_peers(n, 10 + i, &ih, false, &o);
		found += o.peers > 0;
		queries += o.r.queries;
		for (unsigned j = 0; j < o.r.num_nodes; j++)
			sybils += is_sybil(&o.nodes[j].addr);
		if (sybils > most)
			most = sybils;
	}
	print_message(
		"# %u sybils in %u subnets, %s ids: %u of 50 lookups find "
		"an honest peer, %u told, %.0f queries each, at most %u "
		"sybils in a result\n",
		SYBILS, NETS, is_lawful ? "lawful" : "free", found, told,
		queries / 50.0, most);
	assert_true(found >= 48);
	free(all);
	net_free(n);
}

static void test_attack__sybils_around_a_target(void **state)
{
	surround(false);
	surround(true);
}

static void test_attack__poisoned_tables(void **state)
{
	/* Goal: a thousand who answer well, in fifty subnets, get one place a
	 * bucket and subnet; nobody gets one who does not answer. */
	struct net *n = honest_net(HONEST + SYBILS);
	struct kad_id target = net_kad(n, 5)->o.self;
	struct sybil *all = add_sybils(n, &target, true);
	unsigned most = 0, sum = 0;

	target.b[0] ^= 0x80;
	knock(n, all);
	for (unsigned i = 0; i < HONEST; i++) {
		struct kad_table *t = &net_kad(n, i)->table;
		unsigned mine = 0;

		for (unsigned b = 0; b < t->depth; b++) {
			unsigned nets[NETS] = { 0 };

			for (unsigned j = 0; j < t->buckets[b].num; j++) {
				const struct addr *a =
					&t->buckets[b].nodes[j].addr;

				if (!is_sybil(a))
					continue;
				mine++;
				assert_int_equal(nets[(load_be16(a->ip + 1) -
						       (uint16_t)(100000)) %
						      NETS]++,
						 0);
			}
		}
		sum += mine;
		if (mine > most)
			most = mine;
	}
	print_message("# %u poisoners: %.1f places in a table, %u at most\n",
		      SYBILS, (double)sum / HONEST, most);
	assert_true(most <= NETS * 2);
	free(all);
	net_free(n);
}

/* --- floods against one node --- */

struct victim {
	struct dht *d;
	int64_t now;
	struct prng prng;
	uint64_t sent, bytes;
	uint8_t last[1500];
	size_t last_len;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct victim *v = arg;

	v->sent++;
	v->bytes += len;
	memcpy(v->last, bytes, len);
	v->last_len = len;
}

static int64_t on_now(void *arg)
{
	return ((struct victim *)arg)->now;
}

static void on_random(void *arg, void *out, size_t len)
{
	uint8_t *p = out;

	while (len--)
		*p++ = (uint8_t)prng_u64(&((struct victim *)arg)->prng);
}

static void open_victim(struct victim *v, unsigned per_s)
{
	struct dht_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = v
	};
	struct dht_options o = { .v4 = true,
				 .queries_per_s = per_s,
				 .address_per_s = per_s ? 100000 : 0,
				 .upload_bps = per_s ? 1000000000 : 0 };

	memset(v, 0, sizeof(*v));
	v->now = 1000000;
	v->d = dht_new(&io, &o);
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static size_t write_query(uint8_t *q, size_t size, const char *method,
			  const void *args, size_t len)
{
	struct wcursor c = wcursor_of(q, size);

	dht_put_raw(&c, "d1:ad2:id20:abcdefghij0123456789", 32);
	dht_put_raw(&c, args, len);
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "q", method, strlen(method));
	dht_put_raw(&c, "1:t2:aa1:y1:qe", 14);
	return wcursor_len(&c);
}

static struct addr attacker(unsigned i)
{
	struct addr a = { .family = 4, .port = 5000 };

	store_be32(a.ip, 0x14000000 + i);
	return a;
}

static void test_attack__amplification(void **state)
{
	/* Goal: forged questions at a hundred times what we can bear: what goes
	 * out stays at 8 kB/s, and no answer is over three times a question. */
	uint8_t q[300];
	struct victim v;
	struct dht_stats s;
	uint64_t in = 0;
	size_t len;

	open_victim(&v, 0);
	len = write_query(q, sizeof(q), "find_node",
			  "6:target20:mnopqrstuvwxyz123456", 31);
	for (unsigned i = 0; i < 1000000; i++) {
		struct addr a = attacker(i * 97);

		if (i % 25 == 0)
			v.now++;
		in += len;
		dht_on_packet(v.d, &a, q, len);
	}
	dht_stats(v.d, &s);
	print_message("# flood of %.0f kB/s for 40 s: %.1f kB/s out, dropped: "
		      "%llu address, %llu global, %llu upload\n",
		      (double)in / 40000, (double)v.bytes / 40000,
		      (unsigned long long)s.dropped_address,
		      (unsigned long long)s.dropped_global,
		      (unsigned long long)s.dropped_upload);
	assert_true(v.bytes <= 8000u * (40 + 4));
	assert_true(s.dropped_global > 0 && s.dropped_upload > 0);
	assert_true(v.d->family[0].kad.table.num_candidates <=
		    LIMIT_KAD_CANDIDATES);
	dht_free(v.d);
}

/* Asks for a token and uses it. True: it was taken. */
static bool announce(struct victim *v, const struct addr *from,
		     const uint8_t hash[20], const struct addr *replay_from)
{
	uint8_t args[120], q[300];
	struct wcursor c = wcursor_of(args, sizeof(args));
	struct dht_msg m;

	dht_key_str(&c, "info_hash", hash, 20);
	dht_on_packet(
		v->d, from, q,
		write_query(q, sizeof(q), "get_peers", args, wcursor_len(&c)));
	if (!dht_msg_parse(v->last, v->last_len, &m) || !m.token.ptr)
		return false;
	dht_put_raw(&c, "4:porti6881e", 12);
	dht_key_str(&c, "token", m.token.ptr, m.token.len);
	dht_on_packet(v->d, replay_from, q,
		      write_query(q, sizeof(q), "announce_peer", args,
				  wcursor_len(&c)));
	return dht_msg_parse(v->last, v->last_len, &m) && m.kind == DHT_ANSWER;
}

static void test_attack__token_replay(void **state)
{
	uint8_t hash[20] = "a torrent";
	struct victim v;
	struct dht_stats s;
	unsigned taken = 0;

	open_victim(&v, 100000);
	for (unsigned i = 0; i < 1000; i++) {
		struct addr a = attacker(i * 256), b = attacker(i * 256 + 7);

		v.now++;
		taken += announce(&v, &a, hash, &b);
	}
	dht_stats(v.d, &s);
	print_message("# 1000 replayed tokens: %u taken, %llu refused\n", taken,
		      (unsigned long long)s.bad_tokens);
	assert_int_equal(taken, 0);
	assert_int_equal(s.bad_tokens, 1000);
	dht_free(v.d);
}

static void test_attack__storage_flood(void **state)
{
	/* Goal: from one subnet, and from thousands with all budgets lifted:
	 * the store is full, and memory where it may be. */
	size_t before = in_use(), after;
	uint8_t hash[20] = { 0 };
	struct victim v;
	struct dht_stats s;
	unsigned one = 0;

	open_victim(&v, 1000000);
	for (unsigned i = 0; i < 5000; i++) {
		struct addr a = attacker(i % 250);

		store_be32(hash, i);
		v.now += 1;
		one += announce(&v, &a, hash, &a);
	}
	assert_int_equal(one, LIMIT_DHT_HASHES_PER_NET);
	for (unsigned i = 0; i < 400000; i++) {
		struct addr a = attacker((i % 100000) * 256);

		/* many torrents, and a few large ones */
		store_be32(hash, i % 4 ? i % 12000 : i % 100);
		if (i % 40 == 0)
			v.now++;
		(void)announce(&v, &a, hash, &a);
	}
	dht_stats(v.d, &s);
	after = in_use();
	print_message(
		"# flood: one subnet began %u torrents; then %u torrents, "
		"%u peers, %.2f MiB\n",
		one, s.stored_hashes, s.stored_peers,
		(double)(after - before) / (1 << 20));
	assert_true(s.stored_hashes <= LIMIT_DHT_HASHES);
	assert_true(s.stored_peers <= LIMIT_DHT_PEERS);
#ifndef __SANITIZE_ADDRESS__
	assert_true(after - before <= MEMORY);
#endif
	dht_free(v.d);
}

static void test_attack__spoofed_answers(void **state)
{
	/* Goal: who guesses transaction ids from another address changes
	 * nothing. */
	struct addr real = attacker(1), fake = attacker(77777);
	struct dht_stats s;
	struct victim v;
	struct dht_msg m;
	uint8_t q[100];
	struct wcursor c;

	open_victim(&v, 0);
	dht_bootstrap(v.d, &real, 1);
	assert_true(dht_msg_parse(v.last, v.last_len, &m));
	c = wcursor_of(q, sizeof(q));
	dht_put_raw(&c, "d1:rd2:id20:abcdefghij0123456789e", 33);
	dht_key_str(&c, "t", m.tid.ptr, m.tid.len);
	dht_put_raw(&c, "1:y1:re", 7);
	dht_on_packet(v.d, &fake, q, wcursor_len(&c));
	dht_stats(v.d, &s);
	assert_int_equal(s.spoofed, 1);
	assert_int_equal(s.nodes[0], 0);
	dht_on_packet(v.d, &real, q, wcursor_len(&c));
	dht_stats(v.d, &s);
	assert_int_equal(s.nodes[0], 1);
	dht_free(v.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attack__sybils_around_a_target),
		cmocka_unit_test(test_attack__poisoned_tables),
		cmocka_unit_test(test_attack__amplification),
		cmocka_unit_test(test_attack__token_replay),
		cmocka_unit_test(test_attack__storage_flood),
		cmocka_unit_test(test_attack__spoofed_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
