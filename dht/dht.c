/*
 * The life of the node: who it is (BEP 42: an id that its address gives it a
 * right to), how it gets in and stays in, what it tells about itself.
 *
 * Bootstrap: nodes that were saved are asked first, a second and three later,
 * names only then, and again at doubled intervals while the table stays short;
 * all of them once more when nobody has answered for a minute, or the clock
 * jumped: then the machine slept, and the network is another one.
 */
#include "dht/dht.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "dht/dht_private.h"
#include "dht/secure_id.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

#define STALE_MS        (3 * 60 * 1000)
#define CANDIDATE_MS    (90 * 1000)
#define BOOTSTRAP_FIRST 3000 /* when there are saved nodes */
#define BOOTSTRAP_MS    5000 /* doubled each time */
#define BOOTSTRAP_MAX   (5 * 60 * 1000)
#define WELL_MS         60000 /* without an answer: cut off */
#define JUMP_MS         30000 /* between two ticks: we slept */
#define SWEEP_MS        10000

static const uint8_t TAGS[2] = { 0x57, 0x77 };

/* --- what the core asks --- */

uint32_t dht_random_u32(struct dht *d)
{
	uint32_t v;

	d->io.random(d->io.arg, &v, sizeof(v));
	return v;
}

static uint32_t on_random(void *arg)
{
	return dht_random_u32(arg);
}

/* BEP 42 knows no right to an id for addresses that are not global. */
static bool is_verified(void *arg, const struct kad_id *id,
			const struct addr *addr)
{
	return addr_is_local(addr) || secure_id_check(id, addr);
}

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct dht *d = arg;

	d->stats.queries_out++;
	d->stats.bytes_out += len;
	d->io.send(d->io.arg, to, bytes, len);
}

static void on_foreign(void *arg, int64_t now_ms, const struct kad_contact *c)
{
	struct dht *d = arg;
	struct dht_family *f = &d->family[dht_index(c->addr.family)];

	if (f->is_on && kad_table_is_short(&f->kad.table) &&
	    (d->o.allow_local || !addr_is_local(&c->addr)))
		kad_suggest(&f->kad, now_ms, c);
}

/* --- who we are --- */

/* The id that IP gives a right to. */
static void new_id(struct dht *d, struct dht_family *f, const struct addr *ip)
{
	struct kad_id id;

	d->io.random(d->io.arg, id.b, sizeof(id.b));
	secure_id_make(&id, ip, id.b[19]);
	kad_set_self(&f->kad, &id);
}

/* One vote a subnet; the newest DHT_VOTES count. */
static void count_votes(struct dht *d, struct dht_family *f,
			const struct addr *ip)
{
	unsigned n = f->num_votes < DHT_VOTES ? f->num_votes : DHT_VOTES;
	unsigned agreed = 0;

	for (unsigned i = 0; i < n; i++)
		agreed += addr_ip_eq(&f->votes[i].ip, ip);
	if (agreed < DHT_AGREED || agreed * 2 <= n)
		return;
	if (f->external.family && addr_ip_eq(&f->external, ip))
		return;
	f->external = *ip;
	f->external.port = 0;
	if (!f->is_id_given && !addr_is_local(ip) &&
	    !secure_id_check(&f->kad.o.self, ip))
		new_id(d, f, ip);
}

static void take_vote(struct dht *d, const struct addr *from, struct span s)
{
	struct dht_family *f = &d->family[dht_index(from->family)];
	unsigned n = f->num_votes < DHT_VOTES ? f->num_votes : DHT_VOTES;
	size_t len = from->family == 4 ? 4 : 16;
	struct addr ip = { .family = from->family };
	struct dht_vote *v = NULL;

	if (s.len != len && s.len != len + 2)
		return;
	memcpy(ip.ip, s.ptr, len);
	ip.port = 1;
	if (addr_is_martian(&ip))
		return;
	/* A subnet has one vote, and may change its mind: our address does. */
	for (unsigned i = 0; i < n && !v; i++) {
		if (kad_addr_same_net(&f->votes[i].from, from))
			v = &f->votes[i];
	}
	if (v && addr_ip_eq(&v->ip, &ip))
		return;
	if (!v)
		v = &f->votes[f->num_votes++ % DHT_VOTES];
	v->from = *from;
	v->ip = ip;
	count_votes(d, f, &ip);
}

