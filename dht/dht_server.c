/*
 * Queries of others. Each is read once and answered from the stack: nothing is
 * allocated but what is stored.
 *
 * An answer to somebody who has not shown a token of ours is at most three
 * times as long as the question (a forged sender must not make us an
 * amplifier), but for an item that a node of our table asks for; what does not
 * fit is left out: first our version, then their address, then all but a few
 * peers, then nodes. Some nodes come with values too: without them a lookup
 * could not end.
 */
#include "dht/bloom.h"
#include "dht/dht_private.h"
#include "dht/item.h"

#define SAMPLE_INTERVAL_S 21600 /* BEP 51's most */
#define AMPLIFICATION     3
#define VALUES4           100 /* peers told at most */
#define VALUES6           30
#define VALUES4_FEW       8 /* of these before nodes */
#define VALUES6_FEW       4
#define VALUES_KEY_BYTES  10   /* "6:valuesl" "e" */
#define REPLY_BYTES       1024 /* BEP 32 */

struct reply {
	struct dht *d;
	struct dht_family *f;
	const struct addr *from;
	const struct dht_msg *q;
	size_t max;     /* bytes that may be sent */
	size_t reserve; /* of these, for what comes after the nodes */
	uint8_t bytes[DHT_PACKET_BYTES];
};

static void send_bytes(struct reply *r, size_t len)
{
	struct dht *d = r->d;

	if (!len)
		return;
	if (!budget_reply(&d->budget, d->now_ms, len)) {
		d->stats.dropped_upload++;
		return;
	}
	d->stats.bytes_out += len;
	d->io.send(d->io.arg, r->from, r->bytes, len);
}

static void refuse(struct reply *r, enum dht_code code, const char *text)
{
	r->d->stats.errors_out++;
	send_bytes(r, dht_write_error(r->bytes, sizeof(r->bytes), r->q->tid,
				      code, text));
}

/* --- the frame of an answer --- */

struct frame {
	struct wcursor c;
	bool has_ip, has_version;
};

static size_t tail_bytes(const struct reply *r, const struct frame *f)
{
	/* e, t and its length of two digits at most, v, y */
	return 1 + 3 + 3 + r->q->tid.len + (f->has_version ? 9 : 0) + 7;
}

/* FIXED: bytes that the answer must hold besides the frame and the id. */
static void begin(struct reply *r, struct frame *f, size_t fixed)
{
	size_t ip_bytes = r->from->family == 4 ? 4 + 2 + 6 : 4 + 3 + 18;
	size_t need = 5 + 26 + fixed + tail_bytes(r, f);
	uint8_t compact[18];

	f->has_ip = need + ip_bytes <= r->max;
	f->has_version = need + 9 + (f->has_ip ? ip_bytes : 0) <= r->max;
	f->c = wcursor_of(r->bytes, sizeof(r->bytes));
	dht_put_raw(&f->c, "d", 1);
	if (f->has_ip)
		dht_key_str(&f->c, "ip", compact,
			    addr_to_compact(r->from, compact));
	dht_put_raw(&f->c, "1:rd", 4);
}

static void put_id(struct reply *r, struct frame *f)
{
	dht_key_str(&f->c, "id", r->f->kad.o.self.b, KAD_ID_BYTES);
}

static void finish(struct reply *r, struct frame *f)
{
	dht_put_raw(&f->c, "e1:t", 4);
	dht_put_str(&f->c, r->q->tid.ptr, r->q->tid.len);
	if (f->has_version)
		dht_key_str(&f->c, "v", DHT_VERSION, 4);
	dht_put_raw(&f->c, "1:y1:re", 7);
	if (f->c.is_bad || wcursor_len(&f->c) > r->max)
		return; /* the question was too short for any answer */
	r->d->stats.answers_out++;
	send_bytes(r, wcursor_len(&f->c));
}

