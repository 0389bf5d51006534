/* engine/base/cursor.h: bounded reading and writing with one sticky error, so
 * that a decoder reads like its specification and is checked once, at the end.
 * Any thread. */
#pragma once

#include <stdbool.h>

#include "engine/base/bytes.h"

struct cursor {
	const uint8_t *at, *end; /* borrowed */
	bool is_bad;             /* a read went past the end; sticky */
};

/* A failed read gives zeros, an empty span, NULL. */
struct cursor cursor_of(const void *ptr, size_t len);
size_t cursor_left(const struct cursor *c);
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_be16(struct cursor *c);
uint32_t cursor_be32(struct cursor *c);
uint64_t cursor_be64(struct cursor *c);
struct span cursor_span(struct cursor *c, size_t len);
struct span cursor_rest(struct cursor *c);
void cursor_copy(struct cursor *c, void *out, size_t len);
void cursor_skip(struct cursor *c, size_t len);

struct wcursor {
	uint8_t *start, *at, *end; /* borrowed */
	bool is_bad;               /* a write did not fit; sticky */
};

struct wcursor wcursor_of(void *ptr, size_t len);
size_t wcursor_len(const struct wcursor *c); /* bytes written */
void wcursor_u8(struct wcursor *c, uint8_t v);
void wcursor_be16(struct wcursor *c, uint16_t v);
void wcursor_be32(struct wcursor *c, uint32_t v);
void wcursor_be64(struct wcursor *c, uint64_t v);
void wcursor_copy(struct wcursor *c, const void *ptr, size_t len);
