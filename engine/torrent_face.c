/* The public half of a torrent: facts, reading, wishes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/engine_private.h"

#define HURRY_AFTER_MS 2000 /* a read waits, nobody is connected */

int64_t torrent_id(const struct torrent *t)
{
	return t->id;
}

const struct infohash *torrent_infohash(const struct torrent *t)
{
	return &t->infohash;
}

const char *torrent_name(const struct torrent *t)
{
	return t->name;
}

const struct metainfo *torrent_metainfo(const struct torrent *t)
{
	return t->mi;
}

char *torrent_magnet(const struct torrent *t)
{
	char hex[41];

	if (t->mi)
		return metainfo_magnet(t->mi);
	if (t->magnet)
		return mem_strdup(t->magnet);
	return mem_printf(
		"magnet:?xt=urn:btih:%s",
		hex_encode(t->infohash.b, sizeof(t->infohash.b), hex));
}

int64_t torrent_added_s(const struct torrent *t)
{
	return t->added_s;
}

const char *torrent_phase_name(enum torrent_phase phase)
{
	static const char *const names[] = {
		"metadata",    "checking", "on-demand",
		"downloading", "seeding",  "error",
	};

	return names[phase];
}

static enum torrent_phase phase_of(const struct torrent *t)
{
	if (t->error[0])
		return TORRENT_ERROR;
	if (!t->mi)
		return TORRENT_METADATA;
	if (!t->is_ready)
		return TORRENT_CHECKING;
	if (torrent_is_complete(t))
		return TORRENT_SEEDING;
	return picker_wanted_left(t->picker) ? TORRENT_DOWNLOADING
					     : TORRENT_ON_DEMAND;
}

/* Bytes that people count: everything but pads. */
static uint64_t without_pads(const struct torrent *t, uint64_t bytes)
{
	uint64_t pads = 0;

	for (uint32_t i = 0; i < t->mi->num_files; i++) {
		const struct metainfo_file *f = &t->mi->files[i];

		if (f->flags & FILE_PAD)
			pads += torrent_present(t, f->offset, f->length);
	}
	return bytes > pads ? bytes - pads : 0;
}

static void stats_of_content(const struct torrent *t, struct torrent_stats *out)
{
	const struct layout *l = &t->mi->layout;
	uint32_t last = l->num_pieces - 1;
	uint64_t have = (uint64_t)t->have.num_set * l->piece_length;
	uint64_t pads = 0;

	if (bitfield_has(&t->have, last))
		have -= l->piece_length - layout_piece_size(l, last);
	for (uint32_t i = 0; i < t->mi->num_files; i++) {
		if (t->mi->files[i].flags & FILE_PAD)
			pads += t->mi->files[i].length;
	}
	out->have_bytes = pads ? without_pads(t, have) : have;
	out->total_bytes = l->total - pads;
	out->have_pieces = t->have.num_set;
	out->num_pieces = l->num_pieces;
}

void torrent_stats(struct torrent *t, struct torrent_stats *out)
{
	memset(out, 0, sizeof(*out));
	out->phase = phase_of(t);
	if (t->mi)
		stats_of_content(t, out);
	out->down_bps = (uint64_t)t->down.bps;
	out->up_bps = (uint64_t)t->up.bps;
	out->downloaded = t->downloaded;
	out->uploaded = t->uploaded;
	out->wasted = t->wasted;
	out->candidates = (unsigned)swarm_size(t->swarm);
	list_foreach(p, &t->peers, struct peer, node) {
		if (p->state != PEER_READY)
			continue;
		out->peers++;
		out->seeds += p->is_seed;
		out->peers_unchoking += !p->is_choking_us;
	}
	out->metadata_percent = t->metaxfer ? metaxfer_percent(t->metaxfer)
				: t->mi     ? 100
					    : 0;
	out->checked_percent = check_percent(t);
	out->parked_reads = t->sched ? sched_num_parked(t->sched) : 0;
	memcpy(out->error, t->error, sizeof(out->error));
	memcpy(out->message, t->message, sizeof(out->message));
}

static void stats_of_peer(const struct peer *p, struct peer_stats *s)
{
	char *f = s->flags;

	memset(s, 0, sizeof(*s));
	s->addr = p->addr;
	memcpy(s->client, p->ext.client, sizeof(s->client));
	if (p->am_interested)
		*f++ = p->is_choking_us ? 'd' : 'D';
	if (p->is_interested)
		*f++ = p->am_choking ? 'u' : 'U';
	if (p->is_incoming)
		*f++ = 'I';
	if (p->is_seed)
		*f++ = 'S';
	if (p->is_snubbed)
		*f++ = 's';
	if (p->is_optimistic)
		*f++ = 'O';
	s->down_bps = rate_shown(&p->down, peer_num_asked(p) > 0);
	s->up_bps = rate_shown(&p->up, p->num_wished > 0);
	s->downloaded = p->downloaded;
	s->uploaded = p->uploaded;
	s->progress = p->is_seed ? 1
		      : !p->have.num_bits
			      ? 0
			      : (double)p->have.num_set / p->have.num_bits;
	s->requests_out = (unsigned)peer_num_asked(p);
	s->requests_in = (unsigned)p->num_wished;
	s->rtt_ms = p->rtt_ms;
}

