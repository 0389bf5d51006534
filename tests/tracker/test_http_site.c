/* Goal: who asks the tracker's web for what gets it, and nobody else: swarms,
 * access, proxies, addresses in queries, places of the overlay, pages. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "tracker/overlay/names.h"
#include "tracker/server/http_site.h"

#define IH1 "info_hash=aaaaaaaaaaaaaaaaaaaa"
#define IH2 "info_hash=bbbbbbbbbbbbbbbbbbbb"

struct rig {
	struct tracker_policy policy;
	struct web_options options;
	struct http_site site;
	struct http_asker asker;
	struct web_counts counts;
	struct loop *loop;
	struct telling told[8];
	size_t num_told;
	struct buf out;
	struct full_scrape *full;
	bool keeps; /* of the last answer */
};

static void on_stats(void *arg, struct web_stats *out)
{
	struct rig *g = arg;

	memset(out, 0, sizeof(*out));
	out->announces = g->counts.announces;
}

static void on_tellings(void *arg, const struct telling *t, size_t n)
{
	struct rig *g = arg;

	for (size_t i = 0; i < n && g->num_told < 8; i++)
		g->told[g->num_told++] = t[i];
}

static int set_up(void **state)
{
	struct swarms_options so = { .is_replicated = true };
	struct rig *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->policy.swarms = swarms_new(&so, 1000000);
	g->policy.interval_s = 1800;
	g->policy.min_interval_s = 900;
	g->policy.num_want = 50;
	g->policy.max_want = 200;
	g->policy.domain = "bt.example.org";
	g->loop = loop_new();
	g->policy.tellq = tellq_new(g->loop, on_tellings, g);
	g->options.policy = &g->policy;
	g->site.options = &g->options;
	g->site.policy = &g->policy;
	g->site.full = full_scrapes_new(g->policy.swarms);
	g->site.stats = on_stats;
	g->site.stats_arg = g;
	http_asker_init(&g->asker, &g->policy, &g->counts);
	g->asker.random.state = 1;
	g->asker.now_ms = 1000000;
	assert_int_equal(addr_parse("198.51.100.7", 0, &g->asker.source), 0);
	buf_init(&g->out, 0);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *g = *state;

	full_scrape_free(g->full);
	tellq_free(g->policy.tellq);
	loop_free(g->loop);
	buf_release(&g->out);
	http_asker_release(&g->asker);
	full_scrapes_free(g->site.full);
	subnet_limit_free(g->policy.limit);
	swarms_free(g->policy.swarms);
	free(g);
	return 0;
}

static void ask_raw(struct rig *g, const char *text)
{
	struct http_head head;
	const char *why;
	unsigned status;

	assert_int_equal(http_parse((const uint8_t *)text, strlen(text), &head,
				    &status, &why),
			 0);
	buf_clear(&g->out);
	full_scrape_free(g->full);
	g->keeps =
		http_site_answer(&g->site, &g->asker, &head, &g->out, &g->full);
	buf_add(&g->out, "", 1);
	g->out.len--;
}

static const char *ask_with(struct rig *g, const char *target,
			    const char *headers)
{
	char text[2048];

	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: t\r\n%s\r\n",
		 target, headers);
	ask_raw(g, text);
	return (const char *)g->out.ptr;
}

static const char *ask(struct rig *g, const char *target)
{
	return ask_with(g, target, "");
}

static void from(struct rig *g, const char *ip)
{
	assert_int_equal(addr_parse(ip, 0, &g->asker.source), 0);
}

static bool has(struct rig *g, const void *part, size_t len)
{
	return g->out.len && memmem(g->out.ptr, g->out.len, part, len);
}

static void must_have(struct rig *g, const char *part)
{
	if (!has(g, part, strlen(part)))
		fail_msg("no %s in %s", part, (const char *)g->out.ptr);
}

static void must_lack(struct rig *g, const char *part)
{
	if (has(g, part, strlen(part)))
		fail_msg("%s in %s", part, (const char *)g->out.ptr);
}

