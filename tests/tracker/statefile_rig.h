/* tests/tracker/statefile_rig.h: a folder of its own, swarms, and the bytes of
 * a state file, for the tests of it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tracker/server/statefile.h"

#define RIG_NOW_MS INT64_C(7200000) /* monotonic, when swarms are made */

struct rig {
	char dir[64], path[96], previous[112], tmp[112];
	struct swarms *swarms;
	struct statefile_blobs blobs;
	struct statefile_loaded loaded; /* of the last load */
	char why[600];
};

int rig_set_up(void **state);
int rig_tear_down(void **state);

struct swarms *rig_new_swarms(void);
/* A torrent by number. */
struct infohash rig_torrent(uint64_t n);
/* Peer N of it; every third one IPv6. */
void rig_add(struct swarms *s, uint64_t torrent, uint32_t n,
	     enum swarm_state state, unsigned age_min);
/* All that is in S, independent of the order: adds up hashes of records. */
uint64_t rig_digest(struct swarms *s);

int rig_save(struct rig *rig, int64_t wall_s);
/* Into swarms and blobs that are new. */
int rig_load(struct rig *rig, int64_t wall_s);

/* A file as it is. Release with free(). */
uint8_t *rig_read(const char *path, size_t *len);
void rig_write(const char *path, const uint8_t *bytes, size_t len);
