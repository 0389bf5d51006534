/* engine/make_scan.h: what lies below a path, in the order of a torrent, and
 * reading it as one string of bytes that must not change. Private to make.c.
 * Pads are part of the offsets, but nobody reads them here. */
#pragma once

#include <pthread.h>
#include <time.h>

#include "engine/make.h"
#include "engine/piecehash.h"

struct make_file {
	char *path;      /* owned; below the folder; the source's own path if
			  * that is a file */
	uint64_t offset; /* in the torrent, once make_scan_place() ran */
	uint64_t length;
	bool is_exec;
	struct timespec mtime, ctime; /* these tell whether it changed */
	uint64_t dev, ino;
};

struct make_scan {
	bool is_dir;
	int root; /* owned; the folder; -1: the source is a file */
	struct make_file *files; /* owned */
	uint32_t num_files, cap_files;
	uint64_t total; /* bytes of all files */

	const struct make_options *options; /* borrowed */
	const char *src;                    /* borrowed */
	char *why;            /* borrowed; MAKE_WHY_SIZE; guarded by lock */
	pthread_mutex_t lock; /* leaf: only while WHY is written */
	struct {
		uint32_t file;
		int fd;                /* -1: none */
		size_t bytes;          /* read since it was looked at */
	} open[PIECEHASH_THREADS_MAX]; /* one of each thread */
};

/* SRC, OPTIONS and WHY are borrowed until the release. */
void make_scan_init(struct make_scan *s, const char *src,
		    const struct make_options *options, char *why);
/* Looks at SRC. 0 or -errno with a sentence in WHY. The files are in order. */
int make_scan_start(struct make_scan *s);
/* Gives the files their offsets. */
void make_scan_place(struct make_scan *s, uint32_t piece_length);
void make_scan_release(struct make_scan *s);

/* The last file that begins at OFF or before it: never an empty one. */
uint32_t make_scan_file_at(const struct make_scan *s, uint64_t off);

/* Bytes of files that have no pad between them. Any of the threads of
 * piecehash; see there. 0 or -errno; a sentence in WHY. */
int make_scan_read(struct make_scan *s, unsigned thread, uint64_t off,
		   void *out, size_t len);

/* Are all files as they were? 0, or -ESTALE with a sentence. */
int make_scan_check(struct make_scan *s);
