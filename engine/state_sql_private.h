/* engine/state_sql_private.h: what the files of state_sql share. */
#pragma once

#include <sqlite3.h>

#include "engine/state_sql.h"

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
	SQL_PUT_NOTE,
	SQL_REMOVE_NOTE,
	SQL_EACH_NOTE,
	SQL_COUNT,
};

struct state_sql {
	sqlite3 *db;                    /* owned */
	sqlite3_stmt *stmts[SQL_COUNT]; /* owned */
	bool is_new;
};

extern const char *const state_sql_texts[SQL_COUNT];
int state_sql_errno(sqlite3 *db); /* of its last failure; 0: none */
