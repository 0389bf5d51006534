/* Goal: no datagram, and no payload of a member that has a session, makes
 * replication misbehave: parsers stay inside their bytes, what is accepted
 * means the same when it is written again, a node goes on. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tracker/overlay/sync_private.h"

struct world {
	int64_t now;
	uint64_t random;
	struct kt *kt;
	struct swarms *swarms;
	struct sync *sync;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	CHECK(len > 0 && len <= SYNC_PACKET_BYTES);
}

static int64_t on_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static int64_t on_wall(void *arg)
{
	return 1700000000;
}

static void on_random(void *arg, void *out, size_t len)
{
	struct world *w = arg;

	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)(w->random += 0x9d);
}

static struct addr at(uint8_t last)
{
	return (struct addr){ .family = 4,
			      .ip = { 16, 1, 1, last },
			      .port = 6969 };
}

static void start(struct world *w)
{
	static const uint8_t seed[32] = { 7 };
	struct kt_io kio = { .send = on_send,
			     .now = on_now,
			     .random = on_random,
			     .wall_s = on_wall,
			     .arg = w };
	struct kt_options ko = { .domain = "bt.example.org",
				 .v4 = true,
				 .self = { .udp_port = 6969 },
				 .key = seed,
				 .external4 = at(1),
				 .tag = 'K' };
	struct swarms_options so = { .is_replicated = true };
	struct sync_io io = {
		.send = on_send, .now = on_now, .random = on_random, .arg = w
	};
	struct sync_options o = { .key = seed };

	w->now = 1000000;
	w->kt = kt_new(&kio, &ko);
	w->swarms = swarms_new(&so, w->now);
	o.kt = w->kt;
	o.swarms = w->swarms;
	w->sync = sync_new(&io, &o);
}

/* As if it had said hello. */
static struct sync_peer *befriend(struct world *w, uint8_t last)
{
	static const uint8_t keys[2][SYNC_KEY_BYTES];
	struct kad_id id = { { 0 } };
	struct addr addr = at(last);
	struct sync_peer *p;

	id.b[4] = last;
	p = sync_peer_get(w->sync, &id, &addr);
	sync_session_open(&p->session, last, keys[0], keys[1]);
	return p;
}

static void announce(struct world *w, uint8_t which)
{
	struct swarms_announce a = { .infohash = { { which } },
				     .peer = at(which),
				     .event = which % 5 ? ANNOUNCE_STARTED
							: ANNOUNCE_STOPPED,
				     .is_seed = which & 1 };
	struct swarms_answer out;
	struct telling t = { .is_change = true, .has_key = which & 2 };

	swarms_announce(w->swarms, &a, which, &out);
	t.record = (struct swarm_record){ .infohash = a.infohash,
					  .peer = a.peer,
					  .state = out.state };
	t.key[0] = which;
	sync_tell(w->sync, &t, 1);
}

static void parse_alone(const uint8_t *data, size_t size)
{
	struct sync_packet_view v;
	struct sync_record r;
	uint8_t again[SYNC_RECORD6_BYTES];

	(void)sync_packet_parse(data, size, &v);
	for (uint8_t family = 4; family <= 6; family += 2) {
		size_t n =
			family == 4 ? SYNC_RECORD4_BYTES : SYNC_RECORD6_BYTES;

		if (size < n || !sync_get_record(data, family, &r))
			continue;
		CHECK(sync_put_record(again, &r.r, r.is_forwarded) == n);
		CHECK(!memcmp(again, data, n));
	}
}

static void pass(struct world *w, unsigned ms)
{
	int64_t end = w->now + ms, next;
	unsigned turns = 0;

	while ((next = sync_next_ms(w->sync)) <= end) {
		CHECK(++turns < 20000);
		if (next > w->now)
			w->now = next;
		sync_tick(w->sync);
	}
	w->now = end;
	swarms_tick(w->swarms, w->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { 0 };
	struct cursor c = cursor_of(data, size);
	struct sync_peer *p;
	struct span s;

	parse_alone(data, size);
	start(&w);
	while (cursor_left(&c)) {
		unsigned op = cursor_u8(&c), len = cursor_be16(&c);
		struct addr from = at(2 + op / 8 % 2);

		s = cursor_span(&c,
				len < cursor_left(&c) ? len : cursor_left(&c));
		switch (op % 4) {
		case 0:
			sync_on_packet(w.sync, &from, s.ptr, s.len);
			break;
		case 1:
			p = sync_peer_at(w.sync, &from);
			if (!p || !p->session.rx)
				p = befriend(&w, from.ip[3]);
			sync_on_payload(w.sync, p, s, (int64_t)op * 100);
			break;
		case 2:
			announce(&w, (uint8_t)len);
			break;
		case 3:
			pass(&w, len % 40000);
			break;
		}
	}
	if (size & 1)
		sync_leave(w.sync);
	pass(&w, 1000);
	sync_free(w.sync);
	swarms_free(w.swarms);
	kt_free(w.kt);
	return 0;
}
