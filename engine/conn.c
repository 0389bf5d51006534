#include "engine/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"

#define SCRATCH_BYTES   (256u << 10)
#define READS_PER_EVENT 4 /* then other sockets get their turn */
#define LOW_MARK_BYTES  (256u << 10)
#define KEPT_BYTES      (16u << 10) /* of an idle conn's output buffer */

struct conn_hub {
	struct loop *loop;  /* borrowed */
	struct list unsent; /* conns to be flushed at the end of the turn */
	struct event flush; /* active while unsent is not empty */
	uint8_t *scratch;   /* owned; input of the conn being read */
};

struct conn {
	struct conn_hub *hub;
	int fd;
	const struct conn_events *events;
	void *arg;
	struct event readable, writable;
	bool is_connecting, is_closed, is_above_low;
	bool is_busy;   /* something was sent since conn_tidy */
	bool *is_freed; /* set while a callback runs */
	struct list in_unsent;
	uint8_t *out; /* owned */
	size_t out_cap, out_from, out_to;
	uint64_t sent;
};

static void conn_fail(struct conn *c, int r)
{
	if (c->is_closed)
		return;
	c->is_closed = true;
	event_del(&c->readable);
	event_del(&c->writable);
	list_remove(&c->in_unsent);
	c->events->on_closed(c->arg, r);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	uint8_t *scratch = c->hub->scratch;
	bool is_freed = false;

	c->is_freed = &is_freed;
	for (int i = 0; i < READS_PER_EVENT; i++) {
		ssize_t n = recv(c->fd, scratch, SCRATCH_BYTES, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			c->is_freed = NULL;
			conn_fail(c, n ? -errno : 0);
			return;
		}
		c->events->on_bytes(c->arg,
				    (struct span){ scratch, (size_t)n });
		if (is_freed)
			return;
		if (c->is_closed || (size_t)n < SCRATCH_BYTES)
			break;
	}
	c->is_freed = NULL;
}

/* Sends what the socket takes; the rest waits for it to become writable. */
static void conn_flush(struct conn *c)
{
	bool was_above;

	while (c->out_from < c->out_to) {
		ssize_t n = send(c->fd, c->out + c->out_from,
				 c->out_to - c->out_from, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			event_add(&c->writable, NULL);
			break;
		}
		if (n < 0) {
			conn_fail(c, -errno);
			return;
		}
		c->out_from += (size_t)n;
		c->sent += (uint64_t)n;
	}
	if (c->out_from == c->out_to)
		c->out_from = c->out_to = 0;
	was_above = c->is_above_low;
	c->is_above_low = conn_unsent(c) >= LOW_MARK_BYTES;
	if (was_above && !c->is_above_low)
		c->events->on_drained(c->arg);
}

static void finish_connect(struct conn *c)
{
	int err = 0;
	socklen_t len = sizeof(err);

	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		conn_fail(c, -err);
		return;
	}
	c->is_connecting = false;
	event_add(&c->readable, NULL);
	if (conn_unsent(c)) /* written before it stood */
		event_add(&c->writable, NULL);
	c->events->on_connected(c->arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	if (c->is_connecting)
		finish_connect(c);
	else
		conn_flush(c);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct conn_hub *hub = arg;
	struct list todo, *n;

	list_init(&todo);
	list_splice_back(&todo, &hub->unsent);
	while ((n = list_pop_front(&todo))) {
		struct conn *c = list_entry(n, struct conn, in_unsent);

		if (!c->is_connecting &&
		    !event_pending(&c->writable, EV_WRITE, NULL))
			conn_flush(c);
	}
}

struct conn_hub *conn_hub_new(struct loop *loop)
{
	struct conn_hub *hub = mem_alloc(sizeof(*hub));

	hub->loop = loop;
	list_init(&hub->unsent);
	event_assign(&hub->flush, loop_base(loop), -1, 0, on_flush, hub);
	hub->scratch = mem_alloc(SCRATCH_BYTES);
	return hub;
}

void conn_hub_free(struct conn_hub *hub)
{
	if (!hub)
		return;
	CHECK(list_is_empty(&hub->unsent));
	event_del(&hub->flush);
	free(hub->scratch);
	free(hub);
}

