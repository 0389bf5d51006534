/* tests/lib/linkemu.c: a link with delay, rate and loss between two network
 * namespaces, for kernels without netem.
 *
 *     linkemu NS_A NS_B DELAY_MS RATE_MBIT LOSS_PERCENT [QUEUE_MS [SEED]]
 *
 * Each namespace (a name in /run/netns) gets a TUN device "emu0"; addresses and
 * routes are the caller's. A packet that enters one side
 *   1. is lost with the given probability,
 *   2. waits for the wire, which carries RATE_MBIT (0: any amount at once), or
 *      is dropped if more than QUEUE_MS (100) of packets wait already,
 *   3. travels DELAY_MS, and comes out at the other side in order.
 * Prints "ready" when both devices exist; SIGTERM ends it with one line of what
 * each direction carried, lost and dropped. One thread; equal seeds lose equal
 * packets of equal traffic. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES 2048   /* an MTU of 1500 and room */
#define LANE_PACKETS 16384u /* under way in one direction; a power of two */
#define BURST        64     /* packets taken before the other lane's turn */
#define NS_PER_MS    1000000
#define NS_PER_S     1000000000ll

struct packet {
	int64_t due_ns; /* when it comes out */
	size_t len;
	uint8_t bytes[PACKET_BYTES];
};

/* One direction. Packets between tail and head are under way, in order. */
struct lane {
	int in, out;
	struct packet *ring;
	uint32_t head, tail;
	int64_t wire_free_ns; /* when the last packet will have left */
	unsigned long carried, lost, dropped;
};

struct link {
	struct lane lane[2];
	int64_t delay_ns, queue_ns;
	double ns_per_byte;  /* 0: infinitely fast */
	uint64_t loss_below; /* a 32-bit draw below this is a lost packet */
	uint64_t random;
};

static volatile sig_atomic_t is_over;

static void on_signal(int sig)
{
	is_over = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "linkemu: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* splitmix64: 32 good bits a call. */
static uint32_t draw(struct link *link)
{
	uint64_t x = link->random += 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (uint32_t)(x >> 32);
}

/* The device of namespace NAME. Leaves this process in that namespace. */
static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char path[256];
	int ns, tun;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		die(path);
	close(ns);
	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tun < 0)
		die("/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "emu0");
	if (ioctl(tun, TUNSETIFF, &request) < 0)
		die("TUNSETIFF");
	return tun;
}

/* Takes in what waits at the entrance. */
static void lane_take(struct link *link, struct lane *lane, int64_t now)
{
	for (int i = 0; i < BURST; i++) {
		struct packet *p = &lane->ring[lane->head % LANE_PACKETS];
		bool is_full = lane->head - lane->tail == LANE_PACKETS;
		uint8_t away[PACKET_BYTES];
		int64_t start;
		ssize_t n;

		n = read(lane->in, is_full ? away : p->bytes, PACKET_BYTES);
		if (n <= 0)
			return;
		if (draw(link) < link->loss_below) {
			lane->lost++;
			continue;
		}
		start = lane->wire_free_ns > now ? lane->wire_free_ns : now;
		if (is_full || start - now > link->queue_ns) {
			lane->dropped++;
			continue;
		}
		lane->wire_free_ns =
			start + (int64_t)((double)n * link->ns_per_byte);
		p->due_ns = lane->wire_free_ns + link->delay_ns;
		p->len = (size_t)n;
		lane->head++;
	}
}

/* Lets out what has arrived; returns when the next one will, 0: none. */
static int64_t lane_give(struct lane *lane)
{
	while (lane->tail != lane->head) {
		struct packet *p = &lane->ring[lane->tail % LANE_PACKETS];

		if (p->due_ns > now_ns())
			return p->due_ns;
		if (write(lane->out, p->bytes, p->len) == (ssize_t)p->len)
			lane->carried++;
		else
			lane->dropped++;
		lane->tail++;
	}
	return 0;
}

static void link_run(struct link *link)
{
	struct pollfd fds[2];

	for (int i = 0; i < 2; i++)
		fds[i] = (struct pollfd){ link->lane[i].in, POLLIN, 0 };
	while (!is_over) {
		struct timespec sleep = { 1, 0 };
		int64_t next_ns = 0, wait_ns;

		for (int i = 0; i < 2; i++) {
			int64_t due_ns;

			lane_take(link, &link->lane[i], now_ns());
			due_ns = lane_give(&link->lane[i]);
			if (due_ns && (!next_ns || due_ns < next_ns))
				next_ns = due_ns;
		}
		if (next_ns) {
			wait_ns = next_ns - now_ns();
			if (wait_ns < 0)
				wait_ns = 0;
			sleep.tv_sec = wait_ns / NS_PER_S;
			sleep.tv_nsec = wait_ns % NS_PER_S;
		}
		ppoll(fds, 2, &sleep, NULL);
	}
}

int main(int argc, char **argv)
{
	struct link link = { .queue_ns = 100 * NS_PER_MS };
	struct sigaction action = { .sa_handler = on_signal };
	double rate;

	if (argc < 6) {
		fprintf(stderr, "usage: linkemu NS_A NS_B DELAY_MS RATE_MBIT "
				"LOSS_PERCENT [QUEUE_MS [SEED]]\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_TIMERSLACK, 1);
	link.delay_ns = (int64_t)(strtod(argv[3], NULL) * NS_PER_MS);
	rate = strtod(argv[4], NULL);
	link.ns_per_byte = rate > 0 ? 8e3 / rate : 0;
	link.loss_below = (uint64_t)(strtod(argv[5], NULL) / 100 * 0x1p32);
	if (argc > 6)
		link.queue_ns = (int64_t)(strtod(argv[6], NULL) * NS_PER_MS);
	if (argc > 7)
		link.random = strtoull(argv[7], NULL, 0);

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	link.lane[0].in = link.lane[1].out = open_tun(argv[1]);
	link.lane[1].in = link.lane[0].out = open_tun(argv[2]);
	for (int i = 0; i < 2; i++) {
		link.lane[i].ring = calloc(LANE_PACKETS, sizeof(struct packet));
		if (!link.lane[i].ring)
			die("memory");
	}
	puts("ready");
	fflush(stdout);
	link_run(&link);
	for (int i = 0; i < 2; i++)
		printf("%s carried=%lu lost=%lu dropped=%lu\n",
		       i ? "b->a" : "a->b", link.lane[i].carried,
		       link.lane[i].lost, link.lane[i].dropped);
	return 0;
}
