#include "tests/lib/webserver.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"

struct webserver {
	struct loop *loop;
	struct evconnlistener *listener;
	struct list requests;
	uint16_t port;
	unsigned connections;
	void (*on_request)(void *arg, struct webrequest *request,
			   const char *head);
	void *arg;
};

struct webrequest {
	struct list node;
	struct webserver *server;
	struct bufferevent *bev;
	bool closes;
};

static void request_free(struct webrequest *r)
{
	list_remove(&r->node);
	bufferevent_free(r->bev);
	free(r);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct webrequest *r = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	for (;;) {
		struct evbuffer_ptr end =
			evbuffer_search(in, "\r\n\r\n", 4, NULL);
		char *head;

		if (end.pos < 0)
			return;
		head = mem_alloc((size_t)end.pos + 5);
		evbuffer_remove(in, head, (size_t)end.pos + 4);
		r->server->on_request(r->server->arg, r, head);
		free(head);
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct webrequest *r = arg;

	if (r->closes && !evbuffer_get_length(bufferevent_get_output(bev)))
		request_free(r);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
	request_free(arg);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd,
		      struct sockaddr *sa, int len, void *arg)
{
	struct webserver *s = arg;
	struct webrequest *r = mem_alloc(sizeof(*r));

	s->connections++;
	r->server = s;
	r->bev = bufferevent_socket_new(loop_base(s->loop), fd,
					BEV_OPT_CLOSE_ON_FREE);
	list_push_back(&s->requests, &r->node);
	bufferevent_setcb(r->bev, on_read, on_written, on_end, r);
	bufferevent_enable(r->bev, EV_READ | EV_WRITE);
}

struct webserver *webserver_new(struct loop *loop, int family,
				void (*on_request)(void *arg,
						   struct webrequest *request,
						   const char *head),
				void *arg)
{
	struct webserver *s = mem_alloc(sizeof(*s));
	struct sockaddr_storage sa;
	struct addr a = { .family = (uint8_t)family };
	socklen_t len;

	if (family == 4)
		a.ip[0] = 127;
	a.ip[family == 4 ? 3 : 15] = 1;
	len = addr_to_sockaddr(&a, &sa);
	s->loop = loop;
	s->on_request = on_request;
	s->arg = arg;
	list_init(&s->requests);
	s->listener = evconnlistener_new_bind(
		loop_base(loop), on_accept, s,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 128,
		(struct sockaddr *)&sa, (int)len);
	if (!s->listener) {
		free(s);
		return NULL;
	}
	len = sizeof(sa);
	getsockname(evconnlistener_get_fd(s->listener), (struct sockaddr *)&sa,
		    &len);
	addr_from_sockaddr(&a, (struct sockaddr *)&sa, len);
	s->port = a.port;
	return s;
}

void webserver_free(struct webserver *s)
{
	if (!s)
		return;
	list_foreach_safe(r, &s->requests, struct webrequest, node)
		request_free(r);
	evconnlistener_free(s->listener);
	free(s);
}

uint16_t webserver_port(const struct webserver *s)
{
	return s->port;
}

unsigned webserver_connections(const struct webserver *s)
{
	return s->connections;
}

void webrequest_from(const struct webrequest *r, struct addr *out)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	getpeername(bufferevent_getfd(r->bev), (struct sockaddr *)&sa, &len);
	addr_from_sockaddr(out, (struct sockaddr *)&sa, len);
}

void webrequest_send(struct webrequest *r, const void *bytes, size_t len)
{
	bufferevent_write(r->bev, bytes, len);
}

void webrequest_reply(struct webrequest *r, const char *status,
		      const char *headers, const void *body, size_t len)
{
	char *head = mem_printf("HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n",
				status, headers, len);

	webrequest_send(r, head, strlen(head));
	webrequest_send(r, body, len);
	free(head);
}

void webrequest_close(struct webrequest *r)
{
	r->closes = true;
}
