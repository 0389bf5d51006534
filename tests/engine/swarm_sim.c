#include "tests/engine/swarm_sim_private.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tests/engine/picker_check.h"

#define SILENT_US 2000000 /* without a block: it gets no more than one */

/* --- events --- */

static bool is_before(const struct event *a, const struct event *b)
{
	return a->us != b->us ? a->us < b->us : a->seq < b->seq;
}

static void post(struct sim *sim, int64_t us, enum event_kind kind, int who,
		 struct block_ref b)
{
	struct event e = { us, sim->seq++, kind, who, b };
	size_t i = sim->num_events++;

	if (sim->num_events > sim->room) {
		sim->room = 2 * sim->num_events;
		sim->heap = mem_realloc_array(sim->heap, sim->room, sizeof(e));
	}
	for (; i && is_before(&e, &sim->heap[(i - 1) / 2]); i = (i - 1) / 2)
		sim->heap[i] = sim->heap[(i - 1) / 2];
	sim->heap[i] = e;
}

static struct event next_event(struct sim *sim)
{
	struct event first = sim->heap[0], last = sim->heap[--sim->num_events];
	size_t i = 0, n = sim->num_events;

	for (size_t k = 1; k < n; k = 2 * i + 1) {
		if (k + 1 < n && is_before(&sim->heap[k + 1], &sim->heap[k]))
			k++;
		if (!is_before(&sim->heap[k], &last))
			break;
		sim->heap[i] = sim->heap[k];
		i = k;
	}
	sim->heap[i] = last;
	return first;
}

void sim_post_in(struct sim *sim, double us, enum event_kind kind, int who,
		 struct block_ref b)
{
	post(sim, sim->now_us + (int64_t)us, kind, who, b);
}

int64_t sim_now_ms(const struct sim *sim)
{
	return sim->now_us / 1000;
}

/* --- the torrent --- */

static bool take_out(struct block_ref *list, size_t *n, size_t from,
		     struct block_ref b)
{
	for (size_t i = from; i < *n; i++) {
		if (list[i].piece != b.piece || list[i].index != b.index)
			continue;
		memmove(&list[i], &list[i + 1], (--*n - i) * sizeof(*list));
		return true;
	}
	return false;
}

static int num_askers(const struct sim *sim, struct block_ref b)
{
	int n = 0;

	for (int i = 0; i < sim->num_peers; i++)
		for (size_t k = 0; k < sim->peers[i].num_asked; k++)
			n += sim->peers[i].asked[k].piece == b.piece &&
			     sim->peers[i].asked[k].index == b.index;
	return n;
}

/* Twice what a block asked now would take here, and something for jitter. */
static int64_t late_ms(const struct peer *peer)
{
	double queue_ms = (double)(peer->num_asked + 1) * BLOCK * 1000 /
			  (peer->rate_bps + 1);

	return 150 + 2 * (peer->config.rtt_ms +
			  (int64_t)(queue_ms > 500 ? 500 : queue_ms));
}

static size_t room_of(const struct peer *peer)
{
	size_t depth = peer->is_snubbed   ? 1
		       : peer->is_doubted ? 0
					  : peer->depth;

	return depth > peer->num_asked ? depth - peer->num_asked : 0;
}

static void ask(struct sim *sim, struct peer *peer, struct block_ref b)
{
	CHECK(picker_peer_has(&peer->pp, b.piece));
	CHECK(num_askers(sim, b) < PICKER_COPIES);
	if (!peer->num_asked)
		peer->block_us = sim->now_us + peer->config.rtt_ms * 1000;
	peer->asked[peer->num_asked++] = b;
	sim_post_in(sim, peer->config.rtt_ms * 500, EV_ASK,
		    (int)(peer - sim->peers), b);
}

static void refill(struct sim *sim, struct peer *peer)
{
	size_t max = room_of(peer), n;
	struct block_ref out[1024];
	int64_t now_ms = sim_now_ms(sim);

	if (!max)
		return;
	n = sched_take(sim->s, sim->p, &peer->pp, max, now_ms, late_ms(peer),
		       out);
	if (sim->is_filling)
		n += picker_take_rarest(sim->p, &peer->pp, max - n, now_ms,
					out + n);
	if (sim->is_filling)
		n += picker_take_endgame(sim->p, &peer->pp, max - n, now_ms,
					 late_ms(peer), out + n);
	CHECK(n <= max);
	for (size_t i = 0; i < n; i++)
		ask(sim, peer, out[i]);
}

