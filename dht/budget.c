/*
 * A bucket is one number: the time at which it would be full. Taking moves it
 * away by what was taken; it is empty when that is a burst ahead of now.
 */
#include "dht/budget.h"

#include <string.h>

#include "dht/token.h"
#include "engine/base/limits.h"

void budget_init(struct budget *b, unsigned queries_per_s,
		 unsigned address_per_s, unsigned upload_bps,
		 const uint8_t seed[16])
{
	memset(b, 0, sizeof(*b));
	b->queries_per_s =
		queries_per_s ? queries_per_s : LIMIT_DHT_QUERIES_PER_S;
	b->address_per_s =
		address_per_s ? address_per_s : LIMIT_DHT_ADDRESS_PER_S;
	b->upload_bps = upload_bps ? upload_bps : LIMIT_DHT_UPLOAD_BPS;
	b->queries_burst = LIMIT_DHT_QUERIES_BURST;
	b->address_burst = LIMIT_DHT_ADDRESS_BURST;
	memcpy(b->key, seed, sizeof(b->key));
}

static bool take(int64_t *full_us, int64_t now_us, int64_t cost_us,
		 int64_t burst_us)
{
	if (*full_us < now_us)
		*full_us = now_us;
	if (*full_us + cost_us - now_us > burst_us)
		return false;
	*full_us += cost_us;
	return true;
}

enum budget_verdict budget_query(struct budget *b, int64_t now_ms,
				 const struct addr *from)
{
	uint64_t h = siphash(b->key, from->ip, from->family == 4 ? 4 : 8);
	int64_t each = 1000000 / b->address_per_s;
	int64_t all = 1000000 / b->queries_per_s;

	/* Behind one local address there may be many nodes. */
	if (addr_is_loopback(from))
		h += from->port;
	if (!take(&b->address_us[h % BUDGET_SLOTS], now_ms * 1000, each,
		  b->address_burst * each))
		return BUDGET_ADDRESS;
	if (!take(&b->queries_us, now_ms * 1000, all, b->queries_burst * all))
		return BUDGET_GLOBAL;
	return BUDGET_OK;
}

bool budget_reply(struct budget *b, int64_t now_ms, size_t bytes)
{
	return take(&b->upload_us, now_ms * 1000,
		    (int64_t)bytes * 1000000 / b->upload_bps,
		    LIMIT_DHT_UPLOAD_BURST_MS * 1000);
}
