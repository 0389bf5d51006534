/* engine/peer.h: one peer of one torrent. Loop thread only. Private to engine/.
 *
 * States: CONNECTING (ours alone) -> HANDSHAKING -> READY -> closed.
 *   peer_connect / peer_accept make one; conn's on_connected sends our
 *   handshake; the other handshake makes it READY; peer_close ends it from any
 *   state. A closed peer stays allocated until the turn of the loop ends, so
 *   that code up the stack may still look at it: check peer_is_closed.
 *
 * peer_verb is an order, peer_on_event is news. The code is in five files:
 * peer.c (life, handshake, dispatch), peer_have.c (who has what), peer_down.c
 * (what we ask and get), peer_up.c (what we give), peer_port.c (DHT nodes). */
#pragma once

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/peersource.h"
#include "engine/bitfield.h"
#include "engine/conn.h"
#include "engine/layout.h"
#include "engine/picker.h"
#include "engine/rate.h"
#include "engine/sched.h"
#include "engine/wire.h"

struct engine;
struct torrent;
struct read_job;

enum peer_state {
	PEER_CONNECTING,
	PEER_HANDSHAKING,
	PEER_READY,
	PEER_CLOSED
};

/* A block we asked for. */
struct asked {
	struct block_ref block;
	int64_t asked_ms;
	uint64_t turn; /* with so many answers it is here, were they in order */
	bool is_cancelled; /* it may still come */
};

/* A block they asked for. */
struct wished {
	uint32_t piece, begin, length;
};

#define ALLOWED_FAST_MAX 32 /* pieces of BEP 6 that we remember */

struct peer {
	struct engine *engine;   /* borrowed */
	struct torrent *torrent; /* borrowed; NULL: incoming, not known yet */
	struct list node; /* in the torrent's or the engine's strangers */
	uint32_t id;
	enum peer_state state;
	bool is_incoming;
	enum peer_origin origin;
	struct addr addr;        /* the other end of the connection */
	struct addr listen_addr; /* where it accepts, if it told; else addr */
	bool holds_candidate;    /* listen_addr is connected through this */
	bool is_our_fault;       /* could not connect: no route, no socket */
	struct conn *conn;       /* owned */
	int64_t since_ms, heard_ms, sent_ms;
	int64_t taken_ms; /* when it last took bytes that we had to send */
	uint64_t taken;   /* of them, by then */
	uint8_t greeting[WIRE_HANDSHAKE_LEN]; /* their handshake, as it comes */
	size_t greeting_len;

	struct wire_in wire;
	struct wire_handshake theirs;
	struct wire_ext_handshake ext;
	bool has_ext;
	bool has_told_port; /* of its DHT node */
	bool has_sent_have;
	bool has_said_early; /* more than a handshake, before theirs */
	bool has_spoken;     /* a message after their handshake came */
	bool has_fled;       /* they left, not having spoken */

	/* What they have. Before metadata: early_* only. */
	struct bitfield have;
	bool is_seed;        /* has all; then `have` is unused */
	bool has_told_have;  /* bitfield, have-all or have-none came */
	bool has_taken_back; /* BEP 54 */
	unsigned num_retold; /* bitfields and the like after the first */
	bool early_all;
	struct buf early_bits;  /* a bitfield, raw */
	struct buf early_haves; /* HAVEs beyond it; uint32_t each */
	uint32_t allowed[ALLOWED_FAST_MAX];
	size_t num_allowed;

	/* Down: what we ask them (peer_down.c). */
	bool am_interested, is_choking_us;
	int64_t unchoked_ms; /* when they last unchoked us */
	struct asked *asked; /* owned; [asked_from, asked_to), oldest first */
	size_t asked_from, asked_to, asked_cap;
	int64_t block_ms; /* last block that came, or asking that began */
	int64_t kept_ms;  /* asked before: kept back, not in the pipeline */
	uint64_t answers; /* blocks and rejects of what was asked */
	bool is_snubbed;
	int64_t snubbed_ms;
	bool is_slow;       /* far slower than the others */
	unsigned doubts;    /* silences in a row, no block in between */
	int64_t doubted_ms; /* when the last one was seen */
	uint8_t *staging;   /* owned; a block that comes in parts */
	bool is_expected;   /* the block that is coming was asked for */
	struct rate down;
	uint64_t downloaded;
	unsigned unasked;      /* blocks nobody asked for */
	unsigned rejects;      /* in a row */
	int64_t hold_until_ms; /* no asking before; after a reject */
	unsigned rtt_ms;
	int64_t rtt_at_ms;

