/*
 * HTTP through libcurl's multi_socket interface.
 *
 * curl tells which sockets it wants watched (watch_socket) and when it wants
 * to be woken (set_alarm); we tell it what became ready and then collect what
 * is finished (collect). Nothing else calls into curl_multi_socket_action, so
 * a callback of ours never runs inside it, and http_get and http_cancel are
 * legal in every done().
 *
 * Names are looked up by curl's own resolver threads. A request that ends
 * while its thread still waits must not wait with it (the loop would stand
 * still for seconds), hence CURLOPT_QUICK_EXIT.
 *
 * The guard is asked twice: before a socket is opened, so that not even a
 * connect reaches a refused place, and before each request is written, since
 * a connection taken from the pool opens no socket.
 */
#include "engine/base/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"

#define TIMEOUT_MS         30000
#define CONNECT_TIMEOUT_MS 10000
#define IDLE_CONNECTIONS   16 /* kept open for the next request */

struct http {
	struct loop *loop; /* borrowed */
	CURLM *multi;      /* owned */
	struct timer alarm;
	char *user_agent;             /* owned */
	char *ca_file;                /* owned; NULL: the system's */
	struct list running, waiting; /* of http_request */
	size_t num_running;
};

struct http_request {
	struct list node; /* in running or waiting */
	bool is_running;
	struct http *http;
	CURL *easy;                    /* owned */
	struct curl_slist *connect_to; /* owned */
	void (*done)(void *arg, const struct http_result *result);
	void *arg; /* borrowed */
	http_guard_fn *guard;
	struct addr from;    /* the last one that got a request from us */
	bool was_https;      /* and it was asked over TLS */
	bool is_https;       /* what the URL that curl is at now wants */
	const char *refused; /* why the guard said no; static */
	struct buf body;
	size_t header_bytes;
	char error[CURL_ERROR_SIZE];
};

struct watch { /* one socket of curl's */
	struct event event;
	struct http *http;
};

static void collect(struct http *h);

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = ((struct watch *)arg)->http;
	int left, flags = (what & EV_READ ? CURL_CSELECT_IN : 0) |
			  (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

	/* arg may be freed by this call. */
	curl_multi_socket_action(h->multi, fd, flags, &left);
	collect(h);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg,
			void *socket_arg)
{
	struct http *h = arg;
	struct watch *w = socket_arg;
	short events = EV_PERSIST;

	if (w)
		event_del(&w->event);
	if (what == CURL_POLL_REMOVE) {
		free(w);
		return 0;
	}
	if (!w) {
		w = mem_alloc(sizeof(*w));
		w->http = h;
		curl_multi_assign(h->multi, fd, w);
	}
	if (what & CURL_POLL_IN)
		events |= EV_READ;
	if (what & CURL_POLL_OUT)
		events |= EV_WRITE;
	event_assign(&w->event, loop_base(h->loop), fd, events, on_ready, w);
	event_add(&w->event, NULL);
	return 0;
}

static void on_alarm(struct timer *timer)
{
	struct http *h = container_of(timer, struct http, alarm);
	int left;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &left);
	collect(h);
}

static int set_alarm(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *h = arg;

	if (timeout_ms < 0)
		timer_stop(&h->alarm);
	else
		timer_set_ms(&h->alarm, timeout_ms);
	return 0;
}

static void request_free(struct http_request *q)
{
	list_remove(&q->node);
	curl_easy_cleanup(q->easy);
	curl_slist_free_all(q->connect_to);
	buf_release(&q->body);
	free(q);
}

static void start_waiting(struct http *h)
{
	while (h->num_running < LIMIT_HTTP_IN_FLIGHT) {
		struct list *node = list_pop_front(&h->waiting);
		struct http_request *q;

		if (!node)
			return;
		q = list_entry(node, struct http_request, node);
		list_push_back(&h->running, &q->node);
		q->is_running = true;
		h->num_running++;
		curl_multi_add_handle(h->multi, q->easy);
	}
}

