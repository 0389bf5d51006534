/* Opening: the lock, the folder, the database; one that is damaged is moved
 * aside and rebuilt from the files in torrents/. */
#include "engine/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/metainfo.h"
#include "engine/state_files.h"
#include "engine/state_private.h"
#include "engine/state_sql.h"

/* --- loading --- */

int state_load(struct state *st,
	       void (*fn)(void *arg, const struct state_torrent *t), void *arg)
{
	return state_sql_each(st->sql, fn, arg);
}

int state_read_metainfo(struct state *st, const struct infohash *ih,
			uint8_t **out, size_t *len)
{
	return state_files_read(st->torrents_fd, ih, STATE_FILE_TORRENT, out,
				len);
}

int state_load_notes(struct state *st, const char *prefix, state_note_fn *fn,
		     void *arg)
{
	return state_sql_each_note(st->sql, prefix, fn, arg);
}

/* --- opening --- */

struct adoption {
	struct state *st;
	unsigned num;
	int r;
};

/* A new database beside old files does not know which ids were in use. As
 * nobody adds a torrent each second for years, the clock is ahead of all. */
static int skip_used_ids(struct state *st)
{
	return state_sql_is_new(st->sql)
		       ? state_sql_skip_ids(st->sql, clock_wall_s())
		       : 0;
}

/* Only what says of itself what its name says. */
static bool is_torrent(const struct infohash *ih, const uint8_t *bytes,
		       size_t len)
{
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;
	bool same;

	if (metainfo_parse(bytes, len, &mi, why))
		return false;
	same = infohash_eq(&mi->infohash, ih);
	metainfo_free(mi);
	return same;
}

/* Gives the file a row. */
static int adopt_file(struct state *st, const struct infohash *ih,
		      enum state_file kind)
{
	struct state_torrent t = {
		.infohash = *ih,
		.added_s = clock_wall_s(),
		.is_dirty = true,
	};
	uint8_t *bytes;
	size_t len;
	int64_t id;
	int r;

	r = state_files_read(st->torrents_fd, ih, kind, &bytes, &len);
	if (r)
		return r;
	if (kind == STATE_FILE_MAGNET)
		t.magnet = (const char *)bytes;
	else if (is_torrent(ih, bytes, len))
		t.has_metainfo = true;
	else
		r = -EBADMSG;
	if (!r)
		r = state_sql_put(st->sql, &t, &id);
	free(bytes);
	return r;
}

static void on_file(void *arg, const struct infohash *ih, enum state_file kind)
{
	struct adoption *a = arg;
	char hex[2 * sizeof(ih->b) + 1];
	bool has_metainfo = false;
	int64_t id;
	int r;

	r = state_sql_find(a->st->sql, ih, &id, &has_metainfo);
	if (r && r != -ENOENT) {
		a->r = r;
		return;
	}
	if (kind == STATE_FILE_MAGNET) {
		if (has_metainfo)
			(void)state_files_remove(a->st->torrents_fd, ih, kind);
		if (!r)
			return;
	} else if (!r && has_metainfo) {
		return;
	}
	r = a->num ? 0 : skip_used_ids(a->st);
	if (!r)
		r = adopt_file(a->st, ih, kind);
	if (!r)
		a->num++;
	else if (r == -EBADMSG || r == -E2BIG || r == -ENOENT)
		log_warn("state: torrents/%s is no such torrent, left alone",
			 hex_encode(ih->b, sizeof(ih->b), hex));
	else
		a->r = r;
}

/* Files without a row: put, and killed before the row was there; removed, and
 * killed before the file was gone; or all of them, after a rebuild. */
static int adopt_files(struct state *st)
{
	struct adoption a = { .st = st };
	int r;

	r = state_sql_begin(st->sql);
	if (r)
		return r;
	r = state_files_each(st->torrents_fd, on_file, &a);
	r = r ? r : a.r;
	if (r)
		state_sql_rollback(st->sql);
	else
		r = state_sql_commit(st->sql);
	if (!r && a.num)
		log_info("state: found %u torrents that the database did not"
			 " know",
			 a.num);
	return r;
}

static int open_database(struct state *st, char why[STATE_WHY_SIZE])
{
	char *path = mem_printf("%s/state.db", st->dir);
	unsigned n;
	int r, s;

	r = state_sql_open(path, &st->sql, why);
	if (r != -EUCLEAN)
		goto out_path;
	s = state_files_move_aside(st->dir, &n);
	if (s) {
		snprintf(why, STATE_WHY_SIZE,
			 "%s is damaged and cannot be moved aside: %s", path,
			 strerror(-s));
		r = s;
		goto out_path;
	}
	log_error("state: %s is damaged, kept as state.db.broken-%u and rebuilt"
		  " from torrents/: what is on disk will be checked again",
		  path, n);
	r = state_sql_open(path, &st->sql, why);
	if (!r)
		r = skip_used_ids(st);
	if (r && !why[0])
		snprintf(why, STATE_WHY_SIZE, "%s: %s", path, strerror(-r));
out_path:
	free(path);
	return r;
}

int state_open(const char *dir, struct workers *workers, struct state **out,
	       char why[STATE_WHY_SIZE])
{
	struct state *st = mem_alloc(sizeof(*st));
	int r;

	why[0] = '\0';
	st->workers = workers;
	st->dir = mem_strdup(dir);
	st->torrents_fd = -1;
	st->waiting_end = &st->waiting;
	pthread_mutex_init(&st->lock, NULL);
	st->lock_fd = state_files_lock(dir, why);
	if (st->lock_fd < 0) {
		r = st->lock_fd;
		goto out_close;
	}
	st->torrents_fd = state_files_open(dir);
	if (st->torrents_fd < 0) {
		r = st->torrents_fd;
		snprintf(why, STATE_WHY_SIZE, "%s/torrents: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	r = open_database(st, why);
	if (r)
		goto out_close;
	r = adopt_files(st);
	if (r) {
		snprintf(why, STATE_WHY_SIZE, "reading %s/torrents: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	r = state_sql_last_id(st->sql, &st->last_id);
	if (r) {
		snprintf(why, STATE_WHY_SIZE, "%s/state.db: %s", dir,
			 strerror(-r));
		goto out_close;
	}
	*out = st;
	return 0;
out_close:
	state_close(st);
	return r;
}

void state_close(struct state *st)
{
	if (!st)
		return;
	CHECK(!st->waiting);
	state_sql_close(st->sql);
	if (st->torrents_fd >= 0)
		close(st->torrents_fd);
	if (st->lock_fd >= 0)
		close(st->lock_fd);
	pthread_mutex_destroy(&st->lock);
	free(st->dir);
	free(st);
}
