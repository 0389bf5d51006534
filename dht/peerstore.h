/* dht/peerstore.h: who announced what (BEP 5, 33, 51), for LIMIT_DHT_PEER_MS.
 * Bounded in torrents, peers of one, peers of all, and torrents begun by one
 * subnet. When it is full, a small swarm of a few looked at makes room. Time is
 * an argument. One thread at a time. */
#pragma once

#include "engine/base/addr.h"
#include "engine/base/id.h"

struct peerstore;

/* SEED: of a keyed hash, and of choices. Memory comes with the first peer. */
struct peerstore *peerstore_new(const uint8_t seed[16]);
void peerstore_free(struct peerstore *s);

/* 0; -ENOSPC; -EINVAL for an address that nobody can be at. */
int peerstore_add(struct peerstore *s, int64_t now_ms,
		  const struct infohash *ih, const struct addr *peer,
		  bool is_seed);
bool peerstore_is_full(const struct peerstore *s, const struct infohash *ih);
/* Compact forms of up to MAX peers of FAMILY, from a place that CHANCE gives
 * on. Returns how many. */
unsigned peerstore_get(struct peerstore *s, int64_t now_ms,
		       const struct infohash *ih, int family, bool no_seeds,
		       uint32_t chance, uint8_t *out, unsigned max);
/* Filters of 256 bytes. False: no such torrent. */
bool peerstore_scrape(struct peerstore *s, int64_t now_ms,
		      const struct infohash *ih, uint8_t *seeds,
		      uint8_t *others);
/* Distinct ones at random. Returns how many. */
unsigned peerstore_sample(struct peerstore *s, int64_t now_ms,
			  struct infohash *out, unsigned max);
unsigned peerstore_hashes(const struct peerstore *s);
unsigned peerstore_peers(const struct peerstore *s);
/* Forgets what is too old, a part at a time. */
void peerstore_sweep(struct peerstore *s, int64_t now_ms);
