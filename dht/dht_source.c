#include "dht/dht_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/random.h"
#include "engine/base/resolve.h"

#define QUEUE_MS      500 /* until a torrent asks again for its turn */
#define ADDRS_OF_NAME 4   /* that are asked */
#define HOST_MAX      256

struct named_node {
	char host[HOST_MAX];
	uint16_t port;
};

struct dht_source {
	struct peersource source;
	struct loop *loop; /* borrowed */
	struct dht *dht;   /* borrowed */
	struct dht_source_options options;
	unsigned num_running, num_jobs;
	/* Names of nodes that torrents gave, looked up one by one. */
	struct named_node *names; /* owned; LIMIT_DHT_NODES, or NULL */
	unsigned num_names;
	struct resolve *resolve; /* NULL: none is under way */
};

struct peersource_job {
	struct dht_source *source;
	struct swarm_face *face; /* borrowed */
	struct dht_schedule schedule;
	struct timer timer;
	struct dht_op *op;            /* NULL: none is under way */
	unsigned num_peers, num_told; /* of the last round */
};

static struct dht_source *source_of(struct peersource *s)
{
	return container_of(s, struct dht_source, source);
}

static void set_timer(struct peersource_job *j)
{
	int64_t now = loop_now_ms(j->source->loop);

	if (j->schedule.next_ms == INT64_MAX)
		timer_stop(&j->timer);
	else
		timer_set_ms(&j->timer, j->schedule.next_ms > now
						? j->schedule.next_ms - now
						: 0);
}

static void on_peers(void *arg, const struct addr *addrs, size_t n)
{
	struct peersource_job *j = arg;

	/* May stop the job; then dht_op_cancel has made it silent. */
	j->face->on_peers(j->face, ORIGIN_DHT, addrs, n);
}

static void on_done(void *arg, const struct dht_result *r)
{
	struct peersource_job *j = arg;
	int64_t now = loop_now_ms(j->source->loop);
	bool is_over = r->answers || j->schedule.nobody;

	j->op = NULL;
	j->source->num_running--;
	j->num_peers = r->num_peers;
	j->num_told = r->num_stored;
	if (r->answers)
		dht_schedule_end(&j->schedule, now, random_u32(),
				 r->num_stored > 0);
	else
		dht_schedule_nobody(&j->schedule, now);
	set_timer(j);
	/* Nobody was there to be asked: perhaps the table has somebody soon.
	 * If not, there is no DHT here. */
	if (is_over)
		j->face->on_round_done(j->face); /* may stop the job */
}

/* --- nodes that torrents name --- */

static void next_name(struct dht_source *s);

static void on_resolved(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why)
{
	struct dht_source *s = arg;

	s->resolve = NULL;
	for (size_t i = 0; !r && i < n && i < ADDRS_OF_NAME; i++)
		dht_suggest(s->dht, &addrs[i]);
	next_name(s);
}

static void next_name(struct dht_source *s)
{
	struct named_node n;

	if (s->resolve || !s->num_names)
		return;
	n = s->names[--s->num_names];
	s->resolve = resolve_start(s->loop, s->options.workers, n.host, n.port,
				   on_resolved, s);
}

/* A name that finds no room comes again with its torrent's next round. */
static void add_name(struct dht_source *s, const struct named_node *n)
{
	if (!s->options.workers || s->num_names == LIMIT_DHT_NODES)
		return;
	for (unsigned i = 0; i < s->num_names; i++) {
		if (s->names[i].port == n->port &&
		    !strcmp(s->names[i].host, n->host))
			return;
	}
	if (!s->names)
		s->names = mem_alloc_array(LIMIT_DHT_NODES, sizeof(*s->names));
	s->names[s->num_names++] = *n;
	next_name(s);
}

/* Asked in each round for as long as there are few others. */
static void hint_nodes(struct peersource_job *j)
{
	struct dht_source *s = j->source;
	const struct swarm_face *face = j->face;

	if (!dht_is_short(s->dht))
		return;
	for (size_t i = 0; i < face->num_nodes && i < LIMIT_DHT_NODES; i++) {
		struct named_node n = { .port = 0 };
		struct addr a;

		if (addr_split(face->nodes[i], n.host, sizeof(n.host), &n.port))
			continue;
		if (!addr_parse(n.host, n.port, &a))
			dht_suggest(s->dht, &a);
		else
			add_name(s, &n);
	}
}

