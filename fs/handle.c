#include "fs/handle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "fs/incoming.h"
#include "fs/mount_private.h"
#include "fs/read.h"
#include "fs/status.h"

void handles_init(struct handles *h)
{
	for (unsigned i = 0; i < HANDLE_BUCKETS; i++)
		list_init(&h->buckets[i]);
	h->next = (uint64_t)random_u32() << 32;
}

static struct list *bucket_of(struct mount *m, uint64_t fh)
{
	return &m->handles.buckets[fh % HANDLE_BUCKETS];
}

struct handle *handle_find(struct mount *m, uint64_t fh)
{
	list_foreach(h, bucket_of(m, fh), struct handle, node) {
		if (h->fh == fh)
			return h;
	}
	return NULL;
}

static struct handle *new_numbered(struct mount *m, uint64_t ino,
				   enum handle_kind kind, uint64_t fh)
{
	struct handle *h = mem_alloc(sizeof(*h));

	h->fh = fh;
	h->ino = ino;
	h->kind = kind;
	list_init(&h->reads);
	buf_init(&h->text, 0);
	list_push_back(bucket_of(m, h->fh), &h->node);
	return h;
}

struct handle *handle_new(struct mount *m, uint64_t ino, enum handle_kind kind)
{
	return new_numbered(m, ino, kind, m->handles.next++);
}

/* ---- what a generated file says ---- */

static void write_text(struct mount *m, const struct node *n, struct buf *out)
{
	char *magnet;

	switch (n->kind) {
	case INO_FIXED:
		if (n->index == INO_METRICS)
			status_write_metrics(m->s, out);
		else
			status_write_json(status_library(m->s), out);
		return;
	case INO_TORRENT_FILE:
		entry_write_torrent(n->entry, out);
		return;
	case INO_MAGNET_FILE:
		magnet = torrent_magnet(n->entry->torrent);
		buf_add_str(out, magnet);
		buf_add_str(out, "\n");
		free(magnet);
		return;
	case INO_STATUS_JSON:
		status_write_json(status_torrent(m->s, n->entry), out);
		return;
	case INO_PEERS_JSON:
		status_write_json(status_peers(n->entry), out);
		return;
	case INO_PIECES_SVG:
		status_write_svg(n->entry, out);
		return;
	case INO_INCOMING:
	case INO_CONTENT:
	case INO_HASH_CONTENT:
	case INO_HASH_DIR:
	case INO_STATUS_DIR:
	case INO_PUBLISH:
		return;
	}
}

/* ---- opening ---- */

static void open_content(struct handle *h, const struct node *n)
{
	const struct metainfo_file *f = node_file(n);
	struct torrent *t = n->entry->torrent;

	h->entry = n->entry;
	h->start = f->offset;
	h->length = f->length;
	if (f->length && !torrent_has(t, f->offset, f->length))
		h->reader = torrent_open_reader(t, f->offset,
						f->offset + f->length);
}

static int fill_handle(struct mount *m, const struct node *n, struct handle *h)
{
	if (h->kind == HANDLE_CONTENT) {
		open_content(h, n);
		return 0;
	}
	write_text(m, n, &h->text);
	if (h->text.is_broken)
		return -ENOMEM;
	m->handles.snapshot_bytes += h->text.len;
	return m->handles.snapshot_bytes > LIMIT_SNAPSHOT_BYTES ? -ENFILE : 0;
}

static int open_numbered(struct mount *m, const struct node *n, uint64_t fh,
			 struct handle **out)
{
	struct handle *h = new_numbered(
		m, n->ino, node_is_content(n) ? HANDLE_CONTENT : HANDLE_TEXT,
		fh);
	int r = fill_handle(m, n, h);

	if (r < 0)
		handle_free(m, h);
	else
		*out = h;
	return r;
}

int handle_open(struct mount *m, const struct node *n, struct handle **out)
{
	return open_numbered(m, n, m->handles.next++, out);
}

struct handle *handle_get(struct mount *m, uint64_t ino, uint64_t fh)
{
	struct handle *h = handle_find(m, fh);
	struct node n;

	if (h || node_get(m, ino, &n) < 0 || node_is_dir(&n) ||
	    n.kind == INO_INCOMING)
		return h;
	return open_numbered(m, &n, fh, &h) < 0 ? NULL : h;
}

/* ---- closing ---- */

void handle_free(struct mount *m, struct handle *h)
{
	struct incoming *in = h->incoming;

	reads_drop_handle(m, h);
	reader_free(h->reader);
	m->handles.snapshot_bytes -= h->text.len;
	buf_release(&h->text);
	list_remove(&h->node);
	free(h);
	if (in)
		incoming_on_release(in);
}

void handles_drop_entry(struct mount *m, struct entry *entry)
{
	for (unsigned i = 0; i < HANDLE_BUCKETS; i++) {
		list_foreach(h, &m->handles.buckets[i], struct handle, node) {
			if (h->entry != entry)
				continue;
			h->entry = NULL; /* what waits is told ESTALE */
			reads_drop_handle(m, h);
			reader_free(h->reader);
			h->reader = NULL;
		}
	}
}

void handles_close_all(struct mount *m)
{
	for (unsigned i = 0; i < HANDLE_BUCKETS; i++) {
		list_foreach_safe(h, &m->handles.buckets[i], struct handle,
				  node)
			handle_free(m, h);
	}
}
