/* tracker/server/http_site.h: what the tracker answers to a request that has
 * been parsed: who is meant, whether it may, and the bytes. No socket, no
 * clock. A site is shared by all web threads and not changed after; an asker
 * and its counters belong to one thread.
 *
 *   /announce, /KEY/announce   BEP 3; KEY is a place of the overlay
 *   /scrape, /KEY/scrape       BEP 48; without info_hash: of all torrents
 *   /                          for people
 *   /stats.json, /metrics      for programs
 *   /robots.txt
 *
 * The address of who asks is the connection's; if that is one of
 * policy.proxies, the last one in X-Forwarded-For that is not. "ip", "ipv4"
 * and "ipv6" of an announce count if that address is local: a seeder behind the
 * tracker's own NAT says how others reach it. */
#pragma once

#include <stdatomic.h>

#include "engine/base/buf.h"
#include "engine/base/random.h"
#include "tracker/server/full_scrape.h"
#include "tracker/server/http_parse.h"
#include "tracker/server/web.h"

/* The fields of struct web_stats, written by one thread, read by any. */
struct web_counts {
	atomic_uint_fast64_t connections, requests, announces, scrapes;
	atomic_uint_fast64_t full_scrapes, failures, malformed, rate_limited;
	atomic_uint_fast64_t denied, timeouts, over_cap;
	atomic_uint open;
};

/* Cheaper than an atomic addition: only one thread writes. */
static inline void web_count(atomic_uint_fast64_t *c)
{
	atomic_store_explicit(c,
			      atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

struct http_site {
	const struct web_options *options; /* borrowed */
	struct tracker_policy *policy;     /* borrowed */
	struct full_scrapes *full;         /* borrowed */
	/* Sums over all threads. */
	void (*stats)(void *arg, struct web_stats *out);
	void *stats_arg;
};

struct http_asker {
	struct addr source; /* of the connection */
	bool is_tls;
	int64_t now_ms;     /* monotonic */
	struct prng random; /* jitter, and where windows of peers begin */
	struct web_counts *counts; /* borrowed */
	uint8_t *peers;            /* owned; room for policy.max_want of both */
};
void http_asker_init(struct http_asker *a, const struct tracker_policy *policy,
		     struct web_counts *counts);
void http_asker_release(struct http_asker *a);

/* Appends the answer to OUT. Returns true if the connection may be kept for
 * another request. *FULL: the body follows in parts (owned by the caller);
 * else NULL. */
bool http_site_answer(const struct http_site *site, struct http_asker *asker,
		      const struct http_head *head, struct buf *out,
		      struct full_scrape **full);
/* The same for what could not be parsed; then the connection is closed. */
void http_site_refuse(const struct http_site *site, struct http_asker *asker,
		      unsigned status, const char *why, struct buf *out);

/* Whose request it is. False: a proxy said nothing that makes sense. */
bool http_site_source(const struct tracker_policy *policy,
		      const struct http_head *head, const struct addr *source,
		      struct addr *out);
