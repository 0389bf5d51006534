/* Goal: a torrent's face hears of peers, trouble and rounds as peersource.h
 * promises, trackers hear started, completed and stopped, over HTTP and UDP,
 * and a torrent cannot send us where it likes. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "tests/lib/webserver.h"
#include "tracker/tracker.h"

#define URLS_MAX 4

static const struct addr ANY4 = { .family = 4 };
static const struct addr ANY6 = { .family = 6 };
static const struct addr LO4 = { .family = 4, .ip = { 127, 0, 0, 1 } };

struct world {
	struct loop *loop;
	struct workers *workers;
	struct http *http;
	struct udp *udp;
	struct tracker_client *client;
	struct peersource *source;
	struct peersource_job *job;
	/* the torrent */
	struct swarm_face face;
	const char *urls[URLS_MAX];
	unsigned tier_of[URLS_MAX];
	struct peersource_stats stats;
	int peers, messages, rounds, drained, external;
	struct addr last_peer;
	char message[1024];
	bool stop_at_peers, stop_at_message, stop_at_round;
	/* the trackers */
	struct webserver *web;
	char base[64]; /* http://127.0.0.1:port */
	char head[8192];
	int requests;
	const char *body;
	size_t body_len;
	const char *status;
	struct webrequest *held;
	struct udp *udp_tracker;
	int connects, announces;
	int families[2]; /* announces over IPv4, IPv6 */
	uint8_t announce[512];
	size_t announce_len;
};

static const char one_peer[] = "d8:completei3e10:incompletei4e8:intervali1800e"
			       "5:peers6:\x7f\0\0\x01\x1a\xe1"
			       "e";

static struct world *world_of(struct swarm_face *face)
{
	return container_of(face, struct world, face);
}

static void stop(struct world *w, bool say)
{
	struct peersource_job *j = w->job;

	w->job = NULL;
	w->source->ops->stop(j, say);
}

static void face_stats(struct swarm_face *face, struct peersource_stats *out)
{
	*out = world_of(face)->stats;
}

static void face_on_peers(struct swarm_face *face, enum peer_origin origin,
			  const struct addr *addrs, size_t n)
{
	struct world *w = world_of(face);

	assert_int_equal(origin, ORIGIN_TRACKER);
	assert_true(n > 0);
	w->peers += (int)n;
	w->last_peer = addrs[n - 1];
	if (w->stop_at_peers)
		stop(w, false);
}

static void face_on_message(struct swarm_face *face, const char *text)
{
	struct world *w = world_of(face);

	w->messages++;
	snprintf(w->message, sizeof(w->message), "%s", text ? text : "");
	if (w->stop_at_message)
		stop(w, false);
}

static void face_on_round_done(struct swarm_face *face)
{
	struct world *w = world_of(face);

	w->rounds++;
	if (w->stop_at_round)
		stop(w, false);
}

static void on_request(void *arg, struct webrequest *r, const char *head)
{
	struct world *w = arg;

	snprintf(w->head, sizeof(w->head), "%s", head);
	w->requests++;
	if (!strncmp(head, "GET /hold", 9) ||
	    !strncmp(head, "GET /announce/hold", 18)) {
		w->held = r;
		return;
	}
	if (!strncmp(head, "GET /announce/away", 18)) {
		webrequest_reply(r, "302 Found", "Location: /secret\r\n", "",
				 0);
		return;
	}
	webrequest_reply(r, w->status, "", w->body, w->body_len);
}

static void on_external_ip(void *arg, const struct addr *ip)
{
	struct world *w = arg;

	w->external++;
	assert_int_equal(ip->family, 4);
	assert_int_equal(ip->ip[3], 9);
}

static void set_body(struct world *w, const char *body, size_t len)
{
	w->body = body;
	w->body_len = len;
}

static void new_client(struct world *w, const char *trusted)
{
	struct tracker_options o = { .port = 6881,
				     .bind4 = &ANY4,
				     .bind6 = &ANY6,
				     .trusted = &trusted,
				     .num_trusted = trusted != NULL,
				     .on_external_ip = on_external_ip,
				     .arg = w };

	memcpy(o.peerid.b, "-WF0000-aaaaaaaaaaaa", 20);
	w->client =
		tracker_client_new(w->loop, w->workers, w->http, w->udp, &o);
	w->source = tracker_client_source(w->client);
}

