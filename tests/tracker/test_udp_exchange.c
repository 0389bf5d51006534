/* Goal: announces over UDP in virtual time: one connect serves all who wait, a
 * lost packet is sent again, ids end after a minute, and nobody but the tracker
 * that was asked is believed. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "tracker/udp_exchange.h"
#include "tracker/udp_tracker.h"

#define SENT_MAX 600

struct sent {
	struct addr to;
	uint8_t bytes[256];
	size_t len;
};

struct world {
	struct udp_exchange *x;
	int64_t now;
	struct sent sent[SENT_MAX];
	int num_sent;
	int send_error;
	bool is_mute; /* counts nothing, keeps nothing */
	uint32_t next_tid;
	struct announce_request request;
	struct addr a, b;
};

struct got {
	int calls, r;
	size_t num_peers;
	char text[LIMIT_TRACKER_TEXT_BYTES];
	struct udp_call **cancel; /* inside done */
	struct world *restart;    /* likewise */
};

static int on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		   size_t len)
{
	struct world *w = arg;
	struct sent *s = &w->sent[w->num_sent];

	if (w->is_mute)
		return 0;
	w->num_sent++;
	assert_true(w->num_sent < SENT_MAX && len <= sizeof(s->bytes));
	s->to = *to;
	memcpy(s->bytes, bytes, len);
	s->len = len;
	return w->send_error;
}

static uint32_t on_random(void *arg)
{
	return ((struct world *)arg)->next_tid++;
}

static void open_world(struct world *w)
{
	struct udp_exchange_io io = { on_send, on_random, w };

	memset(w, 0, sizeof(*w));
	w->now = 1000000;
	w->next_tid = 0x1000;
	w->x = udp_exchange_new(&io);
	w->request.left = 5;
	assert_int_equal(addr_parse("192.0.2.1:6969", 0, &w->a), 0);
	assert_int_equal(addr_parse("[2001:db8::2]:6969", 0, &w->b), 0);
}

static void on_done(void *arg, const struct announce_answer *a);

static struct udp_call *announce(struct world *w, struct got *g,
				 const struct addr *to)
{
	g->calls = 0;
	return udp_exchange_announce(w->x, w->now, to, &w->request, "/announce",
				     30000, on_done, g);
}

static void on_done(void *arg, const struct announce_answer *a)
{
	struct got *g = arg;

	g->calls++;
	g->r = a->r;
	g->num_peers = a->num_peers;
	snprintf(g->text, sizeof(g->text), "%s", a->text);
	if (g->cancel) {
		udp_call_cancel(*g->cancel);
		*g->cancel = NULL;
	}
	if (g->restart) {
		int calls = g->calls;

		announce(g->restart, g, &g->restart->a);
		g->calls = calls;
		g->restart = NULL;
	}
}

static uint32_t action_of(const struct sent *s)
{
	return load_be32(s->bytes + 8);
}

static uint32_t tid_of(const struct sent *s)
{
	return load_be32(s->bytes + 12);
}

static void reply_connect(struct world *w, const struct sent *s, uint64_t cid)
{
	uint8_t b[16];

	store_be32(b, UDP_TRACKER_CONNECT);
	store_be32(b + 4, tid_of(s));
	store_be64(b + 8, cid);
	udp_exchange_receive(w->x, w->now, &s->to, b, sizeof(b));
}

static void reply_announce(struct world *w, const struct sent *s,
			   const struct addr *from)
{
	uint8_t b[20 + 6] = { 0 };

	store_be32(b, UDP_TRACKER_ANNOUNCE);
	store_be32(b + 4, tid_of(s));
	store_be32(b + 8, 1800);
	memcpy(b + 20, "\xc0\x00\x02\x09\x1a\xe1", 6);
	udp_exchange_receive(w->x, w->now, from, b, sizeof(b));
}

static void reply_error(struct world *w, const struct sent *s, const char *why)
{
	uint8_t b[64];

	store_be32(b, UDP_TRACKER_ERROR);
	store_be32(b + 4, tid_of(s));
	memcpy(b + 8, why, strlen(why));
	udp_exchange_receive(w->x, w->now, &s->to, b, 8 + strlen(why));
}

/* Moves the clock to WHEN, ticking when a tick is due. */
static void wait_until(struct world *w, int64_t when)
{
	int64_t next;

	while ((next = udp_exchange_next_ms(w->x)) <= when) {
		if (next > w->now)
			w->now = next;
		udp_exchange_tick(w->x, w->now);
	}
	w->now = when;
}

