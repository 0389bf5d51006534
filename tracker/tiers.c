/*
 * The ladder.
 *
 * A torrent's trackers stand in order of their tiers; within a tier they are
 * shuffled once, and the one that answers first in a round moves to the front
 * of its tier (BEP 12).
 *
 * Announcing goes in rounds. A round asks from the top: the next tracker is
 * asked when the one before it has failed, or has been silent for PATIENCE
 * while at most RACERS are asked at a time, since a dead tracker must not cost
 * a reader its first byte. Until any tracker has answered at all, patience is
 * short and racers are many: of twenty trackers in a torrent of some age, all
 * but the last may be silent. Unless it is our own queue of requests that is
 * long: a thousand torrents at one start must not become four thousand
 * announces. Slow ones are not given up: their peers are welcome when they
 * come. A private torrent is at one tracker at a time (BEP 27) and does not
 * race.
 *
 * The round is over with the first answer that has peers, or when everybody
 * was asked. An answer without peers ends it only for a seed, or in private:
 * the swarm may live elsewhere. The next round is due at the interval of the
 * active tracker, the topmost one that works, +- 10 %, never before its min
 * interval; if none works, when the first back-off ends.
 *
 * Back-off: 5 s, doubled with every failure, to 30 min, +- 25 %; what the
 * tracker asks for with "retry in" instead, if it does.
 *
 * A key of an overlay has several names, for clients that know no ranks, and
 * may have them for two protocols. To us they are one tracker: while one of
 * them is being asked, or one further up works, the others are not asked.
 *
 * When peers are short the next round is due as soon as any tracker may be
 * asked; with the active one inside its min interval that is the next lower
 * one. One that has just become a seed tells the active tracker at once.
 *
 * A round that begins has always somebody to ask (schedule() sees to it), so
 * the caller cannot spin.
 */
#include "tracker/tiers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/mem.h"
#include "tracker/key_url.h"

#define RACERS                 4
#define RACERS_FIRST           16
#define PATIENCE_FIRST_MS      2000
#define PATIENCE_MS            10000
#define INTERVAL_S             1800 /* not told otherwise */
#define MIN_INTERVAL_S         120  /* not told otherwise */
#define BACKOFF_MS             5000
#define BACKOFF_MAX_MS         1800000
#define BACKOFF_DOUBLINGS      9 /* 5 s * 2^9 > 30 min */
#define JITTER_PERCENT         10
#define BACKOFF_JITTER_PERCENT 25

void tiers_init(struct tiers *t, uint64_t seed, bool is_private,
		bool is_complete)
{
	memset(t, 0, sizeof(*t));
	t->random.state = seed;
	t->is_private = is_private;
	t->is_complete = is_complete;
}

void tiers_release(struct tiers *t)
{
	for (size_t i = 0; i < t->num; i++) {
		free(t->ladder[i]->url);
		free(t->ladder[i]->kin);
		free(t->ladder[i]);
	}
	free(t->ladder);
	memset(t, 0, sizeof(*t));
}

/* --- order --- */

static bool is_tracker_url(const char *url)
{
	static const char *const schemes[] = { "http://", "https://",
					       "udp://" };

	if (strlen(url) > LIMIT_URL_BYTES)
		return false;
	for (const char *s = url; *s; s++) {
		if ((uint8_t)*s <= ' ' || *s == 0x7f)
			return false;
	}
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (!strncasecmp(url, schemes[i], strlen(schemes[i])))
			return true;
	}
	return false;
}

static bool has_url(const struct tiers *t, const char *url)
{
	for (size_t i = 0; i < t->num; i++) {
		if (!strcmp(t->ladder[i]->url, url))
			return true;
	}
	return false;
}

/* Behind its tier, which ends before the first entry of a higher number. */
static void insert(struct tiers *t, struct tier_entry *e)
{
	size_t at = t->num;

	t->ladder = mem_realloc_array(t->ladder, t->num + 1,
				      sizeof(struct tier_entry *));
	while (at > 0 && t->ladder[at - 1]->tier > e->tier) {
		t->ladder[at] = t->ladder[at - 1];
		at--;
	}
	t->ladder[at] = e;
	t->num++;
}

/* Fisher-Yates over the new ones of a tier; known ones keep their places. */
static void shuffle(struct tiers *t, size_t from, size_t end)
{
	for (size_t i = end - from; i > 1; i--) {
		size_t k = prng_below(&t->random, (uint32_t)i);
		struct tier_entry *e = t->ladder[from + i - 1];

		t->ladder[from + i - 1] = t->ladder[from + k];
		t->ladder[from + k] = e;
	}
}

static bool is_untouched(const struct tier_entry *e)
{
	return e->state == TIER_NEW && !e->is_busy && !e->is_asked;
}

static void shuffle_new(struct tiers *t)
{
	for (size_t i = 0, end; i < t->num; i = end) {
		end = i + 1;
		if (!is_untouched(t->ladder[i]))
			continue;
		while (end < t->num && is_untouched(t->ladder[end]) &&
		       t->ladder[end]->tier == t->ladder[i]->tier)
			end++;
		shuffle(t, i, end);
	}
}

