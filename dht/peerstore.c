#include "dht/peerstore.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dht/bloom.h"
#include "dht/netquota.h"
#include "dht/token.h"
#include "engine/base/bytes.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"

#define SLOTS      4096 /* chains of the hash table */
#define LOOK_AT    16   /* swarms considered for removal */
#define SWEEP_PART 16   /* of all swarms in one sweep */

struct peer {
	uint8_t ip[16];
	uint16_t port;
	uint8_t family;
	bool is_seed;
	uint32_t seen_s;
};
static_assert(sizeof(struct peer) == 24, "the store is full of these");

struct swarm {
	struct infohash ih;
	struct swarm *next; /* of the chain */
	uint32_t index;     /* in all[] */
	uint16_t num, cap;
	struct peer *peers; /* owned */
};

struct peerstore {
	uint64_t key[2];
	struct prng prng;
	struct netquota quota;
	struct swarm **slots; /* owned; NULL: nothing was ever stored */
	struct swarm **all;   /* owned */
	unsigned num, cap, num_peers, sweep_at;
};

struct peerstore *peerstore_new(const uint8_t seed[16])
{
	struct peerstore *s = mem_alloc(sizeof(*s));

	memcpy(s->key, seed, sizeof(s->key));
	s->prng.state = s->key[0] ^ s->key[1];
	netquota_init(&s->quota, LIMIT_DHT_HASHES_PER_NET, seed);
	return s;
}

static struct swarm **place_of(const struct peerstore *s,
			       const struct infohash *ih)
{
	uint64_t h = siphash(s->key, ih->b, sizeof(ih->b));

	return &s->slots[h % SLOTS];
}

static struct swarm *find(const struct peerstore *s, const struct infohash *ih)
{
	struct swarm *w;

	if (!s->slots)
		return NULL;
	for (w = *place_of(s, ih); w; w = w->next) {
		if (infohash_eq(&w->ih, ih))
			return w;
	}
	return NULL;
}

static void drop(struct peerstore *s, struct swarm *w)
{
	struct swarm **at = place_of(s, &w->ih);

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	s->all[w->index] = s->all[--s->num];
	s->all[w->index]->index = w->index;
	s->num_peers -= w->num;
	free(w->peers);
	free(w);
}

void peerstore_free(struct peerstore *s)
{
	if (!s)
		return;
	while (s->num)
		drop(s, s->all[s->num - 1]);
	free(s->slots);
	free(s->all);
	free(s);
}

/* The smallest of some. KEEP stays. */
static void make_room(struct peerstore *s, const struct swarm *keep)
{
	struct swarm *victim = NULL;

	for (unsigned i = 0; i < LOOK_AT && s->num; i++) {
		struct swarm *w = s->all[prng_below(&s->prng, s->num)];

		if (w != keep && (!victim || w->num < victim->num))
			victim = w;
	}
	if (victim)
		drop(s, victim);
}

static struct swarm *new_swarm(struct peerstore *s, const struct infohash *ih)
{
	struct swarm *w = mem_alloc(sizeof(*w)), **at;

	if (!s->slots)
		s->slots = mem_alloc_array(SLOTS, sizeof(*s->slots));
	if (s->num == LIMIT_DHT_HASHES)
		make_room(s, NULL);
	if (s->num == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		s->all = mem_realloc_array(s->all, s->cap, sizeof(*s->all));
	}
	w->ih = *ih;
	w->index = s->num;
	s->all[s->num++] = w;
	at = place_of(s, ih);
	w->next = *at;
	*at = w;
	return w;
}

static bool is_alive(const struct peer *p, int64_t now_ms)
{
	return now_ms / 1000 - p->seen_s < LIMIT_DHT_PEER_MS / 1000;
}

static void forget_old(struct peerstore *s, struct swarm *w, int64_t now_ms)
{
	for (unsigned i = w->num; i > 0; i--) {
		if (is_alive(&w->peers[i - 1], now_ms))
			continue;
		w->peers[i - 1] = w->peers[--w->num];
		s->num_peers--;
	}
}

static struct peer *find_peer(struct swarm *w, const struct addr *a)
{
	for (unsigned i = 0; i < w->num; i++) {
		struct peer *p = &w->peers[i];

		if (p->port == a->port && p->family == a->family &&
		    !memcmp(p->ip, a->ip, sizeof(p->ip)))
			return p;
	}
	return NULL;
}

