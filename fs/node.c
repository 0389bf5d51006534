/* The tree as the kernel sees it:
 *
 *   /			INO_FIXED INO_ROOT
 *   files/NAME/...	INO_CONTENT	 id, node of the torrent's tree
 *   torrents/NAME.*	INO_TORRENT_FILE, INO_MAGNET_FILE  id
 *   torrents/x		INO_INCOMING	 serial
 *   by-hash/HASH/NAME	INO_HASH_DIR id / INO_HASH_CONTENT id, node
 *   .weirfs/NAME/...	INO_STATUS_DIR and the files in it  id
 *
 * A folder has one place in Linux, so by-hash/ has inodes of its own. With
 * -o single the root holds INO_CONTENT node 0 of one torrent, and nothing
 * else has a name. */
#include "fs/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"
#include "fs/incoming.h"
#include "fs/mount_private.h"
#include "fs/pub.h"

/* Names that never change, and the folder each stands in. */
static const struct fixed_name {
	const char *name;
	uint32_t dir, index;
} fixed_names[] = {
	{ "files", INO_ROOT, INO_FILES },
	{ "torrents", INO_ROOT, INO_TORRENTS },
	{ "by-hash", INO_ROOT, INO_BY_HASH },
	{ ".weirfs", INO_ROOT, INO_WEIRFS },
	{ "status.json", INO_WEIRFS, INO_LIBRARY_JSON },
	{ "metrics", INO_WEIRFS, INO_METRICS },
};

#define NAME_PUBLISH "publish"

static const struct status_name {
	const char *name;
	enum ino_kind kind;
} status_names[] = {
	{ "status.json", INO_STATUS_JSON },
	{ "peers.json", INO_PEERS_JSON },
	{ "pieces.svg", INO_PIECES_SVG },
};

/* Listings of changing folders go by torrent id; incoming files come last. */
#define AT_INCOMING (1ull << 61)

bool node_is_content(const struct node *n)
{
	return n->kind == INO_CONTENT || n->kind == INO_HASH_CONTENT;
}

bool node_is_dir(const struct node *n)
{
	switch (n->kind) {
	case INO_FIXED:
		return n->index < INO_LIBRARY_JSON;
	case INO_CONTENT:
	case INO_HASH_CONTENT:
		return tree_is_dir(n->tree, n->index);
	case INO_HASH_DIR:
	case INO_STATUS_DIR:
	case INO_PUBLISH: /* none but its root is seen here */
		return true;
	case INO_TORRENT_FILE:
	case INO_MAGNET_FILE:
	case INO_STATUS_JSON:
	case INO_PEERS_JSON:
	case INO_PIECES_SVG:
	case INO_INCOMING:
		return false;
	}
	return false;
}

const struct metainfo_file *node_file(const struct node *n)
{
	if (!node_is_content(n) || node_is_dir(n))
		return NULL;
	return tree_file(n->tree, n->index);
}

/* ---- by number ---- */

static int fill(struct mount *m, struct node *n)
{
	switch (n->kind) {
	case INO_FIXED:
		return n->index >= INO_ROOT && n->index <= INO_METRICS
			       ? 0
			       : -ESTALE;
	case INO_INCOMING:
		return incoming_by_serial(m, n->id) ? 0 : -ESTALE;
	case INO_PUBLISH:
		return m->pub && n->ino == PUB_ROOT_INO ? 0 : -ESTALE;
	case INO_CONTENT:
	case INO_HASH_CONTENT:
	case INO_TORRENT_FILE:
	case INO_MAGNET_FILE:
	case INO_HASH_DIR:
	case INO_STATUS_DIR:
	case INO_STATUS_JSON:
	case INO_PEERS_JSON:
	case INO_PIECES_SVG:
		break;
	}
	n->entry = library_by_id(m->s->library, n->id);
	if (!n->entry)
		return -ESTALE;
	if (n->kind == INO_TORRENT_FILE && !n->entry->has_metainfo)
		return -ESTALE;
	if (!node_is_content(n))
		return n->index ? -ESTALE : 0;
	n->tree = entry_tree(n->entry);
	return n->tree && n->index < n->tree->num_nodes ? 0 : -ESTALE;
}

