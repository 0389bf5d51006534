/* Goal: whoever lies about its key, its address or other nodes gains nothing
 * but its own share; floods meet limits and cost no memory. */
#include "tests/cmocka_all.h"

#include <malloc.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/tracker/ktnet.h"

enum manner { /* of a puppet */
	HONEST,
	NO_PROOF,
	WRONG_KEY,   /* the proof is another key's */
	WRONG_ID,    /* an id that its subnet has no right to */
	REPLAYED,    /* always the first proof it made */
	OTHER_PLACE, /* a proof for another endpoint */
	OTHER_REALM,
	NO_REALM, /* as a mainline node answers what it does not know */
	LIAR,     /* a proven one that names its friends alone */
	MANNERS
};

struct puppet { /* answers queries as its manner is */
	struct ktnet *net;
	uint32_t host;
	struct kt_key key;
	struct kad_id id;
	enum manner manner;
	uint8_t realm[KT_REALM_BYTES];
	uint8_t first_sig[KT_SIG_BYTES];
	unsigned asked;
	struct puppet *friends; /* borrowed; an array */
	unsigned num_friends;
};

static void put_friends(const struct puppet *p, uint8_t *out, struct span *s)
{
	uint8_t *at = out;

	for (unsigned i = 0; i < p->num_friends && i < KT_K; i++) {
		memcpy(at, p->friends[i].id.b, KAD_ID_BYTES);
		at += KAD_ID_BYTES;
		at += addr_to_compact(sim_addr(p->net->sim, p->friends[i].host),
				      at);
	}
	*s = (struct span){ out, (size_t)(at - out) };
}

static void prove(struct puppet *p, const struct kt_msg *q, uint8_t *sig)
{
	struct addr at = *sim_addr(p->net->sim, p->host);

	if (p->manner == OTHER_PLACE)
		at.port++;
	kt_proof_make(&p->key, p->realm, q->challenge.ptr, &p->id, &at, sig);
	if (p->manner == WRONG_KEY)
		sig[5] ^= 1;
	if (p->manner == REPLAYED && p->asked > 1)
		memcpy(sig, p->first_sig, KT_SIG_BYTES);
	if (p->asked == 1)
		memcpy(p->first_sig, sig, KT_SIG_BYTES);
}

static void puppet_on_packet(void *node, int64_t now_ms,
			     const struct addr *from, const uint8_t *bytes,
			     size_t len)
{
	static const struct kt_tracker tr = { .http_port = 6969 };
	struct puppet *p = node;
	uint8_t sig[KT_SIG_BYTES], nodes[KT_K * 26], out[KT_PACKET_BYTES];
	struct kt_answer a = { .realm = p->realm,
			       .id = { p->id.b, KAD_ID_BYTES },
			       .tr = &tr,
			       .ip = from };
	struct kt_msg q;
	size_t n;

	if (!kt_msg_parse(bytes, len, &q) || q.kind != DHT_QUERY)
		return;
	p->asked++;
	a.tid = q.tid;
	if (p->manner == LIAR) {
		put_friends(p, nodes, &a.nodes);
		a.has_nodes[0] = true;
		a.own = a.nodes;
	}
	if (q.challenge.ptr && p->manner != NO_PROOF) {
		prove(p, &q, sig);
		a.pk = (struct span){ p->key.pk, KT_PK_BYTES };
		a.sig = (struct span){ sig, KT_SIG_BYTES };
	}
	n = kt_msg_write_answer(out, sizeof(out), &a);
	if (p->manner == NO_REALM) {
		uint8_t *at = memmem(out, n, "1:n8:", 5);

		memcpy(at, "1:m8:", 5);
	}
	sim_send(p->net->sim, p->host, from, out, n);
}

static void puppet_tick(void *node, int64_t now_ms)
{
}

static int64_t puppet_next_ms(void *node)
{
	return INT64_MAX;
}

static const struct sim_ops PUPPET = { puppet_on_packet, puppet_tick,
				       puppet_next_ms };

static void puppet_start(struct puppet *p, struct ktnet *n,
			 const struct addr *at, enum manner manner)
{
	uint8_t seed[KT_SEED_BYTES];

	for (unsigned i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)sim_random(n->sim);
	memset(p, 0, sizeof(*p));
	p->net = n;
	p->manner = manner;
	kt_key_init(&p->key, seed);
	kt_realm(manner == OTHER_REALM ? "bt.example.net" : KTNET_DOMAIN,
		 p->realm);
	kt_id_make(p->realm, p->key.pk, at, &p->id);
	if (manner == WRONG_ID)
		p->id.b[1] ^= 1;
	p->host = sim_add(n->sim, at, false);
	sim_run_node(n->sim, p->host, &PUPPET, p);
}

