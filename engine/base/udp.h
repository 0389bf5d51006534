/* engine/base/udp.h: the one UDP port (both families) and who gets which
 * datagram. Loop thread only.
 *
 * A datagram that begins with 'd' is KRPC. One whose low nibble is 1 and whose
 * type (high nibble) is 0..4 is uTP, if it has at least 20 bytes. The rest
 * goes to the UDP tracker client. A kind nobody registered for is dropped. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/loop.h"

enum udp_kind { UDP_KRPC, UDP_UTP, UDP_TRACKER };
#define UDP_KIND_COUNT 3

struct udp;

/*
 * Binds PORT on BIND4 and BIND6 (either may be NULL: that family is not used).
 * At least one must succeed. Returns 0 or -errno with nothing bound.
 */
int udp_open(struct loop *loop, const struct addr *bind4,
	     const struct addr *bind6, uint16_t port, struct udp **out);
void udp_close(struct udp *udp);
uint16_t udp_port(const struct udp *udp);
bool udp_has_family(const struct udp *udp, int family); /* 4 or 6 */

/* BYTES are borrowed until return. */
typedef void udp_receive_fn(void *arg, const struct addr *from,
			    const uint8_t *bytes, size_t len);
void udp_register(struct udp *udp, enum udp_kind kind, udp_receive_fn *fn,
		  void *arg);

/* Returns 0, -EAGAIN (dropped, as networks do), -EAFNOSUPPORT, -errno. */
int udp_send(struct udp *udp, const struct addr *to, const void *bytes,
	     size_t len);
