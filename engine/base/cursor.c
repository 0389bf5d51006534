#include "engine/base/cursor.h"

struct cursor cursor_of(const void *ptr, size_t len)
{
	struct cursor c = { .at = ptr };

	if (len)
		c.end = c.at + len;
	else
		c.end = c.at;
	return c;
}

size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

/* The next LEN bytes, or NULL once the cursor is bad. A bad cursor is left
 * empty, so that loops over cursor_left() end. */
static const uint8_t *cursor_take(struct cursor *c, size_t len)
{
	const uint8_t *p = c->at;

	if (c->is_bad || len > cursor_left(c)) {
		c->is_bad = true;
		c->at = c->end;
		return NULL;
	}
	if (len)
		c->at += len;
	return p;
}

uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

uint16_t cursor_be16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? load_be16(p) : 0;
}

uint32_t cursor_be32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? load_be32(p) : 0;
}

uint64_t cursor_be64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? load_be64(p) : 0;
}

struct span cursor_span(struct cursor *c, size_t len)
{
	const uint8_t *p = cursor_take(c, len);

	return p ? (struct span){ p, len } : (struct span){ NULL, 0 };
}

struct span cursor_rest(struct cursor *c)
{
	return cursor_span(c, cursor_left(c));
}

void cursor_copy(struct cursor *c, void *out, size_t len)
{
	const uint8_t *p = cursor_take(c, len);

	if (!len)
		return;
	if (p)
		memcpy(out, p, len);
	else
		memset(out, 0, len);
}

void cursor_skip(struct cursor *c, size_t len)
{
	(void)cursor_take(c, len); /* a failure sticks to the cursor */
}

struct wcursor wcursor_of(void *ptr, size_t len)
{
	struct wcursor c = { .start = ptr, .at = ptr };

	if (len)
		c.end = c.at + len;
	else
		c.end = c.at;
	return c;
}

size_t wcursor_len(const struct wcursor *c)
{
	return (size_t)(c->at - c->start);
}

/* Room for LEN bytes, or NULL. Nothing is written after a failure, so that a
 * shorter later field cannot land where a longer one should have been. */
static uint8_t *wcursor_take(struct wcursor *c, size_t len)
{
	uint8_t *p = c->at;

	if (c->is_bad || len > (size_t)(c->end - c->at)) {
		c->is_bad = true;
		return NULL;
	}
	if (len)
		c->at += len;
	return p;
}

void wcursor_u8(struct wcursor *c, uint8_t v)
{
	uint8_t *p = wcursor_take(c, 1);

	if (p)
		*p = v;
}

void wcursor_be16(struct wcursor *c, uint16_t v)
{
	uint8_t *p = wcursor_take(c, 2);

	if (p)
		store_be16(p, v);
}

void wcursor_be32(struct wcursor *c, uint32_t v)
{
	uint8_t *p = wcursor_take(c, 4);

	if (p)
		store_be32(p, v);
}

void wcursor_be64(struct wcursor *c, uint64_t v)
{
	uint8_t *p = wcursor_take(c, 8);

	if (p)
		store_be64(p, v);
}

void wcursor_copy(struct wcursor *c, const void *ptr, size_t len)
{
	uint8_t *p = wcursor_take(c, len);

	if (p && len)
		memcpy(p, ptr, len);
}
