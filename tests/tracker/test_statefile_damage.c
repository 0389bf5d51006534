/* Goal: whatever happens to a state file, the tracker takes all of one good
 * generation or nothing, says what is wrong, and does not fall over. */
#include "tests/tracker/statefile_rig.h"
#include "tracker/server/statefile_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tests/cmocka_all.h"

#define WALL   INT64_C(1900000020)
#define ROUNDS 2000

struct damage {
	uint64_t old_digest, new_digest, empty_digest;
	uint8_t *bytes; /* owned; of the new generation */
	size_t len;
};

static void make(struct rig *rig, struct damage *d)
{
	d->empty_digest = rig_digest(rig->swarms);
	for (uint64_t t = 0; t < 100; t++)
		rig_add(rig->swarms, t, 1, SWARM_SEEDER, 0);
	d->old_digest = rig_digest(rig->swarms);
	assert_int_equal(rig_save(rig, WALL), 0);
	for (uint64_t t = 0; t < 100; t++)
		for (uint32_t n = 2; n < 20; n++)
			rig_add(rig->swarms, t, n, SWARM_LEECHER, n);
	buf_add_str(&rig->blobs.of[STATEFILE_KEY], "key");
	buf_add_str(&rig->blobs.of[STATEFILE_NODES], "nodes");
	d->new_digest = rig_digest(rig->swarms);
	assert_int_equal(rig_save(rig, WALL), 0);
	d->bytes = rig_read(rig->path, &d->len);
	assert_true(d->new_digest != d->old_digest);
}

/* BYTES as PATH: not believed, the generation before is taken. */
static void expect_previous(struct rig *rig, const struct damage *d,
			    const uint8_t *bytes, size_t len)
{
	rig_write(rig->path, bytes, len);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_true(rig->loaded.is_previous);
	assert_true(rig_digest(rig->swarms) == d->old_digest);
	assert_int_equal(rig->blobs.of[STATEFILE_KEY].len, 0);
	assert_int_equal(strncmp(rig->why, rig->path, strlen(rig->path)), 0);
}

static void expect_whole(struct rig *rig, const struct damage *d)
{
	rig_write(rig->path, d->bytes, d->len);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_false(rig->loaded.is_previous);
	assert_true(rig_digest(rig->swarms) == d->new_digest);
}

/* Where the blocks begin, and the end; at most MAX. */
static size_t boundaries(const struct damage *d, size_t *at, size_t max)
{
	size_t n = 0, pos = STATEFILE_HEADER_BYTES;

	while (pos < d->len && n < max) {
		at[n++] = pos;
		pos += load_be32(d->bytes + pos + 8) + STATEFILE_BLOCK_BYTES;
	}
	assert_int_equal(pos, d->len);
	return n;
}

static void test_cut(void **state)
{
	struct rig *rig = *state;
	struct prng r = { 1 };
	struct damage d;
	size_t at[16], n;

	make(rig, &d);
	n = boundaries(&d, at, ARRAY_LEN(at));
	assert_true(n >= 4); /* two blobs, swarms, the end */
	for (size_t i = 0; i < n; i++)
		expect_previous(rig, &d, d.bytes, at[i]);
	for (size_t len = 0; len < 100; len++)
		expect_previous(rig, &d, d.bytes, len);
	for (int i = 0; i < ROUNDS / 4; i++)
		expect_previous(rig, &d, d.bytes,
				prng_below(&r, (uint32_t)d.len));
	expect_whole(rig, &d);
	free(d.bytes);
}

static void test_flipped(void **state)
{
	struct rig *rig = *state;
	struct prng r = { 2 };
	struct damage d;

	make(rig, &d);
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *bytes = mem_dup(d.bytes, d.len);

		for (uint32_t k = prng_below(&r, 3) + 1; k--;) {
			size_t at = i < 300 ? (size_t)i % d.len
					    : prng_below(&r, (uint32_t)d.len);

			bytes[at] ^= (uint8_t)(1 + prng_below(&r, 255));
		}
		if (memcmp(bytes, d.bytes, d.len))
			expect_previous(rig, &d, bytes, d.len);
		free(bytes);
	}
	expect_whole(rig, &d);
	free(d.bytes);
}

