#include "engine/base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/crc32c.h"
#include "engine/base/mem.h"

/* A block of addresses by its first bytes. */
struct prefix {
	uint8_t bytes[16];
	unsigned bits;
};

static const struct prefix mapped_prefix = {
	{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96
};

static bool prefix_has(const struct prefix *p, const uint8_t *ip)
{
	unsigned whole = p->bits / 8, rest = p->bits % 8;

	if (memcmp(p->bytes, ip, whole))
		return false;
	return !rest || !((p->bytes[whole] ^ ip[whole]) >> (8 - rest));
}

static bool prefixes_have(const struct prefix *p, size_t n, const uint8_t *ip)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (prefix_has(&p[i], ip))
			return true;
	}
	return false;
}

static void addr_set(struct addr *out, uint8_t family, const uint8_t *ip,
		     uint16_t port)
{
	memset(out, 0, sizeof(*out));
	if (family == 6 && prefix_has(&mapped_prefix, ip)) {
		family = 4;
		ip += 12;
	}
	out->family = family;
	memcpy(out->ip, ip, family == 4 ? 4 : 16);
	out->port = port;
}

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa,
			socklen_t len)
{
	struct sockaddr_in6 s6;
	struct sockaddr_in s4;

	memset(out, 0, sizeof(*out));
	if (len >= sizeof(s4) && sa->sa_family == AF_INET) {
		memcpy(&s4, sa, sizeof(s4));
		addr_set(out, 4, (const uint8_t *)&s4.sin_addr,
			 ntohs(s4.sin_port));
		return true;
	}
	if (len >= sizeof(s6) && sa->sa_family == AF_INET6) {
		memcpy(&s6, sa, sizeof(s6));
		addr_set(out, 6, s6.sin6_addr.s6_addr, ntohs(s6.sin6_port));
		return true;
	}
	return false;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
	struct sockaddr_in6 s6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in s4 = { .sin_family = AF_INET };

	memset(out, 0, sizeof(*out));
	if (a->family == 4) {
		memcpy(&s4.sin_addr, a->ip, 4);
		s4.sin_port = htons(a->port);
		memcpy(out, &s4, sizeof(s4));
		return sizeof(s4);
	}
	if (a->family == 6) {
		memcpy(&s6.sin6_addr, a->ip, 16);
		s6.sin6_port = htons(a->port);
		memcpy(out, &s6, sizeof(s6));
		return sizeof(s6);
	}
	return 0;
}

static bool parse_port(const char *s, uint16_t *out)
{
	unsigned v = 0;
	size_t i;

	for (i = 0; s[i]; i++) {
		if (s[i] < '0' || s[i] > '9' || i == 5)
			return false;
		v = v * 10 + (unsigned)(s[i] - '0');
	}
	if (!i || v > UINT16_MAX)
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool is_numeric_v6(const char *host)
{
	uint8_t ip[16];

	return inet_pton(AF_INET6, host, ip) == 1;
}

int addr_split(const char *s, char *host, size_t size, uint16_t *port)
{
	const char *start = s, *end, *colon = strchr(s, ':');
	bool is_v6 = false;
	uint16_t p = 0;
	size_t len;

	if (*s == '[') {
		start++;
		end = strchr(s, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
		is_v6 = true;
	} else if (colon && strchr(colon + 1, ':')) {
		end = s + strlen(s);
		colon = NULL;
		is_v6 = true;
	} else {
		end = colon ? colon : s + strlen(s);
	}
	len = (size_t)(end - start);
	if (!len || len >= size || (colon && !parse_port(colon + 1, &p)))
		return -EINVAL;
	memcpy(host, start, len);
	host[len] = '\0';
	if (is_v6 && !is_numeric_v6(host))
		return -EINVAL;
	if (colon)
		*port = p;
	return 0;
}

int addr_parse(const char *s, uint16_t default_port, struct addr *out)
{
	char host[INET6_ADDRSTRLEN];
	uint16_t port = default_port;
	uint8_t ip[16];

	memset(out, 0, sizeof(*out));
	if (addr_split(s, host, sizeof(host), &port) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET, host, ip) == 1)
		addr_set(out, 4, ip, port);
	else if (inet_pton(AF_INET6, host, ip) == 1)
		addr_set(out, 6, ip, port);
	else
		return -EINVAL;
	return 0;
}

const char *addr_ip_str(const struct addr *a, char out[ADDR_STR_MAX])
{
	int family = a->family == 4 ? AF_INET : AF_INET6;

	if (!a->family || !inet_ntop(family, a->ip, out, ADDR_STR_MAX))
		snprintf(out, ADDR_STR_MAX, "none");
	return out;
}

const char *addr_str(const struct addr *a, char out[ADDR_STR_MAX])
{
	char ip[ADDR_STR_MAX];

	addr_ip_str(a, ip);
	if (a->family == 6)
		snprintf(out, ADDR_STR_MAX, "[%.45s]:%u", ip, a->port);
	else if (a->family == 4)
		snprintf(out, ADDR_STR_MAX, "%.15s:%u", ip, a->port);
	else
		snprintf(out, ADDR_STR_MAX, "none");
	return out;
}

bool addr_ip_eq(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return addr_ip_eq(a, b) && a->port == b->port;
}

/* The finisher of MurmurHash3: every input bit reaches every output bit. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	return x ^ x >> 33;
}

uint32_t addr_hash(const struct addr *a)
{
	uint64_t h = (uint64_t)a->family << 16 | a->port;

	h = mix(h ^ load_be64(a->ip));
	h = mix(h + load_be64(a->ip + 8));
	return (uint32_t)h;
}

bool addr_same_subnet(const struct addr *a, const struct addr *b)
{
	return a->family && a->family == b->family &&
	       !memcmp(a->ip, b->ip, a->family == 6 ? 6 : 3);
}

static bool addr_in(const struct addr *a, const struct prefix *v4, size_t n4,
		    const struct prefix *v6, size_t n6)
{
	if (a->family == 4)
		return prefixes_have(v4, n4, a->ip);
	return a->family == 6 && prefixes_have(v6, n6, a->ip);
}

#define IN(a, v4, v6) addr_in(a, v4, ARRAY_LEN(v4), v6, ARRAY_LEN(v6))

bool addr_is_loopback(const struct addr *a)
{
	static const struct prefix v4[] = { { { 127 }, 8 } };
	static const struct prefix v6[] = { { { [15] = 1 }, 128 } };

	return IN(a, v4, v6);
}

bool addr_is_link_local(const struct addr *a)
{
	static const struct prefix v4[] = { { { 169, 254 }, 16 } };
	static const struct prefix v6[] = { { { 0xfe, 0x80 }, 10 } };

	return IN(a, v4, v6);
}

bool addr_is_private(const struct addr *a)
{
	static const struct prefix v4[] = {
		{ { 10 }, 8 },
		{ { 172, 16 }, 12 },
		{ { 192, 168 }, 16 },
		{ { 100, 64 }, 10 }, /* RFC 6598, behind a carrier's NAT */
	};
	static const struct prefix v6[] = { { { 0xfc }, 7 } };

	return IN(a, v4, v6);
}

