/* dht/bloom.h: the filters of BEP 33 (scrape). Any thread. */
#pragma once

#include "engine/base/addr.h"

#define BLOOM_BYTES 256

void bloom_add(uint8_t filter[BLOOM_BYTES], const struct addr *ip);
/* About how many addresses are in it. */
double bloom_count(const uint8_t filter[BLOOM_BYTES]);
