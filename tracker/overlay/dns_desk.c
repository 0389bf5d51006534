/*
 * What is fresh is said at once. Otherwise the question waits at its place,
 * with all others that ask for the same place, for one lookup. Past the
 * deadline it is answered with what was known before, or with SERVFAIL; the
 * lookup goes on for those who ask again. More than LIMIT_DNS_WAITING do not
 * wait: they get the same at once.
 *
 * A lookup asks others and may find others alone: where our own table says that
 * we own the place as well, we are put among them. What that table says is also
 * better than SERVFAIL when nothing else is known yet.
 */
#include "tracker/overlay/dns_desk.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/overlay/dns_cache.h"

struct dns_wait {
	struct list node;   /* in desk->waiting, earliest deadline first */
	struct list beside; /* in place->waiting */
	struct dns_desk *desk;
	struct dns_place *place;
	struct dns_question question;
	int64_t until_ms;
	dns_reply_fn *fn;
	void *arg; /* borrowed */
};

struct dns_desk {
	struct kt *kt; /* borrowed */
	struct dns_desk_io io;
	struct dns_zone zone;
	char domain[KT_DOMAIN_BYTES];
	struct addr self[2]; /* by family; 0: not known */
	struct dns_cache *cache;
	struct list waiting; /* all questions */
	struct list looking; /* places with a lookup */
	struct dns_desk_stats stats;
};

struct dns_desk *dns_desk_new(struct kt *kt, const struct dns_desk_io *io,
			      const struct dns_desk_options *o)
{
	struct dns_desk *d = mem_alloc(sizeof(*d));
	size_t len = strlen(o->domain);

	CHECK(len < sizeof(d->domain));
	for (size_t i = 0; i < len; i++)
		d->domain[i] = o->domain[i] >= 'A' && o->domain[i] <= 'Z'
				       ? (char)(o->domain[i] | 32)
				       : o->domain[i];
	d->kt = kt;
	d->io = *io;
	d->zone = (struct dns_zone){ .domain = d->domain,
				     .port = o->port,
				     .has_txt = o->has_txt };
	d->self[0] = o->self4;
	d->self[1] = o->self6;
	d->cache = dns_cache_new();
	list_init(&d->waiting);
	list_init(&d->looking);
	return d;
}

void dns_desk_set_self(struct dns_desk *d, const struct addr *self)
{
	struct addr *at = &d->self[self->family == 6];

	if (!at->family)
		*at = *self;
}

static void wait_free(struct dns_wait *w)
{
	list_remove(&w->node);
	list_remove(&w->beside);
	w->desk->stats.waiting--;
	free(w);
}

void dns_wait_cancel(struct dns_wait *w)
{
	if (w)
		wait_free(w);
}

/* --- who we are among them --- */

static void set_own_address(const struct dns_desk *d, struct kt_owner *o)
{
	if (!o->is_self || o->addr.family)
		return;
	o->addr = d->self[0].family ? d->self[0] : d->self[1];
}

/* As our own table has it. */
static unsigned own_idea(struct dns_desk *d, const struct kad_id *id,
			 struct kt_owner out[KT_REPLICAS])
{
	unsigned n = kt_owners(d->kt, id, out);

	for (unsigned i = 0; i < n; i++)
		set_own_address(d, &out[i]);
	return n;
}

static bool has_id(const struct kt_owner *owners, unsigned n,
		   const struct kad_id *id)
{
	for (unsigned i = 0; i < n; i++) {
		if (kad_id_eq(&owners[i].id, id))
			return true;
	}
	return false;
}

/* Puts us before the first of those found that own the place after us. */
static unsigned add_self(struct dns_desk *d, const struct kad_id *id,
			 struct kt_owner *owners, unsigned n)
{
	struct kt_owner own[KT_REPLICAS];
	unsigned num = own_idea(d, id, own), self = 0, at = 0;

	while (self < num && !own[self].is_self)
		self++;
	if (self == num || has_id(owners, n, &own[self].id))
		return n;
	while (at < n &&
	       !has_id(own + self + 1, num - self - 1, &owners[at].id))
		at++;
	if (n == KT_OWNERS_MAX)
		n--;
	if (at > n)
		return n;
	memmove(owners + at + 1, owners + at, (n - at) * sizeof(*owners));
	owners[at] = own[self];
	return n + 1;
}

/* --- answers --- */

static void say(struct dns_desk *d, const struct dns_question *q,
		const struct kt_owner *owners, unsigned num, dns_reply_fn *fn,
		void *arg)
{
	struct dns_known known = { .owners = owners,
				   .num = num,
				   .epoch = kt_epoch(d->kt) };
	struct dns_answer answer;

	dns_answer_make(&d->zone, q, &known, &answer);
	d->stats.by_rcode[answer.rcode]++;
	fn(arg, q, &answer);
}

