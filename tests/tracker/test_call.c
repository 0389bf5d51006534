/* Goal: an announce at a key's URL reaches the key's owners over the overlay,
 * with the key's name, and goes on to the next ones while owners die. Three
 * trackers on loopback, real sockets. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "tracker/call.h"
#include "tracker/overlay/kt_loop.h"
#include "tracker/udp_tracker.h"

#define TRACKERS 3
#define DOMAIN   "bt.lab.invalid"
#define WAIT_MS  20000

enum mood {
	ANSWERS,
	SILENT, /* the tracker, and its node */
	REFUSES,
};

struct tracker {
	struct lab *lab;
	struct udp *udp;
	struct kt_loop *node;
	enum mood mood;
	unsigned num_peers; /* that it tells */
	unsigned announces;
	uint32_t event;
	char path[64];
};

struct lab {
	struct loop *loop;
	struct workers *workers;
	struct http *http;
	struct udp *udp; /* the client's */
	struct announcer *announcer;
	struct overlays *overlays;
	struct caller *caller;
	struct tracker trackers[TRACKERS];
	uint16_t port;
	/* Of the last call. */
	unsigned answers, ends;
	int ranks[8];
	size_t peers;
	bool has_failed;
	char why[LIMIT_TRACKER_TEXT_BYTES];
	int64_t first_ms; /* until the first answer */
	int64_t start_ms;
};

/* --- a tracker that says what it is told to --- */

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct tracker *t = arg;

	if (t->mood != SILENT)
		(void)udp_send(t->udp, to, bytes, len);
}

static void answer_announce(struct tracker *t, const struct addr *from,
			    const uint8_t *bytes, size_t len)
{
	uint8_t out[20 + 6 * 64] = { 0 };
	size_t n = 20;

	t->announces++;
	t->event = load_be32(bytes + 80);
	memset(t->path, 0, sizeof(t->path));
	if (len > 100)
		memcpy(t->path, bytes + 100, len - 100 < 63 ? len - 100 : 63);
	store_be32(out, t->mood == REFUSES ? UDP_TRACKER_ERROR
					   : UDP_TRACKER_ANNOUNCE);
	memcpy(out + 4, bytes + 12, 4);
	store_be32(out + 8, 1800);
	for (unsigned i = 0; i < t->num_peers; i++, n += 6) {
		store_be32(out + n, 0x0a000001 + i);
		store_be16(out + n + 4, 6881);
	}
	if (t->mood == REFUSES) {
		memcpy(out + 8, "not here", 8);
		n = 16;
	}
	(void)udp_send(t->udp, from, out, n);
}

static void on_datagram(void *arg, const struct addr *from,
			const uint8_t *bytes, size_t len)
{
	uint8_t out[16] = { 0 };
	struct tracker *t = arg;

	if (t->mood == SILENT || len < 16)
		return;
	if (len >= 98) {
		answer_announce(t, from, bytes, len);
		return;
	}
	memcpy(out + 4, bytes + 12, 4);
	(void)udp_send(t->udp, from, out, sizeof(out));
}

static void open_tracker(struct lab *l, unsigned i, const char *const *names)
{
	struct addr ip = { .family = 4, .ip = { 127, 0, 0, (uint8_t)(i + 1) } };
	struct tracker *t = &l->trackers[i];
	struct kt_loop_options o = { .domain = DOMAIN,
				     .v4 = true,
				     .allow_local = true,
				     .bootstrap = names,
				     .num_bootstrap = 2,
				     .tag = 'K',
				     .send = on_send,
				     .arg = t };

	t->lab = l;
	assert_int_equal(udp_open(l->loop, &ip, NULL, l->port, &t->udp), 0);
	l->port = udp_port(t->udp);
	o.self.http_port = o.self.udp_port = l->port;
	t->node = kt_loop_new(l->loop, l->workers, &o);
	kt_loop_tap(t->node, t->udp);
	udp_register(t->udp, UDP_TRACKER, on_datagram, t);
}

static bool has_met(struct lab *l)
{
	struct kt_stats s;

	for (unsigned i = 0; i < TRACKERS; i++) {
		kt_stats(kt_loop_node(l->trackers[i].node), &s);
		if (s.good[0] != TRACKERS - 1)
			return false;
	}
	return true;
}

