/* dht/token.h: write tokens. One is good for one address, node id and target,
 * for five to ten minutes; nothing is kept per token. One thread at a time. */
#pragma once

#include "dht/kad_id.h"

#define TOKEN_BYTES 8

struct token_secrets {
	uint64_t key[2][2]; /* now, and before */
	int64_t turn_ms;
};

void token_init(struct token_secrets *t, const uint8_t seed[16],
		int64_t now_ms);
void token_make(struct token_secrets *t, int64_t now_ms,
		const struct addr *from, const uint8_t id[20],
		const uint8_t target[20], uint8_t out[TOKEN_BYTES]);
bool token_check(struct token_secrets *t, int64_t now_ms,
		 const struct addr *from, const uint8_t id[20],
		 const uint8_t target[20], struct span token);

/* SipHash-2-4, a keyed hash of 64 bits. Any thread. */
uint64_t siphash(const uint64_t key[2], const uint8_t *p, size_t len);
