#include "tracker/server/packets.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/server/overlay_queue.h"
#include "tracker/server/packet_source.h"
#include "tracker/server/udp_answer.h"

#define BATCH        64        /* datagrams of one recvmmsg */
#define RECEIVE_ROOM (8 << 20) /* bytes of a socket's queue, if allowed */
#define SEND_ROOM    (4 << 20)

struct packet_thread {
	_Alignas(128) struct udp_counts counts; /* own lines of cache */
	_Alignas(128) struct packets *p;
	struct udp_asker asker;
	pthread_t thread;
	bool is_running;
	bool is_wildcard; /* its datagrams say where they were sent to */
	int fd;
	uint8_t in[BATCH][LIMIT_UDP_REQUEST_BYTES];
	uint8_t out[BATCH][UDP_ANSWER_BYTES];
	struct sockaddr_storage names[BATCH];
	struct iovec in_iov[BATCH], out_iov[BATCH];
	struct mmsghdr received[BATCH], answers[BATCH];
	union packet_source sources[BATCH];
};

struct packets {
	struct udp_core core;
	struct addr *addresses; /* owned; as bound */
	size_t num_addresses;
	unsigned per_address;
	struct packet_thread **threads; /* owned; by address, then by number */
	size_t num_threads;
	struct overlay_queue *overlay; /* NULL: there is none */
	atomic_bool is_stopping;
};

/* --- a thread --- */

static bool is_overlay(const uint8_t *bytes, size_t len)
{
	return len && (*bytes == 'd' || *bytes == 'K');
}

static void take_overlay(struct packet_thread *t, struct msghdr *h,
			 const struct addr *from, const uint8_t *bytes,
			 size_t len)
{
	struct overlay_way way = { .from = *from, .fd = t->fd };

	if (t->is_wildcard)
		packet_source_read(h, &way.here);
	udp_count(&t->counts.overlay_in);
	if (!t->p->overlay ||
	    !overlay_queue_push(t->p->overlay, &way, bytes, len))
		udp_count(&t->counts.overlay_dropped);
}

/* Answers the N that came. Returns how many answers there are. */
static unsigned answer_all(struct packet_thread *t, unsigned n)
{
	unsigned m = 0;

	t->asker.now_ms = clock_now_ms();
	for (unsigned i = 0; i < n; i++) {
		struct msghdr *h = &t->received[i].msg_hdr;
		size_t len = t->received[i].msg_len;
		struct addr from;

		if (!addr_from_sockaddr(&from, h->msg_name, h->msg_namelen) ||
		    h->msg_flags & MSG_TRUNC) {
			udp_count(&t->counts.malformed);
			continue;
		}
		if (is_overlay(t->in[i], len)) {
			take_overlay(t, h, &from, t->in[i], len);
			continue;
		}
		len = udp_answer(&t->asker, &from, t->in[i], len, t->out[m]);
		if (!len)
			continue;
		t->out_iov[m].iov_len = len;
		t->answers[m].msg_hdr.msg_name = h->msg_name;
		t->answers[m].msg_hdr.msg_namelen = h->msg_namelen;
		if (t->is_wildcard)
			packet_source_reply(&t->answers[m].msg_hdr, h);
		m++;
	}
	return m;
}

/* An answer that cannot be sent is lost, and the next one is tried. A full
 * queue is waited for: who asks meanwhile waits in the socket's own. */
static void send_all(struct packet_thread *t, unsigned n)
{
	unsigned sent = 0;

	while (sent < n) {
		int r = sendmmsg(t->fd, t->answers + sent, n - sent, 0);

		if (r > 0) {
			sent += (unsigned)r;
		} else if (r < 0 && errno != EINTR) {
			udp_count(&t->counts.send_failed);
			sent++;
		}
	}
}

/* The kernel wrote over the sizes. */
static void make_room(struct packet_thread *t)
{
	for (unsigned i = 0; i < BATCH; i++) {
		struct msghdr *h = &t->received[i].msg_hdr;

		h->msg_namelen = sizeof(t->names[i]);
		if (t->is_wildcard)
			h->msg_controllen = sizeof(t->sources[i]);
	}
}

