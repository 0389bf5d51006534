/* Goal: what is a v1 torrent is taken, with safe names; what breaks a rule is
 * refused with that rule in a sentence. v2 and hybrids: test_metainfo_v2.c. */
#include "tests/engine/torrent_text.h"

#include <errno.h>
#include <time.h>

#include "engine/base/hex.h"
#include "engine/base/mem.h"

#define SINGLE(length, piece_length, pieces)                                   \
	"{info:{length:" length ",name:'a','piece length':" piece_length       \
	",pieces:" pieces "}}"

static void test_single__fields(void **state)
{
	struct metainfo *mi = accept_text(
		"{announce:'http://t.example/a',comment:'c',"
		"'created by':'me','creation date':7,info:{length:40000,"
		"name:'film.mkv','piece length':16384,pieces:60*'x',"
		"private:1}}");

	assert_string_equal(mi->name, "film.mkv");
	assert_string_equal(mi->origname, "film.mkv");
	assert_true(mi->has_v1);
	assert_false(mi->has_v2);
	assert_false(mi->is_multi);
	assert_true(mi->is_private);
	assert_int_equal(mi->layout.total, 40000);
	assert_int_equal(mi->layout.piece_length, 16384);
	assert_int_equal(mi->layout.num_pieces, 3);
	assert_int_equal(layout_piece_size(&mi->layout, 2), 40000 - 2 * 16384);
	assert_int_equal(mi->num_files, 1);
	assert_string_equal(mi->files[0].path, "film.mkv");
	assert_string_equal(mi->files[0].origpath, "film.mkv");
	assert_int_equal(mi->files[0].length, 40000);
	assert_memory_equal(mi->piece_hashes, "xxxxxxxxxxxxxxxxxxxx", 20);
	assert_string_equal(mi->comment, "c");
	assert_string_equal(mi->created_by, "me");
	assert_int_equal(mi->creation_date, 7);
	metainfo_free(mi);
}

/* The infohash is that of the very bytes, in whatever order they came. The
 * digests were taken with sha1sum from the same bytes. */
static void test_infohash__of_the_raw_bytes(void **state)
{
	static const struct {
		const char *text, *hex;
	} cases[] = {
		{ "{info:{length:1,name:'a','piece length':16384,"
		  "pieces:20*'x'}}",
		  "3e4563f4994f40610251ef9c7e6c90533b688b5e" },
		{ "{info:{pieces:20*'x',name:'a','piece length':16384,"
		  "length:1}}",
		  "0ea4bd9b7c2fd541feb7a6b53196f83cdb0d68cc" },
	};
	char hex[41];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct metainfo *mi = accept_text("%s", cases[i].text);

		assert_string_equal(hex_encode(mi->infohash.b, 20, hex),
				    cases[i].hex);
		metainfo_free(mi);
	}
}

static void test_multi__fields_and_offsets(void **state)
{
	struct metainfo *mi = accept_text(
		"{info:{files:[{length:5,path:['a']},{length:0,path:['e']},"
		"{attr:'p',length:16379,path:['.pad','16379']},"
		"{attr:'xh',length:7,path:['d','b']},{length:0,path:['z']}],"
		"name:'temp','piece length':16384,pieces:40*'x'}}");

	assert_true(mi->is_multi);
	assert_paths(mi, "a|e|d/b|z");
	assert_int_equal(mi->layout.total, 16391);
	assert_int_equal(mi->files[3].offset, 16384);
	assert_int_equal(mi->files[3].flags, FILE_EXEC | FILE_HIDDEN);
	assert_int_equal(mi->files[2].flags, FILE_PAD);
	assert_int_equal(metainfo_file_at(mi, 0), 0);
	assert_int_equal(metainfo_file_at(mi, 4), 0);
	assert_int_equal(metainfo_file_at(mi, 5), 2);
	assert_int_equal(metainfo_file_at(mi, 16383), 2);
	assert_int_equal(metainfo_file_at(mi, 16384), 3);
	assert_int_equal(metainfo_file_at(mi, 16390), 3);
	metainfo_free(mi);
}

