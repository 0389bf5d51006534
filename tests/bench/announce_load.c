/* A load of announces for one tracker:
 *
 *     announce_load udp|scrape|http|http-kept ADDRESS:PORT SECONDS
 *                   [IN-FLIGHT [PEERS]]
 *     announce_load hashes
 *
 * PEERS (a million) different peers, told apart by port, come round over 10,000
 * torrents; a third of them are seeders. "hashes" prints the torrents, for
 * trackers that want a list. UDP: 16 sockets share IN-FLIGHT announces, or
 * scrapes of a torrent each; http: a new connection each; http-kept: one
 * connection for many, if the tracker keeps it. Every answer is checked. Prints
 * answers a second, wrong and lost ones, connections dropped without a word
 * before, peers an answer, and the part of a
 * core that this program used: near 1 it measures itself. SECONDS 0: each peer
 * once, and no longer. */
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/addr.h"
#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"

#define TORRENTS      10000
#define SOCKETS       16
#define IN_FLIGHT_MAX 2048
#define BATCH         32
#define LOST_US       1000000
#define ID_US         (60 * 1000000ll) /* a connection id is used for */
#define WANT          30
#define REPLY_MAX     4096

struct load {
	struct sockaddr_storage to;
	socklen_t to_len;
	unsigned in_flight;
	bool is_scrape;
	uint64_t next, peers;
	int64_t start_us, end_us; /* end 0: until all peers were here */
	uint64_t answered, wrong, lost, told, connections, dropped;
};

static bool goes_on(const struct load *l)
{
	return l->end_us ? clock_now_us() < l->end_us : l->next < l->peers;
}

static void hash_of(uint64_t torrent, uint8_t out[20])
{
	struct prng r = { torrent };

	for (unsigned i = 0; i < 20; i += 4)
		store_be32(out + i, (uint32_t)prng_u64(&r));
}

struct announce {
	uint8_t hash[20];
	uint16_t port;
	bool is_seed;
};

static void next_announce(struct load *l, struct announce *a)
{
	uint64_t k = l->next++ % l->peers, peer = k / TORRENTS;

	hash_of(k % TORRENTS, a->hash);
	a->port = (uint16_t)(1025 + peer % 64000);
	a->is_seed = peer % 3 == 0;
}

static int connected(const struct load *l, int type)
{
	int fd = socket(l->to.ss_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0 ||
	    (connect(fd, (const struct sockaddr *)&l->to, l->to_len) &&
	     errno != EINPROGRESS)) {
		perror("connect");
		exit(1);
	}
	return fd;
}

/* --- UDP --- */

struct flight {
	uint32_t tid; /* 0: none */
	int64_t sent_us;
};

struct line { /* a socket and what is under way on it */
	int fd;
	uint8_t id[8];
	int64_t id_us;
	unsigned slots, busy;
	struct flight flights[IN_FLIGHT_MAX / SOCKETS];
	uint16_t round;
};

static void udp_connect(struct line *s)
{
	for (int tries = 0; tries < 5; tries++) {
		uint8_t b[16];
		int64_t end = clock_now_us() + LOST_US;

		store_be64(b, 0x41727101980);
		store_be32(b + 8, 0);
		store_be32(b + 12, 77);
		if (send(s->fd, b, 16, 0) != 16)
			continue;
		while (clock_now_us() < end) {
			if (recv(s->fd, b, 16, MSG_DONTWAIT) != 16 ||
			    load_be32(b) || load_be32(b + 4) != 77)
				continue;
			memcpy(s->id, b + 8, 8);
			s->id_us = clock_now_us();
			return;
		}
	}
	fprintf(stderr, "no answer to a connect\n");
	exit(1);
}

