/* Goal: no answer of an HTTP tracker and no announce URL of a torrent makes us
 * misbehave; what is taken stays within its limits, and a URL that we build
 * says each of our things exactly once. A first byte '?' makes the rest a URL,
 * anything else is an answer as a whole. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "tracker/http_tracker.h"

static void check_text(const char *s)
{
	size_t len = strnlen(s, LIMIT_TRACKER_TEXT_BYTES);

	CHECK(len < LIMIT_TRACKER_TEXT_BYTES);
	for (size_t i = 0; i < len; i++)
		CHECK((uint8_t)s[i] >= ' ' && s[i] != 0x7f && s[i] != '"');
}

static void try_answer(const uint8_t *data, size_t size)
{
	struct announce_answer a;
	int r;

	announce_answer_init(&a);
	r = http_tracker_parse(data, size, &a);
	CHECK(r == a.r && r <= 0);
	CHECK(r == 0 || r == -EPERM || r == -EBADMSG || r == -E2BIG);
	check_text(a.text);
	check_text(a.warning);
	CHECK(a.num_peers <= LIMIT_TRACKER_PEERS);
	for (size_t i = 0; i < a.num_peers; i++)
		CHECK(a.peers[i].port &&
		      (a.peers[i].family == 4 || a.peers[i].family == 6));
	CHECK(a.interval_s >= 0 && a.min_interval_s >= 0);
	CHECK(a.retry_s >= -1 && a.retry_s <= LIMIT_TRACKER_INTERVAL_S);
	CHECK(a.seeders >= -1 && a.leechers >= -1);
	CHECK(a.tracker_id_len <= LIMIT_TRACKER_ID_BYTES);
	if (r)
		CHECK(!a.num_peers && (r == -EPERM || a.text[0]));
	announce_answer_release(&a);
}

static unsigned count(const char *s, const char *part)
{
	unsigned n = 0;

	while ((s = strstr(s, part))) {
		n++;
		s += strlen(part);
	}
	return n;
}

static void try_url(const uint8_t *data, size_t size)
{
	char *url = mem_alloc(size + 1), *query;
	struct announce_request q = { .event = ANNOUNCE_STARTED, .port = 1 };
	struct buf b;
	int r;

	if (size)
		memcpy(url, data, size);
	buf_init(&b, LIMIT_HTTP_URL_BYTES + 1);
	r = http_tracker_url(
		url, &q, size & 1 ? 4 : 6, data,
		size < LIMIT_TRACKER_ID_BYTES ? size : LIMIT_TRACKER_ID_BYTES,
		&b);
	CHECK(r == 0 || r == -EINVAL || r == -E2BIG);
	if (!r) {
		CHECK(b.len && !b.ptr[b.len - 1]);
		CHECK(strlen((char *)b.ptr) + 1 == b.len);
		query = strchr((char *)b.ptr, '?');
		CHECK(query && !strchr(query, '#'));
		CHECK(count(query, "&info_hash=") +
			      count(query, "?info_hash=") ==
		      1);
		CHECK(count(query, "&port=1&") == 1);
		CHECK(count(query, "&event=") == 1);
		CHECK(count(query, "&left=") == 1);
	}
	buf_release(&b);
	free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size && data[0] == '?')
		try_url(data + 1, size - 1);
	else
		try_answer(data, size);
	return 0;
}
