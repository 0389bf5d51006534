/*
 * The UDP port.
 *
 * A readable socket is drained by recvmmsg in batches of BATCH datagrams, at
 * most BATCHES of them per turn, so that a flood cannot starve the rest of the
 * loop. Receive buffers are as large as a datagram can be; the kernel touches
 * only the pages that it fills, so in practice each costs a page.
 */
#include "engine/base/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define BATCH        32
#define BATCHES      8
#define SOCKET_BYTES (1 << 20) /* wished receive and send buffer */
#define PORT_TRIES   16        /* ports tried when the kernel chooses */

struct slot {
	struct sockaddr_storage from;
	struct iovec iov;
};

struct udp {
	int fd[2]; /* IPv4, IPv6; -1: family not used */
	struct event readable[2];
	uint16_t port;
	struct {
		udp_receive_fn *fn;
		void *arg; /* borrowed */
	} takers[UDP_KIND_COUNT];
	struct list taps; /* of UDP_KRPC */
	bool *gone;       /* set by udp_close inside a callback */
	struct mmsghdr msgs[BATCH];
	struct slot slots[BATCH];
	uint8_t *bytes; /* owned; BATCH datagrams */
};

enum udp_kind udp_kind_of(const uint8_t *bytes, size_t len)
{
	if (bytes[0] == 'd')
		return UDP_KRPC;
	if ((bytes[0] & 0x0f) == 1 && bytes[0] >> 4 <= 4 && len >= 20)
		return UDP_UTP;
	return UDP_TRACKER;
}

/* *GONE is set when a callback closes the port. */
static void hand_over(struct udp *u, const struct addr *from,
		      const uint8_t *bytes, size_t len, const bool *gone)
{
	enum udp_kind kind = udp_kind_of(bytes, len);

	if (kind == UDP_KRPC) {
		list_foreach_safe(t, &u->taps, struct udp_tap, node) {
			if (t->take(t, from, bytes, len) || *gone)
				return;
		}
	}
	if (u->takers[kind].fn)
		u->takers[kind].fn(u->takers[kind].arg, from, bytes, len);
}

/* False when a callback closed the port. */
static bool deliver(struct udp *u, const struct mmsghdr *m)
{
	const uint8_t *bytes = m->msg_hdr.msg_iov->iov_base;
	bool gone = false;
	struct addr from;

	if (!m->msg_len || (m->msg_hdr.msg_flags & MSG_TRUNC) ||
	    !addr_from_sockaddr(&from, m->msg_hdr.msg_name,
				m->msg_hdr.msg_namelen))
		return true;
	u->gone = &gone;
	hand_over(u, &from, bytes, m->msg_len, &gone);
	if (gone)
		return false;
	u->gone = NULL;
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp *u = arg;

	for (int round = 0; round < BATCHES; round++) {
		int n;

		for (int i = 0; i < BATCH; i++)
			u->msgs[i].msg_hdr.msg_namelen =
				sizeof(u->slots[i].from);
		n = recvmmsg(fd, u->msgs, BATCH, MSG_DONTWAIT, NULL);
		/* Errors here are news about datagrams sent earlier (ICMP) or
		 * an empty queue: neither concerns anyone. */
		for (int i = 0; i < n; i++) {
			if (!deliver(u, &u->msgs[i]))
				return;
		}
		if (n < BATCH)
			return;
	}
}