static void peers_find_each_other(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH1 "&port=4660&left=5&event=started");
	must_have(g, "HTTP/1.1 200 OK\r\n");
	must_have(g, "8:completei0e10:downloadedi0e11:external ip4:\xc6\x33\x64"
		     "\x07"
		     "10:incompletei1e8:interval");
	must_have(g, "12:min intervali900e5:peers0:e");
	from(g, "203.0.113.9");
	ask(g, "/announce?" IH1 "&port=1&left=0");
	must_have(g, "8:completei1e");
	assert_true(has(g, "5:peers6:\xc6\x33\x64\x07\x12\x34", 15));
	ask(g, "/announce?" IH1 "&port=1&left=0&compact=0");
	must_have(g, "5:peersld2:ip12:198.51.100.74:porti4660eeee");
	must_lack(g, "peer id");
	ask(g, "/announce?" IH1 "&port=1&left=0&numwant=0");
	must_have(g, "5:peers0:");
	ask(g, "/announce?" IH1 "&port=1&left=0&event=stopped");
	must_have(g, "8:completei0e");
	must_have(g, "5:peers0:");
	assert_int_equal(g->counts.announces, 5);
	assert_true(g->keeps);
}

static void families_meet(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH1 "&port=4660&left=5");
	from(g, "2001:db8::1");
	ask(g, "/announce?" IH1 "&port=4661&left=5");
	must_have(g, "external ip16:");
	must_have(g, "5:peers6:");
	must_have(g, "6:peers60:");
	from(g, "203.0.113.9");
	ask(g, "/announce?" IH1 "&port=1&left=5");
	must_have(g, "5:peers6:");
	must_have(g, "6:peers618:");
}

static void intervals_vary(void **state)
{
	struct rig *g = *state;
	unsigned seen[2] = { 3000, 0 };

	for (unsigned i = 0; i < 200; i++) {
		unsigned v = (unsigned)strtoul(
			strstr(ask(g, "/announce?" IH1 "&port=1"),
			       "8:interval") +
				11,
			NULL, 10);

		assert_in_range(v, 1620, 1980);
		seen[0] = v < seen[0] ? v : seen[0];
		seen[1] = v > seen[1] ? v : seen[1];
	}
	assert_true(seen[1] - seen[0] > 200);
}

static void failures_are_bencoded(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?port=1");
	must_have(g, "HTTP/1.1 200 OK");
	must_have(g, "d14:failure reason20:info_hash is missinge");
	assert_int_equal(g->counts.failures, 1);
	atomic_store(&g->policy.is_leaving, true);
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "8:retry ini1ee");
	assert_false(g->keeps);
}

static void a_full_tracker_says_so(void **state)
{
	struct rig *g = *state;
	struct swarms_options so = { .max_bytes = 1 };

	swarms_free(g->policy.swarms);
	g->policy.swarms = swarms_new(&so, 1000000);
	for (unsigned port = 1; port < 9999 && !has(g, "15:warn", 7); port++) {
		char target[64];

		snprintf(target, sizeof(target),
			 "/announce?" IH1 "&numwant=0&port=%u", port);
		ask(g, target);
	}
	must_have(g, "5:peers0:15:warning message43:this tracker is full and "
		     "could not list youe");
}

static void access_is_asked(void **state)
{
	struct rig *g = *state;
	struct infohash h;
	char why[128];

	g->policy.access = access_new(ACCESS_DENY, NULL, why, sizeof(why));
	assert_non_null(g->policy.access);
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "8:complete");
	memset(h.b, 'a', sizeof(h.b));
	access_add(g->policy.access, &h);
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "failure reason32:this torrent is not tracked here8:retry "
		     "in5:nevere");
	assert_int_equal(g->counts.denied, 1);
	ask(g, "/scrape?" IH1);
	must_have(g, "d5:filesdee");
	access_free(g->policy.access);
	g->policy.access = NULL;
}

