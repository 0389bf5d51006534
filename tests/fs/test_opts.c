/* Goal: every documented option is taken, every other one refused in words. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/opts.h"

static char why[OPTS_WHY_SIZE];

static int set_up(void **state)
{
	struct opts *o = mem_alloc(sizeof(*o));

	log_start("test", LOG_LEVEL_ERROR); /* warnings are not the news here */
	opts_init(o);
	why[0] = '\0';
	*state = o;
	return 0;
}

static int tear_down(void **state)
{
	opts_release(*state);
	free(*state);
	return 0;
}

static void test_parse__takes_every_key_of_the_contract(void **state)
{
	static const char all[] =
		"state=/s,data=/d,port=7000,bind=127.0.0.1,peer=h:1,"
		"tracker=http://t/announce,bootstrap=h:1,overlay=h:1,kenosis=0,"
		"announce_ip=10.0.0.1,nodht,nolsd,nopex,noutp,notcp,"
		"encryption=prefer,cache_size=1G,fill=file,read_timeout=7,"
		"max_peers=9,down_limit=1M,up_limit=64K,seed_ratio=1.5,"
		"publish_dir=/p,publish_delay=3,single,allow_other";
	struct opts *o = *state;

	assert_int_equal(opts_parse(o, all, why), 0);
	assert_string_equal(o->state_dir, "/s");
	assert_string_equal(o->data_dir, "/d");
	assert_int_equal(o->port, 7000);
	assert_int_equal(o->bind4.family, 4);
	assert_int_equal(o->bind6.family, 0);
	assert_int_equal(o->announce4.family, 4);
	assert_int_equal(o->fill, FILL_FILE);
	assert_int_equal(o->read_timeout_ms, 7000);
	assert_int_equal(o->max_peers, 9);
	assert_int_equal(o->down_limit, 1 << 20);
	assert_int_equal(o->up_limit, 64 << 10);
	assert_true(o->is_single && o->allow_other && o->no_dht);
	assert_int_equal(o->bootstrap.num, 1);
	assert_string_equal(o->bootstrap.items[0], "h:1");
	assert_false(o->has_kenosis);
	assert_int_equal(o->overlay.num, 1);
}

static void test_parse__kenosis_is_on_unless_said(void **state)
{
	struct opts *o = *state;

	assert_true(o->has_kenosis);
	assert_int_equal(opts_parse(o, "kenosis=0", why), 0);
	assert_false(o->has_kenosis);
	assert_int_equal(opts_parse(o, "kenosis=1,overlay=a:1,overlay=b", why),
			 0);
	assert_true(o->has_kenosis);
	assert_int_equal(o->overlay.num, 2);
	assert_int_equal(opts_parse(o, "kenosis=maybe", why), -EINVAL);
	assert_int_equal(opts_parse(o, "kenosis", why), -EINVAL);
}

static void test_parse__takes_what_mount_and_fstab_pass(void **state)
{
	struct opts *o = *state;

	assert_int_equal(
		opts_parse(o,
			   "rw,dev,suid,nosuid,nodev,noexec,noatime,relatime,"
			   "_netdev,auto,noauto,user,users,nofail,defaults,"
			   "x-systemd.automount,X-mount.mkdir,comment=a=b,"
			   "x-gvfs-name=My%20Films,fsname=a,subtype=b,"
			   "default_permissions,uid=1000,gid=1001,ro",
			   why),
		0);
	assert_true(o->is_read_only && o->default_permissions);
	assert_int_equal(o->uid, 1000);
	assert_int_equal(o->gid, 1001);
	assert_string_equal(o->fsname, "a");
}

static void test_parse__adds_lists_up_and_last_word_counts(void **state)
{
	struct opts *o = *state;

	assert_int_equal(opts_parse(o, "peer=a:1,peer=b:2,port=1,port=2", why),
			 0);
	assert_int_equal(opts_parse(o, "peer=[::1]:3", why), 0);
	assert_int_equal(o->peers.num, 3);
	assert_string_equal(o->peers.items[2], "[::1]:3");
	assert_int_equal(o->port, 2);
}

