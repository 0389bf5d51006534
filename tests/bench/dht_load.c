/* A load for a DHT node on 127.0.0.1, from as many addresses of 127/8 as asked
 * for, so that limits for each of them stay what they are.
 *
 *     dht_load PORT ping|find_node SECONDS IN-FLIGHT ADDRESSES
 *
 * One socket; each query names its sender's address. As many are kept in flight
 * as said: an answer, or 200 ms without one, makes room for the next. Prints
 * answers a second, and the part of the queries that was answered. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/random.h"

#define BATCH       32
#define WINDOW_MAX  4096
#define LOST_US     200000
#define PACKET_MAX  2048
#define WARM_UP_US  500000
#define TID_OFFSET  "1:t4:"
#define CONTROL_MAX CMSG_SPACE(sizeof(struct in_pktinfo))

struct load {
	int fd;
	struct sockaddr_in to;
	bool is_ping;
	unsigned window, addresses, next_address;
	struct prng prng;
	int64_t sent_us[WINDOW_MAX]; /* 0: not in flight */
	uint16_t round[WINDOW_MAX];  /* of the slot, so that late is not new */
	uint64_t sent, answered, lost, errors;
};

static size_t write_query(struct load *l, unsigned slot, unsigned who,
			  uint8_t *out)
{
	uint8_t *at = out;
	uint8_t id[20] = "an id of 20 bytes...", target[20];

	/* One address is one node. */
	store_be32(id, who * 2654435761u);
	for (unsigned i = 0; i < 16; i += 8)
		store_be64(target + i, prng_u64(&l->prng));
	store_be32(target + 16, slot);
	memcpy(at, "d1:ad2:id20:", 12);
	memcpy(at + 12, id, 20);
	at += 32;
	if (!l->is_ping) {
		memcpy(at, "6:target20:", 11);
		memcpy(at + 11, target, 20);
		at += 31;
	}
	if (l->is_ping)
		memcpy(at, "e1:q4:ping1:t4:", 15);
	else
		memcpy(at, "e1:q9:find_node1:t4:", 20);
	at += l->is_ping ? 15 : 20;
	store_be16(at, (uint16_t)slot);
	store_be16(at + 2, l->round[slot]);
	memcpy(at + 4, "1:y1:qe", 7);
	return (size_t)(at + 11 - out);
}

/* Fills free slots, a batch at a time. */
static void send_some(struct load *l, int64_t now)
{
	static uint8_t bytes[BATCH][128], control[BATCH][CONTROL_MAX];
	struct mmsghdr msgs[BATCH] = { 0 };
	struct iovec iov[BATCH];
	unsigned slots[BATCH], n = 0;
	int done;

	for (unsigned i = 0; i < l->window && n < BATCH; i++) {
		struct msghdr *h = &msgs[n].msg_hdr;
		unsigned who = l->next_address++ % l->addresses;
		struct in_pktinfo info = { 0 };
		struct cmsghdr *c;

		if (l->sent_us[i])
			continue;
		iov[n].iov_base = bytes[n];
		iov[n].iov_len = write_query(l, i, who, bytes[n]);
		h->msg_name = &l->to;
		h->msg_namelen = sizeof(l->to);
		h->msg_iov = &iov[n];
		h->msg_iovlen = 1;
		h->msg_control = control[n];
		h->msg_controllen = CONTROL_MAX;
		c = CMSG_FIRSTHDR(h);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		info.ipi_spec_dst.s_addr = htonl(0x7f010001 + who);
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		slots[n++] = i;
	}
	done = n ? sendmmsg(l->fd, msgs, n, 0) : 0;
	for (int i = 0; i < done; i++) {
		l->sent_us[slots[i]] = now;
		l->sent++;
	}
}

/* Which slot it answers, by the transaction id. */
static void take(struct load *l, const uint8_t *p, size_t len)
{
	const uint8_t *t = memmem(p, len, TID_OFFSET, 5);
	const uint8_t *y = memmem(p, len, "1:y1:", 5);
	unsigned slot;

	if (!t || !y || t + 9 > p + len || y + 6 > p + len)
		return;
	slot = load_be16(t + 5);
	if (slot >= l->window || !l->sent_us[slot] ||
	    load_be16(t + 7) != l->round[slot])
		return;
	l->sent_us[slot] = 0;
	l->round[slot]++;
	if (y[5] == 'r')
		l->answered++;
	else
		l->errors++;
}

static unsigned receive_some(struct load *l)
{
	static uint8_t bytes[BATCH][PACKET_MAX];
	struct mmsghdr msgs[BATCH] = { 0 };
	struct iovec iov[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ bytes[i], PACKET_MAX };
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(l->fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		take(l, bytes[i], msgs[i].msg_len);
	return n > 0 ? (unsigned)n : 0;
}

static void give_up_on_lost(struct load *l, int64_t now)
{
	for (unsigned i = 0; i < l->window; i++) {
		if (!l->sent_us[i] || now - l->sent_us[i] < LOST_US)
			continue;
		l->sent_us[i] = 0;
		l->round[i]++;
		l->lost++;
	}
}

static void run(struct load *l, int64_t until_us)
{
	struct pollfd pfd = { .fd = l->fd, .events = POLLIN };
	int64_t now = clock_now_us(), looked = now;

	for (; now < until_us; now = clock_now_us()) {
		send_some(l, now);
		if (!receive_some(l))
			(void)poll(&pfd, 1, 10);
		if (now - looked > LOST_US / 4) {
			give_up_on_lost(l, now);
			looked = now;
		}
	}
}

static int open_socket(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = 4 << 20;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

int main(int argc, char **argv)
{
	static struct load l = { .prng.state = 1 };
	int64_t start, took;

	if (argc != 6)
		return 2;
	l.to.sin_family = AF_INET;
	l.to.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	l.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l.is_ping = !strcmp(argv[2], "ping");
	l.window = (unsigned)strtoul(argv[4], NULL, 10);
	l.addresses = (unsigned)strtoul(argv[5], NULL, 10);
	if (l.window < 1 || l.window > WINDOW_MAX || !l.addresses)
		return 2;
	l.fd = open_socket();
	if (l.fd < 0)
		return 1;
	run(&l, clock_now_us() + WARM_UP_US);
	l.sent = l.answered = l.lost = l.errors = 0;
	puts("begin"); /* whoever counts CPU time begins now */
	fflush(stdout);
	start = clock_now_us();
	run(&l, start + 1000000 * strtoll(argv[3], NULL, 10));
	took = clock_now_us() - start;
	printf("%.0f %.4f %llu\n", (double)l.answered * 1e6 / (double)took,
	       l.sent ? (double)l.answered / (double)l.sent : 0,
	       (unsigned long long)l.errors);
	close(l.fd);
	return 0;
}
