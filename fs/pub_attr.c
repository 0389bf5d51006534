/* Attributes in publish/, those of the backing file. While a file is open they
 * are taken and set through its descriptor, in the order of its bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/pub_job.h"

#define XATTR_OURS "user.weirfs."
#define XATTR_USER "user."

/* J about its node: through an open file if there is one, else by name. */
static void submit(struct pub_job *j)
{
	struct pub_handle *h =
		list_first(&j->node->handles, struct pub_handle, in_node);

	if (h && h->fd >= 0 && !h->dir) {
		j->handle = h;
		h->refs++;
	}
	pub_job_submit(j, !j->handle);
}

static int stat_node(struct pub_job *j)
{
	struct pub_at at;
	int r = 0;

	if (j->handle)
		return fstat(j->handle->fd, &j->st) < 0 ? -errno : 0;
	r = pub_at_node(j, &at);
	if (r < 0)
		return r;
	if (fstatat(at.fd, at.name, &j->st, at.flags) < 0)
		r = -errno;
	pub_at_close(&at);
	return r;
}

static void reply_attr(struct pub_job *j)
{
	struct stat st;

	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	pub_fill_attr(j->node, &j->st, &st);
	fuse_reply_attr(j->req, &st, TIMEOUT_PUBLISH);
}

/* ---- getattr ---- */

static void getattr_run(struct pub_job *j)
{
	j->r = stat_node(j);
}

static void getattr_done(struct pub_job *j)
{
	/* Another inode has the name by now: the kernel looks it up again. */
	if (!j->r && j->node != j->p->tree.root && !j->handle && j->fd < 0 &&
	    (j->st.st_ino != j->node->backing || j->st.st_dev != j->node->dev))
		j->r = -ESTALE;
	if (!j->r)
		pub_on_seen(j->p, j->node, &j->st);
	reply_attr(j);
}

void pub_getattr(fuse_req_t req, fuse_ino_t ino)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, false);

	if (!j)
		return;
	j->run = getattr_run;
	j->done = getattr_done;
	submit(j);
}

/* ---- setattr ---- */

static int set_mode(struct pub_job *j, struct pub_at *at)
{
	int r;

	if (!(j->to_set & FUSE_SET_ATTR_MODE))
		return 0;
	if (j->handle)
		r = fchmod(j->handle->fd, j->attr.st_mode & 07777);
	else if (j->fd >= 0)
		r = fchmod(j->fd, j->attr.st_mode & 07777);
	else if (S_ISLNK(j->node->type))
		return -EOPNOTSUPP;
	else
		r = fchmodat(at->fd, at->name, j->attr.st_mode & 07777, 0);
	return r < 0 ? -errno : 0;
}

static int set_owner(struct pub_job *j, struct pub_at *at)
{
	uid_t uid = j->to_set & FUSE_SET_ATTR_UID ? j->attr.st_uid : (uid_t)-1;
	gid_t gid = j->to_set & FUSE_SET_ATTR_GID ? j->attr.st_gid : (gid_t)-1;
	int r;

	if (!(j->to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)))
		return 0;
	r = j->handle ? fchown(j->handle->fd, uid, gid)
		      : fchownat(at->fd, at->name, uid, gid, at->flags);
	return r < 0 ? -errno : 0;
}

static struct timespec time_to_set(const struct pub_job *j, int now, int given,
				   struct timespec t)
{
	struct timespec out = { 0, UTIME_OMIT };

	if (j->to_set & now)
		out.tv_nsec = UTIME_NOW;
	else if (j->to_set & given)
		out = t;
	return out;
}

static int set_times(struct pub_job *j, struct pub_at *at)
{
	struct timespec t[2] = {
		time_to_set(j, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME,
			    j->attr.st_atim),
		time_to_set(j, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME,
			    j->attr.st_mtim),
	};
	int r;

	if (!(j->to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
			   FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)))
		return 0;
	if (j->handle)
		r = futimens(j->handle->fd, t);
	else if (j->fd >= 0)
		r = futimens(j->fd, t);
	else
		r = utimensat(at->fd, at->name, t, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? -errno : 0;
}

/* Through a descriptor that may write, if the caller has one: the file's mode
 * may have changed since it was opened. */
