/* tracker/overlay/sync_private.h: what the files of sync share. See sync.h for
 * the whole, and the top of each file for its part:
 *
 *   sync          face, peers, timers      sync_session  windows, acks, MACs
 *   sync_hello    handshake                sync_delta    what changed
 *   sync_receive  what others say          sync_digest   comparing copies
 *   sync_walk     all swarms, in slices    sync_handoff  sending whole swarms
 *
 * Two layers. A session (perishable) carries numbered packets; a peer (lasting)
 * has queues of frames, which are packed when there is room in the window. Each
 * frame does the same if it comes twice or late, so what a lost session had in
 * flight is simply sent again in the next one. */
#pragma once

#include "engine/base/buf.h"
#include "engine/base/list.h"
#include "engine/base/ratelimit.h"
#include "tracker/overlay/places.h"
#include "tracker/overlay/sync.h"
#include "tracker/overlay/sync_msg.h"

#define SYNC_PING_MS     5000
#define SYNC_SUSPECT_MS  15000
#define SYNC_DEAD_MS     30000
#define SYNC_FLUSH_MS    250
#define SYNC_COMPARE_MS  60000 /* between two comparisons of a pair */
#define SYNC_CLOSING_MIN 2     /* before the end of a life: not compared */

/* --- a session --- */

struct sync_packet { /* a payload on its way */
	struct list node;
	int64_t made_ms;
	int64_t sent_ms, due_ms; /* first sent; to be sent again */
	uint32_t seq;
	uint8_t tries;
	uint8_t passed_by; /* later ones that were acked */
	bool is_bulk;
	uint16_t len;
	uint8_t payload[SYNC_PAYLOAD_BYTES];
};

struct sync_session {
	struct sync_mac *tx, *rx; /* owned; NULL: there is none */
	uint64_t id;
	uint32_t next_seq;
	struct sync_acks seen; /* what came: acks and replay window */
	struct sync_packet *flight[LIMIT_SYNC_WINDOW]; /* owned; by number */
	unsigned num_flight;
};

struct sync_hello_state {               /* of who says hello */
	uint8_t secret[SYNC_KEY_BYTES]; /* of this attempt */
	uint8_t cookie[SYNC_COOKIE_BYTES];
	bool is_going;
	unsigned tries;
	int64_t next_ms; /* say it (again) */
};

/* --- a peer --- */

struct sync_job { /* a swarm, or parts of it, to be sent */
	struct infohash infohash;
	uint32_t heat; /* its peers: the hottest goes first */
	uint32_t pos;  /* of the next peer to be looked at */
	bool is_whole; /* it was wanted: say when it is all sent */
	uint64_t nonce;
	uint8_t log2; /* 0: all of it */
	uint16_t first;
	uint8_t bits[SYNC_BUCKETS_AT_ONCE / 8];
};

enum sync_round_step {
	ROUND_NONE,
	ROUND_SUMMING, /* waits for the walk, or walks: own sums */
	ROUND_WAITING, /* for the other's sums (theirs) or verdict (ours) */
	ROUND_LISTING, /* the swarms of groups that differ are told */
};

struct sync_round { /* one comparison */
	enum sync_round_step step;
	bool is_ours; /* we began it */
	uint64_t nonce;
	unsigned log2;
	int64_t begun_ms;
	uint32_t *sums, *theirs; /* owned; 1 << log2 */
	uint8_t *differ;         /* owned; bits */
	uint32_t num_theirs, num_differ;
	bool has_walked;
};

struct sync_peer {
	struct kad_id id;
	struct addr addr;
	uint32_t number; /* slot and generation: names it after its end */
	struct sync_session session, unproven; /* the second: we accepted */
	uint64_t last_session;                 /* the one before, ignored */
	int64_t accepted_ms;
	uint8_t accept[SYNC_PACKET_BYTES]; /* said to unproven */
	size_t accept_len;
	uint8_t accept_tag[SYNC_TAG_BYTES];
	struct sync_hello_state hello;
	int64_t made_ms, heard_ms, sent_ms, ack_ms, shared_ms;
	unsigned rtt_ms, cwnd;
	int64_t packed_ms; /* what we read was, in our time */
	int64_t slowed_ms;

