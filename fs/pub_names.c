/* Names in publish/. What is made belongs to who made it, if we are root; hard
 * links are refused: what is written under one name would change what is
 * published under another. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/pub_job.h"

static char *full_path(const struct pub_node *dir, const char *name)
{
	char *path = pub_path(dir), *full;

	if (!path)
		return NULL;
	full = mem_printf("%s%s%s", path, *path ? "/" : "", name);
	free(path);
	return full;
}

/* ---- lookup ---- */

static void lookup_run(struct pub_job *j)
{
	int dir = pub_open_folder(j, false);

	if (dir < 0) {
		j->r = dir;
		return;
	}
	if (fstatat(dir, j->name, &j->st, AT_SYMLINK_NOFOLLOW) < 0)
		j->r = -errno;
	close(dir);
}

static void lookup_done(struct pub_job *j)
{
	struct pub_node *n;

	if (j->r == -ENOENT && (n = pub_child(j->node, j->name)))
		pub_lose_name(n); /* it went behind our back */
	pub_reply_entry(j);
}

void pub_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct pub_job *j = pub_job_new(req, parent, name, false);

	if (!j)
		return;
	j->run = lookup_run;
	j->done = lookup_done;
	pub_job_submit(j, true);
}

void pub_forget_ino(struct mount *m, fuse_ino_t ino, uint64_t nlookup)
{
	struct pub_node *n = m->pub ? pub_by_ino(&m->pub->tree, ino) : NULL;

	if (n && n != m->pub->tree.root)
		pub_forget(n, nlookup);
}

/* ---- making ---- */

/* NAME in DIR, just made, gets owner and mode: ours were put through our own
 * umask, the kernel has put the caller's to his already. */
static int dress(struct pub_job *j, int dir)
{
	gid_t gid = j->gid;
	mode_t want;
	struct stat st;

	if (fstatat(dir, j->name, &j->st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!geteuid() && (j->uid || j->gid)) {
		if (!fstatat(dir, "", &st, AT_EMPTY_PATH) &&
		    st.st_mode & S_ISGID)
			gid = (gid_t)-1; /* the folder's, as it has it */
		if (fchownat(dir, j->name, j->uid, gid, AT_SYMLINK_NOFOLLOW))
			return -errno;
	}
	want = (j->mode & 07777) | (j->st.st_mode & S_ISGID);
	if (!S_ISLNK(j->st.st_mode) && (j->st.st_mode & 07777) != want &&
	    fchmodat(dir, j->name, want, 0) < 0)
		return -errno;
	if (fstatat(dir, j->name, &j->st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int make_one(struct pub_job *j, int dir)
{
	int fd;

	if (S_ISDIR(j->mode))
		return mkdirat(dir, j->name, j->mode & 07777) ? -errno : 0;
	if (S_ISLNK(j->mode))
		return symlinkat(j->other_name, dir, j->name) ? -errno : 0;
	fd = openat(dir, j->name,
		    O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
		    j->mode & 07777);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void make_run(struct pub_job *j)
{
	int dir = pub_open_folder(j, false);

	if (dir < 0) {
		j->r = dir;
		return;
	}
	j->r = make_one(j, dir);
	if (!j->r)
		j->r = dress(j, dir);
	close(dir);
}

static void tell_made(struct pub_job *j)
{
	char *path = full_path(j->node, j->name);

	if (path)
		publish_on_made(j->p->publish, path, &j->st);
	free(path);
}

static void make_done(struct pub_job *j)
{
	if (!j->r)
		tell_made(j);
	pub_reply_entry(j);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name,
		 mode_t mode, const char *target)
{
	struct pub_job *j = pub_job_new(req, parent, name, true);

	if (!j)
		return;
	j->mode = mode;
	j->other_name = target ? mem_strdup(target) : NULL;
	j->run = make_run;
	j->done = make_done;
	pub_job_submit(j, true);
}

void pub_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       dev_t rdev)
{
	if (!S_ISREG(mode))
		fuse_reply_err(req, EPERM);
	else
		make(req, parent, name, mode, NULL);
}

void pub_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777), NULL);
}

void pub_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		 const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, target);
}

/* ---- create: make and open ---- */

static void create_run(struct pub_job *j)
{
	int dir = pub_open_folder(j, false);
	int flags = pub_open_flags(j->flags) | O_CLOEXEC;

	if (dir < 0) {
		j->r = dir;
		return;
	}
	j->new_fd =
		openat(dir, j->name, flags | O_CREAT | O_EXCL, j->mode & 07777);
	j->was_made = j->new_fd >= 0;
	if (j->new_fd < 0 && errno == EEXIST && !(j->flags & O_EXCL))
		j->new_fd = openat(dir, j->name, flags);
	if (j->new_fd < 0)
		j->r = -errno;
	else if (j->was_made)
		j->r = dress(j, dir);
	else if (fstat(j->new_fd, &j->st) < 0)
		j->r = -errno;
	close(dir);
}

