/* fs/prefetch.h: bytes to be fetched without a reader: user.weirfs.prefetch,
 * and whole files with fill=file. Loop thread only. */
#pragma once

#include "fs/mount_private.h"

void prefetch_init(struct mount *m);
/* LEN bytes of the file N from OFF on, as far as it has them. 0, -ENOTSUP (no
 * file), -EAGAIN (too many under way). Returns at once. */
int prefetch_range(struct mount *m, const struct node *n, uint64_t off,
		   uint64_t len);
/* The same, from a VALUE of "OFFSET,LENGTH"; -EINVAL. */
int prefetch_start(struct mount *m, const struct node *n, const char *value);
void prefetch_drop_entry(struct mount *m, const struct entry *entry);
void prefetch_stop(struct mount *m);