int node_get(struct mount *m, uint64_t ino, struct node *out)
{
	memset(out, 0, sizeof(*out));
	out->ino = ino;
	if (!ino_split(ino, &out->kind, &out->id, &out->index))
		return -ESTALE;
	return fill(m, out);
}

static int make(struct mount *m, enum ino_kind kind, int64_t id, uint32_t index,
		struct node *out)
{
	return node_get(m, ino_make(kind, id, index), out) ? -ENOENT : 0;
}

uint64_t node_parent(const struct mount *m, const struct node *n)
{
	switch (n->kind) {
	case INO_FIXED:
		return n->index == INO_LIBRARY_JSON || n->index == INO_METRICS
			       ? INO_WEIRFS
			       : INO_ROOT;
	case INO_CONTENT:
		if (n->index)
			return ino_make(n->kind, n->id,
					n->tree->nodes[n->index].parent);
		return m->single_id ? INO_ROOT : INO_FILES;
	case INO_HASH_CONTENT:
		if (n->index)
			return ino_make(n->kind, n->id,
					n->tree->nodes[n->index].parent);
		return ino_make(INO_HASH_DIR, n->id, 0);
	case INO_HASH_DIR:
		return INO_BY_HASH;
	case INO_STATUS_DIR:
		return INO_WEIRFS;
	case INO_STATUS_JSON:
	case INO_PEERS_JSON:
	case INO_PIECES_SVG:
		return ino_make(INO_STATUS_DIR, n->id, 0);
	case INO_TORRENT_FILE:
	case INO_MAGNET_FILE:
	case INO_INCOMING:
		return INO_TORRENTS;
	case INO_PUBLISH:
		return INO_ROOT;
	}
	return INO_ROOT;
}

/* ---- by name ---- */

static int root_child(struct mount *m, const char *name, struct node *out)
{
	struct entry *e;

	if (m->pub && !strcmp(name, NAME_PUBLISH))
		return make(m, INO_PUBLISH, 0, 1, out);
	if (!m->single_id)
		return -ENOENT;
	e = library_by_id(m->s->library, m->single_id);
	if (!e || !e->has_metainfo || strcmp(e->name, name))
		return -ENOENT;
	return make(m, INO_CONTENT, e->id, TREE_ROOT, out);
}

static int torrents_child(struct mount *m, const char *name, struct node *out)
{
	static const struct {
		const char *tail;
		enum ino_kind kind;
	} tails[] = { { ".torrent", INO_TORRENT_FILE },
		      { ".magnet", INO_MAGNET_FILE } };
	struct incoming *in;
	size_t len = strlen(name);

	for (unsigned i = 0; i < ARRAY_LEN(tails); i++) {
		size_t n = strlen(tails[i].tail);
		struct entry *e;

		if (len <= n || strcmp(name + len - n, tails[i].tail))
			continue;
		e = library_by_name(m->s->library, name, len - n);
		if (e && !make(m, tails[i].kind, e->id, 0, out))
			return 0;
	}
	in = incoming_by_name(m, name, len);
	return in ? make(m, INO_INCOMING, in->serial, 0, out) : -ENOENT;
}

static int hash_child(struct mount *m, const char *name, struct node *out)
{
	struct infohash ih;
	struct torrent *t;

	if (!hex_decode(name, strlen(name), ih.b, sizeof(ih.b)))
		return -ENOENT;
	t = engine_find(m->s->engine, &ih);
	return t ? make(m, INO_HASH_DIR, torrent_id(t), 0, out) : -ENOENT;
}

static int named_child(struct mount *m, enum ino_kind kind, const char *name,
		       struct node *out)
{
	struct entry *e = library_by_name(m->s->library, name, strlen(name));

	return e ? make(m, kind, e->id, 0, out) : -ENOENT;
}

static int fixed_child(struct mount *m, uint32_t dir, const char *name,
		       struct node *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(fixed_names); i++) {
		if (fixed_names[i].dir == dir &&
		    !strcmp(fixed_names[i].name, name) && !m->single_id)
			return make(m, INO_FIXED, 0, fixed_names[i].index, out);
	}
	switch ((enum ino_fixed)dir) {
	case INO_ROOT:
		return root_child(m, name, out);
	case INO_FILES:
		return named_child(m, INO_CONTENT, name, out);
	case INO_TORRENTS:
		return torrents_child(m, name, out);
	case INO_BY_HASH:
		return hash_child(m, name, out);
	case INO_WEIRFS:
		return named_child(m, INO_STATUS_DIR, name, out);
	case INO_LIBRARY_JSON:
	case INO_METRICS:
		break;
	}
	return -ENOTDIR;
}

