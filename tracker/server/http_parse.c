#include "tracker/server/http_parse.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "engine/base/limits.h"

/* What is wrong with a request, while it is parsed. */
struct fault {
	unsigned status; /* 0: nothing */
	const char *why;
};

/* What lines may only say once. */
struct seen {
	bool host, length;
};

static int refuse(struct fault *f, unsigned status, const char *why)
{
	f->status = status;
	f->why = why;
	return -EBADMSG;
}

static struct span span_of(const uint8_t *from, const uint8_t *to)
{
	return (struct span){ from, (size_t)(to - from) };
}

bool http_span_is(struct span s, const char *text)
{
	size_t len = strlen(text);

	return s.len == len && !memcmp(s.ptr, text, len);
}

static bool equals_nocase(struct span s, const char *text)
{
	size_t len = strlen(text);

	return s.len == len && !strncasecmp((const char *)s.ptr, text, len);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
	while (s.len && is_blank(s.ptr[0]))
		s = (struct span){ s.ptr + 1, s.len - 1 };
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Takes what comes before the next SEP, without blanks around it. False: there
 * was nothing left. */
static bool next_part(struct span *rest, char sep, struct span *out)
{
	const uint8_t *at;

	if (!rest->ptr)
		return false;
	at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
	if (at) {
		*out = trim(span_of(rest->ptr, at));
		*rest = span_of(at + 1, rest->ptr + rest->len);
	} else {
		*out = trim(*rest);
		*rest = (struct span){ NULL, 0 };
	}
	return true;
}

/* --- the request line --- */

static enum http_method method_of(struct span s)
{
	if (http_span_is(s, "GET"))
		return HTTP_METHOD_GET;
	return http_span_is(s, "HEAD") ? HTTP_METHOD_HEAD : HTTP_METHOD_OTHER;
}

/* A proxy's way to say it, "http://host/path": the host counts more than that
 * of the Host line. */
static bool take_absolute(struct span *target, struct http_head *out)
{
	static const char *const schemes[] = { "http://", "https://" };
	const uint8_t *end = target->ptr + target->len, *at, *p;

	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(schemes[i]);

		if (target->len <= len ||
		    strncasecmp((const char *)target->ptr, schemes[i], len))
			continue;
		at = target->ptr + len;
		for (p = at; p < end && *p != '/' && *p != '?'; p++)
			;
		out->host = span_of(at, p);
		*target = span_of(p, end);
		return out->host.len > 0;
	}
	return false;
}

static int parse_target(struct span target, struct http_head *out,
			struct fault *f)
{
	static const uint8_t root[] = "/";
	const uint8_t *mark;

	if (target.ptr[0] != '/' && !take_absolute(&target, out)) {
		if (out->method == HTTP_METHOD_OTHER) { /* OPTIONS *, CONNECT */
			out->path = (struct span){ root, 1 };
			return 0;
		}
		return refuse(f, 400, "the target is no path");
	}
	mark = target.len ? memchr(target.ptr, '?', target.len) : NULL;
	out->path = target;
	if (mark) {
		out->query = span_of(mark + 1, target.ptr + target.len);
		out->path = span_of(target.ptr, mark);
	}
	if (!out->path.len) /* http://host, http://host?query */
		out->path = (struct span){ root, 1 };
	return 0;
}

static int parse_request_line(struct span line, struct http_head *out,
			      struct fault *f)
{
	const uint8_t *end = line.ptr + line.len, *a, *b;
	struct span version;

