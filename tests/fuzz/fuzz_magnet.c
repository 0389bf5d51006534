/* Goal: no text makes the magnet parser misbehave, and what is accepted is
 * below the limits and reads back as the same when it is written again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/magnet.h"

static void check_lists(const struct magnet *m)
{
	CHECK(m->num_trackers <= LIMIT_TRACKERS);
	CHECK(m->num_webseeds <= LIMIT_WEBSEEDS);
	CHECK(m->num_peers <= LIMIT_MAGNET_PEERS);
	for (size_t i = 0; i < m->num_trackers; i++)
		CHECK(strstr(m->trackers[i], "://"));
	for (size_t i = 0; i < m->num_webseeds; i++)
		CHECK(!strncmp(m->webseeds[i], "http", 4));
	for (size_t i = 0; i < m->num_peers; i++)
		CHECK(strchr(m->peers[i], ':'));
	for (size_t i = 0; i < m->num_ranges; i++) {
		CHECK(m->ranges[i].first <= m->ranges[i].last);
		CHECK(m->ranges[i].last < LIMIT_FILES);
		CHECK(!i || m->ranges[i].first > m->ranges[i - 1].last + 1);
	}
}

static void check_same(const struct magnet *a, const struct magnet *b)
{
	CHECK(a->has_v1 == b->has_v1 && a->has_v2 == b->has_v2);
	CHECK(infohash_eq(&a->infohash, &b->infohash));
	CHECK(infohash2_eq(&a->infohash2, &b->infohash2));
	CHECK(!a->name == !b->name && (!a->name || !strcmp(a->name, b->name)));
	CHECK(a->num_trackers == b->num_trackers);
	CHECK(a->num_webseeds == b->num_webseeds);
	CHECK(a->num_peers == b->num_peers && a->num_ranges == b->num_ranges);
	for (size_t i = 0; i < a->num_peers; i++)
		CHECK(!strcmp(a->peers[i], b->peers[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char why[MAGNET_WHY_SIZE], *text, *text2;
	struct magnet *m, *again;

	if (magnet_parse((const char *)data, size, &m, why)) {
		CHECK(*why && !m);
		return 0;
	}
	CHECK(!*why && (m->has_v1 || m->has_v2));
	check_lists(m);
	text = magnet_format(m);
	/* Escapes can make the link longer than it came. */
	if (strlen(text) <= LIMIT_MAGNET_BYTES) {
		CHECK(!magnet_parse(text, strlen(text), &again, why));
		check_same(m, again);
		text2 = magnet_format(again);
		CHECK(!strcmp(text, text2));
		free(text2);
		magnet_free(again);
	}
	free(text);
	magnet_free(m);
	return 0;
}
