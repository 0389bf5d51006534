/* engine/torrent.h: one torrent, from inside the engine. The public half is in
 * engine.h. Loop thread only.
 *
 * States and who moves them:
 *   no metadata      torrent_new from a magnet; torrent_meta.c fetches it
 *   loading          torrent_attach: metadata is here; resume.c decides which
 *                    bits of the last run count, check.c hashes the rest
 *   ready            torrent_on_checked; reads, fetches, serves
 *   closing          torrent_close: peers gone, waits end, last sync; then
 *                    torrent_free when no job is out any more
 *
 * Files: torrent.c (life, peers, public face), torrent_data.c (blocks, pieces,
 * have), torrent_meta.c (metadata), torrent_choke.c, torrent_face.c (the public
 * half), torrent_room.c (whose place a newcomer gets), check.c, adopt.c,
 * resume.c. */
#pragma once

#include "engine/base/list.h"
#include "engine/blame.h"
#include "engine/choker.h"
#include "engine/engine.h"
#include "engine/metaxfer.h"
#include "engine/peer.h"
#include "engine/picker.h"
#include "engine/sched.h"
#include "engine/store.h"
#include "engine/swarm.h"

struct check;
struct resume;

struct source_job {
	struct peersource *source;  /* borrowed */
	struct peersource_job *job; /* owned by the source; NULL: none */
};

#define SOURCES_MAX 4

struct torrent {
	struct engine *engine; /* borrowed */
	struct list node;      /* engine's list, by id */
	struct torrent *hash_next;
	int64_t id;
	struct infohash infohash;
	bool has_v1, has_v2;
	struct infohash2 infohash2;
	char *name;   /* owned; safe */
	char *magnet; /* owned; as given, or NULL */
	int64_t added_s;
	bool is_closing, is_ready, was_complete;
	bool was_ready;   /* when it was closed */
	bool is_finished; /* its last save has begun */
	bool delete_data; /* once no job is out */
	bool is_waiting;  /* for one that leaves the same place on disk */

	struct metainfo *mi;       /* owned; NULL before metadata */
	struct store *store;       /* own reference */
	struct engine_place place; /* owned; dir NULL: in data_dir */
	struct picker *picker;     /* owned */
	struct blame *blame;       /* owned */
	struct sched *sched;       /* owned */
	struct bitfield have;      /* verified and written */
	enum fill_policy fill;
	struct metaxfer *metaxfer; /* owned; before metadata */
	int64_t adopt_id;          /* files of that torrent may be ours; or 0 */
	struct check *check;       /* owned; while hashing */
	uint64_t check_rounds;     /* checks begun */
	struct resume *resume;     /* owned */

	/* Tells sources about us. */
	struct swarm_face face;
	char **urls;       /* owned; behind face */
	unsigned *tier_of; /* owned */
	size_t num_urls;
	struct source_job sources[SOURCES_MAX];
	size_t num_sources;
	unsigned rounds_expected, rounds_done; /* sources that asked once */
	int64_t started_ms, peer_seen_ms;
	char message[256];

	struct swarm *swarm; /* owned */
	struct list peers;   /* struct peer */
	unsigned num_peers, num_connecting;
	int64_t connect_ms; /* next look at the swarm; INT64_MAX: news */
	int64_t room_ms;    /* a peer was shown out for a candidate */
	int64_t choke_ms, fill_ms, rate_ms;
	bool is_fill_due; /* somebody waits for a free upload slot */
	struct choker choker;

	unsigned jobs_out; /* jobs that will come back */
	uint64_t verifying_bytes;
	int64_t blocked_until_ms; /* disk failure: no fetching until then */
	char error[160];

	struct rate down, up;
	uint64_t downloaded, uploaded; /* payload, all sessions */
	uint64_t session_down, session_up;
	uint64_t wasted;
};

