/* Goal: a block that a peer leaves out is asked for again, elsewhere soon, of
 * the same peer in bounded time: with scripted peers that forget. */
#include "tests/cmocka_all.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/random.h"
#include "engine/engine_private.h"
#include "tests/engine/raw_peer.h"
#include "tests/engine/warp.h"

#define PIECE  65536u
#define NUM    64u /* pieces */
#define BLOCKS (NUM * PIECE / LIMIT_BLOCK_BYTES)
#define BLOCK  LIMIT_BLOCK_BYTES
#define LARGE  (32u << 20) /* a piece that is not gathered in memory */

static struct rig rig;
static struct node node;
static struct raw raw, raw2, raw3;
static uint8_t film[17 << 20];
static uint32_t piece_length;

static int set_up(void **state)
{
	struct prng prng = { 1 };

	rig_start(&rig);
	rig_make_file(&rig, "a", "film", NUM * PIECE, 1);
	piece_length = PIECE;
	for (size_t i = 0; i < sizeof(film); i += 8) {
		uint64_t word = prng_u64(&prng);

		memcpy(film + i, &word, 8);
	}
	raw.fd = raw.listen_fd = raw2.fd = raw2.listen_fd = -1;
	raw3.fd = raw3.listen_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	raw_close(&raw);
	raw_close(&raw2);
	raw_close(&raw3);
	node_stop(&node);
	rig_end(&rig);
	return 0;
}

static void start(enum fill_policy fill)
{
	node_start(&node, &rig, "b", false, fill, false);
	node_add(&node, rig_metainfo(&rig, "a", "film", piece_length));
	rig_run(&rig, 50);
}

static void meet_seed(struct raw *w, char id, uint8_t from)
{
	raw_connect(w, &node, from);
	raw_greet(w, node.torrent, id, RAW_FAST);
	raw_take_greeting(w);
	raw_say(w, WIRE_HAVE_ALL);
	raw_say(w, WIRE_UNCHOKE);
}

struct server {
	struct raw *raw;
	unsigned left_out; /* this block, counted over the file */
	int times;         /* that it is left out; -1: always */
	bool lies;         /* it is not left out, but wrong */
	unsigned withheld; /* so many blocks from 0 on are never given */
	unsigned asked[sizeof(film) / BLOCK], cancelled[sizeof(film) / BLOCK];
	unsigned served;
};

/* Answers what S was asked for until nothing comes for MS. */
static void serve(struct server *s, int ms)
{
	struct raw_msg m;

	while (raw_next(s->raw, &m, ms)) {
		uint32_t piece, begin, i;
		uint8_t bytes[BLOCK];

		if (m.id != WIRE_REQUEST && m.id != WIRE_CANCEL)
			continue;
		piece = load_be32(m.body);
		begin = load_be32(m.body + 4);
		i = (piece * piece_length + begin) / BLOCK;
		if (m.id == WIRE_CANCEL) {
			s->cancelled[i]++;
			continue;
		}
		s->asked[i]++;
		if (i < s->withheld)
			continue;
		memcpy(bytes, film + (size_t)i * BLOCK, BLOCK);
		if ((i == s->left_out || s->lies) && s->times) {
			s->times -= s->times > 0;
			if (!s->lies)
				continue;
			bytes[77] ^= 1;
		}
		raw_give(s->raw, piece, begin, bytes, BLOCK);
		s->served++;
	}
}

static bool is_done, is_right;

static void on_want(struct want *w, int r)
{
	is_done = true;
	is_right = !r;
}

static void test_fill__one_peer_forgets_a_block(void **state)
{
	struct server s = { .raw = &raw, .left_out = 9, .times = 1 };

	start(FILL_TORRENT);
	meet_seed(&raw, 'a', 0);
	serve(&s, 300);
	assert_false(node.is_complete);
	assert_int_equal(s.asked[9], 1);
	for (int i = 0; i < 11 && !node.is_complete; i++) {
		warp_ms(1000);
		serve(&s, 300);
	}
	assert_true(node.is_complete);
	assert_int_equal(s.asked[9], 2);
	assert_int_equal(s.cancelled[9], 1);
	assert_int_equal(s.served, BLOCKS);
}

