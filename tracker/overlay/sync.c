/* The face of replication, its peers' clocks, and the end.
 *
 * A peer that is heard of nowhere for IDLE_MS is dropped, one that is silent
 * for SYNC_DEAD_MS as well (sync_peers.c). When kt's owners may have changed,
 * nothing is remembered of who owned what: all swarms are surveyed, every peer
 * is compared with, and who lacks something asks for it. */
#include "tracker/overlay/sync.h"

#include <stdlib.h>

#include "tracker/overlay/sync_private.h"

#define IDLE_MS        (10 * 60 * 1000)
#define CHANGE_MS      500 /* changes come in groups */
#define SECOND_MS      1000
#define BULK_MS        10 /* the cap on bytes is looked at again */
#define LEAVE_QUIET_MS 1000

void sync_send_raw(struct sync *s, const struct addr *to, const uint8_t *bytes,
		   size_t len)
{
	s->stats.packets_out++;
	s->stats.bytes_out += len;
	s->io.send(s->io.arg, to, bytes, len);
}

void sync_wake(struct sync *s)
{
	if (s->io.wake)
		s->io.wake(s->io.arg);
}

struct sync *sync_new(const struct sync_io *io,
		      const struct sync_options *options)
{
	struct sync *s = mem_alloc(sizeof(*s));
	uint8_t secret[SYNC_KEY_BYTES];

	s->io = *io;
	s->kt = options->kt;
	s->swarms = options->swarms;
	s->signer = sync_signer_new(options->key);
	s->ttl_min =
		options->ttl_min ? options->ttl_min : swarms_ttl_min(s->swarms);
	s->handoff.bps = options->handoff_bps ? options->handoff_bps
					      : LIMIT_SYNC_HANDOFF_BPS;
	s->hellos.bps = LIMIT_SYNC_HELLOS_PER_S;
	io->random(io->arg, secret, sizeof(secret));
	s->cookies = sync_mac_new(secret);
	io->random(io->arg, secret, sizeof(secret));
	s->places = places_new(secret, (int64_t)s->ttl_min * 60000);
	s->wanted = mem_alloc_array(LIMIT_SYNC_WANTED, sizeof(*s->wanted));
	s->left = mem_alloc_array(LIMIT_SYNC_LEFT, sizeof(*s->left));
	s->survey_ms = sync_now(s);
	s->second_ms = sync_now(s) + SECOND_MS;
	s->epoch = kt_epoch(s->kt);
	s->must_offer = true;
	return s;
}

void sync_free(struct sync *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++)
		sync_peer_drop(s, s->peers[i]);
	sync_signer_free(s->signer);
	sync_mac_free(s->cookies);
	places_free(s->places);
	free(s->members);
	free(s->wanted);
	free(s->left);
	free(s);
}

void sync_on_packet(struct sync *s, const struct addr *from,
		    const uint8_t *bytes, size_t len)
{
	struct sync_packet_view v;

	s->stats.packets_in++;
	s->stats.bytes_in += len;
	if (!sync_packet_parse(bytes, len, &v)) {
		s->stats.bad_packets++;
		return;
	}
	switch (v.kind) {
	case SYNC_HELLO:
		sync_on_hello(s, from, &v);
		break;
	case SYNC_COOKIE:
		sync_on_cookie(s, from, &v);
		break;
	case SYNC_ACCEPT:
		sync_on_accept(s, from, &v);
		break;
	case SYNC_PLEASE:
		sync_on_please(s, from);
		break;
	case SYNC_UNKNOWN:
		sync_on_unknown(s, from, v.session);
		break;
	case SYNC_DATA:
	case SYNC_ACK:
		sync_on_sealed(s, from, &v);
		break;
	}
}

/* --- owners change --- */

void sync_on_change(struct sync *s)
{
	int64_t at = sync_now(s) + CHANGE_MS;

	s->epoch = kt_epoch(s->kt);
	s->members_ms = INT64_MIN / 2;
	if (s->survey_ms > at)
		s->survey_ms = at;
	s->must_offer = true;
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i])
			s->peers[i]->is_dirty = true;
	}
	sync_wake(s);
}

/* --- time --- */

/* False: it is no more. */
static bool check_silence(struct sync *s, struct sync_peer *p)
{
	int64_t now = sync_now(s), silent = now - p->heard_ms;

	if (silent >= SYNC_DEAD_MS) {
		struct addr addr = p->addr;

		sync_peer_drop(s, p);
		kt_on_silence(s->kt, &addr);
		return false;
	}
	if (now - p->shared_ms > IDLE_MS) {
		sync_peer_drop(s, p);
		return false;
	}
	if (p->session.tx && now - p->sent_ms >= SYNC_PING_MS &&
	    !p->session.num_flight)
		(void)sync_queue_frame(s, p, SYNC_F_PING, NULL, 0);
	if (silent >= SYNC_SUSPECT_MS && !p->is_suspect) {
		p->is_suspect = true;
		kt_on_silence(s->kt, &p->addr); /* asks for itself */
		/* It may have forgotten us, and what says so may be lost. */
		sync_hello_start(s, p);
	}
	return true;
}

