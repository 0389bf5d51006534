/* engine/make.h: makes a torrent of a file or a folder. Part of the engine's
 * public face. Blocks: for threads that may, not for the loop.
 *
 * A folder is taken whole, dot-files and empty files too, in the order of the
 * bytes of each name; symlinks and special files are left out. The same bytes,
 * names and options give the same infohash. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/metainfo.h"

enum make_kind {
	MAKE_V1,
	MAKE_V2,     /* not yet: -EOPNOTSUPP */
	MAKE_HYBRID, /* not yet: -EOPNOTSUPP */
};

#define MAKE_PIECE_LENGTH_MIN (16u << 10)
#define MAKE_PIECE_LENGTH_MAX (16u << 20) /* of those chosen by size */

/* All zero is a good start: v1, everything by default. Strings are borrowed. */
struct make_options {
	enum make_kind kind;
	const char *name; /* NULL: the last element of the path */
	/* 0: by size. Else a power of two from MAKE_PIECE_LENGTH_MIN to
	 * LIMIT_PIECE_LENGTH. */
	uint32_t piece_length;
	unsigned threads; /* 0: one per core */
	bool is_private;
	const char *const *trackers; /* each a tier of its own */
	size_t num_trackers;
	const char *const *webseeds;
	size_t num_webseeds;
	const char *comment, *created_by; /* NULL: none */
	int64_t creation_date;            /* 0: none */

	/* May be NULL. Called on the caller's thread. warn: PATH (below SRC)
	 * was left out, or will have another name for others. progress: bytes
	 * hashed, of TOTAL; TOTAL is 0 while it looks at folders. False gives
	 * up. */
	void (*warn)(void *arg, const char *path, const char *why);
	bool (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/*
 * Makes a torrent of SRC. *out is owned by the caller; its raw bytes are the
 * .torrent. Returns 0, or with a sentence in WHY: -ECANCELED; -EINVAL an
 * option; -EOPNOTSUPP; -ESTALE a file changed while it was hashed; -EBADMSG or
 * -E2BIG what it would be is no valid torrent (nothing in it, too deep, ...);
 * -errno of the file system.
 */
#define MAKE_WHY_SIZE 512
int make_torrent(const char *src, const struct make_options *options,
		 struct metainfo **out, char why[MAKE_WHY_SIZE]);

/* The piece length for TOTAL bytes: few wide classes, so that it seldom changes
 * while a file grows, and small, so that a first byte is soon there: 256 KiB
 * below 64 MiB, 1 MiB below 16 GiB, 4 MiB from there. */
uint32_t make_piece_length(uint64_t total);
