/* fs/session_dht.h: the DHT's part of a session, for session.c. Loop thread
 * only, but for open and close.
 *
 * The node uses the session's UDP port. Its table is a note of the state,
 * written every few minutes and at the end. nodht, or no UDP: there is none,
 * and every call is harmless. */
#pragma once

#include "dht/dht.h"
#include "fs/session.h"

struct session_dht;
struct dht_loop_options;

/* A node's table, kept in the state (NULL: nowhere). Load: main thread, before
 * the loop. */
void session_dht_load(struct state *state, struct dht *dht);
void session_dht_save(struct state *state, struct dht *dht);

/* NAMES holds a local address, or we are bound to one: then nodes on local
 * addresses are nodes. Any thread. */
bool session_names_local(const struct opts *o, const struct opts_list *names);

/* What -o says of the DHT. OUT borrows from O. */
void session_dht_options(const struct opts *o, struct dht_loop_options *out);

/* Main thread, after engine and UDP, before torrents are loaded. NULL: none. */
struct session_dht *session_dht_open(struct session *s);
/* Saves; before the state is closed and while workers run. */
void session_dht_stop(struct session_dht *d);
void session_dht_close(struct session_dht *d);
struct dht *session_dht_node(struct session_dht *d); /* NULL: none */