static void test_s10__who_proves_nothing_is_nobody(void **state)
{
	/* Goal: of all manners only the honest one gets into a table. */
	for (enum manner m = HONEST; m < MANNERS; m++) {
		struct ktnet *n = ktnet_plain(m + 1, 4, 0);
		struct addr at = ktnet_addr(7), own = ktnet_addr(9);
		struct puppet p;
		struct kt_stats s;
		struct ktnet_outcome o;
		bool is_good = m == HONEST || m == LIAR;

		puppet_start(&p, n, &at, m);
		/* The first proof goes to somebody else, who is gone then. */
		n->boot = at;
		if (m == REPLAYED) {
			struct addr first = ktnet_addr(8);

			ktnet_add(n, &first);
			sim_run(n->sim, sim_now(n->sim) + 1000);
			ktnet_off(n, 0);
		}
		ktnet_add_client(n, &own);
		sim_run(n->sim, sim_now(n->sim) + 20000);
		kt_stats(n->nodes[n->num - 1].kt, &s);
		assert_true(p.asked > 0);
		assert_int_equal(s.members, is_good);
		assert_int_equal(s.good[0], is_good);
		ktnet_find(n, n->num - 1, &p.id, &o);
		assert_int_equal(o.found.num, is_good);
		if (m == WRONG_ID)
			assert_true(s.bad_id > 0);
		if (m == WRONG_KEY || m == REPLAYED || m == OTHER_PLACE)
			assert_true(s.bad_sig > 0);
		if (m == NO_REALM || m == OTHER_REALM)
			assert_true(s.foreign > 0);
		kt_key_release(&p.key);
		ktnet_free(n);
	}
}

static void test_spoofed__answers_count_for_nothing(void **state)
{
	/* Goal: an answer from elsewhere, or with a guessed transaction, is
	 * not looked at, whatever it proves. */
	struct ktnet *n = ktnet_plain(21, 8, 0);
	struct addr at = ktnet_addr(7), own = ktnet_addr(9);
	struct puppet p;
	struct kt_stats s;
	uint8_t out[KT_PACKET_BYTES], sig[KT_SIG_BYTES] = { 0 };
	uint8_t tid[4] = { 'K', 0, 0, 0 };
	struct kt_answer a = { .realm = p.realm,
			       .id = { p.id.b, KAD_ID_BYTES },
			       .tid = { tid, 4 },
			       .tr = &n->options.self,
			       .sig = { sig, sizeof(sig) } };
	unsigned me;

	puppet_start(&p, n, &at, NO_PROOF);
	a.pk = (struct span){ p.key.pk, KT_PK_BYTES };
	n->boot = at;
	me = ktnet_add_client(n, &own);
	sim_run(n->sim, sim_now(n->sim) + 20);
	for (unsigned i = 0; i < 5000; i++) {
		size_t len;

		store_be16(tid + 1, (uint16_t)sim_random(n->sim));
		tid[3] = (uint8_t)sim_random(n->sim);
		len = kt_msg_write_answer(out, sizeof(out), &a);
		sim_send_as(n->sim, &at, &own, out, len);
	}
	sim_run(n->sim, sim_now(n->sim) + 5000);
	kt_stats(n->nodes[me].kt, &s);
	assert_int_equal(s.members, 0);
	assert_true(s.dropped >= 5000);
	/* Signatures are dear: they were looked at for guesses that hit. */
	assert_true(s.bad_sig < 5);
	kt_key_release(&p.key);
	ktnet_free(n);
}