static void ask_route(void *arg, struct sched_route *route, struct block_ref b)
{
	ask(arg, route->owner, b);
}

static void assign(struct sim *sim)
{
	struct sched_route routes[SIM_PEERS];

	for (int i = 0; i < sim->num_peers; i++) {
		struct peer *peer = &sim->peers[i];
		double rate = peer->busy_bytes > 0 ? peer->rate_bps : 300000;

		routes[i] = (struct sched_route){
			.peer = peer->pp,
			.room = room_of(peer),
			.block_us = (int64_t)(BLOCK * 1e6 / rate),
			.owner = peer,
		};
		routes[i].ready_us =
			peer->config.rtt_ms * 1000 +
			routes[i].block_us * (int64_t)(peer->num_asked + 1);
	}
	sched_assign(sim->s, sim->p, routes, (size_t)sim->num_peers,
		     sim_now_ms(sim), ask_route, sim);
}

void sim_refill_all(struct sim *sim)
{
	assign(sim);
	for (int i = 0; i < sim->num_peers; i++)
		refill(sim, &sim->peers[i]);
}

/* As much as it sends in 0.3 s and a round trip; until its rate is known, one
 * more for each block that comes. */
static void measure(struct sim *sim, struct peer *peer)
{
	double path;

	peer->busy_us += (double)(sim->now_us - peer->block_us);
	peer->busy_bytes += BLOCK;
	peer->block_us = sim->now_us;
	peer->rate_bps = peer->busy_bytes * 1e6 / (peer->busy_us + 1);
	path = peer->rate_bps * (peer->config.rtt_ms / 1e3 + 0.3) / BLOCK;
	if (peer->busy_us < 500000)
		peer->depth += peer->depth < 500;
	else
		peer->depth = 4 + (unsigned)(path * 1.2);
	if (peer->depth > LIMIT_REQUESTS_OUT)
		peer->depth = LIMIT_REQUESTS_OUT;
	if (peer->busy_us > 2e6) {
		peer->busy_us /= 2;
		peer->busy_bytes /= 2;
	}
}

static void on_block(struct sim *sim, struct peer *peer, struct block_ref b)
{
	uint32_t others[PICKER_COPIES];
	size_t num_others;
	enum picker_block r;

	measure(sim, peer);
	peer->is_snubbed = peer->is_doubted = false;
	if (!take_out(peer->asked, &peer->num_asked, 0, b)) {
		/* Cancelled or given up, but under way. */
		r = picker_on_block(sim->p, peer->pp.id, b, others,
				    &num_others);
	} else {
		r = picker_on_block(sim->p, peer->pp.id, b, others,
				    &num_others);
		CHECK(r != PICKER_DUPLICATE);
	}
	if (r == PICKER_DUPLICATE) {
		sim->wasted += BLOCK;
	} else {
		sim->fetched += BLOCK;
		sched_on_block(sim->s, b.piece, sim_now_ms(sim));
		for (size_t i = 0; i < num_others; i++) {
			struct peer *o = &sim->peers[others[i] - 1];

			CHECK(take_out(o->asked, &o->num_asked, 0, b));
			sim_post_in(sim, o->config.rtt_ms * 500, EV_CANCEL,
				    (int)(o - sim->peers), b);
			refill(sim, o);
		}
	}
	if (r == PICKER_COMPLETE)
		sim_post_in(sim, 200 + sim->layout.piece_length / 2000,
			    EV_VERIFIED, 0, b);
	refill(sim, peer);
}

static void on_verified(struct sim *sim, uint32_t piece)
{
	uint32_t givers[4];

	CHECK(picker_on_verified(sim->p, piece, true, givers, 4));
	sched_on_piece(sim->s, sim->p, piece, sim_now_ms(sim));
}

