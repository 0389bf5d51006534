/* fs/read.h: the life of one read. See the top of read.c. Loop thread only. */
#pragma once

#include "fs/mount_private.h"

void reads_init(struct mount *m);

/* Answers REQ exactly once: now, from a worker's done, when the bytes came, on
 * interrupt, timeout or stop. Takes REQ. IS_PAGE: for the page cache. */
void read_content(fuse_req_t req, struct handle *h, uint64_t off, size_t size,
		  bool is_page);

/* Does a page of INO wait for its bytes? */
bool reads_has_page(const struct mount *m, uint64_t ino);

/* Everything of H that waits is answered EINTR. */
void reads_drop_handle(struct mount *m, struct handle *h);
/* Everything that waits is answered with -R. */
void reads_fail_all(struct mount *m, int r);
