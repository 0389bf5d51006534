/* weirctl info: what a .torrent file or a magnet link says, or why it is
 * refused. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "fs/status.h"
#include "tools/command.h"
#include "tools/facts.h"

static int refuse(const char *why, bool is_json)
{
	json_t *j;

	log_error("%s", why);
	if (is_json) {
		j = json_object();
		json_object_set_new(j, "error", status_text(why));
		facts_print_json(j);
	}
	return EXIT_REFUSED;
}

static int print_torrent(const char *path, bool is_json)
{
	char why[FACTS_WHY_SIZE];
	struct metainfo *mi;

	if (facts_read_torrent(path, &mi, why) < 0)
		return refuse(why, is_json);
	if (is_json)
		facts_print_json(facts_of_torrent(mi));
	else
		facts_print_torrent(mi, true);
	metainfo_free(mi);
	return EXIT_OK;
}

static int print_magnet(const char *text, bool is_json)
{
	char why[MAGNET_WHY_SIZE];
	struct magnet *m;

	if (magnet_parse(text, strlen(text), &m, why) < 0)
		return refuse(why, is_json);
	if (is_json)
		facts_print_json(facts_of_magnet(m));
	else
		facts_print_magnet(m);
	magnet_free(m);
	return EXIT_OK;
}

/* A file by the name of a hash is a file. */
static bool is_magnet(const char *text)
{
	size_t n = strspn(text, "0123456789abcdefABCDEF");

	return !strncasecmp(text, "magnet:", 7) ||
	       (!text[n] && (n == 40 || n == 64) && access(text, F_OK) < 0);
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	bool is_json = false;
	int c;

	while ((c = getopt_long(argc, argv, "j", longs, NULL)) != -1) {
		if (c != 'j')
			return EXIT_USAGE;
		is_json = true;
	}
	if (argc - optind != 1)
		return command_usage(&cmd_info, "give one FILE or MAGNET");
	if (is_magnet(argv[optind]))
		return print_magnet(argv[optind], is_json);
	return print_torrent(argv[optind], is_json);
}

const struct command cmd_info = {
	.name = "info",
	.synopsis = "FILE|MAGNET [--json]",
	.summary = "Show what a torrent or a magnet link holds",
	.options = "  FILE     a .torrent file; - for standard input\n"
		   "  MAGNET   a magnet link, or an infohash of 40 or 64 hex "
		   "digits\n"
		   "  --json   for scripts; paths of files are below NAME if "
		   "\"folder\" is true\n"
		   "Exit status 1: it is refused; the rule is printed.\n",
	.run = run,
};
