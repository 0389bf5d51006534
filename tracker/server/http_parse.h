/* tracker/server/http_parse.h: the head of a HTTP/1.0 or 1.1 request, as the
 * tracker needs it. No state: the bytes that are here so far are handed in,
 * and again with more behind them until the head is whole; what follows it is
 * the next request (pipelining).
 *
 * Refused: control characters and NUL anywhere, folded lines, a body, a second
 * Host, no Host in HTTP/1.1 (RFC 9112), a head above LIMIT_WEB_HEAD_BYTES.
 * Lines may end with LF alone. Any thread. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"

enum http_method {
	HTTP_METHOD_GET,
	HTTP_METHOD_HEAD,
	HTTP_METHOD_OTHER, /* to be answered with 405 */
};

#define HTTP_FORWARDED_MAX 4

/* All spans are borrowed from the bytes that were parsed. */
struct http_head {
	enum http_method method;
	unsigned minor; /* HTTP/1.MINOR: 0 or 1 */
	bool keeps_alive;
	bool takes_gzip, takes_deflate;
	struct span path;  /* not unescaped; begins with '/' */
	struct span query; /* behind '?', not unescaped */
	struct span host;  /* with its port; empty: none was sent */
	/* Values of X-Forwarded-For; of more, the last ones. */
	struct span forwarded[HTTP_FORWARDED_MAX];
	unsigned num_forwarded;
	size_t len; /* bytes of the head, its empty line with it */
};

/* Returns 0; -EAGAIN: more bytes are needed; or -EBADMSG with *STATUS (400,
 * 413, 414, 431, 505) and a sentence for people in *WHY. */
int http_parse(const uint8_t *bytes, size_t len, struct http_head *out,
	       unsigned *status, const char **why);

/* Undoes %XX ('+' stays). Returns the length, at most S.len, or -EBADMSG when
 * it is no escape or OUT's SIZE is too small. */
int http_unescape(struct span s, uint8_t *out, size_t size);
bool http_span_is(struct span s, const char *text); /* case counts */
