/* Goal: what was put is there after a restart; ids are never used twice; one
 * process at a time; files and rows agree whatever happened in between. */
#include "tests/engine/state_fixture.h"

#include <sqlite3.h>

static void test_put__everything_comes_back(void **state)
{
	struct world *w = world_new(NULL);
	struct loaded *l;
	int64_t id;

	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 7, true), 0);
	id = w->last_id;
	assert_true(id > 0);
	world_put_version(w, id, 5);
	assert_int_equal(world_wait(w, 2), 0);
	world_close(w);

	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->num, 1);
	assert_int_equal(l->t[0].id, id);
	assert_int_equal(l->t[0].added_s, 1007);
	assert_int_equal(l->t[0].version, 5);
	assert_int_equal(l->t[0].uploaded, 5);
	assert_true(l->t[0].has_metainfo);
	assert_false(l->t[0].is_dirty);
	assert_true(world_has_metainfo(w, 7));
	free(l);

	state_mark_dirty(w->state, id, world_on_done, w);
	assert_int_equal(world_wait(w, 3), 0);
	l = world_load(w);
	assert_true(l->t[0].is_dirty);
	assert_int_equal(l->t[0].version, 5);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_put_again__keeps_id_and_bits(void **state)
{
	struct world *w = world_new(NULL);
	struct state_torrent t = { .infohash = torrent_infohash(1) };
	struct loaded *l;
	int64_t id;

	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 1, false), 0);
	id = w->last_id;
	world_put_version(w, id, 3);
	world_wait(w, 2);
	t.added_s = 5;
	t.has_metainfo = true;
	state_put(w->state, &t, NULL, 0, world_on_done, w);
	assert_int_equal(world_wait(w, 3), 0);
	assert_int_equal(w->last_id, id);
	l = world_load(w);
	assert_int_equal(l->t[0].added_s, 5);
	assert_int_equal(l->t[0].version, 3);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_magnet__becomes_a_torrent(void **state)
{
	static const char link[] = "magnet:?xt=urn:btih:00&dn=x";
	struct world *w = world_new(NULL);
	struct state_torrent t = { .infohash = torrent_infohash(2),
				   .magnet = link };
	char hex[41], name[80];
	struct loaded *l;
	int64_t id;

	hex_encode(t.infohash.b, 20, hex);
	snprintf(name, sizeof(name), "torrents/%s.magnet", hex);
	assert_int_equal(world_open(w), 0);
	state_put(w->state, &t, NULL, 0, world_on_done, w);
	assert_int_equal(world_wait(w, 1), 0);
	id = w->last_id;
	l = world_load(w);
	assert_string_equal(l->t[0].magnet, link);
	assert_false(l->t[0].has_metainfo);
	free(l);
	assert_int_equal(scratch_size(w->dir, name), sizeof(link) - 1);
	assert_int_equal(world_put(w, 2, false), 0);
	assert_int_equal(w->last_id, id);
	assert_false(scratch_has(w->dir, name));
	l = world_load(w);
	assert_true(l->t[0].has_metainfo);
	assert_string_equal(l->t[0].magnet, "");
	free(l);
	world_close(w);
	world_free(w);
}

