/* Goal: whole engines, joined by loopback, give each other files: by being
 * filled, by being read, after a restart, from a magnet. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "tests/engine/swarm_rig.h"

#define MIB (1u << 20)

static struct rig rig;
static struct node seed, leech;

static struct metainfo *make(uint64_t len, uint32_t piece_length)
{
	rig_make_file(&rig, "a", "film", len, len + piece_length);
	return rig_metainfo(&rig, "a", "film", piece_length);
}

static void start_seed(uint64_t len, uint32_t piece_length)
{
	node_start(&seed, &rig, "a", true, FILL_NONE, false);
	node_add(&seed, make(len, piece_length));
	assert_true(rig_until(&rig, &seed.is_complete, 10000));
}

static void download(uint64_t len, uint32_t piece_length)
{
	rig_start(&rig);
	start_seed(len, piece_length);
	node_start(&leech, &rig, "b", false, FILL_TORRENT, false);
	node_add(&leech, rig_metainfo(&rig, "a", "film", piece_length));
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_true(rig_same(&rig, "a", "b", "film"));
	node_stop(&leech);
	node_stop(&seed);
	rig_end(&rig);
}

static void test_fill__sizes_around_the_block_and_the_piece(void **state)
{
	static const uint64_t sizes[] = { 1,     16383, 16384, 16385,
					  65535, 65536, 65537, 3 * MIB + 5 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		download(sizes[i], 65536);
	download(100000, 100000); /* a piece of an odd length */
	download(70000, 16384);
	download(40 * MIB, 32 * MIB); /* gathered on disk, not in memory */
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

static void test_want__fetches_the_piece_and_no_more(void **state)
{
	struct reading reading = {
		.want = { .off = 5 * MIB + 7, .len = 100, .done = on_read }
	};
	struct torrent_stats s;
	struct reader *reader;
	uint8_t got[100];

	rig_start(&rig);
	start_seed(16 * MIB, MIB);
	node_start(&leech, &rig, "b", false, FILL_NONE, false);
	node_add(&leech, rig_metainfo(&rig, "a", "film", MIB));
	node_connect(&leech, &seed);
	for (int i = 0; i < 5; i++)
		loop_run_once(rig.loop, 20);
	reader = torrent_open_reader(leech.torrent, 0, 16 * MIB);
	reader_on_read(reader, reading.want.off, 100, loop_now_ms(rig.loop));
	torrent_want(leech.torrent, reader, &reading.want);
	assert_true(rig_until(&rig, &reading.is_done, 5000));
	assert_int_equal(reading.r, 0);
	assert_true(torrent_has(leech.torrent, reading.want.off, 100));
	assert_int_equal(store_read(torrent_store(leech.torrent),
				    reading.want.off, got, 100),
			 0);
	for (int i = 0; i < 5; i++)
		loop_run_once(rig.loop, 20);
	torrent_stats(leech.torrent, &s);
	assert_int_equal(s.have_pieces, 1);
	assert_int_equal(s.downloaded, MIB);
	reader_free(reader);
	node_stop(&leech);
	node_stop(&seed);
	rig_end(&rig);
}

static void test_want__nobody_to_ask_is_enodata(void **state)
{
	struct reading reading = {
		.want = { .off = 0, .len = 1, .done = on_read }
	};
	struct reader *reader;

	rig_start(&rig);
	node_start(&leech, &rig, "b", false, FILL_NONE, false);
	node_add(&leech, make(MIB, 65536));
	loop_run_once(rig.loop, 50);
	reader = torrent_open_reader(leech.torrent, 0, MIB);
	reader_on_read(reader, 0, 1, loop_now_ms(rig.loop));
	torrent_want(leech.torrent, reader, &reading.want);
	assert_true(rig_until(&rig, &reading.is_done, 25000));
	assert_true(reading.r == -ENODATA || reading.r == -ETIMEDOUT);
	reader_free(reader);
	node_stop(&leech);
	rig_end(&rig);
}

static void test_restart__keeps_what_was_fetched(void **state)
{
	struct torrent_stats s;

	rig_start(&rig);
	start_seed(8 * MIB, 65536);
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	node_add(&leech, rig_metainfo(&rig, "a", "film", 65536));
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	node_stop(&leech);
	node_stop(&seed);
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	assert_non_null(leech.torrent);
	assert_true(rig_until(&rig, &leech.is_complete, 5000));
	torrent_stats(leech.torrent, &s);
	assert_int_equal(s.have_pieces, 128);
	assert_int_equal(s.downloaded, 8 * MIB);
	node_stop(&leech);
	rig_end(&rig);
}

static void test_deleted_file__is_fetched_again(void **state)
{
	char path[200];
	uint8_t byte;

	rig_start(&rig);
	start_seed(8 * MIB, 65536);
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	node_add(&leech, rig_metainfo(&rig, "a", "film", 65536));
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	node_stop(&leech);
	/* The bits count because of the stamp; then somebody takes the file. */
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	assert_true(rig_until(&rig, &leech.is_complete, 5000));
	snprintf(path, sizeof(path), "%s/b/film", rig.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(store_read(torrent_store(leech.torrent), 0, &byte, 1),
			 -ENODATA);
	leech.is_complete = false;
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_true(rig_same(&rig, "a", "b", "film"));
	node_stop(&leech);
	node_stop(&seed);
	rig_end(&rig);
}

static void test_magnet__resolves_and_downloads(void **state)
{
	struct metainfo *mi;
	struct magnet *m;
	char why[MAGNET_WHY_SIZE], *link;

	rig_start(&rig);
	start_seed(3 * MIB, 16384);
	mi = rig_metainfo(&rig, "a", "film", 16384);
	link = metainfo_magnet(mi);
	assert_int_equal(magnet_parse(link, strlen(link), &m, why), 0);
	free(link);
	metainfo_free(mi);
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	assert_int_equal(
		engine_add_magnet(leech.engine, m, &leech.torrent, NULL, NULL),
		0);
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_true(rig_same(&rig, "a", "b", "film"));
	node_stop(&leech);
	node_stop(&seed);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_fill__sizes_around_the_block_and_the_piece),
		cmocka_unit_test(test_want__fetches_the_piece_and_no_more),
		cmocka_unit_test(test_want__nobody_to_ask_is_enodata),
		cmocka_unit_test(test_restart__keeps_what_was_fetched),
		cmocka_unit_test(test_deleted_file__is_fetched_again),
		cmocka_unit_test(test_magnet__resolves_and_downloads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
