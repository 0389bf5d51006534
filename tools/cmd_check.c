/* weirctl check: is what lies in a folder what a torrent says?
 *
 * Two looks. Every file, link and empty file must be there with the right
 * size. Then every piece is read through a store, opened as a seeder would, and
 * hashed. All is right only if both say so. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/piecehash.h"
#include "engine/store.h"
#include "engine/store_fs.h"
#include "fs/status.h"
#include "tools/command.h"
#include "tools/facts.h"
#include "tools/progress.h"
#include "tools/transfer.h"

enum piece_state {
	PIECE_UNKNOWN,
	PIECE_RIGHT,
	PIECE_WRONG,
	PIECE_MISSING, /* cannot be read: a file of it is missing or short */
};

struct check {
	const struct metainfo *mi;
	struct store *store;
	struct progress progress;
	uint8_t *pieces;      /* owned; enum piece_state */
	const char **trouble; /* owned; of each file: NULL, or what is wrong
			       * with it before any hashing */
	uint32_t num_right, num_wrong, num_missing, num_trouble;
};

/* --- looking --- */

static const char *look_at_link(int fd, const char *target)
{
	char text[PATH_MAX + 1];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));

	return n == (ssize_t)strlen(target) && !memcmp(text, target, (size_t)n)
		       ? NULL
		       : "leads elsewhere";
}

/* What is wrong with a file, or NULL. */
static const char *look_at_file(int root, const struct metainfo *mi,
				const struct metainfo_file *f)
{
	char *path = mi->is_multi ? mem_printf("%s/%s", mi->name, f->path)
				  : mem_strdup(f->path);
	int fd = store_fs_open(root, path, O_PATH | O_NOFOLLOW, 0);
	const char *trouble = NULL;
	struct stat st;

	free(path);
	if (fd < 0)
		return fd == -ELOOP ? "lies behind a symlink"
		       : fd == -ENOENT || fd == -ENOTDIR ? "missing"
							 : strerrordesc_np(-fd);
	if (fstat(fd, &st) < 0)
		trouble = strerrordesc_np(errno);
	else if (f->symlink)
		trouble = S_ISLNK(st.st_mode) ? look_at_link(fd, f->symlink)
					      : "is no symlink";
	else if (!S_ISREG(st.st_mode))
		trouble = "is no plain file";
	else if ((uint64_t)st.st_size < f->length)
		trouble = "too short";
	else if ((uint64_t)st.st_size > f->length)
		trouble = "too long";
	close(fd);
	return trouble;
}