static void open_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	w->workers = workers_new(w->loop);
	w->http = http_new(w->loop, "weirfs-test/1");
	assert_int_equal(udp_open(w->loop, &ANY4, &ANY6, 0, &w->udp), 0);
	w->web = webserver_new(w->loop, 4, on_request, w);
	assert_non_null(w->web);
	snprintf(w->base, sizeof(w->base), "http://127.0.0.1:%u",
		 webserver_port(w->web));
	w->status = "200 OK";
	set_body(w, one_peer, sizeof(one_peer) - 1);
	w->stats.left = 1000;
	w->stats.wanted = 30;
	memset(w->face.infohash.b, 'h', 20);
	w->face.urls = w->urls;
	w->face.tier_of = w->tier_of;
	w->face.stats = face_stats;
	w->face.on_peers = face_on_peers;
	w->face.on_message = face_on_message;
	w->face.on_round_done = face_on_round_done;
	new_client(w, NULL);
}

static void close_world(struct world *w)
{
	if (w->job)
		stop(w, false);
	tracker_client_free(w->client);
	http_free(w->http);
	udp_close(w->udp);
	udp_close(w->udp_tracker);
	webserver_free(w->web);
	workers_free(w->workers);
	loop_free(w->loop);
	for (int i = 0; i < URLS_MAX; i++)
		free((char *)w->urls[i]);
}

static void add_url(struct world *w, const char *path)
{
	size_t i = w->face.num_urls++;

	w->urls[i] = path[0] == '/' ? mem_printf("%s%s", w->base, path)
				    : mem_strdup(path);
	w->tier_of[i] = (unsigned)i;
}

static void start(struct world *w)
{
	w->job = w->source->ops->start(w->source, &w->face);
	assert_non_null(w->job);
	assert_int_equal(w->peers + w->messages + w->rounds, 0);
}

static void run_until(struct world *w, const int *n, int want)
{
	for (int i = 0; i < 1000 && *n < want; i++)
		loop_run_once(w->loop, 10);
	assert_int_equal(*n, want);
}

/* A few turns in which nothing is expected to happen. */
static void run_some(struct world *w)
{
	for (int i = 0; i < 10; i++)
		loop_run_once(w->loop, 2);
}

static void on_drained(void *arg)
{
	((struct world *)arg)->drained++;
}

static char *describe(struct world *w)
{
	static char out[4096];

	w->source->ops->describe(w->job, out, sizeof(out));
	return out;
}

static void test_http__started_peers_and_stopped(void **state)
{
	struct world w;

	open_world(&w);
	add_url(&w, "/announce?passkey=x");
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_int_equal(w.requests, 1);
	assert_non_null(strstr(w.head, "GET /announce?passkey=x&info_hash="
				       "hhhhhhhhhhhhhhhhhhhh&peer_id="
				       "-WF0000-aaaaaaaaaaaa&port=6881&"));
	assert_non_null(strstr(w.head, "&left=1000&"));
	assert_non_null(strstr(w.head, "&numwant=30&"));
	assert_non_null(strstr(w.head, "&event=started"));
	assert_int_equal(w.peers, 1);
	assert_int_equal(w.last_peer.port, 6881);
	assert_int_equal(w.messages, 0);
	assert_non_null(strstr(describe(&w), "\"state\":\"working\""));
	assert_non_null(strstr(describe(&w), "\"seeders\":3,\"leechers\":4"));
	stop(&w, true);
	memset(&w.face, 0, sizeof(w.face)); /* the torrent is gone */
	tracker_client_drain(w.client, on_drained, &w);
	assert_int_equal(w.drained, 0);
	run_until(&w, &w.drained, 1);
	assert_int_equal(w.requests, 2);
	assert_non_null(strstr(w.head, "&event=stopped"));
	assert_non_null(strstr(w.head, "&numwant=0&"));
	close_world(&w);
}

