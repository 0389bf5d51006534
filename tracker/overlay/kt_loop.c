/*
 * Names: the node says when it wants nodes, at growing intervals (kt.c), and
 * each time every name is looked up anew: trackers move.
 *
 * Certificates: who holds the realm's secret signs one for its own key at the
 * start, good for CERT_S, and another one each day, so that a wall clock that
 * is set later does no lasting harm. A certificate that was given is renewed by
 * people, who are warned in time.
 */
#include "tracker/overlay/kt_loop.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/resolve.h"

#define PORT_DEFAULT  6969
#define HOST_MAX      256
#define ADDRS_OF_NAME 8 /* that are asked: root.DOMAIN has several */
#define DAY_MS        (24 * 60 * 60 * 1000)
#define CERT_S        (30 * 24 * 60 * 60)
#define CERT_WARN_S   (7 * 24 * 60 * 60)

struct host {
	struct kt_loop *loop;
	char name[HOST_MAX];
	uint16_t port;
	struct resolve *resolve; /* NULL: none is under way */
};

struct kt_loop {
	struct loop *loop;       /* borrowed */
	struct workers *workers; /* borrowed */
	struct kt *kt;           /* owned */
	struct timer timer, daily;
	struct udp_tap tap;
	bool is_tapping;
	struct host *hosts; /* owned */
	size_t num_hosts;
	struct kt_realm_file realm;
	uint8_t realm_tag[KT_REALM_BYTES];
	void (*send)(void *arg, const struct addr *to, const uint8_t *bytes,
		     size_t len);
	void (*on_change)(void *arg);
	void *arg; /* borrowed */
	struct log_limit log_limit;
};

/* --- what the node asks --- */

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct kt_loop *l = arg;

	l->send(l->arg, to, bytes, len);
}

static int64_t on_now(void *arg)
{
	return loop_now_ms(((struct kt_loop *)arg)->loop);
}

static void on_random(void *arg, void *out, size_t len)
{
	random_bytes(out, len);
}

static int64_t on_wall(void *arg)
{
	return clock_wall_s();
}

static void set_timer(struct kt_loop *l)
{
	int64_t wait = kt_next_ms(l->kt) - loop_now_ms(l->loop);

	timer_set_ms(&l->timer, wait > 0 ? wait : 0);
}

static void on_wake(void *arg)
{
	struct kt_loop *l = arg;

	if (l->kt)
		timer_set_ms(&l->timer, 0);
}

static void on_changed(void *arg)
{
	struct kt_loop *l = arg;

	if (l->on_change)
		l->on_change(l->arg);
}

static void on_timer(struct timer *timer)
{
	struct kt_loop *l = container_of(timer, struct kt_loop, timer);

	kt_tick(l->kt);
	set_timer(l);
}

bool kt_loop_on_packet(struct kt_loop *l, const struct addr *from,
		       const uint8_t *bytes, size_t len)
{
	if (!kt_on_packet(l->kt, from, bytes, len))
		return false;
	set_timer(l);
	return true;
}

static bool on_tap(struct udp_tap *tap, const struct addr *from,
		   const uint8_t *bytes, size_t len)
{
	return kt_loop_on_packet(container_of(tap, struct kt_loop, tap), from,
				 bytes, len);
}

void kt_loop_tap(struct kt_loop *l, struct udp *udp)
{
	l->tap.take = on_tap;
	l->is_tapping = true;
	udp_add_tap(udp, &l->tap);
}

/* --- names --- */

static void on_resolved(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why)
{
	struct host *h = arg;
	struct kt_loop *l = h->loop;

	h->resolve = NULL;
	if (r) {
		if (log_limit_ok(&l->log_limit, loop_now_ms(l->loop)))
			log_info("overlay: bootstrap host=%s: %s", h->name,
				 why);
		return;
	}
	kt_bootstrap(l->kt, addrs, n < ADDRS_OF_NAME ? n : ADDRS_OF_NAME);
}

static void on_want_nodes(void *arg)
{
	struct kt_loop *l = arg;

	for (size_t i = 0; i < l->num_hosts; i++) {
		struct host *h = &l->hosts[i];

		if (!h->resolve)
			h->resolve = resolve_start(l->loop, l->workers, h->name,
						   h->port, on_resolved, h);
	}
}

static void add_host(struct kt_loop *l, const char *name, uint16_t port)
{
	struct host *h = &l->hosts[l->num_hosts];

	h->loop = l;
	h->port = port ? port : PORT_DEFAULT;
	if (addr_split(name, h->name, sizeof(h->name), &h->port))
		log_warn("overlay: not HOST:PORT: %s", name);
	else
		l->num_hosts++;
}

static void add_hosts(struct kt_loop *l, const struct kt_loop_options *o)
{
	size_t n = o->bootstrap ? o->num_bootstrap : 1;
	char root[5 + KT_DOMAIN_BYTES];

	if (n > LIMIT_KT_BOOTSTRAP)
		n = LIMIT_KT_BOOTSTRAP;
	l->hosts = mem_alloc_array(n ? n : 1, sizeof(*l->hosts));
	for (size_t i = 0; i < n && o->bootstrap; i++)
		add_host(l, o->bootstrap[i], o->port);
	if (o->bootstrap)
		return;
	snprintf(root, sizeof(root), "root.%s", o->domain);
	add_host(l, root, o->port);
}

