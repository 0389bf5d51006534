/* Goal: the two doors between threads deliver everything once, in order. */
#include "tests/cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/base/loop.h"
#include "engine/base/mem.h"
#include "engine/base/worker.h"

#define POSTERS 4
#define POSTS   5000

struct counted {
	struct task task;
	struct counter *counter;
	int poster, number;
};

struct counter {
	struct loop *loop;
	int next[POSTERS], total;
	struct counted items[POSTERS][POSTS];
};

static void count(struct task *task)
{
	struct counted *c = container_of(task, struct counted, task);

	assert_int_equal(c->number, c->counter->next[c->poster]++);
	if (++c->counter->total == POSTERS * POSTS)
		loop_stop(c->counter->loop);
}

struct poster {
	struct counter *counter;
	int id;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < POSTS; i++) {
		struct counted *c = &p->counter->items[p->id][i];

		*c = (struct counted){ { NULL, count }, p->counter, p->id, i };
		loop_post(p->counter->loop, &c->task);
	}
	return NULL;
}

static void test_post__in_order_from_many_threads(void **state)
{
	struct counter *c = mem_alloc(sizeof(*c));
	pthread_t t[POSTERS];
	struct poster p[POSTERS];

	c->loop = loop_new();
	assert_non_null(c->loop);
	for (int i = 0; i < POSTERS; i++) {
		p[i] = (struct poster){ c, i };
		pthread_create(&t[i], NULL, post_many, &p[i]);
	}
	loop_run(c->loop);
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(c->total, POSTERS * POSTS);
	loop_free(c->loop);
	free(c);
}

struct sum_job {
	struct job job;
	int in, out;
	int *done;
};

static void sum_run(struct job *job)
{
	struct sum_job *s = container_of(job, struct sum_job, job);

	s->out = s->in * 2;
}

static void sum_done(struct job *job)
{
	struct sum_job *s = container_of(job, struct sum_job, job);

	assert_int_equal(s->out, s->in * 2);
	++*s->done;
}

static void test_worker__every_job_done_even_at_shutdown(void **state)
{
	struct loop *l = loop_new();
	struct workers *w = workers_new(l);
	struct sum_job jobs[1000];
	int done = 0;

	assert_non_null(w);
	for (int i = 0; i < 1000; i++) {
		jobs[i] = (struct sum_job){ .job = { .run = sum_run,
						     .done = sum_done },
					    .in = i,
					    .done = &done };
		worker_submit(w, (enum worker_lane)(i % LANE_COUNT),
			      &jobs[i].job);
	}
	loop_run_once(l, 1);
	workers_free(w);
	loop_free(l);
	assert_int_equal(done, 1000);
}

struct tick {
	struct timer timer;
	int fired;
};

static void on_tick(struct timer *timer)
{
	container_of(timer, struct tick, timer)->fired++;
}

static void test_timer__fires_once_and_stops(void **state)
{
	struct loop *l = loop_new();
	struct tick a = { 0 }, b = { 0 };

	timer_init(&a.timer, l, on_tick);
	timer_init(&b.timer, l, on_tick);
	timer_set_ms(&a.timer, 1);
	timer_set_ms(&b.timer, 1);
	timer_stop(&b.timer);
	assert_true(timer_is_set(&a.timer));
	assert_false(timer_is_set(&b.timer));
	for (int i = 0; i < 5; i++)
		loop_run_once(l, 5);
	assert_int_equal(a.fired, 1);
	assert_int_equal(b.fired, 0);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_post__in_order_from_many_threads),
		cmocka_unit_test(test_worker__every_job_done_even_at_shutdown),
		cmocka_unit_test(test_timer__fires_once_and_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