static void subnets_are_limited(void **state)
{
	struct rig *g = *state;

	g->policy.limit = subnet_limit_new(1, 3);
	for (unsigned i = 0; i < 3; i++) {
		ask(g, "/announce?" IH1 "&port=1");
		must_have(g, "8:complete");
	}
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "failure reason35:too many requests from your network"
		     "8:retry ini1ee");
	from(g, "198.51.100.200");
	ask(g, "/scrape?" IH1);
	must_have(g, "failure reason");
	assert_int_equal(g->counts.rate_limited, 2);
	from(g, "203.0.113.9");
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "8:complete");
	g->asker.now_ms += 10000;
	from(g, "198.51.100.7");
	ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "8:complete");
	from(g, "10.0.0.1");
	for (unsigned i = 0; i < 9; i++)
		ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "8:complete");
	g->policy.limits_private = true;
	for (unsigned i = 0; i < 9; i++)
		ask(g, "/announce?" IH1 "&port=1");
	must_have(g, "failure reason");
}

static void scrapes_are_sorted(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH2 "&port=1&left=0");
	ask(g, "/announce?" IH1 "&port=1&left=1");
	ask(g, "/scrape?" IH2 "&info_hash=cccccccccccccccccccc&" IH1 "&" IH2);
	must_have(g, "d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei0e10:"
		     "downloadedi0e10:incompletei1ee20:bbbbbbbbbbbbbbbbbbbbd8:"
		     "completei1e10:downloadedi0e10:incompletei0eeee");
	ask(g, "/scrape");
	must_have(g, "info_hash is missing"); /* full scrapes are off */
}

static void addresses_in_queries_are_for_neighbours(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH1 "&port=4660&left=1&ip=9.9.9.9");
	from(g, "10.0.0.5");
	ask(g, "/announce?" IH1 "&port=1&left=0&ip=8.8.8.8&ipv6=2a00::1");
	assert_true(has(g, "5:peers6:\xc6\x33\x64\x07\x12\x34", 15));
	from(g, "203.0.113.9");
	ask(g, "/announce?" IH1 "&port=2&left=1");
	assert_true(has(g, "\x08\x08\x08\x08\0\x01", 6));
	must_have(g, "6:peers618:\x2a");
	assert_false(has(g, "\x09\x09\x09\x09", 4));
	from(g, "10.0.0.5");
	ask(g, "/announce?" IH1 "&port=1&ip=224.0.0.1");
	must_have(g, "ip is nobody's address");
}

static const char *source_of(struct rig *g, const char *headers)
{
	static char text[ADDR_STR_MAX];
	char request[512];
	struct http_head head;
	struct addr a;
	const char *why;
	unsigned status;

	snprintf(request, sizeof(request), "GET / HTTP/1.0\r\n%s\r\n", headers);
	assert_int_equal(http_parse((const uint8_t *)request, strlen(request),
				    &head, &status, &why),
			 0);
	if (!http_site_source(&g->policy, &head, &g->asker.source, &a))
		return "nobody";
	return addr_ip_str(&a, text);
}

#define XFF "X-Forwarded-For: "

static void proxies_name_their_clients(void **state)
{
	struct rig *g = *state;
	const char *lie = XFF "8.8.8.8\r\n";

	assert_string_equal(source_of(g, lie), "198.51.100.7");
	assert_int_equal(subnet_parse("198.51.100.0/24", &g->policy.proxies[0]),
			 0);
	assert_int_equal(subnet_parse("10.0.0.1", &g->policy.proxies[1]), 0);
	g->policy.num_proxies = 2;
	assert_string_equal(source_of(g, ""), "198.51.100.7");
	assert_string_equal(source_of(g, lie), "8.8.8.8");
	assert_string_equal(source_of(g, XFF "1.1.1.1,  8.8.8.8:99 ,10.0.0.1"
					     "\r\n"),
			    "8.8.8.8");
	assert_string_equal(source_of(g, XFF "1.1.1.1, 2001:db8::7\r\n" XFF
					     "10.0.0.1, 198.51.100.9\r\n"),
			    "2001:db8::7");
	assert_string_equal(source_of(g, XFF "198.51.100.3\r\n"),
			    "198.51.100.3");
	assert_string_equal(source_of(g, XFF "1.1.1.1, unknown\r\n"), "nobody");
	assert_string_equal(source_of(g, XFF "\r\n"), "nobody");
	ask_with(g, "/announce?" IH1 "&port=1", XFF "what\r\n");
	must_have(g, "HTTP/1.1 400 ");
	assert_false(g->keeps);
}