static void give_up(struct sim *sim, struct peer *peer)
{
	peer->is_snubbed = true;
	peer->is_doubted = false;
	while (peer->num_asked)
		picker_on_lost(sim->p, peer->pp.id,
			       peer->asked[--peer->num_asked]);
}

/* Silent for a round trip, three blocks and 150 ms. */
static void doubt(struct sim *sim, struct peer *peer)
{
	double bearable_us = 150000 + peer->config.rtt_ms * 1e3 +
			     3 * BLOCK * 1e6 / (peer->rate_bps + 1);

	if (!peer->num_asked || peer->is_doubted || peer->busy_bytes <= 0 ||
	    (double)(sim->now_us - peer->block_us) < bearable_us)
		return;
	peer->is_doubted = true;
	for (size_t i = 0; i < peer->num_asked; i++)
		if (sched_is_urgent(sim->s, peer->asked[i].piece,
				    sim_now_ms(sim)))
			picker_on_doubt(sim->p, peer->pp.id, peer->asked[i]);
}

static void on_tick(struct sim *sim)
{
	double sum = 0;

	for (int i = 0; i < sim->num_peers; i++) {
		struct peer *peer = &sim->peers[i];

		if (peer->num_asked &&
		    sim->now_us - peer->block_us >
			    SILENT_US +
				    4 * BLOCK * 1e6 / (peer->rate_bps + 5000))
			give_up(sim, peer);
		doubt(sim, peer);
		sum += peer->rate_bps;
	}
	for (int i = 0; i < sim->num_peers; i++)
		sim->peers[i].pp.is_slow =
			sim->peers[i].busy_us > 500000 &&
			sim->peers[i].rate_bps < sum / sim->num_peers / 4;
	sched_tick(sim->s, sim_now_ms(sim), 120000, false, 0);
	sim_refill_all(sim);
	sim_post_in(sim, 50000, EV_TICK, 0, (struct block_ref){ 0 });
}

/* --- the other side --- */

static void serve(struct sim *sim, struct peer *peer)
{
	const struct sim_peer_config *c = &peer->config;

	if (peer->is_serving || !peer->num_queue ||
	    (c->silent_ms && sim_now_ms(sim) >= c->silent_ms))
		return;
	peer->is_serving = true;
	sim_post_in(sim, BLOCK * 1e6 / (double)c->rate_bps, EV_SERVED,
		    (int)(peer - sim->peers), peer->queue[0]);
}

static void on_asked(struct sim *sim, struct peer *peer, struct block_ref b)
{
	if ((int)prng_below(&sim->prng, 100) < peer->config.percent_reject) {
		sim_post_in(sim, peer->config.rtt_ms * 500, EV_REJECT,
			    (int)(peer - sim->peers), b);
		return;
	}
	CHECK(peer->num_queue < QUEUE);
	peer->queue[peer->num_queue++] = b;
	serve(sim, peer);
}

static void on_served(struct sim *sim, struct peer *peer, struct block_ref b)
{
	peer->is_serving = false;
	take_out(peer->queue, &peer->num_queue, 0, b);
	if (!peer->config.silent_ms || sim_now_ms(sim) < peer->config.silent_ms)
		sim_post_in(sim, peer->config.rtt_ms * 500, EV_LINK,
			    (int)(peer - sim->peers), b);
	serve(sim, peer);
}

/* --- all of it --- */

struct sim *sim_new(uint64_t total, uint32_t piece_length, uint64_t link_bps,
		    uint64_t seed)
{
	struct sim *sim = mem_alloc(sizeof(*sim));

	sim->layout = (struct layout){
		.total = total,
		.piece_length = piece_length,
		.num_pieces = (uint32_t)((total - 1) / piece_length + 1),
	};
	sim->link_bps = link_bps;
	sim->prng.state = seed;
	sim->p = picker_new(&sim->layout, seed);
	sim->s = sched_new(&sim->layout);
	post(sim, 0, EV_TICK, 0, (struct block_ref){ 0 });
	return sim;
}

void sim_free(struct sim *sim)
{
	for (int i = 0; i < sim->num_readers; i++) {
		sched_cancel(&sim->readers[i].want);
		reader_free(sim->readers[i].reader);
	}
	for (int i = 0; i < sim->num_peers; i++)
		bitfield_release(&sim->peers[i].have);
	sched_free(sim->s);
	picker_free(sim->p);
	free(sim->heap);
	free(sim);
}

