#include "tracker/server/swarm_list.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

/* Above so many, an index costs less than looking at all of them: 200 IPv4
 * endpoints are nineteen lines of cache that the processor reads ahead. */
#define INDEX_FROM 200

struct swarm_block {
	uint32_t num[3]; /* by region */
	uint32_t cap;
	uint8_t bytes[];
};

static uint32_t index_size(uint32_t cap)
{
	return cap < INDEX_FROM ? 0 : cap + cap / 2;
}

static size_t index_width(uint32_t cap)
{
	return cap < UINT16_MAX ? sizeof(uint16_t) : sizeof(uint32_t);
}

/* With room for alignment of the index, and as much as malloc gives anyway. */
static size_t block_bytes(uint32_t cap, unsigned width)
{
	size_t n = sizeof(struct swarm_block) + (size_t)cap * (width + 2);

	if (index_size(cap))
		n = (n + 3) / 4 * 4 + index_size(cap) * index_width(cap);
	return (n + 8 + 15) / 16 * 16 - 8;
}

static void point_at(struct swarm_list *l, struct swarm_block *b)
{
	size_t n = (size_t)b->cap * (l->width + 2);

	l->block = b;
	l->cap = b->cap;
	l->ends = b->bytes;
	l->meta = (uint16_t *)(void *)(b->bytes + (size_t)b->cap * l->width);
	l->index_size = index_size(b->cap);
	l->index = l->index_size ? b->bytes + (n + 3) / 4 * 4 : NULL;
}

void swarm_list_open(struct swarm_list *l, struct swarm *s, uint8_t family,
		     uint64_t seed)
{
	struct swarm_block *b = family == 6     ? s->v6
				: s->has_block4 ? s->v4.block
						: NULL;

	memset(l, 0, sizeof(*l));
	l->swarm = s;
	l->seed = seed;
	l->family = family;
	l->width = family == 6 ? 18 : 6;
	if (b) {
		memcpy(l->num, b->num, sizeof(l->num));
		point_at(l, b);
	} else if (family == 4) {
		for (unsigned i = 0; i < 3; i++)
			l->num[i] = s->num_few[i];
		l->cap = SWARM_FEW;
		l->ends = s->v4.few.ends;
		l->meta = s->v4.few.meta;
	}
}

void swarm_list_counts(const struct swarm *s, uint8_t family, uint32_t num[3])
{
	const struct swarm_block *b = family == 6     ? s->v6
				      : s->has_block4 ? s->v4.block
						      : NULL;

	for (unsigned i = 0; i < 3; i++)
		num[i] = b ? b->num[i] : family == 4 ? s->num_few[i] : 0;
}

static void save_counts(struct swarm_list *l)
{
	if (l->block) {
		memcpy(l->block->num, l->num, sizeof(l->num));
		return;
	}
	for (unsigned i = 0; l->family == 4 && i < 3; i++)
		l->swarm->num_few[i] = (uint8_t)l->num[i];
}

/* --- the index: places plus one, by hash, with linear probing; entries stay
 * in the order of their hashes, so that a removal can close the gap --- */

static uint32_t index_get(const struct swarm_list *l, uint32_t slot)
{
	return index_width(l->cap) == 2 ? ((const uint16_t *)l->index)[slot]
					: ((const uint32_t *)l->index)[slot];
}

