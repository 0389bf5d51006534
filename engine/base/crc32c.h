/* engine/base/crc32c.h: CRC-32C (Castagnoli), of BEP 40 and 42 and of files
 * that must not be believed when a bit has flipped: gigabytes a second. Any
 * thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const uint8_t *p, size_t len);
/* The same, never with the processor's own instruction. For tests. */
uint32_t crc32c_portable(const uint8_t *p, size_t len);