void sim_add_peer(struct sim *sim, const struct sim_peer_config *config)
{
	struct peer *peer = &sim->peers[sim->num_peers++];

	CHECK(sim->num_peers <= SIM_PEERS);
	peer->config = *config;
	peer->depth = 8;
	bitfield_init(&peer->have, sim->layout.num_pieces);
	peer->pp = (struct picker_peer){ .id = (uint32_t)sim->num_peers,
					 .have = &peer->have,
					 .is_seed = !config->percent_have };
	for (uint32_t i = 0; i < sim->layout.num_pieces; i++)
		if ((int)prng_below(&sim->prng, 100) < config->percent_have)
			bitfield_set(&peer->have, i);
	picker_add_peer(sim->p, &peer->have, peer->pp.is_seed);
}

int sim_add_reader(struct sim *sim, const struct sim_reader_config *config)
{
	struct sim_reader *r = &sim->readers[sim->num_readers];

	CHECK(sim->num_readers < SIM_READERS);
	r->config = *config;
	r->sim = sim;
	r->index = sim->num_readers;
	r->off = config->start;
	r->result.first_ms = r->result.ended_ms = -1;
	r->reader = reader_new(sim->s, config->start, config->end);
	r->seek_us = r->played_us = config->start_ms * 1000;
	post(sim, config->start_ms * 1000, EV_READER, r->index,
	     (struct block_ref){ 0 });
	return sim->num_readers++;
}

void sim_fill(struct sim *sim)
{
	sim->is_filling = true;
	picker_set_wanted(sim->p, 0, sim->layout.num_pieces, true);
}

static bool is_over(const struct sim *sim)
{
	for (int i = 0; i < sim->num_readers; i++)
		if (sim->readers[i].result.ended_ms < 0)
			return false;
	return !sim->is_filling || !picker_wanted_left(sim->p);
}

static void dispatch(struct sim *sim, const struct event *e)
{
	struct peer *peer = &sim->peers[e->who];

	switch (e->kind) {
	case EV_ASK:
		on_asked(sim, peer, e->b);
		break;
	case EV_CANCEL:
		take_out(peer->queue, &peer->num_queue, peer->is_serving, e->b);
		break;
	case EV_SERVED:
		on_served(sim, peer, e->b);
		break;
	case EV_LINK:
		if (sim->link_us < sim->now_us)
			sim->link_us = sim->now_us;
		sim->link_us += (int64_t)(BLOCK * 1e6 / (double)sim->link_bps);
		post(sim, sim->link_us, EV_BLOCK, e->who, e->b);
		break;
	case EV_BLOCK:
		on_block(sim, peer, e->b);
		break;
	case EV_REJECT:
		if (take_out(peer->asked, &peer->num_asked, 0, e->b)) {
			picker_on_lost(sim->p, peer->pp.id, e->b);
			sim_refill_all(sim);
		}
		break;
	case EV_VERIFIED:
		on_verified(sim, e->b.piece);
		break;
	case EV_READER:
		sim_step_reader(sim, &sim->readers[e->who]);
		break;
	case EV_TICK:
		on_tick(sim);
		break;
	}
}

void sim_run(struct sim *sim, int64_t end_ms)
{
	while (!is_over(sim) && sim->heap[0].us <= end_ms * 1000) {
		struct event e = next_event(sim);

		sim->now_us = e.us;
		dispatch(sim, &e);
		if (e.seq % 499 == 0 && sim->layout.num_pieces <= 2048)
			picker_check(sim->p);
	}
}

const struct sim_reader_result *sim_result(const struct sim *sim, int reader)
{
	return &sim->readers[reader].result;
}

uint64_t sim_fetched(const struct sim *sim)
{
	return sim->fetched;
}

uint64_t sim_wasted(const struct sim *sim)
{
	return sim->wasted;
}

uint32_t sim_missing(const struct sim *sim)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < sim->layout.num_pieces; i++)
		n += !picker_has(sim->p, i);
	return n;
}
