/* Goal: cut, flipped, filled up or killed at any moment, the state comes back
 * with every torrent, and with bits that were put or with none. */
#include "tests/engine/state_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "engine/base/log.h"
#include "engine/base/random.h"

#define TORRENTS 6u

/* Torrents 0..5 with bits of version 100 + n, closed; the database's bytes are
 * the caller's. */
static struct world *world_to_damage(uint8_t **db, size_t *len)
{
	struct world *w = world_new(NULL);
	int64_t size;

	assert_int_equal(world_open(w), 0);
	for (unsigned n = 0; n < TORRENTS; n++) {
		assert_int_equal(world_put(w, n, false), 0);
		world_put_version(w, w->last_id, 100 + n);
		assert_int_equal(world_wait(w, 2 * n + 2), 0);
	}
	world_close(w);
	assert_false(scratch_has(w->dir, "state.db-wal"));
	size = scratch_size(w->dir, "state.db");
	assert_true(size > 0);
	*len = (size_t)size;
	*db = malloc(*len);
	assert_int_equal(scratch_read(w->dir, "state.db", *db, *len), size);
	return w;
}

static void clear_broken(struct world *w)
{
	char name[60];

	for (int i = 1; i < 4; i++) {
		snprintf(name, sizeof(name), "state.db.broken-%d", i);
		unlink(scratch_path(w->dir, name));
		snprintf(name, sizeof(name), "state.db.broken-%d-wal", i);
		unlink(scratch_path(w->dir, name));
		snprintf(name, sizeof(name), "state.db.broken-%d-shm", i);
		unlink(scratch_path(w->dir, name));
	}
}

/* Opens over BYTES. True if bits were kept, all of them right. */
static bool open_damaged(struct world *w, const uint8_t *bytes, size_t len)
{
	struct loaded *l;
	unsigned num_bits = 0;
	int r;

	scratch_write(w->dir, "state.db", bytes, len);
	unlink(scratch_path(w->dir, "state.db-wal"));
	unlink(scratch_path(w->dir, "state.db-shm"));
	r = world_open(w);
	if (r) {
		/* The version itself was hit: a person decides. */
		assert_int_equal(r, -EOPNOTSUPP);
		world_close(w);
		return false;
	}
	l = world_load(w);
	assert_int_equal(l->num, TORRENTS);
	for (unsigned i = 0; i < l->num; i++) {
		unsigned n;

		for (n = 0; n < TORRENTS; n++) {
			struct infohash ih = torrent_infohash(n);

			if (infohash_eq(&ih, &l->t[i].infohash))
				break;
		}
		assert_true(n < TORRENTS);
		assert_true(world_has_metainfo(w, n));
		if (l->t[i].has_bits) {
			assert_int_equal(l->t[i].version, 100 + n);
			num_bits++;
		}
	}
	free(l);
	/* And it can be written to. */
	assert_int_equal(world_put(w, 0, false), 0);
	world_close(w);
	clear_broken(w);
	return num_bits == TORRENTS;
}

static void test_truncated__at_every_page(void **state)
{
	uint8_t *db;
	size_t len;
	struct world *w = world_to_damage(&db, &len);

	assert_true(open_damaged(w, db, len));
	for (size_t at = 0; at < len; at += 4096) {
		assert_false(open_damaged(w, db, at));
		assert_false(open_damaged(w, db, at + 1000));
	}
	free(db);
	world_free(w);
}

static void test_flipped__bits_in_every_page(void **state)
{
	struct prng rng = { 2026 };
	uint8_t *db;
	size_t len;
	struct world *w = world_to_damage(&db, &len);

	log_set_level(LOG_LEVEL_ERROR);
	for (size_t page = 0; page < len; page += 4096) {
		for (int i = 0; i < 8; i++) {
			/* Half of them where a page keeps its order. */
			size_t at = page + prng_below(&rng, i % 2 ? 4096 : 100);
			uint8_t bit = (uint8_t)(1 << prng_below(&rng, 8));

			db[at] ^= bit;
			open_damaged(w, db, len);
			db[at] ^= bit;
		}
	}
	assert_true(open_damaged(w, db, len));
	free(db);
	world_free(w);
}

static void test_overwritten__with_what_is_no_database(void **state)
{
	uint8_t *db;
	size_t len;
	struct world *w = world_to_damage(&db, &len);

	memset(db, 0, len);
	assert_false(open_damaged(w, db, len));
	memset(db, 'x', len);
	assert_false(open_damaged(w, db, len));
	random_bytes(db, len);
	assert_false(open_damaged(w, db, len));
	free(db);
	world_free(w);
}

static size_t read_file(struct world *w, const char *name, uint8_t **out)
{
	int64_t size = scratch_size(w->dir, name);

	assert_true(size >= 0);
	*out = malloc((size_t)size + 1);
	assert_int_equal(scratch_read(w->dir, name, *out, (size_t)size), size);
	return (size_t)size;
}

