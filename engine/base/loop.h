/* engine/base/loop.h: the one thread that owns all mutable state.
 *
 * Two doors lead between threads, and there is no third: loop_post (any thread
 * to the loop) and worker_submit (loop to the pool, worker.h). A task is
 * embedded in the object it concerns, so crossing allocates nothing and cannot
 * fail. The loop never blocks: no cold disk read, no hash, no fsync, no SQLite,
 * no kernel notification. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>
#include <event2/event_struct.h>

struct loop;

/* Something to be run once on the loop. Belongs to its embedder, which keeps
 * it alive until run() was called. */
struct task {
	struct task *next;
	void (*run)(struct task *task); /* loop thread */
};

struct loop *loop_new(void); /* NULL: no epoll or eventfd to be had */

/* Any thread, once every other thread has stopped posting. Tasks still in the
 * inbox are run first. */
void loop_free(struct loop *loop);

/* Runs until loop_stop; the calling thread is the loop thread from then on. */
void loop_run(struct loop *loop);

/* Runs what is ready and returns; at most MAX_MS of waiting. For tests. */
void loop_run_once(struct loop *loop, int max_ms);

void loop_stop(struct loop *loop); /* loop thread only */

/* Any thread. Takes TASK until its run() is called, in order of posting. */
void loop_post(struct loop *loop, struct task *task);

struct event_base *loop_base(struct loop *loop);

/* Monotonic milliseconds. Loop thread only. */
int64_t loop_now_ms(struct loop *loop);

/* Ends the program when called on another thread than the loop's. */
void loop_assert(const struct loop *loop);

/* A one-shot timer, embedded. Loop thread only. timer_set moves a running one.
 * After timer_stop the callback is not called. */
struct timer {
	struct event event;
	struct loop *loop;
	void (*fire)(struct timer *timer);
};

void timer_init(struct timer *timer, struct loop *loop,
		void (*fire)(struct timer *timer));
void timer_set_ms(struct timer *timer, int64_t delay_ms);
bool timer_is_set(const struct timer *timer);
void timer_stop(struct timer *timer); /* harmless on a zeroed timer */
