/* tracker/server/swarm_list.h: one torrent, and its peers of one family.
 *
 * A list is one block of memory:
 *
 *     endpoints: leechers | seeders | gone | room     6 or 18 bytes each
 *     meta:      the same order                       2 bytes each
 *     index:     places by hash, in long lists alone  2 or 4 bytes each
 *
 * so that an answer is copied in runs. Up to three IPv4 peers lie in the
 * torrent itself. Blocks grow and shrink by a quarter. Short lists are searched
 * from end to end, long ones through the index.
 *
 * Not locked: the owner of the torrent is one thread at a time. A struct
 * swarm_list is a window on a torrent, opened, used and closed at once. */
#pragma once

#include "tracker/server/swarms.h"

#define SWARM_FEW 3 /* peers without a block */

struct swarm_block;

struct swarm { /* one torrent: 64 bytes */
	struct infohash infohash;
	uint32_t completed;
	union {
		struct swarm_block *block; /* owned */
		struct {
			uint8_t ends[6 * SWARM_FEW];
			uint16_t meta[SWARM_FEW];
		} few;
	} v4;
	struct swarm_block *v6; /* owned; NULL: no IPv6 peers */
	uint8_t num_few[3];     /* by region, if !has_block4 */
	bool has_block4;
	uint16_t heard_min; /* of the last announce or copy */
	uint16_t swept_min;
};

enum swarm_region {
	REGION_LEECHERS,
	REGION_SEEDERS,
	REGION_GONE
};

struct swarm_list {
	struct swarm *swarm;       /* borrowed */
	struct swarm_block *block; /* NULL: in the torrent */
	uint64_t seed;             /* of the index */
	uint8_t family;
	uint8_t width; /* of an endpoint */
	uint32_t num[3];
	uint32_t cap;
	uint8_t *ends;
	uint16_t *meta;
	uint32_t index_size; /* 0: none */
	void *index;
};

#define SWARM_NOWHERE UINT32_MAX

/* What a peer's two bytes say. Minutes are modulo 128. */
static inline uint16_t meta_make(enum swarm_state state, unsigned heard_min,
				 unsigned told_min)
{
	return (uint16_t)(state << 14 | (heard_min & 127) << 7 |
			  (told_min & 127));
}

static inline enum swarm_state meta_state(uint16_t m)
{
	return (enum swarm_state)(m >> 14);
}

static inline unsigned meta_age(uint16_t m, unsigned now_min)
{
	return (now_min - (m >> 7)) & 127;
}

static inline unsigned meta_told_age(uint16_t m, unsigned now_min)
{
	return (now_min - m) & 127;
}

void swarm_list_open(struct swarm_list *l, struct swarm *s, uint8_t family,
		     uint64_t seed);
/* Counts alone, without opening: num[] by region. */
void swarm_list_counts(const struct swarm *s, uint8_t family, uint32_t num[3]);
/* Gives back room that has become too much, and the block of an empty list.
 * Returns the change in bytes. */
int64_t swarm_list_close(struct swarm_list *l);
void swarm_free_lists(struct swarm *s);
size_t swarm_list_bytes(const struct swarm *s); /* of both blocks */

static inline uint32_t swarm_list_len(const struct swarm_list *l)
{
	return l->num[0] + l->num[1] + l->num[2];
}

static inline uint8_t *swarm_list_end(const struct swarm_list *l, uint32_t i)
{
	return l->ends + (size_t)i * l->width;
}

/* The place of END, or SWARM_NOWHERE. */
uint32_t swarm_list_find(const struct swarm_list *l, const uint8_t *end);
/* END is not in the list, and comes to *PLACE. Returns the change in bytes, or
 * -ENOMEM with all as before. */
int64_t swarm_list_add(struct swarm_list *l, const uint8_t *end, uint16_t meta,
		       uint32_t *place);
/* META's state decides the region: the peer may move. Returns its place. */
uint32_t swarm_list_set(struct swarm_list *l, uint32_t i, uint16_t meta);
void swarm_list_remove(struct swarm_list *l, uint32_t i);
/* Removes who was silent for TTL_MIN; counts them by region in REMOVED. */
void swarm_list_sweep(struct swarm_list *l, unsigned now_min, unsigned ttl_min,
		      uint32_t removed[3]);
/* Copies at most WANT endpoints of the first POOL to OUT, from both halves of
 * them; never the one at SKIP (SWARM_NOWHERE: all may be copied). Returns how
 * many. */
unsigned swarm_list_copy(const struct swarm_list *l, uint32_t pool,
			 uint32_t skip, unsigned want, uint32_t random,
			 uint8_t *out);
