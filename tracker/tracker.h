/* tracker/tracker.h: the tracker client, a source of peers. The public face of
 * this folder; policy in tiers.c. Loop thread only.
 *
 * Trackers over http, https and udp, on IPv4 and IPv6, in tiers: BEP 3, 7, 12,
 * 15, 21, 23, 24, 31, 41. */
#pragma once

#include "engine/base/http.h"
#include "engine/base/peersource.h"
#include "engine/base/udp.h"
#include "engine/base/worker.h"

struct tracker_client;

struct tracker_options {
	struct peerid peerid;
	uint16_t port; /* where peers reach us */
	/* To be listed under these instead of the address that a tracker
	 * sees (announce_ip=); family 0: no. */
	struct addr announce_ip4, announce_ip6;
	/* Local addresses; NULL: that family is not used; the unspecified
	 * address: any. Copied. */
	const struct addr *bind4, *bind6;
	unsigned num_want; /* peers asked for at most; 0: 200 */
	/* URLs that the user named: they may be anywhere. A torrent's own must
	 * not reach just any place on this machine (see announce.h). Copied. */
	const char *const *trusted;
	size_t num_trusted;
	/* Peers on loopback are dropped unless the tracker is there too; this
	 * takes them from any tracker. */
	bool accept_loopback;
	/* URLs whose host is a key of an overlay of trackers (overlays.h) are
	 * announced to its owners. Without: to whom DNS names. */
	bool has_kenosis;
	const char *const *overlay; /* trackers to begin with. Copied. */
	size_t num_overlay;
	bool allow_local_overlay; /* with trackers on local addresses */
	/* How a tracker sees us (BEP 24). May be NULL. */
	void (*on_external_ip)(void *arg, const struct addr *ip);
	void *arg; /* borrowed */
};

/* HTTP and UDP are borrowed, UDP may be NULL. Takes over UDP_TRACKER there. */
struct tracker_client *
tracker_client_new(struct loop *loop, struct workers *workers,
		   struct http *http, struct udp *udp,
		   const struct tracker_options *options);
/* All jobs have been stopped. Goodbyes that are not out yet are dropped. */
void tracker_client_free(struct tracker_client *client);

struct peersource *tracker_client_source(struct tracker_client *client);

/* Our port changed (mapped by a router): the next announces carry it. */
void tracker_client_set_port(struct tracker_client *client, uint16_t port);

/*
 * Calls DONE once on a later turn: when all goodbyes of stopped jobs are
 * delivered, or after 2 s. What is left by then is dropped.
 */
void tracker_client_drain(struct tracker_client *client,
			  void (*done)(void *arg), void *arg);
