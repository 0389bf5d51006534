/* What is done to a name from a torrent:
 *
 * - '/' and '\' vanish, so that no element can hold a second one;
 * - characters that nobody sees or that turn text around (zero width, bidi
 *   controls, byte order mark) vanish, so that a name shows what it is;
 * - control characters, line separators and every run of bytes that is not
 *   UTF-8 become one '_' each;
 * - "", "." and ".." are dropped, before and after all that; an element of
 *   which else nothing is left becomes "_";
 * - what is longer than LIMIT_NAME_BYTES loses the end of its stem and keeps
 *   its extension.
 *
 * Uniqueness is decided in a tree of names: a node is known by its parent and
 * one element, so that the work is linear in the bytes of all paths however
 * deep they are. The hash is keyed: who forges names cannot aim at a bucket. */
#include "engine/names.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define EXTENSION_MAX 16         /* bytes, with its dot */
#define SUFFIX_SIZE   16         /* room for ".N" */
#define CODE_INVALID  UINT32_MAX /* not UTF-8 */
#define NODE_NONE     UINT32_MAX

static size_t utf8_announced(uint8_t lead)
{
	if (lead < 0xc0)
		return 1;
	if (lead < 0xe0)
		return 2;
	if (lead < 0xf0)
		return 3;
	if (lead < 0xf8)
		return 4;
	if (lead < 0xfc)
		return 5; /* no UTF-8, but one broken character to a person */
	return lead < 0xfe ? 6 : 1;
}

/* Bytes taken at P (at least one); *code may be CODE_INVALID. */
static size_t utf8_next(const uint8_t *p, size_t len, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t want = utf8_announced(p[0]), got = 1;
	uint32_t c = want == 1 ? p[0] : p[0] & (0x7fu >> want);

	while (got < want && got < len && (p[got] & 0xc0) == 0x80)
		c = c << 6 | (p[got++] & 0x3f);
	*code = c;
	if (got < want || want > 4 || c < least[want] || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff) || (want == 1 && p[0] >= 0x80))
		*code = CODE_INVALID;
	return got;
}

static bool is_unseen(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0x00ad, 0x00ad }, /* soft hyphen */
		{ 0x061c, 0x061c }, /* Arabic letter mark */
		{ 0x180e, 0x180e }, /* Mongolian vowel separator */
		{ 0x200b, 0x200f }, /* zero width; left and right marks */
		{ 0x202a, 0x202e }, /* embeddings and overrides */
		{ 0x2060, 0x206f }, /* word joiner, isolates, invisible signs */
		{ 0xfeff, 0xfeff }, /* byte order mark */
		{ 0xfff9, 0xfffb }, /* interlinear annotation */
	};

	if (c < ranges[0].first)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 ||
	       c == 0x2029;
}

/* Where the extension of a name starts, or LEN: "a.txt" 1, ".profile" 8. */
static size_t extension_at(const uint8_t *name, size_t len)
{
	for (size_t i = len; i > 1 && len - i < EXTENSION_MAX; i--)
		if (name[i - 1] == '.')
			return i - 1;
	return len;
}

/* The longest length <= MAX at which the valid UTF-8 NAME may be cut. */
static size_t utf8_cut(const uint8_t *name, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max && (name[max] & 0xc0) == 0x80)
		max--;
	return max;
}

/* Shortens the name at NAME in place; returns its new length. */
static size_t cut_stem(uint8_t *name, size_t len)
{
	size_t ext = extension_at(name, len);
	size_t stem = utf8_cut(name, ext, LIMIT_NAME_BYTES - (len - ext));

	memmove(name + stem, name + ext, len - ext);
	return stem + len - ext;
}

static bool is_dots(const uint8_t *s, size_t len)
{
	return len <= 2 && (len < 1 || s[0] == '.') && (len < 2 || s[1] == '.');
}

