/* "nodes" of a .torrent (BEP 5): nodes of the DHT, each a list of host and
 * port. They are hints, so what is wrong is left out and refuses nothing. Kept
 * as text, "host:port", since a host may be a name. */
#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/addr.h"
#include "engine/base/mem.h"
#include "engine/metainfo_parser.h"
#include "engine/safeurl.h"

#define HOST_MAX        253 /* RFC 1035, as text */
#define NODES_LOOKED_AT (16 * LIMIT_DHT_NODES)

/* Of names, and of nothing that a shell or a terminal makes much of. */
static bool is_name(const char *host)
{
	for (const char *c = host; *c; c++) {
		if (!isascii(*c) || (!isalnum((unsigned char)*c) && *c != '-' &&
				     *c != '.' && *c != '_'))
			return false;
	}
	return *host && *host != '-' && *host != '.';
}

/* NULL: nobody can be there. */
static char *text_of(struct span s, int64_t port)
{
	char host[HOST_MAX + 1], text[ADDR_STR_MAX];
	struct addr a;

	if (s.len > HOST_MAX || memchr(s.ptr, 0, s.len) || port < 1 ||
	    port > UINT16_MAX)
		return NULL;
	memcpy(host, s.ptr, s.len);
	host[s.len] = '\0';
	if (is_name(host) && addr_parse(host, (uint16_t)port, &a))
		return mem_printf("%s:%" PRId64, host, port);
	if (addr_parse(host, 0, &a) || a.port)
		return NULL;
	a.port = (uint16_t)port;
	return addr_is_martian(&a) ? NULL : mem_strdup(addr_str(&a, text));
}

static void add_node(struct metainfo *mi, struct bnode pair)
{
	struct bwalk w = bwalk_of(pair);
	struct bnode host, port;
	struct span key, s;
	int64_t number;

	if (!bnode_is_list(pair) || !bwalk_next(&w, &key, &host) ||
	    !bwalk_next(&w, &key, &port) || !bnode_str(host, &s) ||
	    !bnode_int(port, &number))
		return;
	/* One that is there already is fine. */
	(void)safeurl_add(&mi->nodes, &mi->num_nodes, LIMIT_DHT_NODES,
			  text_of(s, number));
}

void metainfo_nodes_parse(struct metainfo_parser *p)
{
	struct bwalk w = bwalk_of(bnode_get_list(p->root, "nodes"));
	unsigned looked_at = 0;
	struct bnode pair;
	struct span key;

	while (bwalk_next(&w, &key, &pair) && looked_at++ < NODES_LOOKED_AT)
		add_node(p->mi, pair);
}

void metainfo_nodes_write(const struct metainfo *mi, struct buf *out)
{
	if (!mi->num_nodes)
		return;
	benc_cstr(out, "nodes");
	benc_list(out);
	for (size_t i = 0; i < mi->num_nodes; i++) {
		char host[HOST_MAX + 1];
		uint16_t port = 0;

		if (addr_split(mi->nodes[i], host, sizeof(host), &port))
			continue; /* cannot be: it was made here */
		benc_list(out);
		benc_cstr(out, host);
		benc_int(out, port);
		benc_end(out);
	}
	benc_end(out);
}
