#include "dht/kad_rpc.h"

#include <stdlib.h>

#include "dht/kad_table.h"
#include "engine/base/check.h"
#include "engine/base/mem.h"

#define SOFT_MIN_MS  150
#define USUAL_MIN_MS 100
#define P90_START_MS 250 /* before there are samples */
/* A transaction id, from the top: tag, index, nonce, sending. */
#define TAG_SHIFT   24
#define INDEX_BITS  10
#define INDEX_SHIFT 14
#define NONCE_BITS  11
#define NONCE_SHIFT 3
#define SEND_MASK   7u

static_assert(LIMIT_KAD_CALLS == 1 << INDEX_BITS, "an index fits into a tid");
static_assert(LIMIT_KAD_CALLS % KAD_CALLS_CHUNK == 0, "chunks are whole");

void kad_rpc_init(struct kad_rpc *r, uint8_t tag, uint32_t (*random)(void *arg),
		  void *arg)
{
	memset(r, 0, sizeof(*r));
	r->tag = tag;
	r->random = random;
	r->arg = arg;
	r->next_ms = INT64_MAX;
	r->last_answer_ms = INT64_MIN;
	r->p90_ms = P90_START_MS;
}

void kad_rpc_release(struct kad_rpc *r)
{
	for (unsigned i = 0; i < ARRAY_LEN(r->chunks); i++) {
		free(r->chunks[i]);
		r->chunks[i] = NULL;
	}
	r->num_slots = r->num_calls = 0;
	r->next_ms = INT64_MAX;
}

static struct kad_call *slot(const struct kad_rpc *r, unsigned i)
{
	return &r->chunks[i / KAD_CALLS_CHUNK][i % KAD_CALLS_CHUNK];
}

static bool has_free_slot(struct kad_rpc *r)
{
	unsigned i = r->num_slots / KAD_CALLS_CHUNK;

	/* Half of them free: then a random place is found at once, and an
	 * index is not easily guessed. */
	if (r->num_calls * 2 >= r->num_slots &&
	    r->num_slots < LIMIT_KAD_CALLS) {
		r->chunks[i] =
			mem_alloc_array(KAD_CALLS_CHUNK, sizeof(*r->chunks[i]));
		r->num_slots += KAD_CALLS_CHUNK;
	}
	return r->num_calls < r->num_slots;
}

static void note_due(struct kad_rpc *r, const struct kad_call *c)
{
	int64_t at = c->slow_ms < c->hard_ms ? c->slow_ms : c->hard_ms;

	if (at < r->next_ms)
		r->next_ms = at;
}

struct kad_call *kad_rpc_ask(struct kad_rpc *r, int64_t now_ms,
			     const struct kad_id *id, const struct addr *to,
			     kad_call_fn *fn, void *arg)
{
	uint32_t chance = r->random(r->arg);
	struct kad_call *c;
	unsigned i;

	if (!has_free_slot(r)) {
		r->stats.full++;
		return NULL;
	}
	i = (chance >> INDEX_SHIFT) % r->num_slots;
	while (slot(r, i)->is_used)
		i = (i + 1) % r->num_slots;
	c = slot(r, i);
	*c = (struct kad_call){
		.fn = fn,
		.arg = arg,
		.to.addr = *to,
		.has_id = id != NULL,
		.is_used = true,
		.sends = 1,
		.index = (uint16_t)i,
		.nonce = chance & ((1u << NONCE_BITS) - 1),
		.first_ms = now_ms,
		.slow_ms = now_ms + kad_rpc_soft_ms(r),
		.hard_ms = now_ms + LIMIT_KAD_TIMEOUT_MS,
	};
	if (id)
		c->to.id = *id;
	r->num_calls++;
	r->stats.sent++;
	note_due(r, c);
	return c;
}

void kad_rpc_tid(const struct kad_rpc *r, const struct kad_call *c,
		 uint8_t out[KAD_TID_BYTES])
{
	store_be32(out, (uint32_t)r->tag << TAG_SHIFT |
				(uint32_t)c->index << INDEX_SHIFT |
				(uint32_t)c->nonce << NONCE_SHIFT |
				(c->sends - 1u));
}

void kad_rpc_wait(struct kad_rpc *r, int64_t now_ms, struct kad_call *c,
		  int64_t wait_ms, bool is_sent)
{
	if (is_sent) {
		CHECK(c->sends < KAD_SENDS_MAX);
		c->sent_at[c->sends++] = (uint16_t)(now_ms - c->first_ms);
		r->stats.sent++;
	}
	c->slow_ms = now_ms + wait_ms;
	note_due(r, c);
}

