/* Who is asked for which part of the info dict, and who is to blame.
 *
 * Peers that claim the same size share one set of parts, so that an honest
 * swarm fetches each part once. When a full set hashes wrong and one peer gave
 * all of it, that peer lied. When several gave, nobody can tell which, and the
 * claim is split: from then on each of its peers fills a set of its own, which
 * is right, or that peer lied. So one honest peer is always enough, and a liar
 * costs at most two transfers of what it sent.
 *
 * A part unanswered for REASK_MS may be asked of others, and after a growing
 * wait of the same peer again. Others that owe nothing and have nothing new to
 * fetch need not wait so long: a crowd of silent peers would otherwise hold up
 * the one that answers for a minute. A
 * reject makes a peer rest for a growing while.
 *
 * Nothing is allocated for what a peer only claims: parts come to life as they
 * arrive, first missing part first. Sets under way reserve their size out of
 * LIMIT_METADATA_KEPT_BYTES. Past it a new set waits, until one under way is
 * late: then that one is dropped, and of those waiting the one that had the
 * fewest turns begins. A peer that sends a little and stalls holds up nobody
 * for long.
 *
 * The hash runs along with the parts in order, so that the last part of a
 * 30 MiB dict does not stop the loop. */
#include "engine/metaxfer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/list.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

#define PART_LEN       LIMIT_BLOCK_BYTES
#define ASKS_PER_PEER  2
#define REASK_MS       3000 /* then others may be asked */
#define HEDGE_MS       700  /* then others that would be idle may be asked */
#define HEDGE_AGAIN_MS 250  /* and then one more each */
#define REPEAT_MS      6000 /* then the same peer, if no other took it; doubles */
#define REST_MS        3000 /* after a reject; doubles */
#define MAX_DOUBLINGS  4
#define LATE_IDLE_MS   10000 /* nothing arrived for so long */
#define LATE_BASE_MS   20000 /* or the whole set took longer than this */
#define LATE_PER_PART  100   /* and this for each part: 160 KB/s */
#define NEVER          INT64_MIN

struct part {
	uint8_t *data;  /* owned; NULL until it arrives */
	uint32_t giver; /* serial of a peer */
	uint32_t num_asks;
	int64_t asked_ms; /* last, of anybody; NEVER: free for all */
};

struct set {
	uint32_t size, num_parts;
	struct part *parts; /* owned; as far as anything was asked for */
	uint32_t num_known; /* of PARTS */
	uint32_t num_here, first_missing;
	uint32_t num_hashed;
	struct hasher *sha1, *sha256; /* owned; over the parts hashed so far */
	bool is_started;              /* its size is reserved */
	unsigned num_starts;
	int64_t started_ms, progress_ms;
};

struct claim { /* all peers that say the same size */
	struct list node;
	struct set shared;
	unsigned num_peers;
	bool is_split;
};

struct ask {
	bool is_used, is_repeated;
	uint32_t part;
	int64_t repeat_at_ms; /* ask the same peer again */
};

struct claimant {
	struct list node;
	uint32_t id, serial; /* the serial is never used again */
	struct claim *claim; /* borrowed */
	struct set own;      /* while the claim is split */
	struct ask asks[ASKS_PER_PEER];
	size_t max_asks;
	unsigned num_rejects, num_silences;
	int64_t rests_until_ms;
};

struct metaxfer {
	bool has_v1, has_v2;
	struct infohash v1;
	struct infohash2 v2;
	struct list peers, claims;
	unsigned num_peers;
	uint32_t last_serial;
	uint64_t reserved_bytes;
	int64_t now_ms; /* of the last call that told it */
	uint8_t *info;  /* owned; set when done */
	uint32_t info_len;
};

static uint32_t part_len(const struct set *s, uint32_t part)
{
	return part < s->num_parts - 1 ? PART_LEN : s->size - part * PART_LEN;
}

static void set_init(struct set *s, uint32_t size)
{
	*s = (struct set){ .size = size,
			   .num_parts = (size + PART_LEN - 1) / PART_LEN };
}

static struct set *claimant_set(struct claimant *p)
{
	return p->claim->is_split ? &p->own : &p->claim->shared;
}

