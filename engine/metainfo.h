/* engine/metainfo.h: a .torrent as a struct (BEP 3, 5, 12, 19, 27, 47, 52).
 * Immutable once made; hostile input. Part of the engine's public face.
 * Any thread.
 *
 * Names are made safe here and nowhere else: `path` of a file is relative,
 * unique in the torrent, free of "..", of control, bidi and zero-width
 * characters, each element at most LIMIT_NAME_BYTES; duplicates and clashes
 * are renamed (up to LIMIT_DUPLICATE_NAMES of one name, then refused).
 * `origpath` keeps what the torrent said.
 *
 * Files tile [0, layout.total): a v2 torrent, whose files start at piece
 * boundaries, is given the pads between them that a hybrid one lists. Offsets
 * never fall, and an empty file comes before the file that begins where it
 * does. There is at least one file that is no pad. */
#pragma once

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/bytes.h"
#include "engine/base/id.h"
#include "engine/layout.h"

enum file_flag {
	FILE_PAD = 1,     /* BEP 47: reads as zeros, shown nowhere */
	FILE_EXEC = 2,    /* attr x */
	FILE_HIDDEN = 4,  /* attr h */
	FILE_SYMLINK = 8, /* attr l */
};

struct metainfo_file {
	char *path;      /* owned; below the torrent's root; no leading '/'.
			  * For a single-file torrent: its name */
	char *origpath;  /* owned; raw, elements joined with '/'; a zero byte,
			  * which cannot be here, is a '_' */
	char *symlink;   /* owned; sanitised target, relative to the link's
			  * own directory and inside the torrent; or NULL */
	uint64_t offset; /* first byte in the torrent (v1 order, with pads) */
	uint64_t length; /* bytes; 0 for symlinks */
	unsigned flags;  /* enum file_flag */
	bool has_root;
	uint8_t pieces_root[32]; /* v2 */
};

struct metainfo {
	char *name;     /* owned; one safe path element; the infohash in hex
			 * if the torrent's own name comes to nothing */
	char *origname; /* owned; raw */
	bool has_v1, has_v2;
	struct infohash infohash;   /* v1 if has_v1, else v2 cut to 20 */
	struct infohash2 infohash2; /* if has_v2 */
	struct layout layout;
	bool is_private;
	bool is_multi; /* files live in a folder NAME; else NAME is the file */

	struct metainfo_file *files; /* owned; in torrent order, pads too */
	uint32_t num_files;
	const uint8_t *piece_hashes; /* 20 bytes a piece, inside info; v1, or
				      * NULL */

	char **trackers; /* owned; safe URLs */
	unsigned *tier_of;
	size_t num_trackers;
	char **webseeds; /* owned */
	size_t num_webseeds;
	char **nodes; /* owned; of the DHT, "host:port", "[v6]:port" (BEP 5) */
	size_t num_nodes;
	char *comment, *created_by; /* owned, or NULL; foreign text */
	int64_t creation_date;      /* 0: none */

	struct span info; /* the raw info dict; points into raw */
	uint8_t *raw;     /* owned; the whole .torrent (or just the info) */
	size_t raw_len;
	struct span piece_layers; /* v2: raw dict value; or absent. Layers in
				   * it fold to roots of files; some files
				   * may have none */
};

/*
 * Parses a .torrent. Copies what it needs. WHY (size WHY_SIZE) gets one
 * sentence that names the rule on failure, else "". Bytes after the torrent
 * are dropped. Returns 0; -EBADMSG (not a torrent, or a rule is broken); -E2BIG
 * (over a limit); -ENOMEM. *out is NULL on failure.
 */
#define METAINFO_WHY_SIZE 160
int metainfo_parse(const uint8_t *bytes, size_t len, struct metainfo **out,
		   char why[METAINFO_WHY_SIZE]);

/* The same for an info dict alone (BEP 9), of which LEN is the exact length.
 * Trackers, web seeds and nodes stay empty. */
int metainfo_parse_info(const uint8_t *info, size_t len, struct metainfo **out,
			char why[METAINFO_WHY_SIZE]);

void metainfo_free(struct metainfo *mi);

/* Adds a tracker URL in TIER (kept sorted by tier) unless it is there already,
 * unsafe, or over LIMIT_TRACKERS. Before anybody else holds MI. */
void metainfo_add_tracker(struct metainfo *mi, const char *url, unsigned tier);
void metainfo_add_webseed(struct metainfo *mi, const char *url);

/* Writes a .torrent with MI's info dict, trackers, nodes and web seeds. */
void metainfo_write(const struct metainfo *mi, struct buf *out);

/* A magnet link for MI (BEP 9; BEP 53 has no say here). Owned by the caller. */
char *metainfo_magnet(const struct metainfo *mi);

/* The file whose bytes include OFF < layout.total (never an empty one). */
uint32_t metainfo_file_at(const struct metainfo *mi, uint64_t off);
