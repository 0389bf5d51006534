#include "tests/dht/sim.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define PINHOLES   64
#define PINHOLE_MS 60000

struct pinhole {
	uint32_t host;
	int64_t until_ms;
};

struct host {
	struct addr addr;
	const struct sim_ops *ops;
	void *node;
	int64_t wake_ms;       /* of the timer that counts */
	struct pinhole *holes; /* owned; NULL: no NAT */
	unsigned next_hole;
	struct sim_traffic traffic;
};

struct event {
	int64_t at_ms;
	uint64_t seq;
	uint32_t host; /* where it happens */
	uint32_t len;  /* 0: timer */
	struct addr from;
	uint8_t *bytes; /* owned */
};

struct sim {
	struct sim_options o;
	struct prng prng;
	int64_t now_ms;
	uint64_t seq;
	struct host *hosts;
	uint32_t num_hosts;
	uint32_t *index; /* by address; host + 1 */
	uint32_t index_mask;
	struct event *heap;
	size_t num, cap;
};

struct sim *sim_new(const struct sim_options *options)
{
	struct sim *s = mem_alloc(sizeof(*s));
	uint32_t slots = 64;

	s->o = *options;
	s->prng.state = options->seed;
	s->now_ms = 1000000;
	s->hosts = mem_alloc_array(options->max_hosts, sizeof(*s->hosts));
	while (slots < options->max_hosts * 2)
		slots *= 2;
	s->index = mem_alloc_array(slots, sizeof(*s->index));
	s->index_mask = slots - 1;
	return s;
}

void sim_free(struct sim *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->num; i++)
		free(s->heap[i].bytes);
	for (uint32_t i = 0; i < s->num_hosts; i++)
		free(s->hosts[i].holes);
	free(s->heap);
	free(s->index);
	free(s->hosts);
	free(s);
}

int64_t sim_now(const struct sim *s)
{
	return s->now_ms;
}

uint64_t sim_random(struct sim *s)
{
	return prng_u64(&s->prng);
}

uint32_t sim_below(struct sim *s, uint32_t bound)
{
	return prng_below(&s->prng, bound);
}

/* --- hosts --- */

static uint32_t *place_of(const struct sim *s, const struct addr *addr)
{
	uint32_t i = addr_hash(addr) & s->index_mask;

	while (s->index[i] && !addr_eq(&s->hosts[s->index[i] - 1].addr, addr))
		i = (i + 1) & s->index_mask;
	return &s->index[i];
}

uint32_t sim_find(const struct sim *s, const struct addr *addr)
{
	return *place_of(s, addr) - 1;
}

uint32_t sim_add(struct sim *s, const struct addr *addr, bool is_natted)
{
	uint32_t *place = place_of(s, addr);
	struct host *h = &s->hosts[s->num_hosts];

	CHECK(!*place && s->num_hosts < s->o.max_hosts);
	*place = ++s->num_hosts;
	h->addr = *addr;
	h->wake_ms = INT64_MAX;
	if (is_natted)
		h->holes = mem_alloc_array(PINHOLES, sizeof(*h->holes));
	return s->num_hosts - 1;
}

const struct addr *sim_addr(const struct sim *s, uint32_t host)
{
	return &s->hosts[host].addr;
}

const struct sim_traffic *sim_traffic(const struct sim *s, uint32_t host)
{
	return &s->hosts[host].traffic;
}

/* --- events --- */

