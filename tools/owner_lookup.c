/*
 * A client's node of the overlay, one lookup (asked again while nobody was
 * met), then a probe of each owner found: by UDP a connect, which leaves
 * nothing behind there (BEP 15), by HTTP a scrape of a swarm that nobody has,
 * where any answer with a status is one.
 */
#include "tools/owner_lookup.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/http.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "fs/session_dht.h"
#include "tools/command.h"
#include "tools/owner_key.h"
#include "tracker/overlays.h"
#include "tracker/udp_tracker.h"

#define TRIES        3 /* of OVERLAY_FIND_MS: names may be slow */
#define PROBE_MS     2000
#define PROBE_UDP_MS 700 /* then the datagram may be lost */

struct owner {
	struct lookup_job *job;
	struct kt_owner o;
	uint32_t tid;
	int64_t sent_ms;
	int udp_ms; /* -1: silent */
	struct http_request *http;
	int http_status; /* 0: none */
	int http_ms;
	char http_why[120];
};

struct lookup_job { /* the command */
	const struct opts *opts;
	const struct owner_lookup_spec *spec;
	struct key_url key;
	struct loop *loop;
	struct workers *workers;
	struct udp *udp;
	struct http *http;
	struct overlays *overlays;
	struct overlay_query *query;
	unsigned tries;
	struct owner owners[KT_OWNERS_MAX];
	unsigned num;
	struct kt_found found; /* without owners */
	struct timer retry, end;
	struct event on_int, on_term;
	int exit_code;
};

static void finish(struct lookup_job *j, int code)
{
	j->exit_code = code;
	loop_stop(j->loop);
}

/* --- what is printed --- */

/* Bits in which id and key differ from the first such one on: 0 is the key
 * itself, and 160 the other half of the world. */
static unsigned distance_bits(const struct kad_id *a, const struct kad_id *b)
{
	for (unsigned i = 0; i < KAD_ID_BYTES; i++) {
		uint8_t x = a->b[i] ^ b->b[i];

		if (x)
			return 8 * (KAD_ID_BYTES - i) -
			       (unsigned)__builtin_clz(x) + 24;
	}
	return 0;
}

static json_t *port_json(uint16_t port)
{
	return port ? json_integer(port) : json_null();
}

static json_t *ms_json(int ms)
{
	return ms >= 0 ? json_integer(ms) : json_null();
}

static json_t *owner_json(const struct lookup_job *j, unsigned rank)
{
	const struct owner *w = &j->owners[rank];
	char hex[2 * KAD_ID_BYTES + 1], text[ADDR_STR_MAX];
	json_t *o = json_pack("{s:i, s:s, s:i, s:s}", "rank", (int)rank, "id",
			      hex_encode(w->o.id.b, KAD_ID_BYTES, hex),
			      "distance_bits",
			      (int)distance_bits(&w->o.id, &j->key.what.id),
			      "addr", addr_str(&w->o.addr, text));

	json_object_set_new(o, "http_port", port_json(w->o.tr.http_port));
	json_object_set_new(o, "https_port", port_json(w->o.tr.https_port));
	json_object_set_new(o, "udp_port", port_json(w->o.tr.udp_port));
	json_object_set_new(o, "load", json_integer(w->o.tr.load));
	json_object_set_new(o, "uptime_s", json_integer(w->o.tr.uptime_s));
	json_object_set_new(
		o, "rtt_ms",
		ms_json(w->o.rtt_ms == UINT16_MAX ? -1 : (int)w->o.rtt_ms));
	json_object_set_new(o, "udp_ms", ms_json(w->udp_ms));
	json_object_set_new(o, "http_status",
			    w->http_status ? json_integer(w->http_status)
					   : json_null());
	json_object_set_new(o, "http_ms",
			    ms_json(w->http_status ? w->http_ms : -1));
	return o;
}

static void print_json(const struct lookup_job *j)
{
	char hex[2 * KAD_ID_BYTES + 1];
	json_t *owners = json_array();
	json_t *o = json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:I}", "key",
			      j->key.key, "domain", j->key.domain, "id",
			      hex_encode(j->key.what.id.b, KAD_ID_BYTES, hex),
			      "stale", j->found.is_stale, "queries",
			      (int)j->found.queries, "hops", (int)j->found.hops,
			      "ms", (json_int_t)j->found.took_ms);

	for (unsigned i = 0; i < j->num; i++)
		json_array_append_new(owners, owner_json(j, i));
	json_object_set_new(o, "owners", owners);
	json_dumpf(o, stdout, JSON_INDENT(2));
	puts("");
	json_decref(o);
}

static void print_udp(const struct owner *w)
{
	if (!w->o.tr.udp_port)
		return;
	if (w->udp_ms < 0)
		printf("   udp %u: no answer\n", w->o.tr.udp_port);
	else
		printf("   udp %u: answers in %d ms\n", w->o.tr.udp_port,
		       w->udp_ms);
}

