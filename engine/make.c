/* Whatever rule the torrent would break is told before hours of hashing:
 * make_info_check(). Then each piece is hashed once, for v1 and v2 together. */
#include "engine/make.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/make_info.h"
#include "engine/make_private.h"
#include "engine/make_scan.h"
#include "engine/merkle.h"

/* Below these sizes the piece length is that. */
static const struct {
	uint64_t below;
	uint32_t piece_length;
} piece_lengths[] = {
	{ 64ull << 20, 256u << 10 },
	{ 16ull << 30, 1u << 20 },
};

#define PIECE_LENGTH_ABOVE (4u << 20)

struct make {
	const struct make_options *options; /* borrowed */
	struct make_scan scan;
	char *name; /* owned */
	struct make_info info;
	struct make_info_file *files; /* owned; those of the scan */
	struct layout layout;
	/* Of each piece; owned; NULL: that part is not asked for. */
	uint8_t *pieces, *nodes;
	uint8_t *roots; /* owned; of each file longer than a piece */
	char *why;      /* borrowed */
};

uint32_t make_piece_length(uint64_t total)
{
	uint32_t n = PIECE_LENGTH_ABOVE;

	for (size_t i = 0; i < ARRAY_LEN(piece_lengths); i++)
		if (total < piece_lengths[i].below)
			return piece_lengths[i].piece_length;
	while (n < LIMIT_PIECE_LENGTH && total / n >= MAKE_PIECES_AIM)
		n *= 2;
	return n;
}