bool addr_is_local(const struct addr *a)
{
	return addr_is_loopback(a) || addr_is_private(a) ||
	       addr_is_link_local(a);
}

bool addr_is_multicast(const struct addr *a)
{
	static const struct prefix v4[] = { { { 224 }, 4 } };
	static const struct prefix v6[] = { { { 0xff }, 8 } };

	return IN(a, v4, v6);
}

bool addr_is_unspecified(const struct addr *a)
{
	static const struct prefix v4[] = { { { 0 }, 32 } };
	static const struct prefix v6[] = { { { 0 }, 128 } };

	return IN(a, v4, v6);
}

/* From the IANA special-purpose registries. 198.18.0.0/15 (benchmarks) is left
 * out: laboratories and some VPNs do have hosts there. */
bool addr_is_martian(const struct addr *a)
{
	static const struct prefix v4[] = {
		{ { 0 }, 8 },
		{ { 192, 0, 0 }, 24 }, /* RFC 6890 */
		{ { 192, 0, 2 }, 24 }, /* RFC 5737, as the next two */
		{ { 198, 51, 100 }, 24 },
		{ { 203, 0, 113 }, 24 },
		{ { 224 }, 3 }, /* multicast, class E, broadcast */
	};
	static const struct prefix v6[] = {
		{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* RFC 3849 */
		{ { 0x3f, 0xff }, 20 },             /* RFC 9637 */
	};
	/* Of IPv6 little is given out, so the list is of what may be. */
	static const struct prefix v6_used[] = {
		{ { 0x20 }, 3 },                    /* global unicast */
		{ { 0xfc }, 7 },                    /* private */
		{ { 0xfe, 0x80 }, 10 },             /* link-local */
		{ { 0x00, 0x64, 0xff, 0x9b }, 32 }, /* RFC 6052, RFC 8215 */
		{ { [15] = 1 }, 128 },              /* loopback */
	};

	if (!a->family || !a->port || IN(a, v4, v6))
		return true;
	return a->family == 6 && !IN(a, v4, v6_used);
}

void addr_from_compact4(struct addr *out, const uint8_t p[6])
{
	addr_set(out, 4, p, load_be16(p + 4));
}

void addr_from_compact6(struct addr *out, const uint8_t p[18])
{
	addr_set(out, 6, p, load_be16(p + 16));
}

size_t addr_to_compact(const struct addr *a, uint8_t out[18])
{
	size_t len = a->family == 6 ? 16 : 4;

	if (!a->family)
		return 0;
	memcpy(out, a->ip, len);
	store_be16(out + len, a->port);
	return len + 2;
}

/* BEP 40: of both addresses the part that tells their networks apart is kept
 * whole, at least the first 2 (IPv4) or 6 (IPv6) bytes, plus one byte for each
 * further byte they share; of the rest every other bit. Who owns a network
 * then cannot choose among all its addresses for one with a good priority. */
uint32_t addr_priority(const struct addr *a, const struct addr *b)
{
	size_t len = a->family == 4 ? 4 : 16;
	size_t keep = a->family == 4 ? 2 : 6;
	const struct addr *low = a, *high = b;
	size_t i, shared;
	uint8_t pair[32];
	int order;

	if (!a->family || a->family != b->family)
		return 0;
	order = memcmp(a->ip, b->ip, len);
	if (order > 0 || (!order && a->port > b->port)) {
		low = b;
		high = a;
	}
	if (!order) {
		store_be16(pair, low->port);
		store_be16(pair + 2, high->port);
		return crc32c(pair, 4);
	}
	for (shared = 0; a->ip[shared] == b->ip[shared]; shared++)
		;
	if (keep < shared + 1)
		keep = shared + 1; /* so the mask cannot change the order */
	for (i = 0; i < len; i++) {
		pair[i] = low->ip[i] & (i < keep ? 0xff : 0x55);
		pair[len + i] = high->ip[i] & (i < keep ? 0xff : 0x55);
	}
	return crc32c(pair, 2 * len);
}
