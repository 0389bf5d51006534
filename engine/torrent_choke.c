/* Who may download from us: hands the peers to the choker as numbers, and does
 * what it decided. A round every ten seconds; in between, free slots are given
 * away when somebody wants one, several times a second at most: peers that say
 * that they are interested and are not, by turns, cost little. */
#include <stdlib.h>

#include "engine/choker.h"
#include "engine/engine_private.h"

#define SLOTS      8   /* peers served at a time */
#define FILL_EVERY 100 /* ms */

static int64_t latest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static struct choker_peer as_choker_sees(const struct peer *p)
{
	return (struct choker_peer){
		.id = p->id,
		.is_interested = p->is_interested,
		.is_unchoked = !p->am_choking,
		.since_ms = p->am_choking ? latest(p->interested_ms,
						   p->choke_changed_ms)
					  : p->choke_changed_ms,
		.connected_ms = p->since_ms,
		.down_bps = (uint64_t)p->down.bps,
		.up_bps = (uint64_t)p->up.bps,
		.turn_bytes = p->uploaded_this_turn,
		.sent_bytes = p->uploaded,
		.gained_bytes = (uint64_t)p->haves_told *
				p->torrent->mi->layout.piece_length,
	};
}

/* Which peers were shown, in the order of the numbers. */
static size_t gather(struct torrent *t, struct peer **peers,
		     struct choker_peer *numbers)
{
	size_t n = 0;

	list_foreach(p, &t->peers, struct peer, node) {
		if (p->state != PEER_READY || n == LIMIT_PEERS_PER_TORRENT)
			continue;
		peers[n] = p;
		numbers[n++] = as_choker_sees(p);
	}
	return n;
}

static void run_choker(struct torrent *t, bool is_round, int64_t now_ms)
{
	struct peer *peers[LIMIT_PEERS_PER_TORRENT];
	struct choker_peer numbers[LIMIT_PEERS_PER_TORRENT];
	struct choker_policy policy = {
		.slots = SLOTS,
		.is_seeding = torrent_is_complete(t),
		.piece_length = t->mi->layout.piece_length,
	};
	size_t n = gather(t, peers, numbers);

	if (is_round)
		choker_round(&t->choker, &policy, numbers, n, now_ms);
	else
		(void)choker_fill(&t->choker, &policy, numbers, n, now_ms);
	for (size_t i = 0; i < n; i++) {
		peers[i]->is_optimistic =
			numbers[i].id == t->choker.optimistic_id;
		peer_set_choking(peers[i], !numbers[i].unchoke);
	}
}

void torrent_rechoke(struct torrent *t, int64_t now_ms)
{
	t->is_fill_due = !t->is_ready || now_ms - t->fill_ms < FILL_EVERY;
	if (t->is_fill_due || t->is_closing)
		return;
	t->fill_ms = now_ms;
	run_choker(t, false, now_ms);
}

void torrent_rechoke_tick(struct torrent *t, int64_t now_ms)
{
	if (now_ms - t->choke_ms < CHOKER_ROUND_MS) {
		if (t->is_fill_due)
			torrent_rechoke(t, now_ms);
		return;
	}
	t->is_fill_due = false;
	t->choke_ms = now_ms;
	run_choker(t, true, now_ms);
}
