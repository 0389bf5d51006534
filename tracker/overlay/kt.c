/*
 * The life of the node: how it gets in and stays in, what it remembers.
 *
 * Bootstrap: nodes that were saved are asked first, names only when they have
 * had three seconds, and again at doubled intervals while there are few nodes;
 * all of them once more when nobody has answered for a minute. The first of
 * these intervals are short: who came in the same moment is known a second
 * later. An overlay may be of two trackers, so "few" is no reason to ask often:
 * at most every five minutes once somebody is there. However many there are,
 * the names are asked every AGAIN_MS, so that two halves that have never met
 * find each other.
 *
 * Liveness: who leaves two queries in a row without an answer is dead and no
 * owner any more. A query that is a look whether somebody lives is sent twice.
 */
#include "tracker/overlay/kt.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_private.h"

#define STALE_MS        (60 * 1000)
#define CANDIDATE_MS    (60 * 1000)
#define FAILS_DEAD      2
#define TIMEOUTS_DEAD   4    /* even if it may be our own line */
#define BOOTSTRAP_FIRST 3000 /* when there are saved nodes */
#define BOOTSTRAP_MS    1000 /* doubled each time */
#define BOOTSTRAP_MAX   (5 * 60 * 1000)
#define AGAIN_MS        (15 * 60 * 1000)
#define WELL_MS         60000 /* without an answer: cut off */
#define SWEEP_MS        10000
#define NET_BURST       (4 * LIMIT_KT_NET_PER_S)
#define ADDRESS_BURST   (10 * LIMIT_KT_ADDRESS_PER_S)
#define MEMBER_BURST    (4 * LIMIT_KT_MEMBER_PER_S)
#define QUERIES_BURST   (4 * LIMIT_KT_QUERIES_PER_S)

/* --- what the core asks --- */

uint32_t kt_random_u32(struct kt *k)
{
	uint32_t v;

	k->io.random(k->io.arg, &v, sizeof(v));
	return v;
}

static uint32_t on_random(void *arg)
{
	return kt_random_u32(arg);
}

/* The subnet's part of the id rule; the key's part is the codec's. */
static bool is_verified(void *arg, const struct kad_id *id,
			const struct addr *addr)
{
	const struct kt *k = arg;

	if (addr_is_local(addr))
		return k->o.allow_local;
	return kt_id_fits_net(k->realm, id, addr);
}

/* A subnet has two places in the overlay. */
static bool is_apart(void *arg, const struct kad_id *a, const struct kad_id *b)
{
	return memcmp(a->b, b->b, KT_PREFIX_BYTES) != 0;
}

static enum kad_state state_of(void *arg, const struct kad_node *n)
{
	if (!n->fails)
		return KAD_GOOD;
	return n->fails < FAILS_DEAD && n->timeouts < TIMEOUTS_DEAD
		       ? KAD_SUSPECT
		       : KAD_DEAD;
}

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct kt *k = arg;

	k->io.send(k->io.arg, to, bytes, len);
}

static void on_foreign(void *arg, int64_t now_ms, const struct kad_contact *c)
{
	struct kt *k = arg;
	struct kt_family *f = &k->family[kt_index(c->addr.family)];

	if (f->is_on && kad_table_is_short(&f->kad.table) &&
	    (k->o.allow_local || !addr_is_local(&c->addr)))
		kad_suggest(&f->kad, now_ms, c);
}

static void on_answer(void *arg, int64_t now_ms, const struct addr *from,
		      const struct kad_msg *msg)
{
	struct kt *k = arg;
	const struct kt_msg *m = msg->body;

	k->well_ms = now_ms;
	if (m->ip.ptr)
		kt_self_vote(k, from, m->ip);
}

/* --- beginning and end --- */

static void init_family(struct kt *k, unsigned i)
{
	struct kad_options o = {
		.rules = { .k = KT_K,
			   .is_verified = is_verified,
			   .state = state_of,
			   .is_apart = is_apart,
			   .arg = k,
			   .exempt_local = k->o.allow_local,
			   .stale_ms = STALE_MS,
			   .candidate_ms = CANDIDATE_MS },
		.codec = { kt_codec_write, kt_codec_parse },
		.io = { .send = on_send,
			.random = on_random,
			.on_query = kt_server_on_query,
			.on_answer = on_answer,
			.on_foreign = on_foreign,
			.arg = k },
		.family = i ? 6 : 4,
		.tag = k->o.tag,
	};

	k->family[i].is_on = true;
	kt_id_make(k->realm, k->key.pk, NULL, &o.self);
	kad_init(&k->family[i].kad, &o, k->now_ms);
	kt_self_init(k, i);
}