/* One who leaves with the last byte says so first, then goodbye. */
static void test_http__completed_at_the_end(void **state)
{
	struct world w;

	open_world(&w);
	add_url(&w, "/announce");
	start(&w);
	run_until(&w, &w.rounds, 1);
	w.stats.left = 0;
	w.source->ops->on_complete(w.job);
	stop(&w, true);
	run_until(&w, &w.requests, 2);
	assert_non_null(strstr(w.head, "&event=completed"));
	assert_non_null(strstr(w.head, "&numwant=0&"));
	tracker_client_drain(w.client, on_drained, &w);
	run_until(&w, &w.drained, 1);
	assert_int_equal(w.requests, 3);
	assert_non_null(strstr(w.head, "&event=stopped"));
	close_world(&w);
}

static void test_http__completed_and_tracker_id(void **state)
{
	static const char body[] = "d11:external ip4:\xc0\x00\x02\x09"
				   "8:intervali60e5:peers0:10:tracker id2:a&e";
	struct world w;

	open_world(&w);
	set_body(&w, body, sizeof(body) - 1);
	add_url(&w, "/announce");
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_int_equal(w.external, 1);
	assert_int_equal(w.peers, 0);
	w.stats.left = 0;
	w.source->ops->on_complete(w.job);
	run_until(&w, &w.rounds, 2);
	assert_non_null(strstr(w.head, "&left=0&"));
	assert_non_null(strstr(w.head, "&event=completed"));
	assert_non_null(strstr(w.head, "&trackerid=a%26"));
	/* More, at once: the min interval forbids it. */
	w.source->ops->more(w.job);
	run_some(&w);
	assert_int_equal(w.requests, 2);
	/* Without a word */
	stop(&w, false);
	run_some(&w);
	assert_int_equal(w.requests, 2);
	close_world(&w);
}

static void test_failure__next_tier_and_messages(void **state)
{
	struct world w;

	open_world(&w);
	w.status = "404 Not Found";
	set_body(&w, "<html>", 6);
	add_url(&w, "/announce/1");
	add_url(&w, "/announce/2");
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_int_equal(w.requests, 2);
	assert_int_equal(w.messages, 2);
	assert_non_null(strstr(w.message, "tracker http://127.0.0.1:"));
	assert_non_null(strstr(w.message, ": HTTP status 404"));
	assert_null(strstr(w.message, "announce"));
	assert_non_null(strstr(describe(&w), "\"state\":\"failing\","
					     "\"error\":\"HTTP status 404\""));
	/* A third that works makes all well again. */
	w.status = "200 OK";
	set_body(&w, one_peer, sizeof(one_peer) - 1);
	add_url(&w, "/announce/3");
	w.source->ops->on_urls(w.job);
	run_until(&w, &w.peers, 1);
	assert_int_equal(w.messages, 3);
	assert_string_equal(w.message, "");
	close_world(&w);
}

static void test_failure__reason_and_never_again(void **state)
{
	static const char body[] =
		"d14:failure reason4:\"no\"8:retry in5:nevere";
	static const char warning[] = "d8:intervali9e5:peers0:"
				      "15:warning message4:oopse";
	struct world w;

	open_world(&w);
	set_body(&w, body, sizeof(body) - 1);
	add_url(&w, "/announce");
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_non_null(strstr(w.message, ": \\x22no\\x22"));
	assert_non_null(strstr(describe(&w), "\"state\":\"refused\","
					     "\"error\":\"\\\\x22no\\\\x22\""));
	assert_non_null(strstr(describe(&w), "\"next_s\":null"));
	w.source->ops->more(w.job);
	run_some(&w);
	assert_int_equal(w.requests, 1);
	stop(&w, true); /* it never took us: nothing to say */
	run_some(&w);
	assert_int_equal(w.requests, 1);
	/* A warning is told, and the tracker works. */
	set_body(&w, warning, sizeof(warning) - 1);
	w.messages = w.rounds = 0;
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_non_null(strstr(w.message, ": oops"));
	assert_non_null(strstr(describe(&w), "\"state\":\"working\""));
	close_world(&w);
}

