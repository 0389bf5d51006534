/* engine/store_fs.h: paths beneath a folder that strangers can write to.
 *
 * Every path here is relative to an O_PATH descriptor of that folder and is
 * resolved by the kernel with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS:
 * a symlink planted anywhere in the tree ends in -ELOOP or -EXDEV, and nothing
 * outside is touched. Workers (main thread before the loop). Private to store
 * and state. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Makes DIR and what is above it (umask applies), each made durable in its
 * parent. 0, also when it is there, or -errno. */
int store_fs_make_path(const char *dir, mode_t mode);

/* O_PATH descriptor of DIR, whose own path may run over symlinks; -errno. */
int store_fs_open_root(const char *dir);

/* A descriptor or -errno. FLAGS are those of open(2). */
int store_fs_open(int root, const char *rel, int flags, mode_t mode);

/* To read, where what we read for ourselves is not to be seen in the file's
 * times: O_NOATIME, if we may. */
int store_fs_open_quietly(int root, const char *rel, int flags);

/* O_PATH descriptor of the folder that holds REL, with *last its last element;
 * or -errno. */
int store_fs_open_parent(int root, const char *rel, const char **last);

/* Makes the folders above REL, step by step. 0 or -errno. */
int store_fs_make_parents(int root, const char *rel);

/* fsync of the folder of the first LEN bytes of REL; 0: of the root. */
int store_fs_sync_dir(int root, const char *rel, size_t len);

/* Length of REL without its last element and the slash before it. */
size_t store_fs_dirname_len(const char *rel, size_t len);
