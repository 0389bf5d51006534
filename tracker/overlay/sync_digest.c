/* Comparing copies ("anti-entropy"): each pair of owners, every
 * SYNC_COMPARE_MS, or as soon as something was dropped or they meet again.
 *
 * Who has the smaller id begins. Both sum up what they share, at the same time,
 * in groups of a few swarms each; the first tells its sums, the other says
 * which groups differ. Then both name the swarms of those groups, with a sum
 * each. From here on no state is kept: who lacks a swarm wants it; where it
 * differs, who has the smaller id tells sums of parts of it, the other sends
 * what it has in those that differ and asks for the same (sync_handoff).
 *
 *   ours:    SUMMING -walked-> WAITING -DIFF-> LISTING -walked-> NONE
 *   theirs:  SUMMING -walked and all GROUPS-> LISTING or NONE
 *
 * What changes between the two walks, and while news is on its way, looks
 * different without being so; that costs a few hundred bytes a swarm and does
 * no harm, for records are last-writer-wins. */
#include "tracker/overlay/sync_private.h"

#include <stdlib.h>

#define GROUP_SWARMS  8 /* in a group, on average */
#define LOG2_MIN      4
#define SUMS_AT_ONCE  280  /* in a frame */
#define BITS_AT_ONCE  1024 /* bytes of them */
#define ROUND_MS      30000
#define LISTING_MS    300000 /* as fast as the other takes it */
#define AGAIN_MS      2000   /* between two, however much was dropped */
#define AFTER_FAIL_MS 10000

void sync_digest_end(struct sync_peer *p)
{
	struct sync_round *r = &p->round;

	free(r->sums);
	free(r->theirs);
	free(r->differ);
	memset(r, 0, sizeof(*r));
}

static void start(struct sync *s, struct sync_peer *p, uint64_t nonce,
		  unsigned log2, bool is_ours)
{
	struct sync_round *r = &p->round;

	sync_digest_end(p);
	r->step = ROUND_SUMMING;
	r->is_ours = is_ours;
	r->nonce = nonce;
	r->log2 = log2;
	r->begun_ms = sync_now(s);
	r->sums = mem_alloc_array((size_t)1 << log2, sizeof(*r->sums));
	r->differ = mem_alloc(((size_t)1 << log2) / 8);
	if (!is_ours)
		r->theirs =
			mem_alloc_array((size_t)1 << log2, sizeof(*r->theirs));
	sync_wake(s);
}

void sync_digest_begin(struct sync *s, struct sync_peer *p)
{
	struct swarms_stats stats;
	uint8_t body[9];
	unsigned log2 = LOG2_MIN;
	uint64_t nonce;

	swarms_stats(s->swarms, &stats);
	while (log2 < LIMIT_SYNC_GROUPS_LOG2 &&
	       (uint64_t)GROUP_SWARMS << log2 < stats.torrents)
		log2++;
	s->io.random(s->io.arg, &nonce, sizeof(nonce));
	store_be64(body, nonce);
	body[8] = (uint8_t)log2;
	p->is_dirty = false;
	p->compare_ms = sync_now(s) + SYNC_COMPARE_MS;
	if (sync_queue_frame(s, p, SYNC_F_BEGIN, body, sizeof(body)))
		start(s, p, nonce, log2, true);
}

static void finish(struct sync *s, struct sync_peer *p, bool was_equal)
{
	if (was_equal)
		s->stats.digests_equal++;
	else
		s->stats.digests_different++;
	p->has_compared = true;
	sync_digest_end(p);
}

/* --- whose turn it is to say what --- */

static void tell_sums(struct sync *s, struct sync_peer *p)
{
	struct sync_round *r = &p->round;
	uint8_t body[13 + 4 * SUMS_AT_ONCE];
	uint32_t num = 1u << r->log2;

	for (uint32_t at = 0; at < num; at += SUMS_AT_ONCE) {
		uint32_t n = num - at < SUMS_AT_ONCE ? num - at : SUMS_AT_ONCE;

		store_be64(body, r->nonce);
		body[8] = (uint8_t)r->log2;
		store_be32(body + 9, at);
		for (uint32_t i = 0; i < n; i++)
			store_be32(body + 13 + (size_t)i * 4, r->sums[at + i]);
		if (!sync_queue_frame(s, p, SYNC_F_GROUPS, body,
				      13 + 4 * (size_t)n)) {
			sync_digest_end(p);
			return;
		}
	}
	r->step = ROUND_WAITING;
}

static void tell_differences(struct sync *s, struct sync_peer *p)
{
	struct sync_round *r = &p->round;
	uint32_t len = (1u << r->log2) / 8;
	uint8_t body[12 + BITS_AT_ONCE];

	for (uint32_t at = 0; at < len; at += BITS_AT_ONCE) {
		uint32_t n = len - at < BITS_AT_ONCE ? len - at : BITS_AT_ONCE;

		store_be64(body, r->nonce);
		store_be32(body + 8, at * 8);
		memcpy(body + 12, r->differ + at, n);
		(void)sync_queue_frame(s, p, SYNC_F_DIFF, body, 12 + (size_t)n);
	}
}

