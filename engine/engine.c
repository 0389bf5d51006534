#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"
#include "engine/listener.h"

#define PORT_FIRST     6881
#define PORT_LAST      6889
#define TICK_MS        250
#define TICK_SOON_MS   50 /* while reads wait */
#define HALF_OPEN_KEPT 10 /* half-open connects, for readers that wait */
#define BUFFERS_KEPT   (32u << 20)
#define PEERID_PREFIX  "-WF0100-" /* BEP 20 */
#define STOP_LIMIT_MS  3000       /* for saving, when the process ends */

struct buffer { /* in the first bytes of a free piece buffer */
	struct buffer *next;
	size_t size;
};

/* --- start --- */

static void on_accepted(void *arg, int fd, const struct addr *from)
{
	struct engine *e = arg;
	unsigned same = 0;

	list_foreach(p, &e->strangers, struct peer, node)
		same += addr_ip_eq(&p->addr, from);
	if (e->is_stopping || e->num_strangers >= LIMIT_HANDSHAKES_IN ||
	    same >= LIMIT_PEERS_PER_ADDRESS ||
	    (e->num_peers >= e->config.max_peers &&
	     !engine_make_room(e, from))) {
		close(fd);
		return;
	}
	peer_accept(e, fd, from);
}

static int listen_on(struct engine *e, uint16_t port)
{
	struct addr a[2] = { e->config.bind4, e->config.bind6 };
	int r, last = -EAFNOSUPPORT;
	bool any = false;

	for (int i = 0; i < 2; i++) {
		if (!a[i].family)
			continue;
		a[i].port = port;
		r = listener_open(e->loop, &a[i], on_accepted, e,
				  &e->listeners[i]);
		if (r == -EADDRINUSE) {
			listener_close(e->listeners[0]);
			e->listeners[0] = NULL;
			return r;
		}
		if (r)
			last = r; /* a family the host does not have */
		else
			any = true;
	}
	e->port = port;
	return any ? 0 : last;
}

static int listen_somewhere(struct engine *e, char why[ENGINE_WHY_SIZE])
{
	int r = -EADDRINUSE;

	if (e->config.port) {
		r = listen_on(e, e->config.port);
		if (r)
			snprintf(why, ENGINE_WHY_SIZE,
				 "cannot listen on port %u: %s; choose another "
				 "with -o port=N",
				 e->config.port, strerror(-r));
		return r;
	}
	for (uint16_t p = PORT_FIRST; p <= PORT_LAST && r == -EADDRINUSE; p++)
		r = listen_on(e, p);
	if (r == -EADDRINUSE)
		snprintf(why, ENGINE_WHY_SIZE,
			 "ports %d to %d are all in use; choose another with "
			 "-o port=N",
			 PORT_FIRST, PORT_LAST);
	else if (r)
		snprintf(why, ENGINE_WHY_SIZE, "cannot listen: %s",
			 strerror(-r));
	return r;
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct engine *e = arg;
	struct list *n;

	while ((n = list_pop_front(&e->dead)))
		peer_free(list_entry(n, struct peer, node));
}

static void on_tick(struct timer *timer);

int engine_new(struct loop *loop, struct workers *workers, struct state *state,
	       const struct engine_config *config,
	       const struct engine_events *events, void *arg,
	       struct engine **out, char why[ENGINE_WHY_SIZE])
{
	struct engine *e = mem_alloc(sizeof(*e));
	int r;

	e->loop = loop;
	e->workers = workers;
	e->state = state;
	e->config = *config;
	if (!e->config.max_peers)
		e->config.max_peers = LIMIT_PEERS;
	if (events)
		e->events = *events;
	e->events_arg = arg;
	e->down_limit.bps = config->down_limit;
	e->up_limit.bps = config->up_limit;
	memcpy(e->peerid.b, PEERID_PREFIX, 8);
	random_bytes(e->peerid.b + 8, sizeof(e->peerid.b) - 8);
	random_bytes(&e->prng, sizeof(e->prng));
	list_init(&e->torrents);
	list_init(&e->strangers);
	list_init(&e->dead);
	list_init(&e->leaving);
	r = listen_somewhere(e, why);
	if (r) {
		free(e);
		return r;
	}
	e->hub = conn_hub_new(loop);
	e->fdcache = fdcache_new(LIMIT_OPEN_FILES);
	event_assign(&e->reaper, loop_base(loop), -1, 0, on_reap, e);
	timer_init(&e->tick, loop, on_tick);
	timer_set_ms(&e->tick, TICK_MS);
	*out = e;
	return 0;
}

