/* A session: numbered packets, each sealed, acknowledged and sent again until
 * they are, at most LIMIT_SYNC_WINDOW at a time.
 *
 * Who receives remembers the number up to which all came and 64 bits beyond:
 * that is what it acknowledges and what refuses replays. Who sends never is
 * more than 64 ahead of the oldest that is not acknowledged, so nothing honest
 * falls outside. Acks ride on data, or go alone after ACK_MS or the second
 * packet. A packet is sent again after twice the round trip, 200 ms to 1 s,
 * longer each time; or at once when three that were sent later have arrived. */
#include "tracker/overlay/sync_private.h"

#include <stdlib.h>

#define ACK_MS     20
#define RTO_MIN_MS 200
#define RTO_MAX_MS 1000
#define CWND_MIN   8u
#define CWND_FIRST 16u
#define SEQ_MAX    0xf0000000u /* then a new session is begun */

void sync_session_open(struct sync_session *ss, uint64_t id,
		       const uint8_t tx[SYNC_KEY_BYTES],
		       const uint8_t rx[SYNC_KEY_BYTES])
{
	sync_session_close(ss, NULL);
	ss->tx = sync_mac_new(tx);
	ss->rx = sync_mac_new(rx);
	ss->id = id;
	ss->next_seq = 1;
}

void sync_session_close(struct sync_session *ss, struct list *again)
{
	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW; i++) {
		struct sync_packet *p =
			ss->flight[(ss->next_seq + i) % LIMIT_SYNC_WINDOW];

		if (p && again)
			list_push_back(again, &p->node);
		else
			free(p);
	}
	sync_mac_free(ss->tx);
	sync_mac_free(ss->rx);
	memset(ss, 0, sizeof(*ss));
}

void sync_session_replace(struct sync *s, struct sync_peer *p,
			  struct sync_session *next)
{
	struct list again;

	list_init(&again);
	p->last_session = p->session.id;
	sync_session_close(&p->session, &again);
	list_splice_back(&again, &p->again);
	list_splice_back(&p->again, &again);
	sync_digest_end(p); /* its frames may be lost */
	p->session = *next;
	memset(next, 0, sizeof(*next));
	p->heard_ms = sync_now(s);
	p->is_suspect = false;
	p->ack_ms = INT64_MAX;
	p->cwnd = CWND_FIRST;
	p->hello.is_going = false;
	p->hello.tries = 0;
	p->compare_ms = p->heard_ms;
	p->joined_ms = INT64_MIN / 2; /* they compare at once */
	p->is_dirty = true;
}

bool sync_session_has_room(const struct sync_session *ss)
{
	return ss->tx && !ss->flight[ss->next_seq % LIMIT_SYNC_WINDOW];
}

static int64_t rto(const struct sync_peer *p, unsigned tries)
{
	int64_t ms = 2 * (int64_t)p->rtt_ms;

	ms = ms < RTO_MIN_MS ? RTO_MIN_MS : ms;
	ms <<= tries > 4 ? 4 : tries;
	return ms > RTO_MAX_MS ? RTO_MAX_MS : ms;
}

static void transmit(struct sync *s, struct sync_peer *p,
		     struct sync_packet *packet)
{
	uint8_t out[SYNC_PACKET_BYTES];
	struct sync_session *ss = &p->session;
	size_t n = sync_put_data(out, ss->id, packet->seq, &ss->seen,
				 sync_now(s) - packet->made_ms, packet->payload,
				 packet->len);

	sync_mac_of(ss->tx, out, n, out + n);
	packet->due_ms = sync_now(s) + rto(p, packet->tries);
	p->sent_ms = sync_now(s);
	p->ack_ms = INT64_MAX;
	sync_send_raw(s, &p->addr, out, n + SYNC_MAC_BYTES);
}

void sync_session_send(struct sync *s, struct sync_peer *p,
		       struct sync_packet *packet)
{
	struct sync_session *ss = &p->session;

	packet->seq = ss->next_seq++;
	packet->tries = 0;
	packet->passed_by = 0;
	packet->sent_ms = sync_now(s);
	ss->flight[packet->seq % LIMIT_SYNC_WINDOW] = packet;
	ss->num_flight++;
	transmit(s, p, packet);
	if (ss->next_seq > SEQ_MAX)
		sync_hello_start(s, p);
}

static void send_ack(struct sync *s, struct sync_peer *p)
{
	uint8_t out[SYNC_ACK_BYTES + SYNC_PACKET_BYTES];
	size_t n = sync_put_ack(out, p->session.id, &p->session.seen);

	sync_mac_of(p->session.tx, out, n, out + n);
	p->ack_ms = INT64_MAX;
	sync_send_raw(s, &p->addr, out, n + SYNC_MAC_BYTES);
}

/* --- acks --- */

static bool is_acked(const struct sync_acks *a, uint32_t seq)
{
	return seq <= a->cum ||
	       (seq - a->cum <= 64 && a->bits >> (seq - a->cum - 1) & 1);
}