bool make_is_left_out(const char *name)
{
	static const char *const names[] = { "CVS", "core", "Thumbs.db",
					     "desktop.ini" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return *name == '.';
}

static bool is_no_name(const char *s)
{
	return !*s || !strcmp(s, ".") || !strcmp(s, "..") || strchr(s, '/');
}

/* The last element of SRC; what "." and "x/.." stand for is looked up. */
static int find_name(struct make *m, const char *src)
{
	char *path = mem_strdup(src), *slash;
	size_t len = strlen(path);

	if (m->options->name) {
		free(path);
		m->name = mem_strdup(m->options->name);
		if (is_no_name(m->name))
			return make_fail(
				m->why, -EINVAL,
				"the name must be one element of a path");
		return 0;
	}
	for (int tries = 0; tries < 2 && !m->name; tries++) {
		while (len > 1 && path[len - 1] == '/')
			path[--len] = '\0';
		slash = strrchr(path, '/');
		if (!is_no_name(slash ? slash + 1 : path)) {
			m->name = mem_strdup(slash ? slash + 1 : path);
			break;
		}
		free(path);
		path = realpath(src, NULL);
		if (!path)
			return make_fail(m->why, -errno, "%s: %s", src,
					 strerrordesc_np(errno));
		len = strlen(path);
	}
	free(path);
	return m->name ? 0
		       : make_fail(m->why, -EINVAL,
				   "%s: give it a name, it has none", src);
}

/* --- before hashing --- */

/* Tells of names that no client will use as they are, ours included: such a
 * file is not found again by who wants to seed it. */
static void warn_of_names(struct make *m, const struct metainfo *mi)
{
	const struct make_options *o = m->options;
	uint32_t k = 0;

	if (!o->warn)
		return;
	if (strcmp(mi->name, m->name))
		o->warn(o->arg, m->name,
			"is no safe name: others will see another one, and it "
			"cannot be seeded from here until it is renamed");
	for (uint32_t i = 0; m->scan.is_dir && i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		if (strcmp(mi->files[i].path, m->scan.files[k].path))
			o->warn(o->arg, m->scan.files[k].path,
				"is no safe name: others will see another one, "
				"and it cannot be seeded from here until it is "
				"renamed");
		k++;
	}
	if (m->scan.is_dir && !mi->is_multi)
		o->warn(o->arg, m->name,
			"holds only a file of its own name: in a v2 torrent "
			"that is the same as the file alone");
}

static void set_info(struct make *m)
{
	const struct make_scan *s = &m->scan;
	uint32_t n = m->options->piece_length;

	m->files = mem_alloc_array(s->num_files, sizeof(*m->files));
	for (uint32_t i = 0; i < s->num_files; i++)
		m->files[i] = (struct make_info_file){
			.path = s->files[i].path,
			.length = s->files[i].length,
			.is_exec = s->files[i].is_exec,
		};
	m->info = (struct make_info){
		.name = m->name,
		.is_folder = s->is_dir,
		.files = m->files,
		.num_files = s->num_files,
		.piece_length = n ? n : make_piece_length(s->total),
		.options = m->options,
	};
}

static int prepare(struct make *m)
{
	struct metainfo *mi;
	int r;

	if (!m->scan.total)
		return make_fail(m->why, -EBADMSG,
				 "there is nothing in it to hash");
	set_info(m);
	r = make_info_check(&m->info, &mi, m->why);
	if (r < 0)
		return r;
	m->layout = mi->layout;
	warn_of_names(m, mi);
	metainfo_free(mi);
	make_scan_place(&m->scan, m->info.piece_length);
	if (m->options->kind != MAKE_V2)
		m->pieces = mem_try(m->layout.num_pieces, SHA1_LEN);
	if (m->options->kind != MAKE_V1)
		m->nodes = mem_try(m->layout.num_pieces, SHA256_LEN);
	if ((!m->pieces && m->options->kind != MAKE_V2) ||
	    (!m->nodes && m->options->kind != MAKE_V1))
		return make_fail(m->why, -ENOMEM, "out of memory");
	return 0;
}

/* --- hashing --- */

static int read_bytes(void *arg, unsigned thread, uint64_t off, void *out,
		      size_t len)
{
	struct make *m = arg;

	return make_scan_read(&m->scan, thread, off, out, len);
}

static struct piecehash_part part_of(void *arg, uint32_t piece)
{
	const struct make *m = arg;
	uint32_t n = m->layout.piece_length;
	uint64_t off = layout_piece_start(&m->layout, piece), left;
	const struct make_file *f;

	if (m->options->kind == MAKE_V1)
		return (struct piecehash_part){ .bytes = layout_piece_size(
							&m->layout, piece) };
	f = &m->scan.files[make_scan_file_at(&m->scan, off)];
	left = f->offset + f->length - off;
	return (struct piecehash_part){ .bytes = left < n ? (uint32_t)left : n,
					.is_longer_file = f->length > n };
}

static int take_hash(void *arg, uint32_t piece, int r,
		     const struct piecehash_result *result)
{
	struct make *m = arg;

	if (!r && m->pieces)
		memcpy(m->pieces + (size_t)piece * SHA1_LEN, result->sha1,
		       SHA1_LEN);
	if (!r && m->nodes)
		memcpy(m->nodes + (size_t)piece * SHA256_LEN, result->node,
		       SHA256_LEN);
	return r;
}

static bool show_progress(void *arg, uint64_t bytes)
{
	struct make *m = arg;
	const struct make_options *o = m->options;

	return !o->progress || o->progress(o->arg, bytes, m->layout.total);
}

static int hash_files(struct make *m)
{
	const struct piecehash job = {
		.layout = m->layout,
		.has_v1 = m->pieces,
		.has_v2 = m->nodes,
		.threads = m->options->threads,
		.read = read_bytes,
		.part = part_of,
		.piece = take_hash,
		.progress = show_progress,
		.arg = m,
	};
	int r = piecehash_run(&job);

	if (r == -ECANCELED)
		return make_fail(m->why, r, "canceled");
	if (r == -EAGAIN)
		return make_fail(m->why, r, "no thread can be started");
	return r < 0 ? r : make_scan_check(&m->scan);
}

/* Roots and layers of the files from the nodes of their pieces, which lie side
 * by side. */
static void set_hashes(struct make *m)
{
	uint32_t n = m->layout.piece_length;
	unsigned height;

	m->info.pieces = m->pieces;
	if (!m->nodes)
		return;
	height = merkle_piece_height(n);
	m->roots = mem_alloc_array(m->scan.num_files, SHA256_LEN);
	for (uint32_t i = 0; i < m->scan.num_files; i++) {
		struct make_info_file *f = &m->files[i];
		uint64_t off = m->scan.files[i].offset;
		uint8_t *root = m->roots + (size_t)i * SHA256_LEN;

		if (!f->length)
			continue;
		f->root = f->layer = m->nodes + off / n * SHA256_LEN;
		if (f->length <= n)
			continue;
		merkle_root(f->layer, (size_t)((f->length + n - 1) / n), height,
			    root);
		f->root = root;
	}
}

/* --- all of it --- */

static int make_it(struct make *m, const char *src, struct metainfo **out)
{
	int r = make_options_check(m->options, m->why);

	if (!r)
		r = find_name(m, src);
	if (!r)
		r = make_scan_start(&m->scan);
	if (!r)
		r = prepare(m);
	if (!r)
		r = hash_files(m);
	if (r < 0)
		return r;
	set_hashes(m);
	return make_info_assemble(&m->info, out, m->why);
}

int make_torrent(const char *src, const struct make_options *options,
		 struct metainfo **out, char why[MAKE_WHY_SIZE])
{
	struct make m = { .options = options, .why = why };
	int r;

	*out = NULL;
	*why = '\0';
	make_scan_init(&m.scan, src, options, why);
	r = make_it(&m, src, out);
	make_scan_release(&m.scan);
	free(m.files);
	free(m.pieces);
	free(m.nodes);
	free(m.roots);
	free(m.name);
	return r;
}