static void move_to_front(struct tiers *t, struct tier_entry *e)
{
	size_t at = 0;

	while (t->ladder[at] != e)
		at++;
	for (; at > 0 && t->ladder[at - 1]->tier == e->tier; at--)
		t->ladder[at] = t->ladder[at - 1];
	t->ladder[at] = e;
}

struct tier_entry *tiers_active(const struct tiers *t)
{
	for (size_t i = 0; i < t->num; i++) {
		if (t->ladder[i]->state == TIER_WORKING)
			return t->ladder[i];
	}
	return NULL;
}

/* --- rounds --- */

/* Another name of the same key is being asked, or one further up works. */
static bool is_stood_for(const struct tiers *t, const struct tier_entry *e)
{
	bool is_above = true;

	for (size_t i = 0; e->kin && i < t->num; i++) {
		const struct tier_entry *other = t->ladder[i];

		if (other == e)
			is_above = false;
		else if (other->kin && !strcmp(other->kin, e->kin) &&
			 (other->is_busy ||
			  (is_above && other->state == TIER_WORKING)))
			return true;
	}
	return false;
}

/* The earliest time at which anybody may be asked. */
static int64_t earliest(const struct tiers *t)
{
	const struct tier_entry *active = tiers_active(t);
	int64_t ms = INT64_MAX;

	if (t->is_private && active)
		return active->is_busy ? INT64_MAX : active->not_before_ms;
	for (size_t i = 0; i < t->num; i++) {
		const struct tier_entry *e = t->ladder[i];

		if (!e->is_busy && e->state != TIER_REFUSED &&
		    e->not_before_ms < ms && !is_stood_for(t, e))
			ms = e->not_before_ms;
	}
	return ms;
}

/* Sets the time of the next round, for which somebody can then be asked. One
 * that is busy counts again once it has answered or failed. */
static void schedule(struct tiers *t)
{
	const struct tier_entry *active = tiers_active(t);

	if (!active)
		t->due_ms = earliest(t);
	else if (active->is_busy)
		t->due_ms = INT64_MAX;
	else if (active->owes_completed)
		t->due_ms = active->not_before_ms;
	else if (is_stood_for(t, active))
		t->due_ms = INT64_MAX;
	else
		t->due_ms = active->next_ms;
	if (t->wants_more && earliest(t) < t->due_ms)
		t->due_ms = earliest(t);
}

static void begin_round(struct tiers *t)
{
	t->in_round = true;
	t->is_satisfied = t->is_answered = t->wants_more = false;
	for (size_t i = 0; i < t->num; i++)
		t->ladder[i]->is_asked = false;
}

static void end_round(struct tiers *t)
{
	t->in_round = false;
	t->rounds++;
	schedule(t);
}

static struct tier_entry *candidate(const struct tiers *t, int64_t now_ms)
{
	struct tier_entry *active = tiers_active(t);

	if (active && active->owes_completed && !active->is_busy &&
	    !active->is_asked && active->not_before_ms <= now_ms)
		return active;
	for (size_t i = 0; i < t->num; i++) {
		struct tier_entry *e = t->ladder[i];

		if (t->is_private && active && e != active)
			continue;
		if (!e->is_asked && !e->is_busy && e->state != TIER_REFUSED &&
		    e->not_before_ms <= now_ms && !is_stood_for(t, e))
			return e;
	}
	return NULL;
}

/* How many of this round have not answered yet. */
static unsigned racers(const struct tiers *t)
{
	unsigned n = 0;

	for (size_t i = 0; i < t->num; i++)
		n += t->ladder[i]->is_asked && t->ladder[i]->is_busy;
	return n;
}

/* When the next candidate may be asked beside those that are silent. */
static int64_t may_send_ms(const struct tiers *t)
{
	bool is_calm = t->was_answered || t->is_patient;
	unsigned n = racers(t);

	if (!n)
		return 0;
	if (t->is_private || n >= (is_calm ? RACERS : RACERS_FIRST))
		return INT64_MAX;
	return t->last_sent_ms + (is_calm ? PATIENCE_MS : PATIENCE_FIRST_MS);
}

struct tier_entry *tiers_next(struct tiers *t, int64_t now_ms, int64_t *wake_ms)
{
	struct tier_entry *e;

	if (!t->in_round) {
		*wake_ms = t->due_ms;
		if (now_ms < t->due_ms)
			return NULL;
		begin_round(t);
	}
	e = t->is_satisfied ? NULL : candidate(t, now_ms);
	if (e) {
		*wake_ms = may_send_ms(t);
		return now_ms >= *wake_ms ? e : NULL;
	}
	if (!t->is_satisfied && racers(t)) {
		*wake_ms = INT64_MAX;
		return NULL;
	}
	end_round(t);
	*wake_ms = t->due_ms;
	return NULL;
}