static int errno_of(const struct http_request *q, CURLcode code)
{
	long os = 0;

	switch ((int)code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
	case CURLE_INTERFACE_FAILED:
		curl_easy_getinfo(q->easy, CURLINFO_OS_ERRNO, &os);
		if (os == ENETUNREACH || os == EHOSTUNREACH ||
		    os == EADDRNOTAVAIL || code == CURLE_INTERFACE_FAILED)
			return -EHOSTUNREACH;
		return os == ETIMEDOUT ? -ETIMEDOUT : -ECONNREFUSED;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
		return -EACCES;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

static void fill_peer(const struct http_request *q, struct addr *out)
{
	char *ip = NULL;
	long port = 0;

	memset(out, 0, sizeof(*out));
	curl_easy_getinfo(q->easy, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(q->easy, CURLINFO_PRIMARY_PORT, &port);
	if (!ip || !*ip || addr_parse(ip, (uint16_t)port, out))
		memset(out, 0, sizeof(*out));
}

static void finish(struct http_request *q, CURLcode code)
{
	struct http_result res = { .body = q->body.ptr, .len = q->body.len };
	long status = 0;

	curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
	fill_peer(q, &res.peer);
	res.status = (int)status;
	if (code == CURLE_OK) {
		res.why = "";
	} else if (q->refused) {
		res.r = -EPERM;
		res.why = q->refused;
	} else if (q->body.is_broken ||
		   q->header_bytes > LIMIT_HTTP_HEADER_BYTES) {
		res.r = -E2BIG;
		res.why = "answer is too large";
	} else {
		res.r = errno_of(q, code);
		res.why = q->error[0] ? q->error : curl_easy_strerror(code);
	}
	if (res.r)
		res.len = 0;
	q->done(q->arg, &res);
}

static void collect(struct http *h)
{
	CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(h->multi, &left))) {
		struct http_request *q;
		CURLcode code = msg->data.result;
		CURL *easy = msg->easy_handle;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&q);
		curl_multi_remove_handle(h->multi, easy); /* frees msg */
		list_remove(&q->node);
		h->num_running--;
		finish(q, code);
		request_free(q);
	}
	start_waiting(h);
}

static size_t on_body(char *ptr, size_t size, size_t n, void *arg)
{
	struct http_request *q = arg;

	buf_add(&q->body, ptr, size * n);
	return q->body.is_broken ? 0 : size * n;
}

static size_t on_header(char *ptr, size_t size, size_t n, void *arg)
{
	struct http_request *q = arg;

	q->header_bytes += size * n;
	return q->header_bytes > LIMIT_HTTP_HEADER_BYTES ? 0 : size * n;
}

/* Asks the guard about the URL that curl is at now. */
static bool may_go(struct http_request *q, const struct addr *to)
{
	struct http_hop hop = { .to = to };
	char *url = NULL, *path = NULL, *scheme = NULL;
	CURLU *parts = curl_url();

	q->refused = "bad url";
	curl_easy_getinfo(q->easy, CURLINFO_EFFECTIVE_URL, &url);
	if (!parts || !url || curl_url_set(parts, CURLUPART_URL, url, 0) ||
	    curl_url_get(parts, CURLUPART_PATH, &path, 0) ||
	    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0))
		goto out;
	q->refused = NULL;
	q->is_https = !strcmp(scheme, "https");
	hop.path = path;
	hop.from = q->from.family ? &q->from : NULL;
	if (q->was_https && !q->is_https)
		q->refused = "redirect from https to http";
	else if (q->guard)
		q->refused = q->guard(q->arg, &hop);
out:
	curl_free(path);
	curl_free(scheme);
	curl_url_cleanup(parts);
	return !q->refused;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose,
				 struct curl_sockaddr *sa)
{
	struct http_request *q = arg;
	struct addr to;
	int fd;

	if (!addr_from_sockaddr(&to, &sa->addr, sa->addrlen) || !may_go(q, &to))
		return CURL_SOCKET_BAD;
	fd = socket(sa->family, sa->socktype | SOCK_CLOEXEC, sa->protocol);
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int before_request(void *arg, char *to_ip, char *own_ip, int to_port,
			  int own_port)
{
	struct http_request *q = arg;
	struct addr to;

	if (addr_parse(to_ip, (uint16_t)to_port, &to)) {
		/* Only a scoped link-local address looks like this. */
		q->refused = "address that cannot be judged";
		return CURL_PREREQFUNC_ABORT;
	}
	if (!may_go(q, &to))
		return CURL_PREREQFUNC_ABORT;
	q->from = to;
	q->was_https = q->is_https;
	return CURL_PREREQFUNC_OK;
}

static void set_connect_to(struct http_request *q, CURLU *parts,
			   const struct addr *to)
{
	char ip[ADDR_STR_MAX], *host, *port, *line;

	if (curl_url_get(parts, CURLUPART_HOST, &host, 0))
		return;
	if (!curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
		/* addr_str writes IPv6 in brackets, as curl wants it. */
		line = mem_printf("%s:%s:%s", host, port, addr_str(to, ip));
		q->connect_to = curl_slist_append(NULL, line);
		curl_easy_setopt(q->easy, CURLOPT_CONNECT_TO, q->connect_to);
		free(line);
		curl_free(port);
	}
	curl_free(host);
}

static void set_range(CURL *easy, const struct http_options *o)
{
	char range[64];

	snprintf(range, sizeof(range), "%" PRIu64 "-%" PRIu64, o->range_from,
		 o->range_from + o->range_len - 1);
	curl_easy_setopt(easy, CURLOPT_RANGE, range);
}

static void set_bind(CURL *easy, const struct http_options *o)
{
	char *name = mem_printf("host!%s", o->bind_ip);
	struct addr a;

	curl_easy_setopt(easy, CURLOPT_INTERFACE, name);
	if (!o->family && !addr_parse(o->bind_ip, 0, &a))
		curl_easy_setopt(easy, CURLOPT_IPRESOLVE,
				 a.family == 6 ? CURL_IPRESOLVE_V6
					       : CURL_IPRESOLVE_V4);
	free(name);
}

static void set_options(struct http_request *q, const struct http_options *o)
{
	long timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	CURL *c = q->easy;

	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
			 timeout_ms < CONNECT_TIMEOUT_MS
				 ? timeout_ms
				 : (long)CONNECT_TIMEOUT_MS);
	if (o->family)
		curl_easy_setopt(c, CURLOPT_IPRESOLVE,
				 o->family == 6 ? CURL_IPRESOLVE_V6
						: CURL_IPRESOLVE_V4);
	if (o->bind_ip)
		set_bind(c, o);
	if (o->range_len)
		set_range(c, o);
	else
		curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)LIMIT_HTTP_REDIRECTS);
	curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, q->http->user_agent);
	if (q->http->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, q->http->ca_file);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, q->error);
	curl_easy_setopt(c, CURLOPT_PRIVATE, q);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, q);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, q);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, q);
	curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(c, CURLOPT_PREREQDATA, q);
}