void engine_add_source(struct engine *e, struct peersource *source)
{
	CHECK(e->num_sources < SOURCES_MAX);
	e->sources[e->num_sources++] = source;
}

uint16_t engine_port(const struct engine *e)
{
	return e->port;
}

const struct peerid *engine_peerid(const struct engine *e)
{
	return &e->peerid;
}

/* --- stop --- */

bool engine_is_stuck(const struct engine *e)
{
	list_foreach(t, &e->torrents, struct torrent, node) {
		if (!t->is_finished || !torrent_is_idle(t))
			return true;
	}
	return !list_is_empty(&e->leaving) || e->num_saving;
}

static void report_stuck(struct engine *e)
{
	list_foreach(t, &e->torrents, struct torrent, node) {
		if (!t->is_finished || !torrent_is_idle(t))
			log_error("the disk does not answer: what %s got of "
				  "late is not saved",
				  t->name);
	}
	if (e->num_saving)
		log_error("the disk does not answer: torrents that came or "
			  "went of late are not saved");
}

/* The last save of a torrent waits for its other jobs: they may still write. */
static void finish_stop(struct engine *e, int64_t now_ms)
{
	void (*stopped)(void *arg) = e->stopped;

	list_foreach(t, &e->torrents, struct torrent, node) {
		if (t->is_finished || !torrent_is_idle(t))
			continue;
		t->is_finished = true;
		if (t->mi)
			resume_finish(t, t->was_ready);
	}
	if (!stopped)
		return;
	if (engine_is_stuck(e)) {
		if (now_ms - e->stop_ms < STOP_LIMIT_MS)
			return;
		report_stuck(e);
	}
	e->stopped = NULL;
	stopped(e->stopped_arg);
}

void engine_stop(struct engine *e, void (*done)(void *arg), void *arg)
{
	CHECK(!e->is_stopping);
	e->is_stopping = true;
	e->stopped = done;
	e->stopped_arg = arg;
	e->stop_ms = loop_now_ms(e->loop);
	for (int i = 0; i < 2; i++) {
		listener_close(e->listeners[i]);
		e->listeners[i] = NULL;
	}
	list_foreach_safe(p, &e->strangers, struct peer, node)
		peer_close(p, "stopping");
	list_foreach_safe(t, &e->torrents, struct torrent, node)
		torrent_close(t);
	engine_wake(e);
}

void engine_abandon(struct engine *e)
{
	if (e->is_stopping)
		return;
	e->is_stopping = true;
	timer_stop(&e->tick);
	list_foreach_safe(t, &e->torrents, struct torrent, node)
		torrent_close(t);
}

static void free_kept_buffers(struct engine *e)
{
	while (e->buffers) {
		struct buffer *b = e->buffers;

		e->buffers = b->next;
		free(b);
	}
	e->buffer_bytes = 0;
}

void engine_free(struct engine *e)
{
	struct list *n;

	if (!e)
		return;
	timer_stop(&e->tick);
	for (int i = 0; i < 2; i++)
		listener_close(e->listeners[i]);
	list_foreach_safe(p, &e->strangers, struct peer, node)
		peer_close(p, "stopping");
	while ((n = list_pop_front(&e->torrents))) {
		struct torrent *t = list_entry(n, struct torrent, node);

		torrent_close(t);
		torrent_free(t);
	}
	library_tick(e);
	event_del(&e->reaper);
	on_reap(-1, 0, e);
	conn_hub_free(e->hub);
	fdcache_free(e->fdcache);
	free_kept_buffers(e);
	for (size_t i = 0; i < e->num_user_trackers; i++)
		free(e->user_trackers[i]);
	free(e->user_trackers);
	free(e->user_peers);
	free(e);
}

/* --- wishes for every torrent --- */

void engine_add_peer(struct engine *e, const struct addr *a)
{
	e->user_peers = mem_realloc_array(e->user_peers, e->num_user_peers + 1,
					  sizeof(*a));
	e->user_peers[e->num_user_peers++] = *a;
	list_foreach(t, &e->torrents, struct torrent, node)
		torrent_add_peer(t, a, ORIGIN_USER);
}