int node_child(struct mount *m, const struct node *dir, const char *name,
	       struct node *out)
{
	uint32_t child;

	if (!node_is_dir(dir))
		return -ENOTDIR;
	if (dir->kind == INO_FIXED)
		return fixed_child(m, dir->index, name, out);
	if (dir->kind == INO_HASH_DIR)
		return strcmp(dir->entry->name, name)
			       ? -ENOENT
			       : make(m, INO_HASH_CONTENT, dir->id, TREE_ROOT,
				      out);
	if (dir->kind == INO_STATUS_DIR) {
		for (unsigned i = 0; i < ARRAY_LEN(status_names); i++) {
			if (!strcmp(status_names[i].name, name))
				return make(m, status_names[i].kind, dir->id, 0,
					    out);
		}
		return -ENOENT;
	}
	child = tree_lookup(dir->tree, dir->index, name, strlen(name));
	if (child == TREE_NONE)
		return -ENOENT;
	return make(m, dir->kind, dir->id, child, out);
}

/* ---- listing ---- */

static void put_name(char out[NODE_NAME_SIZE], const char *name, size_t len,
		     const char *tail)
{
	snprintf(out, NODE_NAME_SIZE, "%.*s%s", (int)len, name, tail);
}

/* Torrents from id AT on that have a child of KIND. */
static int list_entries(struct mount *m, enum ino_kind kind, uint64_t at,
			struct node *out, char name[NODE_NAME_SIZE],
			uint64_t *next)
{
	struct library *lib = m->s->library;
	size_t i = library_index(lib, (int64_t)at);
	struct entry *e;

	for (; (e = library_at(lib, i)); i++) {
		const char *shown = kind == INO_HASH_DIR ? e->hash : e->name;

		if (make(m, kind, e->id, 0, out) < 0)
			continue;
		put_name(name, shown, strlen(shown), "");
		*next = (uint64_t)e->id + 1;
		return 0;
	}
	return -ENOENT;
}

static int list_incoming(struct mount *m, uint64_t serial, struct node *out,
			 char name[NODE_NAME_SIZE], uint64_t *next)
{
	struct incoming *in = incoming_from(m, (int64_t)serial);

	if (!in)
		return -ENOENT;
	put_name(name, in->name, strlen(in->name), "");
	*next = AT_INCOMING + (uint64_t)in->serial + 1;
	return make(m, INO_INCOMING, in->serial, 0, out);
}

/* One name for each torrent, so that "rm *" removes each once. Both names can
 * be read. */
static int list_torrents(struct mount *m, uint64_t at, struct node *out,
			 char name[NODE_NAME_SIZE], uint64_t *next)
{
	struct library *lib = m->s->library;
	struct entry *e;

	if (at >= AT_INCOMING)
		return list_incoming(m, at - AT_INCOMING, out, name, next);
	e = library_at(lib, library_index(lib, (int64_t)at));
	if (!e)
		return list_incoming(m, 0, out, name, next);
	put_name(name, e->name, strlen(e->name),
		 e->has_metainfo ? ".torrent" : ".magnet");
	*next = (uint64_t)e->id + 1;
	return make(m, e->has_metainfo ? INO_TORRENT_FILE : INO_MAGNET_FILE,
		    e->id, 0, out);
}

static int list_fixed_names(struct mount *m, uint32_t dir, uint64_t at,
			    struct node *out, char name[NODE_NAME_SIZE])
{
	for (unsigned i = 0; i < ARRAY_LEN(fixed_names); i++) {
		const struct fixed_name *f = &fixed_names[i];

		if (f->dir != dir || at--)
			continue;
		put_name(name, f->name, strlen(f->name), "");
		return make(m, INO_FIXED, 0, f->index, out);
	}
	return -ENOENT;
}

