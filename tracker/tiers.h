/* tracker/tiers.h: which tracker of a torrent is asked next, and when (BEP 12
 * and our own policy, told on top of tiers.c). Takes time and a seed as
 * arguments; no I/O. One thread at a time. */
#pragma once

#include "engine/base/random.h"
#include "tracker/request.h"

enum tier_state {
	TIER_NEW,     /* has not answered yet */
	TIER_WORKING, /* its last answer was good */
	TIER_FAILING, /* backs off */
	TIER_REFUSED, /* never to be asked again (BEP 31, or no such URL) */
};

#define TIER_KNOWERS_MAX 3

struct tier_entry { /* one tracker; to be read by all, written by tiers.c */
	char *url;  /* owned */
	char *kin;  /* owned; equal for names of one key; NULL: a machine */
	unsigned tier;
	enum tier_state state;
	bool is_busy;        /* an announce is out */
	bool is_asked;       /* in this round */
	bool is_started;     /* it knows us: owed a "stopped" at the end */
	bool owes_completed; /* we owe it a "completed" */
	enum announce_event sent_event;
	unsigned failures;     /* in a row */
	int64_t not_before_ms; /* min interval or back-off */
	int64_t next_ms;       /* regular announce, if working */
	int64_t sent_ms;
	/* For tracker.c, untouched here. */
	struct peersource_job *job;
	struct call *call;         /* NULL: none is under way */
	int64_t seeders, leechers; /* -1: not known */
	char error[LIMIT_TRACKER_TEXT_BYTES];
	/* A key's: who answered last, and which owners know us. */
	char owner[ADDR_STR_MAX + 16];
	struct addr knowers[TIER_KNOWERS_MAX];
	unsigned num_knowers;
	uint8_t id[LIMIT_TRACKER_ID_BYTES]; /* "tracker id" */
	size_t id_len;
};

struct tiers {
	struct tier_entry **ladder; /* owned; in order of asking */
	size_t num;
	struct prng random;
	bool is_private, is_complete;
	bool is_patient; /* our own queue is full: silence means nothing */
	bool in_round;
	bool is_satisfied; /* nobody else needs to be asked this round */
	bool is_answered;  /* somebody answered in this round */
	bool was_answered; /* or ever */
	bool wants_more;
	unsigned rounds;      /* ended so far */
	int64_t due_ms;       /* next round; INT64_MAX: none */
	int64_t last_sent_ms; /* in this round */
};

/* The first round is due at once. */
void tiers_init(struct tiers *t, uint64_t seed, bool is_private,
		bool is_complete);
void tiers_release(struct tiers *t); /* entries' calls are the caller's */

/* Adds the URLs that are not there yet. TIER_OF never falls. What is no
 * tracker URL, or past LIMIT_TRACKERS, is left out. */
void tiers_add(struct tiers *t, const char *const *urls,
	       const unsigned *tier_of, size_t n);

/*
 * Whom to announce to now; the caller does it and calls tiers_on_sent, then
 * asks again. NULL: nobody before *wake_ms (INT64_MAX: until there is news).
 */
struct tier_entry *tiers_next(struct tiers *t, int64_t now_ms,
			      int64_t *wake_ms);
enum announce_event tiers_event(const struct tier_entry *e); /* to send now */

/* News. Intervals in seconds, 0: not said; retry_s as in announce_answer. */
void tiers_on_sent(struct tiers *t, struct tier_entry *e, int64_t now_ms);
void tiers_on_answer(struct tiers *t, struct tier_entry *e, int64_t now_ms,
		     int64_t interval_s, int64_t min_interval_s,
		     size_t num_peers);
void tiers_on_failure(struct tiers *t, struct tier_entry *e, int64_t now_ms,
		      int64_t retry_s);

void tiers_complete(struct tiers *t, int64_t now_ms); /* became a seed */
void tiers_more(struct tiers *t);                     /* peers are short */

/* The tracker that regular announces go to, or NULL. */
struct tier_entry *tiers_active(const struct tiers *t);
