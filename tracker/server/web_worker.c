#include "tracker/server/web_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/server/web_address.h"

/*
 * A fresh connection is run as soon as it is accepted, in the worker's spare
 * struct: listeners defer accept until a request is here (TCP_DEFER_ACCEPT), so
 * most are answered and closed by that, and neither epoll nor malloc has heard
 * of them. What has to wait is filed:
 *
 *   spare -> waiting    nothing more can be done without the client
 *   waiting -> waiting  at the end of the list again: a request was answered,
 *                       or a part of a long answer went out
 *   waiting -> lingering, either -> graveyard
 *
 * Both lists are in order of time, so their heads say when to wake up. Bytes of
 * a request that is not whole do not move its connection: a head must be here
 * idle_ms after the last answer, however it trickles in. Over a cap,
 * the connection that waits for longest makes room. Events of one epoll_wait
 * may name a connection that an earlier one of them ended, so memory is
 * released after the last.
 */

#define BATCH     64  /* events, accepts */
#define EXPIRE_MS 100 /* between two looks at who is due */

enum kind {
	KIND_WAKE,
	KIND_LISTENER,
	KIND_CONN,
};

struct listener {
	enum kind kind; /* first in all that epoll knows */
	int fd;         /* owned */
	bool is_tls;
};

struct conn {
	enum kind kind;
	struct http_conn http;
	struct list order;           /* in WAITING, LINGERING, GRAVEYARD */
	struct list same;            /* in ADDRESS */
	struct web_address *address; /* NULL: not counted */
	int64_t due_ms;
	unsigned progress; /* of HTTP when it was put into its list */
	uint32_t events;   /* what epoll waits for; 0: not known there */
	bool is_dead;
};

struct web_worker {
	struct web_worker_options options;
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;
	int epoll, wake;
	int reserve; /* given up to be able to accept, and to close at once */
	enum kind wake_kind;
	struct listener **listeners; /* owned */
	size_t num_listeners;
	struct http_desk desk;
	struct web_counts counts;
	struct web_addresses *addresses; /* owned */
	struct conn *spare;              /* owned */
	struct list waiting, lingering, graveyard;
	unsigned num;
	int64_t expired_ms; /* of the last look */
};

/* --- connections --- */

static bool is_counted(const struct web_worker *w, const struct addr *a)
{
	const struct tracker_policy *p = w->options.site->policy;

	if (!p->limits_private && addr_is_local(a))
		return false;
	for (unsigned i = 0; i < p->num_proxies; i++)
		if (subnet_has(&p->proxies[i], a))
			return false;
	return true;
}

static void drop(struct web_worker *w, struct conn *c)
{
	if (c->address)
		web_address_remove(c->address, &c->same);
	list_remove(&c->order);
	list_push_back(&w->graveyard, &c->order);
	c->is_dead = true;
	http_conn_release(&c->http);
	w->num--;
}

static void bury(struct web_worker *w)
{
	struct list *l;

	while ((l = list_pop_front(&w->graveyard)))
		free(list_entry(l, struct conn, order));
}

static void make_room(struct web_worker *w, const struct addr *a)
{
	struct web_address *e;
	struct conn *oldest = NULL;

	if (is_counted(w, a)) {
		e = web_address_of(w->addresses, a);
		if (e->num >= w->options.per_address)
			oldest = list_first(&e->conns, struct conn, same);
		w->spare->address = e;
		web_address_add(e, &w->spare->same);
	}
	if (!oldest && w->num >= w->options.max_conns) {
		oldest = list_first(&w->lingering, struct conn, order);
		if (!oldest)
			oldest = list_first(&w->waiting, struct conn, order);
	}
	if (!oldest)
		return;
	web_count(&w->counts.over_cap);
	drop(w, oldest);
}

/* Puts C where it belongs in time. */
static void file(struct web_worker *w, struct conn *c)
{
	bool lingers = c->http.is_lingering;

	c->progress = c->http.progress;
	c->due_ms = w->desk.asker.now_ms +
		    (lingers ? LIMIT_WEB_LINGER_MS : w->options.idle_ms);
	list_remove(&c->order);
	list_push_back(lingers ? &w->lingering : &w->waiting, &c->order);
	if (c->address) {
		list_remove(&c->same);
		list_push_back(&c->address->conns, &c->same);
	}
}

