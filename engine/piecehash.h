/* engine/piecehash.h: SHA-1 of every piece of a torrent, on threads of its own.
 * For programs that run without a loop: making and checking torrents. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/sha.h"
#include "engine/layout.h"

#define PIECEHASH_THREADS_MAX 64

struct piecehash {
	struct layout layout;
	unsigned threads; /* at most PIECEHASH_THREADS_MAX; 0: one per core */

	/*
	 * Reads LEN bytes at OFF. Called on many threads at a time; THREAD is
	 * below PIECEHASH_THREADS_MAX, and tells them apart. 0 or -errno.
	 */
	int (*read)(void *arg, unsigned thread, uint64_t off, void *out,
		    size_t len);
	/*
	 * A piece is done: R is what read() gave; 0: HASH is set. Called on
	 * those threads, one at a time; for each piece once, in no order. 0 to
	 * go on, or what piecehash_run is to end with.
	 */
	int (*piece)(void *arg, uint32_t piece, int r,
		     const uint8_t hash[SHA1_LEN]);
	/* May be NULL. Called on the caller's thread ten times a second and at
	 * the end, with the bytes looked at so far. False: give up. */
	bool (*progress)(void *arg, uint64_t bytes);
	void *arg;
};

/* Blocks. 0; -ECANCELED: progress() gave up; what piece() returned; -EAGAIN:
 * no thread can be had. No callback runs after it returned. */
int piecehash_run(const struct piecehash *p);
