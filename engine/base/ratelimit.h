/* engine/base/ratelimit.h: a token bucket for bytes per second. A plain value,
 * one owner; time is an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATELIMIT_BURST_MS 250 /* what may go at once after a pause */

struct ratelimit {
	uint64_t bps;   /* 0: no limit */
	double tokens;  /* bytes; below zero after a large take */
	int64_t now_ms; /* of the last look; 0: none yet */
};

/* Bytes that may go now; 0: wait. */
static inline uint64_t ratelimit_room(struct ratelimit *r, int64_t now_ms)
{
	double most = (double)r->bps * RATELIMIT_BURST_MS / 1000;

	if (!r->bps)
		return UINT64_MAX;
	if (r->now_ms)
		r->tokens +=
			(double)r->bps * (double)(now_ms - r->now_ms) / 1000;
	else
		r->tokens = most;
	r->now_ms = now_ms;
	if (r->tokens > most)
		r->tokens = most;
	return r->tokens >= 1 ? (uint64_t)r->tokens : 0;
}

/* May pass the room: what is over is paid back before the next byte. */
static inline void ratelimit_take(struct ratelimit *r, uint64_t bytes)
{
	if (r->bps)
		r->tokens -= (double)bytes;
}
