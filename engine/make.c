/* The torrent is written with hashes of zeros first and parsed: whatever rule
 * it would break is told before hours of hashing. Then the hashes are filled
 * in, in place. */
#include "engine/make.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/mem.h"
#include "engine/make_scan.h"
#include "engine/safeurl.h"

struct make {
	const struct make_options *options; /* borrowed */
	struct make_scan scan;
	char *name; /* owned */
	struct layout layout;
	struct buf torrent;
	size_t hashes_at; /* offset in torrent */
	char *why;        /* borrowed */
};

__attribute__((format(printf, 3, 4))) static int fail(struct make *m, int r,
						      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(m->why, MAKE_WHY_SIZE, format, ap); /* cut is fine */
	va_end(ap);
	return r;
}

uint32_t make_piece_length(uint64_t total)
{
	uint32_t n = total < 64ull << 20   ? 256u << 10
		     : total < 16ull << 30 ? 1u << 20
					   : 4u << 20;

	while (n < MAKE_PIECE_LENGTH_MAX && total / n >= LIMIT_PIECES)
		n *= 2;
	return n;
}

/* --- what is asked for --- */

static bool check_url(const char *url, enum safeurl_kind kind)
{
	char *clean = safeurl_clean(url, strlen(url), kind);
	bool is_url = clean && safeurl_is_of_use(clean);

	free(clean);
	return is_url;
}

static int check_options(struct make *m)
{
	const struct make_options *o = m->options;
	uint32_t n = o->piece_length;

	if (o->kind != MAKE_V1)
		return fail(m, -EOPNOTSUPP,
			    "v2 and hybrid torrents cannot be made yet");
	if (n && (n & (n - 1) || n < MAKE_PIECE_LENGTH_MIN ||
		  n > LIMIT_PIECE_LENGTH))
		return fail(m, -EINVAL,
			    "piece length is %u: must be a power of two from "
			    "%u to %u",
			    n, MAKE_PIECE_LENGTH_MIN, LIMIT_PIECE_LENGTH);
	if (o->num_trackers > LIMIT_TRACKERS ||
	    o->num_webseeds > LIMIT_WEBSEEDS)
		return fail(m, -E2BIG, "at most %d trackers and %d web seeds",
			    LIMIT_TRACKERS, LIMIT_WEBSEEDS);
	for (size_t i = 0; i < o->num_trackers; i++)
		if (!check_url(o->trackers[i], SAFEURL_TRACKER))
			return fail(m, -EINVAL,
				    "%s: a tracker is an http, https or udp "
				    "URL",
				    o->trackers[i]);
	for (size_t i = 0; i < o->num_webseeds; i++)
		if (!check_url(o->webseeds[i], SAFEURL_WEBSEED))
			return fail(m, -EINVAL,
				    "%s: a web seed is an http or https URL",
				    o->webseeds[i]);
	return 0;
}

static bool is_no_name(const char *s)
{
	return !*s || !strcmp(s, ".") || !strcmp(s, "..") || strchr(s, '/');
}

/* The last element of SRC; what "." and "x/.." stand for is looked up. */
static int find_name(struct make *m, const char *src)
{
	char *path = mem_strdup(src), *slash;
	size_t len = strlen(path);

	if (m->options->name) {
		free(path);
		m->name = mem_strdup(m->options->name);
		if (is_no_name(m->name))
			return fail(m, -EINVAL,
				    "the name must be one element of a path");
		return 0;
	}
	for (int tries = 0; tries < 2 && !m->name; tries++) {
		while (len > 1 && path[len - 1] == '/')
			path[--len] = '\0';
		slash = strrchr(path, '/');
		if (!is_no_name(slash ? slash + 1 : path)) {
			m->name = mem_strdup(slash ? slash + 1 : path);
			break;
		}
		free(path);
		path = realpath(src, NULL);
		if (!path)
			return fail(m, -errno, "%s: %s", src,
				    strerrordesc_np(errno));
		len = strlen(path);
	}
	free(path);
	return m->name ? 0
		       : fail(m, -EINVAL, "%s: give it a name, it has none",
			      src);
}

