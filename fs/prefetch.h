/* fs/prefetch.h: user.weirfs.prefetch: bytes to be fetched without a reader.
 * Loop thread only. */
#pragma once

#include "fs/mount_private.h"

void prefetch_init(struct mount *m);
/* VALUE: "OFFSET,LENGTH" in the file N. 0, -EINVAL, -ENOTSUP (no file), -EAGAIN
 * (too many under way). Returns at once. */
int prefetch_start(struct mount *m, const struct node *n, const char *value);
void prefetch_drop_entry(struct mount *m, const struct entry *entry);
void prefetch_stop(struct mount *m);
