/* fs/mount.h: the file system in front of a session: a FUSE session on the
 * loop. Loop thread only, but for mount_check.
 *
 * Life: mount_check (main thread, while stderr is there) -> mount_open ->
 * mount_stop -> session_close -> mount_free. The last two in this order: jobs
 * of the session may still hold requests. */
#pragma once

#include "fs/session.h"

struct mount;

/* Is POINT a folder to mount on, may we, is everything there that it takes?
 * Clears away what a dead daemon left. 0, or -errno with a sentence. */
int mount_check(const struct opts *o, const char *point,
		char why[SESSION_WHY_SIZE]);

struct mount_config {
	const char *point;  /* absolute, or /dev/fd/N; borrowed until return */
	const char *source; /* as typed, for /proc/mounts; or NULL */
	int64_t single_id;  /* the torrent that is the root, or 0 */
	/* The mount is gone from outside: fusermount3 -u, umount. */
	void (*gone)(void *arg);
	void *arg;
};
int mount_open(struct session *s, const struct mount_config *config,
	       struct mount **out, char why[SESSION_WHY_SIZE]);
/* Answers what waits, unmounts, then calls DONE (perhaps before returning). */
void mount_stop(struct mount *m, void (*done)(void *arg), void *arg);
void mount_free(struct mount *m); /* harmless on NULL */