/* Returns a bound socket or -errno. */
static int open_socket(const struct addr *bind_to, uint16_t port)
{
	struct addr a = *bind_to;
	struct sockaddr_storage sa;
	int on = 1, size = SOCKET_BYTES, fd, r;
	socklen_t len;

	a.port = port;
	len = addr_to_sockaddr(&a, &sa);
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Larger buffers are a wish: the kernel clamps them silently. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if ((a.family == 6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int bound_port(int fd, uint16_t *port)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr a;

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (!addr_from_sockaddr(&a, (struct sockaddr *)&sa, len))
		return -EAFNOSUPPORT;
	*port = a.port;
	return 0;
}

/* Fills u->fd and u->port, or returns -errno with nothing open. */
static int bind_both(struct udp *u, const struct addr *const bind_to[2],
		     uint16_t port)
{
	int r = -EAFNOSUPPORT;

	u->fd[0] = u->fd[1] = -1;
	u->port = port;
	for (int i = 0; i < 2; i++) {
		int fd;

		if (!bind_to[i])
			continue;
		fd = open_socket(bind_to[i], u->port);
		if (fd < 0) {
			r = fd;
			if (fd == -EADDRINUSE)
				goto out_close;
			continue;
		}
		u->fd[i] = fd;
		if (!u->port) {
			r = bound_port(fd, &u->port);
			if (r)
				goto out_close;
		}
	}
	if (u->fd[0] >= 0 || u->fd[1] >= 0)
		return 0;
	return r;

out_close:
	for (int i = 0; i < 2; i++) {
		if (u->fd[i] >= 0)
			close(u->fd[i]);
		u->fd[i] = -1;
	}
	return r;
}

int udp_open(struct loop *loop, const struct addr *bind4,
	     const struct addr *bind6, uint16_t port, struct udp **out)
{
	const struct addr *const bind_to[2] = { bind4, bind6 };
	struct udp *u = mem_alloc(sizeof(*u));
	int r = -EADDRINUSE;

	list_init(&u->taps);
	/* A port of the kernel's choice is free in one family only; with both
	 * it may take some tries to find one free in each. */
	for (int i = 0; i < (port ? 1 : PORT_TRIES) && r == -EADDRINUSE; i++)
		r = bind_both(u, bind_to, port);
	if (r)
		goto out_free;
	u->bytes = mem_try(BATCH, LIMIT_UDP_DATAGRAM_BYTES);
	if (!u->bytes) {
		r = -ENOMEM;
		goto out_close;
	}
	for (int i = 0; i < BATCH; i++) {
		struct slot *s = &u->slots[i];

		s->iov.iov_base =
			u->bytes + (size_t)i * LIMIT_UDP_DATAGRAM_BYTES;
		s->iov.iov_len = LIMIT_UDP_DATAGRAM_BYTES;
		u->msgs[i].msg_hdr.msg_iov = &s->iov;
		u->msgs[i].msg_hdr.msg_iovlen = 1;
		u->msgs[i].msg_hdr.msg_name = &s->from;
	}
	for (int i = 0; i < 2; i++) {
		if (u->fd[i] < 0)
			continue;
		event_assign(&u->readable[i], loop_base(loop), u->fd[i],
			     EV_READ | EV_PERSIST, on_readable, u);
		event_add(&u->readable[i], NULL);
	}
	*out = u;
	return 0;

out_close:
	for (int i = 0; i < 2; i++) {
		if (u->fd[i] >= 0)
			close(u->fd[i]);
	}
out_free:
	free(u);
	return r;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	if (u->gone)
		*u->gone = true;
	for (int i = 0; i < 2; i++) {
		if (u->fd[i] < 0)
			continue;
		event_del(&u->readable[i]);
		close(u->fd[i]);
	}
	free(u->bytes);
	free(u);
}

uint16_t udp_port(const struct udp *u)
{
	return u->port;
}

bool udp_has_family(const struct udp *u, int family)
{
	return u->fd[family == 6] >= 0;
}

void udp_add_tap(struct udp *u, struct udp_tap *t)
{
	list_push_back(&u->taps, &t->node);
}

void udp_remove_tap(struct udp_tap *t)
{
	list_remove(&t->node);
}

void udp_register(struct udp *u, enum udp_kind kind, udp_receive_fn *fn,
		  void *arg)
{
	u->takers[kind].fn = fn;
	u->takers[kind].arg = arg;
}

int udp_send(struct udp *u, const struct addr *to, const void *bytes,
	     size_t len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = addr_to_sockaddr(to, &sa);
	int fd = u->fd[to->family == 6];

	if (!sa_len || fd < 0)
		return -EAFNOSUPPORT;
	for (;;) {
		if (sendto(fd, bytes, len, MSG_DONTWAIT, (struct sockaddr *)&sa,
			   sa_len) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno == EWOULDBLOCK || errno == ENOBUFS)
			return -EAGAIN;
		return -errno;
	}
}
