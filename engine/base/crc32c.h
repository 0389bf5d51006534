/* engine/base/crc32c.h: CRC-32C (Castagnoli), of BEP 40 and 42. Bit by bit: its
 * inputs are a few bytes. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const uint8_t *p, size_t len);
