/* Goal: notes come back, are forgotten when told so, and have a limit; a
 * database from before there were notes gets its table. */
#include "tests/engine/state_fixture.h"

#include <sqlite3.h>

struct notes {
	char text[400]; /* "KEY=VALUE;..." */
	unsigned num;
};

static void on_note(void *arg, const char *key, const uint8_t *value,
		    size_t len)
{
	struct notes *n = arg;
	size_t at = strlen(n->text);

	n->num++;
	if (len < 20)
		snprintf(n->text + at, sizeof(n->text) - at, "%s=%.*s;", key,
			 (int)len, (const char *)value);
}

static void check_notes(struct world *w, const char *prefix, const char *want)
{
	struct notes n = { 0 };

	assert_int_equal(state_load_notes(w->state, prefix, on_note, &n), 0);
	assert_string_equal(n.text, want);
}

static int put(struct world *w, const char *key, const void *value, size_t len)
{
	state_put_note(w->state, key, value, len, world_on_done, w);
	return world_wait(w, w->num_done + 1);
}

static void test_note__comes_back_by_prefix(void **state)
{
	struct world *w = world_new(NULL);

	assert_int_equal(world_open(w), 0);
	assert_int_equal(put(w, "dht.id", "abc", 3), 0);
	assert_int_equal(put(w, "follow.b", "2", 1), 0);
	assert_int_equal(put(w, "follow.a", "1", 1), 0);
	assert_int_equal(put(w, "dht.id", "def", 3), 0);
	world_close(w);

	assert_int_equal(world_open(w), 0);
	check_notes(w, "follow.", "follow.a=1;follow.b=2;");
	check_notes(w, "", "dht.id=def;follow.a=1;follow.b=2;");
	/* A wildcard in a prefix is a letter like others. */
	check_notes(w, "follow%", "");
	assert_int_equal(put(w, "follow.a", NULL, 0), 0);
	assert_int_equal(put(w, "follow.c", NULL, 0), 0);
	check_notes(w, "follow.", "follow.b=2;");
	world_close(w);
	world_free(w);
}

static void test_note__has_a_limit(void **state)
{
	struct world *w = world_new(NULL);
	uint8_t *large = mem_alloc(LIMIT_NOTE_BYTES + 1);
	struct notes n = { 0 };

	assert_int_equal(world_open(w), 0);
	assert_int_equal(put(w, "a", large, LIMIT_NOTE_BYTES + 1), -E2BIG);
	assert_int_equal(put(w, "a", large, LIMIT_NOTE_BYTES), 0);
	assert_int_equal(state_load_notes(w->state, "a", on_note, &n), 0);
	assert_int_equal(n.num, 1);
	free(large);
	world_close(w);
	world_free(w);
}

static void run_sql(struct world *w, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(scratch_path(w->dir, "state.db"), &db),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_schema_1__is_upgraded_in_place(void **state)
{
	struct world *w = world_new(NULL);
	struct loaded *l;

	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 1, false), 0);
	world_close(w);
	run_sql(w, "DROP TABLE note; PRAGMA user_version = 1");

	assert_int_equal(world_open(w), 0);
	assert_int_equal(put(w, "a", "b", 1), 0);
	check_notes(w, "", "a=b;");
	l = world_load(w);
	assert_int_equal(l->num, 1);
	assert_false(l->t[0].is_dirty);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_hostile_note__is_left_out(void **state)
{
	struct world *w = world_new(NULL);

	assert_int_equal(world_open(w), 0);
	world_close(w);
	run_sql(w, "INSERT INTO note VALUES ('big', zeroblob(70000));"
		   "INSERT INTO note VALUES (NULL, 'x');"
		   "INSERT INTO note VALUES ('text', 'y');");
	assert_int_equal(world_open(w), 0);
	check_notes(w, "", "text=y;");
	world_close(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_note__comes_back_by_prefix),
		cmocka_unit_test(test_note__has_a_limit),
		cmocka_unit_test(test_schema_1__is_upgraded_in_place),
		cmocka_unit_test(test_hostile_note__is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
