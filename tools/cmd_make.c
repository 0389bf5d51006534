/* weirctl make: a .torrent of a file or a folder. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/make.h"
#include "tools/command.h"
#include "tools/facts.h"
#include "tools/progress.h"
#include "tools/transfer.h"

struct request {
	struct make_options options;
	const char *src, *out; /* out: NULL: NAME.torrent */
	const char *trackers[LIMIT_TRACKERS];
	const char *webseeds[LIMIT_WEBSEEDS];
	const char *nodes[LIMIT_DHT_NODES];
	bool has_kind, is_json, is_quiet;
	struct progress progress;
};

static void on_warn(void *arg, const char *path, const char *why)
{
	struct request *rq = arg;
	char vis[PATH_MAX];

	progress_end(&rq->progress);
	log_warn("%s %s", log_vis(path, strlen(path), vis, sizeof(vis)), why);
	progress_start(&rq->progress, rq->progress.verb, rq->is_quiet);
}

static bool on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct request *rq = arg;

	return progress_show(&rq->progress, done, total);
}

/* --- writing --- */

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* To a file beside PATH first: nobody ever sees half a torrent. */
static int write_file(const char *path, const struct metainfo *mi)
{
	char *temporary = mem_printf("%s.XXXXXX", path);
	mode_t mask = umask(0);
	int fd, r;

	umask(mask);
	fd = mkstemp(temporary);
	if (fd < 0) {
		r = -errno;
		free(temporary);
		return r;
	}
	r = write_all(fd, mi->raw, mi->raw_len);
	if (!r && (fchmod(fd, 0666 & ~mask) < 0 || fsync(fd) < 0))
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	free(temporary);
	return r;
}

/* Would writing to OUT change what SRC holds? */
static bool is_part_of(const char *out, const char *src)
{
	char *real_out = realpath(out, NULL), *real_src = realpath(src, NULL);
	size_t n = real_src ? strlen(real_src) : 0;
	bool is_part = real_out && real_src &&
		       !strncmp(real_out, real_src, n) &&
		       (!real_out[n] || real_out[n] == '/' || n == 1);

	free(real_out);
	free(real_src);
	return is_part;
}

static void print_made(const struct request *rq, const struct metainfo *mi,
		       const char *out)
{
	char *magnet;
	json_t *j;

	if (rq->is_json) {
		j = facts_of_torrent(mi);
		json_object_set_new(j, "torrent", json_string(out));
		facts_print_json(j);
		return;
	}
	magnet = metainfo_magnet(mi);
	facts_print_torrent(mi, false);
	printf("%-12s %s\n%-12s %s\n", "magnet", magnet, "torrent", out);
	free(magnet);
}

static int deliver(struct request *rq, const struct metainfo *mi)
{
	bool is_stdout = rq->out && !strcmp(rq->out, "-");
	char *out = rq->out ? mem_strdup(rq->out)
			    : mem_printf("%s.torrent", mi->name);
	int r = is_stdout ? write_all(STDOUT_FILENO, mi->raw, mi->raw_len)
			  : write_file(out, mi);

	if (r < 0)
		log_error("%s: %s", out, strerrordesc_np(-r));
	else if (!is_stdout)
		print_made(rq, mi, out);
	free(out);
	return r < 0 ? EXIT_REFUSED : EXIT_OK;
}

static int make(struct request *rq)
{
	char why[MAKE_WHY_SIZE];
	struct metainfo *mi;
	int r;

	if (rq->out && is_part_of(rq->out, rq->src)) {
		log_error("%s exists and is part of %s: a torrent cannot hold "
			  "itself",
			  rq->out, rq->src);
		return EXIT_REFUSED;
	}
	if (!rq->out && is_part_of(".", rq->src)) {
		log_error("this folder is part of %s: say with -o where the "
			  "torrent shall go",
			  rq->src);
		return EXIT_REFUSED;
	}
	progress_start(&rq->progress, "hashing", rq->is_quiet);
	r = make_torrent(rq->src, &rq->options, &mi, why);
	progress_end(&rq->progress);
	if (r < 0) {
		log_error("%s", why);
		return r == -ECANCELED ? EXIT_STOPPED
		       : r == -EINVAL  ? EXIT_USAGE
				       : EXIT_REFUSED;
	}
	r = deliver(rq, mi);
	metainfo_free(mi);
	return r;
}

/* --- the command line --- */

/* "65536", "64k", "64K", "1M"; 0: no number. */
static uint32_t parse_size(const char *text)
{
	unsigned long long n;
	char *end;

	if (*text < '0' || *text > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || n > UINT32_MAX)
		return 0;
	if (*end == 'k' || *end == 'K') {
		n <<= 10;
		end++;
	} else if (*end == 'm' || *end == 'M') {
		n <<= 20;
		end++;
	}
	if (!strcmp(end, "iB"))
		end += 2;
	return *end || n > UINT32_MAX ? 0 : (uint32_t)n;
}

enum {
	KEY_V1 = 256,
	KEY_V2,
	KEY_HYBRID,
	KEY_PIECE_LENGTH,
	KEY_ANNOUNCE,
	KEY_KENOSIS,
	KEY_WEB_SEED,
	KEY_NODE,
	KEY_SOURCE,
	KEY_PRIVATE,
	KEY_COMMENT,
	KEY_NAME,
	KEY_THREADS,
	KEY_NO_DATE,
	KEY_JSON,
};

