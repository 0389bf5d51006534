/*
 * Mainline's messages for the Kademlia core. A query of ours is written from
 * the operation that it belongs to, with keys in the order of their bytes, as
 * bencoding wants them.
 */
#include "dht/dht_private.h"

#define SCRAPE_PAD 200
#define GET_PAD    400

static void write_want(struct wcursor *c, const struct dht *d, int family)
{
	const struct dht_family *other = &d->family[!dht_index(family)];

	/* The other family's nodes cost room in the answer: only while they
	 * are needed. */
	if (!other->is_on || !kad_table_is_short(&other->kad.table))
		return;
	dht_put_key(c, "want");
	dht_put_raw(c, "l2:n42:n6e", 10);
}

static void write_announce(struct wcursor *c, const struct dht_op *op,
			   const struct kad_query *q)
{
	if (op->peers.implied_port)
		dht_put_raw(c, "12:implied_porti1e", 18);
	dht_key_str(c, "info_hash", op->target.b, KAD_ID_BYTES);
	dht_put_key(c, "port");
	dht_put_int(c, op->peers.port);
	if (op->peers.is_seed)
		dht_put_raw(c, "4:seedi1e", 9);
	dht_key_str(c, "token", q->token.ptr, q->token.len);
}

static void write_put(struct wcursor *c, const struct dht_op *op,
		      const struct kad_query *q)
{
	const struct item *v = &op->put.value;

	if (v->is_mutable) {
		dht_key_str(c, "k", v->pk, sizeof(v->pk));
		if (v->salt.len)
			dht_key_str(c, "salt", v->salt.ptr, v->salt.len);
		dht_put_key(c, "seq");
		dht_put_int(c, v->seq);
		dht_key_str(c, "sig", v->sig, sizeof(v->sig));
	}
	dht_key_str(c, "token", q->token.ptr, q->token.len);
	dht_put_key(c, "v");
	dht_put_raw(c, v->v.ptr, v->v.len);
}

static void write_args(struct wcursor *c, const struct dht *d,
		       const struct kad_query *q)
{
	static const uint8_t padding[GET_PAD];
	const struct dht_op *op = q->ctx;
	int family = q->to->family;

	if (q->method == DHT_PUT && op->put.has_cas) {
		dht_put_key(c, "cas");
		dht_put_int(c, op->put.cas);
	}
	dht_key_str(c, "id", d->family[dht_index(family)].kad.o.self.b,
		    KAD_ID_BYTES);
	switch ((enum dht_method)q->method) {
	case DHT_PING:
	case DHT_UNKNOWN:
		break;
	case DHT_GET_PEERS:
		dht_key_str(c, "info_hash", q->target->b, KAD_ID_BYTES);
		if (op->peers.no_seeds)
			dht_put_raw(c, "6:noseedi1e", 11);
		if (op->peers.want_scrape)
			dht_put_raw(c, "6:scrapei1e", 11);
		write_want(c, d, family);
		/* Filters of 512 bytes come to who asks at length only, where
		 * nobody may be told more than three times the question. */
		if (op->peers.want_scrape)
			dht_key_str(c, "zpad", padding, SCRAPE_PAD);
		break;
	case DHT_ANNOUNCE_PEER:
		write_announce(c, op, q);
		break;
	case DHT_PUT:
		write_put(c, op, q);
		break;
	case DHT_FIND_NODE:
	case DHT_GET:
	case DHT_SAMPLE:
		dht_key_str(c, "target", q->target->b, KAD_ID_BYTES);
		write_want(c, d, family);
		/* The same for an item of 1000 bytes. One that is about to be
		 * put nobody has to tell. */
		if (q->method == DHT_GET && op->kind == DHT_OP_GET)
			dht_key_str(c, "zpad", padding, GET_PAD);
		break;
	}
}

size_t dht_codec_write(void *arg, const struct kad_query *q, uint8_t *out,
		       size_t size)
{
	static const char *const names[] = {
		[DHT_PING] = "ping",
		[DHT_FIND_NODE] = "find_node",
		[DHT_GET_PEERS] = "get_peers",
		[DHT_ANNOUNCE_PEER] = "announce_peer",
		[DHT_GET] = "get",
		[DHT_PUT] = "put",
		[DHT_SAMPLE] = "sample_infohashes",
	};
	const struct dht *d = arg;
	struct wcursor c = wcursor_of(out, size);

	dht_put_raw(&c, "d1:ad", 5);
	write_args(&c, d, q);
	dht_put_raw(&c, "e1:q", 4);
	dht_put_key(&c, names[q->method]);
	if (d->o.is_read_only)
		dht_put_raw(&c, "2:roi1e", 7);
	dht_key_str(&c, "t", q->tid, sizeof(q->tid));
	dht_key_str(&c, "v", DHT_VERSION, 4);
	dht_put_raw(&c, "1:y1:qe", 7);
	return c.is_bad ? 0 : wcursor_len(&c);
}

bool dht_codec_parse(void *arg, const struct addr *from, const uint8_t *bytes,
		     size_t len, struct kad_msg *out)
{
	struct dht *d = arg;
	struct dht_msg *m = &d->msg;

	if (!dht_msg_parse(bytes, len, m))
		return false;
	d->msg_len = len;
	out->kind = m->kind == DHT_QUERY    ? KAD_QUERY
		    : m->kind == DHT_ANSWER ? KAD_ANSWERS
					    : KAD_ERROR;
	out->tid = m->tid;
	out->has_id = m->id.ptr != NULL;
	if (out->has_id)
		out->id = dht_id_of(m->id);
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
	return true;
}
