/* BEP 52: a tree of files, each with a hash tree of its own and each starting
 * at a piece boundary.
 *
 * The order of the keys in the file tree is the order of the files, so there,
 * and only there, unsorted keys are refused. Piece layers that are missing
 * are no fault: peers have them, as with a magnet link. Those that are there
 * must fold to the roots. */
#include "engine/metainfo_parser.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/merkle.h"

static int read_root(struct metainfo_parser *p, struct metainfo_file *f,
		     struct bnode dict)
{
	static const uint8_t zero[sizeof(f->pieces_root)];
	struct span root;

	if (f->flags & FILE_PAD)
		return metainfo_refuse(p, -EBADMSG,
				       "file %" PRIu32 " of the file tree is a "
				       "pad: v2 has none",
				       p->v2.num);
	if (!f->length)
		return 0; /* BEP 52: an empty file has no root */
	if (!bnode_get_str(dict, "pieces root", &root) ||
	    root.len != sizeof(f->pieces_root))
		return metainfo_refuse(p, -EBADMSG,
				       "file %" PRIu32 " of the file tree has "
				       "no \"pieces root\" of 32 bytes",
				       p->v2.num);
	if (!memcmp(root.ptr, zero, sizeof(zero)))
		return metainfo_refuse(p, -EBADMSG,
				       "file %" PRIu32 " of the file tree has "
				       "a \"pieces root\" of zeros",
				       p->v2.num);
	memcpy(f->pieces_root, root.ptr, root.len);
	f->has_root = true;
	return 0;
}

/* An open folder of the file tree. */
struct folder {
	struct bwalk w;
	struct span last;               /* key before, to check the order */
	struct metainfo_path_mark mark; /* the path of the folder itself */
};

static bool is_after(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int c = len ? memcmp(a.ptr, b.ptr, len) : 0;

	return c > 0 || (!c && a.len > b.len);
}

/* A file is a dictionary whose one key is "". Bytes are looked at, for to walk
 * is to skip all that lies below, at each level of a deep tree once more. */
static bool is_file(struct bnode node)
{
	return node.end - node.ptr > 3 && !memcmp(node.ptr, "d0:", 3);
}

static int add_leaf(struct metainfo_parser *p, struct bnode node)
{
	struct bnode dict = bnode_get(node, "");
	struct metainfo_file *f;
	int r;

	if (bnode_count(node) != 1 || !bnode_is_dict(dict))
		return metainfo_refuse(p, -EBADMSG,
				       "file %" PRIu32 " of the file tree is "
				       "malformed",
				       p->v2.num + 1);
	r = metainfo_file_add(p, &p->v2, dict, &f);
	return r < 0 ? r : read_root(p, f, dict);
}

/* One entry of the folder at the top of the stack; *level moves when the entry
 * is a folder or there is none left. */
static int tree_step(struct metainfo_parser *p, struct folder *stack,
		     int *level)
{
	struct folder *at = &stack[*level];
	struct bnode node;
	struct span key;
	int r;

	metainfo_path_back(p, at->mark);
	if (!bwalk_next(&at->w, &key, &node)) {
		--*level;
		return 0;
	}
	if (!key.len || !bnode_is_dict(node))
		return metainfo_refuse(p, -EBADMSG, "the file tree has %s",
				       key.len ? "an entry that is no "
						 "dictionary"
					       : "an empty file name");
	if (at->last.ptr && !is_after(key, at->last))
		return metainfo_refuse(p, -EBADMSG,
				       "the file tree is not sorted");
	at->last = key;
	r = metainfo_path_add(p, key);
	if (r < 0)
		return r;
	if (is_file(node))
		return add_leaf(p, node);
	if (*level + 1 == LIMIT_BENCODE_DEPTH) /* bencode_parse sees to it */
		return metainfo_refuse(p, -E2BIG, "the file tree is too deep");
	stack[++*level] = (struct folder){ .w = bwalk_of(node),
					   .mark = metainfo_path_mark(p) };
	return 0;
}

int metainfo_v2_parse(struct metainfo_parser *p)
{
	struct bnode tree = bnode_get_dict(p->info, "file tree");
	struct folder stack[LIMIT_BENCODE_DEPTH];
	int level = 0, r = 0;

	if (!tree.ptr)
		return metainfo_refuse(p, -EBADMSG,
				       "\"file tree\" is missing or not a "
				       "dictionary");
	metainfo_path_start(p);
	p->end = 0;
	stack[0] = (struct folder){ .w = bwalk_of(tree),
				    .mark = metainfo_path_mark(p) };
	while (level >= 0 && !r)
		r = tree_step(p, stack, &level);
	return r;
}

static int match_file(struct metainfo_parser *p, struct metainfo_file *f1,
		      const struct metainfo_file *f2)
{
	if (f1->length != f2->length || strcmp(f1->path, f2->path) ||
	    strcmp(f1->origpath, f2->origpath) ||
	    !f1->symlink != !f2->symlink ||
	    (f1->symlink && strcmp(f1->symlink, f2->symlink)))
		return metainfo_refuse(p, -EBADMSG,
				       "the v1 and v2 parts list different "
				       "files");
	if (f1->length && f1->offset % p->mi->layout.piece_length)
		return metainfo_refuse(p, -EBADMSG,
				       "a file of a hybrid torrent does not "
				       "start at a piece boundary");
	f1->has_root = f2->has_root;
	memcpy(f1->pieces_root, f2->pieces_root, sizeof(f1->pieces_root));
	return 0;
}

