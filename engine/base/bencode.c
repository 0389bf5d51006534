/* Two halves that trust differently.
 *
 * bencode_parse reads foreign bytes and believes nothing. Its only memory is
 * one bit per open container, so depth costs no stack of ours.
 *
 * The walkers run over bytes that bencode_parse accepted, therefore without
 * any check: every string is followed by the bytes it claims, every container
 * is closed, every dict alternates strings and values. */
#include "engine/base/bencode.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "engine/base/limits.h"

struct parser {
	const uint8_t *at, *end;
	unsigned depth;
	bool wants_key; /* the next thing is a key or the end of a dict */
	uint64_t is_dict[(LIMIT_BENCODE_DEPTH + 63) / 64]; /* per open level */
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* At the byte after 'i'. Leaves p->at after 'e', or at what is wrong. */
static int parse_int(struct parser *p)
{
	uint64_t v = 0, max = INT64_MAX;
	const uint8_t *first;

	if (p->at < p->end && *p->at == '-') {
		max++;
		p->at++;
	}
	first = p->at;
	for (; p->at < p->end && is_digit(*p->at); p->at++) {
		if (p->at > first && *first == '0')
			return -EBADMSG; /* i07e */
		/* v <= 2^63 before, so neither step wraps for v <= max / 10 */
		if (v > max / 10)
			return -EBADMSG;
		v = v * 10 + (*p->at - '0');
		if (v > max)
			return -EBADMSG;
	}
	if (p->at == first || p->at == p->end || *p->at != 'e')
		return -EBADMSG;
	if (!v && max > INT64_MAX)
		return -EBADMSG; /* i-0e */
	p->at++;
	return 0;
}

/* At a digit. Leaves p->at after the string, or at its length if that lies. */
static int parse_str(struct parser *p)
{
	const uint8_t *start = p->at;
	size_t len = 0, left = (size_t)(p->end - p->at);

	for (; p->at < p->end && is_digit(*p->at); p->at++) {
		if (p->at > start && *start == '0')
			return -EBADMSG; /* 01:x */
		len = len * 10 + (*p->at - '0');
		if (len > left) { /* also keeps LEN far from wrapping */
			p->at = start;
			return -EBADMSG;
		}
	}
	if (p->at == p->end || *p->at != ':')
		return -EBADMSG;
	p->at++;
	if (len > (size_t)(p->end - p->at)) {
		p->at = start;
		return -EBADMSG;
	}
	p->at += len;
	return 0;
}

static void parse_open(struct parser *p, bool is_dict)
{
	uint64_t bit = (uint64_t)1 << p->depth % 64;

	if (is_dict)
		p->is_dict[p->depth / 64] |= bit;
	else
		p->is_dict[p->depth / 64] &= ~bit;
	p->depth++;
	p->wants_key = is_dict;
	p->at++;
}

static bool parse_in_dict(const struct parser *p)
{
	unsigned top = p->depth - 1;

	return p->depth && p->is_dict[top / 64] >> top % 64 & 1;
}

/* One key, one scalar, or one bracket. */
static int parse_step(struct parser *p, const struct bencode_limits *limits,
		      unsigned *tokens)
{
	int r;

	if (p->at == p->end)
		return -EBADMSG;
	if (*p->at == 'e') {
		if (!p->depth || (parse_in_dict(p) && !p->wants_key))
			return -EBADMSG;
		p->at++;
		p->depth--;
		p->wants_key = parse_in_dict(p);
		return 0;
	}
	if (p->wants_key) {
		if (!is_digit(*p->at))
			return -EBADMSG;
		p->wants_key = false;
		return parse_str(p);
	}
	if (*tokens == limits->tokens)
		return -E2BIG;
	++*tokens;
	if (*p->at == 'd' || *p->at == 'l') {
		if (p->depth >= limits->depth ||
		    p->depth >= LIMIT_BENCODE_DEPTH)
			return -E2BIG;
		parse_open(p, *p->at == 'd');
		return 0;
	}
	if (*p->at == 'i') {
		p->at++;
		r = parse_int(p);
	} else if (is_digit(*p->at)) {
		r = parse_str(p);
	} else {
		r = -EBADMSG;
	}
	p->wants_key = parse_in_dict(p);
	return r;
}

int bencode_parse(const uint8_t *buf, size_t len,
		  const struct bencode_limits *limits, struct bnode *out,
		  size_t *out_len, size_t *out_error_at)
{
	struct parser p = { .at = buf, .end = len ? buf + len : buf };
	unsigned tokens = 0;
	int r;

	*out = (struct bnode){ NULL, NULL };
	*out_len = 0;
	do {
		r = parse_step(&p, limits, &tokens);
		if (r < 0) {
			if (out_error_at)
				*out_error_at = (size_t)(p.at - buf);
			return r;
		}
	} while (p.depth);
	out->ptr = buf;
	out->end = p.at;
	*out_len = (size_t)(p.at - buf);
	return 0;
}

/* From here on: validated bytes only. */

static const uint8_t *read_str(const uint8_t *p, struct span *out)
{
	size_t len = 0;

	for (; *p != ':'; p++)
		len = len * 10 + (*p - '0');
	out->ptr = p + 1;
	out->len = len;
	return p + 1 + len;
}

/* The byte after the value at P. Keys and values need not be told apart. */
static const uint8_t *skip_value(const uint8_t *p)
{
	struct span skipped;
	size_t depth = 0;

	do {
		switch (*p) {
		case 'd':
		case 'l':
			depth++;
			p++;
			break;
		case 'e':
			depth--;
			p++;
			break;
		case 'i':
			while (*p != 'e')
				p++;
			p++;
			break;
		default:
			p = read_str(p, &skipped);
			break;
		}
	} while (depth);
	return p;
}

bool bnode_is_dict(struct bnode n)
{
	return n.ptr && *n.ptr == 'd';
}

bool bnode_is_list(struct bnode n)
{
	return n.ptr && *n.ptr == 'l';
}

bool bnode_is_str(struct bnode n)
{
	return n.ptr && is_digit(*n.ptr);
}

bool bnode_is_int(struct bnode n)
{
	return n.ptr && *n.ptr == 'i';
}

bool bnode_int(struct bnode n, int64_t *out)
{
	const uint8_t *p;
	bool is_negative;
	uint64_t v = 0;

	if (!bnode_is_int(n))
		return false;
	p = n.ptr + 1;
	is_negative = *p == '-';
	for (p += is_negative; *p != 'e'; p++)
		v = v * 10 + (*p - '0');
	*out = (int64_t)(is_negative ? -v : v);
	return true;
}

bool bnode_str(struct bnode n, struct span *out)
{
	if (!bnode_is_str(n))
		return false;
	(void)read_str(n.ptr, out); /* the end is n.end */
	return true;
}

struct span bnode_raw(struct bnode n)
{
	return (struct span){ n.ptr, (size_t)(n.end - n.ptr) };
}

struct bwalk bwalk_of(struct bnode n)
{
	struct bwalk w = { NULL, NULL, false };

