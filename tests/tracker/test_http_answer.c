/* Goal: answers of the tracker's web are the bytes that clients expect: keys
 * sorted, lengths right, heads before bodies. */
#include "tests/cmocka_all.h"

#include <string.h>

#include "tracker/server/http_answer.h"

static void body_is(const struct buf *b, const void *want, size_t len)
{
	if (b->len != len || memcmp(b->ptr, want, len) != 0)
		fail_msg("%.*s", (int)b->len, (const char *)b->ptr);
}

#define BODY_IS(b, literal) body_is(b, literal, sizeof(literal) - 1)

static struct http_peers some(void)
{
	return (struct http_peers){
		.counts = { .seeders = 1, .leechers = 2, .completed = 77 },
		.interval_s = 1800,
		.min_interval_s = 900,
		.is_compact = true,
		.peers4 = (const uint8_t *)"axje.ubcdefg",
		.peers6 = (const uint8_t *)"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0"
					   "\0\0\x01\x1a\xe1",
	};
}

static void announces(void **state)
{
	struct http_peers p = some();
	struct buf b;

	buf_init(&b, 0);
	http_answer_peers(&b, &p);
	BODY_IS(&b, "d8:completei1e10:downloadedi77e10:incompletei2e8:"
		    "intervali1800e12:min intervali900e5:peers0:e");
	buf_clear(&b);
	p.num4 = 2;
	p.num6 = 1;
	p.external.family = 4;
	memcpy(p.external.ip, "\xc0\0\x02\x01", 4);
	p.warning = "mind";
	http_answer_peers(&b, &p);
	BODY_IS(&b, "d8:completei1e10:downloadedi77e11:external ip4:\xc0\0\x02"
		    "\x01"
		    "10:incompletei2e8:intervali1800e12:min intervali900e5:"
		    "peers12:axje.ubcdefg6:peers618:\x20\x01\x0d\xb8\0\0\0\0\0"
		    "\0\0\0\0\0\0\x01\x1a\xe1"
		    "15:warning message4:minde");
	buf_clear(&b);
	p = some();
	p.external.family = 6;
	memset(p.external.ip, 'v', 16);
	p.says_peers6 = true;
	http_answer_peers(&b, &p);
	BODY_IS(&b, "d8:completei1e10:downloadedi77e11:external ip16:"
		    "vvvvvvvvvvvvvvvv10:incompletei2e8:intervali1800e12:min "
		    "intervali900e5:peers0:6:peers60:e");
	buf_release(&b);
}

static void dictionaries(void **state)
{
	struct http_peers p = some();
	struct buf b;

	buf_init(&b, 0);
	p.is_compact = false;
	p.num4 = p.num6 = 1;
	http_answer_peers(&b, &p);
	BODY_IS(&b, "d8:completei1e10:downloadedi77e10:incompletei2e8:"
		    "intervali1800e12:min intervali900e5:peersld2:ip14:"
		    "97.120.106.1014:porti11893eed2:ip11:2001:db8::14:porti6881"
		    "eeee");
	buf_release(&b);
}

static void failures(void **state)
{
	struct buf b;

	buf_init(&b, 0);
	http_answer_failure(&b, "Overloaded", 5);
	BODY_IS(&b, "d14:failure reason10:Overloaded8:retry ini5ee");
	buf_clear(&b);
	http_answer_failure(&b, "Overloaded", HTTP_RETRY_NEVER);
	BODY_IS(&b, "d14:failure reason10:Overloaded8:retry in5:nevere");
	buf_clear(&b);
	http_answer_failure(&b, "no", 0);
	BODY_IS(&b, "d14:failure reason2:noe");
	buf_release(&b);
}

static void scrapes(void **state)
{
	struct swarms_counts c = { .seeders = 11,
				   .leechers = 19,
				   .completed = 13772 };
	struct infohash h;
	struct buf b;

	memset(h.b, 'x', sizeof(h.b));
	buf_init(&b, 0);
	http_answer_scrape_begin(&b);
	http_answer_scrape_entry(&b, &h, &c);
	http_answer_scrape_end(&b);
	BODY_IS(&b, "d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:"
		    "downloadedi13772e10:incompletei19eeee");
	buf_clear(&b);
	http_answer_scrape_begin(&b);
	http_answer_scrape_end(&b);
	BODY_IS(&b, "d5:filesdee");
	buf_release(&b);
}

static void heads(void **state)
{
	struct http_reply r = { .status = 200, .type = "text/plain" };
	struct buf b;
	size_t mark;

	buf_init(&b, 0);
	buf_add_str(&b, "before");
	mark = http_answer_begin(&b);
	buf_add_str(&b, "body");
	http_answer_end(&b, mark, &r);
	BODY_IS(&b, "beforeHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		    "Connection: close\r\nContent-Length: 4\r\n\r\nbody");
	buf_clear(&b);
	r.keeps_alive = r.is_head_only = true;
	r.extra = "X: y\r\n";
	mark = http_answer_begin(&b);
	buf_add_str(&b, "body");
	http_answer_end(&b, mark, &r);
	BODY_IS(&b, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
		    "Connection: keep-alive\r\nX: y\r\nContent-Length: 4\r\n"
		    "\r\n");
	buf_clear(&b);
	r = (struct http_reply){ .status = 431 };
	http_answer_text(&b, &r, "too long");
	BODY_IS(&b, "HTTP/1.1 431 Request Header Fields Too Large\r\n"
		    "Content-Type: text/plain; charset=utf-8\r\n"
		    "Connection: close\r\nContent-Length: 13\r\n\r\n"
		    "431 too long\n");
	buf_release(&b);
}

static void no_memory_is_seen(void **state)
{
	struct http_reply r = { .status = 200, .type = "text/plain" };
	struct buf b;
	size_t mark;

	buf_init(&b, 600);
	mark = http_answer_begin(&b);
	for (unsigned i = 0; i < 100; i++)
		buf_add_str(&b, "0123456789");
	http_answer_end(&b, mark, &r);
	assert_true(b.is_broken);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(announces),
		cmocka_unit_test(dictionaries),
		cmocka_unit_test(failures),
		cmocka_unit_test(scrapes),
		cmocka_unit_test(heads),
		cmocka_unit_test(no_memory_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