static void each_second(struct sync *s)
{
	int64_t now = sync_now(s);

	s->second_ms = now + SECOND_MS;
	if (kt_epoch(s->kt) != s->epoch)
		sync_on_change(s);
	places_expire(s->places, now);
}

void sync_tick(struct sync *s)
{
	if (s->second_ms <= sync_now(s))
		each_second(s);
	sync_walk_tick(s);
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		struct sync_peer *p = s->peers[i];

		if (!p || !check_silence(s, p))
			continue;
		sync_hello_tick(s, p);
		sync_session_tick(s, p);
		sync_digest_tick(s, p);
		sync_pump(s, p);
	}
}

static void least(int64_t *next, int64_t ms)
{
	if (ms < *next)
		*next = ms;
}

static int64_t peer_next_ms(struct sync *s, struct sync_peer *p)
{
	int64_t now = sync_now(s), next = p->heard_ms + SYNC_DEAD_MS;

	least(&next, p->shared_ms + IDLE_MS + 1);
	if (!p->is_suspect)
		least(&next, p->heard_ms + SYNC_SUSPECT_MS);
	if (p->hello.is_going)
		least(&next, p->hello.next_ms);
	if (!p->session.tx)
		return next;
	least(&next, sync_session_next_ms(p));
	if (!p->session.num_flight)
		least(&next, p->sent_ms + SYNC_PING_MS);
	if (!p->round.step)
		least(&next, p->compare_ms);
	if (!sync_session_has_room(&p->session))
		return next;
	if (p->control.len || !list_is_empty(&p->again) ||
	    sync_is_news_due(s, p))
		least(&next, now);
	least(&next,
	      s->is_leaving && p->flush_ms != INT64_MAX ? now : p->flush_ms);
	if (p->num_jobs && p->session.num_flight < p->cwnd)
		least(&next,
		      ratelimit_room(&s->handoff, now) ? now : now + BULK_MS);
	return next;
}

int64_t sync_next_ms(struct sync *s)
{
	int64_t next = s->second_ms;

	if (s->walk.kind != WALK_NONE)
		least(&next, s->walk.next_ms);
	else
		least(&next, s->survey_ms);
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		struct sync_peer *p = s->peers[i];

		if (!p)
			continue;
		least(&next, peer_next_ms(s, p));
		if (s->walk.kind == WALK_NONE &&
		    (p->round.step == ROUND_SUMMING ||
		     p->round.step == ROUND_LISTING))
			least(&next, sync_now(s));
	}
	return next;
}

/* --- leaving --- */

void sync_leave(struct sync *s)
{
	if (s->is_leaving)
		return;
	s->is_leaving = true;
	s->busy_ms = sync_now(s);
	s->must_offer = true;
	s->survey_ms = sync_now(s);
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		struct sync_peer *p = s->peers[i];

		if (!p)
			continue;
		p->is_dirty = true;
		p->has_compared = false;
		sync_pump(s, p);
	}
	sync_wake(s);
}

/* Quiet for a while, too: what somebody wants of us may be on its way. */
bool sync_is_idle(const struct sync *s)
{
	int64_t now = s->io.now(s->io.arg);

	if (s->walk.kind != WALK_NONE || s->survey_ms <= now ||
	    now - s->busy_ms < LEAVE_QUIET_MS)
		return false;
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		const struct sync_peer *p = s->peers[i];

		if (p && (p->round.step || sync_has_to_send(s, p) ||
			  (s->is_leaving && p->has_common && !p->has_compared)))
			return false;
	}
	return true;
}

static int64_t oldest_unacked(const struct sync_peer *p, int64_t now)
{
	int64_t oldest = 0;

	for (unsigned i = 0; i < LIMIT_SYNC_WINDOW; i++) {
		const struct sync_packet *q = p->session.flight[i];

		if (q && now - q->sent_ms > oldest)
			oldest = now - q->sent_ms;
	}
	return oldest;
}

void sync_stats(struct sync *s, struct sync_stats *out)
{
	int64_t now = sync_now(s), age;

	*out = s->stats;
	out->places = places_num(s->places);
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		const struct sync_peer *p = s->peers[i];

		if (!p)
			continue;
		out->sessions += p->session.tx != NULL;
		out->suspects += now - p->heard_ms >= SYNC_SUSPECT_MS;
		age = oldest_unacked(p, now);
		if (age > out->oldest_unacked_ms)
			out->oldest_unacked_ms = age;
	}
}
