#include "tools/dht_client.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "dht/budget.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "fs/session_dht.h"

#define PORT_FIRST 6881
#define PORT_LAST  6889

#define ANSWER_BYTES 400 /* of an answer with nodes, on the line */

void dht_client_init(struct dht_client *c)
{
	memset(c, 0, sizeof(*c));
	opts_init(&c->opts);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	dht_client_stop(arg, EXIT_STOPPED);
}

/* Who only asks needs no port that others remember. */
static int open_port(struct dht_client *c, bool serves)
{
	const struct opts *o = &c->opts;
	const struct addr *b4 = o->bind4.family ? &o->bind4 : NULL;
	const struct addr *b6 = o->bind6.family ? &o->bind6 : NULL;
	uint16_t port = o->port;
	int r;

	if (port || !serves)
		return udp_open(c->loop, b4, b6, port, &c->udp);
	for (port = PORT_FIRST, r = -EADDRINUSE;
	     port <= PORT_LAST && r == -EADDRINUSE; port++)
		r = udp_open(c->loop, b4, b6, port, &c->udp);
	return r;
}

/* For a node that others begin with. One address may still ask no more than
 * it could, but where so many ask that several share a slot of the budget. */
static void raise_budget(const struct dht_client *c, struct dht_loop_options *o)
{
	unsigned shared = c->queries_per_s / (BUDGET_SLOTS / 4);

	o->queries_per_s = c->queries_per_s;
	if (shared > LIMIT_DHT_ADDRESS_PER_S)
		o->address_per_s = shared;
	if (!o->upload_bps)
		o->upload_bps = c->queries_per_s * ANSWER_BYTES;
}

int dht_client_open(struct dht_client *c, bool serves)
{
	struct dht_loop_options options;
	char why[OPTS_WHY_SIZE];
	int r = opts_finish(&c->opts, NULL, why);

	if (r < 0) {
		log_error("%s", why);
		return EXIT_REFUSED;
	}
	c->loop = loop_new();
	c->workers = c->loop ? workers_new(c->loop) : NULL;
	r = c->workers ? open_port(c, serves) : -ENOMEM;
	if (r < 0) {
		log_error("cannot open a UDP port: %s", strerror(-r));
		return EXIT_REFUSED;
	}
	session_dht_options(&c->opts, &options);
	options.is_read_only = !serves;
	options.upload_bps = (unsigned)c->opts.up_limit;
	if (c->queries_per_s)
		raise_budget(c, &options);
	c->node = dht_loop_new(c->loop, c->workers, c->udp, &options);
	c->dht = dht_loop_node(c->node);
	evsignal_assign(&c->on_int, loop_base(c->loop), SIGINT, on_signal, c);
	evsignal_assign(&c->on_term, loop_base(c->loop), SIGTERM, on_signal, c);
	event_add(&c->on_int, NULL);
	event_add(&c->on_term, NULL);
	return 0;
}

int dht_client_run(struct dht_client *c)
{
	loop_run(c->loop);
	return c->exit_code;
}

void dht_client_stop(struct dht_client *c, int exit_code)
{
	c->exit_code = exit_code;
	loop_stop(c->loop);
}

void dht_client_close(struct dht_client *c)
{
	if (c->node) {
		event_del(&c->on_int);
		event_del(&c->on_term);
	}
	dht_loop_free(c->node);
	workers_free(c->workers);
	if (c->udp)
		udp_close(c->udp);
	if (c->loop)
		loop_free(c->loop);
	opts_release(&c->opts);
}

const char *dht_client_excuse(struct dht_client *c)
{
	struct dht_stats s;

	dht_stats(c->dht, &s);
	return s.answers_in ? "nobody in the DHT has it"
	       : c->opts.bootstrap.num
		       ? "no DHT node answers: is bootstrap= right, and UDP not"
			 " blocked?"
		       : "no DHT node answers: is there a network, and UDP not"
			 " blocked? In a private swarm give bootstrap=";
}
