/* fs/status.h: how things stand, for people and scripts: JSON, a picture of
 * the pieces, Prometheus text. Snapshots. Loop thread only. */
#pragma once

#include <jansson.h>

#include "fs/session.h"

/* Owned by the caller. Foreign text that is no UTF-8 comes out escaped. */
json_t *status_library(struct session *s);
json_t *status_torrent(struct session *s, struct entry *e);
json_t *status_peers(struct entry *e);
json_t *status_text(const char *text);
struct dht;
json_t *status_dht(struct dht *dht); /* NULL: null */

/* Takes JSON; adds it and a newline. */
void status_write_json(json_t *json, struct buf *out);
/* At most 100 KB whatever the torrent. */
void status_write_svg(struct entry *e, struct buf *out);
void status_write_metrics(struct session *s, struct buf *out);

/* What of NODE is here. A file: its byte ranges, both ends included, with
 * commas between them ("" if nothing is); cut with ",..." before MAX bytes. A
 * folder: the number of bytes. */
void status_write_have(struct entry *e, uint32_t node, size_t max,
		       struct buf *out);
/* Bytes of NODE: all, and those that are here. */
void status_present(struct entry *e, uint32_t node, uint64_t *present,
		    uint64_t *total);
