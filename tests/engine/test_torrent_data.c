/* Goal: what a torrent gathers is bounded over all torrents, is freed by
 * whatever way a piece ends, and never keeps a reader from his piece. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/engine_private.h"
#include "tests/engine/gate.h"

#define BLOCK LIMIT_BLOCK_BYTES
#define PIECE 65536u
#define MIB   (1ull << 20)

static struct rig rig;
static struct node node;
static struct gate gate;
static struct raw raw;
static const uint8_t zeros[BLOCK];

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
	raw.fd = raw.listen_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	raw_close(&raw);
	rig_end(&rig);
	return 0;
}

/* LEN zeros in a, of which the node in b has nothing; one seed. */
static void start(uint64_t len, uint32_t piece_length)
{
	shell("mkdir %s/a && truncate -s %llu %s/a/film", rig.dir,
	      (unsigned long long)len, rig.dir);
	node_start(&node, &rig, "b", false, FILL_NONE, false);
	node_add(&node, rig_metainfo(&rig, "a", "film", piece_length));
	assert_true(rig_until(&rig, &node.torrent->is_ready, 5000));
	raw_meet(&raw, &node, 'a', RAW_FAST);
	raw_say(&raw, WIRE_HAVE_ALL);
	raw_say(&raw, WIRE_UNCHOKE);
	rig_run(&rig, 50);
}

/* As if the seed had been asked for the block, and gave it. */
static void give(struct block_ref b, const uint8_t *bytes)
{
	struct torrent *t = node.torrent;
	struct peer *p = list_first(&t->peers, struct peer, node);
	struct picker_peer pp = peer_as_picked(p);
	struct block_ref taken[1];

	if (!picker_is_partial(t->picker, b.piece))
		assert_int_equal(picker_take(t->picker, &pp, b.piece, 1,
					     loop_now_ms(rig.loop), taken),
				 1);
	torrent_on_block(t, p, b, bytes);
}

static size_t in_use(void)
{
	return node.engine->filling_bytes;
}

struct reading {
	struct want want;
	bool is_done;
	int r;
};

static void on_read(struct want *w, int r)
{
	struct reading *reading = container_of(w, struct reading, want);

	reading->is_done = true;
	reading->r = r;
}

static void bring_the_file(void)
{
	shell("mkdir -p %s/b && cp --sparse=never %s/a/film %s/b/film", rig.dir,
	      rig.dir, rig.dir);
}

/* Somebody put the file there while a piece of it was half here. */
static void test_check__finds_a_piece_that_is_in_flight(void **state)
{
	start(4 * PIECE, PIECE);
	give((struct block_ref){ 2, 0 }, zeros);
	assert_int_equal(in_use(), PIECE);
	bring_the_file();
	torrent_check(node.torrent);
	assert_true(rig_until(&rig, &node.is_complete, 5000));
	assert_int_equal(in_use(), 0);
	/* A late block of it is of no use, and harmless. */
	torrent_on_block(node.torrent,
			 list_first(&node.torrent->peers, struct peer, node),
			 (struct block_ref){ 2, 1 }, zeros);
	assert_int_equal(in_use(), 0);
	node_stop(&node);
}

/* The same with a piece that goes to disk by block, its write under way. */
static void test_check__finds_a_piece_that_is_being_written(void **state)
{
	start(64 * MIB, 32 * MIB);
	bring_the_file();
	gate_shut(&gate, &rig, LANE_DISK);
	give((struct block_ref){ 1, 0 }, zeros);
	torrent_check(node.torrent);
	assert_true(rig_until(&rig, &node.is_complete, 10000));
	gate_open(&gate);
	rig_run(&rig, 50);
	node_stop(&node);
}

/* A job has the buffer, and the disk says no. */
static void test_write_error__frees_the_buffer(void **state)
{
	start(4 * PIECE, PIECE);
	shell("mkdir -p %s/b/film", rig.dir);
	for (uint32_t i = 0; i < PIECE / BLOCK; i++)
		give((struct block_ref){ 2, i }, zeros);
	for (int i = 0; i < 100 && in_use(); i++)
		rig_run(&rig, 10);
	assert_int_equal(in_use(), 0);
	assert_false(torrent_has(node.torrent, 2 * PIECE, 1));
	assert_string_not_equal(node.torrent->error, "");
	node_stop(&node);
}

static void test_wrong_piece__frees_the_buffer(void **state)
{
	uint8_t wrong[BLOCK] = { 1 };

	start(4 * PIECE, PIECE);
	for (uint32_t i = 0; i < PIECE / BLOCK; i++)
		give((struct block_ref){ 2, i }, wrong);
	for (int i = 0; i < 100 && in_use(); i++)
		rig_run(&rig, 10);
	assert_int_equal(in_use(), 0);
	node_stop(&node);
}

