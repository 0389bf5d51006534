/* Peers: other trackers that we have something to say to, or that have come to
 * us. And who they are to a swarm.
 *
 * A peer lasts as long as it shares swarms with us and is heard. Silent for
 * SYNC_DEAD_MS it is dropped with all that waits for it: kt is told, the next
 * closest becomes an owner, and if the silent one comes back, copies are
 * compared first. Who is not heard of in any swarm for IDLE_MS is dropped, too.
 */
#include "tracker/overlay/sync_private.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/sha.h"

/* Owners with us are found useful at each comparison. */
#define USEFUL_MS  (3 * SYNC_COMPARE_MS / 2)
#define MEMBERS_MS 1000 /* the copy of kt's list is as old as this */

struct sync_peer *sync_peer_of(struct sync *s, const struct kad_id *id)
{
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i] && sync_is_same(&s->peers[i]->id, id))
			return s->peers[i];
	}
	return NULL;
}

struct sync_peer *sync_peer_at(struct sync *s, const struct addr *addr)
{
	for (unsigned i = 0; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i] && addr_eq(&s->peers[i]->addr, addr))
			return s->peers[i];
	}
	return NULL;
}

struct sync_peer *sync_peer_number(struct sync *s, uint32_t number)
{
	struct sync_peer *p = s->peers[number % LIMIT_SYNC_PEERS];

	return p && p->number == number ? p : NULL;
}

static struct sync_peer *make(struct sync *s, unsigned slot,
			      const struct kad_id *id, const struct addr *addr)
{
	struct sync_peer *p = mem_alloc(sizeof(*p));
	int64_t now = sync_now(s);

	p->id = *id;
	p->addr = *addr;
	p->number = ++s->generation * LIMIT_SYNC_PEERS + slot;
	p->made_ms = p->heard_ms = p->shared_ms = p->sent_ms = now;
	p->ack_ms = p->flush_ms = p->compare_ms = INT64_MAX;
	p->slowed_ms = now;
	p->cwnd = 16;
	p->accepted_ms = p->joined_ms = INT64_MIN / 2;
	list_init(&p->again);
	p->open_at = SIZE_MAX;
	buf_init(&p->control, LIMIT_SYNC_CONTROL_BYTES);
	buf_init(&p->q4, LIMIT_SYNC_QUEUE_BYTES);
	buf_init(&p->q6, LIMIT_SYNC_QUEUE_BYTES);
	p->records_in.bps = LIMIT_SYNC_RECORDS_PER_S;
	p->forwards_in.bps = LIMIT_SYNC_FORWARDS_PER_S;
	p->stops_in.bps = LIMIT_SYNC_STOPS_PER_S;
	p->visits.bps = LIMIT_SYNC_VISITS_PER_S;
	s->peers[slot] = p;
	s->num_peers++;
	return p;
}

/* Who was of use least lately goes, if that is a while ago. */
static bool make_room(struct sync *s, unsigned *slot)
{
	unsigned oldest = 0;

	for (unsigned i = 1; i < LIMIT_SYNC_PEERS; i++) {
		if (s->peers[i]->shared_ms < s->peers[oldest]->shared_ms)
			oldest = i;
	}
	if (sync_now(s) - s->peers[oldest]->shared_ms < USEFUL_MS)
		return false;
	sync_peer_drop(s, s->peers[oldest]);
	*slot = oldest;
	return true;
}

struct sync_peer *sync_peer_get(struct sync *s, const struct kad_id *id,
				const struct addr *addr)
{
	struct sync_peer *p = sync_peer_of(s, id);
	unsigned slot = 0;

	if (p && !addr_eq(&p->addr, addr)) { /* it has moved */
		sync_peer_drop(s, p);
		p = NULL;
	}
	if (!p) {
		p = sync_peer_at(s, addr); /* somebody else's now */
		if (p)
			sync_peer_drop(s, p);
		while (slot < LIMIT_SYNC_PEERS && s->peers[slot])
			slot++;
		if (slot == LIMIT_SYNC_PEERS && !make_room(s, &slot))
			return NULL;
		p = make(s, slot, id, addr);
		sync_hello_start(s, p);
	}
	p->shared_ms = sync_now(s);
	return p;
}

void sync_peer_drop(struct sync *s, struct sync_peer *p)
{
	if (!p)
		return;
	CHECK(s->peers[p->number % LIMIT_SYNC_PEERS] == p);
	s->peers[p->number % LIMIT_SYNC_PEERS] = NULL;
	s->num_peers--;
	sync_digest_end(p);
	sync_session_close(&p->session, NULL);
	sync_session_close(&p->unproven, NULL);
	list_foreach_safe(packet, &p->again, struct sync_packet, node)
		free(packet);
	buf_release(&p->control);
	buf_release(&p->q4);
	buf_release(&p->q6);
	free(p->jobs);
	free(p);
}

/* --- the overlay as kt knows it --- */

