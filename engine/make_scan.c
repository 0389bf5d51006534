/* A file counts as unchanged while device, inode, size and both times are those
 * of the scan. That is looked at when it is opened, now and then while it is
 * read, so that nobody waits an hour for the bad news, and once more when
 * everything is hashed; and no read may come out short. The time of the inode
 * tells of those who write and set the time of the bytes back. */
#include "engine/make_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/make_info.h"
#include "engine/store_fs.h"

#define LOOK_BYTES (4u << 20)

/* Says it about PATH. Returns R. */
__attribute__((format(printf, 4, 5))) static int
fail(struct make_scan *s, int r, const char *path, const char *format, ...)
{
	char text[128], vis[MAKE_WHY_SIZE - sizeof(text) - 4];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap); /* cut is fine */
	va_end(ap);
	pthread_mutex_lock(&s->lock);
	(void)snprintf(s->why, MAKE_WHY_SIZE, "%s: %s",
		       log_vis(path, strlen(path), vis, sizeof(vis)), text);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int fail_errno(struct make_scan *s, int r, const char *path)
{
	return fail(s, r, path, "%s", strerrordesc_np(-r));
}

static void warn(struct make_scan *s, const char *path, const char *why)
{
	if (s->options->warn)
		s->options->warn(s->options->arg, path, why);
}

/* Takes PATH. */
static int add_file(struct make_scan *s, char *path, const struct stat *st)
{
	struct make_file *f;

	if (s->num_files == LIMIT_FILES) {
		free(path);
		return fail(s, -E2BIG, s->src, "more than %u files",
			    LIMIT_FILES);
	}
	if (s->num_files == s->cap_files) {
		s->cap_files = s->cap_files ? s->cap_files * 2 : 16;
		s->files = mem_realloc_array(s->files, s->cap_files,
					     sizeof(*s->files));
	}
	f = &s->files[s->num_files++];
	*f = (struct make_file){
		.path = path,
		.length = (uint64_t)st->st_size,
		.is_exec = st->st_mode & S_IXUSR,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
		.dev = st->st_dev,
		.ino = st->st_ino,
	};
	if (!checked_add(s->total, f->length, &s->total))
		return fail(s, -E2BIG, path, "too many bytes");
	return 0;
}

struct names {
	char **at; /* owned */
	size_t num, cap;
};

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_free(struct names *names)
{
	for (size_t i = 0; i < names->num; i++)
		free(names->at[i]);
	free(names->at);
}

/* The names in the folder FD, which is taken, sorted. 0 or -errno. */
static int list_folder(int fd, struct names *names)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	int r;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (errno = 0, entry = readdir(dir)) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (names->num == names->cap) {
			names->cap = names->cap ? names->cap * 2 : 16;
			names->at = mem_realloc_array(names->at, names->cap,
						      sizeof(*names->at));
		}
		names->at[names->num++] = mem_strdup(entry->d_name);
	}
	r = -errno;
	closedir(dir);
	if (names->num)
		qsort(names->at, names->num, sizeof(*names->at), name_compare);
	return r;
}

static int scan_folder(struct make_scan *s, const char *folder, unsigned depth);

/* Takes PATH, below the root. */
static int scan_entry(struct make_scan *s, char *path, unsigned depth)
{
	const char *slash = strrchr(path, '/');
	struct stat st;
	int fd, r = 0;

	if (make_is_left_out(slash ? slash + 1 : path)) {
		warn(s, path, "has a name that is left out");
		free(path);
		return 0;
	}
	fd = store_fs_open(s->root, path, O_PATH | O_NOFOLLOW, 0);
	if (fd == -ELOOP) {
		warn(s, path, "is a symlink: left out");
		goto out;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = fail_errno(s, fd < 0 ? fd : -errno, path);
	} else if (S_ISREG(st.st_mode)) {
		r = add_file(s, path, &st);
		path = NULL;
	} else if (S_ISDIR(st.st_mode)) {
		r = scan_folder(s, path, depth + 1);
	} else {
		warn(s, path,
		     S_ISLNK(st.st_mode) ? "is a symlink: left out"
					 : "is no plain file: left out");
	}
	if (fd >= 0)
		close(fd);
out:
	free(path);
	return r;
}