static bool wait_for(struct web_worker *w, struct conn *c,
		     enum conn_wants wants)
{
	struct epoll_event e = { .data.ptr = c };
	int op = c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	e.events = wants == CONN_WANTS_WRITE ? EPOLLOUT : EPOLLIN;
	if (c->events == e.events)
		return true;
	c->events = e.events;
	return epoll_ctl(w->epoll, op, c->http.fd, &e) == 0;
}

static void on_conn(struct web_worker *w, struct conn *c)
{
	bool was_lingering = c->http.is_lingering;
	enum conn_wants wants;

	if (c->is_dead)
		return;
	/* A long answer may go on while it moves, and not for ever. */
	if (c->http.full && w->desk.asker.now_ms - c->http.full_since_ms >
				    LIMIT_WEB_FULL_TOTAL_MS) {
		web_count(&w->counts.timeouts);
		drop(w, c);
		return;
	}
	wants = http_conn_run(&c->http, &w->desk);
	if (wants == CONN_WANTS_NOTHING || !wait_for(w, c, wants)) {
		drop(w, c);
		return;
	}
	if (c->progress != c->http.progress ||
	    was_lingering != c->http.is_lingering)
		file(w, c);
}

static void new_spare(struct web_worker *w)
{
	w->spare = mem_alloc(sizeof(*w->spare));
	w->spare->kind = KIND_CONN;
	list_init(&w->spare->order);
	list_init(&w->spare->same);
}

/* --- accepting --- */

static void on_fresh(struct web_worker *w, const struct listener *l, int fd,
		     const struct addr *source)
{
	struct conn *c = w->spare;
	struct tls_session *tls = NULL;
	enum conn_wants wants;

	web_count(&w->counts.connections);
	if (l->is_tls) {
		tls = tls_session_new(w->options.tls, fd);
		if (!tls) {
			close(fd);
			return;
		}
	}
	http_conn_init(&c->http, fd, source, tls);
	wants = http_conn_run(&c->http, &w->desk);
	if (wants == CONN_WANTS_NOTHING) {
		http_conn_release(&c->http);
		return;
	}
	make_room(w, source);
	w->num++;
	new_spare(w);
	file(w, c);
	if (!wait_for(w, c, wants))
		drop(w, c);
}

/* No descriptor is free: somebody idle gives one up, or the newcomer is shown
 * out with the reserve. */
