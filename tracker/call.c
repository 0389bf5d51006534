/*
 * A URL whose host is a machine is one announce (announce.c).
 *
 * A URL whose host is a key is looked up in its overlay. Its owners are asked
 * in the order of owner_race.c, each at its own address and the URL's port. A
 * name with a rank means that owner alone.
 *
 * When an owner fails, or is silent until the race is lost, what is remembered
 * of the key is forgotten. When all are lost they are looked up once more, for
 * others may own it now, and those not asked before are asked.
 *
 * When the overlay names nobody, or nobody else, the name is looked up by DNS:
 * a bridge may know more than we do, and a domain may have no overlay at all.
 * So an answer is never further away than for those who know DNS alone, but
 * for the 2 s in which the overlay was asked.
 *
 * The first to answer hears what there is to say ("completed", "started");
 * who is asked after that only whether it knows other peers.
 */
#include "tracker/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/key_url.h"
#include "tracker/owner_race.h"

#define LOOKUPS   2 /* of one call */
#define PARTS_MAX (LOOKUPS * OWNER_RACE_MAX + 1)

struct caller {
	struct loop *loop;           /* borrowed */
	struct announcer *announcer; /* borrowed */
	struct overlays *overlays;   /* borrowed, or NULL */
	struct list calls;
};

struct part { /* an announce at one owner, or by DNS */
	struct call *call;
	struct announce *announce; /* NULL: it is over */
	struct addr to;            /* family 0: by DNS */
	int rank;
	bool is_racing; /* the race counts it as in flight */
};

struct call {
	struct list node;
	struct caller *caller;
	char *url; /* owned */
	struct announce_request request;
	struct call_events events;
	struct announce_options options; /* its pointers are ours */
	uint8_t id[LIMIT_TRACKER_ID_BYTES];
	struct buf udp_path; /* of a key */
	struct key_url key;
	struct overlay_query *query; /* under way */
	unsigned lookups;            /* so far */
	struct owner_race race;
	struct addr owners[OWNER_RACE_MAX]; /* of this race */
	int ranks[OWNER_RACE_MAX];
	struct part parts[PARTS_MAX];
	unsigned num_parts;
	bool is_racing, is_by_dns, is_answered, has_forgotten;
	bool has_failure;
	struct announce_answer failure; /* without peers */
	struct timer timer;
	bool *gone; /* set when freed inside an event */
};

static void step(struct call *c);

/* --- life --- */

struct caller *caller_new(struct loop *loop, struct announcer *announcer,
			  struct overlays *overlays)
{
	struct caller *c = mem_alloc(sizeof(*c));

	c->loop = loop;
	c->announcer = announcer;
	c->overlays = overlays;
	list_init(&c->calls);
	return c;
}

static void call_free(struct call *c)
{
	if (c->gone)
		*c->gone = true;
	for (unsigned i = 0; i < c->num_parts; i++)
		announce_cancel(c->parts[i].announce);
	overlay_query_cancel(c->query);
	timer_stop(&c->timer);
	list_remove(&c->node);
	buf_release(&c->udp_path);
	free(c->url);
	free(c);
}

void caller_free(struct caller *c)
{
	if (!c)
		return;
	list_foreach_safe(call, &c->calls, struct call, node)
		call_free(call);
	free(c);
}

void call_cancel(struct call *c)
{
	if (c)
		call_free(c);
}

static void end_call(struct call *c)
{
	struct call_events events = c->events;
	struct announce_answer failure;
	bool is_answered = c->is_answered;

	announce_answer_init(&failure);
	if (c->has_failure)
		failure = c->failure;
	else
		announce_answer_fail(&failure, -EHOSTUNREACH, "no owner", 8);
	call_free(c);
	events.on_end(events.arg, is_answered ? NULL : &failure);
}

/* --- parts --- */

static void forget(struct call *c)
{
	if (c->has_forgotten || !c->caller->overlays)
		return;
	c->has_forgotten = true;
	overlays_forget(c->caller->overlays, c->key.domain, &c->key.what.id);
}

static void on_part_answer(void *arg, const struct announce_answer *answer,
			   const struct addr *from)
{
	struct part *p = arg;
	struct call *c = p->call;
	bool gone = false;

	c->is_answered = true;
	if (p->is_racing)
		owner_race_on_answer(&c->race, answer->num_peers);
	p->is_racing = false;
	c->gone = &gone;
	c->events.on_answer(c->events.arg, answer, from, p->rank);
	if (gone)
		return;
	c->gone = NULL;
	step(c);
}

static void on_part_end(void *arg, const struct announce_answer *failure)
{
	struct part *p = arg;
	struct call *c = p->call;

	p->announce = NULL;
	if (failure) {
		/* What an owner says tells more than how a name failed. */
		if (!c->has_failure || p->rank != CALL_NOT_AN_OWNER) {
			c->failure = *failure;
			c->failure.peers = NULL;
			c->failure.num_peers = 0;
		}
		c->has_failure = true;
		if (p->rank != CALL_NOT_AN_OWNER && failure->r != -EPERM)
			forget(c);
	}
	if (p->is_racing)
		owner_race_on_failure(&c->race);
	p->is_racing = false;
	step(c);
}