/* Bytes that may still be put into the body. */
static size_t room(const struct reply *r, const struct frame *f)
{
	size_t used = wcursor_len(&f->c) + tail_bytes(r, f) + r->reserve;

	return used < r->max ? r->max - used : 0;
}

/* --- nodes --- */

/* "6:nodes6304:" and the like. */
#define NODES_KEY_BYTES 12

static void put_family(struct reply *r, struct frame *f, unsigned i,
		       const struct kad_id *target)
{
	const struct kad_node *near[DHT_K];
	size_t stride = i ? 38 : 26, left = room(r, f), fits;
	uint8_t bytes[DHT_K * 38], *at = bytes;
	unsigned n;

	if (left < NODES_KEY_BYTES)
		return;
	fits = (left - NODES_KEY_BYTES) / stride;
	n = kad_table_closest(&r->d->family[i].kad.table, target,
			      fits < DHT_K ? (unsigned)fits : DHT_K, near);
	for (unsigned j = 0; j < n; j++) {
		/* Nobody out there can use what is private here. */
		if (addr_is_local(&near[j]->addr) && !addr_is_local(r->from))
			continue;
		memcpy(at, near[j]->id.b, KAD_ID_BYTES);
		at += KAD_ID_BYTES;
		at += addr_to_compact(&near[j]->addr, at);
	}
	dht_key_str(&f->c, i ? "nodes6" : "nodes", bytes, (size_t)(at - bytes));
}

static void wanted(const struct reply *r, bool out[2])
{
	bool is_six = r->from->family == 6;

	out[0] = r->q->has_want ? r->q->want4 : !is_six;
	out[1] = r->q->has_want ? r->q->want6 : is_six;
	if (!out[0] && !out[1])
		out[is_six] = true;
	out[0] &= r->d->family[0].is_on;
	out[1] &= r->d->family[1].is_on;
}

static void put_nodes(struct reply *r, struct frame *f,
		      const struct kad_id *target)
{
	bool want[2];

	wanted(r, want);
	if (want[0])
		put_family(r, f, 0, target);
	if (want[1])
		put_family(r, f, 1, target);
}

/* For begin(): what nodes take, so that version and address give way first. */
static size_t nodes_bytes(const struct reply *r)
{
	bool want[2];

	wanted(r, want);
	return (want[0] ? 11 + DHT_K * 26 : 0) +
	       (want[1] ? 12 + DHT_K * 38 : 0);
}

static void make_token(struct reply *r, const struct kad_id *target,
		       uint8_t out[TOKEN_BYTES])
{
	token_make(&r->d->tokens, r->d->now_ms, r->from, r->q->id.ptr,
		   target->b, out);
}

static bool has_token(struct reply *r, const struct kad_id *target)
{
	if (token_check(&r->d->tokens, r->d->now_ms, r->from, r->q->id.ptr,
			target->b, r->q->token))
		return true;
	r->d->stats.bad_tokens++;
	refuse(r, DHT_PROTOCOL, "bad token");
	return false;
}

/* --- the queries --- */

#define TOKEN_KEY_BYTES (7 + 2 + TOKEN_BYTES) /* "5:token8:" */
#define SEQ_BYTES       (5 + 22)              /* "3:seqi..e" */
#define SIGNED_BYTES    (6 + 32 + 8 + 64)     /* "1:k32:" "3:sig64:" */
#define SAMPLES_BYTES   (5 + 12 + 9 + 4)      /* "3:num" "7:samples400:" */

static void on_ping(struct reply *r)
{
	struct frame f = { 0 };

	begin(r, &f, 0);
	put_id(r, &f);
	finish(r, &f);
}

static void on_find_node(struct reply *r, const struct kad_id *target)
{
	struct frame f = { 0 };

	begin(r, &f, nodes_bytes(r));
	put_id(r, &f);
	put_nodes(r, &f, target);
	finish(r, &f);
}

struct values {              /* peers of the family of the packet (BEP 32) */
	size_t stride, each; /* bytes, and as a string */
	unsigned num;
	uint8_t bytes[VALUES4 * 6 + VALUES6 * 18];
};