static struct conn *conn_new(struct conn_hub *hub, int fd,
			     const struct conn_events *events, void *arg)
{
	struct conn *c = mem_alloc(sizeof(*c));
	int one = 1;

	c->hub = hub;
	c->fd = fd;
	c->events = events;
	c->arg = arg;
	list_init(&c->in_unsent);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	event_assign(&c->readable, loop_base(hub->loop), fd,
		     EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->writable, loop_base(hub->loop), fd, EV_WRITE,
		     on_writable, c);
	return c;
}

struct conn *conn_adopt(struct conn_hub *hub, int fd,
			const struct conn_events *events, void *arg)
{
	struct conn *c = conn_new(hub, fd, events, arg);

	event_add(&c->readable, NULL);
	return c;
}

struct conn *conn_connect(struct conn_hub *hub, const struct addr *to,
			  const struct addr *from,
			  const struct conn_events *events, void *arg, int *r)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct conn *c;
	int fd, one = 1;

	fd = socket(to->family == 6 ? AF_INET6 : AF_INET,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	if (from && from->family == to->family && !addr_is_unspecified(from)) {
		struct addr any_port = *from;

		any_port.port = 0;
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
			   sizeof(one));
		len = addr_to_sockaddr(&any_port, &ss);
		if (bind(fd, (struct sockaddr *)&ss, len))
			goto fail_close;
	}
	len = addr_to_sockaddr(to, &ss);
	if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		goto fail_close;
	c = conn_new(hub, fd, events, arg);
	c->is_connecting = true;
	event_add(&c->writable, NULL);
	return c;

fail_close:
	*r = -errno;
	close(fd);
	return NULL;
fail:
	*r = -errno;
	return NULL;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	if (c->is_freed)
		*c->is_freed = true;
	event_del(&c->readable);
	event_del(&c->writable);
	list_remove(&c->in_unsent);
	if (list_is_empty(&c->hub->unsent))
		event_del(&c->hub->flush);
	/* What was written must leave if it can: a farewell is short. */
	if (!c->is_closed && !c->is_connecting && c->out_from < c->out_to)
		(void)!send(c->fd, c->out + c->out_from,
			    c->out_to - c->out_from, MSG_NOSIGNAL);
	close(c->fd);
	free(c->out);
	free(c);
}

uint8_t *conn_reserve(struct conn *c, size_t len)
{
	size_t unsent = conn_unsent(c);

	if (unsent + len > LIMIT_SEND_QUEUE_BYTES)
		return NULL;
	if (c->out_to + len > c->out_cap && c->out_from) {
		memmove(c->out, c->out + c->out_from, unsent);
		c->out_from = 0;
		c->out_to = unsent;
	}
	if (c->out_to + len > c->out_cap) {
		size_t cap = c->out_cap ? c->out_cap : 4096;

		while (cap < c->out_to + len)
			cap *= 2;
		c->out = mem_realloc_array(c->out, cap, 1);
		c->out_cap = cap;
	}
	return c->out + c->out_to;
}

void conn_commit(struct conn *c, size_t len)
{
	struct conn_hub *hub = c->hub;

	CHECK(c->out_to + len <= c->out_cap);
	c->out_to += len;
	c->is_busy = true;
	if (conn_unsent(c) >= LOW_MARK_BYTES)
		c->is_above_low = true;
	if (c->is_closed || !list_is_empty(&c->in_unsent))
		return;
	if (list_is_empty(&hub->unsent))
		event_active(&hub->flush, EV_TIMEOUT, 0);
	list_push_back(&hub->unsent, &c->in_unsent);
}

bool conn_write(struct conn *c, const void *bytes, size_t len)
{
	uint8_t *p = conn_reserve(c, len);

	if (!p)
		return false;
	memcpy(p, bytes, len);
	conn_commit(c, len);
	return true;
}

size_t conn_unsent(const struct conn *c)
{
	return c->out_to - c->out_from;
}

uint64_t conn_sent(const struct conn *c)
{
	return c->sent;
}

unsigned conn_rtt_ms(const struct conn *c)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (c->is_connecting ||
	    getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return 0;
	return (info.tcpi_rtt + 999) / 1000;
}

void conn_tidy(struct conn *c)
{
	if (!c->is_busy && !conn_unsent(c) && c->out_cap > KEPT_BYTES) {
		free(c->out);
		c->out = NULL;
		c->out_cap = 0;
	}
	c->is_busy = false;
}
