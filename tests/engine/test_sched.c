/* Goal: blocks under parked reads first, then windows of those who read on, and
 * nothing that nobody reads; a parked read ends exactly once. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/sched_private.h"

#define MIB (1u << 20)

/* A torrent of 1 GiB, its picker and scheduler, and one seed. */
struct fixture {
	struct layout layout;
	struct picker *p;
	struct sched *s;
	struct picker_peer seed;
	int64_t now_ms;
};

struct waiter {
	struct want want;
	int calls, result;
};

static void on_done(struct want *w, int r)
{
	struct waiter *waiter = container_of(w, struct waiter, want);

	assert_false(sched_is_parked(w));
	waiter->calls++;
	waiter->result = r;
}

static void setup(struct fixture *f, uint32_t piece_length)
{
	*f = (struct fixture){
		.layout = { .total = 1ull << 30,
			    .piece_length = piece_length,
			    .num_pieces = (1u << 30) / piece_length },
		.seed = { .id = 1, .is_seed = true },
		.now_ms = 1000,
	};
	f->p = picker_new(&f->layout, 1);
	f->s = sched_new(&f->layout);
	picker_add_peer(f->p, NULL, true);
}

static void teardown(struct fixture *f)
{
	sched_free(f->s);
	picker_free(f->p);
}

static void park(struct fixture *f, struct reader *r, struct waiter *w,
		 uint64_t off, uint64_t len)
{
	memset(w, 0, sizeof(*w));
	w->want = (struct want){ .off = off, .len = len, .done = on_done };
	if (r)
		reader_on_read(r, off, len, f->now_ms);
	sched_park(f->s, r, &w->want, f->now_ms);
}

/* Takes MAX blocks for the seed; how many it got. */
static size_t take(struct fixture *f, size_t max, struct block_ref *out)
{
	return sched_take(f->s, f->p, &f->seed, max, f->now_ms, 1000, out);
}

/* Asks the seed for all there is and delivers it; how many blocks that were. */
static size_t fetch_all(struct fixture *f)
{
	struct block_ref out[256];
	size_t n, sum = 0;

	while ((n = take(f, ARRAY_LEN(out), out))) {
		sum += n;
		for (size_t i = 0; i < n; i++) {
			uint32_t others[PICKER_COPIES];
			size_t num;

			sched_on_block(f->s, out[i].piece, f->now_ms);
			if (picker_on_block(f->p, 1, out[i], others, &num) !=
			    PICKER_COMPLETE)
				continue;
			picker_on_verified(f->p, out[i].piece, true, others, 2);
			sched_on_piece(f->s, f->p, out[i].piece, f->now_ms);
		}
	}
	return sum;
}

static void test_read__fetches_what_it_covers_and_no_more(void **state)
{
	struct fixture f;
	struct reader *r;
	struct waiter w;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	assert_int_equal(fetch_all(&f), 0);
	park(&f, r, &w, 500 * MIB + 5, 65536);
	assert_true(sched_is_parked(&w.want));
	assert_int_equal(fetch_all(&f), 64);
	assert_int_equal(w.calls, 1);
	assert_int_equal(w.result, 0);
	/* Far away: a jump opens no window either. */
	f.now_ms += 100;
	park(&f, r, &w, 100 * MIB, 65536);
	assert_int_equal(fetch_all(&f), 64);
	assert_int_equal(w.calls, 1);
	f.now_ms += 100;
	park(&f, r, &w, 900 * MIB - 10, 20);
	assert_int_equal(fetch_all(&f), 128);
	reader_free(r);
	teardown(&f);
}

static void test_read__second_one_opens_the_window(void **state)
{
	struct fixture f;
	struct reader *r;
	struct waiter w;
	size_t n;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	park(&f, r, &w, 0, 131072);
	assert_int_equal(fetch_all(&f), 64);
	reader_on_read(r, 131072, 131072, f.now_ms);
	n = fetch_all(&f);
	assert_in_range(n, 4 * 64, 8 * 64);
	/* Having read on at full speed it is as deep as a pipeline. */
	for (uint64_t off = 262144; off < 8 * MIB; off += 131072)
		reader_on_read(r, off, 131072, f.now_ms);
	n += fetch_all(&f);
	assert_in_range(n, 64 * 64, 80 * 64);
	assert_int_equal(r->class, READER_BULK);
	/* Gone when nobody read for long. */
	f.now_ms += 31000;
	assert_false(sched_is_demanded(f.s, 75, f.now_ms));
	assert_int_equal(fetch_all(&f), 0);
	reader_free(r);
	teardown(&f);
}

