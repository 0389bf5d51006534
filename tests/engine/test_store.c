/* Goal: what is written comes back, through pads, gaps and several files, on
 * disk and on tmpfs, from many threads at once; reads find what is missing. */
#include "tests/engine/store_fixture.h"

#include <pthread.h>

/* *STATE says where the folder is made: NULL for where temporary files go. */
static void test_write__fills_the_tree_at_full_length(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	struct stat st;

	assert_false(scratch_has(f->dir, "data"));
	assert_int_equal(fixture_write(f, 99990, 20), 0);
	/* Only the file that was touched, sparse and at its full length. */
	assert_int_equal(scratch_size(f->root, "NAME/a"), 100000);
	assert_false(scratch_has(f->root, "NAME/sub"));
	assert_int_equal(stat(scratch_path(f->root, "NAME/a"), &st), 0);
	assert_true(st.st_blocks * 512 < 100000);

	fixture_write_all(f);
	assert_int_equal(scratch_size(f->root, "NAME/sub/b"), 70000);
	assert_int_equal(scratch_size(f->root, "NAME/sub/deep/c"), 12345);
	assert_int_equal(scratch_size(f->root, "NAME/d"), 200000);
	assert_false(scratch_has(f->root, "NAME/.pad"));
	assert_int_equal(stat(scratch_path(f->root, "NAME/d"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
	assert_int_equal(stat(scratch_path(f->root, "NAME/a"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	fixture_free(f);
}

static void test_read__any_range_over_files_pads_and_gaps(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	uint64_t total = f->mi.layout.total;
	struct prng rng = { 42 };

	fixture_write_all(f);
	assert_int_equal(fixture_check(f, 0, total), 0);
	for (int i = 0; i < 500; i++) {
		uint64_t off = prng_below(&rng, (uint32_t)total);
		size_t len = prng_below(&rng, (uint32_t)(total - off)) + 1;

		assert_int_equal(fixture_check(f, off, len), 0);
	}
	/* Each edge, one byte to either side. */
	for (uint32_t i = 1; i < f->mi.num_files; i++)
		if (f->mi.files[i].offset + 1 < total)
			assert_int_equal(
				fixture_check(f, f->mi.files[i].offset - 1, 2),
				0);
	fixture_reopen(f, true);
	assert_int_equal(fixture_check(f, 0, total), 0);
	fixture_free(f);
}

static void test_write__byte_ranges_that_cross_everything(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	uint64_t total = f->mi.layout.total;

	/* One call that spans all files, as a giant piece does. */
	assert_int_equal(fixture_write(f, 0, total), 0);
	assert_int_equal(fixture_check(f, 0, total), 0);
	fixture_free(f);
}

static void shape_film(struct metainfo *mi)
{
	fixture_single(mi, 300000);
}

static void test_single__is_a_plain_file(void **state)
{
	struct fixture *f = fixture_new(*state, shape_film);

	fixture_write_all(f);
	assert_int_equal(scratch_size(f->root, "film"), 300000);
	assert_int_equal(fixture_check(f, 0, 300000), 0);
	fixture_free(f);
}

static void test_range__beyond_the_end_is_refused(void **state)
{
	struct fixture *f = fixture_new(*state, shape_film);
	uint8_t b[16];

	assert_int_equal(store_write(f->store, 299990, b, 11), -EINVAL);
	assert_int_equal(store_read(f->store, 299990, b, 11), -EINVAL);
	assert_int_equal(store_read_now(f->store, 299990, b, 11), -EINVAL);
	assert_int_equal(store_read(f->store, UINT64_MAX - 3, b, 8), -EINVAL);
	assert_false(store_is_allocated(f->store, 0, UINT64_MAX));
	assert_false(scratch_has(f->dir, "data"));
	assert_int_equal(store_write(f->store, 300000, b, 0), 0);
	fixture_free(f);
}

static void test_missing__is_enodata(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	char why[300];

	assert_int_equal(fixture_check(f, 0, 100), -ENODATA);
	/* It never was there: no problem. */
	assert_int_equal(store_problem(f->store, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	/* A pad needs no file. */
	assert_int_equal(fixture_check(f, 100000, 31072), 0);
	fixture_free(f);
}

static void test_short_file__is_enodata(void **state)
{
	struct fixture *f = fixture_new(*state, shape_film);
	char why[300];

	assert_int_equal(fixture_write(f, 0, 300000), 0);
	assert_int_equal(truncate(scratch_path(f->root, "film"), 200000), 0);
	fixture_reopen(f, true);
	assert_int_equal(fixture_check(f, 0, 200000), 0);
	assert_int_equal(fixture_check(f, 199999, 2), -ENODATA);
	assert_int_equal(store_problem(f->store, why, sizeof(why)), 0);
	fixture_free(f);
}

static void test_read_only__touches_nothing(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	struct store_stamp before[16], after[16];

	fixture_reopen(f, true);
	assert_int_equal(fixture_write(f, 0, 10), -EROFS);
	assert_int_equal(store_make_empty(f->store), 0);
	assert_int_equal(store_delete(f->store), -EROFS);
	assert_int_equal(fixture_check(f, 0, 10), -ENODATA);
	assert_int_equal(store_sync(f->store), 0);
	assert_false(scratch_has(f->dir, "data"));

	/* Nor what is there, even if it has the wrong length. */
	fixture_reopen(f, false);
	fixture_write_all(f);
	assert_int_equal(truncate(scratch_path(f->root, "NAME/d"), 5), 0);
	fixture_reopen(f, true);
	assert_int_equal(store_stamps(f->store, before), 0);
	assert_int_equal(fixture_write(f, 0, 10), -EROFS);
	assert_int_equal(fixture_check(f, f->mi.files[FILE_D].offset, 6),
			 -ENODATA);
	assert_int_equal(store_stamps(f->store, after), 0);
	assert_memory_equal(before, after, sizeof(before[0]) * 7);
	fixture_free(f);
}

static void test_read_now__waits_for_nothing(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	uint64_t total = f->mi.layout.total, len = 5000;
	uint8_t out[5000];

	fixture_write_all(f);
	fixture_reopen(f, false);
	/* Not open: that may wait. */
	assert_int_equal(store_read_now(f->store, 0, out, len), -EAGAIN);
	assert_int_equal(fixture_check(f, 0, 1), 0);
	/* Just written, so in memory on every file system. */
	assert_int_equal(store_read_now(f->store, 98000, out, len), len);
	assert_true(fixture_matches(f, 98000, out, len));
	/* The next file is not open. */
	assert_int_equal(store_read_now(f->store, 131070, out, len), -EAGAIN);
	assert_int_equal(fixture_check(f, 131070, 3), 0);
	assert_int_equal(store_read_now(f->store, 131070, out, len), len);
	assert_true(fixture_matches(f, 131070, out, len));
	/* A pad is always here. */
	assert_int_equal(store_read_now(f->store, 100000, out, len), len);
	/* A short file is for a worker to find. */
	assert_int_equal(truncate(scratch_path(f->root, "NAME/a"), 10), 0);
	assert_int_equal(store_read_now(f->store, 0, out, len), -EAGAIN);
	assert_int_equal(fixture_check(f, 0, 100), -ENODATA);
	assert_true(total > 131070);
	fixture_free(f);
}

static void test_allocated__tells_holes(void **state)
{
	struct fixture *f = fixture_new(*state, shape_film);

	assert_false(store_is_allocated(f->store, 0, 1));
	assert_int_equal(fixture_write(f, 65536, 65536), 0);
	assert_true(store_is_allocated(f->store, 65536, 65536));
	assert_false(store_is_allocated(f->store, 0, 4096));
	assert_false(store_is_allocated(f->store, 65536, 100000));
	fixture_free(f);
}

static void test_make_empty__files_folders_symlinks(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	char target[100] = "";

	assert_int_equal(store_make_empty(f->store), 0);
	assert_int_equal(scratch_size(f->root, "NAME/empty"), 0);
	assert_int_equal(readlink(scratch_path(f->root, "NAME/links/link"),
				  target, sizeof(target) - 1),
			 8);
	assert_string_equal(target, "../sub/b");
	assert_false(scratch_has(f->root, "NAME/a"));
	assert_int_equal(store_make_empty(f->store), 0); /* once more */
	assert_int_equal(store_sync(f->store), 0);
	fixture_free(f);
}

static void test_stamps__tell_a_change(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);
	struct store_stamp a[7], b[7];

	assert_int_equal(store_stamps(f->store, a), 0);
	assert_int_equal(a[FILE_A].size, -1);
	assert_int_equal(a[FILE_PAD1].size, 0);
	fixture_write_all(f);
	assert_int_equal(store_make_empty(f->store), 0);
	assert_int_equal(store_stamps(f->store, a), 0);
	assert_int_equal(a[FILE_A].size, 100000);
	assert_int_equal(a[FILE_EMPTY].size, 0);
	assert_true(a[FILE_EMPTY].ino > 0);
	assert_int_equal(a[FILE_LINK].ino, 0);
	fixture_reopen(f, true);
	assert_int_equal(store_stamps(f->store, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	scratch_write(f->root, "NAME/sub/b", "x", 1);
	assert_int_equal(unlink(scratch_path(f->root, "NAME/d")), 0);
	assert_int_equal(store_stamps(f->store, b), 0);
	assert_int_equal(b[FILE_B].size, 1);
	assert_int_equal(b[FILE_D].size, -1);
	assert_memory_equal(&a[FILE_A], &b[FILE_A], sizeof(a[0]));
	fixture_free(f);
}

static void test_delete__keeps_what_strangers_put_there(void **state)
{
	struct fixture *f = fixture_new(*state, fixture_tree);

	fixture_write_all(f);
	assert_int_equal(store_make_empty(f->store), 0);
	scratch_write(f->root, "NAME/sub/theirs", "x", 1);
	assert_int_equal(store_delete(f->store), 0);
	assert_true(scratch_has(f->root, "NAME/sub/theirs"));
	assert_false(scratch_has(f->root, "NAME/sub/b"));
	assert_false(scratch_has(f->root, "NAME/sub/deep"));
	assert_false(scratch_has(f->root, "NAME/links"));
	assert_false(scratch_has(f->root, "NAME/a"));
	assert_int_equal(unlink(scratch_path(f->root, "NAME/sub/theirs")), 0);
	assert_int_equal(store_delete(f->store), 0);
	assert_false(scratch_has(f->root, "NAME"));
	assert_true(scratch_has(f->root, "."));
	/* And the store can be used again. */
	fixture_write_all(f);
	assert_int_equal(fixture_check(f, 0, f->mi.layout.total), 0);
	fixture_free(f);
}

struct crowd {
	struct fixture *f;
	uint32_t next; /* atomic */
	int failed;    /* atomic */
	bool is_over;  /* atomic */
};

static void *crowd_write(void *arg)
{
	struct crowd *c = arg;
	const struct layout *l = &c->f->mi.layout;
	uint32_t i;

	while ((i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) <
	       l->num_pieces) {
		/* Mixed up, so that files are made by all at once. */
		uint32_t piece = i * 7919 % l->num_pieces;
		uint64_t off = layout_piece_start(l, piece);
		size_t len = layout_piece_size(l, piece);

		if (fixture_write(c->f, off, len) ||
		    fixture_check(c->f, off, len))
			__atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void *crowd_sync(void *arg)
{
	struct crowd *c = arg;

	while (!__atomic_load_n(&c->is_over, __ATOMIC_RELAXED))
		if (store_sync(c->f->store))
			__atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* What the loop does meanwhile: it may get the old or the new, never fail. */
static void *crowd_peek(void *arg)
{
	struct crowd *c = arg;
	struct prng rng = { 5 };
	uint8_t out[4096];

	while (!__atomic_load_n(&c->is_over, __ATOMIC_RELAXED)) {
		uint64_t off = prng_below(
			&rng, (uint32_t)c->f->mi.layout.total - 4096);
		ssize_t n = store_read_now(c->f->store, off, out, 4096);

		if (n != 4096 && n != -EAGAIN)
			__atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* 40 files, so that the cache of 4 is short, and pieces that span them. */
static void shape_many(struct metainfo *mi)
{
	char path[40];

	mi->name = mem_strdup("NAME");
	mi->is_multi = true;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "d%u/f%u", i % 7, i);
		fixture_add(mi, path, i % 9 ? 50000 + i * 1000 : 0, 0, 0);
	}
	fixture_add(mi, "big", 3000000, 0, 0);
}

static void test_crowd__many_write_one_torrent(void **state)
{
	struct crowd c = { .f = fixture_new(*state, shape_many) };
	pthread_t writers[4], syncer, peeker;

	pthread_create(&syncer, NULL, crowd_sync, &c);
	pthread_create(&peeker, NULL, crowd_peek, &c);
	for (int i = 0; i < 4; i++)
		pthread_create(&writers[i], NULL, crowd_write, &c);
	for (int i = 0; i < 4; i++)
		pthread_join(writers[i], NULL);
	__atomic_store_n(&c.is_over, true, __ATOMIC_RELAXED);
	pthread_join(syncer, NULL);
	pthread_join(peeker, NULL);
	assert_false(c.failed);
	assert_int_equal(fixture_check(c.f, 0, c.f->mi.layout.total), 0);
	assert_true(fdcache_num_open(c.f->cache) <= 4);
	fixture_free(c.f);
}

struct first {
	struct fixture *f;
	pthread_barrier_t start;
	uint32_t next; /* atomic */
	int failed;    /* atomic */
};

static void *first_write(void *arg)
{
	struct first *c = arg;
	uint32_t piece = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED);

	pthread_barrier_wait(&c->start);
	if (fixture_write(c->f, (uint64_t)piece * PIECE, PIECE))
		__atomic_store_n(&c->failed, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void shape_single(struct metainfo *mi)
{
	fixture_single(mi, 4 * PIECE);
}

/* Who opens the new file between another one's open and ftruncate must not
 * take it for one that somebody cut short. */
static void test_crowd__the_first_writers_of_a_file_race(void **state)
{
	for (int round = 0; round < 300; round++) {
		struct first c = { .f = fixture_new(*state, shape_single) };
		pthread_t writers[4];

		pthread_barrier_init(&c.start, NULL, 4);
		for (int i = 0; i < 4; i++)
			pthread_create(&writers[i], NULL, first_write, &c);
		for (int i = 0; i < 4; i++)
			pthread_join(writers[i], NULL);
		pthread_barrier_destroy(&c.start);
		assert_false(c.failed);
		assert_int_equal(fixture_check(c.f, 0, 4 * PIECE), 0);
		fixture_free(c.f);
	}
}

#define on_disk_and_tmpfs(f)                                                   \
	cmocka_unit_test(f), cmocka_unit_test_prestate(f, (void *)"/dev/shm")

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_disk_and_tmpfs(test_write__fills_the_tree_at_full_length),
		on_disk_and_tmpfs(
			test_read__any_range_over_files_pads_and_gaps),
		on_disk_and_tmpfs(
			test_write__byte_ranges_that_cross_everything),
		on_disk_and_tmpfs(test_single__is_a_plain_file),
		on_disk_and_tmpfs(test_range__beyond_the_end_is_refused),
		on_disk_and_tmpfs(test_missing__is_enodata),
		on_disk_and_tmpfs(test_short_file__is_enodata),
		on_disk_and_tmpfs(test_read_only__touches_nothing),
		on_disk_and_tmpfs(test_read_now__waits_for_nothing),
		on_disk_and_tmpfs(test_allocated__tells_holes),
		on_disk_and_tmpfs(test_make_empty__files_folders_symlinks),
		on_disk_and_tmpfs(test_stamps__tell_a_change),
		on_disk_and_tmpfs(test_delete__keeps_what_strangers_put_there),
		on_disk_and_tmpfs(test_crowd__many_write_one_torrent),
		on_disk_and_tmpfs(test_crowd__the_first_writers_of_a_file_race),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
