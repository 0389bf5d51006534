#include "tracker/server/overlay_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

struct entry {
	struct overlay_way way;
	uint16_t len;
	uint8_t bytes[LIMIT_UDP_REQUEST_BYTES];
};

struct overlay_queue {
	pthread_mutex_t lock;  /* of num, is_posted, and filling */
	struct entry *entries; /* owned; a ring */
	unsigned num;
	bool is_posted;
	unsigned first;    /* loop thread: read next */
	unsigned next;     /* under the lock: written next */
	struct loop *loop; /* borrowed */
	struct task task;
	void (*on_overlay)(void *arg, const struct addr *from,
			   const uint8_t *bytes, size_t len);
	void *arg;                     /* borrowed */
	const struct overlay_way *way; /* of what is handed out; or NULL */
	bool is_freed; /* loop thread: the task in the inbox frees it */
};

static void release(struct overlay_queue *q)
{
	pthread_mutex_destroy(&q->lock);
	free(q->entries);
	free(q);
}

/* Hands out what was there when it began, so that a flood cannot keep the loop
 * here. An entry is free for others once it was handed out. */
static void on_task(struct task *task)
{
	struct overlay_queue *q =
		container_of(task, struct overlay_queue, task);
	unsigned n, rest;

	pthread_mutex_lock(&q->lock);
	n = q->num;
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < n && !q->is_freed; i++) {
		struct entry *e = &q->entries[q->first];

		q->way = &e->way;
		q->on_overlay(q->arg, &e->way.from, e->bytes, e->len);
		q->way = NULL;
		q->first = (q->first + 1) % LIMIT_OVERLAY_QUEUE;
		pthread_mutex_lock(&q->lock);
		q->num--;
		pthread_mutex_unlock(&q->lock);
	}
	if (q->is_freed) {
		release(q);
		return;
	}
	pthread_mutex_lock(&q->lock);
	rest = q->num;
	q->is_posted = rest > 0;
	pthread_mutex_unlock(&q->lock);
	if (rest)
		loop_post(q->loop, task);
}

struct overlay_queue *
overlay_queue_new(struct loop *loop,
		  void (*on_overlay)(void *arg, const struct addr *from,
				     const uint8_t *bytes, size_t len),
		  void *arg)
{
	struct overlay_queue *q = mem_alloc(sizeof(*q));

	pthread_mutex_init(&q->lock, NULL);
	q->entries = mem_alloc_array(LIMIT_OVERLAY_QUEUE, sizeof(*q->entries));
	q->loop = loop;
	q->task.run = on_task;
	q->on_overlay = on_overlay;
	q->arg = arg;
	return q;
}

void overlay_queue_free(struct overlay_queue *q)
{
	if (!q)
		return;
	if (!q->is_posted) {
		release(q);
		return;
	}
	q->is_freed = true;
}

bool overlay_queue_push(struct overlay_queue *q, const struct overlay_way *way,
			const uint8_t *bytes, size_t len)
{
	bool post = false, fits;
	struct entry *e;

	pthread_mutex_lock(&q->lock);
	fits = q->num < LIMIT_OVERLAY_QUEUE && len <= LIMIT_UDP_REQUEST_BYTES;
	if (fits) {
		e = &q->entries[q->next];
		e->way = *way;
		e->len = (uint16_t)len;
		memcpy(e->bytes, bytes, len);
		q->next = (q->next + 1) % LIMIT_OVERLAY_QUEUE;
		q->num++;
		post = !q->is_posted;
		q->is_posted = true;
	}
	pthread_mutex_unlock(&q->lock);
	if (post)
		loop_post(q->loop, &q->task);
	return fits;
}

const struct overlay_way *overlay_queue_way(const struct overlay_queue *q)
{
	return q->way;
}