/* publish/ comes last in the root. */
static int list_root(struct mount *m, uint64_t at, struct node *out,
		     char name[NODE_NAME_SIZE])
{
	int r = list_fixed_names(m, INO_ROOT, at, out, name);

	if (!r || !m->pub ||
	    (at && list_fixed_names(m, INO_ROOT, at - 1, out, name) < 0))
		return r;
	put_name(name, NAME_PUBLISH, strlen(NAME_PUBLISH), "");
	return make(m, INO_PUBLISH, 0, 1, out);
}

static int list_single(struct mount *m, uint64_t at, struct node *out,
		       char name[NODE_NAME_SIZE])
{
	struct entry *e = library_by_id(m->s->library, m->single_id);

	if (at || !e || make(m, INO_CONTENT, e->id, TREE_ROOT, out) < 0)
		return -ENOENT;
	put_name(name, e->name, strlen(e->name), "");
	return 0;
}

#define NUM_WEIRFS_FILES 2 /* before the torrents */

static int list_fixed(struct mount *m, uint32_t dir, uint64_t at,
		      struct node *out, char name[NODE_NAME_SIZE],
		      uint64_t *next)
{
	int r;

	switch ((enum ino_fixed)dir) {
	case INO_ROOT:
		return m->single_id ? list_single(m, at, out, name)
				    : list_root(m, at, out, name);
	case INO_FILES:
		return list_entries(m, INO_CONTENT, at, out, name, next);
	case INO_BY_HASH:
		return list_entries(m, INO_HASH_DIR, at, out, name, next);
	case INO_TORRENTS:
		return list_torrents(m, at, out, name, next);
	case INO_WEIRFS:
		if (at < NUM_WEIRFS_FILES)
			return list_fixed_names(m, dir, at, out, name);
		r = list_entries(m, INO_STATUS_DIR, at - NUM_WEIRFS_FILES, out,
				 name, next);
		*next += NUM_WEIRFS_FILES;
		return r;
	case INO_LIBRARY_JSON:
	case INO_METRICS:
		break;
	}
	return -ENOTDIR;
}

int node_list(struct mount *m, const struct node *dir, uint64_t at,
	      struct node *out, char name[NODE_NAME_SIZE], uint64_t *next)
{
	uint32_t child;

	if (!node_is_dir(dir))
		return -ENOTDIR;
	*next = at + 1;
	if (dir->kind == INO_FIXED)
		return list_fixed(m, dir->index, at, out, name, next);
	if (dir->kind == INO_HASH_DIR) {
		const char *only = dir->entry->name;

		put_name(name, only, strlen(only), "");
		return at ? -ENOENT
			  : make(m, INO_HASH_CONTENT, dir->id, TREE_ROOT, out);
	}
	if (dir->kind == INO_STATUS_DIR) {
		if (at >= ARRAY_LEN(status_names))
			return -ENOENT;
		put_name(name, status_names[at].name,
			 strlen(status_names[at].name), "");
		return make(m, status_names[at].kind, dir->id, 0, out);
	}
	child = tree_child(dir->tree, dir->index, at);
	if (child == TREE_NONE)
		return -ENOENT;
	put_name(name, dir->tree->nodes[child].name,
		 dir->tree->nodes[child].name_len, "");
	return make(m, dir->kind, dir->id, child, out);
}

/* ---- attributes ---- */

/* Folders below a fixed folder, for its link count. */
static nlink_t count_folders(struct mount *m, uint32_t index)
{
	size_t n = library_count(m->s->library), folders = 0;
	struct entry *e;

	if (index == INO_BY_HASH || index == INO_WEIRFS)
		return n;
	if (index == INO_ROOT && !m->single_id)
		return m->pub ? 5 : 4;
	if (index != INO_FILES && index != INO_ROOT)
		return 0;
	for (size_t i = 0; (e = library_at(m->s->library, i)); i++) {
		const struct metainfo *mi = torrent_metainfo(e->torrent);

		if (index == INO_ROOT && e->id != m->single_id)
			continue;
		folders += mi && mi->is_multi;
	}
	return folders;
}

static time_t content_time(const struct entry *e)
{
	const struct metainfo *mi = torrent_metainfo(e->torrent);
	int64_t t = mi ? mi->creation_date : 0;

	/* A date that a torrent claims is believed between 1970 and 2242. */
	return t > 0 && t < 1ll << 33 ? t : torrent_added_s(e->torrent);
}

