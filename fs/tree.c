/* How nodes are numbered: files sorted by path with '/' below every other
 * byte, so that a folder's files stand together; then folder before content,
 * in that order. The same metainfo gives the same numbers for ever.
 *
 * metainfo.c has made the names safe and unique. This file relies on that for
 * nothing but beauty: a path that is still unfit is left out and counted. */
#include "fs/tree.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

uint64_t ino_make(enum ino_kind kind, int64_t id, uint32_t node)
{
	return (uint64_t)kind << (INO_ID_BITS + INO_NODE_BITS) |
	       (uint64_t)id << INO_NODE_BITS | node;
}

bool ino_split(uint64_t ino, enum ino_kind *kind, int64_t *id, uint32_t *node)
{
	uint64_t k = ino >> (INO_ID_BITS + INO_NODE_BITS);

	*kind = (enum ino_kind)k;
	*id = (int64_t)(ino >> INO_NODE_BITS & (uint64_t)INO_ID_MAX);
	*node = (uint32_t)(ino & ((1u << INO_NODE_BITS) - 1));
	return k < INO_KIND_COUNT && ino != 0 &&
	       (k == INO_PUBLISH || (k == INO_FIXED) == !*id);
}

/* ---- building ---- */

/* One folder on the way down to the path in hand. */
struct level {
	uint32_t node;
	uint32_t last_child; /* TREE_NONE: none yet */
};

struct builder {
	struct tree *tree;
	size_t cap;
	struct level levels[LIMIT_PATH_DEPTH + 1]; /* [0]: the root */
	bool is_broken;                            /* no memory */
};

static unsigned path_byte(char c)
{
	return c == '/' ? 1 : c ? (unsigned)(unsigned char)c + 1 : 0;
}

static int compare_paths(const void *a, const void *b, void *arg)
{
	const struct metainfo *mi = arg;
	uint32_t fa = *(const uint32_t *)a, fb = *(const uint32_t *)b;
	const char *pa = mi->files[fa].path, *pb = mi->files[fb].path;

	while (*pa && *pa == *pb) {
		pa++;
		pb++;
	}
	if (path_byte(*pa) != path_byte(*pb))
		return path_byte(*pa) < path_byte(*pb) ? -1 : 1;
	return fa < fb ? -1 : fa > fb;
}

