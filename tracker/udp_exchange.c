/*
 * Announces over UDP.
 *
 * An endpoint (address and port of a tracker) gives out a connection id that
 * is good for 60 s; while it is, announces go out at once. Without one, a
 * single connect is sent, however many calls wait for it. At most WINDOW
 * announces are out at an endpoint, the next one goes when one comes back: ten
 * thousand torrents at one start would lose most of theirs in full buffers.
 *
 * BEP 15 sends again after 15 * 2^n s. A lost packet then costs 15 s of
 * somebody's first byte, so there is one early retry:
 *
 *     sent at 0 and 3 s, given up at 18 s
 *
 * for the connect and again for the announce. The later members of that series
 * (30 s, 60 s ...) are the back-off between announces, in tiers.c.
 *
 * A reply counts if its transaction id is one of ours that is open and it came
 * from the address asked: 32 random bits and an endpoint to guess. All else is
 * dropped without a trace.
 *
 * Trackers restart and forget the ids they gave: an error to an announce that
 * was made with an id from before the call is taken for that, and the call
 * begins once more with a connect.
 */
#include "tracker/udp_exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "tracker/udp_tracker.h"

#define ID_LIFE_MS 60000 /* BEP 15 */
#define TRIES      2
#define WINDOW     256 /* announces out per endpoint */
#define BUCKETS    256 /* calls by transaction id; a power of two */

static const int64_t wait_ms[TRIES] = { 3000, 15000 };

struct endpoint {
	struct list node;
	struct addr addr;
	struct list waiting; /* calls, for an id or for room in the window */
	unsigned num_calls;  /* waiting or out */
	unsigned num_out;
	uint64_t id;
	int64_t id_until_ms; /* 0: no id */
	/* The connect that is out, if any. */
	bool is_asking;
	uint32_t tid;
	int tries;
	int64_t retry_ms;
	int error; /* -errno: it could not even leave */
};

struct udp_call {
	struct list node; /* in endpoint->waiting or one of exchange->out */
	struct udp_exchange *x;
	struct endpoint *endpoint;
	struct announce_request request;
	char *path; /* owned, or NULL */
	void (*done)(void *arg, const struct announce_answer *answer);
	void *arg; /* borrowed */
	int64_t give_up_ms;
	bool has_old_id; /* made with an id from before the call */
	/* The announce that is out; tries 0: the call waits. */
	uint64_t id; /* it was made with */
	uint32_t tid;
	int tries;
	int64_t retry_ms;
	int error; /* as above */
};

struct udp_exchange {
	struct udp_exchange_io io;
	bool is_inside; /* receive or tick: endpoints must stay */
	struct list endpoints;
	size_t num_endpoints;
	struct list out[BUCKETS]; /* calls whose announce is out, by tid */
	int64_t next_ms; /* nothing is due before; exact after a tick */
};

static int64_t due_of(const struct udp_call *c)
{
	return c->tries && c->retry_ms < c->give_up_ms ? c->retry_ms
						       : c->give_up_ms;
}

static void due_at(struct udp_exchange *x, int64_t ms)
{
	if (ms < x->next_ms)
		x->next_ms = ms;
}

struct udp_exchange *udp_exchange_new(const struct udp_exchange_io *io)
{
	struct udp_exchange *x = mem_alloc(sizeof(*x));

	x->io = *io;
	list_init(&x->endpoints);
	for (int i = 0; i < BUCKETS; i++)
		list_init(&x->out[i]);
	x->next_ms = INT64_MAX;
	return x;
}

static void come_back(struct udp_call *c)
{
	if (c->tries)
		c->endpoint->num_out--;
	c->tries = 0;
}

static void call_free(struct udp_call *c)
{
	come_back(c);
	list_remove(&c->node);
	c->endpoint->num_calls--;
	free(c->path);
	free(c);
}

void udp_exchange_free(struct udp_exchange *x)
{
	if (!x)
		return;
	for (int i = 0; i < BUCKETS; i++) {
		list_foreach_safe(c, &x->out[i], struct udp_call, node)
			call_free(c);
	}
	list_foreach_safe(e, &x->endpoints, struct endpoint, node) {
		list_foreach_safe(c, &e->waiting, struct udp_call, node)
			call_free(c);
		free(e);
	}
	free(x);
}

static void finish(struct udp_call *c, const struct announce_answer *answer)
{
	void (*done)(void *, const struct announce_answer *) = c->done;
	void *arg = c->arg;

	call_free(c);
	done(arg, answer);
}

static void finish_failed(struct udp_call *c, int r, const char *why)
{
	struct announce_answer a;

	announce_answer_init(&a);
	announce_answer_fail(&a, r, why, strlen(why));
	finish(c, &a);
}

/* --- endpoints --- */

static void forget_idle(struct udp_exchange *x, int64_t now_ms)
{
	list_foreach_safe(e, &x->endpoints, struct endpoint, node) {
		if (e->is_asking || e->num_calls || now_ms < e->id_until_ms)
			continue;
		list_remove(&e->node);
		x->num_endpoints--;
		free(e);
	}
}

