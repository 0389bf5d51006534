#include "tools/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "fs/status.h"
#include "tools/transfer.h"

#define READ_STEP (1u << 20)

/* --- reading --- */

static int read_all(int fd, struct buf *out)
{
	uint8_t *room;
	ssize_t n;

	do {
		room = buf_reserve(out, READ_STEP);
		if (!room)
			return -E2BIG;
		n = read(fd, room, READ_STEP);
		if (n < 0 && errno != EINTR)
			return -errno;
		out->len += n > 0 ? (size_t)n : 0;
	} while (n);
	return 0;
}

static int open_plain(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && S_ISDIR(st.st_mode)) {
		close(fd);
		return -EISDIR;
	}
	return fd;
}

int facts_read_torrent(const char *path, struct metainfo **out,
		       char why[FACTS_WHY_SIZE])
{
	bool is_stdin = !strcmp(path, "-");
	char rule[METAINFO_WHY_SIZE];
	int fd, r;
	struct buf b;

	*out = NULL;
	buf_init(&b, LIMIT_TORRENT_FILE_BYTES + READ_STEP);
	fd = is_stdin ? STDIN_FILENO : open_plain(path);
	r = fd < 0 ? fd : read_all(fd, &b);
	if (fd >= 0 && !is_stdin)
		close(fd);
	if (r < 0)
		snprintf(rule, sizeof(rule), "%s",
			 r == -E2BIG ? "too large for a torrent"
				     : strerrordesc_np(-r));
	else
		r = metainfo_parse(b.ptr, b.len, out, rule);
	buf_release(&b);
	if (r < 0)
		snprintf(why, FACTS_WHY_SIZE, "%s: %s",
			 is_stdin ? "standard input" : path, rule);
	return r;
}

/* --- JSON --- */

static json_t *json_hash(bool is_known, const uint8_t *bytes, size_t len)
{
	char hex[2 * 32 + 1];

	return is_known ? json_string(hex_encode(bytes, len, hex))
			: json_null();
}

static json_t *json_text(const char *text)
{
	return text ? status_text(text) : json_null();
}

static json_t *json_texts(char *const *texts, size_t num)
{
	json_t *list = json_array();

	for (size_t i = 0; i < num; i++)
		json_array_append_new(list, status_text(texts[i]));
	return list;
}

static json_t *json_files(const struct metainfo *mi)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];
		json_t *file;

		if (f->flags & FILE_PAD)
			continue;
		file = json_object();
		json_object_set_new(file, "path", status_text(f->path));
		json_object_set_new(file, "length",
				    json_integer((json_int_t)f->length));
		if (f->symlink)
			json_object_set_new(file, "symlink",
					    status_text(f->symlink));
		json_array_append_new(list, file);
	}
	return list;
}

static json_t *json_tiers(const struct metainfo *mi)
{
	json_t *tiers = json_array(), *tier = NULL;

	for (size_t i = 0; i < mi->num_trackers; i++) {
		if (!i || mi->tier_of[i] != mi->tier_of[i - 1]) {
			tier = json_array();
			json_array_append_new(tiers, tier);
		}
		json_array_append_new(tier, status_text(mi->trackers[i]));
	}
	return tiers;
}

json_t *facts_of_torrent(const struct metainfo *mi)
{
	char *magnet = metainfo_magnet(mi);
	json_t *j = json_object();

	json_object_set_new(j, "name", status_text(mi->name));
	json_object_set_new(
		j, "infohash_v1",
		json_hash(mi->has_v1, mi->infohash.b, sizeof(mi->infohash.b)));
	json_object_set_new(j, "infohash_v2",
			    json_hash(mi->has_v2, mi->infohash2.b,
				      sizeof(mi->infohash2.b)));
	json_object_set_new(j, "length",
			    json_integer((json_int_t)facts_size(mi, NULL)));
	json_object_set_new(j, "piece_length",
			    json_integer(mi->layout.piece_length));
	json_object_set_new(j, "pieces", json_integer(mi->layout.num_pieces));
	json_object_set_new(j, "private", json_boolean(mi->is_private));
	json_object_set_new(j, "folder", json_boolean(mi->is_multi));
	json_object_set_new(j, "files", json_files(mi));
	json_object_set_new(j, "trackers",
			    json_texts(mi->trackers, mi->num_trackers));
	json_object_set_new(j, "tiers", json_tiers(mi));
	json_object_set_new(j, "webseeds",
			    json_texts(mi->webseeds, mi->num_webseeds));
	json_object_set_new(j, "nodes", json_texts(mi->nodes, mi->num_nodes));
	json_object_set_new(j, "comment", json_text(mi->comment));
	json_object_set_new(j, "created_by", json_text(mi->created_by));
	json_object_set_new(j, "creation_date",
			    mi->creation_date ? json_integer(mi->creation_date)
					      : json_null());
	json_object_set_new(j, "magnet", json_string(magnet));
	free(magnet);
	return j;
}

static json_t *json_ranges(const struct magnet *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->num_ranges; i++)
		json_array_append_new(list,
				      json_pack("[I, I]",
						(json_int_t)m->ranges[i].first,
						(json_int_t)m->ranges[i].last));
	return list;
}

