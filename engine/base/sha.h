/* engine/base/sha.h: SHA-1 and SHA-256 through OpenSSL. Workers for anything
 * longer than a handful of kilobytes; otherwise any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA1_LEN   20
#define SHA256_LEN 32

void sha1(const void *ptr, size_t len, uint8_t out[SHA1_LEN]);
void sha256(const void *ptr, size_t len, uint8_t out[SHA256_LEN]);

/* The same in parts. One owner at a time. */
enum hash_kind {
	HASH_SHA1,
	HASH_SHA256
};
struct hasher;
struct hasher *hasher_new(enum hash_kind kind);
void hasher_reset(struct hasher *h);
void hasher_update(struct hasher *h, const void *ptr, size_t len);
void hasher_final(struct hasher *h, uint8_t *out); /* then reset */
void hasher_free(struct hasher *h);
