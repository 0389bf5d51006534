/* Order of life: lists, state (so that the first client is answered from all of
 * it), ports, timers. The clock of the store ticks once a second. A save runs
 * on a worker, one at a time; the last one when nobody is answered any more.
 *
 * A state file of which neither generation is good is moved away, not written
 * over: somebody may want to look at it, and the tracker works without. */
#include "tracker/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/worker.h"
#include "tracker/server/packets.h"
#include "tracker/server/server_stats.h"
#include "tracker/server/web.h"

#define TICK_MS      1000
#define RATE_BURST_S 4 /* seconds of the rate that may come at once */
#define TTL_MIN_MIN  3

struct server {
	struct loop *loop;                     /* borrowed */
	const struct tracker_options *options; /* borrowed */
	struct server_plugs plugs;
	struct tracker_policy policy; /* its pointers are ours, below */
	struct swarms *swarms;
	struct access_list *access;
	struct tellq *tellq; /* NULL: nobody to tell */
	struct packets *packets;
	struct web *web;
	struct workers *workers; /* NULL: nothing is saved */
	struct timer tick, save_due;
	struct option_addrs binds; /* of the options, those that can be had */
	struct addr udp_binds[OPTIONS_BINDS_MAX];
	struct addr http_binds[OPTIONS_BINDS_MAX];
	struct addr tls_binds[OPTIONS_BINDS_MAX];

	struct job save;
	bool is_saving; /* the worker's: BLOBS, SAVE_RESULT, SAVE_WHY */
	struct statefile_blobs blobs;
	int save_result;
	char save_why[SERVER_WHY_SIZE];
	struct server_facts facts; /* for pages */
};

/* --- the state file --- */

/* Whoever saves must be able to make files beside it. */
static int check_folder(const char *path, char why[SERVER_WHY_SIZE])
{
	char *copy = mem_strdup(path);
	const char *folder = dirname(copy);
	int r = 0;

	if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS))
		r = -errno;
	if (r == -ENOENT)
		snprintf(why, SERVER_WHY_SIZE,
			 "%s: there is no folder %s; make it, or give another "
			 "--state",
			 path, folder);
	else if (r)
		snprintf(why, SERVER_WHY_SIZE,
			 "%s: files cannot be made in %s: %s", path, folder,
			 strerror(-r));
	free(copy);
	return r;
}

static int set_aside(const char *path, const char *reason,
		     char why[SERVER_WHY_SIZE])
{
	char *aside = mem_printf("%s.bad", path);
	int r = rename(path, aside) && errno != ENOENT ? -errno : 0;

	if (r)
		snprintf(why, SERVER_WHY_SIZE, "%s: %s", aside, strerror(-r));
	else
		log_error("state lost: %s; kept as %s, beginning anew", reason,
			  aside);
	free(aside);
	return r;
}

static int load_state(struct server *s, char why[SERVER_WHY_SIZE])
{
	const char *path = s->options->state;
	int64_t start = clock_now_ms();
	struct statefile_loaded l;
	char reason[SERVER_WHY_SIZE];
	int r = check_folder(path, why);

	if (r)
		return r;
	r = statefile_load(path, s->swarms, &s->blobs, clock_wall_s(), &l, why,
			   SERVER_WHY_SIZE);
	if (r == -ENOENT) {
		log_info("no state yet file=%s", path);
		return 0;
	}
	if (r == -EBADMSG) {
		snprintf(reason, sizeof(reason), "%s", why);
		return set_aside(path, reason, why);
	}
	if (r)
		return r;
	if (l.is_previous)
		log_warn("the state of one save earlier is used: %s", why);
	log_info("state loaded file=%s torrents=%" PRIu64 " peers=%" PRIu64
		 " expired=%" PRIu64 " ms=%" PRId64,
		 path, l.torrents, l.peers, l.expired, clock_now_ms() - start);
	return 0;
}

static void run_save(struct job *job)
{
	struct server *s = container_of(job, struct server, save);

	s->save_result = statefile_save(s->options->state, s->swarms, &s->blobs,
					clock_wall_s(), s->save_why,
					sizeof(s->save_why));
}