/* What came after it would fill the pipeline twice: no clock is needed. */
static void test_fill__forgotten_is_seen_by_what_came_after(void **state)
{
	struct server s = { .raw = &raw, .times = 1 };
	struct raw_msg m;

	start(FILL_TORRENT);
	raw_connect(&raw, &node, 0);
	raw_greet(&raw, node.torrent, 'a', RAW_FAST | RAW_EXT);
	raw_take_greeting(&raw);
	raw_say_ext(&raw, 0, "d4:reqqi4ee");
	raw_say(&raw, WIRE_HAVE_ALL);
	raw_say(&raw, WIRE_UNCHOKE);
	assert_true(raw_wait(&raw, WIRE_REQUEST, &m, 1000));
	/* The first one is left out: it was taken off the stream here. */
	s.left_out =
		(load_be32(m.body) * PIECE + load_be32(m.body + 4)) / BLOCK;
	s.times = 0;
	for (int i = 0; i < 8 && !node.is_complete; i++)
		serve(&s, 300);
	assert_true(node.is_complete);
	assert_int_equal(s.cancelled[s.left_out], 1);
	assert_int_equal(s.asked[s.left_out], 1);
}

static void test_endgame__both_forget_one(void **state)
{
	struct server a = { .raw = &raw, .left_out = 9, .times = -1 };
	struct server b = { .raw = &raw2, .left_out = 200, .times = -1 };
	int64_t end;

	start(FILL_TORRENT);
	meet_seed(&raw, 'a', 2);
	meet_seed(&raw2, 'b', 3);
	end = loop_now_ms(rig.loop) + 5000;
	while (!node.is_complete && loop_now_ms(rig.loop) < end) {
		serve(&a, 20);
		serve(&b, 20);
	}
	assert_true(node.is_complete);
	assert_true(node.torrent->wasted <= 16 * BLOCK);
}

static void test_read__does_not_wait_for_who_forgot(void **state)
{
	struct server a = { .raw = &raw, .left_out = 2, .times = -1 };
	struct server b = { .raw = &raw2, .left_out = BLOCKS };
	struct want w = { .off = 0, .len = PIECE, .done = on_want };
	int64_t end;

	start(FILL_NONE);
	meet_seed(&raw, 'a', 2);
	rig_run(&rig, 50);
	is_done = false;
	torrent_want(node.torrent, NULL, &w);
	serve(&a, 200);
	assert_int_equal(a.asked[2], 1);
	meet_seed(&raw2, 'b', 3);
	end = loop_now_ms(rig.loop) + 3000;
	while (!is_done && loop_now_ms(rig.loop) < end) {
		serve(&a, 20);
		serve(&b, 20);
	}
	assert_true(is_done && is_right);
	assert_int_equal(b.served, 1);
	serve(&a, 100);
	assert_int_equal(a.cancelled[2], 1); /* the loser hears of it */
	assert_int_equal(node.torrent->wasted, 0);
}

/* Two keep silent, both were asked: the third one is in time. */
static void test_read__two_are_silent(void **state)
{
	struct server s = { .raw = &raw3, .left_out = BLOCKS };
	struct want w = { .off = 0, .len = PIECE, .done = on_want };
	int64_t end;

	start(FILL_NONE);
	meet_seed(&raw, 'a', 2);
	meet_seed(&raw2, 'b', 3);
	rig_run(&rig, 50);
	is_done = false;
	torrent_want(node.torrent, NULL, &w);
	rig_run(&rig, 2200);
	meet_seed(&raw3, 'c', 4);
	end = loop_now_ms(rig.loop) + 1500;
	while (!is_done && loop_now_ms(rig.loop) < end)
		serve(&s, 20);
	assert_true(is_done && is_right);
	assert_int_equal(s.served, PIECE / BLOCK);
}

/* Who gave well and stops has its blocks taken over at once. */
static void test_read__one_stops_in_mid_stream(void **state)
{
	struct server a = { .raw = &raw, .left_out = BLOCKS };
	struct server b = { .raw = &raw2, .left_out = BLOCKS };
	struct want w = { .off = 0, .len = PIECE, .done = on_want };
	int64_t began;

	start(FILL_NONE);
	meet_seed(&raw, 'a', 2);
	meet_seed(&raw2, 'b', 3);
	rig_run(&rig, 50);
	for (int i = 0; i < 8; i++) {
		is_done = false;
		torrent_want(node.torrent, NULL, &w);
		began = loop_now_ms(rig.loop);
		while (!is_done && loop_now_ms(rig.loop) < began + 3000) {
			if (i < 4)
				serve(&a, 10);
			serve(&b, 10);
		}
		assert_true(is_done && is_right);
		assert_true(loop_now_ms(rig.loop) - began < 1000);
		w.off += PIECE;
	}
	assert_true(a.served > 0 && node.torrent->wasted == 0);
}

