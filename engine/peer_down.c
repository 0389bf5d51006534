/* What we ask a peer, and what comes.
 *
 * Pipeline: as many blocks as it can send in one second and two round trips at
 * the rate it has shown, between 4 and what it allows (reqq); 64 before the
 * first second is over. A peer that owes blocks and has sent none for 20 s (8 s
 * if it never sent one) is snubbed: its blocks go to others, it rests for 30 s
 * if there are others, and then gets one at a time.
 *
 * What a peer keeps back (it answered what was asked later, or was silent for a
 * second) does not count as in its pipeline, lest a read of what it gives waits
 * for what it does not give. While it is silent: what is urgent, and little.
 *
 * Nothing stays asked for ever: what a peer has left out while it answered what
 * was asked later is forgotten there. It is cancelled, and free for everybody.
 *
 * Order: what readers demand (sched.h), then, if the torrent is to be filled,
 * rarest first, then the endgame. */
#include "engine/peer.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

#define DEPTH_FIRST    128 /* blocks, while the rate is unknown */
#define DEPTH_MIN      4
#define DEPTH_UNTOLD   250 /* for peers that do not tell reqq */
#define TAKE_AT_ONCE   64
#define SPARE          16 /* a second, of who owes and is silent */
#define SNUB_REST_MS   30000
#define SNUB_FIRST_MS  8000 /* for a peer that never gave a block */
#define SNUB_MS        20000
#define LATE_MIN_MS    400
#define RTT_EVERY_MS   1000
#define REJECT_HOLD_MS 300
#define FORGOTTEN_MS   10000  /* overtaken, and so old: it will not come */
#define CANCELLED_MS   10000  /* what BEP 6 owes for a cancel does not come */
#define DOUBT_MS       150    /* jitter; a round trip and three blocks more */
#define DOUBT_FIRST_MS 1000   /* while nothing is known of it */
#define DOUBT_REST_MS  2000   /* twice as long each time, five times */
#define GUESSED_BPS    300000 /* of who never gave a block */
#define SILENCE_MS     1000   /* then a peer that owes may help others out */
#define UNASKED_MAX    512    /* blocks; then it is flooding us */
#define VERIFYING_MAX  (64u << 20) /* bytes waiting for a worker */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t most_asked(const struct peer *p)
{
	return least(p->has_ext && p->ext.reqq ? p->ext.reqq : DEPTH_UNTOLD,
		     LIMIT_REQUESTS_OUT);
}

static size_t pipeline_depth(const struct peer *p)
{
	double want;

	if (p->is_snubbed)
		return 1;
	if (p->down.busy_ms < 1000)
		want = DEPTH_FIRST + p->down.bps / LIMIT_BLOCK_BYTES;
	else
		want = p->down.bps * (1.0 + 2 * p->rtt_ms / 1000.0) /
		       LIMIT_BLOCK_BYTES;
	if (want < DEPTH_MIN)
		want = DEPTH_MIN;
	return least((size_t)want, most_asked(p));
}

static void asked_push(struct peer *p, struct block_ref b, int64_t now_ms)
{
	if (p->asked_to == p->asked_cap && p->asked_from) {
		memmove(p->asked, p->asked + p->asked_from,
			peer_num_asked(p) * sizeof(*p->asked));
		p->asked_to -= p->asked_from;
		p->asked_from = 0;
	}
	if (p->asked_to == p->asked_cap) {
		p->asked_cap = p->asked_cap ? p->asked_cap * 2 : 64;
		p->asked = mem_realloc_array(p->asked, p->asked_cap,
					     sizeof(*p->asked));
	}
	if (p->asked_from == p->asked_to)
		p->block_ms = now_ms;
	p->asked[p->asked_to++] = (struct asked){
		.block = b,
		.asked_ms = now_ms,
		.turn = p->answers + peer_num_asked(p) + 1,
	};
}

/* The oldest asking for B, or NULL. Answers mostly come in order. */
static struct asked *asked_find(struct peer *p, struct block_ref b)
{
	for (size_t i = p->asked_from; i < p->asked_to; i++)
		if (p->asked[i].block.piece == b.piece &&
		    p->asked[i].block.index == b.index)
			return &p->asked[i];
	return NULL;
}

