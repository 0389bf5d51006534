/* Order of life. Up: loop, workers, state, HTTP, engine (binds TCP), UDP on
 * the same port, trackers, DHT, torrents of the last run. Down: sources and
 * engine say goodbye on the loop; then workers end, what they left is run, and
 * the rest is freed in the reverse order. */
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/resolve.h"
#include "fs/follow.h"
#include "fs/publish.h"
#include "fs/session_dht.h"
#include "tracker/tracker.h"

#define STATE_RETRY_MS 50

/* ---- news of the engine ---- */

static void on_added(void *arg, struct torrent *t)
{
	struct session *s = arg;
	struct entry *e = library_put(s->library, t);

	list_foreach_safe(l, &s->listeners, struct session_listener, node) {
		if (e && l->on_added)
			l->on_added(l, e);
	}
}

static void on_metadata(void *arg, struct torrent *t)
{
	struct session *s = arg;
	struct entry *e = library_put(s->library, t);

	list_foreach_safe(l, &s->listeners, struct session_listener, node) {
		if (e && l->on_metadata)
			l->on_metadata(l, e);
	}
}

static void on_complete(void *arg, struct torrent *t)
{
	struct session *s = arg;
	struct entry *e = library_by_id(s->library, torrent_id(t));

	list_foreach_safe(l, &s->listeners, struct session_listener, node) {
		if (e && l->on_complete)
			l->on_complete(l, e);
	}
}

static void on_removed(void *arg, struct torrent *t)
{
	struct session *s = arg;
	struct entry *e = library_by_id(s->library, torrent_id(t));

	if (!e)
		return;
	list_foreach_safe(l, &s->listeners, struct session_listener, node) {
		if (l->on_removed)
			l->on_removed(l, e);
	}
	library_remove(s->library, e);
}

static const struct engine_events events = {
	.on_added = on_added,
	.on_metadata = on_metadata,
	.on_complete = on_complete,
	.on_removed = on_removed,
};

void session_listen(struct session *s, struct session_listener *l)
{
	list_push_back(&s->listeners, &l->node);
}

void session_unlisten(struct session_listener *l)
{
	list_remove(&l->node);
}

/* ---- peer=HOST:PORT ---- */

struct lookup {
	struct list node;
	struct session *s;
	struct resolve *resolve;
	char *text; /* owned */
};

static void lookup_free(struct lookup *l)
{
	list_remove(&l->node);
	resolve_cancel(l->resolve);
	free(l->text);
	free(l);
}

static void on_resolved(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why)
{
	struct lookup *l = arg;

	l->resolve = NULL;
	if (r < 0)
		log_warn("peer=%s: %s", l->text, why);
	for (size_t i = 0; i < n; i++)
		engine_add_peer(l->s->engine, &addrs[i]);
	lookup_free(l);
}

static int add_peer(struct session *s, const char *text,
		    char why[SESSION_WHY_SIZE])
{
	char host[256];
	uint16_t port = 0;
	struct lookup *l;
	struct addr a;

	if (addr_split(text, host, sizeof(host), &port) < 0 || !port) {
		snprintf(why, SESSION_WHY_SIZE, "peer=%.200s: not HOST:PORT",
			 text);
		return -EINVAL;
	}
	if (!addr_parse(host, port, &a)) {
		engine_add_peer(s->engine, &a);
		return 0;
	}
	l = mem_alloc(sizeof(*l));
	l->s = s;
	l->text = mem_strdup(text);
	list_push_back(&s->lookups, &l->node);
	l->resolve =
		resolve_start(s->loop, s->workers, host, port, on_resolved, l);
	return 0;
}

/* ---- up ---- */

int session_make_folder(const char *path, mode_t mode,
			char why[SESSION_WHY_SIZE])
{
	char *part = mem_strdup(path);
	int r = 0;

	for (char *at = part + 1; !r; at++) {
		char c = *at;

		if (c && c != '/')
			continue;
		*at = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			r = -errno;
		*at = c;
		if (!c)
			break;
	}
	if (r < 0)
		snprintf(why, SESSION_WHY_SIZE, "cannot make folder %.300s: %s",
			 path, strerror(-r));
	free(part);
	return r;
}

