/*
 * A connection has LIMIT_DNS_TCP_MS for each question, from the end of the one
 * before it to its last byte, however slowly they come. There are at most
 * LIMIT_DNS_TCP_CONNS; one more ends the oldest. One that asks on and on and
 * takes no answer ends, too.
 */
#include "tracker/overlay/dns_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/overlay/dns_wire.h"

#define BACKLOG 64
#define OUT_MAX (16 * LIMIT_DNS_ANSWER_BYTES) /* unsent */

struct dns_tcp {
	struct loop *loop;     /* borrowed */
	struct dns_desk *desk; /* borrowed */
	struct evconnlistener *listener;
	struct list conns; /* oldest first */
	unsigned num;
};

struct conn {
	struct list node;
	struct dns_tcp *owner;
	struct bufferevent *bev; /* owned; its socket, too */
	struct timer timer;
	struct dns_query query;
	struct dns_wait *wait;
	bool is_asking, is_closing;
};

static void conn_free(struct conn *c)
{
	dns_wait_cancel(c->wait);
	timer_stop(&c->timer);
	bufferevent_free(c->bev);
	list_remove(&c->node);
	c->owner->num--;
	free(c);
}

static void on_timer(struct timer *timer)
{
	conn_free(container_of(timer, struct conn, timer));
}

static void send_answer(struct conn *c, const struct dns_answer *a)
{
	uint8_t out[2 + LIMIT_DNS_ANSWER_BYTES];
	size_t n = dns_wire_write(out + 2, sizeof(out) - 2, &c->query, a);

	store_be16(out, (uint16_t)n);
	if (n)
		bufferevent_write(c->bev, out, n + 2);
	timer_set_ms(&c->timer, LIMIT_DNS_TCP_MS);
}

static void next(struct conn *c);

static void on_reply(void *arg, const struct dns_question *q,
		     const struct dns_answer *answer)
{
	struct conn *c = arg;
	bool is_later = c->wait != NULL;

	c->wait = NULL;
	c->is_asking = false;
	send_answer(c, answer);
	if (is_later)
		next(c);
}

static void ask(struct conn *c, const uint8_t *bytes, size_t len)
{
	struct dns_answer error = { .rcode = DNS_FORMERR };
	int r = dns_wire_read(bytes, len, &c->query);
	struct dns_wait *wait;

	if (r < 0) {
		c->is_closing = true;
		return;
	}
	if (r) {
		error.rcode = (enum dns_rcode)r;
		send_answer(c, &error);
		return;
	}
	c->is_asking = true;
	wait = dns_desk_ask(c->owner->desk, c->query.name, c->query.type,
			    c->query.class, on_reply, c);
	if (c->is_asking)
		c->wait = wait;
}

/* Questions that are here as a whole, one after the other. C may be gone after
 * this. */
static void next(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer *out = bufferevent_get_output(c->bev);
	uint8_t bytes[2 + LIMIT_DNS_ANSWER_BYTES];

	while (!c->is_asking && !c->is_closing) {
		size_t len;

		if (evbuffer_copyout(in, bytes, 2) < 2)
			return;
		len = load_be16(bytes);
		if (len > LIMIT_DNS_ANSWER_BYTES) {
			c->is_closing = true;
			break;
		}
		if (evbuffer_get_length(in) < 2 + len)
			return;
		(void)evbuffer_remove(in, bytes, 2 + len);
		ask(c, bytes + 2, len);
		if (evbuffer_get_length(out) > OUT_MAX)
			c->is_closing = true;
	}
	if (c->is_closing)
		conn_free(c);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	next(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	conn_free(arg);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd,
		      struct sockaddr *sa, int len, void *arg)
{
	struct dns_tcp *t = arg;
	struct conn *c;

	if (t->num == LIMIT_DNS_TCP_CONNS)
		conn_free(list_first(&t->conns, struct conn, node));
	c = mem_alloc(sizeof(*c));
	c->owner = t;
	c->bev = bufferevent_socket_new(loop_base(t->loop), fd,
					BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		free(c);
		close(fd);
		return;
	}
	list_push_back(&t->conns, &c->node);
	t->num++;
	timer_init(&c->timer, t->loop, on_timer);
	timer_set_ms(&c->timer, LIMIT_DNS_TCP_MS);
	bufferevent_setcb(c->bev, on_readable, NULL, on_event, c);
	/* No more is read than one question needs. */
	bufferevent_setwatermark(c->bev, EV_READ, 0,
				 2 + LIMIT_DNS_ANSWER_BYTES);
	(void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

int dns_tcp_open(struct loop *loop, struct dns_desk *desk,
		 const struct addr *on, struct dns_tcp **out)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(on, &sa);
	struct dns_tcp *t = mem_alloc(sizeof(*t));
	unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
			 LEV_OPT_REUSEABLE;

	loop_assert(loop);
	if (on->family == 6)
		flags |= LEV_OPT_BIND_IPV6ONLY;
	t->loop = loop;
	t->desk = desk;
	list_init(&t->conns);
	errno = 0;
	t->listener = evconnlistener_new_bind(loop_base(loop), on_accept, t,
					      flags, BACKLOG,
					      (struct sockaddr *)&sa, (int)len);
	if (!t->listener) {
		int r = errno ? -errno : -ENOMEM;

		free(t);
		return r;
	}
	*out = t;
	return 0;
}

void dns_tcp_close(struct dns_tcp *t)
{
	if (!t)
		return;
	list_foreach_safe(c, &t->conns, struct conn, node)
		conn_free(c);
	evconnlistener_free(t->listener);
	free(t);
}