json_t *facts_of_magnet(const struct magnet *m)
{
	static const char *const unknown[] = { "length",     "piece_length",
					       "pieces",     "private",
					       "folder",     "comment",
					       "created_by", "creation_date" };
	char *magnet = magnet_format(m);
	json_t *j = json_object();

	json_object_set_new(j, "name", json_text(m->name));
	json_object_set_new(
		j, "infohash_v1",
		json_hash(m->has_v1, m->infohash.b, sizeof(m->infohash.b)));
	json_object_set_new(
		j, "infohash_v2",
		json_hash(m->has_v2, m->infohash2.b, sizeof(m->infohash2.b)));
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		json_object_set_new(j, unknown[i], json_null());
	json_object_set_new(j, "files", json_array());
	json_object_set_new(j, "trackers",
			    json_texts(m->trackers, m->num_trackers));
	json_object_set_new(j, "webseeds",
			    json_texts(m->webseeds, m->num_webseeds));
	json_object_set_new(j, "peers", json_texts(m->peers, m->num_peers));
	json_object_set_new(j, "select", json_ranges(m));
	json_object_set_new(j, "magnet", json_string(magnet));
	free(magnet);
	return j;
}

void facts_print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

/* --- words --- */

static void print_text(const char *key, const char *text)
{
	char vis[2048];

	if (text)
		printf("%-12s %s\n", key,
		       log_vis(text, strlen(text), vis, sizeof(vis)));
}

static void print_hash(const char *key, bool is_known, const uint8_t *bytes,
		       size_t len)
{
	char hex[2 * 32 + 1];

	if (is_known)
		printf("%-12s %s\n", key, hex_encode(bytes, len, hex));
}

static void print_date(int64_t date)
{
	time_t t = (time_t)date;
	char text[64];
	struct tm tm;

	if (date && gmtime_r(&t, &tm) &&
	    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		printf("%-12s %s\n", "created", text);
}

const char *facts_count(uint64_t n, const char *noun, char out[48])
{
	snprintf(out, 48, "%" PRIu64 " %s%s", n, noun, n == 1 ? "" : "s");
	return out;
}

uint64_t facts_size(const struct metainfo *mi, uint32_t *num)
{
	uint64_t size = 0;
	uint32_t n = 0;

	for (uint32_t i = 0; i < mi->num_files; i++) {
		if (mi->files[i].flags & FILE_PAD)
			continue;
		size += mi->files[i].length;
		n++;
	}
	if (num)
		*num = n;
	return size;
}

static void print_files(const struct metainfo *mi)
{
	puts("files");
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *f = &mi->files[i];

		if (f->flags & FILE_PAD)
			continue;
		if (f->symlink)
			printf("%15s  %s -> %s\n", "link", f->path, f->symlink);
		else
			printf("%15" PRIu64 "  %s\n", f->length, f->path);
	}
}

void facts_print_torrent(const struct metainfo *mi, bool with_files)
{
	char size[32], files[48], each[32];
	uint32_t num;
	uint64_t bytes = facts_size(mi, &num);

	printf("%-12s %s%s\n", "name", mi->name, mi->is_multi ? "/" : "");
	print_hash("infohash", mi->has_v1, mi->infohash.b,
		   sizeof(mi->infohash.b));
	print_hash("infohash v2", mi->has_v2, mi->infohash2.b,
		   sizeof(mi->infohash2.b));
	printf("%-12s %s (%" PRIu64 " bytes) in %s\n", "size",
	       format_bytes(bytes, size), bytes,
	       facts_count(num, "file", files));
	printf("%-12s %" PRIu32 " of %s each\n", "pieces",
	       mi->layout.num_pieces,
	       format_bytes(mi->layout.piece_length, each));
	if (mi->is_private)
		printf("%-12s yes: peers from its trackers only\n", "private");
	print_text("comment", mi->comment);
	print_text("created by", mi->created_by);
	print_date(mi->creation_date);
	for (size_t i = 0; i < mi->num_trackers; i++)
		printf("%-12s %s (tier %u)\n", "tracker", mi->trackers[i],
		       mi->tier_of[i] + 1);
	for (size_t i = 0; i < mi->num_webseeds; i++)
		printf("%-12s %s\n", "web seed", mi->webseeds[i]);
	for (size_t i = 0; i < mi->num_nodes; i++)
		printf("%-12s %s\n", "DHT node", mi->nodes[i]);
	if (with_files)
		print_files(mi);
}

void facts_print_magnet(const struct magnet *m)
{
	print_text("name", m->name);
	print_hash("infohash", m->has_v1, m->infohash.b, sizeof(m->infohash.b));
	print_hash("infohash v2", m->has_v2, m->infohash2.b,
		   sizeof(m->infohash2.b));
	for (size_t i = 0; i < m->num_trackers; i++)
		printf("%-12s %s\n", "tracker", m->trackers[i]);
	for (size_t i = 0; i < m->num_webseeds; i++)
		printf("%-12s %s\n", "web seed", m->webseeds[i]);
	for (size_t i = 0; i < m->num_peers; i++)
		printf("%-12s %s\n", "peer", m->peers[i]);
	for (size_t i = 0; i < m->num_ranges; i++)
		printf("%-12s %" PRIu32 "-%" PRIu32 "\n", "files",
		       m->ranges[i].first, m->ranges[i].last);
}
