/*
 * Names to addresses.
 *
 * getaddrinfo cannot be stopped, and with a dead name server it sleeps for ten
 * seconds and more. A worker that called it would hold up the end of the
 * program for as long. So the worker hands it to a thread made for this one
 * look-up and waits for that thread or for a cancel; a thread that nobody
 * waits for any more frees what it holds and is gone, whenever that may be.
 * How many there are at a time is what the lane's threads bound, as before.
 */
#include "engine/base/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>

#include "engine/base/mem.h"

struct resolve {
	struct job job;
	char *host; /* owned; NULL: numeric, answered already */
	uint16_t port;
	void (*done)(void *arg, int r, const struct addr *addrs, size_t n,
		     const char *why);
	void *arg; /* borrowed */

	pthread_mutex_t lock; /* leaf: never held across a call */
	pthread_cond_t changed;
	/* Guarded by lock: */
	unsigned refs; /* the job, and the thread while it runs */
	bool is_cancelled, is_answered;
	struct addr addrs[RESOLVE_MAX];
	size_t num_addrs;
	const char *why; /* static */
};

/* Called with the lock held, which it gives up. */
static void put(struct resolve *r)
{
	bool is_last = --r->refs == 0;

	pthread_mutex_unlock(&r->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
	free(r->host);
	free(r);
}

static void finish(struct resolve *r)
{
	bool is_cancelled;

	pthread_mutex_lock(&r->lock);
	is_cancelled = r->is_cancelled;
	pthread_mutex_unlock(&r->lock);
	/* Answered, or cancelled, or never asked: nobody writes any more what
	 * is read here. */
	if (!is_cancelled)
		r->done(r->arg, r->num_addrs ? 0 : -EHOSTUNREACH, r->addrs,
			r->num_addrs, r->why);
	pthread_mutex_lock(&r->lock);
	put(r);
}

static void on_job_done(struct job *job)
{
	finish(container_of(job, struct resolve, job));
}

static void on_turn(struct task *task)
{
	finish(container_of(task, struct resolve, job.task));
}

static void add(struct resolve *r, const struct sockaddr *sa, socklen_t len)
{
	struct addr a;

	if (r->num_addrs == RESOLVE_MAX || !addr_from_sockaddr(&a, sa, len))
		return;
	a.port = r->port;
	for (size_t i = 0; i < r->num_addrs; i++) {
		if (addr_eq(&r->addrs[i], &a))
			return;
	}
	r->addrs[r->num_addrs++] = a;
}

static void *ask(void *arg)
{
	struct resolve *r = arg;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	int e = getaddrinfo(r->host, NULL, &hints, &list);

	pthread_mutex_lock(&r->lock);
	for (struct addrinfo *ai = e ? NULL : list; ai; ai = ai->ai_next)
		add(r, ai->ai_addr, ai->ai_addrlen);
	if (e)
		r->why = gai_strerror(e);
	else if (!r->num_addrs)
		r->why = "no address of a known family";
	r->is_answered = true;
	pthread_cond_signal(&r->changed);
	put(r);
	if (!e)
		freeaddrinfo(list);
	return NULL;
}

/* Called with the lock held. The thread inherits the worker's signal mask. */
static void start_asking(struct resolve *r)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r->refs++;
	if (pthread_create(&thread, &attr, ask, r)) {
		r->refs--;
		r->why = "no thread for a look-up";
		r->is_answered = true;
	}
	pthread_attr_destroy(&attr);
}

static void look_up(struct job *job)
{
	struct resolve *r = container_of(job, struct resolve, job);

	pthread_mutex_lock(&r->lock);
	if (!r->is_cancelled)
		start_asking(r);
	while (!r->is_answered && !r->is_cancelled)
		pthread_cond_wait(&r->changed, &r->lock);
	pthread_mutex_unlock(&r->lock);
}

struct resolve *resolve_start(struct loop *loop, struct workers *workers,
			      const char *host, uint16_t port,
			      void (*done)(void *arg, int r,
					   const struct addr *addrs, size_t n,
					   const char *why),
			      void *arg)
{
	struct resolve *r = mem_alloc(sizeof(*r));

	loop_assert(loop);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->refs = 1;
	r->port = port;
	r->done = done;
	r->arg = arg;
	r->why = "";
	if (!addr_parse(host, port, &r->addrs[0])) {
		r->addrs[0].port = port;
		r->num_addrs = 1;
		r->job.task.run = on_turn;
		loop_post(loop, &r->job.task);
		return r;
	}
	r->host = mem_strdup(host);
	r->job.run = look_up;
	r->job.done = on_job_done;
	worker_submit(workers, LANE_RESOLVE, &r->job);
	return r;
}

void resolve_cancel(struct resolve *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->is_cancelled = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}