static void create_done(struct pub_job *j)
{
	struct fuse_entry_param e;
	struct pub_handle *h;
	struct pub_node *n;
	char *path;

	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	n = pub_found(j->node, j->name, &j->st);
	publish_stamp(&j->st, &n->seen);
	h = pub_handle_new(n, j->p, j->new_fd);
	j->new_fd = -1;
	pub_handle_cache(j->p, h, j->flags, false, &j->fi);
	path = pub_path(n);
	if (j->was_made)
		publish_on_made(j->p->publish, path, &j->st);
	else if (j->flags & O_TRUNC)
		publish_on_changed(j->p->publish, path, &j->st, 0, UINT64_MAX);
	h->is_writer = (j->flags & O_ACCMODE) != O_RDONLY;
	if (h->is_writer)
		publish_on_writer(j->p->publish, path, 1);
	free(path);
	pub_fill_entry(j, n, &e);
	j->fi.fh = h->fh;
	n->nlookup++;
	if (fuse_reply_create(j->req, &e, &j->fi) < 0) {
		pub_handle_close(j->p, h);
		pub_forget(n, 1);
	}
	pub_unref(n);
}

void pub_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		mode_t mode, struct fuse_file_info *fi)
{
	struct pub_job *j = pub_job_new(req, parent, name, true);

	if (!j)
		return;
	j->mode = mode & 07777;
	j->flags = fi->flags;
	j->fi = *fi;
	j->run = create_run;
	j->done = create_done;
	pub_job_submit(j, true);
}

/* ---- removing ---- */

static void remove_run(struct pub_job *j)
{
	int dir = pub_open_folder(j, false);

	if (dir < 0) {
		j->r = dir;
		return;
	}
	/* A removed folder may still be somebody's own. */
	if (j->flags & AT_REMOVEDIR)
		j->new_fd =
			openat(dir, j->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (unlinkat(dir, j->name, j->flags) < 0)
		j->r = -errno;
	close(dir);
}

static void remove_done(struct pub_job *j)
{
	struct pub_node *n = pub_child(j->node, j->name);
	char *path = full_path(j->node, j->name);

	if (!j->r) {
		if (path)
			publish_on_removed(j->p->publish, path);
		if (n && n->gone_fd < 0) {
			n->gone_fd = j->new_fd;
			j->new_fd = -1;
		}
		if (n)
			pub_lose_name(n);
	}
	free(path);
	pub_reply_err(j);
}

static void take_away(fuse_req_t req, fuse_ino_t parent, const char *name,
		      int flags)
{
	struct pub_job *j = pub_job_new(req, parent, name, true);

	if (!j)
		return;
	j->flags = flags;
	j->run = remove_run;
	j->done = remove_done;
	pub_job_submit(j, true);
}

void pub_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, 0);
}

void pub_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, AT_REMOVEDIR);
}

/* ---- renaming ---- */

static void rename_run(struct pub_job *j)
{
	int from = pub_open_folder(j, false), to = pub_open_folder(j, true);

	if (from < 0 || to < 0)
		j->r = from < 0 ? from : to;
	else if (renameat2(from, j->name, to, j->other_name,
			   (unsigned)j->flags) < 0)
		j->r = -errno;
	else if (fstatat(to, j->other_name, &j->st, AT_SYMLINK_NOFOLLOW) < 0)
		j->r = -errno;
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
}

static void move_nodes(struct pub_job *j)
{
	struct pub_node *a = pub_child(j->node, j->name);
	struct pub_node *b = pub_child(j->other, j->other_name);

	if (a == b)
		return;
	if (a)
		pub_ref(a);
	if (b)
		pub_ref(b);
	if (b)
		pub_lose_name(b);
	if (a)
		pub_move(a, j->other, j->other_name);
	if (b && j->flags & RENAME_EXCHANGE)
		pub_move(b, j->node, j->name);
	if (a)
		pub_unref(a);
	if (b)
		pub_unref(b);
}

static void rename_done(struct pub_job *j)
{
	char *from, *to;

	if (!j->r) {
		from = full_path(j->node, j->name);
		to = full_path(j->other, j->other_name);
		if (from && to && strcmp(from, to) != 0)
			publish_on_renamed(j->p->publish, from, to,
					   j->flags & RENAME_EXCHANGE, &j->st);
		free(from);
		free(to);
		move_nodes(j);
	}
	pub_reply_err(j);
}

void pub_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		fuse_ino_t to_parent, const char *to_name, unsigned flags)
{
	struct pub *p = pub_of(req);
	struct pub_node *to;
	struct pub_job *j;

	if (!pub_has(parent) || !pub_has(to_parent)) {
		fuse_reply_err(req, EXDEV); /* mv copies then */
		return;
	}
	to = p ? pub_by_ino(&p->tree, to_parent) : NULL;
	if (!to || strlen(to_name) > NAME_MAX) {
		fuse_reply_err(req, to ? ENAMETOOLONG : ESTALE);
		return;
	}
	j = pub_job_new(req, parent, name, true);
	if (!j)
		return;
	j->other = to;
	pub_ref(to);
	j->other_name = mem_strdup(to_name);
	j->flags = (int)flags;
	j->run = rename_run;
	j->done = rename_done;
	pub_job_submit(j, true);
}
