/* Each thread takes the next few pieces in a row, so that a disk sees long
 * runs however small pieces are. Only the counters are shared.
 *
 * Hashes go side by side (sha_side.h): of v1 two pieces, of v2 two leaves, of
 * both a piece and its leaves. */
#include "engine/piecehash.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/sha_side.h"
#include "engine/merkle.h"

#define RUN_BYTES (4u << 20) /* what a thread takes at a time, or a piece */
/* Half of a core's L2, where the bytes are hashed once or twice: longer reads
 * of hot pages are faster, until they no longer fit. */
#define READ_BYTES  (512u << 10)
#define ZERO_BYTES  (16u << 10)
#define PROGRESS_MS 100

struct run {
	const struct piecehash *p; /* borrowed */
	pthread_mutex_t lock;      /* held while p->piece() runs */
	pthread_cond_t ended;      /* a thread is gone */
	uint32_t next;             /* guarded by lock: first piece not taken */
	uint64_t bytes;            /* guarded by lock */
	unsigned num_running;      /* guarded by lock */
	int r;                     /* guarded by lock; not 0: stop */
};

/* What a thread works with. */
struct hashing {
	struct sha1_run *sha1, *sha1_2; /* the second of two pieces */
	uint8_t *step;                  /* READ_BYTES */
	uint8_t (*leaves)[SHA256_LEN];  /* of one piece; NULL: no v2 */
	uint32_t num_leaves;
};

struct run_thread {
	struct run *run;
	unsigned index;
	pthread_t id;
};

/* The next pieces to hash; false when there are none. */
static bool take_pieces(struct run *run, uint32_t *first, uint32_t *end)
{
	const struct layout *l = &run->p->layout;
	uint32_t count = RUN_BYTES / l->piece_length;
	bool is_taken;

	pthread_mutex_lock(&run->lock);
	is_taken = !run->r && run->next < l->num_pieces;
	if (is_taken) {
		*first = run->next;
		if (count < 2)
			count = 2;
		if (count > l->num_pieces - run->next)
			count = l->num_pieces - run->next;
		*end = run->next += count;
	}
	pthread_mutex_unlock(&run->lock);
	return is_taken;
}

static uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void hash_leaves(struct hashing *h, const uint8_t *step, uint32_t len)
{
	for (uint32_t n; len; len -= n, step += n) {
		uint8_t(*leaf)[SHA256_LEN] = h->leaves + h->num_leaves;

		if (len >= 2 * LIMIT_BLOCK_BYTES) {
			n = 2 * LIMIT_BLOCK_BYTES;
			sha256_pair(step, step + LIMIT_BLOCK_BYTES,
				    LIMIT_BLOCK_BYTES, leaf[0], leaf[1]);
			h->num_leaves += 2;
		} else {
			n = min32(len, LIMIT_BLOCK_BYTES);
			sha256(step, n, leaf[0]);
			h->num_leaves++;
		}
	}
}

static void hash_both(struct hashing *h, const uint8_t *step, uint32_t len)
{
	for (uint32_t n; len; len -= n, step += n) {
		n = min32(len, LIMIT_BLOCK_BYTES);
		sha1_run_update_leaf(h->sha1, step, n,
				     h->leaves[h->num_leaves++]);
	}
}

static void hash_zeros(struct hashing *h, uint32_t len)
{
	static const uint8_t zeros[ZERO_BYTES];

	for (uint32_t n; len; len -= n) {
		n = min32(len, ZERO_BYTES);
		sha1_run_update(h->sha1, zeros, n);
	}
}

static int hash_bytes(const struct run_thread *t, struct hashing *h,
		      uint64_t off, uint32_t left)
{
	const struct piecehash *p = t->run->p;
	int r;

	h->num_leaves = 0;
	for (uint32_t n; left; left -= n, off += n) {
		n = min32(left, READ_BYTES);
		r = p->read(p->arg, t->index, off, h->step, n);
		if (r < 0)
			return r;
		if (!p->has_v2)
			sha1_run_update(h->sha1, h->step, n);
		else if (!p->has_v1)
			hash_leaves(h, h->step, n);
		else
			hash_both(h, h->step, n);
	}
	return 0;
}

