/*
 * Who has proven itself: a dense array, and an index by address that is made
 * anew when somebody goes, which is rare. A member that the tables do not hold
 * any more is kept for a while: it may come back, and clients ask for more
 * nodes than their tables hold.
 *
 * Of who was settled and goes, we remember for KNOWN_MS since when it was
 * known: two halves of a parted network are no newcomers to each other when
 * they meet again. That hangs on the id, which holds key and subnet, and so has
 * to be proven anew. Newcomers are not remembered: they could push out all
 * others.
 */
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tracker/overlay/kt_private.h"

#define FORGET_MS (10 * 60 * 1000) /* unheard of, and in no table */
#define KNOWN_MS  (24 * 60 * 60 * 1000)
#define YOUNG_MS  (KT_SETTLED_MS + 60 * 1000)

static uint16_t *slot_of(const struct kt_members *s, const struct addr *at)
{
	unsigned i = addr_hash(at) & (s->num_slots - 1);

	while (s->index[i] && !addr_eq(&s->all[s->index[i] - 1].at.addr, at))
		i = (i + 1) & (s->num_slots - 1);
	return &s->index[i];
}

static void make_index(struct kt_members *s)
{
	memset(s->index, 0, s->num_slots * sizeof(*s->index));
	for (unsigned i = 0; i < s->num; i++)
		*slot_of(s, &s->all[i].at.addr) = (uint16_t)(i + 1);
}

struct kt_member *kt_member_find(const struct kt *k, const struct addr *at)
{
	const struct kt_members *s = &k->members;
	uint16_t place = s->num ? *slot_of(s, at) : 0;

	return place ? &s->all[place - 1] : NULL;
}

struct kt_member *kt_member_of(const struct kt *k, const struct kad_id *id,
			       const struct addr *at)
{
	struct kt_member *m = kt_member_find(k, at);

	return m && kad_id_eq(&m->at.id, id) ? m : NULL;
}

static bool is_in_table(const struct kt *k, const struct kt_member *m)
{
	unsigned f = kt_index(m->at.addr.family);
	const struct kad_node *n =
		kad_table_find(&k->family[f].kad.table, &m->at.id);

	return n && addr_eq(&n->addr, &m->at.addr);
}

/* --- who was here --- */

static struct kt_known *find_known(const struct kt_members *s,
				   const struct kad_id *id)
{
	for (unsigned i = 0; i < s->num_known; i++) {
		if (kad_id_eq(&s->known[i].id, id))
			return &s->known[i];
	}
	return NULL;
}

/* The place of ID, or a new one, or that of who was silent for longest. */
static struct kt_known *place_known(struct kt_members *s,
				    const struct kad_id *id)
{
	struct kt_known *at = find_known(s, id);

	if (at)
		return at;
	if (!s->known)
		s->known = mem_alloc_array(LIMIT_KT_KNOWN, sizeof(*s->known));
	if (s->num_known < LIMIT_KT_KNOWN)
		return &s->known[s->num_known++];
	at = s->known;
	for (unsigned i = 1; i < s->num_known; i++) {
		if (s->known[i].heard_ms < at->heard_ms)
			at = &s->known[i];
	}
	return at;
}

static void remember(struct kt *k, const struct kt_member *m)
{
	if (!kt_member_is_settled(k, m) ||
	    m->heard_ms - m->first_ms < KT_SETTLED_MS)
		return;
	*place_known(&k->members, &m->at.id) =
		(struct kt_known){ .id = m->at.id,
				   .first_ms = m->first_ms,
				   .heard_ms = m->heard_ms,
				   .first_uptime_s = m->first_uptime_s };
}

static void recall(struct kt *k, struct kt_member *m)
{
	struct kt_members *s = &k->members;
	struct kt_known *at = find_known(s, &m->at.id);

	if (!at)
		return;
	if (m->heard_ms - at->heard_ms < KNOWN_MS) {
		m->first_ms = at->first_ms;
		m->first_uptime_s = at->first_uptime_s;
	}
	*at = s->known[--s->num_known];
}

/* --- who is here --- */

static void remove_at(struct kt *k, unsigned i)
{
	struct kt_members *s = &k->members;

	remember(k, &s->all[i]);
	s->all[i] = s->all[--s->num];
}

static bool has_room(struct kt *k)
{
	struct kt_members *s = &k->members;
	unsigned oldest = s->num;

	if (s->num < LIMIT_KT_MEMBERS)
		return true;
	for (unsigned i = 0; i < s->num; i++) {
		if (!is_in_table(k, &s->all[i]) &&
		    (oldest == s->num ||
		     s->all[i].heard_ms < s->all[oldest].heard_ms))
			oldest = i;
	}
	if (oldest == s->num)
		return false;
	remove_at(k, oldest);
	make_index(s);
	return true;
}

struct kt_member *kt_member_add(struct kt *k, const struct kt_member *m)
{
	struct kt_members *s = &k->members;

	if (!has_room(k))
		return NULL;
	if (s->num == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->all = mem_realloc_array(s->all, s->cap, sizeof(*s->all));
		s->num_slots = 2 * s->cap;
		s->index = mem_realloc_array(s->index, s->num_slots,
					     sizeof(*s->index));
		make_index(s);
	}
	s->all[s->num] = *m;
	recall(k, &s->all[s->num]);
	*slot_of(s, &m->at.addr) = (uint16_t)(s->num + 1);
	k->epoch++;
	return &s->all[s->num++];
}

void kt_member_forget(struct kt *k, const struct addr *at)
{
	struct kt_member *m = kt_member_find(k, at);
	struct kad_contact who;

	if (!m)
		return;
	who = m->at;
	remove_at(k, (unsigned)(m - k->members.all));
	make_index(&k->members);
	kad_table_evict(&k->family[kt_index(at->family)].kad.table, &who.id,
			&who.addr);
	k->epoch++;
}

/* Seen by us for long enough. While we are young ourselves, what it says of
 * its uptime has to do: else a restart would turn the order around. */
bool kt_member_is_settled(const struct kt *k, const struct kt_member *m)
{
	int64_t seen_ms = k->now_ms - m->first_ms;

	if (seen_ms >= KT_SETTLED_MS)
		return true;
	return m->first_ms - k->start_ms < YOUNG_MS &&
	       k->now_ms - k->start_ms < 2 * YOUNG_MS &&
	       m->first_uptime_s * 1000ll + seen_ms >= KT_SETTLED_MS;
}

void kt_members_sweep(struct kt *k, int64_t wall_s)
{
	struct kt_members *s = &k->members;
	unsigned num = s->num, settled = 0;

	for (unsigned i = s->num; i > 0; i--) {
		struct kt_member *m = &s->all[i - 1];

		if (m->expiry_s <= wall_s)
			kt_member_forget(k, &m->at.addr);
		else if (k->now_ms - m->heard_ms > FORGET_MS &&
			 !is_in_table(k, m))
			remove_at(k, i - 1);
		else
			settled += kt_member_is_settled(k, m);
	}
	if (num != s->num)
		make_index(s);
	if (settled != k->num_settled)
		k->epoch++;
	k->num_settled = settled;
}

void kt_members_release(struct kt *k)
{
	free(k->members.all);
	free(k->members.index);
	free(k->members.known);
	memset(&k->members, 0, sizeof(k->members));
}
