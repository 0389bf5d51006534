/* Goal: the ladder asks the right tracker at the right time, in virtual time:
 * tiers, races, fail-over, intervals, back-off, privacy, events. */
#include "tests/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "tracker/tiers.h"

#define S 1000ll /* milliseconds */

struct world {
	struct tiers t;
	int64_t now;
};

static const char *const three[] = { "http://a/announce", "udp://b:1/",
				     "https://c/announce" };
static const unsigned own_tier[] = { 0, 1, 2 };
static const unsigned one_tier[] = { 0, 0, 0 };

static void open_with(struct world *w, const unsigned *tier_of, size_t n,
		      bool is_private)
{
	memset(w, 0, sizeof(*w));
	w->now = 5000 * S;
	tiers_init(&w->t, 7, is_private, false);
	tiers_add(&w->t, three, tier_of, n);
	assert_int_equal(w->t.num, n);
}

static void open_world(struct world *w)
{
	open_with(w, own_tier, 3, false);
}

static void open_kin(struct world *w)
{
	static const char *const urls[] = {
		"http://k.bt.x:1/announce",
		"udp://k.bt.x:1",
		"http://k--r1.bt.x:1/announce",
		"http://plain/announce",
	};
	static const unsigned tiers[] = { 0, 1, 2, 3 };

	memset(w, 0, sizeof(*w));
	w->now = 5000 * S;
	tiers_init(&w->t, 7, false, false);
	tiers_add(&w->t, urls, tiers, ARRAY_LEN(urls));
}

/* Whoever is asked now, marked as sent; NULL: nobody, *wake says until when. */
static struct tier_entry *step(struct world *w, int64_t *wake)
{
	struct tier_entry *e = tiers_next(&w->t, w->now, wake);

	if (e)
		tiers_on_sent(&w->t, e, w->now);
	return e;
}

static struct tier_entry *expect(struct world *w, const char *url)
{
	int64_t wake;
	struct tier_entry *e = step(w, &wake);

	if (!e && wake <= w->now) /* that ended a round; the next is due */
		e = step(w, &wake);
	assert_non_null(e);
	assert_string_equal(e->url, url);
	return e;
}

static int64_t expect_nobody(struct world *w)
{
	int64_t wake;

	assert_null(step(w, &wake));
	assert_true(wake > w->now); /* or the caller would spin */
	return wake;
}

static void answer(struct world *w, struct tier_entry *e, size_t peers)
{
	tiers_on_answer(&w->t, e, w->now, 1800, 0, peers);
}

static void flunk(struct world *w, struct tier_entry *e)
{
	tiers_on_failure(&w->t, e, w->now, 0);
}

static void expect_about(int64_t v, int64_t wanted, int percent)
{
	assert_true(v >= wanted - wanted * percent / 100);
	assert_true(v <= wanted + wanted * percent / 100);
}

static void test_start__first_answer_with_peers_is_enough(void **state)
{
	struct world w;
	struct tier_entry *a;
	int64_t wake;

	open_world(&w);
	a = expect(&w, three[0]);
	assert_int_equal(a->sent_event, ANNOUNCE_STARTED);
	assert_int_equal(expect_nobody(&w), w.now + 2 * S);
	w.now += 300;
	answer(&w, a, 5);
	wake = expect_nobody(&w);
	assert_int_equal(w.t.rounds, 1);
	assert_true(tiers_active(&w.t) == a);
	expect_about(wake - w.now, 1800 * S, 10);
	w.now = wake;
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_NONE);
	tiers_release(&w.t);
}

static void test_start__silence_races_the_next(void **state)
{
	struct world w;
	struct tier_entry *a, *b, *c;

	open_world(&w);
	a = expect(&w, three[0]);
	w.now += 1999;
	expect_nobody(&w);
	w.now += 1;
	b = expect(&w, three[1]);
	assert_int_equal(expect_nobody(&w), w.now + 2 * S);
	answer(&w, b, 1);
	expect_nobody(&w);
	assert_int_equal(w.t.rounds, 1);
	/* The slow one's answer is welcome, and its tier is the higher one. */
	w.now += 5 * S;
	answer(&w, a, 3);
	assert_true(tiers_active(&w.t) == a);
	w.now = expect_nobody(&w);
	a = expect(&w, three[0]);
	flunk(&w, a);
	b = expect(&w, three[1]);
	flunk(&w, b);
	/* Patience is longer once anybody has ever answered. */
	c = expect(&w, three[2]);
	flunk(&w, c);
	expect_nobody(&w);
	assert_int_equal(w.t.rounds, 2);
	tiers_release(&w.t);
}

