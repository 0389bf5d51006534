/*
 * States are flags: a seeder, one that completed just now, one that left. "Just
 * completed" is said once, as opentracker does: whoever hears it of a peer that
 * it does not know as complete counts a download. Of seeders that completed
 * earlier only the seeder is told.
 *
 * The last byte is an age that senders leave at zero and receivers overwrite,
 * so it is written as zero and not believed. Flags that we do not know are not
 * minded either.
 */
#include "tracker/server/livesync_packet.h"

#include <errno.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/cursor.h"
#include "engine/base/limits.h"

#define FLAG_SEEDER    0x80
#define FLAG_COMPLETED 0x40
#define FLAG_STOPPED   0x20

static size_t record_bytes(enum livesync_type type)
{
	return type == LIVESYNC_V4 ? LIVESYNC_RECORD4 : LIVESYNC_RECORD6;
}

static void read_record(struct cursor *c, enum livesync_type type,
			struct swarm_record *out)
{
	uint8_t flags;

	memset(out, 0, sizeof(*out));
	cursor_copy(c, out->infohash.b, sizeof(out->infohash.b));
	if (type == LIVESYNC_V4)
		addr_from_compact4(&out->peer, cursor_span(c, 6).ptr);
	else
		addr_from_compact6(&out->peer, cursor_span(c, 18).ptr);
	flags = cursor_u8(c);
	cursor_skip(c, 1);
	/* Who has left has left; who completed without being a seeder has not
	 * completed. */
	if (flags & FLAG_STOPPED)
		out->state = SWARM_GONE;
	else if (!(flags & FLAG_SEEDER))
		out->state = SWARM_LEECHER;
	else if (!(flags & FLAG_COMPLETED))
		out->state = SWARM_SEEDER;
	else
		out->state = SWARM_SEEDER_COMPLETED;
	out->is_completion = out->state == SWARM_SEEDER_COMPLETED;
}

int livesync_parse(const uint8_t *bytes, size_t len,
		   struct livesync_parsed *out)
{
	struct cursor c = cursor_of(bytes, len);
	uint32_t type;

	if (len <= LIVESYNC_HEAD_BYTES || len > LIMIT_LIVESYNC_BYTES)
		return -EBADMSG;
	out->tracker_id = cursor_be32(&c);
	type = cursor_be32(&c);
	if (type != LIVESYNC_V4 && type != LIVESYNC_V6)
		return -ENOTSUP;
	if (cursor_left(&c) % record_bytes((enum livesync_type)type))
		return -EBADMSG;
	out->num = 0;
	out->martians = 0;
	while (cursor_left(&c)) {
		struct swarm_record *r = &out->records[out->num];

		CHECK(out->num < LIMIT_LIVESYNC_RECORDS);
		read_record(&c, (enum livesync_type)type, r);
		if (addr_is_martian(&r->peer))
			out->martians++;
		else
			out->num++;
	}
	return 0;
}

void livesync_batch_init(struct livesync_batch *b, enum livesync_type type,
			 uint32_t tracker_id)
{
	b->type = type;
	store_be32(b->bytes, tracker_id);
	store_be32(b->bytes + 4, type);
	livesync_batch_clear(b);
}

void livesync_batch_clear(struct livesync_batch *b)
{
	b->len = LIVESYNC_HEAD_BYTES;
}

bool livesync_batch_is_empty(const struct livesync_batch *b)
{
	return b->len == LIVESYNC_HEAD_BYTES;
}

static uint8_t flags_of(const struct swarm_record *r)
{
	switch (r->state) {
	case SWARM_SEEDER:
		return FLAG_SEEDER;
	case SWARM_SEEDER_COMPLETED:
		return r->is_completion ? FLAG_SEEDER | FLAG_COMPLETED
					: FLAG_SEEDER;
	case SWARM_GONE:
		return FLAG_STOPPED;
	case SWARM_LEECHER:
		break;
	}
	return 0;
}

bool livesync_batch_add(struct livesync_batch *b, const struct swarm_record *r)
{
	struct wcursor w = wcursor_of(b->bytes, sizeof(b->bytes));
	uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (b->len + record_bytes(b->type) > sizeof(b->bytes))
		return false;
	CHECK(r->peer.family == 4 || b->type == LIVESYNC_V6);
	w.at += b->len;
	wcursor_copy(&w, r->infohash.b, sizeof(r->infohash.b));
	if (r->peer.family == 4 && b->type == LIVESYNC_V6)
		wcursor_copy(&w, mapped, sizeof(mapped));
	wcursor_copy(&w, r->peer.ip, r->peer.family == 4 ? 4 : 16);
	wcursor_be16(&w, r->peer.port);
	wcursor_u8(&w, flags_of(r));
	wcursor_u8(&w, 0);
	b->len = wcursor_len(&w);
	return true;
}
