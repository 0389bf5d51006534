/* engine/sched_private.h: what sched.c (wants) and reader.c (windows) share.
 * Nobody else includes this, but for their tests. */
#pragma once

#include "engine/sched.h"

enum reader_class {
	READER_PROBE,
	READER_STREAM,
	READER_BULK
};

/* Reads that go on from each other. */
struct run {
	uint64_t next;  /* where the next read would be */
	uint64_t bytes; /* read so far; 0: no such run */
	int score;      /* how sure it is that there will be a next one */
};

struct reader {
	struct sched *sched; /* borrowed; NULL when it is gone */
	struct list node;    /* in the scheduler's readers */
	struct list active;  /* in its active ones: has a window or prefetch */
	uint64_t start, end; /* bytes of the torrent */
	enum reader_class class;
	bool is_walk;    /* over files, see sched_on_whole_file */
	uint64_t walked; /* num_walked of its last file */

	struct run run;  /* where the window is */
	struct run jump; /* one that may become it */

	unsigned num_parked;
	int64_t read_ms; /* last read */
	int64_t free_ms; /* last time from which it was not blocked */
	/* Consumption while not blocked, of late. */
	uint64_t taken_bytes, taken_ms;

	struct piece_span window;
	struct piece_span prefetch; /* empty: none */
};

#define PLACE_BUCKETS 256
#define WALKS_MAX     4

struct sched {
	struct layout layout;
	struct list readers; /* all */
	struct list active;  /* those with something to fetch, in turn */
	unsigned num_active;
	struct reader walks[WALKS_MAX];
	uint64_t num_walked; /* files */
	struct list wants;   /* oldest first */
	unsigned num_wants;
	/* No want before this node has a free block in the pieces that are
	 * urgent, as of this generation; &wants: none at all. */
	struct list *hungry;
	uint32_t hungry_generation;
	uint32_t epoch; /* of demands that ceased */
	/* Wants by their first piece; those over many pieces apart. */
	struct list places[PLACE_BUCKETS];
	struct list long_wants;
};

struct piece_span span_of(const struct layout *l, uint64_t off, uint64_t len);
/* Nearest piece first, before piece END. */
size_t span_take(struct piece_span *sp, struct picker *p,
		 const struct picker_peer *peer, uint32_t end, size_t max,
		 int64_t now_ms, struct block_ref *out);
/* Is a piece of [first, end) not here that PEER has? */
bool span_is_interesting(const struct picker *p, const struct picker_peer *peer,
			 uint32_t first, uint32_t end);

/* --- reader.c --- */

void walks_init(struct sched *s);
void reader_on_parked(struct reader *r);
void reader_on_unparked(struct reader *r, int64_t now_ms);
/* What readers of a steady rate need soon. Call this before the next one: it
 * computes the windows. */
size_t readers_take_near(struct sched *s, struct picker *p,
			 const struct picker_peer *peer, size_t max,
			 int64_t now_ms, struct block_ref *out);
/* From the windows of all readers, then from what is to be prefetched. */
size_t readers_take(struct sched *s, struct picker *p,
		    const struct picker_peer *peer, size_t max, int64_t now_ms,
		    struct block_ref *out);
bool readers_are_interesting(struct sched *s, const struct picker *p,
			     const struct picker_peer *peer, int64_t now_ms);
bool readers_demand(struct sched *s, uint32_t piece, int64_t now_ms);
