/* Goal: the command line of weir-tracker takes what is right, names what is
 * wrong, and its help fits a terminal and knows every option. */
#include "tracker/server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "tests/cmocka_all.h"

#define ARGS_MAX 16

/* Splits LINE at spaces; options point into it. */
static int parse(const char *line, struct tracker_options *o,
		 char why[OPTIONS_WHY_SIZE])
{
	static char copy[2048];
	char *argv[ARGS_MAX + 1] = { NULL }, *save = NULL;
	int argc = 0;

	snprintf(copy, sizeof(copy), "weir-tracker %s", line);
	for (char *p = strtok_r(copy, " ", &save); p;
	     p = strtok_r(NULL, " ", &save)) {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = p;
	}
	why[0] = 0;
	return options_parse(argc, argv, o, why);
}

static void test_defaults(void **state)
{
	struct tracker_options o;
	char why[OPTIONS_WHY_SIZE];

	assert_int_equal(parse("", &o, why), 0);
	assert_int_equal(o.udp_port, 6969);
	assert_int_equal(o.http_port, 6969);
	assert_int_equal(o.https_port, 0);
	assert_int_equal(o.binds.num, 2);
	assert_false(o.are_binds_given);
	assert_int_equal(o.binds.at[0].family, 4);
	assert_int_equal(o.binds.at[1].family, 6);
	assert_int_equal(o.interval_s, 1800);
	assert_int_equal(o.min_interval_s, 900);
	assert_int_equal(o.num_want, 50);
	assert_int_equal(o.max_want, 200);
	assert_true(o.allows_full_scrape);
	assert_null(o.state);
	assert_int_equal(parse("--max-want 20 --interval 300", &o, why), 0);
	assert_int_equal(o.num_want, 20);
	assert_int_equal(o.min_interval_s, 150);
}

static void test_values(void **state)
{
	struct tracker_options o;
	char why[OPTIONS_WHY_SIZE];

	assert_int_equal(parse("--port=7000 --udp-port 7001 --bind 127.0.0.1 "
			       "--bind ::1 --bind [::2]",
			       &o, why),
			 0);
	assert_int_equal(o.udp_port, 7001);
	assert_int_equal(o.http_port, 7000);
	assert_int_equal(o.binds.num, 3);
	assert_true(o.are_binds_given);
	assert_int_equal(
		parse("--max-memory 512M --dfile /x --rate 0", &o, why), 0);
	assert_true(o.max_memory == 512u << 20);
	assert_string_equal(o.state, "/x");
	assert_int_equal(o.rate, 0);
	assert_int_equal(parse("--max-memory 16777216", &o, why), 0);
	assert_int_equal(parse("--max-memory 2g", &o, why), 0);
	assert_true(o.max_memory == 2ull << 30);
	assert_int_equal(parse("--max-memory 1TiB", &o, why), 0);
	assert_int_equal(parse("--proxy 10.0.0.0/8 --proxy ::1 --stats-from "
			       "127.0.0.1 --no-full-scrape -vv",
			       &o, why),
			 0);
	assert_int_equal(o.proxies.num, 2);
	assert_int_equal(o.stats_from.num, 1);
	assert_false(o.allows_full_scrape);
	assert_int_equal(o.verbosity, 2);
	assert_int_equal(parse("--https-port 443 --cert /c", &o, why), 0);
	assert_string_equal(o.key, "/c");
	assert_int_equal(parse("--https-port 443 --cert /c --key /k", &o, why),
			 0);
	assert_string_equal(o.key, "/k");
	assert_int_equal(
		parse("--domain bt.example.org --join a:1 --join b:2", &o, why),
		0);
	assert_int_equal(o.joins.num, 2);
}

struct wrong {
	const char *line, *says;
};

