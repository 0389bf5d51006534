/*
 * Jobs: one torrent, its ladder of trackers (tiers.c), and a timer that climbs
 * it. Everything the engine asks for happens on a later turn, and a callback
 * into the engine may stop the very job that makes it: after each one the job
 * is only touched if it still lives (tell()).
 *
 * A stopped job is freed at once. Its goodbyes live on as farewells, which
 * hold a copy of all they need, for at most TIMEOUT_STOP_MS.
 */
#include "tracker/tracker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/hex.h"
#include "engine/base/list.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tracker/announce.h"
#include "tracker/call.h"
#include "tracker/status.h"
#include "tracker/tiers.h"

#define NUM_WANT           200
#define TIMEOUT_MS         30000 /* of an announce */
#define TIMEOUT_PRIVATE_MS 15000 /* nobody else is asked meanwhile */
#define TIMEOUT_STOP_MS    5000
#define DRAIN_MS           2000

struct tracker_client {
	struct peersource source;
	struct loop *loop; /* borrowed */
	struct http *http; /* borrowed */
	struct announcer *announcer;
	struct overlays *overlays; /* NULL: kenosis=0, or no UDP */
	struct caller *caller;
	struct tracker_options options; /* without its pointers */
	char **trusted;                 /* owned */
	struct log_limit log_limit;     /* of failures */
	struct list jobs, farewells;
	struct timer drain;
	void (*drained)(void *arg); /* NULL: nobody waits */
	void *drained_arg;          /* borrowed */
};

struct peersource_job {
	struct list node;
	struct tracker_client *client;
	struct swarm_face *face; /* borrowed */
	struct tiers tiers;
	struct timer timer;
	uint32_t key;
	unsigned rounds;  /* that the face knows of */
	bool has_message; /* the face was told of trouble */
	bool *gone;       /* set when stopped inside a callback */
};

/* A "stopped" under way; before it a "completed", if that was owed: trackers
 * count those, and one who only fetches leaves the moment it has all. */
struct farewell {
	struct list node;
	struct tracker_client *client;
	struct call *call;
	struct announce_request request;
	char *url; /* owned */
	struct addr knowers[TIER_KNOWERS_MAX];
	unsigned num_knowers;
	uint8_t id[LIMIT_TRACKER_ID_BYTES];
	size_t id_len;
};

static void run_soon(struct peersource_job *j)
{
	timer_set_ms(&j->timer, 0);
}

/* --- telling the engine; false: that stopped the job --- */

static bool tell_message(struct peersource_job *j, const char *text)
{
	bool gone = false;

	if (!text && !j->has_message)
		return true;
	j->has_message = text != NULL;
	j->gone = &gone;
	j->face->on_message(j->face, text);
	if (!gone)
		j->gone = NULL;
	return !gone;
}

static bool tell_trouble(struct peersource_job *j, const struct tier_entry *e,
			 const char *what)
{
	char url[STATUS_URL_MAX], *text;
	bool lives;

	text = mem_printf("tracker %s: %s", status_short_url(e->url, url),
			  what);
	lives = tell_message(j, text);
	free(text);
	return lives;
}

static bool tell_round(struct peersource_job *j)
{
	bool gone = false;

	if (j->rounds == j->tiers.rounds)
		return true;
	j->rounds = j->tiers.rounds;
	j->gone = &gone;
	j->face->on_round_done(j->face);
	if (!gone)
		j->gone = NULL;
	return !gone;
}

/* Loopback named from elsewhere is this machine to us, and not to them. */
static bool is_usable(const struct tracker_client *c, const struct addr *peer,
		      const struct addr *from)
{
	if (addr_is_unspecified(peer) || addr_is_multicast(peer))
		return false;
	if (peer->family == 6 && addr_is_link_local(peer))
		return false; /* without a scope it leads nowhere */
	return !addr_is_loopback(peer) || addr_is_loopback(from) ||
	       c->options.accept_loopback;
}

static bool tell_peers(struct peersource_job *j,
		       const struct announce_answer *answer,
		       const struct addr *from)
{
	struct addr *peers;
	bool gone = false;
	size_t n = 0;

	peers = mem_alloc_array(answer->num_peers, sizeof(*peers));
	for (size_t i = 0; i < answer->num_peers; i++) {
		if (is_usable(j->client, &answer->peers[i], from))
			peers[n++] = answer->peers[i];
	}
	if (n) {
		j->gone = &gone;
		j->face->on_peers(j->face, ORIGIN_TRACKER, peers, n);
		if (!gone)
			j->gone = NULL;
	}
	free(peers);
	return !gone;
}

