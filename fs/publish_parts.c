#include "fs/publish_parts.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/make_info.h"

struct part {
	char *path; /* owned */
	uint64_t length;
	bool is_exec;
	uint32_t num_pieces;
	uint8_t *sha1; /* owned; of its pieces */
	uint8_t padded[SHA1_LEN];
	uint8_t root[SHA256_LEN];
	struct buf layer;
};

struct publish_parts {
	bool is_folder;
	uint32_t piece_length;
	struct part *parts; /* owned */
	size_t num, cap;
	struct publish_options options; /* owned */
};

static char *copy(const char *text)
{
	return text ? mem_strdup(text) : NULL;
}

static char **join(char *const *a, size_t n, char *const *b, size_t m)
{
	char **all = mem_alloc_array(n + m + 1, sizeof(*all));

	for (size_t i = 0; i < n + m; i++)
		all[i] = mem_strdup(i < n ? a[i] : b[i - n]);
	return all;
}

struct publish_parts *publish_parts_new(bool is_folder, uint32_t piece_length,
					const struct publish_options *o,
					char *const *more, size_t num)
{
	struct publish_parts *p = mem_alloc(sizeof(*p));

	p->is_folder = is_folder;
	p->piece_length = piece_length;
	p->options.trackers = join(o->trackers, o->num_trackers, more, num);
	p->options.num_trackers = o->num_trackers + num;
	p->options.webseeds = join(o->webseeds, o->num_webseeds, NULL, 0);
	p->options.num_webseeds = o->num_webseeds;
	p->options.comment = copy(o->comment);
	p->options.source = copy(o->source);
	p->options.is_private = o->is_private;
	return p;
}

void publish_parts_add_webseed(struct publish_parts *p, const char *url)
{
	struct publish_options *o = &p->options;

	o->webseeds = mem_realloc_array(o->webseeds, o->num_webseeds + 1,
					sizeof(*o->webseeds));
	o->webseeds[o->num_webseeds++] = mem_strdup(url);
}

void publish_parts_free(struct publish_parts *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->num; i++) {
		free(p->parts[i].path);
		free(p->parts[i].sha1);
		buf_release(&p->parts[i].layer);
	}
	free(p->parts);
	publish_options_release(&p->options);
	free(p);
}

void publish_parts_add(struct publish_parts *p, const char *path, bool is_exec,
		       const struct filehash *file)
{
	struct part *part;

	CHECK(filehash_is_whole(file) && file->piece_length == p->piece_length);
	if (p->num == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->parts =
			mem_realloc_array(p->parts, p->cap, sizeof(*p->parts));
	}
	part = &p->parts[p->num++];
	memset(part, 0, sizeof(*part));
	part->path = mem_strdup(path);
	part->length = file->size;
	part->is_exec = is_exec;
	part->num_pieces = file->num_pieces;
	buf_init(&part->layer, 0);
	if (!file->size)
		return;
	part->sha1 = mem_dup(file->sha1, (size_t)file->num_pieces * SHA1_LEN);
	memcpy(part->padded, file->padded, SHA1_LEN);
	filehash_root(file, part->root);
	filehash_layer(file, &part->layer);
}

static int by_order(const void *a, const void *b)
{
	return make_info_compare(MAKE_HYBRID, ((const struct part *)a)->path,
				 ((const struct part *)b)->path);
}

/* The SHA-1 of all pieces, one file after the other. */
static uint8_t *gather_pieces(const struct publish_parts *p)
{
	size_t n = 0, at = 0;
	uint8_t *all;

	for (size_t i = 0; i < p->num; i++)
		n += p->parts[i].num_pieces;
	all = mem_alloc_array(n + 1, SHA1_LEN);
	for (size_t i = 0; i < p->num; i++) {
		const struct part *f = &p->parts[i];

		if (!f->num_pieces)
			continue;
		memcpy(all + at * SHA1_LEN, f->sha1,
		       (size_t)f->num_pieces * SHA1_LEN);
		at += f->num_pieces;
		if (make_info_pad(MAKE_HYBRID, (uint32_t)p->num, f->length,
				  p->piece_length))
			memcpy(all + (at - 1) * SHA1_LEN, f->padded, SHA1_LEN);
	}
	return all;
}

static struct make_info_file *list_files(const struct publish_parts *p)
{
	struct make_info_file *files =
		mem_alloc_array(p->num + 1, sizeof(*files));

	for (size_t i = 0; i < p->num; i++) {
		const struct part *f = &p->parts[i];

		files[i].path = f->path;
		files[i].length = f->length;
		files[i].is_exec = f->is_exec;
		files[i].root = f->length ? f->root : NULL;
		files[i].layer = f->layer.ptr;
	}
	return files;
}

int publish_parts_assemble(struct publish_parts *p, const char *name,
			   struct metainfo **out, char why[MAKE_WHY_SIZE])
{
	const struct publish_options *o = &p->options;
	const struct make_options options = {
		.kind = MAKE_HYBRID,
		.is_private = o->is_private,
		.source = o->source,
		.comment = o->comment,
		.created_by = "weirfs/" WEIRFS_VERSION,
		.trackers = (const char *const *)o->trackers,
		.num_trackers = o->num_trackers,
		.webseeds = (const char *const *)o->webseeds,
		.num_webseeds = o->num_webseeds,
	};
	struct make_info info = {
		.name = name,
		.is_folder = p->is_folder,
		.num_files = (uint32_t)p->num,
		.piece_length = p->piece_length,
		.options = &options,
	};
	struct make_info_file *files;
	uint8_t *pieces;
	int r;

	if (p->is_folder && p->num)
		qsort(p->parts, p->num, sizeof(*p->parts), by_order);
	files = list_files(p);
	pieces = gather_pieces(p);
	info.files = files;
	info.pieces = pieces;
	r = make_info_assemble(&info, out, why);
	free(files);
	free(pieces);
	return r;
}
