/* Goal: at most so many files stay open, the least recently used goes first,
 * and nobody's descriptor is closed or reused while he holds it. */
#include "tests/cmocka_all.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "engine/base/random.h"
#include "engine/fdcache.h"

static int new_fd(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_get__finds_what_was_added(void **state)
{
	struct fdcache *c = fdcache_new(4);
	struct fdfile *slot = NULL, *f;
	int fd = new_fd();

	assert_null(fdcache_get(c, &slot, false));
	f = fdcache_add(c, &slot, fd, false);
	assert_int_equal(f->fd, fd);
	fdcache_put(c, f);
	assert_ptr_equal(fdcache_get(c, &slot, false), f);
	fdcache_put(c, f);
	assert_null(fdcache_get(c, &slot, true)); /* not writable */
	fdcache_drop(c, &slot);
	assert_null(slot);
	assert_false(is_open(fd));
	fdcache_drop(c, &slot); /* harmless */
	fdcache_free(c);
}

static void test_add__closes_the_least_recently_used(void **state)
{
	struct fdcache *c = fdcache_new(2);
	struct fdfile *slots[3] = { NULL };
	int fds[3];

	for (int i = 0; i < 2; i++) {
		fds[i] = new_fd();
		fdcache_put(c, fdcache_add(c, &slots[i], fds[i], false));
	}
	/* Using the first again makes the second the oldest. */
	fdcache_put(c, fdcache_get(c, &slots[0], false));
	fds[2] = new_fd();
	fdcache_put(c, fdcache_add(c, &slots[2], fds[2], false));
	assert_int_equal(fdcache_num_open(c), 2);
	assert_non_null(slots[0]);
	assert_null(slots[1]);
	assert_false(is_open(fds[1]));
	assert_true(is_open(fds[0]) && is_open(fds[2]));
	for (int i = 0; i < 3; i++)
		fdcache_drop(c, &slots[i]);
	fdcache_free(c);
}

static void test_held__outlives_drop_and_eviction(void **state)
{
	struct fdcache *c = fdcache_new(1);
	struct fdfile *slots[3] = { NULL }, *held[3];
	int fds[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = new_fd();
		held[i] = fdcache_add(c, &slots[i], fds[i], false);
	}
	/* All three are held: over the limit, and none is closed. */
	assert_int_equal(fdcache_num_open(c), 3);
	fdcache_drop(c, &slots[0]);
	assert_null(slots[0]);
	assert_true(is_open(fds[0]));
	fdcache_put(c, held[0]);
	assert_false(is_open(fds[0]));
	/* The limit bites as soon as one is let go. */
	fdcache_put(c, held[1]);
	assert_false(is_open(fds[1]));
	assert_null(slots[1]);
	fdcache_put(c, held[2]);
	assert_true(is_open(fds[2]));
	assert_int_equal(fdcache_num_open(c), 1);
	fdcache_drop(c, &slots[2]);
	fdcache_free(c);
}

static void test_add__the_faster_one_wins_unless_it_cannot_write(void **state)
{
	struct fdcache *c = fdcache_new(4);
	struct fdfile *slot = NULL, *a, *b, *w;
	int fds[3] = { new_fd(), new_fd(), new_fd() };

	a = fdcache_add(c, &slot, fds[0], false);
	b = fdcache_add(c, &slot, fds[1], false);
	assert_ptr_equal(a, b);
	assert_false(is_open(fds[1]));
	w = fdcache_add(c, &slot, fds[2], true);
	assert_ptr_not_equal(w, a);
	assert_ptr_equal(slot, w);
	assert_true(is_open(fds[0])); /* still held, twice */
	fdcache_put(c, a);
	assert_true(is_open(fds[0]));
	fdcache_put(c, b);
	assert_false(is_open(fds[0]));
	fdcache_put(c, w);
	fdcache_drop(c, &slot);
	fdcache_free(c);
}

#define RACE_SLOTS 12
struct race {
	struct fdcache *cache;
	struct fdfile *slots[RACE_SLOTS];
	uint64_t seed;
	int bad;
};

/* Each slot stands for a pipe whose inode tells which it is. */
static void *race_main(void *arg)
{
	struct race *race = arg;
	struct prng rng = { __atomic_fetch_add(&race->seed, 77,
					       __ATOMIC_RELAXED) };

	for (int i = 0; i < 4000; i++) {
		uint32_t at = prng_below(&rng, RACE_SLOTS);
		struct fdfile **slot = &race->slots[at];
		struct fdfile *f = fdcache_get(race->cache, slot, false);

		if (!f)
			f = fdcache_add(race->cache, slot, new_fd(), false);
		if (!is_open(f->fd))
			__atomic_store_n(&race->bad, 1, __ATOMIC_RELAXED);
		if (!prng_below(&rng, 50))
			fdcache_drop(race->cache, slot);
		if (!is_open(f->fd))
			__atomic_store_n(&race->bad, 1, __ATOMIC_RELAXED);
		fdcache_put(race->cache, f);
	}
	return NULL;
}

static void test_race__no_descriptor_dies_while_held(void **state)
{
	struct race race = { .cache = fdcache_new(4), .seed = 1 };
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, race_main, &race), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_false(race.bad);
	assert_true(fdcache_num_open(race.cache) <= 4);
	for (int i = 0; i < RACE_SLOTS; i++)
		fdcache_drop(race.cache, &race.slots[i]);
	assert_int_equal(fdcache_num_open(race.cache), 0);
	fdcache_free(race.cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get__finds_what_was_added),
		cmocka_unit_test(test_add__closes_the_least_recently_used),
		cmocka_unit_test(test_held__outlives_drop_and_eviction),
		cmocka_unit_test(
			test_add__the_faster_one_wins_unless_it_cannot_write),
		cmocka_unit_test(test_race__no_descriptor_dies_while_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