/* --- rounds --- */

static void announce(struct peersource_job *j)
{
	struct dht_source *s = j->source;
	struct peersource_stats stats = { 0 };
	struct dht_get_peers spec = {
		.infohash = j->face->infohash,
		.is_announce = s->options.port || s->options.implied_port,
		.port = s->options.port,
		.implied_port = s->options.implied_port,
		.on_peers = on_peers,
		.on_done = on_done,
		.arg = j,
	};

	j->face->stats(j->face, &stats);
	spec.is_seed = stats.left == 0;
	spec.no_seeds = stats.left == 0 || stats.is_partial_seed;
	hint_nodes(j);
	j->op = dht_get_peers(s->dht, &spec);
	if (j->op)
		s->num_running++;
	else
		dht_schedule_end(&j->schedule, loop_now_ms(s->loop),
				 random_u32(), false);
}

static void on_timer(struct timer *timer)
{
	struct peersource_job *j =
		container_of(timer, struct peersource_job, timer);

	/* A magnet may turn out to be private. */
	if (j->face->is_private)
		return;
	if (j->source->num_running >= LIMIT_DHT_SEARCHES) {
		timer_set_ms(&j->timer, QUEUE_MS + random_u32() % QUEUE_MS);
		return;
	}
	if (dht_schedule_begin(&j->schedule, loop_now_ms(j->source->loop)))
		announce(j);
	set_timer(j);
}

static struct peersource_job *start(struct peersource *source,
				    struct swarm_face *face)
{
	struct dht_source *s = source_of(source);
	struct peersource_job *j;

	if (face->is_private)
		return NULL;
	j = mem_alloc(sizeof(*j));
	j->source = s;
	j->face = face;
	s->num_jobs++;
	timer_init(&j->timer, s->loop, on_timer);
	dht_schedule_init(&j->schedule, loop_now_ms(s->loop));
	set_timer(j);
	return j;
}

static void more(struct peersource_job *j)
{
	dht_schedule_more(&j->schedule, loop_now_ms(j->source->loop));
	if (!j->op)
		set_timer(j);
}

/* There is no goodbye in BEP 5: peers are forgotten in time. */
static void stop(struct peersource_job *j, bool say)
{
	if (j->op)
		j->source->num_running--;
	dht_op_cancel(j->op);
	timer_stop(&j->timer);
	j->source->num_jobs--;
	free(j);
}

static void hint_node(struct peersource *source, const struct addr *addr)
{
	dht_suggest(source_of(source)->dht, addr);
}

static void describe(struct peersource_job *j, char *out, size_t size)
{
	int64_t left = j->schedule.next_ms - loop_now_ms(j->source->loop);
	struct dht_stats stats;
	const char *state = "waiting";
	char next[24] = "null";

	dht_stats(j->source->dht, &stats);
	if (j->face->is_private)
		state = "private";
	else if (j->op)
		state = "announcing";
	else if (!stats.is_well)
		state = "no nodes";
	if (!j->op && !j->face->is_private)
		(void)snprintf(next, sizeof(next), "%lld",
			       (long long)(left > 0 ? left / 1000 : 0));
	(void)snprintf(out, size,
		       "{\"dht\":{\"state\":\"%s\",\"nodes\":%u,\"peers\":%u,"
		       "\"told\":%u,\"next_s\":%s}}",
		       state, stats.good[0] + stats.good[1], j->num_peers,
		       j->num_told, next);
}

static const struct peersource_ops OPS = {
	.name = "dht",
	.start = start,
	/* That it became a seed, the next announce says. */
	.more = more,
	.stop = stop,
	.describe = describe,
	.hint_node = hint_node,
};

struct dht_source *dht_source_new(struct loop *loop, struct dht *dht,
				  const struct dht_source_options *options)
{
	struct dht_source *s = mem_alloc(sizeof(*s));

	s->source.ops = &OPS;
	s->loop = loop;
	s->dht = dht;
	s->options = *options;
	return s;
}

void dht_source_free(struct dht_source *s)
{
	if (!s)
		return;
	CHECK(!s->num_jobs);
	resolve_cancel(s->resolve);
	free(s->names);
	free(s);
}

struct peersource *dht_source_face(struct dht_source *s)
{
	return &s->source;
}
