/* Goal: an HTTP answer arrives as it was meant, or as an error that tells;
 * nothing that a server does costs more than the caps allow; a guard sees
 * every place before it is asked anything. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/base/http.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tests/lib/webserver.h"

#define REQUESTS_MAX 80

struct world {
	struct loop *loop;
	struct http *http;
	struct webserver *server;
	char url[256];   /* of the server, without a path */
	char head[4096]; /* the last request */
	struct addr from;
	struct webrequest *held[REQUESTS_MAX]; /* of paths under /hold */
	unsigned num_held;
	/* the guard */
	const char *refuse_path;
	bool refuse_redirect;
	int asked;
	char guard_path[256];
	bool had_from;
};

struct got {
	struct world *w;
	int calls;
	struct http_result res;
	char body[256];
	char why[256];
};

static void send_gzip(struct webrequest *r, size_t len)
{
	z_stream z = { 0 };
	uint8_t *plain = mem_alloc(len + 1), *out;
	uLong cap;

	memset(plain, 'z', len);
	assert_int_equal(
		deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY),
		Z_OK);
	cap = deflateBound(&z, len);
	out = mem_alloc(cap);
	z.next_in = plain;
	z.avail_in = (uInt)len;
	z.next_out = out;
	z.avail_out = (uInt)cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	webrequest_reply(r, "200 OK", "Content-Encoding: gzip\r\n", out,
			 z.total_out);
	deflateEnd(&z);
	free(plain);
	free(out);
}

static void send_redirect(struct world *w, struct webrequest *r, const char *to)
{
	char *line = mem_printf("Location: %s\r\n", to);

	webrequest_reply(r, "302 Found", line, "gone", 4);
	free(line);
}

static void send_flood(struct webrequest *r, bool headers)
{
	char line[1024];

	memset(line, 'x', sizeof(line));
	memcpy(line, "a: ", 3);
	memcpy(line + sizeof(line) - 2, "\r\n", 2);
	webrequest_send(r, "HTTP/1.1 200 OK\r\n", 17);
	if (!headers)
		webrequest_send(r, "\r\n", 2);
	for (int i = 0; i < 2000; i++)
		webrequest_send(r, line, sizeof(line));
	webrequest_close(r);
}

static void on_request(void *arg, struct webrequest *r, const char *head)
{
	struct world *w = arg;
	const char *path = strchr(head, ' ') + 1;
	int n;

	snprintf(w->head, sizeof(w->head), "%s", head);
	webrequest_from(r, &w->from);
	if (!strncmp(path, "/gzip ", 6)) {
		send_gzip(r, 100);
	} else if (!strncmp(path, "/bomb ", 6)) {
		send_gzip(r, 64 << 20);
	} else if (!strncmp(path, "/flood ", 7)) {
		send_flood(r, false);
	} else if (!strncmp(path, "/headers ", 9)) {
		send_flood(r, true);
	} else if (!strncmp(path, "/chunked ", 9)) {
		const char *s = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
				"chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n"
				"\r\n";

		webrequest_send(r, s, strlen(s));
	} else if (sscanf(path, "/hop/%d ", &n) == 1 && n > 0) {
		char to[64];

		snprintf(to, sizeof(to), "/hop/%d", n - 1);
		send_redirect(w, r, to);
	} else if (!strncmp(path, "/file ", 6)) {
		send_redirect(w, r, "file:///etc/passwd");
	} else if (!strncmp(path, "/hold", 5)) {
		w->held[w->num_held++ % REQUESTS_MAX] = r;
	} else if (!strncmp(path, "/missing ", 9)) {
		webrequest_reply(r, "404 Not Found", "", "no", 2);
	} else if (!strncmp(path, "/garbage ", 9)) {
		webrequest_send(r, "\1\2 not http\r\n\r\n", 15);
		webrequest_close(r);
	} else if (!strncmp(path, "/cut ", 5)) {
		const char *s =
			"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab";

		webrequest_send(r, s, strlen(s));
		webrequest_close(r);
	} else {
		webrequest_reply(r, "200 OK", "", "hello", 5);
	}
}

