/* tools/progress.h: a line about work that has an end, and ^C. For commands
 * that run without a loop; one at a time. Main thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *verb; /* "hashing" */
	bool is_quiet;

	/* private */
	bool is_tty, has_line;
	int64_t began_ms, said_ms;
};

/* From here to progress_end ^C and SIGTERM make progress_show false; a second
 * one ends the program. */
void progress_start(struct progress *p, const char *verb, bool is_quiet);

/* Says how far it is: over the last line on a terminal, else every ten
 * seconds. TOTAL 0: not known yet. False: stop. */
bool progress_show(struct progress *p, uint64_t done, uint64_t total);

/* Wipes the line. */
void progress_end(struct progress *p);
