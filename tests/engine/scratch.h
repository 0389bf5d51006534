/* tests/engine/scratch.h: private folders for tests that touch a disk, and the
 * little that is needed to look into them. Failures end the test. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/cmocka_all.h"

static inline int scratch_remove_one(const char *path, const struct stat *st,
				     int kind, struct FTW *ftw)
{
	return remove(path);
}

static inline void scratch_remove(const char *dir)
{
	nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A new folder below BASE, or where temporary files go. */
static inline void scratch_make(const char *base, char out[PATH_MAX])
{
	if (!base)
		base = getenv("TMPDIR");
	assert_true(snprintf(out, PATH_MAX, "%s/weirfs-test-XXXXXX",
			     base ? base : "/tmp") < PATH_MAX);
	assert_non_null(mkdtemp(out));
}

/* DIR/REL in a buffer that the next call but three overwrites. */
static inline const char *scratch_path(const char *dir, const char *rel)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *p = paths[next++ % 4];

	assert_true(snprintf(p, PATH_MAX, "%s/%s", dir, rel) < PATH_MAX);
	return p;
}

static inline bool scratch_has(const char *dir, const char *rel)
{
	struct stat st;

	return lstat(scratch_path(dir, rel), &st) == 0;
}

static inline int64_t scratch_size(const char *dir, const char *rel)
{
	struct stat st;

	return lstat(scratch_path(dir, rel), &st) < 0 ? -1 : st.st_size;
}

static inline void scratch_write(const char *dir, const char *rel,
				 const void *bytes, size_t len)
{
	int fd = open(scratch_path(dir, rel),
		      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

/* Reads at most MAX bytes; returns how many, or -1. */
static inline ssize_t scratch_read(const char *dir, const char *rel, void *out,
				   size_t max)
{
	int fd = open(scratch_path(dir, rel), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, out, max);
	close(fd);
	return n;
}
