#include "engine/make_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/check.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "engine/safeurl.h"

struct part {
	char *path; /* owned */
	uint64_t length;
	bool is_exec;
	uint32_t num_pieces;
	uint8_t *sha1;    /* owned; of its pieces, as they are in a folder */
	struct buf layer; /* of BEP 52; empty if one piece says it all */
	uint8_t root[SHA256_LEN];
};

struct urls {
	char **items; /* owned */
	size_t num;
};

struct make_parts {
	bool is_folder, is_private;
	uint32_t piece_length;
	struct part *parts; /* owned */
	size_t num, cap;
	struct urls trackers, webseeds;
	char *comment, *source, *created_by; /* owned; or NULL */
};

/* ---- gathering ---- */

struct make_parts *make_parts_new(bool is_folder, uint32_t piece_length)
{
	struct make_parts *p = mem_alloc(sizeof(*p));

	p->is_folder = is_folder;
	p->piece_length = piece_length;
	return p;
}

static void urls_free(struct urls *u)
{
	for (size_t i = 0; i < u->num; i++)
		free(u->items[i]);
	free(u->items);
}

void make_parts_free(struct make_parts *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->num; i++) {
		free(p->parts[i].path);
		free(p->parts[i].sha1);
		buf_release(&p->parts[i].layer);
	}
	free(p->parts);
	urls_free(&p->trackers);
	urls_free(&p->webseeds);
	free(p->comment);
	free(p->source);
	free(p->created_by);
	free(p);
}

void make_parts_add(struct make_parts *p, const char *path, bool is_exec,
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
	if (p->is_folder && file->size % p->piece_length)
		memcpy(part->sha1 + (size_t)(file->num_pieces - 1) * SHA1_LEN,
		       file->padded, SHA1_LEN);
	filehash_root(file, part->root);
	filehash_layer(file, &part->layer);
}

static void add_url(struct urls *u, const char *url)
{
	u->items = mem_realloc_array(u->items, u->num + 1, sizeof(*u->items));
	u->items[u->num++] = mem_strdup(url);
}

void make_parts_add_tracker(struct make_parts *p, const char *url)
{
	add_url(&p->trackers, url);
}

void make_parts_add_webseed(struct make_parts *p, const char *url)
{
	add_url(&p->webseeds, url);
}

void make_parts_set_private(struct make_parts *p)
{
	p->is_private = true;
}

void make_parts_set_texts(struct make_parts *p, const char *comment,
			  const char *source, const char *created_by)
{
	p->comment = comment ? mem_strdup(comment) : NULL;
	p->source = source ? mem_strdup(source) : NULL;
	p->created_by = created_by ? mem_strdup(created_by) : NULL;
}

/* ---- the info dict ---- */

/* Element by element: a slash comes before every other byte. */
static int by_tree(const void *a, const void *b)
{
	const uint8_t *x = (const uint8_t *)((const struct part *)a)->path;
	const uint8_t *y = (const uint8_t *)((const struct part *)b)->path;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	if (*x == *y)
		return 0;
	if (*x == '/' || *y == '/') /* the end comes before even that */
		return *x == '/' ? (*y ? -1 : 1) : (*x ? 1 : -1);
	return *x < *y ? -1 : 1;
}

static uint64_t pad_after(const struct make_parts *p, const struct part *f)
{
	uint64_t tail = f->length % p->piece_length;

	return p->is_folder && tail ? p->piece_length - tail : 0;
}

static void write_attr(struct buf *b, const struct part *f)
{
	if (!f->is_exec)
		return;
	benc_cstr(b, "attr");
	benc_cstr(b, "x");
}

static void write_path(struct buf *b, const char *path)
{
	benc_cstr(b, "path");
	benc_list(b);
	for (size_t n; *path; path += n + (path[n] == '/')) {
		n = strcspn(path, "/");
		benc_str(b, path, n);
	}
	benc_end(b);
}

