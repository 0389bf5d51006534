/* Goal: rarest first, few pieces open, and an endgame that is never stuck and
 * never wasteful: at most two asked for a block, none lost, none asked twice.
 */
#include "tests/cmocka_all.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/picker_private.h"
#include "tests/engine/picker_check.h"

#define BLOCK LIMIT_BLOCK_BYTES

struct fixture {
	struct layout layout;
	struct picker *p;
	struct bitfield have[4];
	struct picker_peer peer[4]; /* ids 1..4 */
	int64_t now_ms;
	struct block_ref out[1024];
};

static void setup(struct fixture *f, uint32_t num_pieces, uint32_t blocks)
{
	memset(f, 0, sizeof(*f));
	f->layout.piece_length = blocks * BLOCK;
	f->layout.num_pieces = num_pieces;
	f->layout.total = (uint64_t)num_pieces * blocks * BLOCK;
	f->now_ms = 100000;
	f->p = picker_new(&f->layout, 7);
	for (uint32_t i = 0; i < 4; i++) {
		bitfield_init(&f->have[i], num_pieces);
		f->peer[i] = (struct picker_peer){ .id = i + 1,
						   .have = &f->have[i] };
	}
}

static void teardown(struct fixture *f)
{
	picker_check(f->p);
	picker_free(f->p);
	for (int i = 0; i < 4; i++)
		bitfield_release(&f->have[i]);
}

static void give(struct fixture *f, int peer, uint32_t piece)
{
	if (bitfield_set(&f->have[peer], piece))
		picker_on_have(f->p, piece);
}

static void add_seeds(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++) {
		f->peer[i].is_seed = true;
		picker_add_peer(f->p, &f->have[i], true);
	}
}

static size_t take(struct fixture *f, int peer, uint32_t piece, size_t max)
{
	return picker_take(f->p, &f->peer[peer], piece, max, f->now_ms, f->out);
}

static size_t rarest(struct fixture *f, int peer, size_t max)
{
	return picker_take_rarest(f->p, &f->peer[peer], max, f->now_ms, f->out);
}

static size_t endgame(struct fixture *f, int peer, size_t max)
{
	return picker_take_endgame(f->p, &f->peer[peer], max, f->now_ms, 100,
				   f->out);
}

static size_t late(struct fixture *f, int peer, uint32_t piece, int64_t ms)
{
	return picker_take_late(f->p, &f->peer[peer], piece, 1024, 2, f->now_ms,
				ms, f->out);
}

static enum picker_block block(struct fixture *f, int peer, uint32_t piece,
			       uint32_t index, uint32_t *other)
{
	struct block_ref ref = { piece, index };
	uint32_t others[PICKER_COPIES] = { 0 };
	enum picker_block r;
	size_t n;

	r = picker_on_block(f->p, f->peer[peer].id, ref, others, &n);
	assert_true(n <= 1);
	if (other)
		*other = n ? others[0] : 0;
	picker_check(f->p);
	return r;
}

static void lost(struct fixture *f, int peer, uint32_t piece, uint32_t index)
{
	picker_on_lost(f->p, f->peer[peer].id,
		       (struct block_ref){ piece, index });
	picker_check(f->p);
}

/* All blocks of PIECE from PEER, and the verdict. */
static void fetch(struct fixture *f, int peer, uint32_t piece, bool right)
{
	uint32_t n = layout_blocks(&f->layout, piece), givers[4];

	assert_int_equal(take(f, peer, piece, n), n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(block(f, peer, piece, i, NULL),
				 i == n - 1 ? PICKER_COMPLETE : PICKER_NEW);
	assert_int_equal(picker_on_verified(f->p, piece, right, givers, 4), 1);
	assert_int_equal(givers[0], f->peer[peer].id);
}

/* Pieces in their order of opening by PEER, each finished in turn. */
static void open_order(struct fixture *f, int peer, uint32_t *pieces,
		       uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(rarest(f, peer, 1), 1);
		pieces[i] = f->out[0].piece;
		assert_int_equal(f->out[0].index, 0);
		assert_int_equal(block(f, peer, pieces[i], 0, NULL),
				 PICKER_COMPLETE);
		picker_on_verified(f->p, pieces[i], true, NULL, 0);
		picker_check(f->p);
	}
	assert_int_equal(rarest(f, peer, 1), 0);
}

