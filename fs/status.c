#include "fs/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/addr.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/follow.h"
#include "fs/publish.h"
#include "fs/session_dht.h"

json_t *status_text(const char *text)
{
	json_t *json = json_string(text);
	char shown[2048];

	if (json)
		return json;
	return json_string(log_vis(text, strlen(text), shown, sizeof(shown)));
}

static void set_int(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void set_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, status_text(value));
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0.0;
}

/* ---- one torrent ---- */

static void add_source(void *arg, const char *name, const char *line)
{
	json_t *source = json_object(), *detail;

	set_text(source, "name", name);
	detail = json_loads(line, JSON_DECODE_ANY, NULL);
	json_object_set_new(source, "state",
			    detail ? detail : status_text(line));
	json_array_append_new(arg, source);
}

static void set_progress(json_t *o, const struct torrent_stats *st)
{
	json_object_set_new(o, "progress",
			    json_real(share(st->have_bytes, st->total_bytes)));
	set_int(o, "have_bytes", st->have_bytes);
	set_int(o, "total_bytes", st->total_bytes);
	set_int(o, "have_pieces", st->have_pieces);
	set_int(o, "num_pieces", st->num_pieces);
	if (st->phase == TORRENT_METADATA)
		set_int(o, "metadata_percent", st->metadata_percent);
	if (st->phase == TORRENT_CHECKING)
		set_int(o, "checked_percent", st->checked_percent);
}

static void set_transfer(json_t *o, const struct torrent_stats *st)
{
	set_int(o, "down_bps", st->down_bps);
	set_int(o, "up_bps", st->up_bps);
	set_int(o, "downloaded", st->downloaded);
	set_int(o, "uploaded", st->uploaded);
	set_int(o, "wasted", st->wasted);
	set_int(o, "peers", st->peers);
	set_int(o, "seeds", st->seeds);
	set_int(o, "candidates", st->candidates);
	set_int(o, "peers_unchoking", st->peers_unchoking);
	set_int(o, "parked_reads", st->parked_reads);
}

/* A word to the one who waits. */
static const char *hint(const struct torrent_stats *st)
{
	if (*st->message || st->peers || st->phase == TORRENT_SEEDING)
		return st->message;
	return st->candidates ? "no peer answers yet" : "no peers yet";
}

/* The link that this is the newest version of. */
static void set_follow(json_t *o, struct session *s, struct entry *e)
{
	char link[FOLLOW_LINK_MAX];
	const struct follow_link *l;
	int64_t seq;

	l = s->follows ? follows_of(s->follows, e->id, &seq) : NULL;
	if (!l)
		return;
	set_text(o, "follows", follow_format(l, link));
	set_int(o, "follows_seq", (uint64_t)seq);
}

json_t *status_torrent(struct session *s, struct entry *e)
{
	const struct metainfo *mi = torrent_metainfo(e->torrent);
	json_t *o = json_object(), *sources = json_array();
	char *magnet = torrent_magnet(e->torrent);
	struct torrent_stats st = { 0 };

	torrent_stats(e->torrent, &st);
	set_text(o, "name", e->name);
	set_text(o, "infohash", e->hash);
	set_text(o, "magnet", magnet);
	set_int(o, "id", (uint64_t)e->id);
	set_text(o, "state", torrent_phase_name(st.phase));
	set_progress(o, &st);
	set_transfer(o, &st);
	set_text(o, "error", st.error);
	set_text(o, "message", hint(&st));
	set_int(o, "added", (uint64_t)torrent_added_s(e->torrent));
	if (mi) {
		set_int(o, "piece_length", mi->layout.piece_length);
		set_int(o, "num_files", mi->num_files);
		json_object_set_new(o, "private", json_boolean(mi->is_private));
	}
	set_follow(o, s, e);
	torrent_each_source(e->torrent, add_source, sources);
	json_object_set_new(o, "sources", sources);
	free(magnet);
	return o;
}

static void add_peer(void *arg, const struct peer_stats *p)
{
	json_t *o = json_object();
	char text[ADDR_STR_MAX];

	set_text(o, "addr", addr_str(&p->addr, text));
	set_text(o, "client", p->client);
	set_text(o, "flags", p->flags);
	json_object_set_new(o, "progress", json_real(p->progress));
	set_int(o, "down_bps", p->down_bps);
	set_int(o, "up_bps", p->up_bps);
	set_int(o, "downloaded", p->downloaded);
	set_int(o, "uploaded", p->uploaded);
	set_int(o, "requests_out", p->requests_out);
	set_int(o, "requests_in", p->requests_in);
	set_int(o, "rtt_ms", p->rtt_ms);
	json_array_append_new(arg, o);
}

json_t *status_peers(struct entry *e)
{
	json_t *peers = json_array();

	torrent_each_peer(e->torrent, add_peer, peers);
	return peers;
}

/* ---- all of them ---- */

