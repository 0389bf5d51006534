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

/* ---- what is given away no more ---- */

/* A torrent that was in the library before has its bytes elsewhere. */
static bool is_ours(const struct publish_entry *e, const struct torrent *t)
{
	const char *place = torrent_place(t);

	return place && !strcmp(place, e->path);
}

static const char *path_in_torrent(const struct publish_entry *e,
				   const char *path)
{
	return path[strlen(e->path)] ? path + strlen(e->path) + 1 : "";
}

static uint32_t find_index(struct publish_entry *e, const struct metainfo *mi,
			   const char *path)
{
	const char *below = path_in_torrent(e, path);

	if (!mi->is_multi)
		return *below ? UINT32_MAX : 0;
	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (!(mi->files[i].flags & FILE_PAD) &&
		    !strcmp(mi->files[i].origpath, below))
			return i;
	}
	return UINT32_MAX;
}

static void withdraw(struct publish_entry *e, const char *path,
		     struct publish_file *f, uint64_t off, uint64_t len)
{
	struct torrent *t = publish_torrent(e);
	const struct metainfo *mi = t ? torrent_metainfo(t) : NULL;
	uint32_t i;

	if (!mi || !is_ours(e, t))
		return;
	i = f && f->index < mi->num_files ? f->index : find_index(e, mi, path);
	if (i == UINT32_MAX)
		return;
	if (f)
		f->index = i;
	if (off >= mi->files[i].length)
		return;
	if (len > mi->files[i].length - off)
		len = mi->files[i].length - off;
	torrent_forget(t, mi->files[i].offset + off, len);
}

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

/* PATH, a file or folder of E, has another content or none. */
static void withdraw_all(struct publish_entry *e, const char *path)
{
	struct torrent *t = publish_torrent(e);
	const struct metainfo *mi = t ? torrent_metainfo(t) : NULL;
	const char *below = path_in_torrent(e, path);

	if (!mi || !is_ours(e, t))
		return;
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];

		if (!*below || is_below(f->origpath, below))
			torrent_forget(t, f->offset, f->length);
	}
}

static void forget_files(struct publish_entry *e, const char *path)
{
	list_foreach_safe(f, &e->files, struct publish_file, node) {
		if (is_below(f->path, path))
			publish_file_free(f);
	}
}

void publish_drop_torrent(struct publish_entry *e)
{
	struct torrent *t = publish_torrent(e);

	e->has_torrent = false; /* before on_removed comes */
	if (t && is_ours(e, t)) {
		log_info("published %s is gone, and so is its torrent %s",
			 e->path, torrent_name(t));
		engine_remove(e->p->s->engine, t, false);
	}
	memory_drop(e->p, e->path);
}

/* The entry is gone, and with it its torrent. */
static void drop_entry(struct publish_entry *e)
{
	publish_drop_torrent(e);
	publish_entry_free(e);
}

/* ---- what the mount tells ---- */

/* Is PATH an entry, and nothing below one? */
static bool is_top(const struct publish *p, const char *path)
{
	size_t len = publish_entry_len(p, path);

	return len && !path[len];
}

void publish_on_writer(struct publish *p, const char *path, int by)
{
	struct publish_entry *e = publish_entry_of(p, path, by > 0);
	struct publish_file *f = e ? publish_file_of(e, path, by > 0) : NULL;

	if (!f || (by < 0 && !f->writers))
		return;
	f->writers += (unsigned)by;
	e->writers += (unsigned)by;
	/* Opened and closed without a change: nothing is new. */
	if (by < 0 && e->state == PUBLISH_WRITING && !e->writers)
		publish_settle(e, false);
	else if (by > 0 && e->state != PUBLISH_DONE &&
		 e->state != PUBLISH_WITHDRAWN)
		publish_settle(e, false);
}

void publish_before_change(struct publish *p, const char *path, uint64_t off,
			   uint64_t len)
{
	struct publish_entry *e = publish_entry_of(p, path, false);
	struct publish_file *f = e ? publish_file_of(e, path, false) : NULL;

	if (!e)
		return;
	withdraw(e, path, f, off, len);
	if (f) {
		publish_hash_void(f, off, len);
		filehash_forget(&f->hash, off, len);
		f->stamp.size = -1;
	}
	/* Also if the change then fails: what is there has to be looked at. */
	publish_settle(e, false);
}

/* A writer that goes on where it stopped has left whole pieces behind: they
 * are hashed while it writes the next ones. */
static void hash_behind(struct publish_file *f, uint64_t off, uint64_t len)
{
	uint32_t until = (uint32_t)((off + len) / f->hash.piece_length);
	bool is_in_order = off == f->next_off && off + len == f->hash.size;

	f->next_off = off + len;
	if (is_in_order && until > f->from)
		publish_hash(f,
			     f->from < f->until
				     ? f->from
				     : (uint32_t)(off / f->hash.piece_length),
			     until);
}

static void note_size(struct publish_file *f, uint64_t size)
{
	struct publish_entry *e = f->entry;

	e->bytes -= f->hash.size < e->bytes ? f->hash.size : e->bytes;
	if (filehash_resize(&f->hash, size))
		e->bytes += size;
	/* The class of the sizes that there are now: it only grows until the
	 * end, and crossing it costs SHA-1 of what is written once more. */
	if (make_piece_length(e->bytes) > f->hash.piece_length) {
		publish_hash_void(f, 0, UINT64_MAX);
		filehash_set_piece_length(&f->hash,
					  make_piece_length(e->bytes));
		f->from = f->until = 0;
	}
}

