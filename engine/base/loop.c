#include "engine/base/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

struct loop {
	struct event_base *base; /* owned */
	struct event wake;
	int wake_fd; /* eventfd, written when the inbox was empty */
	pthread_t thread;
	atomic_bool has_thread;

	pthread_mutex_t lock;            /* leaf: never held across a call */
	struct task *inbox, **inbox_end; /* guarded by lock */
};

static struct task *inbox_take(struct loop *l)
{
	struct task *t;

	pthread_mutex_lock(&l->lock);
	t = l->inbox;
	l->inbox = NULL;
	l->inbox_end = &l->inbox;
	pthread_mutex_unlock(&l->lock);
	return t;
}

static void inbox_run(struct loop *l)
{
	struct task *t = inbox_take(l);

	while (t) {
		struct task *next = t->next;

		t->next = NULL;
		t->run(t);
		t = next;
	}
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t n;

	/* The counter is only a doorbell; a failed read means none rang. */
	(void)!read(fd, &n, sizeof(n));
	inbox_run(l);
}

struct loop *loop_new(void)
{
	struct loop *l = mem_alloc(sizeof(*l));
	struct event_config *cfg = event_config_new();

	pthread_mutex_init(&l->lock, NULL);
	l->inbox_end = &l->inbox;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cfg) {
		event_config_set_flag(cfg,
				      EVENT_BASE_FLAG_NOLOCK |
					      EVENT_BASE_FLAG_PRECISE_TIMER);
		l->base = event_base_new_with_config(cfg);
		event_config_free(cfg);
	}
	if (l->wake_fd < 0 || !l->base) {
		if (l->wake_fd >= 0)
			close(l->wake_fd);
		if (l->base)
			event_base_free(l->base);
		pthread_mutex_destroy(&l->lock);
		free(l);
		return NULL;
	}
	event_assign(&l->wake, l->base, l->wake_fd, EV_READ | EV_PERSIST,
		     on_wake, l);
	event_add(&l->wake, NULL);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	inbox_run(l);
	event_del(&l->wake);
	event_base_free(l->base);
	close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void own_thread(struct loop *l)
{
	l->thread = pthread_self();
	atomic_store(&l->has_thread, true);
}

void loop_run(struct loop *l)
{
	own_thread(l);
	event_base_loop(l->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

void loop_run_once(struct loop *l, int max_ms)
{
	struct timeval tv = { max_ms / 1000, max_ms % 1000 * 1000 };

	own_thread(l);
	event_base_loopexit(l->base, &tv);
	event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY);
}

void loop_stop(struct loop *l)
{
	event_base_loopbreak(l->base);
}

void loop_post(struct loop *l, struct task *task)
{
	bool was_empty;

	task->next = NULL;
	pthread_mutex_lock(&l->lock);
	was_empty = !l->inbox;
	*l->inbox_end = task;
	l->inbox_end = &task->next;
	pthread_mutex_unlock(&l->lock);
	if (was_empty) {
		uint64_t one = 1;

		/* A full counter has rung already. */
		(void)!write(l->wake_fd, &one, sizeof(one));
	}
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

int64_t loop_now_ms(struct loop *l)
{
	(void)l; /* a vDSO call of some 20 ns: not worth a cache */
	return clock_now_ms();
}

void loop_assert(const struct loop *l)
{
	CHECK(!atomic_load_explicit(&l->has_thread, memory_order_relaxed) ||
	      pthread_equal(l->thread, pthread_self()));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	t->fire(t);
}

void timer_init(struct timer *t, struct loop *l, void (*fire)(struct timer *))
{
	t->loop = l;
	t->fire = fire;
	event_assign(&t->event, l->base, -1, 0, on_timer, t);
}

void timer_set_ms(struct timer *t, int64_t delay_ms)
{
	struct timeval tv;

	if (delay_ms < 0)
		delay_ms = 0;
	tv.tv_sec = delay_ms / 1000;
	tv.tv_usec = delay_ms % 1000 * 1000;
	event_add(&t->event, &tv);
}

bool timer_is_set(const struct timer *t)
{
	return t->loop && event_pending(&t->event, EV_TIMEOUT, NULL);
}

void timer_stop(struct timer *t)
{
	if (t->loop)
		event_del(&t->event);
}
