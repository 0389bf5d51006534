/* tracker/server/web_address.h: how many connections of a thread wait for each
 * address (IPv6: each /64, which is one host's), longest waiting first. One
 * thread. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/list.h"

struct web_addresses;
struct web_address {
	struct list chain;
	struct list conns; /* the owner's nodes, longest waiting first */
	unsigned num;
	struct addr addr;
};

struct web_addresses *web_addresses_new(void);
void web_addresses_free(struct web_addresses *t); /* empty by now */
/* The entry of A, made if need be. Lives while it has connections. */
struct web_address *web_address_of(struct web_addresses *t,
				   const struct addr *a);
void web_address_add(struct web_address *e, struct list *conn);
void web_address_remove(struct web_address *e, struct list *conn);