static void test_take__oldest_parked_read_first_then_windows(void **state)
{
	struct block_ref out[64];
	struct waiter w[3];
	struct fixture f;
	struct reader *r;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	reader_on_read(r, 0, 131072, f.now_ms);
	reader_on_read(r, 131072, 131072, f.now_ms);
	assert_int_equal(take(&f, 1, out), 1);
	assert_int_equal(out[0].piece, 0);
	for (int i = 0; i < 3; i++)
		park(&f, NULL, &w[i], (700 - 100 * (unsigned)i) * MIB, 1);
	assert_int_equal(sched_num_parked(f.s), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(take(&f, 64, out), 64);
		assert_int_equal(out[0].piece, 700 - 100 * i);
		assert_int_equal(out[63].piece, 700 - 100 * i);
		assert_true(sched_is_parked_on(f.s, 700 - 100 * i));
	}
	assert_int_equal(take(&f, 64, out), 64);
	assert_int_equal(out[0].piece, 0);
	for (int i = 0; i < 3; i++)
		sched_cancel(&w[i].want);
	assert_int_equal(sched_num_parked(f.s), 0);
	assert_int_equal(w[0].calls, 0);
	sched_cancel(&w[0].want);
	reader_free(r);
	teardown(&f);
}

static void count_one(void *arg, struct sched_route *route, struct block_ref b)
{
	++*(unsigned *)route->owner;
}

static void read_on(struct fixture *f, struct reader *r, uint64_t start,
		    uint64_t len)
{
	for (uint64_t off = 0; off < len; off += 131072)
		reader_on_read(r, start + off, 131072, f->now_ms);
}

static void test_take__readers_take_turns(void **state)
{
	struct block_ref out[64];
	unsigned count[2] = { 0 };
	struct reader *r[2];
	struct fixture f;

	setup(&f, MIB);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = reader_new(f.s, 0, f.layout.total);
		read_on(&f, r[i], i * 512ull * MIB, 16 * MIB);
	}
	for (int i = 0; i < 40; i++) {
		assert_int_equal(take(&f, 1, out), 1);
		count[out[0].piece >= 512]++;
	}
	assert_int_equal(count[0], 20);
	assert_int_equal(take(&f, 64, out), 64);
	assert_int_equal(out[0].piece / 512 + out[63].piece / 512, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(r[i]->class, READER_BULK);
		reader_free(r[i]);
	}
	teardown(&f);
}

static void test_take__slow_peer_gets_the_far_end(void **state)
{
	struct picker_peer slow = { .id = 2, .is_seed = true, .is_slow = true };
	struct block_ref out[64];
	struct fixture f;
	struct reader *r;
	struct waiter w;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	read_on(&f, r, 0, 16 * MIB);
	assert_int_equal(take(&f, 1, out), 1);
	assert_int_equal(out[0].piece, 16);
	assert_int_equal(sched_take(f.s, f.p, &slow, 1, f.now_ms, 0, out), 1);
	assert_int_equal(out[0].piece, 16 + 64 - 1);
	/* And of a parked read only what nobody took for a second. */
	park(&f, NULL, &w, 500 * MIB, 1);
	assert_int_equal(sched_take(f.s, f.p, &slow, 1, f.now_ms, 0, out), 1);
	assert_int_equal(out[0].piece, 16 + 64 - 1);
	f.now_ms += 1000;
	assert_int_equal(sched_take(f.s, f.p, &slow, 1, f.now_ms, 0, out), 1);
	assert_int_equal(out[0].piece, 500);
	sched_cancel(&w.want);
	reader_free(r);
	teardown(&f);
}

