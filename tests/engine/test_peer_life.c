/* Goal: whom the engine connects to, whom it keeps, whom it tries again: with
 * scripted peers at the other end. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/engine_private.h"
#include "tests/engine/raw_peer.h"
#include "tests/engine/warp.h"

#define MIB (1u << 20)

static struct rig rig;
static struct node node;
static struct raw raw, raw2;

static int set_up(void **state)
{
	rig_start(&rig);
	rig_make_file(&rig, "a", "film", MIB, 1);
	node_start(&node, &rig, "b", false, FILL_TORRENT, false);
	node_add(&node, rig_metainfo(&rig, "a", "film", 65536));
	rig_run(&rig, 50);
	raw.fd = raw.listen_fd = raw2.fd = raw2.listen_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	raw_close(&raw);
	raw_close(&raw2);
	node_stop(&node);
	rig_end(&rig);
	return 0;
}

static unsigned num_peers(void)
{
	struct torrent_stats s;

	torrent_stats(node.torrent, &s);
	return s.peers;
}

static unsigned num_candidates(void)
{
	struct torrent_stats s;

	torrent_stats(node.torrent, &s);
	return s.candidates;
}

static struct candidate *candidate_of(const struct raw *w)
{
	struct addr a;

	a = rig_local(1, w->port);
	return swarm_find(node.torrent->swarm, &a);
}

static void test_connects__says_everything_at_once(void **state)
{
	struct raw_msg m;

	raw_listen(&raw, &rig);
	raw_invite(&raw, &node);
	/* Before a byte of ours: handshake, bitfield, interested. */
	raw_take_greeting(&raw);
	assert_true(raw_next(&raw, &m, 1000));
	assert_int_equal(m.id, WIRE_BITFIELD);
	assert_int_equal(m.len, 2);
	assert_true(raw_next(&raw, &m, 1000));
	assert_int_equal(m.id, WIRE_INTERESTED);
	assert_false(raw_next(&raw, &m, 100));
	raw_greet(&raw, node.torrent, 'a', RAW_FAST | RAW_EXT);
	assert_true(raw_next(&raw, &m, 1000));
	assert_int_equal(m.id, WIRE_EXTENDED);
	assert_int_equal(num_peers(), 1);
}

static void test_accepts__greets_after_the_other(void **state)
{
	struct raw_msg m;

	raw_connect(&raw, &node, 0);
	rig_run(&rig, 100);
	assert_false(raw_next(&raw, &m, 100)); /* a scanner learns nothing */
	raw_greet(&raw, node.torrent, 'a', RAW_FAST);
	raw_take_greeting(&raw);
	assert_true(raw_next(&raw, &m, 1000));
	assert_int_equal(m.id, WIRE_HAVE_NONE);
	assert_true(raw_next(&raw, &m, 1000));
	assert_int_equal(m.id, WIRE_INTERESTED);
}

static void test_accepts__no_other_torrent(void **state)
{
	struct wire_handshake h = { .has_fast = true };
	uint8_t bytes[WIRE_HANDSHAKE_LEN];

	memset(h.infohash.b, 7, sizeof(h.infohash.b));
	wire_write_handshake(bytes, &h);
	raw_connect(&raw, &node, 0);
	raw_send(&raw, bytes, sizeof(bytes));
	assert_true(raw_is_closed(&raw, 1000));
	assert_int_equal(node.engine->num_peers, 0);
	assert_int_equal(node.engine->num_strangers, 0);
}

static void test_silent_stranger__is_shown_out(void **state)
{
	raw_connect(&raw, &node, 0);
	rig_run(&rig, 50);
	assert_int_equal(node.engine->num_strangers, 1);
	warp_ms(11000);
	assert_true(raw_is_closed(&raw, 2000));
	assert_int_equal(node.engine->num_strangers, 0);
}

