/* Whole swarms, or parts of them, on their way to who asked: because it is a
 * new owner, because copies differ, or because it is asked for a swarm that it
 * does not own.
 *
 * Nothing is pushed that the other did not want: swarms are named, with a sum
 * each (sync_digest, or an offer of who owns them no more); who lacks one wants
 * it, from one at a time. The hottest goes first. All together obey a cap on
 * bytes a second, and each its window.
 *
 * Who is asked for a swarm that others own pulls it from the first of them, and
 * the others are told as well: for one life they send news of it. That is done
 * again every PULL_MS while it is asked for, and costs a packet if sums agree.
 */
#include "tracker/overlay/sync_private.h"

#include <stdlib.h>

#define WANTED_MS     60000 /* then it may be wanted of another */
#define WANTED_WAYS   4
#define BUCKET_PEERS  8
#define ONE_BUCKET    16 /* peers that are not worth parts */
#define PULL_MS       (5 * 60 * 1000)
#define PULLED_OWNERS 2 /* who send all; one of them may be dead */

/* --- jobs: a heap by heat --- */

static void swap(struct sync_job *a, struct sync_job *b)
{
	struct sync_job t = *a;

	*a = *b;
	*b = t;
}

static void pop_job(struct sync_peer *p)
{
	unsigned i = 0, c;

	p->jobs[0] = p->jobs[--p->num_jobs];
	while ((c = 2 * i + 1) < p->num_jobs) {
		if (c + 1 < p->num_jobs &&
		    p->jobs[c + 1].heat > p->jobs[c].heat)
			c++;
		if (p->jobs[i].heat >= p->jobs[c].heat)
			break;
		swap(&p->jobs[i], &p->jobs[c]);
		i = c;
	}
}

