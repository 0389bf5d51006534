/* tracker/overlay/kt_private.h: what the parts of a node of the overlay share.
 * kt.c: life; kt_self.c: our id and address; kt_codec.c: messages in and out,
 * and proofs; kt_members.c: who has proven itself; kt_server.c: queries of
 * others; kt_lookup.c: kt_find; owners.c: kt_owners. */
#pragma once

#include "dht/budget.h"
#include "dht/kad.h"
#include "dht/kad_lookup.h"
#include "dht/token.h"
#include "engine/base/list.h"
#include "tracker/overlay/kt.h"
#include "tracker/overlay/kt_id.h"
#include "tracker/overlay/kt_msg.h"

#define KT_K      8
#define KT_VOTES  16 /* on our address, kept */
#define KT_AGREED 5  /* nets that must agree */

struct kt_vote {
	struct addr from, ip;
};

struct kt_family { /* 0: IPv4, 1: IPv6 */
	bool is_on;
	struct kad kad;
	struct kt_vote votes[KT_VOTES];
	unsigned num_votes;
	struct addr external; /* family 0: not known */
	bool is_given;        /* by the options: no vote counts */
};

/* A tracker that has shown its key, at one address. */
struct kt_member {
	struct kad_contact at;
	uint8_t pk[KT_PK_BYTES];
	struct kt_tracker tr;
	uint32_t first_uptime_s;               /* that it claimed at first_ms */
	int64_t first_ms, heard_ms, looked_ms; /* looked: by kt_on_silence */
	int64_t expiry_s; /* of its certificate; INT64_MAX: open realm */
};

/* One that was settled and is no member now: since when it was known. */
struct kt_known {
	struct kad_id id; /* holds key and subnet */
	int64_t first_ms, heard_ms;
	uint32_t first_uptime_s;
};

struct kt_members {
	struct kt_member *all; /* owned; not in order */
	unsigned num, cap;
	uint16_t *index; /* owned; by address; 0: free, else place + 1 */
	unsigned num_slots;
	struct kt_known *known; /* owned; LIMIT_KT_KNOWN; not in order */
	unsigned num_known;
};

struct kt_cookie { /* somebody signs only for who returns his token */
	struct addr addr;
	uint8_t token[LIMIT_KAD_TOKEN_BYTES];
	uint8_t len;
};

struct kt {
	struct kt_io io;
	struct kt_options o; /* without its pointers */
	char domain[KT_DOMAIN_BYTES];
	uint8_t realm[KT_REALM_BYTES];
	struct kt_key key;
	bool is_key_given, is_closed, has_cert;
	uint8_t realm_pk[KT_PK_BYTES], cert[KT_CERT_BYTES];
	struct kt_family family[2];
	struct kt_members members;
	struct kt_cookie cookies[LIMIT_KT_COOKIES];
	unsigned num_cookies; /* ever; a ring */
	struct kt_msg msg;    /* the one at hand */
	size_t msg_len;
	struct budget budget, nets; /* of addresses and of subnets */
	struct budget peers;        /* of members' addresses */
	int64_t signs_us; /* when the budget of proofs will be full again */
	struct token_secrets tokens;
	uint64_t secret[2]; /* of challenges */
	struct list searches, cached, finished;
	unsigned num_searches, num_waiters, num_cached;
	int64_t pace_ms; /* when a client's searches will be all allowed again
			  */
	unsigned num_settled; /* members, at the last sweep */
	uint32_t epoch, told_epoch;
	int64_t now_ms, start_ms;
	int64_t bootstrap_ms; /* when to ask for nodes */
	unsigned bootstrap_tries;
	int64_t wanted_ms; /* when it was last done */
	int64_t sweep_ms;
	int64_t well_ms; /* last answer of anybody; INT64_MIN: never */
	struct kt_stats stats;
	bool is_busy; /* inside kt_on_packet or kt_tick */
};

static inline unsigned kt_index(int family)
{
	return family == 6;
}

uint32_t kt_random_u32(struct kt *k);
void kt_wake(struct kt *k); /* something is due earlier */

/* kt_self.c */
void kt_self_init(struct kt *k, unsigned family);
void kt_self_vote(struct kt *k, const struct addr *from, struct span ip);
/* Others may find us: a tracker whose id its address has a right to. */
bool kt_self_is_member(const struct kt *k, unsigned family);
/* Is this an address that we could have? */
bool kt_self_is_at(const struct kt *k, const struct addr *at);
void kt_self_describe(const struct kt *k, struct kt_tracker *out);

/* kt_members.c: what is returned is valid until a member is added or goes. */
struct kt_member *kt_member_find(const struct kt *k, const struct addr *at);
struct kt_member *kt_member_of(const struct kt *k, const struct kad_id *id,
			       const struct addr *at);
/* Known since as long ago as it was, if it was here within a day. */
struct kt_member *kt_member_add(struct kt *k, const struct kt_member *m);
void kt_member_forget(struct kt *k, const struct addr *at);
/* Those whose time is over, and who left the table. */
void kt_members_sweep(struct kt *k, int64_t wall_s);
bool kt_member_is_settled(const struct kt *k, const struct kt_member *m);
void kt_members_release(struct kt *k);

/* kt_codec.c */
size_t kt_codec_write(void *arg, const struct kad_query *q, uint8_t *out,
		      size_t size);
bool kt_codec_parse(void *arg, const struct addr *from, const uint8_t *bytes,
		    size_t len, struct kad_msg *out);

/* kt_server.c */
void kt_server_on_query(void *arg, int64_t now_ms, const struct addr *from,
			const struct kad_msg *msg);

/* owners.c */
/* Likewise, up to MAX; past KT_REPLICAS those alone who are settled. */
unsigned kt_owners_many(struct kt *k, const struct kad_id *key,
			struct kt_owner *out, unsigned max);
/* May OWNER be one where the N of SET are already? One of each /24 or /48. */
bool kt_owner_may_join(const struct kt *k, const struct kt_owner *set,
		       unsigned n, const struct kt_owner *owner);
/* The same key: one tracker on two families. */
bool kt_owner_is_same(const struct kt_owner *a, const struct kt_owner *b);
bool kt_owner_of_self(const struct kt *k, struct kt_owner *out);
void kt_owner_of(const struct kt *k, const struct kt_member *m,
		 struct kt_owner *out);

/* kt_lookup.c */
void kt_lookups_step(struct kt *k);
int64_t kt_lookups_next_ms(const struct kt *k);
void kt_lookups_release(struct kt *k);