bool names_add_element(struct buf *path, const uint8_t *bytes, size_t len)
{
	size_t before = path->len, start, step, added;
	uint32_t code;

	if (is_dots(bytes, len))
		return false;
	if (path->len)
		buf_add(path, "/", 1);
	start = path->len;
	for (size_t i = 0; i < len; i += step) {
		step = utf8_next(bytes + i, len - i, &code);
		if (code == CODE_INVALID || is_control(code))
			buf_add(path, "_", 1);
		else if (code != '/' && code != '\\' && !is_unseen(code))
			buf_add(path, bytes + i, step);
	}
	if (path->is_broken)
		return false;
	added = path->len - start;
	if (!added)
		buf_add(path, "_", 1);
	else if (is_dots(path->ptr + start, added))
		path->len = before;
	else if (added > LIMIT_NAME_BYTES)
		path->len = start + cut_stem(path->ptr + start, added);
	return path->len > before;
}

/* A folder or a file; its name is PATHS[file] + off, which holds over renames
 * of that file, since only last elements are renamed. */
struct node {
	uint32_t parent; /* NODE_NONE: the root of the torrent */
	uint32_t file;
	uint32_t hash;
	uint16_t off, len;   /* LIMIT_PATH_BYTES fits */
	uint8_t next_suffix; /* the next to try for a file of this name */
	bool is_dir;
};

struct tree {
	char **paths; /* borrowed */
	uint64_t key[2];
	struct node *nodes; /* owned */
	uint32_t *slots;    /* owned; node index + 1, 0: free */
	uint32_t num, mask; /* nodes; slots - 1 */
};

static_assert(LIMIT_PATH_BYTES + SUFFIX_SIZE <= UINT16_MAX, "offsets fit");
static_assert(LIMIT_DUPLICATE_NAMES <= UINT8_MAX, "suffixes fit");

