/* tracker/overlay/kt_loop.h: a node of an overlay on the loop: timers, names of
 * nodes to start from, certificates. Datagrams go out through a function, and
 * come in through kt_loop_on_packet or a tap on the port (udp.h). Loop thread
 * only. */
#pragma once

#include "engine/base/udp.h"
#include "engine/base/worker.h"
#include "tracker/overlay/kt.h"
#include "tracker/overlay/kt_id.h"

struct kt_loop;

struct kt_loop_options {
	const char *domain; /* copied */
	bool v4, v6, is_client, allow_local;
	struct kt_tracker self; /* not of a client */
	/* Of a tracker. Family 0: the machine's only global address of that
	 * family, if there is one, else learnt from others. */
	struct addr external4, external6;
	const uint8_t *key;                /* as in kt.h */
	const struct kt_realm_file *realm; /* closed; copied. NULL: open */
	/* "host:port" or "host"; NULL: root.DOMAIN. Copied. */
	const char *const *bootstrap;
	size_t num_bootstrap;
	uint16_t port; /* of names that have none; 0: 6969 */
	uint8_t tag;   /* as in kt.h */
	/* What cannot be sent is lost. */
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	void (*on_change)(void *arg); /* as in kt.h; may be NULL */
	void *arg;                    /* borrowed */
};

/* LOOP and WORKERS are borrowed. Begins on the next turn: kt_load comes before
 * that. */
struct kt_loop *kt_loop_new(struct loop *loop, struct workers *workers,
			    const struct kt_loop_options *options);
void kt_loop_free(struct kt_loop *l); /* harmless on NULL */

/* As kt_on_packet. */
bool kt_loop_on_packet(struct kt_loop *l, const struct addr *from,
		       const uint8_t *bytes, size_t len);
/* Takes its own datagrams from UDP, until kt_loop_free. */
void kt_loop_tap(struct kt_loop *l, struct udp *udp);

struct kt *kt_loop_node(struct kt_loop *l);

/* Reads a realm's file. Returns 0, or -errno with WHY for people. Blocks: at
 * the start of a program. */
int kt_realm_file_read(const char *path, struct kt_realm_file *out, char *why,
		       size_t why_size);
