/* tracker/server/web_worker.h: one thread of the web: its listeners, its
 * connections, its epoll. Workers share nothing but the site. */
#pragma once

#include <pthread.h>

#include "tracker/server/http_conn.h"

struct web_worker;

struct web_worker_options {
	const struct http_site *site; /* borrowed */
	struct tls *tls;              /* borrowed; NULL: plain listeners only */
	unsigned max_conns;           /* that wait */
	unsigned per_address;         /* of them, of one address */
	int64_t idle_ms;
};

/* NULL: no descriptor to be had. */
struct web_worker *web_worker_new(const struct web_worker_options *options);
/* Takes FD, a listener that does not block. Before web_worker_start. Returns 0
 * or -errno; FD is taken in any case. */
int web_worker_listen(struct web_worker *w, int fd, bool is_tls);
int web_worker_start(struct web_worker *w); /* returns 0 or -errno */
/* Joins the thread if it was started. */
void web_worker_stop(struct web_worker *w);
/* Stops it; connections end. NULL is harmless. */
void web_worker_free(struct web_worker *w);
/* Adds this worker's. Any thread. */
void web_worker_stats(struct web_worker *w, struct web_stats *sum);
