/* fs/incoming.h: files being written into torrents/. Each becomes a torrent
 * when it is closed. See the top of incoming.c. Loop thread only. */
#pragma once

#include "fs/mount_private.h"

struct incoming {
	struct list node; /* in mount->incoming */
	struct mount *m;
	int64_t serial; /* id in its inode number */
	char *name;     /* owned; NULL: written over an existing file */
	struct buf data;
	int64_t created_s;
	unsigned num_handles;
	bool is_changed;     /* since it was last handed to the session */
	bool is_asked;       /* the session has not answered */
	bool is_unlinked;    /* only its writer still knows it */
	int64_t added_id;    /* the torrent it became, or 0 */
	struct list waiting; /* flushes that wait for the answer */
	struct timer expiry;
};

/* NAME may be NULL. NULL: too many. */
struct incoming *incoming_new(struct mount *m, const char *name);
struct incoming *incoming_by_name(struct mount *m, const char *name,
				  size_t len);
struct incoming *incoming_by_serial(struct mount *m, int64_t serial);
/* In order of serial; shown in the folder: still open, not a torrent yet. */
struct incoming *incoming_from(struct mount *m, int64_t serial);

/* 0 or -EFBIG, -ENOSPC. */
int incoming_write(struct incoming *in, uint64_t off, const void *bytes,
		   size_t len);
int incoming_resize(struct incoming *in, uint64_t size);
/* Answers REQ with 0 or an error once the session has judged what was written;
 * at once if nothing was. Takes REQ. */
void incoming_flush(struct incoming *in, fuse_req_t req);
/* A handle on it was closed. May free it. */
void incoming_on_release(struct incoming *in);
void incoming_rename(struct incoming *in, const char *name);
void incoming_remove(struct incoming *in);
void incoming_stop(struct mount *m); /* waiting flushes: ESHUTDOWN */
