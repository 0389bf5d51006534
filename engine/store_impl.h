/* engine/store_impl.h: the inside of a store, for store.c and store_sync.c. */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "engine/store.h"

/* Marks of a file; who moves them: top of store.c. */
#define STORE_BYTES  1u
#define STORE_NAME   2u
#define STORE_SEEN   4u
#define STORE_GONE   8u
#define STORE_LOST   16u
#define STORE_NAMED  32u
#define STORE_COMMIT 64u

struct store {
	atomic_uint refs;
	struct fdcache *cache;     /* borrowed */
	const struct metainfo *mi; /* borrowed */
	char *dir;                 /* owned */
	bool is_read_only;
	atomic_bool is_nowait_unknown; /* the file system has no RWF_NOWAIT */

	/* One per file, and one for the root. Guarded by the cache. */
	struct fdfile **slots;  /* owned */
	_Atomic uint8_t *marks; /* owned; one per file */

	pthread_mutex_t sync_lock; /* one store_sync at a time; never taken
				    * while another lock is held */
	pthread_mutex_t lock;      /* leaf; the rest is guarded by it */
	char *name;                /* owned; NULL, for ever: mi's names */
	int problem;               /* -errno, or 0 */
	uint32_t problem_file;
	const char *problem_what; /* static */
};

void store_note_problem(struct store *s, uint32_t file, int r,
			const char *what);

/* Path of FILE below DIR. 0 or -ENAMETOOLONG. */
int store_path(struct store *s, uint32_t file, char out[PATH_MAX]);

/* The root, or a file opened as need be, held until fdcache_put. Worker. */
int store_hold_root(struct store *s, bool make, struct fdfile **out);
int store_hold_file(struct store *s, uint32_t file, bool for_write,
		    struct fdfile **out);
