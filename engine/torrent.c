#include "engine/torrent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

#define RATE_EVERY_MS 250
#define NO_SOURCE_MS  15000 /* without anybody to ask, and all asked */

#define LOOK_AGAIN_MS  250   /* for somebody to connect to: limits may ease */
#define LOOK_RARELY_MS 10000 /* nobody is to be tried; news comes sooner */
#define PEERS_IDLE_MAX 30    /* connections begun while nothing is wanted */

/* --- life --- */

static void face_stats(struct swarm_face *face, struct peersource_stats *out)
{
	struct torrent *t = container_of(face, struct torrent, face);
	struct torrent_stats s;

	torrent_stats(t, &s);
	out->uploaded = t->session_up;
	out->downloaded = t->session_down;
	out->left = t->mi ? s.total_bytes - s.have_bytes : UINT64_MAX;
	out->wanted = t->num_peers < LIMIT_PEERS_PER_TORRENT
			      ? LIMIT_PEERS_PER_TORRENT - t->num_peers
			      : 0;
	out->is_partial_seed = false;
}

static void face_on_peers(struct swarm_face *face, enum peer_origin origin,
			  const struct addr *addrs, size_t n)
{
	struct torrent *t = container_of(face, struct torrent, face);

	for (size_t i = 0; i < n; i++)
		torrent_add_peer(t, &addrs[i], origin);
}

static void face_on_message(struct swarm_face *face, const char *text)
{
	struct torrent *t = container_of(face, struct torrent, face);

	snprintf(t->message, sizeof(t->message), "%s", text ? text : "");
}

static void face_on_round_done(struct swarm_face *face)
{
	container_of(face, struct torrent, face)->rounds_done++;
}

struct torrent *torrent_new(struct engine *e, const struct infohash *ih)
{
	struct torrent *t = mem_alloc(sizeof(*t));
	char hex[41];

	t->engine = e;
	t->infohash = *ih;
	t->name = mem_strdup(hex_encode(ih->b, sizeof(ih->b), hex));
	t->fill = e->config.fill;
	t->swarm = swarm_new();
	choker_init(&t->choker, prng_u64(&e->prng));
	list_init(&t->node);
	list_init(&t->peers);
	t->face.infohash = *ih;
	t->face.stats = face_stats;
	t->face.on_peers = face_on_peers;
	t->face.on_message = face_on_message;
	t->face.on_round_done = face_on_round_done;
	return t;
}

void torrent_add_url(struct torrent *t, const char *url, unsigned tier)
{
	size_t at = t->num_urls;

	if (t->num_urls >= LIMIT_TRACKERS || strlen(url) > LIMIT_URL_BYTES)
		return;
	for (size_t i = 0; i < t->num_urls; i++) {
		if (!strcmp(t->urls[i], url))
			return;
	}
	t->urls = mem_realloc_array(t->urls, t->num_urls + 1, sizeof(*t->urls));
	t->tier_of = mem_realloc_array(t->tier_of, t->num_urls + 1,
				       sizeof(*t->tier_of));
	while (at > 0 && t->tier_of[at - 1] > tier) {
		t->urls[at] = t->urls[at - 1];
		t->tier_of[at] = t->tier_of[at - 1];
		at--;
	}
	t->urls[at] = mem_strdup(url);
	t->tier_of[at] = tier;
	t->num_urls++;
	t->face.urls = (const char *const *)t->urls;
	t->face.tier_of = t->tier_of;
	t->face.num_urls = t->num_urls;
	for (size_t i = 0; i < t->num_sources; i++) {
		struct source_job *s = &t->sources[i];

		if (s->job && s->source->ops->on_urls)
			s->source->ops->on_urls(s->job);
	}
}

