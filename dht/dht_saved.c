/*
 * What outlives the process: { id, id6, nodes, nodes6 }, in the compact forms
 * of BEP 5 and 32; and the node in numbers.
 */
#include <errno.h>
#include <stdio.h>

#include "dht/dht_private.h"
#include "engine/base/mem.h"

static void save_family(const struct dht *d, unsigned i, struct buf *out)
{
	uint8_t bytes[KAD_SAVED_BYTES];
	size_t len =
		d->family[i].is_on ? kad_save(&d->family[i].kad, bytes) : 0;

	benc_cstr(out, i ? "nodes6" : "nodes");
	benc_str(out, bytes, len);
}

void dht_save(const struct dht *d, struct buf *out)
{
	benc_dict(out);
	for (unsigned i = 0; i < 2; i++) {
		if (!d->family[i].is_on)
			continue;
		benc_cstr(out, i ? "id6" : "id");
		benc_str(out, d->family[i].kad.o.self.b, KAD_ID_BYTES);
	}
	save_family(d, 0, out);
	save_family(d, 1, out);
	benc_end(out);
}

static void load_family(struct dht *d, unsigned i, struct bnode top)
{
	struct dht_family *f = &d->family[i];
	struct span s;

	if (!f->is_on)
		return;
	if (!f->is_id_given && bnode_get_str(top, i ? "id6" : "id", &s) &&
	    s.len == KAD_ID_BYTES) {
		struct kad_id id = dht_id_of(s);

		kad_set_self(&f->kad, &id);
	}
	if (bnode_get_str(top, i ? "nodes6" : "nodes", &s))
		kad_load(&f->kad, d->now_ms, s);
}

int dht_load(struct dht *d, const uint8_t *bytes, size_t len)
{
	static const struct bencode_limits limits = { .depth = 2,
						      .tokens = 16 };
	struct bnode top;
	size_t used;

	if (bencode_parse(bytes, len, &limits, &top, &used, NULL) ||
	    !bnode_is_dict(top))
		return -EBADMSG;
	d->now_ms = d->io.now(d->io.arg);
	load_family(d, 0, top);
	load_family(d, 1, top);
	/* They come first; names are asked if they do not answer. */
	if (d->family[0].kad.table.num_candidates ||
	    d->family[1].kad.table.num_candidates)
		d->bootstrap_ms = d->now_ms + 3000;
	dht_wake(d);
	return 0;
}
