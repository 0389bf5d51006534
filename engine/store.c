/* Reading and writing take the torrent's bytes apart into extents, borrow the
 * file of each from the cache of open files, and hand the caller's own memory
 * to pread or pwrite: no copy, no allocation, no path while the file is open.
 *
 * Marks of a file (one byte each, atomic):
 *   BYTES  written since the last sync. Set after pwrite, before store_write
 *          returns: a mark set only before it could be taken by a sync that
 *          runs in between, and the next sync would pass the file over.
 *   NAME   its name, or a folder above it, may not be durable. Set when it is
 *          opened for writing for the first time, with NAMED, which stays.
 *   SEEN   was here at full length once; a file without this mark has no bit
 *          that is set. From then on it may not be made or lengthened again:
 *          the new bytes would be zeros that nobody hashed.
 *   GONE   SEEN, but has vanished or shrunk. Nothing touches it until
 *          store_problem told the owner and forgot both marks.
 *   COMMIT its bytes are written; the syncfs under way will make it durable.
 *   LOST   could not be synced once. The kernel may have dropped what it could
 *          not write, and would say that all is well the next time.
 */
#include "engine/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/store_fs.h"
#include "engine/store_impl.h"

struct extent {
	uint32_t file;
	bool is_hole; /* a pad or a gap: no file behind it */
	uint64_t off; /* in the file */
	size_t len;
};

struct store *store_new(struct fdcache *c, const struct metainfo *mi,
			const char *dir, const char *name, bool is_read_only)
{
	struct store *s = mem_alloc(sizeof(*s));

	atomic_init(&s->refs, 1);
	s->cache = c;
	s->mi = mi;
	s->dir = mem_strdup(dir);
	s->name = name ? mem_strdup(name) : NULL;
	s->is_read_only = is_read_only;
	s->slots = mem_alloc_array((size_t)mi->num_files + 1,
				   sizeof(struct fdfile *));
	s->marks = mem_alloc_array((size_t)mi->num_files + 1, 1);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->sync_lock, NULL);
	return s;
}

void store_rename(struct store *s, const char *name)
{
	char *old, *copy = mem_strdup(name);

	pthread_mutex_lock(&s->lock);
	CHECK(s->name);
	old = s->name;
	s->name = copy;
	pthread_mutex_unlock(&s->lock);
	free(old);
}

struct store *store_ref(struct store *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void store_unref(struct store *s)
{
	if (!s ||
	    atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i <= s->mi->num_files; i++)
		fdcache_drop(s->cache, &s->slots[i]);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->sync_lock);
	free(s->slots);
	free(s->marks);
	free(s->dir);
	free(s->name);
	free(s);
}

/* --- problems --- */

void store_note_problem(struct store *s, uint32_t file, int r, const char *what)
{
	pthread_mutex_lock(&s->lock);
	/* -ENODATA has a duty in its train and must not be missed. */
	if (!s->problem || (r == -ENODATA && s->problem != r)) {
		s->problem = r;
		s->problem_file = file;
		s->problem_what = what;
	}
	pthread_mutex_unlock(&s->lock);
}

int store_problem(struct store *s, char *out, size_t size)
{
	const struct metainfo *mi = s->mi;
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->problem;
	if (r)
		snprintf(out, size, "%s: %s", mi->files[s->problem_file].path,
			 s->problem_what);
	else if (size)
		out[0] = '\0';
	s->problem = 0;
	pthread_mutex_unlock(&s->lock);

	for (uint32_t i = 0; r && i < mi->num_files; i++)
		if (atomic_load(&s->marks[i]) & STORE_GONE)
			atomic_fetch_and(&s->marks[i],
					 (uint8_t) ~(STORE_GONE | STORE_SEEN));
	return r;
}

/* --- opening --- */