static void init_budgets(struct kt *k)
{
	uint8_t seed[16];

	k->io.random(k->io.arg, seed, sizeof(seed));
	budget_init(&k->budget, LIMIT_KT_QUERIES_PER_S, LIMIT_KT_ADDRESS_PER_S,
		    LIMIT_KT_UPLOAD_BPS, seed);
	k->budget.address_burst = ADDRESS_BURST;
	k->budget.queries_burst = QUERIES_BURST;
	budget_init(&k->nets, LIMIT_KT_QUERIES_PER_S, LIMIT_KT_NET_PER_S, 0,
		    seed);
	k->nets.address_burst = NET_BURST;
	k->nets.queries_burst = QUERIES_BURST;
	budget_init(&k->peers, LIMIT_KT_QUERIES_PER_S, LIMIT_KT_MEMBER_PER_S, 0,
		    seed);
	k->peers.address_burst = MEMBER_BURST;
	k->peers.queries_burst = QUERIES_BURST;
	k->io.random(k->io.arg, seed, sizeof(seed));
	token_init(&k->tokens, seed, k->now_ms);
	k->io.random(k->io.arg, k->secret, sizeof(k->secret));
}

static void init_identity(struct kt *k, const struct kt_options *o)
{
	uint8_t seed[KT_SEED_BYTES];

	kt_realm(o->domain, k->realm);
	k->is_closed = o->realm_pk != NULL;
	CHECK(!k->is_closed || k->io.wall_s);
	if (k->is_closed)
		memcpy(k->realm_pk, o->realm_pk, KT_PK_BYTES);
	kt_set_cert(k, o->cert, o->cert_len);
	if (o->key)
		memcpy(seed, o->key, sizeof(seed));
	else
		k->io.random(k->io.arg, seed, sizeof(seed));
	kt_key_init(&k->key, seed);
}

struct kt *kt_new(const struct kt_io *io, const struct kt_options *options)
{
	struct kt *k = mem_alloc(sizeof(*k));

	k->io = *io;
	k->o = *options;
	k->is_key_given = options->key != NULL;
	k->now_ms = k->start_ms = io->now(io->arg);
	k->bootstrap_ms = k->wanted_ms = k->now_ms;
	k->sweep_ms = k->now_ms + SWEEP_MS;
	k->well_ms = INT64_MIN;
	list_init(&k->searches);
	list_init(&k->cached);
	list_init(&k->finished);
	init_identity(k, options);
	init_budgets(k);
	if (options->v4)
		init_family(k, 0);
	if (options->v6)
		init_family(k, 1);
	k->o.domain = NULL;
	k->o.key = k->o.realm_pk = k->o.cert = NULL;
	return k;
}

void kt_free(struct kt *k)
{
	if (!k)
		return;
	kt_lookups_release(k);
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on)
			kad_release(&k->family[i].kad);
	}
	kt_members_release(k);
	kt_key_release(&k->key);
	free(k);
}

void kt_wake(struct kt *k)
{
	if (!k->is_busy && k->io.wake)
		k->io.wake(k->io.arg);
}

void kt_set_cert(struct kt *k, const uint8_t *cert, size_t len)
{
	k->has_cert = cert && len == KT_CERT_BYTES;
	if (k->has_cert)
		memcpy(k->cert, cert, KT_CERT_BYTES);
}

void kt_set_load(struct kt *k, uint8_t load)
{
	k->o.self.load = load;
}

const struct kad_id *kt_id(const struct kt *k)
{
	return &k->family[!k->family[0].is_on].kad.o.self;
}

const uint8_t *kt_pk(const struct kt *k)
{
	return k->key.pk;
}

const uint8_t *kt_pk_of(const struct kt *k, const struct addr *addr)
{
	const struct kt_member *m = kt_member_find(k, addr);

	return m ? m->pk : NULL;
}

