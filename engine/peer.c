/* Life of a peer: connect or accept, greet, read messages, close.
 *
 * Who connects says all it can at once: handshake, bitfield, and "interested"
 * if anything at all is missing. A seed can so unchoke us one round trip after
 * the connection stands. Some cannot bear it (aria2 drops whoever sends more
 * than a handshake before its own): who leaves without a word is dialled once
 * more, and then gets the handshake alone.
 *
 * Two connections to one peer: the one that the side with the smaller peer id
 * began is kept, so that both sides keep the same one. A peer id is what
 * anybody may claim, so only connections of one address count as one peer's. */
#include "engine/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

#define CONNECT_TIMEOUT_MS    15000
#define HANDSHAKE_TIMEOUT_MS  10000
#define MESSAGE_TIMEOUT_MS    60000 /* a message half here, nothing coming */
#define IDLE_TIMEOUT_MS       180000
#define BLOCKED_TIMEOUT_MS    120000 /* it takes none of what we send */
#define KEEPALIVE_MS          100000
#define EARLY_BITFIELD_PIECES 65536 /* larger ones wait for BEP 6 */
#define CLIENT_NAME           "weirfs " WEIRFS_VERSION

static const struct conn_events peer_conn_events;

static struct peer *peer_new(struct engine *e, struct torrent *t,
			     const struct addr *a, enum peer_origin origin)
{
	struct peer *p = mem_alloc(sizeof(*p));

	p->engine = e;
	p->torrent = t;
	list_init(&p->node);
	p->id = ++e->next_peer_id;
	p->origin = origin;
	p->addr = p->listen_addr = *a;
	p->since_ms = p->heard_ms = p->sent_ms = p->taken_ms =
		loop_now_ms(e->loop);
	p->is_choking_us = p->am_choking = true;
	wire_init(&p->wire);
	buf_init(&p->early_bits, LIMIT_PIECES / 8);
	buf_init(&p->early_haves, 0);
	e->num_peers++;
	return p;
}

/* Errors that tell nothing about the other end. */
static bool is_our_fault(int r)
{
	return r == -ENETUNREACH || r == -ENETDOWN || r == -EADDRNOTAVAIL ||
	       r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM ||
	       r == -EAFNOSUPPORT || r == -EACCES || r == -EPERM;
}

struct peer *peer_connect(struct torrent *t, const struct addr *a,
			  enum peer_origin origin)
{
	struct engine *e = t->engine;
	struct peer *p = peer_new(e, t, a, origin);
	const struct addr *from =
		a->family == 6 ? &e->config.bind6 : &e->config.bind4;
	int r = 0;

	p->state = PEER_CONNECTING;
	p->holds_candidate = true;
	p->conn = conn_connect(e->hub, a, from, &peer_conn_events, p, &r);
	e->connect_tokens -= 1;
	e->num_half_open++;
	t->num_connecting++;
	t->num_peers++;
	list_push_back(&t->peers, &p->node);
	if (!p->conn) {
		p->is_our_fault = is_our_fault(r);
		peer_close(p, strerror(-r));
		return NULL;
	}
	return p;
}

void peer_accept(struct engine *e, int fd, const struct addr *from)
{
	struct peer *p = peer_new(e, NULL, from, ORIGIN_INCOMING);

	p->is_incoming = true;
	p->listen_addr.port = 0;
	p->state = PEER_HANDSHAKING;
	list_push_back(&e->strangers, &p->node);
	e->num_strangers++;
	p->conn = conn_adopt(e->hub, fd, &peer_conn_events, p);
}

static void leave_swarm(struct peer *p, enum peer_state was)
{
	struct torrent *t = p->torrent;

	if (was == PEER_CONNECTING) {
		p->engine->num_half_open--;
		t->num_connecting--;
	}
	t->num_peers--;
	if (was == PEER_READY) {
		peer_down_release(p);
		peer_up_release(p);
		torrent_meta_on_peer_gone(t, p);
		if (t->picker && p->has_told_have)
			picker_remove_peer(t->picker, &p->have, p->is_seed);
	}
	torrent_on_peer_closed(t, p, was == PEER_READY);
}

