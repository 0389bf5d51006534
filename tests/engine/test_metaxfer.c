/* Goal: one honest peer is enough to get an info dict, whatever the others
 * send, claim or keep back; liars are named, and memory follows arrival. */
#include "tests/cmocka_all.h"

#include <malloc.h>
#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/sha.h"
#include "engine/metaxfer.h"

#define PART    LIMIT_BLOCK_BYTES
#define TICK_MS 50

/* What a peer of the small swarm below does with a request. */
enum manner {
	HONEST,
	CORRUPT,      /* a wrong byte in each part */
	CORRUPT_ONCE, /* in the first part that it gives */
	SILENT,
	SILENT_ONCE, /* loses its first request */
	REJECTING,
	SHORT, /* one byte less */
	LONG,  /* one byte more */
	OTHER_SIZE_IN_DATA,
	TRICKLE, /* honest bytes, one part in 9 s */
};

struct sim_peer {
	uint32_t id;
	uint32_t size; /* as claimed; parts beyond the dict are zeros */
	enum manner manner;
	int64_t delay_ms;
	unsigned num_asked, num_given, num_bad;
	bool is_gone, has_given_first;
	struct {
		int part;
		int64_t due_ms;
	} queue[4]; /* two are of a set that was given up */
};

struct sim {
	struct metaxfer *x;
	uint8_t *info;
	uint32_t size;
	struct infohash v1;
	struct infohash2 v2;
	struct sim_peer peers[128];
	size_t num_peers;
	int64_t now_ms;
	unsigned num_again;
	bool is_done;
};

static void sim_init(struct sim *s, uint32_t size)
{
	struct prng r = { size };

	memset(s, 0, sizeof(*s));
	s->size = size;
	s->info = mem_alloc(size);
	for (uint32_t i = 0; i < size; i++)
		s->info[i] = (uint8_t)(i % 8 ? s->info[i - 1] * 5 + i
					     : prng_u64(&r));
	sha1(s->info, size, s->v1.b);
	sha256(s->info, size, s->v2.b);
	s->x = metaxfer_new(&s->v1, NULL);
	s->now_ms = 1000;
}

static struct sim_peer *sim_add(struct sim *s, enum manner manner,
				uint32_t size)
{
	struct sim_peer *p = &s->peers[s->num_peers++];

	*p = (struct sim_peer){ .id = (uint32_t)s->num_peers,
				.size = size,
				.manner = manner,
				.delay_ms = manner == TRICKLE ? 9000 : 100 };
	for (size_t i = 0; i < 4; i++)
		p->queue[i].part = -1;
	metaxfer_add_peer(s->x, p->id, size);
	return p;
}

static void sim_ask(struct sim *s, struct sim_peer *p)
{
	size_t i;
	int part;

	while ((part = metaxfer_next(s->x, p->id, s->now_ms)) >= 0) {
		assert_true((uint32_t)part < (p->size + PART - 1) / PART);
		p->num_asked++;
		if (p->manner == SILENT ||
		    (p->manner == SILENT_ONCE && p->num_asked == 1))
			continue;
		for (i = 0; i < 4 && p->queue[i].part >= 0; i++)
			if (p->queue[i].part == part)
				break;
		assert_true(i < (s->num_again ? 4 : 2));
		p->queue[i].part = part;
		p->queue[i].due_ms = s->now_ms + p->delay_ms;
	}
}