	if (bnode_is_dict(n) || bnode_is_list(n)) {
		w.at = n.ptr + 1;
		w.end = n.end - 1;
		w.is_dict = bnode_is_dict(n);
	}
	return w;
}

bool bwalk_next(struct bwalk *w, struct span *key, struct bnode *value)
{
	*key = (struct span){ NULL, 0 };
	if (w->at == w->end) {
		*value = (struct bnode){ NULL, NULL };
		return false;
	}
	if (w->is_dict)
		w->at = read_str(w->at, key);
	value->ptr = w->at;
	value->end = w->at = skip_value(w->at);
	return true;
}

size_t bnode_count(struct bnode n)
{
	struct bwalk w = bwalk_of(n);
	struct bnode value;
	struct span key;
	size_t count = 0;

	while (bwalk_next(&w, &key, &value))
		count++;
	return count;
}

struct bnode bnode_get(struct bnode n, const char *key)
{
	const uint8_t *p, *end;
	size_t key_len = strlen(key);
	struct span k;

	if (!bnode_is_dict(n))
		return (struct bnode){ NULL, NULL };
	end = n.end - 1;
	for (p = n.ptr + 1; p < end; p = skip_value(p)) {
		p = read_str(p, &k);
		if (k.len == key_len && !memcmp(k.ptr, key, key_len))
			return (struct bnode){ p, skip_value(p) };
	}
	return (struct bnode){ NULL, NULL };
}

struct bnode bnode_get_dict(struct bnode n, const char *key)
{
	struct bnode v = bnode_get(n, key);

	return bnode_is_dict(v) ? v : (struct bnode){ NULL, NULL };
}

struct bnode bnode_get_list(struct bnode n, const char *key)
{
	struct bnode v = bnode_get(n, key);

	return bnode_is_list(v) ? v : (struct bnode){ NULL, NULL };
}

bool bnode_get_int(struct bnode n, const char *key, int64_t *out)
{
	return bnode_int(bnode_get(n, key), out);
}

bool bnode_get_str(struct bnode n, const char *key, struct span *out)
{
	return bnode_str(bnode_get(n, key), out);
}

void benc_int(struct buf *b, int64_t v)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "i%" PRId64 "e", v);

	buf_add(b, text, (size_t)n);
}

void benc_str(struct buf *b, const void *s, size_t len)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%zu:", len);

	buf_add(b, text, (size_t)n);
	buf_add(b, s, len);
}

void benc_cstr(struct buf *b, const char *s)
{
	benc_str(b, s, strlen(s));
}

void benc_dict(struct buf *b)
{
	buf_add(b, "d", 1);
}

void benc_list(struct buf *b)
{
	buf_add(b, "l", 1);
}

void benc_end(struct buf *b)
{
	buf_add(b, "e", 1);
}