static bool open_world(struct world *w, int family)
{
	memset(w, 0, sizeof(*w));
	w->loop = loop_new();
	w->http = http_new(w->loop, "weirfs-test/1");
	assert_non_null(w->http);
	w->server = webserver_new(w->loop, family, on_request, w);
	if (!w->server)
		return false;
	snprintf(w->url, sizeof(w->url),
		 family == 4 ? "http://127.0.0.1:%u" : "http://[::1]:%u",
		 webserver_port(w->server));
	return true;
}

static void close_world(struct world *w)
{
	http_free(w->http);
	webserver_free(w->server);
	loop_free(w->loop);
}

static void on_done(void *arg, const struct http_result *res)
{
	struct got *g = arg;
	size_t n = res->len < sizeof(g->body) ? res->len : sizeof(g->body) - 1;

	g->calls++;
	g->res = *res;
	if (n)
		memcpy(g->body, res->body, n);
	g->body[n] = '\0';
	snprintf(g->why, sizeof(g->why), "%s", res->why);
}

static struct http_request *start(struct world *w, struct got *g,
				  const char *path,
				  const struct http_options *o)
{
	static const struct http_options none;
	char *url = path[0] == '/' ? mem_printf("%s%s", w->url, path)
				   : mem_strdup(path);
	struct http_request *q;

	memset(g, 0, sizeof(*g));
	g->w = w;
	q = http_get(w->http, url, o ? o : &none, on_done, g);
	free(url);
	return q;
}

static void run_until(struct world *w, const int *n, int want)
{
	for (int i = 0; i < 1000 && *n < want; i++)
		loop_run_once(w->loop, 10);
	assert_int_equal(*n, want);
}

static int get(struct world *w, struct got *g, const char *path,
	       const struct http_options *o)
{
	assert_non_null(start(w, g, path, o));
	assert_int_equal(g->calls, 0);
	run_until(w, &g->calls, 1);
	return g->res.r;
}

static void test_get__asks_politely_and_keeps_the_connection(void **state)
{
	struct world w;
	struct got g;
	char *host;

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/a?b=%20c", NULL), 0);
	assert_int_equal(g.res.status, 200);
	assert_string_equal(g.body, "hello");
	assert_string_equal(g.why, "");
	assert_int_equal(g.res.peer.port, webserver_port(w.server));
	assert_true(addr_is_loopback(&g.res.peer));
	assert_true(!strncmp(w.head, "GET /a?b=%20c HTTP/1.1\r\n", 24));
	host = mem_printf("\r\nHost: %s\r\n", w.url + 7);
	assert_non_null(strstr(w.head, host));
	free(host);
	assert_non_null(strstr(w.head, "\r\nUser-Agent: weirfs-test/1\r\n"));
	assert_non_null(
		strstr(w.head, "\r\nAccept-Encoding: gzip, deflate\r\n"));
	assert_null(strstr(w.head, "Expect"));
	assert_int_equal(get(&w, &g, "/b", NULL), 0);
	assert_int_equal(webserver_connections(w.server), 1);
	close_world(&w);
}

static void test_get__any_status_is_an_answer(void **state)
{
	struct world w;
	struct got g;

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/missing", NULL), 0);
	assert_int_equal(g.res.status, 404);
	assert_string_equal(g.body, "no");
	assert_int_equal(get(&w, &g, "/chunked", NULL), 0);
	assert_string_equal(g.body, "abcde");
	close_world(&w);
}

static void test_get__bad_answers_are_errors(void **state)
{
	struct world w;
	struct got g;

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/garbage", NULL), -EPROTO);
	assert_true(g.why[0]);
	assert_int_equal(get(&w, &g, "/cut", NULL), -EPROTO);
	assert_int_equal(g.res.len, 0);
	close_world(&w);
}

static void test_get__cap_holds_after_inflating(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .max_body = 100 };

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/gzip", &o), 0);
	assert_int_equal(g.res.len, 100);
	o.max_body = 99;
	assert_int_equal(get(&w, &g, "/gzip", &o), -E2BIG);
	assert_int_equal(get(&w, &g, "/bomb", NULL), -E2BIG);
	assert_int_equal(get(&w, &g, "/flood", NULL), -E2BIG);
	assert_int_equal(get(&w, &g, "/headers", NULL), -E2BIG);
	close_world(&w);
}

