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
			uint32_t others[2];
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read__fetches_what_it_covers_and_no_more),
		cmocka_unit_test(test_read__second_one_opens_the_window),
		cmocka_unit_test(
			test_take__oldest_parked_read_first_then_windows),
		cmocka_unit_test(test_tick__ends_what_gets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