static int set_size(struct pub_job *j)
{
	int fd, r = 0;

	if (!(j->to_set & FUSE_SET_ATTR_SIZE))
		return 0;
	if (j->handle &&
	    (fcntl(j->handle->fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		return ftruncate(j->handle->fd, j->attr.st_size) < 0 ? -errno
								     : 0;
	if (j->handle) {
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", j->handle->fd);
		return truncate(path, j->attr.st_size) < 0 ? -errno : 0;
	}
	fd = pub_open_node(j, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return fd;
	if (ftruncate(fd, j->attr.st_size) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* Owner before mode: chown takes setuid away. */
static void setattr_run(struct pub_job *j)
{
	struct pub_at at = { .owned = -1 };

	j->r = j->handle ? 0 : pub_at_node(j, &at);
	if (j->r < 0)
		return;
	j->r = set_owner(j, &at);
	if (!j->r)
		j->r = set_mode(j, &at);
	if (!j->r)
		j->r = set_size(j);
	if (!j->r)
		j->r = set_times(j, &at);
	pub_at_close(&at);
	if (!j->r)
		j->r = stat_node(j);
}

static void setattr_done(struct pub_job *j)
{
	bool is_size = j->to_set & FUSE_SET_ATTR_SIZE;
	char *path = pub_path(j->node);

	if (!j->r) {
		publish_stamp(&j->st, &j->node->seen);
		if (path && *path)
			publish_on_changed(j->p->publish, path, &j->st,
					   is_size ? (uint64_t)j->attr.st_size
						   : 0,
					   is_size ? UINT64_MAX : 0);
	}
	free(path);
	reply_attr(j);
}

/* What a change of size touches: everything from the smaller one on, and that
 * size may not be known yet. */
static void before_size(struct pub_job *j)
{
	char *path = pub_path(j->node);

	if (path)
		publish_before_change(j->p->publish, path,
				      (uint64_t)j->attr.st_size, UINT64_MAX);
	free(path);
}

void pub_setattr(fuse_req_t req, fuse_ino_t ino, const struct stat *attr,
		 int to_set, struct fuse_file_info *fi)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, true);
	struct pub_handle *h = j && fi ? pub_handle_find(j->p, fi->fh) : NULL;

	if (!j)
		return;
	j->attr = *attr;
	j->to_set = to_set;
	j->run = setattr_run;
	j->done = setattr_done;
	if (to_set & FUSE_SET_ATTR_SIZE)
		before_size(j);
	if (h && h->node == j->node && !h->dir) {
		j->handle = h;
		h->refs++;
		pub_job_submit(j, false);
	} else {
		submit(j);
	}
}

/* ---- links, access, statfs ---- */

static void readlink_run(struct pub_job *j)
{
	struct pub_at at;
	ssize_t n;

	j->r = pub_at_node(j, &at);
	if (j->r < 0)
		return;
	j->bytes = mem_alloc(PATH_MAX + 1);
	n = readlinkat(at.fd, at.name, (char *)j->bytes, PATH_MAX);
	if (n < 0)
		j->r = -errno;
	pub_at_close(&at);
}

static void readlink_done(struct pub_job *j)
{
	if (j->r < 0)
		pub_reply_err(j);
	else
		fuse_reply_readlink(j->req, (const char *)j->bytes);
}

void pub_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, false);

	if (!j)
		return;
	j->run = readlink_run;
	j->done = readlink_done;
	pub_job_submit(j, true);
}

/* Asked only without default_permissions: then nobody but the owner is here. */
static void access_run(struct pub_job *j)
{
	j->r = stat_node(j);
	if (!j->r && j->flags & X_OK && S_ISREG(j->st.st_mode) &&
	    !(j->st.st_mode & 0111))
		j->r = -EACCES;
}

void pub_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, mask & W_OK);

	if (!j)
		return;
	j->flags = mask;
	j->run = access_run;
	j->done = pub_reply_err;
	pub_job_submit(j, true);
}

static void statfs_run(struct pub_job *j)
{
	struct statvfs *st = mem_alloc(sizeof(*st));
	int fd = pub_open_node(j, O_PATH);

	j->bytes = (uint8_t *)st;
	if (fd < 0 || fstatvfs(fd, st) < 0)
		j->r = fd < 0 ? fd : -errno;
	if (fd >= 0)
		close(fd);
}

static void statfs_done(struct pub_job *j)
{
	if (j->r < 0)
		pub_reply_err(j);
	else
		fuse_reply_statfs(j->req,
				  (const struct statvfs *)(void *)j->bytes);
}

void pub_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, false);

	if (!j)
		return;
	j->run = statfs_run;
	j->done = statfs_done;
	pub_job_submit(j, true);
}

/* ---- extended attributes: user.*, of the backing file ---- */

enum xattr_call {
	XATTR_GET,
	XATTR_LIST,
	XATTR_SET,
	XATTR_REMOVE,
};

static bool changes_xattr(const struct pub_job *j)
{
	return j->to_set >= XATTR_SET;
}

