/* dht/dht_private.h: what the parts of the mainline node share. dht.c: life;
 * dht_codec.c: messages in and out; dht_server.c: queries of others;
 * dht_op.c, dht_items.c: our own operations. */
#pragma once

#include "dht/budget.h"
#include "dht/dht.h"
#include "dht/dht_msg.h"
#include "dht/itemstore.h"
#include "dht/kad.h"
#include "dht/kad_lookup.h"
#include "dht/peerstore.h"
#include "dht/token.h"
#include "engine/base/list.h"

#define DHT_K      8
#define DHT_VOTES  16 /* on our address, kept */
#define DHT_AGREED 5  /* nets that must agree */

struct dht_vote {
	struct addr from, ip;
};

struct dht_family { /* 0: IPv4, 1: IPv6 */
	bool is_on;
	struct kad kad;
	struct dht_vote votes[DHT_VOTES];
	unsigned num_votes;
	struct addr external; /* family 0: not known */
	bool is_id_given;     /* by the caller: kept as it is */
};

struct dht {
	struct dht_io io;
	struct dht_options o;
	struct dht_family family[2];
	struct dht_msg msg; /* the one at hand */
	size_t msg_len;
	struct budget budget;
	struct token_secrets tokens;
	struct peerstore *peers;
	struct itemstore *items;
	struct list ops;
	unsigned num_ops;
	int64_t now_ms, start_ms, tick_ms;
	int64_t bootstrap_ms; /* when to ask for nodes */
	unsigned bootstrap_tries;
	int64_t sweep_ms;
	int64_t well_ms; /* last answer of anybody; INT64_MIN: never */
	struct dht_stats stats;
	bool is_busy; /* inside dht_on_packet or dht_tick */
};

static inline unsigned dht_index(int family)
{
	return family == 6;
}

static inline struct kad_id dht_id_of(struct span s)
{
	struct kad_id id;

	memcpy(id.b, s.ptr, sizeof(id.b));
	return id;
}

uint32_t dht_random_u32(struct dht *d);
void dht_wake(struct dht *d); /* something is due earlier */

/* dht_codec.c */
size_t dht_codec_write(void *arg, const struct kad_query *q, uint8_t *out,
		       size_t size);
bool dht_codec_parse(void *arg, const struct addr *from, const uint8_t *bytes,
		     size_t len, struct kad_msg *out);

/* dht_server.c */
void dht_server_on_query(void *arg, int64_t now_ms, const struct addr *from,
			 const struct kad_msg *msg);

/* --- operations --- */

enum dht_op_kind {
	DHT_OP_PEERS,
	DHT_OP_NODE,
	DHT_OP_PING,
	DHT_OP_GET,
	DHT_OP_PUT,
	DHT_OP_SAMPLE
};

struct dht_write { /* one announce or put under way */
	struct dht_op *op;
	struct kad_call *call; /* NULL: over */
	struct kad *kad;
	uint8_t token[LIMIT_KAD_TOKEN_BYTES];
	uint8_t token_len;
};

struct dht_search { /* one family's part of an operation */
	struct dht_op *op;
	struct kad_lookup *lookup; /* NULL: not begun, or over */
	bool is_over;
};

struct dht_op {
	struct list node;
	struct dht *dht;
	enum dht_op_kind kind;
	struct kad_id target;
	int64_t start_ms, wait_until_ms; /* for a first node */
	struct dht_search search[2];
	struct dht_write *writes; /* owned */
	unsigned num_writes, writes_out;
	struct kad_call *call; /* of ping and sample */
	struct dht_result result;
	struct kad_contact *nodes; /* owned; of both families */
	/* The operation's own words. */
	struct dht_get_peers peers;
	struct dht_get_item get;
	struct dht_put_item put;
	uint8_t salt[LIMIT_DHT_SALT_BYTES];
	uint8_t *v;            /* owned; of put */
	bool has_seq;          /* of get: something was found, */
	int64_t seq;           /* this at best */
	uint32_t *seen;        /* owned; peers told, by hash */
	uint8_t bloom[2][256]; /* BEP 33: seeds, downloaders */
	bool has_bloom;
	dht_done_fn *on_done;
	void (*on_pong)(void *arg, const struct kad_id *id, int64_t rtt_ms);
	void (*on_sample)(void *arg, const struct infohash *hashes, size_t n,
			  int64_t interval_s, int64_t num);
	void *arg; /* borrowed */
};

/* Begins, ends or gives up what waits. */
void dht_ops_step(struct dht *d);
int64_t dht_ops_next_ms(const struct dht *d);

/* dht_op.c, for the files of single operations */
struct dht_op *dht_op_new(struct dht *d, enum dht_op_kind kind,
			  const struct kad_id *target);
void dht_op_start(struct dht_op *op);
void dht_op_finish(struct dht_op *op); /* frees it, tells */
uint8_t dht_op_method(const struct dht_op *op, bool is_write);

/* dht_items.c */
void dht_items_on_answer(struct dht_op *op, const struct dht_msg *m);
