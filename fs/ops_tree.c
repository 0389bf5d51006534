/* Names, attributes, listings. No answer here waits for the network or for a
 * disk, but statfs, which asks a worker. */
#include "fs/ops.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "fs/pub.h"

static void fill_entry(struct mount *m, const struct node *n,
		       struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	e->ino = n->ino;
	e->attr_timeout = node_attr_timeout(n);
	e->entry_timeout = node_entry_timeout(n);
	node_attr(m, n, &e->attr);
}

void reply_entry(fuse_req_t req, const struct node *n)
{
	struct fuse_entry_param e;

	fill_entry(mount_of(req), n, &e);
	fuse_reply_entry(req, &e);
}

/* ---- lookup ---- */

/* by-hash/: an infohash nobody has heard of joins the library, if the one who
 * names it may do that. */
static int add_by_hash(fuse_req_t req, const struct node *dir, const char *name,
		       struct node *out)
{
	struct mount *m = mount_of(req);
	struct infohash ih;

	if (dir->kind != INO_FIXED || dir->index != INO_BY_HASH ||
	    m->s->opts->is_read_only || m->is_stopping ||
	    !mount_is_owner(m, req) ||
	    !hex_decode(name, strlen(name), ih.b, sizeof(ih.b)))
		return -ENOENT;
	if (!session_add_hash(m->s, &ih))
		return -ENOENT;
	log_info("torrent=%.8s added by looking it up", name);
	return node_child(m, dir, name, out);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param absent = { .entry_timeout = TIMEOUT_TREE };
	struct node dir, n;
	int r = node_get(m, parent, &dir);

	if (pub_has(parent)) {
		pub_lookup(req, parent, name);
		return;
	}
	if (!r)
		r = node_child(m, &dir, name, &n);
	if (r == -ENOENT)
		r = add_by_hash(req, &dir, name, &n);
	if (!r)
		reply_entry(req, &n);
	else if (r == -ENOENT && node_is_content(&dir))
		fuse_reply_entry(req, &absent); /* and never will be */
	else
		fuse_reply_err(req, -r);
}

/* ---- attributes ---- */

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct handle *h = fi ? handle_find(m, fi->fh) : NULL;
	struct node n;
	struct stat st;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_getattr(req, ino);
		return;
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	node_attr(m, &n, &st);
	if (h && h->ino == ino && h->kind == HANDLE_TEXT)
		st.st_size = (off_t)h->text.len;
	fuse_reply_attr(req, &st, node_attr_timeout(&n));
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);
	const struct metainfo_file *f = NULL;
	struct node n;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_readlink(req, ino);
		return;
	}
	if (!r)
		f = node_file(&n);
	if (f && f->symlink)
		fuse_reply_readlink(req, f->symlink);
	else
		fuse_reply_err(req, r < 0 ? -r : EINVAL);
}

/* Asked only without default_permissions: then nobody but the owner is here,
 * or everybody is, and may read. */
void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct mount *m = mount_of(req);
	struct node n;
	struct stat st;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_access(req, ino, mask);
		return;
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	node_attr(m, &n, &st);
	if (mask & W_OK && !(st.st_mode & 0200))
		r = EACCES;
	else if (mask & W_OK && !mount_is_owner(m, req))
		r = EACCES;
	else if (mask & X_OK && !(st.st_mode & 0111))
		r = EACCES;
	fuse_reply_err(req, r);
}

/* ---- listings ---- */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node n;
	int r = node_get(mount_of(req), ino, &n);

	if (pub_has(ino)) {
		pub_opendir(req, ino, fi);
		return;
	}
	if (r < 0 || !node_is_dir(&n)) {
		fuse_reply_err(req, r < 0 ? -r : ENOTDIR);
		return;
	}
	/* A torrent's folders never change: listed once, kept. */
	fi->cache_readdir = fi->keep_cache = node_is_content(&n);
	fuse_reply_open(req, fi);
}

struct listing {
	fuse_req_t req;
	char *buf;
	size_t size, len;
	bool is_plus;
};