static void test_jump__window_stays_until_it_is_sure(void **state)
{
	struct fixture f;
	struct reader *r;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	read_on(&f, r, 0, 16 * MIB);
	/* A look at the end, as players take for the index. */
	reader_on_read(r, 1000 * MIB, 65536, f.now_ms);
	assert_true(sched_is_demanded(f.s, 17, f.now_ms));
	assert_false(sched_is_demanded(f.s, 1001, f.now_ms));
	reader_on_read(r, 16 * MIB, 65536, f.now_ms);
	assert_true(sched_is_demanded(f.s, 17, f.now_ms));
	/* Twice there: it moved. */
	reader_on_read(r, 300 * MIB, 65536, f.now_ms);
	reader_on_read(r, 300 * MIB + 65536, 65536, f.now_ms);
	assert_false(sched_is_demanded(f.s, 17, f.now_ms));
	assert_true(sched_is_demanded(f.s, 301, f.now_ms));
	/* And back, to where everything was skipped as asked for. */
	fetch_all(&f);
	reader_on_read(r, 200 * MIB, 65536, f.now_ms);
	reader_on_read(r, 200 * MIB + 65536, 65536, f.now_ms);
	assert_in_range(fetch_all(&f), 4 * 64, 80 * 64);
	reader_free(r);
	teardown(&f);
}

static void test_epoch__tells_when_a_demand_ceased(void **state)
{
	struct fixture f;
	struct reader *r;
	struct waiter w;
	uint32_t epoch;

	setup(&f, MIB);
	r = reader_new(f.s, 0, f.layout.total);
	epoch = sched_epoch(f.s);
	read_on(&f, r, 0, 16 * MIB);
	park(&f, r, &w, 16 * MIB, 131072);
	fetch_all(&f);
	assert_int_equal(w.calls, 1);
	assert_int_equal(sched_epoch(f.s), epoch);
	/* A read given up, a jump, a window that went, a file closed. */
	park(&f, NULL, &w, 900 * MIB, 1);
	sched_cancel(&w.want);
	assert_int_not_equal(sched_epoch(f.s), epoch);
	epoch = sched_epoch(f.s);
	read_on(&f, r, 500 * MIB, MIB);
	assert_int_not_equal(sched_epoch(f.s), epoch);
	epoch = sched_epoch(f.s);
	reader_free(r);
	assert_int_not_equal(sched_epoch(f.s), epoch);
	teardown(&f);
}

static void test_reader__ends_with_its_file(void **state)
{
	struct fixture f;
	struct reader *r;

	setup(&f, MIB);
	r = reader_new(f.s, 10 * MIB, 20 * MIB + 1);
	read_on(&f, r, 10 * MIB, 8 * MIB);
	assert_true(sched_is_demanded(f.s, 20, f.now_ms));
	assert_false(sched_is_demanded(f.s, 21, f.now_ms));
	assert_int_equal(fetch_all(&f), 3 * 64);
	read_on(&f, r, 18 * MIB, 2 * MIB);
	reader_on_read(r, 20 * MIB, 1, f.now_ms);
	assert_int_equal(fetch_all(&f), 0);
	reader_free(r);
	teardown(&f);
}

static void test_prefetch__comes_without_a_read(void **state)
{
	struct fixture f;
	struct reader *r;

	setup(&f, MIB);
	r = reader_new(f.s, 100 * MIB, 200 * MIB);
	assert_false(sched_is_interesting(f.s, f.p, &f.seed, f.now_ms));
	reader_prefetch(r, 50 * MIB, 60 * MIB, f.now_ms);
	assert_true(sched_is_interesting(f.s, f.p, &f.seed, f.now_ms));
	f.now_ms += 100000;
	assert_int_equal(fetch_all(&f), 10 * 64);
	assert_false(sched_is_interesting(f.s, f.p, &f.seed, f.now_ms));
	reader_prefetch(r, 300 * MIB, MIB, f.now_ms);
	assert_int_equal(fetch_all(&f), 0);
	reader_free(r);
	teardown(&f);
}

static void test_interest__only_in_what_a_peer_has(void **state)
{
	struct picker_peer peer = { .id = 3 };
	struct bitfield have;
	struct fixture f;
	struct waiter w;

	setup(&f, MIB);
	bitfield_init(&have, f.layout.num_pieces);
	bitfield_set(&have, 7);
	peer.have = &have;
	park(&f, NULL, &w, 6 * MIB, MIB);
	assert_true(sched_is_interesting(f.s, f.p, &f.seed, f.now_ms));
	assert_false(sched_is_interesting(f.s, f.p, &peer, f.now_ms));
	sched_cancel(&w.want);
	park(&f, NULL, &w, 6 * MIB + 1, MIB);
	assert_true(sched_is_interesting(f.s, f.p, &peer, f.now_ms));
	assert_int_equal(fetch_all(&f), 128);
	assert_int_equal(w.calls, 1);
	bitfield_release(&have);
	teardown(&f);
}

