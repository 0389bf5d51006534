/* From bytes to a struct metainfo, in this order: what v1 and v2 share, the
 * files of v1, those of v2, that both agree, piece layers, safe names. Nothing
 * is fetched, guessed or repaired but names; a rule that is broken ends it.
 *
 * The info dict keeps its own bytes, sorted or not: its hash is the torrent.
 * What follows the .torrent's dictionary is dropped. */
#include "engine/metainfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"
#include "engine/metainfo_parser.h"
#include "engine/names.h"
#include "engine/safeurl.h"

/* URLs of one list that get a look, repeats and rubbish included: a million of
 * them must not cost a million comparisons with those that are kept. */
#define URLS_LOOKED_AT (16 * LIMIT_TRACKERS)

int metainfo_refuse(struct metainfo_parser *p, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(p->why, METAINFO_WHY_SIZE, format,
			ap); /* cut is fine */
	va_end(ap);
	return err;
}

static int parse_version(struct metainfo_parser *p)
{
	int64_t version = 1;
	struct bnode node = bnode_get(p->info, "meta version");

	if (node.ptr && !bnode_int(node, &version))
		return metainfo_refuse(p, -EBADMSG,
				       "\"meta version\" is not a number");
	if (version != 1 && version != 2)
		return metainfo_refuse(p, -EBADMSG,
				       "\"meta version\" is %" PRId64
				       ": only 1 and 2 are known",
				       version);
	p->mi->has_v2 = version == 2;
	p->mi->has_v1 = !p->mi->has_v2 || bnode_get(p->info, "pieces").ptr;
	return 0;
}

static int parse_piece_length(struct metainfo_parser *p)
{
	struct bnode node = bnode_get(p->info, "piece length");
	int64_t n;

	if (!bnode_int(node, &n))
		return metainfo_refuse(p, -EBADMSG, "\"piece length\" is %s",
				       node.ptr ? "not a number" : "missing");
	if (n < 1)
		return metainfo_refuse(p, -EBADMSG,
				       "piece length is %" PRId64
				       ": must be at least 1 byte",
				       n);
	if (n > LIMIT_PIECE_LENGTH)
		return metainfo_refuse(p, -E2BIG,
				       "piece length is %" PRId64
				       ": must be at most %u bytes",
				       n, LIMIT_PIECE_LENGTH);
	if (p->mi->has_v2 && (n < LIMIT_PIECE_LENGTH_MIN_V2 || n & (n - 1)))
		return metainfo_refuse(p, -EBADMSG,
				       "piece length is %" PRId64
				       ": v2 asks for a power of two, at least "
				       "%u bytes",
				       n, LIMIT_PIECE_LENGTH_MIN_V2);
	p->mi->layout.piece_length = (uint32_t)n;
	return 0;
}

static int parse_name(struct metainfo_parser *p)
{
	if (!bnode_get_str(p->info, "name.utf-8", &p->rawname) &&
	    !bnode_get_str(p->info, "name", &p->rawname))
		return metainfo_refuse(p, -EBADMSG, "\"name\" is %s",
				       bnode_get(p->info, "name").ptr
					       ? "not a string"
					       : "missing");
	if (p->rawname.len && memchr(p->rawname.ptr, 0, p->rawname.len))
		return metainfo_refuse(p, -EBADMSG,
				       "\"name\" holds a zero byte");
	return 0;
}

int metainfo_set_layout(struct metainfo_parser *p, uint64_t total)
{
	struct layout *l = &p->mi->layout;
	uint64_t num;

	if (!total)
		return metainfo_refuse(p, -EBADMSG,
				       "there is no file that is not empty");
	if (total > LIMIT_TORRENT_BYTES)
		return metainfo_refuse(p, -E2BIG,
				       "all files together are larger than "
				       "%" PRIu64 " bytes",
				       (uint64_t)LIMIT_TORRENT_BYTES);
	num = (total + l->piece_length - 1) / l->piece_length;
	if (num > LIMIT_PIECES)
		return metainfo_refuse(p, -E2BIG,
				       "%" PRIu64 " pieces: must be at most %u",
				       num, LIMIT_PIECES);
	l->total = total;
	l->num_pieces = (uint32_t)num;
	return 0;
}

