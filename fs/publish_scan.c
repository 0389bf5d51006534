/* A folder is walked breadth first, without following a symlink and without
 * recursion. Symlinks and special files are left out, and so is every name
 * that publish_is_left_out names. */
#include "fs/publish_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/sha.h"
#include "engine/make.h"
#include "engine/store.h"
#include "engine/store_fs.h"

#define OPTIONS_BYTES_MAX (64u << 10)

/* ---- names ---- */

/* Dot-files are left out anyway: .NAME.XXXXXX of rsync, .goutputstream-*,
 * .#NAME and .~lock.NAME# of editors, .syncthing.NAME.tmp, .fuse_hidden*. */
static const char *const temporary[] = {
	"*.part", "*.partial", "*.crdownload", "*.download",
	"*.tmp",  "*.aria2",   "*.!qB",        "*.filepart",
	"*.swp",  "*.swx",     "*~",           "#*#",
};

bool publish_is_temporary(const char *name)
{
	if (*name == '.')
		return true;
	for (size_t i = 0; i < ARRAY_LEN(temporary); i++) {
		if (!fnmatch(temporary[i], name, 0))
			return true;
	}
	return false;
}

/* ---- options ---- */

static void free_all(char **items, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(items[i]);
	free(items);
}

void publish_options_release(struct publish_options *o)
{
	free_all(o->trackers, o->num_trackers);
	free_all(o->webseeds, o->num_webseeds);
	free(o->comment);
	free(o->source);
	memset(o, 0, sizeof(*o));
}

static void add(char ***items, size_t *n, const char *value)
{
	*items = mem_realloc_array(*items, *n + 1, sizeof(**items));
	(*items)[(*n)++] = mem_strdup(value);
}

static bool is_yes(const char *value)
{
	return !strcmp(value, "yes") || !strcmp(value, "1") ||
	       !strcmp(value, "true");
}

struct options_reader {
	struct publish_options *o;
	char *why;
};

static void set_text(char **at, const char *value)
{
	free(*at);
	*at = mem_strdup(value);
}

static int on_line(void *arg, const char *section, const char *key,
		   const char *value)
{
	struct options_reader *r = arg;
	struct publish_options *o = r->o;
	char shown[64];

	if (!strcmp(key, "announce") && o->num_trackers < LIMIT_TRACKERS) {
		add(&o->trackers, &o->num_trackers, value);
	} else if (!strcmp(key, "webseed") &&
		   o->num_webseeds < LIMIT_TRACKERS) {
		add(&o->webseeds, &o->num_webseeds, value);
	} else if (!strcmp(key, "private")) {
		o->is_private = is_yes(value);
	} else if (!strcmp(key, "comment")) {
		set_text(&o->comment, value);
	} else if (!strcmp(key, "source")) {
		set_text(&o->source, value);
	} else {
		log_vis(key, strlen(key), shown, sizeof(shown));
		snprintf(r->why, SCAN_WHY_SIZE,
			 PUBLISH_OPTIONS_NAME
			 ": \"%s\" is none of announce, webseed, private, "
			 "comment, source",
			 shown);
		return 0;
	}
	return 1;
}

int publish_options_parse(struct publish_options *o, const char *text,
			  char why[SCAN_WHY_SIZE])
{
	struct options_reader r = { o, why };
	int line;

	why[0] = '\0';
	line = ini_parse_string(text, on_line, &r);
	if (line && !why[0])
		snprintf(why, SCAN_WHY_SIZE,
			 PUBLISH_OPTIONS_NAME ", line %d: not KEY = VALUE",
			 line);
	return line ? -EINVAL : 0;
}

/* No such file is no error. */
static int read_options(struct publish_scan *s, int root, const char *path)
{
	int fd = store_fs_open(root, path, O_RDONLY | O_NONBLOCK, 0), r = 0;
	char *text;
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
	text = mem_alloc(OPTIONS_BYTES_MAX + 1);
	n = pread(fd, text, OPTIONS_BYTES_MAX, 0);
	if (n < 0)
		r = -errno;
	else
		r = publish_options_parse(&s->options, text, s->why);
	free(text);
	close(fd);
	return r;
}

static int find_options(struct publish_scan *s, int root, const char *path)
{
	size_t dir = store_fs_dirname_len(path, strlen(path));
	char *beside = mem_printf("%.*s%s%s", (int)dir, path, dir ? "/" : "",
				  PUBLISH_OPTIONS_NAME);
	char *inside = mem_printf("%s/%s", path, PUBLISH_OPTIONS_NAME);
	int r = read_options(s, root, beside);

	if (!r && s->is_dir)
		r = read_options(s, root, inside);
	free(beside);
	free(inside);
	return r;
}

/* ---- the walk ---- */

static int64_t ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void publish_stamp(const struct stat *st, struct store_stamp *out)
{
	out->size = st->st_size;
	out->mtime_ns = ns(st->st_mtim);
	out->ctime_ns = ns(st->st_ctim);
	out->ino = st->st_ino;
}

static void note_time(struct publish_scan *s, const struct stat *st)
{
	if (ns(st->st_mtim) > s->newest_ns)
		s->newest_ns = ns(st->st_mtim);
	if (ns(st->st_ctim) > s->newest_ns)
		s->newest_ns = ns(st->st_ctim);
}

static int fail(struct publish_scan *s, int r, const char *path)
{
	char shown[128];

	if (!s->why[0])
		snprintf(s->why, sizeof(s->why), "%s: %s",
			 log_vis(path, strlen(path), shown, sizeof(shown)),
			 strerror(-r));
	return r;
}