int peerstore_add(struct peerstore *s, int64_t now_ms,
		  const struct infohash *ih, const struct addr *a, bool is_seed)
{
	struct swarm *w = find(s, ih);
	struct peer *p;

	if (addr_is_martian(a))
		return -EINVAL;
	if (!w) {
		if (!netquota_take(&s->quota, now_ms, a))
			return -ENOSPC;
		w = new_swarm(s, ih);
	}
	p = find_peer(w, a);
	if (!p) {
		if (w->num == LIMIT_DHT_SWARM_PEERS)
			forget_old(s, w, now_ms);
		if (w->num == LIMIT_DHT_SWARM_PEERS)
			return -ENOSPC;
		while (s->num_peers >= LIMIT_DHT_PEERS && s->num > 1)
			make_room(s, w);
		if (w->num == w->cap) {
			w->cap = (uint16_t)(w->cap ? w->cap * 2 : 2);
			if (w->cap > LIMIT_DHT_SWARM_PEERS)
				w->cap = LIMIT_DHT_SWARM_PEERS;
			w->peers = mem_realloc_array(w->peers, w->cap,
						     sizeof(*w->peers));
		}
		p = &w->peers[w->num++];
		s->num_peers++;
		memcpy(p->ip, a->ip, sizeof(p->ip));
		p->port = a->port;
		p->family = a->family;
	}
	p->is_seed = is_seed;
	p->seen_s = (uint32_t)(now_ms / 1000);
	return 0;
}

bool peerstore_is_full(const struct peerstore *s, const struct infohash *ih)
{
	const struct swarm *w = find(s, ih);

	return w && w->num >= LIMIT_DHT_SWARM_PEERS;
}

unsigned peerstore_get(struct peerstore *s, int64_t now_ms,
		       const struct infohash *ih, int family, bool no_seeds,
		       uint32_t chance, uint8_t *out, unsigned max)
{
	const struct swarm *w = find(s, ih);
	unsigned n = 0;

	for (unsigned i = 0; w && i < w->num && n < max; i++) {
		const struct peer *p =
			&w->peers[(i + chance % w->num) % w->num];
		size_t len = family == 4 ? 4 : 16;

		if (p->family != family || (no_seeds && p->is_seed) ||
		    !is_alive(p, now_ms))
			continue;
		memcpy(out, p->ip, len);
		store_be16(out + len, p->port);
		out += len + 2;
		n++;
	}
	return n;
}

bool peerstore_scrape(struct peerstore *s, int64_t now_ms,
		      const struct infohash *ih, uint8_t *seeds,
		      uint8_t *others)
{
	const struct swarm *w = find(s, ih);

	memset(seeds, 0, BLOOM_BYTES);
	memset(others, 0, BLOOM_BYTES);
	if (!w)
		return false;
	for (unsigned i = 0; i < w->num; i++) {
		const struct peer *p = &w->peers[i];
		struct addr a = { .family = p->family };

		memcpy(a.ip, p->ip, sizeof(a.ip));
		if (is_alive(p, now_ms))
			bloom_add(p->is_seed ? seeds : others, &a);
	}
	return true;
}

unsigned peerstore_sample(struct peerstore *s, int64_t now_ms,
			  struct infohash *out, unsigned max)
{
	unsigned n = 0, step, at;

	if (!s->num)
		return 0;
	if (max > s->num)
		max = s->num;
	/* Evenly spaced from a random place: no two are the same. */
	step = s->num / max;
	at = prng_below(&s->prng, s->num);
	for (; n < max; n++, at = (at + step) % s->num)
		out[n] = s->all[at]->ih;
	return n;
}

unsigned peerstore_hashes(const struct peerstore *s)
{
	return s->num;
}

unsigned peerstore_peers(const struct peerstore *s)
{
	return s->num_peers;
}

void peerstore_sweep(struct peerstore *s, int64_t now_ms)
{
	unsigned part = s->num / SWEEP_PART + 1;

	while (part-- && s->num) {
		struct swarm *w = s->all[s->sweep_at++ % s->num];

		forget_old(s, w, now_ms);
		if (!w->num)
			drop(s, w);
	}
}
