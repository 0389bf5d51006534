/* Policy.
 * - A tracker keeps its key in the state file, so that it comes back as the
 *   same node, next to the same swarms.
 * - Addresses of private nets count as trackers' where this tracker is on one:
 *   it is bound to such an address or was told to join one, or the machine has
 *   no global address at all.
 * - Going away it says what it has not said yet, for at most LEAVE_MS.
 * - Web threads describe what was written down on the loop, once a second. */
#include "tracker/cluster.h"

#include <errno.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/worker.h"
#include "tracker/overlay/dns_bridge.h"
#include "tracker/overlay/kt_loop.h"
#include "tracker/overlay/sync.h"
#include "tracker/server/http_pages.h"
#include "tracker/server/livesync.h"

#define DESCRIBE_MS   1000
#define LEAVE_MS      8000
#define LEAVE_LOOK_MS 20
#define DNS_PORT      53
#define MEMBERS_SHOWN 64
#define OVERLAY_TAG   'k' /* of transaction ids; the port has no other */

struct cluster {
	const struct tracker_options *options; /* borrowed */
	struct loop *loop;                     /* borrowed */
	struct server *server;                 /* borrowed */
	struct workers *workers;               /* owned */
	uint8_t key[KT_SEED_BYTES];
	struct kt_realm_file realm;
	bool has_realm;
	struct kt_loop *node;   /* owned; NULL: no --domain */
	struct sync *sync;      /* owned, likewise */
	struct dns_bridge *dns; /* owned; NULL: no --dns */
	struct livesync *live;  /* owned; NULL: no --livesync */
	struct timer sync_timer, describe_timer, leave_timer;
	int64_t leave_until_ms;
	void (*on_left)(void *arg);
	void *on_left_arg;

	pthread_mutex_t lock; /* of what web threads read: */
	struct buf json, metrics;
};

bool cluster_is_wanted(const struct tracker_options *options)
{
	return options->domain || options->livesync;
}

/* ---- the node and its copies ---- */

static void set_sync_timer(struct cluster *c)
{
	int64_t wait = sync_next_ms(c->sync) - loop_now_ms(c->loop);

	timer_set_ms(&c->sync_timer, wait > 0 ? wait : 0);
}

static void on_sync_timer(struct timer *timer)
{
	struct cluster *c = container_of(timer, struct cluster, sync_timer);

	sync_tick(c->sync);
	set_sync_timer(c);
}

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct cluster *c = arg;

	/* A datagram that cannot be sent is one that was lost. */
	(void)server_send(c->server, to, bytes, len);
}

static int64_t on_now(void *arg)
{
	return loop_now_ms(((struct cluster *)arg)->loop);
}

static void on_random(void *arg, void *out, size_t len)
{
	random_bytes(out, len);
}

static void on_sync_wake(void *arg)
{
	timer_set_ms(&((struct cluster *)arg)->sync_timer, 0);
}

static void on_change(void *arg)
{
	struct cluster *c = arg;

	if (!c->sync)
		return;
	sync_on_change(c->sync);
	set_sync_timer(c);
}

static void on_overlay(void *arg, const struct addr *from, const uint8_t *bytes,
		       size_t len)
{
	struct cluster *c = arg;

	if (!c->node || !len)
		return;
	if (bytes[0] == 'd') {
		(void)kt_loop_on_packet(c->node, from, bytes, len);
		return;
	}
	sync_on_packet(c->sync, from, bytes, len);
	set_sync_timer(c);
}

static void on_tellings(void *arg, const struct telling *t, size_t n)
{
	struct cluster *c = arg;

	if (c->sync) {
		sync_tell(c->sync, t, n);
		set_sync_timer(c);
	}
	if (c->live)
		livesync_tell(c->live, t, n);
}

/* ---- what is kept ---- */

static void fill_blobs(void *arg, struct statefile_blobs *out)
{
	struct cluster *c = arg;

	if (!c->node)
		return;
	buf_clear(&out->of[STATEFILE_KEY]);
	buf_add(&out->of[STATEFILE_KEY], c->key, sizeof(c->key));
	buf_clear(&out->of[STATEFILE_NODES]);
	kt_save(kt_loop_node(c->node), &out->of[STATEFILE_NODES]);
}