/* --- announcing --- */

static void fill_request(const struct tracker_client *c,
			 const struct peersource_job *j,
			 struct announce_request *q)
{
	struct peersource_stats stats = { 0 };

	j->face->stats(j->face, &stats);
	*q = (struct announce_request){
		.infohash = j->face->infohash,
		.peerid = c->options.peerid,
		.uploaded = stats.uploaded,
		.downloaded = stats.downloaded,
		.left = stats.left,
		.is_partial_seed = stats.is_partial_seed,
		.num_want = stats.wanted < c->options.num_want
				    ? stats.wanted
				    : c->options.num_want,
		.key = j->key,
		.port = c->options.port,
		.ip4 = c->options.announce_ip4,
		.ip6 = c->options.announce_ip6,
	};
}

static bool is_trusted(const struct tracker_client *c, const char *url)
{
	for (size_t i = 0; i < c->options.num_trusted; i++) {
		if (!strcmp(c->trusted[i], url))
			return true;
	}
	return false;
}

static void log_result(struct peersource_job *j, const struct tier_entry *e,
		       const struct announce_answer *a)
{
	char url[STATUS_URL_MAX], hash[9];

	hex_encode(j->face->infohash.b, 4, hash);
	status_short_url(e->url, url);
	if (a->r &&
	    log_limit_ok(&j->client->log_limit, loop_now_ms(j->client->loop)))
		log_info("tracker=%s torrent=%s error=\"%s\"", url, hash,
			 a->text);
	else if (!a->r)
		log_debug("tracker=%s torrent=%s peers=%zu interval=%lld", url,
			  hash, a->num_peers, (long long)a->interval_s);
}

static void take_facts(struct tier_entry *e, const struct announce_answer *a)
{
	e->error[0] = '\0';
	if (a->seeders >= 0)
		e->seeders = a->seeders;
	if (a->leechers >= 0)
		e->leechers = a->leechers;
	if (a->tracker_id_len) {
		memcpy(e->id, a->tracker_id, a->tracker_id_len);
		e->id_len = a->tracker_id_len;
	}
}

/* Which owner of a key this is, for people, and for the goodbye. */
static void note_owner(struct tier_entry *e, const struct addr *from, int rank)
{
	char text[ADDR_STR_MAX];

	if (rank == CALL_NOT_AN_OWNER) {
		e->owner[0] = '\0';
		return;
	}
	snprintf(e->owner, sizeof(e->owner), "%s rank %d", addr_str(from, text),
		 rank);
	for (unsigned i = 0; i < e->num_knowers; i++) {
		if (addr_ip_eq(&e->knowers[i], from))
			return;
	}
	if (e->num_knowers == TIER_KNOWERS_MAX) /* the oldest one expires */
		memmove(e->knowers, e->knowers + 1,
			--e->num_knowers * sizeof(*e->knowers));
	e->knowers[e->num_knowers++] = *from;
}

static void on_answer(void *arg, const struct announce_answer *a,
		      const struct addr *from, int rank)
{
	struct tier_entry *e = arg;
	struct peersource_job *j = e->job;
	struct tracker_client *c = j->client;

	log_result(j, e, a);
	take_facts(e, a);
	note_owner(e, from, rank);
	if (e->is_busy) /* the first family to answer sets the pace */
		tiers_on_answer(&j->tiers, e, loop_now_ms(c->loop),
				a->interval_s, a->min_interval_s, a->num_peers);
	run_soon(j);
	if (a->external_ip.family && c->options.on_external_ip)
		c->options.on_external_ip(c->options.arg, &a->external_ip);
	if (!tell_peers(j, a, from))
		return;
	if (a->warning[0])
		(void)tell_trouble(j, e, a->warning);
	else
		(void)tell_message(j, NULL);
}

static void on_end(void *arg, const struct announce_answer *failure)
{
	struct tier_entry *e = arg;
	struct peersource_job *j = e->job;

	e->call = NULL;
	if (!failure)
		return;
	log_result(j, e, failure);
	memcpy(e->error, failure->text, sizeof(e->error));
	/* A url that can never work is not asked a second time. */
	tiers_on_failure(&j->tiers, e, loop_now_ms(j->client->loop),
			 failure->r == -EINVAL ? -1 : failure->retry_s);
	run_soon(j);
	if (!tiers_active(&j->tiers))
		(void)tell_trouble(j, e, e->error);
}