int metainfo_v2_match(struct metainfo_parser *p)
{
	uint32_t i, k = 0;
	int r;

	for (i = 0; i < p->v1.num; i++) {
		if (p->v1.at[i].flags & FILE_PAD)
			continue;
		if (k == p->v2.num)
			break;
		r = match_file(p, &p->v1.at[i], &p->v2.at[k++]);
		if (r < 0)
			return r;
	}
	if (i < p->v1.num || k < p->v2.num)
		return metainfo_refuse(p, -EBADMSG,
				       "the v1 and v2 parts list different "
				       "numbers of files");
	return 0;
}

static int place_pad(struct metainfo_parser *p, struct metainfo_files *l,
		     uint64_t *end)
{
	uint32_t piece_length = p->mi->layout.piece_length;
	uint32_t over = (uint32_t)(*end % piece_length);
	struct metainfo_file *pad;

	if (!over)
		return 0;
	pad = metainfo_files_add(l);
	if (!pad)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	pad->flags = FILE_PAD;
	pad->offset = *end;
	pad->length = piece_length - over;
	pad->path = mem_printf(".pad/%" PRIu64, pad->length);
	pad->origpath = mem_strdup(pad->path);
	*end += pad->length; /* below LIMIT_TORRENT_BYTES plus a piece each */
	return 0;
}

int metainfo_v2_place(struct metainfo_parser *p)
{
	struct metainfo_files placed = { 0 };
	struct metainfo_file *f;
	uint64_t end = 0;
	int r = 0;

	/* At most a pad before each; what is not used costs no memory. */
	placed.cap = 2 * p->v2.num;
	placed.at = mem_try(placed.cap, sizeof(*placed.at));
	if (!placed.at)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < p->v2.num && !r; i++) {
		if (p->v2.at[i].length)
			r = place_pad(p, &placed, &end);
		f = r ? NULL : metainfo_files_add(&placed);
		if (!f) {
			r = metainfo_refuse(p, -ENOMEM, "out of memory");
			break;
		}
		*f = p->v2.at[i];
		memset(&p->v2.at[i], 0, sizeof(p->v2.at[i]));
		f->offset = end;
		end += f->length;
	}
	metainfo_files_release(&p->v2);
	p->v2 = placed;
	return r < 0 ? r : metainfo_set_layout(p, end);
}

/* One entry of "piece layers". */
struct layer {
	const uint8_t *root; /* its key */
	struct span nodes;
	bool is_known;   /* some file has that root */
	size_t verified; /* with that many nodes; 0: not yet */
};

static int layer_compare(const void *a, const void *b)
{
	const struct layer *la = a, *lb = b;

	return memcmp(la->root, lb->root, SHA256_LEN);
}

static int read_layers(struct metainfo_parser *p, struct bnode dict,
		       struct layer *layers)
{
	struct bwalk w = bwalk_of(dict);
	struct bnode value;
	struct span key, nodes;
	size_t i = 0;

	while (bwalk_next(&w, &key, &value)) {
		if (key.len != SHA256_LEN)
			return metainfo_refuse(p, -EBADMSG,
					       "\"piece layers\" has a key of "
					       "%zu bytes: must be 32",
					       key.len);
		if (!bnode_str(value, &nodes) || !nodes.len ||
		    nodes.len % SHA256_LEN)
			return metainfo_refuse(p, -EBADMSG,
					       "a piece layer is not a string "
					       "of hashes of 32 bytes");
		layers[i++] = (struct layer){ .root = key.ptr, .nodes = nodes };
	}
	return 0;
}

static int check_layer(struct metainfo_parser *p, struct layer *layer,
		       uint64_t file_length)
{
	uint32_t piece_length = p->mi->layout.piece_length;
	uint64_t want = (file_length + piece_length - 1) / piece_length;
	size_t count = layer->nodes.len / SHA256_LEN;
	uint8_t root[SHA256_LEN];

	layer->is_known = true;
	if (count != want)
		return metainfo_refuse(p, -EBADMSG,
				       "a piece layer has %zu hashes: its file "
				       "has %" PRIu64 " pieces",
				       count, want);
	if (layer->verified == count)
		return 0;
	merkle_root(layer->nodes.ptr, count, merkle_piece_height(piece_length),
		    root);
	if (memcmp(root, layer->root, sizeof(root)))
		return metainfo_refuse(p, -EBADMSG,
				       "a piece layer does not hash to its "
				       "file's \"pieces root\"");
	layer->verified = count;
	return 0;
}

static int check_layers(struct metainfo_parser *p, struct layer *layers,
			size_t count)
{
	struct layer wanted, *found;
	int r;

	qsort(layers, count, sizeof(*layers), layer_compare);
	for (uint32_t i = 0; i < p->v2.num; i++) {
		if (!p->v2.at[i].has_root)
			continue;
		wanted.root = p->v2.at[i].pieces_root;
		found = bsearch(&wanted, layers, count, sizeof(*layers),
				layer_compare);
		if (!found)
			continue;
		r = check_layer(p, found, p->v2.at[i].length);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < count; i++)
		if (!layers[i].is_known)
			return metainfo_refuse(p, -EBADMSG,
					       "\"piece layers\" has an entry "
					       "that no file asks for");
	return 0;
}

int metainfo_v2_check_layers(struct metainfo_parser *p)
{
	struct bnode dict = bnode_get(p->root, "piece layers");
	size_t count = bnode_count(dict);
	struct layer *layers;
	int r;

	if (!dict.ptr)
		return 0;
	if (!bnode_is_dict(dict))
		return metainfo_refuse(p, -EBADMSG,
				       "\"piece layers\" is not a dictionary");
	layers = mem_try(count, sizeof(*layers));
	if (!layers)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	r = read_layers(p, dict, layers);
	if (!r)
		r = check_layers(p, layers, count);
	if (!r)
		p->mi->piece_layers = bnode_raw(dict);
	free(layers);
	return r;
}
