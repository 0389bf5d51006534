/* Entries and their clocks. What the mount tells counts at once; what inotify
 * tells only makes us look. Whatever is heard while a torrent is being made
 * starts the clock again, so a torrent is made of an entry at rest or not at
 * all. */
#include "fs/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/make.h"
#include "fs/publish_private.h"

#define FOLDER_DELAYS 5    /* a folder is quiet for so many delays */
#define HINT_MS       1000 /* after a rename to a final name */

/* ---- entries ---- */

/* A pattern without a slash is for a name, wherever it is; another one for the
 * whole path. */
static bool matches(const struct publish *p, const char *path, size_t len)
{
	const char *glob = p->s->opts->publish_match;
	char text[LIMIT_PATH_BYTES + 1];
	const char *name;

	if (len > LIMIT_PATH_BYTES)
		return false;
	memcpy(text, path, len);
	text[len] = '\0';
	name = strrchr(text, '/');
	name = name && !strchr(glob, '/') ? name + 1 : text;
	return !fnmatch(glob, name, FNM_PATHNAME | FNM_PERIOD);
}

/* The length of that part of PATH which is an entry: its first element, or, if
 * there is a pattern, as much as matches that. 0: none. */
size_t publish_entry_len(const struct publish *p, const char *path)
{
	size_t len = strcspn(path, "/");

	if (!p->s->opts->publish_match)
		return len;
	while (!matches(p, path, len)) {
		if (!path[len])
			return 0;
		len += 1 + strcspn(path + len + 1, "/");
	}
	return len;
}

static uint32_t hash_of(const char *path, size_t len)
{
	uint32_t h = 2166136261u; /* FNV-1a: these names are the user's own */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)path[i]) * 16777619u;
	return h;
}

static struct list *bucket_of(struct publish *p, const char *path, size_t len)
{
	return &p->buckets[hash_of(path, len) % PUBLISH_BUCKETS];
}

static struct list *file_bucket_of(struct publish *p, const char *path)
{
	return &p->file_buckets[hash_of(path, strlen(path)) %
				PUBLISH_FILE_BUCKETS];
}

static void on_timer(struct timer *timer)
{
	struct publish_entry *e =
		container_of(timer, struct publish_entry, timer);

	seal_start(e);
}

static struct publish_entry *entry_new(struct publish *p, const char *path,
				       size_t len)
{
	struct publish_entry *e = mem_alloc(sizeof(*e));

	e->p = p;
	e->path = mem_strndup(path, len);
	e->state = PUBLISH_SETTLING;
	list_init(&e->files);
	timer_init(&e->timer, p->s->loop, on_timer);
	list_push_back(bucket_of(p, path, len), &e->node);
	p->num_entries++;
	return e;
}

bool publish_is_entry_name(const char *path, size_t len)
{
	char *name = mem_strndup(path, len);
	const char *slash = strrchr(name, '/'),
		   *last = slash ? slash + 1 : name;
	bool is = !make_is_left_out(last) && !publish_is_temporary(last);

	free(name);
	return is;
}

struct publish_entry *publish_entry_of(struct publish *p, const char *path,
				       bool make)
{
	size_t len = publish_entry_len(p, path);

	if (!len)
		return NULL;
	list_foreach(e, bucket_of(p, path, len), struct publish_entry, node) {
		if (!strncmp(e->path, path, len) && !e->path[len])
			return e;
	}
	return make && publish_is_entry_name(path, len)
		       ? entry_new(p, path, len)
		       : NULL;
}

void publish_entry_free(struct publish_entry *e)
{
	seal_stop(e);
	timer_stop(&e->timer);
	list_foreach_safe(f, &e->files, struct publish_file, node)
		publish_file_free(f);
	watch_forget(e);
	list_remove(&e->node);
	e->p->num_entries--;
	free(e->path);
	free(e);
}

void publish_entry_rehash(struct publish_entry *e)
{
	list_remove(&e->node);
	list_push_back(bucket_of(e->p, e->path, strlen(e->path)), &e->node);
}

struct torrent *publish_torrent(struct publish_entry *e)
{
	return e->has_torrent ? engine_find(e->p->s->engine, &e->infohash)
			      : NULL;
}

void publish_set_state(struct publish_entry *e, enum publish_state state)
{
	if (e->state != state)
		log_debug("publish %s: state %d", e->path, state);
	e->state = state;
	if (state != PUBLISH_FAILED)
		e->error[0] = '\0';
}

static int64_t delay_of(const struct publish_entry *e, bool is_hint)
{
	int64_t ms = e->p->s->opts->publish_delay_ms;

	if (e->is_urgent)
		return 0;
	if (is_hint && ms > HINT_MS)
		return HINT_MS;
	return e->is_dir && !is_hint ? ms * FOLDER_DELAYS : ms;
}

