/* Goal: what was fetched is there after a restart, whenever the last run ended
 * and however; what somebody changed meanwhile is found out. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/engine_private.h"
#include "tests/engine/gate.h"
#include "tests/engine/warp.h"

#define PIECE 65536u
#define NUM   40u /* pieces */
#define BLOCK 16384u

static struct rig rig;
static struct node node;
static struct gate gate;
static struct raw raw;
static uint8_t film[NUM * PIECE];

static void read_film(void)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/a/film", rig.dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(film, 1, sizeof(film), f), sizeof(film));
	fclose(f);
}

static void __attribute__((format(printf, 1, 2))) shell(const char *format, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static int set_up(void **state)
{
	rig_start(&rig);
	rig_make_file(&rig, "a", "film", sizeof(film), 1);
	read_film();
	raw.fd = raw.listen_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	raw_close(&raw);
	rig_end(&rig);
	return 0;
}

/* The node keeps its data in b; has it the film already? */
static void start(bool has_film)
{
	if (has_film)
		shell("mkdir -p %s/b && cp %s/a/film %s/b/", rig.dir, rig.dir,
		      rig.dir);
	node_start(&node, &rig, "b", false, FILL_NONE, true);
	if (!node.torrent)
		node_add(&node, rig_metainfo(&rig, "a", "film", PIECE));
}

static void start_ready(bool has_film)
{
	start(has_film);
	assert_true(rig_until(&rig, &node.torrent->is_ready, 5000));
}

static uint32_t num_have(void)
{
	return torrent_have(node.torrent)->num_set;
}

static void stop_now(void)
{
	engine_stop(node.engine, node_on_stopped, &node);
}

static void end_stop(void)
{
	assert_true(rig_until(&rig, &node.has_stopped, 5000));
	assert_false(engine_is_stuck(node.engine));
	node_end(&node);
}

static struct want want;
static bool is_read;
static int read_result;

static void on_read(struct want *w, int r)
{
	is_read = true;
	read_result = r;
}

static void set_want(uint32_t piece)
{
	memset(&want, 0, sizeof(want));
	want.off = (uint64_t)piece * PIECE;
	want.len = 1;
	want.done = on_read;
	is_read = false;
}

/* From a scripted seed. */
static void fetch(uint32_t piece, bool waits)
{
	struct raw_msg m;

	set_want(piece);

	if (raw.fd < 0) {
		raw_meet(&raw, &node, 'a', RAW_FAST);
		raw_say(&raw, WIRE_HAVE_ALL);
		raw_say(&raw, WIRE_UNCHOKE);
		rig_run(&rig, 50);
	}
	torrent_want(node.torrent, NULL, &want);
	for (unsigned i = 0; i < PIECE / BLOCK; i++) {
		uint64_t off;

		assert_true(raw_wait(&raw, WIRE_REQUEST, &m, 2000));
		off = (uint64_t)load_be32(m.body) * PIECE +
		      load_be32(m.body + 4);
		raw_give(&raw, load_be32(m.body), load_be32(m.body + 4),
			 film + off, BLOCK);
	}
	if (waits) {
		assert_true(rig_until(&rig, &is_read, 2000));
		assert_true(torrent_has(node.torrent, want.off, 1));
	}
}

static void test_stop__before_the_bits_are_loaded(void **state)
{
	start_ready(true);
	assert_int_equal(num_have(), NUM);
	node_stop(&node);
	gate_shut(&gate, &rig, LANE_DISK);
	start(false);
	stop_now();
	rig_run(&rig, 200);
	assert_false(node.has_stopped);
	gate_open(&gate);
	end_stop();
	start_ready(false);
	assert_int_equal(num_have(), NUM);
	node_stop(&node);
}

static void test_read__parked_before_the_bits_are_loaded(void **state)
{
	start_ready(true);
	node_stop(&node);
	gate_shut(&gate, &rig, LANE_DISK);
	start(false);
	set_want(7);
	torrent_want(node.torrent, NULL, &want);
	rig_run(&rig, 100);
	assert_false(is_read);
	gate_open(&gate);
	assert_true(rig_until(&rig, &is_read, 2000));
	assert_int_equal(read_result, 0);
	node_stop(&node);
}

/* Nobody is connected, and the piece is about to be found right. */
static void test_read__parked_while_all_is_hashed(void **state)
{
	gate_shut(&gate, &rig, LANE_HASH);
	start(true);
	node.engine->config.read_timeout_ms = 0; /* none */
	set_want(7);
	torrent_want(node.torrent, NULL, &want);
	rig_run(&rig, 100);
	warp_ms(20000);
	rig_run(&rig, 400);
	assert_false(is_read);
	gate_open(&gate);
	assert_true(rig_until(&rig, &is_read, 2000));
	assert_int_equal(read_result, 0);
	node_stop(&node);
}

static void test_stop__in_the_middle_of_a_check(void **state)
{
	gate_shut(&gate, &rig, LANE_HASH);
	start(true);
	rig_run(&rig, 200); /* the first pieces wait for their hashes */
	assert_non_null(node.torrent->check);
	stop_now();
	gate_open(&gate);
	end_stop();
	start_ready(false);
	assert_int_equal(num_have(), NUM);
	node_stop(&node);
}

/* The disk is not mounted: nothing is here, and nothing is forgotten. */
static void test_missing_disk__comes_back(void **state)
{
	start_ready(true);
	node_stop(&node);
	shell("mv %s/b %s/away", rig.dir, rig.dir);
	start_ready(false);
	assert_int_equal(num_have(), 0);
	node_stop(&node);
	shell("rm -rf %s/b; mv %s/away %s/b", rig.dir, rig.dir, rig.dir);
	start_ready(false);
	assert_int_equal(num_have(), NUM);
	node_stop(&node);
}

static void test_stop__while_a_piece_is_verified(void **state)
{
	start_ready(false);
	gate_shut(&gate, &rig, LANE_HASH);
	fetch(7, false);
	rig_run(&rig, 100);
	assert_int_equal(num_have(), 0);
	stop_now();
	rig_run(&rig, 200);
	gate_open(&gate);
	end_stop();
	start_ready(false);
	assert_int_equal(num_have(), 1);
	node_stop(&node);
}

static void test_stop__when_the_disk_does_not_answer(void **state)
{
	start_ready(false);
	fetch(7, true);
	gate_shut(&gate, &rig, LANE_DISK);
	stop_now();
	rig_run(&rig, 300);
	assert_false(node.has_stopped);
	warp_ms(3000);
	assert_true(rig_until(&rig, &node.has_stopped, 1000));
	assert_true(engine_is_stuck(node.engine));
	/* Here the process ends. This one lives on, and the disk answers. */
	gate_open(&gate);
	for (int i = 0; i < 100 && engine_is_stuck(node.engine); i++)
		rig_run(&rig, 20);
	assert_false(engine_is_stuck(node.engine));
	node_end(&node);
	start_ready(false);
	assert_int_equal(num_have(), 1);
	node_stop(&node);
}

static void on_saved(void *arg, int r)
{
	*(int *)arg = r ? r : 1;
}

static void test_stop__after_an_add_is_durable(void **state)
{
	struct torrent *t;
	struct magnet *m;
	char why[MAGNET_WHY_SIZE];
	static const char link[] =
		"magnet:?xt=urn:btih:1111111111111111111111111111111111111111";
	int saved = 0;

	start_ready(false);
	gate_shut(&gate, &rig, LANE_STATE);
	assert_int_equal(magnet_parse(link, strlen(link), &m, why), 0);
	assert_int_equal(
		engine_add_magnet(node.engine, m, &t, on_saved, &saved), 0);
	stop_now();
	rig_run(&rig, 200);
	assert_false(node.has_stopped);
	gate_open(&gate);
	assert_true(rig_until(&rig, &node.has_stopped, 5000));
	assert_int_equal(saved, 1);
	node_end(&node);
}

static void spoil(uint32_t piece, bool keep_inode)
{
	char path[128];
	FILE *f;

	if (!keep_inode)
		shell("cp %s/b/film %s/b/new && mv %s/b/new %s/b/film", rig.dir,
		      rig.dir, rig.dir, rig.dir);
	snprintf(path, sizeof(path), "%s/b/film", rig.dir);
	f = fopen(path, "r+");
	assert_non_null(f);
	fseek(f, (long)(piece * PIECE), SEEK_SET);
	fputc(film[piece * PIECE] ^ 1, f);
	fclose(f);
}

/* The second session changes nothing, and its end must not hide what comes
 * after it. */
static void test_changed__after_a_session_that_changed_nothing(void **state)
{
	start_ready(true);
	node_stop(&node);
	start_ready(false);
	rig_run(&rig, 200);
	node_stop(&node);
	spoil(5, true);
	start_ready(false);
	assert_int_equal(num_have(), NUM - 1);
	assert_false(torrent_has(node.torrent, 5 * PIECE, 1));
	node_stop(&node);
}

static void test_truncated__between_two_runs(void **state)
{
	start_ready(true);
	node_stop(&node);
	shell("truncate -s %u %s/b/film", 10 * PIECE, rig.dir);
	start_ready(false);
	assert_int_equal(num_have(), 10);
	/* It grows again when something is fetched, and not before. */
	fetch(20, true);
	assert_int_equal(num_have(), 11);
	node_stop(&node);
	start_ready(false);
	assert_int_equal(num_have(), 11);
	node_stop(&node);
}

static void test_deleted__between_two_runs(void **state)
{
	start_ready(true);
	node_stop(&node);
	shell("rm %s/b/film", rig.dir);
	start_ready(false);
	assert_int_equal(num_have(), 0);
	node_stop(&node);
}

/* A run that ends without a word. PIECES are fetched in it. */
static void crash_after(uint32_t first, uint32_t count, int64_t settle_ms)
{
	int status;
	pid_t pid;

	fflush(NULL);
	rig_close(&rig);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		rig_open(&rig);
		start_ready(false);
		for (uint32_t i = first; i < first + count; i++)
			fetch(i, true);
		warp_ms(settle_ms);
		rig_run(&rig, 600);
		_exit(0);
	}
	rig_open(&rig);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_crash__loses_nothing_of_what_is_on_disk(void **state)
{
	crash_after(3, 2, 6000); /* synced and committed */
	start_ready(false);
	assert_int_equal(num_have(), 2);
	node_stop(&node);
	crash_after(10, 3, 0); /* of the open batch: found by their bytes */
	start_ready(false);
	assert_int_equal(num_have(), 5);
	node_stop(&node);
}

static void test_crash__a_file_that_was_replaced_is_not_believed(void **state)
{
	start_ready(true);
	spoil(39, true);
	torrent_check(node.torrent);
	assert_true(rig_until(&rig, &node.torrent->is_ready, 5000));
	node_stop(&node);
	crash_after(39, 1, 6000);
	spoil(5, false);
	start_ready(false);
	assert_false(torrent_has(node.torrent, 5 * PIECE, 1));
	assert_int_equal(num_have(), NUM - 1);
	node_stop(&node);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_crash__loses_nothing_of_what_is_on_disk),
		CASE(test_crash__a_file_that_was_replaced_is_not_believed),
		CASE(test_read__parked_before_the_bits_are_loaded),
		CASE(test_read__parked_while_all_is_hashed),
		CASE(test_stop__before_the_bits_are_loaded),
		CASE(test_stop__in_the_middle_of_a_check),
		CASE(test_stop__while_a_piece_is_verified),
		CASE(test_stop__when_the_disk_does_not_answer),
		CASE(test_stop__after_an_add_is_durable),
		CASE(test_missing_disk__comes_back),
		CASE(test_changed__after_a_session_that_changed_nothing),
		CASE(test_truncated__between_two_runs),
		CASE(test_deleted__between_two_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