static int parse_versions(struct metainfo_parser *p)
{
	int r = 0;

	if (p->mi->has_v1)
		r = metainfo_v1_parse(p);
	if (r < 0 || !p->mi->has_v2)
		return r;
	r = metainfo_v2_parse(p);
	if (!r)
		r = p->mi->has_v1 ? metainfo_v2_match(p) : metainfo_v2_place(p);
	return r < 0 ? r : metainfo_v2_check_layers(p);
}

/* A v2 torrent is one file when its tree is one file that has its name. */
static bool is_multi_v2(const struct metainfo_parser *p)
{
	const struct metainfo_file *f = p->v2.at;

	return p->v2.num != 1 || strchr(f->path, '/') ||
	       strlen(f->origpath) != p->rawname.len ||
	       memcmp(f->origpath, p->rawname.ptr, p->rawname.len);
}

static void take_files(struct metainfo_parser *p)
{
	struct metainfo_files *l = p->mi->has_v1 ? &p->v1 : &p->v2;

	if (!p->mi->has_v1)
		p->mi->is_multi = is_multi_v2(p);
	p->mi->files = l->at;
	p->mi->num_files = l->num;
	memset(l, 0, sizeof(*l));
}

static void set_hashes(struct metainfo *mi)
{
	if (mi->has_v2)
		sha256(mi->info.ptr, mi->info.len, mi->infohash2.b);
	if (mi->has_v1)
		sha1(mi->info.ptr, mi->info.len, mi->infohash.b);
	else
		mi->infohash = infohash2_truncate(&mi->infohash2);
}

/* A name of which nothing is left gives way to the infohash. */
static void set_name(struct metainfo_parser *p)
{
	struct metainfo *mi = p->mi;
	char hex[2 * sizeof(mi->infohash2) + 1];

	mi->origname = p->rawname.len
			       ? mem_strndup((const char *)p->rawname.ptr,
					     p->rawname.len)
			       : mem_strdup("");
	buf_clear(&p->path);
	if (names_add_element(&p->path, p->rawname.ptr, p->rawname.len))
		mi->name = mem_strndup((const char *)p->path.ptr, p->path.len);
	else if (mi->has_v1)
		mi->name = mem_strdup(hex_encode(mi->infohash.b,
						 sizeof(mi->infohash.b), hex));
	else
		mi->name = mem_strdup(hex_encode(mi->infohash2.b,
						 sizeof(mi->infohash2.b), hex));
}

static int check_names(struct metainfo_parser *p, char **paths, size_t num)
{
	struct metainfo *mi = p->mi;
	size_t culprit, seen = 0;
	char vis[64];
	int r;

	for (size_t i = 0; i < num; i++)
		if (!(mi->files[i].flags & FILE_PAD)) {
			paths[i] = mi->files[i].path;
			seen++;
		}
	if (!seen)
		return metainfo_refuse(p, -EBADMSG, "there are no files");
	/* The torrent's own hash: names cannot be chosen to fit it. */
	r = names_make_unique(paths, num, mi->infohash.b, &culprit);
	for (size_t i = 0; i < num; i++)
		if (paths[i])
			mi->files[i].path = paths[i];
	if (r == -E2BIG)
		return metainfo_refuse(
			p, r, "more than %d files have the name %s",
			LIMIT_DUPLICATE_NAMES,
			log_vis(paths[culprit], strlen(paths[culprit]), vis,
				sizeof(vis)));
	for (size_t i = 0; i < num && !r; i++)
		if (strlen(mi->files[i].path) > LIMIT_PATH_BYTES)
			return metainfo_refuse(p, -E2BIG,
					       "a path is longer than %d bytes",
					       LIMIT_PATH_BYTES);
	return r < 0 ? metainfo_refuse(p, r, "out of memory") : 0;
}