static void test_refused__not_a_torrent(void **state)
{
	static const char *const cases[] = { "",   "<html>",  "magnet:?x",
					     "d",  "d4:info", "i5e",
					     "le", "4:spam",  "de" };
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(metainfo_parse((const uint8_t *)cases[i],
						strlen(cases[i]), &mi, why),
				 -EBADMSG);
		assert_non_null(strstr(why, "not a torrent"));
		assert_null(mi);
	}
	refuse_text(-EBADMSG, "not a dictionary: not a torrent", "'string'");
	refuse_text(-EBADMSG, "\"info\" is not a dictionary", "{info:'x'}");
	refuse_text(-EBADMSG, "\"info\" is missing", "{infos:{}}");
}

static void test_refused__piece_length(void **state)
{
	refuse_text(-EBADMSG, "\"piece length\" is missing",
		    "{info:{length:1,name:'a',pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"piece length\" is not a number",
		    SINGLE("1", "'16384'", "20*'x'"));
	refuse_text(-EBADMSG, "piece length is -1: must be at least 1 byte",
		    SINGLE("1", "-1", "20*'x'"));
	refuse_text(-EBADMSG, "piece length is 0: must be at least 1 byte",
		    SINGLE("1", "0", "20*'x'"));
	refuse_text(-E2BIG, "must be at most 536870912",
		    SINGLE("1", "536870913", "20*'x'"));
	refuse_text(-E2BIG, "must be at most",
		    SINGLE("1", "9223372036854775807", "20*'x'"));
	metainfo_free(accept_text(SINGLE("1", "536870912", "20*'x'")));
	metainfo_free(accept_text(SINGLE("1", "1", "20*'x'")));
}

static void test_refused__name(void **state)
{
	refuse_text(-EBADMSG, "\"name\" is missing",
		    "{info:{length:1,'piece length':16384,pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"name\" is not a string",
		    "{info:{length:1,name:3,'piece length':16384,"
		    "pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"name\" holds a zero byte",
		    "{info:{length:1,name:'a\\x00b','piece length':16384,"
		    "pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"name\" holds a zero byte",
		    "{info:{length:1,name:'\\x00\\x00','piece length':16384,"
		    "pieces:20*'x'}}");
}

static void test_refused__length(void **state)
{
	refuse_text(-EBADMSG, "length is -1: must be at least 0",
		    SINGLE("-1", "16384", "20*'x'"));
	refuse_text(-EBADMSG, "\"length\" is missing",
		    "{info:{name:'a','piece length':16384,pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"length\" is not a number",
		    SINGLE("[1]", "16384", "20*'x'"));
	refuse_text(-EBADMSG, "file 2: length is -5",
		    MULTI("{length:5,path:['a']},{length:-5,path:['b']}",
			  "'temp'"));
	refuse_text(-EBADMSG, "file 1: \"length\" is not a number",
		    MULTI("{length:[5],path:['a']}", "'temp'"));
	refuse_text(-EBADMSG, "file 1: \"length\" is missing",
		    MULTI("{path:['a']}", "'temp'"));
	refuse_text(-E2BIG, "must be at most 17592186028032",
		    SINGLE("17592186028033", "536870912", "20*'x'"));
	refuse_text(-E2BIG, "must be at most",
		    SINGLE("9223372036854775807", "536870912", "20*'x'"));
}

static void test_refused__sum_of_lengths(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < 17; i++)
		buf_printf(&b, "%s{length:17592186028032,path:['%d']}",
			   i ? "," : "", i);
	buf_add(&b, "", 1);
	refuse_text(-E2BIG, "all files together are larger than",
		    "{info:{files:[%s],name:'a','piece length':536870912,"
		    "pieces:20*'x'}}",
		    (char *)b.ptr);
	buf_release(&b);
}

static void test_refused__nothing_in_it(void **state)
{
	refuse_text(-EBADMSG, "no file that is not empty",
		    SINGLE("0", "16384", "''"));
	refuse_text(
		-EBADMSG, "no file that is not empty",
		MULTI("{length:0,path:['a']},{length:0,path:['b']}", "'temp'"));
	refuse_text(-EBADMSG, "no file that is not empty", MULTI("", "'temp'"));
	refuse_text(-EBADMSG, "there are no files",
		    MULTI("{attr:'p',length:5,path:['a']}", "'temp'"));
	refuse_text(-EBADMSG, "there are no files",
		    "{info:{attr:'p',length:5,name:'a','piece length':16384,"
		    "pieces:20*'x'}}");
}