/* Parsed, or NULL when it is nothing that we get. */
static CURLU *parse_url(const char *url)
{
	CURLU *parts = curl_url();
	char *scheme = NULL;
	bool is_ours;

	if (!parts || strlen(url) > LIMIT_HTTP_URL_BYTES ||
	    curl_url_set(parts, CURLUPART_URL, url, 0) ||
	    curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0)) {
		curl_url_cleanup(parts);
		return NULL;
	}
	is_ours = !strcmp(scheme, "http") || !strcmp(scheme, "https");
	curl_free(scheme);
	if (is_ours)
		return parts;
	curl_url_cleanup(parts);
	return NULL;
}

struct http_request *
http_get(struct http *h, const char *url, const struct http_options *o,
	 void (*done)(void *arg, const struct http_result *result), void *arg)
{
	struct http_request *q;
	CURLU *parts = parse_url(url);

	loop_assert(h->loop);
	if (!parts)
		return NULL;
	q = mem_alloc(sizeof(*q));
	q->http = h;
	q->done = done;
	q->arg = arg;
	q->guard = o->guard;
	q->easy = curl_easy_init();
	CHECK(q->easy); /* only memory can be missing */
	buf_init(&q->body, o->max_body ? o->max_body : LIMIT_HTTP_BODY_BYTES);
	curl_easy_setopt(q->easy, CURLOPT_URL, url);
	set_options(q, o);
	if (o->connect_to)
		set_connect_to(q, parts, o->connect_to);
	curl_url_cleanup(parts);
	list_push_back(&h->waiting, &q->node);
	start_waiting(h);
	return q;
}

static void drop(struct http_request *q)
{
	/* A handle that waits was never added: curl says so and that is all. */
	(void)curl_multi_remove_handle(q->http->multi, q->easy);
	request_free(q);
}

void http_cancel(struct http_request *q)
{
	struct http *h;

	if (!q)
		return;
	h = q->http;
	loop_assert(h->loop);
	if (q->is_running)
		h->num_running--;
	drop(q);
	start_waiting(h);
}

bool http_is_full(const struct http *h)
{
	return !list_is_empty(&h->waiting);
}

static char *ca_file_of_user(void)
{
	const char *name = getenv("CURL_CA_BUNDLE");

	if (!name || !*name)
		name = getenv("SSL_CERT_FILE");
	return name && *name ? mem_strdup(name) : NULL;
}

struct http *http_new(struct loop *loop, const char *user_agent)
{
	struct http *h;

	/* Counted by curl: as many cleanups as inits. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		return NULL;
	h = mem_alloc(sizeof(*h));
	h->loop = loop;
	h->user_agent = mem_strdup(user_agent);
	h->ca_file = ca_file_of_user();
	list_init(&h->running);
	list_init(&h->waiting);
	timer_init(&h->alarm, loop, on_alarm);
	h->multi = curl_multi_init();
	CHECK(h->multi); /* only memory can be missing */
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_alarm);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS,
			  (long)IDLE_CONNECTIONS);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	loop_assert(h->loop);
	list_foreach_safe(q, &h->waiting, struct http_request, node)
		drop(q);
	list_foreach_safe(q, &h->running, struct http_request, node)
		drop(q);
	curl_multi_cleanup(h->multi);
	timer_stop(&h->alarm);
	free(h->user_agent);
	free(h->ca_file);
	free(h);
	curl_global_cleanup();
}
