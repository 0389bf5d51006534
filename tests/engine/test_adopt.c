/* Goal: a torrent takes what it has in common with another one from disk, and
 * believes none of it before it was hashed. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "engine/engine.h"
#include "tests/engine/swarm_rig.h"

#define MIB       (1u << 20)
#define OLD_PIECE 65536u
#define NEW_PIECE 32768u /* another infohash */

static struct rig rig;
static struct node seed, leech;
static struct torrent *old;

/* The seed has both torrents of a/film, the leech has the old one. */
static void set_scene(uint64_t size)
{
	struct torrent *new;

	rig_start(&rig);
	rig_make_file(&rig, "a", "film", size, 7);
	node_start(&seed, &rig, "a", true, FILL_NONE, false);
	node_add(&seed, rig_metainfo(&rig, "a", "film", NEW_PIECE));
	new = seed.torrent;
	node_add(&seed, rig_metainfo(&rig, "a", "film", OLD_PIECE));
	rig.is_by_hash = true;
	node_start(&leech, &rig, "b", false, FILL_TORRENT, true);
	node_add(&leech, rig_metainfo(&rig, "a", "film", OLD_PIECE));
	node_connect(&leech, &seed);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	old = leech.torrent;
	seed.torrent = new;
	leech.is_complete = false;
}

static void end_scene(void)
{
	node_stop(&leech);
	node_stop(&seed);
	rig_end(&rig);
}

/* The new torrent, as a magnet that follows FROM. */
static void follow(struct torrent *from)
{
	char why[MAGNET_WHY_SIZE], *link = torrent_magnet(seed.torrent);
	struct magnet *m;

	assert_int_equal(magnet_parse(link, strlen(link), &m, why), 0);
	free(link);
	assert_int_equal(
		engine_add_magnet(leech.engine, m, &leech.torrent, NULL, NULL),
		0);
	torrent_adopt(leech.torrent, from);
	node_connect(&leech, &seed);
}

static uint64_t downloaded(void)
{
	struct torrent_stats s;

	torrent_stats(leech.torrent, &s);
	return s.downloaded;
}

static void test_adopt__copies_and_fetches_nothing(void **state)
{
	set_scene(5 * MIB + 4321);
	follow(old);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_int_equal(downloaded(), 0);
	/* Both are there, and neither leans on the other. */
	engine_remove(leech.engine, old, true);
	assert_true(torrent_has(leech.torrent, 0, 5 * MIB + 4321));
	end_scene();
}

static void damage(void)
{
	char *cmd = mem_printf("f=$(echo %s/b/*/film) && printf wrong |"
			       " dd of=\"$f\" bs=1 seek=100000 conv=notrunc"
			       " status=none",
			       rig.dir);

	assert_int_equal(system(cmd), 0);
	free(cmd);
}

static void test_adopt__fetches_what_is_wrong(void **state)
{
	set_scene(4 * MIB);
	damage();
	follow(old);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_int_equal(downloaded(), NEW_PIECE);
	end_scene();
}

static void test_adopt__another_size_is_another_file(void **state)
{
	set_scene(2 * MIB);
	rig_make_file(&rig, "c", "film", MIB, 8);
	node_stop(&seed);
	rig.is_by_hash = false;
	node_start(&seed, &rig, "c", true, FILL_NONE, false);
	rig.is_by_hash = true;
	node_add(&seed, rig_metainfo(&rig, "c", "film", NEW_PIECE));
	follow(old);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	assert_int_equal(downloaded(), MIB);
	end_scene();
}

/* The one that is followed goes in the middle. */
static void test_adopt__from_one_that_is_removed(void **state)
{
	set_scene(3 * MIB);
	follow(old);
	engine_remove(leech.engine, old, true);
	assert_true(rig_until(&rig, &leech.is_complete, 20000));
	end_scene();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adopt__copies_and_fetches_nothing),
		cmocka_unit_test(test_adopt__fetches_what_is_wrong),
		cmocka_unit_test(test_adopt__another_size_is_another_file),
		cmocka_unit_test(test_adopt__from_one_that_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