static void write_files(struct buf *b, const struct make_parts *p)
{
	char name[32];

	benc_cstr(b, "files");
	benc_list(b);
	for (size_t i = 0; i < p->num; i++) {
		const struct part *f = &p->parts[i];
		uint64_t pad = pad_after(p, f);

		benc_dict(b);
		write_attr(b, f);
		benc_cstr(b, "length");
		benc_int(b, (int64_t)f->length);
		write_path(b, f->path);
		benc_end(b);
		if (!pad)
			continue;
		snprintf(name, sizeof(name), ".pad/%llu",
			 (unsigned long long)pad);
		benc_dict(b);
		benc_cstr(b, "attr");
		benc_cstr(b, "p");
		benc_cstr(b, "length");
		benc_int(b, (int64_t)pad);
		write_path(b, name);
		benc_end(b);
	}
	benc_end(b);
}

static void write_leaf(struct buf *b, const struct part *f)
{
	benc_dict(b);
	benc_cstr(b, "");
	benc_dict(b);
	write_attr(b, f);
	benc_cstr(b, "length");
	benc_int(b, (int64_t)f->length);
	if (f->length) {
		benc_cstr(b, "pieces root");
		benc_str(b, f->root, sizeof(f->root));
	}
	benc_end(b);
	benc_end(b);
}

/* Bytes of the folders that A and B share, with the slash behind them. */
static size_t shared_folders(const char *a, const char *b)
{
	size_t shared = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '/')
			shared = i + 1;
	}
	return shared;
}

/* The paths come in the order of the tree: leave the folders that the next one
 * is not in, enter those that are new. */
static void write_tree(struct buf *b, const struct make_parts *p)
{
	const char *before = "";
	unsigned depth = 0;

	benc_cstr(b, "file tree");
	benc_dict(b);
	for (size_t i = 0; i < p->num; i++) {
		const char *path = p->parts[i].path;
		size_t at = shared_folders(before, path), n;
		unsigned keep = 0;

		for (size_t k = 0; k < at; k++)
			keep += path[k] == '/';
		for (; depth > keep; depth--)
			benc_end(b);
		for (; path[at + (n = strcspn(path + at, "/"))]; at += n + 1) {
			benc_str(b, path + at, n);
			benc_dict(b);
			depth++;
		}
		benc_cstr(b, path + at);
		write_leaf(b, &p->parts[i]);
		before = path;
	}
	for (; depth; depth--)
		benc_end(b);
	benc_end(b);
}

static void write_single(struct buf *b, const struct make_parts *p,
			 const char *name)
{
	benc_cstr(b, "file tree");
	benc_dict(b);
	benc_cstr(b, name);
	write_leaf(b, &p->parts[0]);
	benc_end(b);
}

static void write_pieces(struct buf *b, const struct make_parts *p)
{
	size_t pieces = 0;

	for (size_t i = 0; i < p->num; i++)
		pieces += p->parts[i].num_pieces;
	benc_cstr(b, "pieces");
	buf_printf(b, "%zu:", pieces * SHA1_LEN);
	for (size_t i = 0; i < p->num; i++)
		buf_add(b, p->parts[i].sha1,
			(size_t)p->parts[i].num_pieces * SHA1_LEN);
}

static void write_info(struct buf *b, const struct make_parts *p,
		       const char *name)
{
	benc_cstr(b, "info");
	benc_dict(b);
	if (p->is_folder) {
		write_tree(b, p);
		write_files(b, p);
	} else {
		write_attr(b, &p->parts[0]);
		write_single(b, p, name);
		benc_cstr(b, "length");
		benc_int(b, (int64_t)p->parts[0].length);
	}
	benc_cstr(b, "meta version");
	benc_int(b, 2);
	benc_cstr(b, "name");
	benc_cstr(b, name);
	benc_cstr(b, "piece length");
	benc_int(b, p->piece_length);
	write_pieces(b, p);
	if (p->is_private) {
		benc_cstr(b, "private");
		benc_int(b, 1);
	}
	if (p->source) {
		benc_cstr(b, "source");
		benc_cstr(b, p->source);
	}
	benc_end(b);
}

/* ---- the torrent ---- */

