/* What changed, on its way to the others.
 *
 * Records wait at a peer until a packet is full, the first is SYNC_FLUSH_MS old
 * or something else is sent. A packet takes, in this order: what a lost session
 * had in flight, news, frames of comparisons (after the news, or a counter
 * would be told before the completion that it has counted, and that counted
 * again), and, as far as the cap on bytes and the window of bulk allow, whole
 * swarms. Queues are bounded: what does not fit is dropped, and the peer is
 * compared with as soon as it keeps up again.
 *
 * An announce at an owner goes to the other owners. At who is no owner, it goes
 * to all owners, marked as forwarded, and the first of them tells the others
 * who want to hear of that swarm. */
#include "tracker/overlay/sync_private.h"

#include <stdlib.h>

#define FULL4 (42 * SYNC_RECORD4_BYTES)
#define FULL6 (29 * SYNC_RECORD6_BYTES)

bool sync_queue_record(struct sync *s, struct sync_peer *p,
		       const struct swarm_record *r, bool is_forwarded)
{
	uint8_t bytes[SYNC_RECORD6_BYTES];
	size_t n = sync_put_record(bytes, r, is_forwarded);
	struct buf *q = r->peer.family == 4 ? &p->q4 : &p->q6;

	if (q->len + n > q->max) {
		s->stats.overflows++;
		p->is_dirty = true;
		return false;
	}
	buf_add(q, bytes, n);
	if (p->flush_ms == INT64_MAX)
		p->flush_ms = sync_now(s) + SYNC_FLUSH_MS;
	return true;
}

static bool has_room(struct sync_peer *p, size_t more)
{
	if (p->control.len + more <= p->control.max)
		return true;
	p->is_dirty = true;
	return false;
}

static void add_head(struct buf *b, enum sync_frame_kind kind, size_t len)
{
	uint8_t head[SYNC_FRAME_HEAD];
	struct wcursor w = wcursor_of(head, sizeof(head));

	sync_put_frame(&w, kind, len);
	buf_add(b, head, sizeof(head));
}

bool sync_queue_frame(struct sync *s, struct sync_peer *p,
		      enum sync_frame_kind kind, const void *body, size_t len)
{
	if (!has_room(p, SYNC_FRAME_HEAD + len))
		return false;
	p->open_at = SIZE_MAX;
	add_head(&p->control, kind, len);
	buf_add(&p->control, body, len);
	return true;
}

bool sync_queue_item(struct sync *s, struct sync_peer *p,
		     enum sync_frame_kind kind, uint64_t nonce,
		     const struct sync_item *item)
{
	uint8_t bytes[8 + SYNC_ITEM_BYTES];
	struct buf *b = &p->control;
	size_t len = sizeof(bytes);

	store_be64(bytes, nonce);
	sync_put_item(bytes + 8, item);
	if (!has_room(p, SYNC_FRAME_HEAD + len))
		return false;
	if (p->open_at != SIZE_MAX) {
		uint8_t *at = b->ptr + p->open_at;

		len = load_be16(at + 1) + (size_t)SYNC_ITEM_BYTES;
		if (at[0] == kind && load_be64(at + 3) == nonce &&
		    len + SYNC_FRAME_HEAD <= SYNC_PAYLOAD_BYTES) {
			store_be16(at + 1, (uint16_t)len);
			buf_add(b, bytes + 8, SYNC_ITEM_BYTES);
			return true;
		}
	}
	p->open_at = b->len;
	add_head(b, kind, sizeof(bytes));
	buf_add(b, bytes, sizeof(bytes));
	return true;
}

/* --- a payload --- */

static size_t pack_room(const struct sync_pack *k)
{
	size_t used = wcursor_len(&k->w);

	used += k->len4 ? SYNC_FRAME_HEAD + k->len4 : 0;
	used += k->len6 ? SYNC_FRAME_HEAD + k->len6 : 0;
	return SYNC_PAYLOAD_BYTES - used;
}

/* The KEY of a swarm that has one, unless this packet tells it already. */
static const struct place *key_to_tell(struct sync *s,
				       const struct sync_pack *k,
				       const struct infohash *ih)
{
	const struct place *place = places_find(s->places, ih);

	if (!place || !place->has_key)
		return NULL;
	for (unsigned i = 0; i < k->num_keyed; i++) {
		if (infohash_eq(&k->keyed[i], ih))
			return NULL;
	}
	return place;
}