static void test_start__our_own_queue_is_no_silence(void **state)
{
	struct world w;

	open_world(&w);
	expect(&w, three[0]);
	w.t.is_patient = true;
	assert_int_equal(expect_nobody(&w), w.now + 10 * S);
	w.t.is_patient = false;
	w.now += 2 * S;
	expect(&w, three[1]);
	tiers_release(&w.t);
}

static void test_start__at_most_sixteen_race(void **state)
{
	const char *urls[18];
	unsigned tiers[18];
	struct world w;
	struct tier_entry *first = NULL;

	memset(&w, 0, sizeof(w));
	tiers_init(&w.t, 1, false, false);
	for (unsigned i = 0; i < 18; i++) {
		urls[i] = mem_printf("http://t%u/announce", i);
		tiers[i] = i;
	}
	tiers_add(&w.t, urls, tiers, 18);
	for (int i = 0; i < 16; i++, w.now += 2 * S) {
		struct tier_entry *e = expect(&w, urls[i]);

		first = first ? first : e;
		if (i == 3) { /* four, when the queue is ours */
			w.t.is_patient = true;
			assert_true(expect_nobody(&w) == INT64_MAX);
			w.t.is_patient = false;
		}
	}
	assert_true(expect_nobody(&w) == INT64_MAX);
	flunk(&w, first);
	expect(&w, urls[16]);
	for (int i = 0; i < 18; i++)
		free((char *)urls[i]);
	tiers_release(&w.t);
}

static void test_failure__next_one_at_once_then_back_off(void **state)
{
	struct world w;
	struct tier_entry *e;
	int64_t wake, backoff = 5 * S;

	open_world(&w);
	for (int i = 0; i < 3; i++)
		flunk(&w, expect(&w, three[i]));
	wake = expect_nobody(&w);
	assert_int_equal(w.t.rounds, 1);
	expect_about(wake - w.now, 5 * S, 25);
	tiers_release(&w.t);

	/* One tracker alone: 5 s, 10 s ... 30 min. */
	open_with(&w, own_tier, 1, false);
	for (int i = 0; i < 20; i++) {
		e = expect(&w, three[0]);
		assert_int_equal(e->sent_event, ANNOUNCE_STARTED);
		flunk(&w, e);
		wake = expect_nobody(&w);
		expect_about(wake - w.now, backoff, 25);
		backoff = backoff * 2 > 1800 * S ? 1800 * S : backoff * 2;
		w.now = wake;
	}
	/* An answer forgives everything. */
	answer(&w, expect(&w, three[0]), 0);
	w.now = expect_nobody(&w);
	flunk(&w, expect(&w, three[0]));
	expect_about(expect_nobody(&w) - w.now, 5 * S, 25);
	tiers_release(&w.t);
}

static void test_failure__retry_in(void **state)
{
	struct world w;
	struct tier_entry *e;

	open_with(&w, own_tier, 2, false);
	e = expect(&w, three[0]);
	tiers_on_failure(&w.t, e, w.now, 600);
	e = expect(&w, three[1]);
	tiers_on_failure(&w.t, e, w.now, -1);
	assert_int_equal(e->state, TIER_REFUSED);
	assert_int_equal(expect_nobody(&w), w.now + 600 * S);
	w.now += 600 * S;
	e = expect(&w, three[0]);
	tiers_on_failure(&w.t, e, w.now, -1);
	assert_true(expect_nobody(&w) == INT64_MAX);
	tiers_more(&w.t);
	assert_true(expect_nobody(&w) == INT64_MAX);
	tiers_release(&w.t);
}

static void test_empty_answer__asks_on_unless_seeding(void **state)
{
	struct world w;
	struct tier_entry *a;

	open_world(&w);
	a = expect(&w, three[0]);
	answer(&w, a, 0);
	answer(&w, expect(&w, three[1]), 0);
	assert_int_equal(w.t.rounds, 0);
	answer(&w, expect(&w, three[2]), 0);
	w.now = expect_nobody(&w);
	assert_int_equal(w.t.rounds, 1);
	/* Regular announces go to the topmost one that works. */
	assert_true(expect(&w, three[0]) == a);
	answer(&w, a, 1);
	tiers_release(&w.t);

	open_world(&w);
	w.t.is_complete = true;
	answer(&w, expect(&w, three[0]), 0);
	expect_nobody(&w);
	assert_int_equal(w.t.rounds, 1);
	tiers_release(&w.t);
}

