/* user.weirfs.*: how a torrent or a file stands, for getfattr and scripts.
 * A table says which names a node has; all but fill and prefetch are read-only.
 * Everything else is answered fast: ENODATA, or ENOTSUP for writing. */
#include "fs/ops.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/prefetch.h"
#include "fs/pub.h"
#include "fs/status.h"

#define XATTR_PREFIX "user.weirfs."
#define XATTR_MAX    65536u /* XATTR_SIZE_MAX of the kernel */

struct xattr {
	const char *name;
	/* Adds the value; false: this node has no such thing. */
	bool (*get)(struct mount *m, const struct node *n, struct buf *out);
	int (*set)(struct mount *m, const struct node *n, const char *value);
};

static bool get_infohash(struct mount *m, const struct node *n, struct buf *out)
{
	if (n->entry)
		buf_add_str(out, n->entry->hash);
	return n->entry;
}

static bool get_magnet(struct mount *m, const struct node *n, struct buf *out)
{
	char *magnet = n->entry ? torrent_magnet(n->entry->torrent) : NULL;

	if (magnet)
		buf_add_str(out, magnet);
	free(magnet);
	return n->entry;
}

/* 0 to 1; of the node, or of the torrent where the node is no content. */
static bool get_progress(struct mount *m, const struct node *n, struct buf *out)
{
	struct torrent_stats st = { 0 };
	uint64_t present, total;

	if (!n->entry)
		return false;
	if (node_is_content(n)) {
		status_present(n->entry, n->index, &present, &total);
	} else {
		torrent_stats(n->entry->torrent, &st);
		present = st.have_bytes;
		total = st.total_bytes;
	}
	if (!total && node_is_content(n))
		buf_add_str(out, "1.0000"); /* nothing of it is missing */
	else
		buf_printf(out, "%.4f",
			   total ? (double)(present * 10000 / total) / 10000
				 : 0.0);
	return true;
}

static bool get_have(struct mount *m, const struct node *n, struct buf *out)
{
	if (node_is_content(n))
		status_write_have(n->entry, n->index, XATTR_MAX, out);
	return node_is_content(n);
}

static bool get_number(const struct node *n, struct buf *out, size_t at)
{
	struct torrent_stats st = { 0 };

	if (!n->entry)
		return false;
	torrent_stats(n->entry->torrent, &st);
	if (at == offsetof(struct torrent_stats, peers))
		buf_printf(out, "%u", st.peers);
	else
		buf_printf(out, "%" PRIu64,
			   *(const uint64_t *)((const char *)&st + at));
	return true;
}

static bool get_peers(struct mount *m, const struct node *n, struct buf *out)
{
	return get_number(n, out, offsetof(struct torrent_stats, peers));
}

static bool get_down(struct mount *m, const struct node *n, struct buf *out)
{
	return get_number(n, out, offsetof(struct torrent_stats, down_bps));
}

static bool get_up(struct mount *m, const struct node *n, struct buf *out)
{
	return get_number(n, out, offsetof(struct torrent_stats, up_bps));
}

static bool get_state(struct mount *m, const struct node *n, struct buf *out)
{
	struct torrent_stats st = { 0 };

	if (!n->entry)
		return false;
	torrent_stats(n->entry->torrent, &st);
	buf_add_str(out, torrent_phase_name(st.phase));
	return true;
}

/* Of a torrent: its disk's or its sources' trouble. Of torrents/ and the root:
 * what was refused last, and why. */
static bool get_error(struct mount *m, const struct node *n, struct buf *out)
{
	struct torrent_stats st = { 0 };

	if (n->entry) {
		torrent_stats(n->entry->torrent, &st);
		buf_add_str(out, *st.error ? st.error : st.message);
		return true;
	}
	if (n->kind != INO_FIXED ||
	    (n->index != INO_TORRENTS && n->index != INO_ROOT))
		return false;
	buf_add_str(out, m->s->refusal);
	return true;
}

static bool get_origpath(struct mount *m, const struct node *n, struct buf *out)
{
	const struct metainfo_file *f = node_file(n);

	if (f && f->origpath)
		buf_add_str(out, f->origpath);
	else if (node_is_content(n) && n->index == TREE_ROOT)
		buf_add_str(out, n->tree->mi->origname);
	else
		return false;
	return true;
}