static void test_parse__backslash_keeps_commas(void **state)
{
	struct opts *o = *state;

	assert_int_equal(opts_parse(o, "state=/a\\,b\\\\c,,single", why), 0);
	assert_string_equal(o->state_dir, "/a,b\\c");
	assert_true(o->is_single);
	assert_int_equal(opts_parse(o, "data=/x\\", why), 0);
	assert_string_equal(o->data_dir, "/x\\");
}

static void test_parse__names_the_nearest_key(void **state)
{
	struct opts *o = *state;

	assert_int_equal(opts_parse(o, "prot=1", why), -EINVAL);
	assert_string_equal(why,
			    "unknown option \"prot\"; did you mean \"port\"?");
	assert_int_equal(opts_parse(o, "allow_others", why), -EINVAL);
	assert_non_null(strstr(why, "\"allow_other\""));
	assert_int_equal(opts_parse(o, "trackers=http://x/", why), -EINVAL);
	assert_non_null(strstr(why, "\"tracker\""));
	assert_int_equal(opts_parse(o, "bogus", why), -EINVAL);
	assert_null(strstr(why, "mean"));
	assert_int_equal(opts_parse(o, "tracker=foo", why), -EINVAL);
	assert_non_null(strstr(why, "\"foo\" is no URL"));
	assert_int_equal(opts_parse(o, "tracker=UDP://h:1/announce", why), 0);
}

static void test_parse__shows_foreign_bytes_escaped(void **state)
{
	char long_key[300];

	assert_int_equal(opts_parse(*state, "\x1b[2J=1", why), -EINVAL);
	assert_null(strchr(why, '\x1b'));
	memset(long_key, 'a', sizeof(long_key));
	long_key[sizeof(long_key) - 1] = '\0';
	assert_int_equal(opts_parse(*state, long_key, why), -EINVAL);
	assert_true(strlen(why) < OPTS_WHY_SIZE);
}

static void test_parse__refuses_bad_values(void **state)
{
	static const char *const bad[] = {
		"port=0",          "port=65536",  "port=x",       "port",
		"port=-1",         "bind=host",   "announce_ip=", "fill=some",
		"read_timeout=1s", "max_peers=0", "down_limit=M", "up_limit=1X",
		"cache_size=",     "uid=-1",      "single=maybe", "peer=",
		"state=",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(opts_parse(*state, bad[i], why), -EINVAL);
		assert_true(why[0]);
	}
}

static void test_size__knows_its_suffixes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = { { "0", 0 },
		     { "17", 17 },
		     { "1k", 1024 },
		     { "2KiB", 2048 },
		     { "3MB", 3 << 20 },
		     { "1.5G", 3ull << 29 },
		     { "1T", 1ull << 40 },
		     { "100B", 100 },
		     { "15P", 15ull << 50 } };
	static const char *const bad[] = {
		"",          "-1",  "K",  "1Q",
		"1KK",       ".5K", "1.", "99999999999999999999",
		"99999999P",
	};
	uint64_t n;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_int_equal(opts_parse_size(good[i].text, &n), 0);
		/* tenths of a power of two are rounded down */
		assert_true(n <= good[i].bytes &&
			    n >= good[i].bytes - good[i].bytes / 1000000);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(opts_parse_size(bad[i], &n), -EINVAL);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_file__has_the_same_keys(void **state)
{
	char path[] = "/tmp/weirfs-opts-XXXXXX";
	char text[1024], url[700];
	struct opts *o = *state;

	close(mkstemp(path));
	memset(url, 'u', sizeof(url));
	url[sizeof(url) - 1] = '\0';
	snprintf(text, sizeof(text),
		 "# a comment\n[weirfs]\nport = 7001\nsingle = yes\n"
		 "allow_other = no\ntracker = http://%s/\n; end\n",
		 url);
	write_file(path, text);
	assert_int_equal(opts_read_file(o, path, why), 0);
	assert_int_equal(o->port, 7001);
	assert_true(o->is_single && !o->allow_other);
	assert_int_equal(strlen(o->trackers.items[0]), 8 + strlen(url));

	write_file(path, "port = 7001\nprot = 1\n");
	assert_int_equal(opts_read_file(o, path, why), -EINVAL);
	assert_non_null(strstr(why, ":2: unknown option"));
	write_file(path, "[other]\nport = 1\n");
	assert_int_equal(opts_read_file(o, path, why), -EINVAL);
	write_file(path, "what is this\n");
	assert_int_equal(opts_read_file(o, path, why), -EINVAL);
	unlink(path);
	assert_int_equal(opts_read_file(o, path, why), 0);
}

