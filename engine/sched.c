/* Wants: reads that wait.
 *
 * A peer that can be asked for something gets, in this order:
 *
 *   1  free blocks under parked reads, the oldest read first
 *   2  blocks under parked reads that another peer owes too long
 *   3  what readers of a steady rate need in the next seconds (reader.c)
 *   4  the same as 1 for copies: they take all there is, so they are parked
 *      nearly always and would starve everybody else; after 10 s they are 1
 *   5  the windows of all readers, in turn
 *   6  the rest of reads that are larger than what is urgent
 *
 * 1 to 4 are handed out by sched_assign, which knows all peers and gives each
 * block to the one by which it is here first; a peer that asks for more by
 * itself (sched_take) finds in them what nobody had room for.
 *
 * Asking twice is paid for by everybody, so it stops while more than 4 % of
 * late came twice, except for a read that has waited for 2 s. For that one a
 * block may be asked for of a third peer.
 *
 * A want knows the first of its pieces that is not here, and is done when there
 * is none. Wants are found by piece through 256 lists, so that a block costs
 * the same with one parked read as with thousands. */
#include "engine/sched_private.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

/* Pieces of a list of places; a want over more, or over more than is urgent,
 * is kept apart. */
#define PLACE_PIECES 64
/* What of a parked read comes before everything else. */
#define URGENT_BYTES     (8u << 20)
#define LATE_WANTS       64 /* looked at for late blocks in one call */
#define WASTE_PERMILLE   40 /* 50, less what is under way */
#define LATE_JITTER_MS   150
#define LATE_MOST_MS     1000
#define PATIENCE_MS      2000 /* then waste does not count */
#define BULK_PATIENCE_MS 10000
#define SLOW_GRACE_MS    1000 /* a slow peer leaves a read to others so long */

/* --- spans --- */

struct piece_span span_of(const struct layout *l, uint64_t off, uint64_t len)
{
	struct piece_span sp = { 0 };

	CHECK(len && off < l->total && len <= l->total - off);
	sp.first = sp.cursor = layout_piece_at(l, off);
	sp.end = layout_piece_at(l, off + len - 1) + 1;
	return sp;
}

/* Sets the cursor to the first piece that may have something free. */
static void span_refresh(struct piece_span *sp, const struct picker *p)
{
	uint32_t generation = picker_generation(p);

	if (sp->generation != generation || sp->cursor < sp->first) {
		sp->generation = generation;
		sp->cursor = sp->first;
	}
}

size_t span_take(struct piece_span *sp, struct picker *p,
		 const struct picker_peer *peer, uint32_t end, size_t max,
		 int64_t now_ms, struct block_ref *out)
{
	size_t n = 0;

	span_refresh(sp, p);
	for (uint32_t i = sp->cursor; i < end && n < max; i++) {
		n += picker_take(p, peer, i, max - n, now_ms, out + n);
		if (i == sp->cursor && !picker_free_blocks(p, i))
			sp->cursor++;
	}
	return n;
}

bool span_is_interesting(const struct picker *p, const struct picker_peer *peer,
			 uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		if (!picker_has(p, i) && picker_peer_has(peer, i))
			return true;
	return false;
}

/* --- wants --- */

struct sched *sched_new(const struct layout *layout)
{
	struct sched *s = mem_alloc(sizeof(*s));

	s->layout = *layout;
	list_init(&s->readers);
	list_init(&s->active);
	list_init(&s->wants);
	list_init(&s->long_wants);
	for (int i = 0; i < PLACE_BUCKETS; i++)
		list_init(&s->places[i]);
	s->hungry = &s->wants;
	walks_init(s);
	return s;
}

void sched_free(struct sched *s)
{
	struct list *node;

	if (!s)
		return;
	CHECK(list_is_empty(&s->wants));
	while ((node = list_pop_front(&s->readers))) {
		struct reader *r = list_entry(node, struct reader, node);

		list_remove(&r->active);
		r->sched = NULL;
	}
	free(s);
}

