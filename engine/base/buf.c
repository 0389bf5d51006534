#include "engine/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"

void buf_init(struct buf *b, size_t max)
{
	memset(b, 0, sizeof(*b));
	b->max = max;
}

void buf_release(struct buf *b)
{
	free(b->ptr);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->is_broken = false;
}

uint8_t *buf_reserve(struct buf *b, size_t more)
{
	size_t need, cap;
	uint8_t *p;

	if (b->is_broken || __builtin_add_overflow(b->len, more, &need) ||
	    (b->max && need > b->max)) {
		b->is_broken = true;
		return NULL;
	}
	if (need <= b->cap)
		return b->ptr + b->len;
	cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (b->max && cap > b->max)
		cap = b->max;
	p = realloc(b->ptr, cap);
	if (!p) {
		b->is_broken = true;
		return NULL;
	}
	b->ptr = p;
	b->cap = cap;
	return p + b->len;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
	uint8_t *p;

	if (!len)
		return;
	p = buf_reserve(b, len);
	if (!p)
		return;
	memcpy(p, bytes, len);
	b->len += len;
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, format);
	n = vasprintf(&s, format, ap);
	va_end(ap);
	if (n < 0) {
		b->is_broken = true;
		return;
	}
	buf_add(b, s, (size_t)n);
	free(s);
}

void buf_drop_front(struct buf *b, size_t len)
{
	CHECK(len <= b->len);
	b->len -= len;
	if (b->len)
		memmove(b->ptr, b->ptr + len, b->len);
}
