/* Listings of publish/: the backing folder's own, with its own offsets, so that
 * one that changes while it is listed behaves as on any file system. Nothing
 * is looked up for them: the kernel asks for what it wants to know. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/pub_job.h"

static void opendir_run(struct pub_job *j)
{
	int fd = pub_open_node(j, O_RDONLY | O_DIRECTORY);

	if (fd < 0) {
		j->r = fd;
		return;
	}
	j->new_fd = fd;
	j->new_dir = fdopendir(fd);
	if (!j->new_dir)
		j->r = -errno;
}

static void opendir_done(struct pub_job *j)
{
	struct pub_handle *h;

	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	h = pub_handle_new(j->node, j->p, j->new_fd);
	h->dir = j->new_dir;
	j->new_dir = NULL;
	j->new_fd = -1;
	j->fi.fh = h->fh;
	j->fi.cache_readdir = 0;
	if (fuse_reply_open(j->req, &j->fi) < 0)
		pub_handle_close(j->p, h);
}

void pub_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, false);

	if (!j)
		return;
	j->fi = *fi;
	j->run = opendir_run;
	j->done = opendir_done;
	pub_job_submit(j, true);
}

/* ---- reading ---- */

static size_t add(struct pub_job *j, size_t at, const struct dirent *e,
		  uint64_t ino)
{
	struct fuse_entry_param plus = { 0 };

	/* Inode 0 in PLUS: no attributes are given, and no reference. */
	plus.attr.st_ino = ino;
	plus.attr.st_mode = (mode_t)DTTOIF(e->d_type);
	if (j->to_set)
		return fuse_add_direntry_plus(j->req, (char *)j->bytes + at,
					      j->len - at, e->d_name, &plus,
					      e->d_off);
	return fuse_add_direntry(j->req, (char *)j->bytes + at, j->len - at,
				 e->d_name, &plus.attr, e->d_off);
}

static void readdir_run(struct pub_job *j)
{
	struct pub_handle *h = j->handle;
	struct dirent *e;
	size_t at = 0;

	if (!j->off)
		rewinddir(h->dir);
	else if (j->off != h->dir_at)
		seekdir(h->dir, j->off);
	h->dir_at = j->off;
	while (errno = 0, (e = readdir(h->dir))) {
		size_t n = add(j, at, e,
			       pub_number(&j->p->tree, j->p->tree.root->dev,
					  e->d_ino));

		if (n > j->len - at) {
			seekdir(h->dir, h->dir_at);
			errno = 0;
			break;
		}
		at += n;
		h->dir_at = e->d_off;
	}
	if (errno && !at)
		j->r = -errno;
	j->mode = (mode_t)at;
}

static void readdir_done(struct pub_job *j)
{
	if (j->r < 0)
		pub_reply_err(j);
	else
		fuse_reply_buf(j->req, (const char *)j->bytes, j->mode);
}

void pub_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		 struct fuse_file_info *fi, bool is_plus)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;
	struct pub_job *j;

	if (!h || !h->dir) {
		fuse_reply_err(req, EBADF);
		return;
	}
	j = pub_job_new(req, ino, NULL, false);
	if (!j)
		return;
	j->len = size < MOUNT_MAX_IO ? size : MOUNT_MAX_IO;
	j->bytes = mem_alloc(j->len);
	j->off = off;
	j->to_set = is_plus;
	j->run = readdir_run;
	j->done = readdir_done;
	j->handle = h;
	h->refs++;
	pub_job_submit(j, false);
}

void pub_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;

	if (h)
		pub_handle_close(p, h);
	fuse_reply_err(req, 0);
}

static void fsyncdir_run(struct pub_job *j)
{
	if (fsync(j->handle->fd) < 0)
		j->r = -errno;
}

void pub_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		  struct fuse_file_info *fi)
{
	struct pub *p = pub_of(req);
	struct pub_handle *h = p ? pub_handle_find(p, fi->fh) : NULL;
	struct pub_job *j;

	if (!h) {
		fuse_reply_err(req, EBADF);
		return;
	}
	j = pub_job_new(req, ino, NULL, false);
	if (!j)
		return;
	j->handle = h;
	h->refs++;
	j->run = fsyncdir_run;
	j->done = pub_reply_err;
	pub_job_submit(j, false);
}
