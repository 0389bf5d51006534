/* Goal: status is JSON whatever a torrent is called, and says what is here to
 * the byte; the picture and the metrics have the form that readers expect. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "fs/status.h"

#define PIECE 16384u
#define TOTAL (4 * PIECE - 5)
#define A_LEN 20000u /* files: a, one byte with a hostile name, c */
#define C_AT  (A_LEN + 1)

/* A read-only session on loopback with one torrent of four pieces, of which
 * the first and the last are right on disk. */
struct rig {
	struct opts opts;
	struct session *s;
	char dir[64];
	int64_t id;
	bool is_done;
};

static uint8_t content[TOTAL];

static void make_torrent(struct buf *b)
{
	for (size_t i = 0; i < TOTAL; i++)
		content[i] = (uint8_t)(i / 251);
	buf_init(b, 0);
	buf_add_str(b, "d4:infod5:filesld6:lengthi20000e4:pathl1:aee"
		       "d6:lengthi1e4:pathl3:\"\xff\n"
		       "ee");
	buf_printf(b, "d6:lengthi%ue4:pathl1:ceee", TOTAL - C_AT);
	buf_printf(b,
		   "4:name5:t\"\x01\xff.12:piece lengthi%ue6:pieces80:", PIECE);
	for (size_t at = 0; at < TOTAL; at += PIECE) {
		size_t n = TOTAL - at < PIECE ? TOTAL - at : PIECE;

		sha1(content + at, n, buf_reserve(b, SHA1_LEN));
		b->len += SHA1_LEN;
	}
	buf_add_str(b, "ee");
}

static void put_file(const struct rig *rig, const struct metainfo *mi,
		     unsigned i, size_t wrong_before)
{
	const struct metainfo_file *f = &mi->files[i];
	char *path = mem_printf("%s/%s/%s", rig->dir, mi->name, f->path);
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	for (uint64_t k = 0; k < f->length; k++)
		fputc(k < wrong_before ? '!' : content[f->offset + k], out);
	fclose(out);
	free(path);
}

static void put_files(const struct rig *rig, const struct buf *torrent)
{
	char why[METAINFO_WHY_SIZE], *folder;
	struct metainfo *mi;

	if (metainfo_parse(torrent->ptr, torrent->len, &mi, why))
		fail_msg("%s", why);
	folder = mem_printf("%s/%s", rig->dir, mi->name);
	assert_int_equal(mkdir(folder, 0700), 0);
	put_file(rig, mi, 0, 0);
	put_file(rig, mi, 1, 1);
	put_file(rig, mi, 2, 3 * PIECE - C_AT);
	free(folder);
	metainfo_free(mi);
}

static void remove_files(struct rig *rig)
{
	char *command = mem_printf("rm -r %s", rig->dir);

	assert_int_equal(system(command), 0);
	free(command);
}

/* ---- the session ---- */

static void on_added(void *arg, int r, int64_t id, const char *why)
{
	struct rig *rig = arg;

	if (r)
		fail_msg("%s", why);
	rig->id = id;
	rig->is_done = true;
}

static void on_stopped(void *arg)
{
	((struct rig *)arg)->is_done = true;
}

static void run_until_done(struct rig *rig)
{
	while (!rig->is_done)
		loop_run_once(rig->s->loop, 50);
	rig->is_done = false;
}

static struct entry *entry_of(struct rig *rig)
{
	return library_by_id(rig->s->library, rig->id);
}

static void run_until_checked(struct rig *rig)
{
	struct torrent_stats st;

	do {
		loop_run_once(rig->s->loop, 20);
		torrent_stats(entry_of(rig)->torrent, &st);
	} while (st.phase == TORRENT_CHECKING);
}

static int set_up(void **state)
{
	static const struct session_config config = { .is_flat = true,
						      .is_read_only = true,
						      .is_stateless = true };
	struct rig *rig = mem_alloc(sizeof(*rig));
	char why[SESSION_WHY_SIZE];
	struct buf torrent;

	log_start("test", LOG_LEVEL_ERROR);
	snprintf(rig->dir, sizeof(rig->dir), "/tmp/weirfs-status-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	make_torrent(&torrent);
	put_files(rig, &torrent);
	opts_init(&rig->opts);
	assert_int_equal(opts_set(&rig->opts, "data", rig->dir, why), 0);
	assert_int_equal(opts_set(&rig->opts, "bind", "127.0.0.1", why), 0);
	/* The default nine may belong to somebody else here. */
	rig->opts.port = (uint16_t)(20000 + getpid() % 30000);
	assert_int_equal(opts_finish(&rig->opts, NULL, why), 0);
	if (session_open(&rig->opts, &config, &rig->s, why))
		fail_msg("%s", why);
	session_add_bytes(rig->s, torrent.ptr, torrent.len, on_added, rig);
	run_until_done(rig);
	run_until_checked(rig);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	session_stop(rig->s, on_stopped, rig);
	run_until_done(rig);
	session_close(rig->s);
	opts_release(&rig->opts);
	remove_files(rig);
	free(rig);
	return 0;
}

/* ---- the tests ---- */

static json_int_t number(json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);

	assert_true(json_is_integer(value));
	return json_integer_value(value);
}

static const char *text(json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	assert_non_null(value);
	return value;
}

