/* The web of a tracker by itself, for tests and measurements that need a
 * process:
 *
 *     web_lab [-t THREADS] [-n INTERVAL] [-f] [-x PROXY]... [-S SUBNET]
 *             [-i IDLE_MS] [-m CONNECTIONS] [-a PER_ADDRESS]
 *             [-c CERT -k KEY] [-l ADDR]...
 *
 * Listens on each ADDR (127.0.0.1:0), and with a certificate on port 0 of each
 * besides; prints a line "http ADDR" or "https ADDR" for each, then "ready".
 * -f: full scrapes for everybody. -L: limits hold for private sources, too.
 * -A: a line to stdout for each request.
 * A line on stdin: "reload" reads the certificate again and prints "ok" or
 * why not; "leave" says goodbye. Ends with stdin. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/random.h"
#include "tracker/server/web.h"

#define BINDS_MAX 8

struct lab {
	struct tracker_policy policy;
	struct web_options options;
	struct addr binds[BINDS_MAX], tls_binds[BINDS_MAX];
	struct subnet stats_from;
	struct web *web;
};

static void bad(const char *what)
{
	fprintf(stderr, "web_lab: %s\n", what);
	exit(2);
}

static void parse_args(struct lab *l, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "t:n:fLx:S:c:k:l:i:m:a:A")) != -1) {
		if (c == 't')
			l->options.threads = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'n')
			l->policy.interval_s =
				(unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'i')
			l->options.idle_ms = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'm')
			l->options.max_conns =
				(unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'a')
			l->options.per_address =
				(unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'f')
			l->policy.allows_full_scrape = true;
		else if (c == 'A')
			l->policy.is_access_logged = true;
		else if (c == 'L')
			l->policy.limits_private = true;
		else if (c == 'x' &&
			 !subnet_parse(
				 optarg,
				 &l->policy.proxies[l->policy.num_proxies]))
			l->policy.num_proxies++;
		else if (c == 'S' && !subnet_parse(optarg, &l->stats_from))
			l->options.num_stats_from = 1;
		else if (c == 'c')
			l->options.cert_path = optarg;
		else if (c == 'k')
			l->options.key_path = optarg;
		else if (c == 'l' && l->options.num_binds < BINDS_MAX &&
			 !addr_parse(optarg, 0,
				     &l->binds[l->options.num_binds]))
			l->options.num_binds++;
		else
			bad("options are at the top of web_lab.c");
	}
}

static void say_ports(const struct lab *l)
{
	char text[ADDR_STR_MAX];
	struct addr a;

	for (size_t i = 0; i < l->options.num_binds; i++) {
		web_bound(l->web, false, i, &a);
		printf("http %s\n", addr_str(&a, text));
	}
	for (size_t i = 0; i < l->options.num_tls_binds; i++) {
		web_bound(l->web, true, i, &a);
		printf("https %s\n", addr_str(&a, text));
	}
	printf("ready\n");
	fflush(stdout);
}

static void on_line(struct lab *l, const char *line)
{
	char why[256] = "ok";

	if (!strcmp(line, "reload\n"))
		(void)web_reload_tls(l->web, why, sizeof(why)); /* says why */
	else if (!strcmp(line, "leave\n"))
		atomic_store(&l->policy.is_leaving, true);
	printf("%s\n", why);
	fflush(stdout);
}

static void serve(struct lab *l)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char line[64];

	for (;;) {
		swarms_tick(l->policy.swarms, clock_now_ms());
		if (poll(&p, 1, 1000) <= 0)
			continue;
		if (!fgets(line, sizeof(line), stdin))
			return;
		on_line(l, line);
	}
}

int main(int argc, char **argv)
{
	static struct lab lab; /* large, and zero */
	struct swarms_options so = { 0 };
	char why[256];

	lab.policy.interval_s = 1800;
	lab.policy.min_interval_s = 900;
	lab.policy.num_want = 50;
	lab.policy.max_want = 200;
	lab.options.policy = &lab.policy;
	parse_args(&lab, argc, argv);
	if (!lab.options.num_binds)
		(void)addr_parse("127.0.0.1", 0,
				 &lab.binds[lab.options.num_binds++]);
	lab.options.binds = lab.binds;
	for (size_t i = 0; lab.options.cert_path && i < lab.options.num_binds;
	     i++) {
		lab.tls_binds[i] = lab.binds[i];
		lab.tls_binds[i].port = 0;
		lab.options.num_tls_binds++;
	}
	lab.options.tls_binds = lab.tls_binds;
	lab.options.stats_from = &lab.stats_from;
	random_bytes(so.seed, sizeof(so.seed));
	lab.policy.swarms = swarms_new(&so, clock_now_ms());
	if (web_start(NULL, &lab.options, &lab.web, why, sizeof(why)))
		bad(why);
	say_ports(&lab);
	serve(&lab);
	web_stop(lab.web);
	swarms_free(lab.policy.swarms);
	return 0;
}
