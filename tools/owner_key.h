/* tools/owner_key.h: what somebody typed, as a key of an overlay. */
#pragma once

#include "tools/facts.h"
#include "tracker/key_url.h"

/* WHAT: an announce URL or a host of the form KEY.bt.REST; a magnet link or a
 * .torrent with such a tracker; or, with DOMAIN, a bare key. Returns 0, or
 * -errno with a sentence in WHY. Reads a file. */
int owner_key_find(const char *what, const char *domain, struct key_url *out,
		   char why[FACTS_WHY_SIZE]);