bool sync_pack_record(struct sync *s, struct sync_pack *k,
		      const uint8_t *record, size_t len)
{
	bool is4 = len == SYNC_RECORD4_BYTES;
	size_t need = len + ((is4 ? k->len4 : k->len6) ? 0 : SYNC_FRAME_HEAD);
	const struct place *place;
	struct infohash ih;

	memcpy(ih.b, record, sizeof(ih.b));
	place = key_to_tell(s, k, &ih);
	if (place)
		need += SYNC_FRAME_HEAD + SYNC_KEYITEM_BYTES;
	if (need > pack_room(k) || (place && k->num_keyed == SYNC_PACK_KEYS))
		return false;
	if (place) {
		sync_put_frame(&k->w, SYNC_F_KEYS, SYNC_KEYITEM_BYTES);
		wcursor_copy(&k->w, ih.b, sizeof(ih.b));
		wcursor_copy(&k->w, place->key.b, KAD_ID_BYTES);
		k->keyed[k->num_keyed++] = ih;
	}
	memcpy((is4 ? k->bytes4 + k->len4 : k->bytes6 + k->len6), record, len);
	*(is4 ? &k->len4 : &k->len6) += len;
	return true;
}

static void pack_control(struct sync_peer *p, struct sync_pack *k)
{
	struct buf *b = &p->control;
	size_t at = 0;

	while (at < b->len) {
		size_t len = SYNC_FRAME_HEAD + load_be16(b->ptr + at + 1);

		if (len > pack_room(k))
			break;
		wcursor_copy(&k->w, b->ptr + at, len);
		at += len;
	}
	if (!at)
		return;
	buf_drop_front(b, at);
	if (p->open_at != SIZE_MAX)
		p->open_at = p->open_at < at ? SIZE_MAX : p->open_at - at;
}

static void pack_queue(struct sync *s, struct sync_pack *k, struct buf *q,
		       size_t width)
{
	size_t at = 0;

	while (at < q->len && sync_pack_record(s, k, q->ptr + at, width)) {
		at += width;
		s->stats.records_out++;
	}
	if (at)
		buf_drop_front(q, at);
}

static void pack_end(struct sync_pack *k)
{
	if (k->len4) {
		sync_put_frame(&k->w, SYNC_F_RECORDS4, k->len4);
		wcursor_copy(&k->w, k->bytes4, k->len4);
	}
	if (k->len6) {
		sync_put_frame(&k->w, SYNC_F_RECORDS6, k->len6);
		wcursor_copy(&k->w, k->bytes6, k->len6);
	}
	k->len4 = k->len6 = 0;
}

bool sync_is_news_due(struct sync *s, const struct sync_peer *p)
{
	return p->q4.len >= FULL4 || p->q6.len >= FULL6 ||
	       p->flush_ms <= sync_now(s) ||
	       (s->is_leaving && p->flush_ms != INT64_MAX);
}

static bool may_bulk(struct sync *s, const struct sync_peer *p)
{
	return p->num_jobs && p->session.num_flight < p->cwnd &&
	       ratelimit_room(&s->handoff, sync_now(s)) > 0;
}

static struct sync_packet *pack(struct sync *s, struct sync_peer *p)
{
	struct sync_packet *packet = mem_alloc(sizeof(*packet));
	struct sync_pack k;
	size_t before;

	k.w = wcursor_of(packet->payload, sizeof(packet->payload));
	k.len4 = k.len6 = k.num_keyed = 0;
	list_init(&packet->node);
	packet->made_ms = sync_now(s);
	/* Since when the oldest record has waited. */
	if (p->flush_ms != INT64_MAX &&
	    p->flush_ms - SYNC_FLUSH_MS < packet->made_ms)
		packet->made_ms = p->flush_ms - SYNC_FLUSH_MS;
	pack_queue(s, &k, &p->q4, SYNC_RECORD4_BYTES);
	pack_queue(s, &k, &p->q6, SYNC_RECORD6_BYTES);
	if (!p->q4.len && !p->q6.len)
		p->flush_ms = INT64_MAX;
	pack_end(&k);
	pack_control(p, &k);
	before = pack_room(&k);
	if (may_bulk(s, p) && sync_job_fill(s, p, &k)) {
		packet->is_bulk = true;
		ratelimit_take(&s->handoff, before - pack_room(&k));
	}
	pack_end(&k);
	packet->len = (uint16_t)wcursor_len(&k.w);
	return packet;
}

