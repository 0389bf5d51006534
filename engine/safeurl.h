/* engine/safeurl.h: tracker and web seed URLs from foreign hands, made fit to
 * be logged, stored and given to an HTTP client. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum safeurl_kind {
	SAFEURL_TRACKER, /* http, https, udp; ws and wss, which only browsers
			  * can ask: kept as a fact of the torrent */
	SAFEURL_WEBSEED, /* http, https */
};

/*
 * White space around the URL is dropped; blanks, quotes and other bytes that
 * no URL holds become %XX; the scheme is in lower case. The caller owns the
 * result. NULL: another scheme, no host, control characters inside, or longer
 * than LIMIT_URL_BYTES.
 */
char *safeurl_clean(const void *bytes, size_t len, enum safeurl_kind kind);

/* Of a clean one: would a tracker client ask it? */
bool safeurl_is_of_use(const char *url);

/* Appends URL to the list *urls of *num unless it is there already or the list
 * holds MAX. Takes URL, which may be NULL; true when it was appended. */
bool safeurl_add(char ***urls, size_t *num, size_t max, char *url);