static void sim_answer(struct sim *s, struct sim_peer *p, uint32_t part)
{
	uint32_t at = part * PART, total = p->size;
	uint32_t len = p->size - at < PART ? p->size - at : PART;
	uint8_t *data = mem_alloc(PART + 1);
	enum metaxfer_result r;

	if (at < s->size)
		memcpy(data, s->info + at,
		       s->size - at < len ? s->size - at : len);
	if (p->manner == CORRUPT ||
	    (p->manner == CORRUPT_ONCE && !p->num_given))
		data[len / 2] ^= 1;
	if (p->manner == SHORT)
		len--;
	if (p->manner == LONG)
		len++;
	if (p->manner == OTHER_SIZE_IN_DATA)
		total++;
	p->num_given++;
	p->has_given_first |= part == 0;
	r = metaxfer_on_data(s->x, p->id, part, total,
			     (struct span){ data, len });
	free(data);
	switch (r) {
	case METAXFER_MORE:
	case METAXFER_IGNORED:
		break;
	case METAXFER_DONE:
		s->is_done = true;
		break;
	case METAXFER_AGAIN:
		s->num_again++;
		break;
	case METAXFER_BAD_PEER:
		p->num_bad++;
		p->is_gone = true;
		metaxfer_remove_peer(s->x, p->id); /* the engine does, too */
		break;
	}
}

static void sim_tick(struct sim *s)
{
	struct sim_peer *p;

	s->now_ms += TICK_MS;
	for (p = s->peers; p < s->peers + s->num_peers; p++) {
		if (!p->is_gone && !s->is_done)
			sim_ask(s, p);
		for (size_t i = 0; i < 4 && !p->is_gone && !s->is_done; i++) {
			int part = p->queue[i].part;

			if (part < 0 || s->now_ms < p->queue[i].due_ms)
				continue;
			p->queue[i].part = -1;
			if (p->manner == REJECTING)
				metaxfer_on_reject(s->x, p->id, (uint32_t)part,
						   s->now_ms);
			else
				sim_answer(s, p, (uint32_t)part);
		}
	}
}

static void sim_run(struct sim *s, int64_t ms)
{
	int64_t end_ms = s->now_ms + ms;

	while (!s->is_done && s->now_ms < end_ms)
		sim_tick(s);
}

/* The dict is there, is right, and nothing more is asked or taken. */
static void sim_check_done(struct sim *s)
{
	struct span got;

	assert_true(s->is_done);
	got = metaxfer_info(s->x);
	assert_int_equal(got.len, s->size);
	assert_memory_equal(got.ptr, s->info, s->size);
	assert_int_equal(metaxfer_percent(s->x), 100);
	assert_int_equal(metaxfer_next(s->x, 1, s->now_ms), -1);
	assert_int_equal(metaxfer_on_data(s->x, 1, 0, s->size, got),
			 METAXFER_IGNORED);
}

static void sim_free(struct sim *s)
{
	metaxfer_free(s->x);
	free(s->info);
}

static void test_honest__every_size(void **state)
{
	static const uint32_t sizes[] = { 1,
					  PART - 1,
					  PART,
					  PART + 1,
					  2 * PART,
					  100000,
					  LIMIT_METADATA_BYTES };
	struct sim s;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		sim_init(&s, sizes[i]);
		sim_add(&s, HONEST, sizes[i]);
		sim_run(&s, 200000);
		sim_check_done(&s);
		/* Nothing was asked twice. */
		assert_int_equal(s.peers[0].num_asked,
				 (sizes[i] + PART - 1) / PART);
		sim_free(&s);
	}
}

static void test_honest__several_peers_share_the_work(void **state)
{
	struct sim s;
	unsigned asked = 0;

	sim_init(&s, 100 * PART);
	for (int i = 0; i < 10; i++)
		sim_add(&s, HONEST, s.size);
	sim_run(&s, 2000);
	sim_check_done(&s);
	for (size_t i = 0; i < s.num_peers; i++) {
		assert_true(s.peers[i].num_given > 5);
		asked += s.peers[i].num_asked;
	}
	assert_int_equal(asked, 100);
	sim_free(&s);
}

