/* engine/base/resolve.h: names to addresses, on workers. Loop thread only. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/worker.h"

struct resolve; /* one look-up under way */

#define RESOLVE_MAX 16 /* addresses per answer */

/*
 * Looks HOST up (numeric addresses answer without a look-up, still through the
 * callback on a later turn). PORT is put into each address. done is called
 * once, unless cancelled: r 0 and n > 0 addresses, borrowed until return, or
 * -EHOSTUNREACH with n == 0 and a reason for people in WHY.
 */
struct resolve *resolve_start(struct loop *loop, struct workers *workers,
			      const char *host, uint16_t port,
			      void (*done)(void *arg, int r,
					   const struct addr *addrs, size_t n,
					   const char *why),
			      void *arg);
/* done() will not be called, and no worker is held up by it any more: cancel
 * before workers_free, or that may wait for a dead name server. Harmless on
 * NULL. */
void resolve_cancel(struct resolve *resolve);