void kad_rpc_forget(struct kad_call *c)
{
	c->fn = NULL;
	c->slow_ms = INT64_MAX;
}

struct kad_call *kad_rpc_match(struct kad_rpc *r, const uint8_t *tid,
			       size_t tid_len, const struct addr *from)
{
	struct kad_call *c = NULL;
	uint32_t t;
	unsigned i;

	if (tid_len == KAD_TID_BYTES && tid[0] == r->tag) {
		t = load_be32(tid);
		i = t >> INDEX_SHIFT & (LIMIT_KAD_CALLS - 1);
		if (i < r->num_slots)
			c = slot(r, i);
		if (c &&
		    (!c->is_used || (t & SEND_MASK) >= c->sends ||
		     c->nonce != (t >> NONCE_SHIFT & ((1u << NONCE_BITS) - 1))))
			c = NULL;
	}
	if (!c) {
		r->stats.unasked++;
		return NULL;
	}
	/* A guess, or a node behind a NAT that answers through another hole:
	 * it could not be reached at that address either. */
	if (!addr_eq(&c->to.addr, from)) {
		r->stats.spoofed++;
		return NULL;
	}
	return c;
}

static int compare_u16(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static void add_sample(struct kad_rpc *r, uint16_t rtt_ms)
{
	uint16_t sorted[KAD_RTT_SAMPLES];
	unsigned n;

	r->rtt[r->num_rtt++ % KAD_RTT_SAMPLES] = rtt_ms;
	if (r->num_rtt % 8)
		return;
	n = r->num_rtt < KAD_RTT_SAMPLES ? r->num_rtt : KAD_RTT_SAMPLES;
	memcpy(sorted, r->rtt, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), compare_u16);
	r->p90_ms = sorted[n * 9 / 10];
}

uint16_t kad_rpc_on_answer(struct kad_rpc *r, int64_t now_ms,
			   struct kad_call *c, const uint8_t *tid)
{
	unsigned sending = load_be32(tid) & SEND_MASK;
	int64_t rtt = now_ms - c->first_ms - c->sent_at[sending];

	if (rtt < 0)
		rtt = 0;
	if (rtt > LIMIT_KAD_TIMEOUT_MS) /* our own clock stood still */
		rtt = LIMIT_KAD_TIMEOUT_MS;
	r->stats.answered++;
	r->last_answer_ms = now_ms;
	add_sample(r, (uint16_t)rtt);
	return (uint16_t)rtt;
}

void kad_rpc_end(struct kad_rpc *r, struct kad_call *c)
{
	CHECK(c->is_used);
	c->is_used = false;
	c->fn = NULL;
	r->num_calls--;
}

struct kad_call *kad_rpc_due(struct kad_rpc *r, int64_t now_ms,
			     enum kad_event *event)
{
	if (now_ms < r->next_ms)
		return NULL;
	for (; r->next_slot < r->num_slots; r->next_slot++) {
		struct kad_call *c = slot(r, r->next_slot);

		if (!c->is_used)
			continue;
		if (c->hard_ms <= now_ms) {
			r->stats.timed_out++;
			*event = KAD_TIMEOUT;
			return c;
		}
		if (c->slow_ms <= now_ms) {
			c->slow_ms = INT64_MAX;
			*event = KAD_SLOW;
			return c;
		}
	}
	r->next_slot = 0;
	r->next_ms = INT64_MAX;
	for (unsigned i = 0; i < r->num_slots; i++) {
		if (slot(r, i)->is_used)
			note_due(r, slot(r, i));
	}
	return NULL;
}

int64_t kad_rpc_next_ms(const struct kad_rpc *r)
{
	return r->next_ms;
}

int64_t kad_rpc_soft_ms(const struct kad_rpc *r)
{
	int64_t ms = 2 * (int64_t)r->p90_ms;

	if (ms < SOFT_MIN_MS)
		ms = SOFT_MIN_MS;
	return ms < LIMIT_KAD_TIMEOUT_MS / 2 ? ms : LIMIT_KAD_TIMEOUT_MS / 2;
}

int64_t kad_rpc_usual_ms(const struct kad_rpc *r)
{
	int64_t ms = r->p90_ms + r->p90_ms / 8;

	if (ms < USUAL_MIN_MS)
		ms = USUAL_MIN_MS;
	return ms < LIMIT_KAD_TIMEOUT_MS / 4 ? ms : LIMIT_KAD_TIMEOUT_MS / 4;
}