	struct list again;     /* payloads of a lost session */
	struct buf control;    /* frames */
	size_t open_at;        /* one that may grow; SIZE_MAX: none */
	struct buf q4, q6;     /* records */
	int64_t flush_ms;      /* INT64_MAX: nothing waits */
	struct sync_job *jobs; /* owned; a heap by heat */
	unsigned num_jobs, cap_jobs;

	struct sync_round round;
	uint64_t last_nonce; /* of the last that they began */
	int64_t joined_ms;   /* when that was */
	int64_t compare_ms;  /* next comparison that we begin */
	bool is_dirty;       /* something was dropped: compare soon */
	bool is_suspect;
	bool has_compared;
	bool has_common; /* swarms that both own, as far as we know */
	struct ratelimit records_in, forwards_in, stops_in, visits;
	struct { /* the last question of may_write */
		struct infohash infohash;
		uint32_t epoch;
		bool is_valid, verdict;
	} right;
};

/* --- a payload in the making --- */

#define SYNC_PACK_KEYS 24

struct sync_pack {
	struct wcursor w;
	uint8_t bytes4[SYNC_PAYLOAD_BYTES], bytes6[SYNC_PAYLOAD_BYTES];
	size_t len4, len6; /* records, not yet behind W */
	struct infohash keyed[SYNC_PACK_KEYS];
	unsigned num_keyed;
};

/* --- the walk --- */

enum sync_walk_kind {
	WALK_NONE,
	WALK_SURVEY, /* who shares what with us; offers of what we lost */
	WALK_SUMS,
	WALK_LIST,
};

struct sync_walk {
	enum sync_walk_kind kind;
	uint32_t peer; /* by number; of a survey: the one before it */
	unsigned shard;
	int64_t next_ms, begun_ms;
	uint64_t nonce;   /* of a survey */
	unsigned cost;    /* of this slice */
	int64_t stuck_ms; /* a queue was full since; 0: none */
	bool is_offering;
};

struct sync_wanted { /* a swarm that somebody is about to send */
	uint64_t tag;
	int64_t until_ms;
	uint32_t peer; /* who, by number */
};

struct sync_left { /* an endpoint that left a moment ago */
	uint64_t tag;
	int64_t at_ms;   /* 0: none */
	int64_t back_ms; /* when it came back; 0: it has not */
};

struct sync {
	struct sync_io io;
	struct kt *kt;              /* borrowed */
	struct swarms *swarms;      /* borrowed */
	struct sync_signer *signer; /* owned */
	struct sync_mac *cookies;   /* owned; of our cookies */
	struct places *places;      /* owned */
	unsigned ttl_min;
	struct sync_peer *peers[LIMIT_SYNC_PEERS]; /* owned */
	unsigned num_peers;
	uint32_t generation;
	struct ratelimit handoff, hellos;
	struct sync_walk walk;
	int64_t survey_ms; /* the next survey; INT64_MAX: none */
	int64_t second_ms;
	uint32_t epoch;
	bool is_leaving, must_offer;
	struct kt_owner *members; /* owned; of epoch members_epoch */
	unsigned num_members;
	int64_t members_ms;
	struct sync_wanted *wanted; /* owned; LIMIT_SYNC_WANTED */
	struct sync_left *left;     /* owned; LIMIT_SYNC_LEFT */
	int64_t busy_ms;            /* a comparison, or what follows, went on */
	struct sync_stats stats;
};

static inline int64_t sync_now(struct sync *s)
{
	return s->io.now(s->io.arg);
}

/* An id ends in its key's hash; what comes before differs by family. */
#define SYNC_ID_PREFIX 4

static inline bool sync_is_same(const struct kad_id *a, const struct kad_id *b)
{
	return !memcmp(a->b + SYNC_ID_PREFIX, b->b + SYNC_ID_PREFIX,
		       KAD_ID_BYTES - SYNC_ID_PREFIX);
}

/* Of two, one says hello, begins comparisons, and leads where swarms differ:
 * the one whose id is smaller. */
