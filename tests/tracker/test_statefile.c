/* Goal: what was saved is what is loaded, aged by the time between, the
 * generation before is kept, and a million peers are there in no time. */
#include "tests/tracker/statefile_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "tests/cmocka_all.h"

#define WALL INT64_C(1900000020)

static void fill(struct rig *rig)
{
	for (uint64_t t = 0; t < 300; t++) {
		struct infohash h = rig_torrent(t);

		for (uint32_t n = 0; n < t % 40; n++)
			rig_add(rig->swarms, t, n, (enum swarm_state)(n % 4),
				n % 40);
		if (t % 3 == 0)
			swarms_raise_completed(rig->swarms, &h,
					       (uint32_t)t + 5);
	}
	buf_add_str(&rig->blobs.of[STATEFILE_KEY], "a key");
	buf_add(&rig->blobs.of[STATEFILE_NODES], "\0nodes", 6);
}

static void test_what_was_saved_is_loaded(void **state)
{
	struct rig *rig = *state;
	struct swarms_stats before, after;
	uint64_t digest;
	struct stat st;

	fill(rig);
	swarms_stats(rig->swarms, &before);
	digest = rig_digest(rig->swarms);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(stat(rig->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_false(rig->loaded.is_previous);
	swarms_stats(rig->swarms, &after);
	assert_int_equal(after.torrents, before.torrents);
	assert_int_equal(after.peers4, before.peers4);
	assert_int_equal(after.peers6, before.peers6);
	assert_int_equal(after.seeders, before.seeders);
	assert_int_equal(after.gone, before.gone);
	assert_int_equal(after.completed, before.completed);
	assert_int_equal(rig->loaded.torrents, before.torrents);
	assert_int_equal(rig->loaded.expired, 0);
	assert_true(rig_digest(rig->swarms) == digest);
	assert_int_equal(rig->blobs.of[STATEFILE_KEY].len, 5);
	assert_memory_equal(rig->blobs.of[STATEFILE_KEY].ptr, "a key", 5);
	assert_memory_equal(rig->blobs.of[STATEFILE_NODES].ptr, "\0nodes", 6);
}

static void test_nothing_at_all(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(rig_load(rig, WALL), -ENOENT);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_int_equal(rig->loaded.peers, 0);
	assert_int_equal(rig->blobs.of[STATEFILE_KEY].len, 0);
}

static unsigned count_peers(struct rig *rig, uint64_t torrent)
{
	struct infohash h = rig_torrent(torrent);
	struct swarms_counts c;

	(void)swarms_scrape(rig->swarms, &h, &c); /* zeros: none */
	return c.seeders + c.leechers;
}

static void test_downtime(void **state)
{
	struct rig *rig = *state;
	struct infohash h = rig_torrent(1);
	struct swarms_counts c;

	for (uint32_t n = 0; n < 40; n++)
		rig_add(rig->swarms, 1, n, SWARM_LEECHER, n);
	swarms_raise_completed(rig->swarms, &h, 12);
	assert_int_equal(rig_save(rig, WALL), 0);
	/* Lives end after 45 minutes. */
	assert_int_equal(rig_load(rig, WALL + 20 * 60), 0);
	assert_int_equal(count_peers(rig, 1), 25);
	assert_int_equal(rig->loaded.peers, 25);
	assert_int_equal(rig->loaded.expired, 15);
	/* The clock was set back: nobody is younger than he was. */
	assert_int_equal(rig_load(rig, WALL - 86400), 0);
	assert_int_equal(count_peers(rig, 1), 40);
	swarms_tick(rig->swarms, RIG_NOW_MS + 20 * 60 * 1000 + 5000);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_int_equal(count_peers(rig, 1), 25);
	/* All are gone, counters are not. */
	assert_int_equal(rig_load(rig, WALL + 400 * 60), 0);
	assert_int_equal(rig->loaded.peers, 0);
	assert_true(swarms_scrape(rig->swarms, &h, &c));
	assert_int_equal(c.completed, 12);
	assert_int_equal(rig_load(rig, INT64_MAX), 0);
	assert_int_equal(rig->loaded.peers, 0);
}

/* Save and load in turn while completions come: the sum only grows. */
static void test_counters_are_monotone(void **state)
{
	struct rig *rig = *state;
	struct prng r = { 5 };
	uint64_t sum = 0;

	for (int round = 0; round < 30; round++) {
		struct swarms_stats s;

		for (int i = 0; i < 50; i++) {
			struct infohash h = rig_torrent(prng_below(&r, 20));
			struct swarms_answer a;
			struct swarms_announce ask = {
				.infohash = h,
				.peer = { 4, { 9, 9, 9, 9 }, 1 },
				.event = ANNOUNCE_COMPLETED,
				.is_seed = true,
			};

			ask.peer.port = (uint16_t)(1 + prng_below(&r, 60000));
			swarms_announce(rig->swarms, &ask, 0, &a);
		}
		if (round % 2)
			assert_int_equal(rig_save(rig, WALL + round * 600), 0);
		else if (round > 2)
			(void)rig_load(rig, WALL + round * 600);
		swarms_stats(rig->swarms, &s);
		if (round % 2) {
			assert_true(s.completed >= sum);
			sum = s.completed;
		}
	}
	assert_true(sum > 600);
}

static void test_generations(void **state)
{
	struct rig *rig = *state;

	rig_add(rig->swarms, 1, 1, SWARM_SEEDER, 0);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(access(rig->previous, F_OK), -1);
	rig_add(rig->swarms, 1, 2, SWARM_SEEDER, 0);
	assert_int_equal(rig_save(rig, WALL + 60), 0);
	assert_int_equal(access(rig->previous, F_OK), 0);
	assert_int_equal(access(rig->tmp, F_OK), -1);
	assert_int_equal(rig_load(rig, WALL + 60), 0);
	assert_int_equal(count_peers(rig, 1), 2);
	assert_int_equal(unlink(rig->path), 0);
	assert_int_equal(rig_load(rig, WALL + 60), 0);
	assert_true(rig->loaded.is_previous);
	assert_non_null(strstr(rig->why, "No such file"));
	assert_int_equal(count_peers(rig, 1), 1);
	/* A bad one does not push a good one out until there is a new one. */
	rig_write(rig->path, (const uint8_t *)"rubbish", 7);
	assert_int_equal(rig_load(rig, WALL + 60), 0);
	assert_true(rig->loaded.is_previous);
	assert_int_equal(count_peers(rig, 1), 1);
	assert_int_equal(rig_save(rig, WALL + 60), 0);
	assert_int_equal(rig_load(rig, WALL + 60), 0);
	assert_false(rig->loaded.is_previous);
	assert_int_equal(count_peers(rig, 1), 1);
	/* What a crash left behind is in nobody's way. */
	rig_write(rig->tmp, (const uint8_t *)"half", 4);
	assert_int_equal(rig_save(rig, WALL + 60), 0);
	assert_int_equal(access(rig->tmp, F_OK), -1);
}

static void test_places_that_will_not_do(void **state)
{
	struct rig *rig = *state;
	char path[96];

	memcpy(path, rig->path, sizeof(path));
	assert_int_equal(mkdir(rig->path, 0700), 0);
	assert_int_equal(rig_load(rig, WALL), -EISDIR);
	assert_non_null(strstr(rig->why, "directory"));
	assert_int_equal(rig_save(rig, WALL), -EISDIR);
	assert_int_equal(rmdir(rig->path), 0);
	assert_int_equal(mkfifo(rig->path, 0600), 0);
	assert_int_equal(rig_load(rig, WALL), -EINVAL);
	assert_int_equal(rig_save(rig, WALL), -EINVAL);
	assert_int_equal(unlink(rig->path), 0);
	snprintf(rig->path, sizeof(rig->path), "%s/none/state", rig->dir);
	assert_int_equal(rig_save(rig, WALL), -ENOENT);
	assert_non_null(strstr(rig->why, "none/state"));
	memcpy(rig->path, path, sizeof(path));
	/* No room: the old one stays. */
	rig_add(rig->swarms, 1, 1, SWARM_SEEDER, 0);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_non_null(buf_reserve(&rig->blobs.of[0], LIMIT_STATEFILE_BLOCK));
	rig->blobs.of[0].len = LIMIT_STATEFILE_BLOCK;
	memset(rig->blobs.of[0].ptr, 1, LIMIT_STATEFILE_BLOCK);
	assert_int_equal(rig_save(rig, WALL), -E2BIG);
	assert_int_equal(access(rig->tmp, F_OK), -1);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_int_equal(count_peers(rig, 1), 1);
}

static void test_a_swarm_of_many_blocks(void **state)
{
	struct rig *rig = *state;
	uint64_t digest;

	for (uint32_t n = 0; n < 70000; n++) {
		struct swarm_record r = { .infohash = rig_torrent(3),
					  .state = SWARM_SEEDER,
					  .peer = { 4, { 9 }, 6881 } };

		r.peer.ip[1] = (uint8_t)(n >> 16);
		r.peer.ip[2] = (uint8_t)(n >> 8);
		r.peer.ip[3] = (uint8_t)n;
		assert_true(swarms_apply(rig->swarms, &r));
	}
	digest = rig_digest(rig->swarms);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_int_equal(rig->loaded.torrents, 1);
	assert_int_equal(rig->loaded.peers, 70000);
	assert_true(rig_digest(rig->swarms) == digest);
}

/* Not an assertion: the machine may be busy. */
static void test_a_million_peers(void **state)
{
	struct rig *rig = *state;
	int64_t start;
	struct stat st;

	for (uint32_t i = 0; i < 1000000; i++) {
		struct swarm_record r = { .infohash = rig_torrent(i % 10000),
					  .state = (enum swarm_state)(i % 3),
					  .peer = { 4, { 9 }, 6881 },
					  .age_min = (uint8_t)(i % 40) };

		r.peer.ip[1] = (uint8_t)(i >> 16);
		r.peer.ip[2] = (uint8_t)(i >> 8);
		r.peer.ip[3] = (uint8_t)i;
		assert_true(swarms_apply(rig->swarms, &r));
	}
	start = clock_now_ms();
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(stat(rig->path, &st), 0);
	print_message("# 1,000,000 peers saved in %lld ms, %lld bytes\n",
		      (long long)(clock_now_ms() - start),
		      (long long)st.st_size);
	start = clock_now_ms();
	assert_int_equal(rig_load(rig, WALL), 0);
	print_message("# and loaded in %lld ms\n",
		      (long long)(clock_now_ms() - start));
	assert_int_equal(rig->loaded.peers, 1000000);
	assert_int_equal(rig->loaded.torrents, 10000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_what_was_saved_is_loaded),
		T(test_nothing_at_all),
		T(test_downtime),
		T(test_counters_are_monotone),
		T(test_generations),
		T(test_places_that_will_not_do),
		T(test_a_swarm_of_many_blocks),
		T(test_a_million_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
