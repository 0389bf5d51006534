/* fs/publish.h: what lies in publish_dir becomes torrents. Each direct child,
 * file or folder, is an entry, and one torrent:
 *
 *   writing    somebody has it open for writing, or it is held
 *   settling   nobody has; a timer runs, and each change starts it again
 *   hashing    what is not hashed yet is read from the file
 *   published  it is a torrent in the library, seeded from where it lies
 *
 * Knows no FUSE: the mount tells what happens through it, and what happens
 * behind its back is seen by inotify. Loop thread only, unless said.
 *
 * PATH is below publish_dir, without a slash at either end; borrowed. */
#pragma once

#include <jansson.h>
#include <sys/stat.h>

#include "engine/base/buf.h"
#include "fs/session.h"

struct publish;

/* Main thread, with loop, workers and state, before the engine. Makes the
 * folder if it can. 0; -errno with a sentence in WHY. */
int publish_open(struct session *s, struct publish **out,
		 char why[SESSION_WHY_SIZE]);
/* Main thread, when the torrents of the last run are loaded: looks at what is
 * there. */
void publish_start(struct publish *p);
/* For engine_config.place. */
bool publish_place(void *arg, const struct infohash *ih,
		   struct engine_place *out);
/* No torrent is made after this. */
void publish_stop(struct publish *p);
void publish_close(struct publish *p); /* main thread, after the workers */

/* publish_dir itself, an O_PATH descriptor; any thread, while P lives. */
int publish_root(const struct publish *p);
/* Nothing in it can be changed: a read-only disk, or not ours. */
bool publish_is_read_only(const struct publish *p);

/* ---- what the mount tells ---- */

/* Somebody opened PATH for writing (BY 1), or closed it (-1). Open files keep
 * their count when they are renamed; a file that loses its name is forgotten,
 * with its count. */
void publish_on_writer(struct publish *p, const char *path, int by);
/* Bytes [OFF, OFF + LEN) of the file PATH are about to change: what was
 * published of them is given to nobody any more once this returns. Before the
 * change is begun. A change of size: from the smaller one on, LEN UINT64_MAX.
 */
void publish_before_change(struct publish *p, const char *path, uint64_t off,
			   uint64_t len);
/* They have changed, or PATH's attributes have (LEN 0): its file is ST now. */
void publish_on_changed(struct publish *p, const char *path,
			const struct stat *st, uint64_t off, uint64_t len);
/* A file, folder or symlink was made. ST: what it is. */
void publish_on_made(struct publish *p, const char *path,
		     const struct stat *st);
void publish_on_removed(struct publish *p, const char *path);
/* FROM is called TO now; what TO was is gone, or has become FROM. ST: the
 * file, folder or symlink now at TO. */
void publish_on_renamed(struct publish *p, const char *from, const char *to,
			bool is_exchange, const struct stat *st);

/* A JSON array, an object for each entry. Owned by the caller. */

json_t *publish_status(struct publish *p);

/* ---- user.weirfs.* of what lies in publish/ ---- */

/* NAME without its prefix: infohash, magnet, state, progress, error. The value
 * is appended to OUT. 0, or -ENODATA: not now, or no such attribute. */
int publish_get_attribute(struct publish *p, const char *path, const char *name,
			  struct buf *out);
/* publish=now|hold. 0, -EINVAL, -EOPNOTSUPP: no such attribute, -errno. */
int publish_set_attribute(struct publish *p, const char *path, const char *name,
			  const char *value, size_t len);
