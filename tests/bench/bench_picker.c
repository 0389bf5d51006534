/* What the picker and the read scheduler cost: nanoseconds for a HAVE, for a
 * bitfield, for asking and for a block, for torrents of few large and of many
 * small pieces. Usage: bench_picker (no arguments, some seconds) */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/picker.h"
#include "engine/sched.h"

#define MIB   (1ull << 20)
#define BATCH 8 /* blocks a peer is asked for at once */

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void print(const char *what, const struct layout *l, double ns,
		  double count, const char *unit)
{
	printf("%-34s %7u x %6u KiB %12.1f ns per %s\n", what, l->num_pieces,
	       l->piece_length >> 10, ns / count, unit);
}

static struct layout layout_of(uint32_t num_pieces, uint32_t piece_length)
{
	return (struct layout){
		.total = (uint64_t)num_pieces * piece_length,
		.piece_length = piece_length,
		.num_pieces = num_pieces,
	};
}

static void bench_have(struct layout l, bool is_wanted)
{
	struct prng prng = { 1 };
	struct picker *p = picker_new(&l, 1);
	unsigned n = 2000000;
	struct picker_peer peer = { .id = 1, .is_seed = true };
	struct block_ref out[1];
	double start;

	picker_set_wanted(p, 0, l.num_pieces, is_wanted);
	picker_take_rarest(p, &peer, 1, 0, out); /* sorts */
	start = now_ns();
	for (unsigned i = 0; i < n; i++) {
		uint32_t piece = prng_below(&prng, l.num_pieces);

		if (picker_availability(p, piece) < 100)
			picker_on_have(p, piece);
		else
			picker_on_donthave(p, piece);
	}
	print(is_wanted ? "have, all wanted" : "have, nothing wanted", &l,
	      now_ns() - start, n, "have");
	picker_free(p);
}

/* Half a bitfield, and the first asking after it, which sorts. */
static void bench_bitfield(struct layout l)
{
	struct picker *p = picker_new(&l, 1);
	struct prng prng = { 2 };
	struct block_ref out[1];
	struct picker_peer peer;
	struct bitfield have;
	double start;

	bitfield_init(&have, l.num_pieces);
	for (uint32_t i = 0; i < l.num_pieces; i++)
		if (prng_below(&prng, 2))
			bitfield_set(&have, i);
	peer = (struct picker_peer){ .id = 1, .have = &have };
	picker_set_wanted(p, 0, l.num_pieces, true);
	start = now_ns();
	picker_add_peer(p, &have, false);
	print("bitfield, half", &l, now_ns() - start, 1, "bitfield");
	start = now_ns();
	CHECK(picker_take_rarest(p, &peer, 1, 0, out) == 1);
	print("sort, and first take", &l, now_ns() - start, 1, "take");
	picker_free(p);
	bitfield_release(&have);
}

/* Takes that find nothing: the peer has all but what is missing. */
static void bench_nothing(struct layout l)
{
	struct picker *p = picker_new(&l, 1);
	struct block_ref out[1];
	struct picker_peer peer;
	struct bitfield have;
	unsigned n = 1000;
	double start;

	bitfield_init(&have, l.num_pieces);
	bitfield_set_all(&have);
	for (uint32_t i = 0; i < l.num_pieces; i += 2) {
		bitfield_clear(&have, i);
		picker_set_wanted(p, i, 1, true);
	}
	picker_add_peer(p, &have, false);
	for (uint32_t i = 0; i < l.num_pieces; i += 2)
		picker_on_have(p, i);
	peer = (struct picker_peer){ .id = 1, .have = &have };
	CHECK(!picker_take_rarest(p, &peer, 1, 0, out));
	start = now_ns();
	for (unsigned i = 0; i < n; i++)
		CHECK(!picker_take_rarest(p, &peer, 1, 0, out));
	print("take that finds nothing", &l, now_ns() - start, n, "take");
	picker_free(p);
	bitfield_release(&have);
}

struct flow {
	struct picker *p;
	struct sched *s;
	struct reader *r;
	struct layout l;
	struct block_ref *asked; /* a ring */
	size_t from, to, size;
	int64_t now_ms;
	uint64_t blocks;
};

static void deliver(struct flow *f, uint32_t peer_id)
{
	struct block_ref b = f->asked[f->from++ % f->size];
	uint32_t others[PICKER_COPIES];
	size_t n;

	if (f->s)
		sched_on_block(f->s, b.piece, f->now_ms);
	f->blocks++;
	if (picker_on_block(f->p, peer_id, b, others, &n) != PICKER_COMPLETE)
		return;
	picker_on_verified(f->p, b.piece, true, NULL, 0);
	if (f->s)
		sched_on_piece(f->s, f->p, b.piece, f->now_ms);
}

