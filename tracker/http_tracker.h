/* tracker/http_tracker.h: the tracker protocol over HTTP as text in and out
 * (BEP 3, 7, 21, 23, 24, 31). No I/O. Any thread. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/request.h"

/*
 * Appends to OUT the URL that announces Q at URL, NUL-terminated. FAMILY: 4 or
 * 6, that of the connection it will go over (BEP 7: the other address is told
 * by name). ID: what the tracker called us last time, or {NULL, 0}.
 * Returns 0; -EINVAL when URL has in its query what we must say ourselves: a
 * torrent could make us ask for something else with it; -E2BIG.
 */
int http_tracker_url(const char *url, const struct announce_request *q,
		     int family, const uint8_t *id, size_t id_len,
		     struct buf *out);

/* Fills OUT, initialised before, from a body. Returns out->r. */
int http_tracker_parse(const uint8_t *body, size_t len,
		       struct announce_answer *out);
