/* Statements and rows; state_sql_open.c has the tables. */
#include "engine/state_sql.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/state_blob.h"
#include "engine/state_sql_private.h"

const char *const state_sql_texts[SQL_COUNT] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_PUT] = "INSERT INTO torrent (infohash, magnet, has_metainfo,"
		    " added_s, is_dirty, uploaded, downloaded, id)"
		    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, nullif(?8, 0))"
		    " ON CONFLICT (infohash) DO UPDATE SET magnet = ?2,"
		    " has_metainfo = ?3, added_s = ?4, is_dirty = ?5,"
		    " uploaded = ?6, downloaded = ?7 RETURNING id",
	[SQL_PUT_PROGRESS] = "UPDATE torrent SET is_dirty = ?2, uploaded = ?3,"
			     " downloaded = ?4 WHERE id = ?1",
	[SQL_PUT_BITS] = "INSERT OR REPLACE INTO have VALUES (?1, ?2)",
	[SQL_PUT_STAMPS] = "INSERT OR REPLACE INTO stamp VALUES (?1, ?2)",
	[SQL_MARK_DIRTY] = "UPDATE torrent SET is_dirty = 1 WHERE id = ?1",
	[SQL_REMOVE] = "DELETE FROM torrent WHERE id = ?1",
	[SQL_REMOVE_BITS] = "DELETE FROM have WHERE id = ?1",
	[SQL_REMOVE_STAMPS] = "DELETE FROM stamp WHERE id = ?1",
	[SQL_FIND] = "SELECT id, has_metainfo FROM torrent"
		     " WHERE infohash = ?1",
	[SQL_EACH] = "SELECT t.id, infohash, magnet, has_metainfo, added_s,"
		     " is_dirty, uploaded, downloaded, bits, stamps"
		     " FROM torrent t LEFT JOIN have h ON h.id = t.id"
		     " LEFT JOIN stamp s ON s.id = t.id ORDER BY t.id",
	[SQL_PUT_NOTE] = "INSERT OR REPLACE INTO note VALUES (?1, ?2)",
	[SQL_REMOVE_NOTE] = "DELETE FROM note WHERE key = ?1",
	[SQL_EACH_NOTE] = "SELECT key, value FROM note"
			  " WHERE substr(key, 1, length(?1)) = ?1"
			  " ORDER BY key",
};

/* --- errors --- */

int state_sql_errno(sqlite3 *db)
{
	int e = sqlite3_system_errno(db);

	switch (sqlite3_errcode(db) & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return e ? -e : -EACCES;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_IOERR:
		return e == ENOSPC || e == EDQUOT ? -e : -EIO;
	default:
		return -EIO;
	}
}

/* --- statements --- */

