/* Goal: what make_torrent makes is the folder as it is, in the order of names,
 * right to the last hash, or an error that says what to do. */
#include "tests/engine/scratch.h"

#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "engine/make.h"
#include "engine/merkle.h"

struct rig {
	char dir[PATH_MAX];
	char src[PATH_MAX]; /* dir/src, a folder */
	struct make_options options;
	struct buf warnings;
	void (*meddle)(struct rig *rig); /* at the first warning */
};

static void rig_warn(void *arg, const char *path, const char *why)
{
	struct rig *rig = arg;

	buf_printf(&rig->warnings, "%s %s\n", path, why);
	if (rig->meddle)
		rig->meddle(rig);
	rig->meddle = NULL;
}

static void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	scratch_make(NULL, rig->dir);
	assert_true(snprintf(rig->src, PATH_MAX, "%s/src", rig->dir) <
		    PATH_MAX);
	assert_int_equal(mkdir(rig->src, 0755), 0);
	buf_init(&rig->warnings, 0);
	rig->options.warn = rig_warn;
	rig->options.arg = rig;
}

static void rig_release(struct rig *rig)
{
	scratch_remove(rig->dir);
	buf_release(&rig->warnings);
}

static void make_folder(const struct rig *rig, const char *rel)
{
	assert_int_equal(mkdir(scratch_path(rig->src, rel), 0755), 0);
}

/* LEN bytes that depend on the name and the place. */
static void add_file(const struct rig *rig, const char *rel, size_t len)
{
	uint8_t *bytes = mem_alloc(len + 1);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((i * 2654435761u >> 13) + strlen(rel));
	scratch_write(rig->src, rel, bytes, len);
	free(bytes);
}

static struct metainfo *make(struct rig *rig, const char *src)
{
	char why[MAKE_WHY_SIZE];
	struct metainfo *mi;
	int r = make_torrent(src ? src : rig->src, &rig->options, &mi, why);

	if (r)
		print_error("%s\n", why);
	assert_int_equal(r, 0);
	assert_string_equal(why, "");
	return mi;
}

static void refused(struct rig *rig, int want, const char *rule)
{
	char why[MAKE_WHY_SIZE];
	struct metainfo *mi;

	assert_int_equal(make_torrent(rig->src, &rig->options, &mi, why), want);
	if (!strstr(why, rule))
		print_error("\"%s\", not \"%s\"\n", why, rule);
	assert_non_null(strstr(why, rule));
	assert_null(mi);
}

static void assert_warnings(struct rig *rig, const char *want)
{
	buf_add(&rig->warnings, "", 1);
	assert_string_equal((char *)rig->warnings.ptr, want);
	buf_release(&rig->warnings);
}

/* Hashes again what MI says, by reading the files one after the other. */
static void check_hashes(const struct rig *rig, const struct metainfo *mi)
{
	uint8_t *all = mem_alloc(mi->layout.total), hash[20];
	const char *dir = mi->is_multi ? rig->src : rig->dir;

	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];

		if (f->flags & FILE_PAD)
			continue;
		assert_int_equal(scratch_read(dir, f->path, all + f->offset,
					      f->length + 1),
				 f->length);
	}
	for (uint32_t i = 0; i < mi->layout.num_pieces; i++) {
		sha1(all + layout_piece_start(&mi->layout, i),
		     layout_piece_size(&mi->layout, i), hash);
		assert_memory_equal(hash, mi->piece_hashes + i * 20, 20);
	}
	free(all);
}

/* The plain way: all leaves of a file, folded. */
static void check_roots(const struct rig *rig, const struct metainfo *mi)
{
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];
		size_t leaves = (f->length + 16383) / 16384;
		uint8_t *bytes, *hashes, root[32];

		assert_int_equal(f->has_root,
				 f->length && !(f->flags & FILE_PAD));
		if (!f->has_root)
			continue;
		bytes = mem_alloc(f->length + 1);
		hashes = mem_alloc_array(leaves, 32);
		scratch_read(rig->src, f->path, bytes, f->length);
		for (size_t k = 0; k < leaves; k++)
			sha256(bytes + k * 16384,
			       k + 1 < leaves ? 16384 : f->length - k * 16384,
			       hashes + k * 32);
		merkle_root(hashes, leaves, 0, root);
		assert_memory_equal(root, f->pieces_root, 32);
		free(hashes);
		free(bytes);
	}
}