static void start_part(struct call *c, const struct addr *to, int rank)
{
	struct part *p = &c->parts[c->num_parts++];
	struct announce_events events = { on_part_answer, on_part_end, p };
	struct announce_options o = c->options;
	struct announce_request request = c->request;

	p->call = c;
	p->rank = rank;
	p->is_racing = c->is_racing;
	if (to) {
		p->to = *to;
		o.to = &p->to;
		o.udp_path = (char *)c->udp_path.ptr;
	}
	if (c->is_answered && request.event != ANNOUNCE_STOPPED)
		request.event = ANNOUNCE_NONE;
	p->announce = announce_start(c->caller->announcer, c->url, &request, &o,
				     &events);
}

static bool is_busy(const struct call *c)
{
	for (unsigned i = 0; i < c->num_parts; i++) {
		if (c->parts[i].announce)
			return true;
	}
	return c->query != NULL;
}

/* --- owners --- */

static bool was_asked(const struct call *c, const struct addr *owner)
{
	for (unsigned i = 0; i < c->num_parts; i++) {
		if (addr_eq(&c->parts[i].to, owner))
			return true;
	}
	return false;
}

static void begin_race(struct call *c, const struct kt_found *found)
{
	unsigned n = 0;

	for (unsigned i = 0; i < found->num && n < OWNER_RACE_MAX; i++) {
		const struct addr *owner = &found->owners[i].addr;

		if (c->key.what.rank != KT_RANK_ALL &&
		    (unsigned)c->key.what.rank != i)
			continue;
		if (was_asked(c, owner))
			continue;
		c->owners[n] = *owner;
		c->ranks[n++] = (int)i;
	}
	owner_race_init(&c->race, n,
			c->request.num_want && c->request.left &&
				c->request.event != ANNOUNCE_STOPPED);
	c->is_racing = n > 0;
}

static void on_found(void *arg, const struct kt_found *found)
{
	struct call *c = arg;

	c->query = NULL;
	/* One that was silent may have answered while others were sought. */
	if (!c->is_answered)
		begin_race(c, found);
	step(c);
}

static void look_up(struct call *c)
{
	c->lookups++;
	c->is_racing = false;
	if (c->caller->overlays)
		c->query = overlays_find(c->caller->overlays, c->key.domain,
					 &c->key.what.id, on_found, c);
}

static void run_race(struct call *c)
{
	int64_t now_ms = loop_now_ms(c->caller->loop), wake_ms;
	int i;

	if (c->is_answered && !c->race.answered) {
		c->is_racing = false; /* by one of the race before */
		return;
	}
	while ((i = owner_race_next(&c->race, now_ms, &wake_ms)) >= 0)
		start_part(c, &c->owners[i], c->ranks[i]);
	if (wake_ms != INT64_MAX)
		timer_set_ms(&c->timer, wake_ms - now_ms);
	if (!owner_race_is_lost(&c->race, now_ms))
		return;
	forget(c);
	c->is_racing = false;
	for (unsigned k = 0; k < c->num_parts; k++)
		c->parts[k].is_racing = false; /* late ones run outside */
}

/* Nobody is left to ask of those that were found. */
static void go_on(struct call *c)
{
	if (c->is_by_dns)
		return;
	if (c->num_parts && c->lookups < LOOKUPS)
		look_up(c);
	if (c->query)
		return;
	c->is_by_dns = true;
	start_part(c, NULL, CALL_NOT_AN_OWNER);
}

/* Does what is next. C may be gone after this. */
static void step(struct call *c)
{
	timer_stop(&c->timer);
	if (c->is_racing)
		run_race(c);
	if (!c->is_answered && !c->query && !c->is_racing)
		go_on(c);
	if (!is_busy(c) && !timer_is_set(&c->timer))
		end_call(c);
}

static void on_timer(struct timer *timer)
{
	step(container_of(timer, struct call, timer));
}

/* --- the start --- */

static void start_key(struct call *c, const struct call_options *o)
{
	const char *from = strstr(c->url, "://") + 3;
	char *path;

	from += strcspn(from, "/?#");
	path = mem_strndup(from, strcspn(from, "#"));
	key_url_path(&c->key, strcmp(path, "/") ? path : NULL, &c->udp_path);
	free(path);
	for (unsigned i = 0; i < o->num_knowers && i < OWNER_RACE_MAX; i++)
		start_part(c, &o->knowers[i], (int)i);
	if (o->num_knowers)
		c->is_by_dns = true; /* nobody else has to be told */
	else
		look_up(c);
}

struct call *call_start(struct caller *caller, const char *url,
			const struct announce_request *request,
			const struct call_options *o,
			const struct call_events *events)
{
	struct call *c = mem_alloc(sizeof(*c));

	loop_assert(caller->loop);
	c->caller = caller;
	c->url = mem_strdup(url);
	c->request = *request;
	c->events = *events;
	c->options = o->announce;
	if (o->announce.id_len) {
		memcpy(c->id, o->announce.id, o->announce.id_len);
		c->options.id = c->id;
	}
	buf_init(&c->udp_path, 0);
	timer_init(&c->timer, caller->loop, on_timer);
	list_push_back(&caller->calls, &c->node);
	if (caller->overlays && key_url_parse(url, &c->key))
		start_key(c, o);
	if (!c->num_parts && !c->query) {
		c->is_by_dns = true;
		start_part(c, NULL, CALL_NOT_AN_OWNER);
	}
	return c;
}
