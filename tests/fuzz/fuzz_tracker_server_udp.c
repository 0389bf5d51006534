/* Goal: no datagrams, from whomever and in any order with the clock, make the
 * tracker's UDP side say more than the protocol allows: an answer has the
 * transaction id, a known action and the right length, and only who holds an id
 * is told of peers. The input is a script: each datagram has two bytes before
 * it, who sends it and how long it is. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/cursor.h"
#include "tracker/server/udp_answer.h"

struct world {
	struct tracker_policy policy;
	struct udp_core core;
	struct udp_counts counts;
	struct udp_asker asker;
};

static void world_start(struct world *w)
{
	struct swarms_options o = { .is_replicated = true, .max_torrents = 8 };

	w->asker.now_ms = 600000000;
	w->policy.swarms = swarms_new(&o, w->asker.now_ms);
	w->policy.interval_s = 1800;
	w->policy.num_want = 50;
	w->policy.max_want = 200;
	w->core.policy = &w->policy;
	w->asker.core = &w->core;
	w->asker.counts = &w->counts;
}

static void check_answer(const struct addr *from, const uint8_t *in,
			 size_t in_len, const uint8_t *out, size_t len,
			 bool has_id)
{
	unsigned width = from->family == 4 ? 6 : 18;

	CHECK(len >= 8 && len <= UDP_ANSWER_BYTES && in_len >= 16);
	CHECK(!memcmp(out + 4, in + 12, 4));
	switch (load_be32(out)) {
	case 0:
		CHECK(len == 16 && out[8] && out[8] != 'd' && out[8] != 'K');
		break;
	case 1:
		CHECK(has_id && in_len >= 98);
		CHECK(len >= 20 && !((len - 20) % width));
		break;
	case 2:
		CHECK(has_id && len <= in_len && !((len - 8) % 12));
		break;
	default:
		CHECK(load_be32(out) == 3 && len < 64);
	}
}

static void receive(struct world *w, struct cursor *c)
{
	unsigned who = cursor_u8(c);
	size_t len = cursor_u8(c);
	struct span s =
		cursor_span(c, len < cursor_left(c) ? len : cursor_left(c));
	uint8_t in[256], out[UDP_ANSWER_BYTES];
	struct addr from = { .family = who & 1 ? 6 : 4, .port = 5 };
	bool has_id = false;

	from.ip[0] = 9;
	from.ip[3] = (uint8_t)(who >> 4);
	w->asker.now_ms += (who & 8) * 10000;
	swarms_tick(w->policy.swarms, w->asker.now_ms);
	if (s.len)
		memcpy(in, s.ptr, s.len);
	if (s.len >= 8 && who & 2) { /* or the fuzzer would guess for ever */
		store_be64(in,
			   udp_connection_id(&w->core, w->asker.now_ms, &from));
		has_id = true;
	}
	len = udp_answer(&w->asker, &from, in, s.len, out);
	if (len)
		check_answer(&from, in, s.len, out, len, has_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_of(data, size);
	struct world w = { .policy = { .num_want = 0 } };
	char key[LIMIT_UDP_KEY_BYTES];

	CHECK(udp_announce_key(data, size, key, sizeof(key)) <= sizeof(key));
	world_start(&w);
	while (cursor_left(&c))
		receive(&w, &c);
	swarms_free(w.policy.swarms);
	return 0;
}