static void assert_files(const struct metainfo *mi, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	for (uint32_t i = 0; i < mi->num_files; i++)
		buf_printf(&b, "%s%s", i ? "|" : "", mi->files[i].path);
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
}

static void add_tree(const struct rig *rig)
{
	make_folder(rig, "b");
	make_folder(rig, "b/deep");
	make_folder(rig, "empty folder");
	add_file(rig, "a-file", 100000);
	add_file(rig, "a", 0);
	add_file(rig, "b/x", 16384);
	add_file(rig, "b/deep/y", 70001);
	add_file(rig, "b.txt", 1);
	add_file(rig, "B", 17);
}

static void test_folder__is_taken_in_the_order_of_names(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_tree(&rig);
	rig.options.piece_length = 16384;
	for (rig.options.threads = 0; rig.options.threads < 5;
	     rig.options.threads++) {
		mi = make(&rig, NULL);
		assert_string_equal(mi->name, "src");
		assert_true(mi->is_multi && mi->has_v1 && !mi->has_v2);
		assert_files(mi, "B|a|a-file|b.txt|b/deep/y|b/x");
		check_hashes(&rig, mi);
		metainfo_free(mi);
	}
	assert_warnings(&rig, "");
	rig_release(&rig);
}

/* As above, with what the v1 part of a hybrid lists. */
static void test_folder__as_a_hybrid(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_tree(&rig);
	rig.options.piece_length = 32768;
	rig.options.kind = MAKE_HYBRID;
	for (rig.options.threads = 0; rig.options.threads < 5;
	     rig.options.threads++) {
		mi = make(&rig, NULL);
		assert_true(mi->is_multi && mi->has_v1 && mi->has_v2);
		assert_files(mi, "B|.pad/32751|a|a-file|.pad/31072|"
				 "b/deep/y|.pad/28303|b/x|.pad/16384|"
				 "b.txt|.pad/32767");
		check_hashes(&rig, mi);
		check_roots(&rig, mi);
		metainfo_free(mi);
	}
	rig_release(&rig);
}