static const struct option long_options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "v1", no_argument, NULL, KEY_V1 },
	{ "v2", no_argument, NULL, KEY_V2 },
	{ "hybrid", no_argument, NULL, KEY_HYBRID },
	{ "piece-length", required_argument, NULL, KEY_PIECE_LENGTH },
	{ "announce", required_argument, NULL, KEY_ANNOUNCE },
	{ "kenosis", required_argument, NULL, KEY_KENOSIS },
	{ "webseed", required_argument, NULL, KEY_WEB_SEED },
	{ "web-seed", required_argument, NULL, KEY_WEB_SEED }, /* older */
	{ "node", required_argument, NULL, KEY_NODE },
	{ "source", required_argument, NULL, KEY_SOURCE },
	{ "private", no_argument, NULL, KEY_PRIVATE },
	{ "comment", required_argument, NULL, KEY_COMMENT },
	{ "name", required_argument, NULL, KEY_NAME },
	{ "threads", required_argument, NULL, KEY_THREADS },
	{ "no-date", no_argument, NULL, KEY_NO_DATE },
	{ "json", no_argument, NULL, KEY_JSON },
	{ "quiet", no_argument, NULL, 'q' },
	{ 0 },
};

static int set_kind(struct request *rq, enum make_kind kind)
{
	if (rq->has_kind && rq->options.kind != kind)
		return command_usage(&cmd_make,
				     "give one of --v1, --v2, --hybrid");
	rq->options.kind = kind;
	rq->has_kind = true;
	return EXIT_OK;
}

static int set_number(uint32_t *out, const char *name, const char *text)
{
	*out = parse_size(text);
	if (!*out)
		return command_usage(&cmd_make, "%s %s is no number", name,
				     text);
	return EXIT_OK;
}

static int add_to(const char **list, size_t *num, size_t max, const char *value)
{
	if (*num == max)
		return command_usage(&cmd_make, "%s: at most %zu of a kind",
				     value, max);
	list[(*num)++] = value;
	return EXIT_OK;
}

static int set_option(struct request *rq, int key, const char *value)
{
	struct make_options *o = &rq->options;

	switch (key) {
	case 'o':
		rq->out = value;
		break;
	case 'q':
		rq->is_quiet = true;
		break;
	case KEY_V1:
		return set_kind(rq, MAKE_V1);
	case KEY_V2:
		return set_kind(rq, MAKE_V2);
	case KEY_HYBRID:
		return set_kind(rq, MAKE_HYBRID);
	case KEY_PIECE_LENGTH:
		return set_number(&o->piece_length, "--piece-length", value);
	case KEY_THREADS:
		return set_number(&o->threads, "--threads", value);
	case KEY_ANNOUNCE:
		return add_to(rq->trackers, &o->num_trackers, LIMIT_TRACKERS,
			      value);
	case KEY_WEB_SEED:
		return add_to(rq->webseeds, &o->num_webseeds, LIMIT_WEBSEEDS,
			      value);
	case KEY_NODE:
		return add_to(rq->nodes, &o->num_nodes, LIMIT_DHT_NODES, value);
	case KEY_KENOSIS:
		o->kenosis = value;
		break;
	case KEY_SOURCE:
		o->source = value;
		break;
	case KEY_PRIVATE:
		o->is_private = true;
		break;
	case KEY_COMMENT:
		o->comment = value;
		break;
	case KEY_NAME:
		o->name = value;
		break;
	case KEY_NO_DATE:
		o->creation_date = 0;
		break;
	case KEY_JSON:
		rq->is_json = true;
		break;
	default:
		return EXIT_USAGE; /* getopt said why */
	}
	return EXIT_OK;
}

static int run(int argc, char **argv)
{
	struct request rq = {
		.options = { .kind = MAKE_HYBRID,
			     .created_by = "weirfs/" WEIRFS_VERSION,
			     .creation_date = time(NULL),
			     .warn = on_warn,
			     .progress = on_progress },
	};
	int key, r;

	rq.options.arg = &rq;
	rq.options.trackers = rq.trackers;
	rq.options.webseeds = rq.webseeds;
	rq.options.nodes = rq.nodes;
	while ((key = getopt_long(argc, argv, "o:q", long_options, NULL)) !=
	       -1) {
		r = set_option(&rq, key, optarg);
		if (r)
			return r;
	}
	if (argc - optind != 1)
		return command_usage(&cmd_make, "give one SRC");
	rq.src = argv[optind];
	return make(&rq);
}

const struct command cmd_make = {
	.name = "make",
	.synopsis =
		"SRC [-o OUT] [--v1|--v2|--hybrid] [--piece-length N] [--announce URL]"
		"...",
	.summary = "Make a .torrent of a file or a folder",
	.options =
		"  SRC               the file or folder\n"
		"  -o OUT            where to write it (default: "
		"NAME.torrent here; -: stdout)\n"
		"  --hybrid          a v1 and v2 torrent in one (default)\n"
		"  --v1, --v2        one alone (aria2 and old Transmissions need "
		"v1)\n"
		"  --piece-length N  bytes, a power of two; 256k, 1M (default: "
		"by size)\n"
		"  --announce URL    a tracker; again for more, each a tier\n"
		"  --kenosis DOMAIN  trackers found through Kademlia, "
		"named after the infohash\n"
		"  --webseed URL     where the data is served by HTTP; again "
		"for more\n"
		"  --node HOST:PORT  a node of the DHT; again for more\n"
		"  --private         peers from the trackers only (BEP 27)\n"
		"  --comment TEXT    for people\n"
		"  --source TEXT     sets one site's torrents apart: changes "
		"the infohash\n"
		"  --name NAME       instead of the last part of SRC\n"
		"  --threads N       that hash (default: one per core)\n"
		"  --no-date         leave the creation date out\n"
		"  --json            print what was made for scripts\n"
		"  -q                no progress\n"
		"Left out of a folder: dot-files, CVS, core, Thumbs.db, "
		"desktop.ini, links.\n",
	.run = run,
};
