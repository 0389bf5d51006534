/* Goal: the tracker client gets along with a real tracker (Debian's
 * opentracker, HTTP and UDP) and with the best and the worst that an HTTP
 * tracker can do (tests/lib/pytracker.py), in time.
 *
 * A case returns NULL when all is well, else what is wrong. Speaks TAP itself,
 * since a case must be able to skip with a reason. */
#include "tests/tracker/lab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

static struct lab lab;
static const char *skip_why; /* set by a case that cannot run here */

#define LINE_STR_(x) #x
#define LINE_STR(x)  LINE_STR_(x)
#define EXPECT(x)                                                              \
	do {                                                                   \
		if (!(x))                                                      \
			return "line " LINE_STR(__LINE__) ": " #x;             \
	} while (0)

/* One client with one URL, to the end of its first round. */
static bool ask(struct client *c, uint16_t port, const char *url)
{
	client_open(c, port, NULL);
	client_add_url(c, "%s", url);
	client_start(c);
	return client_run_until(c, &c->rounds, 1);
}

/* --- opentracker --- */

/* A seeder comes, a leecher finds it and completes, both leave: nobody there.
 */
static const char *swarm_lives_and_ends(const char *url)
{
	struct client seed, leech, late;
	bool found = false;

	client_open(&seed, 7001, NULL);
	seed.stats.left = 0;
	client_add_url(&seed, "%s", url);
	client_start(&seed);
	EXPECT(client_run_until(&seed, &seed.rounds, 1));
	EXPECT(!seed.message[0]);
	EXPECT(ask(&leech, 7002, url));
	EXPECT(client_run_until(&leech, &leech.peers, 1));
	for (int i = 0; i < leech.peers; i++)
		found = found || leech.peer[i].port == 7001;
	EXPECT(found);
	EXPECT(strstr(client_describe(&leech), "\"seeders\":1"));
	printf("# first peer after %lld ms\n", (long long)leech.first_peer_ms);
	leech.stats.left = 0;
	leech.source->ops->on_complete(leech.job);
	EXPECT(client_run_until(&leech, &leech.rounds, 2));
	EXPECT(strstr(client_describe(&leech), "\"seeders\":2"));
	EXPECT(client_stop_and_drain(&seed));
	EXPECT(client_stop_and_drain(&leech));
	EXPECT(ask(&late, 7003, url));
	EXPECT(strstr(client_describe(&late), "\"seeders\":0"));
	for (int i = 0; i < late.peers; i++)
		EXPECT(late.peer[i].port == 7003);
	client_close(&seed);
	client_close(&leech);
	client_close(&late);
	return NULL;
}

static const char *opentracker_case(const char *ip, const char *scheme)
{
	struct infohash hash;
	const char *wrong;
	struct proc p;
	char *url;

	memset(hash.b, 0x42, sizeof(hash.b));
	skip_why = opentracker_start(&p, &lab, ip, &hash);
	if (skip_why)
		return NULL;
	url = mem_printf(strchr(ip, ':') ? "%s://[%s]:%u/announce"
					 : "%s://%s:%u/announce",
			 scheme, ip, p.port);
	wrong = swarm_lives_and_ends(url);
	free(url);
	proc_stop(&p);
	return wrong;
}

static const char *opentracker_http(void)
{
	return opentracker_case("127.0.0.1", "http");
}

static const char *opentracker_udp(void)
{
	return opentracker_case("127.0.0.1", "udp");
}

static const char *opentracker_http_ipv6(void)
{
	return opentracker_case("::1", "http");
}

static const char *opentracker_udp_ipv6(void)
{
	return opentracker_case("::1", "udp");
}

static const char *opentracker_refuses_with_its_reason(void)
{
	struct infohash hash;
	struct client c;
	struct proc p;
	char *url;

	memset(hash.b, 0x99, sizeof(hash.b));
	skip_why = opentracker_start(&p, &lab, "127.0.0.1", &hash);
	if (skip_why)
		return NULL;
	url = mem_printf("http://127.0.0.1:%u/announce", p.port);
	EXPECT(ask(&c, 7001, url));
	EXPECT(strstr(c.message, "not authorized"));
	client_close(&c);
	free(url);
	proc_stop(&p);
	return NULL;
}

/* --- pytracker: good answers --- */

