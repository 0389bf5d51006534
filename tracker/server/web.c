#include "tracker/server/web.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/server/web_worker.h"

#define BACKLOG        4096 /* the kernel takes somaxconn if that is less */
#define DEFER_ACCEPT_S 10   /* then a silent connection is accepted anyway */

struct web {
	struct web_options options; /* a copy */
	struct http_site site;
	struct tls *tls;                /* owned; NULL: HTTP alone */
	struct web_worker **workers;    /* owned */
	unsigned num_workers;           /* made so far */
	struct addr *bound, *tls_bound; /* owned; as binds, ports known */
};

/* --- listeners --- */

static int complain(int r, const char *what, const struct addr *a, char *why,
		    size_t why_size)
{
	char text[ADDR_STR_MAX];

	snprintf(why, why_size, "%s %s: %s", what, addr_str(a, text),
		 strerror(-r));
	return r;
}

static int open_socket(const struct addr *a, bool is_shared)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int one = 1, r;
	int fd = socket(ss.ss_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (is_shared &&
	     setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    (a->family == 6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, (struct sockaddr *)&ss, len)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Our own threads share the port; another tracker on it must not go unseen. */
static int claim(const struct addr *a)
{
	int fd = a->port ? open_socket(a, false) : -1;

	if (!a->port)
		return 0;
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* *A learns its port. */
static int open_listener(struct addr *a)
{
	int fd = open_socket(a, true), one = 1, defer = DEFER_ACCEPT_S, r;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	if (fd < 0)
		return fd;
	/* Both are inherited by, or save work for, what is accepted. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer,
			 sizeof(defer));
	if (listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&ss, &len)) {
		r = -errno;
		close(fd);
		return r;
	}
	if (!a->port)
		addr_from_sockaddr(a, (struct sockaddr *)&ss, len);
	return fd;
}

static int listen_all(struct web *w, struct web_worker *worker,
		      struct addr *binds, size_t num, bool is_tls, char *why,
		      size_t why_size)
{
	int fd, r;

	for (size_t i = 0; i < num; i++) {
		r = worker == w->workers[0] ? claim(&binds[i]) : 0;
		if (r)
			return complain(r, "cannot listen on", &binds[i], why,
					why_size);
		fd = open_listener(&binds[i]);
		r = fd < 0 ? fd : web_worker_listen(worker, fd, is_tls);
		if (r)
			return complain(r, "cannot listen on", &binds[i], why,
					why_size);
	}
	return 0;
}

/* --- life --- */

static void sum_stats(void *arg, struct web_stats *out)
{
	web_stats(arg, out);
}

static unsigned or_default(unsigned asked, unsigned otherwise)
{
	return asked ? asked : otherwise;
}

static int add_worker(struct web *w, unsigned threads, char *why,
		      size_t why_size)
{
	struct web_worker_options o = {
		.site = &w->site,
		.tls = w->tls,
		.max_conns = or_default(w->options.max_conns,
					LIMIT_WEB_CONNECTIONS) /
			     threads,
		.per_address = or_default(w->options.per_address,
					  LIMIT_WEB_PER_ADDRESS),
		.idle_ms = or_default(w->options.idle_ms, LIMIT_WEB_IDLE_MS),
	};
	struct web_worker *worker = web_worker_new(&o);
	int r;

	if (!worker) {
		snprintf(why, why_size, "no file descriptor left");
		return -EMFILE;
	}
	w->workers[w->num_workers++] = worker;
	r = listen_all(w, worker, w->bound, w->options.num_binds, false, why,
		       why_size);
	return r ? r
		 : listen_all(w, worker, w->tls_bound, w->options.num_tls_binds,
			      true, why, why_size);
}

/* Threads take no signals, and SIGPIPE of OpenSSL's writes stays blocked. */
static int start_workers(struct web *w)
{
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < w->num_workers && !r; i++)
		r = web_worker_start(w->workers[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static unsigned thread_count(unsigned asked)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = asked ? asked : cores > 0 ? (unsigned)cores : 1;

	return n > LIMIT_WEB_THREADS ? LIMIT_WEB_THREADS : n;
}

static int set_up(struct web *w, char *why, size_t why_size)
{
	const struct web_options *o = &w->options;
	unsigned threads = thread_count(o->threads);
	int r = 0;

	if (o->num_tls_binds)
		r = tls_new(o->cert_path, o->key_path, &w->tls, why, why_size);
	w->workers = mem_alloc_array(threads, sizeof(*w->workers));
	for (unsigned i = 0; i < threads && !r; i++)
		r = add_worker(w, threads, why, why_size);
	if (r)
		return r;
	r = start_workers(w);
	if (r)
		snprintf(why, why_size, "no thread: %s", strerror(-r));
	return r;
}

int web_start(struct loop *loop, const struct web_options *options,
	      struct web **out, char *why, size_t why_size)
{
	struct web *w = mem_alloc(sizeof(*w));
	int r;

	(void)loop; /* for symmetry: all is done on threads of its own */
	w->options = *options;
	w->bound = mem_dup(options->binds,
			   options->num_binds * sizeof(struct addr));
	w->tls_bound = mem_dup(options->tls_binds,
			       options->num_tls_binds * sizeof(struct addr));
	w->site = (struct http_site){
		.options = &w->options,
		.policy = options->policy,
		.full = full_scrapes_new(options->policy->swarms),
		.stats = sum_stats,
		.stats_arg = w,
	};
	r = set_up(w, why, why_size);
	if (r) {
		web_stop(w);
		return r;
	}
	*out = w;
	return 0;
}

void web_stop(struct web *w)
{
	if (!w)
		return;
	/* All before one is freed: they read each other's counts. */
	for (unsigned i = 0; i < w->num_workers; i++)
		web_worker_stop(w->workers[i]);
	for (unsigned i = 0; i < w->num_workers; i++)
		web_worker_free(w->workers[i]);
	free(w->workers);
	full_scrapes_free(w->site.full);
	tls_free(w->tls);
	free(w->bound);
	free(w->tls_bound);
	free(w);
}

void web_bound(const struct web *w, bool is_tls, size_t i, struct addr *out)
{
	*out = is_tls ? w->tls_bound[i] : w->bound[i];
}

int web_reload_tls(struct web *w, char *why, size_t why_size)
{
	return w->tls ? tls_reload(w->tls, why, why_size) : 0;
}

void web_stats(struct web *w, struct web_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (unsigned i = 0; i < w->num_workers; i++)
		web_worker_stats(w->workers[i], out);
}
