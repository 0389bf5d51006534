/* Goal: for test_livesync.py, a tracker without a network of clients: a store,
 * its queue and livesync, driven by lines on stdin.
 *
 *   livesync_node ADDR[:PORT] SUBNET[,SUBNET...] [mapped]
 *
 * Lines: "announce HEX40 IP:PORT LEFT EVENT" (EVENT none, completed, started or
 * stopped), answered "SEEDERS COMPLETED LEECHERS"; "peers HEX40", answered with
 * "IP:PORT=STATE" of each; "stats". Every answer is one line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "tracker/server/livesync.h"

struct node {
	struct loop *loop;
	struct swarms *swarms;
	struct tellq *queue;
	struct livesync *sync;
	struct event readable;
	struct timer tick;
	char line[4096];
	size_t len;
};

static void on_tellings(void *arg, const struct telling *t, size_t n)
{
	struct node *node = arg;

	livesync_tell(node->sync, t, n);
}

static enum announce_event event_of(const char *word)
{
	if (!strcmp(word, "completed"))
		return ANNOUNCE_COMPLETED;
	if (!strcmp(word, "started"))
		return ANNOUNCE_STARTED;
	return strcmp(word, "stopped") ? ANNOUNCE_NONE : ANNOUNCE_STOPPED;
}

/* As the packet threads do it. */
static void do_announce(struct node *node, const char *hex, const char *at,
			unsigned long left, const char *event)
{
	struct swarms_announce a = { .event = event_of(event),
				     .is_seed = !left };
	struct telling t = { .is_change = false };
	struct swarms_answer answer;

	CHECK(hex_decode(hex, strlen(hex), a.infohash.b, 20));
	CHECK(!addr_parse(at, 0, &a.peer));
	swarms_announce(node->swarms, &a, 1, &answer);
	if (answer.tell != SWARMS_TELL_NOTHING) {
		t.is_change = answer.tell == SWARMS_TELL_CHANGE;
		t.record.infohash = a.infohash;
		t.record.peer = a.peer;
		t.record.state = answer.state;
		t.record.is_completion = t.is_change &&
					 a.event == ANNOUNCE_COMPLETED &&
					 answer.state == SWARM_SEEDER_COMPLETED;
		tellq_push(node->queue, &t);
	}
	printf("%u %u %u\n", answer.counts.seeders, answer.counts.completed,
	       answer.counts.leechers);
}

static void show(void *arg, const struct swarm_view *v)
{
	static const char *const names[] = { "leecher", "seeder", "completed",
					     "gone" };
	struct node *node = arg;

	for (unsigned i = 0; i < v->num_peers; i++) {
		char at[ADDR_STR_MAX];
		struct swarm_record r;

		swarm_view_peer(node->swarms, v, i, &r);
		printf("%s%s=%s", i ? " " : "", addr_str(&r.peer, at),
		       names[r.state]);
	}
}

static void do_peers(struct node *node, const char *hex)
{
	struct infohash h;

	CHECK(hex_decode(hex, strlen(hex), h.b, 20));
	swarms_visit_one(node->swarms, &h, show, node);
	puts("");
}

static void do_stats(struct node *node)
{
	struct livesync_stats s;

	livesync_stats(node->sync, &s);
	printf("packets_out=%lu records_out=%lu packets_in=%lu records_in=%lu "
	       "news_in=%lu strangers=%lu own=%lu over_rate=%lu malformed=%lu "
	       "unknown_type=%lu martians=%lu denied=%lu\n",
	       s.packets_out, s.records_out, s.packets_in, s.records_in,
	       s.news_in, s.strangers, s.own, s.over_rate, s.malformed,
	       s.unknown_type, s.martians, s.denied);
}

static void obey(struct node *node, const char *line)
{
	char hex[64], at[64], event[16];
	unsigned long left;

	if (sscanf(line, "announce %63s %63s %lu %15s", hex, at, &left,
		   event) == 4)
		do_announce(node, hex, at, left, event);
	else if (sscanf(line, "peers %63s", hex) == 1)
		do_peers(node, hex);
	else
		do_stats(node);
	fflush(stdout);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct node *node = arg;
	ssize_t n = read(fd, node->line + node->len,
			 sizeof(node->line) - 1 - node->len);
	char *end;

	if (n <= 0) {
		loop_stop(node->loop);
		return;
	}
	node->len += (size_t)n;
	node->line[node->len] = 0;
	while ((end = strchr(node->line, '\n'))) {
		*end = 0;
		obey(node, node->line);
		node->len -= (size_t)(end + 1 - node->line);
		memmove(node->line, end + 1, node->len + 1);
	}
}

static void on_tick(struct timer *timer)
{
	struct node *node =
		(struct node *)((char *)timer - offsetof(struct node, tick));

	swarms_tick(node->swarms, loop_now_ms(node->loop));
	timer_set_ms(&node->tick, 500);
}

static void run(struct node *node)
{
	timer_init(&node->tick, node->loop, on_tick);
	timer_set_ms(&node->tick, 0);
	event_assign(&node->readable, loop_base(node->loop), 0,
		     EV_READ | EV_PERSIST, on_readable, node);
	event_add(&node->readable, NULL);
	puts("ready");
	fflush(stdout);
	loop_run(node->loop);
	event_del(&node->readable);
	timer_stop(&node->tick);
}

int main(int argc, char **argv)
{
	struct swarms_options so = { .is_replicated = true };
	struct livesync_options o = { .is_v4_mapped = argc > 3 };
	struct subnet sources[LIMIT_LIVESYNC_SOURCES];
	struct node node = { .len = 0 };
	char why[256];

	CHECK(argc >= 3);
	log_start("livesync_node", LOG_LEVEL_INFO);
	CHECK(!addr_parse(argv[1], 0, &o.bind));
	for (char *s; (s = strsep(&argv[2], ","));)
		CHECK(!subnet_parse(s, &sources[o.num_sources++]));
	node.loop = loop_new();
	node.swarms = o.swarms = swarms_new(&so, clock_now_ms());
	node.queue = tellq_new(node.loop, on_tellings, &node);
	o.sources = sources;
	if (livesync_start(node.loop, &o, &node.sync, why, sizeof(why))) {
		log_error("%s", why);
		return 1;
	}
	run(&node);
	livesync_stop(node.sync);
	tellq_free(node.queue);
	swarms_free(node.swarms);
	loop_free(node.loop);
	return 0;
}