static void
test_remove__takes_row_and_file_and_never_gives_the_id_again(void **state)
{
	struct world *w = world_new(NULL);
	struct infohash ih = torrent_infohash(2);
	struct loaded *l;
	int64_t id;

	assert_int_equal(world_open(w), 0);
	world_put(w, 1, false);
	world_put(w, 2, false);
	id = w->last_id;
	world_put_version(w, id, 1);
	state_remove(w->state, id, &ih, world_on_done, w);
	assert_int_equal(world_wait(w, 4), 0);
	assert_false(world_has_metainfo(w, 2));
	world_put_version(w, id, 2);
	assert_int_equal(world_wait(w, 5), -ENOENT);
	state_mark_dirty(w->state, id, world_on_done, w);
	assert_int_equal(world_wait(w, 6), -ENOENT);
	state_remove(w->state, id, &ih, world_on_done, w);
	assert_int_equal(world_wait(w, 7), 0);
	world_close(w);

	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 2, false), 0);
	assert_true(w->last_id > id);
	l = world_load(w);
	assert_int_equal(l->num, 2);
	assert_false(l->t[1].has_bits);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_new_id__is_known_before_the_row(void **state)
{
	struct world *w = world_new(NULL);
	struct state_torrent t = { .infohash = torrent_infohash(2),
				   .has_metainfo = true };
	int64_t first, second;

	assert_int_equal(world_open(w), 0);
	first = state_new_id(w->state);
	assert_int_equal(world_put(w, 1, false), 0); /* asks for none */
	assert_true(w->last_id > first);
	second = state_new_id(w->state);
	assert_true(second > w->last_id);
	t.id = first;
	state_put(w->state, &t, NULL, 0, world_on_done, w);
	assert_int_equal(world_wait(w, 2), 0);
	assert_int_equal(w->last_id, first);
	world_close(w);
	assert_int_equal(world_open(w), 0);
	assert_true(state_new_id(w->state) > first);
	world_close(w);
	world_free(w);
}

struct order {
	struct world *w;
	unsigned n;
	unsigned *next; /* the one whose turn it is */
};

static void on_ordered(void *arg, int r, int64_t id)
{
	struct order *o = arg;

	assert_int_equal(r, 0);
	assert_int_equal(*o->next, o->n);
	++*o->next;
	world_on_done(o->w, r, id);
}