static size_t put_announce(struct load *l, const struct line *s, uint32_t tid,
			   uint8_t b[98])
{
	struct announce a;

	next_announce(l, &a);
	memset(b, 0, 98);
	memcpy(b, s->id, 8);
	store_be32(b + 8, 1);
	store_be32(b + 12, tid);
	memcpy(b + 16, a.hash, 20);
	memcpy(b + 36, "-WL0001-", 8);
	store_be64(b + 64, a.is_seed ? 0 : 1 << 20);
	store_be32(b + 80, 2);
	store_be32(b + 92, WANT);
	store_be16(b + 96, a.port);
	return 98;
}

static size_t put_scrape(struct load *l, const struct line *s, uint32_t tid,
			 uint8_t b[98])
{
	memcpy(b, s->id, 8);
	store_be32(b + 8, 2);
	store_be32(b + 12, tid);
	hash_of(l->next++ % TORRENTS, b + 16);
	return 36;
}

/* Sends for free slots, and again what got lost. */
static void udp_fill(struct load *l, struct line *s, int64_t now)
{
	uint8_t bytes[BATCH][98];
	struct mmsghdr out[BATCH] = { 0 };
	struct iovec iov[BATCH];
	unsigned n = 0;

	if (now - s->id_us > ID_US && !s->busy)
		udp_connect(s);
	for (unsigned i = 0; i < s->slots && n < BATCH; i++) {
		struct flight *f = &s->flights[i];

		if (f->tid && now - f->sent_us > LOST_US) {
			f->tid = 0;
			l->lost++;
			s->busy--;
		}
		if (f->tid || now - s->id_us > ID_US || !goes_on(l))
			continue;
		f->tid = (uint32_t)(++s->round) << 16 | 0x8000 | i;
		f->sent_us = now;
		iov[n].iov_base = bytes[n];
		iov[n].iov_len = l->is_scrape
					 ? put_scrape(l, s, f->tid, bytes[n])
					 : put_announce(l, s, f->tid, bytes[n]);
		out[n].msg_hdr.msg_iov = &iov[n];
		out[n].msg_hdr.msg_iovlen = 1;
		s->busy++;
		n++;
	}
	/* What does not go out is lost, and comes round again. */
	for (unsigned sent = 0; sent < n;) {
		int r = sendmmsg(s->fd, out + sent, n - sent, 0);

		sent += r > 0 ? (unsigned)r : 1;
	}
}

static void udp_take(struct load *l, struct line *s, const uint8_t *b,
		     size_t len)
{
	size_t width = l->to.ss_family == AF_INET6 ? 18 : 6;
	uint32_t tid = len >= 8 ? load_be32(b + 4) : 0;
	unsigned i = tid & 0x7fff;

	if (!tid || i >= s->slots || s->flights[i].tid != tid) {
		l->wrong++;
		return;
	}
	s->flights[i].tid = 0;
	s->busy--;
	if (l->is_scrape && load_be32(b) == 2 && len == 20) {
		l->answered++;
		l->told += load_be32(b + 8) + load_be32(b + 16);
		return;
	}
	if (load_be32(b) != 1 || len < 20 || (len - 20) % width) {
		l->wrong++;
		return;
	}
	l->answered++;
	l->told += (len - 20) / width;
}

