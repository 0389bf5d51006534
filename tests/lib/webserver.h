/* tests/lib/webserver.h: an HTTP server of a few lines on the loop under test.
 * The test answers each request by hand: now, later, in pieces, or never. */
#pragma once

#include <stddef.h>

#include "engine/base/addr.h"
#include "engine/base/loop.h"

struct webserver;
struct webrequest; /* gone with its connection; the server owns it */

/* Listens on loopback, a port of the kernel's choice. family 4 or 6; NULL when
 * this machine does not have it. HEAD is the request up to the empty line. */
struct webserver *webserver_new(struct loop *loop, int family,
				void (*on_request)(void *arg,
						   struct webrequest *request,
						   const char *head),
				void *arg);
void webserver_free(struct webserver *server);
uint16_t webserver_port(const struct webserver *server);
unsigned webserver_connections(const struct webserver *server); /* so far */

void webrequest_from(const struct webrequest *request, struct addr *out);
void webrequest_send(struct webrequest *request, const void *bytes, size_t len);
/* "200 OK" with a Content-Length. HEADERS: more of them, each with \r\n. */
void webrequest_reply(struct webrequest *request, const char *status,
		      const char *headers, const void *body, size_t len);
/* Once everything is written. */
void webrequest_close(struct webrequest *request);
