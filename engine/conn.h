/* engine/conn.h: a byte stream to a peer. TCP today; uTP and encryption take
 * their place behind the same face. Loop thread only.
 *
 * Output is gathered and goes out in one write at the end of the turn of the
 * loop. Input is read into one buffer that all connections share, and handed
 * up in runs as long as the socket gives. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/bytes.h"
#include "engine/base/loop.h"

struct conn_hub; /* what all connections share */
struct conn;

struct conn_hub *conn_hub_new(struct loop *loop);
void conn_hub_free(struct conn_hub *hub); /* every conn is freed by then */

struct conn_events {
	void (*on_connected)(void *arg); /* outgoing alone */
	/* BYTES are borrowed until return; conn_free is allowed inside. */
	void (*on_bytes)(void *arg, struct span bytes);
	/* The unsent bytes fell below the low mark (256 KiB). */
	void (*on_drained)(void *arg);
	/* The stream ended: 0 by the other side, or -errno. Once. The owner
	 * calls conn_free, now or later. */
	void (*on_closed)(void *arg, int r);
};

/* Starts connecting. FROM (may be NULL): local address. NULL: no socket to be
 * had, or refused at once (*r tells). */
struct conn *conn_connect(struct conn_hub *hub, const struct addr *to,
			  const struct addr *from,
			  const struct conn_events *events, void *arg, int *r);
/* Takes FD, a connected non-blocking socket. */
struct conn *conn_adopt(struct conn_hub *hub, int fd,
			const struct conn_events *events, void *arg);
/* Closes. No event follows. Harmless on NULL. */
void conn_free(struct conn *c);

/* Room for LEN bytes at the end of what is to be sent; conn_commit says how
 * many were filled. NULL: over LIMIT_SEND_QUEUE_BYTES, close the peer. */
uint8_t *conn_reserve(struct conn *c, size_t len);
void conn_commit(struct conn *c, size_t len);
/* The same with a copy. False: over the limit. */
bool conn_write(struct conn *c, const void *bytes, size_t len);
size_t conn_unsent(const struct conn *c);
uint64_t conn_sent(const struct conn *c); /* bytes the other end's system took
					   * or will soon */
/* Gives memory back that a burst took: when nothing waits to be sent, and
 * nothing was sent since the last call. Call it now and then. */
void conn_tidy(struct conn *c);

/* Smoothed round trip in ms, 0 if unknown. */
unsigned conn_rtt_ms(const struct conn *c);
