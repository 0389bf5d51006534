/* Goal: among ten peers the two that spoil blocks are found and nobody else is
 * banned, at little cost: the real picker and blame, as a torrent joins them,
 * with bytes that are only digests. Replayable by seed. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/blame.h"
#include "engine/picker.h"

#define PEERS  10
#define PIECES 512
#define BLOCKS 64 /* a piece: 1 MiB */
#define ASKED  96

struct giver {
	struct picker_peer pp;
	struct addr addr;
	struct block_ref asked[ASKED];
	size_t num_asked;
	unsigned percent_wrong;
	unsigned shared; /* wrong pieces it gave some of */
	bool is_banned;
};

struct world {
	struct picker *p;
	struct blame *blame;
	struct prng prng;
	struct giver peers[PEERS];
	struct givers *givers[PIECES];
	uint64_t *bytes[PIECES];
	uint64_t num_blocks, num_wasted; /* taken; of wrong pieces */
	unsigned num_wrong, banned_honest, banned_liars;
	int64_t now_ms;
};

static uint64_t right_digest(uint32_t piece, uint32_t block)
{
	return 1 + (uint64_t)piece * BLOCKS + block;
}

static void ban(struct world *w, const struct addr *a)
{
	for (int i = 0; i < PEERS; i++) {
		struct giver *g = &w->peers[i];

		if (g->is_banned || !addr_ip_eq(&g->addr, a))
			continue;
		g->is_banned = true;
		w->banned_liars += g->percent_wrong > 0;
		w->banned_honest += !g->percent_wrong;
		while (g->num_asked)
			picker_on_lost(w->p, g->pp.id,
				       g->asked[--g->num_asked]);
		picker_remove_peer(w->p, NULL, true);
	}
}

static void on_wrong(struct world *w, uint32_t piece)
{
	struct addr only;
	uint32_t ids[PEERS];
	size_t n = picker_on_verified(w->p, piece, false, ids, PEERS);

	w->num_wrong++;
	w->num_wasted += BLOCKS;
	for (size_t i = 0; i < n; i++)
		w->peers[ids[i] - 1].shared++;
	if (givers_are_one(w->givers[piece], &only)) {
		ban(w, &only);
		givers_free(w->givers[piece]);
		free(w->bytes[piece]);
	} else {
		blame_accuse(w->blame, piece, w->givers[piece],
			     w->bytes[piece]);
	}
}

static void on_right(struct world *w, uint32_t piece)
{
	struct addr liars[PEERS];
	size_t n;

	picker_on_verified(w->p, piece, true, NULL, 0);
	n = blame_convict(w->blame, piece, w->bytes[piece], liars, PEERS);
	for (size_t i = 0; i < n; i++)
		ban(w, &liars[i]);
	givers_free(w->givers[piece]);
	free(w->bytes[piece]);
}

static void verify(struct world *w, uint32_t piece)
{
	bool right = true;

	for (uint32_t i = 0; i < BLOCKS; i++)
		right &= w->bytes[piece][i] == right_digest(piece, i);
	if (right)
		on_right(w, piece);
	else
		on_wrong(w, piece);
	w->givers[piece] = NULL;
	w->bytes[piece] = NULL;
}

/* One block comes from G. What it spoils is spoilt in another way each time. */
static void give(struct world *w, struct giver *g)
{
	struct block_ref b = g->asked[0];
	bool is_wrong = prng_below(&w->prng, 100) < g->percent_wrong;
	uint32_t others[PICKER_COPIES];
	size_t num_others;
	enum picker_block r;

	memmove(g->asked, g->asked + 1, --g->num_asked * sizeof(b));
	r = picker_on_block(w->p, g->pp.id, b, others, &num_others);
	w->num_blocks++;
	if (r == PICKER_DUPLICATE) {
		w->num_wasted++;
		return;
	}
	if (!w->givers[b.piece]) {
		w->givers[b.piece] = givers_new(BLOCKS);
		w->bytes[b.piece] = mem_alloc_array(BLOCKS, sizeof(uint64_t));
	}
	givers_note(w->givers[b.piece], b.index, &g->addr);
	w->bytes[b.piece][b.index] = is_wrong ? prng_u64(&w->prng) | 1ull << 63
					      : right_digest(b.piece, b.index);
	if (r == PICKER_COMPLETE)
		verify(w, b.piece);
}