static void test_hash__either_version_is_right(void **state)
{
	struct infohash none = { { 0 } };
	struct sim s;

	sim_init(&s, 3 * PART + 7);
	metaxfer_free(s.x);
	s.x = metaxfer_new(NULL, &s.v2);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 2000);
	sim_check_done(&s);
	metaxfer_free(s.x);
	s.is_done = false;
	s.num_peers = 0;
	s.x = metaxfer_new(&none, &s.v2); /* the v1 claim of the link is off */
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 2000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_size__absurd_claims_are_never_asked(void **state)
{
	struct sim s;

	sim_init(&s, 10);
	sim_add(&s, HONEST, 0);
	sim_add(&s, HONEST, LIMIT_METADATA_BYTES + 1);
	sim_add(&s, HONEST, UINT32_MAX);
	sim_run(&s, 5000);
	for (size_t i = 0; i < s.num_peers; i++)
		assert_int_equal(s.peers[i].num_asked, 0);
	/* And what they send unasked is dropped. */
	assert_int_equal(metaxfer_on_data(s.x, 2, 0, s.size,
					  (struct span){ s.info, s.size }),
			 METAXFER_IGNORED);
	sim_free(&s);
}

static void test_size__liars_are_named_and_honest_finish(void **state)
{
	static const uint32_t lies[] = { 1, 5000, 99999, 100001, 200000 };
	struct sim s;

	sim_init(&s, 100000);
	for (size_t i = 0; i < ARRAY_LEN(lies); i++)
		sim_add(&s, HONEST, lies[i]); /* gives what it claims */
	sim_run(&s, 5000);
	assert_false(s.is_done);
	for (size_t i = 0; i < ARRAY_LEN(lies); i++)
		assert_int_equal(s.peers[i].num_bad, 1);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 5000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_size__data_that_tells_another_size_is_a_lie(void **state)
{
	struct sim s;

	sim_init(&s, 100000);
	sim_add(&s, OTHER_SIZE_IN_DATA, s.size);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 5000);
	sim_check_done(&s);
	assert_int_equal(s.peers[0].num_bad, 1);
	assert_int_equal(s.peers[0].num_given, 1);
	sim_free(&s);
}

static void test_length__wrong_parts_are_a_lie_and_poison_nothing(void **state)
{
	struct sim s;

	sim_init(&s, 100001);
	sim_add(&s, SHORT, s.size);
	sim_add(&s, LONG, s.size);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 5000);
	sim_check_done(&s);
	assert_int_equal(s.peers[0].num_bad, 1);
	assert_int_equal(s.peers[1].num_bad, 1);
	assert_int_equal(s.num_again, 0);
	sim_free(&s);
}

static void test_bytes__a_liar_alone_is_to_blame(void **state)
{
	struct sim s;

	sim_init(&s, 50000);
	sim_add(&s, CORRUPT, s.size);
	sim_run(&s, 5000);
	assert_false(s.is_done);
	assert_int_equal(s.peers[0].num_bad, 1);
	assert_int_equal(s.num_again, 0);
	assert_int_equal(metaxfer_percent(s.x), 0);
	sim_free(&s);
}

static void test_bytes__liars_among_honest_are_told_apart(void **state)
{
	struct sim s;

	sim_init(&s, 20 * PART + 1);
	sim_add(&s, CORRUPT, s.size);
	sim_add(&s, HONEST, s.size);
	sim_add(&s, CORRUPT_ONCE, s.size);
	sim_add(&s, HONEST, s.size);
	/* Liars are faster; one that turned honest is not. */
	for (int i = 1; i < 4; i++)
		s.peers[i].delay_ms = 400;
	sim_run(&s, 60000);
	sim_check_done(&s);
	assert_int_equal(s.num_again, 1);
	assert_int_equal(s.peers[0].num_bad, 1);
	assert_int_equal(s.peers[1].num_bad, 0);
	assert_int_equal(s.peers[3].num_bad, 0);
	sim_free(&s);
}

