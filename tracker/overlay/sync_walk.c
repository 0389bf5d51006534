/* Looking at all swarms, a slice of shards at a time, so that nobody waits: a
 * slice ends when it has cost SLICE_COST peers (a millisecond or two), the next
 * comes SLICE_MS later. One walk at a time; others wait for their turn.
 *
 * A survey finds out who shares swarms with us, and offers those that we own no
 * more to their owners. It is done when owners may have changed. The other two
 * kinds are the two halves of a comparison (sync_digest).
 *
 * A peer is summed up in 64 bits by a nonce that both sides chose for this
 * comparison, so that nobody can prepare peers whose difference does not show.
 * What is compared: that it is there, and whether it seeds. Not when it was
 * heard, nor who left; both are told where something else differs. Peers near
 * the end of their life are left out: minutes begin at other moments here and
 * there. */
#include "tracker/overlay/sync_private.h"

#include "engine/base/random.h"

#define SLICE_COST      20000 /* peers */
#define SWARM_COST      30    /* looking up its owners, in peers */
#define SLICE_MS        5
#define SMALL_PEERS     2
#define STUCK_MS        10000 /* for a peer that does not take what it is told */
#define SURVEY_AGAIN_MS 60000
#define SURVEY_LATE_MS  20000 /* due for so long: it goes first */

static uint64_t mix(uint64_t x)
{
	struct prng r = { .state = x };

	return prng_u64(&r);
}

uint64_t sync_sum_swarm(uint64_t nonce, const struct infohash *ih)
{
	return mix(mix(mix(nonce ^ load_be64(ih->b)) ^ load_be64(ih->b + 8)) ^
		   load_be32(ih->b + 16));
}

unsigned sync_group_of(uint64_t nonce, const struct infohash *ih, unsigned log2)
{
	return (unsigned)(sync_sum_swarm(nonce, ih) >> (64 - log2));
}

bool sync_sum_record(const struct sync *s, uint64_t base,
		     const struct swarm_record *r, uint32_t *bucket,
		     uint64_t *sum)
{
	uint64_t key = base ^ r->peer.port;

	if (r->peer.family == 4)
		key = mix(key ^ (uint64_t)load_be32(r->peer.ip) << 16);
	else
		key = mix(mix(key ^ load_be64(r->peer.ip)) ^
			  load_be64(r->peer.ip + 8));
	*bucket = (uint32_t)(key >> 32);
	*sum = mix(key ^ (r->state != SWARM_LEECHER));
	return r->state != SWARM_GONE &&
	       (unsigned)r->age_min + SYNC_CLOSING_MIN < s->ttl_min;
}

bool sync_is_told(const struct sync *s, struct swarm_record *r)
{
	if (r->age_min >= s->ttl_min)
		return false;
	r->is_completion = false;
	/* Minutes begin at another moment there: the dead are not to come back
	 * because of that. And nothing of this is news, who left a moment ago
	 * neither. */
	r->age_min += r->state != SWARM_GONE || !r->age_min;
	return true;
}

struct summing {
	struct sync *s;
	uint64_t nonce;
	unsigned log2;
	uint32_t *sums;
	struct sync_summed out;
};

static void sum_visit(void *arg, const struct swarm_view *v)
{
	struct summing *x = arg;
	uint64_t base = sync_sum_swarm(x->nonce, v->infohash), sum;
	struct swarm_record r;
	uint32_t bucket;

	x->out.completed = v->counts.completed;
	for (unsigned i = 0; i < v->num_peers; i++) {
		swarm_view_peer(x->s->swarms, v, i, &r);
		if (!sync_sum_record(x->s, base, &r, &bucket, &sum))
			continue;
		x->out.num++;
		x->out.sum += (uint32_t)sum;
		if (x->sums)
			x->sums[x->log2 ? bucket >> (32 - x->log2) : 0] +=
				(uint32_t)sum;
	}
	x->out.is_here = x->out.num > 0;
}

struct sync_summed sync_sum_one(struct sync *s, uint64_t nonce,
				const struct infohash *ih, unsigned log2,
				uint32_t *sums)
{
	struct summing x = { s, nonce, log2, sums, { 0 } };

	(void)swarms_visit_one(s->swarms, ih, sum_visit, &x);
	return x.out;
}

/* --- what a walk does with a swarm; its shard is locked --- */

static struct sync_summed sum_view(struct sync *s, uint64_t nonce,
				   const struct swarm_view *v)
{
	struct summing x = { s, nonce, 0, NULL, { 0 } };

	sum_visit(&x, v);
	s->walk.cost += v->num_peers;
	return x.out;
}

/* Of a swarm with few peers, they are no longer than its sum: they are told at
 * once, without being wanted. False: it has more. */