static void find_values(struct reply *r, struct values *v,
			const struct infohash *ih)
{
	bool is_six = r->from->family == 6;

	v->stride = is_six ? 18 : 6;
	v->each = v->stride + (is_six ? 3 : 2);
	v->num = peerstore_get(r->d->peers, r->d->now_ms, ih, r->from->family,
			       r->q->noseed == 1, dht_random_u32(r->d),
			       v->bytes, is_six ? VALUES6 : VALUES4);
}

/* A few of them come before the nodes, where there is not room for all. */
static size_t values_reserve(const struct values *v)
{
	unsigned few = v->stride == 6 ? VALUES4_FEW : VALUES6_FEW;

	if (!v->num)
		return 0;
	return VALUES_KEY_BYTES + (v->num < few ? v->num : few) * v->each;
}

static void put_values(struct reply *r, struct frame *f, const struct values *v)
{
	size_t left = room(r, f);

	if (!v->num || left < VALUES_KEY_BYTES + v->each)
		return;
	left -= VALUES_KEY_BYTES;
	dht_put_raw(&f->c, "6:valuesl", 9);
	for (unsigned i = 0; i < v->num && left >= v->each; i++) {
		dht_put_str(&f->c, v->bytes + i * v->stride, v->stride);
		left -= v->each;
	}
	dht_put_raw(&f->c, "e", 1);
}

static void on_get_peers(struct reply *r, const struct kad_id *target)
{
	struct frame f = { 0 };
	uint8_t token[TOKEN_BYTES];
	struct infohash ih;
	struct values v;

	memcpy(ih.b, target->b, sizeof(ih.b));
	find_values(r, &v, &ih);
	begin(r, &f, nodes_bytes(r) + TOKEN_KEY_BYTES + values_reserve(&v));
	if (r->q->scrape == 1 &&
	    room(r, &f) >= 2 * (6 + 4 + BLOOM_BYTES) + 30 + TOKEN_KEY_BYTES) {
		uint8_t seeds[BLOOM_BYTES], others[BLOOM_BYTES];

		if (peerstore_scrape(r->d->peers, r->d->now_ms, &ih, seeds,
				     others)) {
			dht_key_str(&f.c, "BFpe", others, sizeof(others));
			dht_key_str(&f.c, "BFsd", seeds, sizeof(seeds));
		}
	}
	put_id(r, &f);
	r->reserve = TOKEN_KEY_BYTES + values_reserve(&v);
	put_nodes(r, &f, target);
	r->reserve = 0;
	/* BEP 33: no token, no announce: this swarm is full here. */
	if (!peerstore_is_full(r->d->peers, &ih)) {
		make_token(r, target, token);
		dht_key_str(&f.c, "token", token, sizeof(token));
	}
	put_values(r, &f, &v);
	finish(r, &f);
}

static void on_announce(struct reply *r, const struct kad_id *target)
{
	struct addr peer = *r->from;
	struct infohash ih;
	int e;

	memcpy(ih.b, target->b, sizeof(ih.b));
	if (!has_token(r, target))
		return;
	if (!r->q->implied_port) {
		if (r->q->port < 1 || r->q->port > 65535) {
			refuse(r, DHT_PROTOCOL, "bad port");
			return;
		}
		peer.port = (uint16_t)r->q->port;
	}
	e = peerstore_add(r->d->peers, r->d->now_ms, &ih, &peer,
			  r->q->seed == 1);
	if (e)
		refuse(r, DHT_SERVER, "full");
	else
		on_ping(r);
}

/* The sender is a node of ours: a forged one would have to be as well. */
static bool is_there(const struct reply *r)
{
	const struct kad_table *t = &r->f->kad.table;
	struct kad_id id = dht_id_of(r->q->id);
	const struct kad_node *n = kad_table_find(t, &id);

	return n && addr_eq(&n->addr, r->from) &&
	       kad_table_state(t, n) == KAD_GOOD;
}

