/* tracker/server/overlay_queue.h: datagrams of the overlay on their way from
 * packet threads to the loop. A ring of LIMIT_OVERLAY_QUEUE; what does not fit
 * is dropped, as networks do.
 *
 * overlay_queue_push: any thread. The rest: loop thread. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/loop.h"

struct overlay_queue;

/* How a datagram came, so that its answer may go back the same way. */
struct overlay_way {
	struct addr from;
	struct addr here; /* as sent to; family 0: the socket knows */
	int fd;           /* borrowed: the socket */
};

struct overlay_queue *
overlay_queue_new(struct loop *loop,
		  void (*on_overlay)(void *arg, const struct addr *from,
				     const uint8_t *bytes, size_t len),
		  void *arg);
/* Nobody pushes any more. on_overlay is not called again. */
void overlay_queue_free(struct overlay_queue *q);
/* LEN is at most LIMIT_UDP_REQUEST_BYTES. False: dropped. */
bool overlay_queue_push(struct overlay_queue *q, const struct overlay_way *way,
			const uint8_t *bytes, size_t len);
/* That of the datagram which on_overlay is being called for; NULL: it is not.
 */
const struct overlay_way *overlay_queue_way(const struct overlay_queue *q);
