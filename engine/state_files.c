#include "engine/state_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/store_fs.h"

#define TEMP_NAME  ".new" /* one writer: the state thread */
#define BROKEN_MAX 1000   /* generations of broken databases kept */

static const char *const suffixes[] = {
	[STATE_FILE_TORRENT] = ".torrent",
	[STATE_FILE_MAGNET] = ".magnet",
};

static size_t max_size(enum state_file kind)
{
	return kind == STATE_FILE_TORRENT ? LIMIT_TORRENT_FILE_BYTES
					  : LIMIT_MAGNET_BYTES;
}

#define NAME_SIZE 64
static void name_of(const struct infohash *ih, enum state_file kind,
		    char out[NAME_SIZE])
{
	char hex[2 * sizeof(ih->b) + 1];

	hex_encode(ih->b, sizeof(ih->b), hex);
	snprintf(out, NAME_SIZE, "%s%s", hex, suffixes[kind]);
}

static bool parse_name(const char *name, struct infohash *ih,
		       enum state_file *kind)
{
	static const enum state_file kinds[] = { STATE_FILE_TORRENT,
						 STATE_FILE_MAGNET };
	const char *dot = strchr(name, '.');
	char back[NAME_SIZE];

	if (!dot ||
	    !hex_decode(name, (size_t)(dot - name), ih->b, sizeof(ih->b)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		*kind = kinds[i];
		name_of(ih, *kind, back); /* also refuses upper case */
		if (!strcmp(name, back))
			return true;
	}
	return false;
}

/* --- the lock --- */

static int who_holds(int fd, const char *dir, char why[STATE_WHY_SIZE])
{
	char text[24] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;

	if (pid > 0)
		snprintf(why, STATE_WHY_SIZE,
			 "another weirfs (process %ld) uses %.300s; stop it, or"
			 " give this one its own with -o state=DIR",
			 pid, dir);
	else
		snprintf(
			why, STATE_WHY_SIZE,
			"another weirfs uses %.300s; stop it, or give this one its"
			" own with -o state=DIR",
			dir);
	return -EBUSY;
}

static int write_pid(int fd)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0)
		return -errno;
	/* Only news for people; the lock itself needs no byte. */
	(void)!pwrite(fd, text, (size_t)n, 0);
	return 0;
}

int state_files_lock(const char *dir, char why[STATE_WHY_SIZE])
{
	char path[PATH_MAX];
	int fd, r;

	r = store_fs_make_path(dir, 0700);
	if (!r &&
	    snprintf(path, sizeof(path), "%s/lock", dir) >= (int)sizeof(path))
		r = -ENAMETOOLONG;
	fd = r ? r
	       : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		r = r ? r : -errno;
		snprintf(why, STATE_WHY_SIZE, "state folder %.300s: %s", dir,
			 strerror(-r));
		return r;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK ? who_holds(fd, dir, why) : -errno;
		if (r != -EBUSY)
			snprintf(why, STATE_WHY_SIZE, "locking %.300s: %s",
				 path, strerror(-r));
		close(fd);
		return r;
	}
	r = write_pid(fd);
	if (r) {
		snprintf(why, STATE_WHY_SIZE, "%.300s: %s", path, strerror(-r));
		close(fd);
		return r;
	}
	return fd;
}

/* --- files --- */

int state_files_open(const char *dir)
{
	char path[PATH_MAX];
	int fd, r;

	if (snprintf(path, sizeof(path), "%s/torrents", dir) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	r = store_fs_make_path(path, 0700);
	if (r)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		len -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static bool is_there(int dir, const struct infohash *ih, enum state_file kind,
		     const uint8_t *bytes, size_t len)
{
	uint8_t *old;
	size_t old_len;
	bool same;

	if (state_files_read(dir, ih, kind, &old, &old_len))
		return false;
	same = old_len == len && !memcmp(old, bytes, len);
	free(old);
	return same;
}

int state_files_write(int dir, const struct infohash *ih, enum state_file kind,
		      const uint8_t *bytes, size_t len, bool *is_new)
{
	char name[NAME_SIZE];
	int fd, r;

	*is_new = false;
	if (!len || len > max_size(kind))
		return -E2BIG;
	if (is_there(dir, ih, kind, bytes, len))
		return 0;
	name_of(ih, kind, name);
	*is_new = faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
	fd = openat(dir, TEMP_NAME,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, bytes, len);
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && renameat(dir, TEMP_NAME, dir, name) < 0)
		r = -errno;
	if (r) {
		(void)unlinkat(dir, TEMP_NAME, 0); /* the error is told */
		*is_new = false;
	}
	return r;
}

int state_files_sync(int dir)
{
	return fsync(dir) < 0 ? -errno : 0;
}

static int read_all(int fd, uint8_t *out, size_t len)
{
	size_t at = 0;

	while (at < len) {
		ssize_t n = read(fd, out + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

int state_files_read(int dir, const struct infohash *ih, enum state_file kind,
		     uint8_t **out, size_t *len)
{
	char name[NAME_SIZE];
	uint8_t *bytes = NULL;
	struct stat st;
	int fd, r = 0;

	name_of(ih, kind, name);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode) || !st.st_size)
		r = -EBADMSG;
	else if ((uint64_t)st.st_size > max_size(kind))
		r = -E2BIG;
	if (r)
		goto out_close;
	/* One more, so that a magnet ends in NUL. */
	bytes = mem_try((size_t)st.st_size + 1, 1);
	r = bytes ? read_all(fd, bytes, (size_t)st.st_size) : -ENOMEM;
	if (r) {
		free(bytes);
		goto out_close;
	}
	*out = bytes;
	*len = (size_t)st.st_size;
out_close:
	close(fd);
	return r;
}

int state_files_remove(int dir, const struct infohash *ih, enum state_file kind)
{
	char name[NAME_SIZE];

	name_of(ih, kind, name);
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int state_files_each(int dir,
		     void (*fn)(void *arg, const struct infohash *ih,
				enum state_file kind),
		     void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (errno = 0, (e = readdir(d))) {
		struct infohash ih;
		enum state_file kind;

		if (!strcmp(e->d_name, TEMP_NAME))
			(void)unlinkat(dir, TEMP_NAME, 0); /* or next time */
		else if (parse_name(e->d_name, &ih, &kind))
			fn(arg, &ih, kind);
	}
	r = -errno;
	closedir(d);
	return r;
}

/* --- broken databases --- */

static int rename_part(const char *dir, const char *part, unsigned n)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (snprintf(from, sizeof(from), "%s/state.db%s", dir, part) >=
		    (int)sizeof(from) ||
	    snprintf(to, sizeof(to), "%s/state.db.broken-%u%s", dir, n, part) >=
		    (int)sizeof(to))
		return -ENAMETOOLONG;
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0
		       ? -errno
		       : 0;
}

int state_files_move_aside(const char *dir, unsigned *n)
{
	static const char *const parts[] = { "-wal", "-shm" };
	int r = -EEXIST;

	for (*n = 1; *n <= BROKEN_MAX; ++*n) {
		r = rename_part(dir, "", *n);
		if (r != -EEXIST)
			break;
	}
	for (size_t i = 0; !r && i < ARRAY_LEN(parts); i++) {
		r = rename_part(dir, parts[i], *n);
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}