static void test_folder__as_v2(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_tree(&rig);
	rig.options.piece_length = 32768;
	rig.options.kind = MAKE_V2;
	mi = make(&rig, NULL);
	assert_true(mi->is_multi && !mi->has_v1 && mi->has_v2);
	check_roots(&rig, mi);
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_folder__without_what_is_left_out(void **state)
{
	static const char *const names[] = { "CVS", "core", "Thumbs.db",
					     "desktop.ini", ".x" };
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	make_folder(&rig, "d");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char path[32];

		assert_true(make_is_left_out(names[i]));
		snprintf(path, sizeof(path), "d/%s", names[i]);
		add_file(&rig, path, 10);
	}
	make_folder(&rig, ".git");
	add_file(&rig, ".git/config", 10);
	add_file(&rig, "Core", 1);
	add_file(&rig, "d/core.c", 2);
	add_file(&rig, "d/cvs", 3);
	mi = make(&rig, NULL);
	assert_files(mi, "Core|d/core.c|d/cvs");
	assert_warnings(&rig, ".git has a name that is left out\n"
			      "d/.x has a name that is left out\n"
			      "d/CVS has a name that is left out\n"
			      "d/Thumbs.db has a name that is left out\n"
			      "d/core has a name that is left out\n"
			      "d/desktop.ini has a name that is left out\n");
	metainfo_free(mi);
	/* but a source is what was asked for, whatever its name */
	assert_int_equal(snprintf(rig.src + strlen(rig.src), 10, "/.git"), 5);
	mi = make(&rig, NULL);
	assert_string_equal(mi->name, ".git");
	assert_files(mi, "config");
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_folder__empty_ones_leave_no_trace(void **state)
{
	char before[20];
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_file(&rig, "b", 100);
	for (rig.options.kind = MAKE_V1; rig.options.kind <= MAKE_HYBRID;
	     rig.options.kind++) {
		mi = make(&rig, NULL);
		memcpy(before, mi->infohash.b, 20);
		metainfo_free(mi);
		make_folder(&rig, "a");
		make_folder(&rig, "a/deep");
		mi = make(&rig, NULL);
		assert_memory_equal(mi->infohash.b, before, 20);
		metainfo_free(mi);
		assert_int_equal(rmdir(scratch_path(rig.src, "a/deep")), 0);
		assert_int_equal(rmdir(scratch_path(rig.src, "a")), 0);
	}
	assert_warnings(&rig, "");
	rig_release(&rig);
}

static void test_folder__whose_v2_torrent_is_that_of_a_file(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_file(&rig, "src", 100);
	rig.options.kind = MAKE_HYBRID;
	mi = make(&rig, NULL);
	assert_true(mi->is_multi);
	metainfo_free(mi);
	rig.options.kind = MAKE_V2;
	mi = make(&rig, NULL);
	assert_false(mi->is_multi);
	metainfo_free(mi);
	assert_warnings(&rig, "src holds only a file of its own name: in a v2 "
			      "torrent that is the same as the file alone\n");
	rig_release(&rig);
}

static void test_file__alone(void **state)
{
	char path[PATH_MAX];
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	assert_int_equal(rmdir(rig.src), 0);
	add_file(&(struct rig){ .src = "/" }, rig.src + 1, 123456);
	mi = make(&rig, NULL);
	assert_false(mi->is_multi);
	assert_string_equal(mi->name, "src");
	assert_int_equal(mi->layout.total, 123456);
	check_hashes(&rig, mi);
	metainfo_free(mi);
	/* A link that a person names is followed, and gives the name. */
	assert_int_equal(symlink("src", scratch_path(rig.dir, "link")), 0);
	assert_true(snprintf(path, PATH_MAX, "%s/link", rig.dir) < PATH_MAX);
	mi = make(&rig, path);
	assert_string_equal(mi->name, "link");
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_name__from_what_was_typed(void **state)
{
	char path[PATH_MAX + 16];
	struct rig rig;
	struct metainfo *mi;
	static const char *const tails[] = { "",   "/",     "//",
					     "/.", "/b/..", "/b/../" };

	rig_init(&rig);
	add_tree(&rig);
	for (size_t i = 0; i < ARRAY_LEN(tails); i++) {
		snprintf(path, sizeof(path), "%s%s", rig.src, tails[i]);
		mi = make(&rig, path);
		assert_string_equal(mi->name, "src");
		metainfo_free(mi);
	}
	rig.options.name = "other";
	mi = make(&rig, NULL);
	assert_string_equal(mi->name, "other");
	metainfo_free(mi);
	rig.options.name = "a/b";
	refused(&rig, -EINVAL, "one element of a path");
	rig.options.name = "..";
	refused(&rig, -EINVAL, "one element of a path");
	rig_release(&rig);
}

static void test_folder__without_links_and_special_files(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	make_folder(&rig, "d");
	add_file(&rig, "d/f", 9);
	assert_int_equal(symlink("d", scratch_path(rig.src, "l")), 0);
	assert_int_equal(symlink("d/f", scratch_path(rig.src, "d/m")), 0);
	assert_int_equal(symlink("/nowhere", scratch_path(rig.src, "n")), 0);
	assert_int_equal(mkfifo(scratch_path(rig.src, "p"), 0644), 0);
	mi = make(&rig, NULL);
	assert_files(mi, "d/f");
	assert_warnings(&rig, "d/m is a symlink: left out\n"
			      "l is a symlink: left out\n"
			      "n is a symlink: left out\n"
			      "p is no plain file: left out\n");
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_names__that_others_will_not_use(void **state)
{
	struct rig rig;
	struct metainfo *mi;

	rig_init(&rig);
	add_file(&rig, "a\\b", 9);
	add_file(&rig, "\xff", 9);
	mi = make(&rig, NULL);
	assert_files(mi, "ab|_");
	buf_add(&rig.warnings, "", 1);
	assert_non_null(
		strstr((char *)rig.warnings.ptr, "a\\b is no safe name"));
	assert_non_null(
		strstr((char *)rig.warnings.ptr, "\xff is no safe name"));
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_options__reach_the_torrent(void **state)
{
	static const char *const trackers[] = { "http://a/x", "udp://b:1" };
	static const char *const webseeds[] = { "http://w/ x" };
	char before[41], after[41];
	struct metainfo *mi;
	struct rig rig;

	rig_init(&rig);
	add_tree(&rig);
	mi = make(&rig, NULL);
	memcpy(before, mi->infohash.b, 20);
	assert_int_equal(mi->num_trackers, 0);
	assert_null(mi->comment);
	assert_null(mi->created_by);
	assert_int_equal(mi->creation_date, 0);
	metainfo_free(mi);
	rig.options.trackers = trackers;
	rig.options.num_trackers = 2;
	rig.options.webseeds = webseeds;
	rig.options.num_webseeds = 1;
	rig.options.comment = "words";
	rig.options.created_by = "me";
	rig.options.creation_date = 12345;
	mi = make(&rig, NULL);
	memcpy(after, mi->infohash.b, 20);
	/* none of these is part of what the torrent is */
	assert_memory_equal(before, after, 20);
	assert_int_equal(mi->num_trackers, 2);
	assert_string_equal(mi->trackers[1], "udp://b:1");
	assert_int_equal(mi->tier_of[1], 1);
	assert_string_equal(mi->webseeds[0], "http://w/%20x/");
	assert_string_equal(mi->comment, "words");
	assert_string_equal(mi->created_by, "me");
	assert_int_equal(mi->creation_date, 12345);
	metainfo_free(mi);
	rig.options.is_private = true;
	rig.options.piece_length = 65536;
	mi = make(&rig, NULL);
	assert_true(mi->is_private);
	assert_int_equal(mi->layout.piece_length, 65536);
	check_hashes(&rig, mi);
	metainfo_free(mi);
	rig_release(&rig);
}

static void test_options__that_make_no_sense(void **state)
{
	static const char *const bad[] = { "wss://a/", "http://a/\nb",
					   "tracker.example" };
	struct rig rig;

	rig_init(&rig);
	add_tree(&rig);
	rig.options.piece_length = 8192;
	refused(&rig, -EINVAL, "piece length is 8192: must be a power of two");
	rig.options.piece_length = 100000;
	refused(&rig, -EINVAL, "must be a power of two");
	rig.options.piece_length = 1u << 30;
	refused(&rig, -EINVAL, "must be a power of two");
	rig.options.piece_length = 0;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		rig.options.trackers = &bad[i];
		rig.options.num_trackers = 1;
		refused(&rig, -EINVAL,
			"a tracker is an http, https or udp URL");
	}
	rig.options.num_trackers = 0;
	rig.options.webseeds = bad;
	rig.options.num_webseeds = 1;
	refused(&rig, -EINVAL, "a web seed is an http or https URL");
	rig_release(&rig);
}

static void test_refused__what_would_be_no_torrent(void **state)
{
	struct rig rig;

	rig_init(&rig);
	refused(&rig, -EBADMSG, "nothing in it to hash");
	add_file(&rig, "a", 0);
	refused(&rig, -EBADMSG, "nothing in it to hash");
	/* sparse: 64 GiB in pieces of 16 KiB */
	assert_int_equal(truncate(scratch_path(rig.src, "a"), 1ll << 36), 0);
	rig.options.piece_length = 16384;
	refused(&rig, -E2BIG, "the piece length must be larger");
	scratch_remove(rig.src);
	refused(&rig, -ENOENT, "No such file");
	assert_int_equal(mkfifo(rig.src, 0644), 0);
	refused(&rig, -EINVAL, "is no plain file and no folder");
	rig_release(&rig);
}

static void test_refused__too_deep(void **state)
{
	struct rig rig;
	int fd, next;

	rig_init(&rig);
	fd = open(rig.src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i <= LIMIT_PATH_DEPTH; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	refused(&rig, -E2BIG, "more than 100 folders deep");
	rig_release(&rig);
}

/* The link z comes last in the scan, so "at the first warning" is after all
 * files were looked at and before the first is hashed. */
static void meddled(void (*meddle)(struct rig *rig), const char *rule)
{
	struct rig rig;

	for (enum make_kind kind = MAKE_V1; kind <= MAKE_HYBRID; kind++) {
		rig_init(&rig);
		add_file(&rig, "a", 50000);
		add_file(&rig, "b", 50000);
		assert_int_equal(symlink("a", scratch_path(rig.src, "z")), 0);
		rig.options.kind = kind;
		rig.meddle = meddle;
		refused(&rig, -ESTALE, rule);
		rig_release(&rig);
	}
}

static void cut(struct rig *rig)
{
	assert_int_equal(truncate(scratch_path(rig->src, "b"), 10), 0);
}

static void lengthen(struct rig *rig)
{
	assert_int_equal(truncate(scratch_path(rig->src, "b"), 50001), 0);
}

static void vanish(struct rig *rig)
{
	assert_int_equal(unlink(scratch_path(rig->src, "b")), 0);
}

static void replace(struct rig *rig)
{
	assert_int_equal(rename(scratch_path(rig->src, "a"),
				scratch_path(rig->src, "b")),
			 0);
}

static void touch(struct rig *rig)
{
	static const struct timespec times[2] = { { 0, UTIME_OMIT },
						  { 1000000, 0 } };

	assert_int_equal(
		utimensat(AT_FDCWD, scratch_path(rig->src, "b"), times, 0), 0);
}

/* Other bytes, the same length and time. */
static void rewrite_in_secret(struct rig *rig)
{
	const char *path = scratch_path(rig->src, "b");
	struct timespec times[2];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	scratch_write(rig->src, "b", "!", 1);
	assert_int_equal(truncate(path, 50000), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void link_instead(struct rig *rig)
{
	vanish(rig);
	assert_int_equal(symlink("a", scratch_path(rig->src, "b")), 0);
}

static void test_changed__while_it_was_hashed(void **state)
{
	meddled(cut, "b: changed while it was hashed");
	meddled(lengthen, "b: changed while it was hashed");
	meddled(vanish, "b: vanished while it was hashed");
	meddled(replace, "while it was hashed");
	meddled(touch, "b: changed while it was hashed");
	meddled(rewrite_in_secret, "b: changed while it was hashed");
}

static void test_changed__into_a_link(void **state)
{
	struct rig rig;

	rig_init(&rig);
	add_file(&rig, "a", 50000);
	add_file(&rig, "b", 50000);
	assert_int_equal(symlink("a", scratch_path(rig.src, "z")), 0);
	rig.meddle = link_instead;
	refused(&rig, -ELOOP, "b: ");
	rig_release(&rig);
}

/* Called for the last time when all is hashed, and all files were closed. */
static bool touch_at_the_end(void *arg, uint64_t done, uint64_t total)
{
	if (total && done == total)
		touch(arg);
	return true;
}

static void test_changed__after_it_was_hashed(void **state)
{
	struct rig rig;

	rig_init(&rig);
	add_file(&rig, "a", 50000);
	add_file(&rig, "b", 50000);
	rig.options.progress = touch_at_the_end;
	refused(&rig, -ESTALE, "b: changed while it was hashed");
	rig_release(&rig);
}

static bool give_up(void *arg, uint64_t done, uint64_t total)
{
	return false;
}

static void test_progress__can_give_up(void **state)
{
	struct rig rig;

	rig_init(&rig);
	add_tree(&rig);
	rig.options.progress = give_up;
	refused(&rig, -ECANCELED, "canceled");
	rig_release(&rig);
}

static void test_piece_length__by_size(void **state)
{
	const uint64_t mib = 1 << 20, gib = 1 << 30, tib = 1ull << 40;

	assert_int_equal(make_piece_length(0), 256 << 10);
	assert_int_equal(make_piece_length(64 * mib - 1), 256 << 10);
	assert_int_equal(make_piece_length(64 * mib), 1 << 20);
	assert_int_equal(make_piece_length(16 * gib - 1), 1 << 20);
	assert_int_equal(make_piece_length(16 * gib), 4 << 20);
	assert_int_equal(make_piece_length(4 * tib - 1), 4 << 20);
	assert_int_equal(make_piece_length(4 * tib), 8 << 20);
	assert_int_equal(make_piece_length(LIMIT_TORRENT_BYTES), 512 << 20);
	assert_int_equal(make_piece_length(UINT64_MAX), 512 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_folder__is_taken_in_the_order_of_names),
		cmocka_unit_test(test_folder__as_a_hybrid),
		cmocka_unit_test(test_folder__as_v2),
		cmocka_unit_test(test_folder__without_what_is_left_out),
		cmocka_unit_test(test_folder__empty_ones_leave_no_trace),
		cmocka_unit_test(
			test_folder__whose_v2_torrent_is_that_of_a_file),
		cmocka_unit_test(test_file__alone),
		cmocka_unit_test(test_name__from_what_was_typed),
		cmocka_unit_test(test_folder__without_links_and_special_files),
		cmocka_unit_test(test_names__that_others_will_not_use),
		cmocka_unit_test(test_options__reach_the_torrent),
		cmocka_unit_test(test_options__that_make_no_sense),
		cmocka_unit_test(test_refused__what_would_be_no_torrent),
		cmocka_unit_test(test_refused__too_deep),
		cmocka_unit_test(test_changed__while_it_was_hashed),
		cmocka_unit_test(test_changed__into_a_link),
		cmocka_unit_test(test_changed__after_it_was_hashed),
		cmocka_unit_test(test_progress__can_give_up),
		cmocka_unit_test(test_piece_length__by_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
