/* tracker/overlay/dns_limit.h: how often equal questions from one net are
 * answered: LIMIT_DNS_PER_S for each name and /24 (IPv6: /56). Whoever forges
 * a victim's address gets no more than that sent there. The table has a fixed
 * size; what shares a slot by a keyed hash shares its bucket. Time is an
 * argument. One thread at a time. */
#pragma once

#include "engine/base/addr.h"

#define DNS_LIMIT_SLOTS 16384

struct dns_limit {
	uint64_t key[2];
	int64_t full_ms[DNS_LIMIT_SLOTS]; /* when each is full again */
};

void dns_limit_init(struct dns_limit *l, const uint8_t seed[16]);
/* False: no answer. NAME's cases do not matter. */
bool dns_limit_take(struct dns_limit *l, int64_t now_ms,
		    const struct addr *from, const char *name);
