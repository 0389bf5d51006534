/* tracker/overlay/dns_wire.h: DNS messages as bytes (RFC 1035), for TCP, which
 * evdns does not speak. No I/O, no state. Any thread. */
#pragma once

#include "tracker/overlay/dns_answer.h"

#define DNS_HEADER_BYTES 12

struct dns_query {
	uint16_t id;
	bool wants_recursion;      /* comes back as it was */
	bool has_question;         /* the rest is set */
	char name[DNS_NAME_BYTES]; /* no dot at its end */
	unsigned type, class;
};

/* Returns DNS_NOERROR with all of OUT; DNS_FORMERR or DNS_NOTIMP with its id,
 * to be told; or -EBADMSG: no question, and no answer to it. */
int dns_wire_read(const uint8_t *bytes, size_t len, struct dns_query *out);

/* Writes the answer to Q, question first if there is one. Returns the
 * length, or 0: SIZE is too small. */
size_t dns_wire_write(uint8_t *out, size_t size, const struct dns_query *q,
		      const struct dns_answer *a);