static int look_at_files(struct check *c, const char *dir)
{
	const struct metainfo *mi = c->mi;
	int root = store_fs_open_root(dir);

	if (root < 0) {
		log_error("%s: %s", dir, strerrordesc_np(-root));
		return root;
	}
	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		c->trouble[i] = look_at_file(root, mi, &mi->files[i]);
		c->num_trouble += c->trouble[i] != NULL;
	}
	if (faccessat(root, mi->name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		log_warn("%s holds no %s: give the folder in which it lies",
			 dir, mi->name);
	close(root);
	return 0;
}

/* --- hashing --- */

static int on_read(void *arg, unsigned thread, uint64_t off, void *out,
		   size_t len)
{
	struct check *c = arg;

	return store_read(c->store, off, out, len);
}

static int on_piece(void *arg, uint32_t piece, int r,
		    const struct piecehash_result *result)
{
	struct check *c = arg;
	const uint8_t *want = c->mi->piece_hashes + (size_t)piece * SHA1_LEN;

	if (r < 0) {
		c->pieces[piece] = PIECE_MISSING;
		c->num_missing++;
	} else if (memcmp(result->sha1, want, SHA1_LEN)) {
		c->pieces[piece] = PIECE_WRONG;
		c->num_wrong++;
	} else {
		c->pieces[piece] = PIECE_RIGHT;
		c->num_right++;
	}
	return 0;
}

static bool on_progress(void *arg, uint64_t bytes)
{
	struct check *c = arg;

	return progress_show(&c->progress, bytes, c->mi->layout.total);
}

static int hash_pieces(struct check *c, const char *dir, unsigned threads,
		       bool is_quiet)
{
	struct fdcache *cache = fdcache_new(LIMIT_OPEN_FILES);
	const struct piecehash job = {
		.layout = c->mi->layout,
		.has_v1 = true,
		.threads = threads,
		.read = on_read,
		.piece = on_piece,
		.progress = on_progress,
		.arg = c,
	};
	int r;

	c->store = store_new(cache, c->mi, dir, NULL, true);
	progress_start(&c->progress, "checking", is_quiet);
	r = piecehash_run(&job);
	progress_end(&c->progress);
	store_unref(c->store);
	fdcache_free(cache);
	if (r == -EAGAIN)
		log_error("no thread can be started");
	return r;
}

/* --- telling --- */

/* Pieces of file I in STATE; *all: how many it has. */
static uint32_t count_pieces(const struct check *c, uint32_t i,
			     enum piece_state state, uint32_t *all)
{
	const struct metainfo_file *f = &c->mi->files[i];
	uint32_t first, last, n = 0;

	*all = 0;
	if (!f->length)
		return 0;
	first = layout_piece_at(&c->mi->layout, f->offset);
	last = layout_piece_at(&c->mi->layout, f->offset + f->length - 1);
	*all = last - first + 1;
	for (uint32_t k = first; k <= last; k++)
		n += c->pieces[k] == state;
	return n;
}

static void print_ranges(const struct check *c, enum piece_state state,
			 const char *what)
{
	uint32_t num = c->mi->layout.num_pieces, end;
	const char *comma = "";

	printf("%s pieces: ", what);
	for (uint32_t i = 0; i < num; i = end) {
		end = i + 1;
		if (c->pieces[i] != state)
			continue;
		while (end < num && c->pieces[end] == state)
			end++;
		if (end > i + 1)
			printf("%s%" PRIu32 "-%" PRIu32, comma, i, end - 1);
		else
			printf("%s%" PRIu32, comma, i);
		comma = ",";
	}
	putchar('\n');
}

static void print_file(const struct check *c, uint32_t i)
{
	uint32_t all, wrong = count_pieces(c, i, PIECE_WRONG, &all);
	uint32_t unknown = count_pieces(c, i, PIECE_MISSING, &all);
	const struct metainfo_file *f = &c->mi->files[i];
	const char *dir = c->mi->is_multi ? c->mi->name : "";

	if (!c->trouble[i] && !wrong && !unknown)
		return;
	printf("%s%s%s: ", dir, *dir ? "/" : "", f->path);
	if (c->trouble[i])
		printf("%s%s", c->trouble[i], wrong ? ", " : "");
	if (wrong)
		printf("%" PRIu32 " of %" PRIu32 " pieces wrong", wrong, all);
	if (unknown && !c->trouble[i])
		printf("%s%" PRIu32 " of %" PRIu32 " pieces cannot be verified"
		       " without the files beside it",
		       wrong ? ", " : "", unknown, all);
	putchar('\n');
}

static void print_words(const struct check *c, bool is_right)
{
	uint32_t num = c->mi->layout.num_pieces;

	for (uint32_t i = 0; i < c->mi->num_files; i++)
		if (!(c->mi->files[i].flags & FILE_PAD))
			print_file(c, i);
	if (c->num_wrong)
		print_ranges(c, PIECE_WRONG, "wrong");
	if (c->num_missing)
		print_ranges(c, PIECE_MISSING, "missing");
	if (is_right)
		printf("%s: all right, %" PRIu32 " of %" PRIu32 " pieces\n",
		       c->mi->name, c->num_right, num);
	else
		printf("%s: %" PRIu32 " of %" PRIu32 " pieces right, %" PRIu32
		       " wrong, %" PRIu32 " missing\n",
		       c->mi->name, c->num_right, num, c->num_wrong,
		       c->num_missing);
}

static json_t *json_pieces(const struct check *c, enum piece_state state)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < c->mi->layout.num_pieces; i++)
		if (c->pieces[i] == state)
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *json_file(const struct check *c, uint32_t i)
{
	uint32_t all, wrong = count_pieces(c, i, PIECE_WRONG, &all);
	uint32_t right = count_pieces(c, i, PIECE_RIGHT, &all);
	json_t *j = json_object();

	json_object_set_new(j, "path", status_text(c->mi->files[i].path));
	json_object_set_new(j, "length",
			    json_integer((json_int_t)c->mi->files[i].length));
	json_object_set_new(j, "pieces", json_integer(all));
	json_object_set_new(j, "wrong", json_integer(wrong));
	json_object_set_new(j, "right",
			    json_boolean(!c->trouble[i] && right == all));
	json_object_set_new(j, "trouble",
			    c->trouble[i] ? json_string(c->trouble[i])
					  : json_null());
	return j;
}