static void read_key(struct cluster *c)
{
	const struct buf *b = &server_blobs(c->server)->of[STATEFILE_KEY];

	if (b->len == sizeof(c->key))
		memcpy(c->key, b->ptr, sizeof(c->key));
	else
		random_bytes(c->key, sizeof(c->key));
	if (!c->options->state)
		log_warn("overlay: without --state this tracker is another one "
			 "after each start");
}

static void read_nodes(struct cluster *c)
{
	const struct buf *b = &server_blobs(c->server)->of[STATEFILE_NODES];

	if (b->len && kt_load(kt_loop_node(c->node), b->ptr, b->len) < 0)
		log_warn("overlay: the nodes of the state file are damaged, "
			 "they are found anew");
}

/* ---- pages ---- */

static void describe_members(struct cluster *c, struct buf *json)
{
	struct kt_owner all[MEMBERS_SHOWN];
	unsigned n = kt_members(kt_loop_node(c->node), all, MEMBERS_SHOWN);
	char hex[2 * KAD_ID_BYTES + 1], text[ADDR_STR_MAX];

	buf_add_str(json, ",\"members\":[");
	for (unsigned i = 0; i < n; i++) {
		if (all[i].is_self) /* it knows no port of its own */
			all[i].addr.port = (uint16_t)c->options->udp_port;
		buf_printf(json,
			   "%s{\"id\":\"%s\",\"addr\":\"%s\",\"self\":%s,"
			   "\"load\":%u,\"uptime_s\":%u}",
			   i ? "," : "",
			   hex_encode(all[i].id.b, KAD_ID_BYTES, hex),
			   addr_str(&all[i].addr, text),
			   all[i].is_self ? "true" : "false", all[i].tr.load,
			   all[i].tr.uptime_s);
	}
	buf_add_str(json, "]");
}

static void describe_overlay(struct cluster *c, struct buf *json,
			     struct buf *metrics)
{
	struct kt *kt = kt_loop_node(c->node);
	char hex[2 * KAD_ID_BYTES + 1], pk[2 * KT_PK_BYTES + 1];
	struct sync_stats s;
	struct kt_stats k;

	kt_stats(kt, &k);
	sync_stats(c->sync, &s);
	buf_printf(
		json,
		",\"overlay\":{\"domain\":\"%s\",\"id\":\"%s\","
		"\"key\":\"%s\",\"nodes\":%u,\"sessions\":%u,"
		"\"suspects\":%u,\"records_out\":%llu,"
		"\"records_in\":%llu,\"news_in\":%llu,"
		"\"oldest_unacked_ms\":%lld",
		c->options->domain, hex_encode(kt_id(kt)->b, KAD_ID_BYTES, hex),
		hex_encode(kt_pk(kt), KT_PK_BYTES, pk), k.good[0] + k.good[1],
		s.sessions, s.suspects, (unsigned long long)s.records_out,
		(unsigned long long)s.records_in, (unsigned long long)s.news_in,
		(long long)s.oldest_unacked_ms);
	describe_members(c, json);
	buf_add_str(json, "}");
	http_metric(metrics, "weir_tracker_overlay_nodes",
		    "trackers known and alive", false, k.good[0] + k.good[1]);
	http_metric(metrics, "weir_tracker_sync_sessions",
		    "other owners in touch", false, s.sessions);
	http_metric(metrics, "weir_tracker_sync_suspects",
		    "other owners that are silent", false, s.suspects);
	http_metric(metrics, "weir_tracker_sync_oldest_unacked_ms",
		    "age of what was told and not acknowledged", false,
		    (uint64_t)s.oldest_unacked_ms);
	http_metric(metrics, "weir_tracker_sync_records_out_total",
		    "peers told to owners", true, s.records_out);
	http_metric(metrics, "weir_tracker_sync_records_in_total",
		    "peers told by owners", true, s.records_in);
	http_metric(metrics, "weir_tracker_sync_bytes_out_total", "bytes of it",
		    true, s.bytes_out);
	http_metric(metrics, "weir_tracker_sync_refused_total",
		    "records of who had no right to them", true, s.refused);
	http_metric(metrics, "weir_tracker_overlay_queries_total",
		    "queries answered", true, k.answers_out);
}