static struct claimant *find_peer(const struct metaxfer *x, uint32_t id)
{
	list_foreach(p, &x->peers, struct claimant, node) {
		if (p->id == id)
			return p;
	}
	return NULL;
}

/* --- sets: their memory and their turn --- */

static void set_rehash(struct set *s)
{
	if (s->sha1)
		hasher_reset(s->sha1);
	if (s->sha256)
		hasher_reset(s->sha256);
	s->num_hashed = 0;
}

/* Back to nothing; only the number of turns is remembered. */
static void set_stop(struct metaxfer *x, struct set *s)
{
	list_foreach(p, &x->peers, struct claimant, node) {
		if (claimant_set(p) == s)
			memset(p->asks, 0, sizeof(p->asks));
	}
	for (uint32_t i = 0; i < s->num_known; i++)
		free(s->parts[i].data);
	free(s->parts);
	hasher_free(s->sha1);
	hasher_free(s->sha256);
	if (s->is_started)
		x->reserved_bytes -= s->size;
	*s = (struct set){ .size = s->size,
			   .num_parts = s->num_parts,
			   .num_starts = s->num_starts };
}

static bool is_late(const struct set *s, int64_t now_ms)
{
	return s->is_started &&
	       (now_ms - s->progress_ms > LATE_IDLE_MS ||
		now_ms - s->started_ms >
			LATE_BASE_MS + (int64_t)LATE_PER_PART * s->num_parts);
}

static void keep_latest(struct set **latest, struct set *s, int64_t now_ms)
{
	if (is_late(s, now_ms) &&
	    (!*latest || s->progress_ms < (*latest)->progress_ms))
		*latest = s;
}

static struct set *find_late(struct metaxfer *x, int64_t now_ms)
{
	struct set *latest = NULL;

	list_foreach(c, &x->claims, struct claim, node)
		keep_latest(&latest, &c->shared, now_ms);
	list_foreach(p, &x->peers, struct claimant, node)
		keep_latest(&latest, &p->own, now_ms);
	return latest;
}

/* Does a set wait that had fewer turns than S? */
static bool is_others_turn(const struct metaxfer *x, const struct set *s,
			   int64_t now_ms)
{
	list_foreach(p, &x->peers, struct claimant, node) {
		const struct set *other = claimant_set(p);

		if (!other->is_started && other->num_starts < s->num_starts &&
		    now_ms >= p->rests_until_ms)
			return true;
	}
	return false;
}

static bool has_room(const struct metaxfer *x, const struct set *s)
{
	return x->reserved_bytes + s->size <= LIMIT_METADATA_KEPT_BYTES;
}

static bool set_start(struct metaxfer *x, struct set *s, int64_t now_ms)
{
	struct set *late;

	if (s->is_started)
		return true;
	if (!has_room(x, s) && is_others_turn(x, s, now_ms))
		return false;
	while (!has_room(x, s)) {
		late = find_late(x, now_ms);
		if (!late)
			return false;
		set_stop(x, late);
	}
	x->reserved_bytes += s->size;
	s->is_started = true;
	s->num_starts++;
	s->started_ms = s->progress_ms = now_ms;
	if (x->has_v1)
		s->sha1 = hasher_new(HASH_SHA1);
	if (x->has_v2)
		s->sha256 = hasher_new(HASH_SHA256);
	return true;
}

/* Makes PARTS reach up to PART. */
static void set_know(struct set *s, uint32_t part)
{
	if (part < s->num_known)
		return;
	s->parts = mem_realloc_array(s->parts, part + 1, sizeof(*s->parts));
	for (; s->num_known <= part; s->num_known++)
		s->parts[s->num_known] = (struct part){ .asked_ms = NEVER };
}

static bool set_has(const struct set *s, uint32_t part)
{
	return part < s->num_known && s->parts[part].data;
}

