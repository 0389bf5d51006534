#include "tracker/announce.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tracker/hosts.h"
#include "tracker/http_tracker.h"
#include "tracker/udp_exchange.h"

#define HOST_MAX 256 /* bytes of a name; DNS has 253 */

struct announcer {
	struct loop *loop; /* borrowed */
	struct http *http; /* borrowed */
	struct udp *udp;   /* borrowed, or NULL */
	struct hosts *hosts;
	struct udp_exchange *exchange;
	struct timer timer; /* of the exchange */
	bool uses[2];       /* IPv4, IPv6 over HTTP */
	char *bind_ip[2];   /* owned; NULL: any */
	struct list announces;
};

struct part { /* one family of an announce */
	struct announce *owner;
	int family;
	struct http_request *http;
	struct udp_call *udp;
	struct addr to; /* UDP: who was asked */
};

struct announce {
	struct list node;
	struct announcer *announcer;
	struct announce_request request;
	struct announce_events events;
	int64_t timeout_ms;
	bool is_trusted;
	char host[HOST_MAX];
	uint16_t port;
	char *path; /* owned; UDP: path and query, or NULL */
	struct host_query *query;
	struct part parts[2];
	int pending; /* parts without a result */
	bool is_answered;
	struct announce_answer failure;
	struct timer end; /* calls on_end on a later turn */
	bool *gone;       /* set when freed inside an event */
};

/* --- the end of one --- */

static void set_timer(struct announcer *n)
{
	int64_t next_ms = udp_exchange_next_ms(n->exchange);

	if (next_ms == INT64_MAX)
		timer_stop(&n->timer);
	else
		timer_set_ms(&n->timer, next_ms - loop_now_ms(n->loop));
}

static void announce_free(struct announce *a)
{
	if (a->gone)
		*a->gone = true;
	for (int i = 0; i < 2; i++) {
		http_cancel(a->parts[i].http);
		udp_call_cancel(a->parts[i].udp);
	}
	set_timer(a->announcer);
	host_query_cancel(a->query);
	timer_stop(&a->end);
	announce_answer_release(&a->failure);
	list_remove(&a->node);
	free(a->path);
	free(a);
}

void announce_cancel(struct announce *a)
{
	if (a)
		announce_free(a);
}

static void on_end(struct timer *timer)
{
	struct announce *a = container_of(timer, struct announce, end);
	struct announce_answer failure = a->failure;
	struct announce_events events = a->events;
	bool is_answered = a->is_answered;

	failure.peers = NULL; /* a failure has none */
	announce_free(a);
	events.on_end(events.arg, is_answered ? NULL : &failure);
}

/* What a person would want to read first: the tracker's own words, then a bad
 * answer, then no answer, then no way there. */
static int rank(int r)
{
	switch (-r) {
	case 0:
		return -1;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EAFNOSUPPORT:
		return 0;
	case ETIMEDOUT:
	case ECONNREFUSED:
		return 1;
	case EPERM:
		return 3;
	default:
		return 2;
	}
}

static void end_soon(struct announce *a)
{
	timer_set_ms(&a->end, 0);
}

static void take_failure(struct announce *a, const struct announce_answer *f)
{
	if (rank(f->r) <= rank(a->failure.r))
		return;
	a->failure = *f;
	a->failure.peers = NULL;
	a->failure.num_peers = 0;
}

static void fail(struct announce *a, int r, const char *why)
{
	struct announce_answer f;

	announce_answer_init(&f);
	announce_answer_fail(&f, r, why, strlen(why));
	take_failure(a, &f);
}

static void end_part(struct announce *a, const struct announce_answer *answer,
		     const struct addr *from)
{
	bool gone = false;

	a->pending--;
	if (!answer->r) {
		a->is_answered = true;
		a->gone = &gone;
		a->events.on_answer(a->events.arg, answer, from);
		if (gone)
			return;
		a->gone = NULL;
	} else {
		take_failure(a, answer);
	}
	if (!a->pending)
		end_soon(a);
}

/* --- HTTP --- */

static bool is_local(const struct addr *a)
{
	return addr_is_local(a) || addr_is_unspecified(a);
}

/* Dots that were escaped are still there, and the server may undo them. */
static bool is_announce_path(const char *path)
{
	return !strncmp(path, "/announce", 9) && !strstr(path, "..") &&
	       !strcasestr(path, "%2e");
}

/* A torrent comes from anywhere and names any URL; it must not reach what only
 * this machine or its network may reach (SSRF). */