static void test_blocks_moved_about(void **state)
{
	struct rig *rig = *state;
	struct damage d;
	size_t at[16], n, first, second;
	uint8_t *bytes;

	make(rig, &d);
	n = boundaries(&d, at, ARRAY_LEN(at));
	first = at[1] - at[0];
	second = at[2] - at[1];
	bytes = mem_alloc(d.len + 100);
	memcpy(bytes, d.bytes, d.len); /* changed places */
	memcpy(bytes + at[0], d.bytes + at[1], second);
	memcpy(bytes + at[0] + second, d.bytes + at[0], first);
	expect_previous(rig, &d, bytes, d.len);
	memcpy(bytes, d.bytes, at[1]); /* left out */
	memcpy(bytes + at[1], d.bytes + at[2], d.len - at[2]);
	expect_previous(rig, &d, bytes, d.len - second);
	memcpy(bytes, d.bytes, at[1]); /* twice */
	memcpy(bytes + at[1], d.bytes + at[0], d.len - at[0]);
	expect_previous(rig, &d, bytes, d.len + first);
	memcpy(bytes, d.bytes, d.len); /* something behind */
	expect_previous(rig, &d, bytes, d.len + 1);
	memcpy(bytes + d.len, d.bytes + at[n - 1], d.len - at[n - 1]);
	expect_previous(rig, &d, bytes, d.len + (d.len - at[n - 1]));
	expect_whole(rig, &d);
	free(bytes);
	free(d.bytes);
}

/* With sums that are right, as another program might write. */
static void seal(uint8_t *block)
{
	size_t len = 12 + load_be32(block + 8);

	store_be32(block + len, statefile_sum(block, len));
}

static void test_sums_are_right_and_the_rest_is_not(void **state)
{
	struct rig *rig = *state;
	struct damage d;
	size_t at[16], n;
	uint8_t *bytes;

	make(rig, &d);
	n = boundaries(&d, at, ARRAY_LEN(at));
	for (int what = 0; what < 9; what++) {
		uint8_t *swarms, *end;

		bytes = mem_dup(d.bytes, d.len);
		swarms = bytes + at[2];
		end = bytes + at[n - 1];
		switch (what) {
		case 0: /* an unknown blob */
			store_be32(bytes + at[0] + 12, 77);
			seal(bytes + at[0]);
			break;
		case 1: /* peers without end */
			store_be32(swarms + 12 + 24, UINT32_MAX);
			break;
		case 2:
			store_be32(swarms + 12 + 24, 1000);
			break;
		case 3: /* a state that there is not */
			swarms[12 + 28] = 0x0f;
			break;
		case 4:
			swarms[12 + 28] = 0x84;
			break;
		case 5: /* kinds */
			store_be32(swarms, 0);
			break;
		case 6:
			store_be32(swarms, 4);
			break;
		case 7: /* the end counts others */
			store_be64(end + 12, 99);
			seal(end);
			break;
		case 8:
			store_be64(end + 12 + 8, UINT64_MAX);
			seal(end);
			break;
		}
		if (what >= 1 && what <= 6)
			seal(swarms);
		expect_previous(rig, &d, bytes, d.len);
		free(bytes);
	}
	free(d.bytes);
}

static void test_versions(void **state)
{
	static const uint32_t versions[] = { 0, 2, 999, UINT32_MAX };
	struct rig *rig = *state;
	struct damage d;

	make(rig, &d);
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		uint8_t *bytes = mem_dup(d.bytes, d.len);
		char says[32];

		store_be32(bytes + 8, versions[i]);
		store_be32(bytes + 20, statefile_sum(bytes, 20));
		expect_previous(rig, &d, bytes, d.len);
		snprintf(says, sizeof(says), "version %u,", versions[i]);
		assert_non_null(strstr(rig->why, says));
		free(bytes);
	}
	d.bytes[0] = 'W';
	expect_previous(rig, &d, d.bytes, d.len);
	assert_non_null(strstr(rig->why, "not a state file"));
	free(d.bytes);
}

static void test_neither_generation(void **state)
{
	struct rig *rig = *state;
	struct damage d;

	make(rig, &d);
	rig_write(rig->path, d.bytes, d.len - 1);
	rig_write(rig->previous, d.bytes, d.len / 2);
	assert_int_equal(rig_load(rig, WALL), -EBADMSG);
	assert_true(rig_digest(rig->swarms) == d.empty_digest);
	assert_int_equal(rig->blobs.of[STATEFILE_KEY].len, 0);
	assert_non_null(strstr(rig->why, rig->previous));
	rig_write(rig->path, (const uint8_t *)"", 0);
	unlink(rig->previous);
	assert_int_equal(rig_load(rig, WALL), -EBADMSG);
	/* Neither stands in the way of a new one. */
	rig_add(rig->swarms, 1, 1, SWARM_SEEDER, 0);
	assert_int_equal(rig_save(rig, WALL), 0);
	assert_int_equal(rig_load(rig, WALL), 0);
	assert_int_equal(rig->loaded.peers, 1);
	free(d.bytes);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
	const struct CMUnitTest tests[] = {
		T(test_cut),
		T(test_flipped),
		T(test_blocks_moved_about),
		T(test_sums_are_right_and_the_rest_is_not),
		T(test_versions),
		T(test_neither_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
