/* tracker/status.h: trackers in words, for people and scripts. Any thread. */
#pragma once

#include "tracker/tiers.h"

#define STATUS_URL_MAX 300

/* Scheme, host and port of URL, printable. The rest may hold a passkey, and
 * this goes to logs. Returns OUT. */
const char *status_short_url(const char *url, char out[STATUS_URL_MAX]);

/* One line of JSON, whole even if not all trackers fit into SIZE bytes:
 * {"trackers":[{"url":..,"tier":0,"state":"working","error":"","seeders":1,
 * "leechers":2,"next_s":1700},..],"left_out":0}. state: new, announcing,
 * working, failing, refused. A key of an overlay has "owner":"IP:PORT rank N"
 * of the one that answered last. Counts and next_s are null when not known. */
void status_describe(const struct tiers *tiers, int64_t now_ms, char *out,
		     size_t size);