/* Runs a statement that gives no rows, and leaves it ready for the next. */
static int finish(struct state_sql *s, enum sql which)
{
	sqlite3_stmt *stmt = s->stmts[which];
	int r = 0;

	if (sqlite3_step(stmt) != SQLITE_DONE)
		r = state_sql_errno(s->db);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

static int finish_with_id(struct state_sql *s, enum sql which, int64_t id)
{
	sqlite3_bind_int64(s->stmts[which], 1, id);
	return finish(s, which);
}

/* Puts BLOB, which is taken and may be NULL. */
static int put_blob(struct state_sql *s, enum sql which, int64_t id,
		    uint8_t *blob, size_t len)
{
	if (!blob)
		return -ENOMEM;
	sqlite3_bind_int64(s->stmts[which], 1, id);
	/* Freed by clearing the binding. */
	sqlite3_bind_blob64(s->stmts[which], 2, blob, len, free);
	return finish(s, which);
}

/* --- rows --- */

int state_sql_begin(struct state_sql *s)
{
	return finish(s, SQL_BEGIN);
}

int state_sql_commit(struct state_sql *s)
{
	int r = finish(s, SQL_COMMIT);

	if (r)
		state_sql_rollback(s);
	return r;
}

void state_sql_rollback(struct state_sql *s)
{
	/* A full disk has rolled it back by itself. */
	if (!sqlite3_get_autocommit(s->db))
		(void)finish(s, SQL_ROLLBACK);
}

static int put_blobs(struct state_sql *s, const struct state_torrent *t,
		     int64_t id)
{
	uint8_t *blob;
	size_t len = 0;
	int r = 0;

	if (t->have && t->have_len) {
		blob = state_blob_from_bits(id, t->have, t->have_len, &len);
		r = put_blob(s, SQL_PUT_BITS, id, blob, len);
	}
	if (!r && t->stamps && t->num_stamps) {
		blob = state_blob_from_stamps(id, t->stamps, t->num_stamps,
					      &len);
		r = put_blob(s, SQL_PUT_STAMPS, id, blob, len);
	}
	return r;
}

int state_sql_put(struct state_sql *s, const struct state_torrent *t,
		  int64_t *id)
{
	sqlite3_stmt *stmt = s->stmts[SQL_PUT];
	int r;

	sqlite3_bind_blob(stmt, 1, t->infohash.b, sizeof(t->infohash.b),
			  SQLITE_STATIC);
	if (t->magnet)
		sqlite3_bind_text(stmt, 2, t->magnet, -1, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 3, t->has_metainfo);
	sqlite3_bind_int64(stmt, 4, t->added_s);
	sqlite3_bind_int(stmt, 5, t->is_dirty);
	sqlite3_bind_int64(stmt, 6, (int64_t)t->uploaded);
	sqlite3_bind_int64(stmt, 7, (int64_t)t->downloaded);
	sqlite3_bind_int64(stmt, 8, t->id);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		*id = sqlite3_column_int64(stmt, 0);
		r = finish(s, SQL_PUT);
	} else {
		r = state_sql_errno(s->db);
		sqlite3_reset(stmt);
		sqlite3_clear_bindings(stmt);
	}
	return r ? r : put_blobs(s, t, *id);
}

int state_sql_put_have(struct state_sql *s, const struct state_torrent *t)
{
	sqlite3_stmt *stmt = s->stmts[SQL_PUT_PROGRESS];
	int r;

	sqlite3_bind_int(stmt, 2, t->is_dirty);
	sqlite3_bind_int64(stmt, 3, (int64_t)t->uploaded);
	sqlite3_bind_int64(stmt, 4, (int64_t)t->downloaded);
	r = finish_with_id(s, SQL_PUT_PROGRESS, t->id);
	if (r)
		return r;
	if (!sqlite3_changes(s->db))
		return -ENOENT;
	return put_blobs(s, t, t->id);
}

int state_sql_mark_dirty(struct state_sql *s, int64_t id)
{
	int r = finish_with_id(s, SQL_MARK_DIRTY, id);

	return r || sqlite3_changes(s->db) ? r : -ENOENT;
}

int state_sql_remove(struct state_sql *s, int64_t id)
{
	int r;

	r = finish_with_id(s, SQL_REMOVE, id);
	if (!r)
		r = finish_with_id(s, SQL_REMOVE_BITS, id);
	if (!r)
		r = finish_with_id(s, SQL_REMOVE_STAMPS, id);
	return r;
}

int state_sql_find(struct state_sql *s, const struct infohash *ih, int64_t *id,
		   bool *has_metainfo)
{
	sqlite3_stmt *stmt = s->stmts[SQL_FIND];
	int r = -ENOENT;

	sqlite3_bind_blob(stmt, 1, ih->b, sizeof(ih->b), SQLITE_STATIC);
	switch (sqlite3_step(stmt)) {
	case SQLITE_ROW:
		*id = sqlite3_column_int64(stmt, 0);
		*has_metainfo = sqlite3_column_int(stmt, 1);
		r = 0;
		break;
	case SQLITE_DONE:
		break;
	default:
		r = state_sql_errno(s->db);
	}
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return r;
}

/* A number that was written from a uint64_t or a time. */
static uint64_t column_u64(sqlite3_stmt *row, int column)
{
	int64_t v = sqlite3_column_int64(row, column);

	return v < 0 ? 0 : (uint64_t)v;
}

static struct span column_span(sqlite3_stmt *row, int column)
{
	const uint8_t *ptr = sqlite3_column_blob(row, column);

	return (struct span){ ptr, (size_t)sqlite3_column_bytes(row, column) };
}

