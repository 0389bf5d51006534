/* Goal: whatever a torrent calls its files and links, they get safe names, each
 * its own, and links stay inside. */
#include "tests/engine/torrent_text.h"

#include <errno.h>

#include "engine/base/hex.h"

static void check_paths(const char *files, const char *want)
{
	struct metainfo *mi = accept_text(
		"{info:{files:[%s],name:'temp','piece length':16384,"
		"pieces:20*'x'}}",
		files);

	assert_true(mi->is_multi);
	assert_paths(mi, want);
	metainfo_free(mi);
}

static void test_names__as_libtorrent_users_know_them(void **state)
{
	/* slash_path, slash_path2, parent_path, hidden_parent_path */
	check_paths("{length:5,path:['/','/','bar']}", "_/_/bar");
	check_paths("{length:5,path:['bar','abc/../../def']}",
		    "bar/abc....def");
	check_paths("{length:5,path:['..','bar']}", "bar");
	check_paths("{length:5,path:['foo/../../../bar']}", "foo......bar");
	/* absolute_filename, backslash_path, empty_path, empty_path_multi */
	check_paths("{length:5,path:['/foobar']}", "foobar");
	check_paths("{length:5,path:['foo\\x5cbar']}", "foobar");
	check_paths("{length:5,path:['']}", "_");
	check_paths("{length:5,path:['']},{length:5,path:['','a']}", "_|a");
	/* invalid_filename, invalid_filename2 */
	check_paths("{length:5,path:['.']},{length:5,path:['\\x5cest2']}",
		    "_|est2");
	check_paths("{length:5,path:['a','..']},{length:5,path:['..']},"
		    "{length:5,path:['b','.','c']}",
		    "a|_|b/c");
	/* invalid_directory_name, duplicate_files */
	check_paths("{length:5,path:['foo','x']},{length:5,path:['foo']}",
		    "foo/x|foo.1");
	check_paths("{length:5,path:['bar.txt']},{length:5,path:['bar.txt']}",
		    "bar.txt|bar.1.txt");
	check_paths("{length:5,path:['\x82/estMB']}", "_estMB");
	check_paths("{length:5,path:['a\\x00b']}", "a_b");
}

static void check_name(const char *raw, const char *want)
{
	struct metainfo *mi =
		accept_text(MULTI("{length:5,path:['f']}", "'%s'"), raw);
	char hex[41];

	if (!want)
		want = hex_encode(mi->infohash.b, 20, hex);
	assert_string_equal(mi->name, want);
	metainfo_free(mi);
	mi = accept_text("{info:{length:1,name:'%s','piece length':16384,"
			 "pieces:20*'x'}}",
			 raw);
	if (want == hex)
		hex_encode(mi->infohash.b, 20, hex);
	assert_string_equal(mi->name, want);
	assert_string_equal(mi->files[0].path, want);
	metainfo_free(mi);
}

static void test_names__of_the_torrent(void **state)
{
	char raw[301], want[301];

	check_name("temp/../../abc", "temp....abc"); /* slash_path3 */
	check_name("..", NULL);                      /* invalid_name2 */
	check_name("", NULL);
	check_name(".", NULL);
	check_name("/..", NULL);
	check_name("a\xe2\x80\xae"
		   "b",
		   "ab");
	memset(raw, 'n', 300); /* long_name */
	memcpy(raw + 296, ".iso", 5);
	memset(want, 'n', 236);
	memcpy(want + 236, ".iso", 5);
	check_name(raw, want);
}

static void test_names__utf8_keys_are_preferred(void **state)
{
	struct metainfo *mi = accept_text(
		"{info:{files:[{length:5,path:['\xe9'],'path.utf-8':["
		"'\xc3\xa9']},{length:5,path:['b'],'path.utf-8':7}],"
		"name:'\xfc','name.utf-8':'\xc3\xbc','piece length':16384,"
		"pieces:20*'x'}}");

	assert_string_equal(mi->name, "\xc3\xbc");
	assert_paths(mi, "\xc3\xa9|b");
	metainfo_free(mi);
}

static void test_names__raw_ones_are_kept(void **state)
{
	struct metainfo *mi = accept_text(
		MULTI("{length:5,path:['..','a\\x00b','/c']}", "'x/y'"));

	assert_string_equal(mi->origname, "x/y");
	assert_string_equal(mi->name, "xy");
	assert_string_equal(mi->files[0].origpath, "../a_b//c");
	assert_string_equal(mi->files[0].path, "a_b/c");
	metainfo_free(mi);
}

static char *same_names(int count)
{
	return repeated_text(count, "{length:1,path:['a.txt']}");
}

static void test_names__too_many_of_one(void **state)
{
	char *most = same_names(LIMIT_DUPLICATE_NAMES);
	char *more = same_names(118);
	struct metainfo *mi;

	refuse_text(-E2BIG, "more than 100 files have the name a.txt",
		    MULTI("%s", "'temp'"), more);
	mi = accept_text(MULTI("%s", "'temp'"), most);
	assert_string_equal(mi->files[99].path, "a.99.txt");
	metainfo_free(mi);
	free(most);
	free(more);
}

