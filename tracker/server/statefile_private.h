/* tracker/server/statefile_private.h: the format, for the halves of
 * statefile.h: writing and reading. */
#pragma once

#include <zlib.h>

#include "tracker/server/statefile.h"

#define STATEFILE_MAGIC      "weirtrkr"
#define STATEFILE_MAGIC_SIZE 8

enum statefile_block {
	BLOCK_BLOB = 1,
	BLOCK_SWARMS = 2,
	BLOCK_END = 3,
};

#define BLOCK_HEAD_BYTES 12 /* kind, sequence number, length */
#define BLOCK_SUM_BYTES  4
#define END_BYTES        16
#define SWARM_HEAD_BYTES 28
#define PEER_IS_IPV6     0x10
#define PEER_BYTES_MAX   (1 + 4 + 18)

static inline uint32_t statefile_sum(const uint8_t *p, size_t len)
{
	return (uint32_t)crc32_z(0, p, len);
}

/* PATH with SUFFIX behind it. Release with free(). */
char *statefile_beside(const char *path, const char *suffix);