static void on_get(struct reply *r, const struct kad_id *target)
{
	struct itemstore_entry item;
	struct frame f = { 0 };
	uint8_t token[TOKEN_BYTES];
	size_t fixed = 0;
	bool has = itemstore_get(r->d->items, r->d->now_ms, target, &item);

	/* BEP 44: who has it already is told the number only. */
	bool is_known = has && item.is_mutable && r->q->has_seq &&
			r->q->seq >= item.seq;

	/* A large value goes to whoever asks at length, or is there for sure
	 * as it answered us. */
	if (has && !is_known) {
		fixed = 3 + item.v.len + (item.is_mutable ? SIGNED_BYTES : 0);
		r->max = is_there(r) ? DHT_PACKET_BYTES
				     : AMPLIFICATION * r->d->msg_len;
		if (r->max > DHT_PACKET_BYTES)
			r->max = DHT_PACKET_BYTES;
	}
	make_token(r, target, token);
	r->reserve = TOKEN_KEY_BYTES + SEQ_BYTES;
	begin(r, &f, nodes_bytes(r) + r->reserve + fixed);
	put_id(r, &f);
	if (room(r, &f) < fixed)
		fixed = 0;
	r->reserve += fixed;
	if (fixed && item.is_mutable) {
		dht_key_str(&f.c, "k", item.pk, 32);
		r->reserve -= 6 + 32;
	}
	put_nodes(r, &f, target);
	if (has && item.is_mutable) {
		dht_put_key(&f.c, "seq");
		dht_put_int(&f.c, item.seq);
	}
	if (fixed && item.is_mutable)
		dht_key_str(&f.c, "sig", item.sig, 64);
	dht_key_str(&f.c, "token", token, sizeof(token));
	if (fixed) {
		dht_put_key(&f.c, "v");
		dht_put_raw(&f.c, item.v.ptr, item.v.len);
	}
	finish(r, &f);
}

