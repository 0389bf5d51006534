/* engine/base/bencode.h: bencoding (BEP 3). A buffer is validated once, then
 * walked in place: no copies, no tree, no recursion.
 *
 * Strict where looseness is an attack: no leading zeros, no "-0", integers fit
 * int64, string lengths stay inside the buffer, keys are strings, nesting and
 * number of values are capped. Lenient where real torrents are sloppy: keys
 * may be unsorted; of duplicate keys the first one counts.
 *
 * Everything here borrows the validated buffer. Any thread. */
#pragma once

#include <stdbool.h>

#include "engine/base/buf.h"
#include "engine/base/bytes.h"

/* One value inside a validated buffer. {NULL, NULL} means "absent", and every
 * function below takes an absent node and answers "no". */
struct bnode {
	const uint8_t *ptr, *end; /* end: of the value for what bencode_parse
				   * and the walkers return */
};

struct bencode_limits {
	unsigned depth;  /* of containers, at most LIMIT_BENCODE_DEPTH */
	unsigned tokens; /* values in all, keys not counted */
};

/*
 * Validates the value at the start of BUF. *out_len: its length; bytes after
 * it are the caller's to judge. Returns 0; -EBADMSG malformed (*out_error_at:
 * offset); -E2BIG over a limit. out_error_at may be NULL.
 */
int bencode_parse(const uint8_t *buf, size_t len,
		  const struct bencode_limits *limits, struct bnode *out,
		  size_t *out_len, size_t *out_error_at);

bool bnode_is_dict(struct bnode n);
bool bnode_is_list(struct bnode n);
bool bnode_is_str(struct bnode n);
bool bnode_is_int(struct bnode n);

bool bnode_int(struct bnode n, int64_t *out);     /* false: not an integer */
bool bnode_str(struct bnode n, struct span *out); /* false: not a string */
struct span bnode_raw(struct bnode n);            /* the encoded value */

/* The value under KEY; absent when N is no dict or has no such key. */
struct bnode bnode_get(struct bnode n, const char *key);
/* The same, only if it has the right type; absent or false otherwise. */
struct bnode bnode_get_dict(struct bnode n, const char *key);
struct bnode bnode_get_list(struct bnode n, const char *key);
bool bnode_get_int(struct bnode n, const char *key, int64_t *out);
bool bnode_get_str(struct bnode n, const char *key, struct span *out);

/* Walks a list (key stays empty) or a dict, in the order of the bytes. */
struct bwalk {
	const uint8_t *at, *end;
	bool is_dict;
};
struct bwalk bwalk_of(struct bnode n); /* an absent or scalar node: no steps */
bool bwalk_next(struct bwalk *w, struct span *key, struct bnode *value);
size_t bnode_count(struct bnode n); /* elements of a list or dict */

/* Writing. The caller keeps keys sorted and dicts closed. */
void benc_int(struct buf *b, int64_t v);
void benc_str(struct buf *b, const void *s, size_t len);
void benc_cstr(struct buf *b, const char *s);
void benc_dict(struct buf *b);
void benc_list(struct buf *b);
void benc_end(struct buf *b);
