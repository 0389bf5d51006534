/* Goal: whatever peers do to an info dict's transfer, no honest one is blamed,
 * nothing wrong is ever done, and one honest peer still completes it.
 *
 * Input: a program of three bytes a step: what happens, to which peer, how. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "engine/metaxfer.h"

#define PART      LIMIT_BLOCK_BYTES
#define RIGHT     (2 * PART + 5) /* bytes of the true dict */
#define NUM_PEERS 8
#define HONEST    1000 /* the peer that comes last */
#define MAX_STEPS 500

static const uint32_t sizes[] = {
	RIGHT,
	RIGHT,
	RIGHT + 1,
	RIGHT - 1,
	1,
	PART,
	PART + 1,
	0,
	LIMIT_METADATA_BYTES,
	LIMIT_METADATA_BYTES - 1,
	LIMIT_METADATA_BYTES - 2,
	LIMIT_METADATA_BYTES + 1,
};

struct game {
	struct metaxfer *x;
	uint8_t *info; /* and room behind it, for answers */
	uint32_t claims[NUM_PEERS];
	bool has_lied[NUM_PEERS];
	bool is_done;
	int64_t now_ms;
};

static void check_result(struct game *g, uint32_t peer, enum metaxfer_result r)
{
	struct span got;

	if (r == METAXFER_BAD_PEER)
		CHECK(peer < NUM_PEERS &&
		      (g->has_lied[peer] || g->claims[peer] != RIGHT));
	if (r != METAXFER_DONE)
		return;
	got = metaxfer_info(g->x);
	CHECK(!g->is_done && got.len == RIGHT &&
	      !memcmp(got.ptr, g->info, RIGHT));
	g->is_done = true;
}

/* PEER answers PART; HOW makes it a lie or not. */
static void answer(struct game *g, uint32_t peer, uint32_t part, uint8_t how)
{
	uint32_t size = peer < NUM_PEERS ? g->claims[peer] : RIGHT;
	uint64_t at = (uint64_t)part * PART;
	uint32_t len =
		at < size && size - at < PART ? (uint32_t)(size - at) : PART;
	uint8_t *data = mem_alloc(PART + 1);

	if (at < RIGHT)
		memcpy(data, g->info + at,
		       RIGHT - at < PART ? RIGHT - at : PART);
	if (how & 1)
		data[0] ^= 1;
	if (how & 2)
		len++;
	if (how & 4)
		size++;
	if (how & 7)
		g->has_lied[peer] = true;
	check_result(g, peer,
		     metaxfer_on_data(g->x, peer, part, size,
				      (struct span){ data, len }));
	free(data);
}

static void step(struct game *g, uint8_t what, uint8_t who, uint8_t how)
{
	uint32_t peer = who % NUM_PEERS;
	int part;

	switch (what % 8) {
	case 0:
		g->claims[peer] = sizes[how % ARRAY_LEN(sizes)];
		g->has_lied[peer] = false;
		metaxfer_remove_peer(g->x, peer);
		metaxfer_add_peer(g->x, peer, g->claims[peer]);
		break;
	case 1:
		metaxfer_remove_peer(g->x, peer);
		break;
	case 2:
		g->now_ms += how * 50;
		break;
	case 3: /* asked, and silent */
		part = metaxfer_next(g->x, peer, g->now_ms);
		CHECK(part < (int)((g->claims[peer] + PART - 1) / PART));
		break;
	case 4:
		metaxfer_on_reject(g->x, peer, how, g->now_ms);
		break;
	case 5: /* asked or not */
		answer(g, peer, how >> 3, how & 7);
		break;
	default:
		part = metaxfer_next(g->x, peer, g->now_ms);
		if (part >= 0)
			answer(g, peer, (uint32_t)part,
			       how > 200 ? how & 7 : 0);
		break;
	}
	CHECK(metaxfer_percent(g->x) <= 100);
}

/* The others fall silent; an honest one must get through. */
static void end_well(struct game *g)
{
	int part;

	metaxfer_add_peer(g->x, HONEST, RIGHT);
	for (int i = 0; i < 1000 && !g->is_done; i++) {
		g->now_ms += 1000;
		for (uint32_t p = 0; p < NUM_PEERS; p++)
			(void)metaxfer_next(g->x, p, g->now_ms);
		while ((part = metaxfer_next(g->x, HONEST, g->now_ms)) >= 0)
			answer(g, HONEST, (uint32_t)part, 0);
	}
	CHECK(g->is_done);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct game g = { .now_ms = 1000 };
	struct infohash v1;

	g.info = mem_alloc(RIGHT);
	for (uint32_t i = 0; i < RIGHT; i++)
		g.info[i] = (uint8_t)(i * 31 >> 3);
	sha1(g.info, RIGHT, v1.b);
	g.x = metaxfer_new(&v1, NULL);
	for (size_t i = 0; i + 3 <= size && i < 3 * MAX_STEPS; i += 3)
		step(&g, data[i], data[i + 1], data[i + 2]);
	if (!g.is_done)
		end_well(&g);
	metaxfer_free(g.x);
	free(g.info);
	return 0;
}
