#include "tracker/overlay/names.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/sha.h"

#define HOST_BYTES 254 /* a name with its zero byte, RFC 1035 */
#define NODE_LABEL ".node"

/* Lower case of ASCII alone, whatever the locale; no dot at the end. False:
 * longer than any name. */
static bool fold(const char *in, char *out, size_t size)
{
	size_t len = strlen(in);

	if (len && in[len - 1] == '.')
		len--;
	if (len >= size)
		return false;
	for (size_t i = 0; i < len; i++)
		out[i] = in[i] >= 'A' && in[i] <= 'Z' ? (char)(in[i] | 32)
						      : in[i];
	out[len] = 0;
	return true;
}

void kt_key_id(const char *key, size_t len, struct kad_id *out)
{
	char low[HOST_BYTES];

	if (len >= sizeof(low))
		len = sizeof(low) - 1;
	for (size_t i = 0; i < len; i++)
		low[i] = key[i] >= 'A' && key[i] <= 'Z' ? (char)(key[i] | 32)
							: key[i];
	sha1(low, len, out->b);
}

void kt_infohash_id(const uint8_t infohash[20], struct kad_id *out)
{
	char hex[41];

	sha1(hex_encode(infohash, 20, hex), 40, out->b);
}

void kt_realm(const char *domain, uint8_t out[KT_REALM_BYTES])
{
	struct kad_id id;

	kt_key_id(domain, strlen(domain), &id);
	memcpy(out, id.b, KT_REALM_BYTES);
}

/* "abc" is 0x0..0abc. */
static bool node_id(const char *hex, size_t len, struct kad_id *out)
{
	char digits[2 * KAD_ID_BYTES];

	if (len > 2 && hex[0] == '0' && hex[1] == 'x') {
		hex += 2;
		len -= 2;
	}
	if (!len || len > sizeof(digits))
		return false;
	memset(digits, '0', sizeof(digits));
	memcpy(digits + sizeof(digits) - len, hex, len);
	return hex_decode(digits, sizeof(digits), out->b, sizeof(out->b));
}

/* Labels that a resolver would pass on. */
static bool is_key(const char *key, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		char c = key[i];

		if (c == '.'
			    ? !label
			    : !((c >= 'a' && c <= 'z') ||
				(c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0;
}

static void parse_key(const char *key, size_t len, struct kt_name *out)
{
	out->kind = KT_NAME_KEY;
	out->rank = KT_RANK_ALL;
	if (len > 4 && !memcmp(key + len - 4, "--r", 3) &&
	    key[len - 1] >= '0' && key[len - 1] <= '9') {
		out->rank = key[len - 1] - '0';
		len -= 4;
	}
	if (is_key(key, len))
		kt_key_id(key, len, &out->id);
	else
		out->kind = KT_NAME_BAD;
}

void kt_name_parse(const char *host, const char *domain, struct kt_name *out)
{
	char h[HOST_BYTES], d[KT_DOMAIN_BYTES];
	const size_t node = strlen(NODE_LABEL);
	size_t len, below;

	memset(out, 0, sizeof(*out));
	out->kind = KT_NAME_FOREIGN;
	out->rank = KT_RANK_ALL;
	if (!fold(host, h, sizeof(h)) || !fold(domain, d, sizeof(d)) || !d[0])
		return;
	len = strlen(h);
	below = strlen(d);
	if (len < below || strcmp(h + len - below, d) != 0)
		return;
	if (len == below) {
		out->kind = KT_NAME_APEX;
		return;
	}
	len -= below + 1;
	if (h[len] != '.')
		return;
	h[len] = 0;
	if (!strcmp(h, "root"))
		out->kind = KT_NAME_ROOT;
	else if (len > node && !strcmp(h + len - node, NODE_LABEL))
		out->kind = node_id(h, len - node, &out->id) ? KT_NAME_NODE
							     : KT_NAME_BAD;
	else
		parse_key(h, len, out);
}

bool kt_domain_of(const char *host, char out[KT_DOMAIN_BYTES])
{
	char h[HOST_BYTES];
	const char *at = NULL;

	if (!fold(host, h, sizeof(h)))
		return false;
	/* The last one: a KEY may hold dots, and "bt" as well. */
	for (const char *s = h; (s = strstr(s, ".bt.")); s++)
		at = s;
	if (!at || at == h || !at[4] || strlen(at + 1) >= KT_DOMAIN_BYTES)
		return false;
	memcpy(out, at + 1, strlen(at + 1) + 1);
	return true;
}
