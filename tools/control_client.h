/* tools/control_client.h: asks a running weirfs through its control socket
 * (fs/control.h). Main thread. */
#pragma once

#include <jansson.h>

#include "fs/opts.h"

/* Where the mount is to be found. */
struct control_place {
	struct opts opts;  /* state= names the folder of the socket */
	const char *mount; /* --mount MNT: ask the mount where it is; or NULL */
};

/*
 * Sends REQUEST (taken) and gives back the answer, owned by the caller. NULL:
 * nobody answers, or the answer is an error; it was said on stderr.
 */
json_t *control_ask(struct control_place *place, json_t *request);
