/* Goal: a tree in which somebody planted symlinks, deleted, cut or filled
 * things leads to an error, never to a byte outside or to a wrong byte. */
#include "tests/engine/store_fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* --- fsync and fdatasync, watched and made to fail --- */

static struct {
	int num_data, num_dir, num_fs, num_ranges;
	int fail_at;       /* the N-th fdatasync fails once; 0: none */
	int fail_range_at; /* the same of sync_file_range that waits */
	bool fail_fs;      /* syncfs fails once */
} syncs;

int syncfs(int fd)
{
	syncs.num_fs++;
	if (syncs.fail_fs) {
		syncs.fail_fs = false;
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_syncfs, fd);
}

int sync_file_range(int fd, off_t off, off_t len, unsigned flags)
{
	if (flags & SYNC_FILE_RANGE_WAIT_AFTER &&
	    ++syncs.num_ranges == syncs.fail_range_at) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_sync_file_range, fd, off, len, flags);
}

int fdatasync(int fd)
{
	if (++syncs.num_data == syncs.fail_at) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	syncs.num_dir++;
	return (int)syscall(SYS_fsync, fd);
}

/* --- symlinks --- */

static void plant(struct fixture *f, const char *target, const char *rel)
{
	assert_int_equal(symlink(target, scratch_path(f->root, rel)), 0);
}

static struct fixture *fixture_with_outside(void)
{
	struct fixture *f = fixture_new(NULL, fixture_tree);

	mkdir(scratch_path(f->dir, "data"), 0755);
	mkdir(scratch_path(f->dir, "data/hash"), 0755);
	mkdir(scratch_path(f->dir, "data/hash/NAME"), 0755);
	mkdir(scratch_path(f->dir, "outside"), 0755);
	scratch_write(f->dir, "outside/a", "secret", 6);
	scratch_write(f->dir, "outside/b", "secret", 6);
	return f;
}

static void assert_outside_untouched(struct fixture *f)
{
	char text[16] = "";

	assert_int_equal(scratch_read(f->dir, "outside/a", text, 16), 6);
	assert_memory_equal(text, "secret", 6);
	assert_int_equal(scratch_size(f->dir, "outside/b"), 6);
	assert_int_equal(remove(scratch_path(f->dir, "outside/a")), 0);
	assert_int_equal(remove(scratch_path(f->dir, "outside/b")), 0);
	/* Nothing else was made there. */
	assert_int_equal(rmdir(scratch_path(f->dir, "outside")), 0);
}

static void test_symlink__in_place_of_a_file(void **state)
{
	struct fixture *f = fixture_with_outside();
	struct store_stamp stamps[7];
	char why[300];

	plant(f, "../../../outside/a", "NAME/a");
	assert_int_equal(fixture_write(f, 0, 100), -ELOOP);
	assert_int_equal(fixture_check(f, 0, 6), -ELOOP);
	assert_int_equal(store_problem(f->store, why, sizeof(why)), -ELOOP);
	assert_false(store_is_allocated(f->store, 0, 6));
	assert_int_equal(store_stamps(f->store, stamps), 0);
	assert_int_equal(stamps[FILE_A].size, -1);
	assert_int_equal(store_delete(f->store), 0);
	assert_true(scratch_has(f->root, "NAME/a")); /* not ours */
	assert_outside_untouched(f);
	fixture_free(f);
}

static void test_symlink__in_place_of_a_folder(void **state)
{
	static const char *const targets[] = { "../../../outside", NULL };
	char absolute[PATH_MAX];

	for (int i = 0; i < 2; i++) {
		struct fixture *f = fixture_with_outside();
		uint64_t off = f->mi.files[FILE_B].offset;
		struct store_stamp stamps[7];

		snprintf(absolute, sizeof(absolute), "%s",
			 scratch_path(f->dir, "outside"));
		plant(f, targets[i] ? targets[i] : absolute, "NAME/sub");
		assert_int_equal(fixture_write(f, off, 100), -ELOOP);
		assert_int_equal(fixture_check(f, off, 6), -ELOOP);
		assert_int_equal(
			fixture_write(f, f->mi.files[FILE_C].offset, 10),
			-ELOOP);
		assert_int_equal(store_stamps(f->store, stamps), 0);
		assert_int_equal(stamps[FILE_B].size, -1);
		(void)store_delete(f->store); /* says -ELOOP, which is fine */
		assert_outside_untouched(f);
		fixture_free(f);
	}
}