/* --- who we are --- */

/* The only global address that an interface of ours has: then there is no NAT,
 * and nobody needs to be asked. */
static void guess_external(struct addr *out, int family)
{
	struct ifaddrs *all, *i;
	unsigned num = 0;

	if (out->family || getifaddrs(&all))
		return;
	for (i = all; i; i = i->ifa_next) {
		struct addr a;
		socklen_t len = family == 4 ? sizeof(struct sockaddr_in)
					    : sizeof(struct sockaddr_in6);

		if (!i->ifa_addr ||
		    i->ifa_addr->sa_family !=
			    (family == 4 ? AF_INET : AF_INET6) ||
		    !addr_from_sockaddr(&a, i->ifa_addr, len))
			continue;
		a.port = 1;
		if (addr_is_local(&a) || addr_is_martian(&a))
			continue;
		num++;
		a.port = 0;
		*out = a;
	}
	freeifaddrs(all);
	if (num != 1)
		*out = (struct addr){ 0 };
}

static void certify(struct kt_loop *l)
{
	uint8_t cert[KT_CERT_BYTES];
	struct kt_key key;

	if (l->realm.has_secret) {
		kt_key_init(&key, l->realm.secret);
		kt_cert_make(&key, l->realm_tag, kt_pk(l->kt),
			     clock_wall_s() + CERT_S, cert);
		kt_key_release(&key);
		kt_set_cert(l->kt, cert, sizeof(cert));
		return;
	}
	if (!l->realm.has_cert)
		return;
	if ((int64_t)load_be64(l->realm.cert) < clock_wall_s() + CERT_WARN_S)
		log_warn("overlay: the certificate of this tracker ends "
			 "within a week, or has ended");
	kt_set_cert(l->kt, l->realm.cert, sizeof(l->realm.cert));
}

static void on_daily(struct timer *timer)
{
	struct kt_loop *l = container_of(timer, struct kt_loop, daily);

	certify(l);
	timer_set_ms(timer, DAY_MS);
}

/* --- life --- */

struct kt_loop *kt_loop_new(struct loop *loop, struct workers *workers,
			    const struct kt_loop_options *options)
{
	struct kt_loop *l = mem_alloc(sizeof(*l));
	struct kt_io io = { .send = on_send,
			    .now = on_now,
			    .random = on_random,
			    .wall_s = on_wall,
			    .want_nodes = on_want_nodes,
			    .wake = on_wake,
			    .on_change = on_changed,
			    .arg = l };
	struct kt_options o = { .domain = options->domain,
				.v4 = options->v4,
				.v6 = options->v6,
				.is_client = options->is_client,
				.allow_local = options->allow_local,
				.self = options->self,
				.key = options->key,
				.external4 = options->external4,
				.external6 = options->external6,
				.tag = options->tag };

	l->loop = loop;
	l->workers = workers;
	l->send = options->send;
	l->on_change = options->on_change;
	l->arg = options->arg;
	timer_init(&l->timer, loop, on_timer);
	timer_init(&l->daily, loop, on_daily);
	kt_realm(options->domain, l->realm_tag);
	if (options->realm) {
		l->realm = *options->realm;
		o.realm_pk = l->realm.pk;
	}
	if (!o.is_client && !o.allow_local) {
		guess_external(&o.external4, 4);
		guess_external(&o.external6, 6);
	}
	add_hosts(l, options);
	l->kt = kt_new(&io, &o);
	/* Later than kt_load, which may change the key. */
	if (options->realm && !o.is_client)
		timer_set_ms(&l->daily, 0);
	timer_set_ms(&l->timer, 0);
	return l;
}

void kt_loop_free(struct kt_loop *l)
{
	if (!l)
		return;
	if (l->is_tapping)
		udp_remove_tap(&l->tap);
	for (size_t i = 0; i < l->num_hosts; i++)
		resolve_cancel(l->hosts[i].resolve);
	kt_free(l->kt);
	timer_stop(&l->timer);
	timer_stop(&l->daily);
	free(l->hosts);
	free(l);
}

struct kt *kt_loop_node(struct kt_loop *l)
{
	return l->kt;
}

int kt_realm_file_read(const char *path, struct kt_realm_file *out, char *why,
		       size_t why_size)
{
	char text[LIMIT_KT_REALM_FILE_BYTES];
	FILE *f = fopen(path, "re");
	char what[128];
	size_t len;
	int r;

	if (!f) {
		r = -errno;
		snprintf(why, why_size, "%s: %s", path, strerror(-r));
		return r;
	}
	len = fread(text, 1, sizeof(text), f);
	if (ferror(f) || len == sizeof(text))
		r = -EBADMSG;
	else
		r = kt_realm_file_parse(text, len, out, what, sizeof(what));
	if (r && (ferror(f) || len == sizeof(text)))
		snprintf(why, why_size, "%s: not readable, or too long", path);
	else if (r)
		snprintf(why, why_size, "%s: %s", path, what);
	explicit_bzero(text, sizeof(text));
	(void)fclose(f);
	return r;
}
