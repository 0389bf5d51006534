#include "engine/swarm.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define RETRY_MS       60000
#define RETRY_USER_MS  5000
#define HURRY_EVERY_MS 10000
#define NOT_TRIED_MS   5000
#define ANSWER_MS      15000 /* a connect takes no longer */
#define BANS_MAX       1024  /* addresses; then the oldest is forgiven */
#define BUCKETS        256

struct entry {
	struct candidate c;
	struct entry *next; /* in its bucket */
};

struct swarm {
	struct entry *buckets[BUCKETS];
	size_t size;
	struct addr *bans; /* owned */
	size_t num_bans;   /* ever made */
	int64_t hurried_ms;
};

struct swarm *swarm_new(void)
{
	return mem_alloc(sizeof(struct swarm));
}

void swarm_free(struct swarm *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i], *next; e; e = next) {
			next = e->next;
			free(e);
		}
	}
	free(s->bans);
	free(s);
}

static struct entry **bucket_of(struct swarm *s, const struct addr *a)
{
	return &s->buckets[addr_hash(a) % BUCKETS];
}

struct candidate *swarm_find(struct swarm *s, const struct addr *a)
{
	for (struct entry *e = *bucket_of(s, a); e; e = e->next) {
		if (addr_eq(&e->c.addr, a))
			return &e->c;
	}
	return NULL;
}

static bool is_given_up(const struct candidate *c)
{
	return c->is_banned || c->is_self ||
	       (c->failures >= LIMIT_PEER_FAILURES && c->origin != ORIGIN_USER);
}

/* How much a source's word counts. */
static int rank_of(enum peer_origin origin)
{
	switch (origin) {
	case ORIGIN_USER:
		return 5;
	case ORIGIN_LSD:
		return 4;
	case ORIGIN_TRACKER:
		return 3;
	case ORIGIN_DHT:
		return 2;
	case ORIGIN_PEX:
		return 1;
	case ORIGIN_INCOMING:
		break;
	}
	return 0;
}

static bool is_worth_less(const struct candidate *a, const struct candidate *b)
{
	if (is_given_up(a) != is_given_up(b))
		return is_given_up(a);
	if (a->failures != b->failures)
		return a->failures > b->failures;
	return rank_of(a->origin) < rank_of(b->origin);
}

/* Removes the address that is worth least; false if that is C. */
static bool make_room(struct swarm *s, const struct candidate *c)
{
	struct entry **worst = NULL, *gone;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry **e = &s->buckets[i]; *e; e = &(*e)->next) {
			if ((*e)->c.is_connected ||
			    (*e)->c.origin == ORIGIN_USER || (*e)->c.is_self)
				continue;
			if (!worst || is_worth_less(&(*e)->c, &(*worst)->c))
				worst = e;
		}
	}
	if (!worst || is_worth_less(c, &(*worst)->c))
		return false;
	gone = *worst;
	*worst = gone->next;
	free(gone);
	s->size--;
	return true;
}

/* One more try of what was given up. */
static bool give_chance(struct candidate *c)
{
	if (c->failures < LIMIT_PEER_FAILURES)
		return false;
	c->failures = LIMIT_PEER_FAILURES - 1;
	return !is_given_up(c);
}

static bool name_again(struct candidate *c, enum peer_origin origin)
{
	if (rank_of(origin) > rank_of(c->origin)) {
		c->origin = origin;
		if (origin == ORIGIN_USER) {
			c->failures = 0;
			c->next_try_ms = 0;
			return !c->is_connected;
		}
	}
	return c->origin != ORIGIN_USER && give_chance(c);
}

bool swarm_add(struct swarm *s, const struct addr *a, enum peer_origin origin)
{
	struct candidate *c = swarm_find(s, a);
	struct candidate new = { .addr = *a, .origin = origin };
	struct entry *e, **b;

	if (addr_is_martian(a))
		return false;
	if (c)
		return name_again(c, origin);
	new.is_banned = swarm_is_banned(s, a);
	if (s->size >= LIMIT_PEER_CANDIDATES && !make_room(s, &new))
		return false;
	e = mem_alloc(sizeof(*e));
	e->c = new;
	b = bucket_of(s, a);
	e->next = *b;
	*b = e;
	s->size++;
	return true;
}