static void on_no_descriptor(struct web_worker *w, const struct listener *l)
{
	struct conn *oldest = list_first(&w->waiting, struct conn, order);
	int fd;

	web_count(&w->counts.over_cap);
	if (oldest) {
		drop(w, oldest);
		return;
	}
	close(w->reserve);
	fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	w->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(struct web_worker *w, const struct listener *l)
{
	struct sockaddr_storage ss;
	struct addr source;
	socklen_t len;
	int fd;

	for (unsigned i = 0; i < BATCH; i++) {
		len = sizeof(ss);
		fd = accept4(l->fd, (struct sockaddr *)&ss, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			on_no_descriptor(w, l);
		if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		if (fd < 0)
			return;
		if (addr_from_sockaddr(&source, (struct sockaddr *)&ss, len))
			on_fresh(w, l, fd, &source);
		else
			close(fd);
	}
}

/* --- time --- */

static void expire(struct web_worker *w)
{
	int64_t now = w->desk.asker.now_ms;
	struct conn *c;

	if (now < w->expired_ms + EXPIRE_MS)
		return;
	w->expired_ms = now;
	while ((c = list_first(&w->lingering, struct conn, order)) &&
	       c->due_ms <= now)
		drop(w, c);
	while ((c = list_first(&w->waiting, struct conn, order)) &&
	       c->due_ms <= now) {
		web_count(&w->counts.timeouts);
		drop(w, c);
	}
}

static int wait_ms(const struct web_worker *w)
{
	int64_t now = w->desk.asker.now_ms, due = now + w->options.idle_ms;
	struct conn *a = list_first(&w->waiting, struct conn, order);
	struct conn *b = list_first(&w->lingering, struct conn, order);

	if (a && a->due_ms < due)
		due = a->due_ms;
	if (b && b->due_ms < due)
		due = b->due_ms;
	if (due < w->expired_ms + EXPIRE_MS)
		due = w->expired_ms + EXPIRE_MS;
	return due > now ? (int)(due - now) : 0;
}

static void dispatch(struct web_worker *w, enum kind *source)
{
	switch (*source) {
	case KIND_WAKE:
		break;
	case KIND_LISTENER:
		on_listener(w, (struct listener *)(void *)source);
		break;
	case KIND_CONN:
		on_conn(w, (struct conn *)(void *)source);
		break;
	}
}

static void *run(void *arg)
{
	struct web_worker *w = arg;
	struct epoll_event events[BATCH];
	int n;

	w->desk.asker.now_ms = clock_now_ms();
	while (!atomic_load(&w->is_stopping)) {
		n = epoll_wait(w->epoll, events, BATCH, wait_ms(w));
		w->desk.asker.now_ms = clock_now_ms();
		for (int i = 0; i < n; i++)
			dispatch(w, events[i].data.ptr);
		expire(w);
		bury(w);
		atomic_store_explicit(&w->counts.open, w->num,
				      memory_order_relaxed);
	}
	return NULL;
}

/* --- life --- */

static int watch(struct web_worker *w, int fd, enum kind *source)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = source };

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

struct web_worker *web_worker_new(const struct web_worker_options *options)
{
	struct web_worker *w = mem_alloc(sizeof(*w));

	w->options = *options;
	w->wake_kind = KIND_WAKE;
	list_init(&w->waiting);
	list_init(&w->lingering);
	list_init(&w->graveyard);
	w->addresses = web_addresses_new();
	http_desk_init(&w->desk, options->site, &w->counts);
	new_spare(w);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (w->epoll < 0 || w->wake < 0 || w->reserve < 0 ||
	    watch(w, w->wake, &w->wake_kind)) {
		web_worker_free(w);
		return NULL;
	}
	return w;
}

int web_worker_listen(struct web_worker *w, int fd, bool is_tls)
{
	struct listener *l = mem_alloc(sizeof(*l));

	*l = (struct listener){ KIND_LISTENER, fd, is_tls };
	w->listeners = mem_realloc_array(w->listeners, w->num_listeners + 1,
					 sizeof(struct listener *));
	w->listeners[w->num_listeners++] = l;
	return watch(w, fd, &l->kind);
}

int web_worker_start(struct web_worker *w)
{
	int r = pthread_create(&w->thread, NULL, run, w);

	w->is_started = !r;
	return -r;
}

void web_worker_stop(struct web_worker *w)
{
	uint64_t one = 1;

	if (!w->is_started)
		return;
	atomic_store(&w->is_stopping, true);
	(void)!write(w->wake, &one, sizeof(one)); /* cannot fill up */
	pthread_join(w->thread, NULL);
	w->is_started = false;
}

void web_worker_free(struct web_worker *w)
{
	struct conn *c;

	if (!w)
		return;
	web_worker_stop(w);
	while ((c = list_first(&w->waiting, struct conn, order)) ||
	       (c = list_first(&w->lingering, struct conn, order)))
		drop(w, c);
	bury(w);
	for (size_t i = 0; i < w->num_listeners; i++) {
		close(w->listeners[i]->fd);
		free(w->listeners[i]);
	}
	free(w->listeners);
	free(w->spare);
	web_addresses_free(w->addresses);
	http_desk_release(&w->desk);
	if (w->epoll >= 0)
		close(w->epoll);
	if (w->wake >= 0)
		close(w->wake);
	if (w->reserve >= 0)
		close(w->reserve);
	free(w);
}

void web_worker_stats(struct web_worker *w, struct web_stats *sum)
{
	const struct web_counts *c = &w->counts;

	sum->connections += c->connections;
	sum->requests += c->requests;
	sum->announces += c->announces;
	sum->scrapes += c->scrapes;
	sum->full_scrapes += c->full_scrapes;
	sum->failures += c->failures;
	sum->malformed += c->malformed;
	sum->rate_limited += c->rate_limited;
	sum->denied += c->denied;
	sum->timeouts += c->timeouts;
	sum->over_cap += c->over_cap;
	sum->open += c->open;
}