static void test_rarest__comes_first(void **state)
{
	uint32_t pieces[20];
	struct fixture f;

	setup(&f, 20, 1);
	picker_set_wanted(f.p, 0, 20, true);
	add_seeds(&f, 1);
	/* Piece I is at I % 3 others, in an order that moves some twice. */
	for (uint32_t i = 0; i < 20; i++)
		for (uint32_t k = 0; k < i % 3; k++)
			give(&f, 1 + (int)k, i);
	picker_check(f.p);
	assert_int_equal(picker_availability(f.p, 2), 3);
	open_order(&f, 0, pieces, 20);
	/* The first four are random. */
	for (uint32_t i = 5; i < 20; i++)
		assert_true(pieces[i] % 3 >= pieces[i - 1] % 3);
	assert_int_equal(picker_wanted_left(f.p), 0);
	teardown(&f);
}

static void test_rarest__differs_by_seed(void **state)
{
	uint32_t first[64], second[64];
	struct fixture f;

	for (int i = 0; i < 2; i++) {
		setup(&f, 64, 1);
		picker_free(f.p);
		f.p = picker_new(&f.layout, 100 + (uint64_t)i);
		picker_set_wanted(f.p, 0, 64, true);
		add_seeds(&f, 1);
		open_order(&f, 0, i ? second : first, 64);
		teardown(&f);
	}
	assert_memory_not_equal(first, second, sizeof(first));
}

static void test_rarest__finds_the_one_piece_a_peer_has(void **state)
{
	struct fixture f;
	uint32_t n = 100000;

	setup(&f, n, 2);
	picker_set_wanted(f.p, 0, n, true);
	for (uint32_t i = 0; i < n; i++)
		bitfield_set(&f.have[0], i);
	bitfield_clear(&f.have[0], 77777);
	picker_add_peer(f.p, &f.have[0], false);
	picker_add_peer(f.p, &f.have[0], false);
	for (uint32_t i = 0; i < 5; i++)
		picker_set_have(f.p, i, true);
	give(&f, 1, 3);
	assert_false(picker_is_interesting(f.p, &f.peer[1]));
	assert_int_equal(rarest(&f, 1, 10), 0);
	give(&f, 1, 99990);
	assert_true(picker_is_interesting(f.p, &f.peer[1]));
	assert_int_equal(rarest(&f, 1, 10), 2);
	assert_int_equal(f.out[1].piece, 99990);
	assert_int_equal(rarest(&f, 1, 10), 0);
	picker_remove_peer(f.p, &f.have[0], false);
	assert_int_equal(picker_availability(f.p, 99990), 2);
	teardown(&f);
}

static void test_rarest__goes_on_with_what_is_open(void **state)
{
	struct fixture f;

	setup(&f, 50, 8);
	picker_set_wanted(f.p, 0, 50, true);
	add_seeds(&f, 3);
	for (int i = 0; i < 6; i++)
		assert_int_equal(rarest(&f, i % 3, 1), 1);
	assert_int_equal(picker_num_partials(f.p), 1);
	assert_int_equal(rarest(&f, 0, 8), 8);
	assert_int_equal(picker_num_partials(f.p), 2);
	/* A peer without the open ones opens its own, and keeps to it. */
	give(&f, 3, f.out[7].piece == 10 ? 11 : 10);
	assert_int_equal(rarest(&f, 3, 1), 1);
	assert_int_equal(rarest(&f, 3, 1), 1);
	assert_int_equal(picker_num_partials(f.p), 3);
	picker_limit_partials(f.p, 3);
	assert_int_equal(rarest(&f, 0, 100), 8);
	assert_int_equal(picker_num_partials(f.p), 3);
	teardown(&f);
}