static bool is_better(const struct candidate *a, const struct candidate *b)
{
	bool a_user = a->origin == ORIGIN_USER,
	     b_user = b->origin == ORIGIN_USER;

	if (a_user != b_user)
		return a_user;
	if (a->failures != b->failures)
		return a->failures < b->failures;
	return a->tried_ms < b->tried_ms;
}

struct candidate *swarm_next(struct swarm *s, bool am_seed, int64_t now_ms,
			     int64_t *wait_ms)
{
	struct candidate *best = NULL;

	*wait_ms = -1;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i]; e; e = e->next) {
			struct candidate *c = &e->c;
			int64_t left = c->next_try_ms - now_ms;

			if (c->is_connected || is_given_up(c) ||
			    (am_seed && c->was_seed))
				continue;
			if (left > 0) {
				if (*wait_ms < 0 || left < *wait_ms)
					*wait_ms = left;
			} else if (!best || is_better(c, best)) {
				best = c;
			}
		}
	}
	return best;
}

void swarm_on_connecting(struct candidate *c, int64_t now_ms)
{
	c->is_connected = true;
	c->tried_ms = now_ms;
}

void swarm_on_lost(struct swarm *s, const struct addr *a, bool good,
		   int64_t now_ms)
{
	struct candidate *c = swarm_find(s, a);

	if (!c)
		return;
	c->is_connected = false;
	c->failures = good ? 0 : c->failures + 1;
	c->next_try_ms =
		now_ms + (c->origin == ORIGIN_USER
				  ? RETRY_USER_MS
				  : RETRY_MS * (int64_t)(c->failures + 1));
}

void swarm_on_not_tried(struct swarm *s, const struct addr *a, int64_t now_ms)
{
	struct candidate *c = swarm_find(s, a);

	if (!c)
		return;
	c->is_connected = false;
	c->next_try_ms = now_ms + NOT_TRIED_MS;
}

void swarm_ban(struct swarm *s, const struct addr *a)
{
	if (s->num_bans < BANS_MAX)
		s->bans =
			mem_realloc_array(s->bans, s->num_bans + 1, sizeof(*a));
	s->bans[s->num_bans++ % BANS_MAX] = *a;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i]; e; e = e->next) {
			if (addr_ip_eq(&e->c.addr, a))
				e->c.is_banned = true;
		}
	}
}

bool swarm_is_banned(struct swarm *s, const struct addr *a)
{
	size_t n = s->num_bans < BANS_MAX ? s->num_bans : BANS_MAX;

	for (size_t i = 0; i < n; i++) {
		if (addr_ip_eq(&s->bans[i], a))
			return true;
	}
	return false;
}

size_t swarm_size(const struct swarm *s)
{
	return s->size;
}

size_t swarm_num_usable(const struct swarm *s)
{
	size_t n = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i]; e; e = e->next)
			n += !is_given_up(&e->c);
	}
	return n;
}

bool swarm_has_untried(const struct swarm *s, int64_t now_ms)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i]; e; e = e->next) {
			const struct candidate *c = &e->c;

			if (!is_given_up(c) && !c->failures &&
			    (!c->tried_ms || now_ms - c->tried_ms < ANSWER_MS))
				return true;
		}
	}
	return false;
}

bool swarm_hurry(struct swarm *s, int64_t now_ms)
{
	if (s->hurried_ms && now_ms - s->hurried_ms < HURRY_EVERY_MS)
		return false;
	s->hurried_ms = now_ms;
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct entry *e = s->buckets[i]; e; e = e->next) {
			e->c.next_try_ms = 0;
			(void)give_chance(&e->c);
		}
	}
	return true;
}
