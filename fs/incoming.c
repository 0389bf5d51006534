/* cp x.torrent MNT/torrents/ , echo magnet:... >MNT/torrents/x :
 *
 *   create --> WRITING --flush--> ASKED --session: added--> A TORRENT --10 s-->
 *                 ^                  |                                  gone
 *                 +----- refused ----+   (close() says EINVAL)
 *
 * close(2) waits for the session's judgement, so that cp's exit status tells;
 * the reason stands in user.weirfs.error of torrents/. A shell closes a copy
 * of its descriptor before it has written: nothing written, nothing judged.
 * rsync and install rename, chmod and touch what they have closed: for ten
 * seconds the name is still there for them, but not listed, and then what
 * remains is NAME.torrent. */
#include "fs/incoming.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"

#define LINGER_MS 10000

struct waiting {
	struct list node;
	fuse_req_t req;
};

/* The session's answer comes even when the file is gone. */
struct asked {
	struct mount *m;
	int64_t serial;
};

static void on_expiry(struct timer *timer)
{
	struct incoming *in = container_of(timer, struct incoming, expiry);

	if (!in->num_handles && !in->is_asked)
		incoming_remove(in);
}

/* Lets go of the oldest that only lingers. False: none does. */
static bool make_room(struct mount *m)
{
	list_foreach(in, &m->incoming, struct incoming, node) {
		if (in->num_handles || in->is_asked)
			continue;
		incoming_remove(in);
		return true;
	}
	return false;
}

struct incoming *incoming_new(struct mount *m, const char *name)
{
	struct incoming *in;
	unsigned n = 0;

	list_foreach(other, &m->incoming, struct incoming, node)
		n++;
	if (m->is_stopping || (n >= LIMIT_INCOMING && !make_room(m)))
		return NULL;
	in = mem_alloc(sizeof(*in));
	in->m = m;
	in->serial = ++m->last_serial;
	in->name = name ? mem_strdup(name) : NULL;
	in->created_s = clock_wall_s();
	buf_init(&in->data, LIMIT_TORRENT_FILE_BYTES);
	list_init(&in->waiting);
	timer_init(&in->expiry, m->s->loop, on_expiry);
	timer_set_ms(&in->expiry, LINGER_MS); /* stopped by who opens it */
	list_push_back(&m->incoming, &in->node);
	return in;
}

struct incoming *incoming_by_serial(struct mount *m, int64_t serial)
{
	list_foreach(in, &m->incoming, struct incoming, node) {
		if (in->serial == serial)
			return in;
	}
	return NULL;
}

struct incoming *incoming_by_name(struct mount *m, const char *name, size_t len)
{
	list_foreach(in, &m->incoming, struct incoming, node) {
		if (in->name && strlen(in->name) == len &&
		    !memcmp(in->name, name, len))
			return in;
	}
	return NULL;
}

struct incoming *incoming_from(struct mount *m, int64_t serial)
{
	list_foreach(in, &m->incoming, struct incoming, node) {
		if (in->serial >= serial && in->name && in->num_handles &&
		    !in->added_id)
			return in;
	}
	return NULL;
}

/* ---- writing ---- */

int incoming_resize(struct incoming *in, uint64_t size)
{
	struct mount *m = in->m;
	size_t before = in->data.len;

	if (size > LIMIT_TORRENT_FILE_BYTES)
		return -EFBIG;
	if (size > before) {
		uint64_t more = size - before;

		while (m->incoming_bytes + more > LIMIT_INCOMING_BYTES &&
		       make_room(m))
			;
		if (m->incoming_bytes + more > LIMIT_INCOMING_BYTES ||
		    !buf_reserve(&in->data, (size_t)more))
			return -ENOSPC;
		memset(in->data.ptr + before, 0, (size_t)more);
	}
	m->incoming_bytes += size;
	m->incoming_bytes -= before;
	in->data.len = (size_t)size;
	in->is_changed = true;
	return 0;
}

int incoming_write(struct incoming *in, uint64_t off, const void *bytes,
		   size_t len)
{
	int r = 0;

	if (off > LIMIT_TORRENT_FILE_BYTES)
		return -EFBIG;
	if (off + len > in->data.len)
		r = incoming_resize(in, off + len);
	if (r < 0)
		return r;
	if (len)
		memcpy(in->data.ptr + off, bytes, len);
	in->is_changed = true;
	return 0;
}

/* ---- judging ---- */

static void answer_waiting(struct incoming *in, int err)
{
	struct list *node;

	while ((node = list_pop_front(&in->waiting))) {
		struct waiting *w = list_entry(node, struct waiting, node);

		(void)fuse_reply_err(w->req, err);
		free(w);
	}
}

static int errno_for_user(int r)
{
	switch (r) {
	case 0:
		return 0;
	case -EBADMSG:
		return EINVAL; /* "Bad message" would puzzle */
	default:
		return -r;
	}
}

static void on_added(void *arg, int r, int64_t id, const char *why)
{
	struct asked *a = arg;
	struct incoming *in = incoming_by_serial(a->m, a->serial);

	free(a);
	if (r < 0)
		log_warn("refused, written to torrents/: %s", why);
	if (!in)
		return;
	in->is_asked = false;
	if (!r)
		in->added_id = id;
	answer_waiting(in, errno_for_user(r));
	if (!in->num_handles)
		timer_set_ms(&in->expiry, LINGER_MS);
}

static void ask_session(struct incoming *in)
{
	uint8_t *copy = mem_try(in->data.len, 1);
	struct asked *a;

	if (!copy) {
		answer_waiting(in, ENOMEM);
		return;
	}
	memcpy(copy, in->data.ptr, in->data.len);
	a = mem_alloc(sizeof(*a));
	a->m = in->m;
	a->serial = in->serial;
	in->is_changed = false;
	in->is_asked = true;
	session_add_bytes(in->m->s, copy, in->data.len, on_added, a);
}

void incoming_flush(struct incoming *in, fuse_req_t req)
{
	struct waiting *w;

	if (!in->is_asked &&
	    (!in->is_changed || !in->data.len || in->is_unlinked)) {
		fuse_reply_err(req, 0);
		return;
	}
	w = mem_alloc(sizeof(*w));
	w->req = req;
	list_push_back(&in->waiting, &w->node);
	if (!in->is_asked)
		ask_session(in);
}

/* ---- the end ---- */

void incoming_on_release(struct incoming *in)
{
	if (--in->num_handles)
		return;
	if (in->is_changed && in->data.len && !in->is_asked &&
	    !in->is_unlinked && !in->m->is_stopping)
		ask_session(in); /* mmap or a killed writer: no flush since */
	else if (!in->name && !in->is_asked)
		incoming_remove(in);
	else
		timer_set_ms(&in->expiry, LINGER_MS);
}

void incoming_rename(struct incoming *in, const char *name)
{
	free(in->name);
	in->name = mem_strdup(name);
}

/* With handles open it goes on without a name, as files do. */
void incoming_remove(struct incoming *in)
{
	if (in->num_handles) {
		free(in->name);
		in->name = NULL;
		in->is_unlinked = true;
		return;
	}
	answer_waiting(in, ESHUTDOWN);
	timer_stop(&in->expiry);
	list_remove(&in->node);
	in->m->incoming_bytes -= in->data.len;
	buf_release(&in->data);
	free(in->name);
	free(in);
}

void incoming_stop(struct mount *m)
{
	list_foreach_safe(in, &m->incoming, struct incoming, node) {
		answer_waiting(in, ESHUTDOWN);
		if (!in->num_handles)
			incoming_remove(in);
	}
}
