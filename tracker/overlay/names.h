/* tracker/overlay/names.h: host names that mean a place in the overlay, as
 * Kenosis had them. DOMAIN is the overlay's, "bt.example.org"; cases are equal
 * everywhere, for resolvers change them at random.
 *
 *   KEY.DOMAIN          sha1(lower case KEY); KEY may hold dots
 *   KEY--rN.DOMAIN      the same, its N-th closest owner alone (N 0..9)
 *   HEX.node.DOMAIN     the id itself, zeros before it
 *   root.DOMAIN         any live tracker
 *
 * No state. Any thread. */
#pragma once

#include "dht/kad_id.h"

enum kt_name_kind {
	KT_NAME_FOREIGN, /* not below DOMAIN */
	KT_NAME_APEX,    /* DOMAIN itself */
	KT_NAME_ROOT,
	KT_NAME_KEY,
	KT_NAME_NODE,
	KT_NAME_BAD, /* below DOMAIN, and means nothing */
};

#define KT_DOMAIN_BYTES 200 /* with its zero byte */
#define KT_RANK_ALL     (-1)
#define KT_REALM_BYTES  8

struct kt_name {
	enum kt_name_kind kind;
	struct kad_id id; /* KEY, NODE */
	int rank;         /* KEY: KT_RANK_ALL or 0..9 */
};

void kt_name_parse(const char *host, const char *domain, struct kt_name *out);
/* sha1 of the lower case of KEY. */
void kt_key_id(const char *key, size_t len, struct kad_id *out);
/* Where a swarm lives if its announces name no KEY: at sha1 of the infohash in
 * lower case hex. */
void kt_infohash_id(const uint8_t infohash[20], struct kad_id *out);
/* The domain of a host that looks like one of an overlay, KEY.bt.REST: writes
 * "bt.rest" in lower case. False: it does not. */
bool kt_domain_of(const char *host, char out[KT_DOMAIN_BYTES]);
/* The first bytes of sha1(lower case DOMAIN). */
void kt_realm(const char *domain, uint8_t out[KT_REALM_BYTES]);
