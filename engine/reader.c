/* Readers: what an open file will want next.
 *
 * A reader proves that it reads on by reading on. The first read and every jump
 * fetch what they cover and nothing else. The second read, if close behind,
 * or the third, if near, opens the window. It grows with the run, 8 bytes ahead
 * for each one read, up to 20 s of what the reader takes while nothing blocks
 * it. Who takes everything at once (a copy, or a player whose supply is too
 * slow) thereby comes to the largest window, deep enough for a fast peer never
 * to run dry.
 *
 * Two readers of a file fight over nothing: near pieces of those who read at a
 * steady rate come first, then all take turns. Windows share a budget, since
 * every piece in flight is a buffer. After 30 s without a read the window is
 * gone; the next read near where it was opens it again.
 *
 * Files that are smaller than a window end before it opens. Who reads many of
 * them one after the other, each as a whole, has a window over all of them: a
 * walk is a reader of the whole torrent that nobody opened. It fetches nothing
 * before the third file, and no more than is in proportion to what was read:
 * a person who opens three pictures may not want the album. */
#include "engine/sched_private.h"

#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define MIB              (1ull << 20)
#define NEAR_BYTES       (8 * MIB)
#define CLOSE_BYTES      (MIB / 2)
#define STREAM_SCORE     2 /* one close read or two near ones */
#define WINDOW_MIN_BYTES (4 * MIB)
#define WINDOW_MAX_BYTES (64 * MIB)
#define WINDOW_MS        20000
#define WINDOW_PER_READ  8    /* bytes ahead for a byte of the run */
#define HORIZON_MS       5000 /* steady readers: this far comes first */
#define IDLE_MS          30000
#define WALK_FILES       3
#define WALK_IDLE_MS     10000 /* nobody closes a walk */
#define PAUSE_MS         2000  /* longer gaps say nothing about the rate */
#define RATE_MS          4000  /* memory of the rate */
/* A fast peer's pipeline (LIMIT_REQUESTS_OUT blocks) beyond a piece. */
#define PIPELINE_BYTES (16 * MIB)

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

struct reader *reader_new(struct sched *s, uint64_t start, uint64_t end)
{
	struct reader *r = mem_alloc(sizeof(*r));

	r->sched = s;
	r->start = start;
	r->end = end;
	list_push_back(&s->readers, &r->node);
	list_init(&r->active);
	return r;
}

static void deactivate(struct reader *r)
{
	if (list_is_empty(&r->active))
		return;
	list_remove(&r->active);
	r->sched->num_active--;
	r->sched->epoch++;
}

static void activate(struct reader *r)
{
	if (!list_is_empty(&r->active))
		return;
	list_push_back(&r->sched->active, &r->active);
	r->sched->num_active++;
}

void reader_free(struct reader *r)
{
	if (!r)
		return;
	if (r->sched) {
		CHECK(!r->num_parked);
		deactivate(r);
		list_remove(&r->node);
	}
	free(r);
}

/* --- news --- */

static void measure(struct reader *r, uint64_t len, int64_t now_ms)
{
	int64_t gap = now_ms - r->free_ms;

	if (!r->num_parked && r->run.bytes)
		r->taken_ms += (uint64_t)(gap < 0          ? 0
					  : gap > PAUSE_MS ? PAUSE_MS
							   : gap);
	r->free_ms = now_ms;
	r->taken_bytes += len;
	if (r->taken_ms > RATE_MS || r->taken_bytes > 1ull << 40) {
		r->taken_ms /= 2;
		r->taken_bytes /= 2;
	}
}

/* How much a read at OFF looks like going on from NEXT. */
static int resemblance(uint64_t next, uint64_t off)
{
	if (off > next + NEAR_BYTES || next > off + NEAR_BYTES)
		return 0;
	return off <= next + CLOSE_BYTES && next <= off + CLOSE_BYTES ? 2 : 1;
}

/* The read of [off, end) belongs to RUN; whether that is a stream by now. */
static bool extend(struct run *run, uint64_t off, uint64_t end, int how)
{
	if (end > run->next) {
		uint64_t on = end - run->next;

		run->bytes += on < end - off ? on : end - off;
		run->next = end;
		run->score += how;
	}
	return run->score >= STREAM_SCORE;
}

void reader_on_read(struct reader *r, uint64_t off, uint64_t len,
		    int64_t now_ms)
{
	uint64_t end = off + len;
	int how;

	if (!r->sched || !len)
		return;
	measure(r, len, now_ms);
	r->read_ms = now_ms;
	how = r->run.bytes ? resemblance(r->run.next, off) : 0;
	if (how) {
		r->jump.bytes = 0;
		if (!extend(&r->run, off, end, how))
			return;
	} else {
		how = r->jump.bytes ? resemblance(r->jump.next, off) : 0;
		if (!how) {
			struct run run = { .next = end, .bytes = len };

			/* With no window to lose, it is the run. */
			if (r->class == READER_PROBE)
				r->run = run;
			else
				r->jump = run;
			return;
		}
		if (!extend(&r->jump, off, end, how))
			return;
		r->run = r->jump;
		r->jump.bytes = 0;
		r->sched->epoch++;
	}
	if (r->class == READER_PROBE)
		r->class = READER_STREAM;
	activate(r);
}

