/* engine/base/clock.h: time. Protocol cores take "now" as an argument; only
 * the loop and main programs ask here. Any thread. */
#pragma once

#include <stdint.h>

int64_t clock_now_ms(void);  /* monotonic, milliseconds */
int64_t clock_now_us(void);  /* monotonic, microseconds */
int64_t clock_wall_s(void);  /* seconds since 1970, for people */
int64_t clock_wall_ms(void); /* the same, as file systems stamp files */