/* --- packets and time --- */

static void tell_change(struct kt *k)
{
	uint32_t epoch = kt_epoch(k);

	if (epoch == k->told_epoch)
		return;
	k->told_epoch = epoch;
	if (k->io.on_change)
		k->io.on_change(k->io.arg);
}

bool kt_on_packet(struct kt *k, const struct addr *from, const uint8_t *bytes,
		  size_t len)
{
	struct kt_family *f = &k->family[kt_index(from->family)];

	k->now_ms = k->io.now(k->io.arg);
	if (!kt_msg_is_of(bytes, len, k->realm)) {
		k->stats.foreign++;
		return false;
	}
	if (!f->is_on || addr_is_martian(from)) {
		k->stats.dropped++;
		return true;
	}
	k->is_busy = true;
	if (!kad_on_packet(&f->kad, k->now_ms, from, bytes, len))
		k->stats.dropped++;
	kt_lookups_step(k);
	k->is_busy = false;
	tell_change(k);
	return true;
}

static bool is_short(const struct kt *k)
{
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on &&
		    k->family[i].kad.table.num_nodes < KT_K)
			return true;
	}
	return false;
}

static void bootstrap(struct kt *k)
{
	bool is_well = k->well_ms >= k->now_ms - WELL_MS && !is_short(k);
	int64_t wait = (int64_t)BOOTSTRAP_MS << k->bootstrap_tries;

	if (wait >= BOOTSTRAP_MAX)
		wait = BOOTSTRAP_MAX;
	else
		k->bootstrap_tries++;
	if (is_well) {
		k->bootstrap_tries = 0;
		wait = WELL_MS;
	}
	if (!is_well || k->now_ms - k->wanted_ms >= AGAIN_MS) {
		k->wanted_ms = k->now_ms;
		if (k->io.want_nodes)
			k->io.want_nodes(k->io.arg);
	}
	k->bootstrap_ms = k->now_ms + wait + kt_random_u32(k) % (wait / 4);
}

void kt_tick(struct kt *k)
{
	k->now_ms = k->io.now(k->io.arg);
	k->is_busy = true;
	if (k->now_ms >= k->bootstrap_ms)
		bootstrap(k);
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on)
			kad_tick(&k->family[i].kad, k->now_ms);
	}
	if (k->now_ms >= k->sweep_ms) {
		kt_members_sweep(k, k->is_closed ? k->io.wall_s(k->io.arg) : 0);
		k->sweep_ms = k->now_ms + SWEEP_MS;
	}
	kt_lookups_step(k);
	k->is_busy = false;
	tell_change(k);
}

int64_t kt_next_ms(struct kt *k)
{
	int64_t next =
		k->bootstrap_ms < k->sweep_ms ? k->bootstrap_ms : k->sweep_ms;
	int64_t lookups = kt_lookups_next_ms(k);

	if (lookups < next)
		next = lookups;
	for (unsigned i = 0; i < 2; i++) {
		int64_t at;

		if (!k->family[i].is_on)
			continue;
		at = kad_next_ms(&k->family[i].kad);
		if (at < next)
			next = at;
	}
	return next;
}

/* --- getting in, and looking who lives --- */

/* An answer fills the table, and the first of them starts its refresh. */
static void on_first(void *arg, struct kad_call *call, enum kad_event event,
		     const struct kad_msg *msg)
{
	struct kad *kad = arg;
	const struct kad_query q = { .method = KAD_FIND,
				     .target = &kad->o.self };

	if (event == KAD_SLOW && call->sends == 1) {
		kad_ask_again(kad, kad->now_ms, call, &q, LIMIT_KAD_TIMEOUT_MS);
		return;
	}
	if (event != KAD_ANSWER)
		return;
	for (unsigned i = 0; i < msg->num_nodes; i++) {
		const struct kad_contact *c = &msg->nodes[i];

		if (c->addr.family == kad->o.family &&
		    kad_addr_may_tell(&kad->o.rules, &call->to.addr, &c->addr))
			kad_suggest(kad, kad->now_ms, c);
	}
	if (kad->table.num_nodes && kad_table_is_short(&kad->table))
		kad_refresh(kad, kad->now_ms);
}

