/* One note of the state for each entry, "publish/PATH": which torrent it is,
 * and the fingerprint of what that was made from. Written before the torrent
 * itself, so that no torrent is there whose place is not known; a note without
 * a torrent only makes us hash again. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "fs/publish_private.h"

#define PREFIX    "publish/"
#define IH        sizeof(struct infohash)
#define VALUE_LEN (1 + 2 * IH + 32)
#define WITHDRAWN 1u

static void on_note(void *arg, const char *key, const uint8_t *value,
		    size_t len)
{
	struct publish *p = arg;
	struct memory *m;

	if (len != VALUE_LEN)
		return;
	m = mem_alloc(sizeof(*m));
	m->path = mem_strdup(key + strlen(PREFIX));
	m->is_withdrawn = value[0] & WITHDRAWN;
	memcpy(&m->infohash, value + 1, IH);
	memcpy(&m->before, value + 1 + IH, IH);
	memcpy(m->fingerprint, value + 1 + 2 * IH, sizeof(m->fingerprint));
	list_push_back(&p->memories, &m->node);
}

void memories_load(struct publish *p)
{
	int r;

	if (!p->s->state)
		return;
	r = state_load_notes(p->s->state, PREFIX, on_note, p);
	if (r < 0)
		log_warn("what was published before is forgotten: %s",
			 strerror(-r));
}

static void memory_free(struct memory *m)
{
	list_remove(&m->node);
	free(m->path);
	free(m);
}

void memories_free(struct publish *p)
{
	list_foreach_safe(m, &p->memories, struct memory, node)
		memory_free(m);
}

struct memory *memory_of(struct publish *p, const char *path)
{
	list_foreach(m, &p->memories, struct memory, node) {
		if (!strcmp(m->path, path))
			return m;
	}
	return NULL;
}

void memory_put(struct publish_entry *e, const struct infohash *before)
{
	struct publish *p = e->p;
	uint8_t value[VALUE_LEN] = { 0 };
	char *key;

	if (!p->s->state)
		return;
	value[0] = e->state == PUBLISH_WITHDRAWN ? WITHDRAWN : 0;
	memcpy(value + 1, &e->infohash, IH);
	if (before)
		memcpy(value + 1 + IH, before, IH);
	memcpy(value + 1 + 2 * IH, e->fingerprint, sizeof(e->fingerprint));
	key = mem_printf(PREFIX "%s", e->path);
	state_put_note(p->s->state, key, value, sizeof(value), NULL, NULL);
	free(key);
}

void memory_drop(struct publish *p, const char *path)
{
	struct memory *m = memory_of(p, path);
	char *key;

	if (m)
		memory_free(m);
	if (!p->s->state)
		return;
	key = mem_printf(PREFIX "%s", path);
	state_put_note(p->s->state, key, NULL, 0, NULL, NULL);
	free(key);
}

void memories_settle(struct publish *p)
{
	static const struct infohash none;

	list_foreach(m, &p->memories, struct memory, node) {
		struct torrent *t =
			infohash_eq(&m->before, &none) ||
					infohash_eq(&m->before, &m->infohash)
				? NULL
				: engine_find(p->s->engine, &m->before);

		if (t && torrent_place(t))
			engine_remove(p->s->engine, t, false);
	}
}

bool publish_place(void *arg, const struct infohash *ih,
		   struct engine_place *out)
{
	struct publish *p = arg;

	list_foreach(m, &p->memories, struct memory, node) {
		if (!infohash_eq(&m->infohash, ih) &&
		    !infohash_eq(&m->before, ih))
			continue;
		out->dir = mem_strdup(p->s->opts->publish_dir);
		out->name = mem_strdup(m->path);
		return true;
	}
	return false;
}
