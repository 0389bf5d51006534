/* tracker/server/http_query.h: what the query of an announce or a scrape says
 * (BEP 3, 7, 21, 23, 48). Unknown parameters are skipped; uploaded and
 * downloaded are, too: nothing here depends on them. Any thread. */
#pragma once

#include "tracker/request.h"

#include "engine/base/bytes.h"

struct http_announce {
	struct infohash infohash;
	uint16_t port; /* not 0 */
	/* Bytes; UINT64_MAX when it is not said or -1, as old clients do when
	 * they do not know. */
	uint64_t left;
	enum announce_event event;
	bool is_partial;      /* BEP 21: event=paused, or paused=1 */
	bool is_compact;      /* not compact=0 */
	bool has_num_want;    /* it was given, and not negative */
	unsigned num_want;    /* UINT_MAX at most */
	struct addr ip;       /* ip=; family 0: not given */
	struct addr ip4, ip6; /* ipv4=, ipv6=; the port is theirs or PORT */
};

/* Returns NULL, or why not, for the "failure reason". */
const char *http_query_announce(struct span query, struct http_announce *out);

/* The info_hash parameters, at most LIMIT_WEB_SCRAPE_HASHES, each once and
 * sorted as the answer must be. Returns NULL, or why not. */
const char *http_query_scrape(struct span query,
			      struct infohash out[LIMIT_WEB_SCRAPE_HASHES],
			      unsigned *num);