void peer_close(struct peer *p, const char *why)
{
	enum peer_state was = p->state;
	char a[ADDR_STR_MAX];

	if (was == PEER_CLOSED)
		return;
	log_debug("peer=%s id=%u closed: %s", addr_str(&p->addr, a), p->id,
		  why);
	p->state = PEER_CLOSED;
	conn_free(p->conn);
	p->conn = NULL;
	list_remove(&p->node);
	p->engine->num_peers--;
	if (p->torrent)
		leave_swarm(p, was);
	else
		p->engine->num_strangers--;
	engine_bury(p->engine, p);
}

void peer_ban(struct peer *p, const char *why)
{
	char a[ADDR_STR_MAX];

	log_info("peer=%s banned: %s", addr_str(&p->addr, a), why);
	if (p->torrent)
		swarm_ban(p->torrent->swarm, &p->addr);
	peer_close(p, why);
}

void peer_free(struct peer *p)
{
	wire_release(&p->wire);
	bitfield_release(&p->have);
	buf_release(&p->early_bits);
	buf_release(&p->early_haves);
	free(p->asked);
	free(p->staging);
	free(p->wished);
	free(p);
}

struct picker_peer peer_as_picked(const struct peer *p)
{
	bool only = p->is_choking_us;

	return (struct picker_peer){
		.id = p->id,
		.have = &p->have,
		.is_seed = p->is_seed,
		.only = only ? p->allowed : NULL,
		.num_only = only ? p->num_allowed : 0,
		.is_slow = p->is_slow,
	};
}

void peer_send(struct peer *p, struct buf *b)
{
	if (!peer_is_closed(p) && b->len) {
		p->sent_ms = loop_now_ms(p->engine->loop);
		if (b->is_broken || !conn_write(p->conn, b->ptr, b->len))
			peer_close(p, "send queue is full");
	}
	buf_release(b);
}

/* --- greeting --- */

static void add_ext_handshake(struct peer *p, struct buf *b)
{
	struct torrent *t = p->torrent;
	struct wire_ext_handshake h = {
		.id_metadata = WIRE_EXT_METADATA,
		.id_donthave = WIRE_EXT_DONTHAVE,
		.says_metadata = true,
		.says_donthave = true,
		.metadata_size = t->mi ? (uint32_t)t->mi->info.len : 0,
		.reqq = LIMIT_REQUESTS_IN,
		.port = p->engine->port,
		.has_upload_only = true,
		.upload_only = torrent_is_complete(t),
		.yourip = p->addr,
	};

	snprintf(h.client, sizeof(h.client), "%s", CLIENT_NAME);
	wire_add_ext_handshake(b, &h);
}

static void add_interest(struct peer *p, struct buf *b)
{
	if (p->am_interested || !p->torrent->mi ||
	    torrent_is_complete(p->torrent))
		return;
	p->am_interested = true;
	wire_add_simple(b, WIRE_INTERESTED);
}

/* The rest, once their handshake tells what they understand. */
static void add_after_theirs(struct peer *p, struct buf *b)
{
	if (!p->has_sent_have)
		peer_add_what_we_have(p, b);
	p->has_sent_have = true;
	if (p->theirs.has_extended)
		add_ext_handshake(p, b);
	add_interest(p, b);
	peer_add_port(p, b);
}

static void add_handshake(struct peer *p, struct buf *b)
{
	struct wire_handshake h = {
		.infohash = p->torrent->infohash,
		.peerid = p->engine->peerid,
		.has_extended = true,
		.has_fast = true,
		.has_dht = peer_has_dht(p),
	};
	uint8_t raw[WIRE_HANDSHAKE_LEN];

	wire_write_handshake(raw, &h);
	buf_add(b, raw, sizeof(raw));
}

static void on_connected(void *arg)
{
	struct peer *p = arg;
	struct torrent *t = p->torrent;
	const struct candidate *c = swarm_find(t->swarm, &p->addr);
	struct buf b;

	p->state = PEER_HANDSHAKING;
	p->engine->num_half_open--;
	t->num_connecting--;
	p->since_ms = loop_now_ms(p->engine->loop);
	buf_init(&b, 0);
	add_handshake(p, &b);
	if (t->mi && t->have.num_bits <= EARLY_BITFIELD_PIECES &&
	    !(c && c->is_shy)) {
		/* A bitfield, empty or full, is understood by everyone. */
		wire_add_bitfield(&b, t->have.bytes, bitfield_size(&t->have));
		p->has_sent_have = p->has_said_early = true;
		add_interest(p, &b);
	}
	peer_send(p, &b);
}

