/* engine/names.h: foreign file names made safe, and paths made unique. The
 * rules stand on top of names.c. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

/*
 * Appends the safe form of one element of a foreign path to PATH, with a '/'
 * between. Returns false when the element says nothing ("", "." and "..") and
 * nothing was appended. PATH never begins or ends with '/'.
 */
bool names_add_element(struct buf *path, const uint8_t *bytes, size_t len);

/*
 * Makes the paths of the files of one torrent differ from each other and from
 * the folders they imply. PATHS[i] is a safe path on the heap of at most
 * LIMIT_PATH_BYTES, replaced where it is renamed, or NULL for a file nobody
 * sees. A folder keeps its name, so does the first file of a name; "bar.txt"
 * becomes "bar.1.txt", "foo" becomes "foo.1".
 * SEED: bytes that whoever chose the names could not choose.
 *
 * Returns 0, -ENOMEM, or -E2BIG when more than LIMIT_DUPLICATE_NAMES files
 * want one name; *culprit is then the index of the first that is too many.
 */
int names_make_unique(char **paths, size_t count, const uint8_t seed[16],
		      size_t *culprit);