static const char *answers_in_every_form(void)
{
	static const char *const ways[] = {
		"",
		"/gzip",
		"/chunked",
		"/dicts",
		"/dicts/gzip",
		"/delay=0.3",
		"/min=1800",
		"/id=me",
		"/warning=careful",
		"/to=%2Fannounce%2Fpeer=192.0.2.1:9",
	};
	struct proc p;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct client c;

		client_open(&c, 7001, NULL);
		client_add_url(
			&c, "http://127.0.0.1:%u/announce/peer=192.0.2.1:9%s",
			p.port, ways[i]);
		client_start(&c);
		EXPECT(client_run_until(&c, &c.rounds, 1));
		EXPECT(client_has_peer(&c, "192.0.2.1:9"));
		EXPECT(strstr(client_describe(&c), "\"working\""));
		EXPECT(!c.message[0] == !strstr(ways[i], "warning"));
		client_close(&c);
	}
	proc_stop(&p);
	return NULL;
}

static const char *first_answer_is_quick(void)
{
	struct client c;
	struct proc p;
	char *url;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	url = mem_printf("http://127.0.0.1:%u/announce/peer=192.0.2.1:9",
			 p.port);
	for (int i = 0; i < 3; i++) { /* Python's first answer is slower */
		EXPECT(ask(&c, 7001, url));
		EXPECT(c.peers == 1);
		printf("# first peer after %lld ms\n",
		       (long long)c.first_peer_ms);
		if (i)
			EXPECT(c.first_peer_ms < 500);
		client_close(&c);
	}
	free(url);
	proc_stop(&p);
	return NULL;
}

static const char *announce_ip_is_listed(void)
{
	struct client seed, leech;
	struct proc p;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	client_open(&seed, 7001, "10.9.8.7");
	client_add_url(&seed, "http://127.0.0.1:%u/announce", p.port);
	client_start(&seed);
	EXPECT(client_run_until(&seed, &seed.rounds, 1));
	client_open(&leech, 7002, NULL);
	client_add_url(&leech, "http://127.0.0.1:%u/announce", p.port);
	client_start(&leech);
	EXPECT(client_run_until(&leech, &leech.rounds, 1));
	EXPECT(client_has_peer(&leech, "10.9.8.7:7001"));
	client_close(&seed);
	client_close(&leech);
	proc_stop(&p);
	return NULL;
}

static const char *both_families_are_announced(void)
{
	struct client c;
	struct proc p;
	char *said, *url;

	if (!lab.has_names) {
		skip_why = "needs a mount namespace";
		return NULL;
	}
	EXPECT(pytracker_start(&p, "::", NULL)); /* takes IPv4 as well */
	url = mem_printf("http://both.test:%u/announce", p.port);
	EXPECT(ask(&c, 7001, url));
	client_run_ms(&c, 300); /* for the other family */
	said = proc_output(&p);
	EXPECT(strstr(said, "\"from\": \"127.0.0.1\""));
	EXPECT(strstr(said, "\"from\": \"::1\""));
	EXPECT(c.rounds == 1);
	EXPECT(client_stop_and_drain(&c));
	free(said);
	said = proc_output(&p);
	EXPECT(strstr(said, "\"from\": \"127.0.0.1\""));
	EXPECT(strstr(said, "\"from\": \"::1\""));
	EXPECT(strstr(said, "\"event\": \"stopped\""));
	free(said);
	free(url);
	client_close(&c);
	proc_stop(&p);
	return NULL;
}

static const char *tls_is_verified(void)
{
	char *folder = mem_printf("%s/tls", lab.tmp), *ca, *url;
	struct client c;
	struct proc p;

	EXPECT(pytracker_start(&p, "127.0.0.1", folder));
	ca = mem_printf("%s/ca.pem", folder);
	url = mem_printf("https://localhost:%u/announce/peer=192.0.2.1:9",
			 p.port);
	EXPECT(ask(&c, 7001, url));
	EXPECT(c.peers == 0);
	EXPECT(strstr(c.message, "certificate"));
	client_close(&c);
	setenv("SSL_CERT_FILE", ca, 1);
	EXPECT(ask(&c, 7001, url));
	EXPECT(c.peers == 1);
	EXPECT(!c.message[0]);
	client_close(&c);
	free(url);
	/* The right authority, the wrong name */
	url = mem_printf("https://127.0.0.2:%u/announce", p.port);
	if (lab.has_netns) {
		proc_stop(&p);
		EXPECT(pytracker_start(&p, "127.0.0.2", folder));
		free(url);
		url = mem_printf("https://127.0.0.2:%u/announce", p.port);
	}
	EXPECT(ask(&c, 7001, url));
	EXPECT(c.peers == 0 && c.message[0]);
	client_close(&c);
	unsetenv("SSL_CERT_FILE");
	free(url);
	free(ca);
	free(folder);
	proc_stop(&p);
	return NULL;
}

/* --- pytracker: bad answers --- */

