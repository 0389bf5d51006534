/* engine/base/http.h: HTTP and HTTPS GET on our loop (libcurl's multi
 * interface; the only place that knows libcurl). Loop thread only.
 * Verifies TLS, follows at most LIMIT_HTTP_REDIRECTS redirects to http and
 * https alone (and none from https to http), undoes gzip, caps the body after
 * inflating. Takes no proxy from the environment, so that a guard sees where
 * a request really goes. CURL_CA_BUNDLE or SSL_CERT_FILE, if set, name the
 * certificates to trust, as for the curl program. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/loop.h"

struct http;         /* the client: connections, DNS, queue */
struct http_request; /* one GET under way */

struct http *http_new(struct loop *loop, const char *user_agent);
/* Cancels what is under way; no callback is made. Not inside one. */
void http_free(struct http *http);

/* A place that a request is about to go to. Everything borrowed. */
struct http_hop {
	const char *path; /* "/announce": no dots left to resolve, no query */
	const struct addr *to;
	const struct addr *from; /* who redirected here; NULL: nobody */
};

/* May the request go there? NULL: yes, else why not, for people (static).
 * Asked before each connect and again before each request on a connection;
 * must not call into this module. */
typedef const char *http_guard_fn(void *arg, const struct http_hop *hop);

struct http_options {
	size_t max_body;     /* bytes; 0: LIMIT_HTTP_BODY_BYTES */
	int timeout_ms;      /* whole request; 0: 30 s */
	int family;          /* 4, 6, or 0 for either */
	const char *bind_ip; /* local address or NULL; borrowed by http_get */
	const struct addr
		*connect_to; /* go there, keep Host and SNI; or NULL */
	uint64_t range_from, range_len; /* bytes; range_len 0: whole */
	http_guard_fn *guard; /* NULL: anywhere; gets the arg of done */
};

struct http_result {
	int r;               /* 0: an answer came, see status; else -errno:
			      * -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH,
			      * -E2BIG, -EPROTO, -EACCES (TLS), -EPERM (the
			      * guard, or a redirect from https to http) */
	int status;          /* HTTP status */
	const uint8_t *body; /* borrowed until return */
	size_t len;
	const char *why;  /* for people; never NULL */
	struct addr peer; /* who answered, family 0 if nobody */
};

/* DONE is called once, on a later turn, unless cancelled; the request is gone
 * when it is called. NULL and no call: URL is not http(s) or too long.
 * At most LIMIT_HTTP_IN_FLIGHT requests are on the wire, the others wait. */
struct http_request *
http_get(struct http *http, const char *url, const struct http_options *options,
	 void (*done)(void *arg, const struct http_result *result), void *arg);
void http_cancel(struct http_request *request); /* harmless on NULL */
/* Requests that wait for their turn: what is slow now is we. */
bool http_is_full(const struct http *http);
