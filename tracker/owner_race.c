/*
 * The owner of rank 0 is asked first. The next one is asked when all before it
 * have failed, or when the last one has been silent for OWNER_SILENT_MS; the
 * silent ones are not given up, and their peers are welcome when they come. So
 * three owners have been asked after 1.3 s, and 0.65 s later the race is lost:
 * within 2 s it is known that a key's owners are gone.
 *
 * Owners hold equal copies, so one answer is enough. But one that lies could
 * hide a swarm by calling it small: after an answer with fewer than
 * OWNER_FEW_PEERS a second owner is asked as well, unless nobody wants peers.
 */
#include "tracker/owner_race.h"

#include <string.h>

#include "engine/base/check.h"

void owner_race_init(struct owner_race *r, unsigned num, bool wants_peers)
{
	memset(r, 0, sizeof(*r));
	r->num = num < OWNER_RACE_MAX ? num : OWNER_RACE_MAX;
	r->wants_peers = wants_peers;
}

static bool is_satisfied(const struct owner_race *r)
{
	if (!r->answered)
		return false;
	return !r->wants_peers || r->answered > 1 ||
	       r->peers >= OWNER_FEW_PEERS;
}

int owner_race_next(struct owner_race *r, int64_t now_ms, int64_t *wake_ms)
{
	unsigned in_flight = r->asked - r->failed - r->answered;

	*wake_ms = INT64_MAX;
	if (is_satisfied(r))
		return -1;
	if (r->asked == r->num) {
		/* Then it is lost. */
		if (in_flight && !r->answered &&
		    now_ms < r->last_ms + OWNER_SILENT_MS)
			*wake_ms = r->last_ms + OWNER_SILENT_MS;
		return -1;
	}
	if (in_flight && now_ms < r->last_ms + OWNER_SILENT_MS) {
		*wake_ms = r->last_ms + OWNER_SILENT_MS;
		return -1;
	}
	r->last_ms = now_ms;
	return (int)r->asked++;
}

void owner_race_on_answer(struct owner_race *r, size_t num_peers)
{
	CHECK(r->answered + r->failed < r->asked);
	r->answered++;
	if (num_peers > r->peers)
		r->peers = num_peers;
}

void owner_race_on_failure(struct owner_race *r)
{
	CHECK(r->answered + r->failed < r->asked);
	r->failed++;
}

bool owner_race_is_lost(const struct owner_race *r, int64_t now_ms)
{
	if (r->answered || r->asked < r->num)
		return false;
	return r->failed == r->num || now_ms >= r->last_ms + OWNER_SILENT_MS;
}
