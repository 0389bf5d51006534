/* fs/pub_node.h: what the kernel knows of publish/: its inodes, each with the
 * place where its backing file was seen last. Loop thread only.
 *
 * A number is made of the backing inode, so it means the same in every run. A
 * node that lost its name (unlinked, replaced) lives on until the kernel has
 * forgotten it and its last handle is closed, and works through those. */
#pragma once

#include <sys/stat.h>

#include "engine/base/list.h"
#include "engine/store.h"

#define PUB_BUCKETS 4096u

struct pub_tree;

struct pub_node {
	struct list by_ino, by_name; /* in their buckets */
	struct pub_tree *tree;       /* borrowed */
	uint64_t ino, generation;
	dev_t dev;
	ino_t backing;
	mode_t type;             /* S_IFMT of it */
	struct pub_node *parent; /* holds a reference; NULL: root or nameless */
	char *name;              /* owned; NULL likewise */
	uint64_t nlookup;        /* of the kernel */
	unsigned refs;           /* children, handles, jobs */
	struct list handles;     /* struct pub_handle, open ones */
	struct list jobs;        /* that wait for their turn */
	struct list turn;        /* in pub.turns: waits for a worker */
	bool is_busy;            /* one of its jobs is at a worker */
	int gone_fd;             /* owned; of a folder that was removed; -1 */
	bool was_direct; /* when it was opened last: no page is to be believed
			  */
	struct store_stamp seen; /* when it was opened last, or changed by us */
};

struct pub_tree {
	struct list by_ino[PUB_BUCKETS], by_name[PUB_BUCKETS];
	struct pub_node *root; /* has no name and always lives */
	size_t num;
};

#define PUB_ROOT_INO ino_make(INO_PUBLISH, 0, 1)

void pub_tree_init(struct pub_tree *t);
void pub_tree_release(struct pub_tree *t);

struct pub_node *pub_by_ino(struct pub_tree *t, uint64_t ino);
struct pub_node *pub_child(struct pub_node *dir, const char *name);
/* NAME in DIR is what ST says: the node of that inode, moved there if it was
 * known by another name; what had the name before loses it. The caller has a
 * reference. */
struct pub_node *pub_found(struct pub_node *dir, const char *name,
			   const struct stat *st);
/* The number of the backing inode ST, as the kernel is told. */
uint64_t pub_number(const struct pub_tree *t, dev_t dev, ino_t ino);
void pub_lose_name(struct pub_node *n);
/* FROM's name in its folder is NAME in DIR now. */
void pub_move(struct pub_node *n, struct pub_node *dir, const char *name);

void pub_ref(struct pub_node *n);
void pub_unref(struct pub_node *n); /* may free it */
void pub_forget(struct pub_node *n, uint64_t nlookup);

/* Below publish_dir, "" for the root. NULL: it has no name. Owned. */
char *pub_path(const struct pub_node *n);
