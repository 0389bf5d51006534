/* tracker/server/statefile.h: what the tracker remembers over a restart: peers
 * with the wall-clock minute of their last announce, counters, and blobs of the
 * overlay (key, nodes). Written beside and renamed, fsync before; the
 * generation before stays as PATH.1. Blocks with a CRC-32 each, a version, an
 * end mark: a file that is cut, flipped or of another version is not believed,
 * and the generation before is taken.
 *
 * Walks shards one by one, so that nobody waits. Not the loop: a worker, one
 * at a time for a PATH. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/server/swarms.h"

enum statefile_blob {
	STATEFILE_KEY,   /* Ed25519 seed of this node */
	STATEFILE_NODES, /* kt_save */
};
#define STATEFILE_BLOBS 2

struct statefile_blobs { /* each below LIMIT_STATEFILE_BLOCK */
	struct buf of[STATEFILE_BLOBS];
};

/* WALL_S: seconds since 1970. Returns 0, or -errno with WHY for people and the
 * old file as it was. Mode 0600: the key is a secret. */
int statefile_save(const char *path, struct swarms *s,
		   const struct statefile_blobs *blobs, int64_t wall_s,
		   char *why, size_t why_size);

struct statefile_loaded {
	uint64_t torrents, peers, expired;
	bool is_previous; /* PATH was not to be believed: WHY says why */
};
/* Returns 0; -ENOENT: no file yet; -EBADMSG: neither generation is good, and
 * nothing was taken; another -errno: PATH cannot be opened, or is no file.
 * BLOBS are initialised; those that the file has not are left alone. */
int statefile_load(const char *path, struct swarms *s,
		   struct statefile_blobs *blobs, int64_t wall_s,
		   struct statefile_loaded *out, char *why, size_t why_size);

/* What is written, given away: the file is
 *   magic 8 | version 4 | saved_s 8 | CRC-32 4
 * and then blocks, the last of them of kind END:
 *   kind 4 | sequence number 4 | length of payload 4 | payload | CRC-32 4
 * The CRC, zlib's, is over all of its block before it. Numbers are big-endian.
 *   BLOB    which 4 | bytes
 *   SWARMS  any number of: infohash 20 | completed 4 | number 4 | peers:
 *           state 1 (0x10: IPv6) | minute since 1970 4 | compact 6 or 18
 *           A torrent may come again, with more of its peers.
 *   END     torrents 8 | peers 8 */
#define STATEFILE_VERSION      1
#define STATEFILE_HEADER_BYTES 24
#define STATEFILE_BLOCK_BYTES  16 /* of a block around its payload */
