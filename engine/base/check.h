/* engine/base/check.h: assertions about our own code, always compiled in.
 * Never use them on bytes from network, disk, kernel or user. */
#pragma once

#include <assert.h>

__attribute__((noreturn, cold)) void check_failed(const char *expr,
						  const char *file, int line);

#define CHECK(x) ((x) ? (void)0 : check_failed(#x, __FILE__, __LINE__))
