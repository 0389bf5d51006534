#include "fs/ops.h"

#include <errno.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "fs/pub.h"

bool mount_is_owner(const struct mount *m, fuse_req_t req)
{
	uid_t uid = fuse_req_ctx(req)->uid;

	return !uid || uid == m->uid || uid == geteuid();
}

static void want(struct fuse_conn_info *conn, unsigned flag)
{
	if (conn->capable & flag)
		conn->want |= flag;
}

static void op_init(void *arg, struct fuse_conn_info *conn)
{
	conn->max_write = MOUNT_MAX_IO;
	conn->max_read = MOUNT_MAX_IO;
	conn->max_background = MOUNT_BACKGROUND;
	conn->congestion_threshold = MOUNT_CONGESTION;
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA);
	want(conn, FUSE_CAP_READDIRPLUS);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO);
	want(conn, FUSE_CAP_CACHE_SYMLINKS);
	want(conn, FUSE_CAP_PARALLEL_DIROPS);
	/* Measured: splicing 1 MiB replies halves the rate; write-back hides
	 * errors; and content never changes behind the kernel's back. */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
			    FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE |
			    FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_POSIX_LOCKS |
			    FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_HANDLE_KILLPRIV);
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	want(conn, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
#endif
	log_debug("fuse 7.%u capable=%08x want=%08x", conn->proto_minor,
		  conn->capable, conn->want);
}

/* Inode numbers mean the same for ever: there is nothing to forget, but in
 * publish/, where names come and go. */
static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	if (pub_has(ino))
		pub_forget_ino(mount_of(req), ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count,
			    struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++) {
		if (pub_has(forgets[i].ino))
			pub_forget_ino(mount_of(req), forgets[i].ino,
				       forgets[i].nlookup);
	}
	fuse_reply_none(req);
}

/* Left out on purpose: lseek (missing ranges must never look like holes), the
 * locks (the kernel's own do), ioctl, poll. */
const struct fuse_lowlevel_ops ops_table = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.access = op_access,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.statfs = op_statfs,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.create = op_create,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.fallocate = op_fallocate,
	.copy_file_range = pub_copy_file_range,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
};
