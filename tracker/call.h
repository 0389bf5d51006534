/* tracker/call.h: one announce at one URL, wherever that leads: to the host it
 * names, or to the owners of the key it names. The policy for keys stands on
 * top of call.c. Loop thread only. */
#pragma once

#include "tracker/announce.h"
#include "tracker/overlays.h"

struct caller; /* what all calls share */
struct call;

/* Both are borrowed. OVERLAYS NULL: keys are names for DNS. */
struct caller *caller_new(struct loop *loop, struct announcer *announcer,
			  struct overlays *overlays);
void caller_free(struct caller *c); /* silently drops calls; NULL is fine */

#define CALL_NOT_AN_OWNER (-1)

struct call_events {
	/* Accepted; FROM said it, the owner of RANK or CALL_NOT_AN_OWNER. Once
	 * for each owner, or family, that is. */
	void (*on_answer)(void *arg, const struct announce_answer *answer,
			  const struct addr *from, int rank);
	/* All is over, and the call gone. FAILURE: the most telling one; NULL
	 * if there was an answer. */
	void (*on_end)(void *arg, const struct announce_answer *failure);
	void *arg; /* borrowed */
};

struct call_options {
	struct announce_options announce;
	/* Owners that know us already: these are told, all of them, and nobody
	 * is looked up. NULL: see call.c. */
	const struct addr *knowers;
	unsigned num_knowers;
};

/* The events come on later turns; each may cancel. Pointers are borrowed until
 * return. */
struct call *call_start(struct caller *c, const char *url,
			const struct announce_request *request,
			const struct call_options *options,
			const struct call_events *events);
/* No event any more. Harmless on NULL. */
void call_cancel(struct call *call);