static bool tell_small(struct sync *s, struct sync_peer *p,
		       const struct swarm_view *v, uint64_t nonce,
		       const struct sync_item *item)
{
	struct swarm_record r;

	if (v->num_peers > SMALL_PEERS)
		return false;
	for (unsigned i = 0; i < v->num_peers; i++) {
		swarm_view_peer(s->swarms, v, i, &r);
		if (sync_is_told(s, &r) && sync_queue_record(s, p, &r, false))
			s->stats.handed_off++;
	}
	if (item->completed)
		(void)sync_queue_item(s, p, SYNC_F_COUNTS, nonce, item);
	return true;
}

static void offer(struct sync *s, const struct swarm_view *v,
		  const struct kt_owner *owners, unsigned n)
{
	struct sync_summed sum = sum_view(s, s->walk.nonce, v);
	struct sync_item item = { *v->infohash, sum.sum, sum.completed };

	for (unsigned i = 0; i < n && sum.is_here; i++) {
		struct sync_peer *p = sync_peer_of(s, &owners[i].id);

		if (!p ||
		    !sync_queue_item(s, p, SYNC_F_OFFER, s->walk.nonce, &item))
			s->must_offer = true;
	}
}

/* Those who are closest, though kt does not count on them yet: half of a parted
 * network to the other half, or who will be an owner soon. */
static void meet_heirs(struct sync *s, const struct infohash *ih)
{
	const struct kt_owner *near[KT_REPLICAS];
	struct kad_id place;
	unsigned n;

	sync_place(s, ih, &place);
	n = sync_nearest(s, &place, near);
	for (unsigned i = 0; i < n; i++) {
		struct sync_peer *p = NULL;

		if (!near[i]->is_self)
			p = sync_peer_get(s, &near[i]->id, &near[i]->addr);
		if (p)
			p->has_common = true;
	}
}

static void survey(void *arg, const struct swarm_view *v)
{
	struct sync *s = arg;
	struct kt_owner owners[KT_REPLICAS];
	bool is_self;
	unsigned n = sync_owners(s, v->infohash, owners, &is_self);

	s->walk.cost += SWARM_COST;
	for (unsigned i = 0; i < n; i++) {
		struct sync_peer *p = NULL;

		if (!owners[i].is_self)
			p = sync_peer_get(s, &owners[i].id, &owners[i].addr);
		if (p)
			p->has_common |= is_self;
	}
	if (is_self)
		meet_heirs(s, v->infohash);
	if (!is_self && s->walk.is_offering)
		offer(s, v, owners, n);
}

struct comparing {
	struct sync *s;
	struct sync_peer *p;
};

static bool is_shared(struct sync *s, const struct sync_peer *p,
		      const struct infohash *ih)
{
	struct kt_owner owners[KT_REPLICAS];
	bool is_self, is_theirs = false;
	unsigned n = sync_owners(s, ih, owners, &is_self);

	s->walk.cost += SWARM_COST;
	for (unsigned i = 0; i < n; i++)
		is_theirs |= sync_is_same(&owners[i].id, &p->id);
	if (is_self && !is_theirs) {
		struct kad_id place;

		sync_place(s, ih, &place);
		is_theirs = sync_id_is_near(s, &p->id, &place, KT_REPLICAS);
	}
	return is_self && is_theirs;
}

static void sum_group(void *arg, const struct swarm_view *v)
{
	struct comparing *x = arg;
	struct sync_round *r = &x->p->round;
	struct sync_summed sum;

	if (!is_shared(x->s, x->p, v->infohash))
		return;
	sum = sum_view(x->s, r->nonce, v);
	if (!sum.is_here) /* nobody tells of torrents without peers */
		return;
	x->p->shared_ms = sync_now(x->s);
	x->p->has_common = true;
	r->sums[sync_group_of(r->nonce, v->infohash, r->log2)] +=
		sum.sum + (uint32_t)mix(r->nonce + sum.completed);
}

static void list_swarm(void *arg, const struct swarm_view *v)
{
	struct comparing *x = arg;
	struct sync_round *r = &x->p->round;
	unsigned g = sync_group_of(r->nonce, v->infohash, r->log2);
	struct sync_summed sum;
	struct sync_item item = { *v->infohash, 0, 0 };

	if (!(r->differ[g / 8] >> g % 8 & 1) ||
	    !is_shared(x->s, x->p, v->infohash))
		return;
	sum = sum_view(x->s, r->nonce, v);
	item.sum = sum.sum;
	item.completed = sum.completed;
	if (sum.is_here && !tell_small(x->s, x->p, v, r->nonce, &item))
		(void)sync_queue_item(x->s, x->p, SYNC_F_SWARMS, r->nonce,
				      &item);
}

/* --- slices --- */

static bool is_full(const struct sync_peer *p)
{
	return p->control.len > LIMIT_SYNC_CONTROL_BYTES / 2 ||
	       p->q4.len > LIMIT_SYNC_QUEUE_BYTES / 2 ||
	       p->q6.len > LIMIT_SYNC_QUEUE_BYTES / 2 ||
	       p->num_jobs > LIMIT_SYNC_JOBS / 2;
}