void torrent_attach(struct torrent *t, struct metainfo *mi)
{
	struct engine *e = t->engine;
	char hex[41], *dir;

	CHECK(!t->mi);
	t->mi = mi;
	t->has_v1 = mi->has_v1;
	t->has_v2 = mi->has_v2;
	t->infohash2 = mi->infohash2;
	free(t->name);
	t->name = mem_strdup(mi->name);
	t->face.is_private = mi->is_private;
	if (!mi->is_private) {
		t->face.nodes = (const char *const *)mi->nodes;
		t->face.num_nodes = mi->num_nodes;
	}
	bitfield_init(&t->have, mi->layout.num_pieces);
	hex_encode(t->infohash.b, sizeof(t->infohash.b), hex);
	dir = e->config.is_flat ? mem_strdup(e->config.data_dir)
				: mem_printf("%s/%s", e->config.data_dir, hex);
	if (t->place.dir)
		t->store = store_new(e->fdcache, mi, t->place.dir,
				     t->place.name, true);
	else
		t->store = store_new(e->fdcache, mi, dir, NULL,
				     e->config.is_read_only);
	free(dir);
	t->picker = picker_new(&mi->layout, prng_u64(&e->prng));
	t->blame = blame_new();
	t->sched = sched_new(&mi->layout);
	for (size_t i = 0; i < mi->num_trackers; i++)
		torrent_add_url(t, mi->trackers[i], mi->tier_of[i]);
	torrent_set_fill(t, t->fill);
	list_foreach_safe(p, &t->peers, struct peer, node) {
		if (p->state == PEER_READY && !peer_on_metadata(p))
			peer_close(p, "its bitfield does not fit the torrent");
	}
}

static void start_source(struct torrent *t, struct peersource *source)
{
	struct source_job *s = &t->sources[t->num_sources++];

	s->source = source;
	s->job = source->ops->start(source, &t->face);
	if (s->job)
		t->rounds_expected++;
}

static void start_sources(struct torrent *t)
{
	if (t->num_sources)
		return;
	t->started_ms = loop_now_ms(t->engine->loop);
	for (size_t i = 0; i < t->engine->num_sources; i++)
		start_source(t, t->engine->sources[i]);
}

void torrent_start(struct torrent *t)
{
	struct engine *e = t->engine;

	t->started_ms = loop_now_ms(e->loop);
	if (!t->mi)
		torrent_meta_start(t);
	for (size_t i = 0; i < e->num_user_trackers; i++) {
		if (!t->face.is_private)
			torrent_add_url(t, e->user_trackers[i], 0);
	}
	for (size_t i = 0; i < e->num_user_peers; i++)
		torrent_add_peer(t, &e->user_peers[i], ORIGIN_USER);
	if (!t->mi)
		start_sources(t);
}

bool torrent_is_read_only(const struct torrent *t)
{
	return t->engine->config.is_read_only || t->place.dir;
}

bool torrent_is_complete(const struct torrent *t)
{
	return t->mi && bitfield_is_full(&t->have);
}

static void check_complete(struct torrent *t)
{
	if (t->was_complete || !t->is_ready || !torrent_is_complete(t))
		return;
	t->was_complete = true;
	log_info("%s is complete", t->name);
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_update_interest(p);
	for (size_t i = 0; i < t->num_sources; i++) {
		struct source_job *s = &t->sources[i];

		if (s->job && s->source->ops->on_complete && t->session_down)
			s->source->ops->on_complete(s->job);
	}
	resume_save(t);
	engine_on_event_complete(t->engine, t);
}

void torrent_on_checked(struct torrent *t)
{
	t->is_ready = true;
	/* Not before it is known how much is missing: a tracker tells seeds
	 * from leechers by that. */
	start_sources(t);
	list_foreach_safe(p, &t->peers, struct peer, node) {
		if (p->state != PEER_READY)
			continue;
		peer_update_interest(p);
	}
	torrent_fill_all(t);
	check_complete(t);
	engine_wake(t->engine);
}

void torrent_close(struct torrent *t)
{
	if (t->is_closing)
		return;
	t->is_closing = true;
	t->was_ready = t->is_ready;
	t->is_ready = false;
	if (t->sched)
		sched_fail_all(t->sched, -ESHUTDOWN);
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_close(p, "the torrent stops");
	for (size_t i = 0; i < t->num_sources; i++) {
		struct source_job *s = &t->sources[i];

		if (s->job)
			s->source->ops->stop(s->job, true);
		s->job = NULL;
	}
	if (t->mi)
		check_stop(t);
}