static void places_are_told_on(void **state)
{
	struct rig *g = *state;
	struct kad_id id;

	ask(g, "/announce?" IH1 "&port=1&left=1");
	ask(g, "/Some%20Key/announce?" IH1 "&port=2&left=1");
	ask_raw(g, "GET /announce?" IH1 "&port=3&left=1 HTTP/1.1\r\n"
		   "Host: FOO.bt.example.org:6969\r\n\r\n");
	ask_raw(g, "GET /announce?" IH1 "&port=4&left=1 HTTP/1.1\r\n"
		   "Host: foo.bt.example.com\r\n\r\n");
	loop_run_once(g->loop, 1000);
	assert_int_equal(g->num_told, 4);
	assert_true(g->told[0].is_change);
	assert_false(g->told[0].has_key);
	assert_int_equal(g->told[0].record.peer.port, 1);
	kt_key_id("some key", 8, &id);
	assert_true(g->told[1].has_key);
	assert_memory_equal(g->told[1].key, id.b, 20);
	kt_key_id("foo", 3, &id);
	assert_true(g->told[2].has_key);
	assert_memory_equal(g->told[2].key, id.b, 20);
	assert_false(g->told[3].has_key);
}

static void pages(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH1 "&port=1&left=1");
	ask_raw(g, "GET http://%3Cb%3E<b>/ HTTP/1.1\r\nHost: x\r\n\r\n");
	must_have(g, "Content-Type: text/html");
	must_have(g, "<b>1</b> torrents");
	must_have(g, "http://%3Cb%3E&#60;b&#62;/announce");
	ask(g, "/stats.json");
	must_have(g, "application/json");
	must_have(g, "\"swarms\":{\"torrents\":1,\"peers4\":1,");
	must_have(g, "\"announces\":1");
	ask(g, "/metrics");
	must_have(g,
		  "# TYPE weir_tracker_torrents gauge\nweir_tracker_torrents "
		  "1\n");
	must_have(g, "# TYPE weir_tracker_http_announces_total counter\n");
	ask(g, "/robots.txt");
	must_have(g, "Disallow: /\n");
	ask(g, "/nothing");
	must_have(g, "HTTP/1.1 404 Not Found");
	ask(g, "/a/b/announce?" IH1 "&port=1");
	must_have(g, "HTTP/1.1 404 Not Found");
	ask_raw(g, "DELETE /announce HTTP/1.1\r\nHost: x\r\n\r\n");
	must_have(g, "HTTP/1.1 405 ");
	must_have(g, "Allow: GET, HEAD\r\n");
	assert_false(g->keeps);
	ask_raw(g, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	must_have(g, "HTTP/1.1 200 OK");
	must_lack(g, "# TYPE");
	must_lack(g, "Content-Length: 0\r\n");
}

static void stats_are_for_some(void **state)
{
	struct rig *g = *state;
	struct subnet only;

	assert_int_equal(subnet_parse("10.0.0.0/8", &only), 0);
	g->options.stats_from = &only;
	g->options.num_stats_from = 1;
	g->policy.allows_full_scrape = true;
	ask(g, "/stats.json");
	must_have(g, "HTTP/1.1 403 ");
	ask(g, "/metrics");
	must_have(g, "HTTP/1.1 403 ");
	ask(g, "/");
	must_lack(g, "<section>");
	ask(g, "/scrape");
	assert_null(g->full);
	from(g, "10.1.1.1");
	ask(g, "/metrics");
	must_have(g, "HTTP/1.1 200 ");
	ask(g, "/scrape");
	assert_non_null(g->full);
}