static void test_refused__path(void **state)
{
	refuse_text(-EBADMSG, "\"path\" holds something other than strings",
		    MULTI("{length:5,path:['a',5]}", "'temp'"));
	refuse_text(-EBADMSG, "\"path\" is missing or no list",
		    MULTI("{length:5}", "'temp'"));
	refuse_text(-EBADMSG, "\"path\" is missing or no list",
		    MULTI("{length:5,path:'a'}", "'temp'"));
	refuse_text(-EBADMSG, "\"path\" is an empty list",
		    MULTI("{length:5,path:[]}", "'temp'"));
	refuse_text(-EBADMSG, "file 1 is not a dictionary",
		    MULTI("'a'", "'temp'"));
}

static void test_refused__path_over_a_limit(void **state)
{
	char *deep = repeated_text(LIMIT_PATH_DEPTH + 2, "'d'");
	char *most = repeated_text(LIMIT_PATH_DEPTH + 1, "'d'");
	char *too_long = repeated_text(16, "240*'d'");
	char *longest = repeated_text(15, "240*'d'");

	refuse_text(-E2BIG, "more than 100 folders",
		    MULTI("{length:5,path:[%s]}", "'temp'"), deep);
	metainfo_free(
		accept_text(MULTI("{length:5,path:[%s]}", "'temp'"), most));
	refuse_text(-E2BIG, "longer than 3800 bytes",
		    MULTI("{length:5,path:[%s]}", "'temp'"), too_long);
	metainfo_free(
		accept_text(MULTI("{length:5,path:[%s]}", "'temp'"), longest));
	free(deep);
	free(most);
	free(too_long);
	free(longest);
}

static void test_refused__pieces(void **state)
{
	refuse_text(-EBADMSG, "\"pieces\" is not a string",
		    SINGLE("1", "16384", "20"));
	refuse_text(-EBADMSG, "\"pieces\" is missing",
		    "{info:{length:1,name:'a','piece length':16384}}");
	refuse_text(-EBADMSG, "\"pieces\" is 24 bytes: must be a multiple",
		    SINGLE("1", "16384", "24*'x'"));
	refuse_text(-EBADMSG, "has 2 hashes: the files make 1 pieces",
		    SINGLE("16384", "16384", "40*'x'"));
	refuse_text(-EBADMSG, "has 1 hashes: the files make 2 pieces",
		    SINGLE("16385", "16384", "20*'x'"));
	refuse_text(-EBADMSG, "has 0 hashes", SINGLE("1", "16384", "''"));
	/* 1.76 TB in pieces of 16 KiB, one hash */
	refuse_text(-E2BIG, "107421875 pieces: must be at most 2097152",
		    SINGLE("1760000000000", "16384", "20*'x'"));
}

static void test_refused__symlink_without_target(void **state)
{
	refuse_text(
		-EBADMSG, "\"symlink path\"",
		MULTI("{length:5,path:['a']},{attr:'l',path:['l']}", "'temp'"));
	refuse_text(-EBADMSG, "\"symlink path\"",
		    MULTI("{length:5,path:['a']},{attr:'l',path:['l'],"
			  "'symlink path':'a'}",
			  "'temp'"));
	refuse_text(-EBADMSG, "\"symlink path\"",
		    MULTI("{length:5,path:['a']},{attr:'l',path:['l'],"
			  "'symlink path':['a',1]}",
			  "'temp'"));
}

static void test_refused__version(void **state)
{
	refuse_text(-EBADMSG, "\"meta version\" is 3",
		    "{info:{length:1,'meta version':3,name:'a','piece length'"
		    ":16384,pieces:20*'x'}}");
	refuse_text(-EBADMSG, "\"meta version\" is not a number",
		    "{info:{length:1,'meta version':'2',name:'a','piece "
		    "length':16384,pieces:20*'x'}}");
}

static void test_accepted__what_does_not_concern_us(void **state)
{
	/* httpseeds, nodes, similar and collections in and outside info */
	metainfo_free(accept_text(
		"{collections:['x'],httpseeds:['http://a/'],info:{collections:"
		"['y'],length:1,name:'a','piece length':16384,pieces:20*'x',"
		"similar:[20*'s']},nodes:[['router.example',6881],['x','y'],3],"
		"similar:[20*'s']}"));
	metainfo_free(accept_text(
		"{announce:[],comment:3,'created by':{},'creation date':'x',"
		"info:{'file tree':7,length:1,name:'a','piece length':16384,"
		"pieces:20*'x',private:'1'},'piece layers':7,'url-list':{}}"));
}

