/* Names: the torrent's own if it is free; else with the first eight digits of
 * its infohash, then with all forty, then with a number. A name that is given
 * stays for the run, whatever leaves the library. What .weirfs/ calls its own
 * files is never free. */
#include "fs/library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define NUM_BUCKETS 4096u /* LIMIT_TORRENTS names */

struct library {
	struct entry **entries; /* owned; by id */
	size_t num, cap;
	int64_t changed_s;
	struct entry *buckets[NUM_BUCKETS];
};

static unsigned bucket_of(const char *name, size_t len)
{
	uint32_t h = 2166136261u; /* FNV-1a; names are ours to cap, not many */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 16777619u;
	return (h ^ h >> 16) % NUM_BUCKETS;
}

struct library *library_new(void)
{
	return mem_alloc(sizeof(struct library));
}

static void entry_free(struct entry *e)
{
	tree_free(e->tree);
	free(e->name);
	free(e);
}

void library_free(struct library *lib)
{
	if (!lib)
		return;
	for (size_t i = 0; i < lib->num; i++)
		entry_free(lib->entries[i]);
	free(lib->entries);
	free(lib);
}

/* ---- finding ---- */

size_t library_count(const struct library *lib)
{
	return lib->num;
}

struct entry *library_at(const struct library *lib, size_t i)
{
	return i < lib->num ? lib->entries[i] : NULL;
}

int64_t library_changed_s(const struct library *lib)
{
	return lib->changed_s;
}

size_t library_index(const struct library *lib, int64_t id)
{
	size_t low = 0, high = lib->num;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (lib->entries[mid]->id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct entry *library_by_id(const struct library *lib, int64_t id)
{
	struct entry *e = library_at(lib, library_index(lib, id));

	return e && e->id == id ? e : NULL;
}

struct entry *library_by_name(const struct library *lib, const char *name,
			      size_t len)
{
	struct entry *e = lib->buckets[bucket_of(name, len)];

	while (e && (strlen(e->name) != len || memcmp(e->name, name, len)))
		e = e->next_by_name;
	return e;
}

struct entry *library_find(const struct library *lib, const char *text)
{
	size_t len = strlen(text);
	struct entry *found = library_by_name(lib, text, len);

	if (found || len < 8 || len > 40)
		return found;
	for (size_t i = 0; i < lib->num; i++) {
		if (strncasecmp(lib->entries[i]->hash, text, len))
			continue;
		if (found)
			return NULL;
		found = lib->entries[i];
	}
	return found;
}

/* ---- names ---- */

static bool name_is_free(const struct library *lib, const char *name)
{
	return strcmp(name, "status.json") && strcmp(name, "metrics") &&
	       !library_by_name(lib, name, strlen(name));
}

/* NAME cut to what leaves room for TAIL and ".torrent" in 255 bytes, never in
 * the middle of a UTF-8 sequence. */
static char *name_with_tail(const char *name, const char *tail)
{
	size_t room = 255 - strlen(".torrent") - strlen(tail);
	size_t len = strlen(name);

	if (len > room) {
		len = room;
		while (len && ((uint8_t)name[len] & 0xc0) == 0x80)
			len--;
	}
	return mem_printf("%.*s%s", (int)len, name, tail);
}

static char *choose_name(const struct library *lib, const char *wish,
			 const char *hash)
{
	char tail[64] = "";
	char *name = name_with_tail(wish, tail);

	for (unsigned n = 0; !name_is_free(lib, name); n++) {
		if (n == 0)
			snprintf(tail, sizeof(tail), " [%.8s]", hash);
		else if (n == 1)
			snprintf(tail, sizeof(tail), " [%s]", hash);
		else
			snprintf(tail, sizeof(tail), " [%s] %u", hash, n);
		free(name);
		name = name_with_tail(wish, tail);
	}
	return name;
}

static void unlink_name(struct library *lib, struct entry *e)
{
	struct entry **at = &lib->buckets[bucket_of(e->name, strlen(e->name))];

	while (*at != e)
		at = &(*at)->next_by_name;
	*at = e->next_by_name;
	free(e->name);
	e->name = NULL;
}

static void give_name(struct library *lib, struct entry *e)
{
	struct entry **at;

	e->name = choose_name(lib, torrent_name(e->torrent), e->hash);
	at = &lib->buckets[bucket_of(e->name, strlen(e->name))];
	e->next_by_name = *at;
	*at = e;
}

/* ---- coming and going ---- */

static struct entry *insert(struct library *lib, struct torrent *t)
{
	size_t at = library_index(lib, torrent_id(t));
	struct entry *e = mem_alloc(sizeof(*e));

	e->torrent = t;
	e->id = torrent_id(t);
	hex_encode(torrent_infohash(t)->b, 20, e->hash);
	if (lib->num == lib->cap) {
		lib->cap = lib->cap ? lib->cap * 2 : 64;
		lib->entries = mem_realloc_array(lib->entries, lib->cap,
						 sizeof(*lib->entries));
	}
	memmove(lib->entries + at + 1, lib->entries + at,
		(lib->num - at) * sizeof(*lib->entries));
	lib->entries[at] = e;
	lib->num++;
	if (torrent_added_s(t) > lib->changed_s)
		lib->changed_s = torrent_added_s(t);
	give_name(lib, e);
	return e;
}

struct entry *library_put(struct library *lib, struct torrent *t)
{
	struct entry *e;

	if (torrent_id(t) <= 0 || torrent_id(t) > INO_ID_MAX) {
		log_error("torrent id %lld is out of range, not shown",
			  (long long)torrent_id(t));
		return NULL;
	}
	e = library_by_id(lib, torrent_id(t));
	if (!e)
		e = insert(lib, t);
	if (!e->has_metainfo && torrent_metainfo(t)) {
		e->has_metainfo = true;
		unlink_name(lib, e); /* the metainfo may know better */
		give_name(lib, e);
	}
	return e;
}

void library_remove(struct library *lib, struct entry *e)
{
	size_t at = library_index(lib, e->id);

	CHECK(library_at(lib, at) == e);
	lib->num--;
	lib->changed_s = clock_wall_s();
	memmove(lib->entries + at, lib->entries + at + 1,
		(lib->num - at) * sizeof(*lib->entries));
	unlink_name(lib, e);
	entry_free(e);
}

/* ---- what an entry holds ---- */

struct tree *entry_tree(struct entry *e)
{
	const struct metainfo *mi = torrent_metainfo(e->torrent);

	if (e->tree || !mi)
		return e->tree;
	e->tree = tree_new(mi);
	if (!e->tree)
		log_error("torrent=%.8s: no memory for its tree", e->hash);
	else if (e->tree->num_skipped)
		log_warn(
			"torrent=%.8s: %u files with clashing paths are hidden",
			e->hash, e->tree->num_skipped);
	return e->tree;
}

void entry_write_torrent(const struct entry *e, struct buf *out)
{
	const struct metainfo *mi = torrent_metainfo(e->torrent);

	if (!mi)
		return;
	if (mi->raw && mi->info.len < mi->raw_len)
		buf_add(out, mi->raw, mi->raw_len);
	else
		metainfo_write(mi, out);
}
