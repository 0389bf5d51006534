/* Metadata over the wire (BEP 9): fetching it for a magnet, giving it to
 * others. */
#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

#define PART_BYTES 16384u

void torrent_meta_start(struct torrent *t)
{
	t->metaxfer = metaxfer_new(t->has_v1 ? &t->infohash : NULL,
				   t->has_v2 ? &t->infohash2 : NULL);
}

static void ask(struct torrent *t, struct peer *p, int64_t now_ms)
{
	int part;
	struct buf b;

	if (!t->metaxfer || p->state != PEER_READY || !p->ext.id_metadata)
		return;
	buf_init(&b, 0);
	while ((part = metaxfer_next(t->metaxfer, p->id, now_ms)) >= 0) {
		struct wire_metadata m = { .type = WIRE_METADATA_REQUEST,
					   .part = (uint32_t)part };

		wire_add_metadata(&b, p->ext.id_metadata, &m);
	}
	peer_send(p, &b);
}

/* rtorrent reads no further, for ever, when a request comes while the answer to
 * another is still going out (libTorrent 0.13.8; "-lt", not "-LT"). */
static bool takes_one_request(const struct peer *p)
{
	return !memcmp(p->theirs.peerid.b, "-lt", 3);
}

void torrent_meta_on_peer(struct torrent *t, struct peer *p)
{
	if (!t->metaxfer || !p->ext.id_metadata || !p->ext.metadata_size)
		return;
	metaxfer_add_peer(t->metaxfer, p->id, p->ext.metadata_size);
	if (takes_one_request(p))
		metaxfer_ask_singly(t->metaxfer, p->id);
	ask(t, p, loop_now_ms(t->engine->loop));
}

void torrent_meta_on_peer_gone(struct torrent *t, struct peer *p)
{
	if (t->metaxfer)
		metaxfer_remove_peer(t->metaxfer, p->id);
}

void torrent_meta_tick(struct torrent *t, int64_t now_ms)
{
	if (!t->metaxfer)
		return;
	list_foreach_safe(p, &t->peers, struct peer, node)
		ask(t, p, now_ms);
}

/* The trackers and web seeds of the magnet link come along. */
static void complete(struct torrent *t)
{
	struct span info = metaxfer_info(t->metaxfer);
	char why[METAINFO_WHY_SIZE] = "";
	struct metainfo *mi;
	int r = metainfo_parse_info(info.ptr, info.len, &mi, why);

	if (!r && !mi->has_v1) {
		snprintf(why, sizeof(why),
			 "a v2-only torrent; this version "
			 "reads v1 and hybrid torrents");
		metainfo_free(mi);
		r = -EOPNOTSUPP;
	}
	if (r) {
		/* It has the right hash, so it will never get better. */
		snprintf(t->error, sizeof(t->error), "refused: %s", why);
		log_error("metadata of %s is refused: %s", t->name, why);
		metaxfer_free(t->metaxfer);
		t->metaxfer = NULL;
		return;
	}
	for (size_t i = 0; i < t->num_urls; i++)
		metainfo_add_tracker(mi, t->urls[i], t->tier_of[i]);
	metaxfer_free(t->metaxfer);
	t->metaxfer = NULL;
	torrent_attach(t, mi);
	engine_save_new(t->engine, t);
	engine_on_event_metadata(t->engine, t);
}

static int on_data(struct torrent *t, struct peer *p,
		   const struct wire_metadata *m, const char **why)
{
	enum metaxfer_result r;

	if (!t->metaxfer)
		return 0;
	r = metaxfer_on_data(t->metaxfer, p->id, m->part, m->total_size,
			     m->data);
	switch (r) {
	case METAXFER_DONE:
		complete(t);
		return 0;
	case METAXFER_BAD_PEER:
		*why = "sent wrong metadata";
		return -EPROTO;
	case METAXFER_MORE:
	case METAXFER_AGAIN:
		torrent_meta_tick(t, loop_now_ms(t->engine->loop));
		return 0;
	case METAXFER_IGNORED:
		return 0;
	}
	return 0;
}

/* A whole info dict of the largest kind is 1,920 parts. What the line does not
 * take yet is better asked for again than kept. */
static bool gives_part(const struct torrent *t, const struct peer *p,
		       uint32_t part)
{
	uint32_t num =
		(uint32_t)((t->mi ? t->mi->info.len : 0) + PART_BYTES - 1) /
		PART_BYTES;
	uint32_t most = num * LIMIT_METADATA_ROUNDS_IN;

	if (most < LIMIT_METADATA_REQUESTS_IN)
		most = LIMIT_METADATA_REQUESTS_IN;
	return part < num && p->metadata_asked < most &&
	       conn_unsent(p->conn) < LIMIT_SEND_QUEUE_BYTES / 2;
}

static void on_request(struct torrent *t, struct peer *p, uint32_t part)
{
	struct wire_metadata m = { .type = WIRE_METADATA_REJECT, .part = part };
	size_t at = (size_t)part * PART_BYTES;
	struct buf b;

	if (!p->ext.id_metadata)
		return;
	if (gives_part(t, p, part)) {
		size_t left = t->mi->info.len - at;

		p->metadata_asked++;
		m.type = WIRE_METADATA_DATA;
		m.total_size = (uint32_t)t->mi->info.len;
		m.data = (struct span){ t->mi->info.ptr + at,
					left < PART_BYTES ? left : PART_BYTES };
	}
	buf_init(&b, 0);
	wire_add_metadata(&b, p->ext.id_metadata, &m);
	peer_send(p, &b);
}

int torrent_meta_on_message(struct torrent *t, struct peer *p,
			    struct span payload, const char **why)
{
	struct wire_metadata m;
	int r = wire_read_metadata(payload, &m);

	if (r == -EOPNOTSUPP)
		return 0; /* BEP 9: a type to come is ignored */
	if (r) {
		*why = "bad metadata message";
		return -EPROTO;
	}
	switch (m.type) {
	case WIRE_METADATA_REQUEST:
		on_request(t, p, m.part);
		return 0;
	case WIRE_METADATA_DATA:
		return on_data(t, p, &m, why);
	case WIRE_METADATA_REJECT:
		if (t->metaxfer)
			metaxfer_on_reject(t->metaxfer, p->id, m.part,
					   loop_now_ms(t->engine->loop));
		return 0;
	}
	return 0;
}