void reader_prefetch(struct reader *r, uint64_t off, uint64_t len,
		     int64_t now_ms)
{
	if (off < r->start) {
		len -= min_u64(len, r->start - off);
		off = r->start;
	}
	len = off < r->end ? min_u64(len, r->end - off) : 0;
	if (!r->sched || !len)
		return;
	r->sched->epoch++;
	r->prefetch = span_of(&r->sched->layout, off, len);
	activate(r);
}

void reader_on_parked(struct reader *r)
{
	r->num_parked++;
}

void reader_on_unparked(struct reader *r, int64_t now_ms)
{
	r->num_parked--;
	r->free_ms = now_ms;
}

/* --- walks over files --- */

void walks_init(struct sched *s)
{
	for (int i = 0; i < WALKS_MAX; i++) {
		struct reader *w = &s->walks[i];

		w->sched = s;
		w->end = s->layout.total;
		w->is_walk = true;
		list_init(&w->node);
		list_init(&w->active);
	}
}

/* Pads, and files without bytes of their own pieces, may be in between; files
 * that several processes read may come a little out of order. */
static bool is_on_walk(const struct reader *w, uint64_t start)
{
	uint64_t slack = w->sched->layout.piece_length - 1;

	return w->run.bytes && start <= w->run.next + slack &&
	       w->run.next <= start + slack;
}

/* The one that goes on at START, or the oldest, to begin there. */
static struct reader *walk_at(struct sched *s, uint64_t start, int64_t now_ms)
{
	struct reader *w = &s->walks[0];

	for (int i = 0; i < WALKS_MAX; i++) {
		if (is_on_walk(&s->walks[i], start))
			return &s->walks[i];
		if (s->walks[i].walked < w->walked)
			w = &s->walks[i];
	}
	deactivate(w);
	w->class = READER_PROBE;
	w->window = (struct piece_span){ 0 };
	w->run = (struct run){ .next = start };
	w->taken_bytes = w->taken_ms = 0;
	w->read_ms = now_ms;
	return w;
}

/* Waits count as well: whoever waits takes little, and needs 20 s of that. */
void sched_on_whole_file(struct sched *s, uint64_t start, uint64_t end,
			 int64_t now_ms)
{
	struct reader *w = walk_at(s, start, now_ms);
	int64_t gap = now_ms - w->read_ms;

	w->read_ms = now_ms;
	w->walked = ++s->num_walked;
	if (end <= w->run.next)
		return; /* again */
	w->taken_bytes += end - start;
	w->taken_ms += (uint64_t)(gap < 0 ? 0 : gap);
	if (w->taken_ms > RATE_MS) {
		w->taken_ms /= 2;
		w->taken_bytes /= 2;
	}
	w->run.bytes += end - start;
	w->run.next = end;
	if (++w->run.score < WALK_FILES)
		return;
	if (w->class == READER_PROBE)
		w->class = READER_STREAM;
	activate(w);
}

/* --- windows --- */

/* Bytes the reader takes in MS when nothing blocks it. */
static uint64_t takes_in(const struct reader *r, uint64_t ms)
{
	return r->taken_bytes * ms / (r->taken_ms + 1);
}

/* Computed from what is known each time, never patched. */
static void set_window(struct reader *r)
{
	const struct piece_span none = { 0 };
	const struct layout *l = &r->sched->layout;
	uint32_t first;
	uint64_t least = r->is_walk ? 1 : WINDOW_MIN_BYTES;
	uint64_t most = min_u64(WINDOW_MAX_BYTES,
				LIMIT_PARTIAL_BYTES / 2 / r->sched->num_active);
	uint64_t want = takes_in(r, WINDOW_MS), size;

	most = max_u64(most, WINDOW_MIN_BYTES);
	size = min_u64(want, least + WINDOW_PER_READ * r->run.bytes);
	size = max_u64(min_u64(size, most), least);
	r->class = size == most ? READER_BULK : READER_STREAM;
	/* While the last blocks of a piece are on their way, those of the next
	 * must be there to ask for. */
	if (size == most)
		size = max_u64(size, l->piece_length + PIPELINE_BYTES);
	if (r->run.next >= r->end) {
		r->window = none;
		return;
	}
	first = layout_piece_at(l, r->run.next);
	/* After a jump back the cursor is another place's. */
	if (first < r->window.first)
		r->window = none;
	r->window.first = first;
	r->window.end =
		layout_piece_at(l, min_u64(r->run.next + size, r->end) - 1) + 1;
}