	/* Up: what they ask us (peer_up.c). */
	bool is_interested, am_choking;
	int64_t choke_changed_ms, interested_ms;
	uint32_t haves_told; /* HAVEs since it connected */
	bool is_optimistic;
	struct wished *wished; /* owned; oldest first */
	size_t num_wished, wished_cap;
	struct read_job *read_job; /* under way, or NULL */
	unsigned choked_wishes;
	struct rate up;
	uint64_t uploaded, uploaded_this_turn;

	/* Metadata (torrent_meta.c). */
	unsigned metadata_asked;
};

/* A is marked as connecting in the swarm. NULL: no connection to be had. */
struct peer *peer_connect(struct torrent *t, const struct addr *a,
			  enum peer_origin origin);
/* Takes FD. */
void peer_accept(struct engine *e, int fd, const struct addr *from);
/* WHY is for the log. */
void peer_close(struct peer *p, const char *why);
/* Closes, and never again to or from this address. */
void peer_ban(struct peer *p, const char *why);
/* Frees what peer_close left. Only from the top of the loop. */
void peer_free(struct peer *p);

static inline bool peer_is_closed(const struct peer *p)
{
	return p->state == PEER_CLOSED;
}

static inline size_t peer_num_asked(const struct peer *p)
{
	return p->asked_to - p->asked_from;
}

struct picker_peer peer_as_picked(const struct peer *p);

/* --- what it has, what we have (peer_have.c) --- */
void peer_on_have(struct peer *p, uint32_t piece);
void peer_on_donthave(struct peer *p, uint32_t piece);
int peer_on_bits(struct peer *p, const struct wire_msg *m, const char **why);
/* Appends bitfield, have-all or have-none, as the peer understands. */
void peer_add_what_we_have(struct peer *p, struct buf *b);
/* Metadata came: what the peer told before is read again. False: it lied. */
bool peer_on_metadata(struct peer *p);
void peer_tell_have(struct peer *p, uint32_t piece);
void peer_tell_all(struct peer *p); /* the bits came late: a HAVE for each */
void peer_tell_donthave(struct peer *p, uint32_t piece);
/* About four times a second. */
void peer_tick(struct peer *p, int64_t now_ms);

/* --- its DHT node and ours (peer_port.c) --- */
bool peer_has_dht(const struct peer *p); /* do we tell it of a node? */
void peer_add_port(struct peer *p, struct buf *b);
void peer_on_port(struct peer *p, uint16_t port);

/* --- down --- */
/* Is there anything we could want from it? Says (not) interested if changed. */
void peer_update_interest(struct peer *p);
/* It got PIECE, which we lack: says interested if that is why. */
void peer_consider(struct peer *p, uint32_t piece);
/* Asks for up to MAX more blocks, as its pipeline has room. Returns how many.
 */
size_t peer_fill(struct peer *p, size_t max);
/* For torrent_assign: the blocks that it may be asked for now, and how soon
 * they would come; one of them is asked. */
struct sched_route peer_as_route(struct peer *p);
void peer_ask(struct peer *p, struct block_ref b);
/* If it is silent though it owes blocks, those under parked reads go to others
 * too. */
void peer_doubt(struct peer *p, int64_t now_ms);
/* Takes back what nobody demands any more. */
void peer_cancel_undemanded(struct peer *p);
void peer_cancel_block(struct peer *p, struct block_ref b);
/* Every block we asked it for is free for others. */
void peer_lose_all(struct peer *p);
int peer_on_piece(struct peer *p, const struct wire_msg *m, const char **why);
void peer_on_reject(struct peer *p, const struct wire_msg *m);
void peer_on_choke(struct peer *p, bool is_choking);
void peer_down_tick(struct peer *p, int64_t now_ms);
void peer_down_release(struct peer *p);

/* --- up --- */
void peer_set_choking(struct peer *p, bool am_choking);
int peer_on_request(struct peer *p, const struct wire_msg *m, const char **why);
void peer_on_cancel(struct peer *p, const struct wire_msg *m);
/* Sends what it asked for as long as the send queue has room. */
void peer_serve(struct peer *p);
void peer_up_release(struct peer *p);

/* Sends what WRITE_* put into B, and empties it. */
void peer_send(struct peer *p, struct buf *b);
