#include "tracker/overlay/dns_limit.h"

#include <string.h>

#include "dht/token.h"
#include "engine/base/limits.h"

#define NAME_BYTES 256
#define NET_BYTES  7 /* of a /56; a /24 has three of them */

void dns_limit_init(struct dns_limit *l, const uint8_t seed[16])
{
	memset(l, 0, sizeof(*l));
	memcpy(l->key, seed, sizeof(l->key));
}

bool dns_limit_take(struct dns_limit *l, int64_t now_ms,
		    const struct addr *from, const char *name)
{
	uint8_t text[1 + NET_BYTES + NAME_BYTES] = { from->family };
	int64_t each_ms = 1000 / LIMIT_DNS_PER_S;
	size_t len = 1 + NET_BYTES;
	int64_t *full_ms;

	memcpy(text + 1, from->ip, from->family == 4 ? 3 : NET_BYTES);
	for (; *name && len < sizeof(text); name++)
		text[len++] =
			(uint8_t)(*name >= 'A' && *name <= 'Z' ? *name | 32
							       : *name);
	full_ms = &l->full_ms[siphash(l->key, text, len) % DNS_LIMIT_SLOTS];
	if (*full_ms < now_ms)
		*full_ms = now_ms;
	if (*full_ms + each_ms - now_ms > LIMIT_DNS_BURST * each_ms)
		return false;
	*full_ms += each_ms;
	return true;
}