/* The only peer keeps a piece back, as one with a bad disk or a super-seed: a
 * read of something else does not wait until the peer is given up. */
static void test_read__of_what_is_given_beside_what_is_not(void **state)
{
	struct server s = { .raw = &raw, .left_out = UINT_MAX, .withheld = 8 };
	struct want kept = { .len = 2 * PIECE, .done = on_want };

	start(FILL_NONE);
	meet_seed(&raw, 'a', 2);
	torrent_want(node.torrent, NULL, &kept);
	serve(&s, 100);
	assert_int_equal(s.asked[7], 1);
	/* Long enough that its rate is measured: nothing. */
	for (int i = 0; i < 2; i++) {
		warp_ms(1000);
		serve(&s, 300);
	}
	for (unsigned i = 4; i < 24; i++) {
		struct want w = { .off = i * PIECE,
				  .len = PIECE,
				  .done = on_want };

		is_done = false;
		torrent_want(node.torrent, NULL, &w);
		for (int k = 0; k < 30 && !is_done; k++)
			serve(&s, 20);
		torrent_cancel(&w);
		assert_true(is_done && is_right);
	}
	/* Nor is the pipeline open to whatever may be kept back. */
	assert_int_equal(s.asked[7], 1);
	torrent_cancel(&kept);
}

/* It comes so slowly that it is given up on the way, and counts all the same.
 */
static void test_trickle__what_comes_late_is_kept(void **state)
{
	struct want w = { .off = 0, .len = BLOCK, .done = on_want };
	struct raw_msg m;
	uint32_t begin;
	struct buf b;

	start(FILL_NONE);
	meet_seed(&raw, 'a', 2);
	rig_run(&rig, 50);
	torrent_want(node.torrent, NULL, &w);
	assert_true(raw_wait(&raw, WIRE_REQUEST, &m, 1000));
	begin = load_be32(m.body + 4);
	buf_init(&b, 0);
	wire_add_piece_header(&b, 0, begin, BLOCK);
	buf_add(&b, film + begin, BLOCK);
	raw_send(&raw, b.ptr, 5000);
	rig_run(&rig, 50);
	torrent_cancel(&w); /* nobody asks for it again */
	warp_ms(9000);      /* the first block: 8 s */
	assert_true(raw_wait(&raw, WIRE_CANCEL, &m, 1000));
	raw_send(&raw, b.ptr + 5000, b.len - 5000);
	rig_run(&rig, 100);
	assert_int_equal(node.torrent->wasted, 0);
	assert_int_equal(node.torrent->downloaded, BLOCK);
	buf_release(&b);
}

/* A piece too large for memory: who spoilt one block of it is known too. */
static void test_large_piece__the_liar_is_banned(void **state)
{
	struct server liar = { .raw = &raw, .times = 1, .lies = true };
	struct server honest = { .raw = &raw2 };
	struct addr a = rig_local(2, 1), b = rig_local(3, 1);
	int64_t end;

	rig_make_file(&rig, "a", "film", sizeof(film), 1);
	piece_length = LARGE;
	start(FILL_TORRENT);
	meet_seed(&raw, 'a', 2);
	meet_seed(&raw2, 'b', 3);
	end = loop_now_ms(rig.loop) + 15000;
	while (!node.is_complete && loop_now_ms(rig.loop) < end) {
		serve(&liar, 2);
		serve(&honest, 2);
	}
	assert_true(node.is_complete);
	assert_int_equal(liar.times, 0);
	assert_true(liar.served && honest.served);
	assert_true(swarm_is_banned(node.torrent->swarm, &a));
	assert_false(swarm_is_banned(node.torrent->swarm, &b));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_fill__one_peer_forgets_a_block),
		CASE(test_fill__forgotten_is_seen_by_what_came_after),
		CASE(test_endgame__both_forget_one),
		CASE(test_read__does_not_wait_for_who_forgot),
		CASE(test_read__two_are_silent),
		CASE(test_read__one_stops_in_mid_stream),
		CASE(test_read__of_what_is_given_beside_what_is_not),
		CASE(test_trickle__what_comes_late_is_kept),
		CASE(test_large_piece__the_liar_is_banned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
