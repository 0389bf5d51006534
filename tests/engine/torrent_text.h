/* tests/engine/torrent_text.h: torrents written so that a person can read them:
 *
 *	{info:{length:10,name:'a','piece length':16384,pieces:20*'x'}}
 *
 * Keys stay in the order in which they are written. In a string \xHH is a byte;
 * N*'...' is the string N times. The text is a printf format. */
#pragma once

#include "tests/cmocka_all.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/metainfo.h"

static void torrent_text_value(struct buf *out, const char **at);

static inline void torrent_text_str(struct buf *out, const char **at,
				    long times)
{
	struct buf one, all;

	buf_init(&one, 0);
	buf_init(&all, 0);
	if (**at == '\'') {
		for (++*at; **at != '\''; ++*at) {
			char c = **at;

			assert_true(c);
			if (c == '\\') {
				char hex[3] = { (*at)[2], (*at)[3], 0 };

				assert_int_equal((*at)[1], 'x');
				c = (char)strtol(hex, NULL, 16);
				*at += 3;
			}
			buf_add(&one, &c, 1);
		}
		++*at;
	} else {
		for (; islower((unsigned char)**at); ++*at)
			buf_add(&one, *at, 1);
	}
	while (times--)
		buf_add(&all, one.ptr, one.len);
	benc_str(out, all.ptr, all.len);
	buf_release(&one);
	buf_release(&all);
}

static inline void torrent_text_items(struct buf *out, const char **at,
				      char end, bool is_dict)
{
	for (++*at; **at != end;) {
		if (is_dict) {
			long times = 1;
			char *after;

			if (isdigit((unsigned char)**at)) {
				times = strtol(*at, &after, 10);
				*at = after + 1;
			}
			torrent_text_str(out, at, times);
			assert_int_equal(**at, ':');
			++*at;
		}
		torrent_text_value(out, at);
		if (**at == ',')
			++*at;
		else
			assert_int_equal(**at, end);
	}
	++*at;
	benc_end(out);
}

static inline void torrent_text_value(struct buf *out, const char **at)
{
	char *after;
	long long v;

	if (**at == '{') {
		benc_dict(out);
		torrent_text_items(out, at, '}', true);
	} else if (**at == '[') {
		benc_list(out);
		torrent_text_items(out, at, ']', false);
	} else if (**at == '-' || isdigit((unsigned char)**at)) {
		v = strtoll(*at, &after, 10);
		*at = after;
		if (*after == '*') {
			++*at;
			torrent_text_str(out, at, (long)v);
		} else {
			benc_int(out, v);
		}
	} else {
		torrent_text_str(out, at, 1);
	}
}

static inline struct buf torrent_text(const char *text)
{
	struct buf out;

	buf_init(&out, 0);
	torrent_text_value(&out, &text);
	assert_int_equal(*text, 0);
	return out;
}

/* Parses TEXT; *why_out may be NULL. */
static inline int parse_text(const char *text, struct metainfo **mi, char *why)
{
	struct buf b = torrent_text(text);
	char unused[METAINFO_WHY_SIZE];
	int r = metainfo_parse(b.ptr, b.len, mi, why ? why : unused);

	buf_release(&b);
	return r;
}

__attribute__((format(printf, 1, 2))) static inline struct metainfo *
accept_text(const char *format, ...)
{
	char why[METAINFO_WHY_SIZE], *text;
	struct metainfo *mi;
	va_list ap;
	int r;

	va_start(ap, format);
	assert_true(vasprintf(&text, format, ap) >= 0);
	va_end(ap);
	r = parse_text(text, &mi, why);
	if (r)
		print_error("refused: %s\n%s\n", why, text);
	assert_int_equal(r, 0);
	assert_string_equal(why, "");
	free(text);
	return mi;
}

/* Refused with R and a sentence that holds RULE. */
__attribute__((format(printf, 3, 4))) static inline void
refuse_text(int want, const char *rule, const char *format, ...)
{
	char why[METAINFO_WHY_SIZE], *text;
	struct metainfo *mi;
	va_list ap;
	int r;

	va_start(ap, format);
	assert_true(vasprintf(&text, format, ap) >= 0);
	va_end(ap);
	r = parse_text(text, &mi, why);
	if (r != want || !strstr(why, rule))
		print_error("%.300s\ngave %d, \"%s\"; not %d, \"%s\"\n", text,
			    r, why, want, rule);
	assert_int_equal(r, want);
	assert_non_null(strstr(why, rule));
	assert_null(mi);
	free(text);
}

/* The visible paths of MI, joined with '|'. */
static inline void assert_paths(const struct metainfo *mi, const char *want)
{
	struct buf b;

	buf_init(&b, 0);
	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		if (b.len)
			buf_add_str(&b, "|");
		buf_add_str(&b, mi->files[i].path);
	}
	buf_add(&b, "", 1);
	assert_string_equal((char *)b.ptr, want);
	buf_release(&b);
}

/* A torrent of one piece: files FILES, name NAME. */
#define MULTI(files, name)                                                     \
	"{info:{files:[" files "],name:" name                                  \
	",'piece length':16384,pieces:20*'x'}}"

/* ITEM as often as COUNT says, with commas between. */
static inline char *repeated_text(int count, const char *item)
{
	struct buf b;

	buf_init(&b, 0);
	for (int i = 0; i < count; i++)
		buf_printf(&b, "%s%s", i ? "," : "", item);
	buf_add(&b, "", 1);
	return (char *)b.ptr;
}
