/* Files as both versions describe them: a path, a length, attributes.
 *
 * A symlink (BEP 47) names its target by elements from the torrent's root. The
 * target gets the same treatment as a path, ".." goes up, and a link that goes
 * up past the root is kept as an empty file: what it pointed at is none of the
 * torrent's business. Since targets are resolved here, by text, and every
 * folder is a real one, a link can only ever lead to something inside. */
#include "engine/metainfo_parser.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/names.h"

struct metainfo_file *metainfo_files_add(struct metainfo_files *l)
{
	struct metainfo_file *f;

	if (l->num == l->cap) {
		uint32_t cap = l->cap ? l->cap * 2 : 4;

		f = reallocarray(l->at, cap, sizeof(*f));
		if (!f)
			return NULL;
		l->at = f;
		l->cap = cap;
	}
	f = &l->at[l->num++];
	memset(f, 0, sizeof(*f));
	return f;
}

void metainfo_files_release(struct metainfo_files *l)
{
	for (uint32_t i = 0; i < l->num; i++) {
		free(l->at[i].path);
		free(l->at[i].origpath);
		free(l->at[i].symlink);
	}
	free(l->at);
	memset(l, 0, sizeof(*l));
}

void metainfo_path_start(struct metainfo_parser *p)
{
	buf_clear(&p->path);
	buf_clear(&p->origpath);
	p->depth = 0;
}

/* A C string cannot hold a NUL. */
static void add_without_nul(struct buf *out, struct span s)
{
	size_t start = out->len;
	uint8_t *nul;

	buf_add(out, s.ptr, s.len);
	if (out->is_broken || !s.len)
		return;
	while ((nul = memchr(out->ptr + start, 0, out->len - start))) {
		*nul = '_';
		start = (size_t)(nul - out->ptr) + 1;
	}
}

int metainfo_path_add(struct metainfo_parser *p, struct span element)
{
	if (p->depth > LIMIT_PATH_DEPTH)
		return metainfo_refuse(p, -E2BIG,
				       "a path has more than %d folders",
				       LIMIT_PATH_DEPTH);
	if (p->depth)
		buf_add(&p->origpath, "/", 1);
	add_without_nul(&p->origpath, element);
	(void)names_add_element(&p->path, element.ptr, element.len);
	p->depth++;
	if (p->path.is_broken || p->origpath.is_broken)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	if (p->path.len > LIMIT_PATH_BYTES)
		return metainfo_refuse(p, -E2BIG,
				       "a path is longer than %d bytes",
				       LIMIT_PATH_BYTES);
	return 0;
}

struct metainfo_path_mark metainfo_path_mark(const struct metainfo_parser *p)
{
	struct metainfo_path_mark m = { p->path.len, p->origpath.len,
					p->depth };

	return m;
}

void metainfo_path_back(struct metainfo_parser *p, struct metainfo_path_mark m)
{
	p->path.len = m.path;
	p->origpath.len = m.origpath;
	p->depth = m.depth;
}

static char *buf_text(const struct buf *b)
{
	return b->len ? mem_strndup((const char *)b->ptr, b->len)
		      : mem_strdup("");
}

static unsigned flags_of(struct bnode dict)
{
	unsigned flags = 0;
	struct span attr;

	if (!bnode_get_str(dict, "attr", &attr))
		return 0;
	for (size_t i = 0; i < attr.len; i++) {
		if (attr.ptr[i] == 'p')
			flags |= FILE_PAD;
		else if (attr.ptr[i] == 'x')
			flags |= FILE_EXEC;
		else if (attr.ptr[i] == 'h')
			flags |= FILE_HIDDEN;
		else if (attr.ptr[i] == 'l')
			flags |= FILE_SYMLINK;
	}
	return flags & FILE_PAD ? FILE_PAD : flags;
}

/* Drops the last element; false when there is none. */
static bool go_up(struct buf *path)
{
	const uint8_t *slash;

	if (!path->len)
		return false;
	slash = memrchr(path->ptr, '/', path->len);
	path->len = slash ? (size_t)(slash - path->ptr) : 0;
	return true;
}

/* Resolves LIST from the root into TARGET, left empty when it leads out. */
static int resolve_target(struct metainfo_parser *p, struct bnode list,
			  struct buf *target)
{
	struct bwalk w = bwalk_of(list);
	struct bnode value;
	struct span key, s;

