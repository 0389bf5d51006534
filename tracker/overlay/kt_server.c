/*
 * Queries of others. Each is read once and answered from the stack. Trackers
 * may ask more than others, for they ask for others (DNS), and out of a budget
 * of their own.
 *
 * An answer is at most three times as long as the question, unless the sender
 * shows a token of ours: then it is there, and not somebody who forges its
 * address. What does not fit are nodes, from the farthest on.
 *
 * A proof costs a signature. Half of what we sign in a second is for anybody,
 * the rest for who shows a token; without, the answer holds one to come back
 * with.
 */
#include "engine/base/check.h"
#include "tracker/overlay/kt_private.h"

#define AMPLIFICATION 3
#define SIGN_US       (1000000 / LIMIT_KT_SIGNS_PER_S)
#define SIGN_BURST_US 1000000

static_assert(KT_K <= 8, "a bit for each node told");

struct reply {
	struct kt *k;
	struct kt_family *f;
	const struct addr *from;
	const struct kt_msg *q;
	struct kad_id id, target; /* target: zeros, if there is none */
	size_t max;               /* bytes that may be sent */
	bool has_token;
	struct kt_answer a;
	struct kt_tracker tr;
	uint8_t sig[KT_SIG_BYTES], token[TOKEN_BYTES];
	uint8_t nodes[KT_K * 26], nodes6[KT_K * 38];
	uint8_t own[KT_OWNERS_MAX * 26], own6[KT_OWNERS_MAX * 38];
	uint8_t bytes[KT_PACKET_BYTES];
};

static void send_bytes(struct reply *r, size_t len)
{
	struct kt *k = r->k;

	if (!len || len > r->max || !budget_reply(&k->budget, k->now_ms, len)) {
		k->stats.dropped++;
		return;
	}
	k->stats.answers_out++;
	k->io.send(k->io.arg, r->from, r->bytes, len);
}

static void refuse(struct reply *r, enum dht_code code, const char *text)
{
	send_bytes(r, kt_msg_write_error(r->bytes, sizeof(r->bytes),
					 r->k->realm, r->q->tid, code, text));
}

/* --- tokens --- */

/* Good for one address with its port, one id, one target. */
static void token_name(const struct reply *r, uint8_t out[KAD_ID_BYTES])
{
	memcpy(out, r->id.b, KAD_ID_BYTES);
	out[0] ^= (uint8_t)(r->from->port >> 8);
	out[1] ^= (uint8_t)r->from->port;
}

static void put_token(struct reply *r)
{
	uint8_t name[KAD_ID_BYTES];

	token_name(r, name);
	token_make(&r->k->tokens, r->k->now_ms, r->from, name, r->target.b,
		   r->token);
	r->a.token = (struct span){ r->token, sizeof(r->token) };
}

static bool shows_token(struct reply *r)
{
	uint8_t name[KAD_ID_BYTES];

	token_name(r, name);
	return token_check(&r->k->tokens, r->k->now_ms, r->from, name,
			   r->target.b, r->q->token);
}

/* --- proofs --- */

static bool may_sign(struct reply *r)
{
	int64_t *full = &r->k->signs_us, now = r->k->now_ms * 1000;

	if (*full < now)
		*full = now;
	if (*full + SIGN_US - now >
	    (r->has_token ? SIGN_BURST_US : SIGN_BURST_US / 2))
		return false;
	*full += SIGN_US;
	return true;
}

static void put_proof(struct reply *r)
{
	struct kt *k = r->k;
	struct addr at;

	if (!r->q->challenge.ptr || !r->q->endpoint.ptr ||
	    !kt_self_is_member(k, kt_index(r->from->family)))
		return;
	if (r->q->endpoint.len == 6)
		addr_from_compact4(&at, r->q->endpoint.ptr);
	else
		addr_from_compact6(&at, r->q->endpoint.ptr);
	/* We sign for no address but ours: else somebody else could ask us to
	 * sign for his. */
	if (at.family != r->from->family || !kt_self_is_at(k, &at))
		return;
	if (!may_sign(r)) {
		put_token(r);
		return;
	}
	kt_proof_make(&k->key, k->realm, r->q->challenge.ptr, &r->f->kad.o.self,
		      &at, r->sig);
	r->a.pk = (struct span){ k->key.pk, KT_PK_BYTES };
	r->a.sig = (struct span){ r->sig, KT_SIG_BYTES };
	if (k->has_cert)
		r->a.cert = (struct span){ k->cert, KT_CERT_BYTES };
}

/* --- nodes and owners --- */

static uint8_t *put_contact(uint8_t *at, const struct kad_id *id,
			    const struct addr *addr)
{
	memcpy(at, id->b, KAD_ID_BYTES);
	at += KAD_ID_BYTES;
	return at + addr_to_compact(addr, at);
}

static void put_family(struct reply *r, unsigned i, uint8_t *bytes,
		       struct span *out)
{
	const struct kad_node *near[KT_K];
	uint8_t *at = bytes;
	unsigned n = 0, bit = 1;

	if (r->k->family[i].is_on)
		n = kad_table_closest(&r->k->family[i].kad.table, &r->target,
				      KT_K, near);
	for (unsigned j = 0; j < n; j++) {
		const struct kt_member *m;

		/* Nobody out there can use what is private here. */
		if (addr_is_local(&near[j]->addr) && !addr_is_local(r->from))
			continue;
		m = kt_member_of(r->k, &near[j]->id, &near[j]->addr);
		if (!m || !kt_member_is_settled(r->k, m))
			r->a.fresh[i] |= (uint8_t)bit;
		bit <<= 1;
		at = put_contact(at, &near[j]->id, &near[j]->addr);
	}
	*out = (struct span){ bytes, (size_t)(at - bytes) };
	r->a.has_nodes[i] = true;
}

