/* engine/state_sql.h: the tables of state.db, and nothing else. One thread at
 * a time. What it reads is checked as if a stranger had written it. Private to
 * state.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/state.h"

struct state_sql;

/*
 * Opens or creates PATH and checks all of it. 0; -EUCLEAN: damaged, or not
 * ours; -EOPNOTSUPP: written by a newer weirfs; -errno. WHY on failure.
 */
int state_sql_open(const char *path, struct state_sql **out,
		   char why[STATE_WHY_SIZE]);
void state_sql_close(struct state_sql *db); /* checkpoints; NULL is fine */

/* The highest id that was ever used. */
int state_sql_last_id(struct state_sql *db, int64_t *id);
bool state_sql_is_new(const struct state_sql *db); /* made by this open */
/* Ids begin above ID from now on. For a database made anew. */
int state_sql_skip_ids(struct state_sql *db, int64_t id);

/* All 0 or -errno. Between begin and commit, one that fails for another reason
 * than -ENOENT leaves nothing to be committed. */
int state_sql_begin(struct state_sql *db);
int state_sql_commit(struct state_sql *db); /* fails: rolled back */
void state_sql_rollback(struct state_sql *db);

int state_sql_put(struct state_sql *db, const struct state_torrent *t,
		  int64_t *id);
int state_sql_put_have(struct state_sql *db, const struct state_torrent *t);
int state_sql_mark_dirty(struct state_sql *db, int64_t id);
int state_sql_remove(struct state_sql *db, int64_t id); /* none: 0 */

/* VALUE NULL: none any more. */
int state_sql_put_note(struct state_sql *db, const char *key,
		       const uint8_t *value, size_t len);
int state_sql_each_note(struct state_sql *db, const char *prefix,
			state_note_fn *fn, void *arg);

/* -ENOENT: no such row. */
int state_sql_find(struct state_sql *db, const struct infohash *ih, int64_t *id,
		   bool *has_metainfo);
int state_sql_each(struct state_sql *db,
		   void (*fn)(void *arg, const struct state_torrent *t),
		   void *arg);
