#include "tests/engine/warp.h"

#include <stdatomic.h>
#include <time.h>

#include "engine/base/clock.h"

static _Atomic int64_t warped_us;

void warp_ms(int64_t ms)
{
	atomic_fetch_add(&warped_us, ms * 1000);
}

int64_t clock_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
	       atomic_load(&warped_us);
}

int64_t clock_now_ms(void)
{
	return clock_now_us() / 1000;
}

int64_t clock_wall_s(void)
{
	return time(NULL);
}
