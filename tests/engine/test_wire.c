/* Goal: the peer protocol is read the same however TCP cuts it, and a frame
 * that breaks a rule is refused before it is kept. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/wire.h"

/* The torrent of these tests: 10 pieces of 32 KiB, the last one 5000 bytes. */
#define NUM_PIECES   10u
#define PIECE_LENGTH 32768u
#define LAST_LENGTH  5000u

static void init(struct wire_in *w, bool is_known)
{
	wire_init(w);
	if (!is_known)
		return;
	w->num_pieces = NUM_PIECES;
	w->piece_length = PIECE_LENGTH;
	w->total = (uint64_t)(NUM_PIECES - 1) * PIECE_LENGTH + LAST_LENGTH;
}

static void note_bytes(struct buf *log, struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_printf(log, "%02x", s.ptr[i]);
}

static void note(struct buf *log, const struct wire_msg *m)
{
	if (m->type == WIRE_PIECE && m->part_at) {
		note_bytes(log, m->payload); /* goes on where the log stands */
	} else {
		buf_printf(log, "\n%d %u+%u:%u port=%u ext=%u ", m->type,
			   m->piece, m->begin, m->length, m->port, m->ext_id);
		note_bytes(log, m->payload);
	}
	if (m->is_last_part)
		buf_add_str(log, " whole");
}

/* Feeds IN until it is used up or refused; the messages go to LOG. */
static int feed(struct wire_in *w, struct span in, struct buf *log)
{
	struct wire_msg m;
	const char *why = "";
	int r;

	while ((r = wire_next(w, &in, &m, &why)) == 1)
		note(log, &m);
	if (r < 0)
		buf_printf(log, "\nrefused: %s", why);
	else
		assert_int_equal(in.len, 0);
	return r;
}

/* The messages in BYTES as text, fed in runs of at most MAX_CUT bytes, each in
 * a heap block of its own so that a sanitizer sees any read beyond it. */
static char *transcript(const struct buf *bytes, size_t max_cut, uint64_t seed,
			bool is_known)
{
	struct prng r = { seed };
	struct buf log;
	struct wire_in w;
	size_t at = 0, n;
	uint8_t *run;
	int res = 0;

	buf_init(&log, 0);
	init(&w, is_known);
	while (at < bytes->len && res == 0) {
		n = 1 +
		    (seed ? prng_below(&r, (uint32_t)max_cut) : max_cut - 1);
		if (n > bytes->len - at)
			n = bytes->len - at;
		run = mem_dup(bytes->ptr + at, n);
		res = feed(&w, (struct span){ run, n }, &log);
		free(run);
		at += n;
	}
	if (res == 0)
		buf_printf(&log, "\nmid=%d", wire_is_mid_message(&w));
	buf_add(&log, "", 1);
	wire_release(&w);
	return (char *)log.ptr;
}

/* The same text for every way to cut BYTES; returned. */
static char *transcript_all_ways(const struct buf *bytes, bool is_known)
{
	char *whole = transcript(bytes, bytes->len, 0, is_known);
	char *s;

	s = transcript(bytes, 1, 0, is_known);
	assert_string_equal(s, whole);
	free(s);
	for (uint64_t seed = 1; seed <= 40; seed++) {
		s = transcript(bytes, seed % 4 ? 7 : 3000, seed, is_known);
		assert_string_equal(s, whole);
		free(s);
	}
	return whole;
}

static void check_golden(struct buf *b, const void *bytes, size_t len,
			 const char *expected)
{
	char *s;

	assert_int_equal(b->len, len);
	assert_memory_equal(b->ptr, bytes, len);
	s = transcript_all_ways(b, true);
	assert_string_equal(s, expected);
	free(s);
	buf_release(b);
}
#define GOLDEN(b, bytes, expected)                                             \
	check_golden(b, bytes, sizeof(bytes) - 1, "\n" expected "\nmid=0")

