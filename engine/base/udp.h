/* engine/base/udp.h: the one UDP port (both families) and who gets which
 * datagram. Loop thread only.
 *
 * A datagram that begins with 'd' is KRPC. One whose low nibble is 1 and whose
 * type (high nibble) is 0..4 is uTP, if it has at least 20 bytes. The rest
 * goes to the UDP tracker client. A kind nobody registered for is dropped.
 * Several overlays speak KRPC: taps are asked first, and who registered for
 * UDP_KRPC gets what none of them takes. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/list.h"
#include "engine/base/loop.h"

enum udp_kind {
	UDP_KRPC,
	UDP_UTP,
	UDP_TRACKER
};
#define UDP_KIND_COUNT 3

struct udp;

/*
 * Binds PORT on BIND4 and BIND6 (either may be NULL: that family is not used;
 * their own port fields are ignored). PORT 0: the kernel chooses, the same for
 * both families. A family that this machine cannot bind is left out as long as
 * the other one works, but a port that is taken in either family is -EADDRINUSE
 * as a whole, so that the caller can try its next one.
 * Returns 0 or -errno with nothing bound.
 */
int udp_open(struct loop *loop, const struct addr *bind4,
	     const struct addr *bind6, uint16_t port, struct udp **out);
/* No callback is made after this. Legal inside one. Harmless on NULL. */
void udp_close(struct udp *udp);
uint16_t udp_port(const struct udp *udp);
bool udp_has_family(const struct udp *udp, int family); /* 4 or 6 */

enum udp_kind udp_kind_of(const uint8_t *bytes, size_t len); /* len > 0 */

/* BYTES are borrowed until return. */
typedef void udp_receive_fn(void *arg, const struct addr *from,
			    const uint8_t *bytes, size_t len);
void udp_register(struct udp *udp, enum udp_kind kind, udp_receive_fn *fn,
		  void *arg); /* fn NULL: nobody */

/* One of those who look at KRPC first, in the order of their coming. Embedded;
 * a tap may remove itself, and no other one, while it is asked. */
struct udp_tap {
	struct list node;
	/* False: not for us. BYTES are borrowed until return. */
	bool (*take)(struct udp_tap *tap, const struct addr *from,
		     const uint8_t *bytes, size_t len);
};
void udp_add_tap(struct udp *udp, struct udp_tap *tap);
void udp_remove_tap(struct udp_tap *tap); /* before udp_close */

/* Returns 0, -EAGAIN (dropped, as networks do), -EAFNOSUPPORT, -errno. */
int udp_send(struct udp *udp, const struct addr *to, const void *bytes,
	     size_t len);
