/* fs/follow.h: mutable torrents (BEP 46). A link urn:btpk:KEY names a public
 * key, not a torrent: who has the private one says in an item of the DHT which
 * torrent it is now. Whoever follows the link gets each new version into the
 * library, with the files that did not change taken from the version before.
 *
 * What is followed is remembered. The version before stays, with its data,
 * until a person removes it; removing the newest one ends the following.
 * Loop thread only, but for open and close. */
#pragma once

#include "engine/base/limits.h"
#include "fs/session.h"

#define FOLLOW_LINK_MAX 256

struct follow_link {
	uint8_t key[32];
	uint8_t salt[LIMIT_DHT_SALT_BYTES];
	size_t salt_len;
};

/* "urn:btpk:KEY", "magnet:?xs=urn:btpk:KEY[&s=SALT]", both in hex. False: no
 * such link. Any thread. */
bool follow_parse(const char *text, struct follow_link *out);
const char *follow_format(const struct follow_link *link,
			  char out[FOLLOW_LINK_MAX]);

struct follows;

/* Main thread, when the engine's torrents are loaded. */
struct follows *follows_open(struct session *s);
void follows_stop(struct follows *f); /* who waits hears -ESHUTDOWN */
void follows_close(struct follows *f);

/* As session_add. Looks now, also if LINK is followed already. */
void follows_add(struct follows *f, const struct follow_link *link,
		 session_add_fn *done, void *arg);
/* The link that brought torrent ID, or NULL. Borrowed until the next call. */
const struct follow_link *follows_of(struct follows *f, int64_t id,
				     int64_t *seq);