static void open_lab(struct lab *l)
{
	static const struct addr lo = { .family = 4, .ip = { 127, 0, 0, 9 } };
	char text[2][32] = { "127.0.0.1:1", "127.0.0.2:1" };
	const char *const names[] = { text[0], text[1] };
	struct overlays_options o = { names, 2, true };

	memset(l, 0, sizeof(*l));
	l->loop = loop_new();
	l->workers = workers_new(l->loop);
	l->http = http_new(l->loop, "test");
	for (unsigned i = 0; i < TRACKERS; i++) {
		open_tracker(l, i, names);
		for (unsigned k = 0; k < 2 && !i; k++)
			snprintf(text[k], sizeof(text[k]), "127.0.0.%u:%u",
				 k + 1, l->port);
	}
	assert_int_equal(udp_open(l->loop, &lo, NULL, 0, &l->udp), 0);
	l->announcer =
		announcer_new(l->loop, l->workers, l->http, l->udp, &lo, NULL);
	for (int64_t end = loop_now_ms(l->loop) + WAIT_MS; !has_met(l);) {
		assert_true(loop_now_ms(l->loop) < end);
		loop_run_once(l->loop, 10);
	}
	l->overlays = overlays_new(l->loop, l->workers, l->udp, &o);
	l->caller = caller_new(l->loop, l->announcer, l->overlays);
}

static void close_lab(struct lab *l)
{
	caller_free(l->caller);
	overlays_free(l->overlays);
	announcer_free(l->announcer);
	for (unsigned i = 0; i < TRACKERS; i++) {
		kt_loop_free(l->trackers[i].node);
		udp_close(l->trackers[i].udp);
	}
	udp_close(l->udp);
	http_free(l->http);
	workers_free(l->workers);
	loop_free(l->loop);
}

/* --- a client --- */

static void on_answer(void *arg, const struct announce_answer *answer,
		      const struct addr *from, int rank)
{
	struct lab *l = arg;

	if (!l->answers)
		l->first_ms = loop_now_ms(l->loop) - l->start_ms;
	assert_int_equal(from->port, l->port);
	l->ranks[l->answers++ % 8] = rank;
	l->peers += answer->num_peers;
}

static void on_end(void *arg, const struct announce_answer *failure)
{
	struct lab *l = arg;

	l->ends++;
	l->has_failed = failure != NULL;
	snprintf(l->why, sizeof(l->why), "%s", failure ? failure->text : "");
}

static struct call *start(struct lab *l, const char *name,
			  enum announce_event event)
{
	struct announce_request q = {
		.event = event, .left = 1, .num_want = 50, .port = 6881
	};
	struct call_options o = { .announce = { .timeout_ms = 5000 } };
	struct call_events events = { on_answer, on_end, l };
	char url[128];

	snprintf(url, sizeof(url), "udp://%s." DOMAIN ":%u/announce", name,
		 l->port);
	l->answers = l->ends = 0;
	l->peers = 0;
	l->start_ms = loop_now_ms(l->loop);
	return call_start(l->caller, url, &q, &o, &events);
}

static void run_until(struct lab *l, const unsigned *n, unsigned want)
{
	int64_t end = loop_now_ms(l->loop) + WAIT_MS;

	while (*n < want && loop_now_ms(l->loop) < end)
		loop_run_once(l->loop, 10);
	assert_true(*n >= want);
}

/* The owner of RANK. */
static struct tracker *owner(struct lab *l, const char *key, unsigned rank)
{
	struct kt_owner owners[KT_REPLICAS];
	struct kad_id id;

	kt_key_id(key, strlen(key), &id);
	assert_true(kt_owners(kt_loop_node(l->trackers[0].node), &id, owners) >
		    rank);
	if (owners[rank].is_self)
		return &l->trackers[0];
	return &l->trackers[owners[rank].addr.ip[3] - 1];
}

static void test_key__first_owner_hears_its_name(void **state)
{
	struct tracker *first;
	struct lab l;

	open_lab(&l);
	first = owner(&l, "foo", 0);
	first->num_peers = 30;
	start(&l, "FOO", ANNOUNCE_STARTED);
	run_until(&l, &l.ends, 1);
	assert_false(l.has_failed);
	assert_int_equal(l.answers, 1);
	assert_int_equal(l.ranks[0], 0);
	assert_int_equal(l.peers, 30);
	assert_int_equal(first->announces, 1);
	assert_int_equal(first->event, ANNOUNCE_STARTED);
	assert_string_equal(first->path, "/announce?kt=foo");
	close_lab(&l);
}