/* The first piece beyond what a steady reader takes soon. A piece is of use
 * only when it is whole, so the next one must be begun a piece ahead. */
static uint32_t horizon(const struct reader *r)
{
	uint64_t soon = takes_in(r, HORIZON_MS) + r->sched->layout.piece_length;
	uint64_t to = min_u64(r->run.next + soon, r->end);
	uint32_t end;

	if (r->class != READER_STREAM || to <= r->run.next)
		return r->window.first;
	end = layout_piece_at(&r->sched->layout, to - 1) + 1;
	return end < r->window.end ? end : r->window.end;
}

/* Sets the window, and lets go of the reader when it has nothing to fetch. */
static bool refresh(struct reader *r, int64_t now_ms)
{
	int64_t idle_ms = r->is_walk ? WALK_IDLE_MS : IDLE_MS;

	if (r->class != READER_PROBE && !r->num_parked &&
	    now_ms - r->read_ms > idle_ms)
		r->class = READER_PROBE;
	if (r->class == READER_PROBE)
		r->window = (struct piece_span){ 0 };
	else
		set_window(r);
	if (r->class == READER_PROBE && r->prefetch.first >= r->prefetch.end) {
		deactivate(r);
		return false;
	}
	return true;
}

/* A slow peer gets the far end, where it holds nobody up. */
static size_t take_far(struct reader *r, struct picker *p,
		       const struct picker_peer *peer, size_t max,
		       int64_t now_ms, struct block_ref *out)
{
	size_t n = 0;

	for (uint32_t i = r->window.end; i > r->window.first && n < max; i--)
		n += picker_take(p, peer, i - 1, max - n, now_ms, out + n);
	return n;
}

static size_t take_window(struct reader *r, struct picker *p,
			  const struct picker_peer *peer, size_t max,
			  int64_t now_ms, struct block_ref *out)
{
	if (peer->is_slow)
		return take_far(r, p, peer, max, now_ms, out);
	return span_take(&r->window, p, peer, r->window.end, max, now_ms, out);
}

static size_t take_prefetch(struct reader *r, struct picker *p,
			    const struct picker_peer *peer, size_t max,
			    int64_t now_ms, struct block_ref *out)
{
	struct piece_span *sp = &r->prefetch;
	uint64_t end;

	while (sp->first < sp->end && picker_has(p, sp->first))
		sp->first++;
	end = sp->first + 1 + WINDOW_MIN_BYTES / r->sched->layout.piece_length;
	return span_take(sp, p, peer, (uint32_t)min_u64(end, sp->end), max,
			 now_ms, out);
}

size_t readers_take_near(struct sched *s, struct picker *p,
			 const struct picker_peer *peer, size_t max,
			 int64_t now_ms, struct block_ref *out)
{
	size_t n = 0;

	list_foreach_safe(r, &s->active, struct reader, active)
		if (refresh(r, now_ms) && !peer->is_slow && n < max)
			n += span_take(&r->window, p, peer, horizon(r), max - n,
				       now_ms, out + n);
	return n;
}

size_t readers_take(struct sched *s, struct picker *p,
		    const struct picker_peer *peer, size_t max, int64_t now_ms,
		    struct block_ref *out)
{
	unsigned turns = s->num_active;
	size_t share, n = 0;

	if (!s->num_active)
		return n;
	share = (max - n) / s->num_active + 1;
	/* Whoever was first goes to the end, so that a small MAX, too, goes
	 * round. */
	for (unsigned i = 0; i < turns && i < s->num_active && n < max; i++) {
		struct reader *r =
			list_first(&s->active, struct reader, active);
		size_t most = max - n < share ? max - n : share;

		list_remove(&r->active);
		list_push_back(&s->active, &r->active);
		n += take_window(r, p, peer, most, now_ms, out + n);
	}
	list_foreach(r, &s->active, struct reader, active)
		n += take_window(r, p, peer, max - n, now_ms, out + n);
	list_foreach(r, &s->active, struct reader, active)
		n += take_prefetch(r, p, peer, max - n, now_ms, out + n);
	return n;
}

bool readers_are_interesting(struct sched *s, const struct picker *p,
			     const struct picker_peer *peer, int64_t now_ms)
{
	list_foreach_safe(r, &s->active, struct reader, active) {
		if (!refresh(r, now_ms))
			continue;
		if (span_is_interesting(p, peer, r->window.first,
					r->window.end) ||
		    span_is_interesting(p, peer, r->prefetch.first,
					r->prefetch.end))
			return true;
	}
	return false;
}

bool readers_demand(struct sched *s, uint32_t piece, int64_t now_ms)
{
	list_foreach_safe(r, &s->active, struct reader, active) {
		if (!refresh(r, now_ms))
			continue;
		if ((piece >= r->window.first && piece < r->window.end) ||
		    (piece >= r->prefetch.first && piece < r->prefetch.end))
			return true;
	}
	return false;
}
