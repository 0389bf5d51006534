/* tracker/server/http_conn.h: one connection of a client: bytes in, answers
 * out, plain or TLS. It knows no event loop: http_conn_run does all that can be
 * done without waiting and says what to wait for.
 *
 * A connection that waits for its next request holds no buffer. One thread. */
#pragma once

#include "tracker/server/http_site.h"
#include "tracker/server/tls.h"

/* What a thread has once for all its connections. */
struct http_desk {
	const struct http_site *site; /* borrowed */
	struct http_asker asker;
	struct buf out;                       /* answers not yet sent */
	uint8_t in[2 * LIMIT_WEB_HEAD_BYTES]; /* requests not yet parsed */
};
void http_desk_init(struct http_desk *d, const struct http_site *site,
		    struct web_counts *counts);
void http_desk_release(struct http_desk *d);

enum conn_wants {
	CONN_WANTS_READ,
	CONN_WANTS_WRITE,
	CONN_WANTS_NOTHING, /* all is said: release it */
};

struct http_conn {
	int fd; /* owned */
	struct addr source;
	struct tls_session *tls;  /* owned; NULL: plain */
	struct buf in;            /* begun requests */
	struct buf out;           /* answers that the socket did not take */
	size_t sent;              /* of OUT */
	struct full_scrape *full; /* owned: an answer that is still made */
	int64_t full_since_ms;
	size_t lingered;   /* bytes read and dropped */
	unsigned progress; /* grows: requests answered, parts sent */
	bool has_unparsed; /* IN holds more than a begun request */
	bool is_last;      /* no request is taken any more */
	bool needs_linger; /* there may be bytes that nobody reads: a close
			    * would reset the answer away */
	bool is_lingering; /* sent and said so; waits for the client's end */
};

/* Takes FD and TLS. FD does not block. */
void http_conn_init(struct http_conn *c, int fd, const struct addr *source,
		    struct tls_session *tls);
void http_conn_release(struct http_conn *c); /* closes */
enum conn_wants http_conn_run(struct http_conn *c, struct http_desk *d);
