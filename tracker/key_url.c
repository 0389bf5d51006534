#include "tracker/key_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/addr.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"

#define HOST_BYTES 256

static bool host_of(const char *url, char host[HOST_BYTES])
{
	const char *from = strstr(url, "://"), *at;
	uint16_t port;
	char *authority;
	int r;

	if (!from)
		return false;
	from += 3;
	authority = mem_strndup(from, strcspn(from, "/?#"));
	at = strrchr(authority, '@');
	r = addr_split(at ? at + 1 : authority, host, HOST_BYTES, &port);
	free(authority);
	return !r;
}

/* What stands before .DOMAIN, without --rN. */
static void set_text(struct key_url *k, const char *host)
{
	size_t len = strlen(host);

	if (len && host[len - 1] == '.')
		len--;
	len -= strlen(k->domain) + 1;
	if (k->what.kind == KT_NAME_KEY && k->what.rank != KT_RANK_ALL)
		len -= strlen("--r0");
	for (size_t i = 0; i < len; i++)
		k->key[i] = host[i] >= 'A' && host[i] <= 'Z'
				    ? (char)(host[i] | 32)
				    : host[i];
	k->key[len] = 0;
}

bool key_url_parse(const char *url, struct key_url *out)
{
	char host[HOST_BYTES];

	memset(out, 0, sizeof(*out));
	if (!host_of(url, host) || !kt_domain_of(host, out->domain))
		return false;
	kt_name_parse(host, out->domain, &out->what);
	if (out->what.kind != KT_NAME_KEY && out->what.kind != KT_NAME_NODE)
		return false;
	set_text(out, host);
	return true;
}

const char *key_url_kin(const struct key_url *k, char out[KEY_KIN_BYTES])
{
	char hex[2 * KAD_ID_BYTES + 1];

	snprintf(out, KEY_KIN_BYTES, "%s.%s",
		 hex_encode(k->what.id.b, KAD_ID_BYTES, hex), k->domain);
	return out;
}

void key_url_path(const struct key_url *k, const char *path, struct buf *out)
{
	if (!path || !path[0] || path[0] == '?')
		buf_add_str(out, "/announce");
	if (path)
		buf_add_str(out, path);
	buf_add_str(out, path && strchr(path, '?') ? "&kt=" : "?kt=");
	buf_add_str(out, k->key);
	buf_add(out, "", 1);
}