/* The address through which FROM was reached is not tried while TO stands. */
static void hand_over(struct peer *from, struct peer *to)
{
	if (!from->holds_candidate || to->holds_candidate)
		return;
	from->holds_candidate = false;
	to->holds_candidate = true;
	to->listen_addr = from->listen_addr;
}

/* Of two connections to the same peer one must go. True: P goes. */
static bool is_second(struct peer *p)
{
	struct peerid mine = p->engine->peerid;
	int order = memcmp(mine.b, p->theirs.peerid.b, sizeof(mine.b));

	list_foreach_safe(q, &p->torrent->peers, struct peer, node) {
		if (q == p || q->state != PEER_READY ||
		    !peerid_eq(&q->theirs.peerid, &p->theirs.peerid) ||
		    !addr_ip_eq(&q->addr, &p->addr))
			continue;
		if (q->is_incoming == p->is_incoming ||
		    p->is_incoming != (order > 0)) {
			hand_over(p, q);
			return true;
		}
		hand_over(q, p);
		peer_close(q, "the other connection to this peer is kept");
		return false;
	}
	return false;
}

/* Behind one address there may be a household, not a crowd. */
static bool is_crowd(const struct torrent *t, const struct addr *a)
{
	unsigned same = 0;

	if (addr_is_loopback(a))
		return false;
	list_foreach(p, &t->peers, struct peer, node)
		same += p->is_incoming && addr_ip_eq(&p->addr, a);
	return same >= LIMIT_PEERS_PER_ADDRESS;
}

/* 0, or a reason to close. */
static const char *join_torrent(struct peer *p)
{
	struct torrent *t = engine_find(p->engine, &p->theirs.infohash);

	if (!t || t->is_closing)
		return "unknown infohash";
	if (swarm_is_banned(t->swarm, &p->addr))
		return "banned address";
	if (is_crowd(t, &p->addr))
		return "too many peers from this address";
	if (t->num_peers >= LIMIT_PEERS_PER_TORRENT &&
	    !torrent_make_room(t, &p->addr))
		return "too many peers in this torrent";
	list_remove(&p->node);
	p->engine->num_strangers--;
	p->torrent = t;
	list_push_back(&t->peers, &p->node);
	t->num_peers++;
	return NULL;
}

/* We dialled ourselves. The end that knows the address has to hear it. */
static void on_self(struct peer *p)
{
	struct candidate *c = swarm_find(p->torrent->swarm, &p->addr);
	struct buf b;

	if (c)
		c->is_self = true;
	buf_init(&b, 0);
	if (p->is_incoming)
		add_handshake(p, &b);
	peer_send(p, &b);
}

static const char *on_handshake(struct peer *p)
{
	struct engine *e = p->engine;
	const char *why;
	struct buf b;

	if (wire_read_handshake(p->greeting, &p->theirs))
		return "not a BitTorrent handshake";
	if (p->is_incoming) {
		why = join_torrent(p);
		if (why)
			return why;
	} else if (!infohash_eq(&p->theirs.infohash, &p->torrent->infohash)) {
		return "handshake for another torrent";
	}
	if (peerid_eq(&p->theirs.peerid, &e->peerid)) {
		on_self(p);
		return "that is us";
	}
	if (is_second(p))
		return "connected already";
	p->state = PEER_READY;
	p->wire.num_pieces = 0;
	if (p->torrent->mi) {
		struct layout *l = &p->torrent->mi->layout;

		p->wire.num_pieces = l->num_pieces;
		p->wire.piece_length = l->piece_length;
		p->wire.total = l->total;
		bitfield_init(&p->have, l->num_pieces);
	}
	buf_init(&b, 0);
	if (p->is_incoming)
		add_handshake(p, &b);
	add_after_theirs(p, &b);
	peer_send(p, &b);
	return NULL;
}