static void test_text__is_never_lost(void **state)
{
	static const char *const hard[] = {
		"",         "plain",     "caf\xc3\xa9",
		"\xff\xfe", "a\"b\\c\n", "\xed\xa0\x80"
	};

	for (size_t i = 0; i < ARRAY_LEN(hard); i++) {
		json_t *t = status_text(hard[i]);

		assert_true(json_is_string(t));
		json_decref(t);
	}
}

static void test_torrent__says_what_is_here(void **state)
{
	struct rig *rig = *state;
	json_t *o = status_torrent(rig->s, entry_of(rig));

	assert_string_equal(text(o, "state"), "on-demand");
	assert_string_equal(text(o, "name"), entry_of(rig)->name);
	assert_int_equal(strlen(text(o, "infohash")), 40);
	assert_int_equal(number(o, "total_bytes"), TOTAL);
	assert_int_equal(number(o, "have_bytes"), PIECE + PIECE - 5);
	assert_int_equal(number(o, "have_pieces"), 2);
	assert_int_equal(number(o, "num_pieces"), 4);
	assert_int_equal(number(o, "parked_reads"), 0);
	assert_non_null(strstr(text(o, "message"), "no peers yet"));
	assert_true(json_is_array(json_object_get(o, "sources")));
	json_decref(o);
}

static void test_library__is_json_with_every_torrent(void **state)
{
	struct rig *rig = *state;
	struct buf b;
	json_t *o, *list;

	buf_init(&b, 0);
	status_write_json(status_library(rig->s), &b);
	o = json_loadb((const char *)b.ptr, b.len, JSON_REJECT_DUPLICATES,
		       NULL);
	assert_non_null(o);
	list = json_object_get(o, "torrents");
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number(json_array_get(list, 0), "id"), rig->id);
	assert_string_equal(text(o, "data_dir"), rig->dir);
	json_decref(o);
	buf_release(&b);
}

static void check_have(struct entry *e, const char *name, const char *want)
{
	uint32_t node =
		name ? tree_lookup(entry_tree(e), TREE_ROOT, name, strlen(name))
		     : TREE_ROOT;
	struct buf b;

	buf_init(&b, 0);
	status_write_have(e, node, 4096, &b);
	assert_int_equal(b.len, strlen(want));
	assert_memory_equal(b.ptr ? (char *)b.ptr : "", want, b.len);
	buf_release(&b);
}

static void test_have__is_right_to_the_byte(void **state)
{
	struct entry *e = entry_of(*state);
	uint64_t present, total;

	/* a is bytes 0..19999 of the torrent; c begins at 20001. */
	check_have(e, "a", "0-16383");
	check_have(e, "c", "29151-45529");
	check_have(e, NULL, "32763");
	status_present(e, tree_lookup(entry_tree(e), TREE_ROOT, "a", 1),
		       &present, &total);
	assert_int_equal(present, PIECE);
	assert_int_equal(total, A_LEN);
}

static void test_svg__has_one_path_per_level(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	status_write_svg(entry_of(*state), &b);
	buf_add(&b, "", 1);
	assert_ptr_equal(strstr((char *)b.ptr, "<svg "), b.ptr);
	assert_non_null(strstr((char *)b.ptr, "2 of 4 pieces"));
	assert_non_null(strstr((char *)b.ptr, "d=\"M0,0h8v8h-8zM24,0h8v8h-8z"));
	assert_non_null(strstr((char *)b.ptr, "</svg>"));
	buf_release(&b);
}

/* Every line is a comment, or a name, perhaps labels, and a number. */
static void test_metrics__are_prometheus_text(void **state)
{
	struct rig *rig = *state;
	struct buf b;
	unsigned helps = 0, types = 0;

	buf_init(&b, 0);
	status_write_metrics(rig->s, &b);
	buf_add(&b, "", 1);
	for (char *line = (char *)b.ptr, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		*end = '\0';
		helps += !strncmp(line, "# HELP ", 7);
		types += !strncmp(line, "# TYPE ", 7);
		if (*line != '#') {
			char *value = strrchr(line, ' ');

			assert_int_equal(strncmp(line, "weirfs_", 7), 0);
			assert_non_null(value);
			assert_int_equal(strspn(value + 1, "0123456789"),
					 strlen(value + 1));
		}
	}
	assert_true(helps > 8);
	assert_int_equal(helps, types);
	buf_release(&b);
}

static void test_library__finds_by_name_and_hash(void **state)
{
	struct rig *rig = *state;
	struct entry *e = entry_of(rig);
	char part[9];

	snprintf(part, sizeof(part), "%.8s", e->hash);
	assert_ptr_equal(library_find(rig->s->library, e->name), e);
	assert_ptr_equal(library_find(rig->s->library, e->hash), e);
	assert_ptr_equal(library_find(rig->s->library, part), e);
	part[7] = '\0';
	assert_null(library_find(rig->s->library, part));
	assert_null(library_find(rig->s->library, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text__is_never_lost),
		cmocka_unit_test(test_torrent__says_what_is_here),
		cmocka_unit_test(test_library__is_json_with_every_torrent),
		cmocka_unit_test(test_have__is_right_to_the_byte),
		cmocka_unit_test(test_svg__has_one_path_per_level),
		cmocka_unit_test(test_metrics__are_prometheus_text),
		cmocka_unit_test(test_library__finds_by_name_and_hash),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
