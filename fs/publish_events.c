/* What the mount tells, and what follows for the entries. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/make.h"
#include "fs/publish_private.h"

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
		publish_file_rehash(f);
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
	publish_entry_rehash(e);
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
