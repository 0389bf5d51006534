/* engine/fdcache.h: open files of all stores, at most so many at a time.
 *
 * A store keeps a slot (a struct fdfile *) for each of its files. Whoever uses
 * a file holds it between get or add and put. Files that nobody holds wait in
 * the order of their last use, and the oldest is closed when one too many is
 * open. A file that is thrown out while somebody holds it leaves its slot at
 * once and is closed by the last put.
 *
 * Any thread. One leaf lock guards slots, counts and order; it is never held
 * across a syscall. Only new and free are for others than store.c. */
#pragma once

#include <stdbool.h>

#include "engine/base/list.h"

struct fdcache;

struct fdfile {
	struct list idle;     /* private: in the order of last use */
	struct fdfile **slot; /* private: NULL once thrown out */
	unsigned users;       /* private */
	bool is_writable;     /* read-only for the holder, as is fd */
	int fd;
};

struct fdcache *fdcache_new(unsigned max_open); /* max_open > 0 */
void fdcache_free(struct fdcache *c);           /* no store left */

/* The file in SLOT, held; or NULL: none there, or not writable and NEEDS_WRITE.
 */
struct fdfile *fdcache_get(struct fdcache *c, struct fdfile **slot,
			   bool needs_write);
/* Puts FD, which is taken, into SLOT and returns it held. When somebody else
 * was faster and his file will do, that one is returned and FD closed. */
struct fdfile *fdcache_add(struct fdcache *c, struct fdfile **slot, int fd,
			   bool is_writable);
void fdcache_put(struct fdcache *c, struct fdfile *f);
/* Empties SLOT. Before its memory goes away, nobody may hold its file. */
void fdcache_drop(struct fdcache *c, struct fdfile **slot);

unsigned fdcache_num_open(struct fdcache *c);