static void test_symlink__in_place_of_the_torrents_folder(void **state)
{
	struct fixture *f = fixture_with_outside();

	assert_int_equal(rmdir(scratch_path(f->root, "NAME")), 0);
	plant(f, "../../outside", "NAME");
	assert_int_equal(fixture_write(f, 0, 100), -ELOOP);
	assert_int_equal(fixture_check(f, 0, 6), -ELOOP);
	assert_int_equal(store_make_empty(f->store), -ELOOP);
	(void)store_delete(f->store);
	assert_outside_untouched(f);
	fixture_free(f);
}

static void test_dotdot__would_not_leave_the_root_either(void **state)
{
	struct fixture *f = fixture_with_outside();

	/* No metainfo has such a path; the kernel would stop it as well. */
	free(f->mi.files[FILE_A].path);
	f->mi.files[FILE_A].path = mem_strdup("../../../outside/a");
	assert_int_equal(fixture_write(f, 0, 10), -EXDEV);
	assert_int_equal(fixture_check(f, 0, 6), -EXDEV);
	free(f->mi.files[FILE_A].path);
	f->mi.files[FILE_A].path = mem_strdup("/etc/passwd");
	assert_int_equal(fixture_check(f, 0, 6), -ENODATA); /* below NAME */
	assert_outside_untouched(f);
	fixture_free(f);
}

static void test_no_plain_file__is_refused_without_a_wait(void **state)
{
	struct fixture *f = fixture_with_outside();

	assert_int_equal(mkfifo(scratch_path(f->root, "NAME/a"), 0600), 0);
	assert_int_equal(fixture_write(f, 0, 10), -ENXIO);
	assert_int_equal(fixture_check(f, 0, 10), -ENXIO);
	assert_int_equal(mkdir(scratch_path(f->root, "NAME/d"), 0700), 0);
	assert_int_equal(fixture_write(f, f->mi.files[FILE_D].offset, 10),
			 -EISDIR);
	scratch_write(f->root, "NAME/sub", "x", 1);
	assert_int_equal(fixture_write(f, f->mi.files[FILE_B].offset, 10),
			 -ENOTDIR);
	fixture_free(f);
}

/* --- files that vanish --- */

/* Everything that was written is reported gone; no zero is ever read. */
static void expect_gone(struct fixture *f, uint64_t len)
{
	char why[300];

	assert_int_equal(fixture_check(f, 0, len), -ENODATA);
	assert_int_equal(fixture_write(f, 0, 4096), -ENODATA);
	assert_int_equal(fixture_check(f, 0, 4096), -ENODATA);
	assert_int_equal(fixture_check(f, 50000, 100), -ENODATA);
	assert_int_equal(store_problem(f->store, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "film"));
	/* The owner knows: the file may be made again. */
	assert_int_equal(fixture_write(f, 0, 4096), 0);
	assert_int_equal(fixture_check(f, 0, 4096), 0);
}

static void shape_film(struct metainfo *mi)
{
	fixture_single(mi, 300000);
}

/* Makes the store forget the open file, as 256 others would. */
static void forget_open_files(struct fixture *f)
{
	struct fdfile *slots[4] = { NULL };

	for (int i = 0; i < 4; i++)
		fdcache_put(f->cache,
			    fdcache_add(f->cache, &slots[i],
					open("/dev/null", O_RDONLY), false));
	for (int i = 0; i < 4; i++)
		fdcache_drop(f->cache, &slots[i]);
}

static void test_vanished__is_not_made_again_as_zeros(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_film);

	fixture_write_all(f);
	assert_int_equal(unlink(scratch_path(f->root, "film")), 0);
	/* As long as it is open, all is well. */
	assert_int_equal(fixture_check(f, 0, 300000), 0);
	forget_open_files(f);
	expect_gone(f, 300000);
	fixture_free(f);
}

static void test_shrunk__is_not_lengthened_with_zeros(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_film);

	fixture_write_all(f);
	assert_int_equal(truncate(scratch_path(f->root, "film"), 40000), 0);
	forget_open_files(f);
	expect_gone(f, 300000);
	fixture_free(f);
}

static void test_shrunk__while_open(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_film);

	fixture_write_all(f);
	assert_int_equal(truncate(scratch_path(f->root, "film"), 3000), 0);
	expect_gone(f, 300000);
	fixture_free(f);
}

