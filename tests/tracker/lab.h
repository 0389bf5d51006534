/* tests/tracker/lab.h: real trackers as child processes, and a client of ours
 * with one torrent, for test_interop.c. */
#pragma once

#include "engine/base/log.h"
#include "tracker/tracker.h"

/* A network namespace of our own, with these addresses on its loopback, so
 * that ports are free; and in it a name "both.test" for 127.0.0.1 and ::1, and
 * a name server that is there when a case listens. What could not be had is
 * false. */
#define LAB_GLOBAL_IP   "198.18.7.7" /* not loopback, not private to addr.c */
#define LAB_NAME_SERVER "127.0.0.53"
struct lab {
	char tmp[64]; /* a folder */
	bool has_netns, has_names;
};
bool lab_open(struct lab *lab);
void lab_close(struct lab *lab);

struct proc {
	pid_t pid;
	int out; /* its stdout, non-blocking */
	uint16_t port;
};

void proc_stop(struct proc *p); /* harmless on one that did not start */
/* What it has printed and nobody has read yet; for free(). */
char *proc_output(struct proc *p);

/* TLS: a folder for certificates, or NULL. */
bool pytracker_start(struct proc *p, const char *ip, const char *tls);

/* HTTP and UDP on one port; serves HASH alone. NULL, or why not. */
const char *opentracker_start(struct proc *p, const struct lab *lab,
			      const char *ip, const struct infohash *hash);

/* A listening port that never accepts, or a bound UDP port that never
 * answers. *PORT 0: any. Returns the descriptor or -1. */
int lab_mute_port(const char *ip, int type, uint16_t *port);

#define LAB_URLS  4
#define LAB_PEERS 64

struct client {
	struct loop *loop;
	struct workers *workers;
	struct http *http;
	struct udp *udp;
	struct tracker_client *tracker;
	struct peersource *source;
	struct peersource_job *job;
	struct swarm_face face;
	char *urls[LAB_URLS];
	unsigned tier_of[LAB_URLS];
	struct peersource_stats stats;
	int peers, rounds, drained;
	struct addr peer[LAB_PEERS];
	char message[1024];
	int64_t started_ms, first_peer_ms;
};

/* announce_ip may be NULL. */
void client_open(struct client *c, uint16_t port, const char *announce_ip);
void client_close(struct client *c); /* stops silently */
/* A tier of its own for each. */
void client_add_url(struct client *c, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void client_start(struct client *c);
/* False when *n is still below WANT after 15 s. */
bool client_run_until(struct client *c, const int *n, int want);
void client_run_ms(struct client *c, int ms);
bool client_stop_and_drain(struct client *c);
const char *client_describe(struct client *c); /* until the next call */
bool client_has_peer(const struct client *c, const char *addr);
