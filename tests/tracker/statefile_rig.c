#include "tests/tracker/statefile_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/bytes.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "tests/cmocka_all.h"

struct swarms *rig_new_swarms(void)
{
	struct swarms_options options = { .is_replicated = true };

	random_bytes(options.seed, sizeof(options.seed));
	return swarms_new(&options, RIG_NOW_MS);
}

static void init_blobs(struct statefile_blobs *blobs)
{
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_init(&blobs->of[i], 0);
}

static void release_blobs(struct statefile_blobs *blobs)
{
	for (int i = 0; i < STATEFILE_BLOBS; i++)
		buf_release(&blobs->of[i]);
}

int rig_set_up(void **state)
{
	struct rig *rig = mem_alloc(sizeof(*rig));

	snprintf(rig->dir, sizeof(rig->dir), "/tmp/weir-statefile-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->path, sizeof(rig->path), "%s/state", rig->dir);
	snprintf(rig->previous, sizeof(rig->previous), "%s.1", rig->path);
	snprintf(rig->tmp, sizeof(rig->tmp), "%s.tmp", rig->path);
	rig->swarms = rig_new_swarms();
	init_blobs(&rig->blobs);
	*state = rig;
	return 0;
}

int rig_tear_down(void **state)
{
	struct rig *rig = *state;

	swarms_free(rig->swarms);
	release_blobs(&rig->blobs);
	if (unlink(rig->path) && errno == EISDIR)
		rmdir(rig->path);
	unlink(rig->previous);
	assert_int_equal(rmdir(rig->dir), 0); /* nothing else is left */
	free(rig);
	return 0;
}

struct infohash rig_torrent(uint64_t n)
{
	struct prng r = { n };
	struct infohash h;

	for (int i = 0; i < 20; i++)
		h.b[i] = (uint8_t)prng_u64(&r);
	return h;
}

void rig_add(struct swarms *s, uint64_t torrent, uint32_t n,
	     enum swarm_state state, unsigned age_min)
{
	struct swarm_record r = { .infohash = rig_torrent(torrent),
				  .state = state,
				  .age_min = (uint8_t)age_min };

	r.peer.family = n % 3 ? 4 : 6;
	r.peer.ip[0] = n % 3 ? 9 : 0x20;
	store_be16(r.peer.ip + 2, (uint16_t)(n >> 8));
	r.peer.port = (uint16_t)(1000 + n % 256);
	assert_true(swarms_apply(s, &r));
}

struct digest {
	struct swarms *swarms;
	uint64_t sum;
};

static uint64_t hash_of(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	struct prng r = { len };

	while (len--)
		r.state = prng_u64(&r) ^ *p++;
	return prng_u64(&r);
}

static void add_swarm(void *arg, const struct swarm_view *v)
{
	struct digest *d = arg;
	struct {
		struct infohash h;
		uint32_t completed;
	} head = { *v->infohash, v->counts.completed };

	d->sum += hash_of(&head, sizeof(head));
	for (unsigned i = 0; i < v->num_peers; i++) {
		struct swarm_record r;
		uint8_t flat[64] = { 0 };

		swarm_view_peer(d->swarms, v, i, &r);
		memcpy(flat, r.infohash.b, 20);
		memcpy(flat + 20, r.peer.ip, 16);
		flat[36] = r.peer.family;
		store_be16(flat + 37, r.peer.port);
		flat[39] = (uint8_t)r.state;
		flat[40] = r.age_min;
		d->sum += hash_of(flat, sizeof(flat));
	}
}

uint64_t rig_digest(struct swarms *s)
{
	struct digest d = { s, 0 };

	for (unsigned i = 0; i < SWARMS_SHARDS; i++)
		swarms_visit(s, i, add_swarm, &d);
	return d.sum;
}

int rig_save(struct rig *rig, int64_t wall_s)
{
	return statefile_save(rig->path, rig->swarms, &rig->blobs, wall_s,
			      rig->why, sizeof(rig->why));
}

int rig_load(struct rig *rig, int64_t wall_s)
{
	swarms_free(rig->swarms);
	rig->swarms = rig_new_swarms();
	release_blobs(&rig->blobs);
	return statefile_load(rig->path, rig->swarms, &rig->blobs, wall_s,
			      &rig->loaded, rig->why, sizeof(rig->why));
}

uint8_t *rig_read(const char *path, size_t *len)
{
	FILE *f = fopen(path, "r");
	uint8_t *bytes;
	long size;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	rewind(f);
	bytes = mem_alloc((size_t)size + 1);
	*len = fread(bytes, 1, (size_t)size, f);
	assert_int_equal(*len, size);
	fclose(f);
	return bytes;
}

void rig_write(const char *path, const uint8_t *bytes, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}
