/* tracker/server/full_scrape.h: the counts of all torrents in one answer,
 * bencoded as a scrape's, made part by part while the client takes them.
 *
 * A dictionary must be sorted and a tracker may hold more torrents than should
 * be sorted at once. So shards are walked for the LIMIT_WEB_FULL_SORTED
 * smallest infohashes above the last one that was sent, those are sent, and
 * the walk begins again: bounded memory, one pass for most trackers.
 *
 * One to a source (an address or /64) in LIMIT_WEB_FULL_MS, and few at a
 * time. struct full_scrapes: any thread. A full_scrape: one at a time. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/server/swarms.h"

struct full_scrapes;
struct full_scrape;

struct full_scrapes *full_scrapes_new(struct swarms *swarms); /* borrowed */
void full_scrapes_free(struct full_scrapes *f); /* none is running */

enum full_coding {
	FULL_PLAIN,
	FULL_GZIP,
	FULL_DEFLATE,
};

struct full_options {
	struct addr source;
	bool is_exempt; /* may ask as often as it likes */
	enum full_coding coding;
	bool is_chunked; /* with the framing of HTTP/1.1 */
	int64_t now_ms;
};

/* Returns 0; -EAGAIN: this source had one, *WAIT_MS until the next; -EBUSY:
 * too many at a time; -ENOMEM. */
int full_scrape_new(struct full_scrapes *f, const struct full_options *options,
		    struct full_scrape **out, int64_t *wait_ms);
/* Appends the next part, which may be nothing. False: that was the last. */
bool full_scrape_next(struct full_scrape *s, struct buf *out);
void full_scrape_free(struct full_scrape *s); /* NULL is harmless */
