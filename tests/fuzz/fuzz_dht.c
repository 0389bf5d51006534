/* Goal: no datagrams, in any order with our own operations and the clock, make
 * a node misbehave: every operation ends once, what is sent stays within its
 * limit, and the clock never has to be asked for ever. The input is a script:
 * a byte says what happens, the next one how many bytes belong to it. A write
 * token in a query is made a good one, if the node gave one last: else nothing
 * would ever be stored. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dht/dht.h"
#include "dht/dht_msg.h"
#include "dht/item.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define OPS_MAX 8
/* Of an example of BEP 44, of which a seed has the signature. */
#define KEY                                                                    \
	"\x77\xff\x84\x90\x5a\x91\x93\x63\x67\xc0\x13\x60\x80\x31\x04\xf9"     \
	"\x24\x32\xfc\xd9\x04\xa4\x35\x11\x87\x6d\xf5\xcd\xf3\xe7\xe5\x48"
#define TICK_MAX 20000 /* calls of dht_tick in one step */

struct world {
	struct dht *dht;
	int64_t now;
	uint64_t chance;
	struct addr last_to; /* of what was sent last */
	uint8_t last_tid[LIMIT_DHT_TID_BYTES];
	size_t last_tid_len;
	size_t query_len; /* of the packet at hand; 0: none is */
	unsigned num_running;
	uint8_t token[8]; /* that the node gave last; zeros */
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct world *w = arg;
	struct dht_msg m;

	CHECK(len && len <= DHT_PACKET_BYTES);
	CHECK(dht_msg_parse(bytes, len, &m));
	if (m.kind != DHT_QUERY) {
		CHECK(w->query_len);
		if (m.token.len == sizeof(w->token))
			memcpy(w->token, m.token.ptr, sizeof(w->token));
		return;
	}
	w->last_to = *to;
	w->last_tid_len = m.tid.len;
	memcpy(w->last_tid, m.tid.ptr, m.tid.len);
}

static int64_t on_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static void on_random(void *arg, void *out, size_t len)
{
	struct world *w = arg;

	for (size_t i = 0; i < len; i++) {
		w->chance =
			w->chance * 6364136223846793005u + 1442695040888963407u;
		((uint8_t *)out)[i] = (uint8_t)(w->chance >> 56);
	}
}

static void on_done(void *arg, const struct dht_result *r)
{
	struct world *w = arg;

	CHECK(w->num_running);
	w->num_running--;
	CHECK(r->answers <= r->queries + r->num_nodes);
}

static void on_sample(void *arg, const struct infohash *hashes, size_t n,
		      int64_t interval_s, int64_t num)
{
	CHECK(n <= LIMIT_DHT_SAMPLES_TAKEN);
	((struct world *)arg)->num_running--;
}

static void on_pong(void *arg, const struct kad_id *id, int64_t rtt_ms)
{
	((struct world *)arg)->num_running--;
}

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	CHECK(n && n <= LIMIT_DHT_PEERS_FOUND);
}

static void on_value(void *arg, const struct item *value)
{
	CHECK(value->v.len <= LIMIT_DHT_ITEM_BYTES);
}

static struct addr somebody(unsigned which)
{
	struct addr a = { .family = which & 1 ? 6 : 4, .port = 6881 };

	memset(a.ip, 0, sizeof(a.ip));
	a.ip[0] = which & 1 ? 0x20 : 16;
	a.ip[1] = (uint8_t)(which >> 1);
	return a;
}

static void run_to(struct world *w, int64_t until)
{
	unsigned ticks = 0;

	while (dht_next_ms(w->dht) <= until) {
		int64_t at = dht_next_ms(w->dht);

		CHECK(++ticks < TICK_MAX);
		if (at > w->now)
			w->now = at;
		dht_tick(w->dht);
	}
	w->now = until;
}

static void give_token(const struct world *w, uint8_t *bytes, size_t len)
{
	static const char key[] = "5:token8:";
	uint8_t *at = memmem(bytes, len, key, sizeof(key) - 1);

	if (at && at + sizeof(key) - 1 + sizeof(w->token) <= bytes + len)
		memcpy(at + sizeof(key) - 1, w->token, sizeof(w->token));
}

