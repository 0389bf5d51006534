/* What we give a peer: its requests in order, as long as its send queue has
 * room. Bytes that the page cache has are read on the loop, straight into the
 * send queue; cold ones by a worker, one run of requests at a time. Only
 * verified pieces leave: their bits are looked at before a read and, when it
 * was a worker's, once more after it. A read that fails takes the piece's bit
 * away. */
#include "engine/peer.h"

#include <stdlib.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/engine_private.h"

#define SEND_HIGH_BYTES (512u << 10) /* unsent; then we wait for on_drained */
#define RUN_MAX         8            /* requests in one cold read */
#define RUN_BYTES       (256u << 10) /* or so many bytes */
#define HEADER_BYTES    13
#define CHOKE_GRACE_MS  3000 /* requests under way when we choked */

/* A cold read for a peer that may be gone when it returns. */
struct read_job {
	struct job job;
	struct torrent *torrent;
	struct peer *peer; /* NULL: it left */
	struct store *store;
	struct wished run[RUN_MAX];
	size_t num;
	int r[RUN_MAX];
	uint8_t *bytes; /* owned */
};

static void add_reject(struct peer *p, struct buf *b, const struct wished *w)
{
	if (p->theirs.has_fast)
		wire_add_request(b, WIRE_REJECT, w->piece, w->begin, w->length);
}

static void drop_wishes(struct peer *p, bool say)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; say && i < p->num_wished; i++)
		add_reject(p, &b, &p->wished[i]);
	p->num_wished = 0;
	peer_send(p, &b);
}

void peer_set_choking(struct peer *p, bool am_choking)
{
	struct buf b;

	if (p->state != PEER_READY || p->am_choking == am_choking)
		return;
	p->am_choking = am_choking;
	p->choke_changed_ms = loop_now_ms(p->engine->loop);
	p->uploaded_this_turn = 0;
	p->choked_wishes = 0;
	buf_init(&b, 0);
	wire_add_simple(&b, am_choking ? WIRE_CHOKE : WIRE_UNCHOKE);
	peer_send(p, &b);
	if (am_choking && !peer_is_closed(p))
		drop_wishes(p, true);
}

static void reject(struct peer *p, const struct wished *w)
{
	struct buf b;

	buf_init(&b, 0);
	add_reject(p, &b, w);
	peer_send(p, &b);
}

/* It is choked, it has had the time to notice, and it asks on. */
static bool is_asking_on(struct peer *p)
{
	return p->am_choking &&
	       p->heard_ms - p->choke_changed_ms > CHOKE_GRACE_MS &&
	       ++p->choked_wishes > LIMIT_REQUESTS_WHILE_CHOKED;
}

int peer_on_request(struct peer *p, const struct wire_msg *m, const char **why)
{
	struct torrent *t = p->torrent;
	struct wished w = { m->piece, m->begin, m->length };
	bool refused = p->am_choking || !bitfield_has(&t->have, m->piece) ||
		       p->num_wished >= LIMIT_REQUESTS_IN;

	if (refused) {
		if (is_asking_on(p)) {
			*why = "keeps asking while choked";
			return -EPROTO;
		}
		reject(p, &w);
		return 0;
	}
	if (p->num_wished == p->wished_cap) {
		p->wished_cap = p->wished_cap ? p->wished_cap * 2 : 64;
		p->wished = mem_realloc_array(p->wished, p->wished_cap,
					      sizeof(*p->wished));
	}
	p->wished[p->num_wished++] = w;
	peer_serve(p);
	return 0;
}

void peer_on_cancel(struct peer *p, const struct wire_msg *m)
{
	struct wished w = { m->piece, m->begin, m->length };

	for (size_t i = 0; i < p->num_wished; i++) {
		if (memcmp(&p->wished[i], &w, sizeof(w)))
			continue;
		memmove(p->wished + i, p->wished + i + 1,
			(p->num_wished - i - 1) * sizeof(w));
		p->num_wished--;
		reject(p, &w); /* BEP 6: a cancel is answered too */
		return;
	}
}

static void add_header(uint8_t *out, const struct wished *w)
{
	store_be32(out, 9 + w->length);
	out[4] = WIRE_PIECE;
	store_be32(out + 5, w->piece);
	store_be32(out + 9, w->begin);
}

static void count_sent(struct peer *p, uint32_t bytes)
{
	struct torrent *t = p->torrent;

	p->sent_ms = loop_now_ms(p->engine->loop);
	p->uploaded += bytes;
	p->uploaded_this_turn += bytes;
	t->uploaded += bytes;
	t->session_up += bytes;
	ratelimit_take(&p->engine->up_limit, bytes);
	rate_add(&p->up, bytes);
	rate_add(&t->up, bytes);
}

static uint64_t wished_off(const struct peer *p, const struct wished *w)
{
	return layout_piece_start(&p->torrent->mi->layout, w->piece) + w->begin;
}