static void test_golden__messages_without_payload(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_keepalive(&b);
	GOLDEN(&b, "\0\0\0\0", "256 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_CHOKE);
	GOLDEN(&b, "\0\0\0\1\0", "0 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_UNCHOKE);
	GOLDEN(&b, "\0\0\0\1\1", "1 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_INTERESTED);
	GOLDEN(&b, "\0\0\0\1\2", "2 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_NOT_INTERESTED);
	GOLDEN(&b, "\0\0\0\1\3", "3 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_HAVE_ALL);
	GOLDEN(&b, "\0\0\0\1\x0e", "14 0+0:0 port=0 ext=0 ");
	wire_add_simple(&b, WIRE_HAVE_NONE);
	GOLDEN(&b, "\0\0\0\1\x0f", "15 0+0:0 port=0 ext=0 ");
}

static void test_golden__messages_with_numbers(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_have(&b, 9);
	GOLDEN(&b, "\0\0\0\5\4\0\0\0\x09", "4 9+0:0 port=0 ext=0 ");
	wire_add_index(&b, WIRE_SUGGEST, 3);
	GOLDEN(&b, "\0\0\0\5\x0d\0\0\0\3", "13 3+0:0 port=0 ext=0 ");
	wire_add_index(&b, WIRE_ALLOWED_FAST, 1);
	GOLDEN(&b, "\0\0\0\5\x11\0\0\0\1", "17 1+0:0 port=0 ext=0 ");
	wire_add_request(&b, WIRE_REQUEST, 2, 0x4000, 0x4000);
	GOLDEN(&b, "\0\0\0\x0d\6\0\0\0\2\0\0\x40\0\0\0\x40\0",
	       "6 2+16384:16384 port=0 ext=0 ");
	wire_add_request(&b, WIRE_CANCEL, 9, 0, LAST_LENGTH);
	GOLDEN(&b, "\0\0\0\x0d\x08\0\0\0\x09\0\0\0\0\0\0\x13\x88",
	       "8 9+0:5000 port=0 ext=0 ");
	wire_add_request(&b, WIRE_REJECT, 2, 1, 2);
	GOLDEN(&b, "\0\0\0\x0d\x10\0\0\0\2\0\0\0\1\0\0\0\2",
	       "16 2+1:2 port=0 ext=0 ");
	wire_add_port(&b, 6881);
	GOLDEN(&b, "\0\0\0\3\x09\x1a\xe1", "9 0+0:0 port=6881 ext=0 ");
}

static void test_golden__messages_with_payload(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_bitfield(&b, (const uint8_t *)"\xff\xc0", 2);
	GOLDEN(&b, "\0\0\0\3\5\xff\xc0", "5 0+0:0 port=0 ext=0 ffc0");
	wire_add_piece_header(&b, 2, 0x4000, 3);
	buf_add(&b, "abc", 3);
	GOLDEN(&b, "\0\0\0\x0c\7\0\0\0\2\0\0\x40\0abc",
	       "7 2+16384:3 port=0 ext=0 616263 whole");
	buf_add(&b, "\0\0\0\4\x14\0de", 8); /* EXTENDED, handshake */
	GOLDEN(&b, "\0\0\0\4\x14\0de", "20 0+0:0 port=0 ext=0 6465");
	buf_add(&b, "\0\0\0\6\x14\2\0\0\0\7", 10); /* EXTENDED, lt_donthave */
	GOLDEN(&b, "\0\0\0\6\x14\2\0\0\0\7", "20 0+0:0 port=0 ext=2 00000007");
}

static void test_handshake__golden_and_back(void **state)
{
	static const char golden[] = "\x13"
				     "BitTorrent protocol\0\0\0\0\0\x10\0\x15"
				     "aaaaaaaaaabbbbbbbbbb-WF0100-cccccccccccc";
	struct wire_handshake h = { .has_extended = true,
				    .has_fast = true,
				    .has_dht = true,
				    .has_v2 = true };
	struct wire_handshake back;
	uint8_t out[WIRE_HANDSHAKE_LEN];

	memcpy(h.infohash.b, "aaaaaaaaaabbbbbbbbbb", 20);
	memcpy(h.peerid.b, "-WF0100-cccccccccccc", 20);
	wire_write_handshake(out, &h);
	assert_memory_equal(out, golden, WIRE_HANDSHAKE_LEN);
	assert_int_equal(wire_read_handshake(out, &back), 0);
	assert_true(back.has_extended && back.has_fast && back.has_dht &&
		    back.has_v2);
	assert_true(infohash_eq(&back.infohash, &h.infohash));
	assert_true(peerid_eq(&back.peerid, &h.peerid));

	memset(out + 20, 0, 8);
	assert_int_equal(wire_read_handshake(out, &back), 0);
	assert_false(back.has_extended || back.has_fast || back.has_dht ||
		     back.has_v2);
	for (int i = 0; i < 20; i++) {
		out[i] ^= 0x20;
		assert_int_equal(wire_read_handshake(out, &back), -EPROTO);
		out[i] ^= 0x20;
	}
}

/* A frame that must be refused once its first `needed` bytes are here, and
 * not sooner (a rule is judged when its numbers are there, not at the end). */
struct bad {
	const char *what;
	const char *bytes;
	size_t len, needed;
	bool is_fine_before_metadata;
};
#define BAD(what, bytes, needed, fine)                                         \
	{                                                                      \
		what, bytes, sizeof(bytes) - 1, needed, fine                   \
	}

static const struct bad bads[] = {
	BAD("4 GiB frame", "\xff\xff\xff\xff", 4, false),
	BAD("1 MiB and 1 byte", "\x00\x10\x00\x01", 4, false),
	BAD("long choke", "\0\0\0\2\0\0", 5, false),
	BAD("long unchoke", "\0\0\0\2\1\0", 5, false),
	BAD("long interested", "\0\0\0\2\2\0", 5, false),
	BAD("long not interested", "\0\0\0\2\3\0", 5, false),
	BAD("short have", "\0\0\0\4\4\0\0\0", 5, false),
	BAD("long have", "\0\0\0\6\4\0\0\0\0\0", 5, false),
	BAD("have beyond the end", "\0\0\0\5\4\0\0\0\x0a", 9, true),
	BAD("have 2^32-1", "\0\0\0\5\4\xff\xff\xff\xff", 9, false),
	BAD("empty bitfield", "\0\0\0\1\5", 5, false),
	BAD("short bitfield", "\0\0\0\2\5\xff", 5, true),
	BAD("long bitfield", "\0\0\0\4\5\xff\xff\xff", 5, true),
	BAD("bitfield over the limit", "\0\4\0\2\5", 5, false),
	BAD("short request", "\0\0\0\x0c\6", 5, false),
	BAD("long request", "\0\0\0\x0e\6", 5, false),
	BAD("request beyond the end",
	    "\0\0\0\x0d\6\0\0\0\x0a\0\0\0\0\0\0\x40\0", 17, true),
	BAD("request of nothing", "\0\0\0\x0d\6\0\0\0\0\0\0\0\0\0\0\0\0", 17,
	    false),
	BAD("request of 128 KiB and 1 byte",
	    "\0\0\0\x0d\6\0\0\0\0\0\0\0\0\0\2\0\1", 17, false),
	BAD("request over the piece's end",
	    "\0\0\0\x0d\6\0\0\0\0\0\0\x40\1\0\0\x40\0", 17, true),
	BAD("request over the last piece's end",
	    "\0\0\0\x0d\6\0\0\0\x09\0\0\0\0\0\0\x13\x89", 17, true),
	BAD("request whose sum wraps",
	    "\0\0\0\x0d\6\0\0\0\0\xff\xff\xff\xff\0\0\x40\0", 17, false),
	BAD("cancel beyond the end",
	    "\0\0\0\x0d\x08\0\0\0\x0a\0\0\0\0\0\0\x40\0", 17, true),
	BAD("short cancel", "\0\0\0\x01\x08", 5, false),
	BAD("reject beyond the end",
	    "\0\0\0\x0d\x10\0\0\0\x0a\0\0\0\0\0\0\x40\0", 17, true),
	BAD("reject over the piece's end",
	    "\0\0\0\x0d\x10\0\0\0\0\0\0\x80\0\0\0\0\1", 17, true),
	BAD("long reject", "\0\0\0\x0e\x10", 5, false),
	BAD("piece without a block", "\0\0\0\x09\7", 5, false),
	BAD("piece without a header", "\0\0\0\x01\7", 5, false),
	BAD("piece of 128 KiB and 1 byte", "\0\2\0\x0a\7", 5, false),
	BAD("piece beyond the end", "\0\0\0\x0a\7\0\0\0\x0a\0\0\0\0", 13, true),
	BAD("piece over the piece's end", "\0\0\x40\x09\7\0\0\0\0\0\0\x40\1",
	    13, true),
	BAD("piece that begins behind the piece",
	    "\0\0\0\x0a\7\0\0\0\0\0\0\x80\0", 13, true),
	BAD("piece at 2^32-1", "\0\0\0\x0a\7\0\0\0\0\xff\xff\xff\xff", 13,
	    false),
	BAD("short port", "\0\0\0\2\x09\0", 5, false),
	BAD("long port", "\0\0\0\4\x09\0\0\0", 5, false),
	BAD("short suggest", "\0\0\0\4\x0d", 5, false),
	BAD("suggest beyond the end", "\0\0\0\5\x0d\0\0\0\x0a", 9, true),
	BAD("long have all", "\0\0\0\2\x0e", 5, false),
	BAD("long have none", "\0\0\0\2\x0f", 5, false),
	BAD("long allowed fast", "\0\0\0\6\x11", 5, false),
	BAD("allowed fast beyond the end", "\0\0\0\5\x11\0\0\0\x0a", 9, true),
	BAD("extended without an id", "\0\0\0\1\x14", 5, false),
	BAD("extended handshake over the limit", "\0\1\0\3\x14\0", 6, false),
	BAD("ut_metadata over the limit", "\0\0\x44\3\x14\1", 6, false),
	BAD("short lt_donthave", "\0\0\0\5\x14\2", 6, false),
	BAD("long lt_donthave", "\0\0\0\7\x14\2", 6, false),
	BAD("lt_donthave beyond the end", "\0\0\0\6\x14\2\0\0\0\x0a", 10, true),
	BAD("ut_pex over the limit", "\0\0\x80\3\x14\3", 6, false),
};

static void test_refused__each_rule_as_soon_as_it_can_be_judged(void **state)
{
	const char *why;
	struct wire_msg m;
	struct wire_in w;
	struct span in;
	char *s;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
		const struct bad *bad = &bads[i];
		uint8_t *copy = mem_dup(bad->bytes, bad->len);
		struct buf b = { .ptr = copy, .len = bad->len };

		init(&w, true);
		in = (struct span){ copy, bad->needed - 1 };
		r = wire_next(&w, &in, &m, &why);
		if (r != 0)
			fail_msg("%s: too soon", bad->what);
		in = (struct span){ copy + bad->needed - 1, 1 };
		r = wire_next(&w, &in, &m, &why);
		if (r != -EPROTO)
			fail_msg("%s: taken", bad->what);
		wire_release(&w);

		s = transcript_all_ways(&b, true);
		assert_non_null(strstr(s, "\nrefused: "));
		free(s);
		s = transcript_all_ways(&b, false);
		if (!strstr(s, "\nrefused: ") != bad->is_fine_before_metadata)
			fail_msg("%s, before metadata: %s", bad->what, s);
		free(s);
		free(copy);
	}
}

static void test_limits__the_largest_of_each_kind_is_taken(void **state)
{
	struct buf b;
	char *s;

	/* A bitfield of 2^21 pieces, a 128 KiB block, and the largest extended
	 * message of each id, before metadata; one of an unknown id. */
	buf_init(&b, 0);
	memset(buf_reserve(&b, 4 + LIMIT_MESSAGE_BYTES), 'x',
	       4 + LIMIT_MESSAGE_BYTES);
#define LARGEST(head, size)                                                    \
	do {                                                                   \
		memcpy(b.ptr, head, sizeof(head) - 1);                         \
		store_be32(b.ptr, size);                                       \
		b.len = 4 + (size);                                            \
		s = transcript(&b, 100000, 7, false);                          \
		assert_null(strstr(s, "refused"));                             \
		assert_non_null(strstr(s, "mid=0"));                           \
		free(s);                                                       \
	} while (0)
	LARGEST("....\5", 1 + LIMIT_PIECES / 8);
	LARGEST("....\7\0\0\0\0\0\0\0\0", 9 + LIMIT_BLOCK_SERVE_BYTES);
	LARGEST("....\x14\0", 2 + LIMIT_EXT_HANDSHAKE_BYTES);
	LARGEST("....\x14\1", 2 + LIMIT_METADATA_MSG_BYTES);
	LARGEST("....\x14\3", 2 + LIMIT_PEX_BYTES);
	LARGEST("....\x14\x63", LIMIT_MESSAGE_BYTES);
	LARGEST("....\xff", LIMIT_MESSAGE_BYTES);
#undef LARGEST
	buf_release(&b);
}

/* Every type in one stream, with blocks longer than any cut. */
static void add_long_stream(struct buf *b)
{
	uint8_t block[3000];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7);
	wire_add_bitfield(b, (const uint8_t *)"\x80\x40", 2);
	buf_add(b, "\0\0\0\6\x14\0d1:a", 10);
	wire_add_keepalive(b);
	for (uint32_t i = 0; i < NUM_PIECES; i++) {
		wire_add_have(b, i);
		wire_add_piece_header(b, i, 100 * i, sizeof(block));
		buf_add(b, block, sizeof(block));
		wire_add_request(b, WIRE_REQUEST, i, 0, 4096);
		buf_add(b,
			"\0\0\0\7\xaa"
			"unknow",
			11);
		buf_add(b,
			"\0\0\0\x08\x14\x33"
			"strang",
			12);
		wire_add_keepalive(b);
		wire_add_simple(b, WIRE_UNCHOKE);
	}
	wire_add_port(b, 1);
}

static void test_cuts__a_long_stream_reads_the_same_however_cut(void **state)
{
	struct buf b;
	char *s;
	size_t n = 0;

	buf_init(&b, 0);
	add_long_stream(&b);
	s = transcript_all_ways(&b, true);
	for (const char *p = s; (p = strstr(p, "whole")); p++)
		n++;
	assert_int_equal(n, NUM_PIECES);
	n = 0;
	for (const char *p = s; (p = strstr(p, "\n257 ")); p++)
		n++;
	assert_int_equal(n, 2 * NUM_PIECES);
	assert_non_null(strstr(s, "mid=0"));
	free(s);
	buf_release(&b);
}

static void test_cuts__every_prefix_is_a_prefix_and_mid_message(void **state)
{
	struct buf b;
	struct wire_in w;
	struct buf log;
	char *whole;

	buf_init(&b, 0);
	add_long_stream(&b);
	whole = transcript(&b, b.len, 0, true);
	for (size_t n = 0; n < b.len; n += n < 3200 ? 1 : 997) {
		uint8_t *copy = mem_dup(b.ptr, n);

		buf_init(&log, 0);
		init(&w, true);
		assert_int_equal(feed(&w, (struct span){ copy, n }, &log), 0);
		if (log.len)
			assert_memory_equal(log.ptr, whole, log.len);
		if (n == 7 || n == 17 || n == 21)
			assert_false(wire_is_mid_message(&w));
		if (n == 8 || n == 16 || n == 18 || n == 24 || n == 100)
			assert_true(wire_is_mid_message(&w));
		wire_release(&w);
		buf_release(&log);
		free(copy);
	}
	free(whole);
	buf_release(&b);
}

static void test_blocks__are_handed_out_of_the_input_itself(void **state)
{
	struct wire_msg m;
	struct wire_in w;
	struct span in;
	const char *why;
	struct buf b;

	buf_init(&b, 0);
	wire_add_piece_header(&b, 1, 16384, 16384);
	memset(buf_reserve(&b, 16384), 'p', 16384);
	b.len += 16384;
	init(&w, true);
	in = (struct span){ b.ptr, 5000 };
	assert_int_equal(wire_next(&w, &in, &m, &why), 1);
	assert_ptr_equal(m.payload.ptr, b.ptr + 13);
	assert_int_equal(m.payload.len, 5000 - 13);
	assert_int_equal(m.part_at, 0);
	assert_false(m.is_last_part);
	assert_int_equal(wire_next(&w, &in, &m, &why), 0);
	assert_true(wire_is_mid_message(&w));
	in = (struct span){ b.ptr + 5000, b.len - 5000 };
	assert_int_equal(wire_next(&w, &in, &m, &why), 1);
	assert_ptr_equal(m.payload.ptr, b.ptr + 5000);
	assert_int_equal(m.part_at, 5000 - 13);
	assert_true(m.is_last_part);
	assert_int_equal(in.len, 0);
	assert_int_equal(w.carry.cap, 0); /* nothing was ever kept */
	wire_release(&w);
	buf_release(&b);
}

static void test_empty__input_is_asked_for_more(void **state)
{
	struct span nothing = { NULL, 0 };
	struct wire_msg m;
	struct wire_in w;
	const char *why;

	init(&w, true);
	assert_int_equal(wire_next(&w, &nothing, &m, &why), 0);
	assert_null(nothing.ptr);
	assert_false(wire_is_mid_message(&w));
	wire_release(&w);
}

static void
test_memory__carry_is_small_again_after_a_large_message(void **state)
{
	struct wire_msg m;
	struct wire_in w;
	struct span in;
	const char *why;
	struct buf b;

	buf_init(&b, 0);
	memset(buf_reserve(&b, 300000), 0, 300000);
	b.len = 5 + LIMIT_PIECES / 8;
	store_be32(b.ptr, 1 + LIMIT_PIECES / 8);
	b.ptr[4] = WIRE_BITFIELD;
	init(&w, false);
	in = (struct span){ b.ptr, 10 };
	assert_int_equal(wire_next(&w, &in, &m, &why), 0);
	assert_true(w.carry.cap < 4096); /* grows with what comes, not ahead */
	in = (struct span){ b.ptr + 10, b.len - 10 };
	assert_int_equal(wire_next(&w, &in, &m, &why), 1);
	assert_int_equal(m.payload.len, LIMIT_PIECES / 8);
	assert_int_equal(wire_next(&w, &in, &m, &why), 0);
	assert_int_equal(w.carry.cap, 0);
	wire_release(&w);
	buf_release(&b);
}

static void test_metadata__rules_tighten_when_pieces_become_known(void **state)
{
	/* Half a bitfield came before metadata; the other half does not make
	 * it fit a torrent that turns out smaller. */
	static const uint8_t bytes[] = {
		0, 0, 0, 5, 5, 0xff, 0xff, 0xff, 0xff
	};
	struct span in = { bytes, 7 };
	struct wire_msg m;
	struct wire_in w;
	const char *why;

	init(&w, false);
	assert_int_equal(wire_next(&w, &in, &m, &why), 0);
	w.num_pieces = NUM_PIECES;
	in = (struct span){ bytes + 7, 2 };
	assert_int_equal(wire_next(&w, &in, &m, &why), -EPROTO);
	wire_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden__messages_without_payload),
		cmocka_unit_test(test_golden__messages_with_numbers),
		cmocka_unit_test(test_golden__messages_with_payload),
		cmocka_unit_test(test_handshake__golden_and_back),
		cmocka_unit_test(
			test_refused__each_rule_as_soon_as_it_can_be_judged),
		cmocka_unit_test(
			test_limits__the_largest_of_each_kind_is_taken),
		cmocka_unit_test(
			test_cuts__a_long_stream_reads_the_same_however_cut),
		cmocka_unit_test(
			test_cuts__every_prefix_is_a_prefix_and_mid_message),
		cmocka_unit_test(
			test_blocks__are_handed_out_of_the_input_itself),
		cmocka_unit_test(test_empty__input_is_asked_for_more),
		cmocka_unit_test(
			test_memory__carry_is_small_again_after_a_large_message),
		cmocka_unit_test(
			test_metadata__rules_tighten_when_pieces_become_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
