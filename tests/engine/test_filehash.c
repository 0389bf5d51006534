/* Goal: the gathered hashes of a file are those of its bytes, whatever order
 * they came in and however it grew. */
#include "engine/filehash.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/merkle.h"

#define CELL  FILEHASH_CELL
#define PIECE (4u * CELL)
#define SIZE  (5u * PIECE + 3 * CELL + 12345)

struct rig {
	struct filehash f;
	uint8_t *bytes;
	uint64_t size;
	int fd;
	struct prng prng;
};

static void put(struct rig *r, uint64_t off, uint64_t len)
{
	for (uint64_t i = off; i < off + len; i++)
		r->bytes[i] = (uint8_t)prng_u64(&r->prng);
	assert_int_equal(pwrite(r->fd, r->bytes + off, len, (off_t)off), len);
}

static int setup(void **state)
{
	struct rig *r = mem_alloc(sizeof(*r));

	r->prng.state = 7;
	r->bytes = mem_alloc(8u << 20);
	r->fd = memfd_create("file", 0);
	filehash_init(&r->f, PIECE);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	filehash_release(&r->f);
	close(r->fd);
	free(r->bytes);
	free(r);
	return 0;
}

static void size(struct rig *r, uint64_t n)
{
	assert_int_equal(ftruncate(r->fd, (off_t)n), 0);
	if (n > r->size)
		memset(r->bytes + r->size, 0, n - r->size);
	r->size = n;
	assert_true(filehash_resize(&r->f, n));
}

static unsigned hash_all(struct rig *r)
{
	struct filehash_step s;
	unsigned n = 0;
	uint32_t i = 0;

	while ((i = filehash_next(&r->f, i)) < r->f.num_pieces) {
		filehash_begin(&r->f, i, &s);
		assert_int_equal(filehash_run(&s, r->fd), 0);
		filehash_end(&r->f, &s);
		assert_true(filehash_has_piece(&r->f, i));
		n++;
	}
	assert_true(filehash_is_whole(&r->f));
	return n;
}

/* SHA-1 of every piece, the root over all leaves, and the layer folding to it.
 */
static void assert_right(struct rig *r)
{
	uint32_t n = (uint32_t)((r->size + LIMIT_BLOCK_BYTES - 1) /
				LIMIT_BLOCK_BYTES);
	uint8_t(*leaves)[32] = mem_alloc_array(n, 32);
	uint8_t want[32], got[32];
	struct buf layer;

	for (uint32_t i = 0; i < r->f.num_pieces; i++) {
		uint64_t off = (uint64_t)i * r->f.piece_length;
		uint64_t len = r->size - off < r->f.piece_length
				       ? r->size - off
				       : r->f.piece_length;

		sha1(r->bytes + off, len, want);
		assert_memory_equal(r->f.sha1[i], want, 20);
		if (len == r->f.piece_length)
			continue;
		uint8_t *full = mem_alloc(r->f.piece_length);
		memcpy(full, r->bytes + off, len);
		sha1(full, r->f.piece_length, want);
		assert_memory_equal(r->f.padded, want, 20);
		free(full);
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t off = (uint64_t)i * LIMIT_BLOCK_BYTES;

		sha256(r->bytes + off,
		       r->size - off < LIMIT_BLOCK_BYTES ? r->size - off
							 : LIMIT_BLOCK_BYTES,
		       leaves[i]);
	}
	merkle_root(leaves[0], n, 0, want);
	filehash_root(&r->f, got);
	assert_memory_equal(got, want, 32);
	buf_init(&layer, 0);
	filehash_layer(&r->f, &layer);
	if (r->f.num_pieces < 2) {
		assert_int_equal(layer.len, 0);
	} else {
		assert_int_equal(layer.len, r->f.num_pieces * 32);
		merkle_root(layer.ptr, r->f.num_pieces,
			    merkle_piece_height(r->f.piece_length), got);
		assert_memory_equal(got, want, 32);
	}
	buf_release(&layer);
	free(leaves);
}

