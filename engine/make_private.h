/* engine/make_private.h: what the make*.c share. Private to them. */
#pragma once

#include "engine/make.h"

/* Writes the sentence for people. Returns ERR. */
int make_fail(char why[MAKE_WHY_SIZE], int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* All but the name. 0, or -EINVAL or -E2BIG with a sentence. */
int make_options_check(const struct make_options *o, char why[MAKE_WHY_SIZE]);

/* The keys outside the info dict, of options that passed the check: those
 * before "info", whose hash is INFOHASH; "nodes"; and "url-list". */
void make_options_write_head(const struct make_options *o,
			     const struct infohash *infohash, struct buf *b);
void make_options_write_nodes(const struct make_options *o, struct buf *b);
void make_options_write_webseeds(const struct make_options *o, struct buf *b);