static void receive(struct world *w, const struct addr *from,
		    const uint8_t *bytes, size_t len)
{
	/* On the heap, so that reading past the end is found. */
	uint8_t *copy;

	if (!len) /* UDP gives no such thing to anybody */
		return;
	copy = mem_dup(bytes, len);
	give_token(w, copy, len);
	w->query_len = len;
	dht_on_packet(w->dht, from, copy, len);
	w->query_len = 0;
	free(copy);
}

/* BODY as the answer to what was asked last, a list as an error. */
static void answer(struct world *w, const uint8_t *body, size_t len)
{
	char kind = len && body[0] == 'l' ? 'e' : 'r';
	uint8_t m[2048];
	size_t at = 0;

	if (!w->last_tid_len || len > sizeof(m) - 100)
		return;
	memcpy(m, "d1:", 3);
	m[3] = (uint8_t)kind;
	memcpy(m + 4, body, len);
	at = 4 + len;
	at += (size_t)snprintf((char *)m + at, 16, "1:t%zu:", w->last_tid_len);
	memcpy(m + at, w->last_tid, w->last_tid_len);
	at += w->last_tid_len;
	memcpy(m + at, "1:y1:re", 7);
	m[at + 5] = (uint8_t)kind;
	receive(w, &w->last_to, m, at + 7);
}

static void start(struct world *w, const uint8_t *p, size_t len)
{
	struct dht_get_peers peers = { .want_scrape = true,
				       .is_announce = true,
				       .port = 6881,
				       .on_peers = on_peers,
				       .on_done = on_done,
				       .arg = w };
	struct dht_get_item get = { .on_value = on_value,
				    .on_done = on_done,
				    .arg = w };
	struct dht_get_item mutable = { .is_mutable = true,
					.on_value = on_value,
					.on_done = on_done,
					.arg = w };
	struct dht_put_item put = { .on_done = on_done, .arg = w };
	struct addr to = somebody(len > 1 ? p[1] : 0);
	struct dht_op *op = NULL;

	if (w->num_running == OPS_MAX || len < 1)
		return;
	memset(peers.infohash.b, p[0], sizeof(peers.infohash.b));
	memset(get.target.b, p[0], sizeof(get.target.b));
	put.value.v = (struct span){ (const uint8_t *)"1:a", 3 };
	memcpy(mutable.pk, KEY, sizeof(mutable.pk));
	switch (p[0] % 8) {
	case 0:
		op = dht_get_peers(w->dht, &peers);
		break;
	case 1:
		op = dht_find_node(w->dht, &get.target, on_done, w);
		break;
	case 2:
		op = dht_get_item(w->dht, &get);
		break;
	case 3:
		op = dht_put_item(w->dht, &put);
		break;
	case 4:
		op = dht_ping(w->dht, &to, on_pong, w);
		break;
	case 5:
		op = dht_get_item(w->dht, &mutable);
		break;
	case 6:
		op = dht_sample(w->dht, &to, &get.target, on_sample, w);
		break;
	case 7:
		item_target(&put.value, get.target.b);
		op = dht_get_item(w->dht, &get);
		break;
	}
	w->num_running += op != NULL;
}

static void act(struct world *w, unsigned what, const uint8_t *p, size_t len)
{
	struct addr a = somebody(what >> 3);

	switch (what & 7) {
	case 0:
	case 1:
	case 2:
		receive(w, &a, p, len);
		break;
	case 3:
	case 4:
		answer(w, p, len);
		break;
	case 5:
		run_to(w, w->now + (len ? p[0] * (len > 1 ? p[1] : 10) : 1));
		break;
	case 6:
		start(w, p, len);
		break;
	case 7:
		if (len)
			(void)dht_load(w->dht, p, len);
		else
			dht_bootstrap(w->dht, &a, 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .now = 1000, .chance = 1 };
	struct dht_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = &w
	};
	struct dht_options options = { .v4 = true, .v6 = true };
	struct buf saved;

	w.dht = dht_new(&io, &options);
	while (size >= 2) {
		/* Some are long. */
		size_t len =
			data[1] *
			((data[0] & 7) == 2 || (data[0] & 7) == 4 ? 6u : 1u);

		if (len > size - 2)
			len = size - 2;
		act(&w, data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	/* Whatever happened, all that was begun ends. */
	run_to(&w, w.now + 120000);
	CHECK(!w.num_running);
	buf_init(&saved, LIMIT_NOTE_BYTES);
	dht_save(w.dht, &saved);
	CHECK(!saved.is_broken);
	buf_release(&saved);
	dht_free(w.dht);
	return 0;
}