static int make_names(struct metainfo_parser *p)
{
	struct metainfo *mi = p->mi;
	char **paths;
	int r;

	set_name(p);
	if (!mi->is_multi) {
		free(mi->files[0].path);
		mi->files[0].path = mem_strdup(mi->name);
	}
	paths = mem_try(mi->num_files, sizeof(*paths));
	if (!paths)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	r = check_names(p, paths, mi->num_files);
	free(paths);
	return r;
}

static int parse_info(struct metainfo_parser *p)
{
	struct metainfo *mi = p->mi;
	int64_t is_private = 0;
	int r;

	if (!bnode_is_dict(p->info))
		return metainfo_refuse(p, -EBADMSG, "\"info\" is %s",
				       p->info.ptr ? "not a dictionary"
						   : "missing: not a torrent");
	mi->info = bnode_raw(p->info);
	r = parse_version(p);
	if (!r)
		r = parse_name(p);
	if (!r)
		r = parse_piece_length(p);
	if (!r)
		r = parse_versions(p);
	if (r < 0)
		return r;
	(void)bnode_get_int(p->info, "private", &is_private); /* or 0 */
	mi->is_private = is_private != 0;
	set_hashes(mi);
	take_files(p);
	return make_names(p);
}

static void add_tracker_node(struct metainfo *mi, struct bnode node,
			     unsigned tier)
{
	struct span s;

	if (bnode_str(node, &s))
		metainfo_add_tracker_span(mi, s, tier);
}

static void add_webseed_node(struct metainfo *mi, struct bnode node)
{
	struct span s;

	if (bnode_str(node, &s))
		metainfo_add_webseed_span(mi, s);
}

/* BEP 12: tiers of URLs. Some write a URL where a tier belongs. */
static void parse_announce_list(struct metainfo *mi, struct bnode list)
{
	struct bwalk tiers = bwalk_of(list), urls;
	struct bnode tier, url;
	unsigned number = 0, looked_at = 0;
	struct span key;

	while (bwalk_next(&tiers, &key, &tier) && looked_at < URLS_LOOKED_AT) {
		size_t before = mi->num_trackers;

		looked_at++;
		add_tracker_node(mi, tier, number);
		for (urls = bwalk_of(tier); bwalk_next(&urls, &key, &url) &&
					    looked_at < URLS_LOOKED_AT;
		     looked_at++)
			add_tracker_node(mi, url, number);
		number += mi->num_trackers > before;
	}
}

/* BEP 19: a string or a list of them. */
static void parse_url_list(struct metainfo *mi, struct bnode node)
{
	struct bwalk w = bwalk_of(node);
	unsigned looked_at = 0;
	struct bnode url;
	struct span key;

	add_webseed_node(mi, node);
	while (bwalk_next(&w, &key, &url) && looked_at++ < URLS_LOOKED_AT)
		add_webseed_node(mi, url);
}

static char *text_of(struct bnode dict, const char *key)
{
	struct span s;

	if (!bnode_get_str(dict, key, &s) || !s.len)
		return NULL;
	return mem_strndup((const char *)s.ptr, s.len);
}

static bool has_tracker_of_use(const struct metainfo *mi)
{
	for (size_t i = 0; i < mi->num_trackers; i++) {
		if (safeurl_is_of_use(mi->trackers[i]))
			return true;
	}
	return false;
}

static void parse_outside(struct metainfo_parser *p)
{
	struct metainfo *mi = p->mi;

	parse_announce_list(mi, bnode_get_list(p->root, "announce-list"));
	/* By BEP 12 the list alone counts, but not if it is good for nothing.
	 */
	if (!has_tracker_of_use(mi))
		add_tracker_node(mi, bnode_get(p->root, "announce"), 0);
	parse_url_list(mi, bnode_get(p->root, "url-list"));
	metainfo_nodes_parse(p);
	mi->comment = text_of(p->root, "comment");
	mi->created_by = text_of(p->root, "created by");
	if (!bnode_get_int(p->root, "creation date", &mi->creation_date) ||
	    mi->creation_date < 0)
		mi->creation_date = 0;
}

