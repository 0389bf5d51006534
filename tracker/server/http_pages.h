/* tracker/server/http_pages.h: bodies of the pages that are no announce: for
 * people, for programs, for robots. Any thread. */
#pragma once

#include "tracker/server/http_site.h"

/* HOST: as the request named it. SHOWS: counts may be seen by who asks. */
void http_page_index(const struct http_site *site, struct span host,
		     bool is_tls, bool shows, struct buf *out);
void http_page_json(const struct http_site *site, struct buf *out);
void http_page_metrics(const struct http_site *site, struct buf *out);
void http_page_robots(struct buf *out);
/* One figure in Prometheus' text format. HELP has no full stop. */
void http_metric(struct buf *out, const char *name, const char *help,
		 bool is_counter, uint64_t value);
