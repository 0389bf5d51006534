/* engine/base/mem.h: memory for small fixed sizes, and arithmetic that cannot
 * wrap. A size that came from wire, file or user is first held against a named
 * limit, then goes through mem_try, whose NULL the caller turns into -ENOMEM.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory; ends the program when there is none. Release with free(). */
void *mem_alloc(size_t size);
void *mem_alloc_array(size_t n, size_t size);
void *mem_realloc_array(void *p, size_t n, size_t size); /* grown part unset */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t max);
void *mem_dup(const void *p, size_t len); /* NULL for len == 0 */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Zeroed memory of a foreign size, or NULL. Release with free(). */
void *mem_try(size_t n, size_t size);

/* True when the result fits; otherwise *out is unset. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member)                                        \
	((type *)(void *)(((char *)(ptr)) - offsetof(type, member)))
