/* engine/metaxfer.h: an info dict fetched in 16 KiB parts from several peers
 * (BEP 9). Pure: time is an argument; the peers are small numbers. Loop thread.
 *
 * A peer's claim of a size is only a claim: parts are kept per claimed size,
 * memory grows with what arrives, and when a full set does not hash right, the
 * peers that gave it are told apart: with one giver it is to blame, with
 * several each size is fetched again from one peer alone. */
#pragma once

#include "engine/base/bytes.h"
#include "engine/base/id.h"

struct metaxfer;

/* V1 or V2 may be NULL; a dict that matches either is right. */
struct metaxfer *metaxfer_new(const struct infohash *v1,
			      const struct infohash2 *v2);
void metaxfer_free(struct metaxfer *x);

/* A peer that has ut_metadata and claims SIZE bytes. Claims over the limit, or
 * of 0, make the peer useless here. */
void metaxfer_add_peer(struct metaxfer *x, uint32_t peer, uint32_t size);
void metaxfer_remove_peer(struct metaxfer *x, uint32_t peer);
/* From now on PEER is asked for one part at a time. */
void metaxfer_ask_singly(struct metaxfer *x, uint32_t peer);

/* Which part PEER should be asked for now; -1: none. At most 2 under way per
 * peer; a part unanswered for 3 s goes to others too, for 0.7 s if they have
 * nothing else to do. Marks it asked. */
int metaxfer_next(struct metaxfer *x, uint32_t peer, int64_t now_ms);

enum metaxfer_result {
	METAXFER_MORE,     /* taken; more parts are missing */
	METAXFER_DONE,     /* complete and right: metaxfer_info() */
	METAXFER_IGNORED,  /* not asked for, or a duplicate */
	METAXFER_BAD_PEER, /* PEER lied: drop it */
	METAXFER_AGAIN,    /* the set was wrong, nobody to blame yet */
};
enum metaxfer_result metaxfer_on_data(struct metaxfer *x, uint32_t peer,
				      uint32_t part, uint32_t total_size,
				      struct span data);
void metaxfer_on_reject(struct metaxfer *x, uint32_t peer, uint32_t part,
			int64_t now_ms);

struct span metaxfer_info(const struct metaxfer *x); /* after DONE */
/* 0..100, for status. */
unsigned metaxfer_percent(const struct metaxfer *x);
