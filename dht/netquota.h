/* dht/netquota.h: how many things a subnet (/24, IPv6 /64) has begun here
 * lately, so that one of them cannot fill a store alone. Counts per half an
 * hour in a table of fixed size; subnets that share a slot share the quota. One
 * thread at a time. */
#pragma once

#include "engine/base/addr.h"

#define NETQUOTA_SLOTS 1024

struct netquota {
	uint64_t key[2];
	int64_t window_ms;
	unsigned max;
	uint16_t counts[NETQUOTA_SLOTS];
};

void netquota_init(struct netquota *q, unsigned max, const uint8_t seed[16]);
/* False: it has had its share. */
bool netquota_take(struct netquota *q, int64_t now_ms, const struct addr *from);
