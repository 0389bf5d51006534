/* tracker/server/subnet_limit.h: how often a subnet (/24, IPv6 /48) may ask. A
 * table of fixed size, shared by all threads without a lock: a flood of subnets
 * costs no memory. Subnets that find no place of their own share one, so they
 * may be limited early, never late.
 *
 * Any thread. */
#pragma once

#include "engine/base/addr.h"

struct subnet_limit;

/* RATE announces a second, BURST at once after a pause (at least one). NULL
 * for RATE 0: no limit. */
struct subnet_limit *subnet_limit_new(unsigned rate, unsigned burst);
void subnet_limit_free(struct subnet_limit *l);
/* True: it may ask, and this was counted. L may be NULL. */
bool subnet_limit_take(struct subnet_limit *l, int64_t now_ms,
		       const struct addr *from);
/* True at most once a second for a subnet: it may be told that it asks too
 * often. Subnets may share a turn. L is not NULL. */
bool subnet_limit_tell(struct subnet_limit *l, int64_t now_ms,
		       const struct addr *from);
