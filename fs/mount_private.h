/* fs/mount_private.h: what the files of the FUSE side share. All of it belongs
 * to the loop thread. */
#pragma once

#define FUSE_USE_VERSION 312

#include <fuse3/fuse_lowlevel.h>

#include "engine/base/list.h"
#include "fs/handle.h"
#include "fs/mount.h"
#include "fs/node.h"

#define MOUNT_MAX_IO     (1u << 20) /* bytes; max_read and max_write */
#define MOUNT_BACKGROUND 256        /* requests the kernel may keep going */
#define MOUNT_CONGESTION 192
#define MOUNT_READAHEAD  1024 /* KiB, where we may set it */

/* Seconds the kernel may believe us. Torrents never change, libraries do. */
#define TIMEOUT_TREE    3600.0
#define TIMEOUT_LIBRARY 1.0

struct spare;

struct mount {
	struct session *s; /* borrowed */
	struct fuse_session *se;
	struct event event; /* /dev/fuse is readable */
	struct fuse_buf in; /* memory is libfuse's */
	bool has_event, is_mounted, is_init_done, is_stopping;
	struct job readahead_job;
	char *point; /* owned */
	int64_t single_id;
	uid_t uid;
	gid_t gid;
	uint64_t init_flags; /* what the kernel offered in INIT */
	/* It drops cached pages that a direct_io write goes over (6.6). */
	bool has_direct_mmap;
	uint64_t init_unique;
	struct pub *pub;      /* publish/; NULL: there is none */
	struct spare *spares; /* buffers like in.mem, to be used again */
	unsigned num_spares;
	uint8_t *reply_buf; /* MOUNT_MAX_IO bytes, for reads answered now */
	struct handles handles;

	/* read.c */
	struct list reads;       /* parked or at a worker */
	struct list interrupted; /* to be answered EINTR from the loop */
	struct task interrupt_task;
	bool is_interrupt_posted;
	struct timer reaper; /* looks for readers that have died */
	unsigned num_reads, num_page_reads;

	struct list prefetches; /* prefetch.c */
	unsigned num_prefetches;

	/* incoming.c */
	struct list incoming;
	int64_t last_serial;
	uint64_t incoming_bytes;

	/* notify.c */
	unsigned num_notes;
	void (*stopped)(void *arg);
	void *stopped_arg;

	struct session_listener listener;
	void (*gone)(void *arg);
	void *gone_arg;
};

/* ops.c */
extern const struct fuse_lowlevel_ops ops_table;

static inline struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The user who mounted, whom uid= names, or root: may add and remove. */
bool mount_is_owner(const struct mount *m, fuse_req_t req);
/* The buffer that the request in hand lies in, taken over by its operation; the
 * session gets another one. Put back when it is done with. */
uint8_t *mount_buffer_take(struct mount *m);
void mount_buffer_put(struct mount *m, uint8_t *bytes);
/* The last notification is out, or the last job of publish/: goes on with
 * mount_stop. */
void mount_on_notes_out(struct mount *m);

/* notify.c: tells the kernel, on LANE_NOTIFY, that a name is no more what it
 * was; CHILD 0: forget what you know, else: it is deleted. */
void notify_entry(struct mount *m, uint64_t parent, uint64_t child,
		  const char *name);
/* The pages of a file are not what they were. */
void notify_inode(struct mount *m, uint64_t ino);
