/* tracker/server/statefile.h: what the tracker remembers over a restart: peers
 * with the wall-clock minute of their last announce, counters, and blobs of the
 * overlay (key, nodes). Written beside and renamed, fsync before; the
 * generation before stays as PATH.1. Blocks with a CRC-32C each, a version, an
 * end mark: a file that is cut, flipped or of another version is not believed,
 * and the generation before is taken.
 *
 * Walks shards one by one, so that nobody waits. Not the loop: a worker. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/server/swarms.h"

enum statefile_blob {
	STATEFILE_KEY,   /* Ed25519 seed of this node */
	STATEFILE_NODES, /* kt_save */
};
#define STATEFILE_BLOBS 2

struct statefile_blobs {
	struct buf of[STATEFILE_BLOBS];
};

/* WALL_S: seconds since 1970. Returns 0, or -errno with WHY for people and the
 * old file as it was. */
int statefile_save(const char *path, struct swarms *s,
		   const struct statefile_blobs *blobs, int64_t wall_s,
		   char *why, size_t why_size);

struct statefile_loaded {
	uint64_t torrents, peers, expired;
	bool is_previous; /* PATH was not to be believed: WHY says why */
};
/* Returns 0; -ENOENT: no file yet; -EBADMSG: neither generation is good, and
 * nothing was taken. */
int statefile_load(const char *path, struct swarms *s,
		   struct statefile_blobs *blobs, int64_t wall_s,
		   struct statefile_loaded *out, char *why, size_t why_size);
