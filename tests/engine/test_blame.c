/* Goal: of several who gave a wrong piece the liar is named, and only it. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/blame.h"

#define BLOCK      LIMIT_BLOCK_BYTES
#define NUM_BLOCKS 5u
#define PIECE_LEN  (4 * BLOCK + 100)

static uint8_t piece[PIECE_LEN];

static struct addr peer(unsigned n)
{
	struct addr a;
	char text[32];

	snprintf(text, sizeof(text), "10.0.%u.%u:%u", n / 200, 1 + n % 200,
		 1000 + n);
	assert_int_equal(addr_parse(text, 0, &a), 0);
	return a;
}

/* Block I of the piece comes from peer FROM[I]; those in WRONG are bad. */
static void fail_piece(struct blame *b, uint32_t index,
		       const unsigned from[NUM_BLOCKS],
		       const bool wrong[NUM_BLOCKS])
{
	struct givers *g = givers_new(NUM_BLOCKS);
	uint8_t *bad = malloc(PIECE_LEN);

	memcpy(bad, piece, PIECE_LEN);
	for (uint32_t i = 0; i < NUM_BLOCKS; i++) {
		struct addr a = peer(from[i]);

		givers_note(g, i, &a);
		bad[i * BLOCK] ^= wrong[i];
	}
	blame_accuse(b, index, g, blame_digest(bad, PIECE_LEN));
	free(bad);
}

static size_t pass_piece(struct blame *b, uint32_t index, struct addr out[8])
{
	uint64_t *digests = blame_digest(piece, PIECE_LEN);
	size_t n = blame_convict(b, index, digests, out, 8);

	free(digests);
	return n;
}

static void test_one__gave_all(void **state)
{
	struct givers *g = givers_new(3);
	struct addr a = peer(1), b = peer(2), out;

	givers_note(g, 0, &a);
	givers_note(g, 1, &a);
	assert_false(givers_are_one(g, &out)); /* block 2 came from nobody */
	a.port++;                              /* the same host */
	givers_note(g, 2, &a);
	assert_true(givers_are_one(g, &out));
	assert_true(addr_ip_eq(&out, &a));
	givers_note(g, 2, &b);
	assert_false(givers_are_one(g, &out));
	givers_free(g);
}

static void test_liar__alone_is_named(void **state)
{
	struct blame *b = blame_new();
	struct addr out[8], liar = peer(2);

	fail_piece(b, 7, (unsigned[]){ 1, 2, 3, 2, 1 },
		   (bool[]){ 0, 0, 0, 1, 0 });
	assert_true(blame_has(b, 7));
	assert_false(blame_has(b, 6));
	assert_int_equal(pass_piece(b, 6, out), 0);
	assert_int_equal(pass_piece(b, 7, out), 1);
	assert_true(addr_ip_eq(&out[0], &liar));
	assert_false(blame_has(b, 7)); /* the case is closed */
	assert_int_equal(pass_piece(b, 7, out), 0);
	blame_free(b);
}

static void test_liars__of_several_rounds_are_all_named_once(void **state)
{
	struct blame *b = blame_new();
	struct addr out[8], first = peer(1), last = peer(4);

	fail_piece(b, 0, (unsigned[]){ 1, 1, 2, 3, 3 },
		   (bool[]){ 1, 1, 0, 0, 0 });
	fail_piece(b, 0, (unsigned[]){ 2, 2, 3, 1, 4 },
		   (bool[]){ 0, 0, 0, 1, 1 });
	assert_int_equal(pass_piece(b, 0, out), 2);
	assert_true(addr_ip_eq(&out[0], &first));
	assert_true(addr_ip_eq(&out[1], &last));
	assert_false(blame_has(b, 0));
	blame_free(b);
}

static void test_honest__are_not_named_when_all_blocks_were_right(void **state)
{
	struct blame *b = blame_new();
	struct addr out[8];

	/* As after a disk that returned other bytes than it was given. */
	fail_piece(b, 3, (unsigned[]){ 1, 2, 3, 4, 5 },
		   (bool[]){ 0, 0, 0, 0, 0 });
	assert_int_equal(pass_piece(b, 3, out), 0);
	blame_free(b);
}

static void test_limits__crowds_and_cases(void **state)
{
	struct givers *g = givers_new(200);
	struct blame *b = blame_new();
	struct addr out[8];

	for (unsigned i = 0; i < 200; i++) {
		struct addr a = peer(i);

		givers_note(g, i,
			    &a); /* the last ones are told apart no more */
	}
	assert_false(givers_are_one(g, &out[0]));
	blame_accuse(b, 1, g, calloc(200, sizeof(uint64_t)));
	blame_accuse(b, 2, givers_new(1), NULL); /* no memory for digests */
	blame_accuse(b, 3, NULL, calloc(1, sizeof(uint64_t)));
	assert_false(blame_has(b, 2));
	assert_false(blame_has(b, 3));

	for (uint32_t i = 10; i < 10 + LIMIT_BLAME_CASES; i++)
		fail_piece(b, i, (unsigned[]){ 1, 1, 1, 1, 2 },
			   (bool[]){ 0, 0, 0, 0, 1 });
	assert_false(blame_has(b, 1)); /* the oldest went */
	assert_true(blame_has(b, 10));
	assert_int_equal(blame_convict(b, 10, NULL, out, 8), 0);
	assert_false(blame_has(b, 10));
	blame_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one__gave_all),
		cmocka_unit_test(test_liar__alone_is_named),
		cmocka_unit_test(
			test_liars__of_several_rounds_are_all_named_once),
		cmocka_unit_test(
			test_honest__are_not_named_when_all_blocks_were_right),
		cmocka_unit_test(test_limits__crowds_and_cases),
	};

	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = (uint8_t)(i * 7 >> 4);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
