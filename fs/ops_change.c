/* What changes the library: files made, written, renamed and removed in
 * torrents/. Everything else is refused: EROFS inside a torrent, EPERM in the
 * folders of the library. */
#include "fs/ops.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "engine/base/log.h"
#include "fs/incoming.h"
#include "fs/pub.h"

/* 0 if REQ may change names in PARENT, and that is torrents/. */
static int may_change(fuse_req_t req, fuse_ino_t parent)
{
	struct mount *m = mount_of(req);
	struct node dir;
	int r = node_get(m, parent, &dir);

	if (r < 0)
		return -r;
	if (node_is_content(&dir))
		return EROFS;
	if (dir.kind != INO_FIXED || dir.index != INO_TORRENTS)
		return EPERM;
	return mount_is_owner(m, req) ? 0 : EACCES;
}

static void refuse(fuse_req_t req, fuse_ino_t parent)
{
	int r = may_change(req, parent);

	fuse_reply_err(req, r ? r : EPERM);
}

/* ---- making ---- */

static int make_incoming(fuse_req_t req, fuse_ino_t parent, const char *name,
			 struct node *out)
{
	struct mount *m = mount_of(req);
	struct incoming *in;
	int r = may_change(req, parent);

	if (r)
		return r;
	if (strlen(name) > 255)
		return ENAMETOOLONG;
	in = incoming_by_name(m, name, strlen(name));
	if (!in)
		in = incoming_new(m, name);
	if (!in)
		return ENOSPC;
	return -node_get(m, ino_make(INO_INCOMING, in->serial, 0), out);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = { 0 };
	struct incoming *in;
	struct handle *h;
	struct node n;
	int r = make_incoming(req, parent, name, &n);

	if (pub_has(parent)) {
		pub_create(req, parent, name, mode, fi);
		return;
	}
	if (r) {
		fuse_reply_err(req, r);
		return;
	}
	in = incoming_by_serial(m, n.id);
	h = handle_new(m, n.ino, HANDLE_INCOMING);
	h->incoming = in;
	in->num_handles++;
	timer_stop(&in->expiry);
	e.ino = n.ino;
	e.entry_timeout = node_entry_timeout(&n);
	node_attr(m, &n, &e.attr);
	fi->fh = h->fh;
	fi->direct_io = 1;
	if (fuse_reply_create(req, &e, fi) == -ENOENT)
		handle_free(m, h);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	      dev_t rdev)
{
	struct node n;
	int r = S_ISREG(mode) ? make_incoming(req, parent, name, &n) : EPERM;

	if (pub_has(parent)) {
		pub_mknod(req, parent, name, mode, rdev);
		return;
	}
	if (r)
		fuse_reply_err(req, r);
	else
		reply_entry(req, &n);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (pub_has(parent)) {
		pub_mkdir(req, parent, name, mode);
		return;
	}
	refuse(req, parent);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name)
{
	if (pub_has(parent)) {
		pub_symlink(req, target, parent, name);
		return;
	}
	refuse(req, parent);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
	     const char *name)
{
	if (pub_has(parent)) { /* pub_names.c says why */
		fuse_reply_err(req, EPERM);
		return;
	}
	refuse(req, parent);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (pub_has(parent)) {
		pub_rmdir(req, parent, name);
		return;
	}
	refuse(req, parent);
}

/* What may be done to N by whoever copies, installs or moves files into
 * torrents/: modes and times are taken with a nod and forgotten. */
static int set_attributes(struct mount *m, const struct node *n,
			  struct incoming *in, const struct stat *attr,
			  int to_set)
{
	if (!in && n->kind == INO_INCOMING)
		in = incoming_by_serial(m, n->id);
	if (!in && n->kind != INO_TORRENT_FILE && n->kind != INO_MAGNET_FILE)
		return node_is_content(n) ? -EROFS : -EPERM;
	if (!(to_set & FUSE_SET_ATTR_SIZE))
		return 0;
	if (!in || attr->st_size < 0)
		return in ? -EINVAL : -EPERM;
	return incoming_resize(in, (uint64_t)attr->st_size);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct handle *h = fi ? handle_find(m, fi->fh) : NULL;
	struct node n;
	struct stat st;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_setattr(req, ino, attr, to_set, fi);
		return;
	}
	if (!r && !mount_is_owner(m, req))
		r = -EACCES;
	if (!r)
		r = set_attributes(m, &n, h ? h->incoming : NULL, attr, to_set);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	node_attr(m, &n, &st);
	fuse_reply_attr(req, &st, node_attr_timeout(&n));
}

/* ---- removing ---- */

/* Its data stays on disk: a person's bytes are deleted by a person, or by
 * "weirctl rm --delete-data". */
static void leave_library(struct mount *m, struct entry *e)
{
	log_info("torrent=%.8s removed by unlink", e->hash);
	engine_remove(m->s->engine, e->torrent, false);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct incoming *in;
	struct entry *e;
	struct node dir, n;
	int r = may_change(req, parent);

	if (pub_has(parent)) {
		pub_unlink(req, parent, name);
		return;
	}
	if (!r)
		r = -node_get(m, parent, &dir);
	if (!r)
		r = -node_child(m, &dir, name, &n);
	if (!r && n.kind == INO_INCOMING) {
		in = incoming_by_serial(m, n.id);
		e = library_by_id(m->s->library, in->added_id);
		incoming_remove(in);
		if (e)
			leave_library(m, e);
	} else if (!r) {
		leave_library(m, n.entry);
	}
	fuse_reply_err(req, r);
}

/* ---- renaming: the last step of rsync, install and editors ---- */

static int rename_incoming(struct mount *m, struct incoming *in,
			   const struct node *dir, const char *to,
			   unsigned flags)
{
	struct node old;
	bool is_taken = !node_child(m, dir, to, &old);

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return EINVAL;
	if (is_taken && flags & RENAME_NOREPLACE)
		return EEXIST;
	if (is_taken && old.kind == INO_INCOMING && old.id != in->serial)
		incoming_remove(incoming_by_serial(m, old.id));
	incoming_rename(in, to);
	return 0;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t to_parent, const char *to_name, unsigned flags)
{
	struct mount *m = mount_of(req);
	struct node dir, n;
	int r = may_change(req, parent);

	if (pub_has(parent) || pub_has(to_parent)) {
		pub_rename(req, parent, name, to_parent, to_name, flags);
		return;
	}
	if (!r)
		r = may_change(req, to_parent);
	if (!r && strlen(to_name) > 255)
		r = ENAMETOOLONG;
	if (!r)
		r = -node_get(m, parent, &dir);
	if (!r)
		r = -node_child(m, &dir, name, &n);
	if (!r)
		r = n.kind == INO_INCOMING
			    ? rename_incoming(m, incoming_by_serial(m, n.id),
					      &dir, to_name, flags)
			    : EPERM;
	fuse_reply_err(req, r);
}