static void test_bytes__a_liar_that_left_spoils_one_round_only(void **state)
{
	struct sim s;

	sim_init(&s, 20 * PART);
	sim_add(&s, CORRUPT, s.size);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 300);
	assert_true(s.peers[0].num_given > 0);
	s.peers[0].is_gone = true;
	metaxfer_remove_peer(s.x, s.peers[0].id);
	sim_run(&s, 60000);
	sim_check_done(&s);
	assert_int_equal(s.num_again, 1);
	assert_int_equal(s.peers[1].num_bad, 0);
	sim_free(&s);
}

static void test_gone__what_a_peer_gave_and_owed_is_used(void **state)
{
	struct sim s;

	sim_init(&s, 20 * PART);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 600);
	s.peers[0].is_gone = true;
	metaxfer_remove_peer(s.x, s.peers[0].id);
	assert_true(metaxfer_percent(s.x) > 10);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 2500); /* the owed parts are asked at once, not in 3 s */
	sim_check_done(&s);
	assert_true(s.peers[1].num_asked < 20);
	sim_free(&s);
}

static void test_silent__its_parts_go_to_others_who_are_idle(void **state)
{
	struct sim s;
	int64_t start_ms;

	sim_init(&s, 10 * PART);
	sim_add(&s, SILENT, s.size); /* asked first: takes parts 0 and 1 */
	sim_add(&s, HONEST, s.size);
	start_ms = s.now_ms;
	sim_run(&s, 60000);
	sim_check_done(&s);
	assert_in_range(s.now_ms - start_ms, 700, 1200);
	assert_int_equal(s.peers[1].num_asked, 10);
	sim_free(&s);
}

static void
test_silent__its_parts_go_to_busy_others_in_three_seconds(void **state)
{
	struct sim s;

	sim_init(&s, 400 * PART);
	sim_add(&s, SILENT, s.size);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 2500);
	assert_false(s.peers[1].has_given_first);
	sim_run(&s, 1000);
	assert_true(s.peers[1].has_given_first);
	sim_free(&s);
}

static void
test_silent__a_crowd_holds_up_one_honest_peer_for_seconds(void **state)
{
	struct sim s;
	int64_t start_ms;

	sim_init(&s, 7 * PART);
	for (int i = 0; i < 100; i++)
		sim_add(&s, SILENT, s.size);
	sim_add(&s, HONEST, s.size);
	start_ms = s.now_ms;
	sim_run(&s, 60000);
	sim_check_done(&s);
	assert_in_range(s.now_ms - start_ms, 0, 8000);
	sim_free(&s);
}

static void test_silent__is_asked_again_with_growing_waits(void **state)
{
	struct sim s;

	sim_init(&s, 10 * PART);
	sim_add(&s, SILENT, s.size);
	sim_run(&s, 5900);
	assert_int_equal(s.peers[0].num_asked, 2);
	sim_run(&s, 1000);
	assert_in_range(s.peers[0].num_asked, 3, 4);
	sim_run(&s, 3600 * 1000);
	/* 2 in 96 s in the end. */
	assert_in_range(s.peers[0].num_asked, 40, 100);
	sim_free(&s);
}

