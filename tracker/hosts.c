/*
 * A thousand torrents at one tracker are one look-up, not a thousand: whoever
 * asks while it runs joins those who wait. An answer serves FRESH_MS; a
 * failure is told to those who wait and not remembered, since the trackers'
 * own back-off spaces the next question.
 */
#include "tracker/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"

#define FRESH_MS 300000

struct host {
	struct list node;
	struct hosts *owner;
	char *name;              /* owned */
	struct resolve *resolve; /* under way, or NULL */
	struct list waiting;     /* queries */
	struct timer turn;       /* answers what is known */
	struct addr addrs[RESOLVE_MAX];
	size_t num_addrs;
	int64_t until_ms;
};

struct host_query {
	struct list node;  /* in host->waiting */
	struct host *host; /* NULL once the answer is here */
	uint16_t port;
	void (*done)(void *arg, int r, const struct addr *addrs, size_t n,
		     const char *why);
	void *arg; /* borrowed */
};

struct hosts {
	struct loop *loop;       /* borrowed */
	struct workers *workers; /* borrowed */
	struct list hosts;
	size_t num;
};

struct hosts *hosts_new(struct loop *loop, struct workers *workers)
{
	struct hosts *h = mem_alloc(sizeof(*h));

	h->loop = loop;
	h->workers = workers;
	list_init(&h->hosts);
	return h;
}

static void query_free(struct host_query *q)
{
	list_remove(&q->node);
	free(q);
}

/* A look-up that nobody waits for would hold a worker at the end. */
static void stop_if_idle(struct host *host)
{
	if (!list_is_empty(&host->waiting))
		return;
	resolve_cancel(host->resolve);
	host->resolve = NULL;
}

static void host_free(struct host *host)
{
	resolve_cancel(host->resolve);
	timer_stop(&host->turn);
	list_foreach_safe(q, &host->waiting, struct host_query, node)
		query_free(q);
	list_remove(&host->node);
	host->owner->num--;
	free(host->name);
	free(host);
}

void hosts_free(struct hosts *h)
{
	if (!h)
		return;
	list_foreach_safe(host, &h->hosts, struct host, node)
		host_free(host);
	free(h);
}

/* A done() may cancel queries beside its own, and ask anew, which may even
 * forget this host: it is not looked at again. */
static void answer(struct host *host, int r, const char *why)
{
	struct addr addrs[RESOLVE_MAX];
	size_t n = host->num_addrs;
	struct list waiting, *node;

	memcpy(addrs, host->addrs, sizeof(addrs));
	list_init(&waiting);
	list_splice_back(&waiting, &host->waiting);
	list_foreach(q, &waiting, struct host_query, node)
		q->host = NULL;
	while ((node = list_pop_front(&waiting))) {
		struct host_query *q =
			list_entry(node, struct host_query, node);

		for (size_t i = 0; i < n; i++)
			addrs[i].port = q->port;
		q->done(q->arg, r, addrs, n, why);
		free(q);
	}
}

static void on_resolved(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why)
{
	struct host *host = arg;

	host->resolve = NULL;
	host->num_addrs = n;
	if (n)
		memcpy(host->addrs, addrs, n * sizeof(*addrs));
	host->until_ms = n ? loop_now_ms(host->owner->loop) + FRESH_MS : 0;
	answer(host, r, why);
}

static void on_turn(struct timer *timer)
{
	answer(container_of(timer, struct host, turn), 0, "");
}

static void forget_old(struct hosts *h)
{
	int64_t now_ms = loop_now_ms(h->loop);

	list_foreach_safe(host, &h->hosts, struct host, node) {
		if (!host->resolve && list_is_empty(&host->waiting) &&
		    now_ms >= host->until_ms)
			host_free(host);
	}
}

static struct host *host_of(struct hosts *h, const char *name)
{
	list_foreach(host, &h->hosts, struct host, node) {
		if (!strcmp(host->name, name))
			return host;
	}
	return NULL;
}

static struct host *host_add(struct hosts *h, const char *name)
{
	struct host *host;

	if (h->num == LIMIT_TRACKER_HOSTS)
		forget_old(h);
	if (h->num == LIMIT_TRACKER_HOSTS)
		return NULL;
	host = mem_alloc(sizeof(*host));
	host->owner = h;
	host->name = mem_strdup(name);
	list_init(&host->waiting);
	timer_init(&host->turn, h->loop, on_turn);
	list_push_back(&h->hosts, &host->node);
	h->num++;
	return host;
}

struct host_query *hosts_find(struct hosts *h, const char *name, uint16_t port,
			      void (*done)(void *arg, int r,
					   const struct addr *addrs, size_t n,
					   const char *why),
			      void *arg)
{
	struct host *host = host_of(h, name);
	struct host_query *q;

	if (!host)
		host = host_add(h, name);
	if (!host)
		return NULL;
	q = mem_alloc(sizeof(*q));
	q->host = host;
	q->port = port;
	q->done = done;
	q->arg = arg;
	list_push_back(&host->waiting, &q->node);
	if (loop_now_ms(h->loop) < host->until_ms)
		timer_set_ms(&host->turn, 0);
	else if (!host->resolve)
		host->resolve = resolve_start(h->loop, h->workers, name, port,
					      on_resolved, host);
	return q;
}

void host_query_cancel(struct host_query *q)
{
	struct host *host;

	if (!q)
		return;
	host = q->host;
	query_free(q);
	if (host)
		stop_if_idle(host);
}

void hosts_blame(struct hosts *h, const char *name, const struct addr *addr)
{
	struct host *host = host_of(h, name);
	size_t i = 0;

	if (!host || !host->num_addrs)
		return;
	while (i < host->num_addrs && !addr_ip_eq(&host->addrs[i], addr))
		i++;
	if (i == host->num_addrs)
		return;
	if (host->num_addrs == 1) {
		host->until_ms = 0;
		return;
	}
	memmove(&host->addrs[i], &host->addrs[i + 1],
		(host->num_addrs - i - 1) * sizeof(host->addrs[0]));
	host->addrs[host->num_addrs - 1] = *addr;
}