/* What is known of the place of Q now; P may be NULL. */
static void say_best(struct dns_desk *d, const struct dns_place *p,
		     const struct dns_question *q, dns_reply_fn *fn, void *arg)
{
	int64_t now_ms = d->io.now(d->io.arg);
	struct kt_owner own[KT_REPLICAS];
	unsigned n = p ? dns_place_stale(p, now_ms) : 0;

	if (n && !dns_place_is_fresh(p, now_ms))
		d->stats.stale++;
	if (n)
		say(d, q, p->owners, n, fn, arg);
	else
		say(d, q, own, own_idea(d, &q->what.id, own), fn, arg);
}

/* W is gone after this. */
static void end_wait(struct dns_wait *w)
{
	struct dns_desk *d = w->desk;
	struct dns_question q = w->question;
	struct dns_place *p = w->place;
	dns_reply_fn *fn = w->fn;
	void *arg = w->arg;

	wait_free(w);
	say_best(d, p, &q, fn, arg);
}

static void on_found(void *arg, const struct kt_found *found)
{
	struct dns_place *p = arg;
	struct dns_desk *d = p->desk;
	struct kt_owner owners[KT_OWNERS_MAX];
	struct kt_found all = *found;
	struct list *node;

	if (all.num > KT_OWNERS_MAX)
		all.num = KT_OWNERS_MAX;
	if (all.num)
		memcpy(owners, found->owners, all.num * sizeof(*owners));
	for (unsigned i = 0; i < all.num; i++)
		set_own_address(d, &owners[i]);
	all.owners = owners;
	all.num = add_self(d, &p->id, owners, all.num);
	dns_place_put(p, d->io.now(d->io.arg), &all);
	/* A place without a lookup may be forgotten to make room for what an
	 * answer asks next: it counts as looked up until all have heard. */
	while ((node = p->waiting.next) != &p->waiting)
		end_wait(list_entry(node, struct dns_wait, beside));
	p->lookup = NULL;
	list_remove(&p->looking);
}

static bool look_up(struct dns_desk *d, struct dns_place *p)
{
	if (p->lookup)
		return true;
	p->desk = d;
	p->lookup = kt_find(d->kt, &p->id, on_found, p);
	if (!p->lookup)
		return false;
	list_push_back(&d->looking, &p->looking);
	d->stats.lookups++;
	return true;
}

static struct dns_wait *add_wait(struct dns_desk *d, struct dns_place *p,
				 const struct dns_question *q, dns_reply_fn *fn,
				 void *arg)
{
	struct dns_wait *w = mem_alloc(sizeof(*w));
	bool is_first = list_is_empty(&d->waiting);

	w->desk = d;
	w->place = p;
	w->question = *q;
	w->fn = fn;
	w->arg = arg;
	w->until_ms = d->io.now(d->io.arg) + DNS_DEADLINE_MS;
	list_push_back(&d->waiting, &w->node);
	list_init(&w->beside);
	list_push_back(&p->waiting, &w->beside);
	d->stats.waiting++;
	if (is_first && d->io.wake)
		d->io.wake(d->io.arg);
	return w;
}

struct dns_wait *dns_desk_ask(struct dns_desk *d, const char *name,
			      unsigned type, unsigned class, dns_reply_fn *fn,
			      void *arg)
{
	struct kt_owner members[DNS_MEMBERS_KNOWN];
	struct dns_question q;
	struct dns_place *p;
	unsigned n;

	d->stats.asked++;
	dns_question_read(&d->zone, name, type, class, &q);
	if (q.need != DNS_NEED_OWNERS) {
		n = q.need == DNS_NEED_MEMBERS
			    ? kt_members(d->kt, members, DNS_MEMBERS_KNOWN)
			    : 0;
		for (unsigned i = 0; i < n; i++)
			set_own_address(d, &members[i]);
		say(d, &q, members, n, fn, arg);
		return NULL;
	}
	p = dns_cache_get(d->cache, &q.what.id);
	if (p && !dns_place_is_fresh(p, d->io.now(d->io.arg)) &&
	    look_up(d, p) && d->stats.waiting < LIMIT_DNS_WAITING)
		return add_wait(d, p, &q, fn, arg);
	say_best(d, p, &q, fn, arg);
	return NULL;
}

/* --- time --- */

void dns_desk_tick(struct dns_desk *d)
{
	int64_t now_ms = d->io.now(d->io.arg);
	struct dns_wait *w;

	while ((w = list_first(&d->waiting, struct dns_wait, node)) &&
	       w->until_ms <= now_ms) {
		d->stats.late++;
		end_wait(w);
	}
}

int64_t dns_desk_next_ms(const struct dns_desk *d)
{
	struct dns_wait *w = list_first(&d->waiting, struct dns_wait, node);

	return w ? w->until_ms : INT64_MAX;
}

void dns_desk_free(struct dns_desk *d)
{
	struct dns_wait *w;

	if (!d)
		return;
	while ((w = list_first(&d->waiting, struct dns_wait, node)))
		end_wait(w);
	list_foreach_safe(p, &d->looking, struct dns_place, looking) {
		kt_find_cancel(p->lookup);
		list_remove(&p->looking);
	}
	dns_cache_free(d->cache);
	free(d);
}

void dns_desk_stats(const struct dns_desk *d, struct dns_desk_stats *out)
{
	*out = d->stats;
}
