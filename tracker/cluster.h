/* tracker/cluster.h: a tracker among others: its node of the overlay, the
 * copies that owners of a swarm keep for each other, the DNS bridge, live sync
 * with opentrackers; plugged into a server. Loop thread. */
#pragma once

#include "tracker/server/server.h"

struct cluster;

/* True: the options ask for any of it. */
bool cluster_is_wanted(const struct tracker_options *options);

/* What it keeps over a restart comes from the server's state. OPTIONS and
 * SERVER are borrowed. Returns 0, or -errno with WHY for people. */
int cluster_new(struct loop *loop, const struct tracker_options *options,
		struct server *server, struct cluster **out,
		char why[SERVER_WHY_SIZE]);
/* For server_start. */
void cluster_plug(struct cluster *c, struct server_plugs *plugs);
/* The server has started: joins the overlay, opens the ports of DNS and of live
 * sync. Returns 0, or -errno with WHY. */
int cluster_start(struct cluster *c, char why[SERVER_WHY_SIZE]);
/* Hands on what only this tracker knows; calls DONE on a later turn, when that
 * is out, or after 8 s. */
void cluster_leave(struct cluster *c, void (*done)(void *arg), void *arg);
/* After server_free: that ends the threads which describe, and asks once more
 * what is to be kept. NULL is harmless. */
void cluster_free(struct cluster *c);
