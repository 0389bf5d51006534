/* engine/base/id.h: the twenty- and thirty-two-byte names, as types that the
 * compiler keeps apart. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct infohash { /* SHA-1 of a v1 info dict, or a v2 one cut to 20 bytes */
	uint8_t b[20];
};

struct infohash2 { /* SHA-256 of a v2 info dict (BEP 52) */
	uint8_t b[32];
};

struct peerid { /* BEP 3, form of BEP 20 */
	uint8_t b[20];
};

static inline bool infohash_eq(const struct infohash *a,
			       const struct infohash *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static inline bool infohash2_eq(const struct infohash2 *a,
				const struct infohash2 *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

static inline bool peerid_eq(const struct peerid *a, const struct peerid *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/* What stands for a v2 torrent where only twenty bytes fit (BEP 52). */
static inline struct infohash infohash2_truncate(const struct infohash2 *h)
{
	struct infohash ih;

	memcpy(ih.b, h->b, sizeof(ih.b));
	return ih;
}
