/* fs/handle.h: open files. The kernel keeps a number; whoever has forgotten
 * what it meant (a restarted daemon) opens the inode again under it, so a
 * number is all that has to survive. Loop thread only. */
#pragma once

#include "engine/base/list.h"
#include "fs/node.h"

#define HANDLE_BUCKETS 1024u

struct handles {
	struct list buckets[HANDLE_BUCKETS];
	uint64_t next;           /* number; begins at random in each run */
	uint64_t snapshot_bytes; /* of all texts */
};

enum handle_kind {
	HANDLE_CONTENT,
	HANDLE_TEXT,
	HANDLE_INCOMING
};

struct handle {
	struct list node; /* in its bucket */
	uint64_t fh, ino;
	enum handle_kind kind;

	/* content: LENGTH bytes of the torrent from START */
	struct entry *entry;   /* NULL: the torrent has left the library */
	struct reader *reader; /* NULL: all was here at open */
	uint64_t start, length;
	uint64_t read_to;  /* from 0 on, without a gap */
	struct list reads; /* under way, read.c */

	struct buf text; /* what it said when it was opened */

	struct incoming *incoming; /* being written, incoming.c */
};

void handles_init(struct handles *h);

/* For N, which is content or a generated file; sees what is there now. 0 or
 * -errno. */
int handle_open(struct mount *m, const struct node *n, struct handle **out);
/* A bare one, of KIND. */
struct handle *handle_new(struct mount *m, uint64_t ino, enum handle_kind kind);
/* By number, or opened again; NULL: the inode is gone. */
struct handle *handle_get(struct mount *m, uint64_t ino, uint64_t fh);
struct handle *handle_find(struct mount *m, uint64_t fh);
/* Its reads are answered EINTR first. */
void handle_free(struct mount *m, struct handle *h);

/* ENTRY leaves the library: its handles let go of it. */
void handles_drop_entry(struct mount *m, struct entry *entry);
void handles_close_all(struct mount *m);
