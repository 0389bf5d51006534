/* tests/tracker/fake_kt.h: an overlay that says what a test wants, in the place
 * of kt.c. Lookups wait until fake_kt_answer. */
#pragma once

#include "engine/base/list.h"
#include "tracker/overlay/kt.h"

#define FAKE_KT_OWNERS 8

struct kt {
	struct kt_owner owners[FAKE_KT_OWNERS]; /* of every key */
	unsigned num;
	struct kt_owner table[KT_REPLICAS]; /* what kt_owners says */
	unsigned num_table;
	struct kt_owner members[FAKE_KT_OWNERS];
	unsigned num_members;
	bool is_stale, is_full;
	struct list pending;
	unsigned finds, cancels, forgets, answered;
	struct kad_id asked; /* last */
	uint32_t epoch;
};

void fake_kt_init(struct kt *k);
/* An owner at IP (numeric), whose servers are on PORT; ids rise. */
void fake_kt_add(struct kt *k, const char *ip, uint16_t port);
void fake_kt_member(struct kt *k, const char *ip, uint16_t port, uint8_t id);
void fake_kt_answer(struct kt *k); /* every lookup that waits */