	while (bwalk_next(&w, &key, &value)) {
		if (!bnode_str(value, &s))
			return metainfo_refuse(
				p, -EBADMSG,
				"\"symlink path\" holds something other than "
				"strings");
		if (s.len == 2 && !memcmp(s.ptr, "..", 2)) {
			if (!go_up(target))
				return 0;
			continue;
		}
		(void)names_add_element(target, s.ptr, s.len);
		if (target->len > LIMIT_PATH_BYTES)
			return metainfo_refuse(
				p, -E2BIG,
				"a symlink's target is longer than %d bytes",
				LIMIT_PATH_BYTES);
	}
	return 0;
}

/* The way from the folder of LINK to TARGET; both start at the root. */
static char *relative_target(const char *link, const char *target)
{
	const char *slash;
	struct buf out;
	char *text;

	while ((slash = strchr(link, '/'))) { /* folders that both share */
		size_t n = (size_t)(slash - link);

		if (strncmp(link, target, n) || (target[n] && target[n] != '/'))
			break;
		link = slash + 1;
		target += target[n] ? n + 1 : n;
	}
	buf_init(&out, 0);
	for (; (slash = strchr(link, '/')); link = slash + 1)
		buf_add_str(&out, "../");
	buf_add_str(&out, *target || out.len ? target : ".");
	if (!*target && out.len > 1)
		out.len--; /* the slash after the last ".." */
	text = buf_text(&out);
	buf_release(&out);
	return text;
}

/* Gives F its target, or makes it an ordinary empty file. F->path is set. */
static int set_symlink(struct metainfo_parser *p, struct metainfo_file *f,
		       struct bnode dict)
{
	struct bnode list = bnode_get(dict, "symlink path");
	struct buf target;
	char *text;
	int r;

	if (!bnode_is_list(list))
		return metainfo_refuse(
			p, -EBADMSG,
			"a symlink has no \"symlink path\" that is a list");
	buf_init(&target, 0);
	r = resolve_target(p, list, &target);
	f->flags &= ~(unsigned)FILE_SYMLINK;
	if (r < 0 || !target.len)
		goto out;
	text = buf_text(&target);
	f->symlink = relative_target(f->path, text);
	f->flags |= FILE_SYMLINK;
	free(text);
	if (strlen(f->symlink) > LIMIT_PATH_BYTES)
		r = metainfo_refuse(p, -E2BIG,
				    "a symlink's target is longer than %d "
				    "bytes",
				    LIMIT_PATH_BYTES);
out:
	buf_release(&target);
	return r;
}

static int set_length(struct metainfo_parser *p, struct metainfo_file *f,
		      struct bnode dict, uint32_t number)
{
	struct bnode node = bnode_get(dict, "length");
	int64_t length = 0;

	if (f->flags & FILE_SYMLINK)
		return 0; /* whatever it says: BEP 47 gives a link no bytes */
	if (!bnode_int(node, &length))
		return metainfo_refuse(
			p, -EBADMSG, "file %" PRIu32 ": \"length\" is %s",
			number, node.ptr ? "not a number" : "missing");
	if (length < 0)
		return metainfo_refuse(p, -EBADMSG,
				       "file %" PRIu32 ": length is %" PRId64
				       ": must be at least 0",
				       number, length);
	if ((uint64_t)length > LIMIT_FILE_BYTES)
		return metainfo_refuse(p, -E2BIG,
				       "file %" PRIu32 ": length is %" PRId64
				       ": must be at most %" PRIu64,
				       number, length,
				       (uint64_t)LIMIT_FILE_BYTES);
	f->length = (uint64_t)length;
	return 0;
}

int metainfo_file_add(struct metainfo_parser *p, struct metainfo_files *l,
		      struct bnode dict, struct metainfo_file **out)
{
	struct metainfo_file *f;
	int r;

	if (l->num >= LIMIT_FILES)
		return metainfo_refuse(p, -E2BIG, "more than %u files",
				       LIMIT_FILES);
	f = metainfo_files_add(l);
	if (!f)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	f->flags = flags_of(dict);
	f->offset = p->end;
	r = set_length(p, f, dict, l->num);
	if (r < 0)
		return r;
	p->end += f->length; /* both below 2^49 */
	if (p->end > LIMIT_TORRENT_BYTES)
		return metainfo_refuse(p, -E2BIG,
				       "all files together are larger than "
				       "%" PRIu64 " bytes",
				       (uint64_t)LIMIT_TORRENT_BYTES);
	f->origpath = buf_text(&p->origpath);
	f->path = p->path.len ? buf_text(&p->path) : mem_strdup("_");
	*out = f;
	return f->flags & FILE_SYMLINK ? set_symlink(p, f, dict) : 0;
}