static void *thread_main(void *arg)
{
	struct packet_thread *t = arg;

	while (!atomic_load_explicit(&t->p->is_stopping,
				     memory_order_acquire)) {
		int n;

		make_room(t);
		n = recvmmsg(t->fd, t->received, BATCH, MSG_WAITFORONE, NULL);
		/* Errors are those of datagrams sent before (ICMP). */
		if (n > 0)
			send_all(t, answer_all(t, (unsigned)n));
	}
	return NULL;
}

static struct packet_thread *thread_new(struct packets *p, int fd,
					bool is_wildcard)
{
	struct packet_thread *t = aligned_alloc(128, sizeof(*t));

	CHECK(t);
	memset(t, 0, sizeof(*t));
	t->p = p;
	t->fd = fd;
	t->is_wildcard = is_wildcard;
	t->asker.core = &p->core;
	t->asker.counts = &t->counts;
	random_bytes(&t->asker.random.state, sizeof(t->asker.random.state));
	for (unsigned i = 0; i < BATCH; i++) {
		t->in_iov[i] = (struct iovec){ t->in[i], sizeof(t->in[i]) };
		t->out_iov[i].iov_base = t->out[i];
		t->received[i].msg_hdr.msg_iov = &t->in_iov[i];
		t->received[i].msg_hdr.msg_iovlen = 1;
		t->received[i].msg_hdr.msg_name = &t->names[i];
		t->received[i].msg_hdr.msg_control =
			is_wildcard ? &t->sources[i] : NULL;
		t->answers[i].msg_hdr.msg_iov = &t->out_iov[i];
		t->answers[i].msg_hdr.msg_iovlen = 1;
	}
	return t;
}

/* --- sockets --- */

static int set_on(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* A's port becomes the one it got. Returns the socket or -errno. */
static int socket_bind(struct addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int fd, r;

	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!r && a->family == 6)
		r = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (!r && packet_source_is_wildcard(a))
		r = packet_source_ask(fd, a->family);
	/* As much as the system allows; root may have more than that. */
	if (set_on(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_ROOM) < 0)
		(void)set_on(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_ROOM);
	(void)set_on(fd, SOL_SOCKET, SO_SNDBUF, SEND_ROOM);
	if (!r && bind(fd, (struct sockaddr *)&ss, len))
		r = -errno;
	len = sizeof(ss);
	if (!r && getsockname(fd, (struct sockaddr *)&ss, &len))
		r = -errno;
	if (r) {
		close(fd);
		return r;
	}
	addr_from_sockaddr(a, (struct sockaddr *)&ss, len);
	return fd;
}

/* Somebody else may hold the port with SO_REUSEPORT as well, and would take a
 * part of what is ours: a look without that option finds out. */
static int is_taken(const struct addr *a)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	if (a->family == 6)
		r = set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (!r && bind(fd, (struct sockaddr *)&ss, len))
		r = -errno;
	close(fd);
	return r;
}

static int bind_all(struct packets *p, char *why, size_t why_size)
{
	char text[ADDR_STR_MAX];

	for (size_t i = 0; i < p->num_addresses; i++) {
		struct addr *a = &p->addresses[i];
		int r = is_taken(a);

		for (unsigned n = 0; !r && n < p->per_address; n++) {
			int fd = socket_bind(a);

			if (fd < 0)
				r = fd;
			else
				p->threads[p->num_threads++] = thread_new(
					p, fd, packet_source_is_wildcard(a));
		}
		if (r) {
			snprintf(why, why_size, "udp %s: %s", addr_str(a, text),
				 strerror(-r));
			return r;
		}
	}
	return 0;
}

/* --- all of it --- */

static int run_all(struct packets *p, char *why, size_t why_size)
{
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; !r && i < p->num_threads; i++) {
		struct packet_thread *t = p->threads[i];

		r = pthread_create(&t->thread, NULL, thread_main, t);
		t->is_running = !r;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r)
		snprintf(why, why_size, "threads: %s", strerror(r));
	return -r;
}

