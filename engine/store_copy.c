/* Copying between stores: the file system shares the blocks where it can
 * (FICLONE), else the kernel copies, else we do. What arrives is bytes like
 * any others on disk: nobody believes them before they were hashed. */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/store_impl.h"

#define STEP (1u << 20)

static int64_t copy_by_hand(int to, int from, off_t off, size_t len)
{
	uint8_t *step = mem_alloc(STEP);
	size_t at = 0;
	int r = 0;

	while (at < len && !r) {
		size_t n = len - at < STEP ? len - at : STEP;
		ssize_t got = pread(from, step, n, off + (off_t)at);
		ssize_t put =
			got > 0 ? pwrite(to, step, (size_t)got, off + (off_t)at)
				: got;

		if (put > 0)
			at += (size_t)put;
		else
			r = put ? -errno : -ENODATA;
	}
	free(step);
	return r && r != -ENODATA ? r : (int64_t)at;
}

static int64_t copy_range(int to, int from, off_t off, size_t len)
{
	size_t at = 0;

	while (at < len) {
		off_t in = off + (off_t)at, out = in;
		ssize_t n = copy_file_range(from, &in, to, &out, len - at, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && at == 0)
			return copy_by_hand(to, from, off, len);
		if (n < 0)
			return -errno;
		if (!n)
			break;
		at += (size_t)n;
	}
	return (int64_t)at;
}

int64_t store_copy(struct store *to, uint32_t to_file, struct store *from,
		   uint32_t from_file, uint64_t off, size_t len)
{
	uint64_t size = to->mi->files[to_file].length;
	struct fdfile *in, *out;
	int64_t r;

	if (size != from->mi->files[from_file].length || off > size)
		return -EINVAL;
	if (to->is_read_only)
		return -EROFS;
	if (len > size - off)
		len = (size_t)(size - off);
	r = store_hold_file(from, from_file, false, &in);
	if (r)
		return r;
	r = store_hold_file(to, to_file, true, &out);
	if (r)
		goto out_in;
	if (!off && !ioctl(out->fd, FICLONE, in->fd))
		r = (int64_t)size;
	else
		r = copy_range(out->fd, in->fd, (off_t)off, len);
	atomic_fetch_or(&to->marks[to_file], STORE_BYTES);
	fdcache_put(to->cache, out);
out_in:
	fdcache_put(from->cache, in);
	return r;
}
