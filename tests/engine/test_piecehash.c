/* Goal: every piece is hashed once and right, whatever the number of threads;
 * errors reach the piece they concern; nothing runs on after the end. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/merkle.h"
#include "engine/piecehash.h"

struct rig {
	uint8_t *data;
	struct layout layout;
	uint64_t bad_from, bad_to; /* reads of bytes between fail */
	bool stops_at_error;
	unsigned threads;

	uint8_t *hashes;
	int *results;     /* of each piece */
	unsigned *counts; /* how often it was done */
	uint64_t progress;

	pthread_mutex_t lock;
	pthread_cond_t change;
	bool is_held, is_canceled;
};

static int rig_read(void *arg, unsigned thread, uint64_t off, void *out,
		    size_t len)
{
	struct rig *rig = arg;

	assert_true(thread < PIECEHASH_THREADS_MAX);
	assert_true(off + len <= rig->layout.total);
	pthread_mutex_lock(&rig->lock);
	while (rig->is_held && !rig->is_canceled)
		pthread_cond_wait(&rig->change, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
	if (off + len > rig->bad_from && off < rig->bad_to)
		return -EIO;
	memcpy(out, rig->data + off, len);
	return 0;
}

static int rig_piece(void *arg, uint32_t piece, int r,
		     const struct piecehash_result *result)
{
	struct rig *rig = arg;

	rig->counts[piece]++;
	rig->results[piece] = r;
	if (!r)
		memcpy(rig->hashes + piece * 20, result->sha1, 20);
	return rig->stops_at_error ? r : 0;
}

static bool rig_progress(void *arg, uint64_t bytes)
{
	struct rig *rig = arg;

	assert_true(bytes >= rig->progress && bytes <= rig->layout.total);
	rig->progress = bytes;
	if (!rig->is_held)
		return true;
	pthread_mutex_lock(&rig->lock);
	rig->is_canceled = true;
	pthread_cond_broadcast(&rig->change);
	pthread_mutex_unlock(&rig->lock);
	return false;
}

static void rig_init(struct rig *rig, uint64_t total, uint32_t piece_length)
{
	struct prng seed = { total + piece_length };
	uint32_t num = (uint32_t)((total + piece_length - 1) / piece_length);

	memset(rig, 0, sizeof(*rig));
	rig->data = mem_alloc(total);
	for (uint64_t i = 0; i < total; i++)
		rig->data[i] = (uint8_t)prng_u64(&seed);
	rig->layout = (struct layout){ total, piece_length, num };
	rig->hashes = mem_alloc_array(num, 20);
	rig->results = mem_alloc_array(num, sizeof(int));
	rig->counts = mem_alloc_array(num, sizeof(unsigned));
	pthread_mutex_init(&rig->lock, NULL);
	pthread_cond_init(&rig->change, NULL);
}

static void rig_release(struct rig *rig)
{
	free(rig->data);
	free(rig->hashes);
	free(rig->results);
	free(rig->counts);
	pthread_mutex_destroy(&rig->lock);
	pthread_cond_destroy(&rig->change);
}

static int rig_run(struct rig *rig)
{
	struct piecehash p = {
		.layout = rig->layout,
		.has_v1 = true,
		.threads = rig->threads,
		.read = rig_read,
		.piece = rig_piece,
		.progress = rig_progress,
		.arg = rig,
	};

	return piecehash_run(&p);
}

static void check_all_right(const struct rig *rig)
{
	for (uint32_t i = 0; i < rig->layout.num_pieces; i++) {
		uint8_t want[20];

		assert_int_equal(rig->counts[i], 1);
		assert_int_equal(rig->results[i], 0);
		sha1(rig->data + layout_piece_start(&rig->layout, i),
		     layout_piece_size(&rig->layout, i), want);
		assert_memory_equal(rig->hashes + i * 20, want, 20);
	}
	assert_int_equal(rig->progress, rig->layout.total);
}

static void test_run__hashes_each_piece_once(void **state)
{
	static const struct {
		uint64_t total;
		uint32_t piece_length;
	} cases[] = { { 1, 16384 },         { 16384, 16384 },
		      { 16385, 16384 },     { 300000, 1 << 20 },
		      { 3000000, 1 << 19 }, { 9000001, 1 << 14 },
		      { 20000, 7 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (unsigned threads = 0; threads <= 66; threads += 11) {
			struct rig rig;

			rig_init(&rig, cases[i].total, cases[i].piece_length);
			rig.threads = threads;
			assert_int_equal(rig_run(&rig), 0);
			check_all_right(&rig);
			rig_release(&rig);
		}
}

/* Files of a hybrid: each begins at a piece; all bytes are rig.data. */
#define V2_PIECE 65536u

static const struct {
	uint32_t first_piece, length;
} v2_files[] = { { 0, 1 },
		 { 1, 16384 },
		 { 2, 65536 },
		 { 3, 65537 },
		 { 5, 3 * 65536 + 20000 } };

struct v2_rig {
	struct rig rig;
	uint8_t nodes[9][32];
};

static size_t v2_file_of(uint32_t piece)
{
	size_t i = ARRAY_LEN(v2_files) - 1;

	while (v2_files[i].first_piece > piece)
		i--;
	return i;
}

static struct piecehash_part v2_part(void *arg, uint32_t piece)
{
	size_t i = v2_file_of(piece);
	uint32_t left = v2_files[i].length -
			(piece - v2_files[i].first_piece) * V2_PIECE;

	return (struct piecehash_part){
		.bytes = left < V2_PIECE ? left : V2_PIECE,
		.is_longer_file = v2_files[i].length > V2_PIECE,
	};
}

static int v2_piece(void *arg, uint32_t piece, int r,
		    const struct piecehash_result *result)
{
	struct v2_rig *v2 = arg;

	memcpy(v2->nodes[piece], result->node, 32);
	return rig_piece(&v2->rig, piece, r, result);
}

/* Folds all leaves of a file at once, which needs no piece. */
static void check_v2_file(const struct v2_rig *v2, size_t i)
{
	uint32_t length = v2_files[i].length;
	size_t num = (length + 16383) / 16384;
	const uint8_t *at =
		v2->rig.data + (size_t)v2_files[i].first_piece * V2_PIECE;
	uint8_t leaves[16][32], want[32], got[32];

	for (size_t k = 0; k < num; k++)
		sha256(at + k * 16384, k + 1 < num ? 16384 : length - k * 16384,
		       leaves[k]);
	merkle_root(leaves[0], num, 0, want);
	if (length <= V2_PIECE)
		memcpy(got, v2->nodes[v2_files[i].first_piece], 32);
	else
		merkle_root(v2->nodes[v2_files[i].first_piece],
			    (length + V2_PIECE - 1) / V2_PIECE,
			    merkle_piece_height(V2_PIECE), got);
	assert_memory_equal(got, want, 32);
}

static void test_run__hashes_trees_and_pads(void **state)
{
	for (unsigned threads = 1; threads < 5; threads++) {
		struct v2_rig v2;
		struct piecehash p = {
			.has_v1 = true,
			.has_v2 = true,
			.threads = threads,
			.read = rig_read,
			.part = v2_part,
			.piece = v2_piece,
			.arg = &v2,
		};

		rig_init(&v2.rig, 9 * V2_PIECE, V2_PIECE);
		p.layout = v2.rig.layout;
		for (size_t i = 0; i < ARRAY_LEN(v2_files); i++) {
			size_t end =
				(size_t)v2_files[i].first_piece * V2_PIECE +
				v2_files[i].length;
			size_t pad = (V2_PIECE - end % V2_PIECE) % V2_PIECE;

			memset(v2.rig.data + end, 0, pad);
		}
		assert_int_equal(piecehash_run(&p), 0);
		v2.rig.progress = v2.rig.layout.total;
		check_all_right(&v2.rig);
		for (size_t i = 0; i < ARRAY_LEN(v2_files); i++)
			check_v2_file(&v2, i);
		rig_release(&v2.rig);
	}
}

static void test_run__tells_which_piece_is_unreadable(void **state)
{
	struct rig rig;

	rig_init(&rig, 10 * 16384, 16384);
	rig.bad_from = 7 * 16384 + 5;
	rig.bad_to = UINT64_MAX;
	rig.threads = 3;
	assert_int_equal(rig_run(&rig), 0);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(rig.counts[i], 1);
		assert_int_equal(rig.results[i], i < 7 ? 0 : -EIO);
	}
	rig_release(&rig);
}

/* The same thread goes on with the next piece as if nothing had been. */
static void test_run__goes_on_after_half_a_piece(void **state)
{
	struct rig rig;
	uint8_t want[20];

	rig_init(&rig, 4 << 20, 1 << 20);
	rig.bad_from = (1 << 20) + (900 << 10);
	rig.bad_to = 2 << 20;
	rig.threads = 1;
	assert_int_equal(rig_run(&rig), 0);
	assert_int_equal(rig.results[1], -EIO);
	for (uint32_t i = 2; i < 4; i++) {
		assert_int_equal(rig.results[i], 0);
		sha1(rig.data + ((size_t)i << 20), 1 << 20, want);
		assert_memory_equal(rig.hashes + i * 20, want, 20);
	}
	rig_release(&rig);
}

static void test_run__ends_when_told(void **state)
{
	struct rig rig;

	rig_init(&rig, 3000 * 16384, 16384);
	rig.bad_from = 16384;
	rig.bad_to = UINT64_MAX;
	rig.stops_at_error = true;
	rig.threads = 2;
	assert_int_equal(rig_run(&rig), -EIO);
	assert_int_equal(rig.counts[2999], 0);
	rig_release(&rig);
}

static void test_run__can_be_canceled(void **state)
{
	struct rig rig;
	unsigned done = 0;

	rig_init(&rig, 3000 * 16384, 16384);
	rig.is_held = true; /* no read ends before progress() gave up */
	rig.threads = 2;
	assert_int_equal(rig_run(&rig), -ECANCELED);
	for (uint32_t i = 0; i < 3000; i++)
		done += rig.counts[i];
	assert_true(done <= 3000 && rig.is_canceled);
	rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run__hashes_each_piece_once),
		cmocka_unit_test(test_run__hashes_trees_and_pads),
		cmocka_unit_test(test_run__tells_which_piece_is_unreadable),
		cmocka_unit_test(test_run__goes_on_after_half_a_piece),
		cmocka_unit_test(test_run__ends_when_told),
		cmocka_unit_test(test_run__can_be_canceled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