static void announce_to(struct peersource_job *j, struct tier_entry *e)
{
	struct tracker_client *c = j->client;
	struct call_options o = { .announce = {
					  .id = e->id,
					  .id_len = e->id_len,
					  .timeout_ms =
						  j->tiers.is_private &&
								  j->tiers.num >
									  1
							  ? TIMEOUT_PRIVATE_MS
							  : TIMEOUT_MS,
					  .is_trusted = is_trusted(c, e->url),
				  } };
	struct call_events events = { on_answer, on_end, e };
	struct announce_request q;

	call_cancel(e->call); /* a family that is slow since last time */
	tiers_on_sent(&j->tiers, e, loop_now_ms(c->loop));
	fill_request(c, j, &q);
	q.event = e->sent_event;
	e->call = call_start(c->caller, e->url, &q, &o, &events);
}

static void on_timer(struct timer *timer)
{
	struct peersource_job *j =
		container_of(timer, struct peersource_job, timer);
	int64_t now_ms = loop_now_ms(j->client->loop), wake_ms;
	struct tier_entry *e;

	j->tiers.is_patient = http_is_full(j->client->http);
	while ((e = tiers_next(&j->tiers, now_ms, &wake_ms)))
		announce_to(j, e);
	if (wake_ms != INT64_MAX)
		timer_set_ms(&j->timer, wake_ms - now_ms);
	(void)tell_round(j);
}

/* --- what the engine asks for --- */

static void add_urls(struct peersource_job *j)
{
	struct tiers *t = &j->tiers;

	tiers_add(t, j->face->urls, j->face->tier_of, j->face->num_urls);
	for (size_t i = 0; i < t->num; i++)
		t->ladder[i]->job = j;
}

static struct peersource_job *job_start(struct peersource *source,
					struct swarm_face *face)
{
	struct tracker_client *c =
		container_of(source, struct tracker_client, source);
	struct peersource_job *j = mem_alloc(sizeof(*j));
	struct peersource_stats stats = { 0 };
	uint64_t seed;

	loop_assert(c->loop);
	random_bytes(&seed, sizeof(seed));
	j->client = c;
	j->face = face;
	j->key = random_u32();
	face->stats(face, &stats);
	tiers_init(&j->tiers, seed, face->is_private, !stats.left);
	add_urls(j);
	timer_init(&j->timer, c->loop, on_timer);
	list_push_back(&c->jobs, &j->node);
	run_soon(j);
	return j;
}

static void job_on_urls(struct peersource_job *j)
{
	/* Only metadata says so: a magnet learns it now. */
	j->tiers.is_private = j->face->is_private;
	add_urls(j);
	run_soon(j);
}

static void job_on_complete(struct peersource_job *j)
{
	tiers_complete(&j->tiers, loop_now_ms(j->client->loop));
	run_soon(j);
}

static void job_more(struct peersource_job *j)
{
	tiers_more(&j->tiers);
	run_soon(j);
}

static void job_describe(struct peersource_job *j, char *out, size_t size)
{
	status_describe(&j->tiers, loop_now_ms(j->client->loop), out, size);
}

/* --- goodbye --- */

static void farewell_free(struct farewell *f)
{
	struct tracker_client *c = f->client;

	call_cancel(f->call);
	list_remove(&f->node);
	free(f->url);
	free(f);
	if (c->drained && list_is_empty(&c->farewells))
		timer_set_ms(&c->drain, 0);
}

static void on_farewell_answer(void *arg, const struct announce_answer *answer,
			       const struct addr *from, int rank)
{
	/* It heard us; that was all. on_end follows. */
}

static void farewell_say(struct farewell *f);

static void on_farewell_end(void *arg, const struct announce_answer *failure)
{
	struct farewell *f = arg;

	f->call = NULL;
	if (f->request.event == ANNOUNCE_STOPPED) {
		farewell_free(f);
		return;
	}
	f->request.event = ANNOUNCE_STOPPED;
	farewell_say(f);
}

static void farewell_say(struct farewell *f)
{
	struct tracker_client *c = f->client;
	struct call_options o = { .announce = { .id = f->id,
						.id_len = f->id_len,
						.timeout_ms = TIMEOUT_STOP_MS,
						.is_trusted =
							is_trusted(c, f->url) },
				  .knowers = f->knowers,
				  .num_knowers = f->num_knowers };
	struct call_events events = { on_farewell_answer, on_farewell_end, f };

	f->call = call_start(c->caller, f->url, &f->request, &o, &events);
}

