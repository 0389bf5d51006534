/* Goal: what a DHT node costs: queries a second through dht_on_packet on one
 * core, find_node and get_peers from a full table, memory of a full node. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "dht/dht_private.h"
#include "dht/secure_id.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/random.h"

#define SECONDS 2
#define SENDERS 4096
#define QUERIES 256

struct bench {
	struct dht *d;
	int64_t now;
	struct prng prng;
	uint64_t sent;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	((struct bench *)arg)->sent++;
}

static int64_t on_now(void *arg)
{
	return ((struct bench *)arg)->now;
}

static void on_random(void *arg, void *out, size_t len)
{
	uint8_t *p = out;

	while (len--)
		*p++ = (uint8_t)prng_u64(&((struct bench *)arg)->prng);
}

static struct addr sender(unsigned i)
{
	struct addr a = { .family = 4, .port = 6881 };

	store_be32(a.ip, 0x14000000 + i * 256 + 9);
	return a;
}

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void fill_table(struct bench *b)
{
	struct kad_table_stats s;

	for (unsigned i = 0; i < 300000; i++) {
		struct kad_contact c = { .addr = sender(i + 100000) };

		on_random(b, c.id.b, sizeof(c.id.b));
		secure_id_make(&c.id, &c.addr, c.id.b[19]);
		(void)kad_table_on_answer(&b->d->family[0].kad.table, b->now,
					  &c, 50);
	}
	kad_table_stats(&b->d->family[0].kad.table, &s);
	printf("table: %u nodes, %u spares, %u buckets\n", s.nodes, s.spares,
	       s.buckets);
}

static void fill_stores(struct bench *b)
{
	uint8_t v[LIMIT_DHT_ITEM_BYTES] = "996:";
	struct item item = { .v = { v, sizeof(v) } };

	for (unsigned i = 0; i < 3 * LIMIT_DHT_PEERS; i++) {
		struct addr a = sender(i);
		struct infohash ih = { { 0 } };

		store_be32(ih.b, i % LIMIT_DHT_HASHES);
		(void)peerstore_add(b->d->peers, b->now, &ih, &a, i % 2);
	}
	for (unsigned i = 0; i < LIMIT_DHT_ITEMS; i++) {
		struct addr a = sender(i);
		struct kad_id target = { { 0 } };

		store_be32(target.b, i);
		(void)itemstore_put(b->d->items, b->now, &target, &item, NULL,
				    &a);
	}
	for (unsigned i = 0; i < LIMIT_KAD_CALLS; i++) {
		struct addr a = sender(i);

		dht_bootstrap(b->d, &a, 1);
	}
}

static size_t write_query(uint8_t *q, size_t size, struct bench *b,
			  const char *method, const char *key)
{
	struct wcursor c = wcursor_of(q, size);
	uint8_t id[20];

	on_random(b, id, sizeof(id));
	dht_put_raw(&c, "d1:ad", 5);
	dht_key_str(&c, "id", id, sizeof(id));
	on_random(b, id, sizeof(id));
	if (key)
		dht_key_str(&c, key, id, sizeof(id));
	dht_put_raw(&c, "e", 1);
	dht_key_str(&c, "q", method, strlen(method));
	dht_put_raw(&c, "1:t2:aa1:v4:LT011:y1:qe", 23);
	return wcursor_len(&c);
}

static void measure(struct bench *b, const char *method, const char *key)
{
	static uint8_t q[QUERIES][200];
	static size_t len[QUERIES];
	static struct addr from[SENDERS];
	int64_t start, took;
	uint64_t n = 0, sent = b->sent;

	for (unsigned i = 0; i < QUERIES; i++)
		len[i] = write_query(q[i], sizeof(q[i]), b, method, key);
	for (unsigned i = 0; i < SENDERS; i++)
		from[i] = sender(i);
	start = clock_now_us();
	do {
		for (unsigned i = 0; i < 10000; i++, n++)
			dht_on_packet(b->d, &from[n % SENDERS], q[n % QUERIES],
				      len[n % QUERIES]);
		b->now += 20;
		took = clock_now_us() - start;
	} while (took < SECONDS * 1000000);
	printf("%-18s %8.0f a second, %.3f us each, %.1f %% answered\n", method,
	       (double)n * 1e6 / (double)took, (double)took / (double)n,
	       100.0 * (double)(b->sent - sent) / (double)n);
}

static void measure_closest(struct bench *b)
{
	const struct kad_node *near[DHT_K];
	int64_t start = clock_now_us(), took;
	struct kad_id target = { { 0 } };
	uint64_t n = 0, sum = 0;

	do {
		for (unsigned i = 0; i < 10000; i++, n++) {
			store_be64(target.b, prng_u64(&b->prng));
			sum += kad_table_closest(&b->d->family[0].kad.table,
						 &target, DHT_K, near);
		}
		took = clock_now_us() - start;
	} while (took < SECONDS * 1000000);
	printf("%-18s %.3f us each (%.1f nodes)\n", "kad_table_closest",
	       (double)took / (double)n, (double)sum / (double)n);
}

int main(void)
{
	struct bench b = { .now = 1000000, .prng.state = 1 };
	struct dht_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = &b
	};
	/* Budgets lifted: what is asked is what answering costs. */
	struct dht_options o = { .v4 = true,
				 .queries_per_s = 1000000000,
				 .address_per_s = 1000000,
				 .upload_bps = 2000000000 };
	size_t before = in_use();

	b.d = dht_new(&io, &o);
	printf("empty node: %.2f MiB\n",
	       (double)(in_use() - before) / (1 << 20));
	fill_table(&b);
	measure_closest(&b);
	measure(&b, "ping", NULL);
	measure(&b, "find_node", "target");
	measure(&b, "get_peers", "info_hash");
	fill_stores(&b);
	printf("full node: %.2f MiB\n",
	       (double)(in_use() - before) / (1 << 20));
	measure(&b, "get_peers", "info_hash");
	dht_free(b.d);
	return 0;
}
