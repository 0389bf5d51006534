/* tracker/server/livesync_packet.h: what opentrackers of one cluster tell each
 * other, as bytes. A datagram is
 *
 *   tracker id 4 | type 4, big-endian: 0 IPv4, 1 IPv6 | records
 *
 * and a record, 28 or 40 bytes,
 *
 *   infohash 20 | address 4 or 16 | port 2 | flags 1 | 0
 *
 * Opentrackers built for IPv6 before 2024 send 40 byte records as type 0: they
 * cannot be told from others, and must not be in the cluster.
 *
 * No state. Any thread. */
#pragma once

#include "tracker/server/swarms.h"

#define LIVESYNC_HEAD_BYTES 8
#define LIVESYNC_RECORD4    28
#define LIVESYNC_RECORD6    40

enum livesync_type {
	LIVESYNC_V4 = 0,
	LIVESYNC_V6 = 1,
};

struct livesync_parsed {
	uint32_t tracker_id;
	struct swarm_record records[LIMIT_LIVESYNC_RECORDS];
	unsigned num;
	unsigned martians; /* records left out: nobody can be there */
};

/* Returns 0; -EBADMSG: not of this format, or of a wrong size; -ENOTSUP: a type
 * that we do not know. OUT is unset but for 0. */
int livesync_parse(const uint8_t *bytes, size_t len,
		   struct livesync_parsed *out);

/* A datagram that is being filled. */
struct livesync_batch {
	enum livesync_type type;
	uint8_t bytes[LIMIT_LIVESYNC_BYTES];
	size_t len;
};

void livesync_batch_init(struct livesync_batch *b, enum livesync_type type,
			 uint32_t tracker_id);
/* Back to no records. */
void livesync_batch_clear(struct livesync_batch *b);
bool livesync_batch_is_empty(const struct livesync_batch *b);
/* False: it is full, and nothing was added. An IPv4 peer in a batch of IPv6
 * goes as ::ffff:a.b.c.d; an IPv6 peer fits no batch of IPv4. */
bool livesync_batch_add(struct livesync_batch *b, const struct swarm_record *r);
