/* tracker/udp_exchange.h: announces over UDP: connection ids, transaction ids,
 * sending again, giving up (BEP 15). Takes packets, time and randomness as
 * arguments; owns no socket, no timer. One thread at a time. */
#pragma once

#include "tracker/request.h"

struct udp_exchange;
struct udp_call; /* one announce under way */

struct udp_exchange_io {
	/* 0, -EAGAIN (lost, as packets are), or -errno: there is no way to
	 * that address. Must not call back. */
	int (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len);
	uint32_t (*random)(void *arg); /* must not be guessable */
	void *arg;                     /* borrowed */
};

struct udp_exchange *udp_exchange_new(const struct udp_exchange_io *io);
void udp_exchange_free(struct udp_exchange *x); /* silently drops calls */

/*
 * Announces REQUEST at TO. PATH: see udp_tracker_announce. Gives up TIMEOUT_MS
 * from now, or when nothing answered the last retry. DONE is called once, from
 * udp_exchange_receive or udp_exchange_tick, unless cancelled; ANSWER is
 * borrowed until return, and the call is gone; it may start and cancel calls
 * but not free X. NULL: too many endpoints.
 */
struct udp_call *udp_exchange_announce(
	struct udp_exchange *x, int64_t now_ms, const struct addr *to,
	const struct announce_request *request, const char *path,
	int64_t timeout_ms,
	void (*done)(void *arg, const struct announce_answer *answer),
	void *arg);
void udp_call_cancel(struct udp_call *call); /* harmless on NULL */

/* A datagram that may be for us. */
void udp_exchange_receive(struct udp_exchange *x, int64_t now_ms,
			  const struct addr *from, const uint8_t *bytes,
			  size_t len);

/* Does what is due; to be called at udp_exchange_next_ms. That may turn out to
 * have been early, when what was due then has ended meanwhile. */
void udp_exchange_tick(struct udp_exchange *x, int64_t now_ms);
int64_t udp_exchange_next_ms(const struct udp_exchange *x); /* or INT64_MAX */