static void udp_read(struct load *l, struct line *s)
{
	static uint8_t bytes[BATCH][REPLY_MAX];
	struct mmsghdr in[BATCH] = { 0 };
	struct iovec iov[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], REPLY_MAX };
		in[i].msg_hdr.msg_iov = &iov[i];
		in[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(s->fd, in, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		udp_take(l, s, bytes[i], in[i].msg_len);
}

static void run_udp(struct load *l)
{
	struct line *lines = mem_alloc_array(SOCKETS, sizeof(*lines));
	int ep = epoll_create1(EPOLL_CLOEXEC), big = 4 << 20;
	unsigned busy = 1;

	for (unsigned i = 0; i < SOCKETS; i++) {
		struct epoll_event e = { EPOLLIN, { .u32 = i } };

		lines[i].fd = connected(l, SOCK_DGRAM);
		lines[i].slots = l->in_flight / SOCKETS;
		setsockopt(lines[i].fd, SOL_SOCKET, SO_RCVBUF, &big,
			   sizeof(big));
		udp_connect(&lines[i]);
		epoll_ctl(ep, EPOLL_CTL_ADD, lines[i].fd, &e);
	}
	while (busy || goes_on(l)) {
		struct epoll_event ready[SOCKETS];
		int64_t now = clock_now_us();
		int n;

		busy = 0;
		for (unsigned i = 0; i < SOCKETS; i++) {
			udp_fill(l, &lines[i], now);
			busy += lines[i].busy;
		}
		n = epoll_wait(ep, ready, SOCKETS, 20);
		for (int i = 0; i < n; i++)
			udp_read(l, &lines[ready[i].data.u32]);
	}
	free(lines);
}

/* --- HTTP --- */

struct talk { /* a connection */
	int fd;
	bool is_asked;
	unsigned asked; /* on this connection */
	size_t len;
	char reply[REPLY_MAX + 1];
};

static void http_open(struct load *l, int ep, struct talk *t)
{
	struct linger none = { 1, 0 }; /* nothing is left in TIME_WAIT */
	struct epoll_event e = { EPOLLOUT, { .ptr = t } };

	t->fd = connected(l, SOCK_STREAM | SOCK_NONBLOCK);
	setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	t->is_asked = false;
	t->asked = 0;
	l->connections++;
	epoll_ctl(ep, EPOLL_CTL_ADD, t->fd, &e);
}

static void http_ask(struct load *l, int ep, struct talk *t, bool is_kept)
{
	struct epoll_event e = { EPOLLIN, { .ptr = t } };
	char text[512], hash[61];
	struct announce a;
	int n;

	next_announce(l, &a);
	for (unsigned i = 0; i < 20; i++)
		snprintf(hash + 3 * i, 4, "%%%02x", a.hash[i]);
	n = snprintf(text, sizeof(text),
		     "GET /announce?info_hash=%s&peer_id=-WL0001-abcdefghijkl"
		     "&port=%u&uploaded=0&downloaded=0&left=%u&compact=1"
		     "&numwant=%d&event=started HTTP/1.1\r\nHost: tracker\r\n"
		     "Connection: %s\r\n\r\n",
		     hash, a.port, a.is_seed ? 0u : 1u << 20, WANT,
		     is_kept ? "keep-alive" : "close");
	if (send(t->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		l->wrong++;
	t->is_asked = true;
	t->asked++;
	t->len = 0;
	epoll_ctl(ep, EPOLL_CTL_MOD, t->fd, &e);
}

/* 1: all of a good answer; 0: more is to come; -1: it is none. */
static int http_look(struct load *l, const struct talk *t, bool is_end)
{
	const char *body = memmem(t->reply, t->len, "\r\n\r\n", 4), *p;
	const char *says = strcasestr(t->reply, "content-length:");
	size_t have, need;

	if (!body)
		return is_end ? -1 : 0;
	body += 4;
	have = t->len - (size_t)(body - t->reply);
	need = says && says < body ? strtoul(says + 15, NULL, 10) : SIZE_MAX;
	if (have < need && !(is_end && need == SIZE_MAX))
		return is_end ? -1 : 0;
	if (strncmp(t->reply, "HTTP/1.", 7) != 0 ||
	    strncmp(t->reply + 8, " 200", 4) != 0 ||
	    !memmem(body, have, "8:interval", 10) ||
	    memmem(body, have, "14:failure reason", 17))
		return -1;
	p = memmem(body, have, "5:peers", 7);
	l->told += p ? strtoul(p + 7, NULL, 10) / 6 : 0;
	return 1;
}

/* Of a whole answer: whether another may be asked for on its connection. */
static bool is_kept_open(const struct talk *t)
{
	const char *body = memmem(t->reply, t->len, "\r\n\r\n", 4);
	const char *says = strcasestr(t->reply, "\r\nconnection:");

	if (says && says < body)
		return !strncasecmp(says + 13, " keep-alive", 11);
	return t->reply[7] == '1';
}

/* Returns whether the connection is still to be used. */
static bool http_read(struct load *l, int ep, struct talk *t, bool is_kept)
{
	ssize_t n = recv(t->fd, t->reply + t->len, REPLY_MAX - t->len, 0);
	int r;

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0 && !t->len && t->asked > 1) {
		l->dropped++; /* it was not kept, after all */
		return false;
	}
	t->len += n > 0 ? (size_t)n : 0;
	t->reply[t->len] = 0;
	r = http_look(l, t, n <= 0);
	if (!r)
		return true;
	l->answered += r > 0;
	l->wrong += r < 0;
	if (r < 0 || n <= 0 || !is_kept || !is_kept_open(t) || !goes_on(l))
		return false;
	http_ask(l, ep, t, is_kept);
	return true;
}

static void run_http(struct load *l, bool is_kept)
{
	struct talk *talks = mem_alloc_array(l->in_flight, sizeof(*talks));
	int ep = epoll_create1(EPOLL_CLOEXEC);
	unsigned open = l->in_flight;

	for (unsigned i = 0; i < open; i++)
		http_open(l, ep, &talks[i]);
	while (open) {
		struct epoll_event ready[64];
		int n = epoll_wait(ep, ready, 64, 2000);

		if (!n) {
			l->lost += open;
			break;
		}
		for (int i = 0; i < n; i++) {
			struct talk *t = ready[i].data.ptr;

			if (!t->is_asked && goes_on(l)) {
				http_ask(l, ep, t, is_kept);
				continue;
			}
			if (t->is_asked && http_read(l, ep, t, is_kept))
				continue;
			close(t->fd);
			if (goes_on(l))
				http_open(l, ep, t);
			else
				open--;
		}
	}
	free(talks);
}

static void print_hashes(void)
{
	for (unsigned i = 0; i < TORRENTS; i++) {
		uint8_t hash[20];
		char hex[41];

		hash_of(i, hash);
		puts(hex_encode(hash, 20, hex));
	}
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	bool is_scrape = !strcmp(mode, "scrape");
	bool is_udp = is_scrape || !strcmp(mode, "udp");
	struct load l = { .is_scrape = is_scrape,
			  .in_flight = is_udp ? 512 : 64,
			  .peers = 1000000 };
	struct addr to;
	double s;

	if (!strcmp(mode, "hashes")) {
		print_hashes();
		return 0;
	}
	if (argc < 4 || addr_parse(argv[2], 6969, &to)) {
		fprintf(stderr, "announce_load udp|scrape|http|http-kept "
				"ADDRESS:PORT SECONDS [IN-FLIGHT [PEERS]]\n");
		return 2;
	}
	if (argc > 4)
		l.in_flight = (unsigned)strtoul(argv[4], NULL, 10);
	if (argc > 5)
		l.peers = strtoull(argv[5], NULL, 10);
	if (l.in_flight < SOCKETS || l.in_flight > IN_FLIGHT_MAX || !l.peers)
		return 2;
	l.to_len = addr_to_sockaddr(&to, &l.to);
	l.start_us = clock_now_us();
	s = strtod(argv[3], NULL);
	l.end_us = s > 0 ? l.start_us + (int64_t)(s * 1e6) : 0;
	if (is_udp)
		run_udp(&l);
	else
		run_http(&l, !strcmp(mode, "http-kept"));
	s = (double)(clock_now_us() - l.start_us) * 1e-6;
	printf("{\"mode\": \"%s\", \"answered\": %llu, \"per_s\": %.0f, "
	       "\"wrong\": %llu, \"lost\": %llu, \"peers_each\": %.1f, "
	       "\"connections\": %llu, \"dropped\": %llu, \"core_busy\": %.2f}\n",
	       mode, (unsigned long long)l.answered, (double)l.answered / s,
	       (unsigned long long)l.wrong, (unsigned long long)l.lost,
	       l.answered ? (double)l.told / (double)l.answered : 0,
	       (unsigned long long)l.connections, (unsigned long long)l.dropped,
	       cpu_s() / s);
	return 0;
}
