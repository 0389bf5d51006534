/* Bytes in publish/. Who reads opens it buffered: the kernel keeps pages,
 * writes them through at once, and writes out what mappings changed; a file
 * that was changed behind our back since it was seen last loses its pages at
 * open. Who only writes needs no pages here (pub_handle_cache).
 *
 * A WRITE's buffer is taken over whole (mount.c gets another one) and written
 * by a worker; the reply waits for that, so ENOSPC reaches the writer. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "fs/pub_job.h"

static struct pub_job *job_on_handle(fuse_req_t req, fuse_ino_t ino,
				     struct fuse_file_info *fi, bool changes)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;
	struct pub_job *j;

	if (!h || h->dir) {
		fuse_reply_err(req, EBADF);
		return NULL;
	}
	j = pub_job_new(req, ino, NULL, changes);
	if (!j)
		return NULL;
	j->handle = h;
	h->refs++;
	return j;
}

/* ---- open and close ---- */

static void open_run(struct pub_job *j)
{
	j->new_fd = pub_open_node(j, pub_open_flags(j->flags));
	if (j->new_fd < 0)
		j->r = j->new_fd;
	else if (fstat(j->new_fd, &j->st) < 0)
		j->r = -errno;
}

static void before_change(struct pub_job *j, uint64_t off, uint64_t len)
{
	char *path = pub_path(j->node);

	if (path)
		publish_before_change(j->p->publish, path, off, len);
	free(path);
}

static void on_changed(struct pub_job *j, uint64_t off, uint64_t len)
{
	char *path = pub_path(j->node);

	publish_stamp(&j->st, &j->node->seen);
	if (path)
		publish_on_changed(j->p->publish, path, &j->st, off, len);
	free(path);
}

static void open_done(struct pub_job *j)
{
	struct store_stamp now;
	struct pub_handle *h;
	bool is_same;
	char *path;

	if (!j->r &&
	    (j->st.st_ino != j->node->backing || j->st.st_dev != j->node->dev))
		j->r = -ESTALE; /* the kernel looks the name up again */
	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	publish_stamp(&j->st, &now);
	is_same = publish_stamp_eq(&now, &j->node->seen);
	j->node->seen = now;
	h = pub_handle_new(j->node, j->p, j->new_fd);
	pub_handle_cache(j->p, h, j->flags, is_same, &j->fi);
	j->new_fd = -1;
	if (j->flags & O_TRUNC)
		on_changed(j, 0, UINT64_MAX);
	h->is_writer = (j->flags & O_ACCMODE) != O_RDONLY;
	path = pub_path(j->node);
	if (h->is_writer && path)
		publish_on_writer(j->p->publish, path, 1);
	free(path);
	j->fi.fh = h->fh;
	j->fi.noflush = !h->is_writer;
	if (fuse_reply_open(j->req, &j->fi) < 0)
		pub_handle_close(j->p, h);
}

void pub_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool changes =
		(fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC;
	struct pub_job *j = pub_job_new(req, ino, NULL, changes);

	if (!j)
		return;
	j->flags = fi->flags;
	j->fi = *fi;
	j->run = open_run;
	j->done = open_done;
	if (fi->flags & O_TRUNC)
		before_change(j, 0, UINT64_MAX);
	pub_job_submit(j, true);
}

void pub_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;

	if (h)
		pub_handle_close(p, h);
	fuse_reply_err(req, 0);
}

/* ---- reading ---- */

static void read_run(struct pub_job *j)
{
	size_t at = 0;

	j->bytes = mem_alloc(j->len);
	while (at < j->len) {
		ssize_t n = pread(j->handle->fd, j->bytes + at, j->len - at,
				  j->off + (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n < 0 && !at)
				j->r = -errno;
			break;
		}
		at += (size_t)n;
	}
	j->len = at;
}

static void read_done(struct pub_job *j)
{
	if (j->r < 0)
		pub_reply_err(j);
	else
		fuse_reply_buf(j->req, (const char *)j->bytes, j->len);
}

/* From the page cache without waiting. A short answer is none, but at the end,
 * and only a worker finds out whether that is the end. */
static bool read_now(fuse_req_t req, struct pub_handle *h, size_t size,
		     off_t off)
{
	struct mount *m = mount_of(req);
	struct iovec iov = { m->reply_buf,
			     size < MOUNT_MAX_IO ? size : MOUNT_MAX_IO };

	if (h->node->is_busy || !list_is_empty(&h->node->jobs) ||
	    preadv2(h->fd, &iov, 1, off, RWF_NOWAIT) != (ssize_t)size)
		return false;
	fuse_reply_buf(req, (const char *)m->reply_buf, size);
	return true;
}