static inline bool sync_leads(const struct sync *s, const struct kad_id *other)
{
	return memcmp(kt_id(s->kt)->b + SYNC_ID_PREFIX,
		      other->b + SYNC_ID_PREFIX,
		      KAD_ID_BYTES - SYNC_ID_PREFIX) < 0;
}

void sync_send_raw(struct sync *s, const struct addr *to, const uint8_t *bytes,
		   size_t len);
void sync_wake(struct sync *s);

/* sync_peers.c */
struct sync_peer *sync_peer_of(struct sync *s, const struct kad_id *id);
struct sync_peer *sync_peer_at(struct sync *s, const struct addr *addr);
struct sync_peer *sync_peer_number(struct sync *s, uint32_t number);
/* Made if need be. NULL: too many. */
struct sync_peer *sync_peer_get(struct sync *s, const struct kad_id *id,
				const struct addr *addr);
void sync_peer_drop(struct sync *s, struct sync_peer *p);
/* The member of the overlay with that address and key; NULL: none. */
const struct kt_owner *sync_member(struct sync *s, const struct addr *addr,
				   const uint8_t pk[SYNC_KEY_BYTES]);
void sync_place(struct sync *s, const struct infohash *ih, struct kad_id *out);
/* Owners of a swarm. *IS_SELF: we are one, or would be if we were not so young:
 * others, who knew us before a restart, may already see us so. */
unsigned sync_owners(struct sync *s, const struct infohash *ih,
		     struct kt_owner out[KT_REPLICAS], bool *is_self);
/* We are among the NUM closest to PLACE, by distance alone. */
bool sync_is_near(struct sync *s, const struct kad_id *place, unsigned num);
bool sync_id_is_near(struct sync *s, const struct kad_id *id,
		     const struct kad_id *place, unsigned num);
/* The members closest to PLACE, ourselves among them; borrowed for a moment. */
unsigned sync_nearest(struct sync *s, const struct kad_id *place,
		      const struct kt_owner *out[KT_REPLICAS]);
/* We may become an owner, of which others know before us. */
bool sync_may_own(struct sync *s, const struct infohash *ih,
		  const struct kt_owner *owners, unsigned n);
/* May P say who is in a swarm: an owner, or one not long ago. */
bool sync_may_write(struct sync *s, struct sync_peer *p,
		    const struct infohash *ih);

/* sync_hello.c */
void sync_hello_start(struct sync *s, struct sync_peer *p);
void sync_hello_tick(struct sync *s, struct sync_peer *p);
void sync_on_hello(struct sync *s, const struct addr *from,
		   const struct sync_packet_view *v);
void sync_on_cookie(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v);
void sync_on_accept(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v);
void sync_on_please(struct sync *s, const struct addr *from);

/* sync_session.c */
void sync_session_open(struct sync_session *ss, uint64_t id,
		       const uint8_t tx[SYNC_KEY_BYTES],
		       const uint8_t rx[SYNC_KEY_BYTES]);
void sync_session_close(struct sync_session *ss, struct list *again);
/* NEXT takes the place of the session; what was in flight is sent again. */
void sync_session_replace(struct sync *s, struct sync_peer *p,
			  struct sync_session *next);
bool sync_session_has_room(const struct sync_session *ss);
/* Takes PACKET, whose payload is set. */
void sync_session_send(struct sync *s, struct sync_peer *p,
		       struct sync_packet *packet);
void sync_on_sealed(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v);
void sync_on_unknown(struct sync *s, const struct addr *from, uint64_t session);
void sync_session_tick(struct sync *s, struct sync_peer *p);
int64_t sync_session_next_ms(const struct sync_peer *p);

/* sync_delta.c */
/* False: the queue is full, and the peer is marked. */
bool sync_queue_record(struct sync *s, struct sync_peer *p,
		       const struct swarm_record *r, bool is_forwarded);
/* A frame of its own. False: the queue is full. */
bool sync_queue_frame(struct sync *s, struct sync_peer *p,
		      enum sync_frame_kind kind, const void *body, size_t len);
