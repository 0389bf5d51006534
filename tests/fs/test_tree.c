/* Goal: inode numbers and nodes depend on the metainfo alone, and no path,
 * however hostile, makes a node that is not a plain name in a folder. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "fs/tree.h"

/* A metainfo of files called PATHS, each 10 bytes; borrowed strings. */
struct made {
	struct metainfo mi;
	struct metainfo_file files[64];
};

static void make(struct made *m, const char *const *paths, uint32_t n)
{
	memset(m, 0, sizeof(*m));
	m->mi.name = (char *)(uintptr_t) "top";
	m->mi.is_multi = true;
	m->mi.files = m->files;
	m->mi.num_files = n;
	for (uint32_t i = 0; i < n; i++) {
		m->files[i].path = (char *)(uintptr_t)paths[i];
		m->files[i].offset = i * 10;
		m->files[i].length = 10;
	}
}

static uint32_t walk(const struct tree *t, const char *path)
{
	uint32_t node = TREE_ROOT;

	while (*path && node != TREE_NONE) {
		size_t n = strcspn(path, "/");

		node = tree_is_dir(t, node) ? tree_lookup(t, node, path, n)
					    : TREE_NONE;
		path += n + (path[n] == '/');
	}
	return node;
}

/* What must hold of every tree. */
static void check_tree(const struct tree *t)
{
	for (uint32_t i = 0; i < t->num_nodes; i++) {
		const struct tree_node *n = &t->nodes[i];
		uint32_t folders = 0;

		if (i) {
			assert_true(n->parent < i);
			assert_true(tree_is_dir(t, n->parent));
			assert_true(n->name_len > 0 && n->name_len <= 255);
			assert_null(memchr(n->name, '/', n->name_len));
			assert_int_equal(
				tree_lookup(t, n->parent, n->name, n->name_len),
				i);
			assert_false(n->name[0] == '.' &&
				     (n->name_len == 1 ||
				      (n->name_len == 2 && n->name[1] == '.')));
		}
		for (uint32_t k = 0; k < n->num_children; k++) {
			uint32_t c = tree_child(t, i, k);

			assert_int_equal(t->nodes[c].parent, i);
			folders += tree_is_dir(t, c);
		}
		assert_int_equal(folders, n->num_folders);
		assert_int_equal(tree_child(t, i, n->num_children), TREE_NONE);
	}
}

static void test_ino__packs_and_splits(void **state)
{
	enum ino_kind kind;
	int64_t id;
	uint32_t node;

	assert_int_equal(ino_make(INO_FIXED, 0, INO_ROOT), 1);
	assert_true(ino_split(ino_make(INO_CONTENT, INO_ID_MAX, 77), &kind, &id,
			      &node));
	assert_int_equal(kind, INO_CONTENT);
	assert_int_equal(id, INO_ID_MAX);
	assert_int_equal(node, 77);
	assert_false(ino_split(0, &kind, &id, &node));
	assert_false(ino_split(UINT64_MAX, &kind, &id, &node));
	/* a torrent's kind without a torrent, a fixed one with */
	assert_false(ino_split(ino_make(INO_CONTENT, 0, 1), &kind, &id, &node));
	assert_false(ino_split(ino_make(INO_FIXED, 5, 1), &kind, &id, &node));
}

static void test_tree__folders_links_and_order(void **state)
{
	static const char *const paths[] = { "b/x", "a/2", "a-b", "a/1/deep",
					     "c" };
	struct made m;
	struct tree *t;
	uint32_t a;

	make(&m, paths, ARRAY_LEN(paths));
	t = tree_new(&m.mi);
	check_tree(t);
	assert_int_equal(t->num_nodes, 1 + 5 + 3);
	assert_int_equal(t->nodes[TREE_ROOT].num_children, 4);
	assert_int_equal(t->nodes[TREE_ROOT].num_folders, 2);
	a = walk(t, "a");
	assert_true(tree_is_dir(t, a));
	assert_int_equal(t->nodes[a].num_folders, 1);
	assert_int_equal(t->nodes[walk(t, "a/1/deep")].file, 3);
	assert_int_equal(t->nodes[walk(t, "a-b")].file, 2);
	assert_int_equal(walk(t, "a/3"), TREE_NONE);
	assert_int_equal(walk(t, "a/1/deep/er"), TREE_NONE);
	tree_free(t);
}

