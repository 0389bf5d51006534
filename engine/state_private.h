/* engine/state_private.h: what state.c and state_open.c share. */
#pragma once

#include <pthread.h>

#include "engine/state.h"

struct op; /* state.c */

struct state {
	struct workers *workers; /* borrowed */
	int64_t last_id;         /* given out; loop thread */
	char *dir;               /* owned */
	int lock_fd, torrents_fd;

	/* State lane; main thread before and after. */
	struct state_sql *sql; /* owned */

	pthread_mutex_t lock;              /* leaf: never held across a call */
	struct op *waiting, **waiting_end; /* guarded by lock */
};
