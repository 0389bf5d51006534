/* dht/secure_id.h: BEP 42, ids that an address has a right to. Any thread. */
#pragma once

#include "dht/kad_id.h"

/* Fits ID, whose other bits are random, to IP; RANDOM becomes its last byte. */
void secure_id_make(struct kad_id *id, const struct addr *ip, uint8_t random);
bool secure_id_check(const struct kad_id *id, const struct addr *ip);
