/* engine/engine.h: the public face of the engine: torrents, added and removed,
 * read and seeded. With metainfo.h, magnet.h and the struct want of sched.h it
 * is all that fs/ and tools/ may include. Loop thread only, unless said.
 *
 * The engine knows no FUSE, no DHT, no tracker. Who finds peers is handed in
 * (peersource.h). */
#pragma once

#include <stdbool.h>

#include "engine/base/addr.h"
#include "engine/base/id.h"
#include "engine/base/loop.h"
#include "engine/base/peersource.h"
#include "engine/base/worker.h"
#include "engine/bitfield.h"
#include "engine/magnet.h"
#include "engine/metainfo.h"
#include "engine/sched.h"
#include "engine/state.h"

struct engine;
struct torrent;

enum fill_policy {
	FILL_NONE,
	FILL_FILE,
	FILL_TORRENT
};

/* Where a torrent that we publish has its bytes: as DIR/NAME, whatever the
 * torrent itself is called; NAME may have slashes. They are somebody's own:
 * never written, never deleted, and believed only while their stamps are as
 * they were. */
struct engine_place {
	char *dir, *name; /* whoever fills it in makes them; the engine frees */
};

struct engine_config {
	/* Where content lives: DATA_DIR/INFOHASH/NAME, or DATA_DIR/NAME if
	 * is_flat (weirctl get and seed). */
	const char *data_dir; /* borrowed for the engine's life */
	bool is_flat;
	bool is_read_only;             /* weirctl seed: never write */
	struct addr bind4, bind6;      /* family 0: do not use that family */
	uint16_t port;                 /* 0: first free of 6881..6889 */
	unsigned max_peers;            /* per process; 0: LIMIT_PEERS */
	uint64_t down_limit, up_limit; /* bytes/s; 0: none */
	enum fill_policy fill;
	int64_t read_timeout_ms; /* 0: wait for ever */
	bool no_tcp_out;         /* accept only (tests) */
	/* Where a torrent of the last run has its bytes, if that was told by
	 * engine_add_published: false, or true with OUT. May be NULL. */
	bool (*place)(void *arg, const struct infohash *ih,
		      struct engine_place *out);
	void *place_arg;
};

/* News. Any of them may be NULL. Called on the loop, never from inside a call
 * into the engine by the same party, except for on_removed. */
struct engine_events {
	void (*on_added)(void *arg, struct torrent *t);
	void (*on_metadata)(void *arg, struct torrent *t); /* magnet resolved */
	void (*on_complete)(void *arg, struct torrent *t);
	/* T is gone after this returns; its readers and wants are ended. */
	void (*on_removed)(void *arg, struct torrent *t);
};

/* Binds the port. SOURCES are borrowed for life. STATE may be NULL: nothing is
 * remembered. Returns 0 or -errno with a sentence in WHY. */
#define ENGINE_WHY_SIZE 512
int engine_new(struct loop *loop, struct workers *workers, struct state *state,
	       const struct engine_config *config,
	       const struct engine_events *events, void *arg,
	       struct engine **out, char why[ENGINE_WHY_SIZE]);
/* Sources start with each torrent; add them before torrents. */
void engine_add_source(struct engine *e, struct peersource *source);
/* Peers of public torrents are told that a DHT node of ours is at this UDP
 * port (BEP 5); 0: none is. */
void engine_set_dht_port(struct engine *e, uint16_t port);
/* Main thread, before the loop runs: torrents of the last run. */
int engine_load(struct engine *e);
/* Ends wants (-ESHUTDOWN), closes peers, says goodbye to sources, saves. DONE
 * when everything is on disk; then engine_free. When the disk does not answer,
 * DONE comes all the same after 3 s, the log says what is not saved, and
 * engine_is_stuck is true until it answers. The process had better end then:
 * workers_free would wait. */
void engine_stop(struct engine *e, void (*done)(void *arg), void *arg);
bool engine_is_stuck(const struct engine *e);
/* In place of engine_stop, when the process could not start: nothing is saved,
 * and jobs that come back begin no others. Then workers_free, what is left on
 * the loop, engine_free. Harmless after engine_stop. */
void engine_abandon(struct engine *e);
/* Not while it is stuck. */
void engine_free(struct engine *e);

uint16_t engine_port(const struct engine *e);
const struct peerid *engine_peerid(const struct engine *e);

/* --- torrents --- */

/*
 * MI or M is taken in every case. Returns 0 with *out, or -EEXIST with *out
 * being the one that is here (new trackers are added to it, and metadata if it
 * had none); -E2BIG: LIMIT_TORRENTS; -EOPNOTSUPP: v2 only, not yet.
 * SAVED (may be NULL) is called when the torrent is durable in the state, or
 * with -errno; at once without a state.
 */
int engine_add_metainfo(struct engine *e, struct metainfo *mi,
			struct torrent **out, void (*saved)(void *arg, int r),
			void *arg);
int engine_add_magnet(struct engine *e, struct magnet *m, struct torrent **out,
		      void (*saved)(void *arg, int r), void *arg);
/*
 * As engine_add_metainfo, for bytes that lie in PLACE (taken) and were hashed
 * when STAMPS (one for each file of MI, borrowed) were true: all is here at
 * once, if they still are. -EEXIST: the torrent that is here keeps its place.
 */
int engine_add_published(struct engine *e, struct metainfo *mi,
			 struct engine_place *place,
			 const struct store_stamp *stamps, struct torrent **out,
			 void (*saved)(void *arg, int r), void *arg);
/* The NAME of T's place, borrowed; NULL: its bytes are in data_dir. */
const char *torrent_place(const struct torrent *t);
/* The bytes of T, which has a place, are called NAME there from now on. */
void torrent_rename_place(struct torrent *t, const char *name);
/* Bytes [OFF, OFF + LEN) of T are about to be changed by somebody: from now on
 * nobody is given any of their pieces. */