static void test_guard__a_torrent_names_only_announce_here(void **state)
{
	const char *bad[] = { "/secret", "/announce/../secret",
			      "/announce/%2e%2E/secret", "/announce/away" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world w;

		open_world(&w);
		add_url(&w, bad[i]);
		start(&w);
		run_until(&w, &w.rounds, 1);
		assert_int_equal(w.peers, 0);
		assert_null(strstr(w.head, "secret"));
		assert_non_null(strstr(w.message, "needs the path /announce"));
		/* What the user named may be anywhere. */
		stop(&w, false);
		tracker_client_free(w.client);
		new_client(&w, w.urls[0]);
		w.messages = w.rounds = 0;
		start(&w);
		run_until(&w, &w.rounds, 1);
		assert_int_equal(w.peers, 1);
		close_world(&w);
	}
}

static void test_urls__bad_ones_end_the_round(void **state)
{
	struct world w;

	open_world(&w);
	add_url(&w, "http://[::1/announce");
	add_url(&w, "udp://127.0.0.1/announce");
	add_url(&w, "/announce?info_hash=x");
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_int_equal(w.requests, 0);
	assert_null(strstr(describe(&w), "failing")); /* refused for good */
	stop(&w, true);
	/* Nobody to ask */
	w.messages = w.rounds = 0;
	w.face.num_urls = 0;
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_string_equal(describe(&w), "{\"trackers\":[],\"left_out\":0}");
	close_world(&w);
}

static void test_stop__inside_every_callback(void **state)
{
	for (int which = 0; which < 3; which++) {
		struct world w;

		open_world(&w);
		w.stop_at_peers = which == 0;
		w.stop_at_message = which == 1;
		w.stop_at_round = which == 2;
		if (which == 1)
			set_body(&w, "?", 1);
		add_url(&w, "/announce");
		start(&w);
		for (int i = 0; i < 1000 && w.job; i++)
			loop_run_once(w.loop, 10);
		assert_null(w.job);
		run_some(&w);
		close_world(&w);
	}
}

static void test_stop__one_that_hangs_is_told_too(void **state)
{
	struct world w;

	open_world(&w);
	add_url(&w, "/announce/hold");
	start(&w);
	run_until(&w, &w.requests, 1);
	stop(&w, true);
	run_until(&w, &w.requests, 2);
	assert_non_null(strstr(w.head, "&event=stopped"));
	close_world(&w); /* with the goodbye under way */
}

static void test_describe__whole_lines_only(void **state)
{
	char out[256];
	struct world w;

	open_world(&w);
	add_url(&w, "/announce/1");
	add_url(&w, "/announce/2");
	add_url(&w, "/announce/3");
	start(&w);
	for (size_t size = 0; size < sizeof(out); size++) {
		memset(out, '!', sizeof(out));
		w.source->ops->describe(w.job, out, size);
		assert_int_equal(out[size], '!');
		if (!size || !out[0])
			continue;
		assert_true(strlen(out) < size);
		assert_memory_equal(out, "{\"trackers\":[", 13);
		assert_non_null(strstr(out, "],\"left_out\":"));
		assert_int_equal(out[strlen(out) - 1], '}');
	}
	close_world(&w);
}

/* --- UDP --- */

static void on_udp_request(void *arg, const struct addr *from,
			   const uint8_t *bytes, size_t len)
{
	struct world *w = arg;
	uint8_t reply[38] = { 0 };
	size_t reply_len = 16;

	assert_true(len >= 16);
	store_be32(reply, load_be32(bytes + 8));
	memcpy(reply + 4, bytes + 12, 4);
	if (!load_be32(bytes + 8)) {
		w->connects++;
		store_be64(reply + 8, 4242);
	} else {
		w->announces++;
		w->families[from->family == 6]++;
		assert_true(load_be64(bytes) == 4242);
		assert_true(len <= sizeof(w->announce));
		memcpy(w->announce, bytes, len);
		w->announce_len = len;
		store_be32(reply + 8, 1800);
		store_be32(reply + 16, 7); /* seeders */
		reply_len = from->family == 6 ? 38 : 26;
		reply[20] = from->family == 6 ? 0 : 127;
		reply[reply_len - 3] = 1; /* [::]1 or 127.0.0.1 */
		store_be16(reply + reply_len - 2, 7000);
	}
	udp_send(w->udp_tracker, from, reply, reply_len);
}

