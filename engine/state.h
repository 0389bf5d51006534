/* engine/state.h: what must outlive the process, in one SQLite file (WAL).
 *
 * DIR/state.db, DIR/torrents/INFOHASH.torrent (write-once, fsynced with its
 * folder before the row that names it is committed) or INFOHASH.magnet until
 * metadata is here, DIR/lock. The database can be rebuilt from torrents/, and
 * a file there without a row is given one at the next start. All statements
 * run on LANE_STATE; state_open, state_load and state_close run on the main
 * thread before and after the loop.
 *
 * A have-bit in a committed row implies that its bytes were synced before.
 * Bits and stamps carry a checksum: if it is wrong, the torrent comes back
 * dirty and without either.
 *
 * Not to be carried over a fork: SQLite's locks stay with the parent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/id.h"
#include "engine/base/worker.h"
#include "engine/store.h"

struct state;

/* A torrent as it was left. Pointers are borrowed from whoever made it. */
struct state_torrent {
	int64_t id; /* never used twice: inode numbers stand on it; 0: new */
	struct infohash infohash;
	const char *magnet;  /* until metadata is here; or NULL */
	bool has_metainfo;   /* torrents/INFOHASH.torrent */
	int64_t added_s;     /* wall clock */
	const uint8_t *have; /* bitfield bytes, or NULL */
	size_t have_len;
	bool is_dirty; /* was being written to when the process ended: pieces
			* without a bit may be right on disk, and stamps say
			* nothing */
	const struct store_stamp *stamps; /* per file, or NULL */
	uint32_t num_stamps;
	uint64_t uploaded, downloaded; /* payload bytes, all sessions */
};

/* Creates DIR (0700) and what it needs. -EBUSY: another process has it.
 * -EOPNOTSUPP: a newer weirfs wrote it. WHY gets a sentence for people. A
 * damaged database is moved aside (state.db.broken-N) and rebuilt from
 * torrents/; then bits are unknown, and all are dirty. */
#define STATE_WHY_SIZE 512
int state_open(const char *dir, struct workers *workers, struct state **out,
	       char why[STATE_WHY_SIZE]);
/* Checkpoints, closes, lets go of the lock. Main thread. Workers are gone, and
 * with them all that was put is on disk; the done()s that loop_free still
 * calls need no state, but may put nothing. */
void state_close(struct state *st);

/* Main thread, before the loop: every torrent, in order of id. FN may keep
 * nothing of T. */
int state_load(struct state *st,
	       void (*fn)(void *arg, const struct state_torrent *t), void *arg);
/* Reads torrents/INFOHASH.torrent. Main thread or worker. Owned by caller.
 * -ENOENT; -E2BIG; -errno. The bytes are as hostile as any file's. */
int state_read_metainfo(struct state *st, const struct infohash *ih,
			uint8_t **out, size_t *len);

/* Main thread, before the loop: every note whose key begins with PREFIX, in
 * order of keys. Values are as hostile as any file's. */
typedef void state_note_fn(void *arg, const char *key, const uint8_t *value,
			   size_t len);
int state_load_notes(struct state *st, const char *prefix, state_note_fn *fn,
		     void *arg);

/* --- loop thread; done (may be NULL) is called on the loop, once, in the
 *     order of the calls; r 0 or -errno, durable by then. Everything that T
 *     and METAINFO point to is copied. What waits is written in one
 *     transaction. After an error nothing of that call is there, and later
 *     calls work again once the cause is gone. --- */
typedef void state_done_fn(void *arg, int r, int64_t id);

/* An id that no torrent had before, for T->id of a first state_put: the number
 * is known at once, the row follows. Loop thread. */
int64_t state_new_id(struct state *st);

/* Inserts or updates by infohash (then T->id is not looked at; a new row takes
 * it, or a new one for 0). METAINFO (may be NULL) is written first. Bits and
 * stamps stay as they are where T has NULL. */
void state_put(struct state *st, const struct state_torrent *t,
	       const uint8_t *metainfo, size_t metainfo_len,
	       state_done_fn *done, void *arg);
/* Bits and stamps (each: NULL: keep), counters and the dirty mark of T->id;
 * nothing else of T is looked at. -ENOENT: no such torrent. */
void state_put_have(struct state *st, const struct state_torrent *t,
		    state_done_fn *done, void *arg);
/* -ENOENT: no such torrent. */
void state_mark_dirty(struct state *st, int64_t id, state_done_fn *done,
		      void *arg);
/* Row, then metainfo file. 0 also when there was none. */
void state_remove(struct state *st, int64_t id, const struct infohash *ih,
		  state_done_fn *done, void *arg);
/* Small things of others, kept by name ("dht.nodes"): VALUE NULL forgets it.
 * At most LIMIT_NOTE_BYTES. done()'s id says nothing. */
void state_put_note(struct state *st, const char *key, const void *value,
		    size_t len, state_done_fn *done, void *arg);