static const char *guard(void *arg, const struct http_hop *hop)
{
	const struct part *p = arg;

	if (p->owner->is_trusted)
		return NULL;
	if (hop->from && is_local(hop->to) && !is_local(hop->from))
		return "redirect from a global to a local address";
	if (addr_is_multicast(hop->to))
		return "multicast address";
	if ((addr_is_loopback(hop->to) || addr_is_unspecified(hop->to)) &&
	    !is_announce_path(hop->path))
		return "a tracker on this machine needs the path /announce";
	return NULL;
}

static void on_http(void *arg, const struct http_result *res)
{
	struct part *p = arg;
	struct announce_answer answer;
	char status[64];

	p->http = NULL;
	announce_answer_init(&answer);
	if (res->r)
		announce_answer_fail(&answer, res->r, res->why,
				     strlen(res->why));
	else
		http_tracker_parse(res->body, res->len, &answer);
	if (!res->r && res->status != 200 && answer.r != -EPERM) {
		snprintf(status, sizeof(status), "HTTP status %d", res->status);
		announce_answer_release(&answer);
		announce_answer_fail(&answer, -EPROTO, status, strlen(status));
	}
	end_part(p->owner, &answer, &res->peer);
	announce_answer_release(&answer);
}

/* The URL's own port, or that of its scheme. */
static uint16_t port_of(const struct announce *a, const char *url)
{
	if (a->port)
		return a->port;
	return strncasecmp(url, "https://", 8) ? 80 : 443;
}

static void start_http(struct announce *a, int i, const char *url,
		       const struct announce_options *o)
{
	struct announcer *n = a->announcer;
	struct part *p = &a->parts[i];
	struct addr to;
	struct http_options options = { .timeout_ms = (int)a->timeout_ms,
					.family = p->family,
					.bind_ip = n->bind_ip[i],
					.guard = guard };
	struct buf full;
	int r;

	if (o->to) {
		to = *o->to;
		to.port = port_of(a, url);
		options.connect_to = &to;
	}
	buf_init(&full, LIMIT_HTTP_URL_BYTES + 1);
	r = http_tracker_url(url, &a->request, p->family, o->id, o->id_len,
			     &full);
	if (!r)
		p->http = http_get(n->http, (char *)full.ptr, &options, on_http,
				   p);
	if (p->http)
		a->pending++;
	else if (r == -EINVAL)
		fail(a, r, "the url says what only the client may say");
	else
		fail(a, -EINVAL, "not a url");
	buf_release(&full);
}

/* --- UDP --- */

static void on_timer(struct timer *timer)
{
	struct announcer *n = container_of(timer, struct announcer, timer);

	udp_exchange_tick(n->exchange, loop_now_ms(n->loop));
	set_timer(n);
}

static void on_datagram(void *arg, const struct addr *from,
			const uint8_t *bytes, size_t len)
{
	struct announcer *n = arg;

	udp_exchange_receive(n->exchange, loop_now_ms(n->loop), from, bytes,
			     len);
	set_timer(n);
}

static int send_datagram(void *arg, const struct addr *to, const uint8_t *bytes,
			 size_t len)
{
	struct announcer *n = arg;

	return udp_send(n->udp, to, bytes, len);
}

static uint32_t random_number(void *arg)
{
	return random_u32();
}

static void on_udp(void *arg, const struct announce_answer *answer)
{
	struct part *p = arg;
	struct announce *a = p->owner;

	p->udp = NULL;
	if (answer->r == -ETIMEDOUT)
		hosts_blame(a->announcer->hosts, a->host, &p->to);
	end_part(a, answer, &p->to);
}

static bool can_be_asked(const struct addr *a)
{
	return a->port && !addr_is_unspecified(a) && !addr_is_multicast(a);
}

static void start_udp(struct announce *a, struct part *p,
		      const struct addr *addrs, size_t n)
{
	struct announcer *owner = a->announcer;
	size_t i = 0;

	while (i < n &&
	       (addrs[i].family != p->family || !can_be_asked(&addrs[i])))
		i++;
	if (i == n || !udp_has_family(owner->udp, p->family))
		return;
	p->to = addrs[i];
	p->udp = udp_exchange_announce(
		owner->exchange, loop_now_ms(owner->loop), &p->to, &a->request,
		a->path, a->timeout_ms, on_udp, p);
	a->pending += p->udp != NULL;
}

static void on_host(void *arg, int r, const struct addr *addrs, size_t n,
		    const char *why)
{
	struct announce *a = arg;

	a->query = NULL;
	for (int i = 0; i < 2; i++)
		start_udp(a, &a->parts[i], addrs, n);
	set_timer(a->announcer);
	if (a->pending)
		return;
	fail(a, -EHOSTUNREACH,
	     r ? why : "no address of a family that is in use");
	end_soon(a);
}

/* --- both --- */