static int set_layout(struct make *m)
{
	uint32_t n = m->options->piece_length;
	uint64_t total = m->scan.total, pieces;

	if (!total)
		return fail(m, -EBADMSG, "there is nothing in it to hash");
	m->layout.total = total;
	m->layout.piece_length = n ? n : make_piece_length(total);
	n = m->layout.piece_length;
	pieces = total / n + (total % n != 0);
	if (pieces > LIMIT_PIECES)
		return fail(m, -E2BIG,
			    "more than %u pieces: the piece length must be "
			    "larger",
			    LIMIT_PIECES);
	m->layout.num_pieces = (uint32_t)pieces;
	return 0;
}

/* --- writing it --- */

static void write_path(struct buf *b, const char *path)
{
	const char *slash;

	benc_list(b);
	for (; (slash = strchr(path, '/')); path = slash + 1)
		benc_str(b, path, (size_t)(slash - path));
	benc_cstr(b, path);
	benc_end(b);
}

static void write_files(struct make *m)
{
	struct buf *b = &m->torrent;

	benc_cstr(b, "files");
	benc_list(b);
	for (uint32_t i = 0; i < m->scan.num_files; i++) {
		benc_dict(b);
		benc_cstr(b, "length");
		benc_int(b, (int64_t)m->scan.files[i].length);
		benc_cstr(b, "path");
		write_path(b, m->scan.files[i].path);
		benc_end(b);
	}
	benc_end(b);
}

static int write_info(struct make *m)
{
	struct buf *b = &m->torrent;
	size_t hashes = (size_t)m->layout.num_pieces * SHA1_LEN;
	uint8_t *room;

	benc_dict(b);
	if (m->scan.is_dir) {
		write_files(m);
	} else {
		benc_cstr(b, "length");
		benc_int(b, (int64_t)m->scan.total);
	}
	benc_cstr(b, "name");
	benc_cstr(b, m->name);
	benc_cstr(b, "piece length");
	benc_int(b, m->layout.piece_length);
	benc_cstr(b, "pieces");
	buf_printf(b, "%zu:", hashes);
	room = buf_reserve(b, hashes);
	if (!room)
		return fail(m, -ENOMEM, "out of memory");
	memset(room, 0, hashes);
	m->hashes_at = b->len;
	b->len += hashes;
	if (m->options->is_private) {
		benc_cstr(b, "private");
		benc_int(b, 1);
	}
	benc_end(b);
	return 0;
}

static void write_text(struct buf *b, const char *key, const char *text)
{
	if (!text || !*text)
		return;
	benc_cstr(b, key);
	benc_cstr(b, text);
}

/* URL passed check_url. */
static void write_url(struct buf *b, const char *url, enum safeurl_kind kind)
{
	char *clean = safeurl_clean(url, strlen(url), kind);

	benc_cstr(b, clean);
	free(clean);
}

static void write_trackers(struct make *m)
{
	const struct make_options *o = m->options;
	struct buf *b = &m->torrent;

	if (o->num_trackers) {
		benc_cstr(b, "announce");
		write_url(b, o->trackers[0], SAFEURL_TRACKER);
	}
	if (o->num_trackers < 2)
		return;
	benc_cstr(b, "announce-list");
	benc_list(b);
	for (size_t i = 0; i < o->num_trackers; i++) {
		benc_list(b);
		write_url(b, o->trackers[i], SAFEURL_TRACKER);
		benc_end(b);
	}
	benc_end(b);
}

