/* fs/tree.h: inode numbers, and the nodes of one torrent. Pure; any thread.
 *
 * An inode number is kind, torrent id and node packed in 64 bits. Torrent ids
 * are never used twice and nodes are numbered from the metainfo alone, so a
 * number means the same thing in every run, and no table of inodes is kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/metainfo.h"

enum ino_kind {
	INO_FIXED,        /* node: enum ino_fixed; id 0 */
	INO_CONTENT,      /* files/NAME and below; node: of the tree */
	INO_HASH_DIR,     /* by-hash/INFOHASH */
	INO_HASH_CONTENT, /* by-hash/INFOHASH/NAME and below */
	INO_TORRENT_FILE, /* torrents/NAME.torrent */
	INO_MAGNET_FILE,  /* torrents/NAME.magnet */
	INO_STATUS_DIR,   /* .weirfs/NAME */
	INO_STATUS_JSON,  /* .weirfs/NAME/status.json, and so on */
	INO_PEERS_JSON,
	INO_PIECES_SVG,
	INO_INCOMING, /* being written into torrents/; id: a serial number */
	INO_PUBLISH,  /* publish/ and below; id and node: of the backing inode,
		       * pub_node.h */
};
#define INO_KIND_COUNT 12

enum ino_fixed {
	INO_ROOT = 1, /* what the kernel calls FUSE_ROOT_ID */
	INO_FILES,
	INO_TORRENTS,
	INO_BY_HASH,
	INO_WEIRFS,
	INO_LIBRARY_JSON, /* .weirfs/status.json */
	INO_METRICS,      /* .weirfs/metrics */
};

#define INO_NODE_BITS 28
#define INO_ID_BITS   32
#define INO_ID_MAX    ((1ll << INO_ID_BITS) - 1)

uint64_t ino_make(enum ino_kind kind, int64_t id, uint32_t node);
/* False: no number of ours. */
bool ino_split(uint64_t ino, enum ino_kind *kind, int64_t *id, uint32_t *node);

#define TREE_ROOT 0u         /* NAME itself, file or folder */
#define TREE_NONE UINT32_MAX /* no such node */
#define TREE_DIR  UINT32_MAX /* in `file`: a folder */

struct tree_node {
	uint32_t parent;
	uint32_t file;        /* index in mi->files, or TREE_DIR */
	uint32_t first_child; /* in children[] */
	uint32_t num_children;
	uint32_t num_folders; /* of them: folders, for nlink */
	uint32_t name_len;
	const char *name; /* not ended; borrowed from the metainfo */
};

struct tree {
	const struct metainfo *mi; /* borrowed, outlives the tree */
	struct tree_node *nodes;   /* owned; [0] is the root */
	uint32_t num_nodes;
	uint32_t *children;   /* owned; siblings stand together, by name */
	uint32_t num_skipped; /* files whose path clashes: not shown */
};

/* Pads are left out. NULL: no memory for so many nodes. */
struct tree *tree_new(const struct metainfo *mi);
void tree_free(struct tree *tree);

/* The child of DIR called NAME, or TREE_NONE. */
uint32_t tree_lookup(const struct tree *tree, uint32_t dir, const char *name,
		     size_t len);
/* The I-th child of DIR by name, or TREE_NONE past the end. */
uint32_t tree_child(const struct tree *tree, uint32_t dir, uint64_t i);

static inline bool tree_is_dir(const struct tree *tree, uint32_t node)
{
	return tree->nodes[node].file == TREE_DIR;
}

static inline const struct metainfo_file *tree_file(const struct tree *tree,
						    uint32_t node)
{
	return &tree->mi->files[tree->nodes[node].file];
}

/* Calls FN for every file at or below NODE. */
void tree_each_file(const struct tree *tree, uint32_t node,
		    void (*fn)(void *arg, const struct metainfo_file *file),
		    void *arg);