static void test_pads__with_old_name_or_none(void **state)
{
	struct metainfo *mi = accept_text(
		MULTI("{length:5,path:['a']},{length:3,path:["
		      "'_____padding_file_0_if you see this____']},"
		      "{attr:'p',length:2124},{length:1,path:['b']}",
		      "'temp'"));

	assert_paths(mi, "a|b");
	assert_int_equal(mi->files[1].flags, FILE_PAD);
	assert_int_equal(mi->files[2].flags, FILE_PAD);
	assert_string_equal(mi->files[2].path, ".pad/2124");
	assert_int_equal(mi->files[3].offset, 5 + 3 + 2124);
	metainfo_free(mi);
}

static void test_pads__take_nobodys_name(void **state)
{
	struct metainfo *mi = accept_text(MULTI(
		"{attr:'p',length:5,path:['a']},"
		"{attr:'p',length:5,path:['a']},{length:5,path:['a']},"
		"{attr:'p',length:5,path:['d']},{length:1,path:['d','x']}",
		"'temp'"));

	assert_paths(mi, "a|d/x");
	metainfo_free(mi);
}

/* LINK at d/l, or what it became. */
static void check_link(const char *target, const char *want)
{
	struct metainfo *mi = accept_text(
		MULTI("{length:5,path:['a']},{attr:'l',length:4,path:['d','l'],"
		      "'symlink path':[%s]}",
		      "'temp'"),
		target);
	const struct metainfo_file *f = &mi->files[1];

	assert_int_equal(f->length, 0);
	assert_int_equal(!!(f->flags & FILE_SYMLINK), want != NULL);
	if (want)
		assert_string_equal(f->symlink, want);
	else
		assert_null(f->symlink);
	assert_string_equal(f->path, "d/l");
	metainfo_free(mi);
}

static void test_symlinks__stay_inside(void **state)
{
	check_link("'a'", "../a");
	check_link("'d','x'", "x");
	check_link("'d','x','y'", "x/y");
	check_link("'e','x'", "../e/x");
	check_link("'dd','x'", "../dd/x");
	check_link("'d'", ".");
	check_link("'d','l'", "l");
	check_link("'x','..','a'", "../a");
	check_link("'.','','a'", "../a");
	/* symlink_filtered_path */
	check_link("'/etc/passwd'", "../etcpasswd");
	check_link("'../../etc'", "../....etc");
	check_link("'e\\x01','x\\x7f'", "../e_/x_");
	/* leads out, or nowhere: an ordinary empty file */
	check_link("'..'", NULL);
	check_link("'a','..','..','b'", NULL);
	check_link("'..','d','x'", NULL);
	check_link("", NULL);
	check_link("'.'", NULL);
	check_link("'a','..'", NULL);
}

static void test_symlinks__of_every_depth(void **state)
{
	struct metainfo *mi = accept_text(
		MULTI("{length:5,path:['a','b','c','f']},"
		      "{attr:'l',path:['a','b','l'],'symlink path':['a']},"
		      "{attr:'l',path:['a','x','y','l'],'symlink path':"
		      "['a','b','c','f']},"
		      "{attr:'l',path:['l'],'symlink path':['a','b']},"
		      "{attr:'l',path:['l'],'symlink path':['a']}",
		      "'temp'"));

	assert_string_equal(mi->files[1].symlink, "..");
	assert_string_equal(mi->files[2].symlink, "../../b/c/f");
	assert_string_equal(mi->files[3].symlink, "a/b");
	assert_string_equal(mi->files[4].symlink, "a");
	assert_paths(mi, "a/b/c/f|a/b/l|a/x/y/l|l|l.1");
	metainfo_free(mi);
}

static void test_symlinks__give_way_to_folders(void **state)
{
	struct metainfo *mi = accept_text(
		MULTI("{attr:'l',path:['d'],'symlink path':['e']},"
		      "{attr:'l',path:['e'],'symlink path':['d']},"
		      "{length:5,path:['d','f']},"
		      "{attr:'l',path:['d','f'],'symlink path':['d','f']}",
		      "'temp'"));

	assert_paths(mi, "d.1|e|d/f|d/f.1");
	assert_string_equal(mi->files[0].symlink, "e");
	assert_string_equal(mi->files[1].symlink, "d");
	assert_string_equal(mi->files[3].symlink, "f");
	metainfo_free(mi);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names__as_libtorrent_users_know_them),
		cmocka_unit_test(test_names__of_the_torrent),
		cmocka_unit_test(test_names__utf8_keys_are_preferred),
		cmocka_unit_test(test_names__raw_ones_are_kept),
		cmocka_unit_test(test_names__too_many_of_one),
		cmocka_unit_test(test_pads__with_old_name_or_none),
		cmocka_unit_test(test_pads__take_nobodys_name),
		cmocka_unit_test(test_symlinks__stay_inside),
		cmocka_unit_test(test_symlinks__of_every_depth),
		cmocka_unit_test(test_symlinks__give_way_to_folders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
