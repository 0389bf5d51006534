/* engine/state_files.h: the folder of a state: its lock, and torrents/ with a
 * file for each torrent from which the database can be made again. State
 * thread, or main thread before and after. Private to state.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/state.h"

/* What torrents/ keeps: INFOHASH.torrent, or INFOHASH.magnet until then. */
enum state_file {
	STATE_FILE_TORRENT,
	STATE_FILE_MAGNET
};

/* Makes DIR (0700) and takes its lock. A descriptor, closed to let go; or
 * -EBUSY, -errno, with WHY. */
int state_files_lock(const char *dir, char why[STATE_WHY_SIZE]);

/* Makes and opens DIR/torrents. A descriptor or -errno. */
int state_files_open(const char *dir);

/* Writes a file beside its place, syncs it, renames it. The name is durable
 * after state_files_sync. Same bytes there already: nothing to do. *is_new:
 * nothing of that name was there. */
int state_files_write(int fd, const struct infohash *ih, enum state_file kind,
		      const uint8_t *bytes, size_t len, bool *is_new);
int state_files_sync(int fd);
/* -ENOENT; -E2BIG; -errno. */
int state_files_read(int fd, const struct infohash *ih, enum state_file kind,
		     uint8_t **out, size_t *len);
int state_files_remove(int fd, const struct infohash *ih,
		       enum state_file kind); /* none: 0 */

/* Calls FN for each torrent's file; removes what a crash left half written. */
int state_files_each(int fd,
		     void (*fn)(void *arg, const struct infohash *ih,
				enum state_file kind),
		     void *arg);

/* Renames DIR/state.db and its log to state.db.broken-N. 0 or -errno. */
int state_files_move_aside(const char *dir, unsigned *n);
