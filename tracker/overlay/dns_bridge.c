/*
 * evdns reads and writes the packets. Its server is not made for strangers
 * (libevent 2.1.12): a datagram shorter than a header ends the program, the
 * opcode is forgotten before we are called, so that NOTIFY and UPDATE look
 * like questions, and memory is taken for as many questions as a packet
 * claims. A socket filter drops all of these in the kernel, and answers, which
 * nobody here asked for.
 *
 * Of questions over the limit every second one is told to come by TCP, so that
 * who shares a net with a flood is not cut off; that answer is no larger than
 * its question.
 */
#include "tracker/overlay/dns_bridge.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/dns_struct.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tracker/overlay/dns_limit.h"
#include "tracker/overlay/dns_tcp.h"

#define PORT_TRIES    16 /* where the kernel chooses */
#define UDP_HEADER    8
#define FLAGS_AT      (UDP_HEADER + 2)
#define QUESTIONS_AT  (UDP_HEADER + 4)
#define FLAG_QR       0x8000
#define FLAG_OPCODE   0x7800
#define FLAG_TC       0x0200
#define QUESTIONS_MAX 2  /* more than one is an error that we tell */
#define BYTES_MIN     17 /* a header, the root's name, type and class */

struct dns_bridge {
	struct loop *loop; /* borrowed */
	struct dns_desk *desk;
	struct dns_limit *limit; /* owned */
	struct timer timer;
	bool has_local_limit;
	struct evdns_server_port *ports[LIMIT_DNS_PORTS];
	struct dns_tcp *tcp[LIMIT_DNS_PORTS];
	unsigned num_ports;
	uint64_t malformed, limited;
};

/* --- answers --- */

static void respond(struct evdns_server_request *req,
		    const struct dns_answer *a)
{
	if (a->is_authoritative)
		evdns_server_request_set_flags(req, EVDNS_FLAGS_AA);
	for (unsigned i = 0; i < a->num; i++) {
		const struct dns_record *r = &a->records[i];

		if (evdns_server_request_add_reply(
			    req, (int)r->section, r->name, (int)r->type,
			    DNS_CLASS_IN, DNS_TTL_S, (int)r->len, 0,
			    (const char *)r->data) < 0) {
			(void)evdns_server_request_drop(req);
			return;
		}
	}
	/* What cannot be sent is lost, as datagrams are. */
	(void)evdns_server_request_respond(req, (int)a->rcode);
}

static void on_reply(void *arg, const struct dns_question *q,
		     const struct dns_answer *answer)
{
	respond(arg, answer);
}

static bool is_limited(struct dns_bridge *b, struct evdns_server_request *req,
		       const char *name)
{
	struct sockaddr_storage sa;
	struct addr from;
	int n = evdns_server_request_get_requesting_addr(
		req, (struct sockaddr *)&sa, sizeof(sa));

	if (n < 0 ||
	    !addr_from_sockaddr(&from, (struct sockaddr *)&sa, (socklen_t)n))
		return true;
	if (addr_is_local(&from) && !b->has_local_limit)
		return false;
	return !dns_limit_take(b->limit, loop_now_ms(b->loop), &from, name);
}

static void push_back(struct dns_bridge *b, struct evdns_server_request *req)
{
	if (b->limited++ % 2) {
		evdns_server_request_set_flags(req, FLAG_TC);
		(void)evdns_server_request_respond(req, DNS_NOERROR);
	} else {
		(void)evdns_server_request_drop(req);
	}
}

static void on_request(struct evdns_server_request *req, void *arg)
{
	static const struct dns_answer malformed = { .rcode = DNS_FORMERR };
	struct dns_bridge *b = arg;
	const char *name = req->nquestions ? req->questions[0]->name : "";

	b->malformed += req->nquestions != 1;
	if (is_limited(b, req, name)) {
		push_back(b, req);
	} else if (req->nquestions != 1) {
		respond(req, &malformed);
	} else {
		(void)dns_desk_ask(
			b->desk, name, (unsigned)req->questions[0]->type,
			(unsigned)req->questions[0]->dns_question_class,
			on_reply, req);
	}
}

/* --- sockets --- */

static int set_filter(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, UDP_HEADER + BYTES_MIN, 0,
			 5),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, FLAGS_AT),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FLAG_QR | FLAG_OPCODE, 3,
			 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, QUESTIONS_AT),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, QUESTIONS_MAX, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			  sizeof(program));
}