void torrent_forget(struct torrent *t, uint64_t off, uint64_t len);
/* Leaves the library. Data is deleted if DELETE_DATA (never if read-only). */
void engine_remove(struct engine *e, struct torrent *t, bool delete_data);

struct torrent *engine_find(struct engine *e, const struct infohash *ih);
struct torrent *engine_by_id(struct engine *e, int64_t id);
struct torrent *engine_first(struct engine *e); /* by id; NULL: none */
struct torrent *engine_next(struct torrent *t);
size_t engine_num_torrents(const struct engine *e);

int64_t torrent_id(const struct torrent *t); /* > 0, never used twice while a
					      * state exists */
const struct infohash *torrent_infohash(const struct torrent *t);
/* Name for people and paths: of the metainfo, else dn, else the infohash;
 * safe, one path element. Not unique. */
const char *torrent_name(const struct torrent *t);
const struct metainfo *torrent_metainfo(const struct torrent *t); /* or NULL */
/* Magnet link of T. Owned by the caller. */
char *torrent_magnet(const struct torrent *t);
int64_t torrent_added_s(const struct torrent *t); /* wall clock */

enum torrent_phase {
	TORRENT_METADATA,    /* magnet: fetching the info dict */
	TORRENT_CHECKING,    /* hashing what is on disk */
	TORRENT_ON_DEMAND,   /* ready; fetches what is read */
	TORRENT_DOWNLOADING, /* ready; fill is on, not all here */
	TORRENT_SEEDING,     /* all here */
	TORRENT_ERROR,       /* disk; see stats.error */
};
const char *torrent_phase_name(enum torrent_phase phase);

struct torrent_stats {
	enum torrent_phase phase;
	uint64_t have_bytes, total_bytes; /* without pads; 0 before metadata */
	uint32_t have_pieces, num_pieces;
	uint64_t down_bps, up_bps;         /* payload, smoothed */
	uint64_t downloaded, uploaded;     /* payload bytes, all sessions */
	uint64_t wasted;                   /* duplicates and bad pieces */
	unsigned peers, seeds, candidates; /* connected; of them; known */
	unsigned peers_unchoking;
	unsigned metadata_percent; /* TORRENT_METADATA */
	unsigned checked_percent;  /* TORRENT_CHECKING */
	unsigned parked_reads;
	char error[160];   /* "" if all is well; for people */
	char message[256]; /* what sources said last: tracker failures */
};
void torrent_stats(struct torrent *t, struct torrent_stats *out);

struct peer_stats {
	struct addr addr;
	char client[65];
	char flags[16]; /* d/D u/U interested/unchoked, I incoming, S seed .. */
	uint64_t down_bps, up_bps, downloaded, uploaded;
	double progress; /* 0..1 */
	unsigned requests_out, requests_in;
	unsigned rtt_ms;
};
/* Calls FN for each connected peer. */
void torrent_each_peer(struct torrent *t,
		       void (*fn)(void *arg, const struct peer_stats *p),
		       void *arg);
/* Calls FN with a line of JSON from each source (its trackers' state). */
void torrent_each_source(struct torrent *t,
			 void (*fn)(void *arg, const char *name,
				    const char *json),
			 void *arg);

/* What is here; NULL before metadata. Borrowed, changes with the loop. */
const struct bitfield *torrent_have(const struct torrent *t);
/* Is every byte of [off, off + len) verified and here? */
bool torrent_has(const struct torrent *t, uint64_t off, uint64_t len);
/* Bytes of [off, off + len) that are here, to piece precision. */
uint64_t torrent_present(const struct torrent *t, uint64_t off, uint64_t len);

void torrent_set_fill(struct torrent *t, enum fill_policy fill);
/* When T, a magnet, gets its metadata: files that FROM has too (equal v2 root,
 * or equal length and name) are copied on disk and hashed before anything is
 * fetched. FROM is only remembered. */
void torrent_adopt(struct torrent *t, struct torrent *from);
/* Hashes everything again; PHASE is CHECKING meanwhile. */
void torrent_check(struct torrent *t);
/* A peer by address: peer=HOST:PORT, x.pe. */
void torrent_add_peer(struct torrent *t, const struct addr *a,
		      enum peer_origin origin);
/* The same for every torrent, now and later. */
void engine_add_peer(struct engine *e, const struct addr *a);
/* A tracker for every torrent that is not private, now and later. */
void engine_add_tracker(struct engine *e, const char *url);

/* --- reading; after metadata --- */

/* One open file: torrent bytes [start, end). Freed by reader_free. */
struct reader *torrent_open_reader(struct torrent *t, uint64_t start,
				   uint64_t end);
/* Each file that was asked for from its first byte to its last, here or not:
 * see sched_on_whole_file. START, END: its bytes in the torrent. */
void torrent_on_whole_file(struct torrent *t, uint64_t start, uint64_t end);
/* Bytes that are not all here: W->done(W, 0) when they are. W is parked until
 * then, or until torrent_cancel(W). done may run before this returns. */
void torrent_want(struct torrent *t, struct reader *r, struct want *w);
void torrent_cancel(struct want *w);
/* The store, to read what is here (store_read_now, store_read). A job on a
 * worker holds the torrent meanwhile: T, its metainfo and its store stay, even
 * if T leaves the library. One release for each hold, on the loop. */
struct store *torrent_store(struct torrent *t);
void torrent_hold(struct torrent *t);
void torrent_release(struct torrent *t);
/* A read of bytes that should be here failed or was short: those pieces are
 * hashed again and fetched if wrong. */
void torrent_distrust(struct torrent *t, uint64_t off, uint64_t len);