static void test_persons_peer__is_tried_again_each_5_s(void **state)
{
	raw_listen(&raw, &rig);
	raw_invite(&raw, &node);
	for (int i = 0; i < 6; i++) {
		/* Gone before and after a handshake, by turns. */
		if (i % 2) {
			raw_greet(&raw, node.torrent, 'a', RAW_FAST);
			raw_take_greeting(&raw);
		}
		close(raw.fd);
		raw.fd = -1;
		rig_run(&rig, 50);
		warp_ms(5001);
		raw_accept(&raw);
	}
}

static void test_ourselves__are_dialled_once(void **state)
{
	struct addr me;
	struct candidate *c;

	me = rig_local(1, engine_port(node.engine));
	torrent_add_peer(node.torrent, &me, ORIGIN_USER);
	rig_run(&rig, 300);
	c = swarm_find(node.torrent->swarm, &me);
	assert_non_null(c);
	assert_true(c->is_self);
	assert_int_equal(swarm_num_usable(node.torrent->swarm), 0);
	assert_int_equal(node.engine->num_peers, 0);
}

/* A second connection of the same peer, from each side: one stays, and the
 * address behind it is not tried while it stands. */
static void test_two_connections__to_one_peer(void **state)
{
	raw_listen(&raw, &rig);
	raw_invite(&raw, &node);
	raw_greet(&raw, node.torrent, 1, RAW_FAST);
	raw_take_greeting(&raw);
	rig_run(&rig, 50);
	assert_int_equal(num_peers(), 1);
	/* Its id is smaller than ours: the one that it began is kept. */
	raw_connect(&raw2, &node, 0);
	raw_greet(&raw2, node.torrent, 1, RAW_FAST);
	raw_take_greeting(&raw2);
	assert_true(raw_is_closed(&raw, 1000));
	assert_false(raw_is_closed(&raw2, 100));
	assert_int_equal(num_peers(), 1);
	assert_true(candidate_of(&raw)->is_connected);
	raw_close(&raw2);
	rig_run(&rig, 100);
	assert_false(candidate_of(&raw)->is_connected);
	assert_int_equal(candidate_of(&raw)->failures, 0);
}

static void test_two_connections__ours_is_kept(void **state)
{
	raw_listen(&raw, &rig);
	raw_invite(&raw, &node);
	raw_greet(&raw, node.torrent, 'z', RAW_FAST);
	raw_take_greeting(&raw);
	rig_run(&rig, 50);
	raw_connect(&raw2, &node, 0);
	raw_greet(&raw2, node.torrent, 'z', RAW_FAST);
	assert_true(raw_is_closed(&raw2, 1000));
	assert_false(raw_is_closed(&raw, 100));
	assert_int_equal(num_peers(), 1);
}

/* Ids are no secret: whoever repeats one must not cut others off. */
static void test_stolen_id__cuts_nobody_off(void **state)
{
	raw_connect(&raw, &node, 2);
	raw_greet(&raw, node.torrent, 1, RAW_FAST);
	raw_take_greeting(&raw);
	raw_connect(&raw2, &node, 3);
	raw_greet(&raw2, node.torrent, 1, RAW_FAST);
	raw_take_greeting(&raw2);
	assert_false(raw_is_closed(&raw, 100));
	assert_false(raw_is_closed(&raw2, 100));
	assert_int_equal(num_peers(), 2);
}

/* An incoming peer that tells its port is the candidate of that address. */
static void test_told_port__is_not_dialled(void **state)
{
	raw_listen(&raw2, &rig);
	raw_meet(&raw, &node, 'a', RAW_FAST | RAW_EXT);
	char hello[64];

	snprintf(hello, sizeof(hello), "d1:md6:foobari9ee1:pi%uee", raw2.port);
	assert_true(raw_say_ext(&raw, 0, hello));
	rig_run(&rig, 600);
	assert_int_equal(num_candidates(), 1);
	assert_true(candidate_of(&raw2)->is_connected);
	assert_int_equal(num_peers(), 1);
	raw_close(&raw);
	rig_run(&rig, 100);
	assert_false(candidate_of(&raw2)->is_connected);
	warp_ms(61000);
	raw_accept(&raw2); /* now it is */
}