static void content_attr(const struct node *n, struct stat *st)
{
	const struct tree_node *tn = &n->tree->nodes[n->index];
	const struct metainfo_file *f = node_file(n);

	st->st_mtime = content_time(n->entry);
	if (!f) {
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 2 + tn->num_folders;
		return;
	}
	st->st_nlink = 1;
	if (f->symlink) {
		st->st_mode = S_IFLNK | 0777;
		st->st_size = (off_t)strlen(f->symlink);
		return;
	}
	st->st_mode = S_IFREG | (f->flags & FILE_EXEC ? 0555 : 0444);
	st->st_size = (off_t)f->length;
	/* Every byte counts, here or not: what looks sparse is copied without
	 * its missing parts, and GNU tar -S, when a read fails, even writes
	 * zeros and exits with 0. */
	st->st_blocks = (st->st_size + 511) / 512;
}

static uint64_t torrent_file_size(struct entry *e)
{
	const struct metainfo *mi = torrent_metainfo(e->torrent);
	size_t urls = mi->num_trackers + mi->num_webseeds;
	struct buf b;

	if (e->torrent_file_size && e->torrent_file_urls == urls)
		return e->torrent_file_size;
	buf_init(&b, 0);
	entry_write_torrent(e, &b);
	e->torrent_file_size = b.len;
	e->torrent_file_urls = urls;
	buf_release(&b);
	return e->torrent_file_size;
}

static void file_attr(struct mount *m, const struct node *n, struct stat *st)
{
	struct incoming *in;
	char *magnet;

	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_mtime = clock_wall_s();
	if (n->kind == INO_INCOMING) {
		in = incoming_by_serial(m, n->id);
		st->st_mode = S_IFREG | 0644;
		st->st_size = (off_t)in->data.len;
		st->st_mtime = in->created_s;
	} else if (n->kind == INO_TORRENT_FILE) {
		st->st_mode = S_IFREG | 0644;
		st->st_size = (off_t)torrent_file_size(n->entry);
		st->st_mtime = torrent_added_s(n->entry->torrent);
	} else if (n->kind == INO_MAGNET_FILE) {
		magnet = torrent_magnet(n->entry->torrent);
		st->st_mode = S_IFREG | 0644;
		st->st_size = (off_t)strlen(magnet) + 1;
		st->st_mtime = torrent_added_s(n->entry->torrent);
		free(magnet);
	}
	st->st_blocks = (st->st_size + 511) / 512;
}

void node_attr(struct mount *m, const struct node *n, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = n->ino;
	st->st_uid = m->uid;
	st->st_gid = m->gid;
	st->st_blksize = MOUNT_MAX_IO / 8;
	if (n->kind == INO_PUBLISH) {
		pub_root_attr(m->pub, st);
		return;
	}
	if (node_is_content(n)) {
		content_attr(n, st);
	} else if (!node_is_dir(n)) {
		file_attr(m, n, st);
	} else {
		st->st_mode = S_IFDIR | 0555;
		if (n->kind == INO_FIXED && n->index == INO_TORRENTS)
			st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		if (n->kind == INO_FIXED)
			st->st_nlink += count_folders(m, n->index);
		else if (n->kind == INO_HASH_DIR && n->entry->has_metainfo)
			st->st_nlink +=
				torrent_metainfo(n->entry->torrent)->is_multi;
		st->st_mtime = n->entry ? torrent_added_s(n->entry->torrent)
					: library_changed_s(m->s->library);
	}
	st->st_atime = st->st_ctime = st->st_mtime;
}

double node_attr_timeout(const struct node *n)
{
	if (node_is_content(n))
		return TIMEOUT_TREE;
	/* So that whoever looks at the mount point learns of our death. */
	if (n->ino == INO_ROOT)
		return 0.0;
	return node_is_dir(n) ? TIMEOUT_LIBRARY : 0.0;
}

double node_entry_timeout(const struct node *n)
{
	if (node_is_content(n) && n->index != TREE_ROOT)
		return TIMEOUT_TREE;
	return n->kind == INO_INCOMING ? 0.0 : TIMEOUT_LIBRARY;
}
