/* engine/base/buf.h: a growing byte buffer with a cap of its own. One owner;
 * any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *ptr; /* owned; NULL while empty */
	size_t len, cap;
	bool is_broken; /* an append passed MAX or memory; sticky */
	size_t max;     /* bytes; 0: no cap (only for what we produce) */
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* back to the state of buf_init */
void buf_clear(struct buf *b);   /* empty, keeps the memory */

/* Room for MORE bytes at ptr + len, or NULL (and is_broken). */
uint8_t *buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void buf_drop_front(struct buf *b, size_t len); /* moves the rest down */
