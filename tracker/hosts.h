/* tracker/hosts.h: names of UDP trackers, looked up once for all who ask and
 * remembered for a while. Loop thread only. */
#pragma once

#include "engine/base/resolve.h"

struct hosts;
struct host_query; /* somebody who waits for an address */

struct hosts *hosts_new(struct loop *loop, struct workers *workers);
void hosts_free(struct hosts *hosts); /* silently drops queries */

/*
 * DONE as in resolve_start, PORT in each address; on a later turn even when
 * the answer is known. NULL: too many names.
 */
struct host_query *
hosts_find(struct hosts *hosts, const char *host, uint16_t port,
	   void (*done)(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why),
	   void *arg);
void host_query_cancel(struct host_query *query); /* harmless on NULL */

/* ADDR of HOST did not answer: others come first from now on, and the name is
 * looked up again before its time if there are none. */
void hosts_blame(struct hosts *hosts, const char *host,
		 const struct addr *addr);