static void test_small_swarm__a_second_owner_is_asked(void **state)
{
	struct lab l;

	open_lab(&l);
	owner(&l, "foo", 1)->num_peers = 7; /* rank 0 hides them */
	start(&l, "foo", ANNOUNCE_STARTED);
	run_until(&l, &l.ends, 1);
	assert_int_equal(l.answers, 2);
	assert_int_equal(l.peers, 7);
	assert_int_equal(owner(&l, "foo", 1)->event, ANNOUNCE_NONE);
	assert_int_equal(owner(&l, "foo", 2)->announces, 0);
	close_lab(&l);
}

static void test_rank__that_owner_alone(void **state)
{
	struct lab l;

	open_lab(&l);
	start(&l, "foo--r2", ANNOUNCE_STARTED);
	run_until(&l, &l.ends, 1);
	assert_int_equal(l.answers, 1);
	assert_int_equal(l.ranks[0], 2);
	assert_int_equal(owner(&l, "foo", 2)->announces, 1);
	assert_int_equal(owner(&l, "foo", 0)->announces, 0);
	close_lab(&l);
}

static void test_dead_owners__the_next_within_2_s(void **state)
{
	struct call *call;
	struct lab l;

	open_lab(&l);
	start(&l, "foo", ANNOUNCE_STARTED); /* owners are known from now on */
	run_until(&l, &l.ends, 1);
	owner(&l, "foo", 0)->mood = SILENT;
	owner(&l, "foo", 1)->mood = SILENT;
	owner(&l, "foo", 2)->num_peers = 30;
	call = start(&l, "foo", ANNOUNCE_NONE);
	run_until(&l, &l.answers, 1);
	assert_int_equal(l.ranks[0], 2);
	assert_int_equal(l.peers, 30);
	assert_true(l.first_ms <= 2000);
	call_cancel(call); /* the silent ones are still being waited for */
	close_lab(&l);
}

static void test_refusals__end_with_what_an_owner_said(void **state)
{
	struct lab l;

	open_lab(&l);
	for (unsigned i = 0; i < TRACKERS; i++)
		l.trackers[i].mood = REFUSES;
	start(&l, "foo", ANNOUNCE_STARTED);
	run_until(&l, &l.ends, 1);
	assert_true(l.has_failed);
	assert_string_equal(l.why, "not here");
	for (unsigned i = 0; i < TRACKERS; i++)
		assert_int_equal(l.trackers[i].announces, 1);
	close_lab(&l);
}

static void test_knowers__are_told_all_of_them(void **state)
{
	struct announce_request q = { .event = ANNOUNCE_STOPPED };
	struct addr knowers[2] = { { 4, { 127, 0, 0, 1 }, 1 },
				   { 4, { 127, 0, 0, 3 }, 1 } };
	struct call_options o = { .announce = { .timeout_ms = 5000 },
				  .knowers = knowers,
				  .num_knowers = 2 };
	struct call_events events;
	char url[64];
	struct lab l;

	open_lab(&l);
	events = (struct call_events){ on_answer, on_end, &l };
	snprintf(url, sizeof(url), "udp://foo." DOMAIN ":%u", l.port);
	call_start(l.caller, url, &q, &o, &events);
	run_until(&l, &l.ends, 1);
	assert_false(l.has_failed);
	assert_int_equal(l.trackers[0].event, ANNOUNCE_STOPPED);
	assert_int_equal(l.trackers[1].announces, 0);
	assert_int_equal(l.trackers[2].event, ANNOUNCE_STOPPED);
	close_lab(&l);
}

/* A domain that nobody serves: a name for DNS, which fails here. */
static void test_nobody__falls_back_to_dns(void **state)
{
	struct announce_request q = { .event = ANNOUNCE_STARTED };
	struct call_options o = { .announce = { .timeout_ms = 5000 } };
	struct call_events events;
	struct lab l;

	open_lab(&l);
	events = (struct call_events){ on_answer, on_end, &l };
	call_start(l.caller, "udp://foo.bt.other.invalid:1", &q, &o, &events);
	run_until(&l, &l.ends, 1);
	assert_true(l.has_failed);
	assert_int_equal(l.answers, 0);
	close_lab(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key__first_owner_hears_its_name),
		cmocka_unit_test(test_small_swarm__a_second_owner_is_asked),
		cmocka_unit_test(test_rank__that_owner_alone),
		cmocka_unit_test(test_dead_owners__the_next_within_2_s),
		cmocka_unit_test(test_refusals__end_with_what_an_owner_said),
		cmocka_unit_test(test_knowers__are_told_all_of_them),
		cmocka_unit_test(test_nobody__falls_back_to_dns),
	};

	/* Where there is a network, .invalid is asked of it. */
	(void)setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