static int open_engine(struct session *s, char why[SESSION_WHY_SIZE])
{
	const struct opts *o = s->opts;
	struct engine_config c = {
		.data_dir = o->data_dir,
		.is_flat = s->config.is_flat,
		.is_read_only = s->config.is_read_only,
		.bind4 = o->bind4,
		.bind6 = o->bind6,
		.port = o->port,
		.max_peers = o->max_peers,
		.down_limit = o->down_limit,
		.up_limit = o->up_limit,
		.fill = o->fill,
		.read_timeout_ms = o->read_timeout_ms,
		.place = s->publish ? publish_place : NULL,
		.place_arg = s->publish,
	};

	return engine_new(s->loop, s->workers, s->state, &c, &events, s,
			  &s->engine, why);
}

/* UDP shares the engine's port number. It is not worth dying for: without it
 * UDP trackers alone are missing. */
static void open_udp(struct session *s)
{
	const struct opts *o = s->opts;
	const struct addr *b4 = o->bind4.family ? &o->bind4 : NULL;
	const struct addr *b6 = o->bind6.family ? &o->bind6 : NULL;
	uint16_t port = engine_port(s->engine);
	int r = udp_open(s->loop, b4, b6, port, &s->udp);

	if (r == -EADDRINUSE) {
		log_warn("UDP port %u is taken, using another one", port);
		r = udp_open(s->loop, b4, b6, 0, &s->udp);
	}
	if (r < 0) {
		log_warn("no UDP: %s", strerror(-r));
		s->udp = NULL;
	}
}

static void open_trackers(struct session *s)
{
	const struct opts *o = s->opts;
	struct tracker_options options = {
		.peerid = *engine_peerid(s->engine),
		.port = engine_port(s->engine),
		.announce_ip4 = o->announce4,
		.announce_ip6 = o->announce6,
		.bind4 = o->bind4.family ? &o->bind4 : NULL,
		.bind6 = o->bind6.family ? &o->bind6 : NULL,
		.trusted = (const char *const *)o->trackers.items,
		.num_trusted = o->trackers.num,
		.has_kenosis = o->has_kenosis,
		.overlay = (const char *const *)o->overlay.items,
		.num_overlay = o->overlay.num,
		.allow_local_overlay = session_names_local(o, &o->overlay),
	};

	s->trackers = tracker_client_new(s->loop, s->workers, s->http, s->udp,
					 &options);
	engine_add_source(s->engine, tracker_client_source(s->trackers));
	for (size_t i = 0; i < o->trackers.num; i++)
		engine_add_tracker(s->engine, o->trackers.items[i]);
}

static int load(struct session *s, char why[SESSION_WHY_SIZE])
{
	int r = s->state ? engine_load(s->engine) : 0;

	if (r < 0) {
		snprintf(why, SESSION_WHY_SIZE, "cannot load %.300s: %s",
			 s->opts->state_dir, strerror(-r));
		return r;
	}
	for (struct torrent *t = engine_first(s->engine); t; t = engine_next(t))
		library_put(s->library, t);
	s->follows = follows_open(s);
	for (size_t i = 0; !r && i < s->opts->peers.num; i++)
		r = add_peer(s, s->opts->peers.items[i], why);
	return r;
}

/* Who unmounts and mounts again at once finds the old process saving and
 * saying goodbye: that takes a moment, and is no reason to fail. */
static int open_state(struct session *s, char why[SESSION_WHY_SIZE])
{
	const char *dir = s->opts->state_dir;
	int r = session_make_folder(dir, 0700, why);

	for (int waited = 0; !r; waited += STATE_RETRY_MS) {
		struct timespec pause = { 0, STATE_RETRY_MS * 1000000 };

		r = state_open(dir, s->workers, &s->state, why);
		if (r != -EBUSY || waited >= SESSION_STOP_MS)
			break;
		(void)nanosleep(&pause, NULL);
		r = 0;
	}
	return r;
}

