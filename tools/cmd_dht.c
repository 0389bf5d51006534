/* weirctl dht: a DHT node without a mount, for others to begin with. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/state.h"
#include "fs/session_dht.h"
#include "tools/command.h"
#include "tools/dht_client.h"

#define SAY_MS      60000
#define QUERIES_MAX 1000000
#define FIRST_MS    2000 /* by then there is something to say */

struct server {
	struct dht_client client;
	bool is_json, is_quiet;
	struct state *state; /* NULL without state= */
	struct timer say;
};

static void print_where(struct server *s)
{
	char hex[41];

	for (int family = 4; family <= 6; family += 2) {
		if (!udp_has_family(s->client.udp, family))
			continue;
		fprintf(stderr, "IPv%d node %s, UDP port %u\n", family,
			hex_encode(dht_id(s->client.dht, family)->b, 20, hex),
			udp_port(s->client.udp));
	}
}

static void say(struct server *s)
{
	char line[4096];
	struct dht_stats st;

	if (s->is_json) {
		dht_describe(s->client.dht, line, sizeof(line));
		puts(line);
		fflush(stdout);
		return;
	}
	dht_stats(s->client.dht, &st);
	fprintf(stderr,
		"%s: %u good nodes, %llu queries answered, %u peers of %u"
		" torrents and %u items kept\n",
		st.is_well ? "well" : "alone", st.good[0] + st.good[1],
		(unsigned long long)st.answers_out, st.stored_peers,
		st.stored_hashes, st.stored_items);
}

static void on_say(struct timer *timer)
{
	struct server *s = container_of(timer, struct server, say);

	if (!s->is_quiet)
		say(s);
	session_dht_save(s->state, s->client.dht);
	timer_set_ms(timer, SAY_MS);
}

static bool parse_queries(const char *text, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!n || n > QUERIES_MAX || *end || *text < '0' || *text > '9')
		return false;
	*out = (unsigned)n;
	return true;
}

static int parse_line(struct server *s, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "queries", required_argument, NULL, 'Q' },
		{ 0 },
	};
	char why[OPTS_WHY_SIZE];
	int c;

	while ((c = getopt_long(argc, argv, "o:qd", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			s->is_json = true;
			break;
		case 'Q':
			if (!parse_queries(optarg, &s->client.queries_per_s))
				return command_usage(
					&cmd_dht,
					"--queries takes 1 to %d a second",
					QUERIES_MAX);
			break;
		case 'q':
			s->is_quiet = true;
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'o':
			if (opts_parse(&s->client.opts, optarg, why) < 0)
				return command_usage(&cmd_dht, "%s", why);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc != optind)
		return command_usage(&cmd_dht, "no argument, but -o");
	return 0;
}

static int open_state(struct server *s)
{
	char why[STATE_WHY_SIZE];

	if (s->client.opts.has_state &&
	    state_open(s->client.opts.state_dir, s->client.workers, &s->state,
		       why) < 0) {
		log_error("%s", why);
		return EXIT_REFUSED;
	}
	session_dht_load(s->state, s->client.dht);
	return 0;
}

static int run(int argc, char **argv)
{
	struct server s = { 0 };
	int code;

	dht_client_init(&s.client);
	code = parse_line(&s, argc, argv);
	if (!code)
		code = dht_client_open(&s.client, true);
	if (!code)
		code = open_state(&s);
	if (!code) {
		print_where(&s);
		timer_init(&s.say, s.client.loop, on_say);
		timer_set_ms(&s.say, FIRST_MS);
		code = dht_client_run(&s.client);
		timer_stop(&s.say);
		session_dht_save(s.state, s.client.dht);
		/* ^C is how it ends. */
		if (code == EXIT_STOPPED)
			code = EXIT_OK;
	}
	dht_client_close(&s.client);
	state_close(s.state);
	return code;
}

const struct command cmd_dht = {
	.name = "dht",
	.synopsis = "[--json] [-q] [--queries N] [-o OPT,...]",
	.summary = "Run a DHT node without a mount, for others to begin with",
	.options =
		"  --json  a line of JSON a minute\n"
		"  -q      say nothing\n"
		"  --queries N  answer up to N queries a second (default 250)\n"
		"Others name it by -o bootstrap=HOST:PORT. It ends with ^C; with "
		"state=DIR it\nremembers its id and its table. Without "
		"bootstrap= it joins the public DHT.\n",
	.has_o = true,
	.run = run,
};
