/* dht/item.h: items of BEP 44 and what BEP 46 makes of them. Any thread. */
#pragma once

#include "dht/kad_id.h"

struct item {
	struct span v; /* bencoded, as it came */
	bool is_mutable;
	uint8_t pk[32], sig[64];
	int64_t seq;
	struct span salt; /* may be empty */
};

/* 0, or the code of BEP 44: 205 v, 207 salt too big. */
int item_check_sizes(const struct item *item);
/* sha1 of v, or of pk and salt. */
void item_target(const struct item *item, uint8_t out[20]);
/* Is the signature that of the key? True for an immutable one. */
bool item_verify(const struct item *item);
/* Signs with the ed25519 seed; sets pk and sig. False: no such key. */
bool item_sign(struct item *item, const uint8_t seed[32]);