static void print_json(const struct check *c, bool is_right)
{
	json_t *j = json_object(), *files = json_array();

	for (uint32_t i = 0; i < c->mi->num_files; i++)
		if (!(c->mi->files[i].flags & FILE_PAD))
			json_array_append_new(files, json_file(c, i));
	json_object_set_new(j, "name", status_text(c->mi->name));
	json_object_set_new(j, "complete", json_boolean(is_right));
	json_object_set_new(j, "pieces",
			    json_integer(c->mi->layout.num_pieces));
	json_object_set_new(j, "right", json_integer(c->num_right));
	json_object_set_new(j, "wrong", json_pieces(c, PIECE_WRONG));
	json_object_set_new(j, "missing", json_pieces(c, PIECE_MISSING));
	json_object_set_new(j, "files", files);
	facts_print_json(j);
}

/* --- all of it --- */

static int check(const struct metainfo *mi, const char *dir, unsigned threads,
		 bool is_quiet, bool is_json)
{
	struct check c = { .mi = mi };
	bool is_right;
	int r;

	c.pieces = mem_alloc_array(mi->layout.num_pieces, 1);
	c.trouble = mem_alloc_array(mi->num_files, sizeof(*c.trouble));
	r = look_at_files(&c, dir);
	if (!r)
		r = hash_pieces(&c, dir, threads, is_quiet);
	is_right = !r && c.num_right == mi->layout.num_pieces && !c.num_trouble;
	if (!r && is_json)
		print_json(&c, is_right);
	else if (!r)
		print_words(&c, is_right);
	free(c.pieces);
	free(c.trouble);
	return is_right          ? EXIT_OK
	       : r == -ECANCELED ? EXIT_STOPPED
				 : EXIT_REFUSED;
}

static int check_file(const char *path, const char *dir, unsigned threads,
		      bool is_quiet, bool is_json)
{
	char why[FACTS_WHY_SIZE];
	struct metainfo *mi;
	int r;

	if (facts_read_torrent(path, &mi, why) < 0) {
		log_error("%s", why);
		return EXIT_REFUSED;
	}
	if (mi->has_v1) {
		r = check(mi, dir, threads, is_quiet, is_json);
	} else {
		log_error("%s: a v2-only torrent: its data cannot be checked "
			  "yet",
			  path);
		r = EXIT_REFUSED;
	}
	metainfo_free(mi);
	return r;
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "data", required_argument, NULL, 'D' },
		{ "threads", required_argument, NULL, 'T' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ 0 },
	};
	bool is_quiet = false, is_json = false;
	const char *dir = ".";
	unsigned long threads = 0;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "q", longs, NULL)) != -1) {
		switch (c) {
		case 'D':
			dir = optarg;
			break;
		case 'T':
			threads = strtoul(optarg, &end, 10);
			if (*end || !threads || threads > UINT_MAX)
				return command_usage(&cmd_check,
						     "--threads %s is no "
						     "number",
						     optarg);
			break;
		case 'j':
			is_json = true;
			break;
		case 'q':
			is_quiet = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind != 1)
		return command_usage(&cmd_check, "give one FILE");
	return check_file(argv[optind], dir, (unsigned)threads, is_quiet,
			  is_json);
}

const struct command cmd_check = {
	.name = "check",
	.synopsis = "FILE [--data DIR] [--threads N] [--json] [-q]",
	.summary = "Verify data on disk against a torrent",
	.options = "  FILE         the .torrent file\n"
		   "  --data DIR   the folder in which its file or folder "
		   "lies (default: this one)\n"
		   "  --threads N  that hash (default: one per core)\n"
		   "  --json       for scripts\n"
		   "  -q           no progress\n"
		   "Exit status 0 only if every file is there and every piece "
		   "is right.\n",
	.run = run,
};