static void test_what_is_wrong_is_named(void **state)
{
	static const struct wrong all[] = {
		{ "--port", "--port" },
		{ "--port 65536", "--port: a number from 0 to 65535" },
		{ "--port -1", "--port" },
		{ "--port 0x10", "--port" },
		{ "--port +5", "--port" },
		{ "--port 7e3", "--port" },
		{ "--port=", "--port" },
		{ "--port 99999999999999999999999999", "--port" },
		{ "--https-port 0", "--https-port" },
		{ "--interval 59", "--interval: a number from 60 to 3000" },
		{ "--interval 3001", "--interval" },
		{ "--min-interval 29", "--min-interval" },
		{ "--interval 100 --min-interval 101", "--min-interval" },
		{ "--max-want 0", "--max-want" },
		{ "--max-want 1001", "--max-want" },
		{ "--num-want 60 --max-want 50", "--num-want" },
		{ "--threads 65", "--threads" },
		{ "--save-every 0", "--save-every" },
		{ "--max-torrents 0", "--max-torrents" },
		{ "--max-memory 1K", "--max-memory: a size from 16M to 1024G" },
		{ "--max-memory 2048G", "--max-memory" },
		{ "--max-memory 1X", "--max-memory" },
		{ "--max-memory 1GG", "--max-memory" },
		{ "--max-memory 99999999999999999999T", "--max-memory" },
		{ "--max-memory 18446744073709551615T", "--max-memory" },
		{ "--max-memory M", "--max-memory" },
		{ "--bind localhost", "--bind: not an IP address" },
		{ "--bind 127.0.0.1:80", "--bind: an address without a port" },
		{ "--proxy 10.0.0.0/33", "--proxy: not a subnet" },
		{ "--stats-from x", "--stats-from" },
		{ "--state=", "--state" },
		{ "--allow a --deny b", "--allow and --deny" },
		{ "--https-port 443", "--https-port: needs --cert" },
		{ "--https-port 443 --key k", "--https-port: needs --cert" },
		{ "--cert c", "--cert and --key" },
		{ "--https-port 6969 --cert c", "HTTP is on that port" },
		{ "--no-udp --no-http", "nothing is left" },
		{ "--join a:1", "need --domain" },
		{ "--external 192.0.2.1", "need --domain" },
		{ "--realm-key f", "need --domain" },
		{ "--domain d --no-udp", "needs UDP" },
		{ "--domain d --port 0", "--port 0" },
		{ "--domain d --http-port 0", "--port 0" },
		{ "--certify 00 --domain bt.example.org", "--realm-key" },
		{ "--livesync-from 10.0.0.0/24", "need --livesync ADDR" },
		{ "--frobnicate", "--frobnicate" },
		{ "--no-udp=1", "--no-udp" },
		{ "-x", "no such option" },
		{ "extra", "'extra'" },
	};
	struct tracker_options o;
	char why[OPTIONS_WHY_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(parse(all[i].line, &o, why), -EINVAL);
		if (!strstr(why, all[i].says))
			fail_msg("%s: %s", all[i].line, why);
	}
}

static void test_lists_are_bounded(void **state)
{
	struct tracker_options o;
	char why[OPTIONS_WHY_SIZE];
	char *argv[300] = { (char *)"weir-tracker" };

	for (int i = 1; i < 299; i += 2) {
		argv[i] = (char *)"--bind";
		argv[i + 1] = (char *)"::1";
	}
	assert_int_equal(options_parse(299, argv, &o, why), -EINVAL);
	assert_non_null(strstr(why, "--bind: too many"));
	for (int i = 1; i < 299; i += 2)
		argv[i] = (char *)"--proxy";
	assert_int_equal(options_parse(299, argv, &o, why), -EINVAL);
	assert_non_null(strstr(why, "--proxy: too many"));
	for (int i = 1; i < 299; i += 2)
		argv[i] = (char *)"--join";
	assert_int_equal(options_parse(299, argv, &o, why), -EINVAL);
	assert_non_null(strstr(why, "--join: too many"));
}

static void test_help(void **state)
{
	char text[8192] = "", *save = NULL;
	FILE *f = fmemopen(text, sizeof(text) - 1, "w");

	options_print_help(f);
	assert_int_equal(fclose(f), 0);
	assert_non_null(strstr(text, "--state FILE"));
	assert_non_null(strstr(text, "-h, --help"));
	for (char *p = strtok_r(text, "\n", &save); p;
	     p = strtok_r(NULL, "\n", &save))
		assert_true(strlen(p) <= 80);
}

static void test_help_before_all_else(void **state)
{
	struct tracker_options o;
	char why[OPTIONS_WHY_SIZE];

	assert_int_equal(parse("--help --port x", &o, why), 0);
	assert_true(o.wants_help);
	assert_int_equal(parse("-V", &o, why), 0);
	assert_true(o.wants_version);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_lists_are_bounded),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_before_all_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