/* 0 sent; -EAGAIN cold; else the piece cannot be read. */
static int send_now(struct peer *p, const struct wished *w)
{
	uint8_t *out = conn_reserve(p->conn, HEADER_BYTES + w->length);
	ssize_t n;

	if (!out) {
		peer_close(p, "send queue is full");
		return 0;
	}
	n = store_read_now(p->torrent->store, wished_off(p, w),
			   out + HEADER_BYTES, w->length);
	if (n < 0)
		return (int)n;
	add_header(out, w);
	conn_commit(p->conn, HEADER_BYTES + w->length);
	count_sent(p, w->length);
	return 0;
}

/* --- cold reads --- */

static void read_run(struct job *job)
{
	struct read_job *j = container_of(job, struct read_job, job);
	const struct layout *l = &j->torrent->mi->layout;
	uint8_t *at = j->bytes;

	for (size_t i = 0; i < j->num; i++) {
		j->r[i] = store_read(j->store,
				     layout_piece_start(l, j->run[i].piece) +
					     j->run[i].begin,
				     at, j->run[i].length);
		at += j->run[i].length;
	}
}

static void reject_unreadable(struct peer *p, const struct wished *w, int r)
{
	struct torrent *t = p->torrent;

	log_warn("piece=%u of %s cannot be read: %s", w->piece, t->name,
		 strerror(-r));
	reject(p, w);
	torrent_distrust(t, wished_off(p, w), w->length);
}

static bool is_here(const struct peer *p, const struct wished *w)
{
	return bitfield_has(&p->torrent->have, w->piece);
}

static void send_read(struct peer *p, const struct wished *w,
		      const uint8_t *bytes)
{
	uint8_t header[HEADER_BYTES];

	add_header(header, w);
	if (conn_write(p->conn, header, sizeof(header)) &&
	    conn_write(p->conn, bytes, w->length))
		count_sent(p, w->length);
	else
		peer_close(p, "send queue is full");
}

static void read_done(struct job *job)
{
	struct read_job *j = container_of(job, struct read_job, job);
	struct peer *p = j->peer;
	const uint8_t *at = j->bytes;

	j->torrent->jobs_out--;
	if (p) {
		p->read_job = NULL;
		for (size_t i = 0; i < j->num && !peer_is_closed(p); i++) {
			struct wished *w = &j->run[i];

			if (!is_here(p, w))
				reject(p, w);
			else if (j->r[i])
				reject_unreadable(p, w, j->r[i]);
			else
				send_read(p, w, at);
			at += w->length;
		}
		if (!peer_is_closed(p))
			peer_serve(p);
	}
	store_unref(j->store);
	free(j->bytes);
	free(j);
}

static void read_cold(struct peer *p)
{
	struct read_job *j = mem_alloc(sizeof(*j));
	size_t bytes = 0;

	while (j->num < RUN_MAX && j->num < p->num_wished &&
	       bytes < RUN_BYTES && is_here(p, &p->wished[j->num])) {
		bytes += p->wished[j->num].length;
		j->run[j->num] = p->wished[j->num];
		j->num++;
	}
	memmove(p->wished, p->wished + j->num,
		(p->num_wished - j->num) * sizeof(*p->wished));
	p->num_wished -= j->num;
	j->job.run = read_run;
	j->job.done = read_done;
	j->torrent = p->torrent;
	j->peer = p;
	j->store = store_ref(p->torrent->store);
	j->bytes = mem_alloc(bytes);
	p->read_job = j;
	p->torrent->jobs_out++;
	worker_submit(p->engine->workers, LANE_DISK, &j->job);
}

static bool may_send(struct peer *p)
{
	return ratelimit_room(&p->engine->up_limit,
			      loop_now_ms(p->engine->loop)) > 0;
}

void peer_serve(struct peer *p)
{
	size_t n = 0;
	int r = 0;

	if (p->state != PEER_READY || p->read_job || !p->num_wished)
		return;
	while (n < p->num_wished && !r &&
	       conn_unsent(p->conn) < SEND_HIGH_BYTES && may_send(p)) {
		struct wished w = p->wished[n];

		/* It may have been evicted or distrusted meanwhile. */
		r = is_here(p, &w) ? send_now(p, &w) : -ENODATA;
		if (r == -ENODATA)
			reject(p, &w);
		else if (r && r != -EAGAIN)
			reject_unreadable(p, &w, r);
		if (peer_is_closed(p))
			return;
		if (r != -EAGAIN)
			r = 0;
		n += !r;
	}
	if (n)
		memmove(p->wished, p->wished + n,
			(p->num_wished - n) * sizeof(*p->wished));
	p->num_wished -= n;
	if (r == -EAGAIN)
		read_cold(p);
}

void peer_up_release(struct peer *p)
{
	if (p->read_job)
		p->read_job->peer = NULL;
	p->read_job = NULL;
	p->num_wished = 0;
}