static void full_scrapes(void **state)
{
	struct rig *g = *state;

	ask(g, "/announce?" IH1 "&port=1&left=1");
	g->policy.allows_full_scrape = true;
	ask_with(g, "/scrape", "Accept-Encoding: deflate\r\n");
	must_have(g, "Content-Encoding: deflate\r\n");
	must_have(g, "Transfer-Encoding: chunked\r\n\r\n");
	assert_non_null(g->full);
	assert_true(g->keeps);
	ask(g, "/scrape");
	must_have(g, "HTTP/1.1 429 ");
	must_have(g, "Retry-After: 300\r\n");
	assert_null(g->full);
	g->asker.now_ms += LIMIT_WEB_FULL_MS;
	ask_raw(g, "GET /scrape HTTP/1.0\r\n\r\n");
	must_lack(g, "chunked");
	assert_non_null(g->full);
	assert_false(g->keeps);
	from(g, "10.0.0.1"); /* private: as often as it likes */
	for (unsigned i = 0; i < 3; i++) {
		ask_with(g, "/scrape", "Accept-Encoding: gzip, deflate\r\n");
		must_have(g, "Content-Encoding: gzip\r\n");
	}
	g->policy.limits_private = true;
	ask(g, "/scrape");
	ask(g, "/scrape");
	must_have(g, "HTTP/1.1 429 ");
	ask_raw(g, "HEAD /scrape HTTP/1.0\r\n\r\n");
	assert_null(g->full);
}

static void full_scrapes_are_few(void **state)
{
	struct rig *g = *state;
	struct full_scrape *held[LIMIT_WEB_FULL_RUNNING];
	struct full_options o = { .is_exempt = true };
	int64_t wait_ms;

	g->policy.allows_full_scrape = true;
	for (unsigned i = 0; i < LIMIT_WEB_FULL_RUNNING; i++)
		assert_int_equal(
			full_scrape_new(g->site.full, &o, &held[i], &wait_ms),
			0);
	ask(g, "/scrape");
	must_have(g, "HTTP/1.1 503 ");
	for (unsigned i = 0; i < LIMIT_WEB_FULL_RUNNING; i++)
		full_scrape_free(held[i]);
	ask(g, "/scrape");
	assert_non_null(g->full);
}

static void subnets(void **state)
{
	struct subnet s;
	struct addr a;

	assert_int_equal(subnet_parse("10.32.0.0/11", &s), 0);
	addr_parse("10.63.255.1", 0, &a);
	assert_true(subnet_has(&s, &a));
	addr_parse("10.64.0.1", 0, &a);
	assert_false(subnet_has(&s, &a));
	addr_parse("::1", 0, &a);
	assert_false(subnet_has(&s, &a));
	assert_int_equal(subnet_parse("0.0.0.0/0", &s), 0);
	addr_parse("1.2.3.4", 0, &a);
	assert_true(subnet_has(&s, &a));
	assert_int_equal(subnet_parse("2001:db8::/33", &s), 0);
	addr_parse("2001:db8:7fff::1", 0, &a);
	assert_true(subnet_has(&s, &a));
	addr_parse("2001:db8:8000::1", 0, &a);
	assert_false(subnet_has(&s, &a));
	assert_int_equal(subnet_parse("192.0.2.1", &s), 0);
	assert_int_equal(s.bits, 32);
	for (const char **bad =
		     (const char *[]){ "", "/8", "1.2.3.4/", "1.2.3.4/33",
				       "1.2.3.4/-1", "1.2.3.4:5/8", "::/129",
				       "a/8", "1.2.3/8", NULL };
	     *bad; bad++)
		assert_int_equal(subnet_parse(*bad, &s), -EINVAL);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RIG(peers_find_each_other),
		WITH_RIG(families_meet),
		WITH_RIG(intervals_vary),
		WITH_RIG(failures_are_bencoded),
		WITH_RIG(a_full_tracker_says_so),
		WITH_RIG(access_is_asked),
		WITH_RIG(subnets_are_limited),
		WITH_RIG(scrapes_are_sorted),
		WITH_RIG(addresses_in_queries_are_for_neighbours),
		WITH_RIG(proxies_name_their_clients),
		WITH_RIG(places_are_told_on),
		WITH_RIG(pages),
		WITH_RIG(stats_are_for_some),
		WITH_RIG(full_scrapes),
		WITH_RIG(full_scrapes_are_few),
		cmocka_unit_test(subnets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
