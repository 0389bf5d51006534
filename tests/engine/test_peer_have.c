/* Goal: who has what: what peers hear of us and we of them, and what floods of
 * it cost. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/bencode.h"
#include "engine/base/limits.h"
#include "engine/engine_private.h"
#include "tests/engine/raw_peer.h"

#define PIECE 65536u
#define NUM   40u /* pieces */

static struct rig rig;
static struct node node;
static struct raw raw, raw2;

static int set_up(void **state)
{
	rig_start(&rig);
	rig_make_file(&rig, "a", "film", NUM * PIECE, 1);
	memset(&node, 0, sizeof(node));
	raw.fd = raw.listen_fd = raw2.fd = raw2.listen_fd = -1;
	return 0;
}

static void start(const char *folder, bool is_read_only, enum fill_policy fill)
{
	node_start(&node, &rig, folder, is_read_only, fill, true);
	if (!node.torrent)
		node_add(&node, rig_metainfo(&rig, "a", "film", PIECE));
}

static int tear_down(void **state)
{
	raw_close(&raw);
	raw_close(&raw2);
	node_stop(&node);
	rig_end(&rig);
	return 0;
}

/* Counts what W hears within MS; the pieces of HAVEs are set in BITS. */
static void hear(struct raw *w, int ms, unsigned n[256], struct bitfield *bits)
{
	int64_t end = loop_now_ms(rig.loop) + ms;
	struct raw_msg m;

	memset(n, 0, 256 * sizeof(*n));
	while (loop_now_ms(rig.loop) < end) {
		if (!raw_next(w, &m, 10))
			continue;
		n[m.id]++;
		if (m.id == WIRE_HAVE && bits)
			bitfield_set(bits, load_be32(m.body));
	}
}

/* Who connects while the disk is looked at hears of each piece once. */
static void test_check__tells_each_piece_once(void **state)
{
	struct bitfield bits;
	unsigned n[256];

	bitfield_init(&bits, NUM);
	start("a", true, FILL_NONE);
	raw_meet(&raw, &node, 'a', RAW_FAST);
	hear(&raw, 600, n, &bits);
	assert_true(node.is_complete);
	if (n[WIRE_HAVE_NONE])
		assert_int_equal(bits.num_set, NUM);
	assert_true(n[WIRE_HAVE] <= NUM);
	/* A second look at one piece is no news of the others. */
	torrent_distrust(node.torrent, 5 * PIECE, 1);
	hear(&raw, 400, n, NULL);
	assert_int_equal(torrent_have(node.torrent)->num_set, NUM);
	assert_true(n[WIRE_HAVE] <= 1);
	bitfield_release(&bits);
}

static void test_load__tells_who_came_too_early(void **state)
{
	struct bitfield bits;
	unsigned n[256];

	bitfield_init(&bits, NUM);
	start("a", true, FILL_NONE);
	assert_true(rig_until(&rig, &node.is_complete, 5000));
	node_stop(&node);
	start("a", true, FILL_NONE);
	/* The stamps have not been looked at yet when it says hello. */
	raw_meet(&raw, &node, 'a', RAW_FAST);
	hear(&raw, 400, n, &bits);
	assert_true(n[WIRE_HAVE_ALL] || bits.num_set == NUM);
	assert_true(n[WIRE_HAVE] <= NUM);
	bitfield_release(&bits);
}

static void test_have__interests_us_if_we_lack_it(void **state)
{
	struct raw_msg m;

	start("b", false, FILL_TORRENT);
	raw_meet(&raw, &node, 'a', RAW_FAST);
	raw_say(&raw, WIRE_HAVE_NONE);
	assert_true(raw_wait(&raw, WIRE_NOT_INTERESTED, &m, 1000));
	raw_say_index(&raw, WIRE_HAVE, 7);
	assert_true(raw_wait(&raw, WIRE_INTERESTED, &m, 1000));
}

static void test_have__of_what_nobody_reads_is_not_interesting(void **state)
{
	struct raw_msg m;

	start("b", false, FILL_NONE);
	raw_meet(&raw, &node, 'a', RAW_FAST);
	raw_say(&raw, WIRE_HAVE_NONE);
	assert_true(raw_wait(&raw, WIRE_NOT_INTERESTED, &m, 1000));
	raw_say_index(&raw, WIRE_HAVE, 7);
	assert_false(raw_wait(&raw, WIRE_INTERESTED, &m, 200));
}

