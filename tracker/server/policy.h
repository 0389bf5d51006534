/* tracker/server/policy.h: what the UDP and the HTTP server share: the swarms,
 * what is allowed, how answers look. Set up before any worker starts and not
 * changed after, but for the atomics. */
#pragma once

#include <stdatomic.h>

#include "engine/base/addr.h"
#include "tracker/server/access.h"
#include "tracker/server/subnet_limit.h"
#include "tracker/server/swarms.h"
#include "tracker/server/tellq.h"

#define TRACKER_SUBNETS_MAX 64

struct subnet {
	struct addr base;
	uint8_t bits;
};

/* "10.0.0.0/8", "2001:db8::/32", "192.0.2.1". Returns 0 or -EINVAL. */
int subnet_parse(const char *text, struct subnet *out);
bool subnet_has(const struct subnet *s, const struct addr *a);

struct tracker_policy {
	struct swarms *swarms; /* borrowed, as all pointers here */
	struct access_list *access;
	struct tellq *tellq;         /* NULL: there are no other owners */
	const char *domain;          /* of the overlay; NULL: none */
	unsigned interval_s;         /* 1800; answers vary by 10 % */
	unsigned min_interval_s;     /* 900 */
	unsigned num_want, max_want; /* 50, 200: default, most */
	struct subnet_limit *limit;  /* of UDP and HTTP together; NULL: none */
	bool limits_private;         /* private sources, too */
	struct subnet proxies[TRACKER_SUBNETS_MAX];
	unsigned num_proxies; /* whose X-Forwarded-For counts */
	bool allows_full_scrape;
	bool is_access_logged;  /* one line a request, on stdout */
	atomic_bool is_leaving; /* says "retry in" instead of answering */
};
