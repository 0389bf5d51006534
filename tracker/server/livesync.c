/*
 * Two batches fill, one for each family; a batch goes out when it is full or
 * DELAY_MS after its first record. (Opentracker waits 15 s. Who receives cannot
 * tell, and less is lost if this tracker dies.)
 *
 * A datagram is looked at only if it comes from an allowed subnet, and if that
 * subnet has not sent LIMIT_LIVESYNC_PER_S of them this second. Members choose
 * their tracker id at random and ignore their own, so ids say nothing about who
 * sent. (Opentrackers started in the same second choose the same one, and do
 * not hear each other. Ours comes from the kernel.)
 *
 * The socket that listens is bound to the group, so what is sent to the host
 * itself never gets here. The other one is bound to the members' port, which
 * firewalls between them let through; nothing is read from it.
 */
#include "tracker/server/livesync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/ratelimit.h"
#include "tracker/server/livesync_packet.h"

#define DELAY_MS 1000
#define TURN     256 /* datagrams read before the loop has its turn */

struct source {
	struct subnet subnet;
	struct ratelimit rate; /* in datagrams */
};

struct livesync {
	struct loop *loop; /* borrowed */
	struct livesync_options options;
	uint32_t tracker_id;
	int fd_in, fd_out;
	struct event readable;
	struct timer flush;
	struct livesync_batch batches[2]; /* by enum livesync_type */
	struct source sources[LIMIT_LIVESYNC_SOURCES];
	struct livesync_stats stats;
};

/* --- out --- */

static void send_batch(struct livesync *l, struct livesync_batch *b)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = addr_to_sockaddr(&l->options.group, &sa);

	if (livesync_batch_is_empty(b))
		return;
	if (sendto(l->fd_out, b->bytes, b->len, MSG_DONTWAIT,
		   (struct sockaddr *)&sa, sa_len) < 0)
		l->stats.send_failed++;
	else
		l->stats.packets_out++;
	livesync_batch_clear(b);
}

static void flush_all(struct livesync *l)
{
	send_batch(l, &l->batches[LIVESYNC_V4]);
	send_batch(l, &l->batches[LIVESYNC_V6]);
}

static void on_flush(struct timer *timer)
{
	flush_all(container_of(timer, struct livesync, flush));
}

void livesync_tell(struct livesync *l, const struct telling *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct swarm_record *r = &t[i].record;
		struct livesync_batch *b = &l->batches[LIVESYNC_V6];

		if (r->peer.family == 4 && !l->options.is_v4_mapped)
			b = &l->batches[LIVESYNC_V4];
		if (!livesync_batch_add(b, r)) {
			send_batch(l, b);
			livesync_batch_add(b, r);
		}
		l->stats.records_out++;
	}
	if (n && !timer_is_set(&l->flush))
		timer_set_ms(&l->flush, DELAY_MS);
}

/* --- in --- */

static bool is_believed(struct livesync *l, const struct addr *from)
{
	for (size_t i = 0; i < l->options.num_sources; i++) {
		struct source *s = &l->sources[i];

		if (!subnet_has(&s->subnet, from))
			continue;
		if (!ratelimit_room(&s->rate, loop_now_ms(l->loop))) {
			l->stats.over_rate++;
			return false;
		}
		ratelimit_take(&s->rate, 1);
		return true;
	}
	l->stats.strangers++;
	return false;
}

static void apply(struct livesync *l, const struct livesync_parsed *p)
{
	l->stats.packets_in++;
	l->stats.martians += p->martians;
	for (unsigned i = 0; i < p->num; i++) {
		const struct swarm_record *r = &p->records[i];

		if (l->options.access &&
		    !access_allows(l->options.access, &r->infohash)) {
			l->stats.denied++;
			continue;
		}
		l->stats.records_in++;
		if (swarms_apply(l->options.swarms, r))
			l->stats.news_in++;
	}
}

void livesync_receive(struct livesync *l, const struct addr *from,
		      const uint8_t *bytes, size_t len)
{
	struct livesync_parsed parsed;
	int r;

	if (!is_believed(l, from))
		return;
	r = livesync_parse(bytes, len, &parsed);
	if (r == -ENOTSUP)
		l->stats.unknown_type++;
	else if (r)
		l->stats.malformed++;
	else if (parsed.tracker_id == l->tracker_id)
		l->stats.own++;
	else
		apply(l, &parsed);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct livesync *l = arg;
	uint8_t bytes[LIMIT_LIVESYNC_BYTES + 1]; /* one more: too long */

	for (int i = 0; i < TURN; i++) {
		struct sockaddr_storage sa;
		socklen_t sa_len = sizeof(sa);
		struct addr from;
		ssize_t n = recvfrom(fd, bytes, sizeof(bytes), MSG_DONTWAIT,
				     (struct sockaddr *)&sa, &sa_len);

		if (n < 0)
			return;
		if (addr_from_sockaddr(&from, (struct sockaddr *)&sa, sa_len))
			livesync_receive(l, &from, bytes, (size_t)n);
	}
}