/* Sends what may go now. */
void sync_pump(struct sync *s, struct sync_peer *p);
bool sync_is_news_due(struct sync *s, const struct sync_peer *p);
bool sync_has_to_send(const struct sync *s, const struct sync_peer *p);
/* One more swarm in a list of them: a frame if need be. The same. */
bool sync_queue_item(struct sync *s, struct sync_peer *p,
		     enum sync_frame_kind kind, uint64_t nonce,
		     const struct sync_item *item);
/* A record as bytes, and the KEY of its swarm. False: no room. */
bool sync_pack_record(struct sync *s, struct sync_pack *pack,
		      const uint8_t *record, size_t len);
/* To those who want to hear of it without owning it; NOT_TO may be NULL. */
void sync_relay(struct sync *s, const struct swarm_record *r,
		const struct sync_peer *not_to);
/* Remembers the KEY of a swarm, unless that would take from its owners here
 * what they have. False: not believed. */
bool sync_learn(struct sync *s, const struct infohash *ih,
		const struct kad_id *key);

/* sync_receive.c */
/* An endpoint has left, at AT_MS. */
void sync_note_left(struct sync *s, const struct swarm_record *r,
		    int64_t at_ms);
/* One was announced here, now: if it had left, it is back. */
void sync_note_announced(struct sync *s, const struct swarm_record *r);
void sync_on_payload(struct sync *s, struct sync_peer *p, struct span payload,
		     int64_t late_ms);
/* A peer says that a swarm lives at KEY: believed if we own that, or may soon.
 */
void sync_on_key(struct sync *s, const struct infohash *ih,
		 const struct kad_id *key);

/* sync_digest.c */
void sync_digest_begin(struct sync *s, struct sync_peer *p);
void sync_digest_end(struct sync_peer *p);
void sync_digest_tick(struct sync *s, struct sync_peer *p);
void sync_on_begin(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_groups(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_diff(struct sync *s, struct sync_peer *p, struct span body);
/* The walk is through. */
void sync_digest_walked(struct sync *s, struct sync_peer *p,
			enum sync_walk_kind kind);

/* sync_walk.c */
void sync_walk_tick(struct sync *s);
/* Of a peer, by a nonce of both sides: equal if its endpoint and whether it
 * seeds are. *BUCKET: which part of the swarm it belongs to, 32 bits. 0: not
 * compared. */
uint64_t sync_sum_swarm(uint64_t nonce, const struct infohash *ih);
bool sync_sum_record(const struct sync *s, uint64_t base,
		     const struct swarm_record *r, uint32_t *bucket,
		     uint64_t *sum);
unsigned sync_group_of(uint64_t nonce, const struct infohash *ih,
		       unsigned log2);
/* Changes a record of ours as others are told of it, other than as news. False:
 * it is not told. */
bool sync_is_told(const struct sync *s, struct swarm_record *r);
struct sync_summed {
	bool is_here;
	unsigned num; /* peers looked at */
	uint32_t sum, completed;
};
/* SUMS: 1 << LOG2 of them, added to; or NULL. */
struct sync_summed sync_sum_one(struct sync *s, uint64_t nonce,
				const struct infohash *ih, unsigned log2,
				uint32_t *sums);

/* sync_handoff.c */
/* P asked for it. */
void sync_job_add(struct sync *s, struct sync_peer *p,
		  const struct sync_job *job);
/* Fills a payload with what the jobs have. False: nothing. */
bool sync_job_fill(struct sync *s, struct sync_peer *p, struct sync_pack *k);
void sync_on_items(struct sync *s, struct sync_peer *p, struct span body,
		   bool is_offer);
void sync_on_counts(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_given(struct sync *s, const struct sync_peer *p, struct span body);
void sync_on_want(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_buckets(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_differ(struct sync *s, struct sync_peer *p, struct span body);
void sync_on_pull(struct sync *s, struct sync_peer *p, struct span body);
/* We are asked for a swarm that others own: hear of it from now on. */
void sync_pull(struct sync *s, const struct infohash *ih,
	       const struct kt_owner *owners, unsigned n);
/* False: P has cost enough for now. */
bool sync_may_visit(struct sync *s, struct sync_peer *p, unsigned peers);
