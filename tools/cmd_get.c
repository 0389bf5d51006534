/* weirctl get: download a torrent without a mount. */
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/status.h"
#include "tools/command.h"
#include "tools/transfer.h"

static bool is_json, stays;

/* When something came last: as with a read on a mount, a transfer that gets
 * nothing for read_timeout is given up. */
static struct {
	int64_t at_ms;
	uint64_t mark;
} progress;

static void say_progress(struct transfer *x, const struct torrent_stats *s)
{
	uint64_t left = s->total_bytes - s->have_bytes;
	char have[32], total[32], rate[32], eta[32];

	if (s->phase == TORRENT_METADATA) {
		transfer_say(x, false, "metadata %u%%  %u peers  %s",
			     s->metadata_percent, s->peers, s->message);
		return;
	}
	if (s->phase == TORRENT_CHECKING) {
		transfer_say(x, false, "checking %u%%", s->checked_percent);
		return;
	}
	transfer_say(x, false, "%5.1f%%  %s of %s  %s/s  %u peers  ETA %s%s%s",
		     s->total_bytes ? 100.0 * (double)s->have_bytes /
					      (double)s->total_bytes
				    : 0,
		     format_bytes(s->have_bytes, have),
		     format_bytes(s->total_bytes, total),
		     format_bytes(s->down_bps, rate), s->peers,
		     format_eta(left, s->down_bps, eta),
		     s->peers ? "" : "  no peers yet: ",
		     s->peers        ? ""
		     : s->message[0] ? s->message
				     : "looking for some");
}

static const char *excuse(const struct torrent_stats *s)
{
	if (s->message[0])
		return s->message;
	if (s->peers)
		return "no peer gives what is missing";
	return s->candidates ? "no peer answers" : "no peers found";
}

static bool has_stalled(struct transfer *x, const struct torrent_stats *s)
{
	uint64_t mark = s->downloaded + s->have_bytes + s->metadata_percent +
			s->checked_percent + (uint64_t)s->phase;
	int64_t now = clock_now_ms(), limit = x->opts.read_timeout_ms;

	if (mark != progress.mark || !progress.at_ms ||
	    s->phase == TORRENT_SEEDING) {
		progress.mark = mark;
		progress.at_ms = now;
	}
	if (!limit || now - progress.at_ms < limit)
		return false;
	transfer_say_end(x);
	log_error("%s: no progress for %lld s: %s; the same command goes on",
		  torrent_name(x->torrent), (long long)(limit / 1000),
		  excuse(s));
	return true;
}

static void look(struct transfer *x, const struct torrent_stats *s)
{
	if (s->phase == TORRENT_ERROR) {
		transfer_say_end(x);
		log_error("%s: %s", torrent_name(x->torrent), s->error);
		x->exit_code = EXIT_REFUSED;
		x->is_done = true;
		return;
	}
	say_progress(x, s);
	if (s->phase == TORRENT_SEEDING && !stays)
		x->is_done = true;
	if (has_stalled(x, s)) {
		x->exit_code = EXIT_REFUSED;
		x->is_done = true;
	}
}

static void print_json(struct transfer *x, const struct torrent_stats *s)
{
	char hex[41];
	char *path =
		mem_printf("%s/%s", x->opts.data_dir, torrent_name(x->torrent));
	json_t *j = json_pack(
		"{s:o, s:s, s:o, s:b, s:I, s:I, s:I, s:I, s:I}", "name",
		status_text(torrent_name(x->torrent)), "infohash",
		hex_encode(torrent_infohash(x->torrent)->b, 20, hex), "path",
		status_text(path), "complete",
		s->num_pieces && s->have_pieces == s->num_pieces, "length",
		(json_int_t)s->total_bytes, "have", (json_int_t)s->have_bytes,
		"downloaded", (json_int_t)s->downloaded, "uploaded",
		(json_int_t)s->uploaded, "wasted", (json_int_t)s->wasted);

	free(path);
	json_dumpf(j, stdout, JSON_INDENT(2));
	puts("");
	json_decref(j);
}

/* Everything is on disk by now, or the error says why not. */
static void finish(struct transfer *x, const struct torrent_stats *s)
{
	bool is_whole = s->num_pieces && s->have_pieces == s->num_pieces;
	char bytes[32];

	if (!x->exit_code && s->error[0]) {
		transfer_say_end(x);
		log_error("%s: %s", torrent_name(x->torrent), s->error);
		x->exit_code = EXIT_REFUSED;
	}
	if (is_json)
		print_json(x, s);
	else if (is_whole && !x->exit_code)
		transfer_say(x, true, "%s: complete, %s verified",
			     torrent_name(x->torrent),
			     format_bytes(s->total_bytes, bytes));
	else if (x->exit_code == EXIT_STOPPED)
		transfer_say(x, true,
			     "%s: stopped at %s; the same command goes on",
			     torrent_name(x->torrent),
			     format_bytes(s->have_bytes, bytes));
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "data", required_argument, NULL, 'D' },
		{ "json", no_argument, NULL, 'j' },
		{ "seed", no_argument, NULL, 's' },
		{ "quiet", no_argument, NULL, 'q' },
		{ 0 },
	};
	struct transfer x = { .data_dir = ".",
			      .config = { .is_flat = true },
			      .look = look,
			      .finish = finish };
	char why[OPTS_WHY_SIZE];
	int c, r = 0;

	opts_init(&x.opts);
	while (!r && (c = getopt_long(argc, argv, "o:qd", longs, NULL)) != -1) {
		switch (c) {
		case 'D':
			x.data_dir = optarg;
			break;
		case 'j':
			is_json = true;
			break;
		case 's':
			stays = true;
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
		return command_usage(&cmd_get, "%s", why);
	if (argc - optind != 1)
		return command_usage(&cmd_get, "give one SOURCE");
	x.source = argv[optind];
	x.opts.fill = FILL_TORRENT;
	return transfer_run(&x);
}

const struct command cmd_get = {
	.name = "get",
	.synopsis = "SOURCE [--data DIR] [--seed] [--json] [-q] [-o OPT,...]",
	.summary = "Download a torrent into a folder, without a mount",
	.options =
		"  SOURCE      .torrent file, magnet link, infohash or URL\n"
		"  --data DIR  the folder (default: this one); what is there "
		"is used\n"
		"  --seed      go on seeding when it is complete\n"
		"  --json      print what came of it\n"
		"  -q          no progress\n"
		"Exit status 0: everything is there, verified and synced. 1: it "
		"is not; also\nwhen nothing came for read_timeout. 130: ^C. The same "
		"command goes on.\n",
	.has_o = true,
	.run = run,
};
