/* A tracker of an overlay, as little of one as its clients' tests need:
 *
 *   overlaynode DOMAIN IP:PORT BOOTSTRAP|none PEER|none DNS_PORT|0
 *
 * A node of the overlay of DOMAIN, a UDP tracker that knows PEER in every
 * swarm, and the DNS bridge on IP. Each announce is a line on standard output:
 * infohash, event, what BEP 41 told. Ends with SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "tracker/overlay/dns_bridge.h"
#include "tracker/overlay/kt_loop.h"
#include "tracker/udp_tracker.h"

struct node {
	struct loop *loop;
	struct udp *udp;
	struct addr peer; /* family 0: none */
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	(void)udp_send(((struct node *)arg)->udp, to, bytes, len);
}

static void on_datagram(void *arg, const struct addr *from,
			const uint8_t *bytes, size_t len)
{
	uint8_t out[20 + 18] = { 0 };
	struct node *n = arg;
	char hash[41];
	size_t size = 16;

	if (len < 16)
		return;
	memcpy(out + 4, bytes + 12, 4);
	if (len >= 98) {
		printf("%s %u %.*s\n", hex_encode(bytes + 16, 20, hash),
		       load_be32(bytes + 80), len > 100 ? (int)len - 100 : 0,
		       (const char *)bytes + (len > 100 ? 100 : 0));
		fflush(stdout);
		out[3] = UDP_TRACKER_ANNOUNCE;
		store_be32(out + 8, 1800);
		size = 20;
		if (n->peer.family)
			size += addr_to_compact(&n->peer, out + 20);
	}
	(void)udp_send(n->udp, from, out, size);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	loop_stop(arg);
}

static int fail(const char *why)
{
	fprintf(stderr, "overlaynode: %s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	struct node n = { 0 };
	struct kt_loop_options o = { .v4 = true,
				     .allow_local = true,
				     .tag = 'K',
				     .send = on_send,
				     .arg = &n };
	struct dns_bridge_options dns = { 0 };
	struct dns_bridge *bridge;
	struct workers *workers;
	const char *names[1];
	struct kt_loop *kt;
	struct event term;
	struct addr at;

	if (argc != 6 || addr_parse(argv[2], 0, &at) ||
	    (strcmp(argv[4], "none") != 0 && addr_parse(argv[4], 0, &n.peer)))
		return fail("see the top of the file");
	log_start("overlaynode", LOG_LEVEL_INFO);
	n.loop = loop_new();
	workers = workers_new(n.loop);
	if (udp_open(n.loop, &at, NULL, at.port, &n.udp))
		return fail("no such port");
	names[0] = argv[3];
	o.domain = dns.domain = argv[1];
	o.bootstrap = names;
	o.num_bootstrap = strcmp(argv[3], "none") != 0;
	o.self.udp_port = o.self.http_port = dns.port = at.port;
	kt = kt_loop_new(n.loop, workers, &o);
	kt_loop_tap(kt, n.udp);
	udp_register(n.udp, UDP_TRACKER, on_datagram, &n);
	bridge = dns_bridge_new(n.loop, kt_loop_node(kt), &dns);
	at.port = (uint16_t)strtoul(argv[5], NULL, 10);
	if (at.port && dns_bridge_listen(bridge, &at, NULL))
		return fail("no such port for DNS");
	evsignal_assign(&term, loop_base(n.loop), SIGTERM, on_signal, n.loop);
	event_add(&term, NULL);
	loop_run(n.loop);
	event_del(&term);
	dns_bridge_free(bridge);
	kt_loop_free(kt);
	udp_close(n.udp);
	workers_free(workers);
	loop_free(n.loop);
	return 0;
}