static void test_announce__connects_first_then_reuses_the_id(void **state)
{
	struct world w;
	struct got g = { 0 };

	open_world(&w);
	announce(&w, &g, &w.a);
	assert_int_equal(w.num_sent, 1);
	assert_int_equal(w.sent[0].len, 16);
	assert_true(addr_eq(&w.sent[0].to, &w.a));
	reply_connect(&w, &w.sent[0], 77);
	assert_int_equal(w.num_sent, 2);
	assert_int_equal(action_of(&w.sent[1]), UDP_TRACKER_ANNOUNCE);
	assert_int_equal(load_be64(w.sent[1].bytes), 77);
	assert_int_equal(w.sent[1].len, 98 + 2 + 9);
	assert_int_not_equal(tid_of(&w.sent[0]), tid_of(&w.sent[1]));
	reply_announce(&w, &w.sent[1], &w.a);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, 0);
	assert_int_equal(g.num_peers, 1);
	/* Within the minute: no connect. */
	wait_until(&w, w.now + 59000);
	announce(&w, &g, &w.a);
	assert_int_equal(action_of(&w.sent[2]), UDP_TRACKER_ANNOUNCE);
	reply_announce(&w, &w.sent[2], &w.a);
	assert_int_equal(g.calls, 1);
	/* After it: again. */
	wait_until(&w, w.now + 1000);
	announce(&w, &g, &w.a);
	assert_int_equal(w.sent[3].len, 16);
	udp_exchange_free(w.x);
}

static void test_announce__one_connect_for_many(void **state)
{
	struct world w;
	struct got g[10] = { 0 };

	open_world(&w);
	for (int i = 0; i < 10; i++)
		announce(&w, &g[i], i == 9 ? &w.b : &w.a);
	assert_int_equal(w.num_sent, 2);
	reply_connect(&w, &w.sent[0], 1);
	assert_int_equal(w.num_sent, 2 + 9);
	for (int i = 2; i < 11; i++)
		reply_announce(&w, &w.sent[i], &w.a);
	for (int i = 0; i < 9; i++)
		assert_int_equal(g[i].calls, 1);
	assert_int_equal(g[9].calls, 0);
	udp_exchange_free(w.x);
}

static void test_retry__at_three_and_given_up_at_eighteen_seconds(void **state)
{
	struct world w;
	struct got g = { 0 };
	int64_t start;

	open_world(&w);
	start = w.now;
	announce(&w, &g, &w.a);
	wait_until(&w, start + 2999);
	assert_int_equal(w.num_sent, 1);
	wait_until(&w, start + 3000);
	assert_int_equal(w.num_sent, 2);
	assert_int_equal(tid_of(&w.sent[1]), tid_of(&w.sent[0]));
	wait_until(&w, start + 17999);
	assert_int_equal(g.calls, 0);
	wait_until(&w, start + 18000);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, -ETIMEDOUT);
	assert_int_equal(w.num_sent, 2);
	assert_true(udp_exchange_next_ms(w.x) == INT64_MAX);
	/* A reply to the second connect serves too; then the announce has the
	 * same patience, within the caller's own limit. */
	w.num_sent = 0;
	start = w.now;
	announce(&w, &g, &w.a);
	wait_until(&w, start + 17000);
	reply_connect(&w, &w.sent[1], 9);
	wait_until(&w, start + 29999);
	assert_int_equal(w.num_sent, 4);
	assert_int_equal(tid_of(&w.sent[3]), tid_of(&w.sent[2]));
	assert_int_equal(g.calls, 0);
	wait_until(&w, start + 30000);
	assert_int_equal(g.r, -ETIMEDOUT);
	udp_exchange_free(w.x);
}

/* The limit of the caller holds also when the next retry would be later. */
static void test_retry__never_past_the_callers_limit(void **state)
{
	struct world w;
	struct got g = { 0 };
	int64_t start;

	open_world(&w);
	start = w.now;
	udp_exchange_announce(w.x, w.now, &w.a, &w.request, NULL, 5000, on_done,
			      &g);
	wait_until(&w, start + 1000);
	reply_connect(&w, &w.sent[0], 1);
	wait_until(&w, start + 4999);
	assert_int_equal(w.num_sent, 3);
	assert_int_equal(g.calls, 0);
	wait_until(&w, start + 5000);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, -ETIMEDOUT);
	udp_exchange_free(w.x);
}

