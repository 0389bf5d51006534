/* The info dict is written first and by itself, for its hash may name trackers
 * that stand before it in the .torrent. The result goes through our own
 * parser, which knows every rule: what it takes, others take. */
#include "engine/make_info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "engine/make_private.h"

struct writing {
	const struct make_info *in; /* borrowed */
	enum make_kind kind;
	bool is_draft; /* hashes are not there yet */
	struct buf info, torrent;
	char *why; /* borrowed */
};

static bool has_v1(const struct writing *w)
{
	return w->kind != MAKE_V2;
}

static bool has_v2(const struct writing *w)
{
	return w->kind != MAKE_V1;
}

/* --- order and pads --- */

/* A '/' ends an element, so it comes before every other byte. */
static int rank(const char *s)
{
	return *s == '/' ? 1 : *s ? (unsigned char)*s + 1 : 0;
}

int make_info_compare(enum make_kind kind, const char *a, const char *b)
{
	if (kind == MAKE_V1)
		return strcmp(a, b);
	for (; *a && *a == *b; a++, b++)
		continue;
	return rank(a) - rank(b);
}

uint32_t make_info_pad(enum make_kind kind, uint32_t num_files, uint64_t length,
		       uint32_t piece_length)
{
	uint32_t over = (uint32_t)(length % piece_length);

	return kind == MAKE_HYBRID && num_files > 1 && over
		       ? piece_length - over
		       : 0;
}

static int check_order(struct writing *w)
{
	const struct make_info_file *f = w->in->files;

	for (uint32_t i = 1; i < w->in->num_files; i++)
		if (make_info_compare(w->kind, f[i - 1].path, f[i].path) >= 0)
			return make_fail(w->why, -EINVAL,
					 "%s and %s are out of order",
					 f[i - 1].path, f[i].path);
	return 0;
}

/* The bytes of all files, with pads. */
static int add_up(struct writing *w, uint64_t *total)
{
	const struct make_info *in = w->in;

	*total = 0;
	for (uint32_t i = 0; i < in->num_files; i++) {
		uint64_t n = in->files[i].length;

		if (n > LIMIT_TORRENT_BYTES)
			return make_fail(w->why, -E2BIG, "too many bytes");
		*total += n + make_info_pad(w->kind, in->num_files, n,
					    in->piece_length);
		if (*total > LIMIT_TORRENT_BYTES)
			return make_fail(w->why, -E2BIG, "too many bytes");
	}
	if (!*total)
		return make_fail(w->why, -EBADMSG,
				 "there is nothing in it to hash");
	return 0;
}

/* --- the info dict --- */

static void write_attr(const struct make_info_file *f, struct buf *b)
{
	if (!f->is_exec)
		return;
	benc_cstr(b, "attr");
	benc_cstr(b, "x");
}

static void write_path(struct buf *b, const char *path)
{
	const char *slash;

	benc_cstr(b, "path");
	benc_list(b);
	for (; (slash = strchr(path, '/')); path = slash + 1)
		benc_str(b, path, (size_t)(slash - path));
	benc_cstr(b, path);
	benc_end(b);
}

static void write_pad(struct buf *b, uint32_t length)
{
	char *path = mem_printf(".pad/%u", length);

	benc_dict(b);
	benc_cstr(b, "attr");
	benc_cstr(b, "p");
	benc_cstr(b, "length");
	benc_int(b, length);
	write_path(b, path);
	benc_end(b);
	free(path);
}

static void write_files(struct writing *w)
{
	const struct make_info *in = w->in;
	struct buf *b = &w->info;

	benc_cstr(b, "files");
	benc_list(b);
	for (uint32_t i = 0; i < in->num_files; i++) {
		const struct make_info_file *f = &in->files[i];
		uint32_t pad = make_info_pad(w->kind, in->num_files, f->length,
					     in->piece_length);

		benc_dict(b);
		write_attr(f, b);
		benc_cstr(b, "length");
		benc_int(b, (int64_t)f->length);
		write_path(b, f->path);
		benc_end(b);
		if (pad)
			write_pad(b, pad);
	}
	benc_end(b);
}

/* No hash of a draft is zero: BEP 52 has no such root. */
static void write_root(struct writing *w, const struct make_info_file *f)
{
	uint8_t draft[SHA256_LEN];

	memset(draft, 0xff, sizeof(draft));
	benc_cstr(&w->info, "pieces root");
	benc_str(&w->info, w->is_draft ? draft : f->root, SHA256_LEN);
}

