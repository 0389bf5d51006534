/* fs/opts_keys.h: the table of options, for opts.c alone. */
#pragma once

#include "fs/opts.h"

enum opts_type {
	TYPE_PATH,
	TYPE_TEXT,
	TYPE_LIST,
	TYPE_URLS, /* a list, of trackers */
	TYPE_PORT,
	TYPE_BIND,
	TYPE_ADDR,
	TYPE_SIZE,
	TYPE_COUNT,
	TYPE_SECONDS,
	TYPE_FILL,
	TYPE_UID,
	TYPE_GID,
	TYPE_FLAG,
	TYPE_SWITCH,  /* 0 or 1, and must be said */
	TYPE_CHECKED, /* not active: any value */
	TYPE_SIZE_CHECKED,
};

enum opts_trait {
	TRAIT_INACTIVE = 1, /* accepted, its feature is not built yet */
	TRAIT_MOUNT = 2,    /* means something to weirfs alone */
	TRAIT_HIDDEN = 4,   /* not in --help */
};

struct opts_key {
	const char *name;
	enum opts_type type;
	unsigned traits;
	size_t at; /* offset in struct opts */
	const char *arg, *help;
};

/* NULL: no such key. */
const struct opts_key *opts_key_find(const char *name);
/* The key that somebody who wrote NAME may have meant; NULL: none is like it.
 */
const struct opts_key *opts_key_nearest(const char *name);
unsigned opts_key_index(const struct opts_key *key); /* below 64 */
/* What mount(8) and fstab pass, and what changes nothing here. */
bool opts_key_is_ignored(const char *name);