static void asked_remove(struct peer *p, struct asked *a)
{
	size_t i = (size_t)(a - p->asked);

	memmove(p->asked + p->asked_from + 1, p->asked + p->asked_from,
		(i - p->asked_from) * sizeof(*a));
	p->asked_from++;
	if (p->asked_from == p->asked_to)
		p->asked_from = p->asked_to = 0;
}

static void add_request(struct peer *p, struct buf *out, enum wire_type type,
			struct block_ref b)
{
	wire_add_request(out, type, b.piece, b.index * LIMIT_BLOCK_BYTES,
			 layout_block_size(&p->torrent->mi->layout, b));
}

/* --- asking --- */

static bool may_ask(const struct peer *p)
{
	const struct torrent *t = p->torrent;

	if (p->state != PEER_READY || !t->is_ready || !p->am_interested ||
	    t->is_closing)
		return false;
	if (p->is_choking_us && !p->num_allowed)
		return false;
	if (p->hold_until_ms && p->hold_until_ms > loop_now_ms(p->engine->loop))
		return false;
	return !t->blocked_until_ms && t->verifying_bytes < VERIFYING_MAX;
}

/* How long a block may take elsewhere before it is asked here too. */
static int64_t late_ms(const struct peer *p)
{
	int64_t ms = 150 + 3 * (int64_t)p->rtt_ms;

	return ms < LATE_MIN_MS ? LATE_MIN_MS : ms;
}

/* Has it given all that it was asked for, or ceased to? */
static bool is_at_leisure(const struct peer *p, int64_t now_ms)
{
	return !peer_num_asked(p) || now_ms - p->block_ms > SILENCE_MS;
}

/* How many more it may be asked for. *is_spare: only what is urgent. */
static size_t room_of(struct peer *p, int64_t now_ms, bool *is_spare)
{
	size_t depth = pipeline_depth(p), asked = peer_num_asked(p);
	size_t most = most_asked(p), i = p->asked_from, n;
	bool is_silent = asked && now_ms - p->block_ms > SILENCE_MS;

	*is_spare = is_silent && asked >= depth;
	if (is_silent)
		p->kept_ms = now_ms - SILENCE_MS;
	while (i < p->asked_to && is_silent == *is_spare &&
	       (p->asked[i].asked_ms <= p->kept_ms ||
		p->asked[i].turn < p->answers))
		i++;
	n = p->asked_to - i;
	depth = *is_spare ? SPARE : depth;
	return n < depth && asked < most ? least(depth - n, most - asked) : 0;
}

static size_t take(struct peer *p, bool is_spare, size_t max,
		   struct block_ref *out)
{
	struct torrent *t = p->torrent;
	struct picker_peer pp = peer_as_picked(p);
	int64_t now = loop_now_ms(p->engine->loop), late = late_ms(p);
	size_t n;

	if (is_spare)
		return sched_take_urgent(t->sched, t->picker, &pp, max, now,
					 late, out);
	n = sched_take(t->sched, t->picker, &pp, max, now, late, out);
	if (n < max && t->fill == FILL_TORRENT) {
		n += picker_take_rarest(t->picker, &pp, max - n, now, out + n);
		if (!n && is_at_leisure(p, now))
			n = picker_take_endgame(t->picker, &pp, max, now,
						LATE_MIN_MS, out);
	}
	return n;
}

/* Blocks that the rate limit lets us ask for now, rounded up: a limit below
 * one block's size is kept over time. */
static size_t limited(struct peer *p, size_t blocks)
{
	uint64_t room = ratelimit_room(&p->engine->down_limit,
				       loop_now_ms(p->engine->loop));

	room = room / LIMIT_BLOCK_BYTES + (room % LIMIT_BLOCK_BYTES > 0);
	return least(room, blocks);
}

/* A snubbed or silent peer holds what it is given: for a while nothing for it,
 * if there is another to ask. Not for ever: it may be the only one that has a
 * piece. */
static bool is_resting(const struct peer *p, int64_t now_ms)
{
	unsigned n = p->doubts < 5 ? p->doubts : 5;

	if (p->is_snubbed && now_ms - p->snubbed_ms <= SNUB_REST_MS)
		return true;
	return n && now_ms - p->doubted_ms <= (DOUBT_REST_MS << n) / 2;
}