/* --- life --- */

/* Returns a socket, or -errno. */
static int open_udp(const struct addr *bind_to)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = addr_to_sockaddr(bind_to, &sa);
	int on = 1, r;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	/* An opentracker on this host may be a member, too. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sa_len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Returns 0, or -errno. */
static int set_up_multicast(struct livesync *l)
{
	struct ip_mreqn m = { .imr_ifindex = 0 };
	int zero = 0, one = 1;

	memcpy(&m.imr_multiaddr, l->options.group.ip, 4);
	memcpy(&m.imr_address, l->options.bind.ip, 4);
	if (setsockopt(l->fd_in, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) <
		    0 ||
	    setsockopt(l->fd_in, IPPROTO_IP, IP_MULTICAST_ALL, &zero,
		       sizeof(zero)) < 0 ||
	    setsockopt(l->fd_out, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) <
		    0 ||
	    setsockopt(l->fd_out, IPPROTO_IP, IP_MULTICAST_TTL, &one,
		       sizeof(one)) < 0 ||
	    setsockopt(l->fd_out, IPPROTO_IP, IP_MULTICAST_LOOP, &zero,
		       sizeof(zero)) < 0)
		return -errno;
	/* Nobody reads this one: what is sent to it shall not pile up. */
	(void)setsockopt(l->fd_out, SOL_SOCKET, SO_RCVBUF, &zero, sizeof(zero));
	return 0;
}

/* Returns 0, or -errno with WHY. */
static int open_sockets(struct livesync *l, char *why, size_t why_size)
{
	char at[ADDR_STR_MAX];
	int r = 0;

	l->fd_in = open_udp(&l->options.group);
	l->fd_out = open_udp(&l->options.bind);
	if (l->fd_in < 0 || l->fd_out < 0)
		r = l->fd_in < 0 ? l->fd_in : l->fd_out;
	else
		r = set_up_multicast(l);
	if (r)
		snprintf(why, why_size, "livesync on %s: %s",
			 addr_str(&l->options.bind, at), strerror(-r));
	return r;
}

/* Returns 0, or -EINVAL with WHY. Fills in what was left open. */
static int settle(struct livesync_options *o, char *why, size_t why_size)
{
	if (!o->bind.port)
		o->bind.port = LIVESYNC_PORT;
	if (!o->group.family)
		addr_parse(LIVESYNC_GROUP, o->bind.port, &o->group);
	o->group.port = o->bind.port;
	if (o->bind.family != 4 || addr_is_unspecified(&o->bind))
		snprintf(why, why_size,
			 "livesync wants the IPv4 address of an interface");
	else if (o->group.family != 4 || !addr_is_multicast(&o->group))
		snprintf(why, why_size, "livesync wants an IPv4 group");
	else if (!o->num_sources || o->num_sources > LIMIT_LIVESYNC_SOURCES)
		snprintf(why, why_size,
			 "livesync wants 1 to %d subnets to believe",
			 LIMIT_LIVESYNC_SOURCES);
	else
		return 0;
	return -EINVAL;
}

static void release(struct livesync *l)
{
	if (l->fd_in >= 0)
		close(l->fd_in);
	if (l->fd_out >= 0)
		close(l->fd_out);
	free(l);
}

int livesync_start(struct loop *loop, const struct livesync_options *options,
		   struct livesync **out, char *why, size_t why_size)
{
	struct livesync *l = mem_alloc(sizeof(*l));
	int r;

	l->loop = loop;
	l->options = *options;
	l->fd_in = l->fd_out = -1;
	r = settle(&l->options, why, why_size);
	if (!r)
		r = open_sockets(l, why, why_size);
	if (r) {
		release(l);
		return r;
	}
	for (size_t i = 0; i < options->num_sources; i++) {
		l->sources[i].subnet = options->sources[i];
		l->sources[i].rate.bps = LIMIT_LIVESYNC_PER_S;
	}
	l->options.sources = NULL; /* copied, and not ours */
	l->tracker_id = random_u32();
	livesync_batch_init(&l->batches[LIVESYNC_V4], LIVESYNC_V4,
			    l->tracker_id);
	livesync_batch_init(&l->batches[LIVESYNC_V6], LIVESYNC_V6,
			    l->tracker_id);
	timer_init(&l->flush, loop, on_flush);
	event_assign(&l->readable, loop_base(loop), l->fd_in,
		     EV_READ | EV_PERSIST, on_readable, l);
	event_add(&l->readable, NULL);
	*out = l;
	return 0;
}

void livesync_stop(struct livesync *l)
{
	if (!l)
		return;
	flush_all(l);
	timer_stop(&l->flush);
	event_del(&l->readable);
	release(l);
}

void livesync_stats(const struct livesync *l, struct livesync_stats *out)
{
	*out = l->stats;
}