json_t *status_dht(struct dht *dht)
{
	char line[4096];
	json_t *o;

	if (!dht)
		return json_null();
	dht_describe(dht, line, sizeof(line));
	o = json_loads(line, 0, NULL);
	return o ? o : status_text(line);
}

json_t *status_library(struct session *s)
{
	json_t *o = json_object(), *list = json_array();
	char *control = mem_printf("%s/control.sock", s->opts->state_dir);
	struct entry *e;

	set_text(o, "version", WEIRFS_VERSION);
	set_int(o, "uptime_s", (uint64_t)(clock_wall_s() - s->started_s));
	set_int(o, "port", engine_port(s->engine));
	set_text(o, "state_dir", s->opts->state_dir);
	set_text(o, "data_dir", s->opts->data_dir);
	set_text(o, "control", control);
	set_text(o, "refused", s->refusal);
	for (size_t i = 0; (e = library_at(s->library, i)); i++)
		json_array_append_new(list, status_torrent(s, e));
	json_object_set_new(o, "dht", status_dht(session_dht_node(s->dht)));
	json_object_set_new(o, "torrents", list);
	if (s->publish)
		json_object_set_new(o, "publish", publish_status(s->publish));
	free(control);
	return o;
}

void status_write_json(json_t *json, struct buf *out)
{
	char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6));

	if (text)
		buf_add_str(out, text);
	buf_add_str(out, "\n");
	free(text);
	json_decref(json);
}

struct totals {
	struct torrent_stats sum;
	unsigned in_phase[TORRENT_ERROR + 1];
};

static void add_up(struct session *s, struct totals *t)
{
	struct entry *e;

	for (size_t i = 0; (e = library_at(s->library, i)); i++) {
		struct torrent_stats st = { 0 };

		torrent_stats(e->torrent, &st);
		t->in_phase[st.phase]++;
		t->sum.have_bytes += st.have_bytes;
		t->sum.total_bytes += st.total_bytes;
		t->sum.down_bps += st.down_bps;
		t->sum.up_bps += st.up_bps;
		t->sum.downloaded += st.downloaded;
		t->sum.uploaded += st.uploaded;
		t->sum.wasted += st.wasted;
		t->sum.peers += st.peers;
		t->sum.candidates += st.candidates;
		t->sum.parked_reads += st.parked_reads;
	}
}

static void metric(struct buf *out, const char *name, const char *type,
		   const char *help, uint64_t value)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name,
		   help, name, type, name, value);
}

void status_write_metrics(struct session *s, struct buf *out)
{
	struct totals t = { 0 };

	add_up(s, &t);
	buf_printf(out,
		   "# HELP weirfs_build_info Version of this program.\n"
		   "# TYPE weirfs_build_info gauge\n"
		   "weirfs_build_info{version=\"%s\"} 1\n",
		   WEIRFS_VERSION);
	metric(out, "weirfs_start_time_seconds", "gauge",
	       "When the process began, seconds since 1970.",
	       (uint64_t)s->started_s);
	buf_add_str(out, "# HELP weirfs_torrents Torrents by state.\n"
			 "# TYPE weirfs_torrents gauge\n");
	for (unsigned i = 0; i < ARRAY_LEN(t.in_phase); i++)
		buf_printf(out, "weirfs_torrents{state=\"%s\"} %u\n",
			   torrent_phase_name((enum torrent_phase)i),
			   t.in_phase[i]);
	metric(out, "weirfs_content_bytes", "gauge",
	       "Bytes of all torrents with metadata.", t.sum.total_bytes);
	metric(out, "weirfs_have_bytes", "gauge", "Bytes verified and here.",
	       t.sum.have_bytes);
	metric(out, "weirfs_downloaded_bytes_total", "counter",
	       "Payload bytes received, all sessions.", t.sum.downloaded);
	metric(out, "weirfs_uploaded_bytes_total", "counter",
	       "Payload bytes sent, all sessions.", t.sum.uploaded);
	metric(out, "weirfs_wasted_bytes_total", "counter",
	       "Payload bytes received twice or wrong.", t.sum.wasted);
	metric(out, "weirfs_down_bytes_per_second", "gauge",
	       "Payload rate in, smoothed.", t.sum.down_bps);
	metric(out, "weirfs_up_bytes_per_second", "gauge",
	       "Payload rate out, smoothed.", t.sum.up_bps);
	metric(out, "weirfs_peers", "gauge", "Connected peers.", t.sum.peers);
	metric(out, "weirfs_peer_candidates", "gauge",
	       "Known addresses of peers.", t.sum.candidates);
	metric(out, "weirfs_parked_reads", "gauge",
	       "Reads that wait for bytes.", t.sum.parked_reads);
}

/* ---- what is here ---- */

struct presence {
	struct torrent *t;
	uint64_t present, total;
};

