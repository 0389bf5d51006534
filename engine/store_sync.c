/* What a store does to whole files: making them durable, making those that no
 * piece writes, looking at them, deleting them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/store_fs.h"
#include "engine/store_impl.h"

/* --- sync --- */

/* Few files: fdatasync of each, fsync of its folders. Each of those is a
 * commit of the journal and a flush of the disk, so that a thousand small files
 * would take seconds. Many files: their bytes are written and waited for one by
 * one, which is where each file's errors come out, and then one syncfs commits
 * all that the file system has to remember about them. */
#define SYNC_EACH_MAX 16
#define SYNC_TODO     (STORE_BYTES | STORE_NAME)

static int sync_failed(struct store *s, uint32_t file, int r)
{
	atomic_fetch_or(&s->marks[file], STORE_LOST);
	store_note_problem(s, file, r, "cannot be synced");
	return r;
}

static int sync_bytes(struct store *s, uint32_t file)
{
	struct fdfile *f;
	int r;

	r = store_hold_file(s, file, false, &f);
	if (r)
		return r;
	if (fdatasync(f->fd) < 0)
		r = sync_failed(s, file, -errno);
	fdcache_put(s->cache, f);
	return r;
}

/* Syncs the folders above REL, up to the root; LAST, the path synced before,
 * tells which of them are done already. */
static int sync_folders(struct store *s, const char *rel, char *last)
{
	size_t len = store_fs_dirname_len(rel, strlen(rel));
	size_t same = strlen(last);
	struct fdfile *root;
	int r;

	if (same == len && !memcmp(last, rel, len))
		return 0;
	r = store_hold_root(s, false, &root);
	if (r)
		return r;
	for (size_t at = len; !r; at = store_fs_dirname_len(rel, at)) {
		r = store_fs_sync_dir(root->fd, rel, at);
		if (!at)
			break;
	}
	fdcache_put(s->cache, root);
	if (!r) {
		memcpy(last, rel, len);
		last[len] = '\0';
	}
	return r;
}

static int sync_file(struct store *s, uint32_t file, unsigned marks, char *last)
{
	char rel[PATH_MAX];
	int r = 0;

	if (marks & STORE_BYTES)
		r = sync_bytes(s, file);
	if (!r && marks & STORE_NAME)
		r = store_path(s, file, rel);
	if (!r && marks & STORE_NAME)
		r = sync_folders(s, rel, last);
	return r;
}

/* Takes the marks of a file that is to be synced; 0: it is not. */
static unsigned take_marks(struct store *s, uint32_t file, int *r)
{
	unsigned marks = atomic_load(&s->marks[file]);

	if (!(marks & SYNC_TODO))
		return 0;
	if (marks & STORE_LOST) {
		*r = -EIO;
		return 0;
	}
	return atomic_fetch_and(&s->marks[file], (uint8_t)~SYNC_TODO) &
	       SYNC_TODO;
}

/* FILE with its MARKS could not be synced. */
static int give_back(struct store *s, uint32_t file, unsigned marks, int r)
{
	if (r == -ENOENT) {
		r = -ENODATA;
		store_note_problem(s, file, r, "missing");
	}
	/* Nothing is left to sync of a file that is gone. */
	if (r != -ENODATA)
		atomic_fetch_or(&s->marks[file], (uint8_t)marks);
	return r;
}

static int sync_each(struct store *s)
{
	char last[PATH_MAX] = "/"; /* no folder's path */
	int first = 0;

	for (uint32_t i = 0; i < s->mi->num_files; i++) {
		int r = 0;
		unsigned marks = take_marks(s, i, &r);

		if (marks)
			r = sync_file(s, i, marks, last);
		if (r)
			r = give_back(s, i, marks, r);
		if (r && !first)
			first = r;
	}
	return first;
}

/* Begins to write the bytes of FILE, or with WAIT ends. DEV: where syncfs will
 * do the rest. */
