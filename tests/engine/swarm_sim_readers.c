/* Copies, players and probers, as a scheduler meets them. */
#include "tests/engine/swarm_sim_private.h"

#include "engine/base/check.h"
#include "engine/base/mem.h"

static bool is_all_here(const struct sim *sim, uint64_t off, uint64_t len)
{
	for (uint32_t i = layout_piece_at(&sim->layout, off);
	     i <= layout_piece_at(&sim->layout, off + len - 1); i++)
		if (!picker_has(sim->p, i))
			return false;
	return true;
}

static void answered(struct sim *sim, struct sim_reader *r)
{
	struct sim_reader_result *res = &r->result;
	int64_t waited = (sim->now_us - r->asked_us) / 1000;
	int64_t next_us = 30; /* a read(2) or so */

	if (res->first_ms < 0)
		res->first_ms = sim_now_ms(sim);
	res->bytes += r->asked_len;
	res->reads++;
	res->total_ms += waited;
	res->worst_ms = waited > res->worst_ms ? waited : res->worst_ms;
	r->off += r->asked_len;
	r->asked_len = 0;
	if (r->config.kind == SIM_PROBER)
		next_us = r->config.every_ms * 1000;
	sim_post_in(sim, (double)next_us, EV_READER, r->index,
		    (struct block_ref){ 0 });
}

static void on_want_done(struct want *w, int r)
{
	struct sim_reader *reader = container_of(w, struct sim_reader, want);

	CHECK(r == 0);
	reader->buffered += (double)w->len;
	CHECK(is_all_here(reader->sim, w->off, w->len));
	answered(reader->sim, reader);
}

static void read_at(struct sim *sim, struct sim_reader *r)
{
	uint64_t left = r->config.end - r->off;
	int64_t now_ms = sim_now_ms(sim);

	r->asked_us = sim->now_us;
	r->asked_len =
		left < r->config.read_bytes ? left : r->config.read_bytes;
	reader_on_read(r->reader, r->off, r->asked_len, now_ms);
	if (is_all_here(sim, r->off, r->asked_len)) {
		r->buffered += (double)r->asked_len;
		answered(sim, r);
	} else {
		r->want.off = r->off;
		r->want.len = r->asked_len;
		r->want.done = on_want_done;
		sched_park(sim->s, r->reader, &r->want, now_ms);
	}
	sim_refill_all(sim);
}

/* Plays what is buffered since the last time. */
static void play(struct sim *sim, struct sim_reader *r)
{
	double us = (double)(sim->now_us - r->played_us);
	double bytes = us * (double)r->config.rate_bps / 1e6;

	r->played_us = sim->now_us;
	if (!r->is_playing)
		return;
	if (r->buffered >= bytes) {
		r->buffered -= bytes;
		return;
	}
	r->result.stalled_ms += (int64_t)((bytes - r->buffered) * 1e3 /
					  (double)r->config.rate_bps);
	r->result.stalls++;
	r->buffered = 0;
	r->is_playing = false;
}

/* A player looks 20 times a second whether its buffer of 4 s has room. */
static void step_player(struct sim *sim, struct sim_reader *r)
{
	struct block_ref none = { 0 };

	play(sim, r);
	if (r->buffered > (double)r->config.rate_bps)
		r->is_playing = true;
	if (r->config.every_ms &&
	    sim->now_us - r->seek_us > r->config.every_ms * 1000) {
		r->seek_us = sim->now_us;
		r->off = r->config.start +
			 prng_u64(&sim->prng) %
				 (r->config.end - r->config.start) / 2;
		r->buffered = 0;
		r->is_playing = false;
	}
	if (r->off >= r->config.end)
		r->result.ended_ms = sim_now_ms(sim);
	else if (r->buffered < 4.0 * (double)r->config.rate_bps)
		read_at(sim, r);
	else
		sim_post_in(sim, 50000, EV_READER, r->index, none);
}

static void step_prober(struct sim *sim, struct sim_reader *r)
{
	uint64_t fetched = sim->fetched - r->fetched;
	uint64_t room = r->config.end - r->config.start - r->config.read_bytes;

	if (r->result.reads && fetched > r->result.worst_fetched)
		r->result.worst_fetched = fetched;
	r->fetched = sim->fetched;
	if (r->config.max_reads && r->result.reads >= r->config.max_reads) {
		r->result.ended_ms = sim_now_ms(sim);
		return;
	}
	r->off = r->config.start + prng_u64(&sim->prng) % room;
	read_at(sim, r);
}

void sim_step_reader(struct sim *sim, struct sim_reader *r)
{
	switch (r->config.kind) {
	case SIM_COPY:
		if (r->off >= r->config.end)
			r->result.ended_ms = sim_now_ms(sim);
		else
			read_at(sim, r);
		break;
	case SIM_PLAYER:
		step_player(sim, r);
		break;
	case SIM_PROBER:
		step_prober(sim, r);
		break;
	}
}