static bool is_outdone(const struct peer *p)
{
	int64_t now = loop_now_ms(p->engine->loop);

	if (!is_resting(p, now))
		return false;
	list_foreach(q, &p->torrent->peers, struct peer, node)
		if (q != p && q->state == PEER_READY && !q->is_snubbed &&
		    !q->doubts && !q->is_choking_us && q->am_interested)
			return true;
	return false;
}

static int64_t block_us(const struct peer *p)
{
	double bps =
		p->downloaded && p->down.bps > 1 ? p->down.bps : GUESSED_BPS;

	return (int64_t)(LIMIT_BLOCK_BYTES * 1e6 / bps);
}

struct sched_route peer_as_route(struct peer *p)
{
	struct sched_route r = { .peer = peer_as_picked(p), .owner = p };
	bool is_spare;

	if (!may_ask(p) || is_outdone(p))
		return r;
	r.room = room_of(p, loop_now_ms(p->engine->loop), &is_spare);
	r.block_us = block_us(p);
	r.ready_us = 1000 * (int64_t)p->rtt_ms +
		     r.block_us * (int64_t)(peer_num_asked(p) + 1);
	return r;
}

void peer_ask(struct peer *p, struct block_ref block)
{
	struct buf b;

	if (peer_is_closed(p)) { /* by the last one: its queue was full */
		picker_on_lost(p->torrent->picker, p->id, block);
		return;
	}
	buf_init(&b, 0);
	asked_push(p, block, loop_now_ms(p->engine->loop));
	add_request(p, &b, WIRE_REQUEST, block);
	peer_send(p, &b);
}

void peer_doubt(struct peer *p, int64_t now_ms)
{
	struct torrent *t = p->torrent;
	int64_t silence = now_ms - p->block_ms;
	int64_t bearable = p->downloaded ? DOUBT_MS + 3 * block_us(p) / 1000
					 : DOUBT_FIRST_MS;

	if (p->state != PEER_READY || !peer_num_asked(p) ||
	    silence <= bearable + p->rtt_ms || p->doubted_ms >= p->block_ms)
		return;
	p->doubts++;
	p->doubted_ms = now_ms;
	for (size_t i = p->asked_from; i < p->asked_to; i++)
		if (sched_is_urgent(t->sched, p->asked[i].block.piece, now_ms))
			picker_on_doubt(t->picker, p->id, p->asked[i].block);
}

size_t peer_fill(struct peer *p, size_t max)
{
	int64_t now = loop_now_ms(p->engine->loop);
	size_t total = 0;
	struct buf b;

	if (!may_ask(p) || is_outdone(p))
		return 0;
	buf_init(&b, 0);
	while (total < max) {
		struct block_ref blocks[TAKE_AT_ONCE];
		bool is_spare;
		size_t room = room_of(p, now, &is_spare), n;

		room = limited(p,
			       least(room, least(max - total, TAKE_AT_ONCE)));
		n = room ? take(p, is_spare, room, blocks) : 0;
		ratelimit_take(&p->engine->down_limit,
			       (uint64_t)n * LIMIT_BLOCK_BYTES);
		for (size_t i = 0; i < n; i++) {
			asked_push(p, blocks[i], now);
			add_request(p, &b, WIRE_REQUEST, blocks[i]);
		}
		total += n;
		if (n < room || !room)
			break;
	}
	peer_send(p, &b);
	return total;
}

void peer_update_interest(struct peer *p)
{
	struct torrent *t = p->torrent;
	struct picker_peer pp = peer_as_picked(p);
	bool want;
	struct buf b;

	if (p->state != PEER_READY || !t->is_ready)
		return;
	/* While choked, only allowed pieces could be had: ask about all. */
	pp.only = NULL;
	pp.num_only = 0;
	want = picker_is_interesting(t->picker, &pp) ||
	       sched_is_interesting(t->sched, t->picker, &pp,
				    loop_now_ms(p->engine->loop));
	if (!want && p->am_interested) {
		/* Interest stays while something is missing: peers punish a
		 * reader that comes and goes, and the next read is quicker. */
		want = p->is_seed ? !torrent_is_complete(t)
				  : bitfield_has_beyond(&p->have, &t->have);
	}
	if (want == p->am_interested)
		return;
	p->am_interested = want;
	buf_init(&b, 0);
	wire_add_simple(&b, want ? WIRE_INTERESTED : WIRE_NOT_INTERESTED);
	peer_send(p, &b);
}

