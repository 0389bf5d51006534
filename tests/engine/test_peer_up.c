/* Goal: what a peer asks of us: each request is answered once, by the block or
 * by a reject; nothing that is not verified leaves; floods cost little. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/engine_private.h"
#include "tests/engine/gate.h"
#include "tests/engine/warp.h"

#define MIB       (1u << 20)
#define PIECE     65536u
#define NUM       32u /* pieces */
#define NUM_PEERS 60

static struct rig rig;
static struct node node;
static struct raw raw, many[NUM_PEERS];

static struct gate gate;

static int set_up(void **state)
{
	rig_start(&rig);
	rig_make_file(&rig, "a", "film", NUM * PIECE, 1);
	node_start(&node, &rig, "a", true, FILL_NONE, true);
	node_add(&node, rig_metainfo(&rig, "a", "film", PIECE));
	assert_true(rig_until(&rig, &node.is_complete, 5000));
	raw.fd = raw.listen_fd = -1;
	return 0;
}

/* The bits come from the state, so that no file is open yet: reads are cold. */
static void restart(void)
{
	node_stop(&node);
	node_start(&node, &rig, "a", true, FILL_NONE, true);
	assert_true(rig_until(&rig, &node.is_complete, 5000));
}

static int tear_down(void **state)
{
	gate_open(&gate);
	raw_close(&raw);
	node_stop(&node);
	rig_end(&rig);
	return 0;
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static struct peer *the_peer(void)
{
	struct peer *p = list_first(&node.torrent->peers, struct peer, node);

	assert_non_null(p);
	return p;
}

static void meet_unchoked(int flags)
{
	struct raw_msg m;

	raw_meet(&raw, &node, 'a', flags);
	raw_say(&raw, WIRE_INTERESTED);
	assert_true(raw_wait(&raw, WIRE_UNCHOKE, &m, 2000));
}

static void ask(uint32_t piece, unsigned times)
{
	while (times--)
		assert_true(raw_say_block(&raw, WIRE_REQUEST, piece, 0, 16384));
}

/* More than any socket's buffers hold. */
#define FLOOD 1500

static void test_requests__one_answer_each(void **state)
{
	unsigned n[256];

	meet_unchoked(RAW_FAST);
	ask(3, FLOOD);
	for (int i = 0; i < FLOOD; i++)
		raw_say_block(&raw, WIRE_CANCEL, 3, 0, 16384);
	raw_count(&raw, 500, n);
	assert_true(n[WIRE_PIECE] > 0 && n[WIRE_REJECT] > 0);
	assert_int_equal(n[WIRE_PIECE] + n[WIRE_REJECT], FLOOD);
}

static void test_choke__rejects_what_waits(void **state)
{
	unsigned n[256];

	meet_unchoked(RAW_FAST);
	ask(3, FLOOD);
	rig_run(&rig, 100);
	peer_set_choking(the_peer(), true);
	raw_count(&raw, 500, n);
	assert_int_equal(n[WIRE_CHOKE], 1);
	assert_int_equal(n[WIRE_PIECE] + n[WIRE_REJECT], FLOOD);
	assert_true(n[WIRE_REJECT] > 0);
}

static void test_choke__without_bep6_is_silent(void **state)
{
	unsigned n[256];

	meet_unchoked(0);
	ask(3, FLOOD);
	rig_run(&rig, 100);
	peer_set_choking(the_peer(), true);
	raw_count(&raw, 500, n);
	assert_int_equal(n[WIRE_REJECT], 0);
	assert_true(n[WIRE_PIECE] > 0 && n[WIRE_PIECE] < FLOOD);
}

/* Requests that were on their way when we choked are nobody's fault. */
static void test_choke__crossing_requests_are_forgiven(void **state)
{
	unsigned n[256];

	meet_unchoked(RAW_FAST);
	raw_say(&raw, WIRE_NOT_INTERESTED);
	rig_run(&rig, 50);
	peer_set_choking(the_peer(), true);
	ask(3, 1000);
	raw_count(&raw, 300, n);
	assert_int_equal(n[WIRE_REJECT], 1000);
	warp_ms(5000);
	assert_false(raw_is_closed(&raw, 50));
	for (int i = 0; i <= LIMIT_REQUESTS_WHILE_CHOKED; i++)
		raw_say_block(&raw, WIRE_REQUEST, 3, 0, 16384);
	assert_true(raw_is_closed(&raw, 1000));
}

/* What was verified when it was asked for may not be so when it is read. */
static void test_cold_read__of_a_piece_that_is_lost(void **state)
{
	unsigned n[256];

	restart();
	meet_unchoked(RAW_FAST);
	gate_shut(&gate, &rig, LANE_DISK);
	ask(3, 2);
	ask(4, 2);
	ask(3, 30);
	rig_run(&rig, 100);
	assert_int_equal(the_peer()->num_wished, 33); /* and one is read */
	torrent_set_piece(node.torrent, 3, false);
	gate_open(&gate);
	raw_count(&raw, 300, n);
	assert_int_equal(n[WIRE_PIECE], 2);
	assert_int_equal(n[WIRE_REJECT], 32);
}

/* Losing a piece is no reason to look at the disk once more per request. */
static void test_lost_piece__is_not_hashed_for_each_request(void **state)
{
	uint64_t rounds;
	unsigned n[256];

	restart();
	rounds = node.torrent->check_rounds;
	meet_unchoked(RAW_FAST);
	gate_shut(&gate, &rig, LANE_DISK);
	ask(4, 1);
	ask(3, 100);
	rig_run(&rig, 50);
	torrent_set_piece(node.torrent, 3, false);
	gate_open(&gate);
	raw_count(&raw, 300, n);
	assert_int_equal(n[WIRE_REJECT], 100);
	assert_int_equal(node.torrent->check_rounds, rounds);
}

static void test_request__of_what_is_not_here(void **state)
{
	struct raw_msg m;

	meet_unchoked(RAW_FAST);
	torrent_set_piece(node.torrent, 5, false);
	ask(5, 1);
	assert_true(raw_wait(&raw, WIRE_REJECT, &m, 1000));
	assert_int_equal(load_be32(m.body), 5);
}

/* A check of one piece is no reason to leave the requests of all unanswered. */
static void test_check__goes_on_serving(void **state)
{
	struct raw_msg m;

	meet_unchoked(0);
	gate_shut(&gate, &rig, LANE_DISK);
	node.torrent->is_ready = false;
	gate_open(&gate);
	ask(6, 1);
	assert_true(raw_wait(&raw, WIRE_PIECE, &m, 1000));
	node.torrent->is_ready = true;
}

/* A peer that takes nothing for minutes holds our memory for nothing. */
static void test_blocked_peer__is_let_go(void **state)
{
	meet_unchoked(RAW_FAST);
	ask(3, FLOOD);
	rig_run(&rig, 300);
	assert_true(conn_unsent(the_peer()->conn) > 0);
	for (int i = 0; i < 4; i++) {
		warp_ms(40000);
		raw_send(&raw, "\0\0\0\0", 4); /* and says that it lives */
		rig_run(&rig, 300);
	}
	assert_true(list_is_empty(&node.torrent->peers));
}

/* Seconds that it takes to hear A and B by turns, 20,000 times. */
static double hear(struct raw *w, enum wire_type a, enum wire_type b)
{
	static uint8_t flood[100000];
	double before = cpu_s();

	memset(flood, 0, sizeof(flood));
	for (size_t i = 0; i < sizeof(flood); i += 5) {
		flood[i + 3] = 1;
		flood[i + 4] = (uint8_t)(i / 5 % 2 ? a : b);
	}
	assert_true(raw_send(w, flood, sizeof(flood)));
	rig_run(&rig, 100);
	return cpu_s() - before;
}

static void test_interest__flapping_costs_little(void **state)
{
	double cheap, flapping;

	for (size_t i = 0; i < NUM_PEERS; i++) {
		many[i].listen_fd = -1;
		raw_meet(&many[i], &node, (char)i, RAW_FAST);
		raw_say(&many[i], WIRE_INTERESTED);
	}
	rig_run(&rig, 300);
	cheap = hear(&many[0], WIRE_UNCHOKE, WIRE_UNCHOKE);
	flapping = hear(&many[0], WIRE_INTERESTED, WIRE_NOT_INTERESTED);
	assert_true(flapping < 3 * cheap + 0.005);
	for (size_t i = 0; i < NUM_PEERS; i++)
		raw_close(&many[i]);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_requests__one_answer_each),
		CASE(test_choke__rejects_what_waits),
		CASE(test_choke__without_bep6_is_silent),
		CASE(test_choke__crossing_requests_are_forgiven),
		CASE(test_cold_read__of_a_piece_that_is_lost),
		CASE(test_lost_piece__is_not_hashed_for_each_request),
		CASE(test_request__of_what_is_not_here),
		CASE(test_check__goes_on_serving),
		CASE(test_blocked_peer__is_let_go),
		CASE(test_interest__flapping_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
