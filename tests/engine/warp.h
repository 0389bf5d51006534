/* tests/engine/warp.h: a clock that can be set forward, linked in place of
 * engine/base/clock.c, so that a test of a minute takes a moment. Timers of the
 * loop still wait in real time. */
#pragma once

#include <stdint.h>

void warp_ms(int64_t ms);
