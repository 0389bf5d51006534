/* engine/make.h: makes a torrent of a file or a folder. Part of the engine's
 * public face. Blocks: for threads that may, not for the loop.
 *
 * A folder is taken with all plain files in it, empty ones too, but without
 * what make_is_left_out() names. Symlinks, special files and folders without a
 * file are not in the torrent; a warning tells of links and special files. The
 * same bytes, names, modes and options give the same infohash, on any machine;
 * created_by, creation_date, comment, trackers, webseeds and nodes have no part
 * in it. Order, pads and the rest of the form stand in make_info.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/metainfo.h"

enum make_kind {
	MAKE_V1,
	MAKE_V2,     /* BEP 52 */
	MAKE_HYBRID, /* both in one, BEP 52 and 47 */
};

#define MAKE_PIECE_LENGTH_MIN (16u << 10)

/* All zero is a good start: v1, everything by default. Strings are borrowed. */
struct make_options {
	enum make_kind kind;
	const char *name; /* NULL: the last element of the path */
	/* 0: by size. Else a power of two from MAKE_PIECE_LENGTH_MIN to
	 * LIMIT_PIECE_LENGTH. */
	uint32_t piece_length;
	unsigned threads;   /* 0: one per core */
	bool is_private;    /* BEP 27; changes the infohash */
	const char *source; /* NULL: none. In the info dict: sets one site's
			     * torrents apart from another's */
	const char *const *trackers;
	size_t num_trackers;
	const unsigned *tiers; /* of each, never falling, from 0; NULL: each is
				* a tier of its own */
	/* NULL, or DOMAIN or DOMAIN:PORT: trackers that are found through
	 * Kademlia, in tiers before the others. KEY is the infohash (of v2
	 * alone its first 20 bytes) in hex; the port is MAKE_KENOSIS_PORT by
	 * default:
	 *     http://KEY.bt.DOMAIN:PORT/announce
	 *     udp://KEY.bt.DOMAIN:PORT/announce
	 *     both of KEY--r1, the second of the nodes that own KEY
	 *     both of KEY--r2, the third */
	const char *kenosis;
	const char *const *webseeds;
	size_t num_webseeds;
	const char *const *nodes; /* of the DHT (BEP 5), HOST:PORT each */
	size_t num_nodes;
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

#define MAKE_KENOSIS_PORT 6969

/*
 * Makes a torrent of SRC, which is followed if it is a link. *out is owned by
 * the caller; its raw bytes are the .torrent. Returns 0, or with a sentence in
 * WHY: -ECANCELED; -EINVAL an option; -ESTALE a file changed while it was
 * hashed; -EBADMSG or -E2BIG what it would be is no valid torrent (nothing in
 * it, too deep, ...); -errno of the file system.
 */
#define MAKE_WHY_SIZE 512
int make_torrent(const char *src, const struct make_options *options,
		 struct metainfo **out, char why[MAKE_WHY_SIZE]);

/* The piece length for files of TOTAL bytes together: 256 KiB below 64 MiB,
 * 1 MiB below 16 GiB, then 4 MiB, until there would be more than
 * MAKE_PIECES_AIM pieces; from there the next power of two each time. */
#define MAKE_PIECES_AIM (1u << 20)
uint32_t make_piece_length(uint64_t total);

/* Is an entry of that name, below a folder, no part of its torrent? Dot-files,
 * and "CVS", "core", "Thumbs.db" and "desktop.ini", as BitTorrent always did.
 * What is below such a folder is left out with it. */
bool make_is_left_out(const char *name);
