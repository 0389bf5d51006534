/* Policy. Only peers that want something have a slot.
 *
 * While we download, slots go to those who give us most, fastest first. One
 * slot is for chance: it goes to a peer drawn by lot for 30 s, so that we find
 * out who else would give, and newcomers, who have nothing to give yet, hold
 * three lots each. Slots that nobody earned go round as when seeding.
 *
 * While we seed, slots go round, the longest waiting first. A turn ends after
 * 20 pieces or a minute, or 20 s in which the peer took nothing at all, and
 * only if somebody waits. Ranking by speed instead
 * would let a few fast peers take everything, and rewards those who only
 * pretend (Adamsky and others, 2014).
 *
 * A peer that was sent much more than it says it gained hides its progress.
 * That may be a cheat who wants to look needy, or a mount that evicts what it
 * read, so it is not shut out: its turns are just one round long.
 *
 * Who has had a slot for less than a round keeps it: a slot shorter than a
 * round trip or two of requests is worth nothing to anybody. */
#include "engine/choker.h"

#include <stdlib.h>

#include "engine/base/mem.h"

#define OPTIMISTIC_MS     30000
#define NEWCOMER_MS       60000
#define NEWCOMER_LOTS     3
#define TURN_PIECES       20
#define TURN_MS           60000
#define IDLE_TURN_MS      20000
#define MIN_HELD_MS       (CHOKER_ROUND_MS - 1000) /* rounds come a bit early */
#define MIN_RATE_BPS      1024                     /* less is no giving */
#define HIDING_MIN_BYTES  (8u << 20)
#define HIDING_MIN_PIECES 8
#define HIDING_FACTOR     4

enum rank { /* who comes before whom; equals are ordered by `order` */
	RANK_JUST_BEGUN,
	RANK_GIVER,   /* order: faster first */
	RANK_IN_TURN, /* order: longest unchoked first */
	RANK_WAITING, /* order: longest waiting first */
	RANK_TURN_OVER,
};

struct seat {
	struct choker_peer *peer;
	enum rank rank;
	int64_t order;
};

static bool is_hiding(const struct choker_policy *policy,
		      const struct choker_peer *p)
{
	uint64_t least = HIDING_MIN_PIECES * (uint64_t)policy->piece_length;

	if (least < HIDING_MIN_BYTES)
		least = HIDING_MIN_BYTES;
	return p->sent_bytes > least &&
	       p->sent_bytes / HIDING_FACTOR > p->gained_bytes;
}

static bool is_turn_over(const struct choker_policy *policy,
			 const struct choker_peer *p, int64_t now_ms)
{
	int64_t held_ms = now_ms - p->since_ms;

	return held_ms >= TURN_MS ||
	       (held_ms >= IDLE_TURN_MS && !p->turn_bytes) ||
	       p->turn_bytes / TURN_PIECES >= policy->piece_length ||
	       is_hiding(policy, p);
}

static void rank_peer(const struct choker_policy *policy, struct choker_peer *p,
		      int64_t now_ms, struct seat *out)
{
	*out = (struct seat){ .peer = p, .order = p->since_ms };
	if (p->is_unchoked && now_ms - p->since_ms < MIN_HELD_MS) {
		out->rank = RANK_JUST_BEGUN;
	} else if (!policy->is_seeding && p->down_bps >= MIN_RATE_BPS) {
		out->rank = RANK_GIVER;
		out->order = p->down_bps > INT64_MAX ? INT64_MIN
						     : -(int64_t)p->down_bps;
	} else if (!p->is_unchoked) {
		out->rank = RANK_WAITING;
	} else if (is_turn_over(policy, p, now_ms)) {
		out->rank = RANK_TURN_OVER;
	} else {
		out->rank = RANK_IN_TURN;
	}
}

static int compare_seats(const void *a, const void *b)
{
	const struct seat *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return x->peer->id < y->peer->id ? -1 : x->peer->id > y->peer->id;
}

/* The interested peers, best first, or only the choked ones of them. Owned by
 * the caller. OPTIMISTIC_ID has its slot by chance and comes last for others,
 * unless it has turned out to be a giver. */
