/*
 * Names to addresses.
 *
 * getaddrinfo cannot be stopped once it runs, so a cancelled look-up lives on
 * as an orphan: its job finds is_cancelled and frees it without a word. A
 * look-up that is cancelled before a worker takes it is not made at all.
 */
#include "engine/base/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "engine/base/mem.h"

struct resolve {
	struct job job;
	char *host; /* owned */
	uint16_t port;
	atomic_bool is_cancelled; /* set on the loop, read by the worker */
	void (*done)(void *arg, int r, const struct addr *addrs, size_t n,
		     const char *why);
	void *arg; /* borrowed */

	/* Written by the worker, read on the loop once the job is done. */
	struct addr addrs[RESOLVE_MAX];
	size_t num_addrs;
	const char *why; /* static */
};

static void finish(struct resolve *r)
{
	if (!r->is_cancelled)
		r->done(r->arg, r->num_addrs ? 0 : -EHOSTUNREACH, r->addrs,
			r->num_addrs, r->why);
	free(r->host);
	free(r);
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

static void look_up(struct job *job)
{
	struct resolve *r = container_of(job, struct resolve, job);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int e;

	if (r->is_cancelled)
		return;
	e = getaddrinfo(r->host, NULL, &hints, &list);
	if (e) {
		r->why = gai_strerror(e);
		return;
	}
	for (struct addrinfo *ai = list; ai; ai = ai->ai_next)
		add(r, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(list);
	if (!r->num_addrs)
		r->why = "no address of a known family";
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
	if (r)
		r->is_cancelled = true;
}