static void write_leaf(struct writing *w, const char *name, size_t len,
		       const struct make_info_file *f)
{
	struct buf *b = &w->info;

	benc_str(b, name, len);
	benc_dict(b);
	benc_cstr(b, "");
	benc_dict(b);
	write_attr(f, b);
	benc_cstr(b, "length");
	benc_int(b, (int64_t)f->length);
	if (f->length)
		write_root(w, f);
	benc_end(b);
	benc_end(b);
}

/* The length of what both paths begin with, whole folders alone. */
static size_t common_folders(const char *a, const char *b)
{
	size_t common = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			common = i + 1;
	return common;
}

static void close_folders(struct buf *b, const char *path)
{
	for (; (path = strchr(path, '/')); path++)
		benc_end(b);
}

/* The files come in the tree's own order: so a folder is opened once. */
static void write_tree(struct writing *w)
{
	const struct make_info *in = w->in;
	struct buf *b = &w->info;
	const char *last = "", *at, *slash;

	benc_cstr(b, "file tree");
	benc_dict(b);
	for (uint32_t i = 0; i < in->num_files; i++) {
		size_t common;

		at = in->is_folder ? in->files[i].path : in->name;
		common = common_folders(last, at);
		close_folders(b, last + common);
		last = at;
		for (at += common; (slash = strchr(at, '/')); at = slash + 1) {
			benc_str(b, at, (size_t)(slash - at));
			benc_dict(b);
		}
		write_leaf(w, at, strlen(at), &in->files[i]);
	}
	close_folders(b, last);
	benc_end(b);
}

/* Room for HASHES bytes of hashes. */
static int write_pieces(struct writing *w, uint64_t hashes)
{
	struct buf *b = &w->info;
	uint8_t *room;

	benc_cstr(b, "pieces");
	buf_printf(b, "%zu:", (size_t)hashes);
	room = buf_reserve(b, (size_t)hashes);
	if (!room)
		return make_fail(w->why, -ENOMEM, "out of memory");
	if (w->is_draft)
		memset(room, 0, (size_t)hashes);
	else
		memcpy(room, w->in->pieces, (size_t)hashes);
	b->len += (size_t)hashes;
	return 0;
}

static int write_info(struct writing *w, uint64_t num_pieces)
{
	const struct make_info *in = w->in;
	const struct make_options *o = in->options;
	struct buf *b = &w->info;
	int r = 0;

	benc_dict(b); /* keys in the order of their bytes */
	if (!in->is_folder && has_v1(w))
		write_attr(in->files, b);
	if (has_v2(w))
		write_tree(w);
	if (has_v1(w) && in->is_folder)
		write_files(w);
	if (has_v1(w) && !in->is_folder) {
		benc_cstr(b, "length");
		benc_int(b, (int64_t)in->files->length);
	}
	if (has_v2(w)) {
		benc_cstr(b, "meta version");
		benc_int(b, 2);
	}
	benc_cstr(b, "name");
	benc_cstr(b, in->name);
	benc_cstr(b, "piece length");
	benc_int(b, in->piece_length);
	if (has_v1(w))
		r = write_pieces(w, num_pieces * SHA1_LEN);
	if (r < 0)
		return r;
	if (o->is_private) {
		benc_cstr(b, "private");
		benc_int(b, 1);
	}
	if (o->source && *o->source) {
		benc_cstr(b, "source");
		benc_cstr(b, o->source);
	}
	benc_end(b);
	return b->is_broken ? make_fail(w->why, -ENOMEM, "out of memory") : 0;
}

/* --- the rest --- */

static struct infohash infohash_of(const struct writing *w)
{
	struct infohash2 h2;
	struct infohash h;

	if (has_v1(w)) {
		sha1(w->info.ptr, w->info.len, h.b);
		return h;
	}
	sha256(w->info.ptr, w->info.len, h2.b);
	return infohash2_truncate(&h2);
}

static bool has_layer(const struct writing *w, const struct make_info_file *f)
{
	return f->length > w->in->piece_length;
}

static size_t layer_bytes(const struct writing *w,
			  const struct make_info_file *f)
{
	uint32_t n = w->in->piece_length;

	return (size_t)((f->length + n - 1) / n) * SHA256_LEN;
}

static int root_compare(const void *a, const void *b)
{
	const struct make_info_file *const *fa = a, *const *fb = b;

	return memcmp((*fa)->root, (*fb)->root, SHA256_LEN);
}