static void test_retry__with_a_new_id_when_it_ended(void **state)
{
	struct world w;
	struct got g = { 0 };

	open_world(&w);
	announce(&w, &g, &w.a);
	reply_connect(&w, &w.sent[0], 1);
	reply_announce(&w, &w.sent[1], &w.a);
	wait_until(&w, w.now + 58000);
	announce(&w, &g, &w.a); /* lost; the id ends before the retry */
	wait_until(&w, w.now + 3000);
	assert_int_equal(w.num_sent, 4);
	assert_int_equal(w.sent[3].len, 16);
	reply_connect(&w, &w.sent[3], 2);
	assert_int_equal(load_be64(w.sent[4].bytes), 2);
	reply_announce(&w, &w.sent[4], &w.a);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, 0);
	udp_exchange_free(w.x);
}

static void test_receive__believes_only_whom_it_asked(void **state)
{
	struct world w;
	struct got g = { 0 };
	struct addr other;
	struct sent forged;

	open_world(&w);
	announce(&w, &g, &w.a);
	forged = w.sent[0];
	forged.to.port++;
	reply_connect(&w, &forged, 66); /* right id, wrong port */
	forged = w.sent[0];
	forged.bytes[15] ^= 1;
	reply_connect(&w, &forged, 66); /* wrong id */
	assert_int_equal(w.num_sent, 1);
	reply_connect(&w, &w.sent[0], 1);
	reply_connect(&w, &w.sent[0], 66); /* late double: nobody waits */
	assert_int_equal(w.num_sent, 2);
	assert_int_equal(load_be64(w.sent[1].bytes), 1);
	other = w.a;
	other.ip[3]++;
	reply_announce(&w, &w.sent[1], &other);
	reply_announce(&w, &w.sent[0], &w.a); /* the connect's id */
	udp_exchange_receive(w.x, w.now, &w.a, (const uint8_t *)"\0\0\0", 3);
	udp_exchange_receive(w.x, w.now, &w.a, NULL, 0);
	assert_int_equal(g.calls, 0);
	reply_announce(&w, &w.sent[1], &w.a);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, 0);
	udp_exchange_free(w.x);
}

static void test_error__ends_the_call_with_its_text(void **state)
{
	struct world w;
	struct got g = { 0 };

	open_world(&w);
	announce(&w, &g, &w.a);
	reply_error(&w, &w.sent[0], "go away");
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, -EPERM);
	assert_string_equal(g.text, "go away");
	announce(&w, &g, &w.a);
	reply_connect(&w, &w.sent[1], 1);
	reply_error(&w, &w.sent[2], "unknown torrent");
	assert_int_equal(g.calls, 1);
	assert_string_equal(g.text, "unknown torrent");
	udp_exchange_free(w.x);
}

static void test_error__an_old_id_is_renewed_once(void **state)
{
	struct world w;
	struct got g = { 0 };

	open_world(&w);
	announce(&w, &g, &w.a);
	reply_connect(&w, &w.sent[0], 1);
	reply_announce(&w, &w.sent[1], &w.a);
	announce(&w, &g, &w.a); /* the tracker was restarted meanwhile */
	reply_error(&w, &w.sent[2], "bad connection id");
	assert_int_equal(g.calls, 0);
	assert_int_equal(w.num_sent, 4);
	assert_int_equal(w.sent[3].len, 16);
	reply_connect(&w, &w.sent[3], 2);
	assert_int_equal(load_be64(w.sent[4].bytes), 2);
	reply_error(&w, &w.sent[4], "really no");
	assert_int_equal(g.calls, 1);
	assert_string_equal(g.text, "really no");
	udp_exchange_free(w.x);
}

static void test_answer__cut_is_a_failure(void **state)
{
	struct world w;
	struct got g = { 0 };
	uint8_t b[12] = { 0, 0, 0, 0 };

	open_world(&w);
	announce(&w, &g, &w.a);
	store_be32(b + 4, tid_of(&w.sent[0]));
	udp_exchange_receive(w.x, w.now, &w.a, b, sizeof(b));
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, -EBADMSG);
	udp_exchange_free(w.x);
}

static void test_send__no_way_fails_at_once_but_later(void **state)
{
	struct world w;
	struct got g = { 0 };

	open_world(&w);
	w.send_error = -ENETUNREACH;
	announce(&w, &g, &w.b);
	assert_int_equal(g.calls, 0);
	wait_until(&w, w.now + 1);
	assert_int_equal(g.calls, 1);
	assert_int_equal(g.r, -ENETUNREACH);
	/* A full socket is a lost packet. */
	w.send_error = -EAGAIN;
	announce(&w, &g, &w.b);
	wait_until(&w, w.now + 100);
	assert_int_equal(g.calls, 0);
	/* One that starts anew in its own end does not spin. */
	w.send_error = -ENETUNREACH;
	wait_until(&w, w.now + 60000);
	g.restart = &w;
	announce(&w, &g, &w.a);
	udp_exchange_tick(w.x, ++w.now);
	assert_int_equal(g.calls, 1);
	udp_exchange_free(w.x);
}