static void say_goodbye(struct peersource_job *j, const struct tier_entry *e,
			const struct announce_request *q)
{
	struct farewell *f = mem_alloc(sizeof(*f));
	/* One that is under way may have been heard, and must not count
	 * twice. */
	bool is_owed = e->owes_completed &&
		       !(e->is_busy && e->sent_event == ANNOUNCE_COMPLETED);

	f->client = j->client;
	f->url = mem_strdup(e->url);
	memcpy(f->id, e->id, e->id_len);
	f->id_len = e->id_len;
	memcpy(f->knowers, e->knowers, sizeof(f->knowers));
	f->num_knowers = e->num_knowers;
	f->request = *q;
	f->request.event = is_owed ? ANNOUNCE_COMPLETED : ANNOUNCE_STOPPED;
	f->request.num_want = 0;
	list_push_back(&f->client->farewells, &f->node);
	farewell_say(f);
}

static void job_stop(struct peersource_job *j, bool say)
{
	struct tiers *t = &j->tiers;
	struct announce_request q;

	loop_assert(j->client->loop);
	if (j->gone)
		*j->gone = true;
	timer_stop(&j->timer);
	fill_request(j->client, j, &q);
	for (size_t i = 0; i < t->num; i++) {
		struct tier_entry *e = t->ladder[i];

		call_cancel(e->call);
		/* One that is busy may have heard "started" already. */
		if (say && (e->is_started || e->is_busy))
			say_goodbye(j, e, &q);
	}
	tiers_release(t);
	list_remove(&j->node);
	free(j);
}

static void on_drain(struct timer *timer)
{
	struct tracker_client *c =
		container_of(timer, struct tracker_client, drain);
	void (*drained)(void *arg) = c->drained;

	c->drained = NULL;
	list_foreach_safe(f, &c->farewells, struct farewell, node)
		farewell_free(f);
	drained(c->drained_arg);
}

void tracker_client_drain(struct tracker_client *c, void (*done)(void *arg),
			  void *arg)
{
	loop_assert(c->loop);
	CHECK(!c->drained);
	c->drained = done;
	c->drained_arg = arg;
	timer_set_ms(&c->drain, list_is_empty(&c->farewells) ? 0 : DRAIN_MS);
}

/* --- the client --- */

static const struct peersource_ops ops = {
	.name = "tracker",
	.start = job_start,
	.on_urls = job_on_urls,
	.on_complete = job_on_complete,
	.more = job_more,
	.stop = job_stop,
	.describe = job_describe,
};

struct tracker_client *tracker_client_new(struct loop *loop,
					  struct workers *workers,
					  struct http *http, struct udp *udp,
					  const struct tracker_options *o)
{
	struct tracker_client *c = mem_alloc(sizeof(*c));
	struct overlays_options overlays = { 0 };

	c->source.ops = &ops;
	c->loop = loop;
	c->http = http;
	c->options = *o;
	if (!c->options.num_want)
		c->options.num_want = NUM_WANT;
	c->trusted = mem_alloc_array(o->num_trusted, sizeof(char *));
	for (size_t i = 0; i < o->num_trusted; i++)
		c->trusted[i] = mem_strdup(o->trusted[i]);
	c->announcer =
		announcer_new(loop, workers, http, udp, o->bind4, o->bind6);
	if (o->has_kenosis && udp) {
		overlays.bootstrap = o->overlay;
		overlays.num_bootstrap = o->num_overlay;
		overlays.allow_local = o->allow_local_overlay;
		c->overlays = overlays_new(loop, workers, udp, &overlays);
	}
	c->caller = caller_new(loop, c->announcer, c->overlays);
	c->options.overlay = NULL;
	c->options.bind4 = c->options.bind6 = NULL;
	c->options.trusted = NULL;
	list_init(&c->jobs);
	list_init(&c->farewells);
	timer_init(&c->drain, loop, on_drain);
	return c;
}

void tracker_client_free(struct tracker_client *c)
{
	if (!c)
		return;
	loop_assert(c->loop);
	CHECK(list_is_empty(&c->jobs));
	c->drained = NULL;
	list_foreach_safe(f, &c->farewells, struct farewell, node)
		farewell_free(f);
	timer_stop(&c->drain);
	caller_free(c->caller);
	overlays_free(c->overlays);
	announcer_free(c->announcer);
	for (size_t i = 0; i < c->options.num_trusted; i++)
		free(c->trusted[i]);
	free(c->trusted);
	free(c);
}

struct peersource *tracker_client_source(struct tracker_client *c)
{
	return &c->source;
}

void tracker_client_set_port(struct tracker_client *c, uint16_t port)
{
	c->options.port = port;
}