static void look_around(struct sync *s)
{
	int64_t now = sync_now(s);

	if (s->members && now - s->members_ms < MEMBERS_MS)
		return;
	if (!s->members)
		s->members = mem_alloc_array(LIMIT_SYNC_MEMBERS,
					     sizeof(*s->members));
	s->num_members = kt_members(s->kt, s->members, LIMIT_SYNC_MEMBERS);
	s->members_ms = now;
}

const struct kt_owner *sync_member(struct sync *s, const struct addr *addr,
				   const uint8_t pk[SYNC_KEY_BYTES])
{
	uint8_t h[SHA1_LEN];

	if (pk)
		sha1(pk, SYNC_KEY_BYTES, h);
	look_around(s);
	for (unsigned i = 0; i < s->num_members; i++) {
		const struct kt_owner *m = &s->members[i];

		if (!m->is_self && addr_eq(&m->addr, addr) &&
		    (!pk ||
		     !memcmp(h + SYNC_ID_PREFIX, m->id.b + SYNC_ID_PREFIX,
			     KAD_ID_BYTES - SYNC_ID_PREFIX)))
			return m;
	}
	return NULL;
}

/* --- who owns what --- */

void sync_place(struct sync *s, const struct infohash *ih, struct kad_id *out)
{
	const struct place *place = places_find(s->places, ih);

	if (place && place->has_key)
		*out = place->key;
	else
		kt_infohash_id(ih->b, out);
}

bool sync_id_is_near(struct sync *s, const struct kad_id *id,
		     const struct kad_id *place, unsigned num)
{
	unsigned closer = 0;

	look_around(s);
	for (unsigned i = 0; i < s->num_members; i++)
		closer += kad_id_compare(place, &s->members[i].id, id) < 0;
	return closer < num;
}

bool sync_is_near(struct sync *s, const struct kad_id *place, unsigned num)
{
	return sync_id_is_near(s, kt_id(s->kt), place, num);
}

unsigned sync_nearest(struct sync *s, const struct kad_id *place,
		      const struct kt_owner *out[KT_REPLICAS])
{
	unsigned n = 0;

	look_around(s);
	for (unsigned i = 0; i < s->num_members; i++) {
		const struct kt_owner *m = &s->members[i];
		unsigned at = n < KT_REPLICAS ? n++ : KT_REPLICAS;

		for (;
		     at && kad_id_compare(place, &m->id, &out[at - 1]->id) < 0;
		     at--) {
			if (at < KT_REPLICAS)
				out[at] = out[at - 1];
		}
		if (at < KT_REPLICAS)
			out[at] = m;
	}
	return n;
}

unsigned sync_owners(struct sync *s, const struct infohash *ih,
		     struct kt_owner out[KT_REPLICAS], bool *is_self)
{
	struct kad_id place;
	unsigned n;

	sync_place(s, ih, &place);
	n = kt_owners(s->kt, &place, out);
	*is_self = false;
	for (unsigned i = 0; i < n; i++)
		*is_self |= out[i].is_self;
	if (!*is_self && n)
		*is_self = sync_is_near(s, &place, KT_REPLICAS);
	return n;
}

bool sync_may_own(struct sync *s, const struct infohash *ih,
		  const struct kt_owner *owners, unsigned n)
{
	struct kad_id place;

	sync_place(s, ih, &place);
	if (!sync_is_near(s, &place, KT_OWNERS_MAX))
		return false;
	/* One of those that we take for owners may have died unseen by us. */
	for (unsigned i = 0; i < n; i++) {
		const struct sync_peer *p = sync_peer_of(s, &owners[i].id);

		if (!owners[i].is_self && (!p || !p->session.rx))
			kt_on_silence(s->kt, &owners[i].addr);
	}
	return true;
}

/* One that owned it before others came is still among the closest. */
static bool was_owner(struct sync *s, const struct sync_peer *p,
		      const struct kad_id *place)
{
	unsigned closer = 0;

	if (!kt_pk_of(s->kt, &p->addr)) /* no member any more */
		return false;
	look_around(s);
	for (unsigned i = 0; i < s->num_members; i++)
		closer += kad_id_compare(place, &s->members[i].id, &p->id) < 0;
	return closer < KT_OWNERS_MAX;
}

bool sync_may_write(struct sync *s, struct sync_peer *p,
		    const struct infohash *ih)
{
	struct kt_owner owners[KT_REPLICAS];
	struct kad_id place;
	uint32_t epoch = kt_epoch(s->kt);
	unsigned n;

	if (p->right.is_valid && p->right.epoch == epoch &&
	    infohash_eq(&p->right.infohash, ih))
		return p->right.verdict;
	sync_place(s, ih, &place);
	n = kt_owners(s->kt, &place, owners);
	p->right.infohash = *ih;
	p->right.epoch = epoch;
	p->right.is_valid = true;
	p->right.verdict = false;
	for (unsigned i = 0; i < n; i++)
		p->right.verdict |= sync_is_same(&owners[i].id, &p->id);
	if (!p->right.verdict)
		p->right.verdict = was_owner(s, p, &place);
	return p->right.verdict;
}