static void add_presence(void *arg, const struct metainfo_file *f)
{
	struct presence *p = arg;

	p->total += f->length;
	if (f->length)
		p->present += torrent_present(p->t, f->offset, f->length);
}

void status_present(struct entry *e, uint32_t node, uint64_t *present,
		    uint64_t *total)
{
	struct presence p = { .t = e->torrent };
	struct tree *tree = entry_tree(e);

	if (tree && node < tree->num_nodes)
		tree_each_file(tree, node, add_presence, &p);
	*present = p.present;
	*total = p.total;
}

static void write_ranges(const struct bitfield *have, const struct metainfo *mi,
			 const struct metainfo_file *f, size_t max,
			 struct buf *out)
{
	const struct layout *l = &mi->layout;
	uint32_t end = layout_piece_at(l, f->offset + f->length - 1) + 1;
	uint32_t at = layout_piece_at(l, f->offset);

	while ((at = bitfield_next_set(have, at, end)) < end) {
		uint32_t stop = bitfield_next_clear(have, at, end);
		uint64_t from = layout_piece_start(l, at);
		uint64_t to = layout_piece_start(l, stop);

		from = from < f->offset ? 0 : from - f->offset;
		to = to < f->offset + f->length ? to - f->offset : f->length;
		if (out->len + 48 > max) {
			buf_add_str(out, ",...");
			return;
		}
		buf_printf(out, "%s%" PRIu64 "-%" PRIu64, out->len ? "," : "",
			   from, to - 1);
		at = stop;
	}
}

void status_write_have(struct entry *e, uint32_t node, size_t max,
		       struct buf *out)
{
	const struct bitfield *have = torrent_have(e->torrent);
	struct tree *tree = entry_tree(e);
	uint64_t present, total;

	if (!tree || !have || node >= tree->num_nodes)
		return;
	if (tree_is_dir(tree, node)) {
		status_present(e, node, &present, &total);
		buf_printf(out, "%" PRIu64, present);
	} else if (tree_file(tree, node)->length) {
		write_ranges(have, tree->mi, tree_file(tree, node), max, out);
	}
}

/* ---- the picture ---- */

#define SVG_COLUMNS 64u
#define SVG_CELLS   4096u /* more pieces share a cell */
#define SVG_CELL    8u    /* pixels */

/* 0 nothing, 1 some, 2 all of the pieces that share CELL are here. */
static unsigned cell_level(const struct bitfield *have, uint32_t cell,
			   uint32_t cells)
{
	uint64_t n = have->num_bits;
	uint32_t from = (uint32_t)(n * cell / cells);
	uint32_t to = (uint32_t)(n * (cell + 1) / cells);

	if (bitfield_next_clear(have, from, to) == to)
		return 2;
	return bitfield_next_set(have, from, to) < to;
}

/* One path for all cells of LEVEL: runs within a row are one rectangle. */
static void write_level(struct buf *out, const uint8_t *levels, uint32_t cells,
			unsigned level, const char *colour)
{
	buf_printf(out, "<path fill=\"%s\" d=\"", colour);
	for (uint32_t i = 0; i < cells;) {
		uint32_t row = i / SVG_COLUMNS, start = i;

		while (i < cells && i / SVG_COLUMNS == row &&
		       levels[i] == level)
			i++;
		if (i == start) {
			i++;
			continue;
		}
		buf_printf(out, "M%u,%uh%uv%uh-%uz",
			   start % SVG_COLUMNS * SVG_CELL, row * SVG_CELL,
			   (i - start) * SVG_CELL, SVG_CELL,
			   (i - start) * SVG_CELL);
	}
	buf_add_str(out, "\"/>\n");
}

void status_write_svg(struct entry *e, struct buf *out)
{
	const struct bitfield *have = torrent_have(e->torrent);
	uint32_t pieces = have ? have->num_bits : 0;
	uint32_t cells = pieces < SVG_CELLS ? pieces : SVG_CELLS;
	uint32_t rows = (cells + SVG_COLUMNS - 1) / SVG_COLUMNS;
	uint8_t levels[SVG_CELLS];

	for (uint32_t i = 0; i < cells; i++)
		levels[i] = (uint8_t)cell_level(have, i, cells);
	buf_printf(out,
		   "<svg xmlns=\"http://www.w3.org/2000/svg\" "
		   "width=\"%u\" height=\"%u\">\n<title>%s: %u of %u "
		   "pieces</title>\n<rect width=\"100%%\" height=\"100%%\""
		   " fill=\"#e8e8e8\"/>\n",
		   SVG_COLUMNS * SVG_CELL, rows ? rows * SVG_CELL : SVG_CELL,
		   e->hash, have ? have->num_set : 0, pieces);
	write_level(out, levels, cells, 1, "#9cc4e4");
	write_level(out, levels, cells, 2, "#1f5f99");
	buf_add_str(out, "</svg>\n");
}