static void test_tier__first_to_answer_moves_to_its_front(void **state)
{
	struct world w;
	struct tier_entry *first, *second;
	int64_t wake;

	open_with(&w, one_tier, 3, false);
	first = step(&w, &wake);
	flunk(&w, first);
	second = step(&w, &wake);
	assert_non_null(second);
	assert_true(w.t.ladder[1] == second);
	answer(&w, second, 1);
	assert_true(w.t.ladder[0] == second);
	assert_true(w.t.ladder[1] == first);
	tiers_release(&w.t);
}

static void test_tier__shuffled_but_never_across(void **state)
{
	const char *urls[] = { "http://a0/", "http://a1/", "http://a2/",
			       "http://a3/", "http://b0/", "http://b1/",
			       "http://b2/", "http://b3/" };
	const unsigned tiers[] = { 0, 0, 0, 0, 4, 4, 4, 4 };
	int firsts[4] = { 0 };

	for (uint64_t seed = 0; seed < 400; seed++) {
		struct tiers t;

		tiers_init(&t, seed, false, false);
		tiers_add(&t, urls, tiers, 8);
		for (int i = 0; i < 8; i++)
			assert_int_equal(t.ladder[i]->url[7],
					 i < 4 ? 'a' : 'b');
		firsts[t.ladder[0]->url[8] - '0']++;
		tiers_release(&t);
	}
	for (int i = 0; i < 4; i++)
		assert_true(firsts[i] > 50);
}

static void test_private__one_at_a_time(void **state)
{
	struct world w;
	struct tier_entry *a, *b;

	open_with(&w, own_tier, 3, true);
	a = expect(&w, three[0]);
	w.now += 60 * S;
	assert_true(expect_nobody(&w) == INT64_MAX);
	flunk(&w, a);
	b = expect(&w, three[1]);
	answer(&w, b, 0); /* nobody there, and yet no other is asked */
	expect_nobody(&w);
	w.now = expect_nobody(&w);
	/* The one that works stays the one, also when peers are short. */
	assert_true(expect(&w, three[1]) == b);
	answer(&w, b, 0);
	expect_nobody(&w);
	tiers_more(&w.t);
	assert_int_equal(expect_nobody(&w), b->not_before_ms);
	w.now = b->not_before_ms;
	assert_true(expect(&w, three[1]) == b);
	flunk(&w, b);
	assert_true(expect(&w, three[0]) == a);
	tiers_release(&w.t);
}

static void test_interval__clamped_and_min_interval_kept(void **state)
{
	const struct {
		int64_t said, min, wait, min_wait;
	} cases[] = {
		{ 0, 0, 1800, 120 },
		{ 1, 0, 30, 30 },
		{ 1, 1, 30, 30 },
		{ 60, 0, 60, 60 },
		{ 900, 900, 900, 900 },
		{ INT64_MAX, 0, 86400, 120 },
		{ 60, 600, 600, 600 },
		{ 1800, 300, 1800, 300 },
		{ 60, INT64_MAX, 86400, 86400 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct world w;
		struct tier_entry *a;

		open_with(&w, own_tier, 1, false);
		for (int k = 0; k < 50; k++) {
			int64_t wake;

			a = expect(&w, three[0]);
			tiers_on_answer(&w.t, a, w.now, cases[i].said,
					cases[i].min, 1);
			wake = expect_nobody(&w);
			expect_about(wake - w.now, cases[i].wait * S, 10);
			assert_int_equal(a->not_before_ms - w.now,
					 cases[i].min_wait * S);
			assert_true(wake >= a->not_before_ms || !cases[i].min);
			w.now = wake > a->not_before_ms ? wake
							: a->not_before_ms;
		}
		tiers_release(&w.t);
	}
}

static void test_more__next_lower_while_the_active_must_wait(void **state)
{
	struct world w;
	struct tier_entry *a;

	open_world(&w);
	a = expect(&w, three[0]);
	answer(&w, a, 1);
	expect_nobody(&w);
	tiers_more(&w.t);
	answer(&w, expect(&w, three[1]), 1);
	expect_nobody(&w);
	tiers_more(&w.t);
	answer(&w, expect(&w, three[2]), 1);
	expect_nobody(&w);
	/* All have been asked: the earliest min interval counts. */
	tiers_more(&w.t);
	assert_int_equal(expect_nobody(&w), w.now + 120 * S);
	tiers_more(&w.t);
	w.now += 120 * S;
	assert_true(expect(&w, three[0]) == a);
	tiers_release(&w.t);
}

static void test_complete__told_once_to_the_active_one(void **state)
{
	struct world w;
	struct tier_entry *a;

	open_world(&w);
	a = expect(&w, three[0]);
	answer(&w, a, 1);
	expect_nobody(&w);
	w.now += S;
	tiers_complete(&w.t, w.now);
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_COMPLETED);
	answer(&w, a, 0);
	expect_nobody(&w);
	w.now = expect_nobody(&w);
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_NONE);
	tiers_release(&w.t);
}