static void print_http(const struct owner *w)
{
	if (w->o.tr.https_port)
		printf("   https %u\n", w->o.tr.https_port);
	if (!w->o.tr.http_port)
		return;
	if (w->http_status)
		printf("   http %u: answers in %d ms (status %d)\n",
		       w->o.tr.http_port, w->http_ms, w->http_status);
	else
		printf("   http %u: %s\n", w->o.tr.http_port, w->http_why);
}

static void print_text(const struct lookup_job *j)
{
	char hex[2 * KAD_ID_BYTES + 1], text[ADDR_STR_MAX];

	printf("%s.%s is %s\n", j->key.key, j->key.domain,
	       hex_encode(j->key.what.id.b, KAD_ID_BYTES, hex));
	for (unsigned i = 0; i < j->num; i++) {
		const struct kt_owner *o = &j->owners[i].o;

		printf("%s %u  %s  %s\n", i < KT_REPLICAS ? "owner" : "next ",
		       i, hex_encode(o->id.b, KAD_ID_BYTES, hex),
		       addr_str(&o->addr, text));
		printf("   distance %u bits, load %u %%, up %u s",
		       distance_bits(&o->id, &j->key.what.id),
		       o->tr.load * 100u / 255, o->tr.uptime_s);
		if (o->rtt_ms != UINT16_MAX)
			printf(", round trip %u ms", o->rtt_ms);
		puts("");
		print_udp(&j->owners[i]);
		print_http(&j->owners[i]);
	}
	fflush(stdout);
	fprintf(stderr, "%u found%s, %u hops, %u queries, %.1f s\n", j->num,
		j->found.is_stale ? " (remembered)" : "", j->found.hops,
		j->found.queries, (double)j->found.took_ms / 1000);
}

static bool answers(const struct owner *w)
{
	return w->udp_ms >= 0 || w->http_status;
}

static void report(struct lookup_job *j)
{
	unsigned n = 0;

	if (j->spec->is_json)
		print_json(j);
	else
		print_text(j);
	for (unsigned i = 0; i < j->num; i++)
		n += answers(&j->owners[i]);
	if (!n)
		log_error("owners are known, and none of them answers");
	finish(j, n ? EXIT_OK : EXIT_REFUSED);
}

/* --- probes --- */

static bool is_over(const struct lookup_job *j)
{
	for (unsigned i = 0; i < j->num; i++) {
		const struct owner *w = &j->owners[i];

		if (w->http || (w->o.tr.udp_port && w->udp_ms < 0))
			return false;
	}
	return true;
}

static void on_end(struct timer *timer)
{
	report(container_of(timer, struct lookup_job, end));
}

static void go_on(struct lookup_job *j)
{
	if (is_over(j))
		timer_set_ms(&j->end, 0);
}

static void on_datagram(void *arg, const struct addr *from,
			const uint8_t *bytes, size_t len)
{
	struct lookup_job *j = arg;
	uint32_t action, tid;

	if (!udp_tracker_peek(bytes, len, &action, &tid) ||
	    action != UDP_TRACKER_CONNECT)
		return;
	for (unsigned i = 0; i < j->num; i++) {
		struct owner *w = &j->owners[i];

		if (w->tid == tid && w->udp_ms < 0 &&
		    addr_ip_eq(&w->o.addr, from))
			w->udp_ms = (int)(loop_now_ms(j->loop) - w->sent_ms);
	}
	go_on(j);
}

static void send_connect(struct owner *w)
{
	uint8_t packet[UDP_TRACKER_CONNECT_BYTES];
	struct addr to = w->o.addr;

	to.port = w->o.tr.udp_port;
	udp_tracker_connect(packet, w->tid);
	w->sent_ms = loop_now_ms(w->job->loop);
	/* What cannot be sent is a tracker that does not answer. */
	(void)udp_send(w->job->udp, &to, packet, sizeof(packet));
}

static void on_retry(struct timer *timer)
{
	struct lookup_job *j = container_of(timer, struct lookup_job, retry);

	for (unsigned i = 0; i < j->num; i++) {
		if (j->owners[i].o.tr.udp_port && j->owners[i].udp_ms < 0)
			send_connect(&j->owners[i]);
	}
}

static void on_http(void *arg, const struct http_result *res)
{
	struct owner *w = arg;

	w->http = NULL;
	w->http_ms = (int)(loop_now_ms(w->job->loop) - w->sent_ms);
	w->http_status = res->r ? 0 : res->status;
	snprintf(w->http_why, sizeof(w->http_why), "%s", res->why);
	go_on(w->job);
}

static void ask_http(struct owner *w)
{
	struct addr to = w->o.addr;
	struct http_options options = { .timeout_ms = PROBE_MS,
					.family = to.family,
					.connect_to = &to };
	/* Of one swarm: a scrape of all may be large. */
	char *url = mem_printf("http://%s.%s:%u/scrape?info_hash=%s",
			       w->job->key.key, w->job->key.domain,
			       w->o.tr.http_port, "aaaaaaaaaaaaaaaaaaaa");

	to.port = w->o.tr.http_port;
	snprintf(w->http_why, sizeof(w->http_why), "not a url");
	w->http = http_get(w->job->http, url, &options, on_http, w);
	free(url);
}