static void on_saved(struct job *job)
{
	struct server *s = container_of(job, struct server, save);

	s->is_saving = false;
	server_facts_saved(&s->facts, s->save_result, clock_wall_s());
	if (s->save_result)
		log_error("state not saved: %s", s->save_why);
	else
		log_debug("state saved file=%s", s->options->state);
}

static void fill_blobs(struct server *s)
{
	if (!s->plugs.fill_blobs)
		return; /* what was loaded is kept */
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_clear(&s->blobs.of[i]);
	s->plugs.fill_blobs(s->plugs.arg, &s->blobs);
}

static void on_save_due(struct timer *timer)
{
	struct server *s = container_of(timer, struct server, save_due);

	timer_set_ms(timer, (int64_t)s->options->save_every_s * 1000);
	if (s->is_saving)
		return;
	fill_blobs(s);
	s->is_saving = true;
	worker_submit(s->workers, LANE_STATE, &s->save);
}

/* --- making it --- */

static void fill_policy(struct server *s)
{
	const struct tracker_options *o = s->options;
	struct tracker_policy *p = &s->policy;

	p->swarms = s->swarms;
	p->access = s->access;
	p->domain = o->domain;
	p->interval_s = (unsigned)o->interval_s;
	p->min_interval_s = (unsigned)o->min_interval_s;
	p->num_want = (unsigned)o->num_want;
	p->max_want = (unsigned)o->max_want;
	p->limit = subnet_limit_new((unsigned)o->rate,
				    (unsigned)o->rate * RATE_BURST_S);
	p->limits_private = o->limits_private;
	p->num_proxies = o->proxies.num;
	memcpy(p->proxies, o->proxies.at, sizeof(p->proxies));
	p->allows_full_scrape = o->allows_full_scrape;
	p->is_access_logged = o->is_access_logged;
}

static struct swarms *make_swarms(const struct tracker_options *o)
{
	struct swarms_options so = {
		.max_bytes = o->max_memory,
		.max_torrents = (unsigned)o->max_torrents,
		.ttl_min = (unsigned)(o->interval_s * 3 / 2 + 59) / 60,
		.is_replicated = o->domain || o->livesync,
	};

	if (so.ttl_min < TTL_MIN_MIN)
		so.ttl_min = TTL_MIN_MIN;
	if (so.ttl_min > LIMIT_SWARM_TTL_MIN)
		so.ttl_min = LIMIT_SWARM_TTL_MIN;
	random_bytes(so.seed, sizeof(so.seed));
	return swarms_new(&so, clock_now_ms());
}

static struct access_list *make_access(const struct tracker_options *o,
				       char why[SERVER_WHY_SIZE])
{
	if (o->allow)
		return access_new(ACCESS_ALLOW, o->allow, why, SERVER_WHY_SIZE);
	if (o->deny)
		return access_new(ACCESS_DENY, o->deny, why, SERVER_WHY_SIZE);
	return access_new(ACCESS_ALL, NULL, why, SERVER_WHY_SIZE);
}

int server_new(struct loop *loop, const struct tracker_options *options,
	       struct server **out, char why[SERVER_WHY_SIZE])
{
	struct server *s = mem_alloc(sizeof(*s));
	int r = 0;

	s->loop = loop;
	s->options = options;
	s->save.run = run_save;
	s->save.done = on_saved;
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_init(&s->blobs.of[i], 0);
	server_facts_init(&s->facts, clock_now_ms());
	s->swarms = make_swarms(options);
	s->access = make_access(options, why);
	if (!s->access)
		r = -EINVAL;
	if (!r && options->state)
		r = load_state(s, why);
	if (r) {
		server_free(s);
		return r;
	}
	fill_policy(s);
	*out = s;
	return 0;
}

const struct statefile_blobs *server_blobs(const struct server *s)
{
	return &s->blobs;
}

struct swarms *server_swarms(struct server *s)
{
	return s->swarms;
}

struct access_list *server_access(struct server *s)
{
	return s->access;
}

/* --- ports --- */

static void with_port(const struct option_addrs *from, uint64_t port,
		      struct addr *to)
{
	for (unsigned i = 0; i < from->num; i++) {
		to[i] = from->at[i];
		to[i].port = (uint16_t)port;
	}
}

