/* engine/choker.h: who may download from us now. Pure: the peers of one torrent
 * come in as numbers, the decision goes out; time is an argument and chance has
 * a seed. Loop thread.
 *
 * Run a round every CHOKER_ROUND_MS. Between rounds, when a peer becomes
 * interested or a slot comes free, fill: it gives away free slots and chokes
 * nobody. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/random.h"

#define CHOKER_ROUND_MS 10000

struct choker_policy {
	unsigned slots;        /* peers unchoked at a time; 0: nobody */
	bool is_seeding;       /* we fetch from nobody: take turns */
	uint32_t piece_length; /* bytes; a turn is counted in pieces */
};

struct choker_peer {
	uint32_t id; /* > 0, unique in the torrent */
	bool is_interested, is_unchoked;
	/* Unchoked: since when. Choked: since when it waits, the latest of
	 * connected, interested, choked. */
	int64_t since_ms;
	int64_t connected_ms;
	uint64_t down_bps;   /* payload that it gives us */
	uint64_t up_bps;     /* payload that we give it */
	uint64_t turn_bytes; /* payload sent to it since it was unchoked */
	uint64_t sent_bytes; /* the same since it connected */
	/* What it says it got since it connected: HAVEs in bytes. */
	uint64_t gained_bytes;

	bool unchoke; /* out */
};

struct choker { /* between rounds */
	struct prng rng;
	uint32_t optimistic_id; /* 0: none */
	int64_t optimistic_since_ms;
};

void choker_init(struct choker *c, uint64_t seed);
/* Sets unchoke of each peer. */
void choker_round(struct choker *c, const struct choker_policy *policy,
		  struct choker_peer *peers, size_t n, int64_t now_ms);
/* Sets unchoke to is_unchoked or more. Returns how many are new. */
size_t choker_fill(struct choker *c, const struct choker_policy *policy,
		   struct choker_peer *peers, size_t n, int64_t now_ms);
