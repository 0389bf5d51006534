/*
 * Getting and putting items of BEP 44. What comes is believed if its hash or
 * its signature says so; of a mutable one the highest number counts, and each
 * that is higher than all before is told at once.
 */
#include <stdlib.h>

#include "dht/dht_private.h"
#include "dht/item.h"
#include "engine/base/mem.h"

void dht_items_on_answer(struct dht_op *op, const struct dht_msg *m)
{
	struct item item = { .v = m->v,
			     .is_mutable = op->get.is_mutable,
			     .seq = m->seq,
			     .salt = op->get.salt };
	uint8_t target[20];

	if (!m->v.len || item_check_sizes(&item))
		return;
	if (item.is_mutable) {
		if (!m->sig.ptr || !m->has_seq ||
		    (op->has_seq && m->seq <= op->seq))
			return;
		memcpy(item.pk, op->get.pk, sizeof(item.pk));
		memcpy(item.sig, m->sig.ptr, sizeof(item.sig));
	} else if (op->has_seq) {
		return;
	}
	item_target(&item, target);
	if (memcmp(target, op->target.b, sizeof(target)) || !item_verify(&item))
		return;
	op->has_seq = true;
	op->seq = item.seq;
	op->get.on_value(op->get.arg, &item); /* may cancel it */
}

struct dht_op *dht_get_item(struct dht *d, const struct dht_get_item *spec)
{
	struct kad_id target = spec->target;
	struct dht_op *op;

	if (spec->salt.len > LIMIT_DHT_SALT_BYTES)
		return NULL;
	if (spec->is_mutable) {
		struct item item = { .is_mutable = true, .salt = spec->salt };

		memcpy(item.pk, spec->pk, sizeof(item.pk));
		item_target(&item, target.b);
	}
	op = dht_op_new(d, DHT_OP_GET, &target);
	if (!op)
		return NULL;
	op->get = *spec;
	if (spec->salt.len)
		memcpy(op->salt, spec->salt.ptr, spec->salt.len);
	op->get.salt.ptr = op->salt;
	op->on_done = spec->on_done;
	op->arg = spec->arg;
	dht_op_start(op);
	return op;
}

struct dht_op *dht_put_item(struct dht *d, const struct dht_put_item *spec)
{
	const struct item *v = &spec->value;
	struct kad_id target;
	struct dht_op *op;

	if (!v->v.len || item_check_sizes(v))
		return NULL;
	item_target(v, target.b);
	op = dht_op_new(d, DHT_OP_PUT, &target);
	if (!op)
		return NULL;
	op->put = *spec;
	op->v = mem_dup(v->v.ptr, v->v.len);
	op->put.value.v.ptr = op->v;
	if (v->salt.len)
		memcpy(op->salt, v->salt.ptr, v->salt.len);
	op->put.value.salt.ptr = op->salt;
	op->on_done = spec->on_done;
	op->arg = spec->arg;
	dht_op_start(op);
	return op;
}