static void on_answer(void *arg, int64_t now_ms, const struct addr *from,
		      const struct kad_msg *msg)
{
	struct dht *d = arg;
	const struct dht_msg *m = msg->body;

	d->stats.answers_in++;
	d->well_ms = now_ms;
	if (m->ip.ptr)
		take_vote(d, from, m->ip);
}

/* --- beginning and end --- */

static void init_family(struct dht *d, unsigned i, const struct kad_id *id)
{
	struct dht_family *f = &d->family[i];
	struct kad_options o = {
		.rules = { .k = DHT_K,
			   .is_verified = is_verified,
			   .arg = d,
			   .exempt_local = d->o.allow_local,
			   .stale_ms = STALE_MS,
			   .candidate_ms = CANDIDATE_MS },
		.codec = { dht_codec_write, dht_codec_parse },
		.io = { .send = on_send,
			.random = on_random,
			.on_query = dht_server_on_query,
			.on_answer = on_answer,
			.on_foreign = on_foreign,
			.arg = d },
		.family = i ? 6 : 4,
		.tag = TAGS[i],
	};

	f->is_on = true;
	f->is_id_given = id != NULL;
	if (id)
		o.self = *id;
	else
		d->io.random(d->io.arg, o.self.b, sizeof(o.self.b));
	kad_init(&f->kad, &o, d->now_ms);
}

struct dht *dht_new(const struct dht_io *io, const struct dht_options *options)
{
	struct dht *d = mem_alloc(sizeof(*d));
	uint8_t seed[16];

	d->io = *io;
	d->o = *options;
	d->o.id4 = d->o.id6 = NULL;
	d->now_ms = d->tick_ms = d->start_ms = io->now(io->arg);
	d->bootstrap_ms = d->now_ms;
	d->sweep_ms = d->now_ms + SWEEP_MS;
	d->well_ms = INT64_MIN;
	list_init(&d->ops);
	if (options->v4)
		init_family(d, 0, options->id4);
	if (options->v6)
		init_family(d, 1, options->id6);
	io->random(io->arg, seed, sizeof(seed));
	budget_init(&d->budget, options->queries_per_s, options->address_per_s,
		    options->upload_bps, seed);
	io->random(io->arg, seed, sizeof(seed));
	token_init(&d->tokens, seed, d->now_ms);
	io->random(io->arg, seed, sizeof(seed));
	d->peers = peerstore_new(seed);
	io->random(io->arg, seed, sizeof(seed));
	d->items = itemstore_new(seed);
	return d;
}

void dht_free(struct dht *d)
{
	if (!d)
		return;
	while (!list_is_empty(&d->ops))
		dht_op_cancel(list_first(&d->ops, struct dht_op, node));
	for (unsigned i = 0; i < 2; i++) {
		if (d->family[i].is_on)
			kad_release(&d->family[i].kad);
	}
	peerstore_free(d->peers);
	itemstore_free(d->items);
	free(d);
}

void dht_wake(struct dht *d)
{
	if (!d->is_busy && d->io.wake)
		d->io.wake(d->io.arg);
}

/* --- packets and time --- */

void dht_on_packet(struct dht *d, const struct addr *from, const uint8_t *bytes,
		   size_t len)
{
	struct dht_family *f = &d->family[dht_index(from->family)];

	d->now_ms = d->io.now(d->io.arg);
	d->stats.bytes_in += len;
	if (!f->is_on || addr_is_martian(from)) {
		d->stats.dropped_martian++;
		return;
	}
	d->is_busy = true;
	if (!kad_on_packet(&f->kad, d->now_ms, from, bytes, len))
		d->stats.dropped_junk++;
	else if (d->num_ops)
		dht_ops_step(d);
	d->is_busy = false;
}

