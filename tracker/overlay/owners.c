/*
 * Owners of a key as our table has them. In order of distance, but who has been
 * here for KT_SETTLED_MS first, so that a newcomer does not take a key from who
 * holds its swarms; one of each /24 or /48, so that who wants a key needs
 * subnets; a tracker on both families counts by its IPv4 id alone.
 *
 * The table is asked for a few times as many as there can be owners: a walk
 * over one or two buckets, a microsecond or two, whatever the size of the
 * overlay.
 */
#include "tracker/overlay/kt_private.h"

#define NEAR 24 /* of each family are looked at */

static bool is_serving(const struct kt_tracker *tr)
{
	return tr->http_port || tr->https_port || tr->udp_port;
}

void kt_owner_of(const struct kt *k, const struct kt_member *m,
		 struct kt_owner *out)
{
	unsigned f = kt_index(m->at.addr.family);
	const struct kad_node *n =
		kad_table_find(&k->family[f].kad.table, &m->at.id);

	*out = (struct kt_owner){ .id = m->at.id,
				  .addr = m->at.addr,
				  .tr = m->tr,
				  .rtt_ms = n ? n->rtt_ms : UINT16_MAX };
}

bool kt_owner_of_self(const struct kt *k, struct kt_owner *out)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct kt_family *f = &k->family[i];

		if (!kt_self_is_member(k, i))
			continue;
		*out = (struct kt_owner){ .id = f->kad.o.self,
					  .addr = f->external,
					  .is_self = true };
		kt_self_describe(k, &out->tr);
		return is_serving(&out->tr);
	}
	return false;
}

bool kt_owner_is_same(const struct kt_owner *a, const struct kt_owner *b)
{
	return a->addr.family != b->addr.family &&
	       !memcmp(a->id.b + KT_PREFIX_BYTES, b->id.b + KT_PREFIX_BYTES,
		       KAD_ID_BYTES - KT_PREFIX_BYTES);
}

bool kt_owner_may_join(const struct kt *k, const struct kt_owner *set,
		       unsigned n, const struct kt_owner *owner)
{
	if (!is_serving(&owner->tr))
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (kad_id_eq(&set[i].id, &owner->id) ||
		    kt_owner_is_same(&set[i], owner))
			return false;
		if (addr_same_subnet(&set[i].addr, &owner->addr) &&
		    !(k->o.allow_local && addr_is_local(&owner->addr)))
			return false;
	}
	return true;
}

struct pool { /* who could be one, closest first */
	const struct kad_id *key;
	unsigned num;
	struct {
		struct kt_owner owner;
		bool is_settled;
	} all[2 * NEAR + 1];
};

static void pool_add(struct pool *p, const struct kt_owner *o, bool is_settled)
{
	unsigned at = p->num++;

	while (at &&
	       kad_id_compare(p->key, &o->id, &p->all[at - 1].owner.id) < 0) {
		p->all[at] = p->all[at - 1];
		at--;
	}
	p->all[at].owner = *o;
	p->all[at].is_settled = is_settled;
}

/* Of the nodes that answer, or did a moment ago. */
static void pool_fill(struct kt *k, struct pool *p, unsigned family)
{
	struct kad *kad = &k->family[family].kad;
	const struct kad_node *near[NEAR];
	unsigned n = kad_table_closest_any(&kad->table, p->key, NEAR, near);

	for (unsigned i = 0; i < n; i++) {
		const struct kt_member *m =
			kt_member_of(k, &near[i]->id, &near[i]->addr);
		struct kt_owner o;
		bool is_twin = false;

		if (!m)
			continue;
		kt_owner_of(k, m, &o);
		for (unsigned j = 0; j < p->num && family; j++)
			is_twin |= kt_owner_is_same(&p->all[j].owner, &o);
		if (!is_twin)
			pool_add(p, &o, kt_member_is_settled(k, m));
	}
}

unsigned kt_owners_many(struct kt *k, const struct kad_id *key,
			struct kt_owner *out, unsigned max)
{
	struct pool p = { .key = key };
	struct kt_owner self;
	unsigned n = 0;

	k->now_ms = k->io.now(k->io.arg);
	if (kt_owner_of_self(k, &self))
		pool_add(&p, &self, k->now_ms - k->start_ms >= KT_SETTLED_MS);
	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on)
			pool_fill(k, &p, i);
	}
	for (unsigned round = 0; round < 2; round++) {
		/* Newcomers stand in where there are too few others. */
		if (round && max > KT_REPLICAS)
			max = KT_REPLICAS;
		for (unsigned i = 0; i < p.num && n < max; i++) {
			if (p.all[i].is_settled == (round == 0) &&
			    kt_owner_may_join(k, out, n, &p.all[i].owner))
				out[n++] = p.all[i].owner;
		}
	}
	return n;
}

unsigned kt_owners(struct kt *k, const struct kad_id *key,
		   struct kt_owner out[KT_REPLICAS])
{
	return kt_owners_many(k, key, out, KT_REPLICAS);
}

uint32_t kt_epoch(const struct kt *k)
{
	uint32_t sum = k->epoch;

	for (unsigned i = 0; i < 2; i++) {
		if (k->family[i].is_on)
			sum += k->family[i].kad.table.changes;
	}
	return sum;
}

unsigned kt_members(struct kt *k, struct kt_owner *out, unsigned max)
{
	unsigned n = 0;

	k->now_ms = k->io.now(k->io.arg);
	if (max && kt_owner_of_self(k, &out[0]))
		n = 1;
	for (unsigned i = 0; i < k->members.num && n < max; i++) {
		const struct kt_member *m = &k->members.all[i];
		unsigned f = kt_index(m->at.addr.family);
		const struct kad_table *t = &k->family[f].kad.table;
		const struct kad_node *node = kad_table_find(t, &m->at.id);

		if (node && addr_eq(&node->addr, &m->at.addr) &&
		    kad_table_state(t, node) == KAD_GOOD && is_serving(&m->tr))
			kt_owner_of(k, m, &out[n++]);
	}
	return n;
}