	a = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
	b = a ? memrchr(a + 1, ' ', (size_t)(end - a - 1)) : NULL;
	if (!a || !b || a == line.ptr || b == a + 1)
		return refuse(f, 400, "not a HTTP request");
	version = span_of(b + 1, end);
	if (version.len != 8 || memcmp(version.ptr, "HTTP/", 5) != 0 ||
	    version.ptr[6] != '.')
		return refuse(f, 400, "not a HTTP request");
	if (version.ptr[5] != '1' || version.ptr[7] < '0' ||
	    version.ptr[7] > '9')
		return refuse(f, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
	if (memchr(a + 1, ' ', (size_t)(b - a - 1)))
		return refuse(f, 400, "a blank in the target");
	out->minor = version.ptr[7] == '0' ? 0 : 1;
	out->keeps_alive = out->minor == 1;
	out->method = method_of(span_of(line.ptr, a));
	return parse_target(span_of(a + 1, b), out, f);
}

/* --- header lines --- */

static void on_connection(struct span value, struct http_head *out)
{
	struct span part;

	while (next_part(&value, ',', &part)) {
		if (equals_nocase(part, "close"))
			out->keeps_alive = false;
		else if (equals_nocase(part, "keep-alive") && !out->minor)
			out->keeps_alive = true;
	}
}

static void on_accept_encoding(struct span value, struct http_head *out)
{
	struct span part, name, q;
	bool takes;

	while (next_part(&value, ',', &part)) {
		if (!next_part(&part, ';', &name))
			continue;
		takes = true;
		while (next_part(&part, ';', &q)) /* "q=0.000" refuses */
			if (q.len > 2 && (q.ptr[0] | 32) == 'q') {
				takes = false;
				for (size_t i = 2; i < q.len; i++)
					if (q.ptr[i] >= '1' && q.ptr[i] <= '9')
						takes = true;
			}
		if (equals_nocase(name, "gzip"))
			out->takes_gzip = takes;
		else if (equals_nocase(name, "deflate"))
			out->takes_deflate = takes;
	}
}

static void on_forwarded(struct span value, struct http_head *out)
{
	if (out->num_forwarded == HTTP_FORWARDED_MAX) {
		memmove(out->forwarded, out->forwarded + 1,
			(HTTP_FORWARDED_MAX - 1) * sizeof(value));
		out->num_forwarded--;
	}
	out->forwarded[out->num_forwarded++] = value;
}

static int on_host(struct span value, struct http_head *out, struct seen *seen,
		   struct fault *f)
{
	if (seen->host)
		return refuse(f, 400, "Host is given twice");
	seen->host = true;
	if (value.len > LIMIT_WEB_HOST_BYTES)
		return refuse(f, 400, "Host is too long");
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] <= ' ' || value.ptr[i] >= 0x7f ||
		    strchr("/?#@\\<>\"'&", value.ptr[i]))
			return refuse(f, 400, "Host is no name");
	if (!out->host.ptr)
		out->host = value;
	return 0;
}

static int on_length(struct span value, struct seen *seen, struct fault *f)
{
	bool is_zero = value.len > 0;

	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return refuse(f, 400, "Content-Length is no number");
		is_zero = is_zero && value.ptr[i] == '0';
	}
	if (seen->length || !value.len)
		return refuse(f, 400, "Content-Length is no number");
	seen->length = true;
	if (!is_zero)
		return refuse(f, 413, "a request has no body here");
	return 0;
}

static bool is_name_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') ||
	       (c > ' ' && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c));
}

static int parse_header(struct span line, struct http_head *out,
			struct seen *seen, struct fault *f)
{
	const uint8_t *colon = memchr(line.ptr, ':', line.len);
	struct span name, value;

	if (!colon || colon == line.ptr)
		return refuse(f, 400, "a header line without a name");
	name = span_of(line.ptr, colon);
	value = trim(span_of(colon + 1, line.ptr + line.len));
	for (size_t i = 0; i < name.len; i++)
		if (!is_name_byte(name.ptr[i]))
			return refuse(f, 400, "a header line without a name");
	switch (name.len) {
	case 4:
		if (equals_nocase(name, "Host"))
			return on_host(value, out, seen, f);
		break;
	case 10:
		if (equals_nocase(name, "Connection"))
			on_connection(value, out);
		break;
	case 14:
		if (equals_nocase(name, "Content-Length"))
			return on_length(value, seen, f);
		break;
	case 15:
		if (equals_nocase(name, "Accept-Encoding"))
			on_accept_encoding(value, out);
		else if (equals_nocase(name, "X-Forwarded-For"))
			on_forwarded(value, out);
		break;
	case 17:
		if (equals_nocase(name, "Transfer-Encoding"))
			return refuse(f, 413, "a request has no body here");
		break;
	default:
		break;
	}
	return 0;
}

