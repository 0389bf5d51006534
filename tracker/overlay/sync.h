/* tracker/overlay/sync.h: owners of a swarm hold equal copies of it.
 *
 * Deltas: what changed goes to the other owners at once (within 250 ms, 42
 * records a packet), a renewal only when their copy is older than half a life.
 * Anti-entropy: every minute each pair of owners compares digests of what they
 * share, and exchanges where they differ. Hand-off: when owners change, those
 * who hold a swarm push it to those who now should, hottest first, under a cap
 * on bytes a second; old owners answer for one life more. Failure detection:
 * owners that share swarms hear each other every 5 s; silent for 15 s is
 * suspect, for 30 s dead, and the next closest becomes an owner.
 *
 * A session between two trackers is an X25519 exchange signed with both nodes'
 * keys; every packet carries a MAC. Only present owners may write.
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
	unsigned ttl_min;      /* of swarms; 0: 45 */
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
/* Who owns swarms has changed (kt_io.on_change). */
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
