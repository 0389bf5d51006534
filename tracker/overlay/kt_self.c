/*
 * Who we are. The key never changes; the id follows from it and from the
 * subnet that others see us in. That is told by the options, or learnt: each
 * answer says where it was sent to, a subnet has one vote, and KT_AGREED of
 * them that are more than half of all decide. In an overlay of fewer subnets
 * nobody can learn it, so whoever has a global address should say so.
 */
#include "tracker/overlay/kt_private.h"

static void make_id(struct kt *k, struct kt_family *f)
{
	struct kad_id id;

	kt_id_make(k->realm, k->key.pk, &f->external, &id);
	if (kad_id_eq(&id, &f->kad.o.self))
		return;
	kad_set_self(&f->kad, &id);
	k->epoch++;
}

void kt_self_init(struct kt *k, unsigned family)
{
	struct kt_family *f = &k->family[family];
	const struct addr *at = family ? &k->o.external6 : &k->o.external4;

	if (at->family == (family ? 6 : 4)) {
		f->external = *at;
		f->is_given = true;
	}
	make_id(k, f);
}

static void count_votes(struct kt *k, struct kt_family *f,
			const struct addr *ip)
{
	unsigned n = f->num_votes < KT_VOTES ? f->num_votes : KT_VOTES;
	unsigned agreed = 0;

	for (unsigned i = 0; i < n; i++)
		agreed += addr_ip_eq(&f->votes[i].ip, ip);
	if (agreed < KT_AGREED || agreed * 2 <= n)
		return;
	if (f->external.family && addr_ip_eq(&f->external, ip))
		return;
	f->external = *ip;
	f->external.port = 0;
	make_id(k, f);
}

void kt_self_vote(struct kt *k, const struct addr *from, struct span s)
{
	struct kt_family *f = &k->family[kt_index(from->family)];
	unsigned n = f->num_votes < KT_VOTES ? f->num_votes : KT_VOTES;
	size_t len = from->family == 4 ? 4 : 16;
	struct addr ip = { .family = from->family, .port = 1 };
	struct kt_vote *v = NULL;

	if (f->is_given || s.len != len + 2)
		return;
	memcpy(ip.ip, s.ptr, len);
	if (addr_is_martian(&ip))
		return;
	/* A subnet has one vote, and may change its mind: our address does. */
	for (unsigned i = 0; i < n && !v; i++) {
		if (addr_same_subnet(&f->votes[i].from, from))
			v = &f->votes[i];
	}
	if (v && addr_ip_eq(&v->ip, &ip))
		return;
	if (!v)
		v = &f->votes[f->num_votes++ % KT_VOTES];
	v->from = *from;
	v->ip = ip;
	count_votes(k, f, &ip);
}

bool kt_self_is_member(const struct kt *k, unsigned family)
{
	const struct kt_family *f = &k->family[family];

	if (k->o.is_client || !f->is_on || (k->is_closed && !k->has_cert))
		return false;
	if (!f->external.family || addr_is_local(&f->external))
		return k->o.allow_local;
	return true;
}

bool kt_self_is_at(const struct kt *k, const struct addr *at)
{
	const struct addr *own = &k->family[kt_index(at->family)].external;

	if (addr_is_local(at))
		return k->o.allow_local;
	return own->family && addr_ip_eq(own, at);
}

void kt_self_describe(const struct kt *k, struct kt_tracker *out)
{
	*out = k->o.self;
	out->uptime_s = (uint32_t)((k->now_ms - k->start_ms) / 1000);
}
