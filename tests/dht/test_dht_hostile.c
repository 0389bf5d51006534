/* Goal: what others answer cannot make us write to our own LAN, ask for ever,
 * or hold on to what is no longer so. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "dht/dht_private.h"
#include "engine/base/random.h"

#define TICKS 20000 /* in one test at most */
#define QUEUE 256

struct packet {
	struct addr to;
	uint8_t bytes[DHT_PACKET_BYTES];
	size_t len;
};

struct box {
	struct dht *d;
	int64_t now;
	struct prng prng;
	unsigned sent;
	struct addr to; /* of the one at hand: sent last, or answered now */
	uint8_t bytes[DHT_PACKET_BYTES];
	struct dht_msg m;
	unsigned done;
	struct packet queue[QUEUE]; /* what the world has to answer */
	unsigned num_queued;
	void (*world)(struct box *b, const struct addr *to);
};

static void take(struct box *b, const struct addr *to, const uint8_t *bytes,
		 size_t len)
{
	b->to = *to;
	memcpy(b->bytes, bytes, len);
	assert_true(dht_msg_parse(b->bytes, len, &b->m));
}

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct box *b = arg;

	b->sent++;
	take(b, to, bytes, len);
	if (b->world && b->num_queued < QUEUE) {
		struct packet *p = &b->queue[b->num_queued++];

		p->to = *to;
		p->len = len;
		memcpy(p->bytes, bytes, len);
	}
}

static int64_t on_now(void *arg)
{
	return ((struct box *)arg)->now;
}

static void on_random(void *arg, void *out, size_t len)
{
	uint8_t *p = out;

	while (len--)
		*p++ = (uint8_t)prng_u64(&((struct box *)arg)->prng);
}

static void on_done(void *arg, const struct dht_result *r)
{
	((struct box *)arg)->done++;
}

static void open_box(struct box *b, bool is_read_only)
{
	struct dht_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = b
	};
	struct dht_options o = { .v4 = true,
				 .v6 = true,
				 .is_read_only = is_read_only };

	memset(b, 0, sizeof(*b));
	b->now = 1000000;
	b->prng.state = 5;
	b->d = dht_new(&io, &o);
}

static struct addr peer(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, 6881, &a), 0);
	return a;
}

/* An answer to the last query, with N nodes; IP: our address. */
static void answer(struct box *b, const struct kad_id *id,
		   const struct kad_contact *nodes, unsigned n,
		   const struct addr *ip)
{
	uint8_t q[1200], compact[8 * 38], *at = compact, own[18];
	struct wcursor c = wcursor_of(q, sizeof(q));
	struct addr from = b->to;

	for (unsigned i = 0; i < n; i++) {
		memcpy(at, nodes[i].id.b, KAD_ID_BYTES);
		at += KAD_ID_BYTES;
		at += addr_to_compact(&nodes[i].addr, at);
	}
	dht_put_raw(&c, "d", 1);
	if (ip)
		dht_key_str(&c, "ip", own, addr_to_compact(ip, own));
	dht_put_raw(&c, "1:rd", 4);
	dht_key_str(&c, "id", id->b, KAD_ID_BYTES);
	dht_key_str(&c, from.family == 4 ? "nodes" : "nodes6", compact,
		    (size_t)(at - compact));
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "t", b->m.tid.ptr, b->m.tid.len);
	dht_put_raw(&c, "1:y1:re", 7);
	dht_on_packet(b->d, &from, q, wcursor_len(&c));
}

/* From one thing that is due to the next; each query sent meets the world. */
static void run(struct box *b, int64_t until)
{
	unsigned ticks = 0;

	while (b->now < until && ticks++ < TICKS) {
		int64_t next = dht_next_ms(b->d);

		b->now = next > b->now ? next : b->now + 1;
		dht_tick(b->d);
		for (; b->num_queued && ticks < TICKS; ticks++) {
			struct packet p = b->queue[0];

			memmove(b->queue, b->queue + 1,
				--b->num_queued * sizeof(p));
			take(b, &p.to, p.bytes, p.len);
			b->world(b, &p.to);
		}
	}
}

static struct kad_id random_id(struct box *b)
{
	struct kad_id id;

	on_random(b, id.b, sizeof(id.b));
	return id;
}

static void test_hostile__no_packet_to_our_lan(void **state)
{
	static const char *const lan[] = { "10.1.1.1", "127.0.0.1",
					   "192.168.1.1", "169.254.1.1" };
	struct kad_contact nodes[ARRAY_LEN(lan)];
	struct addr from = peer("16.1.1.1:6881");
	struct kad_id id;
	struct box b;

	/* Goal: a node out there that names addresses of our LAN, or of this
	 * machine, in any answer, cannot make us write to them. */
	open_box(&b, false);
	id = random_id(&b);
	for (size_t i = 0; i < ARRAY_LEN(lan); i++)
		nodes[i] = (struct kad_contact){ random_id(&b), peer(lan[i]) };
	dht_bootstrap(b.d, &from, 1);
	assert_int_equal(b.sent, 1);
	for (unsigned i = 0; i < 3000; i++) {
		unsigned sent = b.sent;
		int64_t next = dht_next_ms(b.d);

		if (i < 100)
			answer(&b, &id, nodes, ARRAY_LEN(nodes), NULL);
		b.now = next > b.now ? next : b.now;
		dht_tick(b.d);
		assert_true(b.sent == sent || addr_eq(&b.to, &from));
	}
	dht_free(b.d);
}