static void bench_rarest(struct layout l, size_t depth)
{
	struct flow f = { .p = picker_new(&l, 1), .l = l, .size = 4096 };
	struct picker_peer peer = { .id = 1, .is_seed = true };
	struct block_ref out[BATCH];
	double start;

	f.asked = mem_alloc_array(f.size, sizeof(*f.asked));
	picker_set_wanted(f.p, 0, l.num_pieces, true);
	picker_add_peer(f.p, NULL, true);
	start = now_ns();
	while (picker_wanted_left(f.p) && f.blocks < 2000000) {
		size_t n = picker_take_rarest(f.p, &peer, BATCH, f.blocks / 26,
					      out);

		for (size_t i = 0; i < n; i++)
			f.asked[f.to++ % f.size] = out[i];
		while (f.to - f.from > (n ? depth : 0))
			deliver(&f, 1);
	}
	print("fill: take, block, verify", &l, now_ns() - start,
	      (double)f.blocks, "block");
	picker_free(f.p);
	free(f.asked);
}

static void never(struct want *w, int r)
{
}

static uint64_t next_read(struct flow *f, uint64_t off)
{
	while (off + 131072 <= f->l.total &&
	       picker_has(f->p, layout_piece_at(&f->l, off))) {
		reader_on_read(f->r, off, 131072, f->now_ms);
		off += 131072;
	}
	return off;
}

/* A copy from one fast peer, and PARKED more reads that nobody serves. */
static void bench_copy(struct layout l, unsigned parked)
{
	struct flow f = { .p = picker_new(&l, 1), .l = l, .size = 4096 };
	struct picker_peer peer = { .id = 1, .is_seed = true };
	struct want *wants = mem_alloc_array(parked + 1, sizeof(*wants));
	struct block_ref out[BATCH];
	struct want read = { .len = 1, .done = never };
	uint64_t off = 0;
	double start;

	f.s = sched_new(&l);
	f.asked = mem_alloc_array(f.size, sizeof(*f.asked));
	f.r = reader_new(f.s, 0, l.total);
	picker_add_peer(f.p, NULL, true);
	for (unsigned i = 0; i < parked; i++) {
		/* All asked of a peer that never answers. */
		struct picker_peer silent = { .id = 2, .is_seed = true };
		uint32_t piece = l.num_pieces - 1 - i % (l.num_pieces / 4);

		wants[i].off = layout_piece_start(&l, piece);
		wants[i].len = 1;
		wants[i].done = never;
		sched_park(f.s, NULL, &wants[i], 0);
		while (picker_take(f.p, &silent, piece, BATCH, 1ll << 30, out))
			;
	}
	reader_on_read(f.r, 0, 131072, 0);
	start = now_ns();
	while (f.blocks < 1000000 && off < l.total / 2) {
		size_t n;

		f.now_ms = (int64_t)(f.blocks / 26);
		off = next_read(&f, off);
		if (off >= l.total / 2)
			break;
		if (!sched_is_parked(&read)) {
			read.off = off;
			reader_on_read(f.r, off, 131072, f.now_ms);
			sched_park(f.s, f.r, &read, f.now_ms);
		}
		n = sched_take(f.s, f.p, &peer, BATCH, f.now_ms, 1000, out);
		for (size_t i = 0; i < n; i++)
			f.asked[f.to++ % f.size] = out[i];
		while (f.to - f.from > (n ? 1000 : 0))
			deliver(&f, 1);
	}
	print(parked > 1000 ? "copy: all of it, 10000 parked"
	      : parked      ? "copy: all of it, 300 parked"
			    : "copy: reads, takes, blocks",
	      &l, now_ns() - start, (double)f.blocks, "block");
	sched_fail_all(f.s, -1);
	reader_free(f.r);
	sched_free(f.s);
	picker_free(f.p);
	free(f.asked);
	free(wants);
}

int main(void)
{
	struct layout small = layout_of(1u << 21, 16384);
	struct layout medium = layout_of(16384, 1 << 20);
	struct layout large = layout_of(64, 512u << 20);

	bench_have(small, false);
	bench_have(small, true);
	bench_have(medium, true);
	bench_bitfield(small);
	bench_bitfield(medium);
	bench_nothing(small);
	bench_nothing(medium);
	bench_rarest(small, 1000);
	bench_rarest(medium, 1000);
	bench_rarest(large, 1000);
	bench_copy(small, 0);
	bench_copy(medium, 0);
	bench_copy(large, 0);
	bench_copy(small, 300);
	bench_copy(medium, 300);
	bench_copy(small, 10000);
	bench_copy(medium, 10000);
	return 0;
}