static struct endpoint *endpoint_of(struct udp_exchange *x, int64_t now_ms,
				    const struct addr *to)
{
	struct endpoint *e;

	list_foreach(known, &x->endpoints, struct endpoint, node) {
		if (addr_eq(&known->addr, to))
			return known;
	}
	if (x->num_endpoints == LIMIT_TRACKER_HOSTS && !x->is_inside)
		forget_idle(x, now_ms);
	if (x->num_endpoints == LIMIT_TRACKER_HOSTS)
		return NULL;
	e = mem_alloc(sizeof(*e));
	e->addr = *to;
	list_init(&e->waiting);
	list_push_back(&x->endpoints, &e->node);
	x->num_endpoints++;
	return e;
}

/* --- sending --- */

/* Nothing answers what did not leave: give up on a later turn, at once. */
static int judge_send(int r, int64_t now_ms, int *tries, int64_t *retry_ms)
{
	if (!r || r == -EAGAIN)
		return 0;
	*tries = TRIES;
	*retry_ms = now_ms + 1;
	return r;
}

static void send_connect(struct udp_exchange *x, struct endpoint *e,
			 int64_t now_ms)
{
	uint8_t packet[UDP_TRACKER_CONNECT_BYTES];
	int r;

	if (!e->is_asking) {
		e->is_asking = true;
		e->tries = 0;
		e->tid = x->io.random(x->io.arg);
	}
	e->retry_ms = now_ms + wait_ms[e->tries++];
	udp_tracker_connect(packet, e->tid);
	r = x->io.send(x->io.arg, &e->addr, packet, sizeof(packet));
	e->error = judge_send(r, now_ms, &e->tries, &e->retry_ms);
	due_at(x, e->retry_ms);
}

static void send_announce(struct udp_call *c, int64_t now_ms)
{
	struct udp_exchange *x = c->x;
	struct endpoint *e = c->endpoint;
	uint8_t packet[UDP_TRACKER_PACKET_MAX];
	size_t len;
	int r;

	if (!c->tries) {
		c->tid = x->io.random(x->io.arg);
		e->num_out++;
	}
	c->retry_ms = now_ms + wait_ms[c->tries++];
	c->id = e->id;
	len = udp_tracker_announce(packet, c->id, c->tid, &c->request,
				   e->addr.family, c->path);
	list_remove(&c->node);
	list_push_back(&x->out[c->tid % BUCKETS], &c->node);
	r = x->io.send(x->io.arg, &e->addr, packet, len);
	c->error = judge_send(r, now_ms, &c->tries, &c->retry_ms);
	due_at(x, due_of(c));
}

/* Lets those who wait go, as far as there is an id and room. */
static void pump(struct udp_exchange *x, struct endpoint *e, int64_t now_ms)
{
	if (now_ms >= e->id_until_ms) {
		if (!e->is_asking && !list_is_empty(&e->waiting))
			send_connect(x, e, now_ms);
		return;
	}
	while (e->num_out < WINDOW && !list_is_empty(&e->waiting))
		send_announce(list_first(&e->waiting, struct udp_call, node),
			      now_ms);
}

static void wait_in_line(struct udp_call *c)
{
	come_back(c);
	list_remove(&c->node);
	list_push_back(&c->endpoint->waiting, &c->node);
}

struct udp_call *udp_exchange_announce(
	struct udp_exchange *x, int64_t now_ms, const struct addr *to,
	const struct announce_request *request, const char *path,
	int64_t timeout_ms,
	void (*done)(void *arg, const struct announce_answer *answer),
	void *arg)
{
	struct endpoint *e = endpoint_of(x, now_ms, to);
	struct udp_call *c;

	if (!e)
		return NULL;
	c = mem_alloc(sizeof(*c));
	list_init(&c->node);
	c->x = x;
	c->endpoint = e;
	c->request = *request;
	c->path = path ? mem_strdup(path) : NULL;
	c->done = done;
	c->arg = arg;
	c->give_up_ms = now_ms + timeout_ms;
	e->num_calls++;
	due_at(x, c->give_up_ms);
	c->has_old_id = now_ms < e->id_until_ms;
	wait_in_line(c);
	pump(x, e, now_ms);
	return c;
}

void udp_call_cancel(struct udp_call *c)
{
	if (!c)
		return;
	if (c->tries) /* room for another one */
		due_at(c->x, 0);
	call_free(c);
}

/* --- receiving --- */

/* done() of one call may cancel others: never hold on to a neighbour. */
static void fail_waiting(struct endpoint *e, int r, const char *why)
{
	struct list failed;
	struct list *node;

	e->is_asking = false;
	list_init(&failed);
	list_splice_back(&failed, &e->waiting);
	while ((node = list_pop_front(&failed)))
		finish_failed(list_entry(node, struct udp_call, node), r, why);
}

