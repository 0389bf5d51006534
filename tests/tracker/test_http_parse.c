/* Goal: heads of requests are taken as HTTP means them, however they are cut,
 * and what is hostile about them gets its own status. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "tracker/server/http_parse.h"

static int parse_bytes(const void *text, size_t len, struct http_head *h,
		       unsigned *status)
{
	/* A copy of just this size, so that a sanitizer sees the end. */
	uint8_t *copy = malloc(len ? len : 1);
	const char *why;
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	r = http_parse(copy, len, h, status, &why);
	assert_true(r == 0 || r == -EAGAIN || r == -EBADMSG);
	assert_int_equal(r == -EBADMSG, *status != 0);
	assert_int_equal(r == -EBADMSG, why != NULL);
	free(copy);
	return r;
}

static int parse(const char *text, struct http_head *h)
{
	unsigned status;
	const char *why;

	return http_parse((const uint8_t *)text, strlen(text), h, &status,
			  &why);
}

static void refused(unsigned want, const char *text)
{
	struct http_head h;
	unsigned status;

	if (parse_bytes(text, strlen(text), &h, &status) != -EBADMSG ||
	    status != want)
		fail_msg("%u instead of %u for %s", status, want, text);
}

static void span_is(struct span s, const char *text)
{
	if (!http_span_is(s, text))
		fail_msg("%.*s is not %s", (int)s.len, (const char *)s.ptr,
			 text);
}

#define GET "GET /announce?a=1&b HTTP/1.1\r\n"

static void takes_a_request(void **state)
{
	const char *text = GET "Host: t.example:6969\r\nUser-Agent: x\r\n"
			       "Accept-Encoding: gzip, deflate;q=0\r\n\r\nmore";
	struct http_head h;

	assert_int_equal(parse(text, &h), 0);
	assert_int_equal(h.len, strlen(text) - 4);
	assert_int_equal(h.method, HTTP_METHOD_GET);
	assert_int_equal(h.minor, 1);
	assert_true(h.keeps_alive);
	assert_true(h.takes_gzip);
	assert_false(h.takes_deflate);
	span_is(h.path, "/announce");
	span_is(h.query, "a=1&b");
	span_is(h.host, "t.example:6969");
	assert_int_equal(h.num_forwarded, 0);
}

static void keeps_alive_as_asked(void **state)
{
	struct http_head h;

	assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &h), 0);
	assert_false(h.keeps_alive);
	assert_int_equal(h.host.len, 0);
	assert_int_equal(
		parse("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", &h), 0);
	assert_true(h.keeps_alive);
	assert_int_equal(
		parse(GET "Host: a\r\nConnection: te, CLOSE\r\n\r\n", &h), 0);
	assert_false(h.keeps_alive);
}