static void test_accepted__bytes_after_the_torrent(void **state)
{
	struct buf b = torrent_text(SINGLE("1", "16384", "20*'x'"));
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;
	size_t len = b.len;

	buf_add_str(&b, "\n garbage");
	assert_int_equal(metainfo_parse(b.ptr, b.len, &mi, why), 0);
	assert_int_equal(mi->raw_len, len);
	metainfo_free(mi);
	buf_release(&b);
}

static void test_accepted__large_pieces_and_many(void **state)
{
	struct metainfo *mi =
		accept_text(SINGLE("1638400000", "16384", "2000000*'x'"));

	assert_int_equal(mi->layout.num_pieces, 100000);
	metainfo_free(mi);
	mi = accept_text(SINGLE("17592186028032", "536870912", "655360*'x'"));
	assert_int_equal(mi->layout.num_pieces, 32768);
	metainfo_free(mi);
}

static void test_bencoding__is_strict(void **state)
{
	static const char overlong[] =
		"d4:infod6:lengthi07e4:name1:a12:piece lengthi16384e"
		"6:pieces20:xxxxxxxxxxxxxxxxxxxxee";
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;
	struct buf b;

	assert_int_equal(metainfo_parse((const uint8_t *)overlong,
					sizeof(overlong) - 1, &mi, why),
			 -EBADMSG);
	assert_non_null(strstr(why, "at byte"));
	buf_init(&b, 0);
	for (int i = 0; i < 200; i++)
		benc_list(&b);
	for (int i = 0; i < 200; i++)
		benc_end(&b);
	assert_int_equal(metainfo_parse(b.ptr, b.len, &mi, why), -E2BIG);
	buf_release(&b);
}

/* Every cut of a torrent is refused, none is read past its end. */
static void test_every_prefix_is_refused(void **state)
{
	struct buf b = torrent_text(
		"{announce:'http://a/',info:{files:[{length:5,path:['a','b']},"
		"{attr:'l',path:['l'],'symlink path':['a','b']}],name:'n',"
		"'piece length':16384,pieces:20*'x'},'url-list':['http://w/']}");
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;

	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = malloc(len + !len);

		memcpy(copy, b.ptr, len);
		assert_int_equal(metainfo_parse(copy, len, &mi, why), -EBADMSG);
		assert_true(why[0]);
		free(copy);
	}
	assert_int_equal(metainfo_parse(b.ptr, b.len, &mi, why), 0);
	metainfo_free(mi);
	buf_release(&b);
}

static void test_info__alone(void **state)
{
	struct buf b = torrent_text("{length:1,name:'a','piece length':16384,"
				    "pieces:20*'x'}");
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;

	assert_int_equal(metainfo_parse_info(b.ptr, b.len, &mi, why), 0);
	assert_int_equal(mi->info.len, b.len);
	assert_ptr_equal(mi->info.ptr, mi->raw);
	assert_int_equal(mi->num_trackers, 0);
	metainfo_free(mi);
	buf_add_str(&b, "x");
	assert_int_equal(metainfo_parse_info(b.ptr, b.len, &mi, why), -EBADMSG);
	assert_int_equal(metainfo_parse_info(b.ptr, 4, &mi, why), -EBADMSG);
	assert_int_equal(
		metainfo_parse_info((const uint8_t *)"le", 2, &mi, why),
		-EBADMSG);
	buf_release(&b);
}

