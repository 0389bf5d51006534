/* Open files. Content with bytes missing is opened direct_io, where a waiting
 * reader can be interrupted; complete content goes through the page cache.
 * keep_cache in any case: content never changes, and dropping pages at open
 * would wait for one that is being read. So does mmap of a direct_io file,
 * deaf to SIGKILL: while a mapping waits for a page of a file, the next opens
 * of it go through the page cache too. */
#include "fs/ops.h"

#include <errno.h>
#include <fcntl.h>

#include "fs/incoming.h"
#include "fs/prefetch.h"
#include "fs/pub.h"
#include "fs/read.h"

static int open_for_writing(fuse_req_t req, const struct node *n,
			    struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct incoming *in;
	struct handle *h;

	if (n->kind != INO_TORRENT_FILE && n->kind != INO_MAGNET_FILE &&
	    n->kind != INO_INCOMING)
		return EROFS;
	if (!mount_is_owner(m, req))
		return EACCES;
	/* What is written over an existing file is a torrent like any other;
	 * that file stays as it is. */
	in = n->kind == INO_INCOMING ? incoming_by_serial(m, n->id)
				     : incoming_new(m, NULL);
	if (!in)
		return ENOSPC;
	if (fi->flags & O_TRUNC)
		(void)incoming_resize(in, 0); /* shrinking cannot fail */
	h = handle_new(m, n->ino, HANDLE_INCOMING);
	h->incoming = in;
	in->num_handles++;
	timer_stop(&in->expiry);
	fi->fh = h->fh;
	fi->direct_io = 1;
	return 0;
}

static int open_incoming_for_reading(struct mount *m, const struct node *n,
				     struct fuse_file_info *fi)
{
	struct handle *h = handle_new(m, n->ino, HANDLE_INCOMING);

	h->incoming = incoming_by_serial(m, n->id);
	h->incoming->num_handles++;
	fi->fh = h->fh;
	fi->direct_io = 1;
	return 0;
}

static int open_for_reading(struct mount *m, const struct node *n,
			    struct fuse_file_info *fi)
{
	struct handle *h;
	int r;

	if (n->kind == INO_INCOMING)
		return open_incoming_for_reading(m, n, fi);
	r = handle_open(m, n, &h);
	if (r < 0)
		return -r;
	if (h->reader && m->s->opts->fill == FILL_FILE)
		(void)prefetch_range(m, n, 0, h->length); /* or by reading */
	fi->fh = h->fh;
	fi->noflush = 1;
	fi->keep_cache = h->kind == HANDLE_CONTENT;
	fi->direct_io = h->kind == HANDLE_TEXT ||
			(h->reader && !reads_has_page(m, n->ino));
	return 0;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct node n;
	int r = -node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_open(req, ino, fi);
		return;
	}
	if (!r && node_is_dir(&n))
		r = EISDIR;
	if (!r && node_file(&n) && node_file(&n)->symlink)
		r = ELOOP;
	if (!r && ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC))
		r = open_for_writing(req, &n, fi);
	else if (!r)
		r = open_for_reading(m, &n, fi);
	if (r) {
		fuse_reply_err(req, r);
		return;
	}
	/* The kernel tells of no RELEASE when the open was interrupted. */
	if (fuse_reply_open(req, fi) == -ENOENT)
		handle_free(m, handle_find(m, fi->fh));
}

static void reply_part(fuse_req_t req, const struct buf *b, size_t size,
		       uint64_t off)
{
	size_t left = off < b->len ? b->len - (size_t)off : 0;

	if (size > left)
		size = left;
	fuse_reply_buf(req, size ? (const char *)b->ptr + off : NULL, size);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi)
{
	struct handle *h = handle_get(mount_of(req), ino, fi->fh);

	if (pub_has(ino)) {
		pub_read(req, ino, size, off, fi);
		return;
	}
	if (!h || off < 0) {
		fuse_reply_err(req, h ? EINVAL : ESTALE);
		return;
	}
	switch (h->kind) {
	case HANDLE_CONTENT:
		read_content(req, h, (uint64_t)off, size, !fi->lock_owner);
		return;
	case HANDLE_TEXT:
		reply_part(req, &h->text, size, (uint64_t)off);
		return;
	case HANDLE_INCOMING:
		reply_part(req, &h->incoming->data, size, (uint64_t)off);
		return;
	}
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len,
	      off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_find(mount_of(req), fi->fh);
	int r = -ESTALE;

	if (pub_has(ino)) {
		pub_write(req, ino, bytes, len, off, fi);
		return;
	}
	if (h && h->incoming && off >= 0)
		r = incoming_write(h->incoming,
				   fi->flags & O_APPEND ? h->incoming->data.len
							: (uint64_t)off,
				   bytes, len);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_write(req, len);
}

void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_find(mount_of(req), fi->fh);

	if (h && h->incoming)
		incoming_flush(h->incoming, req);
	else
		fuse_reply_err(req, 0);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct handle *h = handle_find(m, fi->fh);

	if (pub_has(ino)) {
		pub_release(req, ino, fi);
		return;
	}
	if (h)
		handle_free(m, h);
	fuse_reply_err(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi)
{
	if (pub_has(ino)) {
		pub_fsync(req, ino, datasync, fi);
		return;
	}
	fuse_reply_err(req, 0); /* close() says when a torrent is durable */
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		  off_t len, struct fuse_file_info *fi)
{
	if (pub_has(ino))
		pub_fallocate(req, ino, mode, off, len, fi);
	else
		fuse_reply_err(req, EOPNOTSUPP);
}
