/* Goal: no bytes make the metainfo parser misbehave, and what is accepted
 * keeps its promises: safe, unique names below the limits, links that stay
 * inside, files without holes, and the same torrent when written again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/magnet.h"
#include "engine/metainfo.h"

#define COMPARED_FILES 200 /* of a torrent, each with each */

static void check_element(const char *s, size_t len)
{
	CHECK(len && len <= LIMIT_NAME_BYTES);
	CHECK(!(len == 1 && s[0] == '.') && !(len == 2 && !memcmp(s, "..", 2)));
	for (size_t i = 0; i < len; i++)
		CHECK((unsigned char)s[i] >= 0x20 && s[i] != 0x7f &&
		      s[i] != '\\' && s[i] != '/');
}

/* Returns the number of folders above the file. */
static unsigned check_path(const char *path)
{
	unsigned depth = 0;
	const char *slash;

	CHECK(strlen(path) <= LIMIT_PATH_BYTES);
	while ((slash = strchr(path, '/'))) {
		check_element(path, (size_t)(slash - path));
		path = slash + 1;
		depth++;
	}
	check_element(path, strlen(path));
	CHECK(depth <= LIMIT_PATH_DEPTH);
	return depth;
}

static void check_symlink(const struct metainfo_file *f, unsigned depth)
{
	const char *at = f->symlink;

	CHECK(!(f->flags & FILE_SYMLINK) == !at);
	if (!at)
		return;
	CHECK(!f->length && *at && strlen(at) <= LIMIT_PATH_BYTES);
	if (!strcmp(at, "."))
		return;
	while (!strncmp(at, "..", 2) && (at[2] == '/' || !at[2])) {
		CHECK(depth--);
		at += at[2] ? 3 : 2;
	}
	if (*at)
		(void)check_path(at); /* its depth is not the file's */
}

/* Neither the same nor one the folder of the other. */
static void check_apart(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), n = la < lb ? la : lb;

	if (memcmp(a, b, n))
		return;
	CHECK(la != lb);
	CHECK((la < lb ? b : a)[n] != '/');
}

static void check_files(const struct metainfo *mi)
{
	uint64_t end = 0;

	CHECK(mi->num_files);
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];

		CHECK(f->offset == end && f->length <= LIMIT_FILE_BYTES);
		end += f->length;
		CHECK(f->path && f->origpath);
		if (f->length) {
			CHECK(metainfo_file_at(mi, f->offset) == i);
			CHECK(metainfo_file_at(mi, end - 1) == i);
		}
		CHECK(f->has_root ==
		      (mi->has_v2 && f->length && !(f->flags & FILE_PAD)));
		CHECK(!f->has_root || !(f->offset % mi->layout.piece_length));
		if (f->flags & FILE_PAD)
			continue;
		check_symlink(f, check_path(f->path));
		for (uint32_t k = 0; k < i && k < COMPARED_FILES; k++)
			if (!(mi->files[k].flags & FILE_PAD))
				check_apart(f->path, mi->files[k].path);
	}
	CHECK(end == mi->layout.total);
}

static void check_layout(const struct layout *l)
{
	CHECK(l->total && l->total <= LIMIT_TORRENT_BYTES);
	CHECK(l->piece_length && l->piece_length <= LIMIT_PIECE_LENGTH);
	CHECK(l->num_pieces && l->num_pieces <= LIMIT_PIECES);
	CHECK((uint64_t)l->num_pieces * l->piece_length >= l->total);
	CHECK((uint64_t)(l->num_pieces - 1) * l->piece_length < l->total);
}

static void check_url(const char *url)
{
	CHECK(strlen(url) <= LIMIT_URL_BYTES && strstr(url, "://"));
	for (; *url; url++)
		CHECK(*url > 0x20 && *url < 0x7f);
}

static void check_magnet(const struct metainfo *mi)
{
	char *text = metainfo_magnet(mi), why[MAGNET_WHY_SIZE];
	struct magnet *m;

	if (strlen(text) <= LIMIT_MAGNET_BYTES) {
		CHECK(!magnet_parse(text, strlen(text), &m, why));
		CHECK(infohash_eq(&m->infohash, &mi->infohash));
		CHECK(!strcmp(m->name, mi->name));
		CHECK(m->num_trackers == mi->num_trackers);
		CHECK(m->num_webseeds == mi->num_webseeds);
		magnet_free(m);
	}
	free(text);
}

static void check_same(const struct metainfo *a, const struct metainfo *b)
{
	CHECK(infohash_eq(&a->infohash, &b->infohash));
	CHECK(infohash2_eq(&a->infohash2, &b->infohash2));
	CHECK(a->num_files == b->num_files && !strcmp(a->name, b->name));
	for (uint32_t i = 0; i < a->num_files; i++) {
		CHECK(!strcmp(a->files[i].path, b->files[i].path));
		CHECK(a->files[i].flags == b->files[i].flags);
	}
}

static void check_written(const struct metainfo *mi)
{
	char why[METAINFO_WHY_SIZE];
	struct metainfo *again, *info;
	struct buf b, b2;

	buf_init(&b, 0);
	buf_init(&b2, 0);
	metainfo_write(mi, &b);
	CHECK(!metainfo_parse(b.ptr, b.len, &again, why));
	check_same(mi, again);
	CHECK(mi->num_trackers == again->num_trackers);
	metainfo_write(again, &b2);
	CHECK(b.len == b2.len && !memcmp(b.ptr, b2.ptr, b.len));
	CHECK(!metainfo_parse_info(mi->info.ptr, mi->info.len, &info, why));
	check_same(mi, info);
	metainfo_free(info);
	metainfo_free(again);
	buf_release(&b);
	buf_release(&b2);
}

static void check(const struct metainfo *mi)
{
	check_element(mi->name, strlen(mi->name));
	CHECK(mi->has_v1 || mi->has_v2);
	CHECK(!mi->has_v1 == !mi->piece_hashes);
	check_layout(&mi->layout);
	check_files(mi);
	CHECK(mi->num_trackers <= LIMIT_TRACKERS);
	CHECK(mi->num_webseeds <= LIMIT_WEBSEEDS);
	for (size_t i = 0; i < mi->num_trackers; i++) {
		check_url(mi->trackers[i]);
		CHECK(!i || mi->tier_of[i] >= mi->tier_of[i - 1]);
	}
	for (size_t i = 0; i < mi->num_webseeds; i++)
		check_url(mi->webseeds[i]);
	check_written(mi);
	check_magnet(mi);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[METAINFO_WHY_SIZE];
	struct metainfo *mi;

	if (!metainfo_parse(data, size, &mi, why)) {
		CHECK(!*why);
		check(mi);
	} else {
		CHECK(*why && !mi);
	}
	metainfo_free(mi);
	if (!metainfo_parse_info(data, size, &mi, why))
		check(mi);
	metainfo_free(mi);
	return 0;
}