/* Copies the value that BYTES begins with and returns it as *root. */
static int take_bytes(struct metainfo_parser *p, const uint8_t *bytes,
		      size_t len, struct bnode *root)
{
	static const struct bencode_limits limits = {
		.depth = LIMIT_BENCODE_DEPTH,
		.tokens = LIMIT_BENCODE_TOKENS,
	};
	size_t used, error_at = 0;
	struct bnode node;
	int r;

	r = bencode_parse(bytes, len, &limits, &node, &used, &error_at);
	if (r == -E2BIG)
		return metainfo_refuse(p, r, "more than %d levels or %d values",
				       LIMIT_BENCODE_DEPTH,
				       LIMIT_BENCODE_TOKENS);
	if (r < 0)
		return metainfo_refuse(p, r,
				       "not bencoded (at byte %zu): not a "
				       "torrent, or damaged",
				       error_at);
	p->mi->raw = mem_try(used, 1);
	if (!p->mi->raw)
		return metainfo_refuse(p, -ENOMEM, "out of memory");
	memcpy(p->mi->raw, bytes, used);
	p->mi->raw_len = used;
	*root = (struct bnode){ p->mi->raw, p->mi->raw + used };
	return 0;
}

static void parser_start(struct metainfo_parser *p, char *why)
{
	memset(p, 0, sizeof(*p));
	p->mi = mem_alloc(sizeof(*p->mi));
	p->why = why;
	*why = '\0';
	buf_init(&p->path, 0);
	buf_init(&p->origpath, 0);
}

static int parser_end(struct metainfo_parser *p, int r, struct metainfo **out)
{
	metainfo_files_release(&p->v1);
	metainfo_files_release(&p->v2);
	buf_release(&p->path);
	buf_release(&p->origpath);
	if (r < 0) {
		metainfo_free(p->mi);
		p->mi = NULL;
	}
	*out = p->mi;
	return r;
}

int metainfo_parse(const uint8_t *bytes, size_t len, struct metainfo **out,
		   char why[METAINFO_WHY_SIZE])
{
	struct metainfo_parser p;
	int r;

	parser_start(&p, why);
	if (len > LIMIT_TORRENT_FILE_BYTES) {
		r = metainfo_refuse(&p, -E2BIG, "%zu bytes: must be at most %u",
				    len, LIMIT_TORRENT_FILE_BYTES);
		goto out;
	}
	r = take_bytes(&p, bytes, len, &p.root);
	if (r < 0)
		goto out;
	if (!bnode_is_dict(p.root)) {
		r = metainfo_refuse(&p, -EBADMSG,
				    "not a dictionary: not a torrent");
		goto out;
	}
	p.info = bnode_get(p.root, "info");
	r = parse_info(&p);
	if (!r)
		parse_outside(&p);
out:
	return parser_end(&p, r, out);
}

int metainfo_parse_info(const uint8_t *info, size_t len, struct metainfo **out,
			char why[METAINFO_WHY_SIZE])
{
	struct metainfo_parser p;
	int r;

	parser_start(&p, why);
	if (len > LIMIT_METADATA_BYTES)
		r = metainfo_refuse(&p, -E2BIG, "%zu bytes: must be at most %u",
				    len, LIMIT_METADATA_BYTES);
	else
		r = take_bytes(&p, info, len, &p.info);
	if (!r && p.mi->raw_len != len)
		r = metainfo_refuse(&p, -EBADMSG,
				    "bytes after the info dictionary");
	if (!r)
		r = parse_info(&p);
	return parser_end(&p, r, out);
}

void metainfo_free(struct metainfo *mi)
{
	struct metainfo_files files;

	if (!mi)
		return;
	files = (struct metainfo_files){ mi->files, mi->num_files, 0 };
	metainfo_files_release(&files);
	for (size_t i = 0; i < mi->num_trackers; i++)
		free(mi->trackers[i]);
	for (size_t i = 0; i < mi->num_webseeds; i++)
		free(mi->webseeds[i]);
	free(mi->trackers);
	free(mi->tier_of);
	for (size_t i = 0; i < mi->num_nodes; i++)
		free(mi->nodes[i]);
	free(mi->webseeds);
	free(mi->nodes);
	free(mi->name);
	free(mi->origname);
	free(mi->comment);
	free(mi->created_by);
	free(mi->raw);
	free(mi);
}
