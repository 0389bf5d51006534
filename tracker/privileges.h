/* tracker/privileges.h: from root to somebody else, for good, once ports below
 * 1024 are open. Main thread; holds for all threads. */
#pragma once

#include <stddef.h>

/* Returns 0, or -errno with WHY for people. Nothing to do if we are USER. */
int privileges_drop(const char *user, char *why, size_t why_size);