static void test_redirect__few_and_http_only(void **state)
{
	struct world w;
	struct got g;

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/hop/5", NULL), 0);
	assert_string_equal(g.body, "hello");
	assert_int_equal(get(&w, &g, "/hop/6", NULL), -EPROTO);
	assert_int_equal(get(&w, &g, "/file", NULL), -EPROTO);
	assert_int_equal(g.res.len, 0);
	close_world(&w);
}

static void test_get__fails_with_the_right_errno(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .timeout_ms = 50 };
	char name[128], *url;
	uint16_t port;

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/hold", &o), -ETIMEDOUT);
	/* A label longer than 63 bytes: fails without asking anyone. */
	memset(name, 'a', 100);
	name[100] = '\0';
	url = mem_printf("http://%s/", name);
	assert_int_equal(get(&w, &g, url, NULL), -EHOSTUNREACH);
	free(url);
	port = webserver_port(w.server);
	webserver_free(w.server);
	w.server = NULL;
	url = mem_printf("http://127.0.0.1:%u/", port);
	assert_int_equal(get(&w, &g, url, NULL), -ECONNREFUSED);
	assert_true(g.why[0]);
	assert_int_equal(g.res.peer.family, 0);
	free(url);
	close_world(&w);
}

static void test_get__refuses_what_is_no_http_url(void **state)
{
	const char *bad[] = { "ftp://127.0.0.1/",
			      "file:///etc/passwd",
			      "udp://127.0.0.1:1/announce",
			      "127.0.0.1/x",
			      "",
			      "http://",
			      "http://a b/",
			      "http://[::1/",
			      "http://127.0.0.1:99999/",
			      "gopher://x/" };
	struct world w;
	struct got g;
	char *url = mem_alloc(LIMIT_HTTP_URL_BYTES + 2);

	assert_true(open_world(&w, 4));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(http_get(w.http, bad[i],
				     &(struct http_options){ 0 }, on_done, &g));
	memset(url, 'a', LIMIT_HTTP_URL_BYTES + 1);
	memcpy(url, "http://127.0.0.1/", 17);
	assert_null(http_get(w.http, url, &(struct http_options){ 0 }, on_done,
			     &g));
	free(url);
	close_world(&w);
}

static void test_cancel__promises_silence_and_frees_a_place(void **state)
{
	struct world w;
	struct got g[REQUESTS_MAX];
	struct http_request *q[REQUESTS_MAX];
	int last = LIMIT_HTTP_IN_FLIGHT;

	assert_true(open_world(&w, 4));
	for (int i = 0; i <= last; i++)
		q[i] = start(&w, &g[i], "/hold", NULL);
	run_until(&w, (int *)&w.num_held, LIMIT_HTTP_IN_FLIGHT);
	for (int i = 0; i < 5; i++)
		loop_run_once(w.loop, 1);
	assert_int_equal(w.num_held, LIMIT_HTTP_IN_FLIGHT);
	assert_true(http_is_full(w.http));
	http_cancel(NULL);
	http_cancel(q[3]);
	run_until(&w, (int *)&w.num_held, LIMIT_HTTP_IN_FLIGHT + 1);
	assert_false(http_is_full(w.http));
	webrequest_reply(w.held[last], "200 OK", "", "x", 1);
	run_until(&w, &g[last].calls, 1);
	/* One that waits can be cancelled too. */
	for (int i = 0; i < 2; i++)
		q[i] = start(&w, &g[last], "/hold", NULL);
	http_cancel(q[1]);
	for (int i = 0; i < last; i++)
		assert_int_equal(g[i].calls, 0);
	close_world(&w); /* with requests on the wire and waiting */
	for (int i = 0; i < last; i++)
		assert_int_equal(g[i].calls, 0);
}

static void test_options__connect_to_keeps_the_host(void **state)
{
	struct world w;
	struct got g;
	struct addr to = { .family = 4, .ip = { 127, 0, 0, 1 } };
	struct http_options o = { .connect_to = &to };

	assert_true(open_world(&w, 4));
	to.port = webserver_port(w.server);
	assert_int_equal(get(&w, &g, "http://key.bt.example:1234/announce", &o),
			 0);
	assert_string_equal(g.body, "hello");
	assert_non_null(strstr(w.head, "\r\nHost: key.bt.example:1234\r\n"));
	assert_int_equal(g.res.peer.port, to.port);
	close_world(&w);
}

