/* What others say, and whether they may.
 *
 * Owners of a swarm, present or recent, say who is in it. Other members of the
 * overlay may forward announces that came to them, to an owner, with news
 * alone, and not many; that somebody left, which would hurt most if it was a
 * lie, still less often. Nobody lists an endpoint where nobody can be, or, from
 * outside, one of our private network. What is not believed is counted. */
#include "tracker/overlay/sync_private.h"

#define FORWARD_AGE_MIN 1   /* older is no announce that has just come */
#define BACK_MS         500 /* later than it left, or packets changed places */
#define SLACK_MS        1000

static bool takes(struct sync *s, struct ratelimit *limit)
{
	if (!ratelimit_room(limit, sync_now(s)))
		return false;
	ratelimit_take(limit, 1);
	return true;
}

/* --- who left and came back within a minute --- */

static struct sync_left *left_slot(struct sync *s, const struct swarm_record *r,
				   uint64_t *tag)
{
	uint64_t base = sync_sum_swarm(0, &r->infohash), sum;
	uint32_t bucket;

	(void)sync_sum_record(s, base, r, &bucket, &sum);
	*tag = (uint64_t)bucket << 32 | (uint32_t)base;
	return &s->left[bucket % LIMIT_SYNC_LEFT];
}

void sync_note_left(struct sync *s, const struct swarm_record *r, int64_t at_ms)
{
	uint64_t tag;
	struct sync_left *slot = left_slot(s, r, &tag);

	*slot = (struct sync_left){ .tag = tag, .at_ms = at_ms };
}

static void note_back(struct sync *s, const struct swarm_record *r,
		      int64_t at_ms)
{
	uint64_t tag;
	struct sync_left *slot = left_slot(s, r, &tag);

	if (slot->at_ms && slot->tag == tag && at_ms - slot->at_ms >= BACK_MS)
		slot->back_ms = at_ms;
}

/* Times of packets are SLACK_MS early; so is this one. */
void sync_note_announced(struct sync *s, const struct swarm_record *r)
{
	note_back(s, r, sync_now(s) - SLACK_MS);
}

/* The store has no more than minutes, and of one minute who left wins. Of what
 * was announced a moment ago we know better: a client that starts again. */
static bool came_back(struct sync *s, const struct swarm_record *r,
		      int64_t at_ms)
{
	struct swarms_announce a = { .infohash = r->infohash,
				     .peer = r->peer,
				     .event = ANNOUNCE_STARTED,
				     .is_seed = r->state != SWARM_LEECHER };
	struct swarms_answer out;
	uint64_t tag;
	struct sync_left *slot = left_slot(s, r, &tag);

	if (!slot->at_ms || slot->back_ms || slot->tag != tag ||
	    at_ms - slot->at_ms < BACK_MS)
		return false;
	slot->back_ms = at_ms;
	swarms_announce(s->swarms, &a, 0, &out);
	return out.tell == SWARMS_TELL_CHANGE;
}

/* Who left is known to have come back since, or may have: packets change
 * places, and an owner that missed the news tells what it has. */
static bool has_come_back(struct sync *s, const struct swarm_record *r,
			  bool is_fresh, int64_t at_ms)
{
	uint64_t tag;
	const struct sync_left *slot = left_slot(s, r, &tag);

	if (!is_fresh)
		at_ms -= (r->age_min + 1) * 60000ll;
	return slot->back_ms && slot->tag == tag && at_ms < slot->back_ms;
}

/* IS_FRESH: announced when the packet was made. True: it was news. */
static bool apply(struct sync *s, const struct sync_peer *p,
		  const struct swarm_record *r, bool is_fresh)
{
	bool is_news, is_gone = r->state == SWARM_GONE;

	if (is_gone && has_come_back(s, r, is_fresh, p->packed_ms))
		return false;
	is_news = swarms_apply(s->swarms, r);
	if (is_fresh && is_gone)
		sync_note_left(s, r, p->packed_ms);
	else if (is_fresh && is_news)
		note_back(s, r, p->packed_ms);
	else if (is_fresh)
		is_news = came_back(s, r, p->packed_ms);
	s->stats.news_in += is_news;
	return is_news;
}

static bool is_first(const struct kt_owner *owners, unsigned n)
{
	return n && owners[0].is_self;
}

static bool on_forwarded(struct sync *s, struct sync_peer *p,
			 const struct swarm_record *r, bool is_fresh)
{
	struct kt_owner owners[KT_REPLICAS];
	bool is_self;
	unsigned n;

	if (r->age_min > FORWARD_AGE_MIN || !takes(s, &p->forwards_in) ||
	    (r->state == SWARM_GONE && !takes(s, &p->stops_in)))
		return false;
	n = sync_owners(s, &r->infohash, owners, &is_self);
	if (!is_self)
		return false;
	if (apply(s, p, r, is_fresh) && is_first(owners, n))
		sync_relay(s, r, p);
	return true;
}