/* --- torrent.c --- */
struct torrent *torrent_new(struct engine *e, const struct infohash *ih);
/* Gives T its metadata (taken) and everything that stands on it. */
void torrent_attach(struct torrent *t, struct metainfo *mi);
void torrent_start(struct torrent *t);      /* sources and connects */
void torrent_on_checked(struct torrent *t); /* bits are known: ready */
/* To all who may want to know. */
void torrent_tell_have(struct torrent *t, uint32_t piece);
void torrent_close(struct torrent *t);
bool torrent_is_idle(const struct torrent *t); /* closed, no job out */
void torrent_free(struct torrent *t);
void torrent_tick(struct torrent *t, int64_t now_ms);
void torrent_add_url(struct torrent *t, const char *url, unsigned tier);
void torrent_hurry(struct torrent *t); /* a reader waits: try everybody */
void torrent_set_error(struct torrent *t, int r, const char *doing);
/* Its bytes are never written by us. */
bool torrent_is_read_only(const struct torrent *t);
bool torrent_is_complete(const struct torrent *t);
bool torrent_wants_anything(const struct torrent *t); /* fill or readers */
void torrent_on_peer_closed(struct torrent *t, struct peer *p, bool was_good);
void torrent_rechoke(struct torrent *t, int64_t now_ms); /* soon */
void torrent_rechoke_tick(struct torrent *t, int64_t now_ms);

/* --- torrent_room.c --- */
/* The most useless peer leaves, if there is one past its grace; false: nobody
 * does. NEWCOMER: who would have the place; an address that has one already
 * gets no second one so. */
bool torrent_make_room(struct torrent *t, const struct addr *newcomer);
/* The same for a candidate, at most one a second. */
bool torrent_make_room_slowly(struct torrent *t);

/* --- torrent_data.c --- */
/* A whole block came from P. BYTES are borrowed. */
void torrent_on_block(struct torrent *t, struct peer *p, struct block_ref b,
		      const uint8_t *bytes);
void torrent_set_piece(struct torrent *t, uint32_t piece, bool have);
void torrent_drop_partials(struct torrent *t);
/* On each tick: what is late, or owed by who is silent, is asked elsewhere. */
void torrent_hedge(struct torrent *t, int64_t now_ms);
/* Asks peers for what is demanded now, spread over them. */
void torrent_fill_all(struct torrent *t);

/* --- torrent_meta.c --- */
void torrent_meta_start(struct torrent *t);
void torrent_meta_on_peer(struct torrent *t, struct peer *p);
void torrent_meta_on_peer_gone(struct torrent *t, struct peer *p);
/* 0 or -EPROTO. */
int torrent_meta_on_message(struct torrent *t, struct peer *p,
			    struct span payload, const char **why);
void torrent_meta_tick(struct torrent *t, int64_t now_ms);

/* --- check.c --- */
enum check_which {
	CHECK_ALL,       /* every piece not here */
	CHECK_ALLOCATED, /* of those, the ones with bytes on disk */
};
/* Hashes pieces that are not here and sets those that are right. Calls
 * torrent_on_checked at the end. */
void check_start(struct torrent *t, enum check_which which);
/* Takes the bits away and hashes these pieces (again). */
void check_add(struct torrent *t, uint32_t first, uint32_t count);
unsigned check_percent(const struct torrent *t);
void check_stop(struct torrent *t);

/* --- adopt.c --- */
/* Copies what torrent_adopt named, then hashes it. False: nothing to copy. */
bool adopt_start(struct torrent *t);

/* --- resume.c --- */
/* What the last run left, or NULL. Copies. Decides which bits count, then
 * hashes what must be hashed, then torrent_on_checked. */
void resume_start(struct torrent *t, const struct state_torrent *left);
void resume_on_written(struct torrent *t, uint32_t piece); /* have was set */
void resume_on_lost(struct torrent *t); /* a have bit was taken away */
void resume_tick(struct torrent *t, int64_t now_ms);
void resume_save(struct torrent *t); /* syncs and saves now */
/* The last save, when no job is out any more. IS_SURE: all that is on disk was
 * looked at, so that the row can be called clean. */
void resume_finish(struct torrent *t, bool is_sure);
void resume_free(struct torrent *t);
