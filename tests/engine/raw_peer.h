/* tests/engine/raw_peer.h: a peer that says what the test tells it to: a socket
 * and bytes, no engine behind it. It runs on the rig's loop while it waits. */
#pragma once

#include "engine/base/buf.h"
#include "engine/wire.h"
#include "tests/engine/swarm_rig.h"

struct raw {
	struct rig *rig;
	int fd, listen_fd;
	uint16_t port;       /* where it listens */
	struct buf in;       /* not yet looked at */
	uint8_t reserved[8]; /* of the engine's handshake */
	bool is_closed;
};

struct raw_msg {
	uint8_t id; /* 255: keepalive */
	uint8_t body[140000];
	size_t len;
};

/* Connects to N's engine. FROM: the last byte of 127.0.0.x, 0: any. */
void raw_connect(struct raw *w, struct node *n, uint8_t from);
/* Listens on a port of 127.0.0.1, for the engine to connect to. */
void raw_listen(struct raw *w, struct rig *r);
/* N learns of it as a person's peer; waits for the connection. */
void raw_invite(struct raw *w, struct node *n);
void raw_accept(struct raw *w);
void raw_close(struct raw *w);

#define RAW_FAST 1
#define RAW_EXT  2
#define RAW_DHT  4
/* Sends a handshake for T; the peer id is made of ID. */
void raw_greet(struct raw *w, const struct torrent *t, char id, int flags);
/* Takes the engine's handshake. */
void raw_take_greeting(struct raw *w);
/* Connects, or is invited if it listens, and greets both ways. */
void raw_meet(struct raw *w, struct node *n, char id, int flags);

/* Waits for room; false: the engine has closed. */
bool raw_send(struct raw *w, const void *bytes, size_t len);
bool raw_say(struct raw *w, enum wire_type type); /* no payload */
bool raw_say_index(struct raw *w, enum wire_type type, uint32_t piece);
bool raw_say_block(struct raw *w, enum wire_type type, uint32_t piece,
		   uint32_t begin, uint32_t len);
bool raw_say_bits(struct raw *w, uint32_t num_pieces, bool value);
bool raw_say_ext(struct raw *w, uint8_t ext_id, const char *payload);
/* LEN bytes at BYTES as a block. */
bool raw_give(struct raw *w, uint32_t piece, uint32_t begin,
	      const uint8_t *bytes, uint32_t len);

/* The next message; false: none within MS, or the stream ended. */
bool raw_next(struct raw *w, struct raw_msg *m, int ms);
/* The next one of TYPE; others are dropped. */
bool raw_wait(struct raw *w, enum wire_type type, struct raw_msg *m, int ms);
bool raw_is_closed(struct raw *w, int ms); /* waits for the end */
/* Counts what comes within MS, by id. */
void raw_count(struct raw *w, int ms, unsigned counts[256]);

/* Runs the loop for MS. */
void rig_run(struct rig *r, int ms);