static uint32_t urgent_pieces(const struct sched *s)
{
	return URGENT_BYTES / s->layout.piece_length + 1;
}

void sched_park(struct sched *s, struct reader *r, struct want *w,
		int64_t now_ms)
{
	uint32_t num;

	CHECK(!w->sched);
	w->sched = s;
	w->reader = r;
	w->since_ms = w->progress_ms = now_ms;
	w->span = span_of(&s->layout, w->off, w->len);
	list_push_back(&s->wants, &w->node);
	if (s->hungry == &s->wants)
		s->hungry = &w->node;
	num = w->span.end - w->span.first;
	if (num > PLACE_PIECES || num > urgent_pieces(s))
		list_push_back(&s->long_wants, &w->place);
	else
		list_push_back(&s->places[w->span.first / PLACE_PIECES %
					  PLACE_BUCKETS],
			       &w->place);
	s->num_wants++;
	if (r)
		reader_on_parked(r);
}

/* Out of everything but its list of ending ones. */
static void unpark(struct want *w, int64_t now_ms)
{
	struct sched *s = w->sched;

	if (s->hungry == &w->node)
		s->hungry = w->node.next;
	list_remove(&w->node);
	list_remove(&w->place);
	s->num_wants--;
	w->sched = NULL;
	if (w->reader)
		reader_on_unparked(w->reader, now_ms);
	w->reader = NULL;
}

/* Tells each in ENDING; a callback may cancel any of the others. */
static void finish(struct list *ending, int r)
{
	struct list *node;

	while ((node = list_pop_front(ending))) {
		struct want *w = list_entry(node, struct want, node);

		w->done(w, r);
	}
}

void sched_cancel(struct want *w)
{
	if (w->sched) {
		w->sched->epoch++;
		unpark(w, w->reader ? w->reader->free_ms : 0);
	} else if (w->node.next) {
		list_remove(&w->node);
	}
}

bool sched_is_parked(const struct want *w)
{
	return w->sched;
}

uint32_t sched_epoch(const struct sched *s)
{
	return s->epoch;
}

unsigned sched_num_parked(const struct sched *s)
{
	return s->num_wants;
}

bool sched_has_readers(const struct sched *s)
{
	return !list_is_empty(&s->readers);
}

/* Calls FN for each want over PIECE until it says so. */
static bool each_over(struct sched *s, uint32_t piece,
		      bool (*fn)(struct want *w, void *arg), void *arg)
{
	uint32_t at = piece / PLACE_PIECES;
	struct list *lists[] = {
		&s->places[at % PLACE_BUCKETS],
		&s->places[(at - 1) % PLACE_BUCKETS],
		&s->long_wants,
	};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		list_foreach_safe(w, lists[i], struct want, place)
			if (piece >= layout_piece_at(&s->layout, w->off) &&
			    piece < w->span.end && fn(w, arg))
				return true;
	return false;
}

/* --- asking --- */

/* Where the urgent part of a want ends. */
static uint32_t urgent_end(const struct sched *s, const struct want *w)
{
	uint32_t n = urgent_pieces(s);

	return w->span.end - w->span.first > n ? w->span.first + n
					       : w->span.end;
}

/* A copy takes all there is and is parked nearly always; it waits for what
 * others need now. Not for ever. */
static bool can_wait(const struct want *w, int64_t now_ms)
{
	return w->reader && w->reader->class == READER_BULK &&
	       now_ms - w->since_ms < BULK_PATIENCE_MS;
}

static size_t take_parked(struct sched *s, struct picker *p,
			  const struct picker_peer *peer, bool with_bulk,
			  size_t max, int64_t now_ms, struct block_ref *out)
{
	size_t n = 0;

	if (s->hungry_generation != picker_generation(p)) {
		s->hungry_generation = picker_generation(p);
		s->hungry = s->wants.next;
	}
	for (struct list *at = s->hungry; at != &s->wants && n < max;
	     at = at->next) {
		struct want *w = list_entry(at, struct want, node);
		uint32_t end = urgent_end(s, w);

		if (!with_bulk && can_wait(w, now_ms))
			continue;
		if (peer->is_slow && now_ms - w->since_ms < SLOW_GRACE_MS)
			continue;
		n += span_take(&w->span, p, peer, end, max - n, now_ms,
			       out + n);
		if (at == s->hungry && w->span.cursor >= end)
			s->hungry = at->next;
	}
	return n;
}

