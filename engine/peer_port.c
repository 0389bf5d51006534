/* PORT (BEP 5): a peer tells the UDP port of its DHT node, once, after both
 * sides said in their handshakes that they have one. What becomes of it is for
 * the sources to know. Peers of a private torrent hear and tell nothing
 * (BEP 27). */
#include "engine/engine_private.h"

bool peer_has_dht(const struct peer *p)
{
	return p->engine->dht_port && p->torrent &&
	       !p->torrent->face.is_private;
}

void peer_add_port(struct peer *p, struct buf *b)
{
	if (peer_has_dht(p) && p->theirs.has_dht)
		wire_add_port(b, p->engine->dht_port);
}

void peer_on_port(struct peer *p, uint16_t port)
{
	struct addr node = p->addr;

	if (!port || p->has_told_port || !peer_has_dht(p))
		return;
	p->has_told_port = true;
	node.port = port;
	for (size_t i = 0; i < p->engine->num_sources; i++) {
		struct peersource *s = p->engine->sources[i];

		if (s->ops->hint_node)
			s->ops->hint_node(s, &node);
	}
}

void engine_set_dht_port(struct engine *e, uint16_t port)
{
	e->dht_port = port;
}