static int add_file(struct publish_scan *s, char *path, const struct stat *st)
{
	struct publish_item *item;

	note_time(s, st);
	if (s->num_items >= LIMIT_FILES ||
	    !checked_add(s->total, (uint64_t)st->st_size, &s->total)) {
		free(path);
		return -E2BIG;
	}
	if (s->num_items == s->cap_items) {
		s->cap_items = s->cap_items ? s->cap_items * 2 : 16;
		s->items = mem_realloc_array(s->items, s->cap_items,
					     sizeof(*s->items));
	}
	item = &s->items[s->num_items++];
	item->path = path;
	item->is_exec = st->st_mode & S_IXUSR;
	publish_stamp(st, &item->stamp);
	return 0;
}

static void add_folder(struct publish_scan *s, char *path)
{
	if (s->num_folders == s->cap_folders) {
		s->cap_folders = s->cap_folders ? s->cap_folders * 2 : 16;
		s->folders = mem_realloc_array(s->folders, s->cap_folders,
					       sizeof(*s->folders));
	}
	s->folders[s->num_folders++] = path;
}

static unsigned depth(const char *path)
{
	unsigned n = 1;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

static int look_at(struct publish_scan *s, int dir, const char *below,
		   const char *name)
{
	struct stat st;
	char *path;

	if (!strcmp(name, ".") || !strcmp(name, "..") || make_is_left_out(name))
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	path = mem_printf("%s%s%s", below, *below ? "/" : "", name);
	if (strlen(path) > LIMIT_PATH_BYTES || depth(path) > LIMIT_PATH_DEPTH) {
		free(path);
		return -E2BIG;
	}
	if (S_ISREG(st.st_mode))
		return add_file(s, path, &st);
	if (s->num_folders >= LIMIT_FILES) {
		free(path);
		return -E2BIG;
	}
	note_time(s, &st);
	add_folder(s, path);
	return 0;
}

int publish_open_folder(int root, const char *path, DIR **out)
{
	int fd = store_fs_open(root, *path ? path : ".", O_RDONLY | O_DIRECTORY,
			       0);
	int r;

	if (fd < 0)
		return fd;
	*out = fdopendir(fd);
	if (*out)
		return 0;
	r = -errno;
	close(fd);
	return r;
}

static int walk_folder(struct publish_scan *s, int top, const char *below)
{
	struct dirent *e;
	DIR *d;
	int r = publish_open_folder(top, below, &d);

	if (r < 0)
		return r;
	while (!r && (errno = 0, e = readdir(d)))
		r = look_at(s, dirfd(d), below, e->d_name);
	if (!r && errno)
		r = -errno;
	closedir(d);
	return r;
}

static int walk(struct publish_scan *s, int root, const char *path)
{
	int top = store_fs_open(root, path, O_PATH | O_DIRECTORY, 0), r = 0;

	if (top < 0)
		return fail(s, top, path);
	add_folder(s, mem_strdup(""));
	for (size_t i = 0; !r && i < s->num_folders; i++) {
		r = walk_folder(s, top, s->folders[i]);
		if (r == -ENOENT && i)
			r = 0; /* it has just gone */
		if (r < 0)
			(void)fail(s, r,
				   s->folders[i][0] ? s->folders[i] : path);
	}
	close(top);
	return r;
}

int publish_item_cmp(const void *a, const void *b)
{
	return strcmp(((const struct publish_item *)a)->path,
		      ((const struct publish_item *)b)->path);
}

static void add_text(struct hasher *h, const char *text)
{
	if (text)
		hasher_update(h, text, strlen(text));
	hasher_update(h, "", 1);
}

static void take_fingerprint(struct publish_scan *s)
{
	const struct publish_options *o = &s->options;
	struct hasher *h = hasher_new(HASH_SHA256);

	for (size_t i = 0; i < s->num_items; i++) {
		const struct publish_item *f = &s->items[i];
		int64_t facts[5] = { f->stamp.size, f->stamp.mtime_ns,
				     f->stamp.ctime_ns, (int64_t)f->stamp.ino,
				     f->is_exec };

		add_text(h, f->path);
		hasher_update(h, facts, sizeof(facts));
	}
	for (size_t i = 0; i < o->num_trackers; i++)
		add_text(h, o->trackers[i]);
	add_text(h, "");
	for (size_t i = 0; i < o->num_webseeds; i++)
		add_text(h, o->webseeds[i]);
	add_text(h, o->comment);
	add_text(h, o->source);
	add_text(h, o->is_private ? "private" : s->is_dir ? "folder" : "file");
	hasher_final(h, s->fingerprint);
	hasher_free(h);
}

int publish_scan(int root, const char *path, struct publish_scan *s)
{
	const char *last;
	struct stat st;
	int parent, r = 0;

	memset(s, 0, sizeof(*s));
	parent = store_fs_open_parent(root, path, &last);
	if (parent < 0)
		return fail(s, parent, path);
	if (fstatat(parent, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	close(parent);
	if (r < 0)
		return fail(s, r, path);
	s->is_dir = S_ISDIR(st.st_mode);
	if (s->is_dir)
		r = walk(s, root, path);
	else if (S_ISREG(st.st_mode))
		r = add_file(s, mem_strdup(""), &st);
	if (!r)
		r = find_options(s, root, path);
	if (r < 0)
		return fail(s, r, path);
	if (s->num_items)
		qsort(s->items, s->num_items, sizeof(*s->items),
		      publish_item_cmp);
	take_fingerprint(s);
	return 0;
}

void publish_scan_release(struct publish_scan *s)
{
	for (size_t i = 0; i < s->num_items; i++)
		free(s->items[i].path);
	free(s->items);
	free_all(s->folders, s->num_folders);
	publish_options_release(&s->options);
	memset(s, 0, sizeof(*s));
}