void sync_pump(struct sync *s, struct sync_peer *p)
{
	while (sync_session_has_room(&p->session)) {
		struct list *first = list_pop_front(&p->again);
		struct sync_packet *packet;

		if (first) {
			packet = list_entry(first, struct sync_packet, node);
		} else if (p->control.len || sync_is_news_due(s, p) ||
			   may_bulk(s, p)) {
			packet = pack(s, p);
		} else {
			break;
		}
		if (!packet->len) { /* jobs that had nothing */
			free(packet);
			continue;
		}
		sync_session_send(s, p, packet);
	}
}

bool sync_has_to_send(const struct sync *s, const struct sync_peer *p)
{
	return p->control.len || p->q4.len || p->q6.len || p->num_jobs ||
	       p->session.num_flight || !list_is_empty(&p->again);
}

/* --- announces --- */

bool sync_learn(struct sync *s, const struct infohash *ih,
		const struct kad_id *key)
{
	struct kt_owner owners[KT_REPLICAS];
	struct swarms_counts counts;
	struct kad_id own;
	bool is_ours = false;
	unsigned n;

	kt_infohash_id(ih->b, &own);
	if (kad_id_eq(&own, key))
		return false;
	n = kt_owners(s->kt, &own, owners);
	for (unsigned i = 0; i < n; i++)
		is_ours |= owners[i].is_self;
	/* Anybody may name any KEY: a swarm that lives here already does not
	 * move away for that. */
	if (is_ours && !places_find(s->places, ih) &&
	    swarms_scrape(s->swarms, ih, &counts) &&
	    counts.seeders + counts.leechers > 1)
		return false;
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i])
			s->peers[i]->right.is_valid = false;
	}
	return places_learn(s->places, ih, key, sync_now(s));
}

void sync_relay(struct sync *s, const struct swarm_record *r,
		const struct sync_peer *not_to)
{
	const struct place *place = places_find(s->places, &r->infohash);

	for (unsigned i = 0; place && i < place->num_subscribers; i++) {
		struct sync_peer *p =
			sync_peer_number(s, place->subscribers[i].peer);

		if (p && p != not_to &&
		    place->subscribers[i].until_ms > sync_now(s))
			(void)sync_queue_record(s, p, r, false);
	}
}

static void tell_one(struct sync *s, const struct telling *t)
{
	const struct infohash *ih = &t->record.infohash;
	struct kt_owner owners[KT_REPLICAS];
	struct place *place;
	struct kad_id key;
	bool is_self;
	unsigned n;

	memcpy(key.b, t->key, sizeof(key.b));
	if (t->record.state == SWARM_GONE)
		sync_note_left(s, &t->record, sync_now(s));
	else
		sync_note_announced(s, &t->record);
	if (t->has_key)
		(void)sync_learn(s, ih, &key);
	place = places_find(s->places, ih);
	if (place) /* it is used */
		(void)places_get(s->places, ih, sync_now(s));
	n = sync_owners(s, ih, owners, &is_self);
	for (unsigned i = 0; i < n; i++) {
		struct sync_peer *p;

		if (owners[i].is_self)
			continue;
		p = sync_peer_get(s, &owners[i].id, &owners[i].addr);
		if (!p)
			continue;
		p->has_common |= is_self;
		(void)sync_queue_record(s, p, &t->record, !is_self);
	}
	if (!is_self && n) {
		s->stats.forwarded++;
		sync_pull(s, ih, owners, n);
	}
	sync_relay(s, &t->record, NULL);
}

void sync_tell(struct sync *s, const struct telling *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tell_one(s, &t[i]);
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i] && sync_is_news_due(s, s->peers[i]))
			sync_pump(s, s->peers[i]);
	}
	sync_wake(s);
}