bool torrent_is_idle(const struct torrent *t)
{
	return t->is_closing && !t->jobs_out;
}

void torrent_free(struct torrent *t)
{
	CHECK(torrent_is_idle(t));
	if (t->picker)
		torrent_drop_partials(t);
	metaxfer_free(t->metaxfer);
	resume_free(t);
	picker_free(t->picker);
	blame_free(t->blame);
	sched_free(t->sched);
	store_unref(t->store);
	metainfo_free(t->mi);
	bitfield_release(&t->have);
	swarm_free(t->swarm);
	for (size_t i = 0; i < t->num_urls; i++)
		free(t->urls[i]);
	free(t->urls);
	free(t->tier_of);
	free(t->magnet);
	free(t->place.dir);
	free(t->place.name);
	free(t->name);
	free(t);
}

void torrent_set_error(struct torrent *t, int r, const char *doing)
{
	char before[sizeof(t->error)];

	memcpy(before, t->error, sizeof(before));
	snprintf(t->error, sizeof(t->error), "%s: %s", doing, strerror(-r));
	if (strcmp(before, t->error))
		log_error("%s: %s", t->name, t->error);
}

/* --- peers --- */

bool torrent_wants_anything(const struct torrent *t)
{
	return !t->mi || (t->picker && picker_wanted_left(t->picker)) ||
	       sched_num_parked(t->sched) || sched_has_readers(t->sched);
}

void torrent_on_peer_closed(struct torrent *t, struct peer *p, bool was_good)
{
	int64_t now = loop_now_ms(t->engine->loop);
	struct candidate *c = NULL;

	if (p->holds_candidate)
		c = swarm_find(t->swarm, &p->listen_addr);
	if (c)
		c->was_seed = p->is_seed;
	if (c && p->is_our_fault)
		swarm_on_not_tried(t->swarm, &c->addr, now);
	else if (c)
		swarm_on_lost(t->swarm, &c->addr, was_good, now);
	if (c && p->has_fled && p->has_said_early && !c->is_shy) {
		c->is_shy = true;
		c->next_try_ms = now;
	}
	t->connect_ms = 0;
	t->is_fill_due |= was_good && !p->am_choking;
}

/* For one that was not tried yet somebody useless may leave. */
static bool has_room(struct torrent *t)
{
	const struct engine *e = t->engine;

	return (t->num_peers < LIMIT_PEERS_PER_TORRENT &&
		e->num_peers < e->config.max_peers) ||
	       torrent_make_room_slowly(t);
}

static void connect_more(struct torrent *t, int64_t now_ms)
{
	bool am_seed = torrent_is_complete(t);
	bool urgent = t->sched && sched_num_parked(t->sched);
	unsigned max = torrent_wants_anything(t) ? LIMIT_PEERS_PER_TORRENT
						 : PEERS_IDLE_MAX;
	int64_t wait;

	if (t->is_closing || t->engine->config.no_tcp_out ||
	    now_ms < t->connect_ms)
		return;
	while (t->num_peers < max || max == LIMIT_PEERS_PER_TORRENT) {
		struct candidate *c =
			swarm_next(t->swarm, am_seed, now_ms, &wait);

		if (!c) {
			if (wait < 0 || wait > LOOK_RARELY_MS)
				wait = LOOK_RARELY_MS;
			t->connect_ms = now_ms + wait;
			return;
		}
		if (!has_room(t) || !engine_may_connect(t->engine, urgent))
			break;
		swarm_on_connecting(c, now_ms);
		peer_connect(t, &c->addr, c->origin);
	}
	t->connect_ms = now_ms + LOOK_AGAIN_MS;
}

void torrent_hurry(struct torrent *t)
{
	if (swarm_hurry(t->swarm, loop_now_ms(t->engine->loop)))
		t->connect_ms = 0;
}

void torrent_add_peer(struct torrent *t, const struct addr *a,
		      enum peer_origin origin)
{
	const struct engine_config *c = &t->engine->config;

