/* tracker/request.h: what a tracker is told and what it says, whichever
 * protocol carries it. Plain values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/addr.h"
#include "engine/base/id.h"
#include "engine/base/limits.h"

enum announce_event { /* the numbers of BEP 15 */
	ANNOUNCE_NONE = 0,
	ANNOUNCE_COMPLETED = 1,
	ANNOUNCE_STARTED = 2,
	ANNOUNCE_STOPPED = 3,
};

struct announce_request {
	struct infohash infohash;
	struct peerid peerid;
	uint64_t uploaded, downloaded; /* bytes since the start */
	uint64_t left;                 /* bytes; UINT64_MAX: not known yet */
	enum announce_event event;
	bool is_partial_seed; /* BEP 21: sent as "paused" where there is room */
	unsigned num_want;
	uint32_t key;         /* tells us from others behind one address */
	uint16_t port;        /* where peers reach us */
	struct addr ip4, ip6; /* to be listed under; family 0: as seen */
};

/* Bytes left, for a tracker that must take us for a leecher although we do
 * not know the size yet: any number but 0 will do. */
#define ANNOUNCE_LEFT_UNKNOWN 16384

struct announce_answer {
	/* 0: accepted. -EPERM: refused, the reason is in text; -EBADMSG and
	 * -E2BIG: not an answer; or what the way there gave. */
	int r;
	char text[LIMIT_TRACKER_TEXT_BYTES];    /* why r < 0, printable */
	char warning[LIMIT_TRACKER_TEXT_BYTES]; /* "" or printable */
	int64_t interval_s, min_interval_s;     /* 0: not said */
	int64_t retry_s;           /* BEP 31; 0: not said; -1: never */
	int64_t seeders, leechers; /* -1: not said */
	struct addr external_ip;   /* BEP 24; family 0: not said */
	uint8_t tracker_id[LIMIT_TRACKER_ID_BYTES];
	size_t tracker_id_len;
	struct addr *peers; /* owned; as sent, nothing left out but port 0 */
	size_t num_peers;
};

void announce_answer_init(struct announce_answer *a);
void announce_answer_release(struct announce_answer *a);
/* Dropped without a word past LIMIT_TRACKER_PEERS. */
void announce_answer_add_peer(struct announce_answer *a,
			      const struct addr *peer);
/* Makes A a failure. WHY is foreign text of LEN bytes. Returns R. */
int announce_answer_fail(struct announce_answer *a, int r, const void *why,
			 size_t len);