/* Who came must not look younger than the news that it left: if a minute has
 * begun here since it may have come, it is one older. It waited for its packet
 * to be full; the packet may have been lost at first; the store's clock, there
 * and here, may be a second behind. */
static uint8_t true_age(struct sync *s, const struct sync_peer *p, uint8_t age)
{
	int64_t now_min = sync_now(s) / 60000, age_min = age;

	age_min += now_min - p->packed_ms / 60000;
	return age_min > UINT8_MAX ? UINT8_MAX : (uint8_t)age_min;
}

static bool on_record(struct sync *s, struct sync_peer *p, const uint8_t *bytes,
		      uint8_t family)
{
	struct sync_record r;
	bool is_fresh;

	if (!takes(s, &p->records_in) || !sync_get_record(bytes, family, &r))
		return false;
	is_fresh = !r.r.age_min;
	if (r.r.state != SWARM_GONE)
		r.r.age_min = true_age(s, p, r.r.age_min);
	if (addr_is_local(&r.r.peer) && !addr_is_local(&p->addr))
		return false;
	if (r.is_forwarded)
		return on_forwarded(s, p, &r.r, is_fresh);
	if (!sync_may_write(s, p, &r.r.infohash))
		return false;
	if (r.r.age_min < s->ttl_min)
		(void)apply(s, p, &r.r, is_fresh);
	return true;
}

static void on_records(struct sync *s, struct sync_peer *p, struct span body,
		       uint8_t family)
{
	size_t width = family == 4 ? SYNC_RECORD4_BYTES : SYNC_RECORD6_BYTES;

	for (size_t at = 0; at + width <= body.len; at += width) {
		s->stats.records_in++;
		if (!on_record(s, p, body.ptr + at, family))
			s->stats.refused++;
	}
	p->shared_ms = sync_now(s);
}

void sync_on_key(struct sync *s, const struct infohash *ih,
		 const struct kad_id *key)
{
	if (sync_is_near(s, key, KT_OWNERS_MAX))
		(void)sync_learn(s, ih, key);
}

static void on_keys(struct sync *s, struct span body)
{
	for (size_t at = 0; at + SYNC_KEYITEM_BYTES <= body.len;
	     at += SYNC_KEYITEM_BYTES) {
		struct infohash ih;
		struct kad_id key;

		memcpy(ih.b, body.ptr + at, 20);
		memcpy(key.b, body.ptr + at + 20, 20);
		sync_on_key(s, &ih, &key);
	}
}

static void on_frame(struct sync *s, struct sync_peer *p,
		     const struct sync_frame *f)
{
	switch (f->kind) {
	case SYNC_F_RECORDS4:
		on_records(s, p, f->body, 4);
		break;
	case SYNC_F_RECORDS6:
		on_records(s, p, f->body, 6);
		break;
	case SYNC_F_KEYS:
		on_keys(s, f->body);
		break;
	case SYNC_F_NUDGE:
		p->is_dirty = true;
		p->has_common = true;
		break;
	case SYNC_F_BEGIN:
		sync_on_begin(s, p, f->body);
		break;
	case SYNC_F_GROUPS:
		sync_on_groups(s, p, f->body);
		break;
	case SYNC_F_DIFF:
		sync_on_diff(s, p, f->body);
		break;
	case SYNC_F_SWARMS:
		sync_on_items(s, p, f->body, false);
		break;
	case SYNC_F_OFFER:
		sync_on_items(s, p, f->body, true);
		break;
	case SYNC_F_WANT:
		sync_on_want(s, p, f->body);
		break;
	case SYNC_F_COUNTS:
		sync_on_counts(s, p, f->body);
		break;
	case SYNC_F_GIVEN:
		sync_on_given(s, p, f->body);
		break;
	case SYNC_F_BUCKETS:
		sync_on_buckets(s, p, f->body);
		break;
	case SYNC_F_DIFFER:
		sync_on_differ(s, p, f->body);
		break;
	case SYNC_F_PULL:
		sync_on_pull(s, p, f->body);
		break;
	default: /* PING, and what a later version says */
		break;
	}
}

void sync_on_payload(struct sync *s, struct sync_peer *p, struct span payload,
		     int64_t late_ms)
{
	struct cursor c = cursor_of(payload.ptr, payload.len);
	struct sync_frame f;

	p->packed_ms = sync_now(s) - late_ms - p->rtt_ms / 2 - SLACK_MS;
	while (sync_frame_next(&c, &f)) {
		if (f.kind >= SYNC_F_BEGIN)
			s->busy_ms = sync_now(s);
		on_frame(s, p, &f);
	}
	if (c.is_bad)
		s->stats.bad_packets++;
}