static const char *bad_answers_are_told(void)
{
	static const struct {
		const char *way, *told;
	} cases[] = {
		{ "bomb", "too large" },
		{ "flood", "too large" },
		{ "garbage", "not benc" },
		{ "status=503/garbage", "503" },
		{ "cut", "" },
		{ "loop", "redirects" },
		{ "to=ftp:%2F%2Fx%2F", "" },
		{ "reason=go%20away", "go away" },
		{ "to=%2Fprivate", "path /announce" },
	};
	struct proc p;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client c;

		client_open(&c, 7001, NULL);
		client_add_url(&c, "http://127.0.0.1:%u/announce/%s", p.port,
			       cases[i].way);
		client_start(&c);
		EXPECT(client_run_until(&c, &c.rounds, 1));
		EXPECT(!c.peers && c.message[0]);
		if (!strstr(c.message, cases[i].told)) {
			printf("# %s: %s\n", cases[i].way, c.message);
			return "another message";
		}
		client_close(&c);
	}
	proc_stop(&p);
	return NULL;
}

static const char *retry_in_is_kept(void)
{
	struct client c;
	struct proc p;
	char *said;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	client_open(&c, 7001, NULL);
	client_add_url(&c, "http://127.0.0.1:%u/announce/retry=7", p.port);
	client_add_url(&c, "http://127.0.0.1:%u/announce/retry=never", p.port);
	client_start(&c);
	EXPECT(client_run_until(&c, &c.rounds, 1));
	EXPECT(strstr(client_describe(&c), "\"refused\""));
	EXPECT(strstr(client_describe(&c), "\"next_s\":419") ||
	       strstr(client_describe(&c), "\"next_s\":420"));
	free(proc_output(&p));
	c.source->ops->more(c.job);
	client_run_ms(&c, 200);
	said = proc_output(&p);
	EXPECT(!said[0]);
	free(said);
	client_close(&c);
	proc_stop(&p);
	return NULL;
}

/* --- silence --- */

/* The first tier is mute; the second must be asked after 2 s. */
static const char *silence_costs_two_seconds(const char *scheme, int type)
{
	struct client c;
	struct proc p;
	uint16_t port = 0;
	int fd = lab_mute_port("127.0.0.1", type, &port);

	EXPECT(fd >= 0);
	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	client_open(&c, 7001, NULL);
	client_add_url(&c, "%s://127.0.0.1:%u/announce", scheme, port);
	client_add_url(&c, "http://127.0.0.1:%u/announce/peer=192.0.2.1:9",
		       p.port);
	client_start(&c);
	EXPECT(client_run_until(&c, &c.peers, 1));
	printf("# first peer after %lld ms\n", (long long)c.first_peer_ms);
	EXPECT(c.first_peer_ms >= 1900 && c.first_peer_ms < 3000);
	client_close(&c);
	proc_stop(&p);
	close(fd);
	return NULL;
}

static const char *silence_of_http_costs_two_seconds(void)
{
	return silence_costs_two_seconds("http", SOCK_STREAM);
}

static const char *silence_of_udp_costs_two_seconds(void)
{
	return silence_costs_two_seconds("udp", SOCK_DGRAM);
}

static const char *drain_takes_two_seconds_at_most(void)
{
	struct client c;
	struct proc p;
	int64_t from_ms;
	char *url;

	EXPECT(pytracker_start(&p, "127.0.0.1", NULL));
	client_open(&c, 7001, NULL);
	client_add_url(&c, "http://127.0.0.1:%u/announce/hold", p.port);
	client_start(&c);
	client_run_ms(&c, 100);
	from_ms = clock_now_ms();
	EXPECT(client_stop_and_drain(&c));
	EXPECT(clock_now_ms() - from_ms < 2300);
	client_close(&c);
	/* And no time at all when everybody listens. */
	url = mem_printf("http://127.0.0.1:%u/announce", p.port);
	EXPECT(ask(&c, 7001, url));
	from_ms = clock_now_ms();
	EXPECT(client_stop_and_drain(&c));
	EXPECT(clock_now_ms() - from_ms < 1000);
	client_close(&c);
	free(url);
	proc_stop(&p);
	return NULL;
}

/* A look-up cannot be stopped, and yet nothing waits for it at the end. */
static const char *dead_name_server_holds_nobody_up(void)
{
	struct client c;
	uint16_t port = 53;
	int64_t from_ms;
	int fd;

	if (!lab.has_names) {
		skip_why = "needs a mount namespace";
		return NULL;
	}
	fd = lab_mute_port(LAB_NAME_SERVER, SOCK_DGRAM, &port);
	EXPECT(fd >= 0);
	client_open(&c, 7001, NULL);
	client_add_url(&c, "udp://dead.test:6969/announce");
	client_add_url(&c, "http://dead.test:6969/announce");
	client_start(&c);
	client_run_ms(&c, 2500); /* both are asked by then */
	EXPECT(!c.message[0]);
	from_ms = clock_now_ms();
	EXPECT(client_stop_and_drain(&c));
	EXPECT(clock_now_ms() - from_ms < 2300);
	from_ms = clock_now_ms();
	workers_free(c.workers); /* first: they must not wait either */
	c.workers = NULL;
	client_close(&c);
	EXPECT(clock_now_ms() - from_ms < 300);
	close(fd);
	return NULL;
}