void publish_on_changed(struct publish *p, const char *path,
			const struct stat *st, uint64_t off, uint64_t len)
{
	struct publish_entry *e = publish_entry_of(p, path, true);
	struct publish_file *f;

	if (!e)
		return;
	e->is_dir = !is_top(p, path) || S_ISDIR(st->st_mode);
	if (S_ISREG(st->st_mode)) {
		f = publish_file_of(e, path, true);
		note_size(f, (uint64_t)st->st_size);
		if (len) {
			publish_hash_void(f, off, len);
			filehash_forget(&f->hash, off, len);
		}
		publish_stamp(st, &f->stamp);
		if (len && len != UINT64_MAX)
			hash_behind(f, off, len);
	}
	publish_settle(e, false);
}

void publish_on_made(struct publish *p, const char *path, const struct stat *st)
{
	struct publish_entry *e = publish_entry_of(p, path, true);

	if (!e)
		return;
	e->is_dir = !is_top(p, path) || S_ISDIR(st->st_mode);
	if (S_ISREG(st->st_mode)) {
		struct publish_file *f = publish_file_of(e, path, true);

		note_size(f, (uint64_t)st->st_size);
		publish_stamp(st, &f->stamp);
	}
	publish_settle(e, false);
}

void publish_on_removed(struct publish *p, const char *path)
{
	struct publish_entry *e = publish_entry_of(p, path, false);

	if (!e)
		return;
	if (is_top(p, path)) {
		drop_entry(e);
		return;
	}
	withdraw_all(e, path);
	forget_files(e, path);
	publish_settle(e, false);
}

/* ---- renames ---- */

static char *moved_path(const char *path, const char *from, const char *to)
{
	return mem_printf("%s%s", to, path + strlen(from));
}

/* The files of FROM keep their hashes under their new names. */
static void move_files(struct publish_entry *from, const char *old,
		       struct publish_entry *to, const char *new)
{
	list_foreach_safe(f, &from->files, struct publish_file, node) {
		char *path;

		if (!is_below(f->path, old))
			continue;
		path = moved_path(f->path, old, new);
		free(f->path);
		f->path = path;
		list_remove(&f->path_node);
		list_push_back(file_bucket_of(from->p, path), &f->path_node);
		f->index = UINT32_MAX;
		publish_hash_void(f, 0, UINT64_MAX);
		f->from = f->until = 0;
		if (from == to)
			continue;
		from->writers -= f->writers;
		from->bytes -=
			f->hash.size < from->bytes ? f->hash.size : from->bytes;
		list_remove(&f->node);
		if (!to) {
			f->entry = from; /* for its writers, which go too */
			from->writers += f->writers;
			publish_file_free(f);
			continue;
		}
		to->writers += f->writers;
		to->bytes += f->hash.size;
		f->entry = to;
		list_push_back(&to->files, &f->node);
	}
}

/* The entry has another name; its torrent keeps the one it has. */
static void rename_entry(struct publish_entry *e, const char *to)
{
	struct publish *p = e->p;
	struct torrent *t = publish_torrent(e);
	bool is_ours_still = t && is_ours(e, t);
	char *from = e->path;

	move_files(e, from, e, to);
	memory_drop(p, from);
	e->path = mem_strdup(to);
	list_remove(&e->node);
	list_push_back(bucket_of(p, to, strlen(to)), &e->node);
	if (is_ours_still)
		torrent_rename_place(t, to);
	log_info("published %s is called %s now", from, to);
	free(from);
	if (e->has_torrent)
		memory_put(e, NULL);
}

static void update_stamp(struct publish_entry *e, const char *path,
			 const struct stat *st)
{
	struct publish_file *f;

	if (!S_ISREG(st->st_mode))
		return;
	f = publish_file_of(e, path, false);
	/* Only if that is the file whose hashes these are. */
	if (f && f->stamp.ino == st->st_ino && f->stamp.size == st->st_size)
		publish_stamp(st, &f->stamp);
}

static void exchange(struct publish *p, const char *a, const char *b)
{
	const char *paths[] = { a, b };

	for (int i = 0; i < 2; i++) {
		struct publish_entry *e = publish_entry_of(p, paths[i], true);

		if (!e)
			continue;
		withdraw_all(e, paths[i]);
		forget_files(e, paths[i]);
		publish_settle(e, true);
	}
}

void publish_on_renamed(struct publish *p, const char *from, const char *to,
			bool is_exchange, const struct stat *st)
{
	struct publish_entry *e = publish_entry_of(p, from, false), *target;
	bool is_whole = e && is_top(p, from) && is_top(p, to) &&
			publish_is_entry_name(to, strlen(to));

	if (is_exchange) {
		exchange(p, from, to);
		return;
	}
	target = publish_entry_of(p, to, false);
	if (target && is_whole && target != e)
		drop_entry(target);
	if (is_whole) {
		rename_entry(e, to);
		update_stamp(e, to, st);
		if (e->state != PUBLISH_DONE && e->state != PUBLISH_WITHDRAWN)
			publish_settle(e, true);
		else
			publish_look_at(e); /* its stamp has changed */
		return;
	}
	if (target) {
		withdraw_all(target, to);
		forget_files(target, to);
	}
	target = publish_entry_of(p, to, true);
	if (e) {
		withdraw_all(e, from);
		move_files(e, from, target, to);
		if (is_top(p, from))
			drop_entry(e);
		else
			publish_settle(e, false);
	}
	if (target) {
		target->is_dir = !is_top(p, to) || S_ISDIR(st->st_mode);
		update_stamp(target, to, st);
		publish_settle(target, is_top(p, to));
	}
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