static size_t take_late(struct sched *s, struct picker *p,
			const struct picker_peer *peer, size_t max,
			int64_t now_ms, int64_t late_ms, struct block_ref *out)
{
	/* What is late at others would be later at a slow one. */
	bool is_patient =
		peer->is_slow || picker_waste_permille(p) > WASTE_PERMILLE;
	unsigned seen = 0;
	size_t n = 0;

	list_foreach(w, &s->wants, struct want, node) {
		bool has_waited = now_ms - w->since_ms >= PATIENCE_MS;
		int copies = has_waited ? PICKER_COPIES : 2;
		uint32_t end = urgent_end(s, w);

		if (n == max || ++seen > LATE_WANTS)
			break;
		if (is_patient && !has_waited)
			continue;
		for (uint32_t i = w->span.first; i < end && n < max; i++)
			n += picker_take_late(p, peer, i, max - n, copies,
					      now_ms, late_ms, out + n);
	}
	return n;
}

/* What is not urgent of large reads. */
static size_t take_rest(struct sched *s, struct picker *p,
			const struct picker_peer *peer, size_t max,
			int64_t now_ms, struct block_ref *out)
{
	size_t n = 0;

	list_foreach(w, &s->long_wants, struct want, place)
		n += span_take(&w->span, p, peer, w->span.end, max - n, now_ms,
			       out + n);
	return n;
}

size_t sched_take_urgent(struct sched *s, struct picker *p,
			 const struct picker_peer *peer, size_t max,
			 int64_t now_ms, int64_t late_ms, struct block_ref *out)
{
	size_t n = take_parked(s, p, peer, false, max, now_ms, out);

	n += take_late(s, p, peer, max - n, now_ms, late_ms, out + n);
	n += readers_take_near(s, p, peer, max - n, now_ms, out + n);
	return n + take_parked(s, p, peer, true, max - n, now_ms, out + n);
}

size_t sched_take(struct sched *s, struct picker *p,
		  const struct picker_peer *peer, size_t max, int64_t now_ms,
		  int64_t late_ms, struct block_ref *out)
{
	size_t n = sched_take_urgent(s, p, peer, max, now_ms, late_ms, out);

	n += readers_take(s, p, peer, max - n, now_ms, out + n);
	return n + take_rest(s, p, peer, max - n, now_ms, out + n);
}

static struct sched_route *quickest(struct sched_route *routes, size_t n)
{
	struct sched_route *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (routes[i].room &&
		    (!best || routes[i].ready_us < best->ready_us))
			best = &routes[i];
	return best;
}

/* What takes more than twice as long as it would here, and some jitter. */
static int64_t late_for(const struct sched_route *route)
{
	int64_t ms = route->ready_us / 1000;

	return LATE_JITTER_MS + 2 * (ms < LATE_MOST_MS ? ms : LATE_MOST_MS);
}

size_t sched_assign(struct sched *s, struct picker *p,
		    struct sched_route *routes, size_t num_routes,
		    int64_t now_ms,
		    void (*ask)(void *arg, struct sched_route *route,
				struct block_ref b),
		    void *arg)
{
	struct sched_route *route;
	struct block_ref b;
	size_t n = 0;

	if (!s->num_wants && !s->num_active)
		return 0;
	while ((route = quickest(routes, num_routes))) {
		/* Here it is known how slow a peer is. */
		route->peer.is_slow = false;
		if (!sched_take_urgent(s, p, &route->peer, 1, now_ms,
				       late_for(route), &b)) {
			route->room = 0;
			continue;
		}
		route->room--;
		route->ready_us += route->block_us;
		ask(arg, route, b);
		n++;
	}
	return n;
}

