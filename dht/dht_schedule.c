#include "dht/dht.h"

#define AGAIN_MS  (15 * 60 * 1000) /* and up to as much more */
#define FAILED_MS (60 * 1000)      /* doubled up to AGAIN_MS */
#define NOBODY_MS 5000
#define MORE_MS   (5 * 60 * 1000) /* between two at the least */

void dht_schedule_init(struct dht_schedule *s, int64_t now_ms)
{
	*s = (struct dht_schedule){ .next_ms = now_ms,
				    .last_ms = now_ms - MORE_MS };
}

bool dht_schedule_begin(struct dht_schedule *s, int64_t now_ms)
{
	if (s->is_running || now_ms < s->next_ms)
		return false;
	s->is_running = true;
	s->last_ms = now_ms;
	s->next_ms = INT64_MAX;
	return true;
}

void dht_schedule_end(struct dht_schedule *s, int64_t now_ms, uint32_t chance,
		      bool is_told)
{
	int64_t wait = AGAIN_MS;

	s->is_running = false;
	s->nobody = 0;
	if (is_told) {
		s->rounds++;
		s->failures = 0;
	} else {
		wait = (int64_t)FAILED_MS << s->failures;
		if (wait >= AGAIN_MS)
			wait = AGAIN_MS;
		else
			s->failures++;
	}
	s->next_ms = now_ms + wait + chance % wait;
}

void dht_schedule_nobody(struct dht_schedule *s, int64_t now_ms)
{
	s->is_running = false;
	s->nobody++;
	s->next_ms = now_ms + NOBODY_MS;
}

void dht_schedule_more(struct dht_schedule *s, int64_t now_ms)
{
	int64_t at = s->last_ms + MORE_MS;

	if (s->is_running)
		return;
	if (at < now_ms)
		at = now_ms;
	if (at < s->next_ms)
		s->next_ms = at;
}