/* --- messages --- */

/* Two that have everything have nothing to say to each other. */
static bool is_useless(struct peer *p)
{
	return p->is_seed && p->torrent->is_ready &&
	       torrent_is_complete(p->torrent);
}

/* Once: a peer that names one port after the other would fill the swarm. */
static void learn_port(struct peer *p, uint16_t port)
{
	struct swarm *s = p->torrent->swarm;
	struct candidate *c;

	p->listen_addr.port = port;
	(void)swarm_add(s, &p->listen_addr, ORIGIN_INCOMING);
	c = swarm_find(s, &p->listen_addr);
	if (c && !c->is_connected && !p->holds_candidate) {
		swarm_on_connecting(c, p->heard_ms);
		p->holds_candidate = true;
	}
}

static int on_ext_handshake(struct peer *p, struct span payload,
			    const char **why)
{
	struct wire_ext_handshake h;

	if (wire_read_ext_handshake(payload, &h)) {
		*why = "bad extension handshake";
		return -EPROTO;
	}
	/* A second one changes what it names. */
	if (p->has_ext) {
		if (!h.says_metadata)
			h.id_metadata = p->ext.id_metadata;
		if (!h.says_donthave)
			h.id_donthave = p->ext.id_donthave;
		if (!h.says_pex)
			h.id_pex = p->ext.id_pex;
		if (!h.reqq)
			h.reqq = p->ext.reqq;
		if (!h.metadata_size)
			h.metadata_size = p->ext.metadata_size;
		if (!h.client[0])
			memcpy(h.client, p->ext.client, sizeof(h.client));
	}
	p->ext = h;
	p->has_ext = true;
	if (h.port && p->is_incoming && !p->listen_addr.port)
		learn_port(p, h.port);
	if (!p->torrent->mi)
		torrent_meta_on_peer(p->torrent, p);
	return 0;
}

static int on_extended(struct peer *p, const struct wire_msg *m,
		       const char **why)
{
	uint32_t piece;

	switch (m->ext_id) {
	case WIRE_EXT_HANDSHAKE:
		return on_ext_handshake(p, m->payload, why);
	case WIRE_EXT_METADATA:
		return torrent_meta_on_message(p->torrent, p, m->payload, why);
	case WIRE_EXT_DONTHAVE:
		if (!wire_read_donthave(m->payload, &piece))
			peer_on_donthave(p, piece);
		return 0;
	default:
		return 0; /* not announced by us: not for us */
	}
}

static void on_allowed_fast(struct peer *p, uint32_t piece)
{
	for (size_t i = 0; i < p->num_allowed; i++) {
		if (p->allowed[i] == piece)
			return;
	}
	if (p->num_allowed < ALLOWED_FAST_MAX)
		p->allowed[p->num_allowed++] = piece;
}

static void on_interest(struct peer *p, bool is_interested)
{
	if (p->is_interested == is_interested)
		return;
	p->is_interested = is_interested;
	if (is_interested)
		p->interested_ms = p->heard_ms;
	torrent_rechoke(p->torrent, p->heard_ms);
}

static int on_message(struct peer *p, const struct wire_msg *m,
		      const char **why)
{
	switch (m->type) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
		peer_on_choke(p, m->type == WIRE_CHOKE);
		return 0;
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
		on_interest(p, m->type == WIRE_INTERESTED);
		return 0;
	case WIRE_HAVE:
		peer_on_have(p, m->piece);
		return 0;
	case WIRE_BITFIELD:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		return peer_on_bits(p, m, why);
	case WIRE_REQUEST:
		return peer_on_request(p, m, why);
	case WIRE_PIECE:
		return peer_on_piece(p, m, why);
	case WIRE_CANCEL:
		peer_on_cancel(p, m);
		return 0;
	case WIRE_REJECT:
		peer_on_reject(p, m);
		return 0;
	case WIRE_ALLOWED_FAST:
		on_allowed_fast(p, m->piece);
		return 0;
	case WIRE_EXTENDED:
		return on_extended(p, m, why);
	case WIRE_PORT:
		peer_on_port(p, m->port);
		return 0;
	case WIRE_SUGGEST:
	case WIRE_KEEPALIVE:
	case WIRE_UNKNOWN:
		return 0;
	}
	return 0;
}