/* Somebody has to take what was told, and what it wanted then, before there is
 * more. A comparison has a time of its own. */
static bool must_wait(struct sync *s)
{
	struct sync_walk *w = &s->walk;
	struct sync_peer *p = sync_peer_number(s, w->peer);
	bool full = w->kind == WALK_LIST && is_full(p);

	for (unsigned i = 0; i < LIMIT_SYNC_PEERS && w->kind == WALK_SURVEY;
	     i++)
		full |= s->peers[i] && is_full(s->peers[i]);
	if (!full) {
		w->stuck_ms = 0;
		return false;
	}
	if (!w->stuck_ms)
		w->stuck_ms = sync_now(s);
	return w->kind == WALK_LIST || sync_now(s) - w->stuck_ms < STUCK_MS;
}

static void visit(struct sync *s)
{
	struct sync_walk *w = &s->walk;
	struct comparing x = { s, sync_peer_number(s, w->peer) };

	switch (w->kind) {
	case WALK_NONE:
		break;
	case WALK_SURVEY:
		swarms_visit(s->swarms, w->shard, survey, s);
		break;
	case WALK_SUMS:
		swarms_visit(s->swarms, w->shard, sum_group, &x);
		break;
	case WALK_LIST:
		swarms_visit(s->swarms, w->shard, list_swarm, &x);
		break;
	}
}

static void begin(struct sync *s, enum sync_walk_kind kind, uint32_t peer)
{
	s->walk = (struct sync_walk){ .kind = kind,
				      .peer = peer,
				      .next_ms = sync_now(s),
				      .begun_ms = sync_now(s) };
}

static void begin_survey(struct sync *s)
{
	begin(s, WALK_SURVEY, s->walk.peer);
	s->io.random(s->io.arg, &s->walk.nonce, sizeof(s->walk.nonce));
	s->walk.is_offering = s->must_offer;
	s->must_offer = false;
	s->survey_ms = INT64_MAX;
}

/* Comparisons go first, for somebody else is walking at the same time; each
 * peer in its turn, and a survey that has waited for long before them: nobody
 * who compares all the time keeps others from it. */
static void choose(struct sync *s)
{
	unsigned last = s->walk.peer % LIMIT_SYNC_PEERS;

	if (s->survey_ms <= sync_now(s) - SURVEY_LATE_MS) {
		begin_survey(s);
		return;
	}
	for (unsigned i = 1; i <= LIMIT_SYNC_PEERS; i++) {
		struct sync_peer *p = s->peers[(last + i) % LIMIT_SYNC_PEERS];

		if (!p)
			continue;
		if (p->round.step == ROUND_SUMMING) {
			begin(s, WALK_SUMS, p->number);
			p->has_common = false; /* until one is seen */
			return;
		}
		if (p->round.step == ROUND_LISTING) {
			begin(s, WALK_LIST, p->number);
			return;
		}
	}
	if (s->survey_ms <= sync_now(s))
		begin_survey(s);
}

static void end(struct sync *s)
{
	enum sync_walk_kind kind = s->walk.kind;
	struct sync_peer *p = sync_peer_number(s, s->walk.peer);

	s->walk.kind = WALK_NONE;
	s->stats.walks++;
	if (kind != WALK_SURVEY)
		sync_digest_walked(s, p, kind);
	else if (s->must_offer) /* some could not be told */
		s->survey_ms = sync_now(s) + SURVEY_AGAIN_MS;
}

/* The peer, or its comparison, may have ended meanwhile. */
static bool is_void(struct sync *s)
{
	const struct sync_peer *p = sync_peer_number(s, s->walk.peer);

	switch (s->walk.kind) {
	case WALK_NONE:
	case WALK_SURVEY:
		return false;
	case WALK_SUMS:
		return !p || p->round.step != ROUND_SUMMING ||
		       p->round.nonce != s->walk.nonce;
	case WALK_LIST:
		return !p || p->round.step != ROUND_LISTING ||
		       p->round.nonce != s->walk.nonce;
	}
	return false;
}

void sync_walk_tick(struct sync *s)
{
	struct sync_walk *w = &s->walk;

	if (w->kind != WALK_NONE && is_void(s))
		w->kind = WALK_NONE;
	if (w->kind == WALK_NONE) {
		choose(s);
		if (w->kind != WALK_SURVEY && w->kind != WALK_NONE)
			w->nonce = sync_peer_number(s, w->peer)->round.nonce;
	}
	if (w->kind == WALK_NONE || w->next_ms > sync_now(s))
		return;
	w->cost = 0;
	while (w->shard < SWARMS_SHARDS && w->cost < SLICE_COST &&
	       !must_wait(s)) {
		visit(s);
		w->shard++;
	}
	w->next_ms = sync_now(s) + SLICE_MS;
	if (w->shard == SWARMS_SHARDS)
		end(s);
}