static void test_vanished__before_it_was_opened(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_film);
	struct store_stamp stamp;

	fixture_write_all(f);
	/* The next run believes its bits because of the stamp. */
	fixture_reopen(f, false);
	assert_int_equal(store_stamps(f->store, &stamp), 0);
	assert_int_equal(stamp.size, 300000);
	assert_int_equal(unlink(scratch_path(f->root, "film")), 0);
	expect_gone(f, 300000);
	fixture_free(f);
}

static void test_vanished__is_told_before_any_other_problem(void **state)
{
	struct fixture *f = fixture_new(NULL, fixture_tree);
	char why[300];

	assert_int_equal(fixture_write(f, 0, 10), 0);
	assert_int_equal(mkdir(scratch_path(f->root, "NAME/d"), 0700), 0);
	assert_int_equal(fixture_check(f, f->mi.files[FILE_D].offset, 1),
			 -EISDIR);
	assert_int_equal(truncate(scratch_path(f->root, "NAME/a"), 5), 0);
	assert_int_equal(fixture_check(f, 0, 10), -ENODATA);
	assert_int_equal(fixture_check(f, f->mi.files[FILE_D].offset, 1),
			 -EISDIR);
	assert_int_equal(store_problem(f->store, why, sizeof(why)), -ENODATA);
	assert_non_null(strstr(why, "a: "));
	fixture_free(f);
}

static void test_folder_deleted__comes_back_with_the_next_download(void **state)
{
	struct fixture *f = fixture_new(NULL, fixture_tree);
	char why[300];

	fixture_write_all(f);
	scratch_remove(scratch_path(f->dir, "data"));
	forget_open_files(f);
	assert_int_equal(fixture_check(f, 0, 10), -ENODATA);
	store_problem(f->store, why, sizeof(why));
	/* Each file speaks for itself; the owner asks until all is quiet. */
	for (int i = 0; i < 10 && fixture_write(f, 0, f->mi.layout.total); i++)
		store_problem(f->store, why, sizeof(why));
	assert_int_equal(fixture_check(f, 0, f->mi.layout.total), 0);
	fixture_free(f);
}

/* --- sync --- */

static void test_sync__once_for_each_file_and_folder(void **state)
{
	struct fixture *f = fixture_new(NULL, fixture_tree);

	fixture_write_all(f);
	memset(&syncs, 0, sizeof(syncs));
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_data, 4); /* a, b, c, d; no pad */
	assert_true(syncs.num_dir >= 4);     /* NAME, sub, deep, the root */
	memset(&syncs, 0, sizeof(syncs));
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_data + syncs.num_dir, 0);
	/* A file that was here before: its bytes alone. */
	assert_int_equal(fixture_write(f, 0, 10), 0);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_data, 1);
	assert_int_equal(syncs.num_dir, 0);
	/* Also when it is not open any more. */
	assert_int_equal(fixture_write(f, 0, 10), 0);
	forget_open_files(f);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_data, 2);
	fixture_free(f);
}

static void test_sync__what_failed_is_never_called_safe(void **state)
{
	struct fixture *f = fixture_new(NULL, fixture_tree);
	char why[300];

	fixture_write_all(f);
	memset(&syncs, 0, sizeof(syncs));
	syncs.fail_at = 2;
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(store_problem(f->store, why, sizeof(why)), -EIO);
	assert_int_equal(syncs.num_data, 4); /* the others are safe */
	/* The kernel would say 0 now, and may have dropped the pages. */
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(fixture_write(f, 0, f->mi.layout.total), 0);
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(fixture_check(f, 0, f->mi.layout.total), 0);
	/* The next run begins anew, and hashes what has no bit. */
	fixture_reopen(f, false);
	assert_int_equal(store_sync(f->store), 0);
	fixture_free(f);
}

/* 40 files in 7 folders. */
static void shape_many(struct metainfo *mi)
{
	char path[40];

	mi->name = mem_strdup("NAME");
	mi->is_multi = true;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "d%u/f%u", i % 7, i);
		fixture_add(mi, path, 50000, 0, 0);
	}
}

