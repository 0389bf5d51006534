/* The tracker's UDP side and its store without anything else, for measuring:
 *
 *     udp_tracker_alone ADDRESS:PORT [THREADS]
 *
 * Everything is tracked, nobody is limited. Runs until it is ended. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tracker/server/packets.h"

struct clock_hand {
	struct timer timer;
	struct swarms *swarms;
};

static void on_second(struct timer *timer)
{
	struct clock_hand *c = container_of(timer, struct clock_hand, timer);

	swarms_tick(c->swarms, clock_now_ms());
	timer_set_ms(timer, 1000);
}

int main(int argc, char **argv)
{
	struct swarms_options so = { .is_replicated = true };
	struct tracker_policy policy = { .interval_s = 1800,
					 .min_interval_s = 900,
					 .num_want = 50,
					 .max_want = 200 };
	struct packets_options o = { .policy = &policy, .num_binds = 1 };
	struct clock_hand hand = { 0 };
	struct packets *packets;
	struct addr bind;
	struct loop *loop;
	char why[200];

	if (argc < 2 || addr_parse(argv[1], 6969, &bind)) {
		fprintf(stderr, "udp_tracker_alone ADDRESS:PORT [THREADS]\n");
		return 2;
	}
	random_bytes(so.seed, sizeof(so.seed));
	policy.swarms = hand.swarms = swarms_new(&so, clock_now_ms());
	loop = loop_new();
	o.binds = &bind;
	o.threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
	if (packets_start(loop, &o, &packets, why, sizeof(why))) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	timer_init(&hand.timer, loop, on_second);
	timer_set_ms(&hand.timer, 1000);
	loop_run(loop);
	return 0;
}