static void describe_dns(struct cluster *c, struct buf *json,
			 struct buf *metrics)
{
	struct dns_bridge_stats d;

	dns_bridge_stats(c->dns, &d);
	buf_printf(json, ",\"dns\":{\"malformed\":%llu,\"limited\":%llu}",
		   (unsigned long long)d.malformed,
		   (unsigned long long)d.limited);
	http_metric(metrics, "weir_tracker_dns_malformed_total",
		    "DNS packets not understood", true, d.malformed);
	http_metric(metrics, "weir_tracker_dns_limited_total",
		    "DNS questions over the limit", true, d.limited);
}

static void describe_live(struct cluster *c, struct buf *json,
			  struct buf *metrics)
{
	struct livesync_stats l;

	livesync_stats(c->live, &l);
	buf_printf(json,
		   ",\"livesync\":{\"records_out\":%llu,\"records_in\":%llu,"
		   "\"strangers\":%llu}",
		   (unsigned long long)l.records_out,
		   (unsigned long long)l.records_in,
		   (unsigned long long)l.strangers);
	http_metric(metrics, "weir_tracker_livesync_records_out_total",
		    "peers multicast", true, l.records_out);
	http_metric(metrics, "weir_tracker_livesync_records_in_total",
		    "peers heard of", true, l.records_in);
	http_metric(metrics, "weir_tracker_livesync_strangers_total",
		    "datagrams of who is not believed", true, l.strangers);
}

static void on_describe(struct timer *timer)
{
	struct cluster *c = container_of(timer, struct cluster, describe_timer);

	pthread_mutex_lock(&c->lock);
	buf_clear(&c->json);
	buf_clear(&c->metrics);
	if (c->node)
		describe_overlay(c, &c->json, &c->metrics);
	if (c->dns)
		describe_dns(c, &c->json, &c->metrics);
	if (c->live)
		describe_live(c, &c->json, &c->metrics);
	pthread_mutex_unlock(&c->lock);
	timer_set_ms(timer, DESCRIBE_MS);
}

static void describe_json(void *arg, struct buf *out)
{
	struct cluster *c = arg;

	pthread_mutex_lock(&c->lock);
	if (c->json.len) /* without the comma before the first */
		buf_add(out, c->json.ptr + 1, c->json.len - 1);
	pthread_mutex_unlock(&c->lock);
}

static void describe_metrics(void *arg, struct buf *out)
{
	struct cluster *c = arg;

	pthread_mutex_lock(&c->lock);
	buf_add(out, c->metrics.ptr, c->metrics.len);
	pthread_mutex_unlock(&c->lock);
}

/* ---- set-up ---- */

static bool has_global_address(void)
{
	struct ifaddrs *all, *i;
	bool has = false;

	if (getifaddrs(&all))
		return true;
	for (i = all; i && !has; i = i->ifa_next) {
		struct addr a;
		bool is_v6 = i->ifa_addr && i->ifa_addr->sa_family == AF_INET6;
		bool is_v4 = i->ifa_addr && i->ifa_addr->sa_family == AF_INET;

		if ((!is_v4 && !is_v6) ||
		    !addr_from_sockaddr(&a, i->ifa_addr,
					is_v6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in)))
			continue;
		a.port = 1;
		has = !addr_is_local(&a) && !addr_is_martian(&a);
	}
	freeifaddrs(all);
	return has;
}

static bool allows_local(const struct tracker_options *o)
{
	struct addr a;

	for (unsigned i = 0; i < o->binds.num; i++) {
		if (addr_is_local(&o->binds.at[i]))
			return true;
	}
	for (unsigned i = 0; i < o->joins.num; i++) {
		if (!addr_parse(o->joins.at[i], 1, &a) && addr_is_local(&a))
			return true;
	}
	return !has_global_address();
}