	/* What was not bound is not used: it may be another network. */
	if (!(a->family == 6 ? c->bind6 : c->bind4).family ||
	    !swarm_add(t->swarm, a, origin))
		return;
	t->connect_ms = 0;
	engine_wake(t->engine);
}

/* --- time --- */

/* Nobody to ask: every source has answered, and no address is left to try.
 * While what is on disk is not all looked at, that is a source too. */
static bool has_no_source(const struct torrent *t, int64_t now_ms)
{
	int64_t patience = t->engine->config.read_timeout_ms;

	if (!t->is_ready)
		return false;
	if ((t->num_sources < t->engine->num_sources ||
	     t->rounds_done < t->rounds_expected) &&
	    (!patience || now_ms - t->started_ms < patience))
		return false;
	list_foreach(p, &t->peers, struct peer, node) {
		if (p->state == PEER_READY)
			return false;
	}
	return !swarm_num_usable(t->swarm) ||
	       (now_ms - t->peer_seen_ms > NO_SOURCE_MS &&
		!swarm_has_untried(t->swarm, now_ms));
}

static void tick_reads(struct torrent *t, int64_t now_ms)
{
	bool no_source;
	int64_t timeout = t->engine->config.read_timeout_ms;

	if (!t->sched || !sched_num_parked(t->sched))
		return;
	no_source = has_no_source(t, now_ms);
	if (!t->num_peers || no_source)
		torrent_hurry(t);
	sched_tick(t->sched, now_ms, timeout ? timeout : INT64_MAX, no_source,
		   NO_SOURCE_MS);
}

/* Who gives less than a quarter of the average gets what is not urgent. */
static void find_slow(struct torrent *t)
{
	double sum = 0;
	unsigned n = 0;

	list_foreach(p, &t->peers, struct peer, node) {
		if (p->state != PEER_READY || p->is_choking_us)
			continue;
		sum += p->down.bps;
		n++;
	}
	list_foreach(p, &t->peers, struct peer, node)
		p->is_slow =
			n && p->down.busy_ms > 500 && p->down.bps < sum / n / 4;
}

static void tick_peers(struct torrent *t, int64_t now_ms)
{
	list_foreach_safe(p, &t->peers, struct peer, node)
		peer_tick(p, now_ms);
	list_foreach(p, &t->peers, struct peer, node) {
		if (p->state == PEER_READY)
			t->peer_seen_ms = now_ms;
	}
	find_slow(t);
	rate_tick(&t->down, now_ms, true);
	rate_tick(&t->up, now_ms, true);
}

/* Somebody deleted or cut a file under us: no bit is believed any more, and
 * what is still right is found again. Other troubles are told. */
static void look_at_store(struct torrent *t)
{
	char what[sizeof(t->error) - 40];
	int r = store_problem(t->store, what, sizeof(what));

	if (!r)
		return;
	if (r == -ENODATA) {
		log_warn("%s: %s, hashing all of it again", t->name, what);
		torrent_check(t);
	} else {
		torrent_set_error(t, r, what);
	}
}

void torrent_tick(struct torrent *t, int64_t now_ms)
{
	if (t->is_closing)
		return;
	if (t->blocked_until_ms && now_ms >= t->blocked_until_ms) {
		t->blocked_until_ms = 0;
		torrent_fill_all(t);
	}
	connect_more(t, now_ms);
	if (engine_is_limited(t->engine)) {
		/* The bucket has filled a little: go on, a few blocks each. */
		torrent_fill_all(t);
		list_foreach_safe(p, &t->peers, struct peer, node)
			peer_serve(p);
	}
	if (now_ms - t->rate_ms >= RATE_EVERY_MS) {
		t->rate_ms = now_ms;
		tick_peers(t, now_ms);
		torrent_meta_tick(t, now_ms);
		if (t->store && (t->is_ready || t->check))
			look_at_store(t);
		if (t->is_ready)
			torrent_rechoke_tick(t, now_ms);
	}
	torrent_hedge(t, now_ms);
	tick_reads(t, now_ms);
	if (t->mi)
		resume_tick(t, now_ms);
	check_complete(t);
}
