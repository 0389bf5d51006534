/* tests/engine/swarm_sim.h: one torrent, its peers and its readers, in virtual
 * time.
 *
 * Peers answer first come first served at their rate, half a round trip away,
 * through one downlink. What stands for the torrent asks them as the real one
 * does: as many blocks as the path holds, from the scheduler first, then (fill)
 * rarest first, then endgame. Every block that was asked for is checked
 * against what was asked before. Same seed, same run. */
#pragma once

#include "engine/picker.h"
#include "engine/sched.h"

#define SIM_PEERS   64
#define SIM_READERS 16
#define MIB         (1ull << 20)

struct sim_peer_config {
	uint64_t rate_bps;
	int rtt_ms;
	int64_t silent_ms; /* answers nothing from then on; 0: never */
	int percent_have;  /* 0: a seed */
	int percent_reject;
};

enum sim_reader_kind {
	SIM_COPY,
	SIM_PLAYER,
	SIM_PROBER
};

struct sim_reader_config {
	enum sim_reader_kind kind;
	uint64_t start, end; /* the file */
	uint64_t read_bytes; /* per read */
	uint64_t rate_bps;   /* player: what it plays */
	int64_t start_ms;
	int64_t every_ms;   /* prober: between two; player: between seeks */
	unsigned max_reads; /* prober: then it ends; 0: no limit */
};

/* What a reader saw. */
struct sim_reader_result {
	uint64_t bytes; /* read */
	unsigned reads;
	int64_t worst_ms, total_ms; /* waiting of one read; of all */
	int64_t stalled_ms;         /* player: after it began to play */
	unsigned stalls;
	int64_t first_ms;       /* the first read was answered; -1: never */
	int64_t ended_ms;       /* -1: not yet */
	uint64_t worst_fetched; /* prober: bytes fetched for one probe */
};

struct sim;

struct sim *sim_new(uint64_t total, uint32_t piece_length, uint64_t link_bps,
		    uint64_t seed);
void sim_free(struct sim *sim);
void sim_add_peer(struct sim *sim, const struct sim_peer_config *config);
/* Index for sim_result. */
int sim_add_reader(struct sim *sim, const struct sim_reader_config *config);
/* Fetch all, below what readers want. */
void sim_fill(struct sim *sim);
/* Until nothing is left to do (readers ended, filled), at most to END_MS. */
void sim_run(struct sim *sim, int64_t end_ms);
/* One more run of random events does not make sense of time: what it is. */
int64_t sim_now_ms(const struct sim *sim);
const struct sim_reader_result *sim_result(const struct sim *sim, int reader);
uint64_t sim_fetched(const struct sim *sim); /* bytes of new blocks */
uint64_t sim_wasted(const struct sim *sim);  /* bytes of second copies */
uint32_t sim_missing(const struct sim *sim); /* pieces */