void torrent_each_peer(struct torrent *t,
		       void (*fn)(void *arg, const struct peer_stats *p),
		       void *arg)
{
	list_foreach(p, &t->peers, struct peer, node) {
		struct peer_stats s;

		if (p->state != PEER_READY)
			continue;
		stats_of_peer(p, &s);
		fn(arg, &s);
	}
}

void torrent_each_source(struct torrent *t,
			 void (*fn)(void *arg, const char *name,
				    const char *json),
			 void *arg)
{
	char line[4096];

	for (size_t i = 0; i < t->num_sources; i++) {
		struct source_job *s = &t->sources[i];

		if (!s->job || !s->source->ops->describe)
			continue;
		line[0] = '\0';
		s->source->ops->describe(s->job, line, sizeof(line));
		fn(arg, s->source->ops->name, line);
	}
}

/* --- have --- */

const struct bitfield *torrent_have(const struct torrent *t)
{
	return t->mi ? &t->have : NULL;
}

bool torrent_has(const struct torrent *t, uint64_t off, uint64_t len)
{
	uint32_t first, end;

	if (!t->mi || !len)
		return t->mi != NULL;
	first = layout_piece_at(&t->mi->layout, off);
	end = layout_piece_at(&t->mi->layout, off + len - 1) + 1;
	return bitfield_next_clear(&t->have, first, end) == end;
}

uint64_t torrent_present(const struct torrent *t, uint64_t off, uint64_t len)
{
	const struct layout *l;
	uint64_t end = off + len, present = 0;

	if (!t->mi || !len)
		return 0;
	if (bitfield_is_full(&t->have))
		return len;
	if (!t->have.num_set)
		return 0;
	l = &t->mi->layout;
	for (uint32_t i = layout_piece_at(l, off);
	     i <= layout_piece_at(l, end - 1); i++) {
		uint64_t from = layout_piece_start(l, i);
		uint64_t to = from + layout_piece_size(l, i);

		if (!bitfield_has(&t->have, i))
			continue;
		from = from < off ? off : from;
		to = to > end ? end : to;
		present += to - from;
	}
	return present;
}

void torrent_set_fill(struct torrent *t, enum fill_policy fill)
{
	/* What somebody changed is his: it is not fetched back. */
	t->fill = t->place.dir ? FILL_NONE : fill;
	if (!t->picker)
		return;
	picker_set_wanted(t->picker, 0, t->mi->layout.num_pieces,
			  t->fill == FILL_TORRENT);
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_update_interest(p);
	torrent_fill_all(t);
}

void torrent_check(struct torrent *t)
{
	if (!t->mi || t->is_closing || t->is_waiting)
		return;
	check_stop(t);
	for (uint32_t i = 0; i < t->have.num_bits; i++) {
		if (bitfield_has(&t->have, i))
			torrent_set_piece(t, i, false);
	}
	t->error[0] = '\0';
	check_start(t, CHECK_ALL);
}

/* --- reading --- */

struct reader *torrent_open_reader(struct torrent *t, uint64_t start,
				   uint64_t end)
{
	return reader_new(t->sched, start, end);
}

void torrent_on_whole_file(struct torrent *t, uint64_t start, uint64_t end)
{
	sched_on_whole_file(t->sched, start, end, loop_now_ms(t->engine->loop));
}

/* A jump leaves requests behind that nobody demands: they stand in front of
 * the new ones in the peers' queues, so take them back. */
static void ask_for(struct torrent *t)
{
	int64_t now = loop_now_ms(t->engine->loop);

	list_foreach_safe(p, &t->peers, struct peer, node) {
		if (!p->am_interested)
			peer_update_interest(p);
		peer_cancel_undemanded(p);
	}
	torrent_fill_all(t);
	if (!t->num_peers && now - t->started_ms > HURRY_AFTER_MS)
		torrent_hurry(t);
	engine_wake(t->engine);
}

void torrent_want(struct torrent *t, struct reader *r, struct want *w)
{
	int64_t now = loop_now_ms(t->engine->loop);

	if (t->is_closing) {
		w->done(w, -ESHUTDOWN);
		return;
	}
	sched_park(t->sched, r, w, now);
	ask_for(t);
}

void torrent_cancel(struct want *w)
{
	sched_cancel(w);
}

struct store *torrent_store(struct torrent *t)
{
	return t->store;
}

void torrent_hold(struct torrent *t)
{
	t->jobs_out++;
}

void torrent_release(struct torrent *t)
{
	CHECK(t->jobs_out > 0);
	t->jobs_out--;
}

void torrent_forget(struct torrent *t, uint64_t off, uint64_t len)
{
	const struct layout *l = &t->mi->layout;
	uint32_t last;

	if (!len || off >= l->total || t->is_closing)
		return;
	if (len > l->total - off)
		len = l->total - off;
	last = layout_piece_at(l, off + len - 1);
	for (uint32_t i = layout_piece_at(l, off); i <= last; i++)
		torrent_set_piece(t, i, false);
}

const char *torrent_place(const struct torrent *t)
{
	return t->place.name;
}

void torrent_rename_place(struct torrent *t, const char *name)
{
	free(t->place.name);
	t->place.name = mem_strdup(name);
	store_rename(t->store, name);
}

void torrent_distrust(struct torrent *t, uint64_t off, uint64_t len)
{
	const struct layout *l = &t->mi->layout;
	uint32_t first, last;

	if (!len || t->is_closing)
		return;
	first = layout_piece_at(l, off);
	last = layout_piece_at(l, off + len - 1);
	check_add(t, first, last - first + 1);
}
