/* tracker/overlay/dns_tcp.h: the DNS bridge over TCP, for resolvers that were
 * told to come again that way, or begin so (RFC 7766). One question of a
 * connection at a time, the next ones wait. Loop thread only. */
#pragma once

#include "engine/base/loop.h"
#include "tracker/overlay/dns_desk.h"

struct dns_tcp;

/* Listens at ON. DESK is borrowed. Returns 0 or -errno. */
int dns_tcp_open(struct loop *loop, struct dns_desk *desk,
		 const struct addr *on, struct dns_tcp **out);
/* Before the desk. NULL is harmless. */
void dns_tcp_close(struct dns_tcp *t);