static struct seat *rank_all(const struct choker_policy *policy,
			     struct choker_peer *peers, size_t n,
			     bool only_choked, uint32_t optimistic_id,
			     int64_t now_ms, size_t *num_seats)
{
	struct seat *seats = mem_alloc_array(n, sizeof(*seats));

	*num_seats = 0;
	for (size_t i = 0; i < n; i++) {
		struct seat *seat = &seats[*num_seats];

		if (!peers[i].is_interested ||
		    (only_choked && peers[i].is_unchoked))
			continue;
		rank_peer(policy, &peers[i], now_ms, seat);
		if (peers[i].id == optimistic_id && seat->rank != RANK_GIVER)
			seat->rank = RANK_TURN_OVER;
		++*num_seats;
	}
	qsort(seats, *num_seats, sizeof(*seats), compare_seats);
	return seats;
}

static uint32_t lots_of(const struct choker_peer *p, int64_t now_ms)
{
	return now_ms - p->connected_ms < NEWCOMER_MS ? NEWCOMER_LOTS : 1;
}

/* The one in SEATS that holds the slot of chance, or NULL. */
static struct choker_peer *find_optimistic(const struct choker *c,
					   const struct seat *seats, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (seats[i].peer->id == c->optimistic_id)
			return seats[i].peer;
	}
	return NULL;
}

/* Draws one of SEATS, all without a slot; not EXCEPT if there is another. */
static struct choker_peer *draw(struct choker *c, const struct seat *seats,
				size_t n, const struct choker_peer *except,
				int64_t now_ms)
{
	uint32_t lots = 0, drawn;

	for (size_t i = 0; i < n; i++) {
		if (seats[i].peer != except)
			lots += lots_of(seats[i].peer, now_ms);
	}
	if (!lots)
		return n ? seats[0].peer : NULL;
	drawn = prng_below(&c->rng, lots);
	for (size_t i = 0;; i++) {
		uint32_t own = lots_of(seats[i].peer, now_ms);

		if (seats[i].peer == except)
			continue;
		if (drawn < own)
			return seats[i].peer;
		drawn -= own;
	}
}

/* SEATS are those that did not earn a slot. */
static void give_optimistic(struct choker *c, const struct seat *seats,
			    size_t n, int64_t now_ms)
{
	struct choker_peer *p = find_optimistic(c, seats, n);

	if (!p || now_ms - c->optimistic_since_ms >= OPTIMISTIC_MS) {
		p = draw(c, seats, n, p, now_ms);
		c->optimistic_id = p ? p->id : 0;
		c->optimistic_since_ms = now_ms;
	}
	if (p)
		p->unchoke = true;
}

void choker_init(struct choker *c, uint64_t seed)
{
	*c = (struct choker){ .rng = { seed } };
}

void choker_round(struct choker *c, const struct choker_policy *policy,
		  struct choker_peer *peers, size_t n, int64_t now_ms)
{
	bool has_chance = !policy->is_seeding && policy->slots;
	size_t earned = policy->slots - has_chance, num_seats;
	struct seat *seats;

	for (size_t i = 0; i < n; i++)
		peers[i].unchoke = false;
	seats = rank_all(policy, peers, n, false,
			 has_chance ? c->optimistic_id : 0, now_ms, &num_seats);
	if (earned > num_seats)
		earned = num_seats;
	for (size_t i = 0; i < earned; i++)
		seats[i].peer->unchoke = true;
	if (has_chance)
		give_optimistic(c, seats + earned, num_seats - earned, now_ms);
	free(seats);
}

size_t choker_fill(struct choker *c, const struct choker_policy *policy,
		   struct choker_peer *peers, size_t n, int64_t now_ms)
{
	size_t used = 0, free_slots, num_seats;
	struct seat *seats;

	for (size_t i = 0; i < n; i++) {
		peers[i].unchoke = peers[i].is_unchoked;
		used += peers[i].is_unchoked && peers[i].is_interested;
	}
	if (used >= policy->slots)
		return 0;
	free_slots = policy->slots - used;
	seats = rank_all(policy, peers, n, true, 0, now_ms, &num_seats);
	if (free_slots > num_seats)
		free_slots = num_seats;
	for (size_t i = 0; i < free_slots; i++)
		seats[i].peer->unchoke = true;
	free(seats);
	return free_slots;
}