static void open_udp_tracker(struct world *w, const struct addr *bind4,
			     const struct addr *bind6)
{
	assert_int_equal(udp_open(w->loop, bind4, bind6, 0, &w->udp_tracker),
			 0);
	udp_register(w->udp_tracker, UDP_TRACKER, on_udp_request, w);
}

static void test_udp__started_peers_and_stopped(void **state)
{
	struct world w;
	char url[64];

	open_world(&w);
	open_udp_tracker(&w, &LO4, NULL);
	snprintf(url, sizeof(url), "udp://127.0.0.1:%u/announce?k=v",
		 udp_port(w.udp_tracker));
	add_url(&w, url);
	start(&w);
	run_until(&w, &w.rounds, 1);
	assert_int_equal(w.connects, 1);
	assert_int_equal(w.announces, 1);
	assert_int_equal(w.peers, 1);
	assert_int_equal(w.last_peer.port, 7000);
	assert_int_equal(w.announce[83], 2); /* started */
	assert_int_equal(w.announce_len, 98 + 2 + 13);
	assert_memory_equal(w.announce + 98, "\x02\x0d/announce?k=v", 15);
	assert_non_null(strstr(describe(&w), "\"seeders\":7"));
	stop(&w, true);
	tracker_client_drain(w.client, on_drained, &w);
	run_until(&w, &w.drained, 1);
	assert_int_equal(w.connects, 1);
	assert_int_equal(w.announces, 2);
	assert_int_equal(w.announce[83], 3); /* stopped */
	assert_int_equal(load_be32(w.announce + 92), 0);
	close_world(&w);
}

static void test_udp__both_families(void **state)
{
	struct world w;
	char url[64];

	open_world(&w);
	open_udp_tracker(&w, &ANY4, &ANY6);
	snprintf(url, sizeof(url), "udp://localhost:%u",
		 udp_port(w.udp_tracker));
	add_url(&w, url);
	start(&w);
	run_until(&w, &w.rounds, 1);
	for (int i = 0; i < 50 && w.announces < 2; i++)
		loop_run_once(w.loop, 10);
	if (w.announces < 2) { /* localhost has one family only */
		close_world(&w);
		return; /* no such family here: nothing to see */
	}
	assert_int_equal(w.families[0], 1);
	assert_int_equal(w.families[1], 1);
	run_until(&w, &w.peers, 2);
	assert_int_equal(w.rounds, 1);
	close_world(&w);
}

static void test_udp__name_is_looked_up_once_for_all(void **state)
{
	struct world w;
	struct peersource_job *more[20];
	char url[64];

	open_world(&w);
	open_udp_tracker(&w, &ANY4, NULL);
	snprintf(url, sizeof(url), "udp://localhost:%u",
		 udp_port(w.udp_tracker));
	add_url(&w, url);
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		more[i] = w.source->ops->start(w.source, &w.face);
	run_until(&w, &w.announces, (int)ARRAY_LEN(more));
	assert_int_equal(w.connects, 1);
	run_until(&w, &w.peers, (int)ARRAY_LEN(more));
	for (size_t i = 0; i < ARRAY_LEN(more); i++)
		w.source->ops->stop(more[i], i & 1);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http__started_peers_and_stopped),
		cmocka_unit_test(test_http__completed_at_the_end),
		cmocka_unit_test(test_http__completed_and_tracker_id),
		cmocka_unit_test(test_failure__next_tier_and_messages),
		cmocka_unit_test(test_failure__reason_and_never_again),
		cmocka_unit_test(
			test_guard__a_torrent_names_only_announce_here),
		cmocka_unit_test(test_urls__bad_ones_end_the_round),
		cmocka_unit_test(test_stop__inside_every_callback),
		cmocka_unit_test(test_stop__one_that_hangs_is_told_too),
		cmocka_unit_test(test_describe__whole_lines_only),
		cmocka_unit_test(test_udp__started_peers_and_stopped),
		cmocka_unit_test(test_udp__both_families),
		cmocka_unit_test(test_udp__name_is_looked_up_once_for_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
