/* tracker/overlay/kt.h: a node of the overlay of trackers, or a client that
 * only asks it: Kademlia (dht/kad.h) with messages, an id rule and a liveness
 * rule of its own, on both address families.
 *
 * Messages are KRPC with the realm as top-level key "n", in queries and in
 * answers: what comes without it is nobody's. A realm is a domain (names.h).
 *   kt_ping {id}         -> {id, tr}
 *   kt_find {id, target} -> {id, nodes, nodes6, token, tr}
 *   kt_own  {id, target} -> {id, own, own6, tr}: its idea of owners
 * "tr" is what a tracker says of itself. Bytes: kt_msg.h.
 *
 * Id rule: prefix32 || sha1(public key)[4..19], where prefix32 follows from
 * realm and subnet: whoever wants to sit at a key needs subnets, not keys. In a
 * closed realm a certificate, too (kt_id.h). Who asks a tracker for the first
 * time sends a challenge, and the answer holds public key, certificate and a
 * signature over challenge, id and endpoint: without that it is no answer, so
 * nobody is in a table, told to others or an owner who has not proven his key
 * at his address.
 *
 * Owners of a key: the KT_REPLICAS closest live trackers that serve any port,
 * at most one of each /24 (IPv6 /48) unless they are local, and who has been
 * seen for KT_SETTLED_MS goes before who has not.
 *
 * Families are overlays of their own, with an id each; a tracker on both counts
 * by its IPv4 id where that is seen. A tracker must know its global address:
 * from the options, or by the votes of five subnets; at an unknown one it asks
 * and answers, but is a member of nothing.
 *
 * No socket, no clock, no chance of its own, as dht.h. One thread at a time. */
#pragma once

#include "dht/kad_id.h"
#include "engine/base/buf.h"
#include "tracker/overlay/names.h"

#define KT_REPLICAS   3
#define KT_SETTLED_MS (10 * 60 * 1000)
#define KT_OWNERS_MAX 8 /* told to who asks, closest first */

struct kt;
struct kt_lookup;

struct kt_tracker { /* "tr": what a tracker says of itself */
	uint16_t http_port, https_port, udp_port; /* 0: not served */
	uint8_t load;                             /* 0..255 */
	uint32_t uptime_s;
};

struct kt_io {
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	int64_t (*now)(void *arg);                        /* monotonic ms */
	void (*random)(void *arg, void *out, size_t len); /* not guessable */
	/* Seconds since 1970, for certificates alone: of a closed realm. */
	int64_t (*wall_s)(void *arg);
	/* Few nodes or none, or it is long ago: call kt_bootstrap. May be
	 * NULL. */
	void (*want_nodes)(void *arg);
	/* kt_next_ms is earlier than it was. May be NULL. */
	void (*wake)(void *arg);
	/* Somebody came, died or settled: kt_owners may say other things. May
	 * be NULL. */
	void (*on_change)(void *arg);
	void *arg; /* borrowed */
};

struct kt_options {
	const char *domain; /* copied */
	bool v4, v6;
	bool is_client;   /* asks and is in nobody's table (BEP 43's "ro") */
	bool allow_local; /* overlays on loopback and private nets */
	struct kt_tracker self;  /* not of a client */
	const uint8_t *key;      /* Ed25519 seed, 32 bytes; NULL: a new one */
	const uint8_t *realm_pk; /* closed realm: its public key; or NULL */
	const uint8_t *cert;     /* ours of a closed realm; or NULL */
	size_t cert_len;
	struct addr external4, external6; /* ours; family 0: learnt */
	/* First byte of transaction ids: no other overlay's of the port. */
	uint8_t tag;
};

struct kt *kt_new(const struct kt_io *io, const struct kt_options *options);
void kt_free(struct kt *k); /* lookups end silently; NULL is harmless */

/* A datagram that begins with 'd'. False: not of this realm, nor an answer to
 * this node. */
bool kt_on_packet(struct kt *k, const struct addr *from, const uint8_t *bytes,
		  size_t len);
void kt_tick(struct kt *k);
int64_t kt_next_ms(struct kt *k);

void kt_bootstrap(struct kt *k, const struct addr *addrs, size_t n);
/* Key and good nodes; kt_load before anything else. Returns 0 or -EBADMSG. */
void kt_save(const struct kt *k, struct buf *out);
int kt_load(struct kt *k, const uint8_t *bytes, size_t len);
const struct kad_id *kt_id(const struct kt *k); /* IPv4's, if that is on */
const uint8_t *kt_pk(const struct kt *k);       /* 32 bytes; borrowed */
/* Public key of who has proven it at ADDR; NULL: nobody. Valid until the next
 * call of anything. */
const uint8_t *kt_pk_of(const struct kt *k, const struct addr *addr);
/* A newer one, before the old one ends. */
void kt_set_cert(struct kt *k, const uint8_t *cert, size_t len);
void kt_set_load(struct kt *k, uint8_t load);
/* Another member of the realm does not answer any more, or does again: what
 * sync sees every few seconds counts like a query of ours. */
void kt_on_silence(struct kt *k, const struct addr *addr);

struct kt_owner {
	struct kad_id id;
	struct addr addr; /* of its KRPC: the tracker's UDP port */
	struct kt_tracker tr;
	bool is_self;
	uint16_t rtt_ms; /* UINT16_MAX: not known */
};

/* Of those we know now, in order; at most KT_REPLICAS. Returns how many. Quick
 * enough to be asked for each announce. */
unsigned kt_owners(struct kt *k, const struct kad_id *key,
		   struct kt_owner out[KT_REPLICAS]);
/* Grows whenever kt_owners may have changed its mind. */
uint32_t kt_epoch(const struct kt *k);

struct kt_found {
	const struct kt_owner *owners; /* closest first; borrowed */
	unsigned num;                  /* 0: nobody answered */
	bool is_stale;                 /* remembered, nobody answered now */
	unsigned queries, hops;
	int64_t took_ms;
};
/* Who owns KEY, by a lookup; from memory for 30 s, and for 10 min more when
 * nobody answers. FN is called once, from kt_on_packet or kt_tick, unless
 * cancelled. NULL: too many at a time. */
struct kt_lookup *kt_find(struct kt *k, const struct kad_id *key,
			  void (*fn)(void *arg, const struct kt_found *found),
			  void *arg);
void kt_find_cancel(struct kt_lookup *lookup); /* harmless on NULL */
/* An owner did not answer its announce: the next kt_find looks again. */
void kt_find_forget(struct kt *k, const struct kad_id *key);

/* Every live tracker that we know, for root.DOMAIN and pages. */
unsigned kt_members(struct kt *k, struct kt_owner *out, unsigned max);

struct kt_stats {
	unsigned nodes[2], good[2];
	double size; /* of the overlay, estimated */
	uint64_t queries_in, answers_out, dropped, foreign, bad_id, bad_sig;
	uint64_t queries_out, timeouts, lookups;
	unsigned members; /* that have proven themselves */
	struct addr external[2];
	bool is_member[2]; /* others may find us */
};
void kt_stats(struct kt *k, struct kt_stats *out);