/* Where weirctl finds this mount. */
static bool get_control(struct mount *m, const struct node *n, struct buf *out)
{
	if (n->ino != INO_ROOT)
		return false;
	buf_printf(out, "%s/control.sock", m->s->opts->state_dir);
	return true;
}

/* Of a file, "file" fetches it; "none" and "torrent" are for all of it. */
static int set_fill(struct mount *m, const struct node *n, const char *value)
{
	if (!n->entry)
		return -ENOTSUP;
	if (!strcmp(value, "none"))
		torrent_set_fill(n->entry->torrent, FILL_NONE);
	else if (!strcmp(value, "torrent"))
		torrent_set_fill(n->entry->torrent, FILL_TORRENT);
	else if (!strcmp(value, "file"))
		return prefetch_range(m, n, 0, UINT64_MAX);
	else
		return -EINVAL;
	return 0;
}

static bool get_nothing(struct mount *m, const struct node *n, struct buf *out)
{
	return false; /* only to be written */
}

static const struct xattr xattrs[] = {
	{ "infohash", get_infohash, NULL },
	{ "magnet", get_magnet, NULL },
	{ "state", get_state, NULL },
	{ "progress", get_progress, NULL },
	{ "have", get_have, NULL },
	{ "peers", get_peers, NULL },
	{ "down_bps", get_down, NULL },
	{ "up_bps", get_up, NULL },
	{ "error", get_error, NULL },
	{ "origpath", get_origpath, NULL },
	{ "control", get_control, NULL },
	{ "fill", get_nothing, set_fill },
	{ "prefetch", get_nothing, prefetch_start },
};

static const struct xattr *find_xattr(const char *name)
{
	size_t skip = strlen(XATTR_PREFIX);

	if (strncmp(name, XATTR_PREFIX, skip))
		return NULL;
	for (unsigned i = 0; i < ARRAY_LEN(xattrs); i++) {
		if (!strcmp(xattrs[i].name, name + skip))
			return &xattrs[i];
	}
	return NULL;
}

/* SIZE 0 asks how much room it takes. */
static void reply_value(fuse_req_t req, const struct buf *b, size_t size)
{
	if (b->is_broken)
		fuse_reply_err(req, ENOMEM);
	else if (!size)
		fuse_reply_xattr(req, b->len);
	else if (b->len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, (const char *)b->ptr, b->len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct mount *m = mount_of(req);
	const struct xattr *x = find_xattr(name);
	struct node n;
	struct buf b;
	int r;

	if (pub_has(ino)) {
		pub_getxattr(req, ino, name, size);
		return;
	}
	if (!x) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	r = node_get(m, ino, &n);
	buf_init(&b, XATTR_MAX);
	if (r < 0)
		fuse_reply_err(req, -r);
	else if (!x->get(m, &n, &b))
		fuse_reply_err(req, ENODATA);
	else
		reply_value(req, &b, size);
	buf_release(&b);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct mount *m = mount_of(req);
	struct buf names, value;
	struct node n;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_listxattr(req, ino, size);
		return;
	}
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	buf_init(&names, XATTR_MAX);
	buf_init(&value, XATTR_MAX);
	for (unsigned i = 0; i < ARRAY_LEN(xattrs); i++) {
		const struct xattr *x = &xattrs[i];

		if (!x->get(m, &n, &value))
			continue;
		buf_add_str(&names, XATTR_PREFIX);
		buf_add(&names, x->name, strlen(x->name) + 1);
		buf_clear(&value);
	}
	reply_value(req, &names, size);
	buf_release(&names);
	buf_release(&value);
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags)
{
	struct mount *m = mount_of(req);
	const struct xattr *x = find_xattr(name);
	char text[64];
	struct node n;
	int r = node_get(m, ino, &n);

	if (pub_has(ino)) {
		pub_setxattr(req, ino, name, value, size, flags);
		return;
	}
	if (!r && (!x || !x->set))
		r = x ? -EPERM : -ENOTSUP;
	else if (!r && !mount_is_owner(m, req))
		r = -EACCES;
	else if (!r && size >= sizeof(text))
		r = -EINVAL;
	if (!r) {
		memcpy(text, value, size);
		text[size] = '\0';
		r = x->set(m, &n, text);
	}
	fuse_reply_err(req, -r);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (pub_has(ino)) {
		pub_removexattr(req, ino, name);
		return;
	}
	fuse_reply_err(req, find_xattr(name) ? EPERM : ENODATA);
}
