/* Three tables, so that the mark "dirty" does not rewrite the bits and new
 * bits do not rewrite the stamps. AUTOINCREMENT: an id is never used twice,
 * since inode numbers stand on it. */
#include "engine/state_sql.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/state_blob.h"

#define APPLICATION_ID  0x77656972 /* "weir" */
#define SCHEMA_VERSION  1
#define BUSY_TIMEOUT_MS 5000 /* somebody looks with the sqlite3 shell */

static const char schema[] =
	"CREATE TABLE torrent ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" infohash BLOB NOT NULL UNIQUE,"
	" magnet TEXT,"
	" has_metainfo INTEGER NOT NULL,"
	" added_s INTEGER NOT NULL,"
	" is_dirty INTEGER NOT NULL,"
	" uploaded INTEGER NOT NULL,"
	" downloaded INTEGER NOT NULL);"
	"CREATE TABLE have (id INTEGER PRIMARY KEY, bits BLOB NOT NULL);"
	"CREATE TABLE stamp (id INTEGER PRIMARY KEY, stamps BLOB NOT NULL);";

enum sql {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_PUT,
	SQL_PUT_PROGRESS,
	SQL_PUT_BITS,
	SQL_PUT_STAMPS,
	SQL_MARK_DIRTY,
	SQL_REMOVE,
	SQL_REMOVE_BITS,
	SQL_REMOVE_STAMPS,
	SQL_FIND,
	SQL_EACH,
	SQL_COUNT,
};

static const char *const texts[SQL_COUNT] = {
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
};

struct state_sql {
	sqlite3 *db;                    /* owned */
	sqlite3_stmt *stmts[SQL_COUNT]; /* owned */
	bool is_new;
};

/* --- errors --- */

static int to_errno(sqlite3 *db)
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

__attribute__((format(printf, 2, 3))) static void say(char why[STATE_WHY_SIZE],
						      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, STATE_WHY_SIZE, format, ap);
	va_end(ap);
}

/* --- statements --- */

/* Runs a statement that gives no rows, and leaves it ready for the next. */
static int finish(struct state_sql *s, enum sql which)
{
	sqlite3_stmt *stmt = s->stmts[which];
	int r = 0;

	if (sqlite3_step(stmt) != SQLITE_DONE)
		r = to_errno(s->db);
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
		r = to_errno(s->db);
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
		r = to_errno(s->db);
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
	r = to_errno(s->db);
	sqlite3_reset(row);
	free(stamps);
	return r;
}

/* --- open and close --- */

/* One number that a pragma or a query gives. */
static int ask_number(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt;
	int r = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return to_errno(db);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	else
		r = sqlite3_errcode(db) == SQLITE_DONE ? -EUCLEAN
						       : to_errno(db);
	sqlite3_finalize(stmt);
	return r;
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : to_errno(db);
}

static int make_schema(sqlite3 *db)
{
	char text[sizeof(schema) + 120];

	snprintf(text, sizeof(text),
		 "BEGIN IMMEDIATE; %s PRAGMA application_id = %d;"
		 " PRAGMA user_version = %d; COMMIT",
		 schema, APPLICATION_ID, SCHEMA_VERSION);
	return run(db, text);
}

static int check_schema(struct state_sql *s, char why[STATE_WHY_SIZE])
{
	sqlite3 *db = s->db;
	int64_t version = 0, app = 0, tables = 0;
	int r;

	r = ask_number(db, "PRAGMA user_version", &version);
	if (!r)
		r = ask_number(db, "PRAGMA application_id", &app);
	if (!r)
		r = ask_number(db, "SELECT count(*) FROM sqlite_schema",
			       &tables);
	if (r)
		return r;
	if (!version && !app && !tables) {
		s->is_new = true;
		return make_schema(db);
	}
	if (app != APPLICATION_ID || version < 1)
		return -EUCLEAN;
	if (version > SCHEMA_VERSION) {
		say(why,
		    "state.db was written by a newer weirfs (schema %lld, this"
		    " one knows %d): use that one, or move state.db away and"
		    " the library is rebuilt from torrents/",
		    (long long)version, SCHEMA_VERSION);
		return -EOPNOTSUPP;
	}
	return 0;
}

/* Damage that is found now costs a rebuild, later it would cost answers. */
static int check_pages(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	int r = -EUCLEAN;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &stmt,
			       NULL) != SQLITE_OK)
		return to_errno(db);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *said = (const char *)sqlite3_column_text(stmt, 0);

		if (said && !strcmp(said, "ok"))
			r = 0;
	} else {
		r = to_errno(db);
	}
	sqlite3_finalize(stmt);
	return r;
}

static int prepare_all(struct state_sql *s)
{
	for (int i = 0; i < SQL_COUNT; i++)
		if (sqlite3_prepare_v3(s->db, texts[i], -1,
				       SQLITE_PREPARE_PERSISTENT, &s->stmts[i],
				       NULL) != SQLITE_OK)
			/* A table or column is not there. */
			return sqlite3_errcode(s->db) == SQLITE_ERROR
				       ? -EUCLEAN
				       : to_errno(s->db);
	return 0;
}

static int open_checked(struct state_sql *s, const char *path,
			char why[STATE_WHY_SIZE])
{
	int r;

	if (sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
				    SQLITE_OPEN_PRIVATECACHE,
			    NULL) != SQLITE_OK)
		return s->db ? to_errno(s->db) : -ENOMEM;
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	r = run(s->db, "PRAGMA cell_size_check = ON;"
		       "PRAGMA mmap_size = 0;"
		       "PRAGMA journal_mode = WAL;"
		       "PRAGMA synchronous = FULL;"
		       "PRAGMA journal_size_limit = 16777216");
	if (!r)
		r = check_schema(s, why);
	if (!r)
		r = check_pages(s->db);
	return r ? r : prepare_all(s);
}

int state_sql_open(const char *path, struct state_sql **out,
		   char why[STATE_WHY_SIZE])
{
	struct state_sql *s = mem_alloc(sizeof(*s));
	int r;

	why[0] = '\0';
	r = open_checked(s, path, why);
	if (!r) {
		*out = s;
		return 0;
	}
	if (!why[0])
		say(why, "%s: %s", path,
		    s->db ? sqlite3_errmsg(s->db) : "no memory");
	state_sql_close(s);
	return r;
}

void state_sql_close(struct state_sql *s)
{
	if (!s)
		return;
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(s->stmts[i]);
	/* The last connection checkpoints and removes the log; when it cannot,
	 * the log stays and is read at the next start. */
	(void)sqlite3_close(s->db);
	free(s);
}

int state_sql_skip_ids(struct state_sql *s, int64_t id)
{
	char text[160];

	snprintf(text, sizeof(text),
		 "DELETE FROM sqlite_sequence WHERE name = 'torrent';"
		 "INSERT INTO sqlite_sequence VALUES ('torrent', %lld)",
		 (long long)id);
	return run(s->db, text);
}

int state_sql_last_id(struct state_sql *s, int64_t *id)
{
	return ask_number(s->db,
			  "SELECT ifnull(max(seq), 0) FROM sqlite_sequence"
			  " WHERE name = 'torrent'",
			  id);
}

bool state_sql_is_new(const struct state_sql *s)
{
	return s->is_new;
}