void kt_bootstrap(struct kt *k, const struct addr *addrs, size_t n)
{
	k->now_ms = k->io.now(k->io.arg);
	for (size_t i = 0; i < n && i < LIMIT_KT_BOOTSTRAP; i++) {
		struct kt_family *f = &k->family[kt_index(addrs[i].family)];
		struct kad_query q = { .method = KAD_FIND,
				       .target = &f->kad.o.self };

		if (f->is_on && !addr_is_martian(&addrs[i]))
			(void)kad_ask(&f->kad, k->now_ms, &q, NULL, &addrs[i],
				      on_first, &f->kad);
	}
	kt_wake(k);
}

static void on_look(void *arg, struct kad_call *call, enum kad_event event,
		    const struct kad_msg *msg)
{
	struct kad *kad = arg;
	const struct kad_query ping = { .method = KAD_PING };

	if (event == KAD_SLOW && call->sends < FAILS_DEAD)
		kad_ask_again(kad, kad->now_ms, call, &ping,
			      LIMIT_KAD_TIMEOUT_MS);
}

void kt_on_silence(struct kt *k, const struct addr *addr)
{
	const struct kad_query ping = { .method = KAD_PING };
	struct kt_member *m = kt_member_find(k, addr);
	struct kad *kad;

	k->now_ms = k->io.now(k->io.arg);
	if (!m || k->now_ms - m->looked_ms < LIMIT_KAD_TIMEOUT_MS)
		return;
	m->looked_ms = k->now_ms;
	kad = &k->family[kt_index(addr->family)].kad;
	(void)kad_ask(kad, k->now_ms, &ping, &m->at.id, addr, on_look, kad);
	kt_wake(k);
}

/* --- what outlives the process --- */

void kt_save(const struct kt *k, struct buf *out)
{
	uint8_t bytes[KAD_SAVED_BYTES];

	benc_dict(out);
	benc_cstr(out, "key");
	benc_str(out, k->key.seed, KT_SEED_BYTES);
	for (unsigned i = 0; i < 2; i++) {
		benc_cstr(out, i ? "nodes6" : "nodes");
		benc_str(out, bytes,
			 k->family[i].is_on ? kad_save(&k->family[i].kad, bytes)
					    : 0);
	}
	benc_end(out);
}

static void load_key(struct kt *k, struct bnode top)
{
	struct span s;

	if (k->is_key_given || !bnode_get_str(top, "key", &s) ||
	    s.len != KT_SEED_BYTES)
		return;
	kt_key_release(&k->key);
	kt_key_init(&k->key, s.ptr);
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on)
			kt_self_init(k, i);
	}
}

static void load_family(struct kt *k, unsigned i, struct bnode top)
{
	struct span s;

	if (k->family[i].is_on &&
	    bnode_get_str(top, i ? "nodes6" : "nodes", &s))
		kad_load(&k->family[i].kad, k->now_ms, s);
}

int kt_load(struct kt *k, const uint8_t *bytes, size_t len)
{
	static const struct bencode_limits limits = { .depth = 2,
						      .tokens = 16 };
	struct bnode top;
	size_t used;

	if (bencode_parse(bytes, len, &limits, &top, &used, NULL) ||
	    !bnode_is_dict(top))
		return -EBADMSG;
	k->now_ms = k->io.now(k->io.arg);
	load_key(k, top);
	load_family(k, 0, top);
	load_family(k, 1, top);
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on && k->family[i].kad.table.num_candidates)
			k->bootstrap_ms = k->now_ms + BOOTSTRAP_FIRST;
	}
	kt_wake(k);
	return 0;
}

/* --- in numbers --- */

void kt_stats(struct kt *k, struct kt_stats *out)
{
	*out = k->stats;
	out->members = k->members.num;
	for (unsigned i = 0; i < 2; i++) {
		const struct kt_family *f = &k->family[i];
		struct kad_table_stats t;
		double size;

		if (!f->is_on)
			continue;
		kad_table_stats(&f->kad.table, &t);
		out->nodes[i] = t.nodes;
		out->good[i] = t.good;
		size = kad_size(&f->kad);
		if (size > out->size)
			out->size = size;
		out->timeouts += f->kad.rpc.stats.timed_out;
		out->external[i] = f->external;
		out->is_member[i] = kt_self_is_member(k, i);
	}
}