void sync_job_add(struct sync *s, struct sync_peer *p,
		  const struct sync_job *job)
{
	struct swarms_counts counts;
	unsigned i = p->num_jobs;

	if (i == LIMIT_SYNC_JOBS) {
		p->is_dirty = true;
		return;
	}
	if (i == p->cap_jobs) {
		p->cap_jobs = i ? 2 * i : 16;
		p->jobs = mem_realloc_array(p->jobs, p->cap_jobs,
					    sizeof(*p->jobs));
	}
	p->jobs[i] = *job;
	p->jobs[i].pos = 0;
	swarms_scrape(s->swarms, &job->infohash, &counts);
	p->jobs[i].heat = counts.seeders + counts.leechers;
	p->num_jobs++;
	while (i && p->jobs[i].heat > p->jobs[(i - 1) / 2].heat) {
		swap(&p->jobs[i], &p->jobs[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

struct filling {
	struct sync *s;
	struct sync_job *job;
	struct sync_pack *pack;
	bool is_full;
};

static bool is_wanted(const struct filling *x, uint64_t base,
		      const struct swarm_record *r)
{
	const struct sync_job *job = x->job;
	uint64_t sum;
	uint32_t bucket;

	if (!job->log2)
		return true;
	(void)sync_sum_record(x->s, base, r, &bucket, &sum);
	bucket >>= 32 - job->log2;
	if (bucket < job->first || bucket - job->first >= SYNC_BUCKETS_AT_ONCE)
		return false;
	bucket -= job->first;
	return job->bits[bucket / 8] >> bucket % 8 & 1;
}

static void fill(void *arg, const struct swarm_view *v)
{
	struct filling *x = arg;
	uint64_t base = sync_sum_swarm(x->job->nonce, v->infohash);
	uint8_t bytes[SYNC_RECORD6_BYTES];
	struct swarm_record r;
	size_t n;

	for (; x->job->pos < v->num_peers; x->job->pos++) {
		swarm_view_peer(x->s->swarms, v, x->job->pos, &r);
		if (!is_wanted(x, base, &r) || !sync_is_told(x->s, &r))
			continue;
		n = sync_put_record(bytes, &r, false);
		if (!sync_pack_record(x->s, x->pack, bytes, n)) {
			x->is_full = true;
			return;
		}
		x->s->stats.handed_off++;
	}
}

bool sync_job_fill(struct sync *s, struct sync_peer *p, struct sync_pack *k)
{
	bool any = false;

	while (p->num_jobs) {
		struct filling x = { s, &p->jobs[0], k, false };
		uint64_t before = s->stats.handed_off;

		(void)swarms_visit_one(s->swarms, &p->jobs[0].infohash, fill,
				       &x);
		any |= s->stats.handed_off != before;
		if (x.is_full)
			break;
		if (p->jobs[0].is_whole)
			(void)sync_queue_frame(s, p, SYNC_F_GIVEN,
					       p->jobs[0].infohash.b, 20);
		pop_job(p);
	}
	return any;
}

bool sync_may_visit(struct sync *s, struct sync_peer *p, unsigned peers)
{
	if (!ratelimit_room(&p->visits, sync_now(s))) {
		p->is_dirty = true;
		return false;
	}
	ratelimit_take(&p->visits, peers + 1);
	return true;
}

static unsigned size_of(struct sync *s, const struct infohash *ih)
{
	struct swarms_counts counts;

	swarms_scrape(s->swarms, ih, &counts);
	return counts.seeders + counts.leechers;
}

/* --- swarms that are named --- */

/* The place of TAG, or of the oldest that it may replace. */
static struct sync_wanted *wanted_slot(struct sync *s, uint64_t tag)
{
	struct sync_wanted *set =
		&s->wanted[(tag >> 1) % (LIMIT_SYNC_WANTED / WANTED_WAYS) *
			   WANTED_WAYS];
	struct sync_wanted *oldest = set;

	for (unsigned i = 0; i < WANTED_WAYS; i++) {
		if (set[i].tag == tag)
			return &set[i];
		if (set[i].until_ms < oldest->until_ms)
			oldest = &set[i];
	}
	return oldest;
}

static uint64_t tag_of(const struct infohash *ih)
{
	return sync_sum_swarm(0, ih) | 1;
}

/* Somebody is sending all of it: what differs now says nothing. */
static bool is_on_its_way(struct sync *s, const struct infohash *ih)
{
	uint64_t tag = tag_of(ih);
	const struct sync_wanted *w = wanted_slot(s, tag);

	return w->tag == tag && w->until_ms > sync_now(s) &&
	       sync_peer_number(s, w->peer);
}

static void want(struct sync *s, const struct sync_peer *p, uint8_t *list,
		 size_t *len, const struct infohash *ih)
{
	uint64_t tag = tag_of(ih);

	*wanted_slot(s, tag) =
		(struct sync_wanted){ .tag = tag,
				      .until_ms = sync_now(s) + WANTED_MS,
				      .peer = p->number };
	memcpy(list + *len, ih->b, sizeof(ih->b));
	*len += sizeof(ih->b);
}

void sync_on_given(struct sync *s, const struct sync_peer *p, struct span body)
{
	struct infohash ih;

	for (size_t at = 0; at + sizeof(ih.b) <= body.len; at += sizeof(ih.b)) {
		struct sync_wanted *w;
		uint64_t tag;

		memcpy(ih.b, body.ptr + at, sizeof(ih.b));
		tag = tag_of(&ih);
		w = wanted_slot(s, tag);
		if (w->tag == tag && w->peer == p->number)
			w->until_ms = 0;
	}
}

static void tell_buckets(struct sync *s, struct sync_peer *p, uint64_t nonce,
			 const struct infohash *ih, unsigned num_peers)
{
	uint8_t bytes[4 * SYNC_BUCKETS_AT_ONCE], body[SYNC_PAYLOAD_BYTES];
	unsigned log2 = 0, n;
	uint32_t *sums;

	while (num_peers > ONE_BUCKET && log2 < LIMIT_SYNC_BUCKETS_LOG2 &&
	       num_peers >> log2 > BUCKET_PEERS)
		log2++;
	sums = mem_alloc_array((size_t)1 << log2, sizeof(*sums));
	(void)sync_sum_one(s, nonce, ih, log2, sums);
	for (unsigned at = 0; at < 1u << log2; at += n) {
		struct wcursor w = wcursor_of(body, sizeof(body));
		struct sync_buckets b = { nonce, *ih, log2, at, { 0 } };

		for (n = 0; n < SYNC_BUCKETS_AT_ONCE && at + n < 1u << log2;
		     n++)
			store_be32(bytes + (size_t)n * 4, sums[at + n]);
		b.rest = (struct span){ bytes, (size_t)n * 4 };
		sync_put_buckets(&w, &b);
		if (!sync_queue_frame(s, p, SYNC_F_BUCKETS, body,
				      wcursor_len(&w)))
			break;
	}
	free(sums);
}

void sync_on_items(struct sync *s, struct sync_peer *p, struct span body,
		   bool is_offer)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	uint64_t nonce = cursor_be64(&c);
	bool is_first = sync_leads(s, &p->id);
	uint8_t list[SYNC_PAYLOAD_BYTES];
	size_t len = 0;

	while (cursor_left(&c) >= SYNC_ITEM_BYTES) {
		struct kt_owner owners[KT_REPLICAS];
		struct sync_item item;
		struct sync_summed own;
		bool is_self;
		unsigned n;

		sync_get_item(cursor_span(&c, SYNC_ITEM_BYTES).ptr, &item);
		n = sync_owners(s, &item.infohash, owners, &is_self);
		if (!(is_self || sync_may_own(s, &item.infohash, owners, n)) ||
		    !sync_may_write(s, p, &item.infohash) ||
		    !sync_may_visit(s, p, size_of(s, &item.infohash)))
			continue;
		own = sync_sum_one(s, nonce, &item.infohash, 0, NULL);
		if (item.completed > own.completed &&
		    item.completed <= LIMIT_SYNC_COMPLETED)
			swarms_raise_completed(s->swarms, &item.infohash,
					       item.completed);
		if (is_on_its_way(s, &item.infohash))
			continue;
		if (!own.is_here)
			want(s, p, list, &len, &item.infohash);
		else if (own.sum != item.sum && (is_offer || is_first))
			tell_buckets(s, p, nonce, &item.infohash, own.num);
	}
	if (len)
		(void)sync_queue_frame(s, p, SYNC_F_WANT, list, len);
}

void sync_on_counts(struct sync *s, struct sync_peer *p, struct span body)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	struct sync_item item;

	cursor_skip(&c, 8);
	while (cursor_left(&c) >= SYNC_ITEM_BYTES) {
		sync_get_item(cursor_span(&c, SYNC_ITEM_BYTES).ptr, &item);
		if (item.completed <= LIMIT_SYNC_COMPLETED &&
		    sync_may_write(s, p, &item.infohash))
			swarms_raise_completed(s->swarms, &item.infohash,
					       item.completed);
	}
}

void sync_on_want(struct sync *s, struct sync_peer *p, struct span body)
{
	struct sync_job job = { .is_whole = true };

	for (size_t at = 0; at + 20 <= body.len; at += 20) {
		memcpy(job.infohash.b, body.ptr + at, 20);
		sync_job_add(s, p, &job);
	}
	p->shared_ms = sync_now(s);
}

/* --- parts that differ --- */

static struct sync_job job_of(const struct sync_buckets *b, const uint8_t *bits,
			      size_t len)
{
	struct sync_job job = { .infohash = b->infohash,
				.nonce = b->nonce,
				.log2 = (uint8_t)b->log2,
				.first = (uint16_t)b->first };

	memcpy(job.bits, bits, len);
	return job;
}

void sync_on_buckets(struct sync *s, struct sync_peer *p, struct span body)
{
	uint8_t bits[SYNC_BUCKETS_AT_ONCE / 8] = { 0 };
	uint8_t reply[SYNC_PAYLOAD_BYTES];
	struct wcursor w = wcursor_of(reply, sizeof(reply));
	struct sync_buckets b;
	bool is_equal = true;
	uint32_t *sums;
	struct sync_job job;

	if (!sync_get_buckets(body, false, &b) ||
	    is_on_its_way(s, &b.infohash) ||
	    !sync_may_visit(s, p, size_of(s, &b.infohash)))
		return;
	sums = mem_alloc_array((size_t)1 << b.log2, sizeof(*sums));
	(void)sync_sum_one(s, b.nonce, &b.infohash, b.log2, sums);
	for (unsigned i = 0; i < b.rest.len / 4; i++) {
		if (sums[b.first + i] == load_be32(b.rest.ptr + (size_t)i * 4))
			continue;
		bits[i / 8] |= (uint8_t)(1 << i % 8);
		is_equal = false;
	}
	free(sums);
	if (is_equal)
		return;
	job = job_of(&b, bits, sizeof(bits));
	sync_job_add(s, p, &job);
	b.rest = (struct span){ bits, sizeof(bits) };
	sync_put_buckets(&w, &b);
	(void)sync_queue_frame(s, p, SYNC_F_DIFFER, reply, wcursor_len(&w));
}

void sync_on_differ(struct sync *s, struct sync_peer *p, struct span body)
{
	struct sync_buckets b;
	struct sync_job job;

	if (!sync_get_buckets(body, true, &b) ||
	    !sync_may_visit(s, p, size_of(s, &b.infohash)))
		return;
	job = job_of(&b, b.rest.ptr, b.rest.len);
	sync_job_add(s, p, &job);
}

/* --- swarms of others that we are asked for --- */

void sync_pull(struct sync *s, const struct infohash *ih,
	       const struct kt_owner *owners, unsigned n)
{
	int64_t now = sync_now(s);
	struct place *place = places_get(s->places, ih, now);
	uint8_t body[SYNC_PULL_BYTES];
	uint64_t nonce;

	if (place->pulled_ms && now - place->pulled_ms < PULL_MS)
		return;
	place->pulled_ms = now;
	s->io.random(s->io.arg, &nonce, sizeof(nonce));
	store_be64(body, nonce);
	memcpy(body + 8, ih->b, 20);
	body[28] = place->has_key;
	memcpy(body + 29, place->key.b, KAD_ID_BYTES);
	store_be32(body + 49, sync_sum_one(s, nonce, ih, 0, NULL).sum);
	for (unsigned i = 0; i < n; i++) {
		struct sync_peer *p =
			sync_peer_get(s, &owners[i].id, &owners[i].addr);

		if (i >= PULLED_OWNERS)
			body[28] |= 2;
		if (p)
			(void)sync_queue_frame(s, p, SYNC_F_PULL, body,
					       sizeof(body));
	}
}

void sync_on_pull(struct sync *s, struct sync_peer *p, struct span body)
{
	struct cursor c = cursor_of(body.ptr, body.len);
	struct kt_owner owners[KT_REPLICAS];
	struct sync_job job = { 0 };
	uint64_t nonce = cursor_be64(&c);
	unsigned bits;
	uint32_t sum;
	struct kad_id key;
	bool is_self;

	cursor_copy(&c, job.infohash.b, 20);
	bits = cursor_u8(&c);
	cursor_copy(&c, key.b, sizeof(key.b));
	sum = cursor_be32(&c);
	if (c.is_bad)
		return;
	if (bits & 1)
		sync_on_key(s, &job.infohash, &key);
	(void)sync_owners(s, &job.infohash, owners, &is_self);
	if (!is_self || !sync_may_visit(s, p, size_of(s, &job.infohash)))
		return;
	places_subscribe(s->places, &job.infohash, p->number, sync_now(s));
	p->shared_ms = sync_now(s);
	if (!(bits & 2) &&
	    sync_sum_one(s, nonce, &job.infohash, 0, NULL).sum != sum)
		sync_job_add(s, p, &job);
}