/* False: no more fits. NEXT is what the kernel will say to go on after it. */
static bool list_one(struct listing *l, const struct node *n, const char *name,
		     uint64_t next)
{
	struct fuse_entry_param e;
	size_t left = l->size - l->len, need;

	if (l->is_plus && strcmp(name, ".") && strcmp(name, "..")) {
		fill_entry(mount_of(l->req), n, &e);
		need = fuse_add_direntry_plus(l->req, l->buf + l->len, left,
					      name, &e, (off_t)next);
	} else {
		memset(&e, 0, sizeof(e));
		e.attr.st_ino = n->ino;
		e.attr.st_mode = S_IFREG;
		if (node_is_dir(n))
			e.attr.st_mode = S_IFDIR;
		else if (node_file(n) && node_file(n)->symlink)
			e.attr.st_mode = S_IFLNK;
		need = l->is_plus
			       ? fuse_add_direntry_plus(l->req, l->buf + l->len,
							left, name, &e,
							(off_t)next)
			       : fuse_add_direntry(l->req, l->buf + l->len,
						   left, name, &e.attr,
						   (off_t)next);
	}
	if (need > left)
		return false;
	l->len += need;
	return true;
}

static void list_folder(struct mount *m, struct listing *l,
			const struct node *dir, uint64_t at)
{
	char name[NODE_NAME_SIZE];
	struct node n;
	uint64_t next;

	if (at == 0 && !list_one(l, dir, ".", at = 1))
		return;
	if (at == 1) {
		if (node_get(m, node_parent(m, dir), &n) < 0)
			n = *dir;
		if (!list_one(l, &n, "..", at = 2))
			return;
	}
	for (at -= 2; !node_list(m, dir, at, &n, name, &next); at = next) {
		if (!list_one(l, &n, name, next + 2))
			return;
	}
}

static void reply_listing(fuse_req_t req, fuse_ino_t ino, size_t size,
			  off_t off, bool is_plus)
{
	struct mount *m = mount_of(req);
	struct listing l = { .req = req, .is_plus = is_plus };
	struct node dir;
	int r = node_get(m, ino, &dir);

	if (!r && !node_is_dir(&dir))
		r = -ENOTDIR;
	if (r < 0 || off < 0) {
		fuse_reply_err(req, r < 0 ? -r : EINVAL);
		return;
	}
	l.size = size < MOUNT_MAX_IO ? size : MOUNT_MAX_IO;
	l.buf = (char *)m->reply_buf;
	list_folder(m, &l, &dir, (uint64_t)off);
	fuse_reply_buf(req, l.buf, l.len);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		struct fuse_file_info *fi)
{
	if (pub_has(ino)) {
		pub_readdir(req, ino, size, off, fi, false);
		return;
	}
	reply_listing(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	if (pub_has(ino)) {
		pub_readdir(req, ino, size, off, fi, true);
		return;
	}
	reply_listing(req, ino, size, off, true);
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (pub_has(ino))
		pub_releasedir(req, ino, fi);
	else
		fuse_reply_err(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi)
{
	if (pub_has(ino))
		pub_fsyncdir(req, ino, datasync, fi);
	else
		fuse_reply_err(req, 0);
}

/* ---- statfs ---- */

struct statfs_job {
	struct job job;
	fuse_req_t req;
	const char *dir; /* borrowed from the options */
	struct statvfs st;
	int r;
};

static void statfs_run(struct job *job)
{
	struct statfs_job *s = container_of(job, struct statfs_job, job);

	s->r = statvfs(s->dir, &s->st) < 0 ? errno : 0;
}

static void statfs_done(struct job *job)
{
	struct statfs_job *s = container_of(job, struct statfs_job, job);

	if (s->r) {
		fuse_reply_err(s->req, s->r);
	} else {
		s->st.f_namemax = 255;
		fuse_reply_statfs(s->req, &s->st);
	}
	free(s);
}

/* What df shows is the file system that content goes to. */
void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);
	struct statfs_job *s;

	if (pub_has(ino)) {
		pub_statfs(req, ino);
		return;
	}
	s = mem_alloc(sizeof(*s));
	s->req = req;
	s->dir = m->s->opts->data_dir;
	s->job.run = statfs_run;
	s->job.done = statfs_done;
	worker_submit(m->s->workers, LANE_DISK, &s->job);
}
