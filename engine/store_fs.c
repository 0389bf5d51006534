#include "engine/store_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_path(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* Makes the folder PATH and its name durable. */
static int make_one(char *path, mode_t mode)
{
	char *slash = strrchr(path, '/');
	struct stat st;
	int r;

	if (mkdir(path, mode) < 0) {
		r = -errno;
		/* Above our place all sorts of errors hide a folder. */
		if (!stat(path, &st))
			return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
		return r;
	}
	if (!slash)
		return sync_path(".");
	if (slash == path)
		return sync_path("/");
	*slash = '\0';
	r = sync_path(path);
	*slash = '/';
	/* A parent that we may write but not read cannot be synced. */
	return r == -EACCES ? 0 : r;
}

int store_fs_make_path(const char *dir, mode_t mode)
{
	char path[PATH_MAX];
	size_t len = strlen(dir);
	int r;

	if (!len)
		return -ENOENT;
	if (len >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, dir, len + 1);
	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		if (path[i - 1] == '/') /* "a//b" */
			continue;
		path[i] = '\0';
		r = make_one(path, mode);
		if (r)
			return r;
		if (i < len)
			path[i] = '/';
	}
	return 0;
}

int store_fs_open_root(const char *dir)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* The last element of a walk: never a symlink. */
static int open_last(int dir, const char *name, int flags, mode_t mode)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	struct stat st;

	if (fd < 0)
		return -errno;
	/* O_PATH opens the link itself. */
	if (flags & O_PATH && (fstat(fd, &st) || S_ISLNK(st.st_mode))) {
		close(fd);
		return -ELOOP;
	}
	return fd;
}

/* For kernels before 5.6, sandboxes and tools that have no openat2: the same
 * promise, element by element. */
static int open_by_steps(int root, const char *rel, int flags, mode_t mode)
{
	char name[NAME_MAX + 1];
	int dir = dup(root), r;

	if (dir < 0)
		return -errno;
	for (;;) {
		size_t len;

		rel += strspn(rel, "/");
		len = strcspn(rel, "/");
		if (len > NAME_MAX || !strncmp(rel, "..", len > 2 ? len : 2)) {
			r = len > NAME_MAX ? -ENAMETOOLONG : -EXDEV;
			break;
		}
		memcpy(name, rel, len);
		name[len] = '\0';
		if (!rel[len]) {
			r = open_last(dir, name, flags, mode);
			break;
		}
		r = open_last(dir, name, O_PATH, 0);
		if (r < 0)
			break;
		close(dir);
		dir = r;
		rel += len;
	}
	close(dir);
	return r;
}

int store_fs_open(int root, const char *rel, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* -EAGAIN: a rename raced with the look-up, and the kernel could not
	 * be sure; -EINTR: a slow file system. */
	for (int tries = 0; tries < 100; tries++) {
		fd = syscall(SYS_openat2, root, rel, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno == ENOSYS)
			return open_by_steps(root, rel, flags, mode);
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EIO;
}

int store_fs_open_quietly(int root, const char *rel, int flags)
{
	int fd = store_fs_open(root, rel, flags | O_NOATIME, 0);

	/* Of somebody else's file we may not say so. */
	return fd == -EPERM ? store_fs_open(root, rel, flags, 0) : fd;
}

size_t store_fs_dirname_len(const char *rel, size_t len)
{
	while (len && rel[len - 1] != '/')
		len--;
	while (len && rel[len - 1] == '/')
		len--;
	return len;
}

/* The folder of the first LEN bytes of REL. */
static int open_dir(int root, const char *rel, size_t len, int flags)
{
	char path[PATH_MAX];

	if (len >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, rel, len);
	path[len] = '\0';
	return store_fs_open(root, len ? path : ".", flags | O_DIRECTORY, 0);
}

int store_fs_open_parent(int root, const char *rel, const char **last)
{
	const char *slash = strrchr(rel, '/');

	*last = slash ? slash + 1 : rel;
	return open_dir(root, rel, slash ? (size_t)(slash - rel) : 0, O_PATH);
}

int store_fs_make_parents(int root, const char *rel)
{
	char name[NAME_MAX + 1];
	const char *slash;
	int at = root, r = 0;

	while ((slash = strchr(rel, '/'))) {
		size_t len = (size_t)(slash - rel);
		int next;

		if (len >= sizeof(name)) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, rel, len);
		name[len] = '\0';
		if (mkdirat(at, name, 0755) < 0 && errno != EEXIST) {
			r = -errno;
			break;
		}
		next = store_fs_open(at, name, O_PATH | O_DIRECTORY, 0);
		if (next < 0) {
			r = next;
			break;
		}
		if (at != root)
			close(at);
		at = next;
		rel = slash + 1;
	}
	if (at != root)
		close(at);
	return r;
}

int store_fs_sync_dir(int root, const char *rel, size_t len)
{
	int fd = open_dir(root, rel, len, O_RDONLY);
	int r = 0;

	if (fd < 0)
		return fd;
	if (fsync(fd) < 0)
		r = -errno;
	close(fd);
	return r;
}