static void test_silent__a_lost_request_costs_seconds_not_the_dict(void **state)
{
	struct sim s;

	sim_init(&s, 10 * PART);
	sim_add(&s, SILENT_ONCE, s.size);
	sim_run(&s, 8000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_slow__a_peer_slower_than_the_repeats_finishes(void **state)
{
	struct sim s;

	sim_init(&s, 10 * PART);
	sim_add(&s, TRICKLE, s.size);
	sim_run(&s, 120000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_reject__others_are_asked_at_once_and_it_rests(void **state)
{
	struct sim s;

	sim_init(&s, 10 * PART);
	sim_add(&s, REJECTING, s.size);
	sim_add(&s, HONEST, s.size);
	sim_run(&s, 2500);
	sim_check_done(&s);
	assert_true(s.peers[0].num_asked <= 2);

	sim_free(&s);
	sim_init(&s, 10 * PART);
	sim_add(&s, REJECTING, s.size);
	sim_run(&s, 3600 * 1000);
	/* 2 in 48 s in the end. */
	assert_in_range(s.peers[0].num_asked, 60, 180);
	/* It has the dict now, and is soon asked for all of it. */
	s.peers[0].manner = HONEST;
	sim_run(&s, 110000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_unasked__data_is_ignored(void **state)
{
	struct sim s;
	struct span part;

	sim_init(&s, 3 * PART);
	part = (struct span){ s.info, PART };
	sim_add(&s, HONEST, s.size);
	sim_add(&s, HONEST, s.size);
	assert_int_equal(metaxfer_on_data(s.x, 1, 0, s.size, part),
			 METAXFER_IGNORED);
	assert_int_equal(metaxfer_on_data(s.x, 99, 0, s.size, part),
			 METAXFER_IGNORED);
	assert_int_equal(metaxfer_next(s.x, 1, s.now_ms), 0);
	assert_int_equal(metaxfer_on_data(s.x, 2, 0, s.size, part),
			 METAXFER_IGNORED);
	assert_int_equal(metaxfer_on_data(s.x, 1, 2, s.size, part),
			 METAXFER_IGNORED);
	assert_int_equal(metaxfer_on_data(s.x, 1, UINT32_MAX, s.size, part),
			 METAXFER_IGNORED);
	assert_int_equal(metaxfer_on_data(s.x, 1, 0, s.size, part),
			 METAXFER_MORE);
	assert_int_equal(metaxfer_on_data(s.x, 1, 0, s.size, part),
			 METAXFER_IGNORED);
	metaxfer_on_reject(s.x, 1, 0, s.now_ms);
	metaxfer_on_reject(s.x, 77, 0, s.now_ms);
	sim_run(&s, 5000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_claim__may_change_and_peers_may_return(void **state)
{
	struct sim s;

	sim_init(&s, 3 * PART);
	sim_add(&s, HONEST, 5 * PART);
	assert_int_equal(metaxfer_next(s.x, 1, s.now_ms), 0);
	metaxfer_add_peer(s.x, 1, s.size); /* it knows better now */
	s.peers[0].size = s.size;
	metaxfer_remove_peer(s.x, 1);
	metaxfer_remove_peer(s.x, 1);
	metaxfer_add_peer(s.x, 1, s.size);
	metaxfer_add_peer(s.x, 1, s.size);
	sim_run(&s, 5000);
	sim_check_done(&s);
	sim_free(&s);
}

static void test_singly__one_request_at_a_time(void **state)
{
	static uint8_t part[PART];
	struct sim s;

	sim_init(&s, 3 * PART);
	metaxfer_add_peer(s.x, 1, s.size);
	metaxfer_ask_singly(s.x, 1);
	metaxfer_ask_singly(s.x, 99); /* nobody */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(metaxfer_next(s.x, 1, s.now_ms), i);
		assert_int_equal(metaxfer_next(s.x, 1, s.now_ms), -1);
		memcpy(part, s.info + i * PART, PART);
		assert_int_equal(metaxfer_on_data(s.x, 1, (uint32_t)i, s.size,
						  (struct span){ part, PART }),
				 i < 2 ? METAXFER_MORE : METAXFER_DONE);
	}
	sim_free(&s);
}

static void test_memory__follows_arrival_not_claims(void **state)
{
	struct sim s;
	size_t before, after;

	sim_init(&s, 100);
	before = mallinfo2().uordblks;
	for (uint32_t i = 0; i < 100; i++)
		sim_add(&s, SILENT, LIMIT_METADATA_BYTES - i);
	sim_run(&s, 3600 * 1000);
	after = mallinfo2().uordblks;
	if (after > before)
		assert_true(after - before < 200 << 10);
	sim_free(&s);
}

static void test_memory__is_capped_and_the_honest_get_their_turn(void **state)
{
	size_t before, peak = 0, now;
	struct sim s;

	/* 100 liars with a size each, who would fill 2.9 GiB together. */
	sim_init(&s, LIMIT_METADATA_BYTES - 500);
	before = mallinfo2().uordblks;
	for (uint32_t i = 0; i < 100; i++)
		sim_add(&s, i % 3 ? TRICKLE : SILENT, LIMIT_METADATA_BYTES - i);
	sim_add(&s, HONEST, s.size)->delay_ms = TICK_MS;
	while (!s.is_done && s.now_ms < 3 * 3600 * 1000) {
		for (int i = 0; i < 20; i++)
			sim_tick(&s);
		now = mallinfo2().uordblks;
		peak = now > before && now - before > peak ? now - before
							   : peak;
	}
	sim_check_done(&s);
	assert_true(peak < LIMIT_METADATA_KEPT_BYTES + (1 << 20));
	sim_free(&s);
}

static void
test_random__liars_never_win_and_honest_are_never_blamed(void **state)
{
	struct sim s;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct prng r = { seed };
		uint32_t size = 1 + prng_below(&r, 40 * PART);

		sim_init(&s, size);
		for (unsigned i = 0; i < 1 + prng_below(&r, 20); i++) {
			enum manner m = (enum manner)prng_below(&r, TRICKLE);

			sim_add(&s, m,
				prng_below(&r, 4)
					? size
					: 1 + prng_below(&r, 2 * size))
				->delay_ms = prng_below(&r, 5000);
		}
		sim_add(&s, HONEST, size)->delay_ms = prng_below(&r, 1000);
		sim_run(&s, 600000);
		sim_check_done(&s);
		for (size_t i = 0; i < s.num_peers; i++) {
			if (s.peers[i].manner == HONEST &&
			    s.peers[i].size == size)
				assert_int_equal(s.peers[i].num_bad, 0);
		}
		sim_free(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_honest__every_size),
		cmocka_unit_test(test_honest__several_peers_share_the_work),
		cmocka_unit_test(test_hash__either_version_is_right),
		cmocka_unit_test(test_size__absurd_claims_are_never_asked),
		cmocka_unit_test(test_size__liars_are_named_and_honest_finish),
		cmocka_unit_test(
			test_size__data_that_tells_another_size_is_a_lie),
		cmocka_unit_test(
			test_length__wrong_parts_are_a_lie_and_poison_nothing),
		cmocka_unit_test(test_bytes__a_liar_alone_is_to_blame),
		cmocka_unit_test(test_bytes__liars_among_honest_are_told_apart),
		cmocka_unit_test(
			test_bytes__a_liar_that_left_spoils_one_round_only),
		cmocka_unit_test(test_gone__what_a_peer_gave_and_owed_is_used),
		cmocka_unit_test(
			test_silent__a_crowd_holds_up_one_honest_peer_for_seconds),
		cmocka_unit_test(
			test_silent__its_parts_go_to_others_who_are_idle),
		cmocka_unit_test(
			test_silent__its_parts_go_to_busy_others_in_three_seconds),
		cmocka_unit_test(
			test_silent__is_asked_again_with_growing_waits),
		cmocka_unit_test(
			test_silent__a_lost_request_costs_seconds_not_the_dict),
		cmocka_unit_test(
			test_slow__a_peer_slower_than_the_repeats_finishes),
		cmocka_unit_test(
			test_reject__others_are_asked_at_once_and_it_rests),
		cmocka_unit_test(test_unasked__data_is_ignored),
		cmocka_unit_test(test_claim__may_change_and_peers_may_return),
		cmocka_unit_test(test_singly__one_request_at_a_time),
		cmocka_unit_test(test_memory__follows_arrival_not_claims),
		cmocka_unit_test(
			test_memory__is_capped_and_the_honest_get_their_turn),
		cmocka_unit_test(
			test_random__liars_never_win_and_honest_are_never_blamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