static void test_tree__same_numbers_whatever_the_order(void **state)
{
	const char *paths[] = { "a/1", "a/2", "b", "c/d/e", "c/d/f", "z" };
	struct made m, shuffled;
	struct tree *t, *u;

	make(&m, paths, ARRAY_LEN(paths));
	t = tree_new(&m.mi);
	for (uint32_t i = 0; i < 3; i++) {
		const char *swap = paths[i];

		paths[i] = paths[5 - i];
		paths[5 - i] = swap;
	}
	make(&shuffled, paths, ARRAY_LEN(paths));
	u = tree_new(&shuffled.mi);
	for (uint32_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_int_equal(walk(t, paths[i]), walk(u, paths[i]));
	tree_free(t);
	tree_free(u);
}

static void test_tree__hides_pads(void **state)
{
	static const char *const paths[] = { "a", ".pad/7", "b" };
	struct made m;
	struct tree *t;

	make(&m, paths, ARRAY_LEN(paths));
	m.files[1].flags = FILE_PAD;
	t = tree_new(&m.mi);
	check_tree(t);
	assert_int_equal(t->nodes[TREE_ROOT].num_children, 2);
	assert_int_equal(walk(t, ".pad"), TREE_NONE);
	tree_free(t);
}

static void test_tree__single_file_is_the_root(void **state)
{
	static const char *const paths[] = { "top" };
	struct made m;
	struct tree *t;

	make(&m, paths, 1);
	m.mi.is_multi = false;
	t = tree_new(&m.mi);
	assert_int_equal(t->num_nodes, 1);
	assert_false(tree_is_dir(t, TREE_ROOT));
	assert_int_equal(tree_file(t, TREE_ROOT)->length, 10);
	tree_free(t);
}

static void test_tree__leaves_out_unfit_paths(void **state)
{
	static char name[300], deep[400];
	const char *const paths[] = {
		"good", "",       ".",      "..",  "../up",     "a/../../b",
		"/abs", "a//b",   "tail/",  "./x", name,        deep,
		"good", "good/x", "dir/in", "dir", "dir/in/no",
	};
	struct made m;
	struct tree *t;

	memset(name, 'n', sizeof(name) - 1);
	for (size_t i = 0; i + 2 < sizeof(deep); i += 2)
		memcpy(deep + i, "d/", 2);
	deep[sizeof(deep) - 2] = 'd';
	make(&m, paths, ARRAY_LEN(paths));
	t = tree_new(&m.mi);
	check_tree(t);
	/* of "dir" and "dir/in" the file wins: it sorts first */
	assert_false(tree_is_dir(t, walk(t, "dir")));
	assert_int_equal(t->nodes[TREE_ROOT].num_children, 2);
	assert_int_equal(t->num_skipped, 15);
	tree_free(t);
}

struct sum {
	uint64_t bytes;
	unsigned files;
};

static void add(void *arg, const struct metainfo_file *f)
{
	struct sum *s = arg;

	s->bytes += f->length;
	s->files++;
}

static void test_tree__visits_each_file_once(void **state)
{
	static const char *const paths[] = { "a/1", "a/b/2", "a/b/3", "c",
					     "a/z" };
	struct made m;
	struct tree *t;
	struct sum all = { 0 }, some = { 0 }, one = { 0 };

	make(&m, paths, ARRAY_LEN(paths));
	t = tree_new(&m.mi);
	tree_each_file(t, TREE_ROOT, add, &all);
	tree_each_file(t, walk(t, "a/b"), add, &some);
	tree_each_file(t, walk(t, "c"), add, &one);
	assert_int_equal(all.files, 5);
	assert_int_equal(all.bytes, 50);
	assert_int_equal(some.files, 2);
	assert_int_equal(one.files, 1);
	tree_free(t);
}

static void test_tree__random_paths_keep_the_rules(void **state)
{
	static const char letters[] = "ab./-";
	static char text[64][24];
	const char *paths[64];
	struct prng prng = { 7 };
	struct made m;

	for (int round = 0; round < 300; round++) {
		struct tree *t;

		for (uint32_t i = 0; i < 64; i++) {
			uint32_t n = prng_below(&prng, 9);

			for (uint32_t k = 0; k < n; k++)
				text[i][k] = letters[prng_below(&prng, 5)];
			text[i][n] = '\0';
			paths[i] = text[i];
		}
		make(&m, paths, 64);
		t = tree_new(&m.mi);
		check_tree(t);
		tree_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ino__packs_and_splits),
		cmocka_unit_test(test_tree__folders_links_and_order),
		cmocka_unit_test(test_tree__same_numbers_whatever_the_order),
		cmocka_unit_test(test_tree__hides_pads),
		cmocka_unit_test(test_tree__single_file_is_the_root),
		cmocka_unit_test(test_tree__leaves_out_unfit_paths),
		cmocka_unit_test(test_tree__visits_each_file_once),
		cmocka_unit_test(test_tree__random_paths_keep_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