static void find_node(const struct piecehash *p, struct hashing *h,
		      bool is_longer_file, uint8_t node[SHA256_LEN])
{
	uint32_t whole = p->layout.piece_length / LIMIT_BLOCK_BYTES;

	if (is_longer_file && h->num_leaves < whole) {
		memset(h->leaves[h->num_leaves], 0,
		       (size_t)(whole - h->num_leaves) * SHA256_LEN);
		h->num_leaves = whole;
	}
	merkle_root(h->leaves[0], h->num_leaves, 0, node);
}

static int hash_piece(const struct run_thread *t, uint32_t piece,
		      struct hashing *h, struct piecehash_result *result)
{
	const struct piecehash *p = t->run->p;
	uint32_t size = layout_piece_size(&p->layout, piece);
	struct piecehash_part part = { .bytes = size };
	int r;

	if (p->part)
		part = p->part(p->arg, piece);
	r = hash_bytes(t, h, layout_piece_start(&p->layout, piece), part.bytes);
	if (r < 0) {
		sha1_run_reset(h->sha1);
		return r;
	}
	if (p->has_v1) {
		hash_zeros(h, size - part.bytes);
		sha1_run_final(h->sha1, result->sha1);
	}
	if (p->has_v2)
		find_node(p, h, part.is_longer_file, result->node);
	return 0;
}

/* SHA-1 of PIECE and the one after it, if both are full of bytes. -EAGAIN: one
 * by one, then; so also if one of them cannot be read. */
static int hash_two(const struct run_thread *t, uint32_t piece,
		    struct hashing *h, struct piecehash_result result[2])
{
	const struct piecehash *p = t->run->p;
	uint32_t left = p->layout.piece_length;
	uint64_t off = layout_piece_start(&p->layout, piece);
	uint8_t *second = h->step + READ_BYTES / 2;
	const uint32_t full = left;

	if (p->has_v2 || layout_piece_size(&p->layout, piece + 1) != full)
		return -EAGAIN;
	if (p->part && (p->part(p->arg, piece).bytes != full ||
			p->part(p->arg, piece + 1).bytes != full))
		return -EAGAIN;
	for (uint32_t n; left; left -= n, off += n) {
		n = min32(left, READ_BYTES / 2);
		if (p->read(p->arg, t->index, off, h->step, n) < 0 ||
		    p->read(p->arg, t->index, off + full, second, n) < 0) {
			sha1_run_reset(h->sha1);
			sha1_run_reset(h->sha1_2);
			return -EAGAIN;
		}
		sha1_run_update_pair(h->sha1, h->step, h->sha1_2, second, n);
	}
	sha1_run_final(h->sha1, result[0].sha1);
	sha1_run_final(h->sha1_2, result[1].sha1);
	return 0;
}

/* Hands a piece over; false when the run is at an end. */
static bool piece_done(struct run *run, uint32_t piece, int r,
		       const struct piecehash_result *result)
{
	bool goes_on;

	pthread_mutex_lock(&run->lock);
	run->bytes += layout_piece_size(&run->p->layout, piece);
	if (!run->r)
		run->r = run->p->piece(run->p->arg, piece, r, result);
	goes_on = !run->r;
	pthread_mutex_unlock(&run->lock);
	return goes_on;
}

static void hashing_init(struct hashing *h, const struct piecehash *p)
{
	h->sha1 = sha1_run_new();
	h->sha1_2 = sha1_run_new();
	h->step = mem_alloc(READ_BYTES);
	h->leaves = NULL;
	if (p->has_v2) /* at most 1 MiB */
		h->leaves = mem_alloc_array(
			p->layout.piece_length / LIMIT_BLOCK_BYTES, SHA256_LEN);
	h->num_leaves = 0;
}