/* Takes back what one peer gave. */
static void set_forget_giver(struct set *s, uint32_t serial)
{
	for (uint32_t i = s->num_known; i-- > 0;) {
		struct part *part = &s->parts[i];

		if (!part->data || part->giver != serial)
			continue;
		free(part->data);
		*part = (struct part){ .asked_ms = NEVER };
		s->num_here--;
		if (i < s->first_missing)
			s->first_missing = i;
		if (i < s->num_hashed)
			set_rehash(s);
	}
}

static bool set_has_one_giver(const struct set *s)
{
	for (uint32_t i = 1; i < s->num_parts; i++) {
		if (s->parts[i].giver != s->parts[0].giver)
			return false;
	}
	return true;
}

/* --- peers and their claims --- */

static struct claim *find_claim(struct metaxfer *x, uint32_t size)
{
	struct claim *new;

	list_foreach(c, &x->claims, struct claim, node) {
		if (c->shared.size == size)
			return c;
	}
	new = mem_alloc(sizeof(*new));
	set_init(&new->shared, size);
	list_push_back(&x->claims, &new->node);
	return new;
}

static void claim_free(struct metaxfer *x, struct claim *c)
{
	set_stop(x, &c->shared);
	list_remove(&c->node);
	free(c);
}

/* What it was asked for is free again for others, at once. */
static void give_back_asks(struct claimant *p)
{
	struct set *s = claimant_set(p);

	for (size_t i = 0; i < ASKS_PER_PEER; i++) {
		if (p->asks[i].is_used)
			s->parts[p->asks[i].part].asked_ms = NEVER;
	}
	memset(p->asks, 0, sizeof(p->asks));
}

/* The parts that it gave stay, and so does its claim while it has any. */
static void peer_leave(struct metaxfer *x, struct claimant *p)
{
	struct claim *c = p->claim;

	give_back_asks(p);
	set_stop(x, &p->own);
	list_remove(&p->node);
	x->num_peers--;
	free(p);
	if (!--c->num_peers && !c->shared.num_here)
		claim_free(x, c);
}

/* A liar's parts are worth nothing. */
static enum metaxfer_result peer_blame(struct metaxfer *x, struct claimant *p)
{
	set_forget_giver(&p->claim->shared, p->serial);
	peer_leave(x, p);
	return METAXFER_BAD_PEER;
}

struct metaxfer *metaxfer_new(const struct infohash *v1,
			      const struct infohash2 *v2)
{
	struct metaxfer *x = mem_alloc(sizeof(*x));

	list_init(&x->peers);
	list_init(&x->claims);
	x->now_ms = NEVER;
	if (v1) {
		x->has_v1 = true;
		x->v1 = *v1;
	}
	if (v2) {
		x->has_v2 = true;
		x->v2 = *v2;
	}
	return x;
}

static void forget_all(struct metaxfer *x)
{
	struct claimant *p;
	struct claim *c;

	while ((p = list_first(&x->peers, struct claimant, node)))
		peer_leave(x, p);
	while ((c = list_first(&x->claims, struct claim, node)))
		claim_free(x, c);
}

void metaxfer_free(struct metaxfer *x)
{
	if (!x)
		return;
	forget_all(x);
	free(x->info);
	free(x);
}

void metaxfer_ask_singly(struct metaxfer *x, uint32_t peer)
{
	struct claimant *p = find_peer(x, peer);

	if (p)
		p->max_asks = 1;
}

void metaxfer_add_peer(struct metaxfer *x, uint32_t peer, uint32_t size)
{
	struct claimant *p = find_peer(x, peer);

	if (p && p->claim->shared.size == size)
		return;
	if (p)
		peer_leave(x, p);
	if (x->info || !size || size > LIMIT_METADATA_BYTES ||
	    x->num_peers >= LIMIT_PEERS)
		return;
	p = mem_alloc(sizeof(*p));
	p->id = peer;
	p->serial = ++x->last_serial;
	p->claim = find_claim(x, size);
	p->claim->num_peers++;
	p->rests_until_ms = NEVER;
	p->max_asks = ASKS_PER_PEER;
	set_init(&p->own, size);
	list_push_back(&x->peers, &p->node);
	x->num_peers++;
}

void metaxfer_remove_peer(struct metaxfer *x, uint32_t peer)
{
	struct claimant *p = find_peer(x, peer);

	if (p)
		peer_leave(x, p);
}

