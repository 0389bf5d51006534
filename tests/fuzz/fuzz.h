/* tests/fuzz/fuzz.h: what libFuzzer and replay.c call. One target per program.
 * A finding is a crash, a sanitizer's report, a leak, or a CHECK that fails.
 * The bytes are borrowed until return. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
