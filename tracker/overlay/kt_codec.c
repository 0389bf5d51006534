/*
 * The overlay's messages for the Kademlia core, and the gate: whoever has not
 * proven its key at its address is nobody. A query to somebody unproven asks
 * for the proof, and an answer without it is no answer: it is dropped here, so
 * that neither table nor lookup ever holds who could not prove itself. So are
 * answers of another realm, and those whose id the sender has no right to.
 *
 * The challenge follows from a secret, the address and the transaction, so
 * nothing is kept for it; the proof names the endpoint that was asked, so that
 * it is worth nothing from anywhere else, and the transaction is good once. Who
 * was not heard of for long proves himself again: addresses change hands.
 *
 * Who is flooded with queries signs only for those who show a token of his;
 * that token is kept here and goes out with the next sending.
 */
#include "tracker/overlay/kt_private.h"

#define PING_PAD 120 /* so that three times that holds all of an answer */
#define FIND_PAD 235
#define PROOF_MS (10 * 60 * 1000) /* of silence: then anew */

static void make_challenge(const struct kt *k, const struct addr *at,
			   const uint8_t *tid, uint8_t out[KT_CHALLENGE_BYTES])
{
	uint8_t b[1 + 16 + 2 + KAD_TID_BYTES];

	b[0] = at->family;
	memcpy(b + 1, at->ip, sizeof(at->ip));
	store_be16(b + 17, at->port);
	memcpy(b + 19, tid, KAD_TID_BYTES);
	store_be64(out, siphash(k->secret, b, sizeof(b)));
}

/* --- tokens to show --- */

static struct kt_cookie *find_cookie(struct kt *k, const struct addr *at)
{
	for (unsigned i = 0; i < LIMIT_KT_COOKIES && i < k->num_cookies; i++) {
		if (addr_eq(&k->cookies[i].addr, at))
			return &k->cookies[i];
	}
	return NULL;
}

static void keep_cookie(struct kt *k, const struct addr *at, struct span token)
{
	struct kt_cookie *c = find_cookie(k, at);

	if (!token.len || token.len > LIMIT_KAD_TOKEN_BYTES)
		return;
	if (!c)
		c = &k->cookies[k->num_cookies++ % LIMIT_KT_COOKIES];
	c->addr = *at;
	c->len = (uint8_t)token.len;
	memcpy(c->token, token.ptr, token.len);
}

/* NULL: whoever answers there has to prove himself. */
static struct kt_member *find_proven(const struct kt *k, const struct addr *at)
{
	struct kt_member *m = kt_member_find(k, at);

	return m && k->now_ms - m->heard_ms < PROOF_MS ? m : NULL;
}

/* --- out --- */

size_t kt_codec_write(void *arg, const struct kad_query *q, uint8_t *out,
		      size_t size)
{
	struct kt *k = arg;
	unsigned i = kt_index(q->to->family);
	const struct kt_family *f = &k->family[i], *other = &k->family[!i];
	uint8_t challenge[KT_CHALLENGE_BYTES], endpoint[18];
	const struct kt_cookie *cookie;
	struct kt_query m = {
		.realm = k->realm,
		.tid = { q->tid, sizeof(q->tid) },
		.method = (enum kt_method)q->method,
		.is_read_only = !kt_self_is_member(k, i),
		.id = { f->kad.o.self.b, KAD_ID_BYTES },
	};

	if (size > KT_PACKET_BYTES)
		size = KT_PACKET_BYTES;
	if (q->target)
		m.target = (struct span){ q->target->b, KAD_ID_BYTES };
	/* The other family's nodes cost room in the answer: only while they
	 * are needed. */
	if (q->method == KT_FIND && other->is_on &&
	    kad_table_is_short(&other->kad.table))
		m.want[0] = m.want[1] = true;
	if (!find_proven(k, q->to)) {
		make_challenge(k, q->to, q->tid, challenge);
		m.challenge = (struct span){ challenge, sizeof(challenge) };
		m.endpoint.ptr = endpoint;
		m.endpoint.len = addr_to_compact(q->to, endpoint);
		m.pad_to = q->method == KT_PING ? PING_PAD : FIND_PAD;
		cookie = find_cookie(k, q->to);
		if (cookie)
			m.token = (struct span){ cookie->token, cookie->len };
	}
	k->stats.queries_out++;
	return kt_msg_write_query(out, size, &m);
}

