/* weirctl seed: serve data that is there already. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "tools/command.h"
#include "tools/transfer.h"

static bool takes_partial, is_seeding;
static uint64_t said_uploaded;
static unsigned said_peers;

static void begin(struct transfer *x, const struct torrent_stats *s)
{
	struct addr a = x->opts.bind4.family ? x->opts.bind4 : x->opts.bind6;
	char at[ADDR_STR_MAX];

	is_seeding = true;
	a.port = engine_port(x->session->engine);
	transfer_say_end(x);
	printf("seeding %s on %s\n", torrent_name(x->torrent),
	       addr_str(&a, at));
	fflush(stdout);
}

static void refuse(struct transfer *x, const struct torrent_stats *s)
{
	transfer_say_end(x);
	log_error("%s: %u of %u pieces are missing or wrong in %s; fetch them "
		  "with weirctl get, or seed what is there with --partial",
		  torrent_name(x->torrent), s->num_pieces - s->have_pieces,
		  s->num_pieces, x->data_dir);
	x->exit_code = EXIT_REFUSED;
	x->is_done = true;
}

static void look(struct transfer *x, const struct torrent_stats *s)
{
	char rate[32], up[32];

	switch (s->phase) {
	case TORRENT_CHECKING:
		transfer_say(x, false, "checking %u%%", s->checked_percent);
		return;
	case TORRENT_ERROR:
		transfer_say_end(x);
		log_error("%s: %s", torrent_name(x->torrent), s->error);
		x->exit_code = EXIT_REFUSED;
		x->is_done = true;
		return;
	case TORRENT_METADATA:
		transfer_say(x, false, "metadata %u%%  %u peers",
			     s->metadata_percent, s->peers);
		return;
	case TORRENT_ON_DEMAND:
	case TORRENT_DOWNLOADING:
		if (!is_seeding && !takes_partial) {
			refuse(x, s);
			return;
		}
		break;
	case TORRENT_SEEDING:
		break;
	}
	if (!is_seeding)
		begin(x, s);
	else if (s->uploaded == said_uploaded && s->peers == said_peers)
		return; /* no news */
	said_uploaded = s->uploaded;
	said_peers = s->peers;
	transfer_say(x, false, "%u peers  %s/s  %s given%s%s", s->peers,
		     format_bytes(s->up_bps, rate),
		     format_bytes(s->uploaded, up), s->message[0] ? "  " : "",
		     s->message);
}

static void finish(struct transfer *x, const struct torrent_stats *s)
{
	/* A seeder has no other way to end than being told to. */
	if (x->exit_code == EXIT_STOPPED && is_seeding)
		x->exit_code = EXIT_OK;
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "data", required_argument, NULL, 'D' },
		{ "port", required_argument, NULL, 'P' },
		{ "bind", required_argument, NULL, 'B' },
		{ "partial", no_argument, NULL, 'p' },
		{ "quiet", no_argument, NULL, 'q' },
		{ 0 },
	};
	struct transfer x = {
		.data_dir = ".",
		.config = { .is_flat = true, .is_read_only = true },
		.look = look,
		.finish = finish,
	};
	char why[OPTS_WHY_SIZE];
	int c, r = 0;

	opts_init(&x.opts);
	while (!r && (c = getopt_long(argc, argv, "o:qd", longs, NULL)) != -1) {
		switch (c) {
		case 'D':
			x.data_dir = optarg;
			break;
		case 'P':
			r = opts_set(&x.opts, "port", optarg, why);
			break;
		case 'B':
			r = opts_set(&x.opts, "bind", optarg, why);
			break;
		case 'p':
			takes_partial = true;
			break;
		case 'q':
			x.is_quiet = true;
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'o':
			r = opts_parse(&x.opts, optarg, why);
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (r < 0)
		return command_usage(&cmd_seed, "%s", why);
	if (argc - optind != 1)
		return command_usage(&cmd_seed, "give one FILE");
	x.source = argv[optind];
	x.opts.fill = FILL_NONE;
	return transfer_run(&x);
}

const struct command cmd_seed = {
	.name = "seed",
	.synopsis = "FILE [--data DIR] [--port N] [--bind ADDR] [--partial] "
		    "[-q] [-o OPT,...]",
	.summary = "Verify data that is there, then seed it",
	.options = "  FILE         the .torrent file\n"
		   "  --data DIR   the folder that holds it (default: this "
		   "one); never written\n"
		   "  --port N     the port (default: first free of "
		   "6881..6889)\n"
		   "  --bind ADDR  the local address\n"
		   "  --partial    also when some of it is missing or wrong\n"
		   "  -q           no progress\n"
		   "Runs until ^C or SIGTERM.\n",
	.has_o = true,
	.run = run,
};