/* Returns a bound socket, its address in BOUND, or -errno. */
static int open_socket(const struct addr *on, struct addr *bound)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(on, &sa);
	int yes = 1, r;
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			0);

	if (fd < 0)
		return -errno;
	if ((on->family == 6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes,
					   sizeof(yes)) < 0) ||
	    set_filter(fd) < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0)
		goto fail;
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		goto fail;
	(void)addr_from_sockaddr(bound, (struct sockaddr *)&sa, len);
	return fd;
fail:
	r = -errno;
	close(fd);
	return r;
}

/* UDP and TCP on the same port. One that the kernel chose for UDP may be taken
 * on TCP: then it chooses again. Returns UDP's descriptor or -errno. */
static int open_both(struct dns_bridge *b, const struct addr *on,
		     struct addr *at)
{
	int fd, r = -EADDRINUSE;

	for (int i = 0; i < (on->port ? 1 : PORT_TRIES) && r == -EADDRINUSE;
	     i++) {
		fd = open_socket(on, at);
		if (fd < 0)
			return fd;
		r = dns_tcp_open(b->loop, b->desk, at, &b->tcp[b->num_ports]);
		if (!r)
			return fd;
		close(fd);
	}
	return r;
}

int dns_bridge_listen(struct dns_bridge *b, const struct addr *on,
		      struct addr *bound)
{
	struct evdns_server_port *port;
	struct addr at;
	int fd;

	loop_assert(b->loop);
	if (b->num_ports == LIMIT_DNS_PORTS)
		return -E2BIG;
	fd = open_both(b, on, &at);
	if (fd < 0)
		return fd;
	port = evdns_add_server_port_with_base(loop_base(b->loop), fd, 0,
					       on_request, b);
	if (!port) {
		dns_tcp_close(b->tcp[b->num_ports]);
		close(fd);
		return -ENOMEM;
	}
	b->ports[b->num_ports++] = port; /* which owns the socket */
	if (!addr_is_unspecified(&at))
		dns_desk_set_self(b->desk, &at);
	if (bound)
		*bound = at;
	return 0;
}

/* --- life --- */

static int64_t on_now(void *arg)
{
	return loop_now_ms(((struct dns_bridge *)arg)->loop);
}

static void set_timer(struct dns_bridge *b)
{
	int64_t next_ms = dns_desk_next_ms(b->desk);

	if (next_ms == INT64_MAX)
		timer_stop(&b->timer);
	else
		timer_set_ms(&b->timer, next_ms - loop_now_ms(b->loop));
}

static void on_wake(void *arg)
{
	set_timer(arg);
}

static void on_timer(struct timer *timer)
{
	struct dns_bridge *b = container_of(timer, struct dns_bridge, timer);

	dns_desk_tick(b->desk);
	set_timer(b);
}

struct dns_bridge *dns_bridge_new(struct loop *loop, struct kt *kt,
				  const struct dns_bridge_options *o)
{
	struct dns_bridge *b = mem_alloc(sizeof(*b));
	struct dns_desk_io io = { .now = on_now, .wake = on_wake, .arg = b };
	struct dns_desk_options desk = { .domain = o->domain,
					 .port = o->port,
					 .has_txt = o->has_txt,
					 .self4 = o->self4,
					 .self6 = o->self6 };
	uint8_t seed[16];

	loop_assert(loop);
	random_bytes(seed, sizeof(seed));
	b->loop = loop;
	b->has_local_limit = o->has_local_limit;
	b->limit = mem_alloc(sizeof(*b->limit));
	dns_limit_init(b->limit, seed);
	timer_init(&b->timer, loop, on_timer);
	b->desk = dns_desk_new(kt, &io, &desk);
	return b;
}

void dns_bridge_free(struct dns_bridge *b)
{
	if (!b)
		return;
	loop_assert(b->loop);
	for (unsigned i = 0; i < b->num_ports; i++)
		dns_tcp_close(b->tcp[i]);
	dns_desk_free(b->desk);
	for (unsigned i = 0; i < b->num_ports; i++)
		evdns_close_server_port(b->ports[i]);
	timer_stop(&b->timer);
	free(b->limit);
	free(b);
}

void dns_bridge_stats(const struct dns_bridge *b, struct dns_bridge_stats *out)
{
	dns_desk_stats(b->desk, &out->desk);
	out->malformed = b->malformed;
	out->limited = b->limited;
}
