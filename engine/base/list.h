/* engine/base/list.h: intrusive doubly linked list. No allocation; a node is
 * in at most one list; a node not in a list points at itself. */
#pragma once

#include <stdbool.h>

#include "engine/base/mem.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
	node->next = at;
	node->prev = at->prev;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_push_back(struct list *l, struct list *node)
{
	list_insert_before(l, node);
}

static inline void list_push_front(struct list *l, struct list *node)
{
	list_insert_before(l->next, node);
}

/* Harmless on a node that is in no list. */
static inline void list_remove(struct list *node)
{
	node->next->prev = node->prev;
	node->prev->next = node->next;
	list_init(node);
}

static inline struct list *list_pop_front(struct list *l)
{
	struct list *n = l->next;

	if (n == l)
		return NULL;
	list_remove(n);
	return n;
}

/* Moves everything in FROM to the end of TO. */
static inline void list_splice_back(struct list *to, struct list *from)
{
	if (list_is_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_first(l, type, member)                                            \
	(list_is_empty(l) ? NULL : list_entry((l)->next, type, member))
#define list_foreach(pos, l, type, member)                                     \
	for (type *pos = list_entry((l)->next, type, member);                  \
	     &pos->member != (l);                                              \
	     pos = list_entry(pos->member.next, type, member))
/* POS itself may be removed or freed in the body, its neighbours may not. */
#define list_foreach_safe(pos, l, type, member)                                \
	for (type *pos = list_entry((l)->next, type, member),                  \
		  *pos##_next = list_entry(pos->member.next, type, member);    \
	     &pos->member != (l); pos = pos##_next,                            \
		  pos##_next = list_entry(pos->member.next, type, member))
