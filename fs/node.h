/* fs/node.h: from an inode number to what it stands for, and its attributes.
 * Loop thread only. */
#pragma once

#include <sys/stat.h>

#include "fs/library.h"

struct mount;

/* Resolved for the time of one request. */
struct node {
	uint64_t ino;
	enum ino_kind kind;
	uint32_t index;      /* in the tree, or enum ino_fixed */
	int64_t id;          /* torrent or serial */
	struct entry *entry; /* of kinds that belong to a torrent */
	struct tree *tree;   /* of content */
};

/* 0, or -ESTALE: nothing by that number (any more). */
int node_get(struct mount *m, uint64_t ino, struct node *out);
/* The child NAME of DIR: 0, -ENOENT, -ENOTDIR. */
int node_child(struct mount *m, const struct node *dir, const char *name,
	       struct node *out);
/* The I-th child, from 0, in an order that survives changes as well as it can;
 * *next: where to go on. -ENOENT past the end. NAME gets what it is called. */
#define NODE_NAME_SIZE 256
int node_list(struct mount *m, const struct node *dir, uint64_t at,
	      struct node *out, char name[NODE_NAME_SIZE], uint64_t *next);
uint64_t node_parent(const struct mount *m, const struct node *n);

bool node_is_dir(const struct node *n);
bool node_is_content(const struct node *n);
const struct metainfo_file *node_file(const struct node *n);

void node_attr(struct mount *m, const struct node *n, struct stat *out);
/* Seconds the kernel may keep attributes and name. */
double node_attr_timeout(const struct node *n);
double node_entry_timeout(const struct node *n);
