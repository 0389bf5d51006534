/* tests/engine/swarm_sim_private.h: what the two files of the simulation
 * share. */
#pragma once

#include "engine/base/random.h"
#include "tests/engine/swarm_sim.h"

#define BLOCK LIMIT_BLOCK_BYTES
#define QUEUE 2048

enum event_kind {
	EV_ASK,      /* a request reaches the peer */
	EV_CANCEL,   /* a cancel reaches the peer */
	EV_SERVED,   /* the peer has sent its first block */
	EV_LINK,     /* it reaches the downlink */
	EV_BLOCK,    /* it is here */
	EV_REJECT,   /* so is a reject */
	EV_VERIFIED, /* a piece was hashed */
	EV_READER,   /* a reader does what it does next */
	EV_TICK,     /* 50 ms */
};

struct event {
	int64_t us;
	uint64_t seq; /* first made, first done */
	enum event_kind kind;
	int who;
	struct block_ref b;
};

struct peer {
	struct sim_peer_config config;
	struct picker_peer pp;
	struct bitfield have;
	/* Its side. */
	struct block_ref queue[QUEUE];
	size_t num_queue;
	bool is_serving;
	/* Our side. */
	struct block_ref asked[QUEUE];
	size_t num_asked;
	unsigned depth;
	/* Its rate: bytes by the time in which it owed us some. */
	double rate_bps, busy_bytes, busy_us;
	int64_t block_us; /* last block; or when the first could be here */
	bool is_snubbed, is_doubted;
};

struct sim_reader {
	struct sim_reader_config config;
	struct sim_reader_result result;
	struct reader *reader;
	struct want want;
	struct sim *sim;
	int index;
	uint64_t off, asked_len;
	int64_t asked_us, seek_us, played_us;
	double buffered; /* player: bytes */
	bool is_playing;
	uint64_t fetched; /* before the probe */
};

struct sim {
	struct layout layout;
	struct picker *p;
	struct sched *s;
	struct prng prng;
	uint64_t link_bps;
	int64_t now_us, link_us;
	uint64_t seq;
	struct event *heap;
	size_t num_events, room;
	struct peer peers[SIM_PEERS];
	int num_peers;
	struct sim_reader readers[SIM_READERS];
	int num_readers;
	bool is_filling;
	uint64_t fetched, wasted;
};

void sim_post_in(struct sim *sim, double us, enum event_kind kind, int who,
		 struct block_ref b);
/* Asks all peers for what there is to ask for. */
void sim_refill_all(struct sim *sim);
void sim_step_reader(struct sim *sim, struct sim_reader *r);
