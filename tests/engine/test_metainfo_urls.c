/* Goal: trackers and web seeds keep their order and tiers; no URL gets in that
 * a client should not fetch. */
#include "tests/engine/torrent_text.h"

static void check_trackers(const char *outside, const char *want)
{
	struct metainfo *mi =
		accept_text("{%s,info:{length:1,name:'a','piece length':16384,"
			    "pieces:20*'x'}}",
			    outside);
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < mi->num_trackers; i++)
		buf_printf(&b, "%s%u %s", i ? "|" : "", mi->tier_of[i],
			   mi->trackers[i]);
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
	metainfo_free(mi);
}

static void test_trackers__tiers(void **state)
{
	check_trackers("announce:'http://a/x'", "0 http://a/x");
	check_trackers("announce:'http://a/x','announce-list':[['http://b/',"
		       "'udp://c:1'],['https://d/']]",
		       "0 http://b/|0 udp://c:1|1 https://d/");
	/* an empty list does not count; a tier without a URL is none */
	check_trackers("announce:'http://a/x','announce-list':[]",
		       "0 http://a/x");
	check_trackers("announce:'http://a/x','announce-list':[['']]",
		       "0 http://a/x");
	check_trackers("announce:'http://a/x','announce-list':[[-20]]",
		       "0 http://a/x");
	check_trackers("announce:'http://a/x','announce-list':7",
		       "0 http://a/x");
	check_trackers("announce:'','announce-list':[['ftp://x/'],[],"
		       "['http://b/'],'http://c/',['http://b/']]",
		       "0 http://b/|1 http://c/");
	check_trackers("announce:3", "");
}

static void test_trackers__urls_are_made_safe(void **state)
{
	check_trackers("announce:'\\x09 udp://a:1/b \\x0a'", "0 udp://a:1/b");
	check_trackers("announce:'http://a/b c\\x22'", "0 http://a/b%20c%22");
	check_trackers("announce:'HTTP://a/\xc3\xa9'", "0 http://a/%C3%A9");
	check_trackers("announce:'http://[::1]:80/a?b=%41&c'",
		       "0 http://[::1]:80/a?b=%41&c");
	check_trackers("announce:'wss:///a'", "");
	check_trackers("announce:'wss://a/\\x0ab'", "");
	check_trackers("announce:'file:///etc/passwd'", "");
	check_trackers("announce:'http:///x'", "");
	check_trackers("announce:'http://'", "");
	check_trackers("announce:'http://a/\\x0ab'", "");
	check_trackers("announce:'http://a/\\x00b'", "");
	check_trackers("announce:'javascript:x'", "");
	check_trackers("announce:2049*'a'", "");
}

/* Those that only browsers can ask are facts all the same. */
static void test_trackers__of_no_use_are_kept(void **state)
{
	check_trackers("announce:'WSS://a/b c'", "0 wss://a/b%20c");
	check_trackers("announce:'http://x/','announce-list':[['ws://a/',"
		       "'udp://c:1'],['wss://d/']]",
		       "0 ws://a/|0 udp://c:1|1 wss://d/");
	/* a list of no use does not replace the other one */
	check_trackers("announce:'http://x/','announce-list':[['wss://a/']]",
		       "0 wss://a/|0 http://x/");
}

static void test_trackers__are_bounded(void **state)
{
	struct metainfo *mi;
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < LIMIT_TRACKERS + 50; i++)
		buf_printf(&b, "%s['http://t/%d']", i ? "," : "", i);
	buf_add(&b, "", 1);
	mi = accept_text("{'announce-list':[%s],info:{length:1,name:'a',"
			 "'piece length':16384,pieces:20*'x'}}",
			 (char *)b.ptr);
	assert_int_equal(mi->num_trackers, LIMIT_TRACKERS);
	metainfo_free(mi);
	buf_release(&b);
}

static void test_trackers__can_be_added(void **state)
{
	struct metainfo *mi = accept_text(
		"{'announce-list':[['http://a/'],['http://b/']],"
		"info:{length:1,name:'a','piece length':16384,pieces:20*'x'}}");

	metainfo_add_tracker(mi, "http://c/", 0);
	metainfo_add_tracker(mi, "http://d/", 1);
	metainfo_add_tracker(mi, "http://b/", 0);
	metainfo_add_tracker(mi, "gopher://b/", 0);
	metainfo_add_tracker(mi, "udp://e:2", 9);
	assert_int_equal(mi->num_trackers, 5);
	assert_string_equal(mi->trackers[0], "http://a/");
	assert_string_equal(mi->trackers[1], "http://c/");
	assert_string_equal(mi->trackers[2], "http://b/");
	assert_string_equal(mi->trackers[3], "http://d/");
	assert_string_equal(mi->trackers[4], "udp://e:2");
	assert_int_equal(mi->tier_of[1], 0);
	assert_int_equal(mi->tier_of[3], 1);
	assert_int_equal(mi->tier_of[4], 9);
	metainfo_free(mi);
}