static void judge(struct sync *s, struct sync_peer *p)
{
	struct sync_round *r = &p->round;
	bool is_equal = true;

	if (!r->has_walked || r->num_theirs < 1u << r->log2 ||
	    r->step == ROUND_LISTING) /* judged */
		return;
	for (uint32_t i = 0; i < 1u << r->log2; i++) {
		if (r->sums[i] == r->theirs[i])
			continue;
		r->differ[i / 8] |= (uint8_t)(1 << i % 8);
		is_equal = false;
	}
	tell_differences(s, p);
	r->step = ROUND_LISTING;
	if (is_equal)
		finish(s, p, true);
	sync_wake(s);
}

void sync_digest_walked(struct sync *s, struct sync_peer *p,
			enum sync_walk_kind kind)
{
	struct sync_round *r = &p->round;

	if (kind == WALK_LIST) {
		finish(s, p, false);
	} else if (r->is_ours) {
		tell_sums(s, p);
	} else {
		r->has_walked = true;
		r->step = ROUND_WAITING;
		judge(s, p);
	}
	sync_pump(s, p);
}

/* --- what the other says --- */

/* The first frame of a comparison that arrives begins it, unless another began
 * a moment ago: each costs memory and a walk. False: it is not one that we are
 * in. */
static bool join(struct sync *s, struct sync_peer *p, uint64_t nonce,
		 unsigned log2)
{
	if (log2 < LOG2_MIN || log2 > LIMIT_SYNC_GROUPS_LOG2 ||
	    sync_leads(s, &p->id))
		return false;
	if (p->round.step && p->round.nonce == nonce)
		return p->round.log2 == log2;
	if (p->last_nonce == nonce || sync_now(s) - p->joined_ms < AGAIN_MS / 2)
		return false;
	p->last_nonce = nonce;
	p->joined_ms = sync_now(s);
	p->is_dirty = false;
	start(s, p, nonce, log2, false);
	return true;
}

void sync_on_begin(struct sync *s, struct sync_peer *p, struct span body)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	uint64_t nonce = cursor_be64(&c);
	unsigned log2 = cursor_u8(&c);

	if (!c.is_bad)
		(void)join(s, p, nonce, log2);
}

void sync_on_groups(struct sync *s, struct sync_peer *p, struct span body)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	struct sync_round *r = &p->round;
	uint64_t nonce = cursor_be64(&c);
	unsigned log2 = cursor_u8(&c);
	uint32_t first = cursor_be32(&c);

	if (c.is_bad || !join(s, p, nonce, log2) || first > 1u << log2 ||
	    cursor_left(&c) / 4 > (1u << log2) - first)
		return;
	while (cursor_left(&c) >= 4) {
		r->theirs[first++] = cursor_be32(&c);
		r->num_theirs++;
	}
	judge(s, p);
}

void sync_on_diff(struct sync *s, struct sync_peer *p, struct span body)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	struct sync_round *r = &p->round;
	uint64_t nonce = cursor_be64(&c);
	uint32_t first = cursor_be32(&c), num = 1u << r->log2;
	bool is_equal = true;

	if (c.is_bad || r->step != ROUND_WAITING || r->nonce != nonce ||
	    !r->is_ours || first > num || first % 8 ||
	    cursor_left(&c) > (num - first) / 8)
		return;
	r->num_differ += (uint32_t)cursor_left(&c) * 8;
	cursor_copy(&c, r->differ + first / 8, cursor_left(&c));
	if (r->num_differ < num)
		return;
	for (uint32_t i = 0; i < num / 8; i++)
		is_equal &= !r->differ[i];
	r->step = ROUND_LISTING;
	if (is_equal)
		finish(s, p, true);
	sync_wake(s);
}

/* --- time --- */

void sync_digest_tick(struct sync *s, struct sync_peer *p)
{
	int64_t now = sync_now(s);

	if (!p->session.tx)
		return;
	if (p->round.step &&
	    now - p->round.begun_ms >
		    (p->round.step == ROUND_LISTING ? LISTING_MS : ROUND_MS)) {
		sync_digest_end(p);
		p->compare_ms = now + AFTER_FAIL_MS;
	}
	if (p->round.step)
		return;
	if (p->is_dirty && p->compare_ms > now + AGAIN_MS &&
	    p->q4.len < p->q4.max / 2 && p->q6.len < p->q6.max / 2)
		p->compare_ms = now + AGAIN_MS;
	if (p->compare_ms > now)
		return;
	/* Who only forwards to us, or we to them, is not compared with. */
	if (p->has_common && sync_leads(s, &p->id)) {
		sync_digest_begin(s, p);
		return;
	}
	if (p->has_common && p->is_dirty)
		(void)sync_queue_frame(s, p, SYNC_F_NUDGE, NULL, 0);
	p->is_dirty = false;
	p->compare_ms =
		sync_leads(s, &p->id) ? now + SYNC_COMPARE_MS : INT64_MAX;
}