static bool has_family(const struct tracker_options *o, uint8_t family)
{
	for (unsigned i = 0; i < o->binds.num; i++) {
		if (o->binds.at[i].family == family)
			return true;
	}
	return false;
}

/* Bound to one address, that is who we are. */
static struct addr external(const struct tracker_options *o, uint8_t family)
{
	struct addr a = { 0 };

	for (unsigned i = 0; i < o->externals.num; i++) {
		if (o->externals.at[i].family == family)
			return o->externals.at[i];
	}
	for (unsigned i = 0; i < o->binds.num; i++) {
		const struct addr *b = &o->binds.at[i];

		if (b->family != family || addr_is_unspecified(b))
			continue;
		if (a.family)
			return (struct addr){ 0 };
		a = *b;
	}
	return a;
}

static int read_realm(struct cluster *c, char why[SERVER_WHY_SIZE])
{
	if (!c->options->realm_key)
		return 0;
	c->has_realm = true;
	return kt_realm_file_read(c->options->realm_key, &c->realm, why,
				  SERVER_WHY_SIZE);
}

static void make_node(struct cluster *c)
{
	const struct tracker_options *o = c->options;
	struct kt_loop_options node = {
		.domain = o->domain,
		.v4 = has_family(o, 4),
		.v6 = has_family(o, 6),
		.allow_local = allows_local(o),
		.self = { .http_port =
				  o->is_http_off ? 0 : (uint16_t)o->http_port,
			  .https_port = (uint16_t)o->https_port,
			  .udp_port = (uint16_t)o->udp_port },
		.external4 = external(o, 4),
		.external6 = external(o, 6),
		.key = c->key,
		.realm = c->has_realm ? &c->realm : NULL,
		.bootstrap = o->joins.at,
		.num_bootstrap = o->joins.num,
		.port = (uint16_t)o->port,
		.tag = OVERLAY_TAG,
		.send = on_send,
		.on_change = on_change,
		.arg = c,
	};
	struct sync_io io = { .send = on_send,
			      .now = on_now,
			      .random = on_random,
			      .wake = on_sync_wake,
			      .arg = c };
	struct sync_options sync = { .swarms = server_swarms(c->server),
				     .key = c->key };
	char hex[2 * KT_PK_BYTES + 1];

	c->node = kt_loop_new(c->loop, c->workers, &node);
	read_nodes(c);
	sync.kt = kt_loop_node(c->node);
	c->sync = sync_new(&io, &sync);
	log_info("overlay domain=%s key=%s", o->domain,
		 hex_encode(kt_pk(sync.kt), KT_PK_BYTES, hex));
}

int cluster_new(struct loop *loop, const struct tracker_options *options,
		struct server *server, struct cluster **out,
		char why[SERVER_WHY_SIZE])
{
	struct cluster *c = mem_alloc(sizeof(*c));
	int r;

	*out = NULL;
	c->options = options;
	c->loop = loop;
	c->server = server;
	pthread_mutex_init(&c->lock, NULL);
	buf_init(&c->json, 0);
	buf_init(&c->metrics, 0);
	timer_init(&c->sync_timer, loop, on_sync_timer);
	timer_init(&c->describe_timer, loop, on_describe);
	r = read_realm(c, why);
	if (!r && options->domain) {
		c->workers = workers_new(loop);
		if (!c->workers) {
			snprintf(why, SERVER_WHY_SIZE,
				 "no thread can be started");
			r = -EAGAIN;
		}
	}
	if (r) {
		cluster_free(c);
		return r;
	}
	*out = c;
	return 0;
}

void cluster_plug(struct cluster *c, struct server_plugs *plugs)
{
	*plugs = (struct server_plugs){ .on_overlay = on_overlay,
					.on_tellings = on_tellings,
					.fill_blobs = fill_blobs,
					.describe_json = describe_json,
					.describe_metrics = describe_metrics,
					.arg = c };
}

