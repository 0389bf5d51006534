/* tests/engine/gate.h: a gate in front of a lane's workers: while it is shut
 * the lane stands still, as if the disk did not answer. */
#pragma once

#include <pthread.h>

#include "tests/engine/raw_peer.h"

#define GATE_THREADS 4 /* no lane has more */

struct gate {
	struct rig *rig;
	pthread_mutex_t lock;
	struct gate_job {
		struct job job;
		struct gate *gate;
	} jobs[GATE_THREADS];
	int num_held;
	bool is_shut;
};

static inline void gate_run(struct job *job)
{
	struct gate *g = container_of(job, struct gate_job, job)->gate;

	pthread_mutex_lock(&g->lock);
	pthread_mutex_unlock(&g->lock);
}

static inline void gate_done(struct job *job)
{
	container_of(job, struct gate_job, job)->gate->num_held--;
}

static inline void gate_shut(struct gate *g, struct rig *r,
			     enum worker_lane lane)
{
	g->rig = r;
	g->is_shut = true;
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_lock(&g->lock);
	for (int i = 0; i < GATE_THREADS; i++) {
		g->jobs[i].gate = g;
		g->jobs[i].job.run = gate_run;
		g->jobs[i].job.done = gate_done;
		g->num_held++;
		worker_submit(r->workers, lane, &g->jobs[i].job);
	}
}

/* Harmless when it is open. */
static inline void gate_open(struct gate *g)
{
	if (g->is_shut)
		pthread_mutex_unlock(&g->lock);
	g->is_shut = false;
	while (g->num_held)
		rig_run(g->rig, 10);
}