static void test_write__gives_the_same_torrent(void **state)
{
	struct metainfo *mi = accept_text(
		"{info:{z:1,pieces:20*'x',name:'a','piece length':16384,"
		"files:[{path:['f'],length:9}]},'announce-list':[['http://a/',"
		"'http://b/'],['udp://c:3']],'url-list':['http://w/'],"
		"comment:'hi','creation date':5,'created by':'me'}");
	char why[METAINFO_WHY_SIZE], *magnet;
	struct metainfo *again;
	struct buf b, b2;

	buf_init(&b, 0);
	metainfo_write(mi, &b);
	assert_int_equal(metainfo_parse(b.ptr, b.len, &again, why), 0);
	assert_true(infohash_eq(&mi->infohash, &again->infohash));
	assert_int_equal(again->num_trackers, 3);
	assert_int_equal(again->tier_of[1], 0);
	assert_int_equal(again->tier_of[2], 1);
	assert_int_equal(again->num_webseeds, 1);
	assert_string_equal(again->comment, "hi");
	assert_string_equal(again->created_by, "me");
	assert_int_equal(again->creation_date, 5);
	buf_init(&b2, 0);
	metainfo_write(again, &b2);
	assert_int_equal(b.len, b2.len);
	assert_memory_equal(b.ptr, b2.ptr, b.len);
	magnet = metainfo_magnet(mi);
	assert_non_null(strstr(magnet, "&dn=a&tr=http%3A%2F%2Fa%2F&tr="));
	assert_non_null(strstr(magnet, "&ws=http%3A%2F%2Fw%2F"));
	free(magnet);
	buf_release(&b);
	buf_release(&b2);
	metainfo_free(mi);
	metainfo_free(again);
}

static double parse_ms(const struct buf *b, uint32_t num_files)
{
	char why[METAINFO_WHY_SIZE];
	struct timespec start, end;
	struct metainfo *mi;

	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(metainfo_parse(b->ptr, b->len, &mi, why), 0);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(mi->num_files, num_files);
	metainfo_free(mi);
	return (double)(end.tv_sec - start.tv_sec) * 1e3 +
	       (double)(end.tv_nsec - start.tv_nsec) / 1e6;
}

/* A wide margin over linear time, far below quadratic. */
static void test_speed__many_files(void **state)
{
	enum {
		MANY = 150000
	};
	struct buf b, name;
	double ms;

	buf_init(&b, 0);
	buf_init(&name, 0);
	benc_dict(&b);
	benc_cstr(&b, "info");
	benc_dict(&b);
	benc_cstr(&b, "files");
	benc_list(&b);
	for (int i = 0; i < MANY; i++) {
		buf_clear(&name);
		buf_printf(&name, "a file with a name, %d.jpeg", i / 2);
		benc_dict(&b);
		benc_cstr(&b, "length");
		benc_int(&b, 1);
		benc_cstr(&b, "path");
		benc_list(&b);
		benc_cstr(&b, i & 4 ? "folder" : "another folder");
		benc_str(&b, name.ptr, name.len);
		benc_end(&b);
		benc_end(&b);
	}
	benc_end(&b);
	benc_cstr(&b, "name");
	benc_cstr(&b, "n");
	benc_cstr(&b, "piece length");
	benc_int(&b, MANY);
	benc_cstr(&b, "pieces");
	benc_cstr(&b, "xxxxxxxxxxxxxxxxxxxx");
	benc_end(&b);
	benc_end(&b);
	ms = parse_ms(&b, MANY);
	print_message("# %d files, %zu bytes: %.0f ms\n", MANY, b.len, ms);
	assert_true(ms < 10000);
	buf_release(&b);
	buf_release(&name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single__fields),
		cmocka_unit_test(test_infohash__of_the_raw_bytes),
		cmocka_unit_test(test_multi__fields_and_offsets),
		cmocka_unit_test(test_refused__not_a_torrent),
		cmocka_unit_test(test_refused__piece_length),
		cmocka_unit_test(test_refused__name),
		cmocka_unit_test(test_refused__length),
		cmocka_unit_test(test_refused__sum_of_lengths),
		cmocka_unit_test(test_refused__nothing_in_it),
		cmocka_unit_test(test_refused__path),
		cmocka_unit_test(test_refused__path_over_a_limit),
		cmocka_unit_test(test_refused__pieces),
		cmocka_unit_test(test_refused__symlink_without_target),
		cmocka_unit_test(test_refused__version),
		cmocka_unit_test(test_accepted__what_does_not_concern_us),
		cmocka_unit_test(test_accepted__bytes_after_the_torrent),
		cmocka_unit_test(test_accepted__large_pieces_and_many),
		cmocka_unit_test(test_bencoding__is_strict),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_info__alone),
		cmocka_unit_test(test_write__gives_the_same_torrent),
		cmocka_unit_test(test_speed__many_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