static void index_put(struct swarm_list *l, uint32_t slot, uint32_t value)
{
	if (index_width(l->cap) == 2)
		((uint16_t *)l->index)[slot] = (uint16_t)value;
	else
		((uint32_t *)l->index)[slot] = value;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t load_end4(const uint8_t *end)
{
	uint32_t ip;
	uint16_t port;

	memcpy(&ip, end, 4);
	memcpy(&port, end + 4, 2);
	return (uint64_t)port << 32 | ip;
}

/* Where END would lie if nobody was in the way. Keyed: who chooses endpoints
 * shall not choose places. */
static uint32_t home(const struct swarm_list *l, const uint8_t *end)
{
	uint64_t h, w[2];

	if (l->width == 6) {
		h = load_end4(end);
	} else {
		memcpy(w, end, sizeof(w));
		h = fold(w[0] ^ l->seed, w[1] ^ 0x9e3779b97f4a7c15u) +
		    (uint64_t)(end[16] << 8 | end[17]);
	}
	h = fold(h ^ l->seed, 0xbf58476d1ce4e5b9u ^ l->seed >> 32);
	return (uint32_t)(((h & UINT32_MAX) * l->index_size) >> 32);
}

static uint32_t next_slot(const struct swarm_list *l, uint32_t slot)
{
	return slot + 1 == l->index_size ? 0 : slot + 1;
}

static void index_add(struct swarm_list *l, uint32_t place)
{
	uint32_t slot = home(l, swarm_list_end(l, place));

	while (index_get(l, slot))
		slot = next_slot(l, slot);
	index_put(l, slot, place + 1);
}

/* The slot that names PLACE, whose endpoint is still there. */
static uint32_t index_slot_of(const struct swarm_list *l, uint32_t place)
{
	uint32_t slot = home(l, swarm_list_end(l, place));

	while (index_get(l, slot) != place + 1) {
		CHECK(index_get(l, slot));
		slot = next_slot(l, slot);
	}
	return slot;
}

static void index_remove(struct swarm_list *l, uint32_t place)
{
	uint32_t hole = index_slot_of(l, place), slot = hole, value;

	for (;;) {
		uint32_t from, size = l->index_size;

		slot = next_slot(l, slot);
		value = index_get(l, slot);
		if (!value)
			break;
		from = home(l, swarm_list_end(l, value - 1));
		/* May move back unless its home lies behind the hole. */
		if ((slot + size - from) % size < (slot + size - hole) % size)
			continue;
		index_put(l, hole, value);
		hole = slot;
	}
	index_put(l, hole, 0);
}

/* --- memory --- */

static void adopt(struct swarm_list *l, struct swarm_block *b)
{
	struct swarm *s = l->swarm;

	if (l->family == 6) {
		s->v6 = b;
	} else {
		s->has_block4 = b != NULL;
		if (b)
			s->v4.block = b;
	}
}

/* The largest list whose block is no larger than that for CAP. */
static uint32_t fill_up(uint32_t cap, unsigned width)
{
	size_t bytes = block_bytes(cap, width);

	while (index_width(cap + 1) == index_width(cap) &&
	       block_bytes(cap + 1, width) <= bytes)
		cap++;
	return cap;
}

/* Moves all to a block for CAP, CAP >= len. Returns the change in bytes. */
static int64_t resize(struct swarm_list *l, uint32_t cap)
{
	uint32_t n = swarm_list_len(l);
	struct swarm_block *old = l->block, *b;
	struct swarm_list from = *l;
	int64_t change;

	cap = fill_up(cap, l->width);
	b = mem_try(1, block_bytes(cap, l->width));
	if (!b)
		return -ENOMEM;
	b->cap = cap;
	point_at(l, b);
	if (n) {
		memcpy(l->ends, from.ends, (size_t)n * l->width);
		memcpy(l->meta, from.meta, n * sizeof(*l->meta));
	}
	for (uint32_t i = 0; l->index && i < n; i++)
		index_add(l, i);
	change = (int64_t)block_bytes(cap, l->width);
	if (old)
		change -= (int64_t)block_bytes(from.cap, l->width);
	adopt(l, b);
	free(old);
	save_counts(l);
	return change;
}

/* Back into the torrent itself, or away. */
static int64_t drop_block(struct swarm_list *l)
{
	struct swarm_block *old = l->block;
	int64_t change = -(int64_t)block_bytes(l->cap, l->width);
	uint32_t n = swarm_list_len(l);
	struct swarm_list from = *l;

	adopt(l, NULL);
	if (n) {
		memcpy(l->swarm->v4.few.ends, from.ends, 6 * (size_t)n);
		memcpy(l->swarm->v4.few.meta, from.meta, 2 * (size_t)n);
	}
	l->block = NULL;
	save_counts(l);
	free(old);
	swarm_list_open(l, l->swarm, l->family, l->seed);
	return change;
}

int64_t swarm_list_close(struct swarm_list *l)
{
	uint32_t n = swarm_list_len(l);

	save_counts(l);
	if (!l->block)
		return 0;
	if (n <= (l->family == 4 ? SWARM_FEW - 1 : 0))
		return drop_block(l);
	if (n < l->cap / 2) {
		int64_t change = resize(l, n + n / 4 + 1);

		return change == -ENOMEM ? 0 : change;
	}
	return 0;
}

void swarm_free_lists(struct swarm *s)
{
	if (s->has_block4)
		free(s->v4.block);
	free(s->v6);
}

size_t swarm_list_bytes(const struct swarm *s)
{
	return (s->has_block4 ? block_bytes(s->v4.block->cap, 6) : 0) +
	       (s->v6 ? block_bytes(s->v6->cap, 18) : 0);
}

/* --- peers --- */

static uint32_t scan4(const struct swarm_list *l, const uint8_t *end)
{
	uint32_t n = swarm_list_len(l), ip;
	const uint8_t *p = l->ends;
	uint16_t port;

	memcpy(&ip, end, 4);
	memcpy(&port, end + 4, 2);
	for (uint32_t i = 0; i < n; i++, p += 6) {
		uint32_t p_ip;
		uint16_t p_port;

		memcpy(&p_ip, p, 4);
		memcpy(&p_port, p + 4, 2);
		if (p_ip == ip && p_port == port)
			return i;
	}
	return SWARM_NOWHERE;
}

static uint32_t scan6(const struct swarm_list *l, const uint8_t *end)
{
	uint32_t n = swarm_list_len(l);

	for (uint32_t i = 0; i < n; i++) {
		if (!memcmp(swarm_list_end(l, i), end, 18))
			return i;
	}
	return SWARM_NOWHERE;
}

uint32_t swarm_list_find(const struct swarm_list *l, const uint8_t *end)
{
	uint32_t slot, value;

	if (!l->index)
		return l->width == 6 ? scan4(l, end) : scan6(l, end);
	slot = home(l, end);
	while ((value = index_get(l, slot))) {
		if (!memcmp(swarm_list_end(l, value - 1), end, l->width))
			return value - 1;
		slot = next_slot(l, slot);
	}
	return SWARM_NOWHERE;
}

static enum swarm_region region_of(uint16_t meta)
{
	switch (meta_state(meta)) {
	case SWARM_LEECHER:
		return REGION_LEECHERS;
	case SWARM_GONE:
		return REGION_GONE;
	case SWARM_SEEDER:
	case SWARM_SEEDER_COMPLETED:
		break;
	}
	return REGION_SEEDERS;
}

/* The peer at FROM goes to TO, where nobody is. */
static void move(struct swarm_list *l, uint32_t to, uint32_t from)
{
	if (to == from)
		return;
	if (l->index)
		index_put(l, index_slot_of(l, from), to + 1);
	memcpy(swarm_list_end(l, to), swarm_list_end(l, from), l->width);
	l->meta[to] = l->meta[from];
}

/* Makes a hole at the end of REGION: the regions behind it each take their
 * first peer to their end. */
static uint32_t open_hole(struct swarm_list *l, enum swarm_region region)
{
	uint32_t hole = swarm_list_len(l);

	for (unsigned r = REGION_GONE; r > (unsigned)region; r--) {
		uint32_t first = hole - l->num[r];

		move(l, hole, first);
		hole = first;
	}
	l->num[region]++;
	return hole;
}

/* Fills the hole at I in REGION, in the same way backwards. */
static void close_hole(struct swarm_list *l, uint32_t i,
		       enum swarm_region region)
{
	uint32_t end = 0, hole = i;

	for (unsigned r = 0; r < 3; r++) {
		end += l->num[r];
		if (r < (unsigned)region || !l->num[r])
			continue;
		move(l, hole, end - 1);
		hole = end - 1;
	}
	l->num[region]--;
}

static enum swarm_region region_at(const struct swarm_list *l, uint32_t i)
{
	return i < l->num[0]               ? REGION_LEECHERS
	       : i < l->num[0] + l->num[1] ? REGION_SEEDERS
					   : REGION_GONE;
}

static uint32_t place_new(struct swarm_list *l, const uint8_t *end,
			  uint16_t meta)
{
	uint32_t place = open_hole(l, region_of(meta));

	memcpy(swarm_list_end(l, place), end, l->width);
	l->meta[place] = meta;
	if (l->index)
		index_add(l, place);
	return place;
}

int64_t swarm_list_add(struct swarm_list *l, const uint8_t *end, uint16_t meta,
		       uint32_t *place)
{
	uint32_t n = swarm_list_len(l);
	int64_t change = 0;

	if (n == l->cap) {
		change = resize(l, n + n / 4 + 1);
		if (change == -ENOMEM)
			return change;
	}
	*place = place_new(l, end, meta);
	return change;
}

void swarm_list_remove(struct swarm_list *l, uint32_t i)
{
	if (l->index)
		index_remove(l, i);
	close_hole(l, i, region_at(l, i));
}

uint32_t swarm_list_set(struct swarm_list *l, uint32_t i, uint16_t meta)
{
	uint8_t end[18];

	if (region_at(l, i) == region_of(meta)) {
		l->meta[i] = meta;
		return i;
	}
	memcpy(end, swarm_list_end(l, i), l->width);
	swarm_list_remove(l, i);
	return place_new(l, end, meta);
}

void swarm_list_sweep(struct swarm_list *l, unsigned now_min, unsigned ttl_min,
		      uint32_t removed[3])
{
	/* From the end, so that who fills a hole was looked at already. */
	for (uint32_t i = swarm_list_len(l); i-- > 0;) {
		if (meta_age(l->meta[i], now_min) < ttl_min)
			continue;
		removed[region_at(l, i)]++;
		swarm_list_remove(l, i);
	}
}

/* Peers FROM..FROM+N-1 of those that are left without SKIP. */
static uint8_t *copy_run(const struct swarm_list *l, uint32_t from, uint32_t n,
			 uint32_t skip, uint8_t *out)
{
	uint32_t before = from >= skip ? 0 : skip - from;

	if (before > n)
		before = n;
	memcpy(out, swarm_list_end(l, from), (size_t)before * l->width);
	out += (size_t)before * l->width;
	memcpy(out, swarm_list_end(l, from + before + 1),
	       (size_t)(n - before) * l->width);
	return out + (size_t)(n - before) * l->width;
}

/* N of the SIZE peers from BEGIN on, from a random one of them, round. */
static uint8_t *copy_window(const struct swarm_list *l, uint32_t begin,
			    uint32_t size, uint32_t n, uint32_t skip,
			    uint32_t random, uint8_t *out)
{
	uint32_t at = (uint32_t)((uint64_t)random * size >> 32);
	uint32_t first = n < size - at ? n : size - at;

	out = copy_run(l, begin + at, first, skip, out);
	return copy_run(l, begin, n - first, skip, out);
}

unsigned swarm_list_copy(const struct swarm_list *l, uint32_t pool,
			 uint32_t skip, unsigned want, uint32_t random,
			 uint8_t *out)
{
	uint32_t half;

	if (skip < pool)
		pool--;
	else
		skip = pool; /* nobody is left out */
	if (!want || !pool)
		return 0;
	if (want >= pool) {
		copy_run(l, 0, pool, skip, out);
		return pool;
	}
	half = pool / 2;
	out = copy_window(l, 0, half, want / 2, skip, random, out);
	copy_window(l, half, pool - half, want - want / 2, skip,
		    random * 0x9e3779b1u, out);
	return want;
}
