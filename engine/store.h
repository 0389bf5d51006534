/* engine/store.h: a torrent's bytes on disk, one plain sparse file per file.
 *
 * Torrent bytes map to extents (file, offset), never straight to a path, so
 * that one day two torrents can share a file. Pads (BEP 47), and gaps between
 * files, have no file: they read as zeros and swallow writes. Files are opened
 * beneath the root only (openat2 RESOLVE_BENEATH | NO_SYMLINKS |
 * NO_MAGICLINKS), made on first write, at full length. A read-only store never
 * writes, truncates or creates.
 *
 * A file that was here and has vanished or shrunk behind our back is not made
 * again: its holes would read as zeros under bits that are set. Reading it,
 * writing it and syncing it give -ENODATA until the owner has asked
 * store_problem, by which he takes on to believe no bit of this torrent before
 * it was hashed again. "Here" means: at full length, when it was opened or
 * when store_stamps looked.
 *
 * Threads: says each function. A store is shared by reference between the loop
 * and jobs under way; its table of open files has a leaf lock that is never
 * held across a syscall. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "engine/fdcache.h"
#include "engine/metainfo.h"

struct store;

/* Loop thread. MI is borrowed and outlives the store. DIR: the folder in which
 * MI->name lives or will live; made (0755) on first write. NAME: the content
 * is called so instead, and files in it as the torrent says, safe or not (what
 * we publish); NULL: as MI says. Touches no disk; cannot fail. */
struct store *store_new(struct fdcache *c, const struct metainfo *mi,
			const char *dir, const char *name, bool is_read_only);
/* Any thread: NAME is another one now. Only if it had one. */
void store_rename(struct store *s, const char *name);
struct store *store_ref(struct store *s); /* any thread */
void store_unref(struct store *s);        /* any thread; the last one closes */

/* Worker. 0 or -errno (-ENOSPC, -EDQUOT, -EIO, -EACCES, -EROFS, -ELOOP;
 * -ENODATA: the file has vanished, see above; -EINVAL: beyond the torrent). */
int store_write(struct store *s, uint64_t off, const void *bytes, size_t len);
/* Worker. 0; -ENODATA a file is missing or short; -errno. */
int store_read(struct store *s, uint64_t off, void *out, size_t len);
/* Loop: only what needs no wait (RWF_NOWAIT; where the file system does not
 * know it, a plain read). LEN, or -EAGAIN: use a worker (also when the file is
 * not open yet); -errno. */
ssize_t store_read_now(struct store *s, uint64_t off, void *out, size_t len);
/* Worker. The end of the run of bytes that are allocated on disk from OFF on;
 * OFF if that one is not. Ends at the end of a file at the latest. Finding it
 * costs a walk over the run on some file systems: keep the answer. */
uint64_t store_allocated_to(struct store *s, uint64_t off);
/* Worker. Is every byte of the range allocated on disk? (SEEK_DATA; a hint.) */
bool store_is_allocated(struct store *s, uint64_t off, uint64_t len);

/* Worker; may run beside writes, and covers each write that returned before
 * it began. fdatasync of every file written since the last call, and fsync of
 * folders in which something was made. 0 or -errno; then all that was not
 * synced stays to be synced. A file that the kernel failed to write fails
 * every later sync of this store too: what was lost would be called safe. */
int store_sync(struct store *s);

/* Worker. Copies up to LEN bytes from OFF of one file to the same place of
 * another one, of the same length; all of it at once where the file system can
 * share it (then OFF must be 0). How many, 0 at the end of the source; -errno.
 */
int64_t store_copy(struct store *to, uint32_t to_file, struct store *from,
		   uint32_t from_file, uint64_t off, size_t len);

/* Worker. Makes what no piece ever writes: empty files, folders, symlinks.
 * What is there already stays. 0, and nothing is done, if read-only. */
int store_make_empty(struct store *s);

/* How a file looked when its bits were committed: it tells whether somebody
 * else changed it. */
struct store_stamp {
	int64_t size; /* -1: no such file; then no bit of it may be believed */
	int64_t mtime_ns;
	int64_t ctime_ns;
	uint64_t ino;
};
/* Worker. OUT has mi->num_files entries; pads and symlinks are all zero. */
int store_stamps(struct store *s, struct store_stamp *out);

/* Worker. Deletes the files and then-empty folders below DIR; keeps strangers'
 * files, and DIR. No other call on this store is under way. */
int store_delete(struct store *s);

/* Any thread: what was wrong with a file since the last call. 0, or -errno with
 * a sentence in OUT; -ENODATA comes first: a file that was here has vanished or
 * shrunk, see above. */
int store_problem(struct store *s, char *out, size_t size);