static void test_hostile__a_vote_can_change(void **state)
{
	struct addr from = peer("16.1.1.1:6881");
	struct addr ip[2] = { peer("17.0.0.1"), peer("17.0.0.2") };
	struct dht_stats s;
	struct kad_id id;
	struct box b;

	/* Goal: our address is another one now; those few who know us, and
	 * told the old one, are believed. */
	open_box(&b, false);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < DHT_AGREED + 2; i++) {
			from.ip[1] = (uint8_t)i;
			id = random_id(&b);
			dht_bootstrap(b.d, &from, 1);
			answer(&b, &id, NULL, 0, &ip[round]);
		}
		dht_stats(b.d, &s);
		assert_true(addr_ip_eq(&s.external[0], &ip[round]));
	}
	dht_free(b.d);
}

/* Each answer under another id than the one that was asked for. */
static void chameleon(struct box *b, const struct addr *to)
{
	struct kad_id id = random_id(b);

	b->now += 10;
	if (b->m.target.ptr)
		memcpy(id.b, b->m.target.ptr, 10);
	answer(b, &id, NULL, 0, NULL);
}

static void test_hostile__always_another_id(void **state)
{
	struct addr from = peer("16.1.1.1:6881");
	struct kad_id id, target = { "a target of 20 bytes" };
	struct box b;

	/* Goal: a look-up ends, though somebody near its target has another
	 * name each time it is asked. */
	open_box(&b, false);
	id = random_id(&b);
	dht_bootstrap(b.d, &from, 1);
	answer(&b, &id, NULL, 0, NULL);
	run(&b, b.now + 100);
	b.world = chameleon;
	b.sent = 0;
	assert_non_null(dht_find_node(b.d, &target, on_done, &b));
	run(&b, b.now + 10000);
	print_message("# %u queries\n", b.sent);
	assert_int_equal(b.done, 1);
	assert_true(b.sent < 50);
	dht_free(b.d);
}

/* The world of the next test: node number I has an id that is closer to the
 * target than that of I - 1, and an address in a net of its own (IPv6 has
 * enough of them). Each names the next eight. */
static const struct kad_id TARGET = { "a target of 20 bytes" };

static struct kad_contact link_of_chain(unsigned i)
{
	struct kad_contact c = { .id = TARGET, .addr = peer("[2600::1]:6881") };

	store_be32(c.addr.ip + 4, i);
	store_be64(c.id.b, load_be64(c.id.b) ^ (UINT64_MAX >> 2) / (i + 1));
	return c;
}

static void endless(struct box *b, const struct addr *to)
{
	unsigned i = load_be32(to->ip + 4);
	struct kad_contact nodes[8], self = link_of_chain(i);

	b->now += 10;
	for (unsigned j = 0; j < 8; j++)
		nodes[j] = link_of_chain(i + 1 + j);
	answer(b, &self.id, nodes, 8, NULL);
}

static void test_hostile__an_endless_chain(void **state)
{
	struct kad_contact first = link_of_chain(0);
	struct box b;

	/* Goal: a look-up ends, though each who answers names others that are
	 * closer. */
	open_box(&b, false);
	dht_bootstrap(b.d, &first.addr, 1);
	answer(&b, &first.id, NULL, 0, NULL);
	run(&b, b.now + 100);
	b.world = endless;
	b.sent = 0;
	assert_non_null(dht_find_node(b.d, &TARGET, on_done, &b));
	run(&b, b.now + 60000);
	print_message("# %u queries\n", b.sent);
	assert_int_equal(b.done, 1);
	assert_true(b.sent < 2 * LIMIT_KAD_LOOKUP_QUERIES);
	dht_free(b.d);
}

static void test_hostile__read_only_is_silent(void **state)
{
	struct addr from = peer("16.1.1.1:6881");
	struct box b;

	/* Goal: BEP 43: no answer, not even an error. */
	open_box(&b, true);
	dht_on_packet(b.d, &from, (const uint8_t *)"d1:q4:ping1:t2:aa1:y1:qe",
		      24);
	assert_int_equal(b.sent, 0);
	dht_free(b.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile__no_packet_to_our_lan),
		cmocka_unit_test(test_hostile__a_vote_can_change),
		cmocka_unit_test(test_hostile__always_another_id),
		cmocka_unit_test(test_hostile__an_endless_chain),
		cmocka_unit_test(test_hostile__read_only_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
