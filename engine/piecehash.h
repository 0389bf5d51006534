/* engine/piecehash.h: the hashes of every piece of a torrent, on threads of its
 * own: SHA-1 (v1), a node of a file's hash tree (v2), or both in one pass. For
 * programs that run without a loop: making and checking torrents. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/sha.h"
#include "engine/layout.h"

#define PIECEHASH_THREADS_MAX 64

/* What lies in a piece. */
struct piecehash_part {
	uint32_t bytes;      /* of files; then zeros that are not read */
	bool is_longer_file; /* goes on before or after this piece */
};

/* Only those that were asked for are set. */
struct piecehash_result {
	uint8_t sha1[SHA1_LEN];
	/* v2: above the leaves of the piece: filled up to its size if the file
	 * is longer, else the root of the file. */
	uint8_t node[SHA256_LEN];
};

struct piecehash {
	struct layout layout;
	bool has_v1, has_v2;
	unsigned threads; /* at most PIECEHASH_THREADS_MAX; 0: one per core */

	/*
	 * Reads LEN bytes at OFF. Called on many threads at a time; THREAD is
	 * below PIECEHASH_THREADS_MAX, and tells them apart. 0 or -errno.
	 */
	int (*read)(void *arg, unsigned thread, uint64_t off, void *out,
		    size_t len);
	/* Called on many threads. NULL: every piece is full of bytes, and only
	 * v1 is asked for. */
	struct piecehash_part (*part)(void *arg, uint32_t piece);
	/*
	 * A piece is done: R is what read() gave; 0: RESULT is set. Called on
	 * those threads, one at a time; for each piece once, in no order. 0 to
	 * go on, or what piecehash_run is to end with.
	 */
	int (*piece)(void *arg, uint32_t piece, int r,
		     const struct piecehash_result *result);
	/* May be NULL. Called on the caller's thread ten times a second and at
	 * the end, with the bytes looked at so far. False: give up. */
	bool (*progress)(void *arg, uint64_t bytes);
	void *arg;
};

/* Blocks. 0; -ECANCELED: progress() gave up; what piece() returned; -EAGAIN:
 * no thread can be had. No callback runs after it returned. */
int piecehash_run(const struct piecehash *p);
