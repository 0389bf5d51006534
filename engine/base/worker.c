#include "engine/base/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define THREADS_PER_LANE_MAX 4

struct lane {
	struct workers *owner;
	pthread_mutex_t lock; /* leaf: never held across a call */
	pthread_cond_t filled;
	struct task *head, **end; /* guarded by lock */
	bool is_closing;          /* guarded by lock */
	pthread_t threads[THREADS_PER_LANE_MAX];
	int num_threads;
};

struct workers {
	struct loop *loop; /* borrowed */
	struct lane lanes[LANE_COUNT];
};

static void job_done(struct task *task)
{
	struct job *j = container_of(task, struct job, task);

	j->done(j);
}

static struct job *lane_next(struct lane *lane)
{
	struct task *t;

	pthread_mutex_lock(&lane->lock);
	while (!lane->head && !lane->is_closing)
		pthread_cond_wait(&lane->filled, &lane->lock);
	t = lane->head;
	if (t) {
		lane->head = t->next;
		if (!lane->head)
			lane->end = &lane->head;
	}
	pthread_mutex_unlock(&lane->lock);
	return t ? container_of(t, struct job, task) : NULL;
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct job *j;

	while ((j = lane_next(lane))) {
		bool wants_done = j->done != NULL;

		j->run(j);
		if (wants_done) {
			j->task.run = job_done;
			loop_post(lane->owner->loop, &j->task);
		}
	}
	return NULL;
}

static int threads_for(enum worker_lane lane)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	switch (lane) {
	case LANE_DISK:
		return 4; /* they sleep in the kernel, one per request */
	case LANE_HASH:
		return cores < 2 ? 1 : cores > 4 ? 4 : (int)cores;
	case LANE_RESOLVE:
		return 2;
	case LANE_STATE:
	case LANE_NOTIFY:
		return 1;
	}
	return 1;
}

struct workers *workers_new(struct loop *loop)
{
	struct workers *w = mem_alloc(sizeof(*w));
	sigset_t all, before;
	int r = 0;

	w->loop = loop;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < LANE_COUNT; i++) {
		struct lane *lane = &w->lanes[i];
		int n = threads_for((enum worker_lane)i);

		lane->owner = w;
		lane->end = &lane->head;
		pthread_mutex_init(&lane->lock, NULL);
		pthread_cond_init(&lane->filled, NULL);
		for (int k = 0; k < n && !r; k++) {
			r = pthread_create(&lane->threads[k], NULL, lane_main,
					   lane);
			if (!r)
				lane->num_threads++;
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!r)
		return w;
	workers_free(w);
	return NULL;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	for (int i = 0; i < LANE_COUNT; i++) {
		struct lane *lane = &w->lanes[i];

		pthread_mutex_lock(&lane->lock);
		lane->is_closing = true;
		pthread_cond_broadcast(&lane->filled);
		pthread_mutex_unlock(&lane->lock);
		for (int k = 0; k < lane->num_threads; k++)
			pthread_join(lane->threads[k], NULL);
		pthread_mutex_destroy(&lane->lock);
		pthread_cond_destroy(&lane->filled);
	}
	free(w);
}

void worker_submit(struct workers *w, enum worker_lane lane_id, struct job *job)
{
	struct lane *lane = &w->lanes[lane_id];

	CHECK(job->run);
	job->task.next = NULL;
	pthread_mutex_lock(&lane->lock);
	*lane->end = &job->task;
	lane->end = &job->task.next;
	pthread_cond_signal(&lane->filled);
	pthread_mutex_unlock(&lane->lock);
}
