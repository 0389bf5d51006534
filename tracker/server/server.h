/* tracker/server/server.h: the whole tracker but for its overlay: store, lists,
 * UDP, HTTP and the state file, set up from a command line. What wants to be
 * told of the overlay is plugged in by callbacks, so this knows nothing of it.
 *
 * Loop thread. */
#pragma once

#include "tracker/server/options.h"
#include "tracker/server/statefile.h"

#define SERVER_WHY_SIZE 512

struct server;

struct server_plugs { /* each may be NULL */
	/* A datagram that begins with 'd' or 'K', borrowed until return. */
	void (*on_overlay)(void *arg, const struct addr *from,
			   const uint8_t *bytes, size_t len);
	/* Announces that other owners should hear of. */
	void (*on_tellings)(void *arg, const struct telling *t, size_t n);
	/* Before each save: fills what is to be kept. */
	void (*fill_blobs)(void *arg, struct statefile_blobs *out);
	/* As in web.h, on a web thread. */
	void (*describe_json)(void *arg, struct buf *out);
	void (*describe_metrics)(void *arg, struct buf *out);
	void *arg; /* borrowed */
};

/* Reads lists and state. OPTIONS is borrowed. Returns 0, or -errno with WHY. */
int server_new(struct loop *loop, const struct tracker_options *options,
	       struct server **out, char why[SERVER_WHY_SIZE]);
/* What the state file had; empty: nothing. */
const struct statefile_blobs *server_blobs(const struct server *s);
struct swarms *server_swarms(struct server *s);
struct access_list *server_access(struct server *s);

/* Opens ports and begins to answer and to save. PLUGS is copied. */
int server_start(struct server *s, const struct server_plugs *plugs,
		 char why[SERVER_WHY_SIZE]);
/* Whether we, whoever we are by now, can save. Returns 0, or -errno. */
int server_check_state(const struct server *s, char why[SERVER_WHY_SIZE]);
/* From the tracker's UDP port. Returns 0 or -errno. */
int server_send(struct server *s, const struct addr *to, const void *bytes,
		size_t len);

/* Lists and certificate once more; what cannot be read is logged and stays as
 * it was. Torrents that are not tracked any more are dropped. */
void server_reload(struct server *s);
void server_log_stats(struct server *s);

/* From now on clients are told to come again later. */
void server_leave(struct server *s);
/* Ends threads, saves (fill_blobs is called, nothing else of the plugs), frees.
 * NULL is harmless. */
void server_free(struct server *s);