static void test_finish__puts_things_where_xdg_says(void **state)
{
	struct opts *o = *state;

	setenv("XDG_STATE_HOME", "/xs", 1);
	setenv("XDG_DATA_HOME", "relative/is/ignored", 1);
	setenv("HOME", "/home/x", 1);
	assert_int_equal(opts_finish(o, NULL, why), 0);
	assert_string_equal(o->state_dir,
			    geteuid() ? "/xs/weirfs" : "/var/lib/weirfs");
	assert_string_equal(o->data_dir, geteuid()
						 ? "/home/x/.local/share/weirfs"
						 : "/var/lib/weirfs/data");
	assert_int_equal(o->bind4.family, 4);
	assert_int_equal(o->bind6.family, 6);
}

static void test_finish__keeps_data_beside_a_given_state(void **state)
{
	struct opts *o = *state;

	assert_int_equal(opts_parse(o, "state=/some/where", why), 0);
	assert_int_equal(opts_finish(o, "abc", why), 0);
	assert_string_equal(o->state_dir, "/some/where");
	assert_string_equal(o->data_dir, "/some/where/data");
}

static void test_finish__sets_a_single_mount_apart(void **state)
{
	struct opts *o = *state;

	assert_int_equal(opts_finish(o, "abc", why), 0);
	assert_non_null(strstr(o->state_dir, "/single/abc"));
	assert_non_null(strstr(o->data_dir, "/single/abc"));
}

static void test_finish__makes_paths_absolute(void **state)
{
	struct opts *o = *state;
	char *cwd = getcwd(NULL, 0), *want = mem_printf("%s/d", cwd);

	assert_int_equal(opts_parse(o, "data=d,state=/s", why), 0);
	assert_int_equal(opts_finish(o, NULL, why), 0);
	assert_string_equal(o->data_dir, want);
	free(want);
	free(cwd);
}

static void test_help__fits_80_columns(void **state)
{
	char *text = NULL, *line;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	opts_print_help(f, true);
	fclose(f);
	for (line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= 80);
	assert_non_null(strstr(text, "  cache_size")
				? text
				: strstr(text, " cache_size"));
	free(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_parse__takes_every_key_of_the_contract),
		TEST(test_parse__kenosis_is_on_unless_said),
		TEST(test_parse__takes_what_mount_and_fstab_pass),
		TEST(test_parse__adds_lists_up_and_last_word_counts),
		TEST(test_parse__backslash_keeps_commas),
		TEST(test_parse__names_the_nearest_key),
		TEST(test_parse__shows_foreign_bytes_escaped),
		TEST(test_parse__refuses_bad_values),
		TEST(test_size__knows_its_suffixes),
		TEST(test_file__has_the_same_keys),
		TEST(test_finish__puts_things_where_xdg_says),
		TEST(test_finish__keeps_data_beside_a_given_state),
		TEST(test_finish__sets_a_single_mount_apart),
		TEST(test_finish__makes_paths_absolute),
		TEST(test_help__fits_80_columns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
