/* tracker/key_url.h: announce URLs whose host is a key of an overlay of
 * trackers and not a machine (overlay/names.h). Plain values, no I/O. */
#pragma once

#include "engine/base/buf.h"
#include "tracker/overlay/names.h"

#define KEY_TEXT_BYTES 254
#define KEY_KIN_BYTES  (2 * KAD_ID_BYTES + 1 + KT_DOMAIN_BYTES)

struct key_url {
	char domain[KT_DOMAIN_BYTES]; /* lower case */
	struct kt_name what;          /* KT_NAME_KEY or KT_NAME_NODE */
	char key[KEY_TEXT_BYTES];     /* lower case, without its rank */
};

/* False: it names a machine, as URLs do. */
bool key_url_parse(const char *url, struct key_url *out);

/* Equal for URLs that lead to the same owners: key and domain, whatever rank,
 * scheme, port and path. Returns OUT. */
const char *key_url_kin(const struct key_url *k, char out[KEY_KIN_BYTES]);

/* Appends what is told to a UDP tracker of this URL, which hears no host name
 * (BEP 41): path and query, "/announce" if there is none, and kt=KEY; with its
 * zero byte. PATH may be NULL. */
void key_url_path(const struct key_url *k, const char *path, struct buf *out);