static void turn(struct world *w, struct giver *g)
{
	size_t room = ASKED / 2 - g->num_asked, n;

	if (g->is_banned)
		return;
	n = picker_take_rarest(w->p, &g->pp, room, w->now_ms,
			       g->asked + g->num_asked);
	if (!n && !g->num_asked)
		n = picker_take_endgame(w->p, &g->pp, room, w->now_ms, 400,
					g->asked);
	g->num_asked += n;
	for (n = 4 + prng_below(&w->prng, 12); n && g->num_asked; n--)
		give(w, g);
}

static void run(struct world *w, uint64_t seed, unsigned liars,
		unsigned percent)
{
	struct layout layout = { .total = (uint64_t)PIECES * BLOCKS *
					  LIMIT_BLOCK_BYTES,
				 .piece_length = BLOCKS * LIMIT_BLOCK_BYTES,
				 .num_pieces = PIECES };

	memset(w, 0, sizeof(*w));
	w->p = picker_new(&layout, seed);
	w->blame = blame_new();
	w->prng.state = seed;
	for (uint32_t i = 0; i < PEERS; i++) {
		struct giver *g = &w->peers[i];

		g->pp = (struct picker_peer){ .id = i + 1, .is_seed = true };
		g->addr = (struct addr){ .family = 4,
					 .ip = { 10, 0, 0, (uint8_t)(i + 1) },
					 .port = 1 };
		g->percent_wrong = i < liars ? percent : 0;
		picker_add_peer(w->p, NULL, true);
	}
	picker_set_wanted(w->p, 0, PIECES, true);
	for (int i = 0; i < 100000 && picker_wanted_left(w->p); i++) {
		w->now_ms += 50;
		for (int k = 0; k < PEERS; k++)
			turn(w, &w->peers[k]);
	}
}

static void end(struct world *w)
{
	for (uint32_t i = 0; i < PIECES; i++) {
		givers_free(w->givers[i]);
		free(w->bytes[i]);
	}
	blame_free(w->blame);
	picker_free(w->p);
}

static void check_run(unsigned liars, unsigned percent)
{
	unsigned most_shared = 0;

	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct world w;

		run(&w, seed, liars, percent);
		assert_int_equal(picker_wanted_left(w.p), 0);
		assert_int_equal(w.banned_honest, 0);
		assert_int_equal(w.banned_liars, liars);
		assert_true(w.num_wasted * 10 < w.num_blocks);
		for (unsigned i = liars; i < PEERS; i++)
			if (w.peers[i].shared > most_shared)
				most_shared = w.peers[i].shared;
		end(&w);
	}
	/* Honest ones did share what would have looked like a habit. */
	assert_true(!liars || most_shared >= 3);
}

static void test_nobody_lies__nothing_is_wasted(void **state)
{
	struct world w;

	run(&w, 7, 0, 0);
	assert_int_equal(picker_wanted_left(w.p), 0);
	assert_int_equal(w.num_wrong, 0);
	assert_int_equal(w.num_wasted, w.num_blocks - PIECES * BLOCKS);
	assert_true(w.num_wasted * 100 < w.num_blocks);
	end(&w);
}

static void test_one_liar__alone_is_banned(void **state)
{
	check_run(1, 5);
	check_run(1, 100);
}

static void test_two_liars__alone_are_banned(void **state)
{
	check_run(2, 5);
	check_run(2, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_lies__nothing_is_wasted),
		cmocka_unit_test(test_one_liar__alone_is_banned),
		cmocka_unit_test(test_two_liars__alone_are_banned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
