/* weirctl add, rm, ls, status, peers: work on a running mount. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/transfer.h"

/* What all of them take. */
struct line {
	struct control_place place;
	bool is_json, deletes_data;
	int argc; /* what is left */
	char **argv;
};

static int parse_line(const struct command *c, struct line *l, int argc,
		      char **argv, int least, int most)
{
	static const struct option longs[] = {
		{ "mount", required_argument, NULL, 'M' },
		{ "json", no_argument, NULL, 'j' },
		{ "delete-data", no_argument, NULL, 'D' },
		{ 0 },
	};
	char why[OPTS_WHY_SIZE];
	int option, r;

	memset(l, 0, sizeof(*l));
	opts_init(&l->place.opts);
	r = opts_read_config(&l->place.opts, why);
	while (!r &&
	       (option = getopt_long(argc, argv, "o:", longs, NULL)) != -1) {
		switch (option) {
		case 'M':
			l->place.mount = optarg;
			break;
		case 'j':
			l->is_json = true;
			break;
		case 'D':
			l->deletes_data = true;
			break;
		case 'o':
			r = opts_parse(&l->place.opts, optarg, why);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (r < 0)
		return command_usage(c, "%s", why);
	l->argc = argc - optind;
	l->argv = argv + optind;
	if (l->argc < least || (most >= 0 && l->argc > most))
		return command_usage(c, l->argc < least ? "something is missing"
							: "too much is said");
	return EXIT_OK;
}

static json_t *request_of(const char *command, const char *torrent)
{
	json_t *request = json_pack("{s:s}", "cmd", command);

	if (torrent)
		json_object_set_new(request, "torrent", json_string(torrent));
	return request;
}

static void print_json(const json_t *json)
{
	(void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	puts("");
}

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static double percent_of(const json_t *o)
{
	uint64_t total = number_of(o, "total_bytes");

	return total ? 100.0 * (double)number_of(o, "have_bytes") /
			       (double)total
		     : 0.0;
}

/* ---- add, rm ---- */

/* A path as the daemon, in another folder, must see it. Owned by the caller. */
static char *source_path(const char *text)
{
	char *full = realpath(text, NULL);

	return full ? full : mem_strdup(text);
}

static int run_add(int argc, char **argv)
{
	struct line l;
	int code = parse_line(&cmd_add, &l, argc, argv, 1, -1);
	json_t *all = json_array();

	for (int i = 0; !code && i < l.argc; i++) {
		char *source = source_path(l.argv[i]);
		json_t *request = request_of("add", NULL), *answer;

		json_object_set_new(request, "source", json_string(source));
		answer = control_ask(&l.place, request);
		if (!answer)
			code = EXIT_REFUSED;
		else if (!l.is_json && !*text_of(answer, "infohash"))
			printf("%s  is followed, nothing was found yet\n",
			       source);
		else if (!l.is_json)
			printf("%s  %s\n", text_of(answer, "infohash"),
			       text_of(answer, "name"));
		json_array_append_new(all, answer);
		free(source);
	}
	if (!code && l.is_json)
		print_json(all);
	json_decref(all);
	opts_release(&l.place.opts);
	return code;
}

static int run_rm(int argc, char **argv)
{
	struct line l;
	int code = parse_line(&cmd_rm, &l, argc, argv, 1, -1);

	for (int i = 0; !code && i < l.argc; i++) {
		json_t *request = request_of("rm", l.argv[i]), *answer;

		json_object_set_new(request, "delete_data",
				    json_boolean(l.deletes_data));
		answer = control_ask(&l.place, request);
		if (!answer)
			code = EXIT_REFUSED;
		json_decref(answer);
	}
	opts_release(&l.place.opts);
	return code;
}

/* ---- ls, status, peers ---- */

static void print_torrent_line(const json_t *t)
{
	char size[32], rate[32];

	printf("%5.1f%%  %-11s %10s  %10s/s  %3u peers  %s\n", percent_of(t),
	       text_of(t, "state"),
	       format_bytes(number_of(t, "total_bytes"), size),
	       format_bytes(number_of(t, "down_bps"), rate),
	       (unsigned)number_of(t, "peers"), text_of(t, "name"));
}

static void print_torrent_lines(const json_t *list)
{
	json_t *t;
	size_t i;

	json_array_foreach(list, i, t) print_torrent_line(t);
}

/* Asks, prints with FN or as JSON. KEY: the part of the answer that counts;
 * NULL: all of it. */
static int ask_and_print(struct line *l, json_t *request, const char *key,
			 void (*fn)(const json_t *))
{
	json_t *answer = control_ask(&l->place, request);
	json_t *part = key ? json_object_get(answer, key) : answer;

	if (answer && l->is_json)
		print_json(part);
	else if (answer)
		fn(part);
	json_decref(answer);
	opts_release(&l->place.opts);
	return answer ? EXIT_OK : EXIT_REFUSED;
}

static void print_ls(const json_t *answer)
{
	print_torrent_lines(json_object_get(answer, "torrents"));
}

static int run_ls(int argc, char **argv)
{
	struct line l;
	int code = parse_line(&cmd_ls, &l, argc, argv, 0, 0);

	return code ? code
		    : ask_and_print(&l, request_of("ls", NULL), NULL, print_ls);
}

static void print_library(const json_t *s)
{
	printf("weirfs %s, port %u, up %us\nstate %s\ndata  %s\n",
	       text_of(s, "version"), (unsigned)number_of(s, "port"),
	       (unsigned)number_of(s, "uptime_s"), text_of(s, "state_dir"),
	       text_of(s, "data_dir"));
	if (*text_of(s, "refused"))
		printf("refused last: %s\n", text_of(s, "refused"));
	print_torrent_lines(json_object_get(s, "torrents"));
}

static void print_amount(const char *label, const json_t *t, const char *key,
			 const char *unit)
{
	char text[32];

	printf("%-11s %s%s\n", label, format_bytes(number_of(t, key), text),
	       unit);
}

static void print_tracker(const json_t *t)
{
	char when[32];

	printf("tracker     %-10s %s", text_of(t, "state"), text_of(t, "url"));
	if (!json_is_null(json_object_get(t, "seeders")))
		printf("  %llu seeders",
		       (unsigned long long)number_of(t, "seeders"));
	if (!json_is_null(json_object_get(t, "leechers")))
		printf("  %llu leechers",
		       (unsigned long long)number_of(t, "leechers"));
	if (*text_of(t, "error"))
		printf("  \"%s\"", text_of(t, "error"));
	if (!json_is_null(json_object_get(t, "next_s")))
		printf("  again in %s",
		       format_eta(number_of(t, "next_s"), 1, when));
	putchar('\n');
}

static void print_dht(const json_t *d)
{
	char when[32];

	printf("dht         %-10s %llu good nodes, %llu peers found, announced"
	       " to %llu",
	       text_of(d, "state"), (unsigned long long)number_of(d, "nodes"),
	       (unsigned long long)number_of(d, "peers"),
	       (unsigned long long)number_of(d, "told"));
	if (json_is_integer(json_object_get(d, "next_s")))
		printf("  again in %s",
		       format_eta(number_of(d, "next_s"), 1, when));
	putchar('\n');
}

/* A source of peers and what it said last. */
static void print_source(const json_t *source)
{
	const json_t *state = json_object_get(source, "state");
	const json_t *dht = json_object_get(state, "dht");
	const json_t *trackers = json_object_get(state, "trackers"), *t;
	char *text;
	size_t i;

	json_array_foreach(trackers, i, t) print_tracker(t);
	if (number_of(state, "left_out"))
		printf("tracker     and %llu more\n",
		       (unsigned long long)number_of(state, "left_out"));
	if (dht)
		print_dht(dht);
	if (trackers || dht)
		return;
	text = json_dumps(state, JSON_ENCODE_ANY);
	printf("%-11s %s\n", text_of(source, "name"), text ? text : "");
	free(text);
}

/* One torrent. */
static void print_torrent(const json_t *t)
{
	json_t *source;
	size_t i;

	print_torrent_line(t);
	printf("infohash    %s\nmagnet      %s\n", text_of(t, "infohash"),
	       text_of(t, "magnet"));
	print_amount("have", t, "have_bytes", "");
	print_amount("down", t, "down_bps", "/s");
	print_amount("up", t, "up_bps", "/s");
	print_amount("downloaded", t, "downloaded", "");
	print_amount("uploaded", t, "uploaded", "");
	print_amount("wasted", t, "wasted", "");
	printf("seeds       %u of %u connected, %u known\n",
	       (unsigned)number_of(t, "seeds"), (unsigned)number_of(t, "peers"),
	       (unsigned)number_of(t, "candidates"));
	if (number_of(t, "parked_reads"))
		printf("waiting     %u reads\n",
		       (unsigned)number_of(t, "parked_reads"));
	if (*text_of(t, "error"))
		printf("error       %s\n", text_of(t, "error"));
	if (*text_of(t, "message"))
		printf("message     %s\n", text_of(t, "message"));
	json_array_foreach(json_object_get(t, "sources"), i, source)
		print_source(source);
}

static int run_status(int argc, char **argv)
{
	struct line l;
	int code = parse_line(&cmd_status, &l, argc, argv, 0, 1);

	return code ? code
		    : ask_and_print(
			      &l,
			      request_of("status", l.argc ? l.argv[0] : NULL),
			      "status", l.argc ? print_torrent : print_library);
}

static void print_peers(const json_t *peers)
{
	json_t *p;
	size_t i;

	json_array_foreach(peers, i, p)
	{
		char down[32], up[32];

		printf("%-22s %5.1f%%  %10s/s  %10s/s  %5ums  %-5s %s\n",
		       text_of(p, "addr"),
		       100 * json_real_value(json_object_get(p, "progress")),
		       format_bytes(number_of(p, "down_bps"), down),
		       format_bytes(number_of(p, "up_bps"), up),
		       (unsigned)number_of(p, "rtt_ms"), text_of(p, "flags"),
		       text_of(p, "client"));
	}
}

static int run_peers(int argc, char **argv)
{
	struct line l;
	int code = parse_line(&cmd_peers, &l, argc, argv, 1, 1);

	return code ? code
		    : ask_and_print(&l, request_of("peers", l.argv[0]), "peers",
				    print_peers);
}

/* ---- the commands ---- */

#define WHICH_MOUNT                                                            \
	"  --mount MNT    the mount at MNT\n"                                  \
	"  -o state=DIR   the mount that keeps its state there (default: as "  \
	"weirfs)\n"                                                            \
	"  --json         for programs\n"
#define WHICH_TORRENT                                                           \
	"  TORRENT        its name in the library, or 8 or more digits of its " \
	"infohash\n"

const struct command cmd_add = {
	.name = "add",
	.synopsis = "SOURCE... [--mount MNT] [--json]",
	.summary = "Add torrents to a running mount",
	.options = "  SOURCE         .torrent file, magnet link, infohash or "
		   "URL\n" WHICH_MOUNT,
	.run = run_add,
};

const struct command cmd_rm = {
	.name = "rm",
	.synopsis = "TORRENT... [--delete-data] [--mount MNT]",
	.summary = "Remove torrents from a running mount",
	.options = WHICH_TORRENT
	"  --delete-data  what was fetched of it too\n" WHICH_MOUNT,
	.run = run_rm,
};

const struct command cmd_ls = {
	.name = "ls",
	.synopsis = "[--mount MNT] [--json]",
	.summary = "List the torrents of a running mount",
	.options = WHICH_MOUNT,
	.run = run_ls,
};

const struct command cmd_status = {
	.name = "status",
	.synopsis = "[TORRENT] [--mount MNT] [--json]",
	.summary = "How a running mount, or one torrent of it, stands",
	.options = WHICH_TORRENT WHICH_MOUNT,
	.run = run_status,
};

const struct command cmd_peers = {
	.name = "peers",
	.synopsis = "TORRENT [--mount MNT] [--json]",
	.summary = "List the peers of a torrent",
	.options = WHICH_TORRENT WHICH_MOUNT,
	.run = run_peers,
};