static void test_told_port__counts_once(void **state)
{
	char hello[64];

	raw_meet(&raw, &node, 'a', RAW_FAST | RAW_EXT);
	for (unsigned i = 1; i <= 200; i++) {
		snprintf(hello, sizeof(hello), "d1:mde1:pi%uee", 20000 + i);
		assert_true(raw_say_ext(&raw, 0, hello));
	}
	rig_run(&rig, 100);
	assert_int_equal(num_candidates(), 1);
}

/* Metadata of which every block of 16 KiB is a piece: LEN bytes and a bit. */
static struct metainfo *large_metainfo(uint32_t num_pieces)
{
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;
	struct buf b;

	buf_init(&b, 0);
	buf_printf(&b,
		   "d4:infod6:lengthi%llue4:name1:b12:piece lengthi16384e"
		   "6:pieces%u:",
		   num_pieces * 16384ull, num_pieces * 20);
	for (uint32_t i = 0; i < num_pieces; i++)
		buf_add(&b, "abcdefghijklmnopqrst", 20);
	buf_printf(&b, "ee");
	assert_int_equal(metainfo_parse(b.ptr, b.len, &mi, why), 0);
	buf_release(&b);
	return mi;
}

/* Asks for part I modulo NUM of the metadata, 50 at a time as long as LIMIT;
 * how many were given. */
static unsigned ask_metadata(unsigned num, unsigned limit)
{
	unsigned given = 0;
	struct raw_msg m;
	char text[64];

	for (unsigned i = 0; i < limit; i++) {
		snprintf(text, sizeof(text), "d8:msg_typei0e5:piecei%uee",
			 i % num);
		assert_true(raw_say_ext(&raw, WIRE_EXT_METADATA, text));
		if (i % 50 != 49 && i != limit - 1)
			continue;
		for (unsigned k = 0; k < i % 50 + 1; k++) {
			assert_true(raw_wait(&raw, WIRE_EXTENDED, &m, 5000));
			m.body[14] = 0;
			given += !strcmp((char *)m.body + 1, "d8:msg_typei1");
		}
	}
	return given;
}

static void test_metadata__large_is_given_whole_and_not_for_ever(void **state)
{
	struct raw_msg m;
	unsigned parts;

	node_add(&node, large_metainfo(900000));
	parts = (unsigned)((node.torrent->mi->info.len + 16383) / 16384);
	assert_true(parts > LIMIT_METADATA_REQUESTS_IN);
	raw_meet(&raw, &node, 'a', RAW_FAST | RAW_EXT);
	assert_true(raw_wait(&raw, WIRE_EXTENDED, &m, 2000));
	assert_true(raw_say_ext(&raw, 0, "d1:md11:ut_metadatai7eee"));
	assert_int_equal(ask_metadata(parts, parts), parts);
	assert_int_equal(ask_metadata(parts, 2 * parts + 200), 2 * parts);
	/* The look for what is on disk ends, and does not hold up the stop. */
	assert_true(rig_until(&rig, &node.torrent->is_ready, 30000));
}

static void test_family__not_bound_is_not_used(void **state)
{
	struct addr a;

	addr_parse("::1", 7000, &a);
	torrent_add_peer(node.torrent, &a, ORIGIN_TRACKER);
	assert_int_equal(num_candidates(), 0);
}

static struct torrent *add_magnet(unsigned n)
{
	struct torrent *t;
	struct magnet *m;
	char link[80], why[MAGNET_WHY_SIZE];

	snprintf(link, sizeof(link), "magnet:?xt=urn:btih:%040x", n);
	assert_int_equal(magnet_parse(link, strlen(link), &m, why), 0);
	assert_int_equal(engine_add_magnet(node.engine, m, &t, NULL, NULL), 0);
	return t;
}

/* The rate of connects is shared; torrents without an address use none of
 * it. */