static void refuse_item(struct reply *r, int code)
{
	static const struct {
		enum dht_code code;
		const char *text;
	} texts[] = {
		{ DHT_TOO_BIG, "v too big" },
		{ DHT_BAD_SIGNATURE, "bad signature" },
		{ DHT_SALT_TOO_BIG, "salt too big" },
		{ DHT_CAS_MISMATCH, "cas mismatch" },
		{ DHT_SEQ_TOO_OLD, "sequence number too old" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if ((int)texts[i].code == code) {
			refuse(r, texts[i].code, texts[i].text);
			return;
		}
	}
	refuse(r, code == DHT_SERVER ? DHT_SERVER : DHT_PROTOCOL,
	       code == DHT_SERVER ? "full" : "bad item");
}

static void on_put(struct reply *r)
{
	const struct dht_msg *q = r->q;
	struct item item = { .v = q->v,
			     .salt = q->salt,
			     .is_mutable = q->k.ptr != NULL,
			     .seq = q->seq };
	struct kad_id target;
	int code;

	if (!q->v.len || (item.is_mutable && (!q->has_seq || !q->sig.ptr))) {
		refuse(r, DHT_PROTOCOL, "v, seq or sig is missing");
		return;
	}
	if (item.is_mutable) {
		memcpy(item.pk, q->k.ptr, sizeof(item.pk));
		memcpy(item.sig, q->sig.ptr, sizeof(item.sig));
	}
	code = item_check_sizes(&item);
	if (code) {
		refuse_item(r, code);
		return;
	}
	item_target(&item, target.b);
	/* The token first: a signature costs far more to check. */
	if (!has_token(r, &target))
		return;
	code = item_verify(&item) ? 0 : DHT_BAD_SIGNATURE;
	if (!code)
		code = itemstore_put(r->d->items, r->d->now_ms, &target, &item,
				     q->has_cas ? &q->cas : NULL, r->from);
	if (code)
		refuse_item(r, code);
	else
		on_ping(r);
}

static void on_sample(struct reply *r, const struct kad_id *target)
{
	struct infohash hashes[LIMIT_DHT_SAMPLES];
	struct frame f = { 0 };
	size_t fits;
	unsigned n;

	begin(r, &f, nodes_bytes(r) + 60);
	put_id(r, &f);
	dht_put_key(&f.c, "interval");
	dht_put_int(&f.c, SAMPLE_INTERVAL_S);
	r->reserve = SAMPLES_BYTES + 4 * sizeof(hashes[0]);
	put_nodes(r, &f, target);
	r->reserve = SAMPLES_BYTES;
	fits = room(r, &f) / sizeof(hashes[0]);
	dht_put_key(&f.c, "num");
	dht_put_int(&f.c, (int64_t)peerstore_hashes(r->d->peers));
	n = peerstore_sample(r->d->peers, r->d->now_ms, hashes,
			     fits < LIMIT_DHT_SAMPLES ? (unsigned)fits
						      : LIMIT_DHT_SAMPLES);
	dht_key_str(&f.c, "samples", hashes, n * sizeof(hashes[0]));
	finish(r, &f);
}

/* --- who gets what --- */

static void answer(struct reply *r)
{
	const struct dht_msg *q = r->q;
	struct span s = q->target.ptr ? q->target : q->info_hash;
	bool needs_hash =
		q->method == DHT_GET_PEERS || q->method == DHT_ANNOUNCE_PEER;
	struct kad_id target;

	if (needs_hash)
		s = q->info_hash;
	if (s.ptr)
		target = dht_id_of(s);
	else if (q->method == DHT_UNKNOWN) {
		refuse(r, DHT_NO_METHOD, "method unknown");
		return;
	} else if (q->method != DHT_PING && q->method != DHT_PUT) {
		refuse(r, DHT_PROTOCOL, "no target");
		return;
	}
	switch (q->method) {
	case DHT_PING:
		on_ping(r);
		return;
	case DHT_GET_PEERS:
		on_get_peers(r, &target);
		return;
	case DHT_ANNOUNCE_PEER:
		on_announce(r, &target);
		return;
	case DHT_GET:
		on_get(r, &target);
		return;
	case DHT_PUT:
		on_put(r);
		return;
	case DHT_SAMPLE:
		on_sample(r, &target);
		return;
	case DHT_FIND_NODE:
	case DHT_UNKNOWN: /* what it means we do not know, whom to ask we do */
		on_find_node(r, &target);
		return;
	}
}

static bool is_within_budget(struct dht *d, const struct addr *from)
{
	switch (budget_query(&d->budget, d->now_ms, from)) {
	case BUDGET_OK:
		return true;
	case BUDGET_ADDRESS:
		d->stats.dropped_address++;
		return false;
	case BUDGET_GLOBAL:
		break;
	}
	d->stats.dropped_global++;
	return false;
}

void dht_server_on_query(void *arg, int64_t now_ms, const struct addr *from,
			 const struct kad_msg *msg)
{
	struct dht *d = arg;
	const struct dht_msg *q = msg->body;
	struct dht_family *f = &d->family[dht_index(from->family)];
	struct kad_contact who = { .addr = *from };
	struct reply r;

	d->stats.queries_in++;
	if (d->o.is_read_only || !is_within_budget(d, from))
		return;
	r.d = d;
	r.f = f;
	r.from = from;
	r.q = q;
	r.max = AMPLIFICATION * d->msg_len;
	r.reserve = 0;
	if (r.max > REPLY_BYTES)
		r.max = REPLY_BYTES;
	if (!msg->has_id) {
		refuse(&r, DHT_PROTOCOL, "id is not 20 bytes");
		return;
	}
	/* Ourselves, reflected. */
	if (kad_id_eq(&msg->id, &f->kad.o.self))
		return;
	answer(&r);
	who.id = msg->id;
	if (!q->is_read_only)
		kad_on_sender(&f->kad, now_ms, &who);
}
