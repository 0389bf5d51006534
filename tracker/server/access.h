/* tracker/server/access.h: which torrents are tracked here: all, those on an
 * allow list, or all but those on a deny list. A list is a file with one
 * infohash in hex a line, 40 digits or the 64 of a v2 torrent ('#' begins a
 * comment, spaces around do not count); it is read again on SIGHUP, and entries
 * come and go at run time.
 *
 * access_allows: any thread, without a lock. The rest: loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/id.h"

enum access_mode {
	ACCESS_ALL,
	ACCESS_ALLOW, /* those on the list alone */
	ACCESS_DENY,  /* all but those on the list */
};

struct access_list;

/* PATH may be NULL: the list is empty and only changes at run time. NULL: WHY
 * says for people what is wrong with which line of which file. */
struct access_list *access_new(enum access_mode mode, const char *path,
			       char *why, size_t why_size);
void access_free(struct access_list *a); /* no reader is left; NULL: harmless */
/* Reads the file again: a cached read of some milliseconds per 100,000 lines.
 * Returns 0, or -errno with WHY and all as before: -EINVAL for a line that is
 * no infohash, -E2BIG past LIMIT_ACCESS_ENTRIES. Without a file: 0. */
int access_reload(struct access_list *a, char *why, size_t why_size);
/* Until the next reload; what the file says is not changed. Returns 0, -E2BIG,
 * or -ENOMEM. */
int access_add(struct access_list *a, const struct infohash *h);
void access_remove(struct access_list *a, const struct infohash *h);

bool access_allows(const struct access_list *a, const struct infohash *h);
size_t access_count(const struct access_list *a); /* entries, once each */
