/* tracker/overlay/dns_desk.h: questions in, answers out, now or within
 * DNS_DEADLINE_MS; whichever way the bytes go. Equal questions are one lookup.
 * No I/O; time comes from a function. One thread at a time. */
#pragma once

#include "tracker/overlay/dns_answer.h"

#define DNS_DEADLINE_MS 1500

struct dns_desk;
struct dns_wait; /* a question without an answer yet */

struct dns_desk_io {
	int64_t (*now)(void *arg); /* monotonic ms */
	/* dns_desk_next_ms is earlier than it was. May be NULL. */
	void (*wake)(void *arg);
	void *arg; /* borrowed */
};

typedef void dns_reply_fn(void *arg, const struct dns_question *question,
			  const struct dns_answer *answer);

struct dns_desk_options {
	const char *domain; /* copied */
	uint16_t port;      /* of dns_zone */
	bool has_txt;
	/* Where we are an owner ourselves and KT does not know our address
	 * (nobody can tell it on a private net); family 0: not told then. */
	struct addr self4, self6;
};

/* KT is borrowed. */
struct dns_desk *dns_desk_new(struct kt *kt, const struct dns_desk_io *io,
			      const struct dns_desk_options *options);
/* Whoever waits hears what there is to say now. NULL is harmless. */
void dns_desk_free(struct dns_desk *d);
/* self4 or self6, unless it is set. */
void dns_desk_set_self(struct dns_desk *d, const struct addr *self);

/* FN is called once, unless cancelled: before this returns, which is then
 * NULL, or from kt_on_packet, kt_tick, dns_desk_tick or dns_desk_free. It may
 * ask and cancel. */
struct dns_wait *dns_desk_ask(struct dns_desk *d, const char *name,
			      unsigned type, unsigned class, dns_reply_fn *fn,
			      void *arg);
void dns_wait_cancel(struct dns_wait *w); /* NULL is harmless */

void dns_desk_tick(struct dns_desk *d);
int64_t dns_desk_next_ms(const struct dns_desk *d); /* or INT64_MAX */

struct dns_desk_stats {
	uint64_t asked, by_rcode[6];
	uint64_t lookups, late, stale; /* late: past the deadline */
	unsigned waiting;
};
void dns_desk_stats(const struct dns_desk *d, struct dns_desk_stats *out);