static void takes_absolute_form(void **state)
{
	struct http_head h;

	assert_int_equal(parse("GET HTTP://foo.bt.example:80/announce?q "
			       "HTTP/1.1\r\nHost: other\r\n\r\n",
			       &h),
			 0);
	span_is(h.host, "foo.bt.example:80");
	span_is(h.path, "/announce");
	span_is(h.query, "q");
	assert_int_equal(
		parse("GET http://foo HTTP/1.1\r\nHost: foo\r\n\r\n", &h), 0);
	span_is(h.path, "/");
	assert_int_equal(
		parse("GET http://foo?x HTTP/1.1\r\nHost: foo\r\n\r\n", &h), 0);
	span_is(h.path, "/");
	span_is(h.query, "x");
	refused(400, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n");
	refused(400, "GET ftp://a/x HTTP/1.1\r\nHost: a\r\n\r\n");
	refused(400, "GET announce HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void names_other_methods(void **state)
{
	struct http_head h;

	assert_int_equal(parse("HEAD / HTTP/1.0\r\n\r\n", &h), 0);
	assert_int_equal(h.method, HTTP_METHOD_HEAD);
	assert_int_equal(parse("POST /x HTTP/1.0\r\n\r\n", &h), 0);
	assert_int_equal(h.method, HTTP_METHOD_OTHER);
	assert_int_equal(parse("get / HTTP/1.0\r\n\r\n", &h), 0);
	assert_int_equal(h.method, HTTP_METHOD_OTHER);
	assert_int_equal(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &h), 0);
	assert_int_equal(h.method, HTTP_METHOD_OTHER);
}

static void keeps_the_last_hops(void **state)
{
	struct http_head h;

	assert_int_equal(
		parse("GET / HTTP/1.0\r\n"
		      "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2\r\n"
		      "X-Forwarded-For: 3.3.3.3\r\nX-Forwarded-For: 4.4.4.4\r\n"
		      "X-Forwarded-For:  5.5.5.5, 6.6.6.6 \r\n\r\n",
		      &h),
		0);
	assert_int_equal(h.num_forwarded, HTTP_FORWARDED_MAX);
	span_is(h.forwarded[0], "2.2.2.2");
	span_is(h.forwarded[3], "5.5.5.5, 6.6.6.6");
}

static void refuses_what_is_hostile(void **state)
{
	refused(400, GET "\r\n"); /* no Host */
	refused(400, GET "Host: a\r\nHost: b\r\n\r\n");
	refused(400, GET "Host: a b\r\n\r\n");
	refused(400, GET "Host: a/b\r\n\r\n");
	refused(400, GET "Host: a\r\n folded: b\r\n\r\n");
	refused(400, GET "Host : a\r\n\r\n");
	refused(400, GET ": a\r\n\r\n");
	refused(400, GET "Host\r\n\r\n");
	refused(400, GET "Host: a\rX: b\r\n\r\n");
	refused(400, GET "Host: \x01\r\n\r\n");
	refused(400, GET "Content-Length: x\r\n\r\n");
	refused(400, GET "Content-Length: \r\n\r\n");
	refused(400, GET "Content-Length: 0\r\nContent-Length: 0\r\n\r\n");
	refused(400, "GET\r\n\r\n");
	refused(400, "GET / \r\n\r\n");
	refused(400, "GET  HTTP/1.1\r\n\r\n");
	refused(400, "GET /a b HTTP/1.1\r\n\r\n");
	refused(400, "GET / HTTP/1\r\n\r\n");
	refused(400, "GET / http/1.1\r\n\r\n");
	refused(400, "\x16\x03\x01\x02"); /* TLS where none is spoken */
	refused(413, GET "Host: a\r\nContent-Length: 5\r\n\r\nhello");
	refused(413, GET "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n");
	refused(505, "GET / HTTP/2.0\r\n\r\n");
}

static void refuses_nul_anywhere(void **state)
{
	char text[] = GET "Host: a\r\nX: y\r\n\r\n";
	struct http_head h;
	unsigned status;

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char was = text[i];

		text[i] = 0;
		assert_int_equal(
			parse_bytes(text, sizeof(text) - 1, &h, &status),
			-EBADMSG);
		assert_int_equal(status, 400);
		text[i] = was;
	}
}

static void bounds_the_head(void **state)
{
	static char text[3 * LIMIT_WEB_HEAD_BYTES];
	size_t len;

	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	text[sizeof(text) - 1] = 0;
	refused(414, text); /* no end in sight */
	len = (size_t)snprintf(text, sizeof(text), "%sHost: a\r\nX: ", GET);
	text[len] = 'x';
	refused(431, text);
	memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
	refused(431, text); /* all there, and too much */
	memset(text + len, 'x', sizeof(text) - len);
	memcpy(text + LIMIT_WEB_HEAD_BYTES - 4, "\r\n\r\n", 5);
	assert_int_equal(parse(text, &(struct http_head){ 0 }), 0);
	memcpy(text + LIMIT_WEB_HEAD_BYTES - 3, "\r\n\r\n", 5);
	text[LIMIT_WEB_HEAD_BYTES - 4] = 'x';
	refused(431, text);
}

static void waits_for_the_end(void **state)
{
	const char *text =
		"\r\n" GET "Host: a\r\nConnection: close\r\n\r\n" GET;
	size_t whole = strlen(text) - strlen(GET);
	struct http_head h;
	unsigned status;

	for (size_t len = 0; len < whole; len++)
		assert_int_equal(parse_bytes(text, len, &h, &status), -EAGAIN);
	for (size_t len = whole; len <= strlen(text); len++) {
		assert_int_equal(parse_bytes(text, len, &h, &status), 0);
		assert_int_equal(h.len, whole);
	}
}

static void unescapes(void **state)
{
	uint8_t out[4];
	struct span s = { (const uint8_t *)"a%2f%2F+", 8 };

	assert_int_equal(http_unescape(s, out, 4), 4);
	assert_memory_equal(out, "a//+", 4);
	assert_int_equal(http_unescape(s, out, 3), -EBADMSG);
	s = (struct span){ (const uint8_t *)"%0", 2 };
	assert_int_equal(http_unescape(s, out, 4), -EBADMSG);
	s = (struct span){ (const uint8_t *)"%", 1 };
	assert_int_equal(http_unescape(s, out, 4), -EBADMSG);
	s = (struct span){ (const uint8_t *)"%0g", 3 };
	assert_int_equal(http_unescape(s, out, 4), -EBADMSG);
	s = (struct span){ (const uint8_t *)"%00", 3 };
	assert_int_equal(http_unescape(s, out, 4), 1);
	assert_int_equal(out[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_request),
		cmocka_unit_test(keeps_alive_as_asked),
		cmocka_unit_test(takes_absolute_form),
		cmocka_unit_test(names_other_methods),
		cmocka_unit_test(keeps_the_last_hops),
		cmocka_unit_test(refuses_what_is_hostile),
		cmocka_unit_test(refuses_nul_anywhere),
		cmocka_unit_test(bounds_the_head),
		cmocka_unit_test(waits_for_the_end),
		cmocka_unit_test(unescapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
