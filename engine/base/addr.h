/* engine/base/addr.h: IPv4 and IPv6 endpoints and their compact forms (BEP 5,
 * 7, 23, 32). A plain value; compare with addr_eq. Any thread.
 * IPv4-mapped IPv6 addresses become IPv4 wherever an addr is made. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t family; /* 4, 6, or 0 for "none" */
	uint8_t ip[16]; /* network order; the first four for IPv4, rest zero */
	uint16_t port;  /* host order */
};

#define ADDR_STR_MAX 64

bool addr_from_sockaddr(struct addr *out, const struct sockaddr *sa,
			socklen_t len);
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out);

/* "1.2.3.4:80", "[::1]:80", "1.2.3.4", "::1" (then port DEFAULT_PORT).
 * Numeric only. Returns 0 or -EINVAL. */
int addr_parse(const char *s, uint16_t default_port, struct addr *out);
/* Splits "host:port", "[v6]:port", "host" without looking anything up.
 * HOST holds SIZE bytes. *port is left alone when there is none.
 * Returns 0 or -EINVAL. */
int addr_split(const char *s, char *host, size_t size, uint16_t *port);
/* "1.2.3.4:80", "[::1]:80"; returns OUT. */
const char *addr_str(const struct addr *a, char out[ADDR_STR_MAX]);
const char *addr_ip_str(const struct addr *a, char out[ADDR_STR_MAX]);

bool addr_eq(const struct addr *a, const struct addr *b);
bool addr_ip_eq(const struct addr *a, const struct addr *b);
uint32_t addr_hash(const struct addr *a);
/* Equal in the first 24 bits (IPv4) or 48 bits (IPv6). */
bool addr_same_subnet(const struct addr *a, const struct addr *b);

bool addr_is_loopback(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, ULA, CGNAT */
bool addr_is_local(const struct addr *a);   /* any of these three */
bool addr_is_multicast(const struct addr *a);
bool addr_is_unspecified(const struct addr *a);
/* Nobody can be there: family none, port 0, unspecified, multicast,
 * broadcast, documentation and reserved ranges. */
bool addr_is_martian(const struct addr *a);

/* Compact: 6 bytes for IPv4, 18 for IPv6, port big-endian; none has 0. */
void addr_from_compact4(struct addr *out, const uint8_t p[6]);
void addr_from_compact6(struct addr *out, const uint8_t p[18]);
size_t addr_to_compact(const struct addr *a, uint8_t out[18]);

/* BEP 40: canonical peer priority, for deciding which of two peers to keep.
 * Symmetric in A and B. 0 when families differ. */
uint32_t addr_priority(const struct addr *a, const struct addr *b);
