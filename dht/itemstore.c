#include "dht/itemstore.h"

#include <stdlib.h>

#include "dht/dht_msg.h"
#include "dht/netquota.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"

struct stored {
	struct kad_id target;
	bool is_mutable;
	uint16_t len;
	uint16_t puts; /* a popular one is put again by many */
	uint8_t pk[32], sig[64];
	int64_t seq, put_ms;
	uint8_t *v; /* owned */
};

struct itemstore {
	struct netquota quota;
	struct stored *all; /* owned; LIMIT_DHT_ITEMS at most */
	unsigned num, cap;
};

struct itemstore *itemstore_new(const uint8_t seed[16])
{
	struct itemstore *s = mem_alloc(sizeof(*s));

	netquota_init(&s->quota, LIMIT_DHT_ITEMS_PER_NET, seed);
	return s;
}

void itemstore_free(struct itemstore *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->num; i++)
		free(s->all[i].v);
	free(s->all);
	free(s);
}

static void drop(struct itemstore *s, struct stored *e)
{
	free(e->v);
	*e = s->all[--s->num];
}

static struct stored *find(struct itemstore *s, int64_t now_ms,
			   const struct kad_id *target)
{
	for (unsigned i = 0; i < s->num; i++) {
		if (kad_id_eq(&s->all[i].target, target) &&
		    now_ms - s->all[i].put_ms < LIMIT_DHT_ITEM_MS)
			return &s->all[i];
	}
	return NULL;
}

bool itemstore_get(struct itemstore *s, int64_t now_ms,
		   const struct kad_id *target, struct itemstore_entry *out)
{
	const struct stored *e = find(s, now_ms, target);

	if (!e)
		return false;
	*out = (struct itemstore_entry){ .v = { e->v, e->len },
					 .is_mutable = e->is_mutable,
					 .pk = e->pk,
					 .sig = e->sig,
					 .seq = e->seq };
	return true;
}

static bool is_less(const struct stored *a, const struct stored *b)
{
	return a->puts != b->puts ? a->puts < b->puts : a->put_ms < b->put_ms;
}

static struct stored *new_entry(struct itemstore *s, int64_t now_ms)
{
	struct stored *victim = NULL;

	itemstore_sweep(s, now_ms);
	for (unsigned i = 0; s->num == LIMIT_DHT_ITEMS && i < s->num; i++) {
		if (!victim || is_less(&s->all[i], victim))
			victim = &s->all[i];
	}
	if (victim)
		drop(s, victim);
	if (s->num == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 16;
		s->all = mem_realloc_array(s->all, s->cap, sizeof(*s->all));
	}
	return &s->all[s->num++];
}

int itemstore_put(struct itemstore *s, int64_t now_ms,
		  const struct kad_id *target, const struct item *item,
		  const int64_t *cas, const struct addr *from)
{
	struct stored *e = find(s, now_ms, target);

	if (e && e->is_mutable) {
		bool is_same = e->len == item->v.len &&
			       !memcmp(e->v, item->v.ptr, e->len);

		if (cas && *cas != e->seq)
			return DHT_CAS_MISMATCH;
		if (item->seq < e->seq || (item->seq == e->seq && !is_same))
			return DHT_SEQ_TOO_OLD;
	}
	if (!e) {
		if (!netquota_take(&s->quota, now_ms, from))
			return DHT_SERVER;
		e = new_entry(s, now_ms);
		*e = (struct stored){ .target = *target };
	}
	free(e->v);
	e->v = mem_dup(item->v.ptr, item->v.len);
	e->len = (uint16_t)item->v.len;
	e->is_mutable = item->is_mutable;
	memcpy(e->pk, item->pk, sizeof(e->pk));
	memcpy(e->sig, item->sig, sizeof(e->sig));
	e->seq = item->seq;
	e->put_ms = now_ms;
	if (e->puts < UINT16_MAX)
		e->puts++;
	return 0;
}

unsigned itemstore_count(const struct itemstore *s)
{
	return s->num;
}

void itemstore_sweep(struct itemstore *s, int64_t now_ms)
{
	for (unsigned i = s->num; i > 0; i--) {
		if (now_ms - s->all[i - 1].put_ms >= LIMIT_DHT_ITEM_MS)
			drop(s, &s->all[i - 1]);
	}
}