static int answer_all(struct world *w)
{
	int n = w->num_sent;

	w->num_sent = 0;
	for (int i = 0; i < n; i++) {
		struct sent s = w->sent[i];

		reply_announce(w, &s, &w->a);
	}
	return n;
}

/* What a full buffer would swallow stays here. */
static void test_window__the_rest_waits_its_turn(void **state)
{
	struct world w;
	struct got g = { 0 };
	struct udp_call *calls[1000];
	int sent;

	open_world(&w);
	announce(&w, &g, &w.a);
	reply_connect(&w, &w.sent[0], 1);
	w.num_sent = 0;
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		calls[i] = announce(&w, &g, &w.a);
	assert_int_equal(w.num_sent, 255);
	sent = answer_all(&w);
	assert_int_equal(g.calls, 255);
	assert_int_equal(w.num_sent, 255);
	/* Also when those who are out are cancelled, a tick later. */
	for (int i = 255; i < 400; i++)
		udp_call_cancel(calls[i]);
	udp_exchange_tick(w.x, w.now);
	assert_int_equal(w.num_sent, 255 + 145);
	while (w.num_sent)
		sent += answer_all(&w);
	assert_int_equal(sent, ARRAY_LEN(calls));
	assert_int_equal(g.calls, ARRAY_LEN(calls) - 145);
	udp_exchange_free(w.x);
}

static void test_cancel__silent_also_inside_done(void **state)
{
	struct world w;
	struct got g[3] = { 0 };
	struct udp_call *second;

	open_world(&w);
	udp_call_cancel(announce(&w, &g[0], &w.a));
	wait_until(&w, w.now + 3000); /* nobody waits: no second connect */
	assert_int_equal(w.num_sent, 1);
	announce(&w, &g[0], &w.a);
	second = announce(&w, &g[1], &w.a);
	announce(&w, &g[2], &w.a);
	g[0].cancel = &second;
	reply_error(&w, &w.sent[1], "no");
	assert_int_equal(g[0].calls, 1);
	assert_int_equal(g[1].calls, 0);
	assert_int_equal(g[2].calls, 1);
	udp_call_cancel(NULL);
	/* With calls in every state */
	announce(&w, &g[0], &w.a);
	announce(&w, &g[1], &w.b);
	reply_connect(&w, &w.sent[w.num_sent - 1], 5);
	udp_exchange_free(w.x);
	udp_exchange_free(NULL);
}

static void test_endpoints__bounded_and_forgotten(void **state)
{
	struct world w;
	struct got g = { 0 };
	struct addr to;

	open_world(&w);
	w.is_mute = true;
	to = w.a;
	for (int i = 0; i < LIMIT_TRACKER_HOSTS; i++) {
		to.port = (uint16_t)(1 + i);
		assert_non_null(announce(&w, &g, &to));
	}
	g.calls = 0;
	to.port++;
	assert_null(announce(&w, &g, &to));
	wait_until(&w, w.now + 18000); /* all have given up */
	assert_int_equal(g.calls, LIMIT_TRACKER_HOSTS);
	assert_non_null(announce(&w, &g, &to));
	udp_exchange_free(w.x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_announce__connects_first_then_reuses_the_id),
		cmocka_unit_test(test_announce__one_connect_for_many),
		cmocka_unit_test(
			test_retry__at_three_and_given_up_at_eighteen_seconds),
		cmocka_unit_test(test_retry__never_past_the_callers_limit),
		cmocka_unit_test(test_retry__with_a_new_id_when_it_ended),
		cmocka_unit_test(test_receive__believes_only_whom_it_asked),
		cmocka_unit_test(test_error__ends_the_call_with_its_text),
		cmocka_unit_test(test_error__an_old_id_is_renewed_once),
		cmocka_unit_test(test_answer__cut_is_a_failure),
		cmocka_unit_test(test_send__no_way_fails_at_once_but_later),
		cmocka_unit_test(test_window__the_rest_waits_its_turn),
		cmocka_unit_test(test_cancel__silent_also_inside_done),
		cmocka_unit_test(test_endpoints__bounded_and_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