/* --- a tracker that is not on this machine --- */

static const char *global_tracker_cannot_send_us_home(void)
{
	struct proc away, home;
	struct client c;
	char *said;

	if (!lab.has_netns) {
		skip_why = "needs a network namespace";
		return NULL;
	}
	EXPECT(pytracker_start(&away, LAB_GLOBAL_IP, NULL));
	EXPECT(pytracker_start(&home, "127.0.0.1", NULL));
	client_open(&c, 7001, NULL);
	client_add_url(&c,
		       "http://%s:%u/announce/to=http:%%2F%%2F127.0.0.1:%u"
		       "%%2Fannounce",
		       LAB_GLOBAL_IP, away.port, home.port);
	client_start(&c);
	EXPECT(client_run_until(&c, &c.rounds, 1));
	EXPECT(strstr(c.message, "redirect from a global to a local"));
	said = proc_output(&home);
	EXPECT(!said[0]);
	free(said);
	client_close(&c);
	/* Nor name peers on our loopback; one on loopback itself may. */
	client_open(&c, 7001, NULL);
	client_add_url(&c,
		       "http://%s:%u/announce/peer=127.0.0.1:9/"
		       "peer=10.1.2.3:9",
		       LAB_GLOBAL_IP, away.port);
	client_start(&c);
	EXPECT(client_run_until(&c, &c.rounds, 1));
	EXPECT(!client_has_peer(&c, "127.0.0.1:9"));
	EXPECT(client_has_peer(&c, "10.1.2.3:9"));
	client_close(&c);
	client_open(&c, 7001, NULL);
	client_add_url(&c, "http://127.0.0.1:%u/announce/peer=127.0.0.1:9",
		       home.port);
	client_start(&c);
	EXPECT(client_run_until(&c, &c.rounds, 1));
	EXPECT(client_has_peer(&c, "127.0.0.1:9"));
	client_close(&c);
	proc_stop(&away);
	proc_stop(&home);
	return NULL;
}

static const struct {
	const char *name;
	const char *(*run)(void);
} cases[] = {
	{ "opentracker_http", opentracker_http },
	{ "opentracker_udp", opentracker_udp },
	{ "opentracker_http_ipv6", opentracker_http_ipv6 },
	{ "opentracker_udp_ipv6", opentracker_udp_ipv6 },
	{ "opentracker_refuses_with_its_reason",
	  opentracker_refuses_with_its_reason },
	{ "answers_in_every_form", answers_in_every_form },
	{ "first_answer_is_quick", first_answer_is_quick },
	{ "announce_ip_is_listed", announce_ip_is_listed },
	{ "both_families_are_announced", both_families_are_announced },
	{ "tls_is_verified", tls_is_verified },
	{ "bad_answers_are_told", bad_answers_are_told },
	{ "retry_in_is_kept", retry_in_is_kept },
	{ "silence_of_http_costs_two_seconds",
	  silence_of_http_costs_two_seconds },
	{ "silence_of_udp_costs_two_seconds",
	  silence_of_udp_costs_two_seconds },
	{ "drain_takes_two_seconds_at_most", drain_takes_two_seconds_at_most },
	{ "dead_name_server_holds_nobody_up",
	  dead_name_server_holds_nobody_up },
	{ "global_tracker_cannot_send_us_home",
	  global_tracker_cannot_send_us_home },
};

/* With an argument: that case alone. */
int main(int argc, char **argv)
{
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	log_start("interop", LOG_LEVEL_WARN);
	unsetenv("CURL_CA_BUNDLE"); /* of this machine, not of the cases */
	unsetenv("SSL_CERT_FILE");
	if (!lab_open(&lab)) {
		printf("Bail out! no temporary folder\n");
		return 1;
	}
	printf("1..%zu\n", ARRAY_LEN(cases));
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *wrong;

		skip_why = NULL;
		if (argc > 1 && strcmp(argv[1], cases[i].name)) {
			printf("ok %zu - %s # SKIP not asked for\n", i + 1,
			       cases[i].name);
			continue;
		}
		wrong = cases[i].run();
		if (wrong)
			printf("# %s\n", wrong);
		printf("%sok %zu - %s%s%s\n", wrong ? "not " : "", i + 1,
		       cases[i].name, skip_why ? " # SKIP " : "",
		       skip_why ? skip_why : "");
		failed += wrong != NULL;
	}
	lab_close(&lab);
	return failed != 0;
}