/* One piece half here, one at a worker. */
static void leave_with_work(void)
{
	start(4 * PIECE, PIECE);
	give((struct block_ref){ 1, 0 }, zeros);
	gate_shut(&gate, &rig, LANE_HASH);
	for (uint32_t i = 0; i < PIECE / BLOCK; i++)
		give((struct block_ref){ 2, i }, zeros);
	assert_int_equal(in_use(), 2 * PIECE);
}

static void test_remove__with_work_under_way(void **state)
{
	leave_with_work();
	engine_remove(node.engine, node.torrent, true);
	rig_run(&rig, 100);
	gate_open(&gate);
	for (int i = 0; i < 100 && in_use(); i++)
		rig_run(&rig, 10);
	assert_int_equal(in_use(), 0);
	node_stop(&node);
}

/* The data of the old one is being deleted when it comes again: the new one
 * must not believe what it sees, nor lose what it fetches. */
static void test_remove__and_add_again_at_once(void **state)
{
	struct torrent *t;

	start(4 * PIECE, PIECE);
	bring_the_file();
	torrent_check(node.torrent);
	assert_true(rig_until(&rig, &node.is_complete, 5000));
	raw_close(&raw);
	gate_shut(&gate, &rig, LANE_DISK);
	engine_remove(node.engine, node.torrent, true);
	rig_run(&rig, 50);
	node_add(&node, rig_metainfo(&rig, "a", "film", PIECE));
	t = node.torrent;
	torrent_check(t); /* somebody is in a hurry */
	rig_run(&rig, 300);
	assert_null(t->check);
	assert_false(t->is_ready);
	gate_open(&gate);
	assert_true(rig_until(&rig, &t->is_ready, 5000));
	assert_int_equal(t->have.num_set, 0);
	raw_meet(&raw, &node, 'a', RAW_FAST);
	rig_run(&rig, 50);
	raw_say(&raw, WIRE_HAVE_ALL);
	raw_say(&raw, WIRE_UNCHOKE);
	rig_run(&rig, 50);
	for (uint32_t i = 0; i < PIECE / BLOCK; i++)
		give((struct block_ref){ 2, i }, zeros);
	for (int i = 0; i < 100 && !torrent_has(t, 2 * PIECE, 1); i++)
		rig_run(&rig, 10);
	assert_true(torrent_has(t, 2 * PIECE, 1));
	shell("test -f %s/b/film", rig.dir);
	node_stop(&node);
}

static void test_stop__with_work_under_way(void **state)
{
	leave_with_work();
	engine_stop(node.engine, node_on_stopped, &node);
	rig_run(&rig, 100);
	gate_open(&gate);
	assert_true(rig_until(&rig, &node.has_stopped, 5000));
	node_end(&node);
}

/* Pieces that were begun hold all memory there is for them; a read of yet
 * another one is not held up, nor is more taken. */
static void test_buffers__are_bounded_and_starve_nobody(void **state)
{
	uint32_t most = LIMIT_PARTIAL_BYTES / LIMIT_PIECE_BUFFER;
	struct reading reading = { .want = { .len = 1, .done = on_read } };

	start((most + 4ull) * LIMIT_PIECE_BUFFER, LIMIT_PIECE_BUFFER);
	for (uint32_t i = 0; i < most + 3; i++)
		give((struct block_ref){ i, 0 }, zeros);
	assert_int_equal(in_use(), LIMIT_PARTIAL_BYTES);
	reading.want.off = (most + 3ull) * LIMIT_PIECE_BUFFER;
	torrent_want(node.torrent, NULL, &reading.want);
	for (uint32_t i = 0; i < LIMIT_PIECE_BUFFER / BLOCK; i++)
		give((struct block_ref){ most + 3, i }, zeros);
	assert_true(in_use() <= LIMIT_PARTIAL_BYTES);
	assert_true(rig_until(&rig, &reading.is_done, 5000));
	assert_int_equal(reading.r, 0);
	node_stop(&node);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_check__finds_a_piece_that_is_in_flight),
		CASE(test_check__finds_a_piece_that_is_being_written),
		CASE(test_write_error__frees_the_buffer),
		CASE(test_wrong_piece__frees_the_buffer),
		CASE(test_remove__with_work_under_way),
		CASE(test_remove__and_add_again_at_once),
		CASE(test_stop__with_work_under_way),
		CASE(test_buffers__are_bounded_and_starve_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