static bool has_ipv6(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_good =
		fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof(any));

	if (fd >= 0)
		close(fd);
	return is_good;
}

/* IPv6 is not missed where nobody asked for it. */
static void choose_binds(struct server *s)
{
	s->binds = s->options->binds;
	if (s->options->are_binds_given || has_ipv6())
		return;
	log_warn("no IPv6 on this machine, IPv4 alone");
	s->binds.num = 1;
}

/* What a person can do about it. */
static void advise(int r, char why[SERVER_WHY_SIZE])
{
	size_t len = strlen(why);
	const char *advice = "";

	if (r == -EADDRINUSE)
		advice = "; another program has that port: end it, or take "
			 "another with --port N";
	else if (r == -EACCES)
		advice = "; ports below 1024 are for root (add --user NAME) or "
			 "CAP_NET_BIND_SERVICE";
	else if (r == -EADDRNOTAVAIL)
		advice = "; this machine does not have that address: see "
			 "--bind";
	snprintf(why + len, SERVER_WHY_SIZE - len, "%s", advice);
}

static void log_web_ports(struct server *s, bool is_tls, unsigned num)
{
	char text[ADDR_STR_MAX];
	struct addr a;

	for (unsigned i = 0; i < num; i++) {
		web_bound(s->web, is_tls, i, &a);
		log_info("listening %s=%s", is_tls ? "https" : "http",
			 addr_str(&a, text));
	}
}

static int start_web(struct server *s, char why[SERVER_WHY_SIZE])
{
	const struct tracker_options *o = s->options;
	struct web_options wo = {
		.policy = &s->policy,
		.binds = s->http_binds,
		.tls_binds = s->tls_binds,
		.num_binds = o->is_http_off ? 0 : s->binds.num,
		.num_tls_binds = o->https_port ? s->binds.num : 0,
		.cert_path = o->cert,
		.key_path = o->key,
		.threads = (unsigned)o->threads,
		.describe_json = server_facts_json,
		.describe_metrics = server_facts_metrics,
		.stats_from = o->stats_from.at,
		.num_stats_from = o->stats_from.num,
		.arg = &s->facts,
	};
	int r;

	if (!wo.num_binds && !wo.num_tls_binds)
		return 0;
	with_port(&s->binds, o->http_port, s->http_binds);
	with_port(&s->binds, o->https_port, s->tls_binds);
	r = web_start(s->loop, &wo, &s->web, why, SERVER_WHY_SIZE);
	if (r)
		return r;
	log_web_ports(s, false, (unsigned)wo.num_binds);
	log_web_ports(s, true, (unsigned)wo.num_tls_binds);
	return 0;
}

static int start_packets(struct server *s, char why[SERVER_WHY_SIZE])
{
	const struct tracker_options *o = s->options;
	struct packets_options po = {
		.policy = &s->policy,
		.binds = s->udp_binds,
		.num_binds = s->binds.num,
		.threads = (unsigned)o->threads,
		.on_overlay = s->plugs.on_overlay,
		.arg = s->plugs.arg,
	};
	char text[ADDR_STR_MAX];
	struct addr a;
	int r;

	if (o->is_udp_off)
		return 0;
	with_port(&s->binds, o->udp_port, s->udp_binds);
	r = packets_start(s->loop, &po, &s->packets, why, SERVER_WHY_SIZE);
	for (unsigned i = 0; !r && i < s->binds.num; i++) {
		packets_address(s->packets, i, &a);
		log_info("listening udp=%s", addr_str(&a, text));
	}
	return r;
}

static void on_tick(struct timer *timer)
{
	struct server *s = container_of(timer, struct server, tick);

	timer_set_ms(timer, TICK_MS);
	swarms_tick(s->swarms, clock_now_ms());
	if (s->options->is_access_logged)
		(void)fflush(stdout); /* nobody can do anything about it */
}

