/* Goal: no bytes make bencode_parse or the walkers misbehave, and what is
 * accepted is canonical: written again from its parts it is the same bytes. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"

#define SAME_KEYS 32 /* entries of a dict that are looked up one by one */

static const struct bencode_limits wide = { LIMIT_BENCODE_DEPTH,
					    LIMIT_BENCODE_TOKENS };
static const struct bencode_limits narrow = { 4, 20 };

static void check_get(struct bnode n, const struct bwalk *at,
		      struct span wanted)
{
	struct bwalk w = bwalk_of(n);
	struct bnode found, value;
	struct span key;
	char *text;

	text = strndup((const char *)wanted.ptr, wanted.len);
	CHECK(text);
	found = bnode_get(n, text);
	while (bwalk_next(&w, &key, &value)) {
		if (key.len == strlen(text) && !memcmp(key.ptr, text, key.len))
			break; /* the first one counts */
	}
	CHECK(found.ptr == value.ptr && found.end == value.end);
	CHECK(memchr(wanted.ptr, '\0', wanted.len) || found.end <= at->at);
	free(text);
}

/* Depth is bounded by LIMIT_BENCODE_DEPTH, which bencode_parse enforced. */
static void rewrite(struct bnode n, struct buf *out, size_t *tokens)
{
	struct bwalk w = bwalk_of(n);
	struct bnode value;
	struct span key, s;
	size_t count = 0;
	int64_t i;

	++*tokens;
	CHECK(bnode_is_dict(n) + bnode_is_list(n) + bnode_is_str(n) +
		      bnode_is_int(n) ==
	      1);
	if (bnode_int(n, &i)) {
		benc_int(out, i);
		return;
	}
	if (bnode_str(n, &s)) {
		CHECK(s.ptr + s.len == n.end);
		benc_str(out, s.ptr, s.len);
		return;
	}
	if (bnode_is_dict(n))
		benc_dict(out);
	else
		benc_list(out);
	while (bwalk_next(&w, &key, &value)) {
		CHECK(!key.ptr == bnode_is_list(n));
		if (key.ptr) {
			benc_str(out, key.ptr, key.len);
			if (count < SAME_KEYS)
				check_get(n, &w, key);
		}
		rewrite(value, out, tokens);
		count++;
	}
	CHECK(bnode_count(n) == count);
	benc_end(out);
}

static void look_around(struct bnode n)
{
	struct bnode info = bnode_get_dict(n, "info");
	struct span s;
	int64_t i;

	if (bnode_get_str(info, "pieces", &s))
		CHECK(s.ptr > info.ptr && s.ptr + s.len < info.end);
	if (bnode_get_int(info, "piece length", &i))
		CHECK(bnode_is_dict(n));
	CHECK(!bnode_get_list(bnode_get_list(n, "files"), "x").ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len, small_len, error_at = SIZE_MAX, tokens = 0;
	struct bnode n, small;
	struct buf b;
	int r, r_small;

	r = bencode_parse(data, size, &wide, &n, &len, &error_at);
	r_small = bencode_parse(data, size, &narrow, &small, &small_len, NULL);
	look_around(n);
	if (r) {
		CHECK(!n.ptr && !len && error_at <= size && r_small);
		return 0;
	}
	CHECK(n.ptr == data && n.end == data + len && len <= size);
	buf_init(&b, 0);
	rewrite(n, &b, &tokens);
	CHECK(b.len == len && !memcmp(b.ptr, data, len));
	CHECK(r_small || (small_len == len && tokens <= narrow.tokens));
	buf_release(&b);
	return 0;
}
