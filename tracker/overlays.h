/* tracker/overlays.h: the overlays of trackers that announce URLs name, each a
 * client's node on the session's UDP port, begun when its domain is first
 * asked for. At most LIMIT_OVERLAYS of them. Loop thread only. */
#pragma once

#include "engine/base/udp.h"
#include "engine/base/worker.h"
#include "tracker/overlay/kt.h"

#define OVERLAY_FIND_MS 2000 /* then nobody was found */

struct overlays;
struct overlay_query;

struct overlays_options {
	/* overlay=: "host:port" of trackers to begin with, in every domain.
	 * None: root.DOMAIN. Copied. */
	const char *const *bootstrap;
	size_t num_bootstrap;
	bool allow_local; /* trackers on loopback and private nets */
};

/* All are borrowed. */
struct overlays *overlays_new(struct loop *loop, struct workers *workers,
			      struct udp *udp,
			      const struct overlays_options *options);
void overlays_free(struct overlays *o); /* queries end silently; NULL is fine */

/* FOUND->num 0: nobody, in OVERLAY_FIND_MS. Borrowed until return. */
typedef void overlay_found_fn(void *arg, const struct kt_found *found);

/* FN is called once, on a later turn, unless cancelled. NULL: this domain is
 * one too many, or there are too many questions. */
struct overlay_query *overlays_find(struct overlays *o, const char *domain,
				    const struct kad_id *key,
				    overlay_found_fn *fn, void *arg);
void overlay_query_cancel(struct overlay_query *q); /* NULL is harmless */
/* Owners of KEY did not answer: what is remembered of them is not believed. */
void overlays_forget(struct overlays *o, const char *domain,
		     const struct kad_id *key);
/* The node of DOMAIN, begun if need be; NULL: one too many. */
struct kt *overlays_node(struct overlays *o, const char *domain);