static void test_many_torrents__do_not_starve_one(void **state)
{
	for (unsigned i = 1; i <= 200; i++)
		add_magnet(i);
	rig_run(&rig, 1500);
	assert_true(node.engine->connect_tokens > 20);
	raw_listen(&raw, &rig);
	raw_invite(&raw, &node);
}

static struct raw crowd[LIMIT_PEERS_PER_TORRENT];

/* From 127.x.y.FROM; has nothing, wants nothing. */
static void meet_useless(struct raw *w, uint8_t from)
{
	raw_connect(w, &node, from);
	raw_greet(w, node.torrent, (char)from, RAW_FAST);
	raw_say(w, WIRE_HAVE_NONE);
	rig_run(&rig, 10);
}

/* A full torrent: the useless leave, after their time, for others alone. */
static void test_full__the_useless_make_room(void **state)
{
	unsigned left = 0;

	for (unsigned i = 0; i < LIMIT_PEERS_PER_TORRENT; i++)
		meet_useless(&crowd[i], (uint8_t)(2 + i));
	raw_say(&crowd[0], WIRE_INTERESTED);
	raw_say_index(&crowd[1], WIRE_HAVE, 3);
	assert_int_equal(num_peers(), LIMIT_PEERS_PER_TORRENT);
	meet_useless(&raw, 150);
	assert_true(raw_is_closed(&raw, 1000)); /* they are still new */
	raw_close(&raw);
	warp_ms(61000);
	meet_useless(&raw, 150);
	assert_false(raw_is_closed(&raw, 200));
	assert_int_equal(num_peers(), LIMIT_PEERS_PER_TORRENT);
	/* It has its place: no second one for the same address. */
	raw_connect(&raw2, &node, 150);
	raw_greet(&raw2, node.torrent, 1, RAW_FAST);
	assert_true(raw_is_closed(&raw2, 1000));
	raw_close(&raw2);
	/* A candidate gets one too. */
	raw_listen(&raw2, &rig);
	raw_invite(&raw2, &node);
	assert_true(num_peers() <= LIMIT_PEERS_PER_TORRENT);
	for (unsigned i = 0; i < LIMIT_PEERS_PER_TORRENT; i++) {
		left += raw_is_closed(&crowd[i], 11);
		assert_true(i > 1 || !crowd[i].is_closed);
		raw_close(&crowd[i]);
	}
	assert_int_equal(left, 2);
}

static void test_accounts__come_back_to_zero(void **state)
{
	for (int i = 0; i < 20; i++) {
		struct raw *w = i % 2 ? &raw : &raw2;

		raw_close(w);
		raw_connect(w, &node, (uint8_t)(2 + i % 3));
		if (i % 3)
			raw_greet(w, node.torrent, (char)i, i % 4);
		rig_run(&rig, 10);
	}
	raw_close(&raw);
	raw_close(&raw2);
	rig_run(&rig, 100);
	assert_int_equal(node.engine->num_peers, 0);
	assert_int_equal(node.engine->num_strangers, 0);
	assert_int_equal(node.engine->num_half_open, 0);
	assert_int_equal(node.torrent->num_peers, 0);
	assert_int_equal(node.torrent->num_connecting, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_connects__says_everything_at_once),
		CASE(test_accepts__greets_after_the_other),
		CASE(test_accepts__no_other_torrent),
		CASE(test_silent_stranger__is_shown_out),
		CASE(test_persons_peer__is_tried_again_each_5_s),
		CASE(test_ourselves__are_dialled_once),
		CASE(test_two_connections__to_one_peer),
		CASE(test_two_connections__ours_is_kept),
		CASE(test_stolen_id__cuts_nobody_off),
		CASE(test_told_port__is_not_dialled),
		CASE(test_told_port__counts_once),
		CASE(test_metadata__large_is_given_whole_and_not_for_ever),
		CASE(test_family__not_bound_is_not_used),
		CASE(test_many_torrents__do_not_starve_one),
		CASE(test_full__the_useless_make_room),
		CASE(test_accounts__come_back_to_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