void peer_consider(struct peer *p, uint32_t piece)
{
	struct torrent *t = p->torrent;
	struct picker_peer pp = peer_as_picked(p);
	struct buf b;

	pp.only = &piece;
	pp.num_only = 1;
	if (p->state != PEER_READY || !t->is_ready ||
	    (!picker_is_interesting(t->picker, &pp) &&
	     !sched_is_demanded(t->sched, piece, loop_now_ms(p->engine->loop))))
		return;
	p->am_interested = true;
	buf_init(&b, 0);
	wire_add_simple(&b, WIRE_INTERESTED);
	peer_send(p, &b);
}

/* --- taking back --- */

static void lose(struct peer *p, struct asked *a)
{
	struct block_ref b = a->block;

	asked_remove(p, a);
	picker_on_lost(p->torrent->picker, p->id, b);
}

void peer_lose_all(struct peer *p)
{
	while (peer_num_asked(p))
		lose(p, &p->asked[p->asked_from]);
}

/* Without BEP 6 nobody answers a cancel: the block is free at once, and comes
 * as an unasked one if it was under way. With it, the block or a reject
 * comes. */
static void cancel(struct peer *p, struct asked *a, struct buf *b)
{
	add_request(p, b, WIRE_CANCEL, a->block);
	a->is_cancelled = true;
	if (!p->theirs.has_fast)
		lose(p, a);
}

void peer_cancel_block(struct peer *p, struct block_ref block)
{
	struct asked *a = p->state == PEER_READY ? asked_find(p, block) : NULL;
	struct buf b;

	if (!a || a->is_cancelled)
		return;
	buf_init(&b, 0);
	cancel(p, a, &b);
	peer_send(p, &b);
}

void peer_cancel_undemanded(struct peer *p)
{
	struct torrent *t = p->torrent;
	int64_t now = loop_now_ms(p->engine->loop);
	struct buf b;

	if (p->state != PEER_READY || t->fill == FILL_TORRENT)
		return;
	buf_init(&b, 0);
	for (size_t i = p->asked_to; i-- > p->asked_from;) {
		struct asked *a = &p->asked[i];
		size_t before = p->asked_from;

		if (a->is_cancelled ||
		    sched_is_demanded(t->sched, a->block.piece, now))
			continue;
		cancel(p, a, &b);
		/* lose() moved the older ones up by one place. */
		if (p->asked_from != before)
			i++;
		if (p->asked_from == p->asked_to)
			break;
	}
	peer_send(p, &b);
}

/* --- answers --- */

void peer_on_choke(struct peer *p, bool is_choking)
{
	bool was = p->is_choking_us;

	p->is_choking_us = is_choking;
	if (is_choking && !p->theirs.has_fast && p->torrent->picker)
		peer_lose_all(p);
	if (was && !is_choking) {
		p->unchoked_ms = loop_now_ms(p->engine->loop);
		p->rtt_ms = conn_rtt_ms(p->conn);
	}
}

void peer_on_reject(struct peer *p, const struct wire_msg *m)
{
	struct block_ref b = { m->piece, m->begin / LIMIT_BLOCK_BYTES };
	struct asked *a = asked_find(p, b);

	if (!a)
		return;
	/* A peer that rejects while it unchokes us is full, or does not have
	 * what it claims: no use to ask it again at once. */
	if (!a->is_cancelled && !p->is_choking_us) {
		p->rejects++;
		p->hold_until_ms = p->heard_ms + REJECT_HOLD_MS;
	}
	for (size_t i = 0; i < p->num_allowed; i++) {
		if (p->allowed[i] == m->piece && p->is_choking_us) {
			p->allowed[i] = p->allowed[--p->num_allowed];
			break;
		}
	}
	p->answers++;
	lose(p, a);
}

/* The first part of a block: do we want it? */
static bool is_expected(struct peer *p, const struct wire_msg *m)
{
	struct torrent *t = p->torrent;
	struct block_ref b = { m->piece, m->begin / LIMIT_BLOCK_BYTES };

	return t->mi && m->begin % LIMIT_BLOCK_BYTES == 0 &&
	       m->length == layout_block_size(&t->mi->layout, b) &&
	       asked_find(p, b);
}