/* Recursive, at most LIMIT_PATH_DEPTH deep. FOLDER "" is the root. */
static int scan_folder(struct make_scan *s, const char *folder, unsigned depth)
{
	const struct make_options *o = s->options;
	struct names names = { 0 };
	int fd, r;

	if (depth > LIMIT_PATH_DEPTH)
		return fail(s, -E2BIG, folder, "more than %d folders deep",
			    LIMIT_PATH_DEPTH);
	if (o->progress && !o->progress(o->arg, 0, 0))
		return fail(s, -ECANCELED, s->src, "canceled");
	fd = store_fs_open(s->root, *folder ? folder : ".",
			   O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fail_errno(s, fd, *folder ? folder : s->src);
	r = list_folder(fd, &names);
	if (r < 0)
		r = fail_errno(s, r, *folder ? folder : s->src);
	for (size_t i = 0; i < names.num && !r; i++)
		r = scan_entry(
			s,
			*folder ? mem_printf("%s/%s", folder, names.at[i])
				: mem_strdup(names.at[i]),
			depth);
	names_free(&names);
	return r;
}

void make_scan_init(struct make_scan *s, const char *src,
		    const struct make_options *options, char *why)
{
	memset(s, 0, sizeof(*s));
	s->root = -1;
	s->src = src;
	s->options = options;
	s->why = why;
	for (unsigned i = 0; i < PIECEHASH_THREADS_MAX; i++)
		s->open[i].fd = -1;
	pthread_mutex_init(&s->lock, NULL);
}

static int v1_compare(const void *a, const void *b)
{
	const struct make_file *fa = a, *fb = b;

	return make_info_compare(MAKE_V1, fa->path, fb->path);
}

static int v2_compare(const void *a, const void *b)
{
	const struct make_file *fa = a, *fb = b;

	return make_info_compare(MAKE_V2, fa->path, fb->path);
}

int make_scan_start(struct make_scan *s)
{
	struct stat st;
	int r;

	if (stat(s->src, &st) < 0)
		return fail_errno(s, -errno, s->src);
	if (S_ISREG(st.st_mode))
		return add_file(s, mem_strdup(s->src), &st);
	if (!S_ISDIR(st.st_mode))
		return fail(s, -EINVAL, s->src,
			    "is no plain file and no folder");
	s->is_dir = true;
	s->root = open(s->src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0)
		return fail_errno(s, -errno, s->src);
	r = scan_folder(s, "", 0);
	if (!r && s->num_files)
		qsort(s->files, s->num_files, sizeof(*s->files),
		      s->options->kind == MAKE_V1 ? v1_compare : v2_compare);
	return r;
}

void make_scan_place(struct make_scan *s, uint32_t piece_length)
{
	/* BEP 52: files of a v2 torrent begin at piece borders, too, though
	 * nothing is listed between them. */
	enum make_kind kind =
		s->options->kind == MAKE_V1 ? MAKE_V1 : MAKE_HYBRID;
	uint64_t end = 0;

	for (uint32_t i = 0; i < s->num_files; i++) {
		struct make_file *f = &s->files[i];

		f->offset = end;
		end += f->length + make_info_pad(kind, s->num_files, f->length,
						 piece_length);
	}
}

void make_scan_release(struct make_scan *s)
{
	for (unsigned i = 0; i < PIECEHASH_THREADS_MAX; i++)
		if (s->open[i].fd >= 0)
			close(s->open[i].fd);
	for (uint32_t i = 0; i < s->num_files; i++)
		free(s->files[i].path);
	free(s->files);
	if (s->root >= 0)
		close(s->root);
	pthread_mutex_destroy(&s->lock);
}

static int open_file(const struct make_scan *s, const struct make_file *f,
		     int flags)
{
	int fd;

	if (s->is_dir)
		return store_fs_open(s->root, f->path, flags, 0);
	fd = open(f->path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_unchanged(const struct make_file *f, int fd)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == f->dev && st.st_ino == f->ino &&
	       (uint64_t)st.st_size == f->length &&
	       is_same_time(&st.st_mtim, &f->mtime) &&
	       is_same_time(&st.st_ctim, &f->ctime);
}

static int fail_stale(struct make_scan *s, const struct make_file *f)
{
	return fail(s, -ESTALE, f->path, "changed while it was hashed");
}

/* The file, open on THREAD. */
static int hold_file(struct make_scan *s, unsigned thread, uint32_t file)
{
	const struct make_file *f = &s->files[file];
	int fd = s->open[thread].fd;

	if (fd >= 0 && s->open[thread].file == file) {
		if (s->open[thread].bytes < LOOK_BYTES)
			return fd;
		s->open[thread].bytes = 0;
		return is_unchanged(f, fd) ? fd : fail_stale(s, f);
	}
	if (fd >= 0)
		close(fd);
	s->open[thread].file = file;
	s->open[thread].bytes = 0;
	fd = open_file(s, f, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	s->open[thread].fd = fd < 0 ? -1 : fd;
	if (fd == -ENOENT)
		return fail(s, -ESTALE, f->path,
			    "vanished while it was hashed");
	if (fd < 0)
		return fail_errno(s, fd, f->path);
	return is_unchanged(f, fd) ? fd : fail_stale(s, f);
}

uint32_t make_scan_file_at(const struct make_scan *s, uint64_t off)
{
	uint32_t low = 0, high = s->num_files;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (s->files[mid].offset <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static int read_file(struct make_scan *s, unsigned thread, uint32_t file,
		     uint64_t off, uint8_t *out, size_t len)
{
	int fd = hold_file(s, thread, file);

	if (fd < 0)
		return fd;
	s->open[thread].bytes += len;
	while (len) {
		ssize_t n = pread(fd, out, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(s, -errno, s->files[file].path);
		if (!n)
			return fail_stale(s, &s->files[file]);
		out += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int make_scan_read(struct make_scan *s, unsigned thread, uint64_t off,
		   void *out, size_t len)
{
	uint8_t *at = out;
	int r = 0;

	for (uint32_t i = make_scan_file_at(s, off); len && !r; i++) {
		const struct make_file *f = &s->files[i];
		uint64_t left = f->offset + f->length - off;
		size_t n = left < len ? (size_t)left : len;

		if (n)
			r = read_file(s, thread, i, off - f->offset, at, n);
		at += n;
		off += n;
		len -= n;
	}
	return r;
}

int make_scan_check(struct make_scan *s)
{
	for (uint32_t i = 0; i < s->num_files; i++) {
		const struct make_file *f = &s->files[i];
		int fd = open_file(s, f, O_PATH);
		bool is_fine = fd >= 0 && is_unchanged(f, fd);

		if (fd >= 0)
			close(fd);
		if (!is_fine)
			return fail_stale(s, f);
	}
	return 0;
}
