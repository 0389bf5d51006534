/* engine/base/hex.h: hex and base32 (RFC 4648), both ways. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OUT holds 2 * len + 1 chars. Lower case. Returns OUT. */
char *hex_encode(const void *bytes, size_t len, char *out);
/* Exactly 2 * LEN digits of either case at S; false otherwise. */
bool hex_decode(const char *s, size_t slen, uint8_t *out, size_t len);
/* Exactly the digits that LEN bytes need (32 for 20), either case, no '='. */
bool base32_decode(const char *s, size_t slen, uint8_t *out, size_t len);