static void check_webseeds(const char *info, const char *list, const char *want)
{
	struct metainfo *mi =
		accept_text("{info:%s,'url-list':%s}", info, list);
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < mi->num_webseeds; i++)
		buf_printf(&b, "%s%s", i ? "|" : "", mi->webseeds[i]);
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
	metainfo_free(mi);
}

static void test_webseeds(void **state)
{
	static const char single[] = "{length:1,name:'a','piece length':16384,"
				     "pieces:20*'x'}";
	static const char multi[] = "{files:[{length:5,path:['f']}],name:'a',"
				    "'piece length':16384,pieces:20*'x'}";

	check_webseeds(single, "'http://a/f'", "http://a/f");
	check_webseeds(single, "['http://a/f g']", "http://a/f%20g");
	check_webseeds(multi, "['http://a/f g']", "http://a/f%20g/");
	check_webseeds(multi, "'http://a/f/'", "http://a/f/");
	check_webseeds(multi, "'http://a/?f='", "http://a/?f=");
	check_webseeds(single, "''", "");
	check_webseeds(single, "[['']]", "");
	check_webseeds(single, "[-20]", "");
	check_webseeds(single, "-20", "");
	check_webseeds(single, "['udp://a/','ftp://a/']", "");
	/* duplicate_web_seeds: 8, of which 3 differ; one only by its slash */
	check_webseeds(multi,
		       "['http://a/','http://b/','http://a/','http://b',"
		       "'http://c/','http://a/','http://c',' http://a']",
		       "http://a/|http://b/|http://c/");
}

static void check_nodes(const char *list, const char *want)
{
	struct metainfo *mi, *again;
	struct buf b, torrent;
	char why[METAINFO_WHY_SIZE];

	mi = accept_text("{info:{length:1,name:'a','piece length':16384,"
			 "pieces:20*'x'},nodes:%s}",
			 list);
	buf_init(&torrent, 0);
	metainfo_write(mi, &torrent);
	assert_int_equal(metainfo_parse(torrent.ptr, torrent.len, &again, why),
			 0);
	buf_init(&b, 0);
	assert_int_equal(again->num_nodes, mi->num_nodes);
	for (size_t i = 0; i < mi->num_nodes; i++) {
		assert_string_equal(again->nodes[i], mi->nodes[i]);
		buf_printf(&b, "%s%s", i ? "|" : "", mi->nodes[i]);
	}
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
	buf_release(&torrent);
	metainfo_free(again);
	metainfo_free(mi);
}

/* Goal: pairs of host and port (BEP 5) are kept, in order, and written again;
 * what is wrong is left out and refuses nothing. */
static void test_nodes(void **state)
{
	check_nodes("[['1.2.3.4',6881],['router.example.com',1],"
		    "['2600::1',65535],['::ffff:1.2.3.5',2]]",
		    "1.2.3.4:6881|router.example.com:1|[2600::1]:65535|"
		    "1.2.3.5:2");
	check_nodes("[['a',1],['a',1],['a',2]]", "a:1|a:2");
	check_nodes("[['a',1,7],['127.0.0.1',9]]", "a:1|127.0.0.1:9");
	check_nodes("7", "");
	check_nodes("'a'", "");
	check_nodes("{a:1}", "");
	check_nodes("[]", "");
	check_nodes("['a',1,['a'],[1,'a'],['a','1'],[['a'],1],[],{},{a:1}]",
		    "");
	check_nodes("[['a',0],['a',-1],['a',65536],['a',9223372036854775807]]",
		    "");
	check_nodes("[['',1],['a b',1],['a\\x00b',1],['a\\x0a',1],['-a',1],"
		    "['a:2',1],['1.2.3.4:5',1],['http://a/',1],['\xc3\xa9',1],"
		    "[254*'a',1],['0.0.0.0',1],['224.0.0.1',1],['::',1]]",
		    "");
}

static void test_nodes__are_bounded(void **state)
{
	struct metainfo *mi;
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < LIMIT_DHT_NODES + 50; i++)
		buf_printf(&b, "%s['t%d',1]", i ? "," : "", i);
	buf_add(&b, "", 1);
	mi = accept_text("{info:{length:1,name:'a','piece length':16384,"
			 "pieces:20*'x'},nodes:[%s]}",
			 (char *)b.ptr);
	assert_int_equal(mi->num_nodes, LIMIT_DHT_NODES);
	metainfo_free(mi);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trackers__tiers),
		cmocka_unit_test(test_trackers__urls_are_made_safe),
		cmocka_unit_test(test_trackers__of_no_use_are_kept),
		cmocka_unit_test(test_trackers__are_bounded),
		cmocka_unit_test(test_trackers__can_be_added),
		cmocka_unit_test(test_webseeds),
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_nodes__are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