static void measure(struct sync *s, struct sync_peer *p,
		    const struct sync_packet *packet)
{
	int64_t ms = sync_now(s) - packet->sent_ms;

	if (packet->tries) /* which one was it that arrived? */
		return;
	if (ms > 5000)
		ms = 5000;
	p->rtt_ms =
		p->rtt_ms ? (unsigned)((7 * p->rtt_ms + ms) / 8) : (unsigned)ms;
}

static void on_acks(struct sync *s, struct sync_peer *p,
		    const struct sync_acks *acks)
{
	struct sync_session *ss = &p->session;
	uint32_t top = 0;

	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW; i++) {
		struct sync_packet *q = ss->flight[i];

		if (!q || !is_acked(acks, q->seq))
			continue;
		measure(s, p, q);
		top = q->seq > top ? q->seq : top;
		if (p->cwnd < LIMIT_SYNC_WINDOW)
			p->cwnd++;
		ss->flight[i] = NULL;
		ss->num_flight--;
		free(q);
	}
	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW && top; i++) {
		struct sync_packet *q = ss->flight[i];

		/* Once: what is lost again waits for its time. */
		if (q && q->seq < top && !q->tries && ++q->passed_by == 3) {
			q->tries++;
			s->stats.resent++;
			transmit(s, p, q);
		}
	}
}

/* --- what comes --- */

/* False: it came before, or is too far off. */
static bool mark_seen(struct sync_acks *seen, uint32_t seq)
{
	uint32_t ahead = seq - seen->cum;

	if (seq <= seen->cum || ahead > 64 || seen->bits >> (ahead - 1) & 1)
		return false;
	seen->bits |= 1ull << (ahead - 1);
	while (seen->bits & 1) {
		seen->bits >>= 1;
		seen->cum++;
	}
	return true;
}

static void on_data(struct sync *s, struct sync_peer *p,
		    const struct sync_packet_view *v)
{
	bool is_new = mark_seen(&p->session.seen, v->seq);
	int64_t now = sync_now(s);

	/* The second packet, a gap, one that came before: the other side
	 * wants to know. */
	if (p->ack_ms != INT64_MAX || p->session.seen.bits || !is_new)
		p->ack_ms = now;
	else
		p->ack_ms = now + ACK_MS;
	if (is_new)
		sync_on_payload(s, p, v->payload, v->late_ms);
	else
		s->stats.duplicates++;
}

static struct sync_session *session_of(struct sync_peer *p, uint64_t id)
{
	if (p->session.rx && p->session.id == id)
		return &p->session;
	if (p->unproven.rx && p->unproven.id == id)
		return &p->unproven;
	return NULL;
}

void sync_on_sealed(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v)
{
	struct sync_peer *p = sync_peer_at(s, from);
	struct sync_session *ss = p ? session_of(p, v->session) : NULL;
	uint8_t out[SYNC_PACKET_BYTES];
	uint32_t number;

	if (!ss) {
		if (!p || p->last_session != v->session)
			sync_send_raw(s, from, out,
				      sync_put_unknown(out, v->session));
		return;
	}
	if (!sync_mac_is(ss->rx, v->signed_part.ptr, v->signed_part.len,
			 v->mac)) {
		s->stats.bad_mac++;
		return;
	}
	if (ss == &p->unproven)
		sync_session_replace(s, p, ss);
	p->heard_ms = sync_now(s);
	p->is_suspect = false;
	number = p->number;
	on_acks(s, p, &v->acks);
	if (v->kind == SYNC_DATA)
		on_data(s, p, v);
	if (sync_peer_number(s, number) == p)
		sync_pump(s, p);
}

void sync_on_unknown(struct sync *s, const struct addr *from, uint64_t session)
{
	struct sync_peer *p = sync_peer_at(s, from);

	/* It may be a lie: the session stays until there is a new one. */
	if (p && p->session.rx && p->session.id == session)
		sync_hello_start(s, p);
}

/* --- time --- */

void sync_session_tick(struct sync *s, struct sync_peer *p)
{
	struct sync_session *ss = &p->session;
	int64_t now = sync_now(s);

	if (!ss->tx)
		return;
	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW; i++) {
		struct sync_packet *q = ss->flight[i];

		if (!q || q->due_ms > now)
			continue;
		q->tries += q->tries < UINT8_MAX;
		s->stats.resent++;
		if (q->is_bulk && now - p->slowed_ms > (int64_t)p->rtt_ms) {
			p->cwnd =
				p->cwnd / 2 > CWND_MIN ? p->cwnd / 2 : CWND_MIN;
			p->slowed_ms = now;
		}
		transmit(s, p, q);
	}
	if (p->ack_ms <= now)
		send_ack(s, p);
}

int64_t sync_session_next_ms(const struct sync_peer *p)
{
	int64_t next = p->ack_ms;

	if (!p->session.tx)
		return INT64_MAX;
	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW; i++) {
		if (p->session.flight[i] && p->session.flight[i]->due_ms < next)
			next = p->session.flight[i]->due_ms;
	}
	return next;
}