/* Bits and stamps of T; false when either is damaged. */
static bool read_blobs(sqlite3_stmt *row, struct state_torrent *t,
		       struct store_stamp **stamps)
{
	struct span bits;

	if (sqlite3_column_type(row, 8) == SQLITE_NULL)
		return true; /* nothing was ever there */
	if (!state_blob_to_bits(t->id, column_span(row, 8), &bits))
		return false;
	if (sqlite3_column_type(row, 9) != SQLITE_NULL) {
		if (!state_blob_to_stamps(t->id, column_span(row, 9), stamps,
					  &t->num_stamps))
			return false;
		t->stamps = *stamps;
	}
	t->have = bits.ptr;
	t->have_len = bits.len;
	return true;
}

/* False when the row names no torrent. */
static bool read_row(sqlite3_stmt *row, struct state_torrent *t,
		     struct store_stamp **stamps)
{
	const void *ih = sqlite3_column_blob(row, 1);
	int n = sqlite3_column_bytes(row, 1);

	*t = (struct state_torrent){ .id = sqlite3_column_int64(row, 0) };
	if (!ih || n != sizeof(t->infohash.b) || t->id <= 0)
		return false;
	memcpy(t->infohash.b, ih, sizeof(t->infohash.b));
	if (sqlite3_column_type(row, 2) == SQLITE_TEXT) {
		const char *text = (const char *)sqlite3_column_text(row, 2);
		size_t len = (size_t)sqlite3_column_bytes(row, 2);

		if (text && len <= LIMIT_MAGNET_BYTES && strlen(text) == len)
			t->magnet = text;
	}
	t->has_metainfo = sqlite3_column_int(row, 3);
	t->added_s = (int64_t)column_u64(row, 4);
	t->is_dirty = sqlite3_column_int(row, 5);
	t->uploaded = column_u64(row, 6);
	t->downloaded = column_u64(row, 7);
	if (!t->magnet && !t->has_metainfo)
		return false;

	if (!read_blobs(row, t, stamps)) {
		log_warn("state: id=%lld bits are damaged, to be checked again",
			 (long long)t->id);
		t->is_dirty = true;
	}
	return true;
}

int state_sql_each(struct state_sql *s,
		   void (*fn)(void *arg, const struct state_torrent *t),
		   void *arg)
{
	sqlite3_stmt *row = s->stmts[SQL_EACH];
	struct store_stamp *stamps = NULL;
	size_t n = 0;
	int r;

	while (sqlite3_step(row) == SQLITE_ROW) {
		struct state_torrent t;

		if (n++ == LIMIT_TORRENTS) {
			log_warn("state: more than %d torrents, the rest waits",
				 LIMIT_TORRENTS);
			sqlite3_reset(row);
			free(stamps);
			return 0;
		}
		if (read_row(row, &t, &stamps))
			fn(arg, &t);
		else
			log_warn("state: id=%lld a row is damaged, left out",
				 (long long)t.id);
	}
	r = state_sql_errno(s->db);
	sqlite3_reset(row);
	free(stamps);
	return r;
}

/* --- notes --- */

int state_sql_put_note(struct state_sql *s, const char *key,
		       const uint8_t *value, size_t len)
{
	enum sql which = value ? SQL_PUT_NOTE : SQL_REMOVE_NOTE;
	sqlite3_stmt *stmt = s->stmts[which];

	sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
	if (value)
		sqlite3_bind_blob64(stmt, 2, value, len, SQLITE_STATIC);
	return finish(s, which);
}

int state_sql_each_note(struct state_sql *s, const char *prefix,
			state_note_fn *fn, void *arg)
{
	sqlite3_stmt *row = s->stmts[SQL_EACH_NOTE];
	int r;

	sqlite3_bind_text(row, 1, prefix, -1, SQLITE_STATIC);
	while (sqlite3_step(row) == SQLITE_ROW) {
		const char *key = (const char *)sqlite3_column_text(row, 0);
		struct span value = column_span(row, 1);

		if (key && value.len <= LIMIT_NOTE_BYTES)
			fn(arg, key, value.ptr, value.len);
	}
	r = state_sql_errno(s->db);
	sqlite3_reset(row);
	sqlite3_clear_bindings(row);
	return r;
}
