/* dht/kad.h: a Kademlia node of one address family: table, queries, lookups
 * and the upkeep of all three. What it does not know is handed in: how messages
 * look (struct kad_codec), who may have which id and who counts as alive and k
 * (struct kad_rules), how to send, and where chance comes from. Mainline is one
 * overlay on it, the trackers' another; tests/dht has a third, of a page.
 *
 * Time is an argument. What it is told it remembers; it answers nobody:
 * queries of others go to on_query. Callbacks may start and cancel anything
 * but not release the node. One thread at a time. */
#pragma once

#include "dht/kad_rpc.h"
#include "dht/kad_table.h"
#include "engine/base/bytes.h"
#include "engine/base/list.h"

#define KAD_PACKET_BYTES 1400 /* a query of ours at most */

enum kad_kind {
	KAD_QUERY,
	KAD_ANSWERS,
	KAD_ERROR
};

struct kad_msg { /* what a codec makes of a datagram; all is borrowed */
	enum kad_kind kind;
	struct span tid;
	bool has_id;
	struct kad_id id;  /* of the sender */
	struct span token; /* to be given back with a later write */
	unsigned num_nodes;
	struct kad_contact nodes[LIMIT_KAD_MSG_NODES]; /* of either family */
	const void *body; /* the codec's own, for on_query and callbacks */
};

enum kad_method { /* what the core itself asks; an overlay's own follow */
	KAD_PING,
	KAD_FIND,
	KAD_METHOD_OWN
};

struct kad_query {
	uint8_t method;
	const struct kad_id *target; /* NULL with KAD_PING */
	const void *ctx;             /* what the overlay gave with its method */
	struct span token;           /* of kad_ask */
	const struct addr *to;
	uint8_t tid[KAD_TID_BYTES];
};

struct kad_codec {
	/* Returns the length, 0: does not fit. */
	size_t (*write)(void *arg, const struct kad_query *q, uint8_t *out,
			size_t size);
	/* False: not a message. Must set all of OUT but nodes past num_nodes.
	 */
	bool (*parse)(void *arg, const struct addr *from, const uint8_t *bytes,
		      size_t len, struct kad_msg *out);
};

struct kad_io {
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	uint32_t (*random)(void *arg); /* must not be guessable */
	void (*on_query)(void *arg, int64_t now_ms, const struct addr *from,
			 const struct kad_msg *msg);
	/* An answer that was waited for, before whoever asked is told. May be
	 * NULL. */
	void (*on_answer)(void *arg, int64_t now_ms, const struct addr *from,
			  const struct kad_msg *msg);
	/* A node of the other family was named. May be NULL. */
	void (*on_foreign)(void *arg, int64_t now_ms,
			   const struct kad_contact *contact);
	void *arg; /* borrowed; for these and the codec */
};

struct kad_options {
	struct kad_rules rules;
	struct kad_codec codec;
	struct kad_io io;
	int family;  /* 4 or 6 */
	uint8_t tag; /* of transaction ids */
	struct kad_id self;
};

struct kad {
	struct kad_options o;
	struct kad_table table;
	struct kad_rpc rpc;
	struct list lookups;
	unsigned num_lookups;
	struct kad_lookup *self_lookup; /* NULL: none is under way */
	int64_t now_ms, start_ms;
	int64_t check_ms;     /* next look at a stale node */
	int64_t suspect_ms;   /* next look at one that failed */
	int64_t candidate_ms; /* next look at candidates */
	int64_t self_ms;      /* next lookup of our own id */
	int64_t lookup_ms;    /* a lookup waits for kad_tick */
	unsigned self_tries;  /* while the table is short */
	double size_log2;     /* estimated nodes of the overlay, 0: not known */
	unsigned size_samples;
};

void kad_init(struct kad *k, const struct kad_options *options, int64_t now_ms);
void kad_release(struct kad *k); /* lookups and calls end silently */
void kad_set_self(struct kad *k, const struct kad_id *self);

/* A datagram of this overlay. False: no message. */
bool kad_on_packet(struct kad *k, int64_t now_ms, const struct addr *from,
		   const uint8_t *bytes, size_t len);
void kad_tick(struct kad *k, int64_t now_ms); /* does what is due */
int64_t kad_next_ms(const struct kad *k);     /* when that is */

/* The sender of a query, if it may be asked itself (not read-only). */
void kad_on_sender(struct kad *k, int64_t now_ms,
		   const struct kad_contact *contact);
/* Somebody who is said to be a node: from disk, from a torrent. */
void kad_suggest(struct kad *k, int64_t now_ms,
		 const struct kad_contact *contact);

/*
 * One query. ID may be NULL: not known. FN is called as kad_rpc.h says, never
 * from in here; NULL: the table's business only. FN may ask again when slow;
 * NULL: too many are out, or it does not
 * fit.
 */
struct kad_call *kad_ask(struct kad *k, int64_t now_ms,
			 const struct kad_query *query, const struct kad_id *id,
			 const struct addr *to, kad_call_fn *fn, void *arg);
/* Sends CALL's query once more; QUERY as before. */
void kad_ask_again(struct kad *k, int64_t now_ms, struct kad_call *call,
		   const struct kad_query *query, int64_t wait_ms);

/* Compact contacts, as messages carry them and files hold them: id and compact
 * address (BEP 5, 32). Into the nodes of a message: those who can be there. */
void kad_msg_take(struct kad_msg *out, struct span compact, int family);
#define KAD_SAVED_BYTES (LIMIT_KAD_SAVED * (KAD_ID_BYTES + 18))
/* The good nodes. Returns the length. */
size_t kad_save(const struct kad *k, uint8_t out[KAD_SAVED_BYTES]);
void kad_load(struct kad *k, int64_t now_ms, struct span saved); /* suggests */

/* Fill the table now: start from the nodes it has. */
void kad_refresh(struct kad *k, int64_t now_ms);
/* Estimated number of nodes of the overlay; 0: not known yet. */
double kad_size(const struct kad *k);
