/* tracker/realm.h: making a closed overlay: its key, and certificates for its
 * trackers (overlay/kt_id.h). What weir-tracker does instead of running. Main
 * thread; blocks; says on stderr what went wrong. */
#pragma once

#include "tracker/server/options.h"

/* Writes a new key to PATH, which must not exist, for its owner alone. 0 or
 * -errno. */
int realm_new(const char *path);
/* Prints the file for the tracker whose key OPTIONS names, signed with the
 * realm's. 0 or -errno. */
int realm_certify(const struct tracker_options *options);