/* As after a power cut: the log ends anywhere, or is damaged somewhere. */
static void test_log__cut_or_flipped_gives_an_older_version(void **state)
{
	struct world *w = world_new(NULL), *copy = world_new(NULL);
	struct prng rng = { 9 };
	uint8_t *db, *wal;
	size_t db_len, wal_len;
	char cmd[3 * PATH_MAX];

	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 1, false), 0);
	for (uint32_t v = 1; v <= 30; v++) {
		world_put_version(w, w->last_id, v);
		assert_int_equal(world_wait(w, v + 1), 0);
	}
	db_len = read_file(w, "state.db", &db);
	wal_len = read_file(w, "state.db-wal", &wal);
	snprintf(cmd, sizeof(cmd), "cp -r '%.4000s/torrents' '%.4000s/'",
		 w->dir, copy->dir);
	assert_int_equal(system(cmd), 0);
	world_close(w);

	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < 40; i++) {
		size_t cut = i ? prng_below(&rng, (uint32_t)wal_len) : wal_len;
		struct loaded *l;

		scratch_write(copy->dir, "state.db", db, db_len);
		unlink(scratch_path(copy->dir, "state.db-shm"));
		if (i % 2) {
			wal[cut] ^= 4;
			scratch_write(copy->dir, "state.db-wal", wal, wal_len);
			wal[cut] ^= 4;
		} else {
			scratch_write(copy->dir, "state.db-wal", wal, cut);
		}
		assert_int_equal(world_open(copy), 0);
		l = world_load(copy);
		assert_int_equal(l->num, 1);
		if (!i)
			assert_int_equal(l->t[0].version, 30);
		else if (l->t[0].has_bits)
			assert_true(l->t[0].version <= 30);
		free(l);
		world_close(copy);
		clear_broken(copy);
	}
	free(db);
	free(wal);
	world_free(copy);
	world_free(w);
}

/* --- a full disk --- */

static void test_full_disk__is_told_and_goes_away(void **state)
{
	struct world *w = world_new(NULL);
	static uint8_t filler[4096];
	struct loaded *l;
	int64_t id;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", w->dir, "tmpfs", 0, "size=1m") < 0) {
		world_free(w);
		skip(); /* wants root */
	}
	assert_int_equal(world_open(w), 0);
	assert_int_equal(world_put(w, 0, false), 0);
	id = w->last_id;
	world_put_version(w, id, 1);
	assert_int_equal(world_wait(w, 2), 0);
	fd = open(scratch_path(w->dir, "filler"), O_WRONLY | O_CREAT, 0600);
	while (write(fd, filler, sizeof(filler)) > 0)
		;
	close(fd);

	for (unsigned n = 1; n <= 40; n++) {
		struct state_torrent t = { .magnet = "magnet:?xt=x" };
		size_t len;
		char *bytes = torrent_make(n, &len, &t.infohash);

		state_put(w->state, &t, n % 2 ? (const uint8_t *)bytes : NULL,
			  n % 2 ? len : 0, world_on_done, w);
		free(bytes);
		assert_int_equal(world_wait(w, n + 2), -ENOSPC);
	}
	for (uint32_t v = 2; v < 40; v++)
		world_put_version(w, id, v);
	assert_int_equal(world_wait(w, 80), -ENOSPC);

	assert_int_equal(unlink(scratch_path(w->dir, "filler")), 0);
	assert_int_equal(world_put(w, 50, false), 0);
	world_put_version(w, id, 60);
	assert_int_equal(world_wait(w, 82), 0);
	world_close(w);
	assert_int_equal(world_open(w), 0);
	l = world_load(w);
	assert_int_equal(l->num, 2); /* what failed is not there */
	assert_int_equal(l->t[0].version, 60);
	assert_true(world_has_metainfo(w, 50));
	free(l);
	world_close(w);
	umount(w->dir);
	world_free(w);
}

/* --- kill -9 --- */

#define KILLED_TORRENTS 5u

/* Torrent N with a long comment that tells the version: one half written would
 * be seen. Owned by the caller. */
#define COMMENT 200000u
static char *big_make(unsigned n, uint32_t version, size_t *len,
		      struct infohash *ih)
{
	char *small = torrent_make(n, len, ih);
	char *big = mem_printf("d7:comment%u:%*s%s", COMMENT, (int)COMMENT, "",
			       small + 1);

	memset(strchr(big + 3, ' '), 'a' + (int)(version / 8 % 26), COMMENT);
	*len = strlen(big);
	free(small);
	return big;
}

static bool has_big(struct world *w, unsigned n)
{
	struct infohash ih;
	size_t len, got;
	char *big = big_make(n, 0, &len, &ih), *at = strchr(big + 3, 'a');
	uint8_t *read;
	bool same = false;

	if (!state_read_metainfo(w->state, &ih, &read, &got)) {
		memset(at, got == len ? read[at - big] : 0, COMMENT);
		same = got == len && !memcmp(read, big, len);
		free(read);
	}
	free(big);
	return same;
}

