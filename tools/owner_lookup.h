/* tools/owner_lookup.h: who owns a key in an overlay of trackers, and whether
 * they answer: `weirctl lookup --tracker`. */
#pragma once

#include "fs/opts.h"

struct owner_lookup_spec {
	/* A key, a host, an announce URL, a magnet link or a .torrent that has
	 * such a URL. */
	const char *what;
	const char *domain; /* of a bare key; NULL: not given */
	bool is_json;
};

/* OPTS: overlay=, bind=, port=; finished here. Returns an exit code. */
int owner_lookup_run(struct opts *opts, const struct owner_lookup_spec *spec);