static void put_nodes(struct reply *r)
{
	bool is_six = r->from->family == 6;

	if (!is_six || r->q->want[0])
		put_family(r, 0, r->nodes, &r->a.nodes);
	if (is_six || r->q->want[1])
		put_family(r, 1, r->nodes6, &r->a.nodes6);
}

/* Who we are at the asker knows: our own address is all zeros. */
static void put_owners(struct reply *r)
{
	struct kt_owner owners[KT_OWNERS_MAX];
	unsigned n = kt_owners_many(r->k, &r->target, owners, KT_OWNERS_MAX);
	uint8_t *at = r->own, *at6 = r->own6;

	for (unsigned i = 0; i < n; i++) {
		struct addr a = owners[i].addr;

		if (owners[i].is_self) {
			a = (struct addr){ .family = r->from->family };
			owners[i].id = r->f->kad.o.self;
		} else if (addr_is_local(&a) && !addr_is_local(r->from)) {
			continue;
		}
		if (a.family == 4)
			at = put_contact(at, &owners[i].id, &a);
		else
			at6 = put_contact(at6, &owners[i].id, &a);
	}
	r->a.own = (struct span){ r->own, (size_t)(at - r->own) };
	if (at6 != r->own6)
		r->a.own6 = (struct span){ r->own6, (size_t)(at6 - r->own6) };
}

/* --- the answer --- */

static bool shorten(struct span *s, size_t stride, size_t *excess)
{
	while (*excess && s->len >= stride) {
		s->len -= stride;
		*excess -= *excess < stride ? *excess : stride;
	}
	return !*excess;
}

static void finish(struct reply *r)
{
	struct kt_answer *a = &r->a;
	size_t len = kt_msg_write_answer(r->bytes, sizeof(r->bytes), a);
	size_t excess;

	if (len && len <= r->max) {
		send_bytes(r, len);
		return;
	}
	excess = (len ? len : sizeof(r->bytes) + 1) - r->max;
	(void)(shorten(&a->nodes6, 38, &excess) ||
	       shorten(&a->nodes, 26, &excess) ||
	       shorten(&a->own6, 38, &excess) || shorten(&a->own, 26, &excess));
	send_bytes(r, kt_msg_write_answer(r->bytes, sizeof(r->bytes), a));
}

static void answer(struct reply *r)
{
	const struct kt_msg *q = r->q;

	if (q->method == KT_UNKNOWN) {
		refuse(r, DHT_NO_METHOD, "method unknown");
		return;
	}
	if (q->method != KT_PING && !q->target.ptr) {
		refuse(r, DHT_PROTOCOL, "no target");
		return;
	}
	put_proof(r);
	if (q->method == KT_FIND) {
		put_nodes(r);
		put_token(r);
	} else if (q->method == KT_OWN) {
		put_owners(r);
	}
	finish(r);
}

/* --- who gets what --- */

static bool is_within_budget(struct kt *k, const struct addr *from)
{
	struct addr net = *from;

	if (kt_member_find(k, from))
		return budget_query(&k->peers, k->now_ms, from) == BUDGET_OK;
	if (budget_query(&k->budget, k->now_ms, from) != BUDGET_OK)
		return false;
	if (k->o.allow_local && addr_is_local(from))
		return true;
	memset(net.ip + (net.family == 4 ? 3 : 6), 0, net.family == 4 ? 1 : 10);
	return budget_query(&k->nets, k->now_ms, &net) == BUDGET_OK;
}

void kt_server_on_query(void *arg, int64_t now_ms, const struct addr *from,
			const struct kad_msg *msg)
{
	struct kt *k = arg;
	const struct kt_msg *q = msg->body;
	struct kt_family *f = &k->family[kt_index(from->family)];
	struct kad_contact who = { .id = msg->id, .addr = *from };
	struct reply r;

	k->stats.queries_in++;
	if (k->o.is_client || !is_within_budget(k, from)) {
		k->stats.dropped++;
		return;
	}
	memset(&r, 0, offsetof(struct reply, sig));
	r.k = k;
	r.f = f;
	r.from = from;
	r.q = q;
	r.id = msg->id;
	r.max = AMPLIFICATION * k->msg_len;
	if (q->target.ptr)
		memcpy(r.target.b, q->target.ptr, KAD_ID_BYTES);
	if (!msg->has_id) {
		refuse(&r, DHT_PROTOCOL, "id is not 20 bytes");
		return;
	}
	/* Ourselves, reflected. */
	if (kad_id_eq(&msg->id, &f->kad.o.self))
		return;
	r.has_token = q->token.ptr && shows_token(&r);
	if (r.has_token || r.max > KT_PACKET_BYTES)
		r.max = KT_PACKET_BYTES;
	r.a = (struct kt_answer){ .realm = k->realm,
				  .tid = q->tid,
				  .id = { f->kad.o.self.b, KAD_ID_BYTES },
				  .ip = from,
				  .tr = &r.tr };
	kt_self_describe(k, &r.tr);
	answer(&r);
	if (!q->is_read_only && f->kad.o.rules.is_verified(k, &who.id, from))
		kad_on_sender(&f->kad, now_ms, &who);
}