static void on_connect_reply(struct udp_exchange *x, struct endpoint *e,
			     int64_t now_ms, uint32_t action,
			     const uint8_t *bytes, size_t len)
{
	struct announce_answer a;

	if (action == UDP_TRACKER_ERROR) {
		announce_answer_init(&a);
		udp_tracker_parse_announce(bytes, len, e->addr.family, &a);
		fail_waiting(e, a.r, a.text);
		return;
	}
	if (udp_tracker_parse_connect(bytes, len, &e->id)) {
		fail_waiting(e, -EBADMSG, "answer to connect is cut");
		return;
	}
	e->is_asking = false;
	e->id_until_ms = now_ms + ID_LIFE_MS;
	pump(x, e, now_ms);
}

static void on_announce_reply(struct udp_call *c, int64_t now_ms,
			      const uint8_t *bytes, size_t len)
{
	struct udp_exchange *x = c->x;
	struct endpoint *e = c->endpoint;
	struct announce_answer a;

	announce_answer_init(&a);
	udp_tracker_parse_announce(bytes, len, e->addr.family, &a);
	if (a.r == -EPERM && c->has_old_id) {
		if (e->id == c->id) /* or another call renewed it already */
			e->id_until_ms = 0;
		c->has_old_id = false;
		wait_in_line(c);
	} else {
		finish(c, &a);
	}
	announce_answer_release(&a);
	pump(x, e, now_ms);
}

static void take_reply(struct udp_exchange *x, int64_t now_ms,
		       const struct addr *from, const uint8_t *bytes,
		       size_t len)
{
	uint32_t action, tid;

	if (!udp_tracker_peek(bytes, len, &action, &tid))
		return;
	if (action == UDP_TRACKER_CONNECT || action == UDP_TRACKER_ERROR) {
		list_foreach(e, &x->endpoints, struct endpoint, node) {
			if (!e->is_asking || e->tid != tid ||
			    !addr_eq(&e->addr, from))
				continue;
			on_connect_reply(x, e, now_ms, action, bytes, len);
			return;
		}
	}
	if (action != UDP_TRACKER_ANNOUNCE && action != UDP_TRACKER_ERROR)
		return;
	list_foreach(c, &x->out[tid % BUCKETS], struct udp_call, node) {
		if (c->tid != tid || !addr_eq(&c->endpoint->addr, from))
			continue;
		on_announce_reply(c, now_ms, bytes, len);
		return;
	}
}

void udp_exchange_receive(struct udp_exchange *x, int64_t now_ms,
			  const struct addr *from, const uint8_t *bytes,
			  size_t len)
{
	x->is_inside = true;
	take_reply(x, now_ms, from, bytes, len);
	x->is_inside = false;
}

/* --- time --- */

static const char *why_of(int error)
{
	return error ? strerrordesc_np(-error) : "no answer";
}

static void tick_call(struct udp_call *c, int64_t now_ms)
{
	if (now_ms >= c->give_up_ms || c->tries == TRIES)
		finish_failed(c, c->error ? c->error : -ETIMEDOUT,
			      why_of(c->error));
	else if (now_ms < c->endpoint->id_until_ms)
		send_announce(c, now_ms);
	else
		wait_in_line(c);
}

/* A done() may cancel any call and start new ones, so CALLS are taken out and
 * looked at one by one. */
static void tick_calls(struct udp_exchange *x, struct list *calls,
		       int64_t now_ms)
{
	struct list todo, *node;

	list_init(&todo);
	list_splice_back(&todo, calls);
	while ((node = list_pop_front(&todo))) {
		struct udp_call *c = list_entry(node, struct udp_call, node);

		if (now_ms >= due_of(c)) {
			tick_call(c, now_ms);
			continue;
		}
		list_push_back(calls, node);
		due_at(x, due_of(c));
	}
}

static void tick_connect(struct udp_exchange *x, struct endpoint *e,
			 int64_t now_ms)
{
	if (!e->is_asking)
		return;
	if (now_ms < e->retry_ms)
		due_at(x, e->retry_ms);
	else if (list_is_empty(&e->waiting)) /* all were cancelled */
		e->is_asking = false;
	else if (e->tries < TRIES)
		send_connect(x, e, now_ms);
	else
		fail_waiting(e, e->error ? e->error : -ETIMEDOUT,
			     why_of(e->error));
}

void udp_exchange_tick(struct udp_exchange *x, int64_t now_ms)
{
	x->is_inside = true;
	x->next_ms = INT64_MAX; /* all that is not due now sets it again */
	for (int i = 0; i < BUCKETS; i++)
		tick_calls(x, &x->out[i], now_ms);
	list_foreach(e, &x->endpoints, struct endpoint, node) {
		tick_connect(x, e, now_ms);
		tick_calls(x, &e->waiting, now_ms);
		pump(x, e, now_ms);
	}
	x->is_inside = false;
	forget_idle(x, now_ms);
}

int64_t udp_exchange_next_ms(const struct udp_exchange *x)
{
	return x->next_ms;
}