static void test_choked__only_what_is_allowed(void **state)
{
	const uint32_t only[] = { 4, 6, 9999 };
	struct fixture f;

	setup(&f, 10, 2);
	picker_set_wanted(f.p, 0, 10, true);
	add_seeds(&f, 1);
	f.peer[0].only = only;
	f.peer[0].num_only = 3;
	assert_true(picker_is_interesting(f.p, &f.peer[0]));
	assert_int_equal(take(&f, 0, 5, 2), 0);
	assert_int_equal(rarest(&f, 0, 10), 4);
	assert_int_equal(rarest(&f, 0, 10), 0);
	f.peer[0].num_only = 0;
	assert_false(picker_is_interesting(f.p, &f.peer[0]));
	assert_int_equal(rarest(&f, 0, 10), 0);
	teardown(&f);
}

static void test_block__two_askers_and_no_third(void **state)
{
	struct fixture f;
	uint32_t other;

	setup(&f, 2, 4);
	add_seeds(&f, 4);
	assert_int_equal(take(&f, 0, 0, 4), 4);
	assert_int_equal(late(&f, 1, 0, 100), 0);
	f.now_ms += 101;
	assert_int_equal(late(&f, 0, 0, 100), 0); /* has them itself */
	assert_int_equal(late(&f, 1, 0, 100), 4);
	f.now_ms += 101;
	assert_int_equal(late(&f, 2, 0, 100), 0);
	assert_int_equal(take(&f, 2, 0, 4), 0);
	/* The first copy counts, the other asker is told. */
	assert_int_equal(block(&f, 1, 0, 0, &other), PICKER_NEW);
	assert_int_equal(other, 1);
	assert_int_equal(block(&f, 0, 0, 0, &other), PICKER_DUPLICATE);
	assert_int_equal(other, 0);
	assert_int_equal(picker_waste_permille(f.p), 333);
	teardown(&f);
}

static void test_block__a_third_asker_for_who_has_waited(void **state)
{
	struct fixture f;
	struct block_ref first = { 0, 0 };
	uint32_t others[PICKER_COPIES];
	size_t n;

	setup(&f, 1, 2);
	add_seeds(&f, 4);
	assert_int_equal(take(&f, 0, 0, 2), 2);
	/* Whoever is doubted is late at once, with that block alone. */
	picker_on_doubt(f.p, 1, first);
	picker_on_doubt(f.p, 3, (struct block_ref){ 0, 1 }); /* not its own */
	picker_check(f.p);
	assert_int_equal(late(&f, 1, 0, 1000), 1);
	assert_int_equal(f.out[0].index, 0);
	assert_int_equal(late(&f, 2, 0, 1000), 0);
	f.now_ms += 1001;
	assert_int_equal(picker_take_late(f.p, &f.peer[2], 0, 9, 3, f.now_ms,
					  1000, f.out),
			 2);
	picker_check(f.p);
	f.now_ms += 1001;
	/* Three owe block 0, two block 1. */
	assert_int_equal(picker_take_late(f.p, &f.peer[3], 0, 9, 3, f.now_ms,
					  1000, f.out),
			 1);
	assert_int_equal(f.out[0].index, 1);
	lost(&f, 1, 0, 0);
	assert_int_equal(picker_free_blocks(f.p, 0), 0);
	/* Who lost it gives it after all: both others are told. */
	assert_int_equal(picker_on_block(f.p, 2, first, others, &n),
			 PICKER_NEW);
	assert_int_equal(n, 2);
	assert_int_equal(others[0], 1);
	assert_int_equal(others[1], 3);
	teardown(&f);
}

