#include "tracker/server/http_answer.h"

#include <string.h>

#include "engine/base/bytes.h"

#define HEAD_ROOM 512 /* bytes; what a head can be, EXTRA with it */

static const char *reason_of(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}

/* --- small parts, without malloc or printf: announces are made of them --- */

#define DIGITS_MAX 20

/* Writes V backwards, ending before END; returns where it begins. */
static char *digits(char *end, uint64_t v)
{
	do
		*--end = (char)('0' + v % 10);
	while (v /= 10);
	return end;
}

static void add_number(struct buf *out, uint64_t v)
{
	char text[DIGITS_MAX], *end = text + sizeof(text);
	char *at = digits(end, v);

	buf_add(out, at, (size_t)(end - at));
}

#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

static void add_int(struct buf *out, uint64_t v)
{
	ADD(out, "i");
	add_number(out, v);
	ADD(out, "e");
}

static void add_string(struct buf *out, const void *bytes, size_t len)
{
	add_number(out, len);
	ADD(out, ":");
	buf_add(out, bytes, len);
}

static void add_text(struct buf *out, const char *text)
{
	add_string(out, text, strlen(text));
}

/* --- heads --- */

size_t http_answer_begin(struct buf *out)
{
	size_t mark = out->len;

	if (buf_reserve(out, HEAD_ROOM))
		out->len += HEAD_ROOM;
	return mark;
}

static void add_head_start(struct buf *head, const struct http_reply *reply)
{
	if (reply->status == 200) {
		ADD(head, "HTTP/1.1 200 OK\r\n");
	} else {
		ADD(head, "HTTP/1.1 ");
		add_number(head, reply->status);
		ADD(head, " ");
		buf_add_str(head, reason_of(reply->status));
		ADD(head, "\r\n");
	}
	ADD(head, "Content-Type: ");
	buf_add_str(head, reply->type);
	if (reply->keeps_alive)
		ADD(head, "\r\nConnection: keep-alive\r\n");
	else
		ADD(head, "\r\nConnection: close\r\n");
	if (reply->extra)
		buf_add_str(head, reply->extra);
}

void http_answer_end(struct buf *out, size_t mark,
		     const struct http_reply *reply)
{
	size_t body_len;
	struct buf head;

	if (out->is_broken)
		return;
	body_len = out->len - mark - HEAD_ROOM;
	/* The head is written in place; it cannot pass its room. */
	head = (struct buf){ .ptr = out->ptr + mark,
			     .cap = HEAD_ROOM,
			     .max = HEAD_ROOM };
	add_head_start(&head, reply);
	ADD(&head, "Content-Length: ");
	add_number(&head, body_len);
	ADD(&head, "\r\n\r\n");
	if (head.is_broken) {
		out->is_broken = true;
		return;
	}
	if (!reply->is_head_only)
		memmove(head.ptr + head.len, head.ptr + HEAD_ROOM, body_len);
	out->len = mark + head.len + (reply->is_head_only ? 0 : body_len);
}

void http_answer_stream_head(struct buf *out, const struct http_reply *reply,
			     const char *coding, bool is_chunked)
{
	add_head_start(out, reply);
	if (coding) {
		ADD(out, "Content-Encoding: ");
		buf_add_str(out, coding);
		ADD(out, "\r\nVary: Accept-Encoding\r\n");
	}
	if (is_chunked)
		ADD(out, "Transfer-Encoding: chunked\r\n");
	ADD(out, "\r\n");
}

void http_answer_text(struct buf *out, const struct http_reply *reply,
		      const char *why)
{
	struct http_reply r = *reply;
	size_t mark = http_answer_begin(out);

	r.type = "text/plain; charset=utf-8";
	add_number(out, r.status);
	ADD(out, " ");
	buf_add_str(out, why);
	ADD(out, "\n");
	http_answer_end(out, mark, &r);
}

/* --- bodies --- */

static void add_dicts(struct buf *out, const uint8_t *peers, unsigned num,
		      unsigned family)
{
	char text[ADDR_STR_MAX];
	struct addr a;

	for (unsigned i = 0; i < num; i++) {
		if (family == 4)
			addr_from_compact4(&a, peers + 6 * (size_t)i);
		else
			addr_from_compact6(&a, peers + 18 * (size_t)i);
		ADD(out, "d2:ip");
		add_text(out, addr_ip_str(&a, text));
		ADD(out, "4:port");
		add_int(out, a.port);
		ADD(out, "e");
	}
}

static void add_peers(struct buf *out, const struct http_peers *p)
{
	ADD(out, "5:peers");
	if (!p->is_compact) {
		ADD(out, "l");
		add_dicts(out, p->peers4, p->num4, 4);
		add_dicts(out, p->peers6, p->num6, 6);
		ADD(out, "e");
		return;
	}
	add_string(out, p->peers4, 6 * (size_t)p->num4);
	if (!p->num6 && !p->says_peers6)
		return;
	ADD(out, "6:peers6");
	add_string(out, p->peers6, 18 * (size_t)p->num6);
}

void http_answer_peers(struct buf *out, const struct http_peers *p)
{
	ADD(out, "d8:complete");
	add_int(out, p->counts.seeders);
	ADD(out, "10:downloaded");
	add_int(out, p->counts.completed);
	if (p->external.family) {
		ADD(out, "11:external ip");
		add_string(out, p->external.ip,
			   p->external.family == 4 ? 4 : 16);
	}
	ADD(out, "10:incomplete");
	add_int(out, p->counts.leechers);
	ADD(out, "8:interval");
	add_int(out, p->interval_s);
	ADD(out, "12:min interval");
	add_int(out, p->min_interval_s);
	add_peers(out, p);
	if (p->warning) {
		ADD(out, "15:warning message");
		add_text(out, p->warning);
	}
	ADD(out, "e");
}

void http_answer_failure(struct buf *out, const char *why, int retry_min)
{
	ADD(out, "d14:failure reason");
	add_text(out, why);
	if (retry_min)
		ADD(out, "8:retry in");
	if (retry_min > 0)
		add_int(out, (uint64_t)retry_min);
	else if (retry_min == HTTP_RETRY_NEVER)
		add_text(out, "never");
	ADD(out, "e");
}

void http_answer_scrape_begin(struct buf *out)
{
	ADD(out, "d5:filesd");
}

void http_answer_scrape_entry(struct buf *out, const struct infohash *infohash,
			      const struct swarms_counts *counts)
{
	add_string(out, infohash->b, sizeof(infohash->b));
	ADD(out, "d8:complete");
	add_int(out, counts->seeders);
	ADD(out, "10:downloaded");
	add_int(out, counts->completed);
	ADD(out, "10:incomplete");
	add_int(out, counts->leechers);
	ADD(out, "e");
}

void http_answer_scrape_end(struct buf *out)
{
	ADD(out, "ee");
}