/* Takes host, port and path out of URL. */
static int split_url(struct announce *a, const char *url)
{
	const char *from = strstr(url, "://");
	size_t len, path_len;
	char *authority, *at;
	int r;

	if (!from || strlen(url) > LIMIT_URL_BYTES)
		return -EINVAL;
	from += 3;
	len = strcspn(from, "/?#");
	path_len = strcspn(from + len, "#");
	authority = mem_strndup(from, len);
	at = strrchr(authority, '@');
	r = addr_split(at ? at + 1 : authority, a->host, sizeof(a->host),
		       &a->port);
	free(authority);
	/* "/" says nothing that the absence of a path does not say. */
	if (path_len > 1)
		a->path = mem_strndup(from + len, path_len);
	return r;
}

static bool family_fits(const struct announce *a, int family,
			const struct announce_options *o)
{
	struct addr numeric;

	if (o->to)
		return o->to->family == family;
	return addr_parse(a->host, 0, &numeric) || numeric.family == family;
}

static void start_udp_at(struct announce *a, const struct announce_options *o)
{
	struct addr to = *o->to;

	to.port = a->port;
	for (int i = 0; i < 2; i++)
		start_udp(a, &a->parts[i], &to, 1);
	set_timer(a->announcer);
}

struct announce *announce_start(struct announcer *n, const char *url,
				const struct announce_request *request,
				const struct announce_options *o,
				const struct announce_events *events)
{
	struct announce *a = mem_alloc(sizeof(*a));
	bool is_udp = !strncasecmp(url, "udp://", 6);
	int r;

	loop_assert(n->loop);
	a->announcer = n;
	a->request = *request;
	a->events = *events;
	a->timeout_ms = o->timeout_ms;
	a->is_trusted = o->is_trusted;
	announce_answer_init(&a->failure);
	timer_init(&a->end, n->loop, on_end);
	list_push_back(&n->announces, &a->node);
	for (int i = 0; i < 2; i++) {
		a->parts[i].owner = a;
		a->parts[i].family = i ? 6 : 4;
	}
	r = split_url(a, url);
	if (o->udp_path) {
		free(a->path);
		a->path = mem_strdup(o->udp_path);
	}
	if (r || (is_udp && !a->port)) {
		fail(a, -EINVAL,
		     is_udp ? "a udp tracker needs HOST:PORT" : "not a url");
	} else if (is_udp && !n->udp) {
		fail(a, -EAFNOSUPPORT, "no udp port is open");
	} else if (is_udp && o->to) {
		start_udp_at(a, o);
	} else if (is_udp) {
		a->query = hosts_find(n->hosts, a->host, a->port, on_host, a);
		if (!a->query)
			fail(a, -ENOMEM, "too many trackers");
	} else {
		for (int i = 0; i < 2; i++) {
			if (n->uses[i] && family_fits(a, a->parts[i].family, o))
				start_http(a, i, url, o);
		}
	}
	if (!a->query && !a->pending) {
		fail(a, -EAFNOSUPPORT, "its address family is not in use");
		end_soon(a);
	}
	return a;
}

struct announcer *announcer_new(struct loop *loop, struct workers *workers,
				struct http *http, struct udp *udp,
				const struct addr *bind4,
				const struct addr *bind6)
{
	const struct addr *const binds[2] = { bind4, bind6 };
	struct announcer *n = mem_alloc(sizeof(*n));
	struct udp_exchange_io io = { .send = send_datagram,
				      .random = random_number,
				      .arg = n };
	char ip[ADDR_STR_MAX];

	n->loop = loop;
	n->http = http;
	n->udp = udp;
	n->hosts = hosts_new(loop, workers);
	n->exchange = udp_exchange_new(&io);
	list_init(&n->announces);
	timer_init(&n->timer, loop, on_timer);
	for (int i = 0; i < 2; i++) {
		n->uses[i] = binds[i] != NULL;
		if (binds[i] && !addr_is_unspecified(binds[i]))
			n->bind_ip[i] = mem_strdup(addr_ip_str(binds[i], ip));
	}
	if (udp)
		udp_register(udp, UDP_TRACKER, on_datagram, n);
	return n;
}

void announcer_free(struct announcer *n)
{
	if (!n)
		return;
	loop_assert(n->loop);
	list_foreach_safe(a, &n->announces, struct announce, node)
		announce_free(a);
	if (n->udp)
		udp_register(n->udp, UDP_TRACKER, NULL, NULL);
	timer_stop(&n->timer);
	udp_exchange_free(n->exchange);
	hosts_free(n->hosts);
	free(n->bind_ip[0]);
	free(n->bind_ip[1]);
	free(n);
}