static void hashing_release(struct hashing *h)
{
	sha1_run_free(h->sha1);
	sha1_run_free(h->sha1_2);
	free(h->step);
	free(h->leaves);
}

static void *thread_main(void *arg)
{
	struct run_thread *t = arg;
	struct run *run = t->run;
	struct piecehash_result result[2];
	struct hashing h;
	bool goes_on = true;
	uint32_t i, end;

	hashing_init(&h, run->p);
	while (goes_on && take_pieces(run, &i, &end))
		while (goes_on && i < end) {
			int r;

			if (i + 1 < end && !hash_two(t, i, &h, result)) {
				goes_on = piece_done(run, i, 0, &result[0]) &&
					  piece_done(run, i + 1, 0, &result[1]);
				i += 2;
				continue;
			}
			r = hash_piece(t, i, &h, &result[0]);
			goes_on = piece_done(run, i, r, &result[0]);
			i++;
		}
	hashing_release(&h);
	pthread_mutex_lock(&run->lock);
	run->num_running--;
	pthread_cond_signal(&run->ended);
	pthread_mutex_unlock(&run->lock);
	return NULL;
}

/* Until all threads are gone. */
static void wait_for_threads(struct run *run)
{
	const struct piecehash *p = run->p;
	struct timespec until;

	pthread_mutex_lock(&run->lock);
	while (run->num_running) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += PROGRESS_MS * 1000000l;
		until.tv_sec += until.tv_nsec / 1000000000l;
		until.tv_nsec %= 1000000000l;
		while (run->num_running &&
		       pthread_cond_timedwait(&run->ended, &run->lock,
					      &until) != ETIMEDOUT)
			continue;
		if (p->progress && run->num_running && !run->r) {
			uint64_t bytes = run->bytes;
			bool goes_on;

			pthread_mutex_unlock(&run->lock);
			goes_on = p->progress(p->arg, bytes);
			pthread_mutex_lock(&run->lock);
			if (!goes_on && !run->r)
				run->r = -ECANCELED;
		}
	}
	pthread_mutex_unlock(&run->lock);
}

static unsigned count_threads(const struct piecehash *p)
{
	long n = p->threads;

	if (!n)
		n = sysconf(_SC_NPROCESSORS_ONLN);
	if (n < 1)
		n = 1;
	if (n > PIECEHASH_THREADS_MAX)
		n = PIECEHASH_THREADS_MAX;
	return n < (long)p->layout.num_pieces ? (unsigned)n
					      : p->layout.num_pieces;
}

int piecehash_run(const struct piecehash *p)
{
	struct run_thread threads[PIECEHASH_THREADS_MAX];
	struct run run = { .p = p };
	unsigned wanted = count_threads(p), n;
	pthread_condattr_t attr;
	sigset_t all, before;

	CHECK(p->has_v1 || p->has_v2);
	CHECK(!p->has_v2 || p->part);
	pthread_mutex_init(&run.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&run.ended, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (n = 0; n < wanted; n++) {
		threads[n].run = &run;
		threads[n].index = n;
		pthread_mutex_lock(&run.lock);
		run.num_running++;
		pthread_mutex_unlock(&run.lock);
		if (pthread_create(&threads[n].id, NULL, thread_main,
				   &threads[n])) {
			pthread_mutex_lock(&run.lock);
			run.num_running--;
			pthread_mutex_unlock(&run.lock);
			break; /* with fewer, then */
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!n)
		run.r = -EAGAIN;
	wait_for_threads(&run);
	while (n--)
		pthread_join(threads[n].id, NULL);
	if (p->progress && !run.r)
		(void)p->progress(p->arg, run.bytes); /* too late to give up */
	pthread_cond_destroy(&run.ended);
	pthread_mutex_destroy(&run.lock);
	return run.r;
}
