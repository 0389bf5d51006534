/* Goal: no datagrams, in any order with our own lookups and the clock, make a
 * node of the overlay of trackers misbehave: every lookup ends once, an answer
 * is never longer than its limit, and the clock never has to be asked for ever.
 * The input is a script: a byte says what happens, the next one how many bytes
 * belong to it. Signatures no input can guess, so one step answers what was
 * asked last as a tracker with a proof would, with whatever nodes it names. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_id.h"
#include "tracker/overlay/kt_msg.h"

#define DOMAIN    "bt.example.org"
#define FINDS_MAX 8
#define TICK_MAX  20000 /* calls of kt_tick in one step */

struct world {
	struct kt *kt;
	struct kt_key key; /* of whoever proves himself */
	uint8_t realm[KT_REALM_BYTES];
	int64_t now;
	uint64_t chance;
	struct addr last_to; /* of the query that was sent last */
	uint8_t last[KT_PACKET_BYTES];
	size_t last_len;
	size_t query_len; /* of the packet at hand; 0: none is */
	unsigned running;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct world *w = arg;
	struct kt_msg m;

	CHECK(len && len <= KT_PACKET_BYTES);
	CHECK(kt_msg_parse(bytes, len, &m));
	CHECK(!memcmp(m.realm.ptr, w->realm, KT_REALM_BYTES));
	if (m.kind != DHT_QUERY) {
		/* No input can know a token of ours. */
		CHECK(w->query_len && len <= 3 * w->query_len);
		return;
	}
	w->last_to = *to;
	w->last_len = len;
	memcpy(w->last, bytes, len);
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

static void on_found(void *arg, const struct kt_found *found)
{
	struct world *w = arg;

	CHECK(w->running);
	CHECK(found->num <= KT_OWNERS_MAX);
	for (unsigned i = 0; i < found->num; i++)
		CHECK(found->owners[i].is_self ||
		      !addr_is_martian(&found->owners[i].addr));
	w->running--;
}

static struct addr somebody(unsigned which)
{
	struct addr a = { .family = which & 1 ? 6 : 4, .port = 6969 };

