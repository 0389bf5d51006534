/* Tables: three for torrents, so that the mark "dirty" does not rewrite the
 * bits and new bits do not rewrite the stamps. AUTOINCREMENT: an id is never
 * used twice, since inode numbers stand on it. */
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/state_sql_private.h"

#define APPLICATION_ID  0x77656972 /* "weir" */
#define SCHEMA_VERSION  2
#define BUSY_TIMEOUT_MS 5000 /* somebody looks with the sqlite3 shell */

/* What version 2 has and version 1 had not. */
#define SCHEMA_2                                                               \
	"CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value BLOB NOT NULL);"

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
	"CREATE TABLE stamp (id INTEGER PRIMARY KEY, stamps BLOB NOT NULL);" SCHEMA_2;

__attribute__((format(printf, 2, 3))) static void say(char why[STATE_WHY_SIZE],
						      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, STATE_WHY_SIZE, format, ap);
	va_end(ap);
}

/* One number that a pragma or a query gives. */
static int ask_number(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt;
	int r = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return state_sql_errno(db);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	else
		r = sqlite3_errcode(db) == SQLITE_DONE ? -EUCLEAN
						       : state_sql_errno(db);
	sqlite3_finalize(stmt);
	return r;
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
		       ? 0
		       : state_sql_errno(db);
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

static int upgrade(sqlite3 *db)
{
	int r = run(db, "BEGIN IMMEDIATE; " SCHEMA_2
			" PRAGMA user_version = 2; COMMIT");

	if (r && !sqlite3_get_autocommit(db))
		(void)run(db, "ROLLBACK");
	return r;
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
	return version < 2 ? upgrade(db) : 0;
}

/* Damage that is found now costs a rebuild, later it would cost answers. */
static int check_pages(sqlite3 *db)
{
	sqlite3_stmt *stmt;
	int r = -EUCLEAN;

	if (sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &stmt,
			       NULL) != SQLITE_OK)
		return state_sql_errno(db);
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		const char *said = (const char *)sqlite3_column_text(stmt, 0);

		if (said && !strcmp(said, "ok"))
			r = 0;
	} else {
		r = state_sql_errno(db);
	}
	sqlite3_finalize(stmt);
	return r;
}

static int prepare_all(struct state_sql *s)
{
	for (int i = 0; i < SQL_COUNT; i++)
		if (sqlite3_prepare_v3(s->db, state_sql_texts[i], -1,
				       SQLITE_PREPARE_PERSISTENT, &s->stmts[i],
				       NULL) != SQLITE_OK)
			/* A table or column is not there. */
			return sqlite3_errcode(s->db) == SQLITE_ERROR
				       ? -EUCLEAN
				       : state_sql_errno(s->db);
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
		return s->db ? state_sql_errno(s->db) : -ENOMEM;
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