static void test_lost__not_free_while_another_owes_it(void **state)
{
	struct fixture f;

	setup(&f, 1, 2);
	add_seeds(&f, 4);
	assert_int_equal(take(&f, 0, 0, 1), 1);
	f.now_ms += 200;
	assert_int_equal(late(&f, 1, 0, 100), 1);
	lost(&f, 0, 0, 0);
	assert_int_equal(picker_free_blocks(f.p, 0), 1);
	assert_int_equal(take(&f, 2, 0, 2), 1);
	assert_int_equal(f.out[0].index, 1);
	/* The second is alone now; it may be helped in its turn. */
	assert_int_equal(late(&f, 3, 0, 100), 0);
	f.now_ms += 200;
	assert_int_equal(late(&f, 3, 0, 100), 2);
	lost(&f, 1, 0, 0);
	lost(&f, 3, 0, 0);
	assert_int_equal(picker_free_blocks(f.p, 0), 1);
	/* Losing what one does not owe changes nothing. */
	lost(&f, 0, 0, 1);
	lost(&f, 0, 0, 999);
	picker_on_lost(f.p, 1, (struct block_ref){ 999, 0 });
	assert_int_equal(picker_free_blocks(f.p, 0), 1);
	teardown(&f);
}

static void test_lost__others_first(void **state)
{
	struct fixture f;

	setup(&f, 3, 2);
	picker_set_wanted(f.p, 0, 3, true);
	add_seeds(&f, 2);
	assert_int_equal(rarest(&f, 0, 6), 6);
	/* A reject must not bring the same request again at once. */
	lost(&f, 0, 1, 0);
	assert_int_equal(rarest(&f, 0, 6), 0);
	assert_int_equal(take(&f, 0, 1, 6), 0);
	assert_int_equal(rarest(&f, 1, 6), 1);
	assert_int_equal(f.out[0].piece, 1);
	lost(&f, 1, 1, 0);
	/* Nobody else has it: after a second it is asked again. */
	f.now_ms += 1001;
	assert_int_equal(rarest(&f, 1, 6), 1);
	teardown(&f);
}

static void test_lost__that_comes_after_all_counts(void **state)
{
	struct fixture f;
	uint32_t other;

	setup(&f, 1, 2);
	add_seeds(&f, 3);
	assert_int_equal(take(&f, 0, 0, 2), 2);
	lost(&f, 0, 0, 0);
	lost(&f, 0, 0, 1);
	assert_int_equal(block(&f, 0, 0, 1, NULL), PICKER_NEW);
	assert_int_equal(take(&f, 1, 0, 2), 1);
	/* Whoever was asked next is told. */
	assert_int_equal(block(&f, 0, 0, 0, &other), PICKER_COMPLETE);
	assert_int_equal(other, 2);
	assert_int_equal(take(&f, 1, 0, 2), 0);
	picker_on_verified(f.p, 0, false, NULL, 0);
	/* Not on parole, where blocks must have one giver. */
	assert_int_equal(take(&f, 2, 0, 1), 1);
	assert_int_equal(block(&f, 0, 0, 0, NULL), PICKER_DUPLICATE);
	teardown(&f);
}

static void test_endgame__only_when_nothing_is_free(void **state)
{
	struct fixture f;

	setup(&f, 3, 2);
	picker_set_wanted(f.p, 0, 3, true);
	add_seeds(&f, 3);
	assert_int_equal(rarest(&f, 0, 5), 5);
	f.now_ms += 1000;
	assert_int_equal(endgame(&f, 1, 10), 0);
	assert_int_equal(rarest(&f, 1, 10), 1);
	assert_int_equal(endgame(&f, 1, 10), 5);
	assert_int_equal(endgame(&f, 1, 10), 0);
	assert_int_equal(endgame(&f, 2, 10), 0); /* two each, one is young */
	f.now_ms += 1000;
	assert_int_equal(endgame(&f, 2, 10), 1);
	teardown(&f);
}

static void test_endgame__not_held_up_by_what_a_peer_lacks(void **state)
{
	struct fixture f;

	setup(&f, 2, 2);
	picker_set_wanted(f.p, 0, 2, true);
	give(&f, 0, 0);
	give(&f, 1, 0);
	assert_int_equal(rarest(&f, 0, 9), 2);
	f.now_ms += 1000;
	/* Nobody here has piece 1. */
	assert_int_equal(endgame(&f, 1, 9), 2);
	teardown(&f);
}