static void probe(struct lookup_job *j)
{
	timer_set_ms(&j->retry, PROBE_UDP_MS);
	timer_set_ms(&j->end, PROBE_MS);
	for (unsigned i = 0; i < j->num; i++) {
		struct owner *w = &j->owners[i];

		w->job = j;
		w->udp_ms = -1;
		w->tid = random_u32();
		w->sent_ms = loop_now_ms(j->loop);
		if (w->o.tr.udp_port)
			send_connect(w);
		if (w->o.tr.http_port)
			ask_http(w);
	}
	go_on(j);
}

/* --- the lookup --- */

static void explain(const struct lookup_job *j)
{
	const struct opts_list *l = &j->opts->overlay;

	if (l->num)
		log_error("no tracker of %s answers: is overlay= right, and "
			  "UDP not blocked?",
			  j->key.domain);
	else
		log_error("no tracker of %s is known: root.%s names none that "
			  "answers. Give -o overlay=HOST:PORT",
			  j->key.domain, j->key.domain);
}

static void look_up(struct lookup_job *j);

static void on_found(void *arg, const struct kt_found *found)
{
	struct lookup_job *j = arg;

	j->query = NULL;
	if (!found->num && ++j->tries < TRIES) {
		look_up(j);
		return;
	}
	if (!found->num) {
		explain(j);
		finish(j, EXIT_REFUSED);
		return;
	}
	j->found = *found;
	j->found.owners = NULL;
	j->num = found->num < KT_OWNERS_MAX ? found->num : KT_OWNERS_MAX;
	for (unsigned i = 0; i < j->num; i++)
		j->owners[i].o = found->owners[i];
	probe(j);
}

static void look_up(struct lookup_job *j)
{
	j->query = overlays_find(j->overlays, j->key.domain, &j->key.what.id,
				 on_found, j);
	if (!j->query) {
		log_error("%s cannot be asked", j->key.domain);
		finish(j, EXIT_REFUSED);
	}
}

/* --- life --- */

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	finish(arg, EXIT_STOPPED);
}

static int open_all(struct lookup_job *j)
{
	const struct opts *o = j->opts;
	const struct addr *b4 = o->bind4.family ? &o->bind4 : NULL;
	const struct addr *b6 = o->bind6.family ? &o->bind6 : NULL;
	struct overlays_options options = {
		.bootstrap = (const char *const *)o->overlay.items,
		.num_bootstrap = o->overlay.num,
		.allow_local = session_names_local(o, &o->overlay),
	};
	int r;

	j->loop = loop_new();
	j->workers = j->loop ? workers_new(j->loop) : NULL;
	r = j->workers ? udp_open(j->loop, b4, b6, o->port, &j->udp) : -ENOMEM;
	if (r < 0) {
		log_error("cannot open a UDP port: %s", strerror(-r));
		return EXIT_REFUSED;
	}
	j->http = http_new(j->loop, "weirctl/" WEIRFS_VERSION);
	udp_register(j->udp, UDP_TRACKER, on_datagram, j);
	timer_init(&j->retry, j->loop, on_retry);
	timer_init(&j->end, j->loop, on_end);
	j->overlays = overlays_new(j->loop, j->workers, j->udp, &options);
	evsignal_assign(&j->on_int, loop_base(j->loop), SIGINT, on_signal, j);
	evsignal_assign(&j->on_term, loop_base(j->loop), SIGTERM, on_signal, j);
	event_add(&j->on_int, NULL);
	event_add(&j->on_term, NULL);
	return 0;
}

static void close_all(struct lookup_job *j)
{
	if (j->overlays) {
		event_del(&j->on_int);
		event_del(&j->on_term);
		timer_stop(&j->retry);
		timer_stop(&j->end);
	}
	overlay_query_cancel(j->query);
	overlays_free(j->overlays);
	for (unsigned i = 0; i < j->num; i++)
		http_cancel(j->owners[i].http);
	if (j->http)
		http_free(j->http);
	workers_free(j->workers);
	if (j->udp)
		udp_close(j->udp);
	if (j->loop)
		loop_free(j->loop);
}

int owner_lookup_run(struct opts *opts, const struct owner_lookup_spec *spec)
{
	struct lookup_job j = { .opts = opts, .spec = spec };
	char why[OPTS_WHY_SIZE], key_why[FACTS_WHY_SIZE];
	int code;

	if (opts_finish(opts, NULL, why) < 0) {
		log_error("%s", why);
		return EXIT_REFUSED;
	}
	if (owner_key_find(spec->what, spec->domain, &j.key, key_why) < 0) {
		log_error("%s", key_why);
		return EXIT_REFUSED;
	}
	code = open_all(&j);
	if (!code) {
		look_up(&j);
		loop_run(j.loop);
		code = j.exit_code;
	}
	close_all(&j);
	return code;
}
