/* tracker/server/http_answer.h: answers as bytes: heads of HTTP, and the
 * bencoded bodies of announces and scrapes (BEP 3, 7, 23, 24, 31, 48), keys
 * sorted. Pure text: who may ask what is http_site's affair. Any thread.
 *
 * Peers come in compact form unless compact=0 was asked for; then they are
 * dictionaries of "ip" and "port" alone, for no peer id is stored here. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/server/swarms.h"

struct http_reply {
	unsigned status;
	const char *type;  /* Content-Type */
	const char *extra; /* whole header lines, each with CRLF; or NULL */
	bool keeps_alive, is_head_only;
};

/* The body is appended between these two. END puts the head before it, from
 * MARK on. */
size_t http_answer_begin(struct buf *out);
void http_answer_end(struct buf *out, size_t mark,
		     const struct http_reply *reply);
/* The head of a body that comes later, in chunks or until the end. */
void http_answer_stream_head(struct buf *out, const struct http_reply *reply,
			     const char *coding, bool is_chunked);
/* Status and sentence, for people. */
void http_answer_text(struct buf *out, const struct http_reply *reply,
		      const char *why);

struct http_peers {
	struct swarms_counts counts;
	unsigned interval_s, min_interval_s;
	struct addr external; /* BEP 24; family 0: not said */
	bool is_compact;
	bool says_peers6; /* also when there are none */
	const uint8_t *peers4, *peers6;
	unsigned num4, num6;
	const char *warning; /* or NULL */
};
void http_answer_peers(struct buf *out, const struct http_peers *p);

#define HTTP_RETRY_NEVER (-1)
/* RETRY_MIN: minutes (BEP 31), HTTP_RETRY_NEVER, 0: not said. */
void http_answer_failure(struct buf *out, const char *why, int retry_min);

/* "d5:filesd", an entry for each infohash in order, "ee". */
void http_answer_scrape_begin(struct buf *out);
void http_answer_scrape_entry(struct buf *out, const struct infohash *infohash,
			      const struct swarms_counts *counts);
void http_answer_scrape_end(struct buf *out);