static int whole_block(struct peer *p, const struct wire_msg *m,
		       const uint8_t *bytes, const char **why)
{
	struct block_ref b = { m->piece, m->begin / LIMIT_BLOCK_BYTES };
	struct asked *a = p->is_expected ? asked_find(p, b) : NULL;

	rate_add(&p->down, m->length);
	if (!a && !p->is_expected) {
		/* After a cancel that crossed it, this happens. A flood of
		 * them is somebody wasting our line. */
		p->torrent->wasted += m->length;
		if (++p->unasked > UNASKED_MAX) {
			*why = "blocks that nobody asked for";
			return -EPROTO;
		}
		return 0;
	}
	/* What was given up while it came is here all the same. */
	if (a)
		asked_remove(p, a);
	p->answers++;
	p->downloaded += m->length;
	p->is_snubbed = false;
	p->doubts = 0;
	p->rejects = 0;
	p->block_ms = p->heard_ms;
	if (p->unasked)
		p->unasked--;
	torrent_on_block(p->torrent, p, b, bytes);
	return 0;
}

int peer_on_piece(struct peer *p, const struct wire_msg *m, const char **why)
{
	if (m->part_at == 0)
		p->is_expected = is_expected(p, m);
	if (m->part_at == 0 && m->is_last_part)
		return whole_block(p, m, m->payload.ptr, why);
	if (p->is_expected) {
		/* It comes in parts: two peers may send the same block, so a
		 * piece's buffer only ever gets whole ones. */
		if (!p->staging)
			p->staging = mem_alloc(LIMIT_BLOCK_BYTES);
		memcpy(p->staging + m->part_at, m->payload.ptr, m->payload.len);
	}
	return m->is_last_part ? whole_block(p, m, p->staging, why) : 0;
}

/* --- time --- */

static void snub(struct peer *p)
{
	struct buf b;

	log_debug("peer id=%u snubbed: asked=%zu", p->id, peer_num_asked(p));
	p->is_snubbed = true;
	p->snubbed_ms = loop_now_ms(p->engine->loop);
	buf_init(&b, 0);
	for (size_t i = p->asked_from; i < p->asked_to; i++)
		if (!p->asked[i].is_cancelled)
			add_request(p, &b, WIRE_CANCEL, p->asked[i].block);
	peer_lose_all(p);
	peer_send(p, &b);
}

/* Overtaken for long, or by two full pipelines: servers may shuffle one. */
static bool is_forgotten(const struct peer *p, const struct asked *a,
			 size_t pipeline, int64_t now_ms)
{
	int64_t age = now_ms - a->asked_ms;

	if (a->is_cancelled && age > CANCELLED_MS)
		return true;
	if (p->answers <= a->turn)
		return false;
	return age > FORGOTTEN_MS || p->answers - a->turn >= 2 * pipeline;
}

/* Gives up what it will not send any more. */
static void lose_forgotten(struct peer *p, int64_t now_ms)
{
	size_t pipeline = pipeline_depth(p);
	struct buf b;

	if (pipeline < peer_num_asked(p))
		pipeline = peer_num_asked(p);
	buf_init(&b, 0);
	for (size_t i = p->asked_to; i-- > p->asked_from;) {
		struct asked *a = &p->asked[i];
		size_t before = p->asked_from;

		if (!is_forgotten(p, a, pipeline, now_ms))
			continue;
		if (!a->is_cancelled)
			add_request(p, &b, WIRE_CANCEL, a->block);
		lose(p, a);
		/* The older ones moved up by one place. */
		if (p->asked_from == p->asked_to)
			break;
		i += p->asked_from != before;
	}
	peer_send(p, &b);
}

void peer_down_tick(struct peer *p, int64_t now_ms)
{
	rate_tick(&p->down, now_ms, peer_num_asked(p) > 0);
	if (now_ms - p->rtt_at_ms >= RTT_EVERY_MS && peer_num_asked(p)) {
		p->rtt_ms = conn_rtt_ms(p->conn);
		p->rtt_at_ms = now_ms;
	}
	if (peer_num_asked(p) &&
	    now_ms - p->block_ms > (p->downloaded ? SNUB_MS : SNUB_FIRST_MS))
		snub(p);
	else if (peer_num_asked(p))
		lose_forgotten(p, now_ms);
	if (!peer_is_closed(p))
		peer_fill(p, LIMIT_REQUESTS_OUT);
}

void peer_down_release(struct peer *p)
{
	if (p->torrent->picker)
		peer_lose_all(p);
}