static void test_want__larger_than_everything(void **state)
{
	struct block_ref out[64];
	struct waiter w[2];
	struct fixture f;

	/* A read of all of it does not hold up one that comes later. */
	setup(&f, 16384);
	park(&f, NULL, &w[0], 0, f.layout.total);
	for (int i = 0; i < 9; i++)
		assert_int_equal(take(&f, 64, out), 64);
	assert_int_equal(out[63].piece, 9 * 64 - 1);
	park(&f, NULL, &w[1], 900ull * MIB, 65536);
	assert_int_equal(take(&f, 4, out), 4);
	assert_int_equal(out[0].piece, 900 * 64);
	for (int i = 0; i < 9 * 64 + 4; i++)
		picker_on_lost(f.p, 1,
			       (struct block_ref){
				       i < 9 * 64 ? (uint32_t)i
						  : 900 * 64 + (uint32_t)i % 4,
				       0 });
	f.now_ms += 2000;
	assert_int_equal(fetch_all(&f), 65536);
	assert_int_equal(w[0].calls + w[1].calls, 2);
	teardown(&f);
}

static void test_assign__by_who_brings_it_first(void **state)
{
	struct sched_route routes[3];
	unsigned count[3] = { 0 };
	struct fixture f;
	struct waiter w;

	setup(&f, MIB);
	park(&f, NULL, &w, 0, 1);
	/* 10 ms a block; 40 ms a block; one that is busy for 5 s. */
	for (uint32_t i = 0; i < 3; i++)
		routes[i] = (struct sched_route){
			.peer = { .id = i + 1, .is_seed = true },
			.room = 100,
			.ready_us = i == 2 ? 5000000 : 50000,
			.block_us = i == 1 ? 40000 : 10000,
			.owner = &count[i],
		};
	assert_int_equal(
		sched_assign(f.s, f.p, routes, 3, f.now_ms, count_one, &f), 64);
	assert_in_range(count[0], 50, 53);
	assert_in_range(count[1], 11, 14);
	assert_int_equal(count[2], 0);
	sched_cancel(&w.want);
	teardown(&f);
}

static void cancel_other(struct want *w, int r)
{
	struct waiter *waiter = container_of(w, struct waiter, want);

	on_done(w, r);
	/* The next of an array, whatever it is up to. */
	sched_cancel(&waiter[1].want);
}

static void test_done__may_cancel_another_that_is_done(void **state)
{
	struct waiter w[3];
	struct fixture f;

	setup(&f, MIB);
	for (int i = 0; i < 3; i++)
		park(&f, NULL, &w[i], 0, 1);
	w[0].want.done = cancel_other;
	fetch_all(&f);
	assert_int_equal(w[0].calls, 1);
	assert_int_equal(w[1].calls, 0);
	assert_int_equal(w[2].calls, 1);
	teardown(&f);
}

static void test_tick__ends_what_gets_nothing(void **state)
{
	struct waiter w[3];
	struct fixture f;

	setup(&f, MIB);
	park(&f, NULL, &w[0], 0, 10);
	park(&f, NULL, &w[1], 5 * MIB, 10);
	f.now_ms += 100;
	sched_on_block(f.s, 5, f.now_ms);
	sched_tick(f.s, 1999, 1000, false, 100);
	assert_int_equal(w[0].calls, 0);
	sched_tick(f.s, 2000, 1000, false, 100);
	assert_int_equal(w[0].calls, 1);
	assert_int_equal(w[0].result, -ETIMEDOUT);
	assert_int_equal(w[1].calls, 0);
	sched_tick(f.s, 2001, 0, false, 100);
	assert_int_equal(w[1].calls, 0);
	f.now_ms = 2001;
	park(&f, NULL, &w[2], 7 * MIB, 10);
	sched_tick(f.s, 2001, 0, true, 100);
	assert_int_equal(w[1].result, -ENODATA);
	assert_int_equal(w[2].calls, 0);
	sched_fail_all(f.s, -EIO);
	assert_int_equal(w[2].result, -EIO);
	assert_int_equal(w[0].calls + w[1].calls + w[2].calls, 3);
	assert_int_equal(sched_num_parked(f.s), 0);
	teardown(&f);
}