static unsigned threads_for(unsigned asked)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (!asked)
		asked = cores > 0 ? (unsigned)cores : 1;
	return asked < LIMIT_PACKET_THREADS ? asked : LIMIT_PACKET_THREADS;
}

int packets_start(struct loop *loop, const struct packets_options *options,
		  struct packets **out, char *why, size_t why_size)
{
	struct packets *p = mem_alloc(sizeof(*p));
	int r;

	p->core.policy = options->policy;
	random_bytes(p->core.key, sizeof(p->core.key));
	p->num_addresses = options->num_binds;
	p->addresses =
		mem_alloc_array(options->num_binds, sizeof(*p->addresses));
	memcpy(p->addresses, options->binds,
	       options->num_binds * sizeof(*p->addresses));
	p->per_address = threads_for(options->threads);
	p->threads = mem_alloc_array(p->num_addresses * p->per_address,
				     sizeof(struct packet_thread *));
	if (options->on_overlay)
		p->overlay = overlay_queue_new(loop, options->on_overlay,
					       options->arg);
	r = bind_all(p, why, why_size);
	if (!r)
		r = run_all(p, why, why_size);
	if (r) {
		packets_stop(p);
		return r;
	}
	*out = p;
	return 0;
}

void packets_stop(struct packets *p)
{
	if (!p)
		return;
	atomic_store_explicit(&p->is_stopping, true, memory_order_release);
	for (size_t i = 0; i < p->num_threads; i++) {
		struct packet_thread *t = p->threads[i];

		/* Wakes who waits, although it says ENOTCONN. */
		(void)shutdown(t->fd, SHUT_RD);
		if (t->is_running)
			pthread_join(t->thread, NULL);
		close(t->fd);
		free(t);
	}
	overlay_queue_free(p->overlay);
	free(p->threads);
	free(p->addresses);
	free(p);
}

void packets_address(const struct packets *p, size_t i, struct addr *out)
{
	*out = p->addresses[i];
}

/* False: there is no socket of that family. */
static bool find_way(const struct packets *p, const struct addr *to,
		     struct overlay_way *out)
{
	const struct overlay_way *came =
		p->overlay ? overlay_queue_way(p->overlay) : NULL;

	if (came && addr_eq(&came->from, to)) {
		*out = *came;
		return true;
	}
	*out = (struct overlay_way){ .fd = -1 };
	for (size_t i = 0; i < p->num_addresses && out->fd < 0; i++)
		if (p->addresses[i].family == to->family)
			out->fd = p->threads[i * p->per_address]->fd;
	return out->fd >= 0;
}

int packets_send(struct packets *p, const struct addr *to, const void *bytes,
		 size_t len)
{
	struct sockaddr_storage ss;
	struct iovec iov = { (void *)(uintptr_t)bytes, len };
	struct msghdr h = { .msg_name = &ss,
			    .msg_namelen = addr_to_sockaddr(to, &ss),
			    .msg_iov = &iov,
			    .msg_iovlen = 1 };
	union packet_source room;
	struct overlay_way way;

	if (!find_way(p, to, &way))
		return -EAFNOSUPPORT;
	packet_source_set(&h, &way.here, &room);
	return sendmsg(way.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno
								    : 0;
}

static void add(uint64_t *sum, atomic_uint_fast64_t *part)
{
	*sum += atomic_load_explicit(part, memory_order_relaxed);
}

void packets_stats(struct packets *p, struct packets_stats *out)
{
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < p->num_threads; i++) {
		struct udp_counts *c = &p->threads[i]->counts;

		add(&out->connects, &c->connects);
		add(&out->announces, &c->announces);
		add(&out->scrapes, &c->scrapes);
		add(&out->errors_out, &c->errors_out);
		add(&out->bad_connection_id, &c->bad_connection_id);
		add(&out->malformed, &c->malformed);
		add(&out->rate_limited, &c->rate_limited);
		add(&out->denied, &c->denied);
		add(&out->overlay_in, &c->overlay_in);
		add(&out->overlay_dropped, &c->overlay_dropped);
		add(&out->send_failed, &c->send_failed);
	}
}
