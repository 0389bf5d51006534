/* weirctl lookup: peers of an infohash, nodes close to an id, or the trackers
 * that own a key. */
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tools/command.h"
#include "tools/dht_client.h"
#include "tools/owner_lookup.h"

struct lookup {
	struct dht_client client;
	bool is_json, is_node, is_tracker;
	const char *domain;
	struct kad_id target;
	json_t *peers; /* with --json */
};

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	struct lookup *l = arg;
	char text[ADDR_STR_MAX];

	for (size_t i = 0; i < n; i++) {
		addr_str(&addrs[i], text);
		if (l->is_json)
			json_array_append_new(l->peers, json_string(text));
		else
			puts(text);
	}
	fflush(stdout);
}

static json_t *nodes_json(const struct dht_result *r)
{
	json_t *nodes = json_array();
	char text[ADDR_STR_MAX], hex[41];

	for (unsigned i = 0; i < r->num_nodes; i++)
		json_array_append_new(
			nodes,
			json_pack("{s:s, s:s}", "id",
				  hex_encode(r->nodes[i].id.b, 20, hex), "addr",
				  addr_str(&r->nodes[i].addr, text)));
	return nodes;
}

static void print_json(struct lookup *l, const struct dht_result *r)
{
	json_t *o = json_pack("{s:i, s:i, s:i, s:I}", "hops", (int)r->hops,
			      "queries", (int)r->queries, "answers",
			      (int)r->answers, "ms", (json_int_t)r->took_ms);

	if (!l->is_node) {
		json_object_set(o, "peers", l->peers);
		json_object_set_new(o, "seeds", json_integer(r->seeds));
		json_object_set_new(o, "downloaders",
				    json_integer(r->downloaders));
	}
	json_object_set_new(o, "nodes", nodes_json(r));
	json_dumpf(o, stdout, JSON_INDENT(2));
	puts("");
	json_decref(o);
}

static void print_text(struct lookup *l, const struct dht_result *r)
{
	char text[ADDR_STR_MAX], hex[41];

	if (l->is_node) {
		for (unsigned i = 0; i < r->num_nodes; i++)
			printf("%s  %s\n",
			       hex_encode(r->nodes[i].id.b, 20, hex),
			       addr_str(&r->nodes[i].addr, text));
	}
	fflush(stdout);
	fprintf(stderr, "%u %s, %u hops, %u of %u nodes answered, %.1f s\n",
		l->is_node ? r->num_nodes : r->num_peers,
		l->is_node ? "nodes" : "peers", r->hops, r->answers, r->queries,
		(double)r->took_ms / 1000);
}

static void on_done(void *arg, const struct dht_result *r)
{
	struct lookup *l = arg;
	bool found = l->is_node ? r->num_nodes : r->num_peers;

	if (l->is_json)
		print_json(l, r);
	else
		print_text(l, r);
	if (!found)
		log_error("nothing found: %s", dht_client_excuse(&l->client));
	dht_client_stop(&l->client, found ? EXIT_OK : EXIT_REFUSED);
}

static bool begin(struct lookup *l)
{
	struct dht_get_peers spec = {
		.want_scrape = true,
		.on_peers = on_peers,
		.on_done = on_done,
		.arg = l,
	};

	memcpy(spec.infohash.b, l->target.b, sizeof(spec.infohash.b));
	return l->is_node ? dht_find_node(l->client.dht, &l->target, on_done, l)
			  : dht_get_peers(l->client.dht, &spec);
}

/* 40 digits; of 64, a v2 infohash, the DHT knows the first 40 (BEP 52). */
static bool parse_id(const char *text, struct kad_id *out)
{
	const char *urn = "urn:btih:", *at = strstr(text, urn);
	size_t n;

	if (at) /* a whole magnet link is fine too */
		text = at + strlen(urn);
	n = strspn(text, "0123456789abcdefABCDEF");
	return (n == 40 || n == 64) && (at || !text[n]) &&
	       hex_decode(text, 40, out->b, sizeof(out->b));
}

static int parse_line(struct lookup *l, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "node", no_argument, NULL, 'n' },
		{ "tracker", no_argument, NULL, 't' },
		{ "domain", required_argument, NULL, 'D' },
		{ 0 },
	};
	char why[OPTS_WHY_SIZE];
	int c;

	while ((c = getopt_long(argc, argv, "o:d", longs, NULL)) != -1) {
		switch (c) {
		case 'j':
			l->is_json = true;
			break;
		case 'n':
			l->is_node = true;
			break;
		case 't':
			l->is_tracker = true;
			break;
		case 'D':
			l->domain = optarg;
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'o':
			if (opts_parse(&l->client.opts, optarg, why) < 0)
				return command_usage(&cmd_lookup, "%s", why);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (l->domain && !l->is_tracker)
		return command_usage(&cmd_lookup, "--domain is of --tracker");
	if (argc - optind != 1)
		return command_usage(&cmd_lookup, "give one %s",
				     l->is_tracker ? "KEY" : "INFOHASH");
	if (l->is_tracker)
		return 0;
	if (!parse_id(argv[optind], &l->target))
		return command_usage(&cmd_lookup,
				     "\"%s\" is not 40 or 64 hex digits",
				     argv[optind]);
	return 0;
}

static int run(int argc, char **argv)
{
	struct lookup l = { 0 };
	struct owner_lookup_spec spec;
	int code;

	dht_client_init(&l.client);
	l.peers = json_array();
	code = parse_line(&l, argc, argv);
	if (!code && l.is_tracker) {
		spec = (struct owner_lookup_spec){ argv[optind], l.domain,
						   l.is_json };
		code = owner_lookup_run(&l.client.opts, &spec);
		goto out;
	}
	if (!code)
		code = dht_client_open(&l.client, false);
	if (!code)
		code = begin(&l) ? dht_client_run(&l.client) : EXIT_REFUSED;
out:
	dht_client_close(&l.client);
	json_decref(l.peers);
	return code;
}

const struct command cmd_lookup = {
	.name = "lookup",
	.synopsis = "INFOHASH|--tracker KEY [--node] [--json] [-o OPT,...]",
	.summary = "Find the peers of a torrent, or the trackers of a key",
	.options = "  INFOHASH  40 or 64 hex digits, or a magnet link\n"
		   "  --node    not peers, but the DHT nodes closest to it\n"
		   "  --tracker  who owns a KEY in an overlay of trackers, "
		   "and who answers.\n"
		   "            KEY: a URL or host (KEY.bt.example.org), a "
		   "magnet link, a\n"
		   "            .torrent, or a key alone with --domain\n"
		   "  --domain D  the overlay of a KEY that stands alone\n"
		   "  --json    print what was found as one object\n"
		   "Exit status 0: something was found. 1: nothing was.\n",
	.has_o = true,
	.run = run,
};
