/* tools/transfer.h: one torrent in a session without a mount: what `get` and
 * `seed` share. Opens a session, adds the source, looks at it four times a
 * second, stops on a signal, saves. Main thread. */
#pragma once

#include "fs/session.h"

struct transfer {
	/* Filled by the command. */
	const char *source;   /* as session_add takes it */
	struct opts opts;     /* opts_init, opts_parse were done */
	const char *data_dir; /* where NAME lives or will live */
	struct session_config config;
	/* Called four times a second, and at once when it is complete: says
	 * whether to go on. It may set exit_code and is_done. */
	void (*look)(struct transfer *x, const struct torrent_stats *stats);
	void (*finish)(struct transfer *x, const struct torrent_stats *stats);
	bool is_quiet;

	/* Of transfer_run; the command may read them. */
	struct session *session;
	struct torrent *torrent; /* NULL until it was added */
	bool is_done;            /* stop, save, leave */
	int exit_code;           /* enum exit_code */
	void *private;
};

/* Returns the exit code. Errors are said on stderr. */
int transfer_run(struct transfer *x);

/* A line about now, over the last one if stderr is a terminal; else only when
 * FORCE, or once in ten seconds. */
void transfer_say(struct transfer *x, bool force, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void transfer_say_end(struct transfer *x); /* leaves the line standing */

/* "12.3 MiB"; returns OUT. */
const char *format_bytes(uint64_t bytes, char out[32]);
/* "1:02:03", "--" for what is not known. */
const char *format_eta(uint64_t bytes, uint64_t bps, char out[32]);
