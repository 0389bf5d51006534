#include "dht/netquota.h"

#include <string.h>

#include "dht/token.h"

#define WINDOW_MS (30 * 60 * 1000)

void netquota_init(struct netquota *q, unsigned max, const uint8_t seed[16])
{
	memset(q, 0, sizeof(*q));
	memcpy(q->key, seed, sizeof(q->key));
	q->max = max;
}

bool netquota_take(struct netquota *q, int64_t now_ms, const struct addr *from)
{
	uint16_t *n;

	if (now_ms - q->window_ms >= WINDOW_MS) {
		memset(q->counts, 0, sizeof(q->counts));
		q->window_ms = now_ms;
	}
	n = &q->counts[siphash(q->key, from->ip, from->family == 4 ? 3 : 8) %
		       NETQUOTA_SLOTS];
	if (*n >= q->max)
		return false;
	++*n;
	return true;
}
