/* fs/pub.h: publish/ in the mount: real files of publish_dir, written through.
 * Loop thread only.
 *
 * Every call on the backing file system is a job for a worker; the reply is
 * made on the loop when it is back. Two kinds of queues keep them in order:
 *
 *   names   whatever goes by a path: one job at a time in all of publish/, the
 *           path composed when it begins, so that no rename runs under it
 *   bytes   of each inode: writes, truncations, reads, in order; inodes beside
 *           one another
 *
 * Whoever changes bytes tells the publisher before the job goes out and when it
 * is back (publish.h). */
#pragma once

#include "fs/mount_private.h"
#include "fs/pub_node.h"

struct pub; /* of a mount */

/* NULL: nothing is published by this session. */
struct pub *pub_new(struct mount *m);
void pub_free(struct pub *p);
/* What waits is answered ESHUTDOWN. False: a job is at a worker, and
 * mount_on_notes_out will be called when the last is back. */
bool pub_stop(struct pub *p);
bool pub_is_idle(const struct pub *p);

/* What the backing folder is. */
void pub_root_attr(struct pub *p, struct stat *out);

/* Is INO one of publish/? Then these take REQ and answer it, once. */
static inline bool pub_has(fuse_ino_t ino)
{
	return ino >> (INO_ID_BITS + INO_NODE_BITS) == INO_PUBLISH;
}

void pub_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void pub_forget_ino(struct mount *m, fuse_ino_t ino, uint64_t nlookup);
void pub_getattr(fuse_req_t req, fuse_ino_t ino);
void pub_setattr(fuse_req_t req, fuse_ino_t ino, const struct stat *attr,
		 int to_set, struct fuse_file_info *fi);
void pub_readlink(fuse_req_t req, fuse_ino_t ino);
void pub_access(fuse_req_t req, fuse_ino_t ino, int mask);
void pub_statfs(fuse_req_t req, fuse_ino_t ino);

void pub_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		mode_t mode, struct fuse_file_info *fi);
void pub_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       dev_t rdev);
void pub_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
	       mode_t mode);
void pub_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		 const char *name);
void pub_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void pub_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void pub_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		fuse_ino_t to_parent, const char *to_name, unsigned flags);

void pub_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pub_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	      struct fuse_file_info *fi);
void pub_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t len,
	       off_t off, struct fuse_file_info *fi);
void pub_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pub_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	       struct fuse_file_info *fi);
void pub_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
		   off_t len, struct fuse_file_info *fi);
void pub_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_off,
			 struct fuse_file_info *from_fi, fuse_ino_t to,
			 off_t to_off, struct fuse_file_info *to_fi, size_t len,
			 int flags);

void pub_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pub_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		 struct fuse_file_info *fi, bool is_plus);
void pub_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pub_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		  struct fuse_file_info *fi);

void pub_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		  size_t size);
void pub_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void pub_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		  const char *value, size_t size, int flags);
void pub_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