static int write_out(struct store *s, uint32_t file, dev_t dev, bool wait)
{
	unsigned how = SYNC_FILE_RANGE_WRITE;
	struct fdfile *f;
	struct stat st;
	int r;

	r = store_hold_file(s, file, false, &f);
	if (r)
		return r;
	if (wait)
		how |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
	if (fstat(f->fd, &st) < 0 || st.st_dev != dev)
		r = wait && fdatasync(f->fd) < 0 ? -errno : 0;
	else if (sync_file_range(f->fd, 0, 0, how) < 0)
		r = -errno;
	/* Some network and stacked file systems know no ranges. */
	if (r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP || r == -ESPIPE)
		r = wait && fdatasync(f->fd) < 0 ? -errno : 0;
	fdcache_put(s->cache, f);
	return wait && r ? sync_failed(s, file, r) : 0;
}

/* Open before the first write is waited for, so that syncfs tells of errors
 * from then on. A descriptor or -errno. */
static int open_file_system(struct store *s, dev_t *dev)
{
	struct fdfile *root;
	struct stat st;
	int fd, r;

	r = store_hold_root(s, false, &root);
	if (r)
		return r;
	fd = store_fs_open(root->fd, ".", O_RDONLY | O_DIRECTORY, 0);
	fdcache_put(s->cache, root);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*dev = st.st_dev;
	return fd;
}

static int sync_together(struct store *s)
{
	int fd, first = 0, r;
	dev_t dev = 0;

	fd = open_file_system(s, &dev);
	if (fd < 0) /* the root is gone: each file says so itself */
		return sync_each(s);
	for (uint32_t i = 0; i < s->mi->num_files; i++)
		if (atomic_load(&s->marks[i]) & STORE_BYTES)
			(void)write_out(s, i, dev, false); /* only a start */
	for (uint32_t i = 0; i < s->mi->num_files; i++) {
		unsigned marks;

		r = 0;
		marks = take_marks(s, i, &r);
		if (marks & STORE_BYTES)
			r = write_out(s, i, dev, true);
		if (r)
			r = give_back(s, i, marks, r);
		else if (marks)
			atomic_fetch_or(&s->marks[i], STORE_COMMIT);
		if (r && !first)
			first = r;
	}
	r = syncfs(fd) < 0 ? -errno : 0;
	for (uint32_t i = 0; i < s->mi->num_files; i++) {
		if (!(atomic_load(&s->marks[i]) & STORE_COMMIT))
			continue;
		atomic_fetch_and(&s->marks[i], (uint8_t)~STORE_COMMIT);
		if (r)
			give_back(s, i, SYNC_TODO, r);
	}
	close(fd);
	return first ? first : r;
}

int store_sync(struct store *s)
{
	uint32_t n = 0;
	int r;

	if (s->is_read_only)
		return 0;
	pthread_mutex_lock(&s->sync_lock);
	for (uint32_t i = 0; i < s->mi->num_files && n <= SYNC_EACH_MAX; i++)
		if (atomic_load(&s->marks[i]) & SYNC_TODO)
			n++;
	r = n > SYNC_EACH_MAX ? sync_together(s) : sync_each(s);
	pthread_mutex_unlock(&s->sync_lock);
	return r;
}

/* --- what no piece writes --- */

static int make_symlink(struct store *s, uint32_t file)
{
	const char *target = s->mi->files[file].symlink;
	struct fdfile *root;
	const char *last;
	char rel[PATH_MAX];
	int fd, r;

	r = store_path(s, file, rel);
	if (r)
		return r;
	r = store_hold_root(s, true, &root);
	if (r)
		return r;
	r = store_fs_make_parents(root->fd, rel);
	fd = r ? r : store_fs_open_parent(root->fd, rel, &last);
	fdcache_put(s->cache, root);
	if (fd < 0)
		return fd;
	if (symlinkat(target, fd, last) == 0)
		atomic_fetch_or(&s->marks[file], STORE_NAME);
	else if (errno != EEXIST)
		r = -errno;
	close(fd);
	return r;
}

int store_make_empty(struct store *s)
{
	int first = 0;

	for (uint32_t i = 0; i < s->mi->num_files && !s->is_read_only; i++) {
		const struct metainfo_file *mf = &s->mi->files[i];
		struct fdfile *f;
		int r = 0;

		if (mf->length || mf->flags & FILE_PAD)
			continue;
		if (mf->flags & FILE_SYMLINK) {
			if (mf->symlink)
				r = make_symlink(s, i);
		} else {
			r = store_hold_file(s, i, true, &f);
			if (!r)
				fdcache_put(s->cache, f);
		}
		if (r && !first)
			first = r;
	}
	return first;
}

