/* tracker/server/server_stats.h: what server.h tells of itself, besides what
 * web.h knows: in JSON, for Prometheus, in the log. */
#pragma once

#include <stdatomic.h>

#include "tracker/server/packets.h"
#include "tracker/server/server.h"
#include "tracker/server/web.h"

/* Set before web threads start; then any thread reads it. */
struct server_facts {
	int64_t start_ms;
	struct packets *packets;          /* borrowed, as all; or NULL */
	const struct access_list *access; /* or NULL: all are tracked */
	struct tellq *tellq;              /* or NULL */
	const struct server_plugs *plugs;
	_Atomic int64_t saved_s; /* wall clock; 0: not yet */
	atomic_ullong save_failures;
};

void server_facts_init(struct server_facts *f, int64_t now_ms);
void server_facts_saved(struct server_facts *f, int result, int64_t wall_s);

/* For web_options; ARG is a struct server_facts. Any thread. */
void server_facts_json(void *arg, struct buf *out);
void server_facts_metrics(void *arg, struct buf *out);
void server_facts_log(struct server_facts *f, struct swarms *swarms,
		      struct web *web);
