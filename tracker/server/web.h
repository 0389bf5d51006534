/* tracker/server/web.h: the HTTP side of the tracker: announce, scrape, full
 * scrape, /stats.json, /metrics and a page for people, over HTTP and HTTPS
 * (BEP 3, 7, 23, 24, 31, 48). Threads with a SO_REUSEPORT listener each; a
 * request that is complete when it is accepted is answered without an event
 * loop's help. HTTP/1.0 and 1.1, keep-alive, pipelining. */
#pragma once

#include "engine/base/buf.h"
#include "engine/base/loop.h"
#include "tracker/server/policy.h"

struct web;

struct web_options {
	struct tracker_policy *policy;        /* borrowed */
	const struct addr *binds, *tls_binds; /* with ports */
	size_t num_binds, num_tls_binds;
	const char *cert_path, *key_path; /* PEM; with tls_binds */
	unsigned threads;                 /* 0: one for each core, at most 64 */
	unsigned max_conns;   /* that wait; 0: LIMIT_WEB_CONNECTIONS */
	unsigned per_address; /* of one; 0: LIMIT_WEB_PER_ADDRESS */
	unsigned idle_ms;     /* 0: LIMIT_WEB_IDLE_MS */
	/* What /stats.json and /metrics say besides the swarms' and the web's
	 * own figures: members of an object, `"name":value,...` without braces
	 * around, and whole lines. May be NULL. Called on a web thread, must
	 * lock for itself. */
	void (*describe_json)(void *arg, struct buf *out);
	void (*describe_metrics)(void *arg, struct buf *out);
	/* Who may see stats, metrics and full scrapes; 0: everybody. */
	const struct subnet *stats_from;
	size_t num_stats_from;
	void *arg; /* borrowed */
};

/* OPTIONS is copied, what it points at is borrowed until web_stop. Returns 0,
 * or -errno with WHY for people and nothing bound. */
int web_start(struct loop *loop, const struct web_options *options,
	      struct web **out, char *why, size_t why_size);
/* Where binds[I], or tls_binds[I], ended up when it asked for port 0. */
void web_bound(const struct web *w, bool is_tls, size_t i, struct addr *out);
void web_stop(struct web *w); /* joins the threads; NULL is harmless */
/* Any thread. Certificate and key are read again; new connections use them.
 * Returns 0, or -errno with the old ones still in use. */
int web_reload_tls(struct web *w, char *why, size_t why_size);

struct web_stats {
	uint64_t connections, requests, announces, scrapes, full_scrapes;
	uint64_t failures, malformed, rate_limited, denied, timeouts, over_cap;
	unsigned open; /* connections now */
};
void web_stats(struct web *w, struct web_stats *out);