/* --- asking --- */

static struct ask *find_ask(struct claimant *p, uint32_t part)
{
	for (size_t i = 0; i < ASKS_PER_PEER; i++) {
		if (p->asks[i].is_used && p->asks[i].part == part)
			return &p->asks[i];
	}
	return NULL;
}

static void note_silence(struct claimant *p)
{
	if (p->num_silences < MAX_DOUBLINGS)
		p->num_silences++;
}

/* A place for one more ask. One that another peer answered is free when this
 * peer can be taken not to answer it any more. */
static struct ask *find_free_ask(struct claimant *p, int64_t now_ms)
{
	const struct set *s = claimant_set(p);

	for (size_t i = 0; i < p->max_asks; i++) {
		struct ask *a = &p->asks[i];

		if (a->is_used && now_ms >= a->repeat_at_ms &&
		    set_has(s, a->part)) {
			a->is_used = false;
			note_silence(p);
		}
		if (!a->is_used)
			return a;
	}
	return NULL;
}

static bool is_idle(const struct claimant *p)
{
	for (size_t i = 0; i < ASKS_PER_PEER; i++) {
		if (p->asks[i].is_used)
			return false;
	}
	return true;
}

/* For how long a part, once asked of somebody, is not asked of others. */
static int64_t wait_of(const struct part *part, bool is_hedge)
{
	if (!is_hedge)
		return REASK_MS;
	return part->num_asks > 1 ? HEDGE_AGAIN_MS : HEDGE_MS;
}

/* The first part that is missing and that nobody was asked for lately. */
static bool find_part(struct claimant *p, int64_t now_ms, bool is_hedge,
		      uint32_t *out)
{
	const struct set *s = claimant_set(p);
	uint32_t i;

	for (i = s->first_missing; i < s->num_known; i++) {
		const struct part *part = &s->parts[i];

		if (!part->data && !find_ask(p, i) &&
		    now_ms - wait_of(part, is_hedge) >= part->asked_ms)
			break;
	}
	*out = i;
	return i < s->num_parts;
}

/* An ask that P owes for too long and nobody else was given. */
static struct ask *find_overdue(struct claimant *p, int64_t now_ms)
{
	const struct set *s = claimant_set(p);

	for (size_t i = 0; i < ASKS_PER_PEER; i++) {
		struct ask *a = &p->asks[i];

		if (a->is_used && now_ms >= a->repeat_at_ms &&
		    now_ms - REASK_MS >= s->parts[a->part].asked_ms &&
		    !set_has(s, a->part))
			return a;
	}
	return NULL;
}

int metaxfer_next(struct metaxfer *x, uint32_t peer, int64_t now_ms)
{
	struct claimant *p = find_peer(x, peer);
	struct ask *a;
	uint32_t part;

	x->now_ms = now_ms;
	if (!p || now_ms < p->rests_until_ms ||
	    !set_start(x, claimant_set(p), now_ms))
		return -1;
	a = find_free_ask(p, now_ms);
	if (a && (find_part(p, now_ms, false, &part) ||
		  (is_idle(p) && find_part(p, now_ms, true, &part)))) {
		*a = (struct ask){ .is_used = true, .part = part };
		set_know(claimant_set(p), part);
	} else {
		a = find_overdue(p, now_ms);
		if (!a)
			return -1;
		a->is_repeated = true;
		note_silence(p);
	}
	a->repeat_at_ms = now_ms + ((int64_t)REPEAT_MS << p->num_silences);
	claimant_set(p)->parts[a->part].asked_ms = now_ms;
	claimant_set(p)->parts[a->part].num_asks++;
	return (int)a->part;
}

void metaxfer_on_reject(struct metaxfer *x, uint32_t peer, uint32_t part,
			int64_t now_ms)
{
	struct claimant *p = find_peer(x, peer);
	struct ask *a = p ? find_ask(p, part) : NULL;

	x->now_ms = now_ms;
	if (!a)
		return;
	a->is_used = false;
	claimant_set(p)->parts[part].asked_ms = NEVER;
	p->rests_until_ms = now_ms + ((int64_t)REST_MS << p->num_rejects);
	if (p->num_rejects < MAX_DOUBLINGS)
		p->num_rejects++;
}