static void test_endgame__comes_to_an_end_whoever_is_silent(void **state)
{
	struct fixture f;
	int rounds = 0;

	/* Peer 0 takes everything it can and answers nothing; 1 and 2 lose
	 * every third block. All must be here after a few rounds. */
	setup(&f, 30, 5);
	picker_set_wanted(f.p, 0, 30, true);
	add_seeds(&f, 3);
	while (picker_wanted_left(f.p)) {
		size_t n;

		rarest(&f, 0, 20);
		for (int peer = 1; peer <= 2; peer++) {
			n = rarest(&f, peer, 10);
			n += picker_take_endgame(f.p, &f.peer[peer], 10,
						 f.now_ms, 500, f.out + n);
			for (size_t i = 0; i < n; i++) {
				struct block_ref b = f.out[i];

				if ((b.index + (uint32_t)rounds) % 3 == 0)
					lost(&f, peer, b.piece, b.index);
				else if (block(&f, peer, b.piece, b.index,
					       NULL) == PICKER_COMPLETE)
					picker_on_verified(f.p, b.piece, true,
							   NULL, 0);
			}
		}
		f.now_ms += 300;
		assert_true(++rounds < 60);
	}
	assert_int_equal(picker_num_partials(f.p), 0);
	teardown(&f);
}

static void test_verified__wrong_piece_goes_to_one_peer(void **state)
{
	uint32_t givers[4];
	struct fixture f;

	setup(&f, 1, 4);
	add_seeds(&f, 3);
	assert_int_equal(take(&f, 0, 0, 2), 2);
	assert_int_equal(take(&f, 1, 0, 2), 2);
	for (uint32_t i = 0; i < 4; i++)
		block(&f, i / 2, 0, i, NULL);
	assert_true(picker_is_verifying(f.p, 0));
	assert_int_equal(take(&f, 2, 0, 4), 0);
	lost(&f, 0, 0, 0);
	assert_int_equal(picker_on_verified(f.p, 0, false, givers, 4), 2);
	assert_int_equal(givers[0] + givers[1], 3);
	assert_false(picker_is_verifying(f.p, 0));
	/* On parole. */
	assert_int_equal(take(&f, 1, 0, 1), 1);
	assert_int_equal(take(&f, 2, 0, 4), 0);
	assert_int_equal(take(&f, 1, 0, 2), 2);
	for (uint32_t i = 0; i < 3; i++)
		block(&f, 1, 0, i, NULL);
	/* Nothing is owed: another may go on, if the first does not. */
	assert_int_equal(take(&f, 2, 0, 4), 1);
	/* It is silent; in the end, anybody helps. */
	f.now_ms += 399;
	assert_int_equal(late(&f, 1, 0, 100), 0);
	f.now_ms += 2;
	assert_int_equal(late(&f, 1, 0, 100), 1);
	assert_int_equal(block(&f, 1, 0, 3, NULL), PICKER_COMPLETE);
	assert_int_equal(picker_on_verified(f.p, 0, false, givers, 4), 1);
	assert_int_equal(givers[0], 2);
	fetch(&f, 0, 0, true);
	assert_true(picker_has(f.p, 0));
	teardown(&f);
}