void publish_settle(struct publish_entry *e, bool is_hint)
{
	e->changes++;
	seal_stop(e);
	timer_stop(&e->timer);
	if (e->writers || e->is_held) {
		publish_set_state(e, PUBLISH_WRITING);
		return;
	}
	publish_set_state(e, PUBLISH_SETTLING);
	e->delay_ms = delay_of(e, is_hint);
	if (!e->p->is_stopping)
		timer_set_ms(&e->timer, e->delay_ms);
}

void publish_look_at(struct publish_entry *e)
{
	e->changes++;
	seal_stop(e);
	if (!e->writers && !e->is_held && !e->p->is_stopping)
		seal_start(e);
}

/* ---- files ---- */

struct publish_file *publish_file_of(struct publish_entry *e, const char *path,
				     bool make)
{
	struct list *bucket = file_bucket_of(e->p, path);
	struct publish_file *f;

	list_foreach(g, bucket, struct publish_file, path_node) {
		if (!strcmp(g->path, path))
			return g;
	}
	if (!make)
		return NULL;
	f = mem_alloc(sizeof(*f));
	f->entry = e;
	f->path = mem_strdup(path);
	f->index = UINT32_MAX;
	list_init(&f->hash_node);
	list_init(&f->steps);
	filehash_init(&f->hash, FILEHASH_CELL);
	list_push_back(&e->files, &f->node);
	list_push_back(bucket, &f->path_node);
	return f;
}

void publish_file_rehash(struct publish_file *f)
{
	list_remove(&f->path_node);
	list_push_back(file_bucket_of(f->entry->p, f->path), &f->path_node);
}

void publish_file_free(struct publish_file *f)
{
	publish_hash_void(f, 0, UINT64_MAX);
	f->entry->writers -= f->writers;
	list_remove(&f->node);
	list_remove(&f->path_node);
	list_remove(&f->hash_node);
	filehash_release(&f->hash);
	free(f->path);
	free(f);
}

/* ---- life ---- */

static void on_removed(struct session_listener *l, struct entry *removed)
{
	struct publish *p = container_of(l, struct publish, listener);

	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		list_foreach(e, &p->buckets[i], struct publish_entry, node) {
			if (publish_torrent(e) != removed->torrent)
				continue;
			log_info("published %s was withdrawn", e->path);
			seal_stop(e);
			timer_stop(&e->timer);
			publish_set_state(e, PUBLISH_WITHDRAWN);
			memory_put(e, NULL);
			e->has_torrent = false;
		}
	}
}

int publish_open(struct session *s, struct publish **out,
		 char why[SESSION_WHY_SIZE])
{
	const char *dir = s->opts->publish_dir;
	struct publish *p;
	int r, fd;

	r = session_make_folder(dir, 0755, why);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		r = r < 0 ? r : -errno;
		snprintf(why, SESSION_WHY_SIZE, "publish_dir %.300s: %s", dir,
			 strerror(-r));
		return r;
	}
	p = mem_alloc(sizeof(*p));
	p->s = s;
	p->root = fd;
	p->is_read_only = faccessat(fd, ".", W_OK, AT_EACCESS) < 0;
	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++)
		list_init(&p->buckets[i]);
	for (unsigned i = 0; i < PUBLISH_FILE_BUCKETS; i++)
		list_init(&p->file_buckets[i]);
	list_init(&p->hashing);
	list_init(&p->memories);
	memories_load(p);
	*out = p;
	return 0;
}

static void on_look_timer(struct timer *timer)
{
	publish_look(container_of(timer, struct publish, look_timer));
}

void publish_start(struct publish *p)
{
	timer_init(&p->look_timer, p->s->loop, on_look_timer);
	memories_settle(p);
	p->listener.on_removed = on_removed;
	session_listen(p->s, &p->listener);
	p->is_started = true;
	p->watch = watch_new(p);
	publish_look(p);
}

void publish_stop(struct publish *p)
{
	p->is_stopping = true;
	if (p->is_started)
		session_unlisten(&p->listener);
	timer_stop(&p->look_timer);
	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		list_foreach(e, &p->buckets[i], struct publish_entry, node) {
			timer_stop(&e->timer);
			seal_stop(e);
		}
	}
}

void publish_close(struct publish *p)
{
	if (!p)
		return;
	publish_stop(p);
	for (unsigned i = 0; i < PUBLISH_BUCKETS; i++) {
		list_foreach_safe(e, &p->buckets[i], struct publish_entry, node)
			publish_entry_free(e);
	}
	watch_free(p->watch);
	memories_free(p);
	close(p->root);
	free(p);
}

int publish_root(const struct publish *p)
{
	return p->root;
}

bool publish_is_read_only(const struct publish *p)
{
	return p->is_read_only;
}