/* "piece layers" is there even when no file has one, as libtorrent has it. Two
 * files of the same bytes share theirs. */
static int write_layers(struct writing *w)
{
	const struct make_info *in = w->in;
	const struct make_info_file **list, *last = NULL;
	struct buf *b = &w->torrent;
	size_t num = 0;

	list = mem_try(in->num_files, sizeof(struct make_info_file *));
	if (!list)
		return make_fail(w->why, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < in->num_files && !w->is_draft; i++)
		if (has_layer(w, &in->files[i]))
			list[num++] = &in->files[i];
	if (num)
		qsort(list, num, sizeof(struct make_info_file *), root_compare);
	benc_cstr(b, "piece layers");
	benc_dict(b);
	for (size_t i = 0; i < num; last = list[i++]) {
		if (last && !memcmp(last->root, list[i]->root, SHA256_LEN))
			continue;
		benc_str(b, list[i]->root, SHA256_LEN);
		benc_str(b, list[i]->layer, layer_bytes(w, list[i]));
	}
	benc_end(b);
	free(list);
	return 0;
}

static int write_torrent(struct writing *w)
{
	const struct make_options *o = w->in->options;
	struct infohash infohash = infohash_of(w);
	struct buf *b = &w->torrent;
	int r = 0;

	benc_dict(b);
	make_options_write_head(o, &infohash, b);
	benc_cstr(b, "info");
	buf_add(b, w->info.ptr, w->info.len);
	make_options_write_nodes(o, b);
	if (has_v2(w))
		r = write_layers(w);
	make_options_write_webseeds(o, b);
	benc_end(b);
	if (!r && b->is_broken)
		r = make_fail(w->why, -ENOMEM, "out of memory");
	return r;
}

/* What is written may be too large for others, or, a draft, become so. */
static int check_sizes(struct writing *w)
{
	uint64_t bytes = w->torrent.len;

	for (uint32_t i = 0; i < w->in->num_files && w->is_draft; i++)
		if (has_v2(w) && has_layer(w, &w->in->files[i]))
			bytes += layer_bytes(w, &w->in->files[i]);
	if (w->info.len > LIMIT_METADATA_BYTES ||
	    bytes > LIMIT_TORRENT_FILE_BYTES)
		return make_fail(w->why, -E2BIG,
				 "too many files and pieces for others to "
				 "accept: the piece length must be larger, or "
				 "there must be fewer files");
	return 0;
}

static int write_all(struct writing *w)
{
	uint32_t n = w->in->piece_length;
	uint64_t total = 0, pieces;
	int r;

	CHECK(n >= MAKE_PIECE_LENGTH_MIN && !(n & (n - 1)));
	r = make_options_check(w->in->options, w->why);
	if (!r && w->in->is_folder)
		r = check_order(w);
	if (!r)
		r = add_up(w, &total);
	if (r < 0)
		return r;
	pieces = total / n + (total % n != 0);
	if (pieces > LIMIT_PIECES)
		return make_fail(w->why, -E2BIG,
				 "more than %u pieces: the piece length must "
				 "be larger",
				 LIMIT_PIECES);
	r = write_info(w, pieces);
	if (!r)
		r = write_torrent(w);
	return r < 0 ? r : check_sizes(w);
}

static int make_it(const struct make_info *in, bool is_draft,
		   struct metainfo **out, char *why)
{
	struct writing w = {
		.in = in,
		.kind = in->options->kind,
		.is_draft = is_draft,
		.why = why,
	};
	char rule[METAINFO_WHY_SIZE];
	int r;

	*why = '\0';
	*out = NULL;
	buf_init(&w.info, 0);
	buf_init(&w.torrent, 0);
	r = write_all(&w);
	if (!r) {
		r = metainfo_parse(w.torrent.ptr, w.torrent.len, out, rule);
		if (r < 0)
			make_fail(why, r, "it would be no valid torrent: %s",
				  rule);
	}
	buf_release(&w.info);
	buf_release(&w.torrent);
	return r;
}

int make_info_check(const struct make_info *in, struct metainfo **out,
		    char why[MAKE_WHY_SIZE])
{
	struct metainfo *mi;
	int r = make_it(in, true, &mi, why);

	if (out)
		*out = mi;
	else
		metainfo_free(mi);
	return r;
}

int make_info_assemble(const struct make_info *in, struct metainfo **out,
		       char why[MAKE_WHY_SIZE])
{
	return make_it(in, false, out, why);
}
