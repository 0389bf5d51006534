/* dht/budget.h: what strangers may cost us. Two buckets for queries, one for
 * each address (IPv6: /64) and one for all, and one for bytes of answers. The
 * table of addresses has a fixed size: addresses that share a slot share its
 * bucket while both ask. Time is an argument. One thread at a time. */
#pragma once

#include <stddef.h>

#include "engine/base/addr.h"

#define BUDGET_SLOTS 2048

enum budget_verdict {
	BUDGET_OK,
	BUDGET_ADDRESS,
	BUDGET_GLOBAL
};

struct budget {
	unsigned queries_per_s, address_per_s, upload_bps;
	unsigned queries_burst, address_burst; /* may be changed after init */
	int64_t queries_us, upload_us; /* when they will be full again */
	uint64_t key[2];
	int64_t address_us[BUDGET_SLOTS];
};

/* 0: the default of limits.h. */
void budget_init(struct budget *b, unsigned queries_per_s,
		 unsigned address_per_s, unsigned upload_bps,
		 const uint8_t seed[16]);
enum budget_verdict budget_query(struct budget *b, int64_t now_ms,
				 const struct addr *from);
/* False: it must not be sent. */
bool budget_reply(struct budget *b, int64_t now_ms, size_t bytes);
