/* dht/kad_rpc.h: queries of ours that wait for an answer.
 *
 * A transaction id is four bytes: the overlay's tag, 22 bits that nobody can
 * guess, and which of up to eight sendings it was, so that a round trip is
 * known exactly even where packets are lost. An answer counts only if it comes
 * from where the query went.
 *
 *   ask --> [soft timeout: KAD_SLOW, the owner may send again] ... -->
 * KAD_ANSWER [hard timeout] --> KAD_TIMEOUT
 *
 * Takes time and randomness as arguments; sends nothing itself. One thread at
 * a time. */
#pragma once

#include <stddef.h>

#include "dht/kad_id.h"
#include "engine/base/limits.h"

#define KAD_TID_BYTES   4
#define KAD_SENDS_USUAL 5 /* of one query, at most */
#define KAD_SENDS_MAX   8 /* where an overlay wants more */

enum kad_event {
	KAD_ANSWER,
	KAD_REFUSED, /* an error message */
	KAD_SLOW,    /* would be here by now: others may be asked meanwhile */
	KAD_TIMEOUT, /* the last event, as are answer and refusal */
};

struct kad_msg; /* kad.h */
struct kad_call;

/* MSG: with KAD_ANSWER and KAD_REFUSED; with KAD_TIMEOUT, if another node than
 * was asked has answered. CALL is valid until the last event has returned. */
typedef void kad_call_fn(void *arg, struct kad_call *call, enum kad_event event,
			 const struct kad_msg *msg);

struct kad_call {        /* to be read by all, written by kad_rpc.c */
	kad_call_fn *fn; /* NULL: nobody cares any more */
	void *arg;       /* borrowed */
	struct kad_contact to;
	bool has_id; /* to.id is known, and must be that of who answers */
	bool is_used;
	uint8_t sends;
	uint8_t method;
	uint16_t index;
	uint16_t nonce;
	int64_t first_ms;
	uint16_t sent_at[KAD_SENDS_MAX]; /* ms after first_ms */
	int64_t slow_ms;                 /* next KAD_SLOW; INT64_MAX: none */
	int64_t hard_ms;
};

struct kad_rpc_stats {
	uint64_t sent, answered, refused, timed_out;
	uint64_t spoofed;  /* right id, wrong address */
	uint64_t unasked;  /* no such transaction */
	uint64_t mismatch; /* another node than was asked answered */
	uint64_t full;     /* not asked: LIMIT_KAD_CALLS */
};

#define KAD_RTT_SAMPLES 64
#define KAD_CALLS_CHUNK 32

struct kad_rpc {
	uint8_t tag;
	uint32_t (*random)(void *arg);
	void *arg; /* borrowed; for random */
	/* Owned; grows by chunks, so that a call stays where it is. */
	struct kad_call *chunks[LIMIT_KAD_CALLS / KAD_CALLS_CHUNK];
	unsigned num_slots, num_calls;
	unsigned next_slot; /* of kad_rpc_due */
	int64_t next_ms;    /* nothing is due before */
	int64_t last_answer_ms;
	uint16_t rtt[KAD_RTT_SAMPLES]; /* a ring */
	unsigned num_rtt;
	uint16_t p90_ms;
	struct kad_rpc_stats stats;
};

/* TAG: first byte of every transaction id, one for each overlay of the port. */
void kad_rpc_init(struct kad_rpc *r, uint8_t tag, uint32_t (*random)(void *arg),
		  void *arg);
void kad_rpc_release(struct kad_rpc *r); /* silently drops all calls */

/* A new call; the caller sends it now. ID may be NULL: not known. NULL: too
 * many are out. */
struct kad_call *kad_rpc_ask(struct kad_rpc *r, int64_t now_ms,
			     const struct kad_id *id, const struct addr *to,
			     kad_call_fn *fn, void *arg);
void kad_rpc_tid(const struct kad_rpc *r, const struct kad_call *call,
		 uint8_t out[KAD_TID_BYTES]);
/* The next KAD_SLOW comes WAIT_MS from now; IS_SENT: the caller sends the same
 * query once more, in all at most KAD_SENDS_MAX times. */
void kad_rpc_wait(struct kad_rpc *r, int64_t now_ms, struct kad_call *call,
		  int64_t wait_ms, bool is_sent);
/* No event any more; an answer is still recognised. */
void kad_rpc_forget(struct kad_call *call);

/*
 * Whose answer this is. NULL: nobody's. The caller deals with what came, then
 * calls kad_rpc_end.
 */
struct kad_call *kad_rpc_match(struct kad_rpc *r, const uint8_t *tid,
			       size_t tid_len, const struct addr *from);
/* CALL was answered, under TID: notes the round trip and returns it. */
uint16_t kad_rpc_on_answer(struct kad_rpc *r, int64_t now_ms,
			   struct kad_call *call, const uint8_t *tid);
void kad_rpc_end(struct kad_rpc *r, struct kad_call *call); /* frees it */

/* A call that is slow or over, one after the other. NULL: none is. *event is
 * for its owner; after KAD_TIMEOUT the caller ends it. */
struct kad_call *kad_rpc_due(struct kad_rpc *r, int64_t now_ms,
			     enum kad_event *event);
int64_t kad_rpc_next_ms(const struct kad_rpc *r); /* INT64_MAX: nothing */

/* max(150 ms, 2 * p90 of the round trips), at most half of the hard one. */
int64_t kad_rpc_soft_ms(const struct kad_rpc *r);
/* When nine of ten answers are here, and a little more. */
int64_t kad_rpc_usual_ms(const struct kad_rpc *r);