static void test_sync__of_many_files_is_one(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_many);

	fixture_write_all(f);
	memset(&syncs, 0, sizeof(syncs));
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_ranges, 40);
	assert_int_equal(syncs.num_fs, 1);
	assert_int_equal(syncs.num_data + syncs.num_dir, 0);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_fs, 1);
	/* One of them fails: it alone is lost. */
	fixture_write_all(f);
	syncs.fail_range_at = 50;
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(syncs.num_fs, 2);
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(syncs.num_ranges, 80);
	fixture_reopen(f, false);
	/* The commit fails: all of it is to be done again. */
	fixture_write_all(f);
	memset(&syncs, 0, sizeof(syncs));
	syncs.fail_fs = true;
	assert_int_equal(store_sync(f->store), -EIO);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_ranges, 80);
	assert_int_equal(syncs.num_fs, 2);
	/* One has vanished: the others are synced. */
	fixture_write_all(f);
	forget_open_files(f);
	assert_int_equal(unlink(scratch_path(f->root, "NAME/d3/f3")), 0);
	assert_int_equal(store_sync(f->store), -ENODATA);
	assert_int_equal(syncs.num_ranges, 119);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(syncs.num_ranges, 119);
	fixture_free(f);
}

static void test_sync__says_when_a_written_file_is_gone(void **state)
{
	struct fixture *f = fixture_new(NULL, shape_film);

	fixture_write_all(f);
	assert_int_equal(unlink(scratch_path(f->root, "film")), 0);
	forget_open_files(f);
	assert_int_equal(store_sync(f->store), -ENODATA);
	assert_int_equal(store_sync(f->store), 0);
	fixture_free(f);
}

/* --- a full disk --- */

static void shape_large(struct metainfo *mi)
{
	fixture_single(mi, 3 << 20);
}

static void test_full_disk__is_an_error_that_goes_away(void **state)
{
	char dir[PATH_MAX];
	struct fixture *f;
	uint64_t off;
	int r = 0;

	scratch_make(NULL, dir);
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=2m") < 0) {
		rmdir(dir);
		skip(); /* wants root */
	}
	f = fixture_new(dir, shape_large);
	for (off = 0; off < f->mi.layout.total && !r; off += PIECE)
		r = fixture_write(f, off, PIECE);
	assert_int_equal(r, -ENOSPC);
	/* What was written before is whole. */
	assert_int_equal(fixture_check(f, 0, off - PIECE), 0);
	assert_int_equal(store_sync(f->store), 0);
	assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"),
			 0);
	fixture_write_all(f);
	assert_int_equal(fixture_check(f, 0, f->mi.layout.total), 0);
	fixture_free(f);
	umount(dir);
	rmdir(dir);
}

/* --- kernels and sandboxes without openat2 --- */

static void test_no_openat2__from_here_on(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { ARRAY_LEN(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		skip();
	assert_int_equal(syscall(SYS_openat2, 0, "", NULL, 0), -1);
	assert_int_equal(errno, ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_symlink__in_place_of_a_file),
		cmocka_unit_test(test_symlink__in_place_of_a_folder),
		cmocka_unit_test(test_symlink__in_place_of_the_torrents_folder),
		cmocka_unit_test(test_dotdot__would_not_leave_the_root_either),
		cmocka_unit_test(test_no_plain_file__is_refused_without_a_wait),
		cmocka_unit_test(test_vanished__is_not_made_again_as_zeros),
		cmocka_unit_test(test_shrunk__is_not_lengthened_with_zeros),
		cmocka_unit_test(test_shrunk__while_open),
		cmocka_unit_test(test_vanished__before_it_was_opened),
		cmocka_unit_test(
			test_vanished__is_told_before_any_other_problem),
		cmocka_unit_test(
			test_folder_deleted__comes_back_with_the_next_download),
		cmocka_unit_test(test_sync__once_for_each_file_and_folder),
		cmocka_unit_test(test_sync__what_failed_is_never_called_safe),
		cmocka_unit_test(test_sync__of_many_files_is_one),
		cmocka_unit_test(test_sync__says_when_a_written_file_is_gone),
		cmocka_unit_test(test_full_disk__is_an_error_that_goes_away),
		/* The rest once more, the other way. */
		cmocka_unit_test(test_no_openat2__from_here_on),
		cmocka_unit_test(test_symlink__in_place_of_a_file),
		cmocka_unit_test(test_symlink__in_place_of_a_folder),
		cmocka_unit_test(test_symlink__in_place_of_the_torrents_folder),
		cmocka_unit_test(test_dotdot__would_not_leave_the_root_either),
		cmocka_unit_test(test_no_plain_file__is_refused_without_a_wait),
		cmocka_unit_test(
			test_folder_deleted__comes_back_with_the_next_download),
	};

	umask(022);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
