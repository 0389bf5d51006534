#include "fs/pub_node.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "fs/tree.h"

#define NUMBER_BITS (INO_ID_BITS + INO_NODE_BITS)
#define NUMBER_MASK ((1ull << NUMBER_BITS) - 1)

void pub_tree_init(struct pub_tree *t)
{
	struct pub_node *root = mem_alloc(sizeof(*root));

	for (unsigned i = 0; i < PUB_BUCKETS; i++) {
		list_init(&t->by_ino[i]);
		list_init(&t->by_name[i]);
	}
	root->tree = t;
	root->ino = PUB_ROOT_INO;
	root->type = S_IFDIR;
	root->gone_fd = -1;
	root->refs = 1;
	list_init(&root->by_name);
	list_init(&root->handles);
	list_init(&root->jobs);
	list_init(&root->turn);
	list_push_back(&t->by_ino[root->ino % PUB_BUCKETS], &root->by_ino);
	t->root = root;
	t->num = 1;
}

static void node_free(struct pub_node *n)
{
	list_remove(&n->by_ino);
	list_remove(&n->turn);
	list_remove(&n->by_name);
	n->tree->num--;
	if (n->gone_fd >= 0)
		close(n->gone_fd);
	free(n->name);
	free(n);
}

void pub_tree_release(struct pub_tree *t)
{
	if (!t->root)
		return;
	for (unsigned i = 0; i < PUB_BUCKETS; i++) {
		list_foreach_safe(n, &t->by_ino[i], struct pub_node, by_ino)
			node_free(n);
	}
	t->root = NULL;
}

/* ---- numbers ---- */

uint64_t pub_number(const struct pub_tree *t, dev_t dev, ino_t ino)
{
	uint64_t x = ino;

	/* Almost always one file system with numbers below 2^60. */
	if (dev != t->root->dev || x >> NUMBER_BITS) {
		x = (x ^ (uint64_t)dev * 0x9e3779b97f4a7c15ull) *
		    0xbf58476d1ce4e5b9ull;
		x ^= x >> 31;
	}
	x &= NUMBER_MASK;
	if (x < 2) /* the root's, and none */
		x += 2;
	return (uint64_t)INO_PUBLISH << NUMBER_BITS | x;
}

struct pub_node *pub_by_ino(struct pub_tree *t, uint64_t ino)
{
	list_foreach(n, &t->by_ino[ino % PUB_BUCKETS], struct pub_node,
		     by_ino) {
		if (n->ino == ino)
			return n;
	}
	return NULL;
}

/* Two backing inodes may come to one number: the later one takes the next. */
static uint64_t free_number(struct pub_tree *t, const struct stat *st,
			    struct pub_node **found)
{
	uint64_t ino = pub_number(t, st->st_dev, st->st_ino);

	for (;;) {
		struct pub_node *n = pub_by_ino(t, ino);

		*found = n;
		if (!n || (n->dev == st->st_dev && n->backing == st->st_ino &&
			   n != t->root))
			return ino;
		ino = (ino & ~NUMBER_MASK) | ((ino + 1) & NUMBER_MASK);
	}
}

/* ---- names ---- */

static struct list *name_bucket(const struct pub_node *dir, const char *name)
{
	uint64_t h = 1469598103934665603ull ^ dir->ino;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 1099511628211ull;
	return &dir->tree->by_name[(h ^ h >> 32) % PUB_BUCKETS];
}

struct pub_node *pub_child(struct pub_node *dir, const char *name)
{
	list_foreach(n, name_bucket(dir, name), struct pub_node, by_name) {
		if (n->parent == dir && !strcmp(n->name, name))
			return n;
	}
	return NULL;
}

void pub_lose_name(struct pub_node *n)
{
	struct pub_node *parent = n->parent;

	if (!parent)
		return;
	list_remove(&n->by_name);
	free(n->name);
	n->name = NULL;
	n->parent = NULL;
	pub_unref(parent);
}

void pub_move(struct pub_node *n, struct pub_node *dir, const char *name)
{
	struct pub_node *old = pub_child(dir, name);

	if (old == n)
		return;
	pub_ref(n);
	if (old)
		pub_lose_name(old);
	pub_lose_name(n);
	n->name = mem_strdup(name);
	n->parent = dir;
	pub_ref(dir);
	list_push_back(name_bucket(dir, name), &n->by_name);
	pub_unref(n);
}

static struct pub_node *node_new(struct pub_tree *t, uint64_t ino,
				 const struct stat *st)
{
	struct pub_node *n = mem_alloc(sizeof(*n));

	n->tree = t;
	n->ino = ino;
	n->dev = st->st_dev;
	n->backing = st->st_ino;
	n->type = st->st_mode & S_IFMT;
	n->seen.size = -1;
	n->gone_fd = -1;
	list_init(&n->by_name);
	list_init(&n->handles);
	list_init(&n->jobs);
	list_init(&n->turn);
	list_push_back(&t->by_ino[ino % PUB_BUCKETS], &n->by_ino);
	t->num++;
	return n;
}

struct pub_node *pub_found(struct pub_node *dir, const char *name,
			   const struct stat *st)
{
	struct pub_tree *t = dir->tree;
	struct pub_node *n;
	uint64_t ino = free_number(t, st, &n);

	if (!n) {
		n = node_new(t, ino, st);
	} else if (n->type != (st->st_mode & S_IFMT) ||
		   (!n->name && list_is_empty(&n->handles) && n->gone_fd < 0)) {
		/* The backing number was used again for another file. */
		n->generation++;
		n->type = st->st_mode & S_IFMT;
		n->seen.size = -1;
	}
	pub_ref(n);
	if (!n->name || n->parent != dir || strcmp(n->name, name) != 0)
		pub_move(n, dir, name);
	return n;
}

char *pub_path(const struct pub_node *n)
{
	const struct pub_node *root = n->tree->root;
	size_t len = 0;
	char *path, *at;

	for (const struct pub_node *k = n; k != root; k = k->parent) {
		if (!k->parent)
			return NULL;
		len += strlen(k->name) + 1;
	}
	path = mem_alloc(len + 1);
	at = path + (len ? len - 1 : 0);
	for (const struct pub_node *k = n; k != root; k = k->parent) {
		size_t part = strlen(k->name);

		at -= part;
		memcpy(at, k->name, part);
		if (at > path)
			*--at = '/';
	}
	return path;
}

/* ---- life ---- */

void pub_ref(struct pub_node *n)
{
	n->refs++;
}

static void end_if_unused(struct pub_node *n)
{
	struct pub_node *parent = n->parent;

	if (n->refs || n->nlookup || n == n->tree->root)
		return;
	n->parent = NULL;
	node_free(n);
	if (parent)
		pub_unref(parent);
}

void pub_unref(struct pub_node *n)
{
	CHECK(n->refs);
	n->refs--;
	end_if_unused(n);
}

void pub_forget(struct pub_node *n, uint64_t nlookup)
{
	n->nlookup -= nlookup < n->nlookup ? nlookup : n->nlookup;
	end_if_unused(n);
}
