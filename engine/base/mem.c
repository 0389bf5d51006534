#include "engine/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"

__attribute__((noreturn, cold)) static void out_of_memory(void)
{
	fputs("weirfs: out of memory\n", stderr);
	abort();
}

void check_failed(const char *expr, const char *file, int line)
{
	fprintf(stderr, "weirfs: bug: %s is false at %s:%d\n", expr, file,
		line);
	abort();
}

void *mem_try(size_t n, size_t size)
{
	return calloc(n ? n : 1, size ? size : 1);
}

void *mem_alloc_array(size_t n, size_t size)
{
	void *p = mem_try(n, size);

	if (!p)
		out_of_memory();
	return p;
}

void *mem_alloc(size_t size)
{
	return mem_alloc_array(1, size);
}

void *mem_realloc_array(void *p, size_t n, size_t size)
{
	void *q = reallocarray(p, n ? n : 1, size ? size : 1);

	if (!q)
		out_of_memory();
	return q;
}

char *mem_strdup(const char *s)
{
	char *p = strdup(s);

	if (!p)
		out_of_memory();
	return p;
}

char *mem_strndup(const char *s, size_t max)
{
	/* Not strndup: what lies behind MAX bytes is not ours to look at, and
	 * strict sanitizers take that function to do so. */
	const char *end = memchr(s, 0, max);
	size_t len = end ? (size_t)(end - s) : max;
	char *p = mem_alloc(len + 1);

	memcpy(p, s, len);
	return p;
}

void *mem_dup(const void *p, size_t len)
{
	void *q;

	if (!len)
		return NULL;
	q = mem_alloc(len);
	memcpy(q, p, len);
	return q;
}

char *mem_printf(const char *format, ...)
{
	va_list ap;
	char *s;

	va_start(ap, format);
	if (vasprintf(&s, format, ap) < 0)
		out_of_memory();
	va_end(ap);
	return s;
}