static int write_torrent(struct make *m)
{
	const struct make_options *o = m->options;
	struct buf *b = &m->torrent;
	int r;

	benc_dict(b); /* keys in the order of their bytes */
	write_trackers(m);
	write_text(b, "comment", o->comment);
	write_text(b, "created by", o->created_by);
	if (o->creation_date) {
		benc_cstr(b, "creation date");
		benc_int(b, o->creation_date);
	}
	benc_cstr(b, "info");
	r = write_info(m);
	if (r < 0)
		return r;
	if (o->num_webseeds) {
		benc_cstr(b, "url-list");
		benc_list(b);
		for (size_t i = 0; i < o->num_webseeds; i++)
			write_url(b, o->webseeds[i], SAFEURL_WEBSEED);
		benc_end(b);
	}
	benc_end(b);
	return b->is_broken ? fail(m, -ENOMEM, "out of memory") : 0;
}

/* --- hashing --- */

static int read_bytes(void *arg, unsigned thread, uint64_t off, void *out,
		      size_t len)
{
	struct make *m = arg;

	return make_scan_read(&m->scan, thread, off, out, len);
}

static int take_hash(void *arg, uint32_t piece, int r,
		     const uint8_t hash[SHA1_LEN])
{
	struct make *m = arg;

	if (!r)
		memcpy(m->torrent.ptr + m->hashes_at + (size_t)piece * SHA1_LEN,
		       hash, SHA1_LEN);
	return r;
}

static bool show_progress(void *arg, uint64_t bytes)
{
	struct make *m = arg;
	const struct make_options *o = m->options;

	return !o->progress || o->progress(o->arg, bytes, m->layout.total);
}

static int hash_files(struct make *m)
{
	const struct piecehash job = {
		.layout = m->layout,
		.threads = m->options->threads,
		.read = read_bytes,
		.piece = take_hash,
		.progress = show_progress,
		.arg = m,
	};
	int r = piecehash_run(&job);

	if (r == -ECANCELED)
		return fail(m, r, "canceled");
	if (r == -EAGAIN)
		return fail(m, r, "no thread can be started");
	return r < 0 ? r : make_scan_check(&m->scan);
}

/* --- all of it --- */

static int parse_torrent(struct make *m, struct metainfo **out)
{
	char why[METAINFO_WHY_SIZE];
	int r = metainfo_parse(m->torrent.ptr, m->torrent.len, out, why);

	return r < 0 ? fail(m, r, "it would be no valid torrent: %s", why) : 0;
}

/* Tells of names that no client will use as they are, ours included: such a
 * file is not found again by who wants to seed it. */
static void warn_of_names(struct make *m, const struct metainfo *mi)
{
	const struct make_options *o = m->options;

	if (!o->warn)
		return;
	if (strcmp(mi->name, m->name))
		o->warn(o->arg, m->name,
			"is no safe name: others will see another one, and it "
			"cannot be seeded from here until it is renamed");
	for (uint32_t i = 0; m->scan.is_dir && i < mi->num_files; i++)
		if (strcmp(mi->files[i].path, m->scan.files[i].path))
			o->warn(o->arg, m->scan.files[i].path,
				"is no safe name: others will see another one, "
				"and it cannot be seeded from here until it is "
				"renamed");
}

static int make_it(struct make *m, const char *src, struct metainfo **out)
{
	int r = check_options(m);

	if (!r)
		r = find_name(m, src);
	if (!r)
		r = make_scan_start(&m->scan);
	if (!r)
		r = set_layout(m);
	if (!r)
		r = write_torrent(m);
	if (!r)
		r = parse_torrent(m, out);
	if (r < 0)
		return r;
	warn_of_names(m, *out);
	metainfo_free(*out);
	*out = NULL;
	r = hash_files(m);
	return r < 0 ? r : parse_torrent(m, out);
}

int make_torrent(const char *src, const struct make_options *options,
		 struct metainfo **out, char why[MAKE_WHY_SIZE])
{
	struct make m = { .options = options, .why = why };
	int r;

	*out = NULL;
	*why = '\0';
	make_scan_init(&m.scan, src, options, why);
	buf_init(&m.torrent, 0);
	r = make_it(&m, src, out);
	make_scan_release(&m.scan);
	buf_release(&m.torrent);
	free(m.name);
	return r;
}
