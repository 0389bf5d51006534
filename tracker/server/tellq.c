#include "tracker/server/tellq.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

/* Two halves: workers fill one while the loop reads the other. */
struct tellq {
	pthread_mutex_t lock; /* of filling, num, is_posted, dropped */
	struct telling *filling, *reading; /* owned; LIMIT_TELLINGS each */
	size_t num;
	bool is_posted;
	uint64_t dropped;
	struct loop *loop; /* borrowed */
	struct task task;
	void (*on_tellings)(void *arg, const struct telling *t, size_t n);
	void *arg;     /* borrowed */
	bool is_freed; /* loop thread: the task in the inbox frees it */
};

static void release(struct tellq *q)
{
	pthread_mutex_destroy(&q->lock);
	free(q->filling);
	free(q->reading);
	free(q);
}

static void on_task(struct task *task)
{
	struct tellq *q = container_of(task, struct tellq, task);
	struct telling *full;
	size_t n;

	pthread_mutex_lock(&q->lock);
	full = q->filling;
	q->filling = q->reading;
	q->reading = full;
	n = q->num;
	q->num = 0;
	q->is_posted = false;
	pthread_mutex_unlock(&q->lock);
	if (q->is_freed)
		release(q);
	else if (n)
		q->on_tellings(q->arg, full, n);
}

struct tellq *tellq_new(struct loop *loop,
			void (*on_tellings)(void *arg, const struct telling *t,
					    size_t n),
			void *arg)
{
	struct tellq *q = mem_alloc(sizeof(*q));

	pthread_mutex_init(&q->lock, NULL);
	q->filling = mem_alloc_array(LIMIT_TELLINGS, sizeof(*q->filling));
	q->reading = mem_alloc_array(LIMIT_TELLINGS, sizeof(*q->reading));
	q->loop = loop;
	q->task.run = on_task;
	q->on_tellings = on_tellings;
	q->arg = arg;
	return q;
}

void tellq_free(struct tellq *q)
{
	if (!q)
		return;
	if (!q->is_posted) {
		release(q);
		return;
	}
	q->is_freed = true;
}

void tellq_push(struct tellq *q, const struct telling *t)
{
	bool post = false;

	pthread_mutex_lock(&q->lock);
	if (q->num == LIMIT_TELLINGS) {
		q->dropped++;
	} else {
		q->filling[q->num++] = *t;
		post = !q->is_posted;
		q->is_posted = true;
	}
	pthread_mutex_unlock(&q->lock);
	if (post)
		loop_post(q->loop, &q->task);
}

uint64_t tellq_dropped(struct tellq *q)
{
	uint64_t n;

	pthread_mutex_lock(&q->lock);
	n = q->dropped;
	pthread_mutex_unlock(&q->lock);
	return n;
}