static void test_liars__hide_nobody(void **state)
{
	/* Goal: eight proven trackers name each other alone, and sit nearer to
	 * the key than honest ones; the best honest owners are found still. */
	struct ktnet *n = ktnet_old(31, 40, 20, 0);
	struct puppet liars[8];
	struct addr own = ktnet_addr(900);
	unsigned client, found = 0, asked = 0;

	for (unsigned i = 0; i < 8; i++) {
		struct addr at = ktnet_addr(600 + i);

		puppet_start(&liars[i], n, &at, LIAR);
		liars[i].friends = liars;
		liars[i].num_friends = 8;
	}
	/* All of them, the client too, know the liars for long. */
	client = ktnet_add_client(n, &own);
	n->nodes[client].kt->family[0].kad.self_ms = INT64_MAX;
	ktnet_seed(n);
	for (unsigned i = 0; i < n->num; i++) {
		for (unsigned j = 0; j < 8; j++) {
			struct kad_contact c = { .id = liars[j].id };

			c.addr = *sim_addr(n->sim, liars[j].host);
			if (kad_table_on_answer(
				    &n->nodes[i].kt->family[0].kad.table,
				    sim_now(n->sim), &c, 100))
				(void)ktnet_prove(n, i, &c, liars[j].key.pk,
						  2 * KT_SETTLED_MS);
		}
	}
	for (unsigned round = 0; round < 100; round++) {
		struct kad_id key = ktnet_random_id(n);
		unsigned want[KT_REPLICAS], liars_before = 0;
		struct ktnet_outcome o;

		ktnet_find(n, client, &key, &o);
		(void)ktnet_owners(n, &key, want);
		/* Those of the honest that no liar has pushed out. */
		for (unsigned i = 0; i < KT_REPLICAS; i++) {
			bool is_there = false;

			liars_before = 0;
			for (unsigned j = 0; j < 8; j++)
				liars_before +=
					kad_id_compare(&key, &liars[j].id,
						       &n->nodes[want[i]].id) <
					0;
			if (liars_before + i >= KT_REPLICAS)
				break;
			for (unsigned j = 0; j < o.found.num; j++)
				is_there |= kad_id_eq(&o.owners[j].id,
						      &n->nodes[want[i]].id);
			asked++;
			found += is_there;
		}
	}
	print_message("# liars: %u of %u honest owners found\n", found, asked);
	assert_int_equal(found, asked);
	for (unsigned i = 0; i < 8; i++)
		kt_key_release(&liars[i].key);
	ktnet_free(n);
}

static void test_certificates__expire(void **state)
{
	/* Goal: in a closed realm a certified tracker is found until its
	 * certificate ends, by the wall clock; a jump of that clock by a day
	 * moves nothing else. */
	static const uint8_t secret[KT_SEED_BYTES] = { 1, 2, 3 };
	struct ktnet *n = ktnet_plain(41, 8, 0);
	struct kt_key realm_key;
	struct kt_stats s;
	uint8_t cert[KT_CERT_BYTES], realm[KT_REALM_BYTES];
	struct addr own = ktnet_addr(9);
	unsigned client;

	kt_realm(KTNET_DOMAIN, realm);
	kt_key_init(&realm_key, secret);
	n->options.realm_pk = realm_key.pk;
	ktnet_join(n, 4, 100);
	for (unsigned i = 0; i < 3; i++) {
		int64_t days = i == 0 ? 3 : i == 1 ? 30 : -1;

		kt_cert_make(&realm_key, realm, kt_pk(n->nodes[i].kt),
			     n->wall_s + days * 86400, cert);
		kt_set_cert(n->nodes[i].kt, cert, sizeof(cert));
	}
	client = ktnet_add_client(n, &own);
	sim_run(n->sim, sim_now(n->sim) + 60000);
	kt_stats(n->nodes[client].kt, &s);
	assert_int_equal(s.good[0], 2); /* not 2: expired; not 3: has none */
	kt_stats(n->nodes[0].kt, &s);
	assert_true(s.bad_sig > 0);
	n->wall_s += 86400;
	sim_run(n->sim, sim_now(n->sim) + 60000);
	kt_stats(n->nodes[client].kt, &s);
	assert_int_equal(s.good[0], 2);
	n->wall_s -= 2 * 86400;
	sim_run(n->sim, sim_now(n->sim) + 60000);
	kt_stats(n->nodes[client].kt, &s);
	assert_true(s.good[0] >= 2);
	n->wall_s += 10 * 86400;
	sim_run(n->sim, sim_now(n->sim) + 60000);
	kt_stats(n->nodes[client].kt, &s);
	assert_int_equal(s.good[0], 1);
	assert_true(n->wall_asked > 0);
	kt_key_release(&realm_key);
	ktnet_free(n);
}

