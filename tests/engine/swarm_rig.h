/* tests/engine/swarm_rig.h: whole engines in one process, joined by loopback
 * TCP: real sockets, real files, one loop. */
#pragma once

#include "engine/engine.h"

struct rig {
	struct loop *loop;
	struct workers *workers;
	char dir[64];    /* scratch, removed at the end */
	bool is_by_hash; /* engines to come keep each torrent in a folder */
};

struct node { /* one engine */
	struct rig *rig;
	struct engine *engine;
	struct state *state;
	struct torrent *torrent;
	char *data_dir; /* owned */
	bool is_complete, has_stopped;
};

/* LAST in a subnet of 127/8 that is this process's own; engines bind 1. Tests
 * that run side by side must not meet each other's peers on a port that changed
 * hands. */
struct addr rig_local(uint8_t last, uint16_t port);
void rig_start(struct rig *r);
void rig_end(struct rig *r);
/* Without the scratch folder: for a process that forks. */
void rig_open(struct rig *r);
void rig_close(struct rig *r);

/* LEN bytes of NAME in DIR/FOLDER, from a generator seeded with SEED. */
void rig_make_file(struct rig *r, const char *folder, const char *name,
		   uint64_t len, uint64_t seed);
/* A v1 single-file .torrent of it. Owned by the caller. */
struct metainfo *rig_metainfo(struct rig *r, const char *folder,
			      const char *name, uint32_t piece_length);

/* Data in DIR/FOLDER; state in DIR/FOLDER.state if HAS_STATE. */
void node_start(struct node *n, struct rig *r, const char *folder,
		bool is_read_only, enum fill_policy fill, bool has_state);
void node_add(struct node *n, struct metainfo *mi);
void node_connect(struct node *n, struct node *to);
/* As a process would on SIGTERM. */
void node_stop(struct node *n);
/* The same in steps: engine_stop with this, then, once it has stopped, this. */
void node_on_stopped(void *arg);
void node_end(struct node *n);
/* Runs the loop until *FLAG or MS have passed; returns *FLAG. */
bool rig_until(struct rig *r, const bool *flag, int ms);
bool rig_same(struct rig *r, const char *folder_a, const char *folder_b,
	      const char *name);