#define SMALL 20000u

/* Files of SMALL bytes, one after the other: the FIRST to the LAST are read. */
static void read_files(struct fixture *f, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i <= last; i++)
		sched_on_whole_file(f->s, i * SMALL, (i + 1) * SMALL,
				    f->now_ms);
}

static void test_walk__third_file_in_order_opens_the_window(void **state)
{
	struct fixture f;
	size_t n;

	setup(&f, 65536);
	read_files(&f, 0, 1);
	assert_int_equal(fetch_all(&f), 0);
	read_files(&f, 1, 1); /* again is no third one */
	read_files(&f, 0, 0);
	assert_int_equal(fetch_all(&f), 0);
	read_files(&f, 2, 2);
	/* 8 bytes for each one read. */
	n = fetch_all(&f);
	assert_in_range(n, 7 * 4, 9 * 4);
	read_files(&f, 3, 100);
	n = fetch_all(&f);
	assert_in_range(n, 8 * 101 * SMALL / 16384 - 4,
			8 * 101 * SMALL / 16384 + 8);
	read_files(&f, 101, 10000);
	n = fetch_all(&f);
	assert_in_range(n, 4000, 80 * 64 + 4000);
	teardown(&f);
}

static void test_walk__takes_what_20_s_take(void **state)
{
	struct fixture f;
	size_t n;

	setup(&f, 65536);
	/* A look at one every 4 s: five ahead, and the piece around them. */
	for (uint64_t i = 0; i < 50; i++) {
		read_files(&f, i, i);
		f.now_ms += 4000;
	}
	n = fetch_all(&f);
	assert_in_range(n, 1, 3 * 4);
	/* Nobody comes any more. */
	f.now_ms += 11000;
	assert_false(sched_is_demanded(f.s, 50 * SMALL / 65536 + 1, f.now_ms));
	/* The next one in order goes on. */
	read_files(&f, 50, 50);
	assert_true(sched_is_demanded(f.s, 51 * SMALL / 65536, f.now_ms));
	teardown(&f);
}

static void test_walk__needs_the_order_of_the_torrent(void **state)
{
	struct fixture f;

	setup(&f, 16384);
	for (uint64_t i = 100; i > 0; i--) /* backwards */
		read_files(&f, i, i);
	for (uint64_t i = 200; i < 1000; i += 5) /* one of five */
		read_files(&f, i, i);
	assert_int_equal(fetch_all(&f), 0);
	/* Two at once, at different places. */
	for (uint64_t i = 2000; i < 2003; i++) {
		read_files(&f, i, i);
		read_files(&f, 1000 + i, 1000 + i);
	}
	assert_true(sched_is_demanded(f.s, 2004 * SMALL / 16384, f.now_ms));
	assert_true(sched_is_demanded(f.s, 3004 * SMALL / 16384, f.now_ms));
	assert_false(sched_is_demanded(f.s, 1004 * SMALL / 16384, f.now_ms));
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read__fetches_what_it_covers_and_no_more),
		cmocka_unit_test(test_read__second_one_opens_the_window),
		cmocka_unit_test(
			test_take__oldest_parked_read_first_then_windows),
		cmocka_unit_test(test_take__readers_take_turns),
		cmocka_unit_test(test_take__slow_peer_gets_the_far_end),
		cmocka_unit_test(test_jump__window_stays_until_it_is_sure),
		cmocka_unit_test(test_epoch__tells_when_a_demand_ceased),
		cmocka_unit_test(test_reader__ends_with_its_file),
		cmocka_unit_test(test_prefetch__comes_without_a_read),
		cmocka_unit_test(test_interest__only_in_what_a_peer_has),
		cmocka_unit_test(test_want__larger_than_everything),
		cmocka_unit_test(test_assign__by_who_brings_it_first),
		cmocka_unit_test(test_done__may_cancel_another_that_is_done),
		cmocka_unit_test(test_tick__ends_what_gets_nothing),
		cmocka_unit_test(
			test_walk__third_file_in_order_opens_the_window),
		cmocka_unit_test(test_walk__takes_what_20_s_take),
		cmocka_unit_test(test_walk__needs_the_order_of_the_torrent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