static bool is_earlier(const struct event *a, const struct event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void push(struct sim *s, struct event e)
{
	size_t i = s->num++;

	if (s->num > s->cap) {
		s->cap = s->cap ? s->cap * 2 : 1024;
		s->heap = mem_realloc_array(s->heap, s->cap, sizeof(*s->heap));
	}
	e.seq = s->seq++;
	while (i && is_earlier(&e, &s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = e;
}

static struct event pop(struct sim *s)
{
	struct event top = s->heap[0], last = s->heap[--s->num];
	size_t i = 0, c;

	while ((c = 2 * i + 1) < s->num) {
		if (c + 1 < s->num && is_earlier(&s->heap[c + 1], &s->heap[c]))
			c++;
		if (!is_earlier(&s->heap[c], &last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	s->heap[i] = last;
	return top;
}

void sim_poke(struct sim *s, uint32_t host)
{
	struct host *h = &s->hosts[host];
	int64_t next = h->ops ? h->ops->next_ms(h->node) : INT64_MAX;

	if (next >= h->wake_ms)
		return;
	h->wake_ms = next < s->now_ms ? s->now_ms : next;
	push(s, (struct event){ .at_ms = h->wake_ms, .host = host });
}

void sim_run_node(struct sim *s, uint32_t host, const struct sim_ops *ops,
		  void *node)
{
	struct host *h = &s->hosts[host];

	h->ops = ops;
	h->node = node;
	h->wake_ms = INT64_MAX;
	sim_poke(s, host);
}

/* --- packets --- */

static uint64_t mix(uint64_t a, uint64_t b)
{
	struct prng r = { .state = a * 0x9e3779b97f4a7c15u + b };

	return prng_u64(&r);
}

/* The same both ways. */
static int64_t delay(struct sim *s, uint32_t a, uint32_t b)
{
	uint32_t lo = a < b ? a : b, hi = a < b ? b : a;
	unsigned span = s->o.rtt_max_ms - s->o.rtt_min_ms + 1;
	int64_t rtt = s->o.rtt_min_ms + mix(lo ^ s->o.seed, hi) % span;

	return rtt / 2 +
	       (s->o.jitter_ms ? sim_below(s, s->o.jitter_ms + 1) : 0);
}

static void open_hole(struct sim *s, struct host *h, uint32_t to)
{
	if (!h->holes)
		return;
	for (unsigned i = 0; i < PINHOLES; i++) {
		if (h->holes[i].until_ms && h->holes[i].host == to) {
			h->holes[i].until_ms = s->now_ms + PINHOLE_MS;
			return;
		}
	}
	h->holes[h->next_hole++ % PINHOLES] =
		(struct pinhole){ .host = to,
				  .until_ms = s->now_ms + PINHOLE_MS };
}

static bool may_enter(struct sim *s, const struct host *h, uint32_t from)
{
	if (!h->holes)
		return true;
	for (unsigned i = 0; i < PINHOLES; i++) {
		if (h->holes[i].host == from &&
		    h->holes[i].until_ms > s->now_ms)
			return true;
	}
	return false;
}

static void put_on_wire(struct sim *s, uint32_t from_host,
			const struct addr *from, const struct addr *to,
			const uint8_t *bytes, size_t len)
{
	uint32_t host = sim_find(s, to);
	uint32_t from_id = from_host == SIM_NOBODY ? 0 : from_host;

	if (sim_below(s, 1000) < s->o.loss_permille || host == SIM_NOBODY)
		return;
	push(s, (struct event){ .at_ms = s->now_ms + delay(s, from_id, host),
				.host = host,
				.len = (uint32_t)len,
				.from = *from,
				.bytes = mem_dup(bytes, len) });
}

void sim_send(struct sim *s, uint32_t host, const struct addr *to,
	      const uint8_t *bytes, size_t len)
{
	struct host *h = &s->hosts[host];
	uint32_t dest = sim_find(s, to);

	CHECK(len > 0);
	h->traffic.packets_out++;
	h->traffic.bytes_out += len;
	if (dest != SIM_NOBODY)
		open_hole(s, h, dest);
	put_on_wire(s, host, &h->addr, to, bytes, len);
}

void sim_send_as(struct sim *s, const struct addr *from, const struct addr *to,
		 const uint8_t *bytes, size_t len)
{
	put_on_wire(s, SIM_NOBODY, from, to, bytes, len);
}

static void arrive(struct sim *s, struct event *e)
{
	struct host *h = &s->hosts[e->host];

	if (!h->ops || !may_enter(s, h, sim_find(s, &e->from)))
		return;
	h->traffic.packets_in++;
	h->traffic.bytes_in += e->len;
	h->ops->on_packet(h->node, s->now_ms, &e->from, e->bytes, e->len);
}

static void wake(struct sim *s, const struct event *e)
{
	struct host *h = &s->hosts[e->host];

	if (!h->ops || e->at_ms != h->wake_ms)
		return; /* another timer counts now */
	h->wake_ms = INT64_MAX;
	if (h->ops->next_ms(h->node) <= s->now_ms)
		h->ops->tick(h->node, s->now_ms);
}

void sim_run_until(struct sim *s, const bool *stop, int64_t until_ms)
{
	while (s->num && s->heap[0].at_ms <= until_ms && !(stop && *stop)) {
		struct event e = pop(s);

		CHECK(e.at_ms >= s->now_ms);
		s->now_ms = e.at_ms;
		if (e.len)
			arrive(s, &e);
		else
			wake(s, &e);
		free(e.bytes);
		sim_poke(s, e.host);
	}
	if (!(stop && *stop) && s->now_ms < until_ms)
		s->now_ms = until_ms;
}

void sim_run(struct sim *s, int64_t until_ms)
{
	sim_run_until(s, NULL, until_ms);
}