enum announce_event tiers_event(const struct tier_entry *e)
{
	if (!e->is_started)
		return ANNOUNCE_STARTED;
	return e->owes_completed ? ANNOUNCE_COMPLETED : ANNOUNCE_NONE;
}

/* --- news --- */

static int64_t jitter(struct tiers *t, int64_t ms, int percent)
{
	int64_t span = ms / 100 * percent;

	return ms - span +
	       (int64_t)(prng_u64(&t->random) % (uint64_t)(2 * span + 1));
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
	return v < low ? low : v > high ? high : v;
}

void tiers_on_sent(struct tiers *t, struct tier_entry *e, int64_t now_ms)
{
	e->is_busy = e->is_asked = true;
	e->sent_ms = t->last_sent_ms = now_ms;
	e->sent_event = tiers_event(e);
}

static void set_times(struct tiers *t, struct tier_entry *e, int64_t now_ms,
		      int64_t interval_s, int64_t min_interval_s)
{
	int64_t interval_ms, min_ms;

	interval_ms = 1000 * clamp(interval_s ? interval_s : INTERVAL_S,
				   LIMIT_TRACKER_INTERVAL_MIN_S,
				   LIMIT_TRACKER_INTERVAL_S);
	if (min_interval_s > 0)
		min_ms = 1000 * clamp(min_interval_s,
				      LIMIT_TRACKER_INTERVAL_MIN_S,
				      LIMIT_TRACKER_INTERVAL_S);
	else
		min_ms = clamp(MIN_INTERVAL_S * 1000, 0, interval_ms);
	interval_ms = jitter(t, interval_ms, JITTER_PERCENT);
	e->not_before_ms = now_ms + min_ms;
	e->next_ms = now_ms + (interval_ms < min_ms ? min_ms : interval_ms);
}

void tiers_on_answer(struct tiers *t, struct tier_entry *e, int64_t now_ms,
		     int64_t interval_s, int64_t min_interval_s,
		     size_t num_peers)
{
	e->is_busy = false;
	e->state = TIER_WORKING;
	e->failures = 0;
	e->is_started = true;
	if (e->sent_event == ANNOUNCE_COMPLETED)
		e->owes_completed = false;
	set_times(t, e, now_ms, interval_s, min_interval_s);
	if (e->owes_completed) /* became a seed while this one was out */
		e->not_before_ms = now_ms;
	t->was_answered = true;
	if (!t->in_round || !e->is_asked) {
		schedule(t);
		return;
	}
	if (!t->is_answered)
		move_to_front(t, e);
	t->is_answered = true;
	if (num_peers || t->is_complete || t->is_private)
		t->is_satisfied = true;
}

void tiers_on_failure(struct tiers *t, struct tier_entry *e, int64_t now_ms,
		      int64_t retry_s)
{
	unsigned n = e->failures < BACKOFF_DOUBLINGS ? e->failures
						     : BACKOFF_DOUBLINGS;

	e->is_busy = false;
	e->failures++;
	e->state = retry_s < 0 ? TIER_REFUSED : TIER_FAILING;
	if (retry_s > 0)
		e->not_before_ms = now_ms + retry_s * 1000;
	else
		e->not_before_ms =
			now_ms + jitter(t,
					clamp((int64_t)BACKOFF_MS << n, 0,
					      BACKOFF_MAX_MS),
					BACKOFF_JITTER_PERCENT);
	if (!t->in_round)
		schedule(t);
}

void tiers_complete(struct tiers *t, int64_t now_ms)
{
	struct tier_entry *active = tiers_active(t);

	t->is_complete = true;
	/* Those that are just hearing of us hear of a leecher. */
	for (size_t i = 0; i < t->num && !active; i++)
		t->ladder[i]->owes_completed = t->ladder[i]->is_busy;
	if (!active)
		return;
	active->owes_completed = true;
	if (active->is_busy)
		return; /* it is seen to when that one is answered */
	active->not_before_ms = now_ms;
	active->is_asked = false;
	if (!t->in_round)
		schedule(t);
}

void tiers_more(struct tiers *t)
{
	if (t->in_round)
		return;
	t->wants_more = true;
	schedule(t);
}

void tiers_add(struct tiers *t, const char *const *urls,
	       const unsigned *tier_of, size_t n)
{
	char kin[KEY_KIN_BYTES];
	size_t had = t->num;
	struct key_url key;

	for (size_t i = 0; i < n && t->num < LIMIT_TRACKERS; i++) {
		struct tier_entry *e;

		if (!is_tracker_url(urls[i]) || has_url(t, urls[i]))
			continue;
		e = mem_alloc(sizeof(*e));
		e->url = mem_strdup(urls[i]);
		if (key_url_parse(urls[i], &key))
			e->kin = mem_strdup(key_url_kin(&key, kin));
		e->tier = tier_of[i];
		e->seeders = e->leechers = -1;
		insert(t, e);
	}
	if (t->num == had)
		return;
	shuffle_new(t);
	/* New trackers may know a swarm that the old ones do not. */
	if (!t->in_round && t->rounds && !t->is_complete)
		tiers_more(t);
}