int store_path(struct store *s, uint32_t file, char out[PATH_MAX])
{
	const struct metainfo *mi = s->mi;
	const struct metainfo_file *f = &mi->files[file];
	int n;

	pthread_mutex_lock(&s->lock);
	if (mi->is_multi)
		n = snprintf(out, PATH_MAX, "%s/%s",
			     s->name ? s->name : mi->name,
			     s->name ? f->origpath : f->path);
	else
		n = snprintf(out, PATH_MAX, "%s", s->name ? s->name : f->path);
	pthread_mutex_unlock(&s->lock);

	return n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int store_hold_root(struct store *s, bool make, struct fdfile **out)
{
	struct fdfile **slot = &s->slots[s->mi->num_files];
	int fd, r;

	*out = fdcache_get(s->cache, slot, false);
	if (*out)
		return 0;
	fd = store_fs_open_root(s->dir);
	if (fd == -ENOENT && make) {
		r = store_fs_make_path(s->dir, 0755);
		if (r)
			return r;
		fd = store_fs_open_root(s->dir);
	}
	if (fd < 0)
		return fd;
	*out = fdcache_add(s->cache, slot, fd, false);
	return 0;
}

/* Was FILE here before what the caller is about to do? What is found missing
 * or short then is news. Asked before the file is opened: another writer may
 * make it between our open and our look at its length. */
static bool was_seen(struct store *s, uint32_t file)
{
	return atomic_load(&s->marks[file]) & STORE_SEEN;
}

/* Opens REL for writing and makes what is missing of it if MAY_MAKE. */
static int open_to_write(struct store *s, uint32_t file, const char *rel,
			 bool may_make)
{
	mode_t mode = s->mi->files[file].flags & FILE_EXEC ? 0755 : 0644;
	int flags = O_RDWR | O_NONBLOCK | O_NOCTTY;
	struct fdfile *root;
	int fd, r;

	/* Twice: the root that we hold may have been deleted under us. */
	for (int tries = 0; tries < 2; tries++) {
		r = store_hold_root(s, may_make, &root);
		if (r)
			return r;
		fd = store_fs_open(root->fd, rel, flags, 0);
		if (fd == -ENOENT && may_make) {
			r = store_fs_make_parents(root->fd, rel);
			fd = r ? r
			       : store_fs_open(root->fd, rel, flags | O_CREAT,
					       mode);
		}
		fdcache_put(s->cache, root);
		/* Whoever made it, now or before a crash. */
		if (fd >= 0 && !(atomic_load(&s->marks[file]) & STORE_NAMED))
			atomic_fetch_or(&s->marks[file],
					STORE_NAME | STORE_NAMED);
		if (fd != -ENOENT || !may_make)
			return fd;
		fdcache_drop(s->cache, &s->slots[s->mi->num_files]);
	}
	return fd;
}

static int open_to_read(struct store *s, const char *rel)
{
	struct fdfile *root;
	int fd, r;

	r = store_hold_root(s, false, &root);
	if (r)
		return r;
	fd = store_fs_open_quietly(root->fd, rel,
				   O_RDONLY | O_NONBLOCK | O_NOCTTY);
	fdcache_put(s->cache, root);
	return fd;
}

/* Looks at a file just opened: plain, and as long as it should be. */
static int check_file(struct store *s, uint32_t file, int fd, bool for_write,
		      bool seen)
{
	uint64_t length = s->mi->files[file].length;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
	if ((uint64_t)st.st_size < length && seen)
		return -ENOENT;
	if (for_write && (uint64_t)st.st_size != length) {
		if (ftruncate(fd, (off_t)length) < 0)
			return -errno;
		atomic_fetch_or(&s->marks[file], STORE_BYTES);
		st.st_size = (off_t)length;
	}
	if ((uint64_t)st.st_size >= length)
		atomic_fetch_or(&s->marks[file], STORE_SEEN);
	return 0;
}

/* FILE is missing or short. News only if it was SEEN before. */
static int on_missing(struct store *s, uint32_t file, bool seen)
{
	if (seen) {
		atomic_fetch_or(&s->marks[file], STORE_GONE);
		fdcache_drop(s->cache, &s->slots[file]);
		store_note_problem(s, file, -ENODATA,
				   "was deleted or cut short by somebody else");
	}
	return -ENODATA;
}

static int hold_file_slow(struct store *s, uint32_t file, bool for_write,
			  struct fdfile **out)
{
	bool seen = was_seen(s, file);
	char rel[PATH_MAX];
	int fd, r;

	if (atomic_load(&s->marks[file]) & STORE_GONE)
		return -ENODATA;
	r = store_path(s, file, rel);
	if (r)
		return r;
	fd = for_write ? open_to_write(s, file, rel, !seen)
		       : open_to_read(s, rel);
	r = fd < 0 ? fd : check_file(s, file, fd, for_write, seen);
	if (r) {
		if (fd >= 0)
			close(fd);
		if (r == -ENOENT)
			return on_missing(s, file, seen);
		store_note_problem(s, file, r, "cannot be opened");
		return r;
	}
	*out = fdcache_add(s->cache, &s->slots[file], fd, for_write);
	return 0;
}

int store_hold_file(struct store *s, uint32_t file, bool for_write,
		    struct fdfile **out)
{
	*out = fdcache_get(s->cache, &s->slots[file], for_write);
	return *out ? 0 : hold_file_slow(s, file, for_write, out);
}

/* --- extents --- */

/* Last file that begins at or before OFF. Files in torrent order; empty ones
 * stand before the file with bytes that begins at the same place. */
static uint32_t file_at(const struct metainfo *mi, uint64_t off)
{
	uint32_t low = 0, high = mi->num_files;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (mi->files[mid].offset <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The extent at OFF, at most LEN long, given that FILE is file_at(OFF) or the
 * one before. */
static struct extent extent_at(const struct metainfo *mi, uint32_t file,
			       uint64_t off, size_t len)
{
	struct extent e = { .len = len };
	uint64_t left;

	while (file + 1 < mi->num_files && mi->files[file + 1].offset <= off)
		file++;
	e.file = file;
	e.off = off - mi->files[file].offset;
	if (off >= mi->files[file].offset && e.off < mi->files[file].length) {
		left = mi->files[file].length - e.off;
		e.is_hole = mi->files[file].flags & (FILE_PAD | FILE_SYMLINK);
	} else {
		e.is_hole = true;
		left = off < mi->files[file].offset
			       ? mi->files[file].offset - off
		       : file + 1 < mi->num_files
			       ? mi->files[file + 1].offset - off
			       : UINT64_MAX;
	}
	if (left < len)
		e.len = (size_t)left;
	return e;
}

static bool is_in_range(const struct store *s, uint64_t off, uint64_t len)
{
	uint64_t end;

	return s->mi->num_files && checked_add(off, len, &end) &&
	       end <= s->mi->layout.total;
}

/* --- reading and writing --- */

static int write_extent(struct store *s, const struct extent *e,
			const uint8_t *bytes)
{
	struct fdfile *f;
	size_t at = 0;
	int r;

	r = store_hold_file(s, e->file, true, &f);
	if (r)
		return r;
	while (at < e->len) {
		ssize_t n = pwrite(f->fd, bytes + at, e->len - at,
				   (off_t)(e->off + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n ? -errno : -EIO;
			store_note_problem(s, e->file, r, "cannot be written");
			break;
		}
		at += (size_t)n;
	}
	if (!(atomic_load(&s->marks[e->file]) & STORE_BYTES))
		atomic_fetch_or(&s->marks[e->file], STORE_BYTES);
	fdcache_put(s->cache, f);
	return r;
}

int store_write(struct store *s, uint64_t off, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint32_t file;
	int r;

	if (!is_in_range(s, off, len))
		return -EINVAL;
	if (s->is_read_only)
		return -EROFS;
	file = file_at(s->mi, off);
	while (len) {
		struct extent e = extent_at(s->mi, file, off, len);

		r = e.is_hole ? 0 : write_extent(s, &e, at);
		if (r)
			return r;
		file = e.file;
		off += e.len;
		at += e.len;
		len -= e.len;
	}
	return 0;
}

static int read_extent(struct store *s, const struct extent *e, uint8_t *out)
{
	bool seen = was_seen(s, e->file);
	struct fdfile *f;
	size_t at = 0;
	int r;

	r = store_hold_file(s, e->file, false, &f);
	if (r)
		return r;
	while (at < e->len) {
		ssize_t n = pread(f->fd, out + at, e->len - at,
				  (off_t)(e->off + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			r = -errno;
			store_note_problem(s, e->file, r, "cannot be read");
			break;
		}
		if (!n) {
			r = on_missing(s, e->file, seen);
			break;
		}
		at += (size_t)n;
	}
	fdcache_put(s->cache, f);
	return r;
}

int store_read(struct store *s, uint64_t off, void *out, size_t len)
{
	uint8_t *at = out;
	uint32_t file;
	int r;

	if (!is_in_range(s, off, len))
		return -EINVAL;
	file = file_at(s->mi, off);
	while (len) {
		struct extent e = extent_at(s->mi, file, off, len);

		r = 0;
		if (e.is_hole)
			memset(at, 0, e.len);
		else
			r = read_extent(s, &e, at);
		if (r)
			return r;
		file = e.file;
		off += e.len;
		at += e.len;
		len -= e.len;
	}
	return 0;
}

static ssize_t pread_now(struct store *s, int fd, void *out, size_t len,
			 uint64_t off)
{
	struct iovec iov = { out, len };
	ssize_t n;

	if (!atomic_load_explicit(&s->is_nowait_unknown,
				  memory_order_relaxed)) {
		n = preadv2(fd, &iov, 1, (off_t)off, RWF_NOWAIT);
		if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
			return n < 0 ? -errno : n;
		atomic_store_explicit(&s->is_nowait_unknown, true,
				      memory_order_relaxed);
	}
	n = pread(fd, out, len, (off_t)off);
	return n < 0 ? -errno : n;
}

ssize_t store_read_now(struct store *s, uint64_t off, void *out, size_t len)
{
	size_t want = len;
	uint8_t *at = out;
	uint32_t file;

	if (!is_in_range(s, off, len))
		return -EINVAL;
	file = file_at(s->mi, off);
	while (len) {
		struct extent e = extent_at(s->mi, file, off, len);
		struct fdfile *f;
		ssize_t n;

		if (e.is_hole) {
			memset(at, 0, e.len);
		} else {
			f = fdcache_get(s->cache, &s->slots[e.file], false);
			if (!f)
				return -EAGAIN;
			n = pread_now(s, f->fd, at, e.len, e.off);
			fdcache_put(s->cache, f);
			/* A worker waits, or finds out what is wrong. */
			if (n != (ssize_t)e.len)
				return -EAGAIN;
		}
		file = e.file;
		off += e.len;
		at += e.len;
		len -= e.len;
	}
	return (ssize_t)want;
}

uint64_t store_allocated_to(struct store *s, uint64_t off)
{
	struct extent e;
	struct fdfile *f;
	off_t hole;

	if (!is_in_range(s, off, 1))
		return off;
	e = extent_at(s->mi, file_at(s->mi, off), off,
		      (size_t)(s->mi->layout.total - off));
	if (e.is_hole)
		return off + e.len;
	if (store_hold_file(s, e.file, false, &f))
		return off;
	hole = lseek(f->fd, (off_t)e.off, SEEK_HOLE);
	fdcache_put(s->cache, f);
	if (hole <= (off_t)e.off)
		return off;
	return off + ((uint64_t)hole - e.off < e.len ? (uint64_t)hole - e.off
						     : e.len);
}

bool store_is_allocated(struct store *s, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	if (!is_in_range(s, off, len))
		return false;
	while (off < end) {
		uint64_t to = store_allocated_to(s, off);

		if (to == off)
			return false;
		off = to;
	}
	return true;
}