/* Sizes around every border. */
static void test_filehash__hashes_every_size(void **state)
{
	static const uint64_t sizes[] = { 1,         16383,     16384,
					  16385,     CELL - 1,  CELL,
					  CELL + 1,  PIECE - 1, PIECE,
					  PIECE + 1, 3 * PIECE, SIZE };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct rig *r;

		teardown(state);
		setup(state);
		r = *state;
		size(r, sizes[i]);
		put(r, 0, sizes[i]);
		hash_all(r);
		assert_right(r);
	}
}

static void test_filehash__an_empty_file_is_whole(void **state)
{
	struct rig *r = *state;

	assert_true(filehash_is_whole(&r->f));
	assert_int_equal(filehash_next(&r->f, 0), 0);
}

/* A change costs its own pieces again and no others. */
static void test_filehash__hashes_again_only_what_changed(void **state)
{
	struct rig *r = *state;

	size(r, SIZE);
	put(r, 0, SIZE);
	assert_int_equal(hash_all(r), 6);
	filehash_forget(&r->f, PIECE + 5, 1);
	put(r, PIECE + 5, 1);
	assert_false(filehash_is_whole(&r->f));
	assert_int_equal(hash_all(r), 1);
	assert_right(r);
	filehash_forget(&r->f, 2 * PIECE - 1, 2);
	put(r, 2 * PIECE - 1, 2);
	assert_int_equal(hash_all(r), 2);
	assert_right(r);
}

static void test_filehash__follows_growing_and_shrinking(void **state)
{
	static const uint64_t sizes[] = { 100,       CELL + 3, 5 * CELL,  17,
					  2 * PIECE, SIZE,     PIECE + 1, PIECE,
					  0,         3 * CELL };
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t was = r->size;

		size(r, sizes[i]);
		if (sizes[i] > was)
			put(r, was, sizes[i] - was);
		hash_all(r);
		if (r->size)
			assert_right(r);
	}
}

/* Another piece length hashes SHA-1 again and leaves the tree alone. */
static void test_filehash__changes_its_piece_length(void **state)
{
	static const uint32_t lengths[] = { CELL, 16 * CELL, 2 * CELL };
	struct rig *r = *state;

	size(r, SIZE);
	put(r, 0, SIZE);
	hash_all(r);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct filehash_step s;

		filehash_set_piece_length(&r->f, lengths[i]);
		filehash_begin(&r->f, 0, &s);
		assert_false(s.needs_cells);
		hash_all(r);
		assert_right(r);
	}
}

/* What was begun before the file grew counts where it still can. */
static void test_filehash__takes_no_result_of_another_size(void **state)
{
	struct rig *r = *state;
	struct filehash_step full, tail;

	size(r, PIECE + 100);
	put(r, 0, PIECE + 100);
	filehash_begin(&r->f, 0, &full);
	filehash_begin(&r->f, 1, &tail);
	assert_int_equal(filehash_run(&full, r->fd), 0);
	assert_int_equal(filehash_run(&tail, r->fd), 0);
	size(r, PIECE + 200);
	put(r, PIECE + 100, 100);
	filehash_end(&r->f, &full);
	filehash_end(&r->f, &tail);
	assert_true(filehash_has_piece(&r->f, 0));
	assert_false(filehash_has_piece(&r->f, 1));
	hash_all(r);
	assert_right(r);
}

static void test_filehash__says_when_the_file_is_shorter(void **state)
{
	struct rig *r = *state;
	struct filehash_step s;

	size(r, PIECE);
	filehash_begin(&r->f, 0, &s);
	assert_int_equal(ftruncate(r->fd, 5), 0);
	assert_int_equal(filehash_run(&s, r->fd), -ESTALE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_filehash__hashes_every_size, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__an_empty_file_is_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__hashes_again_only_what_changed, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__follows_growing_and_shrinking, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__changes_its_piece_length, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__takes_no_result_of_another_size, setup,
			teardown),
		cmocka_unit_test_setup_teardown(
			test_filehash__says_when_the_file_is_shorter, setup,
			teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