/* Every component is a name: not empty, not "." or "..", not too long. */
static bool path_is_fit(const char *path)
{
	unsigned depth = 0;

	for (;;) {
		size_t n = strcspn(path, "/");

		if (!n || n > 255 || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		if (!path[n])
			return true;
		if (++depth > LIMIT_PATH_DEPTH)
			return false;
		path += n + 1;
	}
}

static uint32_t add_node(struct builder *b, uint32_t parent, uint32_t file,
			 const char *name, size_t len)
{
	struct tree *t = b->tree;
	struct tree_node *n;

	if (t->num_nodes == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 16;

		n = cap >> INO_NODE_BITS
			    ? NULL
			    : reallocarray(t->nodes, cap, sizeof(*n));
		if (!n) {
			b->is_broken = true;
			return TREE_NONE;
		}
		t->nodes = n;
		b->cap = cap;
	}
	n = &t->nodes[t->num_nodes];
	memset(n, 0, sizeof(*n));
	n->parent = parent;
	n->file = file;
	n->name = name;
	n->name_len = (uint32_t)len;
	if (t->num_nodes) {
		t->nodes[parent].num_children++;
		t->nodes[parent].num_folders += file == TREE_DIR;
	}
	return t->num_nodes++;
}

static bool is_named(const struct tree *t, uint32_t node, const char *name,
		     size_t len)
{
	const struct tree_node *n = node == TREE_NONE ? NULL : &t->nodes[node];

	return n && n->name_len == len && !memcmp(n->name, name, len);
}

/* Makes the folder on top of the levels, or goes back into the one that the
 * path before this made. False: a file has that name. */
static bool enter(struct builder *b, unsigned at, const char *name, size_t len)
{
	struct level *up = &b->levels[at];

	if (is_named(b->tree, up->last_child, name, len))
		return tree_is_dir(b->tree, up->last_child);
	up->last_child = add_node(b, up->node, TREE_DIR, name, len);
	b->levels[at + 1].node = up->last_child;
	b->levels[at + 1].last_child = TREE_NONE;
	return !b->is_broken;
}

static bool add_file(struct builder *b, uint32_t file)
{
	const char *path = b->tree->mi->files[file].path;
	unsigned at = 0;
	size_t n;

	if (!path_is_fit(path))
		return false;
	for (; path[n = strcspn(path, "/")]; path += n + 1) {
		if (!enter(b, at++, path, n))
			return false;
	}
	if (is_named(b->tree, b->levels[at].last_child, path, n))
		return false;
	b->levels[at].last_child =
		add_node(b, b->levels[at].node, file, path, n);
	return !b->is_broken;
}

static bool number_children(struct tree *t)
{
	uint32_t next = 0;

	t->children = mem_try(t->num_nodes, sizeof(*t->children));
	if (!t->children)
		return false;
	for (uint32_t i = 0; i < t->num_nodes; i++) {
		t->nodes[i].first_child = next;
		next += t->nodes[i].num_children;
		t->nodes[i].num_children = 0; /* counted up again below */
	}
	for (uint32_t i = 1; i < t->num_nodes; i++) {
		struct tree_node *up = &t->nodes[t->nodes[i].parent];

		t->children[up->first_child + up->num_children++] = i;
	}
	return true;
}

static bool build_folder(struct builder *b)
{
	const struct metainfo *mi = b->tree->mi;
	uint32_t *order = mem_try(mi->num_files, sizeof(*order)), n = 0;
	bool is_sorted = true;

	if (!order)
		return false;
	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		order[n++] = i;
		if (n > 1 && compare_paths(&order[n - 2], &order[n - 1],
					   (void *)(uintptr_t)mi) > 0)
			is_sorted = false;
	}
	if (!is_sorted)
		qsort_r(order, n, sizeof(*order), compare_paths,
			(void *)(uintptr_t)mi);
	b->levels[0].node =
		add_node(b, TREE_ROOT, TREE_DIR, mi->name, strlen(mi->name));
	b->levels[0].last_child = TREE_NONE;
	for (uint32_t i = 0; i < n && !b->is_broken; i++) {
		if (!add_file(b, order[i]))
			b->tree->num_skipped++;
	}
	free(order);
	return !b->is_broken;
}

static bool build_file(struct builder *b)
{
	const struct metainfo *mi = b->tree->mi;
	uint32_t i = 0;

	while (i < mi->num_files && mi->files[i].flags & FILE_PAD)
		i++;
	if (i == mi->num_files)
		return false;
	add_node(b, TREE_ROOT, i, mi->name, strlen(mi->name));
	return !b->is_broken;
}

struct tree *tree_new(const struct metainfo *mi)
{
	struct builder b = { .tree = mem_alloc(sizeof(struct tree)) };

	b.tree->mi = mi;
	if ((mi->is_multi ? build_folder(&b) : build_file(&b)) &&
	    number_children(b.tree))
		return b.tree;
	tree_free(b.tree);
	return NULL;
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	free(t->nodes);
	free(t->children);
	free(t);
}

/* ---- walking ---- */

uint32_t tree_child(const struct tree *t, uint32_t dir, uint64_t i)
{
	const struct tree_node *d = &t->nodes[dir];

	return i < d->num_children ? t->children[d->first_child + i]
				   : TREE_NONE;
}

static int compare_name(const struct tree_node *n, const char *name, size_t len)
{
	size_t least = n->name_len < len ? n->name_len : len;
	int c = memcmp(n->name, name, least);

	return c ? c : (n->name_len > len) - (n->name_len < len);
}

uint32_t tree_lookup(const struct tree *t, uint32_t dir, const char *name,
		     size_t len)
{
	uint32_t low = 0, high = t->nodes[dir].num_children;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		uint32_t child = tree_child(t, dir, mid);
		int c = compare_name(&t->nodes[child], name, len);

		if (!c)
			return child;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return TREE_NONE;
}

/* Nodes below a folder have numbers that follow its own without a gap. */
void tree_each_file(const struct tree *t, uint32_t node,
		    void (*fn)(void *arg, const struct metainfo_file *file),
		    void *arg)
{
	uint32_t depth_end = node;

	while (t->nodes[depth_end].num_children)
		depth_end = tree_child(t, depth_end,
				       t->nodes[depth_end].num_children - 1);
	for (uint32_t i = node; i <= depth_end; i++) {
		if (!tree_is_dir(t, i))
			fn(arg, tree_file(t, i));
	}
}