static void test_complete__while_an_announce_is_out(void **state)
{
	struct world w;
	struct tier_entry *a;

	open_world(&w);
	answer(&w, expect(&w, three[0]), 1);
	w.now = expect_nobody(&w);
	a = expect(&w, three[0]);
	tiers_complete(&w.t, w.now);
	answer(&w, a, 1);
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_COMPLETED);
	/* Lost: said again when it is asked again. */
	flunk(&w, a);
	answer(&w, expect(&w, three[1]), 0);
	expect_nobody(&w);
	w.now = a->not_before_ms;
	tiers_more(&w.t);
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_COMPLETED);
	tiers_release(&w.t);

	/* Before anybody answered: who was told of a leecher is told again, */
	open_world(&w);
	a = expect(&w, three[0]);
	tiers_complete(&w.t, w.now);
	answer(&w, a, 1);
	assert_true(expect(&w, three[0]) == a);
	assert_int_equal(a->sent_event, ANNOUNCE_COMPLETED);
	answer(&w, a, 0);
	expect_nobody(&w);
	tiers_release(&w.t);

	/* and to the rest "started" with nothing left says it all. */
	open_world(&w);
	tiers_complete(&w.t, w.now);
	a = expect(&w, three[0]);
	answer(&w, a, 1);
	assert_int_equal(tiers_event(a), ANNOUNCE_NONE);
	tiers_release(&w.t);
}

static void test_add__known_and_bad_urls_are_left_out(void **state)
{
	char *long_url = mem_alloc(LIMIT_URL_BYTES + 2);
	const char *urls[] = { "http://a/announce",
			       "wss://x/",
			       "HTTP://X/",
			       "ftp://x/",
			       "http://a b/",
			       "",
			       "udp:",
			       "http://d/\x7f",
			       long_url,
			       "UDP://y:1",
			       "http://a/announce" };
	const unsigned tiers[ARRAY_LEN(urls)] = { 0 };
	struct world w;

	memset(long_url, 'a', LIMIT_URL_BYTES + 1);
	memcpy(long_url, "http://", 7);
	open_with(&w, own_tier, 1, false);
	tiers_add(&w.t, urls, tiers, ARRAY_LEN(urls));
	assert_int_equal(w.t.num, 3);
	free(long_url);
	tiers_release(&w.t);
}

static void test_add__capped(void **state)
{
	const char *urls[LIMIT_TRACKERS + 10];
	unsigned tiers[ARRAY_LEN(urls)];
	struct tiers t;

	for (unsigned i = 0; i < ARRAY_LEN(urls); i++) {
		urls[i] = mem_printf("http://%u/", i);
		tiers[i] = i / 7;
	}
	tiers_init(&t, 3, false, false);
	tiers_add(&t, urls, tiers, ARRAY_LEN(urls));
	assert_int_equal(t.num, LIMIT_TRACKERS);
	for (size_t i = 1; i < t.num; i++)
		assert_true(t.ladder[i - 1]->tier <= t.ladder[i]->tier);
	for (size_t i = 0; i < ARRAY_LEN(urls); i++)
		free((char *)urls[i]);
	tiers_release(&t);
}

static void test_add__new_ones_are_asked_soon(void **state)
{
	struct world w;

	/* A magnet without trackers: the round is over at once. */
	memset(&w, 0, sizeof(w));
	tiers_init(&w.t, 1, false, false);
	assert_true(expect_nobody(&w) == INT64_MAX);
	assert_int_equal(w.t.rounds, 1);
	tiers_add(&w.t, three, own_tier, 1);
	answer(&w, expect(&w, three[0]), 1);
	expect_nobody(&w);
	tiers_add(&w.t, three, own_tier, 3);
	assert_int_equal(w.t.num, 3);
	expect(&w, three[1]);
	tiers_release(&w.t);
}

