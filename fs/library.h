/* fs/library.h: the torrents by the names people see. Follows the engine:
 * session.c tells it what came and went. Loop thread only. */
#pragma once

#include "engine/engine.h"
#include "fs/tree.h"

struct library;

struct entry {
	struct torrent *torrent; /* borrowed */
	int64_t id;
	char *name;    /* owned; unique in the library, one path element */
	char hash[41]; /* infohash, lower-case hex */
	bool has_metainfo;
	struct tree *tree;          /* owned; NULL until entry_tree */
	uint64_t torrent_file_size; /* bytes of NAME.torrent; 0: not known */
	size_t torrent_file_urls;   /* that went into it */
	struct entry *next_by_name; /* private */
};

struct library *library_new(void);
void library_free(struct library *lib);

/* T has come, or its metadata has: makes or renames its entry. NULL: it cannot
 * be shown (its id does not fit an inode number). */
struct entry *library_put(struct library *lib, struct torrent *t);
void library_remove(struct library *lib, struct entry *entry);

size_t library_count(const struct library *lib);
/* When a torrent last came or went, wall clock. */
int64_t library_changed_s(const struct library *lib);
/* In order of id. NULL past the end. */
struct entry *library_at(const struct library *lib, size_t i);
/* Index of the first entry whose id is at least ID. */
size_t library_index(const struct library *lib, int64_t id);
struct entry *library_by_id(const struct library *lib, int64_t id);
struct entry *library_by_name(const struct library *lib, const char *name,
			      size_t len);
/* What a person may type for a torrent: its name, or at least eight hex digits
 * that begin only one infohash. */
struct entry *library_find(const struct library *lib, const char *text);

/* The nodes, made on first use. NULL: no metadata yet, or no memory. */
struct tree *entry_tree(struct entry *entry);
/* The .torrent as it was added, or one made from what is known. */
void entry_write_torrent(const struct entry *entry, struct buf *out);