static void test_verified__names_as_many_givers_as_fit(void **state)
{
	uint32_t givers[2];
	struct fixture f;

	setup(&f, 1, 3);
	add_seeds(&f, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(take(&f, i, 0, 1), 1);
	for (int i = 0; i < 3; i++)
		block(&f, i, 0, (uint32_t)i, NULL);
	assert_int_equal(picker_on_verified(f.p, 0, true, givers, 2), 2);
	assert_int_equal(picker_on_verified(f.p, 0, true, givers, 2), 0);
	teardown(&f);
}

static void test_evicted__is_wanted_again(void **state)
{
	uint32_t generation;
	struct fixture f;

	setup(&f, 4, 2);
	picker_set_wanted(f.p, 1, 2, true);
	add_seeds(&f, 1);
	fetch(&f, 0, 0, true); /* for a reader, not wanted */
	fetch(&f, 0, 1, true);
	assert_int_equal(picker_wanted_left(f.p), 1);
	generation = picker_generation(f.p);
	picker_set_have(f.p, 0, false);
	picker_set_have(f.p, 1, false);
	assert_int_not_equal(picker_generation(f.p), generation);
	assert_int_equal(picker_wanted_left(f.p), 2);
	assert_int_equal(picker_free_blocks(f.p, 1), 2);
	assert_int_equal(rarest(&f, 0, 9), 4);
	picker_set_wanted(f.p, 0, 4, false);
	assert_int_equal(picker_wanted_left(f.p), 0);
	assert_int_equal(rarest(&f, 0, 9), 0);
	teardown(&f);
}

static void test_partial__data_lives_as_long_as_it(void **state)
{
	struct fixture f;
	int buffer;

	setup(&f, 20, 4);
	add_seeds(&f, 1);
	assert_null(picker_partial_data(f.p, 0));
	assert_int_equal(take(&f, 0, 0, 4), 4);
	assert_null(*picker_partial_data(f.p, 0));
	*picker_partial_data(f.p, 0) = &buffer;
	/* One that holds nothing is swept away, one with data is not. */
	assert_int_equal(take(&f, 0, 1, 4), 4);
	for (uint32_t i = 0; i < 4; i++) {
		lost(&f, 0, 0, i);
		lost(&f, 0, 1, i);
	}
	assert_true(picker_is_idle(f.p, 0));
	f.now_ms += 5000;
	for (uint32_t i = 2; i < 8; i++)
		assert_int_equal(take(&f, 0, i, 4), 4);
	assert_false(picker_is_partial(f.p, 1));
	assert_true(picker_is_partial(f.p, 0));
	assert_ptr_equal(*picker_partial_data(f.p, 0), &buffer);
	picker_drop_partial(f.p, 0);
	assert_null(picker_partial_data(f.p, 0));
	assert_int_equal(picker_num_partials(f.p), 6);
	teardown(&f);
}

static void test_layout__largest_piece_and_short_end(void **state)
{
	struct fixture f;
	size_t sum = 0, n;

	setup(&f, 2, LIMIT_PIECE_LENGTH / BLOCK);
	picker_free(f.p);
	f.layout.total = LIMIT_PIECE_LENGTH + 20000ull;
	f.p = picker_new(&f.layout, 1);
	add_seeds(&f, 1);
	while ((n = take(&f, 0, 0, 1000)))
		sum += n;
	assert_int_equal(sum, 32768);
	assert_int_equal(take(&f, 0, 1, 1000), 2);
	assert_int_equal(layout_block_size(&f.layout, f.out[1]), 20000 - BLOCK);
	lost(&f, 0, 0, 20000);
	f.now_ms += 2000;
	assert_int_equal(take(&f, 0, 0, 1000), 1);
	assert_int_equal(f.out[0].index, 20000);
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rarest__comes_first),
		cmocka_unit_test(test_rarest__differs_by_seed),
		cmocka_unit_test(test_rarest__finds_the_one_piece_a_peer_has),
		cmocka_unit_test(test_rarest__goes_on_with_what_is_open),
		cmocka_unit_test(test_choked__only_what_is_allowed),
		cmocka_unit_test(test_block__two_askers_and_no_third),
		cmocka_unit_test(test_block__a_third_asker_for_who_has_waited),
		cmocka_unit_test(test_lost__not_free_while_another_owes_it),
		cmocka_unit_test(test_lost__others_first),
		cmocka_unit_test(test_lost__that_comes_after_all_counts),
		cmocka_unit_test(test_endgame__only_when_nothing_is_free),
		cmocka_unit_test(
			test_endgame__not_held_up_by_what_a_peer_lacks),
		cmocka_unit_test(
			test_endgame__comes_to_an_end_whoever_is_silent),
		cmocka_unit_test(test_verified__wrong_piece_goes_to_one_peer),
		cmocka_unit_test(test_verified__names_as_many_givers_as_fit),
		cmocka_unit_test(test_evicted__is_wanted_again),
		cmocka_unit_test(test_partial__data_lives_as_long_as_it),
		cmocka_unit_test(test_layout__largest_piece_and_short_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
