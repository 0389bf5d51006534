#include "engine/blame.h"

#include <stdlib.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

#define GIVERS_MAX 64 /* addresses told apart in one piece */
#define NOBODY     GIVERS_MAX

struct givers {
	uint32_t num_blocks;
	unsigned num;
	struct addr addrs[GIVERS_MAX];
	uint8_t of_block[]; /* index of its address, or NOBODY */
};

struct accusation {
	struct list node;
	uint32_t piece;
	struct givers *givers; /* owned */
	uint64_t *digests;     /* owned */
};

struct blame {
	struct list cases; /* oldest first */
	unsigned num;
};

/* --- givers --- */

struct givers *givers_new(uint32_t num_blocks)
{
	struct givers *g = mem_alloc(sizeof(*g) + num_blocks);

	g->num_blocks = num_blocks;
	memset(g->of_block, NOBODY, num_blocks);
	return g;
}

void givers_free(struct givers *g)
{
	free(g);
}

/* Its place, made if there is room; NOBODY if not. */
static unsigned place_of(struct givers *g, const struct addr *a)
{
	unsigned i;

	for (i = 0; i < g->num; i++) {
		if (addr_ip_eq(&g->addrs[i], a))
			return i;
	}
	if (g->num == GIVERS_MAX)
		return NOBODY;
	g->addrs[g->num++] = *a;
	return i;
}

void givers_note(struct givers *g, uint32_t block, const struct addr *from)
{
	CHECK(block < g->num_blocks);
	g->of_block[block] = (uint8_t)place_of(g, from);
}

bool givers_are_one(const struct givers *g, struct addr *out)
{
	if (!g->num_blocks || g->of_block[0] == NOBODY)
		return false;
	for (uint32_t i = 1; i < g->num_blocks; i++) {
		if (g->of_block[i] != g->of_block[0])
			return false;
	}
	*out = g->addrs[g->of_block[0]];
	return true;
}

/* --- digests --- */

/* Eight bytes of SHA-1: to escape, a liar would need a second preimage. */
static uint64_t digest_of(const uint8_t *block, size_t len)
{
	uint8_t hash[SHA1_LEN];

	sha1(block, len, hash);
	return load_be64(hash);
}

uint64_t *blame_digest(const uint8_t *bytes, size_t len)
{
	size_t n = (len + LIMIT_BLOCK_BYTES - 1) / LIMIT_BLOCK_BYTES;
	uint64_t *out = mem_try(n, sizeof(*out));

	for (size_t i = 0; out && i < n; i++) {
		size_t at = i * LIMIT_BLOCK_BYTES;
		size_t left = len - at;

		out[i] = digest_of(bytes + at, left < LIMIT_BLOCK_BYTES
						       ? left
						       : LIMIT_BLOCK_BYTES);
	}
	return out;
}

/* --- cases --- */

static void close_case(struct blame *b, struct accusation *a)
{
	list_remove(&a->node);
	b->num--;
	givers_free(a->givers);
	free(a->digests);
	free(a);
}

struct blame *blame_new(void)
{
	struct blame *b = mem_alloc(sizeof(*b));

	list_init(&b->cases);
	return b;
}

void blame_free(struct blame *b)
{
	if (!b)
		return;
	list_foreach_safe(a, &b->cases, struct accusation, node)
		close_case(b, a);
	free(b);
}

void blame_accuse(struct blame *b, uint32_t piece, struct givers *g,
		  uint64_t *digests)
{
	struct accusation *a;

	if (!g || !digests) {
		givers_free(g);
		free(digests);
		return;
	}
	if (b->num == LIMIT_BLAME_CASES)
		close_case(b, list_first(&b->cases, struct accusation, node));
	a = mem_alloc(sizeof(*a));
	a->piece = piece;
	a->givers = g;
	a->digests = digests;
	list_push_back(&b->cases, &a->node);
	b->num++;
}

bool blame_has(const struct blame *b, uint32_t piece)
{
	list_foreach(a, &b->cases, struct accusation, node) {
		if (a->piece == piece)
			return true;
	}
	return false;
}

/* Adds who gave other bytes than DIGESTS in A. */
static size_t convict(const struct accusation *a, const uint64_t *digests,
		      struct addr *out, size_t n, size_t max)
{
	const struct givers *g = a->givers;

	for (uint32_t i = 0; i < g->num_blocks; i++) {
		const struct addr *who;
		size_t k = 0;

		if (g->of_block[i] == NOBODY || digests[i] == a->digests[i])
			continue;
		who = &g->addrs[g->of_block[i]];
		while (k < n && !addr_ip_eq(&out[k], who))
			k++;
		if (k == n && n < max)
			out[n++] = *who;
	}
	return n;
}

size_t blame_convict(struct blame *b, uint32_t piece, const uint64_t *digests,
		     struct addr *out, size_t max)
{
	size_t n = 0;

	list_foreach_safe(a, &b->cases, struct accusation, node) {
		if (a->piece != piece)
			continue;
		if (digests)
			n = convict(a, digests, out, n, max);
		close_case(b, a);
	}
	return n;
}
