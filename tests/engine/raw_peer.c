#include "tests/engine/raw_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

static void start(struct raw *w, struct rig *r)
{
	memset(w, 0, sizeof(*w));
	w->rig = r;
	w->fd = w->listen_fd = -1;
	buf_init(&w->in, 0);
}

static void set_nonblocking(int fd)
{
	CHECK(!fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
}

void raw_connect(struct raw *w, struct node *n, uint8_t from)
{
	struct addr to = rig_local(1, engine_port(n->engine)),
		    me = rig_local(from ? from : 1, 0);
	struct sockaddr_storage ss;
	socklen_t len;

	start(w, n->rig);
	w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(w->fd >= 0);
	len = addr_to_sockaddr(&me, &ss);
	CHECK(!bind(w->fd, (struct sockaddr *)&ss, len));
	len = addr_to_sockaddr(&to, &ss);
	/* The listening queue answers: no loop is needed. */
	CHECK(!connect(w->fd, (struct sockaddr *)&ss, len));
	set_nonblocking(w->fd);
}

void raw_listen(struct raw *w, struct rig *r)
{
	struct addr me = rig_local(1, 0);
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&me, &ss);

	start(w, r);
	w->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(!bind(w->listen_fd, (struct sockaddr *)&ss, len));
	CHECK(!listen(w->listen_fd, 8));
	len = sizeof(ss);
	CHECK(!getsockname(w->listen_fd, (struct sockaddr *)&ss, &len));
	CHECK(addr_from_sockaddr(&me, (struct sockaddr *)&ss, len));
	w->port = me.port;
	set_nonblocking(w->listen_fd);
}

void raw_accept(struct raw *w)
{
	if (w->fd >= 0)
		close(w->fd);
	buf_clear(&w->in);
	w->is_closed = false;
	for (int i = 0; i < 1000; i++) {
		w->fd = accept(w->listen_fd, NULL, NULL);
		if (w->fd >= 0)
			break;
		loop_run_once(w->rig->loop, 10);
	}
	CHECK(w->fd >= 0);
	set_nonblocking(w->fd);
}

void raw_invite(struct raw *w, struct node *n)
{
	struct addr a = rig_local(1, w->port);

	torrent_add_peer(n->torrent, &a, ORIGIN_USER);
	raw_accept(w);
}

void raw_close(struct raw *w)
{
	if (w->fd >= 0)
		close(w->fd);
	if (w->listen_fd >= 0)
		close(w->listen_fd);
	w->fd = w->listen_fd = -1;
	buf_release(&w->in);
}

void raw_greet(struct raw *w, const struct torrent *t, char id, int flags)
{
	struct wire_handshake h = {
		.infohash = *torrent_infohash(t),
		.has_fast = flags & RAW_FAST,
		.has_extended = flags & RAW_EXT,
		.has_dht = flags & RAW_DHT,
	};
	uint8_t raw[WIRE_HANDSHAKE_LEN];

	memset(h.peerid.b, id, sizeof(h.peerid.b));
	wire_write_handshake(raw, &h);
	(void)raw_send(w, raw, sizeof(raw));
}

/* Takes what has come; false: nothing within MS. */
static bool receive(struct raw *w, int ms)
{
	int64_t end = loop_now_ms(w->rig->loop) + ms;

	while (!w->is_closed) {
		uint8_t *room = buf_reserve(&w->in, 65536);
		ssize_t n = read(w->fd, room, 65536);

		if (n > 0) {
			w->in.len += (size_t)n;
			return true;
		}
		if (!n || (errno != EAGAIN && errno != EINTR))
			w->is_closed = true;
		else if (loop_now_ms(w->rig->loop) >= end)
			return false;
		else
			loop_run_once(w->rig->loop, 5);
	}
	return false;
}

void raw_take_greeting(struct raw *w)
{
	while (w->in.len < WIRE_HANDSHAKE_LEN)
		CHECK(receive(w, 5000));
	memcpy(w->reserved, w->in.ptr + 20, sizeof(w->reserved));
	buf_drop_front(&w->in, WIRE_HANDSHAKE_LEN);
}

void raw_meet(struct raw *w, struct node *n, char id, int flags)
{
	if (w->listen_fd >= 0)
		raw_invite(w, n);
	else
		raw_connect(w, n, 0);
	raw_greet(w, n->torrent, id, flags);
	raw_take_greeting(w);
}