static bool is_short(const struct dht *d)
{
	for (unsigned i = 0; i < 2; i++) {
		if (d->family[i].is_on &&
		    d->family[i].kad.table.num_nodes < DHT_K)
			return true;
	}
	return false;
}

static void start_over(struct dht *d)
{
	d->bootstrap_tries = 0;
	d->bootstrap_ms = d->now_ms;
	for (unsigned i = 0; i < 2; i++) {
		if (d->family[i].is_on)
			kad_refresh(&d->family[i].kad, d->now_ms);
	}
}

/* With few nodes, or cut off: names, at growing intervals. */
static void bootstrap(struct dht *d)
{
	bool is_cut_off = d->well_ms < d->now_ms - WELL_MS;
	int64_t wait = (int64_t)BOOTSTRAP_MS << d->bootstrap_tries;

	if (wait >= BOOTSTRAP_MAX)
		wait = BOOTSTRAP_MAX;
	else
		d->bootstrap_tries++;
	if (!is_short(d) && !is_cut_off) {
		d->bootstrap_tries = 0;
		wait = WELL_MS;
	} else if (d->io.want_nodes) {
		d->io.want_nodes(d->io.arg);
	}
	d->bootstrap_ms = d->now_ms + wait + dht_random_u32(d) % (wait / 4);
}

void dht_tick(struct dht *d)
{
	d->now_ms = d->io.now(d->io.arg);
	d->is_busy = true;
	if (d->now_ms - d->tick_ms > JUMP_MS)
		start_over(d);
	d->tick_ms = d->now_ms;
	if (d->now_ms >= d->bootstrap_ms)
		bootstrap(d);
	for (unsigned i = 0; i < 2; i++) {
		if (d->family[i].is_on)
			kad_tick(&d->family[i].kad, d->now_ms);
	}
	if (d->now_ms >= d->sweep_ms) {
		peerstore_sweep(d->peers, d->now_ms);
		itemstore_sweep(d->items, d->now_ms);
		d->sweep_ms = d->now_ms + SWEEP_MS;
	}
	dht_ops_step(d);
	d->is_busy = false;
}

int64_t dht_next_ms(struct dht *d)
{
	int64_t next =
		d->bootstrap_ms < d->sweep_ms ? d->bootstrap_ms : d->sweep_ms;
	int64_t ops = dht_ops_next_ms(d);

	if (ops < next)
		next = ops;
	for (unsigned i = 0; i < 2; i++) {
		int64_t at;

		if (!d->family[i].is_on)
			continue;
		at = kad_next_ms(&d->family[i].kad);
		if (at < next)
			next = at;
	}
	return next;
}

/* --- getting in --- */

/* An answer fills the table, and the first of them starts its refresh. */
static void on_first(void *arg, struct kad_call *call, enum kad_event event,
		     const struct kad_msg *msg)
{
	struct kad *k = arg;
	const struct kad_query ping = { .method = KAD_PING };

	if (event == KAD_SLOW && call->sends == 1) {
		kad_ask_again(k, k->now_ms, call, &ping, LIMIT_KAD_TIMEOUT_MS);
		return;
	}
	if (event != KAD_ANSWER)
		return;
	for (unsigned i = 0; i < msg->num_nodes; i++) {
		const struct kad_contact *c = &msg->nodes[i];

		if (c->addr.family == k->o.family &&
		    kad_addr_may_tell(&k->o.rules, &call->to.addr, &c->addr))
			kad_suggest(k, k->now_ms, c);
	}
	if (k->table.num_nodes && kad_table_is_short(&k->table))
		kad_refresh(k, k->now_ms);
}

/* What others say must not make us write to this machine or its LAN. */
static bool may_ask(const struct dht *d, const struct addr *addr)
{
	return d->family[dht_index(addr->family)].is_on &&
	       (d->o.allow_local || !addr_is_local(addr));
}

