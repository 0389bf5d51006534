/* engine/rate.h: bytes per second of something that comes in bursts. A plain
 * value; loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Smoothed over about two seconds; time in which nothing could flow (nothing
 * was asked for) is not counted, so an idle peer keeps the rate it showed. */
struct rate {
	uint64_t pending; /* bytes since last_ms */
	int64_t last_ms;  /* 0: not started */
	int64_t busy_ms;  /* measured so far, for the first estimate */
	double bps;
};

static inline void rate_add(struct rate *r, uint64_t bytes)
{
	r->pending += bytes;
}

/* Call some times a second. IS_BUSY: could bytes flow since the last call? */
static inline void rate_tick(struct rate *r, int64_t now_ms, bool is_busy)
{
	int64_t dt = now_ms - r->last_ms;
	double now_bps, weight;

	if (!r->last_ms || (!is_busy && !r->pending)) {
		r->last_ms = now_ms;
		return;
	}
	if (dt < 100)
		return;
	now_bps = (double)r->pending * 1000 / (double)dt;
	r->busy_ms += dt;
	weight = (double)dt / (double)(r->busy_ms < 2000 ? r->busy_ms : 2000);
	if (weight > 1)
		weight = 1;
	r->bps += (now_bps - r->bps) * weight;
	r->pending = 0;
	r->last_ms = now_ms;
}

/* For display: what flows now, zero when idle. */
static inline uint64_t rate_shown(const struct rate *r, bool is_busy)
{
	return is_busy ? (uint64_t)r->bps : 0;
}
