/* tracker/announce.h: one announce at one URL, over each address family that
 * is in use (BEP 7), by HTTP or UDP. Loop thread only. */
#pragma once

#include "engine/base/http.h"
#include "engine/base/udp.h"
#include "engine/base/worker.h"
#include "tracker/request.h"

struct announcer; /* what all announces share */
struct announce;  /* one under way */

/* HTTP and UDP are borrowed; UDP may be NULL: udp:// trackers fail. BIND4,
 * BIND6: local addresses for HTTP; NULL: that family is not used; the
 * unspecified address: any. */
struct announcer *announcer_new(struct loop *loop, struct workers *workers,
				struct http *http, struct udp *udp,
				const struct addr *bind4,
				const struct addr *bind6);
void announcer_free(struct announcer *announcer); /* silently drops announces */

struct announce_options {
	const uint8_t *id; /* "tracker id" of the last answer, or NULL */
	size_t id_len;
	int64_t timeout_ms; /* each family */
	/* Named by the user: may be anywhere. Otherwise a tracker on loopback
	 * must have a path that begins with /announce, and none may redirect
	 * from a global address to a local one. */
	bool is_trusted;
	/* Go there instead of to the URL's host, on the URL's port; HTTP keeps
	 * the host's name. NULL: look the host up. */
	const struct addr *to;
	/* UDP: path and query told instead of the URL's (BEP 41). NULL: those
	 * of the URL. */
	const char *udp_path;
};

struct announce_events {
	/* Accepted; FROM said it. Once for each family that is. */
	void (*on_answer)(void *arg, const struct announce_answer *answer,
			  const struct addr *from);
	/* All is over, and the announce gone. FAILURE: the most telling of
	 * the failures; NULL if there was an answer. */
	void (*on_end)(void *arg, const struct announce_answer *failure);
	void *arg; /* borrowed */
};

/* The events come on later turns; each may cancel. */
struct announce *announce_start(struct announcer *announcer, const char *url,
				const struct announce_request *request,
				const struct announce_options *options,
				const struct announce_events *events);
/* No event any more. Harmless on NULL. */
void announce_cancel(struct announce *announce);