static int by_root(const void *a, const void *b)
{
	const struct part *x = *(const struct part *const *)a;
	const struct part *y = *(const struct part *const *)b;

	return memcmp(x->root, y->root, sizeof(x->root));
}

/* A dict by root: files of equal bytes share one layer. */
static void write_layers(struct buf *b, const struct make_parts *p)
{
	const struct part **sorted = mem_alloc_array(p->num, sizeof(*sorted));
	size_t n = 0;

	for (size_t i = 0; i < p->num; i++) {
		if (p->parts[i].layer.len)
			sorted[n++] = &p->parts[i];
	}
	qsort(sorted, n, sizeof(*sorted), by_root);
	benc_cstr(b, "piece layers");
	benc_dict(b);
	for (size_t i = 0; i < n; i++) {
		if (i && !by_root(&sorted[i - 1], &sorted[i]))
			continue;
		benc_str(b, sorted[i]->root, sizeof(sorted[i]->root));
		benc_str(b, sorted[i]->layer.ptr, sorted[i]->layer.len);
	}
	benc_end(b);
	free(sorted);
}

static int write_url(struct buf *b, const char *url, enum safeurl_kind kind,
		     char *why)
{
	char *clean = safeurl_clean(url, strlen(url), kind);

	if (!clean || !safeurl_is_of_use(clean)) {
		snprintf(why, MAKE_PARTS_WHY_SIZE, "%s: %s", url,
			 kind == SAFEURL_TRACKER
				 ? "a tracker is an http, https or udp URL"
				 : "a web seed is an http or https URL");
		free(clean);
		return -EINVAL;
	}
	benc_cstr(b, clean);
	free(clean);
	return 0;
}

static int write_trackers(struct buf *b, const struct make_parts *p, char *why)
{
	int r = 0;

	if (!p->trackers.num)
		return 0;
	benc_cstr(b, "announce");
	r = write_url(b, p->trackers.items[0], SAFEURL_TRACKER, why);
	if (r < 0 || p->trackers.num < 2)
		return r;
	benc_cstr(b, "announce-list");
	benc_list(b);
	for (size_t i = 0; !r && i < p->trackers.num; i++) {
		benc_list(b);
		r = write_url(b, p->trackers.items[i], SAFEURL_TRACKER, why);
		benc_end(b);
	}
	benc_end(b);
	return r;
}

static void write_text(struct buf *b, const char *key, const char *text)
{
	if (!text)
		return;
	benc_cstr(b, key);
	benc_cstr(b, text);
}

static int write_torrent(struct buf *b, const struct make_parts *p,
			 const char *name, char *why)
{
	int r;

	benc_dict(b);
	r = write_trackers(b, p, why);
	write_text(b, "comment", p->comment);
	write_text(b, "created by", p->created_by);
	write_info(b, p, name);
	write_layers(b, p);
	if (p->webseeds.num) {
		benc_cstr(b, "url-list");
		benc_list(b);
	}
	for (size_t i = 0; !r && i < p->webseeds.num; i++)
		r = write_url(b, p->webseeds.items[i], SAFEURL_WEBSEED, why);
	if (p->webseeds.num)
		benc_end(b);
	benc_end(b);
	return r;
}

int make_assemble(struct make_parts *p, const char *name, struct metainfo **out,
		  char why[MAKE_PARTS_WHY_SIZE])
{
	char rule[METAINFO_WHY_SIZE];
	struct buf b;
	int r;

	*out = NULL;
	why[0] = '\0';
	if (!p->num) {
		snprintf(why, MAKE_PARTS_WHY_SIZE, "there is no file in it");
		return -EBADMSG;
	}
	if (p->is_folder)
		qsort(p->parts, p->num, sizeof(*p->parts), by_tree);
	buf_init(&b, 0);
	r = write_torrent(&b, p, name, why);
	if (!r && b.is_broken)
		r = -ENOMEM;
	if (!r) {
		r = metainfo_parse(b.ptr, b.len, out, rule);
		if (r < 0)
			snprintf(why, MAKE_PARTS_WHY_SIZE,
				 "it would be no valid torrent: %s", rule);
	}
	buf_release(&b);
	return r;
}
