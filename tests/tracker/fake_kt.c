#include "tests/tracker/fake_kt.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

struct kt_lookup {
	struct list node;
	struct kt *kt;
	void (*fn)(void *arg, const struct kt_found *found);
	void *arg;
};

void fake_kt_init(struct kt *k)
{
	memset(k, 0, sizeof(*k));
	list_init(&k->pending);
	k->epoch = 7;
}

static void fill(struct kt_owner *o, const char *ip, uint16_t port, uint8_t id)
{
	memset(o, 0, sizeof(*o));
	o->id.b[0] = id;
	CHECK(!addr_parse(ip, port, &o->addr));
	o->tr.http_port = o->tr.udp_port = port;
}

void fake_kt_add(struct kt *k, const char *ip, uint16_t port)
{
	CHECK(k->num < FAKE_KT_OWNERS);
	fill(&k->owners[k->num], ip, port, (uint8_t)(k->num + 1));
	k->num++;
}

void fake_kt_member(struct kt *k, const char *ip, uint16_t port, uint8_t id)
{
	CHECK(k->num_members < FAKE_KT_OWNERS);
	fill(&k->members[k->num_members++], ip, port, id);
}

void fake_kt_answer(struct kt *k)
{
	struct kt_found found = { .owners = k->owners,
				  .num = k->num,
				  .is_stale = k->is_stale };
	struct list *node;

	while ((node = list_pop_front(&k->pending))) {
		struct kt_lookup *l = list_entry(node, struct kt_lookup, node);

		k->answered++;
		l->fn(l->arg, &found);
		free(l);
	}
}

struct kt_lookup *kt_find(struct kt *k, const struct kad_id *key,
			  void (*fn)(void *arg, const struct kt_found *found),
			  void *arg)
{
	struct kt_lookup *l;

	if (k->is_full)
		return NULL;
	l = mem_alloc(sizeof(*l));
	l->kt = k;
	l->fn = fn;
	l->arg = arg;
	k->finds++;
	k->asked = *key;
	list_push_back(&k->pending, &l->node);
	return l;
}

void kt_find_cancel(struct kt_lookup *l)
{
	if (!l)
		return;
	l->kt->cancels++;
	list_remove(&l->node);
	free(l);
}

void kt_find_forget(struct kt *k, const struct kad_id *key)
{
	k->forgets++;
}

unsigned kt_owners(struct kt *k, const struct kad_id *key,
		   struct kt_owner out[KT_REPLICAS])
{
	memcpy(out, k->table, k->num_table * sizeof(*out));
	return k->num_table;
}

unsigned kt_members(struct kt *k, struct kt_owner *out, unsigned max)
{
	unsigned n = k->num_members < max ? k->num_members : max;

	memcpy(out, k->members, n * sizeof(*out));
	return n;
}

uint32_t kt_epoch(const struct kt *k)
{
	return k->epoch;
}