int session_open(const struct opts *opts, const struct session_config *config,
		 struct session **out, char why[SESSION_WHY_SIZE])
{
	struct session *s = mem_alloc(sizeof(*s));
	int r = -ENOMEM;

	s->opts = opts;
	s->config = *config;
	s->started_s = clock_wall_s();
	s->library = library_new();
	list_init(&s->listeners);
	list_init(&s->adds);
	list_init(&s->lookups);
	snprintf(why, SESSION_WHY_SIZE, "no resources for the event loop");
	s->loop = loop_new();
	if (!s->loop)
		goto fail;
	s->workers = workers_new(s->loop);
	if (!s->workers)
		goto fail;
	if (!config->is_stateless) {
		r = open_state(s, why);
		if (r < 0)
			goto fail;
	}
	if (!config->is_read_only) {
		r = session_make_folder(opts->data_dir, 0777, why);
		if (r < 0)
			goto fail;
	}
	if (config->publishes) {
		r = publish_open(s, &s->publish, why);
		/* Who did not ask for it can do without. */
		if (r < 0 && !opts->has_publish)
			log_warn("nothing can be published: %s", why);
		else if (r < 0)
			goto fail;
	}
	s->http = http_new(s->loop, "weirfs/" WEIRFS_VERSION);
	r = open_engine(s, why);
	if (r < 0)
		goto fail;
	open_udp(s);
	open_trackers(s);
	s->dht = session_dht_open(s);
	r = load(s, why);
	if (r < 0)
		goto fail;
	if (s->publish)
		publish_start(s->publish);
	log_info("port=%u state=%s data=%s", engine_port(s->engine),
		 s->state ? opts->state_dir : "none", opts->data_dir);
	*out = s;
	return 0;
fail:
	session_close(s);
	return r;
}

/* ---- down ---- */

static void finish_stop(struct session *s)
{
	if (s->is_stopped)
		return;
	s->is_stopped = true;
	timer_stop(&s->stop_timer);
	s->stopped(s->stopped_arg);
}

static void on_goodbyes_said(void *arg)
{
	finish_stop(arg);
}

static void on_engine_stopped(void *arg)
{
	struct session *s = arg;

	s->is_late = engine_is_stuck(s->engine);
	tracker_client_drain(s->trackers, on_goodbyes_said, s);
}

static void on_stop_timer(struct timer *timer)
{
	struct session *s = container_of(timer, struct session, stop_timer);

	log_warn("not everything could be saved in time");
	s->is_late = true;
	finish_stop(s);
}

void session_stop(struct session *s, void (*done)(void *arg), void *arg)
{
	if (s->is_stopping)
		return;
	s->is_stopping = true;
	s->stopped = done;
	s->stopped_arg = arg;
	timer_init(&s->stop_timer, s->loop, on_stop_timer);
	timer_set_ms(&s->stop_timer, SESSION_STOP_MS);
	source_stop(s);
	follows_stop(s->follows);
	if (s->publish)
		publish_stop(s->publish);
	session_dht_stop(s->dht);
	list_foreach_safe(l, &s->lookups, struct lookup, node)
		lookup_free(l);
	engine_stop(s->engine, on_engine_stopped, s);
}

void session_close(struct session *s)
{
	/* Late: a worker is stuck in the kernel and the engine waits for it.
	 * The process ends with all of it; the state is a WAL away. */
	if (!s || s->is_late)
		return;
	timer_stop(&s->stop_timer);
	list_foreach_safe(l, &s->lookups, struct lookup, node)
		lookup_free(l);
	if (s->engine)
		engine_abandon(s->engine);
	workers_free(s->workers);
	if (s->loop)
		loop_run_once(s->loop, 0); /* what the workers left */
	follows_close(s->follows);
	publish_close(s->publish);
	if (s->trackers)
		tracker_client_free(s->trackers);
	session_dht_close(s->dht);
	if (s->http)
		http_free(s->http);
	if (s->engine)
		engine_free(s->engine);
	if (s->udp)
		udp_close(s->udp);
	if (s->state)
		state_close(s->state);
	loop_free(s->loop);
	library_free(s->library);
	free(s);
}
