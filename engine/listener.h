/* engine/listener.h: a TCP port that accepts. Loop thread only. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/loop.h"

struct listener;

/* Listens on A (port included). FN takes FD, non-blocking. Returns 0 or
 * -errno (-EADDRINUSE). When descriptors run out it rests for a second. */
int listener_open(struct loop *loop, const struct addr *a,
		  void (*fn)(void *arg, int fd, const struct addr *from),
		  void *arg, struct listener **out);
void listener_close(struct listener *l); /* harmless on NULL */