/* --- stamps --- */

static int64_t to_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

/* Also makes the file SEEN: the owner may believe its bits from now on. */
static int stamp_file(struct store *s, uint32_t file, int root,
		      struct store_stamp *out)
{
	char rel[PATH_MAX];
	struct stat st;
	int fd, r;

	r = store_path(s, file, rel);
	if (r)
		return r;
	fd = store_fs_open(root, rel, O_PATH, 0);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
		return 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (S_ISREG(st.st_mode))
		*out = (struct store_stamp){
			.size = st.st_size,
			.mtime_ns = to_ns(&st.st_mtim),
			.ctime_ns = to_ns(&st.st_ctim),
			.ino = st.st_ino,
		};
	if (out->size >= 0 && (uint64_t)out->size >= s->mi->files[file].length)
		atomic_fetch_or(&s->marks[file], STORE_SEEN);
	close(fd);
	return r;
}

int store_stamps(struct store *s, struct store_stamp *out)
{
	struct fdfile *root = NULL;
	int r;

	r = store_hold_root(s, false, &root);
	if (r && r != -ENOENT)
		return r;
	r = 0;
	for (uint32_t i = 0; i < s->mi->num_files && !r; i++) {
		out[i] = (struct store_stamp){ 0 };
		if (s->mi->files[i].flags & (FILE_PAD | FILE_SYMLINK))
			continue;
		out[i].size = -1;
		if (root)
			r = stamp_file(s, i, root->fd, &out[i]);
	}
	if (root)
		fdcache_put(s->cache, root);
	return r;
}

/* --- deleting --- */

/* Deletes what is ours at REL: a plain file, or the symlink that we made. */
static int delete_file(int root, const char *rel, bool is_link)
{
	const char *last;
	struct stat st;
	int fd, r = 0;

	fd = store_fs_open_parent(root, rel, &last);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	if (fstatat(fd, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = errno == ENOENT ? 0 : -errno;
	else if (is_link ? S_ISLNK(st.st_mode) : S_ISREG(st.st_mode))
		r = unlinkat(fd, last, 0) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* Removes the folders above REL from the deepest up, while they are empty. */
static void delete_folders(int root, const char *rel, char *last)
{
	char path[PATH_MAX];
	size_t len = store_fs_dirname_len(rel, strlen(rel));

	if (len == strlen(last) && !memcmp(last, rel, len))
		return;
	memcpy(last, rel, len);
	last[len] = '\0';
	memcpy(path, last, len + 1);
	for (; len; len = store_fs_dirname_len(path, len)) {
		const char *name;
		int fd, r;

		path[len] = '\0';
		fd = store_fs_open_parent(root, path, &name);
		if (fd < 0)
			return;
		r = unlinkat(fd, name, AT_REMOVEDIR);
		close(fd);
		if (r < 0 && errno != ENOENT)
			return; /* a stranger's file lives there */
	}
}

int store_delete(struct store *s)
{
	const struct metainfo *mi = s->mi;
	char rel[PATH_MAX], last[PATH_MAX] = "";
	struct fdfile *root;
	int first = 0, r;

	if (s->is_read_only)
		return -EROFS;
	r = store_hold_root(s, false, &root);
	if (r)
		return r == -ENOENT ? 0 : r;
	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		fdcache_drop(s->cache, &s->slots[i]);
		atomic_store(&s->marks[i], 0);
		r = store_path(s, i, rel);
		if (!r)
			r = delete_file(root->fd, rel,
					mi->files[i].flags & FILE_SYMLINK);
		if (r && !first)
			first = r;
	}
	/* Backwards: a folder comes after what lies in it, mostly. */
	for (uint32_t i = mi->num_files; i-- > 0;)
		if (!(mi->files[i].flags & FILE_PAD) && !store_path(s, i, rel))
			delete_folders(root->fd, rel, last);
	fdcache_put(s->cache, root);
	return first;
}