static const char *read_greeting(struct peer *p, struct span *in)
{
	size_t n = WIRE_HANDSHAKE_LEN - p->greeting_len;

	if (n > in->len)
		n = in->len;
	memcpy(p->greeting + p->greeting_len, in->ptr, n);
	p->greeting_len += n;
	in->ptr += n;
	in->len -= n;
	if (p->greeting_len == WIRE_HANDSHAKE_LEN)
		return on_handshake(p);
	/* The first bytes tell a stranger who speaks something else. */
	if (memcmp(p->greeting,
		   "\x13"
		   "BitTorrent protocol",
		   p->greeting_len < 20 ? p->greeting_len : 20))
		return "not a BitTorrent handshake";
	return NULL;
}

static void on_bytes(void *arg, struct span in)
{
	struct peer *p = arg;
	const char *why = NULL;
	struct wire_msg m;
	int r = 0;

	p->heard_ms = loop_now_ms(p->engine->loop);
	if (p->state == PEER_HANDSHAKING) {
		why = read_greeting(p, &in);
		if (why) {
			peer_close(p, why);
			return;
		}
	}
	while (p->state == PEER_READY &&
	       (r = wire_next(&p->wire, &in, &m, &why)) > 0) {
		p->has_spoken = true;
		r = on_message(p, &m, &why);
		if (r)
			break;
	}
	if (peer_is_closed(p))
		return;
	if (r < 0) {
		peer_close(p, why ? why : "protocol error");
		return;
	}
	if (p->state == PEER_READY && is_useless(p)) {
		peer_close(p, "both have everything");
		return;
	}
	peer_fill(p, LIMIT_REQUESTS_OUT);
}

static void on_drained(void *arg)
{
	peer_serve(arg);
}

static void on_closed(void *arg, int r)
{
	struct peer *p = arg;

	p->is_our_fault = p->state == PEER_CONNECTING && is_our_fault(r);
	p->has_fled = !p->has_spoken;
	peer_close(p, r ? strerror(-r) : "closed by the peer");
}

static const struct conn_events peer_conn_events = {
	.on_connected = on_connected,
	.on_bytes = on_bytes,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

/* --- orders and time --- */

static void note_taken(struct peer *p, int64_t now_ms)
{
	uint64_t sent = conn_sent(p->conn);

	if (sent != p->taken || !conn_unsent(p->conn))
		p->taken_ms = now_ms;
	p->taken = sent;
}

static const char *is_overdue(const struct peer *p, int64_t now_ms)
{
	if (p->state == PEER_CONNECTING)
		return now_ms - p->since_ms > CONNECT_TIMEOUT_MS ? "no answer"
								 : NULL;
	if (p->state == PEER_HANDSHAKING)
		return now_ms - p->since_ms > HANDSHAKE_TIMEOUT_MS
			       ? "no handshake"
			       : NULL;
	if (now_ms - p->heard_ms > IDLE_TIMEOUT_MS)
		return "silent";
	if (wire_is_mid_message(&p->wire) &&
	    now_ms - p->heard_ms > MESSAGE_TIMEOUT_MS)
		return "stopped in a message";
	if (conn_unsent(p->conn) && now_ms - p->taken_ms > BLOCKED_TIMEOUT_MS)
		return "takes nothing";
	return NULL;
}

void peer_tick(struct peer *p, int64_t now_ms)
{
	const char *why;
	struct buf b;

	note_taken(p, now_ms);
	why = is_overdue(p, now_ms);
	if (why) {
		peer_close(p, why);
		return;
	}
	if (p->state != PEER_READY)
		return;
	if (is_useless(p)) {
		peer_close(p, "both have everything");
		return;
	}
	conn_tidy(p->conn);
	rate_tick(&p->up, now_ms, p->num_wished > 0);
	peer_down_tick(p, now_ms);
	if (peer_is_closed(p) || now_ms - p->sent_ms < KEEPALIVE_MS)
		return;
	buf_init(&b, 0);
	wire_add_keepalive(&b);
	peer_send(p, &b);
}
