/* dht/kad_table_private.h: what the files of kad_table share. */
#pragma once

#include "dht/kad_table.h"

static inline enum kad_state kad_table_state(const struct kad_table *t,
					     const struct kad_node *n)
{
	if (!t->rules->state)
		return kad_state_by_fails(NULL, n);
	return t->rules->state(t->rules->arg, n);
}