static size_t find_query(uint8_t *out, size_t size, struct ktnet *n,
			 const struct kad_id *id, const struct addr *to)
{
	static const uint8_t challenge[8] = { 1 };
	uint8_t realm[KT_REALM_BYTES], compact[18];
	struct kt_query q = { .realm = realm,
			      .tid = { (const uint8_t *)"aa", 2 },
			      .method = KT_FIND,
			      .id = { id->b, KAD_ID_BYTES },
			      .target = { id->b, KAD_ID_BYTES },
			      .challenge = { challenge, 8 },
			      .endpoint = { compact, 6 },
			      .pad_to = 235 };

	kt_realm(KTNET_DOMAIN, realm);
	(void)addr_to_compact(to, compact);
	return kt_msg_write_query(out, size, &q);
}

static void to_nobody(void *arg, const struct addr *to, const uint8_t *bytes,
		      size_t len)
{
}

static void test_floods__meet_limits(void **state)
{
	/* Goal: 200,000 queries from one address, one subnet and everywhere:
	 * answers stay within budgets of address, subnet and signatures, the
	 * table is as it was, and memory does not grow. */
	struct ktnet *n = ktnet_old(51, 20, 20, 0);
	struct kt *k = n->nodes[0].kt;
	void (*send)(void *, const struct addr *, const uint8_t *, size_t) =
		k->io.send;
	struct addr to = *sim_addr(n->sim, n->nodes[0].host);
	struct kt_stats before, after;
	uint8_t out[KT_PACKET_BYTES];

	for (unsigned kind = 0; kind < 3; kind++) {
		uint64_t max;
		size_t used;

		sim_run(n->sim, sim_now(n->sim) + 10000);
		kt_stats(k, &before);
		k->io.send = to_nobody; /* the simulator's queue is no part */
		used = mallinfo2().uordblks;
		for (unsigned i = 0; i < 60000; i++) {
			struct kad_id id = ktnet_random_id(n);
			struct addr from = ktnet_addr(70000);
			size_t len = find_query(out, sizeof(out), n, &id, &to);

			if (kind == 1)
				from.ip[3] = (uint8_t)i;
			if (kind == 2)
				from = ktnet_addr(80000 + i);
			(void)kt_on_packet(k, &from, out, len);
		}
		kt_stats(k, &after);
		print_message("# flood %u: %zd bytes more\n", kind,
			      (ssize_t)(mallinfo2().uordblks - used));
		assert_true(mallinfo2().uordblks <= used);
		k->io.send = send;
		max = kind == 0   ? 10 * LIMIT_KT_ADDRESS_PER_S
		      : kind == 1 ? 4 * LIMIT_KT_NET_PER_S
				  : 4 * LIMIT_KT_QUERIES_PER_S;
		print_message("# flood %u: %llu answers to 60000 queries\n",
			      kind,
			      (unsigned long long)(after.answers_out -
						   before.answers_out));
		assert_true(after.answers_out - before.answers_out <= max);
		assert_true(after.answers_out > before.answers_out);
		assert_int_equal(after.members, before.members);
		assert_int_equal(after.nodes[0], before.nodes[0]);
		assert_true(k->family[0].kad.table.num_candidates <=
			    LIMIT_KAD_CANDIDATES);
	}
	ktnet_free(n);
}

static void test_cookies__signatures_under_load(void **state)
{
	/* Goal: while strangers use up what we sign for anybody, those who are
	 * really there get in: they show the token that they were given. */
	struct ktnet *n = ktnet_old(52, 6, 14, 0);
	struct kt *k = n->nodes[0].kt;
	struct addr to = *sim_addr(n->sim, n->nodes[0].host);
	uint8_t out[KT_PACKET_BYTES];
	unsigned cookies = 0, first = n->num;

	n->boot = to;
	for (unsigned ms = 0; ms < 3000; ms++) {
		if (ms >= 500 && ms < 1000 && ms % 50 == 0) {
			struct addr own = ktnet_addr(9000 + ms);

			ktnet_add_client(n, &own);
		}
		for (unsigned i = 0; i < 2; i++) {
			struct kad_id id = ktnet_random_id(n);
			struct addr from = ktnet_addr(80000 + ms * 2 + i);
			size_t len = find_query(out, sizeof(out), n, &id, &to);

			(void)kt_on_packet(k, &from, out, len);
		}
		sim_run(n->sim, sim_now(n->sim) + 1);
	}
	for (unsigned i = first; i < n->num; i++) {
		cookies += n->nodes[i].kt->num_cookies > 0;
		assert_non_null(kt_member_find(n->nodes[i].kt, &to));
	}
	assert_int_equal(n->num - first, 10);
	assert_true(cookies >= 3);
	ktnet_free(n);
}

