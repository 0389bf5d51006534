/*
 * Domains come from torrents, which strangers write. The first LIMIT_OVERLAYS
 * have a node each; when one more is asked for, it takes the place of one that
 * has met nobody and that nobody waits for, and otherwise has none: its names
 * are looked up by DNS.
 */
#include "tracker/overlays.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_loop.h"

#define TAG_FIRST 'K' /* of transaction ids; mainline's begin with others */

struct overlay {
	char domain[KT_DOMAIN_BYTES];
	struct kt_loop *node; /* NULL: a free place */
	struct list queries;
};

struct overlays {
	struct loop *loop;       /* borrowed */
	struct workers *workers; /* borrowed */
	struct udp *udp;         /* borrowed */
	char **bootstrap;        /* owned */
	size_t num_bootstrap;
	bool allow_local;
	struct overlay all[LIMIT_OVERLAYS];
};

struct overlay_query {
	struct list node;
	struct kt_lookup *lookup;
	struct timer deadline;
	overlay_found_fn *fn;
	void *arg; /* borrowed */
};

struct overlays *overlays_new(struct loop *loop, struct workers *workers,
			      struct udp *udp,
			      const struct overlays_options *options)
{
	struct overlays *o = mem_alloc(sizeof(*o));

	loop_assert(loop);
	o->loop = loop;
	o->workers = workers;
	o->udp = udp;
	o->allow_local = options->allow_local;
	o->num_bootstrap = options->num_bootstrap;
	o->bootstrap = mem_alloc_array(o->num_bootstrap, sizeof(char *));
	for (size_t i = 0; i < o->num_bootstrap; i++)
		o->bootstrap[i] = mem_strdup(options->bootstrap[i]);
	for (size_t i = 0; i < LIMIT_OVERLAYS; i++)
		list_init(&o->all[i].queries);
	return o;
}

static void query_free(struct overlay_query *q)
{
	kt_find_cancel(q->lookup);
	timer_stop(&q->deadline);
	list_remove(&q->node);
	free(q);
}

void overlays_free(struct overlays *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < LIMIT_OVERLAYS; i++) {
		list_foreach_safe(q, &o->all[i].queries, struct overlay_query,
				  node)
			query_free(q);
		kt_loop_free(o->all[i].node);
	}
	for (size_t i = 0; i < o->num_bootstrap; i++)
		free(o->bootstrap[i]);
	free(o->bootstrap);
	free(o);
}

/* --- nodes --- */

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct overlays *o = arg;

	/* A datagram that cannot be sent is one that was lost. */
	(void)udp_send(o->udp, to, bytes, len);
}

static struct overlay *overlay_of(struct overlays *o, const char *domain)
{
	for (size_t i = 0; i < LIMIT_OVERLAYS; i++) {
		if (o->all[i].node && !strcmp(o->all[i].domain, domain))
			return &o->all[i];
	}
	return NULL;
}

static bool is_useless(struct overlay *v)
{
	struct kt_stats s;

	if (!v->node)
		return true;
	kt_stats(kt_loop_node(v->node), &s);
	return !s.good[0] && !s.good[1] && list_is_empty(&v->queries);
}

static struct overlay *begin(struct overlays *o, const char *domain)
{
	size_t i = 0;
	struct kt_loop_options options = {
		.domain = domain,
		.v4 = udp_has_family(o->udp, 4),
		.v6 = udp_has_family(o->udp, 6),
		.is_client = true,
		.allow_local = o->allow_local,
		.bootstrap = o->num_bootstrap
				     ? (const char *const *)o->bootstrap
				     : NULL,
		.num_bootstrap = o->num_bootstrap,
		.send = on_send,
		.arg = o,
	};

	if (strlen(domain) >= KT_DOMAIN_BYTES)
		return NULL;
	while (i < LIMIT_OVERLAYS && o->all[i].node)
		i++;
	for (size_t k = 0; i == LIMIT_OVERLAYS && k < LIMIT_OVERLAYS; k++) {
		if (is_useless(&o->all[k]))
			i = k;
	}
	if (i == LIMIT_OVERLAYS)
		return NULL;
	kt_loop_free(o->all[i].node);
	options.tag = (uint8_t)(TAG_FIRST + i);
	memcpy(o->all[i].domain, domain, strlen(domain) + 1);
	o->all[i].node = kt_loop_new(o->loop, o->workers, &options);
	kt_loop_tap(o->all[i].node, o->udp);
	return &o->all[i];
}

static struct overlay *get(struct overlays *o, const char *domain)
{
	struct overlay *v = overlay_of(o, domain);

	loop_assert(o->loop);
	return v ? v : begin(o, domain);
}

struct kt *overlays_node(struct overlays *o, const char *domain)
{
	struct overlay *v = get(o, domain);

	return v ? kt_loop_node(v->node) : NULL;
}

/* --- questions --- */

/* FN may cancel other queries, and ask. */
static void end_query(struct overlay_query *q, const struct kt_found *found)
{
	overlay_found_fn *fn = q->fn;
	void *arg = q->arg;

	query_free(q);
	fn(arg, found);
}

static void on_found(void *arg, const struct kt_found *found)
{
	struct overlay_query *q = arg;

	q->lookup = NULL;
	end_query(q, found);
}

static void on_deadline(struct timer *timer)
{
	struct kt_found nobody = { .took_ms = OVERLAY_FIND_MS };

	end_query(container_of(timer, struct overlay_query, deadline), &nobody);
}

struct overlay_query *overlays_find(struct overlays *o, const char *domain,
				    const struct kad_id *key,
				    overlay_found_fn *fn, void *arg)
{
	struct overlay *v = get(o, domain);
	struct overlay_query *q;

	if (!v)
		return NULL;
	q = mem_alloc(sizeof(*q));
	q->fn = fn;
	q->arg = arg;
	q->lookup = kt_find(kt_loop_node(v->node), key, on_found, q);
	if (!q->lookup) {
		free(q);
		return NULL;
	}
	timer_init(&q->deadline, o->loop, on_deadline);
	timer_set_ms(&q->deadline, OVERLAY_FIND_MS);
	list_push_back(&v->queries, &q->node);
	return q;
}

void overlay_query_cancel(struct overlay_query *q)
{
	if (q)
		query_free(q);
}

void overlays_forget(struct overlays *o, const char *domain,
		     const struct kad_id *key)
{
	struct overlay *v = overlay_of(o, domain);

	if (v)
		kt_find_forget(kt_loop_node(v->node), key);
}