	a.ip[0] = which & 1 ? 0x20 : 16;
	a.ip[1] = (uint8_t)(which >> 1);
	return a;
}

static void run_to(struct world *w, int64_t until)
{
	unsigned ticks = 0;

	while (kt_next_ms(w->kt) <= until) {
		int64_t at = kt_next_ms(w->kt);

		CHECK(++ticks < TICK_MAX);
		if (at > w->now)
			w->now = at;
		kt_tick(w->kt);
	}
	w->now = until;
}

static void receive(struct world *w, const struct addr *from,
		    const uint8_t *bytes, size_t len)
{
	/* On the heap, so that reading past the end is found. */
	uint8_t *copy;

	if (!len) /* UDP gives no such thing to anybody */
		return;
	copy = mem_dup(bytes, len);
	w->query_len = len;
	(void)kt_on_packet(w->kt, from, copy, len);
	w->query_len = 0;
	free(copy);
}

/* BODY is the answer to what was asked last, as it stands between "r" and t. */
static void answer(struct world *w, const uint8_t *body, size_t len)
{
	uint8_t b[LIMIT_KT_MESSAGE_BYTES];
	struct wcursor c = wcursor_of(b, sizeof(b));
	struct kt_msg m;

	if (!w->last_len || !kt_msg_parse(w->last, w->last_len, &m))
		return;
	wcursor_copy(&c, "d", 1);
	dht_key_str(&c, "n", w->realm, KT_REALM_BYTES);
	wcursor_copy(&c, "1:r", 3);
	wcursor_copy(&c, body, len);
	dht_key_str(&c, "t", m.tid.ptr, m.tid.len);
	wcursor_copy(&c, "1:y1:re", 7);
	if (!c.is_bad)
		receive(w, &w->last_to, b, wcursor_len(&c));
}

/* The same as a tracker that has its key; it names what NODES is. */
static void prove(struct world *w, const uint8_t *nodes, size_t len)
{
	static const struct kt_tracker tr = { .udp_port = 6969 };
	uint8_t b[KT_PACKET_BYTES], sig[KT_SIG_BYTES];
	struct kt_answer a = { .realm = w->realm,
			       .tr = &tr,
			       .nodes = { nodes, len },
			       .nodes6 = { nodes, len },
			       .has_nodes = { true, true },
			       .own = { nodes, len },
			       .own6 = { nodes, len },
			       .fresh = { 5, 5 },
			       .ip = &w->last_to };
	struct kad_id id;
	struct kt_msg m;
	size_t n;

	if (!w->last_len || !kt_msg_parse(w->last, w->last_len, &m))
		return;
	kt_id_make(w->realm, w->key.pk, &w->last_to, &id);
	a.tid = m.tid;
	a.id = (struct span){ id.b, KAD_ID_BYTES };
	if (m.challenge.ptr) {
		kt_proof_make(&w->key, w->realm, m.challenge.ptr, &id,
			      &w->last_to, sig);
		a.pk = (struct span){ w->key.pk, KT_PK_BYTES };
		a.sig = (struct span){ sig, sizeof(sig) };
	}
	n = kt_msg_write_answer(b, sizeof(b), &a);
	receive(w, &w->last_to, b, n);
}

static void find(struct world *w, uint8_t first)
{
	struct kad_id key = { { first } };

	if (w->running == FINDS_MAX)
		return;
	w->running++;
	if (!kt_find(w->kt, &key, on_found, w))
		w->running--;
	if (first & 1)
		kt_find_forget(w->kt, &key);
}

static void act(struct world *w, unsigned what, const uint8_t *p, size_t len)
{
	struct addr a = somebody(what >> 3);
	struct kt_owner owners[KT_REPLICAS];
	struct kad_id key = { { (uint8_t)(what >> 3) } };

	switch (what & 7) {
	case 0:
	case 1:
		receive(w, &a, p, len);
		break;
	case 2:
		answer(w, p, len);
		break;
	case 3:
		prove(w, p, len);
		break;
	case 4:
		run_to(w, w->now + (len ? p[0] * (len > 1 ? p[1] : 10) : 1));
		break;
	case 5:
		find(w, len ? p[0] : 0);
		break;
	case 6:
		kt_on_silence(w->kt, &a);
		CHECK(kt_owners(w->kt, &key, owners) <= KT_REPLICAS);
		break;
	case 7:
		if (len)
			(void)kt_load(w->kt, p, len);
		else
			kt_bootstrap(w->kt, &a, 1);
		break;
	}
}

static void parse_alone(const uint8_t *data, size_t size)
{
	struct kt_realm_file f;
	struct kt_msg m;
	char why[64];

	if (kt_msg_parse(data, size, &m)) {
		CHECK(m.realm.len == KT_REALM_BYTES && m.tid.len);
		CHECK(kt_msg_is_of(data, size, m.realm.ptr));
		CHECK(m.nodes.len % 26 == 0 && m.own6.len % 38 == 0);
	}
	(void)kt_realm_file_parse((const char *)data, size, &f, why,
				  sizeof(why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t seed[KT_SEED_BYTES] = { 1 };
	struct world w = { .now = 1000, .chance = 1 };
	struct kt_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = &w
	};
	struct kt_options options = { .domain = DOMAIN,
				      .v4 = true,
				      .v6 = true,
				      .self = { .http_port = 6969 },
				      .key = seed,
				      .external4 = { .family = 4,
						     .ip = { 9, 9, 9, 9 },
						     .port = 6969 },
				      .is_client = size && data[0] & 0x80 };
	struct buf saved;

	parse_alone(data, size);
	kt_realm(DOMAIN, w.realm);
	w.kt = kt_new(&io, &options);
	kt_key_init(&w.key,
		    (const uint8_t *)"0123456789abcdef0123456789abcdef");
	while (size >= 2) {
		/* Some are long. */
		size_t len = data[1] * ((data[0] & 7) == 3 ? 4u : 1u);

		if (len > size - 2)
			len = size - 2;
		act(&w, data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	/* Whatever happened, all that was begun ends. */
	run_to(&w, w.now + 120000);
	CHECK(!w.running);
	buf_init(&saved, LIMIT_NOTE_BYTES);
	kt_save(w.kt, &saved);
	CHECK(!saved.is_broken);
	buf_release(&saved);
	kt_key_release(&w.key);
	kt_free(w.kt);
	return 0;
}