/* --- the gate --- */

static bool is_proven(struct kt *k, const struct addr *from,
		      const struct kad_id *id, const struct kt_msg *m,
		      int64_t *expiry_s)
{
	uint8_t challenge[KT_CHALLENGE_BYTES];

	*expiry_s = INT64_MAX;
	if (!m->pk.ptr || !m->sig.ptr) {
		keep_cookie(k, from, m->token);
		return false;
	}
	make_challenge(k, from, m->tid.ptr, challenge);
	if (kt_proof_check(m->pk.ptr, k->realm, challenge, id, from,
			   m->sig.ptr) &&
	    (!k->is_closed ||
	     kt_cert_check(k->realm_pk, k->realm, m->pk.ptr, m->cert,
			   k->io.wall_s(k->io.arg), expiry_s)))
		return true;
	k->stats.bad_sig++;
	return false;
}

static void take_news(struct kt *k, struct kt_member *member,
		      const struct kt_msg *m)
{
	struct kt_tracker *tr = &member->tr;
	bool has_moved = tr->http_port != m->tr.http_port ||
			 tr->https_port != m->tr.https_port ||
			 tr->udp_port != m->tr.udp_port;

	member->heard_ms = k->now_ms;
	if (!m->has_tr)
		return;
	if (has_moved)
		k->epoch++;
	*tr = m->tr;
}

/* May this answer count? Who is new becomes a member. */
static bool may_answer(struct kt *k, const struct addr *from,
		       const struct kt_msg *m)
{
	struct kt_family *f = &k->family[kt_index(from->family)];
	struct kt_member *member = find_proven(k, from), fresh;

	if (!m->id.ptr)
		return false;
	fresh = (struct kt_member){ .at.addr = *from,
				    .tr = m->tr,
				    .first_uptime_s = m->tr.uptime_s,
				    .first_ms = k->now_ms,
				    .heard_ms = k->now_ms };
	memcpy(fresh.at.id.b, m->id.ptr, KAD_ID_BYTES);
	/* A signature is dear: only what we asked for is looked at. */
	if (!kad_rpc_match(&f->kad.rpc, m->tid.ptr, m->tid.len, from))
		return false;
	if (member && kad_id_eq(&member->at.id, &fresh.at.id)) {
		take_news(k, member, m);
		return true;
	}
	/* Somebody else is there now: the next query asks for a proof. */
	if (member)
		kt_member_forget(k, from);
	if (!f->kad.o.rules.is_verified(k, &fresh.at.id, from)) {
		k->stats.bad_id++;
		return false;
	}
	if (!m->has_tr || !is_proven(k, from, &fresh.at.id, m, &fresh.expiry_s))
		return false;
	memcpy(fresh.pk, m->pk.ptr, KT_PK_BYTES);
	member = kt_member_of(k, &fresh.at.id, from);
	if (member) { /* once more: known for as long as before */
		take_news(k, member, m);
		member->expiry_s = fresh.expiry_s;
		return true;
	}
	kt_member_forget(k, from);
	return kt_member_add(k, &fresh) != NULL;
}

/* --- in --- */

bool kt_codec_parse(void *arg, const struct addr *from, const uint8_t *bytes,
		    size_t len, struct kad_msg *out)
{
	struct kt *k = arg;
	struct kt_msg *m = &k->msg;

	if (!kt_msg_parse(bytes, len, m) ||
	    memcmp(m->realm.ptr, k->realm, KT_REALM_BYTES) != 0)
		return false;
	k->msg_len = len;
	out->kind = m->kind == DHT_QUERY    ? KAD_QUERY
		    : m->kind == DHT_ANSWER ? KAD_ANSWERS
					    : KAD_ERROR;
	out->tid = m->tid;
	out->has_id = m->id.ptr != NULL;
	if (out->has_id)
		memcpy(out->id.b, m->id.ptr, KAD_ID_BYTES);
	out->token = m->token;
	out->num_nodes = 0;
	out->body = m;
	if (m->kind != DHT_ANSWER)
		return true;
	/* Both lists have a share, whatever the first one holds. */
	if (m->nodes.len > 26 * LIMIT_KAD_MSG_NODES / 2)
		m->nodes.len = 26 * LIMIT_KAD_MSG_NODES / 2;
	kad_msg_take(out, m->nodes, 4);
	kad_msg_take(out, m->nodes6, 6);
	return may_answer(k, from, m);
}
