/* A prefetch is a reader of its own that is told what will be wanted, and a
 * read that nobody waits for, a slice at a time, which keeps the peers asked
 * and ends it when nothing comes. */
#include "fs/prefetch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"

#define SLICE (1u << 20) /* bytes */

struct prefetch {
	struct want want;
	struct list node;
	struct mount *m;
	struct entry *entry;
	struct reader *reader; /* owned */
	uint64_t at, end;      /* of the torrent */
	bool is_in_want;       /* torrent_want has not returned */
	bool is_done;          /* and the slice came meanwhile */
};

void prefetch_init(struct mount *m)
{
	list_init(&m->prefetches);
}

static void prefetch_free(struct prefetch *p)
{
	torrent_cancel(&p->want);
	reader_free(p->reader);
	list_remove(&p->node);
	p->m->num_prefetches--;
	free(p);
}

static void go_on(struct prefetch *p);

static void on_slice(struct want *w, int r)
{
	struct prefetch *p = container_of(w, struct prefetch, want);

	if (r < 0) {
		log_info("prefetch of %s ends: %d", p->entry->name, -r);
		p->at = p->end;
	} else {
		p->at += w->len;
	}
	p->is_done = true;
	if (!p->is_in_want)
		go_on(p);
}

/* Asks for slices until one has to be waited for. */
static void go_on(struct prefetch *p)
{
	struct torrent *t = p->entry->torrent;

	do {
		uint64_t left = p->end - p->at;

		if (!left) {
			prefetch_free(p);
			return;
		}
		p->want.off = p->at;
		p->want.len = left < SLICE ? left : SLICE;
		p->want.done = on_slice;
		p->is_done = false;
		p->is_in_want = true;
		torrent_want(t, p->reader, &p->want);
		p->is_in_want = false;
	} while (p->is_done);
}

static bool is_under_way(const struct mount *m, const struct entry *e,
			 uint64_t at, uint64_t end)
{
	list_foreach(p, &m->prefetches, struct prefetch, node) {
		if (p->entry == e && p->end == end && p->at >= at)
			return true;
	}
	return false;
}

int prefetch_range(struct mount *m, const struct node *n, uint64_t off,
		   uint64_t len)
{
	const struct metainfo_file *f = node_file(n);
	struct prefetch *p;

	if (!f)
		return -ENOTSUP;
	if (off >= f->length || !len || m->is_stopping)
		return 0;
	if (len > f->length - off)
		len = f->length - off;
	off += f->offset;
	if (is_under_way(m, n->entry, off, off + len))
		return 0;
	if (m->num_prefetches >= LIMIT_PREFETCHES)
		return -EAGAIN;
	p = mem_alloc(sizeof(*p));
	p->m = m;
	p->entry = n->entry;
	p->at = off;
	p->end = off + len;
	p->reader = torrent_open_reader(n->entry->torrent, p->at, p->end);
	list_push_back(&m->prefetches, &p->node);
	m->num_prefetches++;
	reader_prefetch(p->reader, p->at, len, loop_now_ms(m->s->loop));
	go_on(p);
	return 0;
}

int prefetch_start(struct mount *m, const struct node *n, const char *value)
{
	uint64_t off, len;
	char end;

	if (sscanf(value, "%" SCNu64 ",%" SCNu64 "%c", &off, &len, &end) != 2)
		return -EINVAL;
	return prefetch_range(m, n, off, len);
}

void prefetch_drop_entry(struct mount *m, const struct entry *entry)
{
	list_foreach_safe(p, &m->prefetches, struct prefetch, node) {
		if (p->entry == entry)
			prefetch_free(p);
	}
}

void prefetch_stop(struct mount *m)
{
	list_foreach_safe(p, &m->prefetches, struct prefetch, node)
		prefetch_free(p);
}
