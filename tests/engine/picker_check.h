/* tests/engine/picker_check.h: everything that must always be true of a picker,
 * for tests to call around each operation. */
#pragma once

struct picker;

void picker_check(struct picker *p);