static void test_batch__done_in_order_and_all_there(void **state)
{
	struct world *w = world_new(NULL);
	struct order orders[1000];
	struct loaded *l;
	unsigned next = 0;

	assert_int_equal(world_open(w), 0);
	for (unsigned i = 0; i < 1000; i++) {
		struct state_torrent t = { .added_s = i };
		size_t len;
		char *bytes = torrent_make(i, &len, &t.infohash);

		orders[i] = (struct order){ w, i, &next };
		state_put(w->state, &t, (const uint8_t *)bytes, len, on_ordered,
			  &orders[i]);
		free(bytes);
	}
	world_wait(w, 1000);
	l = world_load(w);
	assert_int_equal(l->num, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(l->t[i].added_s, i);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_batch__remove_then_put_leaves_the_file(void **state)
{
	struct world *w = world_new(NULL);
	struct infohash ih = torrent_infohash(0);
	struct loaded *l;
	int64_t id;

	assert_int_equal(world_open(w), 0);
	world_put(w, 0, false);
	id = w->last_id;
	/* All of this waits while the first of it runs. */
	for (unsigned i = 1; i <= 20; i++) {
		struct state_torrent t = { 0 };
		size_t len;
		char *bytes = torrent_make(0, &len, &t.infohash);

		state_remove(w->state, id, &ih, world_on_done, w);
		state_put(w->state, &t, (const uint8_t *)bytes, len,
			  world_on_done, w);
		free(bytes);
	}
	assert_int_equal(world_wait(w, 41), 0);
	assert_true(world_has_metainfo(w, 0));
	l = world_load(w);
	assert_int_equal(l->num, 1);
	assert_true(l->t[0].id > id);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_close__keeps_what_was_put_at_the_last_moment(void **state)
{
	struct world *w = world_new(NULL);
	struct loaded *l;

	assert_int_equal(world_open(w), 0);
	world_put(w, 1, false);
	for (uint32_t v = 1; v <= 50; v++)
		world_put_version(w, w->last_id, v);
	world_close(w); /* nobody has waited */
	assert_int_equal(w->num_done, 51);
	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->t[0].version, 50);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_lock__one_process_at_a_time(void **state)
{
	struct world *w = world_new(NULL), *second = world_new(NULL);
	char pid[40];

	assert_int_equal(world_open(w), 0);
	snprintf(second->dir, sizeof(second->dir), "%s", w->dir);
	assert_int_equal(world_open(second), -EBUSY);
	snprintf(pid, sizeof(pid), "(process %ld)", (long)getpid());
	assert_non_null(strstr(second->why, pid));
	assert_non_null(strstr(second->why, w->dir));
	world_close(second);
	world_close(w);
	assert_int_equal(world_open(second), 0);
	world_close(second);
	world_free(second);
	world_free(w);
}

static void test_open__says_what_is_wrong(void **state)
{
	struct world *w = world_new(NULL);

	world_enter(w, "file");
	scratch_write(w->top, "file", "x", 1);
	assert_int_equal(world_open(w), -ENOTDIR);
	assert_non_null(strstr(w->why, "/file"));
	world_close(w);
	world_free(w);
}

static void test_open__makes_private_folders(void **state)
{
	struct world *w = world_new(NULL);
	struct stat st;

	world_enter(w, "a/b");
	assert_int_equal(world_open(w), 0);
	world_close(w);
	assert_int_equal(stat(w->dir, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	world_free(w);
}

/* --- a hand on the database --- */

static void sql(struct world *w, const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(scratch_path(w->dir, "state.db"), &db),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_newer_schema__is_refused_and_left_alone(void **state)
{
	struct world *w = world_new(NULL);

	assert_int_equal(world_open(w), 0);
	world_put(w, 1, false);
	world_close(w);
	sql(w, "PRAGMA user_version = 9");
	assert_int_equal(world_open(w), -EOPNOTSUPP);
	assert_non_null(strstr(w->why, "newer weirfs (schema 9"));
	world_close(w);
	assert_false(scratch_has(w->dir, "state.db.broken-1"));
	sql(w, "PRAGMA user_version = 1");
	assert_int_equal(world_open(w), 0);
	world_close(w);
	world_free(w);
}

static void test_hostile_rows__are_left_out_or_made_dirty(void **state)
{
	struct world *w = world_new(NULL);
	struct loaded *l;

	assert_int_equal(world_open(w), 0);
	for (unsigned i = 1; i <= 4; i++) {
		world_put(w, i, false);
		world_put_version(w, w->last_id, i);
		world_wait(w, 2 * i);
	}
	world_close(w);
	sql(w, "UPDATE have SET bits = zeroblob(3000) WHERE id = 1;"
	       "UPDATE have SET bits = x'00' WHERE id = 2;"
	       "UPDATE stamp SET stamps = (SELECT stamps FROM stamp"
	       " WHERE id = 4) WHERE id = 3;"
	       "INSERT INTO torrent VALUES (10, x'0102', 'm', 1, 0, 0, 0, 0);"
	       "INSERT INTO torrent VALUES (11, 'text', 'm', 1, 0, 0, 0, 0);"
	       "INSERT INTO torrent VALUES (-5, randomblob(20), 'm',"
	       " 1, 0, 0, 0, 0);"
	       "INSERT INTO torrent VALUES (12, randomblob(20), NULL,"
	       " 0, 0, 0, 0, 0);"
	       "INSERT INTO torrent VALUES (13, randomblob(20), "
	       " printf('%.*c', 70000, 'x'), 0, 0, 0, 0, 0);"
	       "INSERT INTO torrent VALUES (14, randomblob(20), 'ok', 'a', 'b',"
	       " 'c', -1, x'ffff');");
	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->num, 5);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(l->t[i].is_dirty);
		assert_false(l->t[i].has_bits);
	}
	assert_int_equal(l->t[3].version, 4);
	assert_false(l->t[3].is_dirty);
	assert_int_equal(l->t[4].id, 14);
	assert_int_equal(l->t[4].uploaded, 0);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_lost_database__is_rebuilt_from_files(void **state)
{
	struct world *w = world_new(NULL);
	struct infohash ih = torrent_infohash(2);
	struct state_torrent magnet = { .infohash = { { 9 } },
					.magnet = "magnet:?xt=x" };
	char hex[41], name[80];
	struct loaded *l;
	int64_t id;

	assert_int_equal(world_open(w), 0);
	world_put(w, 1, false);
	world_put(w, 2, false);
	id = w->last_id;
	state_put(w->state, &magnet, NULL, 0, world_on_done, w);
	world_wait(w, 3);
	world_close(w);
	assert_int_equal(unlink(scratch_path(w->dir, "state.db")), 0);
	/* Two that are not what their names say, and one cut short. */
	hex_encode(ih.b, 20, hex);
	hex[0] = hex[0] == 'a' ? 'b' : 'a';
	snprintf(name, sizeof(name), "torrents/%s.torrent", hex);
	scratch_write(w->dir, name, "d4:infod4:name", 14);
	hex[1] = 'A';
	snprintf(name, sizeof(name), "torrents/%s.torrent", hex);
	scratch_write(w->dir, name, "", 0);
	scratch_write(w->dir, "torrents/.new", "half", 4);
	scratch_write(w->dir, "torrents/notes.txt", "mine", 4);

	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->num, 3);
	for (unsigned i = 0; i < l->num; i++) {
		assert_true(l->t[i].is_dirty);
		assert_false(l->t[i].has_bits);
		assert_true(l->t[i].id > id + 1);
		if (l->t[i].infohash.b[0] == 9 && l->t[i].magnet[0])
			assert_string_equal(l->t[i].magnet, magnet.magnet);
		else
			assert_true(l->t[i].has_metainfo);
	}
	free(l);
	assert_false(scratch_has(w->dir, "torrents/.new"));
	assert_true(scratch_has(w->dir, "torrents/notes.txt"));
	world_close(w);
	/* Once more: nothing is adopted twice. */
	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->num, 3);
	free(l);
	world_close(w);
	world_free(w);
}

static void test_read_metainfo__refuses_what_is_no_file(void **state)
{
	struct world *w = world_new(NULL);
	struct infohash ih = torrent_infohash(3);
	char hex[41], name[80];
	uint8_t *bytes;
	size_t len;

	assert_int_equal(world_open(w), 0);
	hex_encode(ih.b, 20, hex);
	snprintf(name, sizeof(name), "torrents/%s.torrent", hex);
	assert_int_equal(state_read_metainfo(w->state, &ih, &bytes, &len),
			 -ENOENT);
	assert_int_equal(symlink("/etc/passwd", scratch_path(w->dir, name)), 0);
	assert_int_equal(state_read_metainfo(w->state, &ih, &bytes, &len),
			 -ELOOP);
	unlink(scratch_path(w->dir, name));
	assert_int_equal(mkfifo(scratch_path(w->dir, name), 0600), 0);
	assert_int_equal(state_read_metainfo(w->state, &ih, &bytes, &len),
			 -EBADMSG);
	unlink(scratch_path(w->dir, name));
	scratch_write(w->dir, name, "x", 1);
	assert_int_equal(truncate(scratch_path(w->dir, name), 81 << 20), 0);
	assert_int_equal(state_read_metainfo(w->state, &ih, &bytes, &len),
			 -E2BIG);
	world_close(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_put__everything_comes_back),
		cmocka_unit_test(test_put_again__keeps_id_and_bits),
		cmocka_unit_test(test_magnet__becomes_a_torrent),
		cmocka_unit_test(
			test_remove__takes_row_and_file_and_never_gives_the_id_again),
		cmocka_unit_test(test_new_id__is_known_before_the_row),
		cmocka_unit_test(test_batch__done_in_order_and_all_there),
		cmocka_unit_test(test_batch__remove_then_put_leaves_the_file),
		cmocka_unit_test(
			test_close__keeps_what_was_put_at_the_last_moment),
		cmocka_unit_test(test_lock__one_process_at_a_time),
		cmocka_unit_test(test_open__says_what_is_wrong),
		cmocka_unit_test(test_open__makes_private_folders),
		cmocka_unit_test(test_newer_schema__is_refused_and_left_alone),
		cmocka_unit_test(test_hostile_rows__are_left_out_or_made_dirty),
		cmocka_unit_test(test_lost_database__is_rebuilt_from_files),
		cmocka_unit_test(test_read_metainfo__refuses_what_is_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
