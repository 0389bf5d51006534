/* engine/base/worker.h: threads that do what the loop may not: disk, hashes,
 * name look-ups. A worker owns the job in hand and nothing else.
 *
 * Lanes keep kinds of work from starving each other: each lane has threads of
 * its own and runs its jobs in order of submission (with more than one thread:
 * starts them in that order). */
#pragma once

#include "engine/base/loop.h"

enum worker_lane {
	LANE_DISK,    /* pread, pwrite, fsync, stat: may sleep */
	LANE_HASH,    /* SHA-1 and SHA-256 over memory: burns a core */
	LANE_RESOLVE, /* getaddrinfo: may sleep for seconds */
	LANE_STATE,   /* SQLite: one thread */
	LANE_NOTIFY,  /* kernel invalidations: one thread, may wait for reads */
};
#define LANE_COUNT 5

/* Embedded in the object it concerns, which stays alive until done(). */
struct job {
	struct task task;              /* private to the pool */
	void (*run)(struct job *job);  /* worker thread, no loop state */
	void (*done)(struct job *job); /* loop thread; may be NULL, then the
					* job is not touched after run() */
};

struct workers;

/* Threads start with all signals blocked. NULL when they cannot be had. */
struct workers *workers_new(struct loop *loop);

/* Loop thread. Waits for every job submitted, posts their done()s, joins. The
 * caller then runs loop_free, which calls those done()s. */
void workers_free(struct workers *workers);

/* Loop thread, or a worker inside run(). Takes JOB until its done(). */
void worker_submit(struct workers *workers, enum worker_lane lane,
		   struct job *job);
