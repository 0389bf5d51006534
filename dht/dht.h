/* dht/dht.h: a node of the mainline DHT, on both address families: BEP 5, 32,
 * 33, 42, 43, 44, 46 and 51. The public face of this folder.
 *
 * No socket, no clock, no chance of its own: all three are handed in, several
 * nodes live in one process, and a run can be repeated. The driver gives each
 * datagram to dht_on_packet and calls dht_tick at dht_next_ms; dht_loop.h is
 * one for engine/base. One thread at a time.
 *
 * Operations return a handle. Callbacks are made from dht_on_packet and
 * dht_tick only; they may start and cancel operations but not free the node.
 * After on_done, or dht_op_cancel, the handle is gone and nothing is called
 * any more. */
#pragma once

#include "dht/item.h"
#include "dht/kad_id.h"
#include "engine/base/buf.h"
#include "engine/base/id.h"

struct dht;
struct dht_op;

struct dht_io {
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	int64_t (*now)(void *arg);                        /* monotonic ms */
	void (*random)(void *arg, void *out, size_t len); /* not guessable */
	/* Few nodes or none: call dht_bootstrap with some, whenever they are
	 * known. Asked for at growing intervals. May be NULL. */
	void (*want_nodes)(void *arg);
	/* Something was begun outside dht_on_packet and dht_tick: dht_next_ms
	 * is earlier than it was. May be NULL. */
	void (*wake)(void *arg);
	void *arg; /* borrowed */
};

struct dht_options {
	bool v4, v6;
	bool is_read_only; /* BEP 43: asks, and is in nobody's table */
	/* Addresses of loopback and private nets count as any other, may have
	 * any id, and as many nodes as there are ports: private swarms. */
	bool allow_local;
	const struct kad_id *id4, *id6; /* NULL: random, later BEP 42 */
	/* What strangers may cost; 0: the defaults of limits.h. */
	unsigned upload_bps, queries_per_s, address_per_s;
};

struct dht *dht_new(const struct dht_io *io, const struct dht_options *options);
void dht_free(struct dht *d); /* operations end silently; NULL is harmless */

/* Any datagram that begins with 'd'. */
void dht_on_packet(struct dht *d, const struct addr *from, const uint8_t *bytes,
		   size_t len);
void dht_tick(struct dht *d);
int64_t dht_next_ms(struct dht *d); /* of io->now */

/* --- getting in, staying in --- */

/* Nodes to start from, their ids unknown. */
void dht_bootstrap(struct dht *d, const struct addr *addrs, size_t n);
/* Somebody says that a node is there (BEP 5 "port", "nodes" of a torrent). It
 * is asked if the table is short, and the address not local or such allowed. */
void dht_suggest(struct dht *d, const struct addr *addr);
/* Appends our ids and the good nodes; dht_load takes it into a new node.
 * Returns 0, or -EBADMSG with nothing loaded. */
void dht_save(const struct dht *d, struct buf *out);
int dht_load(struct dht *d, const uint8_t *bytes, size_t len);
bool dht_is_short(const struct dht *d); /* a family has few good nodes */
const struct kad_id *dht_id(const struct dht *d, int family);

struct dht_stats {
	unsigned good[2], nodes[2]; /* IPv4, IPv6 */
	unsigned lookups;
	double size[2];          /* nodes of the overlay, estimated; 0 */
	int64_t last_answer_ms;  /* ago; -1: nobody ever did */
	bool is_well;            /* good nodes, and answers in 60 s */
	bool is_id_verified[2];  /* our id is BEP 42's for our address */
	struct addr external[2]; /* as others see us; family 0: not known */
	uint64_t queries_in, answers_out, errors_out, bytes_in, bytes_out;
	uint64_t queries_out, answers_in, timeouts;
	uint64_t dropped_address, dropped_global; /* over a budget */
	uint64_t dropped_upload, dropped_junk, dropped_martian;
	uint64_t spoofed, mismatches, bad_tokens;
	unsigned stored_hashes, stored_peers, stored_items;
};
void dht_stats(struct dht *d, struct dht_stats *out);
/* One line of JSON, as status.json has it; returns the length. */
size_t dht_describe(struct dht *d, char *out, size_t size);