/* What the child has been told is durable, in memory that it shares. */
struct ack {
	uint32_t version; /* of the bits */
	bool is_put;
};

struct turn {
	struct world *w;
	int fd; /* to the parent: news, as struct told */
	int64_t ids[KILLED_TORRENTS];
	unsigned n; /* torrent */
	uint32_t version;
};

struct told {
	uint32_t n, version; /* version 0: the torrent itself */
};

static void turn_next(struct turn *turn);

static void on_turn(void *arg, int r, int64_t id)
{
	struct turn *turn = arg;
	struct told told = { turn->n, turn->version };

	if (r || write(turn->fd, &told, sizeof(told)) != sizeof(told))
		_exit(9);
	turn->ids[turn->n] = id;
	if (++turn->n == KILLED_TORRENTS) {
		turn->n = 0;
		turn->version++;
	}
	turn_next(turn);
}

static void turn_next(struct turn *turn)
{
	struct state_torrent t = { .has_metainfo = true };
	struct store_stamp stamps[STAMPS];
	uint8_t bits[BITS];
	size_t len;
	char *bytes;

	if (turn->version % 8) {
		version_fill(turn->version, bits, stamps);
		t.id = turn->ids[turn->n];
		t.have = bits;
		t.have_len = BITS;
		t.stamps = stamps;
		t.num_stamps = STAMPS;
		state_put_have(turn->w->state, &t, on_turn, turn);
		return;
	}
	bytes = big_make(turn->n, turn->version, &len, &t.infohash);
	state_put(turn->w->state, &t, (uint8_t *)bytes, len, on_turn, turn);
	free(bytes);
}

static void child_main(struct world *w, int fd, uint32_t first_version)
{
	struct turn turn = { .w = w, .fd = fd, .version = first_version };

	if (world_open(w))
		_exit(8);
	turn_next(&turn);
	loop_run(w->loop);
}

/* Lets a child put until it has told COUNT times, then kills it. */
static void run_and_kill(struct world *w, uint32_t first_version,
			 unsigned count, struct ack acks[KILLED_TORRENTS])
{
	int fds[2], status;
	struct told told;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(fds[0]);
		child_main(w, fds[1], first_version);
		_exit(7);
	}
	close(fds[1]);
	while (read(fds[0], &told, sizeof(told)) == sizeof(told)) {
		acks[told.n].is_put = true;
		if (told.version % 8)
			acks[told.n].version = told.version;
		if (count && !--count)
			kill(pid, SIGKILL);
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_killed__rows_have_files_and_bits_are_ones_put(void **state)
{
	struct ack acks[KILLED_TORRENTS] = { { 0 } };
	struct world *w = world_new(NULL);
	struct prng rng = { 11 };
	int64_t ids[KILLED_TORRENTS] = { 0 };

	for (uint32_t round = 0; round < 20; round++) {
		struct loaded *l;

		run_and_kill(w, round * 8000, 1 + prng_below(&rng, 80), acks);
		assert_int_equal(world_open(w), 0);
		l = world_load(w);
		for (unsigned i = 0; i < l->num; i++) {
			uint32_t v = l->t[i].version;
			unsigned n = 0;

			for (; n < KILLED_TORRENTS; n++) {
				struct infohash ih = torrent_infohash(n);

				if (infohash_eq(&ih, &l->t[i].infohash))
					break;
			}
			assert_true(n < KILLED_TORRENTS);
			assert_true(l->t[i].has_metainfo);
			assert_true(has_big(w, n));
			if (ids[n])
				assert_int_equal(l->t[i].id, ids[n]);
			ids[n] = l->t[i].id;
			if (l->t[i].has_bits) {
				/* Whole, and no older than what was told. */
				assert_int_not_equal(v, UINT32_MAX);
				assert_true(v >= acks[n].version);
				acks[n].version = v;
			}
			acks[n].is_put = false;
		}
		/* All that were told to be put were there. */
		for (unsigned n = 0; n < KILLED_TORRENTS; n++) {
			assert_false(acks[n].is_put);
			acks[n].is_put = ids[n] > 0;
		}
		free(l);
		world_close(w);
	}
	assert_false(scratch_has(w->dir, "state.db.broken-1"));
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_truncated__at_every_page),
		cmocka_unit_test(test_flipped__bits_in_every_page),
		cmocka_unit_test(test_overwritten__with_what_is_no_database),
		cmocka_unit_test(
			test_log__cut_or_flipped_gives_an_older_version),
		cmocka_unit_test(test_full_disk__is_told_and_goes_away),
		cmocka_unit_test(
			test_killed__rows_have_files_and_bits_are_ones_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
