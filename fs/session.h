/* fs/session.h: everything but FUSE, wired together: loop, workers, state,
 * engine, HTTP, UDP, trackers. weirfs and weirctl stand on it.
 *
 * Life: session_open (main thread) -> add sources, loop_run -> session_stop ->
 * session_close (main thread, after loop_run). Loop thread only in between. */
#pragma once

#include "engine/base/http.h"
#include "engine/base/list.h"
#include "engine/base/udp.h"
#include "engine/engine.h"
#include "fs/library.h"
#include "fs/opts.h"

#define SESSION_WHY_SIZE 512
#define SESSION_STOP_MS  4000 /* what is not saved by then is given up */

struct session_config {
	bool is_flat;      /* data/NAME instead of data/INFOHASH/NAME */
	bool is_read_only; /* never writes to data */
	bool is_stateless; /* remembers nothing */
	bool publishes;    /* publish_dir (publish.h) */
};

struct tracker_client;
struct session_dht;
struct follows;
struct publish;

/* Others read the fields, and write none. */
struct session {
	const struct opts *opts; /* borrowed for life */
	struct session_config config;
	struct loop *loop;
	struct workers *workers;
	struct state *state; /* NULL: stateless */
	struct http *http;
	struct udp *udp; /* NULL: no UDP port to be had */
	struct tracker_client *trackers;
	struct session_dht *dht; /* NULL: nodht, or no UDP */
	struct follows *follows;
	struct publish *publish; /* NULL: nothing is published */
	struct engine *engine;
	struct library *library;
	int64_t started_s;              /* wall clock */
	char refusal[SESSION_WHY_SIZE]; /* what was refused last, and why */

	/* private */
	struct list listeners;
	struct list adds;    /* sources under way, source.c */
	struct list lookups; /* of peer=, session.c */
	bool is_stopping, is_stopped;
	bool is_late; /* the engine could not end in time */
	struct timer stop_timer;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* Returns 0, or -errno with a sentence in WHY and nothing left behind. */
int session_open(const struct opts *opts, const struct session_config *config,
		 struct session **out, char why[SESSION_WHY_SIZE]);
/* Ends wants, closes peers, says goodbye to trackers, saves. DONE is called
 * once, within SESSION_STOP_MS. A second call is ignored. */
void session_stop(struct session *s, void (*done)(void *arg), void *arg);
void session_close(struct session *s);

/* News of the library. Any of the functions may be NULL. */
struct session_listener {
	struct list node;
	void (*on_added)(struct session_listener *l, struct entry *e);
	void (*on_metadata)(struct session_listener *l, struct entry *e);
	void (*on_complete)(struct session_listener *l, struct entry *e);
	/* E and its torrent are gone after this returns. */
	void (*on_removed)(struct session_listener *l, struct entry *e);
};
void session_listen(struct session *s, struct session_listener *l);
void session_unlisten(struct session_listener *l);

/*
 * Adding. DONE is called once, on a later turn: 0 with the torrent's id, it is
 * durable (or was here before); or -errno with a sentence in WHY.
 * TEXT: path of a .torrent, magnet link, 40 or 64 hex digits, http(s) URL,
 * urn:btpk link (follow.h; id 0: it is followed, and nothing is there yet).
 * BYTES (taken): what such a file holds, or a magnet link.
 */
typedef void session_add_fn(void *arg, int r, int64_t id, const char *why);
void session_add(struct session *s, const char *text, session_add_fn *done,
		 void *arg);
void session_add_bytes(struct session *s, uint8_t *bytes, size_t len,
		       session_add_fn *done, void *arg);

/* Makes PATH and the folders above it. 0, or -errno with a sentence in WHY. */
int session_make_folder(const char *path, mode_t mode,
			char why[SESSION_WHY_SIZE]);

/* --- source.c, for session.c --- */

/* Each addition under way ends with -ESHUTDOWN, now or when its worker is
 * back. */
void source_stop(struct session *s);
/* A magnet for IH, at once (by-hash/). NULL: the library is full. */
struct entry *session_add_hash(struct session *s, const struct infohash *ih);
/* A name for TEXT that tells one source from another: its infohash, or a hash
 * of its URL. Main thread, before session_open. Owned by the caller; NULL with
 * a sentence in WHY. */
char *source_instance(const char *text, char why[SESSION_WHY_SIZE]);