void engine_add_tracker(struct engine *e, const char *url)
{
	e->user_trackers =
		mem_realloc_array(e->user_trackers, e->num_user_trackers + 1,
				  sizeof(*e->user_trackers));
	e->user_trackers[e->num_user_trackers++] = mem_strdup(url);
	list_foreach(t, &e->torrents, struct torrent, node) {
		if (!t->face.is_private)
			torrent_add_url(t, url, 0);
	}
}

/* --- services for the inside --- */

void engine_bury(struct engine *e, struct peer *p)
{
	if (list_is_empty(&e->dead))
		event_active(&e->reaper, EV_TIMEOUT, 0);
	list_push_back(&e->dead, &p->node);
}

void engine_on_event_metadata(struct engine *e, struct torrent *t)
{
	if (e->events.on_metadata)
		e->events.on_metadata(e->events_arg, t);
}

void engine_on_event_complete(struct engine *e, struct torrent *t)
{
	if (e->events.on_complete)
		e->events.on_complete(e->events_arg, t);
}

uint8_t *engine_buffer_try(struct engine *e, size_t size)
{
	struct buffer **b = &e->buffers;

	if (size < sizeof(struct buffer))
		size = sizeof(struct buffer);
	if (e->filling_bytes + size > LIMIT_PARTIAL_BYTES)
		return NULL;
	e->filling_bytes += size;
	for (; *b; b = &(*b)->next) {
		struct buffer *found = *b;

		if (found->size != size)
			continue;
		*b = found->next;
		e->buffer_bytes -= size;
		return (uint8_t *)found;
	}
	/* Those of another size are in the way. */
	if (e->filling_bytes + e->buffer_bytes > LIMIT_PARTIAL_BYTES)
		free_kept_buffers(e);
	return mem_realloc_array(NULL, size, 1);
}

void engine_buffer_put(struct engine *e, uint8_t *bytes, size_t size)
{
	struct buffer *b = (struct buffer *)(void *)bytes;

	if (size < sizeof(*b))
		size = sizeof(*b);
	e->filling_bytes -= size;
	if (e->buffer_bytes + size > BUFFERS_KEPT) {
		free(bytes);
		return;
	}
	b->size = size;
	b->next = e->buffers;
	e->buffers = b;
	e->buffer_bytes += size;
}

bool engine_may_connect(const struct engine *e, bool urgent)
{
	unsigned half_open = LIMIT_HALF_OPEN - (urgent ? 0 : HALF_OPEN_KEPT);
	double debt = urgent ? LIMIT_CONNECTS_PER_SECOND : 0;

	return !e->is_stopping && e->num_half_open < half_open &&
	       e->num_peers < e->config.max_peers &&
	       e->connect_tokens + debt >= 1;
}

void engine_wake(struct engine *e)
{
	timer_set_ms(&e->tick, 0);
}

bool engine_is_limited(const struct engine *e)
{
	return e->down_limit.bps || e->up_limit.bps;
}

static void on_tick(struct timer *timer)
{
	struct engine *e = container_of(timer, struct engine, tick);
	int64_t now = loop_now_ms(e->loop), dt = now - e->tick_ms;
	bool is_urgent = engine_is_limited(e);

	e->connect_tokens += (double)(dt < 1000 ? dt : 1000) *
			     LIMIT_CONNECTS_PER_SECOND / 1000;
	if (e->connect_tokens > LIMIT_CONNECTS_PER_SECOND)
		e->connect_tokens = LIMIT_CONNECTS_PER_SECOND;
	e->tick_ms = now;
	list_foreach_safe(p, &e->strangers, struct peer, node)
		peer_tick(p, now);
	list_foreach_safe(t, &e->torrents, struct torrent, node) {
		torrent_tick(t, now);
		is_urgent |= t->sched && sched_num_parked(t->sched);
	}
	library_tick(e);
	timer_set_ms(&e->tick,
		     is_urgent || e->is_stopping ? TICK_SOON_MS : TICK_MS);
	if (e->is_stopping)
		finish_stop(e, now); /* which may end in engine_free */
}
