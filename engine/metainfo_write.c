/* What is done with a struct metainfo once it is there: more sources, a
 * .torrent, a magnet link, where a byte lies. */
#include "engine/metainfo.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/magnet.h"
#include "engine/metainfo_parser.h"
#include "engine/safeurl.h"

void metainfo_add_tracker_span(struct metainfo *mi, struct span url,
			       unsigned tier)
{
	size_t i = mi->num_trackers;
	char *clean;

	if (!safeurl_add(&mi->trackers, &mi->num_trackers, LIMIT_TRACKERS,
			 safeurl_clean(url.ptr, url.len, SAFEURL_TRACKER)))
		return;
	mi->tier_of = mem_realloc_array(mi->tier_of, mi->num_trackers,
					sizeof(*mi->tier_of));
	/* It came last; move it to the end of its tier. */
	clean = mi->trackers[i];
	for (; i && mi->tier_of[i - 1] > tier; i--) {
		mi->trackers[i] = mi->trackers[i - 1];
		mi->tier_of[i] = mi->tier_of[i - 1];
	}
	mi->trackers[i] = clean;
	mi->tier_of[i] = tier;
}

void metainfo_add_tracker(struct metainfo *mi, const char *url, unsigned tier)
{
	struct span s = { (const uint8_t *)url, strlen(url) };

	metainfo_add_tracker_span(mi, s, tier);
}

/* BEP 19: with several files the URL names the folder that holds NAME. */
static char *with_slash(char *url)
{
	size_t len = url ? strlen(url) : 0;
	char *longer;

	if (!len || len >= LIMIT_URL_BYTES || url[len - 1] == '/' ||
	    strchr(url, '?'))
		return url;
	longer = mem_printf("%s/", url);
	free(url);
	return longer;
}

void metainfo_add_webseed_span(struct metainfo *mi, struct span url)
{
	char *clean = safeurl_clean(url.ptr, url.len, SAFEURL_WEBSEED);

	if (mi->is_multi)
		clean = with_slash(clean);
	(void)safeurl_add(&mi->webseeds, &mi->num_webseeds, LIMIT_WEBSEEDS,
			  clean); /* one that is there already is fine */
}

void metainfo_add_webseed(struct metainfo *mi, const char *url)
{
	struct span s = { (const uint8_t *)url, strlen(url) };

	metainfo_add_webseed_span(mi, s);
}

static void write_trackers(const struct metainfo *mi, struct buf *out)
{
	if (!mi->num_trackers)
		return;
	benc_cstr(out, "announce");
	benc_cstr(out, mi->trackers[0]);
	if (mi->num_trackers == 1)
		return;
	benc_cstr(out, "announce-list");
	benc_list(out);
	for (size_t i = 0; i < mi->num_trackers; i++) {
		bool is_first = !i || mi->tier_of[i] != mi->tier_of[i - 1];
		bool is_last = i + 1 == mi->num_trackers ||
			       mi->tier_of[i] != mi->tier_of[i + 1];

		if (is_first)
			benc_list(out);
		benc_cstr(out, mi->trackers[i]);
		if (is_last)
			benc_end(out);
	}
	benc_end(out);
}

static void write_text(const char *key, const char *text, struct buf *out)
{
	if (!text)
		return;
	benc_cstr(out, key);
	benc_cstr(out, text);
}

void metainfo_write(const struct metainfo *mi, struct buf *out)
{
	benc_dict(out); /* keys in the order of their bytes */
	write_trackers(mi, out);
	write_text("comment", mi->comment, out);
	write_text("created by", mi->created_by, out);
	if (mi->creation_date) {
		benc_cstr(out, "creation date");
		benc_int(out, mi->creation_date);
	}
	benc_cstr(out, "info");
	buf_add(out, mi->info.ptr, mi->info.len);
	metainfo_nodes_write(mi, out);
	if (mi->piece_layers.ptr) {
		benc_cstr(out, "piece layers");
		buf_add(out, mi->piece_layers.ptr, mi->piece_layers.len);
	}
	if (mi->num_webseeds) {
		benc_cstr(out, "url-list");
		benc_list(out);
		for (size_t i = 0; i < mi->num_webseeds; i++)
			benc_cstr(out, mi->webseeds[i]);
		benc_end(out);
	}
	benc_end(out);
}

char *metainfo_magnet(const struct metainfo *mi)
{
	struct magnet m = {
		.has_v1 = mi->has_v1,
		.has_v2 = mi->has_v2,
		.infohash = mi->infohash,
		.infohash2 = mi->infohash2,
		.name = mi->name,
		.trackers = mi->trackers,
		.num_trackers = mi->num_trackers,
		.webseeds = mi->webseeds,
		.num_webseeds = mi->num_webseeds,
	};

	return magnet_format(&m);
}

uint32_t metainfo_file_at(const struct metainfo *mi, uint64_t off)
{
	uint32_t low = 0, high = mi->num_files; /* the file is in [low, high) */

	CHECK(off < mi->layout.total);
	/* Files tile the torrent, and an empty one comes before the file that
	 * begins where it does: so it is the last that begins at or before. */
	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (mi->files[mid].offset <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}
