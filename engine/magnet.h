/* engine/magnet.h: magnet links (BEP 9, 53) and bare infohashes. Hostile
 * input. Part of the engine's public face. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/id.h"

struct magnet_range { /* BEP 53: file indexes, both included */
	uint32_t first, last;
};

struct magnet {
	bool has_v1, has_v2;
	struct infohash infohash;   /* v1 if has_v1, else v2 cut to 20 */
	struct infohash2 infohash2; /* if has_v2 */
	char *name;                 /* owned; dn, raw foreign text; or NULL */
	char **trackers;            /* owned; tr */
	size_t num_trackers;
	char **webseeds; /* owned; ws */
	size_t num_webseeds;
	char **peers; /* owned; x.pe, "host:port" */
	size_t num_peers;
	struct magnet_range *ranges; /* owned; so; sorted, joined */
	size_t num_ranges;
};

/*
 * TEXT: "magnet:?..." with xt=urn:btih (40 hex or 32 base32) and/or
 * xt=urn:btmh (multihash sha2-256), or 40 or 64 hex digits alone. White space
 * around it is dropped. Returns 0; -EBADMSG not a magnet link (a sentence in
 * WHY); -E2BIG over LIMIT_MAGNET_BYTES.
 */
#define MAGNET_WHY_SIZE 160
int magnet_parse(const char *text, size_t len, struct magnet **out,
		 char why[MAGNET_WHY_SIZE]);
void magnet_free(struct magnet *m);

/* The link again, canonical. Owned by the caller. */
char *magnet_format(const struct magnet *m);
