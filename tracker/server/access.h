/* tracker/server/access.h: which torrents are tracked here: all, those on an
 * allow list, or all but those on a deny list. A list is a file with one
 * infohash in hex a line ('#' begins a comment); it is read again on SIGHUP,
 * and entries come and go at run time.
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

/* PATH may be NULL with ACCESS_ALL, and then entries may still be added at run
 * time with access_set_mode. NULL: WHY says what is wrong with which line. */
struct access_list *access_new(enum access_mode mode, const char *path,
			       char *why, size_t why_size);
void access_free(struct access_list *a); /* no reader is left */
/* Reads the file again. Returns 0, or -errno with all as before. */
int access_reload(struct access_list *a, char *why, size_t why_size);
/* Until the next reload; what the file says is not changed. */
void access_add(struct access_list *a, const struct infohash *h);
void access_remove(struct access_list *a, const struct infohash *h);

bool access_allows(const struct access_list *a, const struct infohash *h);
size_t access_count(const struct access_list *a);