void pub_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	      struct fuse_file_info *fi)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;
	struct pub_job *j;

	if (h && !h->dir && read_now(req, h, size, off))
		return;
	j = job_on_handle(req, ino, fi, false);
	if (!j)
		return;
	j->len = size < MOUNT_MAX_IO ? size : MOUNT_MAX_IO;
	j->off = off;
	j->run = read_run;
	j->done = read_done;
	pub_job_submit(j, false);
}

/* ---- writing ---- */

static void write_run(struct pub_job *j)
{
	size_t at = 0;

	while (at < j->len) {
		ssize_t n = pwrite(j->handle->fd, j->data + at, j->len - at,
				   j->off + (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (!at)
				j->r = n < 0 ? -errno : -EIO;
			break;
		}
		at += (size_t)n;
	}
	j->len = at;
	if (!j->r && fstat(j->handle->fd, &j->st) < 0)
		j->r = -errno;
}

static void write_done(struct pub_job *j)
{
	if (j->r < 0) {
		pub_reply_err(j);
	} else {
		on_changed(j, (uint64_t)j->off, j->len);
		fuse_reply_write(j->req, j->len);
	}
	mount_buffer_put(j->p->m, j->bytes);
	j->bytes = NULL;
}

void pub_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len,
	       off_t off, struct fuse_file_info *fi)
{
	struct pub_job *j = job_on_handle(req, ino, fi, true);

	if (!j)
		return;
	j->data = (const uint8_t *)bytes;
	j->bytes = mount_buffer_take(j->p->m);
	j->len = len;
	j->off = off;
	j->run = write_run;
	j->done = write_done;
	before_change(j, (uint64_t)off, len);
	pub_job_submit(j, false);
}

/* ---- the rest ---- */

static void fsync_run(struct pub_job *j)
{
	int fd = j->handle->fd;

	if ((j->flags ? fdatasync(fd) : fsync(fd)) < 0)
		j->r = -errno;
}

void pub_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	       struct fuse_file_info *fi)
{
	struct pub_job *j = job_on_handle(req, ino, fi, false);

	if (!j)
		return;
	j->flags = datasync;
	j->run = fsync_run;
	j->done = pub_reply_err;
	pub_job_submit(j, false);
}

static void fallocate_run(struct pub_job *j)
{
	if (fallocate(j->handle->fd, j->flags, j->off, (off_t)j->len) < 0)
		j->r = -errno;
	else if (fstat(j->handle->fd, &j->st) < 0)
		j->r = -errno;
}

static void fallocate_done(struct pub_job *j)
{
	if (!j->r)
		on_changed(j, (uint64_t)j->off, UINT64_MAX);
	pub_reply_err(j);
}

/* Some modes move all that follows. */
void pub_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		   off_t len, struct fuse_file_info *fi)
{
	struct pub_job *j = job_on_handle(req, ino, fi, true);

	if (!j)
		return;
	j->flags = mode;
	j->off = off;
	j->len = (size_t)len;
	j->run = fallocate_run;
	j->done = fallocate_done;
	before_change(j, (uint64_t)off, UINT64_MAX);
	pub_job_submit(j, false);
}

static void copy_run(struct pub_job *j)
{
	loff_t from = j->from_off, to = j->off;
	ssize_t n = copy_file_range(j->from->fd, &from, j->handle->fd, &to,
				    j->len, 0);

	if (n < 0)
		j->r = errno == EXDEV ? -EOPNOTSUPP : -errno;
	else if (fstat(j->handle->fd, &j->st) < 0)
		j->r = -errno;
	else
		j->len = (size_t)n;
}

static void copy_done(struct pub_job *j)
{
	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	on_changed(j, (uint64_t)j->off, j->len);
	fuse_reply_write(j->req, j->len);
}

/* At most so many bytes a job, so that nobody waits long. */
#define COPY_BYTES (64u << 20)

void pub_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			 struct fuse_file_info *from_fi, fuse_ino_t to,
			 off_t to_off, struct fuse_file_info *to_fi, size_t len,
			 int flags)
{
	struct pub_handle *source;
	struct pub_job *j;

	if (!pub_has(from) || !pub_has(to)) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	j = job_on_handle(req, to, to_fi, true);
	if (!j)
		return;
	source = pub_handle_find(j->p, from_fi->fh);
	if (!source || source->dir) {
		j->r = -EBADF;
		pub_reply_err(j);
		pub_job_drop(j);
		return;
	}
	j->from = source;
	source->refs++;
	j->from_off = from_off;
	j->off = to_off;
	j->len = len < COPY_BYTES ? len : COPY_BYTES;
	j->run = copy_run;
	j->done = copy_done;
	before_change(j, (uint64_t)to_off, j->len);
	pub_job_submit(j, false);
}
