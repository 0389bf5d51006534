#include "tracker/request.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

void announce_answer_init(struct announce_answer *a)
{
	memset(a, 0, sizeof(*a));
	a->seeders = a->leechers = -1;
}

void announce_answer_release(struct announce_answer *a)
{
	free(a->peers);
	announce_answer_init(a);
}

void announce_answer_add_peer(struct announce_answer *a,
			      const struct addr *peer)
{
	if (!peer->port || a->num_peers == LIMIT_TRACKER_PEERS)
		return;
	if (!(a->num_peers & (a->num_peers - 1))) /* full at powers of two */
		a->peers = mem_realloc_array(
			a->peers, a->num_peers ? a->num_peers * 2 : 1,
			sizeof(*a->peers));
	a->peers[a->num_peers++] = *peer;
}

int announce_answer_fail(struct announce_answer *a, int r, const void *why,
			 size_t len)
{
	a->r = r;
	log_vis(why, len, a->text, sizeof(a->text));
	return r;
}
