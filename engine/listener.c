#include "engine/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

#define ACCEPTS_PER_EVENT 16
#define REST_MS           1000

struct listener {
	struct event event;
	struct timer rest;
	int fd;
	void (*fn)(void *arg, int fd, const struct addr *from);
	void *arg;
};

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct addr from;
		int s = accept4(l->fd, (struct sockaddr *)&ss, &len,
				SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (s < 0 && (errno == EMFILE || errno == ENFILE ||
			      errno == ENOMEM || errno == ENOBUFS)) {
			log_warn("cannot accept peers for now: %s",
				 strerror(errno));
			event_del(&l->event);
			timer_set_ms(&l->rest, REST_MS);
			return;
		}
		if (s < 0)
			return;
		if (addr_from_sockaddr(&from, (struct sockaddr *)&ss, len))
			l->fn(l->arg, s, &from);
		else
			close(s);
	}
}

static void on_rested(struct timer *timer)
{
	event_add(&container_of(timer, struct listener, rest)->event, NULL);
}

int listener_open(struct loop *loop, const struct addr *a,
		  void (*fn)(void *arg, int fd, const struct addr *from),
		  void *arg, struct listener **out)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int one = 1, r, fd;
	struct listener *l;

	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a->family == 6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, 128)) {
		r = -errno;
		close(fd);
		return r;
	}
	l = mem_alloc(sizeof(*l));
	l->fd = fd;
	l->fn = fn;
	l->arg = arg;
	event_assign(&l->event, loop_base(loop), fd, EV_READ | EV_PERSIST,
		     on_acceptable, l);
	event_add(&l->event, NULL);
	timer_init(&l->rest, loop, on_rested);
	*out = l;
	return 0;
}

void listener_close(struct listener *l)
{
	if (!l)
		return;
	event_del(&l->event);
	timer_stop(&l->rest);
	close(l->fd);
	free(l);
}