static void ask_first(struct dht *d, const struct addr *addr)
{
	struct dht_family *f = &d->family[dht_index(addr->family)];
	struct kad_query q = { .method = KAD_FIND, .target = &f->kad.o.self };

	if (!f->is_on || addr_is_martian(addr))
		return;
	(void)kad_ask(&f->kad, d->now_ms, &q, NULL, addr, on_first, &f->kad);
}

void dht_bootstrap(struct dht *d, const struct addr *addrs, size_t n)
{
	d->now_ms = d->io.now(d->io.arg);
	for (size_t i = 0; i < n && i < LIMIT_DHT_BOOTSTRAP; i++)
		ask_first(d, &addrs[i]);
	dht_wake(d);
}

void dht_suggest(struct dht *d, const struct addr *addr)
{
	struct dht_family *f = &d->family[dht_index(addr->family)];

	/* Peers name nodes by the hundred; who has enough asks none of them. */
	if (!may_ask(d, addr) || !kad_table_is_short(&f->kad.table) ||
	    f->kad.rpc.num_calls > LIMIT_KAD_IN_FLIGHT)
		return;
	d->now_ms = d->io.now(d->io.arg);
	ask_first(d, addr);
	dht_wake(d);
}

bool dht_is_short(const struct dht *d)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct dht_family *f = &d->family[i];

		if (f->is_on && kad_table_is_short(&f->kad.table))
			return true;
	}
	return false;
}

const struct kad_id *dht_id(const struct dht *d, int family)
{
	return &d->family[dht_index(family)].kad.o.self;
}

/* --- in numbers --- */

void dht_stats(struct dht *d, struct dht_stats *out)
{
	d->now_ms = d->io.now(d->io.arg);
	*out = d->stats;
	for (unsigned i = 0; i < 2; i++) {
		const struct dht_family *f = &d->family[i];
		struct kad_table_stats t;

		if (!f->is_on)
			continue;
		kad_table_stats(&f->kad.table, &t);
		out->good[i] = t.good;
		out->nodes[i] = t.nodes;
		out->lookups += f->kad.num_lookups;
		out->size[i] = kad_size(&f->kad);
		out->external[i] = f->external;
		out->is_id_verified[i] =
			f->external.family &&
			secure_id_check(&f->kad.o.self, &f->external);
		out->timeouts += f->kad.rpc.stats.timed_out;
		out->spoofed += f->kad.rpc.stats.spoofed;
		out->mismatches += f->kad.rpc.stats.mismatch;
	}
	out->last_answer_ms =
		d->well_ms == INT64_MIN ? -1 : d->now_ms - d->well_ms;
	out->is_well = out->good[0] + out->good[1] > 0 &&
		       out->last_answer_ms >= 0 &&
		       out->last_answer_ms <= WELL_MS;
	out->stored_hashes = peerstore_hashes(d->peers);
	out->stored_peers = peerstore_peers(d->peers);
	out->stored_items = itemstore_count(d->items);
}

size_t dht_describe(struct dht *d, char *out, size_t size)
{
	struct dht_stats s;
	int n;

	dht_stats(d, &s);
	n = snprintf(
		out, size,
		"{\"well\":%s,\"good_nodes\":%u,\"good_nodes6\":%u,"
		"\"last_answer_s\":%lld,\"size\":%.0f,\"lookups\":%u,"
		"\"queries_in\":%llu,\"queries_out\":%llu,"
		"\"bytes_in\":%llu,\"bytes_out\":%llu,"
		"\"stored_torrents\":%u,\"stored_peers\":%u,"
		"\"stored_items\":%u}",
		s.is_well ? "true" : "false", s.good[0], s.good[1],
		(long long)(s.last_answer_ms < 0 ? -1
						 : s.last_answer_ms / 1000),
		s.size[0] > s.size[1] ? s.size[0] : s.size[1], s.lookups,
		(unsigned long long)s.queries_in,
		(unsigned long long)s.queries_out,
		(unsigned long long)s.bytes_in, (unsigned long long)s.bytes_out,
		s.stored_hashes, s.stored_peers, s.stored_items);
	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}
