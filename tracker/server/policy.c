#include "tracker/server/policy.h"

#include <errno.h>
#include <string.h>

int subnet_parse(const char *text, struct subnet *out)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[ADDR_STR_MAX];
	unsigned bits = 0, most;

	if (!len || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	if (addr_parse(host, 0, &out->base) || out->base.port)
		return -EINVAL;
	most = out->base.family == 4 ? 32 : 128;
	out->bits = (uint8_t)most;
	if (!slash)
		return 0;
	if (!slash[1] || strlen(slash + 1) > 3)
		return -EINVAL;
	for (const char *p = slash + 1; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		bits = bits * 10 + (unsigned)(*p - '0');
	}
	if (bits > most)
		return -EINVAL;
	out->bits = (uint8_t)bits;
	return 0;
}

bool subnet_has(const struct subnet *s, const struct addr *a)
{
	unsigned whole = s->bits / 8, rest = s->bits % 8;

	if (a->family != s->base.family ||
	    memcmp(a->ip, s->base.ip, whole) != 0)
		return false;
	return !rest || !((a->ip[whole] ^ s->base.ip[whole]) >> (8 - rest));
}
