/* engine/base/sha_side.h: hashes side by side. Where a CPU has instructions for
 * SHA, most of a hash is spent waiting for its own last step: a second one, of
 * other bytes or of another kind, costs little more than nothing. OpenSSL does
 * one at a time. Elsewhere these are OpenSSL's, one after the other.
 *
 * Workers for anything longer than a handful of kilobytes; otherwise any
 * thread. */
#pragma once

#include "engine/base/sha.h"

/* SHA-256 of A and of B, LEN bytes each. */
void sha256_pair(const void *a, const void *b, size_t len,
		 uint8_t out_a[SHA256_LEN], uint8_t out_b[SHA256_LEN]);

/* SHA-1 in parts, as struct hasher. One owner at a time. */
struct sha1_run;
struct sha1_run *sha1_run_new(void);
void sha1_run_free(struct sha1_run *r); /* harmless on NULL */
void sha1_run_reset(struct sha1_run *r);
void sha1_run_update(struct sha1_run *r, const void *p, size_t len);
/* P for R and P2 for R2, another one; LEN bytes each. */
void sha1_run_update_pair(struct sha1_run *r, const void *p,
			  struct sha1_run *r2, const void *p2, size_t len);
/* And the SHA-256 of these bytes alone. */
void sha1_run_update_leaf(struct sha1_run *r, const void *p, size_t len,
			  uint8_t leaf[SHA256_LEN]);
void sha1_run_final(struct sha1_run *r, uint8_t out[SHA1_LEN]); /* and reset */
