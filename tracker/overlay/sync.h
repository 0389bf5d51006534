/* tracker/overlay/sync.h: owners of a swarm hold equal copies of it.
 *
 * Deltas: what changed goes to the other owners at once (within 250 ms, 42
 * records a packet), a renewal only when their copy is older than a quarter of
 * a life. Anti-entropy: every minute each pair of owners compares sums of what
 * they share, and exchanges where they differ. Hand-off: when owners change,
 * those who hold a swarm name it to those who now should, and send it to who
 * lacks it, hottest first, under a cap on bytes a second; old owners answer for
 * one life more. Failure detection: owners that share swarms hear each other
 * every 5 s; of who is silent for 15 s kt is told, which asks for itself; after
 * 30 s it is dead, and the next closest becomes an owner.
 *
 * A swarm lives at its infohash, or at the KEY that its announces name. An
 * announce at who is no owner is answered there, forwarded to the owners, and
 * makes it hear of that swarm from them for one life.
 *
 * All goes over UDP, in datagrams of at most 1232 bytes that begin with 'K'. A
 * session between two trackers is an X25519 exchange signed with both nodes'
 * keys; every packet carries a MAC. Only present and recent owners may write,
 * other members of the overlay forward a bounded number of announces.
 *
 * Who calls swarms_tick with the same clock as io.now is right to; a clock that
 * is late by more than a second may bring back who left in that second.
 *
 * No socket, no clock, no chance of its own. Loop thread. */
#pragma once

#include "tracker/overlay/kt.h"
#include "tracker/server/swarms.h"
#include "tracker/server/tellq.h"

struct sync;

struct sync_io {
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	int64_t (*now)(void *arg);
	void (*random)(void *arg, void *out, size_t len);
	void (*wake)(void *arg); /* sync_next_ms is earlier; may be NULL */
	void *arg;               /* borrowed */
};

struct sync_options {
	struct kt *kt;         /* borrowed */
	struct swarms *swarms; /* borrowed */
	const uint8_t *key;    /* Ed25519 seed of this node, 32 bytes */
	unsigned ttl_min;      /* 0: as swarms have it */
	unsigned handoff_bps;  /* to all together; 0: 8 MB/s */
};

struct sync *sync_new(const struct sync_io *io,
		      const struct sync_options *options);
void sync_free(struct sync *s);

/* A datagram that begins with 'K'. */
void sync_on_packet(struct sync *s, const struct addr *from,
		    const uint8_t *bytes, size_t len);
void sync_tick(struct sync *s);
int64_t sync_next_ms(struct sync *s);

/* Announces that were answered here. */
void sync_tell(struct sync *s, const struct telling *t, size_t n);
/* Who owns swarms has changed (kt_io.on_change). Without it that is seen within
 * a second. */
void sync_on_change(struct sync *s);
/* Going away: what is not told yet goes out now, and what only we hold is
 * handed on. Call sync_is_idle until it is true, or you have waited enough. */
void sync_leave(struct sync *s);
bool sync_is_idle(const struct sync *s);

struct sync_stats {
	unsigned sessions, suspects;
	uint64_t records_out, records_in, news_in, packets_out, packets_in;
	uint64_t bytes_out, bytes_in, resent, duplicates;
	uint64_t bad_packets, bad_mac, bad_hello; /* not believed */
	uint64_t refused;   /* records: no right to say so, or no sense */
	uint64_t overflows; /* records for a peer that had too many waiting */
	uint64_t digests_equal, digests_different, walks;
	uint64_t handed_off; /* records sent but as news */
	uint64_t forwarded;  /* announces of swarms that others own */
	unsigned places;     /* swarms that live at a KEY, or are heard of */
	int64_t oldest_unacked_ms; /* age; 0: none */
};
void sync_stats(struct sync *s, struct sync_stats *out);