bool sched_is_interesting(struct sched *s, const struct picker *p,
			  const struct picker_peer *peer, int64_t now_ms)
{
	list_foreach(w, &s->wants, struct want, node)
		if (span_is_interesting(p, peer, w->span.first, w->span.end))
			return true;
	return readers_are_interesting(s, p, peer, now_ms);
}

static bool say_yes(struct want *w, void *arg)
{
	return true;
}

bool sched_is_parked_on(const struct sched *s, uint32_t piece)
{
	return each_over((struct sched *)s, piece, say_yes, NULL);
}

static bool is_urgent(struct want *w, void *arg)
{
	return !can_wait(w, *(const int64_t *)arg);
}

bool sched_is_urgent(const struct sched *s, uint32_t piece, int64_t now_ms)
{
	return each_over((struct sched *)s, piece, is_urgent, &now_ms);
}

bool sched_is_demanded(struct sched *s, uint32_t piece, int64_t now_ms)
{
	return sched_is_parked_on(s, piece) || readers_demand(s, piece, now_ms);
}

/* --- news --- */

static bool note_progress(struct want *w, void *arg)
{
	w->progress_ms = *(const int64_t *)arg;
	return false;
}

void sched_on_block(struct sched *s, uint32_t piece, int64_t now_ms)
{
	if (s->num_wants)
		each_over(s, piece, note_progress, &now_ms);
}

struct arrival {
	struct sched *sched;
	const struct picker *picker;
	int64_t now_ms;
	struct list ending;
};

/* Finds the first piece not here; those before may have been evicted. */
static bool is_whole(const struct arrival *a, struct want *w)
{
	struct piece_span *sp = &w->span;
	uint32_t i;

	while (sp->first < sp->end && picker_has(a->picker, sp->first))
		sp->first++;
	if (sp->first < sp->end)
		return false;
	for (i = layout_piece_at(&a->sched->layout, w->off);
	     i < sp->end && picker_has(a->picker, i); i++)
		;
	sp->first = sp->cursor = i;
	return i == sp->end;
}

static bool note_arrival(struct want *w, void *arg)
{
	struct arrival *a = arg;
	uint32_t first = w->span.first;

	w->progress_ms = a->now_ms;
	if (is_whole(a, w)) {
		unpark(w, a->now_ms);
		list_push_back(&a->ending, &w->node);
	} else if (w->span.first != first) {
		/* More of a large one is urgent now. */
		a->sched->hungry = a->sched->wants.next;
	}
	return false;
}

void sched_on_piece(struct sched *s, const struct picker *p, uint32_t piece,
		    int64_t now_ms)
{
	struct arrival a = { .sched = s, .picker = p, .now_ms = now_ms };

	if (!s->num_wants)
		return;
	list_init(&a.ending);
	each_over(s, piece, note_arrival, &a);
	finish(&a.ending, 0);
}

void sched_tick(struct sched *s, int64_t now_ms, int64_t timeout_ms,
		bool no_source, int64_t grace_ms)
{
	struct list late, lost;

	list_init(&late);
	list_init(&lost);
	list_foreach_safe(w, &s->wants, struct want, node) {
		bool is_late =
			timeout_ms > 0 && now_ms - w->progress_ms >= timeout_ms;
		bool is_lost = no_source && now_ms - w->since_ms >= grace_ms;

		if (!is_late && !is_lost)
			continue;
		unpark(w, now_ms);
		list_push_back(is_lost ? &lost : &late, &w->node);
	}
	finish(&lost, -ENODATA);
	finish(&late, -ETIMEDOUT);
}

void sched_fail_all(struct sched *s, int r)
{
	struct list ending;

	list_init(&ending);
	list_foreach_safe(w, &s->wants, struct want, node) {
		int64_t now_ms = w->reader ? w->reader->free_ms : 0;

		unpark(w, now_ms);
		list_push_back(&ending, &w->node);
	}
	finish(&ending, r);
}