static void test_caps__on_lookups(void **state)
{
	/* Goal: equal questions share a search, different ones have a limit,
	 * both end; cancelled ones stay silent. */
	struct ktnet *n = ktnet_old(53, 20, 20, 0);
	struct kt *k = n->nodes[0].kt;
	struct ktnet_outcome o = { 0 }, other = { 0 };
	struct kt_lookup *l, *cancelled;
	struct kad_id key = ktnet_random_id(n), first = key;
	unsigned num = 0;

	cancelled = kt_find(k, &key, ktnet_on_found, &other);
	for (unsigned i = 0; i < 10; i++)
		assert_non_null(kt_find(k, &key, ktnet_on_found, &o));
	assert_int_equal(k->num_searches, 1);
	kt_find_cancel(cancelled);
	do {
		key = ktnet_random_id(n);
		l = kt_find(k, &key, ktnet_on_found, &o);
		num += l != NULL;
	} while (l);
	assert_int_equal(num, LIMIT_KT_SEARCHES - 1);
	sim_run(n->sim, sim_now(n->sim) + 10000);
	assert_int_equal(o.calls, 10 + num);
	assert_int_equal(other.calls, 0);
	/* From memory now, also who asks when nobody answers any more. */
	for (unsigned i = 1; i < n->num; i++)
		ktnet_off(n, i);
	memset(&o, 0, sizeof(o));
	ktnet_find(n, 0, &first, &o);
	assert_int_equal(o.found.queries, 0);
	assert_int_equal(o.found.num, 3);
	ktnet_free(n);
}

static void test_pace__a_thousand_keys(void **state)
{
	/* Goal: a client that has many keys at once gets owners for all of
	 * them, from three trackers that had to refuse none of its queries. */
	struct ktnet *n = ktnet_old(55, 3, 20, 0);
	struct addr own = ktnet_addr(900);
	struct ktnet_outcome o = { 0 };
	unsigned client = ktnet_add_client(n, &own), asked = 0;
	struct kt_stats s;
	int64_t start;

	sim_run(n->sim, sim_now(n->sim) + 20000);
	start = sim_now(n->sim);
	while (asked < 1000) {
		struct kad_id key = ktnet_random_id(n);

		if (kt_find(n->nodes[client].kt, &key, ktnet_on_found, &o))
			asked++;
		else
			sim_run(n->sim, sim_now(n->sim) + 100);
		assert_true(!o.calls || o.found.num == 3);
	}
	sim_run(n->sim, sim_now(n->sim) + 20000);
	assert_int_equal(o.calls, 1000);
	assert_int_equal(o.found.num, 3);
	assert_true(sim_now(n->sim) - start < 150000);
	for (unsigned i = 0; i < 3; i++) {
		kt_stats(n->nodes[i].kt, &s);
		assert_int_equal(s.dropped, 0);
	}
	ktnet_free(n);
}

static void test_cache__stale_rather_than_nothing(void **state)
{
	struct ktnet *n = ktnet_old(54, 8, 20, 0);
	struct addr own = ktnet_addr(900);
	struct ktnet_outcome o;
	struct kad_id key = ktnet_random_id(n);
	unsigned client = ktnet_add_client(n, &own);

	sim_run(n->sim, sim_now(n->sim) + 20000);
	ktnet_find(n, client, &key, &o);
	assert_int_equal(o.found.num, 3);
	for (unsigned i = 0; i < 8; i++)
		ktnet_off(n, i);
	ktnet_find(n, client, &key, &o);
	assert_int_equal(o.found.num, 3);
	assert_false(o.found.is_stale);
	kt_find_forget(n->nodes[client].kt, &key);
	ktnet_find(n, client, &key, &o);
	assert_int_equal(o.found.num, 3);
	assert_true(o.found.is_stale);
	assert_true(o.found.took_ms <= 2200);
	sim_run(n->sim, sim_now(n->sim) + 11 * 60 * 1000);
	ktnet_find(n, client, &key, &o);
	assert_int_equal(o.found.num, 0);
	ktnet_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s10__who_proves_nothing_is_nobody),
		cmocka_unit_test(test_spoofed__answers_count_for_nothing),
		cmocka_unit_test(test_liars__hide_nobody),
		cmocka_unit_test(test_certificates__expire),
		cmocka_unit_test(test_floods__meet_limits),
		cmocka_unit_test(test_cookies__signatures_under_load),
		cmocka_unit_test(test_caps__on_lookups),
		cmocka_unit_test(test_pace__a_thousand_keys),
		cmocka_unit_test(test_cache__stale_rather_than_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