static uint64_t rotate(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein 2012) of PARENT and NAME. */
static uint32_t tree_hash(const struct tree *t, uint32_t parent,
			  const char *name, size_t len)
{
	uint64_t v[4] = { t->key[0] ^ 0x736f6d6570736575,
			  t->key[1] ^ 0x646f72616e646f6d,
			  t->key[0] ^ 0x6c7967656e657261,
			  t->key[1] ^ 0x7465646279746573 };
	uint64_t word = parent | (uint64_t)len << 32;
	size_t i = 0;

	for (;;) {
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
		if (i >= len)
			break;
		word = 0;
		memcpy(&word, name + i, len - i < 8 ? len - i : 8);
		i += 8;
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static bool tree_is_at(const struct tree *t, uint32_t i, uint32_t hash,
		       uint32_t parent, const char *name, size_t len)
{
	const struct node *n = &t->nodes[i];

	return n->hash == hash && n->parent == parent && n->len == len &&
	       !memcmp(t->paths[n->file] + n->off, name, len);
}

static struct node *tree_find(const struct tree *t, uint32_t parent,
			      const char *name, size_t len)
{
	uint32_t hash = tree_hash(t, parent, name, len);

	for (uint32_t s = hash & t->mask; t->slots[s]; s = (s + 1) & t->mask)
		if (tree_is_at(t, t->slots[s] - 1, hash, parent, name, len))
			return &t->nodes[t->slots[s] - 1];
	return NULL;
}

static void tree_place(struct tree *t, uint32_t i)
{
	uint32_t s = t->nodes[i].hash & t->mask;

	while (t->slots[s])
		s = (s + 1) & t->mask;
	t->slots[s] = i + 1;
}

/* At most half full, so that searches stay short. */
static int tree_grow(struct tree *t)
{
	uint32_t slots = t->slots ? (t->mask + 1) * 2 : 64;
	uint32_t *new_slots = mem_try(slots, sizeof(*new_slots));
	struct node *nodes;

	if (!new_slots)
		return -ENOMEM;
	nodes = reallocarray(t->nodes, slots / 2, sizeof(*nodes));
	if (!nodes) {
		free(new_slots);
		return -ENOMEM;
	}
	free(t->slots);
	t->nodes = nodes;
	t->slots = new_slots;
	t->mask = slots - 1;
	for (uint32_t i = 0; i < t->num; i++)
		tree_place(t, i);
	return 0;
}

/* Adds what tree_find did not find: an element of PATHS[file]. */
static int tree_add(struct tree *t, uint32_t parent, size_t file, size_t off,
		    size_t len, bool is_dir)
{
	struct node *n;

	if (!t->slots || t->num == (t->mask + 1) / 2) {
		int r = tree_grow(t);

		if (r < 0)
			return r;
	}
	n = &t->nodes[t->num];
	n->parent = parent;
	n->file = (uint32_t)file;
	n->hash = tree_hash(t, parent, t->paths[file] + off, len);
	n->off = (uint16_t)off;
	n->len = (uint16_t)len;
	n->next_suffix = 1;
	n->is_dir = is_dir;
	tree_place(t, t->num++);
	return 0;
}

static size_t leaf_at(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Adds the folders of PATHS[file]; *out: the one it lies in. */
static int tree_add_dirs(struct tree *t, size_t file, uint32_t *out)
{
	const char *path = t->paths[file], *slash;
	size_t off = 0;
	int r;

	*out = NODE_NONE;
	while ((slash = strchr(path + off, '/'))) {
		size_t len = (size_t)(slash - path) - off;
		struct node *n = tree_find(t, *out, path + off, len);

		if (n) {
			*out = (uint32_t)(n - t->nodes);
		} else {
			r = tree_add(t, *out, file, off, len, true);
			if (r < 0)
				return r;
			*out = t->num - 1;
		}
		off += len + 1;
	}
	return 0;
}

/* "DIR/STEM.N.EXT" in place of "DIR/STEM.EXT", the element not too long. */
static char *suffixed(const char *path, unsigned n)
{
	size_t dir = leaf_at(path), len = strlen(path + dir);
	const uint8_t *leaf = (const uint8_t *)path + dir;
	size_t ext = extension_at(leaf, len), stem;
	char suffix[SUFFIX_SIZE];
	int suffix_len = snprintf(suffix, sizeof(suffix), ".%u", n);

	stem = utf8_cut(leaf, ext,
			LIMIT_NAME_BYTES - (len - ext) - (size_t)suffix_len);
	return mem_printf("%.*s%s%s", (int)(dir + stem), path, suffix,
			  path + dir + ext);
}

/* Renames PATHS[file], whose name TAKEN has, and adds it. */
static int tree_add_renamed(struct tree *t, uint32_t parent, size_t file,
			    uint32_t taken)
{
	size_t off = leaf_at(t->paths[file]);

	while (t->nodes[taken].next_suffix < LIMIT_DUPLICATE_NAMES) {
		unsigned n = t->nodes[taken].next_suffix++;
		char *path = suffixed(t->paths[file], n);

		if (tree_find(t, parent, path + off, strlen(path + off))) {
			free(path);
			continue;
		}
		free(t->paths[file]);
		t->paths[file] = path;
		return tree_add(t, parent, file, off, strlen(path + off),
				false);
	}
	return -E2BIG;
}

static int tree_add_file(struct tree *t, uint32_t parent, size_t file)
{
	const char *path = t->paths[file];
	size_t off = leaf_at(path), len = strlen(path + off);
	const struct node *n = tree_find(t, parent, path + off, len);

	if (!n)
		return tree_add(t, parent, file, off, len, false);
	return tree_add_renamed(t, parent, file, (uint32_t)(n - t->nodes));
}

/* True when A and B lie in the same folder, as neighbours mostly do. */
static bool is_same_dir(const char *a, const char *b)
{
	size_t off = leaf_at(a);

	return off == leaf_at(b) && !memcmp(a, b, off);
}

int names_make_unique(char **paths, size_t count, const uint8_t seed[16],
		      size_t *culprit)
{
	struct tree t = { .paths = paths };
	uint32_t *dirs = mem_try(count, sizeof(*dirs)); /* of each file */
	size_t i, last = SIZE_MAX;
	int r = -ENOMEM;

	*culprit = 0;
	t.key[0] = load_be64(seed);
	t.key[1] = load_be64(seed + 8);
	if (!dirs || tree_grow(&t) < 0)
		goto out;
	/* All folders first: a folder never gives way to a file. */
	for (i = 0; i < count; i++) {
		if (!paths[i])
			continue;
		if (last != SIZE_MAX && is_same_dir(paths[last], paths[i])) {
			dirs[i] = dirs[last];
		} else {
			r = tree_add_dirs(&t, i, &dirs[i]);
			if (r < 0)
				goto out;
		}
		last = i;
	}
	for (i = 0; i < count; i++) {
		if (!paths[i])
			continue;
		r = tree_add_file(&t, dirs[i], i);
		if (r < 0) {
			*culprit = i;
			goto out;
		}
	}
	r = 0;
out:
	free(dirs);
	free(t.nodes);
	free(t.slots);
	return r;
}
