/* Goal: no datagrams, in any order with our own announces, cancels and the
 * clock, make the UDP tracker client misbehave: every call ends exactly once,
 * unless cancelled, and the clock never has to be asked for ever. The input is
 * a script: one byte says what happens, the next ones with what. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/cursor.h"
#include "tracker/udp_exchange.h"
#include "tracker/udp_tracker.h"

#define CALLS_MAX  16
#define TIMEOUT_MS 30000
#define RECENT     8

struct world {
	struct udp_exchange *x;
	int64_t now;
	uint32_t next_tid;
	uint32_t recent[RECENT]; /* transaction ids sent */
	unsigned num_sent;
	int send_error;
	struct udp_call *calls[CALLS_MAX];
	int64_t end_ms[CALLS_MAX]; /* when it must have ended */
};

static int on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		   size_t len)
{
	struct world *w = arg;

	CHECK(len >= UDP_TRACKER_CONNECT_BYTES);
	CHECK(to->family == 4 || to->family == 6);
	w->recent[w->num_sent++ % RECENT] = load_be32(bytes + 12);
	return w->send_error;
}

static uint32_t on_random(void *arg)
{
	return ((struct world *)arg)->next_tid++;
}

static void endpoint(struct addr *out, unsigned which)
{
	memset(out, 0, sizeof(*out));
	out->family = which & 1 ? 6 : 4;
	out->ip[0] = 9;
	out->port = (uint16_t)(1000 + (which & 3));
}

struct slot {
	struct world *w;
	unsigned i;
};

static struct slot slots[CALLS_MAX];

static void on_done(void *arg, const struct announce_answer *a)
{
	struct slot *s = arg;

	CHECK(s->w->calls[s->i]);
	CHECK(s->w->now <= s->w->end_ms[s->i]);
	CHECK(a->num_peers <= LIMIT_TRACKER_PEERS && (!a->r || !a->num_peers));
	s->w->calls[s->i] = NULL;
	if (s->i & 1) { /* a neighbour goes with it */
		udp_call_cancel(s->w->calls[s->i - 1]);
		s->w->calls[s->i - 1] = NULL;
	}
}

static void start(struct world *w, unsigned which)
{
	static const struct announce_request request;
	unsigned i = which % CALLS_MAX;
	struct addr to;

	udp_call_cancel(w->calls[i]);
	endpoint(&to, which >> 4);
	slots[i] = (struct slot){ w, i };
	w->end_ms[i] = w->now + TIMEOUT_MS;
	w->calls[i] = udp_exchange_announce(w->x, w->now, &to, &request,
					    which & 1 ? "/announce" : NULL,
					    TIMEOUT_MS, on_done, &slots[i]);
	CHECK(w->calls[i]);
}

static void pass(struct world *w, int64_t ms)
{
	int64_t end = w->now + ms, next;
	int turns = 0;

	while ((next = udp_exchange_next_ms(w->x)) <= end) {
		CHECK(++turns < 1000);
		if (next > w->now)
			w->now = next;
		udp_exchange_tick(w->x, w->now);
	}
	w->now = end;
}

static void receive(struct world *w, struct cursor *c)
{
	uint8_t packet[512];
	unsigned which = cursor_u8(c);
	size_t len = cursor_u8(c);
	struct span s =
		cursor_span(c, len < cursor_left(c) ? len : cursor_left(c));
	struct addr from;

	if (s.len)
		memcpy(packet, s.ptr, s.len);
	if (s.len >= 8) /* one of ours, or the fuzzer would guess for ever */
		store_be32(packet + 4, w->recent[(which >> 4) % RECENT]);
	endpoint(&from, which);
	udp_exchange_receive(w->x, w->now, &from, packet, s.len);
}

static void parse_alone(const uint8_t *data, size_t size)
{
	struct udp_tracker_counts counts[UDP_TRACKER_SCRAPE_HASHES];
	struct announce_answer a;
	uint64_t cid;
	size_t got;

	for (int family = 4; family <= 6; family += 2) {
		announce_answer_init(&a);
		CHECK(udp_tracker_parse_announce(data, size, family, &a) ==
		      a.r);
		CHECK(a.num_peers <= size / 6);
		announce_answer_release(&a);
	}
	(void)udp_tracker_parse_connect(data, size, &cid);
	(void)udp_tracker_parse_scrape(data, size, counts,
				       UDP_TRACKER_SCRAPE_HASHES, &got);
	CHECK(got <= UDP_TRACKER_SCRAPE_HASHES && got * 12 <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .now = 1000, .next_tid = 0x5000 };
	struct udp_exchange_io io = { on_send, on_random, &w };
	struct cursor c = cursor_of(data, size);

	parse_alone(data, size);
	w.x = udp_exchange_new(&io);
	while (cursor_left(&c)) {
		unsigned op = cursor_u8(&c);

		switch (op % 6) {
		case 0:
			start(&w, cursor_u8(&c));
			break;
		case 1:
		case 2:
			receive(&w, &c);
			break;
		case 3:
			pass(&w, cursor_u8(&c) * 100);
			break;
		case 4:
			op = cursor_u8(&c) % CALLS_MAX;
			udp_call_cancel(w.calls[op]);
			w.calls[op] = NULL;
			break;
		case 5:
			w.send_error = op & 8 ? -ENETUNREACH : 0;
			break;
		}
	}
	if (size & 1) /* with calls under way, or after the last */
		pass(&w, 2 * TIMEOUT_MS);
	for (unsigned i = 0; i < CALLS_MAX; i++)
		CHECK(!(size & 1) || !w.calls[i]);
	udp_exchange_free(w.x);
	return 0;
}
