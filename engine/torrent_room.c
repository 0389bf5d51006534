/* Who leaves when a torrent or the process has no room for a newcomer.
 *
 * Only who is of no use to us: it has nothing that we want and wants nothing
 * of ours; or it was given its time and keeps us choked, giving nothing. Never
 * one that exchanges data, waits for its turn, or is a person's. A newcomer
 * must come from an address that holds no place: one address cannot push out
 * everybody else. */
#include "engine/base/limits.h"
#include "engine/engine_private.h"

#define GRACE_MS    60000  /* after the handshake: news may still come */
#define CHOKED_MS   180000 /* so long choked, and it gave nothing lately */
#define TURN_MS     1000   /* between two that are shown out */
#define HOPELESS    2
#define DISAPPOINTS 1

/* Has it anything that we lack? What nobody reads now may be read later. */
static bool has_news(const struct peer *p)
{
	return p->is_seed ? !torrent_is_complete(p->torrent)
			  : bitfield_has_beyond(&p->have, &p->torrent->have);
}

/* 0: it may stay; more: more useless. */
static int uselessness(const struct peer *p, int64_t now_ms)
{
	int64_t age = now_ms - p->since_ms;

	if (p->state != PEER_READY || p->origin == ORIGIN_USER ||
	    age < GRACE_MS || peer_num_asked(p) || !p->torrent->is_ready)
		return 0;
	if (!p->is_interested && !has_news(p))
		return HOPELESS;
	if (p->am_interested && p->is_choking_us && !p->is_interested &&
	    age > CHOKED_MS && now_ms - p->block_ms > CHOKED_MS)
		return DISAPPOINTS;
	return 0;
}

/* The most useless, of those the oldest. */
static struct peer *most_useless(struct torrent *t, int64_t now_ms)
{
	struct peer *worst = NULL;
	int most = 0;

	list_foreach(p, &t->peers, struct peer, node) {
		int n = uselessness(p, now_ms);

		if (n > most ||
		    (n && n == most && p->since_ms < worst->since_ms)) {
			most = n;
			worst = p;
		}
	}
	return worst;
}

static bool holds_place(const struct torrent *t, const struct addr *a)
{
	list_foreach(p, &t->peers, struct peer, node)
		if (addr_ip_eq(&p->addr, a))
			return true;
	return false;
}

static bool show_out(struct torrent *t)
{
	struct peer *p = most_useless(t, loop_now_ms(t->engine->loop));

	if (p)
		peer_close(p, "its place is given to another");
	return p;
}

bool torrent_make_room(struct torrent *t, const struct addr *newcomer)
{
	return !holds_place(t, newcomer) && show_out(t);
}

bool engine_make_room(struct engine *e, const struct addr *newcomer)
{
	list_foreach(p, &e->strangers, struct peer, node)
		if (newcomer && addr_ip_eq(&p->addr, newcomer))
			return false;
	list_foreach(t, &e->torrents, struct torrent, node)
		if (newcomer && holds_place(t, newcomer))
			return false;
	list_foreach(t, &e->torrents, struct torrent, node)
		if (show_out(t))
			return true;
	return false;
}

bool torrent_make_room_slowly(struct torrent *t)
{
	int64_t now = loop_now_ms(t->engine->loop);

	if (now - t->room_ms < TURN_MS)
		return false;
	t->room_ms = now;
	return t->num_peers >= LIMIT_PEERS_PER_TORRENT
		       ? show_out(t)
		       : engine_make_room(t->engine, NULL);
}