static void copy_file(void)
{
	char *cmd = mem_printf("mkdir -p %s/b && cp %s/a/film %s/b/film",
			       rig.dir, rig.dir, rig.dir);

	assert_int_equal(system(cmd), 0);
	free(cmd);
}

/* Once all is here, slots of others are not ours to hold. */
static void test_complete__ends_our_interest(void **state)
{
	struct raw_msg m;
	uint8_t *bytes = mem_alloc(PIECE);
	char path[128];
	FILE *f;

	copy_file();
	snprintf(path, sizeof(path), "%s/b/film", rig.dir);
	f = fopen(path, "r+");
	assert_non_null(f);
	assert_int_equal(fread(bytes, 1, PIECE, f), PIECE);
	rewind(f);
	fputc(bytes[0] ^ 1, f);
	fclose(f);
	start("b", false, FILL_TORRENT);
	raw_meet(&raw, &node, 'a', RAW_FAST);
	raw_say(&raw, WIRE_HAVE_NONE);
	raw_say_index(&raw, WIRE_HAVE, 0);
	assert_true(raw_wait(&raw, WIRE_INTERESTED, &m, 1000));
	raw_say(&raw, WIRE_UNCHOKE);
	for (int i = 0; i < 4; i++) {
		uint32_t begin;

		assert_true(raw_wait(&raw, WIRE_REQUEST, &m, 2000));
		assert_int_equal(load_be32(m.body), 0);
		begin = load_be32(m.body + 4);
		raw_give(&raw, 0, begin, bytes + begin, 16384);
	}
	assert_true(raw_wait(&raw, WIRE_NOT_INTERESTED, &m, 2000));
	assert_true(node.is_complete);
	free(bytes);
}

static double cpu_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint32_t big_pieces(void)
{
	return LIMIT_PIECES / 4;
}

/* A torrent of half a million pieces, of which we have all but the last. */
static void start_big(void)
{
	struct buf hashes, out;
	struct metainfo *mi;
	char why[METAINFO_WHY_SIZE];

	buf_init(&hashes, 0);
	buf_init(&out, 0);
	assert_non_null(buf_reserve(&hashes, 20ull * big_pieces()));
	hashes.len = 20ull * big_pieces();
	memset(hashes.ptr, 1, hashes.len);
	benc_dict(&out);
	benc_cstr(&out, "info");
	benc_dict(&out);
	benc_cstr(&out, "length");
	benc_int(&out, 16384ll * big_pieces());
	benc_cstr(&out, "name");
	benc_cstr(&out, "big");
	benc_cstr(&out, "piece length");
	benc_int(&out, 16384);
	benc_cstr(&out, "pieces");
	benc_str(&out, hashes.ptr, hashes.len);
	benc_end(&out);
	benc_end(&out);
	assert_int_equal(metainfo_parse(out.ptr, out.len, &mi, why), 0);
	buf_release(&hashes);
	buf_release(&out);
	node_start(&node, &rig, "c", false, FILL_TORRENT, false);
	node_add(&node, mi);
	assert_true(rig_until(&rig, &node.torrent->is_ready, 20000));
	for (uint32_t i = 0; i + 1 < big_pieces(); i++)
		torrent_set_piece(node.torrent, i, true);
}

/* Each HAVE of a piece that we have is a bit and a count, not a search. */
static void test_have__a_stream_of_what_we_have_is_cheap(void **state)
{
	struct raw_msg m;
	struct buf b;
	double before;

	start_big();
	raw_meet(&raw, &node, 'a', RAW_FAST);
	raw_say(&raw, WIRE_HAVE_NONE);
	assert_true(raw_wait(&raw, WIRE_NOT_INTERESTED, &m, 1000));
	buf_init(&b, 0);
	for (uint32_t i = 0; i < 100000; i++)
		wire_add_have(&b, i);
	before = cpu_s();
	assert_true(raw_send(&raw, b.ptr, b.len));
	rig_run(&rig, 100);
	buf_release(&b);
	/* 8 us a HAVE, and more with a sanitizer, when it searches. */
	assert_true(cpu_s() - before < 0.25);
	raw_say_index(&raw, WIRE_HAVE, big_pieces() - 1);
	assert_true(raw_wait(&raw, WIRE_INTERESTED, &m, 1000));
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_check__tells_each_piece_once),
		CASE(test_load__tells_who_came_too_early),
		CASE(test_have__interests_us_if_we_lack_it),
		CASE(test_have__of_what_nobody_reads_is_not_interesting),
		CASE(test_complete__ends_our_interest),
		CASE(test_have__a_stream_of_what_we_have_is_cheap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