static int open_xattr(struct pub_job *j, char path[64])
{
	struct pub_at at;
	int fd, r = pub_at_node(j, &at);

	if (r < 0)
		return r;
	if (S_ISLNK(j->node->type)) {
		pub_at_close(&at);
		return -EPERM; /* as Linux has it */
	}
	fd = j->fd >= 0
		     ? fcntl(j->fd, F_DUPFD_CLOEXEC, 0)
		     : openat(at.fd, at.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? -errno : fd;
	pub_at_close(&at);
	if (fd >= 0)
		snprintf(path, 64, "/proc/self/fd/%d", fd);
	return r;
}

static void xattr_run(struct pub_job *j)
{
	char path[64];
	int fd = open_xattr(j, path);
	ssize_t n = 0;

	if (fd < 0) {
		j->r = fd;
		if (fd == -EPERM && !changes_xattr(j)) /* a symlink has none */
			j->r = j->to_set == XATTR_LIST ? 0 : -ENODATA;
		return;
	}
	if (!changes_xattr(j) && j->len)
		j->bytes = mem_alloc(j->len);
	switch ((enum xattr_call)j->to_set) {
	case XATTR_GET:
		n = getxattr(path, j->other_name, j->bytes, j->len);
		break;
	case XATTR_LIST:
		n = listxattr(path, (char *)j->bytes, j->len);
		break;
	case XATTR_SET:
		n = setxattr(path, j->other_name, j->bytes, j->len, j->flags);
		break;
	case XATTR_REMOVE:
		n = removexattr(path, j->other_name);
		break;
	}
	j->r = n < 0 ? -errno : 0;
	if (!changes_xattr(j) && n >= 0) {
		j->off = n;
	} else if (n >= 0) {
		struct pub_at at;

		if (!pub_at_node(j, &at)) {
			if (fstatat(at.fd, at.name, &j->st, at.flags) < 0)
				j->st.st_mode = 0;
			pub_at_close(&at);
		}
	}
	close(fd);
}

/* Those of others (security.*, ACLs) are not shown: they cannot be set. */
static void keep_user_names(struct pub_job *j)
{
	char *in = (char *)j->bytes, *out = in, *end = in + j->off;

	while (in < end) {
		size_t n = strnlen(in, (size_t)(end - in)) + 1;

		if (!strncmp(in, XATTR_USER, strlen(XATTR_USER)) &&
		    strncmp(in, XATTR_OURS, strlen(XATTR_OURS)) != 0) {
			memmove(out, in, n);
			out += n;
		}
		in += n;
	}
	j->off = out - (char *)j->bytes;
}

static void xattr_done(struct pub_job *j)
{
	char *path;

	if (j->r < 0) {
		pub_reply_err(j);
		return;
	}
	if (changes_xattr(j)) {
		path = pub_path(j->node);
		if (path && *path && j->st.st_mode)
			publish_on_changed(j->p->publish, path, &j->st, 0, 0);
		free(path);
		fuse_reply_err(j->req, 0);
		return;
	}
	if (j->to_set == XATTR_LIST && j->len)
		keep_user_names(j);
	if (j->len)
		fuse_reply_buf(j->req, (const char *)j->bytes, (size_t)j->off);
	else
		fuse_reply_xattr(j->req, (size_t)j->off);
}

static void xattr(fuse_req_t req, fuse_ino_t ino, enum xattr_call what,
		  const char *name, const void *value, size_t len, int flags)
{
	struct pub_job *j = pub_job_new(req, ino, NULL, what >= XATTR_SET);

	if (!j)
		return;
	j->to_set = (int)what;
	j->other_name = name ? mem_strdup(name) : NULL;
	j->len = len;
	j->flags = flags;
	if (value)
		j->bytes = mem_dup(value, len);
	j->run = xattr_run;
	j->done = xattr_done;
	pub_job_submit(j, true);
}

static bool is_user(const char *name)
{
	return !strncmp(name, XATTR_USER, strlen(XATTR_USER));
}

static bool is_ours(const char *name)
{
	return !strncmp(name, XATTR_OURS, strlen(XATTR_OURS));
}

static void get_ours(fuse_req_t req, fuse_ino_t ino, const char *name,
		     size_t size)
{
	struct pub *p = pub_of(req);
	struct pub_node *n = p ? pub_by_ino(&p->tree, ino) : NULL;
	char *path = n ? pub_path(n) : NULL;
	struct buf b;
	int r = -ENODATA;

	buf_init(&b, 64 << 10);
	if (path)
		r = publish_get_attribute(p->publish, path,
					  name + strlen(XATTR_OURS), &b);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (!size)
		fuse_reply_xattr(req, b.len);
	else if (size < b.len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)b.ptr, b.len);
	buf_release(&b);
	free(path);
}

void pub_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	if (is_ours(name))
		get_ours(req, ino, name, size);
	else if (!is_user(name))
		fuse_reply_err(req, ENODATA);
	else
		xattr(req, ino, XATTR_GET, name, NULL, size, 0);
}

void pub_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	xattr(req, ino, XATTR_LIST, NULL, NULL, size, 0);
}

void pub_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		  const char *value, size_t size, int flags)
{
	struct pub *p = pub_of(req);
	struct pub_node *n = p ? pub_by_ino(&p->tree, ino) : NULL;
	char *path;
	int r;

	if (!is_ours(name)) {
		if (is_user(name))
			xattr(req, ino, XATTR_SET, name, value, size, flags);
		else
			fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	path = n ? pub_path(n) : NULL;
	r = path ? publish_set_attribute(p->publish, path,
					 name + strlen(XATTR_OURS), value, size)
		 : -ESTALE;
	free(path);
	fuse_reply_err(req, -r);
}

void pub_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (is_ours(name) || !is_user(name))
		fuse_reply_err(req, is_ours(name) ? EPERM : EOPNOTSUPP);
	else
		xattr(req, ino, XATTR_REMOVE, name, NULL, 0, 0);
}
