/* fs/publish_private.h: the publisher from inside. Loop thread only.
 *
 * publish.c (entries, their clocks), publish_events.c (what the mount tells),
 * publish_hash.c (the work on workers), publish_seal.c (from quiet to torrent),
 * publish_note.c (what is remembered), publish_watch.c and publish_look.c (what
 * happens behind our back), publish_face.c (what people see). */
#pragma once

#include "engine/base/list.h"
#include "engine/filehash.h"
#include "fs/publish.h"
#include "fs/publish_scan.h"

#define PUBLISH_BUCKETS      1024u /* a power of two */
#define PUBLISH_FILE_BUCKETS 8192u
#define PUBLISH_STEPS_MAX    4u /* pieces being hashed at a time */

enum publish_state {
	PUBLISH_WRITING,
	PUBLISH_SETTLING,
	PUBLISH_HASHING, /* looking, hashing, making the torrent */
	PUBLISH_DONE,
	PUBLISH_NOTHING,   /* there is nothing in it to publish */
	PUBLISH_WITHDRAWN, /* a person took the torrent out of the library */
	PUBLISH_FAILED,    /* see error */
};

struct publish_entry {
	struct list node;  /* in its bucket */
	struct publish *p; /* borrowed */
	char *path;        /* owned; below publish_dir */
	enum publish_state state;
	unsigned writers;
	bool is_held, is_urgent; /* publish=hold, =now */
	bool is_dir;
	bool is_doubted; /* inotify says something */
	struct timer timer;
	int64_t delay_ms;
	uint64_t changes;  /* counts; a look that began before one is void */
	struct list files; /* struct publish_file */
	uint64_t bytes;    /* as last seen */
	char error[160];

	/* The torrent that it is, or was until it changed. */
	bool has_torrent;
	struct infohash infohash;
	uint8_t fingerprint[32]; /* of what that was made from */

	struct seal *seal; /* owned; in PUBLISH_HASHING */
};

struct publish_file {
	struct list node;      /* in its entry */
	struct list path_node; /* in its bucket */
	struct list hash_node; /* in publish.hashing, when there is work */
	struct publish_entry *entry; /* of the same path */
	char *path;                  /* owned; below publish_dir */
	struct filehash hash;
	struct store_stamp stamp; /* when HASH was true */
	unsigned writers;
	uint64_t next_off;    /* where the last write ended */
	uint32_t from, until; /* pieces that may be hashed now */
	struct list steps;    /* struct step, under way */
	uint32_t index;       /* in the torrent; UINT32_MAX: look */
	int r;                /* of the last failed step */
};

struct publish {
	struct session *s; /* borrowed */
	int root;
	bool is_read_only, is_stopping, is_started;
	struct list buckets[PUBLISH_BUCKETS];
	struct list file_buckets[PUBLISH_FILE_BUCKETS]; /* by path */
	size_t num_entries;
	struct list hashing; /* files with work */
	unsigned num_steps;
	unsigned num_jobs;    /* of all kinds: publish_close needs none */
	struct list memories; /* publish_note.c */
	struct session_listener listener;
	struct watch *watch; /* owned; NULL: there is no inotify */
	struct timer look_timer;
	bool is_looking, looks_again;
};

/* ---- publish.c ---- */

/* How much of PATH is the entry that it lies in or is; 0: none. */
size_t publish_entry_len(const struct publish *p, const char *path);
/* May the first LEN bytes of PATH be one, by its last name? */
bool publish_is_entry_name(const char *path, size_t len);
/* The entry that PATH lies in or is; NULL. MAKE: if its name may be one. */
struct publish_entry *publish_entry_of(struct publish *p, const char *path,
				       bool make);
void publish_entry_free(struct publish_entry *e);
/* Its path is another one. */
void publish_entry_rehash(struct publish_entry *e);
void publish_file_rehash(struct publish_file *f);
/* Something is or may be new: the clock starts again. IS_HINT: a rename says
 * that it is finished. */
void publish_settle(struct publish_entry *e, bool is_hint);
void publish_set_state(struct publish_entry *e, enum publish_state state);
struct torrent *publish_torrent(struct publish_entry *e); /* or NULL */
/* Its torrent leaves the library, if its bytes are E's. */
void publish_drop_torrent(struct publish_entry *e);
struct publish_file *publish_file_of(struct publish_entry *e, const char *path,
				     bool make);
void publish_file_free(struct publish_file *f);
/* A DONE entry may have changed: looks, and does nothing if it has not. */
void publish_look_at(struct publish_entry *e);
/* Below publish_dir, the children are not those that we knew: looks at all. */
void publish_look(struct publish *p);

/* ---- publish_hash.c ---- */

/* Pieces [FROM, UNTIL) of F may be hashed. */
void publish_hash(struct publish_file *f, uint32_t from, uint32_t until);
/* What is under way for bytes [OFF, OFF + LEN) of F is void. */
void publish_hash_void(struct publish_file *f, uint64_t off, uint64_t len);
void publish_hash_pump(struct publish *p);

/* ---- publish_seal.c ---- */

/* The entry is quiet: looks at it, hashes what is missing, makes the torrent.
 * Whoever changes the entry meanwhile calls seal_stop. */
void seal_start(struct publish_entry *e);
void seal_stop(struct publish_entry *e);
/* A file of it has no more to hash. */
void seal_on_hashed(struct publish_entry *e);
uint64_t seal_bytes_missing(const struct publish_entry *e);

/* ---- publish_note.c ---- */

/* What the last run knew about an entry. */
struct memory {
	struct list node;
	char *path; /* owned */
	struct infohash infohash;
	struct infohash before; /* the torrent that left for this one */
	uint8_t fingerprint[32];
	bool is_withdrawn;
};
void memories_load(struct publish *p); /* main thread, before the engine */
void memories_free(struct publish *p);
struct memory *memory_of(struct publish *p, const char *path);
/* BEFORE: NULL, or that of a torrent that is about to leave. */
void memory_put(struct publish_entry *e, const struct infohash *before);
/* The torrents that should have left when the last run was cut off leave. */
void memories_settle(struct publish *p);
void memory_drop(struct publish *p, const char *path);
/* ---- publish_watch.c ---- */

struct watch *watch_new(struct publish *p);
void watch_free(struct watch *w);
/* FOLDERS (below the entry, "" first) belong to E. */
void watch_entry(struct publish_entry *e, char *const *folders, size_t n);
void watch_forget(struct publish_entry *e);
/* FOLDER, below publish_dir, is in no entry. */
void watch_folder(struct publish *p, const char *folder);
bool watch_is_blind(const struct watch *w); /* some changes are not seen */