/* A tracker that nobody would let in says so at once. */
static int check_realm(struct cluster *c, char why[SERVER_WHY_SIZE])
{
	char what[384];
	int r;

	if (!c->has_realm)
		return 0;
	r = kt_realm_file_check(&c->realm, c->options->domain,
				kt_pk(kt_loop_node(c->node)), clock_wall_s(),
				what, sizeof(what));
	if (r)
		snprintf(why, SERVER_WHY_SIZE, "--realm-key %s: %s",
			 c->options->realm_key, what);
	return r;
}

static int start_dns(struct cluster *c, char why[SERVER_WHY_SIZE])
{
	struct dns_bridge_options o = { .domain = c->options->domain,
					.port = (uint16_t)c->options->port,
					.self4 = external(c->options, 4),
					.self6 = external(c->options, 6) };
	struct addr on;
	int r;

	if (addr_parse(c->options->dns, DNS_PORT, &on) < 0) {
		snprintf(why, SERVER_WHY_SIZE,
			 "--dns %s: must be ADDRESS or ADDRESS:PORT",
			 c->options->dns);
		return -EINVAL;
	}
	c->dns = dns_bridge_new(c->loop, kt_loop_node(c->node), &o);
	r = dns_bridge_listen(c->dns, &on, NULL);
	if (r < 0)
		snprintf(why, SERVER_WHY_SIZE, "--dns %s: %s%s",
			 c->options->dns, strerror(-r),
			 r == -EACCES ? ": ports below 1024 are root's" : "");
	return r;
}

static int start_live(struct cluster *c, char why[SERVER_WHY_SIZE])
{
	struct livesync_options o = { .swarms = server_swarms(c->server),
				      .access = server_access(c->server),
				      .sources = c->options->livesync_from.at,
				      .num_sources =
					      c->options->livesync_from.num,
				      .is_v4_mapped =
					      c->options->is_livesync_mapped };
	struct subnet own;

	if (addr_parse(c->options->livesync, LIVESYNC_PORT, &o.bind) < 0) {
		snprintf(why, SERVER_WHY_SIZE,
			 "--livesync %s: must be the address of an interface",
			 c->options->livesync);
		return -EINVAL;
	}
	if (!o.num_sources) { /* the interface's own /24 */
		own = (struct subnet){ .base = o.bind, .bits = 24 };
		o.sources = &own;
		o.num_sources = 1;
	}
	return livesync_start(c->loop, &o, &c->live, why, SERVER_WHY_SIZE);
}

int cluster_start(struct cluster *c, char why[SERVER_WHY_SIZE])
{
	int r = 0;

	if (c->options->domain) {
		read_key(c);
		make_node(c);
		set_sync_timer(c);
		r = check_realm(c, why);
	}
	if (!r && c->options->dns)
		r = start_dns(c, why);
	if (!r && c->options->livesync)
		r = start_live(c, why);
	if (!r)
		timer_set_ms(&c->describe_timer, 0);
	return r;
}

/* ---- the end ---- */

static void on_leave_timer(struct timer *timer)
{
	struct cluster *c = container_of(timer, struct cluster, leave_timer);

	if ((!c->sync || sync_is_idle(c->sync)) ||
	    loop_now_ms(c->loop) >= c->leave_until_ms)
		c->on_left(c->on_left_arg);
	else
		timer_set_ms(timer, LEAVE_LOOK_MS);
}

void cluster_leave(struct cluster *c, void (*done)(void *arg), void *arg)
{
	c->on_left = done;
	c->on_left_arg = arg;
	c->leave_until_ms = loop_now_ms(c->loop) + LEAVE_MS;
	if (c->sync) {
		sync_leave(c->sync);
		set_sync_timer(c);
	}
	timer_init(&c->leave_timer, c->loop, on_leave_timer);
	timer_set_ms(&c->leave_timer, LEAVE_LOOK_MS);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	timer_stop(&c->sync_timer);
	timer_stop(&c->describe_timer);
	timer_stop(&c->leave_timer);
	livesync_stop(c->live);
	dns_bridge_free(c->dns);
	sync_free(c->sync);
	kt_loop_free(c->node);
	workers_free(c->workers);
	buf_release(&c->json);
	buf_release(&c->metrics);
	pthread_mutex_destroy(&c->lock);
	memset(c->key, 0, sizeof(c->key));
	free(c);
}
