/* tracker/owner_race.h: which of a key's owners is asked next, and when. The
 * policy stands on top of owner_race.c. Takes time as an argument; no I/O. One
 * thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWNER_RACE_MAX  3   /* owners asked of one lookup */
#define OWNER_SILENT_MS 650 /* then the next one is asked beside */
#define OWNER_FEW_PEERS 20  /* fewer: a second owner is asked as well */

struct owner_race {
	unsigned num, asked, failed, answered;
	bool wants_peers; /* else one answer is enough */
	size_t peers;     /* the most that one of them told */
	int64_t last_ms;  /* when the last one was asked */
};

void owner_race_init(struct owner_race *r, unsigned num, bool wants_peers);
/* The rank to ask now: ask again at once, there may be another. -1: none
 * before *wake_ms (INT64_MAX: none without news). */
int owner_race_next(struct owner_race *r, int64_t now_ms, int64_t *wake_ms);
void owner_race_on_answer(struct owner_race *r, size_t num_peers);
void owner_race_on_failure(struct owner_race *r); /* of one that was asked */
/* Nobody answered, and nobody is left to ask: all have failed, or are silent
 * for so long that others must be found. */
bool owner_race_is_lost(const struct owner_race *r, int64_t now_ms);
