#include "dht/dht_loop.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/resolve.h"

#define PORT_DEFAULT  6881
#define HOST_MAX      256
#define ADDRS_OF_NAME 4 /* that are asked */

/* Kept by people who answer; the last one is on IPv6 only. */
static const char *const default_bootstrap[] = {
	"dht.libtorrent.org:25401",
	"dht.transmissionbt.com:6881",
	"router.bittorrent.com:6881",
	"router.silotis.us:6881",
};

struct host {
	struct dht_loop *loop;
	char name[HOST_MAX];
	uint16_t port;
	struct resolve *resolve; /* NULL: none is under way */
};

struct dht_loop {
	struct loop *loop;       /* borrowed */
	struct workers *workers; /* borrowed */
	struct udp *udp;         /* borrowed */
	struct dht *dht;         /* owned */
	struct timer timer;
	struct host *hosts; /* owned */
	size_t num_hosts;
	struct log_limit log_limit;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	struct dht_loop *l = arg;

	/* A datagram that cannot be sent is one that was lost. */
	(void)udp_send(l->udp, to, bytes, len);
}

static int64_t on_now(void *arg)
{
	return loop_now_ms(((struct dht_loop *)arg)->loop);
}

static void on_random(void *arg, void *out, size_t len)
{
	random_bytes(out, len);
}

static void set_timer(struct dht_loop *l)
{
	int64_t wait = dht_next_ms(l->dht) - loop_now_ms(l->loop);

	timer_set_ms(&l->timer, wait > 0 ? wait : 0);
}

static void on_wake(void *arg)
{
	struct dht_loop *l = arg;

	if (l->dht)
		timer_set_ms(&l->timer, 0);
}

static void on_timer(struct timer *timer)
{
	struct dht_loop *l = container_of(timer, struct dht_loop, timer);

	dht_tick(l->dht);
	set_timer(l);
}

static void on_packet(void *arg, const struct addr *from, const uint8_t *bytes,
		      size_t len)
{
	struct dht_loop *l = arg;

	dht_on_packet(l->dht, from, bytes, len);
	set_timer(l);
}

static void on_resolved(void *arg, int r, const struct addr *addrs, size_t n,
			const char *why)
{
	struct host *h = arg;
	struct dht_loop *l = h->loop;

	h->resolve = NULL;
	if (r) {
		if (log_limit_ok(&l->log_limit, loop_now_ms(l->loop)))
			log_info("dht: bootstrap host=%s: %s", h->name, why);
		return;
	}
	dht_bootstrap(l->dht, addrs, n < ADDRS_OF_NAME ? n : ADDRS_OF_NAME);
}

static void on_want_nodes(void *arg)
{
	struct dht_loop *l = arg;

	for (size_t i = 0; i < l->num_hosts; i++) {
		struct host *h = &l->hosts[i];

		if (!h->resolve)
			h->resolve = resolve_start(l->loop, l->workers, h->name,
						   h->port, on_resolved, h);
	}
}

static void add_host(struct dht_loop *l, const char *name)
{
	struct host *h = &l->hosts[l->num_hosts];

	h->loop = l;
	h->port = PORT_DEFAULT;
	if (addr_split(name, h->name, sizeof(h->name), &h->port))
		log_warn("dht: not HOST:PORT: %s", name);
	else
		l->num_hosts++;
}

struct dht_loop *dht_loop_new(struct loop *loop, struct workers *workers,
			      struct udp *udp,
			      const struct dht_loop_options *options)
{
	struct dht_loop *l = mem_alloc(sizeof(*l));
	const char *const *names = options->bootstrap;
	size_t n = options->num_bootstrap;
	struct dht_io io = { .send = on_send,
			     .now = on_now,
			     .random = on_random,
			     .want_nodes = on_want_nodes,
			     .wake = on_wake,
			     .arg = l };
	struct dht_options o = { .v4 = udp_has_family(udp, 4),
				 .v6 = udp_has_family(udp, 6),
				 .is_read_only = options->is_read_only,
				 .allow_local = options->allow_local,
				 .upload_bps = options->upload_bps,
				 .queries_per_s = options->queries_per_s,
				 .address_per_s = options->address_per_s };

	l->loop = loop;
	l->workers = workers;
	l->udp = udp;
	timer_init(&l->timer, loop, on_timer);
	if (!names) {
		names = default_bootstrap;
		n = ARRAY_LEN(default_bootstrap);
	}
	if (n > LIMIT_DHT_BOOTSTRAP)
		n = LIMIT_DHT_BOOTSTRAP;
	l->hosts = mem_alloc_array(n ? n : 1, sizeof(*l->hosts));
	for (size_t i = 0; i < n; i++)
		add_host(l, names[i]);
	l->dht = dht_new(&io, &o);
	udp_register(udp, UDP_KRPC, on_packet, l);
	timer_set_ms(&l->timer, 0);
	return l;
}

void dht_loop_free(struct dht_loop *l)
{
	if (!l)
		return;
	udp_register(l->udp, UDP_KRPC, NULL, NULL);
	for (size_t i = 0; i < l->num_hosts; i++)
		resolve_cancel(l->hosts[i].resolve);
	dht_free(l->dht);
	timer_stop(&l->timer);
	free(l->hosts);
	free(l);
}

struct dht *dht_loop_node(struct dht_loop *l)
{
	return l->dht;
}
