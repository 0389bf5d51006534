/* BEP 3: one file, or a list of them, cut into pieces as one long string. */
#include "engine/metainfo_parser.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/sha.h"

/* How BitComet named its pads before BEP 47; what follows is a message. */
#define OLD_PAD_NAME "_____padding_file_"

static bool is_old_pad(const char *origpath)
{
	const char *slash = strrchr(origpath, '/');

	return !strncmp(slash ? slash + 1 : origpath, OLD_PAD_NAME,
			sizeof(OLD_PAD_NAME) - 1);
}

static struct span span_of(const char *s)
{
	return (struct span){ (const uint8_t *)s, strlen(s) };
}

/* BEP 47 lets a pad have any path, or none. */
static int pad_path(struct metainfo_parser *p, struct bnode file)
{
	char number[24];
	int64_t length = 0;
	int r;

	(void)bnode_get_int(file, "length", &length); /* judged later */
	(void)snprintf(number, sizeof(number), "%" PRId64, length);
	r = metainfo_path_add(p, span_of(".pad"));
	return r < 0 ? r : metainfo_path_add(p, span_of(number));
}

static bool is_pad(struct bnode file)
{
	struct span attr;

	return bnode_get_str(file, "attr", &attr) && attr.len &&
	       memchr(attr.ptr, 'p', attr.len);
}

static int file_path(struct metainfo_parser *p, struct bnode file)
{
	struct bnode list = bnode_get_list(file, "path.utf-8"), value;
	struct bwalk w;
	struct span key, element;
	int r;

	metainfo_path_start(p);
	if (!bnode_count(list))
		list = bnode_get_list(file, "path");
	if (!list.ptr && is_pad(file))
		return pad_path(p, file);
	for (w = bwalk_of(list); bwalk_next(&w, &key, &value);) {
		if (!bnode_str(value, &element))
			return metainfo_refuse(p, -EBADMSG,
					       "file %" PRIu32 ": \"path\" "
					       "holds something other than "
					       "strings",
					       p->v1.num + 1);
		r = metainfo_path_add(p, element);
		if (r < 0)
			return r;
	}
	if (!p->depth)
		return metainfo_refuse(
			p, -EBADMSG, "file %" PRIu32 ": \"path\" is %s",
			p->v1.num + 1,
			list.ptr ? "an empty list" : "missing or no list");
	return 0;
}

static int parse_file_list(struct metainfo_parser *p, struct bnode list)
{
	struct bwalk w = bwalk_of(list);
	struct metainfo_file *f;
	struct bnode file;
	struct span key;
	int r;

	while (bwalk_next(&w, &key, &file)) {
		if (!bnode_is_dict(file))
			return metainfo_refuse(p, -EBADMSG,
					       "file %" PRIu32
					       " is not a dictionary",
					       p->v1.num + 1);
		r = file_path(p, file);
		if (r < 0)
			return r;
		r = metainfo_file_add(p, &p->v1, file, &f);
		if (r < 0)
			return r;
		if (!(f->flags & FILE_SYMLINK) && is_old_pad(f->origpath))
			f->flags = FILE_PAD;
	}
	return 0;
}

static int parse_single(struct metainfo_parser *p)
{
	struct metainfo_file *f;
	int r;

	metainfo_path_start(p);
	r = metainfo_path_add(p, p->rawname);
	return r < 0 ? r : metainfo_file_add(p, &p->v1, p->info, &f);
}

int metainfo_v1_parse(struct metainfo_parser *p)
{
	struct bnode files = bnode_get_list(p->info, "files");
	struct bnode pieces = bnode_get(p->info, "pieces");
	struct span hashes;
	int r;

	if (!bnode_str(pieces, &hashes))
		return metainfo_refuse(p, -EBADMSG, "\"pieces\" is %s",
				       pieces.ptr ? "not a string" : "missing");
	if (hashes.len % SHA1_LEN)
		return metainfo_refuse(p, -EBADMSG,
				       "\"pieces\" is %zu bytes: must be a "
				       "multiple of 20",
				       hashes.len);
	p->mi->is_multi = files.ptr != NULL;
	r = files.ptr ? parse_file_list(p, files) : parse_single(p);
	if (r < 0)
		return r;
	r = metainfo_set_layout(p, p->end);
	if (r < 0)
		return r;
	if (hashes.len / SHA1_LEN != p->mi->layout.num_pieces)
		return metainfo_refuse(p, -EBADMSG,
				       "\"pieces\" has %zu hashes: the files "
				       "make %" PRIu32 " pieces",
				       hashes.len / SHA1_LEN,
				       p->mi->layout.num_pieces);
	p->mi->piece_hashes = hashes.ptr;
	return 0;
}