/* --- what arrives --- */

static void hash_ahead(struct set *s)
{
	for (; s->num_hashed < s->first_missing; s->num_hashed++) {
		const uint8_t *data = s->parts[s->num_hashed].data;
		uint32_t len = part_len(s, s->num_hashed);

		if (s->sha1)
			hasher_update(s->sha1, data, len);
		if (s->sha256)
			hasher_update(s->sha256, data, len);
	}
}

static bool set_store(struct set *s, uint32_t part, uint32_t giver,
		      struct span data)
{
	uint8_t *copy = mem_try(1, data.len);

	if (!copy)
		return false;
	memcpy(copy, data.ptr, data.len);
	s->parts[part].data = copy;
	s->parts[part].giver = giver;
	s->num_here++;
	while (set_has(s, s->first_missing))
		s->first_missing++;
	hash_ahead(s);
	return true;
}

static bool is_right(const struct metaxfer *x, struct set *s)
{
	struct infohash2 got2;
	struct infohash got1;
	bool right = false;

	if (s->sha1) {
		hasher_final(s->sha1, got1.b);
		right = infohash_eq(&got1, &x->v1);
	}
	if (s->sha256) {
		hasher_final(s->sha256, got2.b);
		right = right || infohash2_eq(&got2, &x->v2);
	}
	return right;
}

static enum metaxfer_result finish(struct metaxfer *x, struct set *s)
{
	uint8_t *info = mem_try(1, s->size);
	uint32_t size = s->size;

	if (!info) {
		set_stop(x, s);
		return METAXFER_AGAIN;
	}
	for (uint32_t i = 0; i < s->num_parts; i++)
		memcpy(info + (size_t)i * PART_LEN, s->parts[i].data,
		       part_len(s, i));
	forget_all(x);
	x->info = info;
	x->info_len = size;
	return METAXFER_DONE;
}

/* All parts of P's set are here; P gave the last one. */
static enum metaxfer_result judge(struct metaxfer *x, struct claimant *p)
{
	struct set *s = claimant_set(p);

	if (is_right(x, s))
		return finish(x, s);
	if (set_has_one_giver(s)) {
		set_stop(x, s);
		return peer_blame(x, p);
	}
	set_stop(x, s);
	p->claim->is_split = true;
	return METAXFER_AGAIN;
}

enum metaxfer_result metaxfer_on_data(struct metaxfer *x, uint32_t peer,
				      uint32_t part, uint32_t total_size,
				      struct span data)
{
	struct claimant *p = find_peer(x, peer);
	struct set *s;
	struct ask *a;

	if (!p)
		return METAXFER_IGNORED;
	s = claimant_set(p);
	if (total_size != s->size)
		return peer_blame(x, p);
	a = find_ask(p, part);
	if (!a)
		return METAXFER_IGNORED;
	if (data.len != part_len(s, part))
		return peer_blame(x, p);
	a->is_used = false;
	p->num_rejects = 0;
	if (!a->is_repeated)
		p->num_silences = 0;
	if (set_has(s, part) || !set_store(s, part, p->serial, data))
		return METAXFER_IGNORED;
	s->progress_ms = x->now_ms;
	if (s->num_here < s->num_parts)
		return METAXFER_MORE;
	return judge(x, p);
}

struct span metaxfer_info(const struct metaxfer *x)
{
	return (struct span){ x->info, x->info_len };
}

static unsigned set_percent(const struct set *s)
{
	return (unsigned)((uint64_t)s->num_here * 100 / s->num_parts);
}

unsigned metaxfer_percent(const struct metaxfer *x)
{
	unsigned best = x->info ? 100 : 0, n;

	list_foreach(c, &x->claims, struct claim, node) {
		n = set_percent(&c->shared);
		best = n > best ? n : best;
	}
	list_foreach(p, &x->peers, struct claimant, node) {
		n = set_percent(&p->own);
		best = n > best ? n : best;
	}
	return best;
}
