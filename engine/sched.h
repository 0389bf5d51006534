/* engine/sched.h: what readers need, and in which order. Pure: time is an
 * argument. Loop thread only.
 *
 * First the blocks under parked reads, oldest read first, those of a copy after
 * what others need soon. Then a window ahead of each sequential reader, nearest
 * bytes first. Then nothing: what is not read is not fetched. Priorities are
 * computed from readers and wants each time a peer asks for work, never
 * patched.
 *
 * Classes of a reader (design section 6):
 *   PROBE   first reads and unconfirmed jumps: the covering pieces only
 *   STREAM  a second read that goes on where the first ended, or a third one
 *	     at most 8 MiB on: window = 20 s of what it takes while it is not
 *	     blocked, at least 4 MiB
 *   BULK    takes all it gets (cp): window 64 MiB, and more than a piece
 * A jump is a read farther than 8 MiB from where the reader was going. Until it
 * is confirmed in the same way, the window stays where it was: a look at the
 * index at the end of a film costs the film's window nothing. */
#pragma once

#include <stdbool.h>

#include "engine/base/list.h"
#include "engine/layout.h"
#include "engine/picker.h"

struct sched;
struct reader;

/* Pieces [first, end), and what is known about them. */
struct piece_span {
	uint32_t first, end;
	/* Nothing before this piece was free in this generation. */
	uint32_t cursor, generation;
};

/* A read that waits. Embedded in the waiter, zeroed before its first use, who
 * fills off, len and done; the rest is private. */
struct want {
	uint64_t off, len; /* bytes of the torrent; len > 0 */
	/* Once, unless cancelled: 0 all its pieces are here; -ENODATA,
	 * -ETIMEDOUT, -EIO. The want is out of the scheduler by then and may
	 * be freed or parked again. */
	void (*done)(struct want *w, int r);

	struct list node;              /* in the scheduler, oldest first */
	struct list place;             /* in the scheduler, by its pieces */
	struct sched *sched;           /* borrowed; NULL: not parked */
	struct reader *reader;         /* borrowed; NULL: none */
	int64_t since_ms, progress_ms; /* parked; last useful block */
	struct piece_span span;        /* from the first that is not here */
};

struct sched *sched_new(const struct layout *layout);
/* Every want is out by then. Readers may outlive it only to be freed. */
void sched_free(struct sched *s);

/* A reader of torrent bytes [start, end): one open file. */
struct reader *reader_new(struct sched *s, uint64_t start, uint64_t end);
void reader_free(struct reader *r); /* its wants were cancelled */
/* Each read, before it is parked or answered. */
void reader_on_read(struct reader *r, uint64_t off, uint64_t len,
		    int64_t now_ms);
/* A file, bytes [start, end) of the torrent, was asked for from its first byte
 * to its last. Three in the order of the torrent, each where the last one
 * ended or nearly so, are a walk: a stream that goes on over the files behind
 * them, with a window of 20 s of what it takes, and 8 bytes for each one read.
 * Looking at the heads of files is none. */
void sched_on_whole_file(struct sched *s, uint64_t start, uint64_t end,
			 int64_t now_ms);
/* Fetch this range soon, without a read (prefetch). */
void reader_prefetch(struct reader *r, uint64_t off, uint64_t len,
		     int64_t now_ms);

/* W's range is not all here. Ends with done() or sched_cancel(). */
void sched_park(struct sched *s, struct reader *r, struct want *w,
		int64_t now_ms);
void sched_cancel(struct want *w); /* no done(); harmless when not parked */
bool sched_is_parked(const struct want *w);
unsigned sched_num_parked(const struct sched *s);
bool sched_has_readers(const struct sched *s); /* is a file open? */

/* Up to MAX blocks for PEER, most urgent first, marked asked in P. Blocks under
 * parked reads that are late elsewhere (older than LATE_MS) are asked twice, a
 * third time for a read that has waited for 2 s. */
size_t sched_take(struct sched *s, struct picker *p,
		  const struct picker_peer *peer, size_t max, int64_t now_ms,
		  int64_t late_ms, struct block_ref *out);
/* The same, but only what parked reads wait for. */
size_t sched_take_urgent(struct sched *s, struct picker *p,
			 const struct picker_peer *peer, size_t max,
			 int64_t now_ms, int64_t late_ms,
			 struct block_ref *out);

/* A peer as a way for blocks to come. */
struct sched_route {
	struct picker_peer peer;
	size_t room;      /* blocks that it may be asked for now */
	int64_t ready_us; /* until one asked now is here: queue and round trip
			   */
	int64_t block_us; /* and each one after it */
	void *owner;      /* the caller's */
};
/*
 * Hands out what parked reads wait for, over all peers that could be asked:
 * each block to the one by which it is here first, and so the blocks of a piece
 * over the fastest. ASK is told each one, and may change nothing in the
 * scheduler. To be called when a read is parked, when blocks are lost, and on
 * each tick; routes are used up. Returns how many were asked for.
 */
size_t sched_assign(struct sched *s, struct picker *p,
		    struct sched_route *routes, size_t num_routes,
		    int64_t now_ms,
		    void (*ask)(void *arg, struct sched_route *route,
				struct block_ref b),
		    void *arg);

/* Is anything demanded that PEER could give? For "interested". */
bool sched_is_interesting(struct sched *s, const struct picker *p,
			  const struct picker_peer *peer, int64_t now_ms);
/* Is PIECE under a parked read or in a window? Else its requests may be
 * cancelled after a seek. */
bool sched_is_demanded(struct sched *s, uint32_t piece, int64_t now_ms);
/* Changes when something may have ceased to be demanded: a jump, a cancelled
 * read, a closed file. Only then is it worth looking for such requests. */
uint32_t sched_epoch(const struct sched *s);
/* Is any reader waiting on PIECE right now? */
bool sched_is_parked_on(const struct sched *s, uint32_t piece);
/* One that cannot wait: not a copy, which takes what comes. */
bool sched_is_urgent(const struct sched *s, uint32_t piece, int64_t now_ms);

void sched_on_block(struct sched *s, uint32_t piece, int64_t now_ms);
/* PIECE is here (P knows it): finishes the wants that have all they need. */
void sched_on_piece(struct sched *s, const struct picker *p, uint32_t piece,
		    int64_t now_ms);
/* Fails wants without progress for TIMEOUT_MS with -ETIMEDOUT, and, if nobody
 * is left to ask (NO_SOURCE), those older than GRACE_MS with -ENODATA. */
void sched_tick(struct sched *s, int64_t now_ms, int64_t timeout_ms,
		bool no_source, int64_t grace_ms);
/* Ends all, with R: the torrent stops, the disk failed. */
void sched_fail_all(struct sched *s, int r);