bool raw_send(struct raw *w, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len && !w->is_closed) {
		ssize_t n = send(w->fd, at, len, MSG_NOSIGNAL);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			loop_run_once(w->rig->loop, 5);
		} else {
			w->is_closed = true;
		}
	}
	return !w->is_closed;
}

static bool send_buf(struct raw *w, struct buf *b)
{
	bool ok = raw_send(w, b->ptr, b->len);

	buf_release(b);
	return ok;
}

bool raw_say(struct raw *w, enum wire_type type)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_simple(&b, type);
	return send_buf(w, &b);
}

bool raw_say_index(struct raw *w, enum wire_type type, uint32_t piece)
{
	struct buf b;

	buf_init(&b, 0);
	if (type == WIRE_HAVE)
		wire_add_have(&b, piece);
	else
		wire_add_index(&b, type, piece);
	return send_buf(w, &b);
}

bool raw_say_block(struct raw *w, enum wire_type type, uint32_t piece,
		   uint32_t begin, uint32_t len)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_request(&b, type, piece, begin, len);
	return send_buf(w, &b);
}

bool raw_say_bits(struct raw *w, uint32_t num_pieces, bool value)
{
	struct bitfield bits;
	struct buf b;

	bitfield_init(&bits, num_pieces);
	if (value)
		bitfield_set_all(&bits);
	buf_init(&b, 0);
	wire_add_bitfield(&b, bits.bytes, bitfield_size(&bits));
	bitfield_release(&bits);
	return send_buf(w, &b);
}

bool raw_say_ext(struct raw *w, uint8_t ext_id, const char *payload)
{
	size_t len = strlen(payload);
	uint8_t head[6] = { 0, 0, 0, 0, WIRE_EXTENDED, ext_id };

	store_be32(head, (uint32_t)(2 + len));
	return raw_send(w, head, sizeof(head)) && raw_send(w, payload, len);
}

bool raw_give(struct raw *w, uint32_t piece, uint32_t begin,
	      const uint8_t *bytes, uint32_t len)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_piece_header(&b, piece, begin, len);
	buf_add(&b, bytes, len);
	return send_buf(w, &b);
}

static bool has_whole(const struct raw *w)
{
	return w->in.len >= 4 && w->in.len - 4 >= load_be32(w->in.ptr);
}

bool raw_next(struct raw *w, struct raw_msg *m, int ms)
{
	int64_t end = loop_now_ms(w->rig->loop) + ms;
	uint32_t len;

	while (!has_whole(w)) {
		int64_t left = end - loop_now_ms(w->rig->loop);

		if (!receive(w, left > 0 ? (int)left : 0))
			return false;
	}
	len = load_be32(w->in.ptr);
	m->id = len ? w->in.ptr[4] : 255;
	m->len = len ? len - 1 : 0;
	CHECK(m->len <= sizeof(m->body));
	if (len)
		memcpy(m->body, w->in.ptr + 5, m->len);
	buf_drop_front(&w->in, 4 + len);
	return true;
}

bool raw_wait(struct raw *w, enum wire_type type, struct raw_msg *m, int ms)
{
	int64_t end = loop_now_ms(w->rig->loop) + ms, left = ms;

	do {
		if (!raw_next(w, m, (int)left))
			return false;
		if (m->id == type)
			return true;
		left = end - loop_now_ms(w->rig->loop);
	} while (left >= 0);
	return false;
}

bool raw_is_closed(struct raw *w, int ms)
{
	int64_t end = loop_now_ms(w->rig->loop) + ms;

	while (!w->is_closed && loop_now_ms(w->rig->loop) < end) {
		(void)receive(w, 10);
		buf_clear(&w->in);
	}
	return w->is_closed;
}

void raw_count(struct raw *w, int ms, unsigned counts[256])
{
	int64_t end = loop_now_ms(w->rig->loop) + ms;
	struct raw_msg m;

	memset(counts, 0, 256 * sizeof(*counts));
	while (loop_now_ms(w->rig->loop) < end) {
		if (raw_next(w, &m, 10))
			counts[m.id]++;
		else if (w->is_closed)
			return;
	}
}

void rig_run(struct rig *r, int ms)
{
	int64_t end = loop_now_ms(r->loop) + ms;

	while (loop_now_ms(r->loop) < end)
		loop_run_once(r->loop, 10);
}