/* --- operations --- */

struct dht_result { /* of all that look something up */
	unsigned queries, answers, hops;
	int64_t took_ms;
	unsigned num_peers;          /* get_peers: distinct addresses told */
	unsigned num_stored;         /* announce, put: nodes that took it */
	unsigned seeds, downloaders; /* BEP 33, when asked for; estimates */
	const struct kad_contact *nodes; /* closest first; borrowed */
	unsigned num_nodes;
};
typedef void dht_done_fn(void *arg, const struct dht_result *result);

struct dht_get_peers {
	struct infohash infohash;
	bool want_scrape;  /* BEP 33 */
	bool no_seeds;     /* a seed looks for leechers */
	bool is_announce;  /* and then say that we have it: */
	uint16_t port;     /* where peers reach us; */
	bool implied_port; /* or where this came from (NAT) */
	bool is_seed;
	/* Each batch of new ones as it comes; borrowed. */
	void (*on_peers)(void *arg, const struct addr *addrs, size_t n);
	dht_done_fn *on_done;
	void *arg; /* borrowed */
};
/* NULL, here and below: LIMIT_KAD_LOOKUPS. */
struct dht_op *dht_get_peers(struct dht *d, const struct dht_get_peers *spec);

struct dht_op *dht_find_node(struct dht *d, const struct kad_id *id,
			     dht_done_fn *on_done, void *arg);
/* RTT_MS < 0: no answer. ID: of who answered. */
struct dht_op *dht_ping(struct dht *d, const struct addr *to,
			void (*on_done)(void *arg, const struct kad_id *id,
					int64_t rtt_ms),
			void *arg);

struct dht_get_item {
	struct kad_id target; /* sha1 of v; of a mutable one it follows from */
	bool is_mutable;      /* these two: */
	uint8_t pk[32];
	struct span salt; /* copied */
	/* What is valid, and newer than all before: an immutable one once,
	 * a mutable one perhaps several times. */
	void (*on_value)(void *arg, const struct item *value);
	dht_done_fn *on_done;
	void *arg; /* borrowed */
};
struct dht_op *dht_get_item(struct dht *d, const struct dht_get_item *spec);

struct dht_put_item {
	struct item value; /* signed already; copied */
	bool has_cas;
	int64_t cas;
	dht_done_fn *on_done;
	void *arg; /* borrowed */
};
struct dht_op *dht_put_item(struct dht *d, const struct dht_put_item *spec);

/* One query of BEP 51. HASHES are borrowed; n == 0 and interval_s < 0: no
 * answer. */
struct dht_op *
dht_sample(struct dht *d, const struct addr *to, const struct kad_id *target,
	   void (*on_done)(void *arg, const struct infohash *hashes, size_t n,
			   int64_t interval_s, int64_t num),
	   void *arg);

/* Silence from here on. Harmless on NULL. */
void dht_op_cancel(struct dht_op *op);

/* --- when to announce again --- */

struct dht_schedule { /* of one torrent; a plain value */
	int64_t next_ms;
	int64_t last_ms;
	unsigned rounds;   /* that told somebody */
	unsigned failures; /* in a row */
	unsigned nobody;   /* times in a row that no node was there */
	bool is_running;
};
void dht_schedule_init(struct dht_schedule *s, int64_t now_ms);
/* Due now? Then a round begins. */
bool dht_schedule_begin(struct dht_schedule *s, int64_t now_ms);
/* It is over. CHANCE: any random number. Sooner if it found nobody and no node
 * was there to be told. */
void dht_schedule_end(struct dht_schedule *s, int64_t now_ms, uint32_t chance,
		      bool is_told);
/* It is over, as no node was there to be asked: again in seconds, as that
 * costs no packet. */
void dht_schedule_nobody(struct dht_schedule *s, int64_t now_ms);
/* Peers are short: as soon as 5 min after the last one. */
void dht_schedule_more(struct dht_schedule *s, int64_t now_ms);