/* Any order of news keeps the promises: nobody is asked twice at a time or
 * before its time, and the caller never spins. */
static void test_ladder__random_walk(void **state)
{
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct prng r = { seed };
		struct world w;
		int64_t wake = 0;
		int asked = 0;

		if (seed % 3)
			open_with(&w, seed & 1 ? own_tier : one_tier, 3,
				  seed % 5 == 0);
		else
			open_kin(&w);
		for (int i = 0; i < 400; i++) {
			struct tier_entry *e =
				w.t.ladder[prng_below(&r, (uint32_t)w.t.num)];
			int spins = 0;

			switch (prng_below(&r, 6)) {
			case 0:
				if (e->is_busy)
					answer(&w, e, prng_below(&r, 2));
				break;
			case 1:
				if (e->is_busy)
					flunk(&w, e);
				break;
			case 2:
				tiers_more(&w.t);
				break;
			case 3:
				if (prng_below(&r, 50) == 0)
					tiers_complete(&w.t, w.now);
				break;
			default:
				w.now += prng_below(&r, 400) * S;
			}
			while ((e = tiers_next(&w.t, w.now, &wake))) {
				assert_false(e->is_busy);
				assert_true(e->not_before_ms <= w.now);
				tiers_on_sent(&w.t, e, w.now);
				asked++;
			}
			/* A due round may follow at once, but ends somewhere.
			 */
			while (wake <= w.now) {
				assert_true(++spins < 10);
				e = tiers_next(&w.t, w.now, &wake);
				if (!e)
					continue;
				tiers_on_sent(&w.t, e, w.now);
				wake = w.now;
			}
		}
		assert_true(asked > 3);
		tiers_release(&w.t);
	}
}

/* Names of one key are one tracker, until it fails. */
static void test_kin__one_of_them_at_a_time(void **state)
{
	struct tier_entry *key, *plain;
	struct world w;

	open_kin(&w);
	key = expect(&w, "http://k.bt.x:1/announce");
	w.now += 60 * S; /* silent: a machine is raced, and no other name */
	plain = expect(&w, "http://plain/announce");
	expect_nobody(&w);
	answer(&w, plain, 0);
	answer(&w, key, 0); /* no peers: the others would say the same */
	expect_nobody(&w);
	tiers_more(&w.t);
	for (int i = 0; i < 5; i++) { /* not even when peers are short */
		int64_t wake = expect_nobody(&w);

		assert_int_not_equal(wake, INT64_MAX);
		w.now += S;
	}
	tiers_release(&w.t);
}

static void test_kin__the_next_name_when_one_fails(void **state)
{
	struct world w;
	struct tier_entry *e;

	open_kin(&w);
	flunk(&w, expect(&w, "http://k.bt.x:1/announce"));
	flunk(&w, expect(&w, "udp://k.bt.x:1"));
	e = expect(&w, "http://k--r1.bt.x:1/announce");
	answer(&w, e, 5);
	expect_nobody(&w);
	w.now = e->next_ms; /* the better name is tried again before it */
	expect(&w, "http://k.bt.x:1/announce");
	tiers_release(&w.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start__first_answer_with_peers_is_enough),
		cmocka_unit_test(test_start__silence_races_the_next),
		cmocka_unit_test(test_start__our_own_queue_is_no_silence),
		cmocka_unit_test(test_start__at_most_sixteen_race),
		cmocka_unit_test(test_failure__next_one_at_once_then_back_off),
		cmocka_unit_test(test_failure__retry_in),
		cmocka_unit_test(test_empty_answer__asks_on_unless_seeding),
		cmocka_unit_test(test_tier__first_to_answer_moves_to_its_front),
		cmocka_unit_test(test_tier__shuffled_but_never_across),
		cmocka_unit_test(test_private__one_at_a_time),
		cmocka_unit_test(test_interval__clamped_and_min_interval_kept),
		cmocka_unit_test(
			test_more__next_lower_while_the_active_must_wait),
		cmocka_unit_test(test_complete__told_once_to_the_active_one),
		cmocka_unit_test(test_complete__while_an_announce_is_out),
		cmocka_unit_test(test_add__known_and_bad_urls_are_left_out),
		cmocka_unit_test(test_add__capped),
		cmocka_unit_test(test_add__new_ones_are_asked_soon),
		cmocka_unit_test(test_kin__one_of_them_at_a_time),
		cmocka_unit_test(test_kin__the_next_name_when_one_fails),
		cmocka_unit_test(test_ladder__random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