int server_start(struct server *s, const struct server_plugs *plugs,
		 char why[SERVER_WHY_SIZE])
{
	int r;

	s->plugs = *plugs;
	choose_binds(s);
	if (plugs->on_tellings) {
		s->tellq = tellq_new(s->loop, plugs->on_tellings, plugs->arg);
		s->policy.tellq = s->tellq;
	}
	r = start_packets(s, why);
	s->facts.packets = s->packets;
	s->facts.access = s->access;
	s->facts.tellq = s->tellq;
	s->facts.plugs = &s->plugs;
	if (!r)
		r = start_web(s, why);
	if (!r && s->options->state && !(s->workers = workers_new(s->loop))) {
		snprintf(why, SERVER_WHY_SIZE, "no more threads to be had");
		r = -EAGAIN;
	}
	if (r) {
		advise(r, why);
		return r;
	}
	timer_init(&s->tick, s->loop, on_tick);
	timer_set_ms(&s->tick, TICK_MS);
	timer_init(&s->save_due, s->loop, on_save_due);
	if (s->workers)
		timer_set_ms(&s->save_due,
			     (int64_t)s->options->save_every_s * 1000);
	return 0;
}

int server_check_state(const struct server *s, char why[SERVER_WHY_SIZE])
{
	return s->options->state ? check_folder(s->options->state, why) : 0;
}

int server_send(struct server *s, const struct addr *to, const void *bytes,
		size_t len)
{
	return s->packets ? packets_send(s->packets, to, bytes, len)
			  : -ENOTCONN;
}

/* --- reload --- */

struct unwanted {
	const struct access_list *access;
	struct infohash *hashes; /* owned */
	size_t num, room;
};

static void find_unwanted(void *arg, const struct swarm_view *v)
{
	struct unwanted *u = arg;

	if (access_allows(u->access, v->infohash))
		return;
	if (u->num == u->room) {
		u->room = u->room ? u->room * 2 : 64;
		u->hashes = mem_realloc_array(u->hashes, u->room,
					      sizeof(*u->hashes));
	}
	u->hashes[u->num++] = *v->infohash;
}

static size_t drop_unwanted(struct server *s)
{
	struct unwanted u = { .access = s->access };
	size_t dropped = 0;

	for (unsigned shard = 0; shard < SWARMS_SHARDS; shard++) {
		u.num = 0;
		swarms_visit(s->swarms, shard, find_unwanted, &u);
		for (size_t i = 0; i < u.num; i++)
			swarms_drop(s->swarms, &u.hashes[i]);
		dropped += u.num;
	}
	free(u.hashes);
	return dropped;
}

void server_reload(struct server *s)
{
	char why[SERVER_WHY_SIZE];
	size_t dropped;

	if (s->options->allow || s->options->deny) {
		if (access_reload(s->access, why, sizeof(why))) {
			log_error("list not read again: %s", why);
		} else {
			dropped = drop_unwanted(s);
			log_info("list read again entries=%zu "
				 "torrents_dropped=%zu",
				 access_count(s->access), dropped);
		}
	}
	if (!s->options->https_port)
		return;
	if (web_reload_tls(s->web, why, sizeof(why)))
		log_error("certificate not read again: %s", why);
	else
		log_info("certificate read again");
}

void server_log_stats(struct server *s)
{
	server_facts_log(&s->facts, s->swarms, s->web);
}

/* --- the end --- */

void server_leave(struct server *s)
{
	atomic_store(&s->policy.is_leaving, true);
}

static void save_last(struct server *s)
{
	char why[SERVER_WHY_SIZE];
	int r;

	fill_blobs(s);
	r = statefile_save(s->options->state, s->swarms, &s->blobs,
			   clock_wall_s(), why, sizeof(why));
	if (r)
		log_error("state not saved: %s", why);
	else
		log_info("state saved file=%s", s->options->state);
}

void server_free(struct server *s)
{
	bool was_started;

	if (!s)
		return;
	was_started = s->workers != NULL;
	server_leave(s);
	timer_stop(&s->tick);
	timer_stop(&s->save_due);
	packets_stop(s->packets);
	web_stop(s->web);
	tellq_free(s->tellq);
	if (was_started) {
		workers_free(s->workers);
		loop_run_once(s->loop, 0); /* on_saved, if it was under way */
		save_last(s);
	}
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_release(&s->blobs.of[i]);
	subnet_limit_free(s->policy.limit);
	access_free(s->access);
	swarms_free(s->swarms);
	free(s);
}