/* --- lines --- */

/* False: a control character that no line may hold. */
static bool is_clean(struct span line)
{
	for (size_t i = 0; i < line.len; i++)
		if ((line.ptr[i] < ' ' && line.ptr[i] != '\t') ||
		    line.ptr[i] == 0x7f)
			return false;
	return true;
}

/* The line at AT, without its end; *NEXT is behind that. False: no end yet. */
static bool next_line(const uint8_t *at, const uint8_t *end, struct span *line,
		      const uint8_t **next)
{
	const uint8_t *lf =
		at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;

	if (!lf)
		return false;
	*next = lf + 1;
	*line = span_of(at, lf > at && lf[-1] == '\r' ? lf - 1 : lf);
	return true;
}

static int not_yet(size_t len, bool has_request_line, struct fault *f)
{
	if (len < LIMIT_WEB_HEAD_BYTES)
		return -EAGAIN;
	if (!has_request_line)
		return refuse(f, 414, "the request line is too long");
	return refuse(f, 431, "the head of the request is too long");
}

static int parse_lines(const uint8_t *bytes, size_t len, struct http_head *out,
		       struct fault *f)
{
	const uint8_t *end = bytes + len, *at = bytes, *next;
	struct seen seen = { false, false };
	bool has_request_line = false;
	struct span line;
	int r;

	while (next_line(at, end, &line, &next)) {
		if ((size_t)(next - bytes) > LIMIT_WEB_HEAD_BYTES)
			return not_yet(LIMIT_WEB_HEAD_BYTES, has_request_line,
				       f);
		at = next;
		if (!is_clean(line))
			return refuse(f, 400, "a control character");
		if (!line.len && has_request_line) {
			out->len = (size_t)(at - bytes);
			if (out->minor && !seen.host)
				return refuse(f, 400, "Host is missing");
			return 0;
		}
		if (!line.len) /* RFC 9112, 2.2: empty lines before it */
			continue;
		if (has_request_line && is_blank(line.ptr[0]))
			return refuse(f, 400, "a folded header line");
		r = has_request_line ? parse_header(line, out, &seen, f)
				     : parse_request_line(line, out, f);
		if (r)
			return r;
		has_request_line = true;
	}
	/* Nobody waits for the end of what cannot become right. */
	if (!is_clean(span_of(at, end > at && end[-1] == '\r' ? end - 1 : end)))
		return refuse(f, 400, "a control character");
	return not_yet(len, has_request_line, f);
}

int http_parse(const uint8_t *bytes, size_t len, struct http_head *out,
	       unsigned *status, const char **why)
{
	struct fault f = { 0, NULL };
	int r;

	memset(out, 0, sizeof(*out));
	/* Of nothing there is no address either. */
	r = len ? parse_lines(bytes, len, out, &f) : -EAGAIN;
	*status = f.status;
	*why = f.why;
	return r;
}

static int digit_of(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_unescape(struct span s, uint8_t *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++, n++) {
		int hi, lo;

		if (n == size)
			return -EBADMSG;
		if (s.ptr[i] != '%') {
			out[n] = s.ptr[i];
			continue;
		}
		if (s.len - i < 3)
			return -EBADMSG;
		hi = digit_of(s.ptr[i + 1]);
		lo = digit_of(s.ptr[i + 2]);
		if (hi < 0 || lo < 0)
			return -EBADMSG;
		out[n] = (uint8_t)(hi << 4 | lo);
		i += 2;
	}
	return (int)n;
}
