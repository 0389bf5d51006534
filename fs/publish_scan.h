/* fs/publish_scan.h: what of publish_dir is published, and how it stands on
 * disk. Pure but for publish_scan, which is for a worker. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/mem.h"
#include "engine/store.h"

#define SCAN_WHY_SIZE 256

/* Defaults of a folder, from its .weirfs-publish or the one beside it. */
struct publish_options {
	char **trackers, **webseeds; /* owned */
	size_t num_trackers, num_webseeds;
	char *comment, *source; /* owned; or NULL */
	bool is_private;
};
void publish_options_release(struct publish_options *o);
/* Adds what TEXT says (KEY = VALUE lines: announce, webseed, private, comment,
 * source). 0, or -EINVAL with a sentence in WHY. */
int publish_options_parse(struct publish_options *o, const char *text,
			  char why[SCAN_WHY_SIZE]);
#define PUBLISH_OPTIONS_NAME ".weirfs-publish"

struct publish_item {
	char *path; /* owned; below the entry; "" if that is a file */
	struct store_stamp stamp;
	bool is_exec;
};

struct publish_scan {
	bool is_dir;
	struct publish_item *items; /* owned; by path */
	size_t num_items, cap_items;
	char **folders; /* owned; paths below the entry, "" first */
	size_t num_folders, cap_folders;
	uint64_t total;          /* bytes */
	int64_t newest_ns;       /* of all ctimes and mtimes */
	uint8_t fingerprint[32]; /* of all of it */
	struct publish_options options;
	char why[SCAN_WHY_SIZE];
};

/* Looks at PATH below ROOT. Worker. 0; -ENOENT; -E2BIG; -EINVAL: its options
 * are wrong; -errno. WHY tells. Release in any case. */
int publish_scan(int root, const char *path, struct publish_scan *out);
void publish_scan_release(struct publish_scan *s);
/* Of two items, by path: how they are sorted. */
int publish_item_cmp(const void *a, const void *b);

/* A folder below ROOT, to be listed. Worker. 0 or -errno; closed by closedir.
 */
int publish_open_folder(int root, const char *path, DIR **out);

struct stat;
void publish_stamp(const struct stat *st, struct store_stamp *out);
static inline bool publish_stamp_eq(const struct store_stamp *a,
				    const struct store_stamp *b)
{
	return a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns && a->ino == b->ino;
}

/* Names of files that somebody is writing (rsync, browsers, editors). They
 * start no clock; a rename to another name says that one is finished. */
bool publish_is_temporary(const char *name);