static void test_options__range_and_source_address(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .range_from = 100,
				  .range_len = 50,
				  .bind_ip = "127.0.0.9" };

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/", &o), 0);
	assert_non_null(strstr(w.head, "\r\nRange: bytes=100-149\r\n"));
	assert_null(strstr(w.head, "Accept-Encoding"));
	assert_int_equal(w.from.ip[3], 9);
	o.bind_ip = "203.0.113.77"; /* not ours */
	assert_int_equal(get(&w, &g, "/", &o), -EHOSTUNREACH);
	close_world(&w);
}

static void test_options__family(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .family = 6 };
	char *url;

	if (!open_world(&w, 6)) {
		close_world(&w);
		return; /* no such family here: nothing to see */
	}
	assert_int_equal(get(&w, &g, "/", &o), 0);
	assert_int_equal(g.res.peer.family, 6);
	o.family = 4;
	url = mem_printf("http://localhost:%u/", webserver_port(w.server));
	assert_int_not_equal(get(&w, &g, url, &o), 0); /* listens on ::1 only */
	free(url);
	close_world(&w);
}

static const char *guard(void *arg, const struct http_hop *hop)
{
	struct world *w = ((struct got *)arg)->w;

	w->asked++;
	w->had_from = hop->from != NULL;
	snprintf(w->guard_path, sizeof(w->guard_path), "%s", hop->path);
	assert_true(addr_is_loopback(hop->to));
	assert_int_equal(hop->to->port, webserver_port(w->server));
	if (hop->from)
		assert_true(addr_eq(hop->from, hop->to));
	if (w->refuse_path && !strcmp(w->refuse_path, hop->path))
		return "refused path";
	if (w->refuse_redirect && hop->from)
		return "refused redirect";
	return NULL;
}

static void test_guard__no_byte_before_it_agreed(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .guard = guard };

	assert_true(open_world(&w, 4));
	w.refuse_path = "/secret";
	assert_int_equal(get(&w, &g, "/a/../secret?x=/announce", &o), -EPERM);
	assert_string_equal(g.why, "refused path");
	assert_false(w.had_from);
	assert_int_equal(webserver_connections(w.server), 0);
	/* A connection that lives in the pool makes no difference. */
	assert_int_equal(get(&w, &g, "/fine", &o), 0);
	assert_string_equal(w.guard_path, "/fine");
	w.head[0] = '\0';
	assert_int_equal(get(&w, &g, "/secret", &o), -EPERM);
	assert_string_equal(w.head, "");
	close_world(&w);
}

static void test_guard__knows_who_redirected(void **state)
{
	struct world w;
	struct got g;
	struct http_options o = { .guard = guard };

	assert_true(open_world(&w, 4));
	assert_int_equal(get(&w, &g, "/hop/1", &o), 0);
	assert_true(w.had_from);
	assert_string_equal(w.guard_path, "/hop/0");
	w.refuse_redirect = true;
	assert_int_equal(get(&w, &g, "/hop/1", &o), -EPERM);
	assert_string_equal(g.why, "refused redirect");
	assert_non_null(strstr(w.head, "GET /hop/1 "));
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_get__asks_politely_and_keeps_the_connection),
		cmocka_unit_test(test_get__any_status_is_an_answer),
		cmocka_unit_test(test_get__bad_answers_are_errors),
		cmocka_unit_test(test_get__cap_holds_after_inflating),
		cmocka_unit_test(test_redirect__few_and_http_only),
		cmocka_unit_test(test_get__fails_with_the_right_errno),
		cmocka_unit_test(test_get__refuses_what_is_no_http_url),
		cmocka_unit_test(
			test_cancel__promises_silence_and_frees_a_place),
		cmocka_unit_test(test_options__connect_to_keeps_the_host),
		cmocka_unit_test(test_options__range_and_source_address),
		cmocka_unit_test(test_options__family),
		cmocka_unit_test(test_guard__no_byte_before_it_agreed),
		cmocka_unit_test(test_guard__knows_who_redirected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
