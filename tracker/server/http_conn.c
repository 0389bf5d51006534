#include "tracker/server/http_conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/limits.h"

/*
 * The life of a connection:
 *   take    read, parse, answer into the desk's buffer (more than one request,
 *           when they came together)
 *   push    send that; what does not fit moves to the connection's own buffer
 *   feed    while a full scrape goes out: its next part, instead of take
 *   finish  after the last answer: close; or say that this was the end, and
 *           read until the client has seen it (linger)
 * A closing answer is sent with MSG_MORE and leaves together with the FIN.
 */

#define ROUNDS 16 /* of take or feed before others have their turn */

void http_desk_init(struct http_desk *d, const struct http_site *site,
		    struct web_counts *counts)
{
	memset(d, 0, sizeof(*d));
	d->site = site;
	http_asker_init(&d->asker, site->policy, counts);
	buf_init(&d->out, 0);
}

void http_desk_release(struct http_desk *d)
{
	http_asker_release(&d->asker);
	buf_release(&d->out);
}

void http_conn_init(struct http_conn *c, int fd, const struct addr *source,
		    struct tls_session *tls)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->source = *source;
	c->tls = tls;
	buf_init(&c->in, 0);
	buf_init(&c->out, 0);
}

void http_conn_release(struct http_conn *c)
{
	if (c->tls && !c->is_lingering)
		tls_say_end(c->tls);
	tls_session_free(c->tls);
	full_scrape_free(c->full);
	buf_release(&c->in);
	buf_release(&c->out);
	close(c->fd);
}

/* --- sockets --- */

static ssize_t receive(struct http_conn *c, void *out, size_t len)
{
	ssize_t n;

	if (c->tls)
		return tls_read(c->tls, out, len);
	do
		n = recv(c->fd, out, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t transmit(struct http_conn *c, const void *bytes, size_t len)
{
	bool closes = c->is_last && !c->needs_linger && !c->full;
	ssize_t n;

	if (c->tls)
		return tls_write(c->tls, bytes, len);
	do
		n = send(c->fd, bytes, len,
			 MSG_NOSIGNAL | (closes ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static enum conn_wants wants(const struct http_conn *c, enum conn_wants plain)
{
	if (!c->tls)
		return plain;
	return tls_wants_write(c->tls) ? CONN_WANTS_WRITE : CONN_WANTS_READ;
}

/* --- sending --- */

/* Returns bytes of BYTES that are gone, or -errno other than -EAGAIN. */
static ssize_t send_some(struct http_conn *c, const uint8_t *bytes, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = transmit(c, bytes + done, len - done);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return n ? n : -EPIPE;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Returns 0 when all is gone; -EAGAIN; another -errno. */
static int flush(struct http_conn *c)
{
	ssize_t n;

	if (c->sent == c->out.len)
		return 0;
	n = send_some(c, c->out.ptr + c->sent, c->out.len - c->sent);
	if (n < 0)
		return (int)n;
	c->sent += (size_t)n;
	if (c->sent < c->out.len)
		return -EAGAIN;
	buf_release(&c->out);
	c->sent = 0;
	return 0;
}

/* The same for what is on the desk. */
static int push(struct http_conn *c, struct http_desk *d)
{
	ssize_t n;

	if (d->out.is_broken)
		return -ENOMEM;
	n = send_some(c, d->out.ptr, d->out.len);
	if (n < 0)
		return (int)n;
	if ((size_t)n == d->out.len)
		return 0;
	buf_add(&c->out, d->out.ptr + n, d->out.len - (size_t)n);
	return c->out.is_broken ? -ENOMEM : -EAGAIN;
}

/* --- answering --- */

/* Returns bytes used; then *IS_BEGUN: the next request is not all here. */
static size_t answer_one(struct http_conn *c, struct http_desk *d,
			 const uint8_t *bytes, size_t len, bool *is_begun)
{
	struct http_head head;
	const char *why;
	unsigned status;
	int r = http_parse(bytes, len, &head, &status, &why);

	*is_begun = r == -EAGAIN;
	if (*is_begun)
		return 0;
	c->progress++;
	if (r) {
		http_site_refuse(d->site, &d->asker, status, why, &d->out);
		c->is_last = c->needs_linger = true;
		return len;
	}
	c->is_last =
		!http_site_answer(d->site, &d->asker, &head, &d->out, &c->full);
	if (c->full)
		c->full_since_ms = d->asker.now_ms;
	return head.len;
}

/* Answers what is in BYTES; the rest is kept. */
static int answer_all(struct http_conn *c, struct http_desk *d,
		      const uint8_t *bytes, size_t len)
{
	bool is_begun = false;
	size_t used = 0;

	d->asker.source = c->source;
	d->asker.is_tls = c->tls != NULL;
	while (used < len && !is_begun && !c->is_last && !c->full &&
	       d->out.len < LIMIT_WEB_PIPELINE_BYTES)
		used += answer_one(c, d, bytes + used, len - used, &is_begun);
	buf_clear(&c->in);
	c->has_unparsed = false;
	if (used == len || c->is_last) {
		c->needs_linger |= used < len;
		buf_release(&c->in);
		return 0;
	}
	buf_add(&c->in, bytes + used, len - used);
	c->has_unparsed = !is_begun;
	return c->in.is_broken ? -ENOMEM : 0;
}

/* Returns 1: answers may be on the desk, and *IS_DRY: the socket was read
 * empty. 0: the client's end. Or -errno. */
static int take(struct http_conn *c, struct http_desk *d, bool *is_dry)
{
	size_t len = c->in.len, room = sizeof(d->in) - len;
	ssize_t n = 0;
	int r;

	if (!c->has_unparsed) {
		n = receive(c, d->in + len, room);
		if (n <= 0)
			return (int)n;
		*is_dry = !c->tls && (size_t)n < room;
	}
	if (len)
		memcpy(d->in, c->in.ptr, len);
	r = answer_all(c, d, d->in, len + (size_t)n);
	return r ? r : 1;
}

static void feed(struct http_conn *c, struct http_desk *d)
{
	c->progress++;
	if (full_scrape_next(c->full, &d->out))
		return;
	full_scrape_free(c->full);
	c->full = NULL;
}

/* --- the end --- */

static enum conn_wants linger(struct http_conn *c, struct http_desk *d)
{
	ssize_t n;

	for (;;) {
		/* Below TLS: what it says does not matter any more. */
		n = recv(c->fd, d->in, sizeof(d->in), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return CONN_WANTS_READ;
		if (n <= 0)
			return CONN_WANTS_NOTHING;
		c->lingered += (size_t)n;
		if (c->lingered > LIMIT_WEB_LINGER_BYTES)
			return CONN_WANTS_NOTHING;
	}
}

static enum conn_wants finish(struct http_conn *c, struct http_desk *d)
{
	if (!c->needs_linger)
		return CONN_WANTS_NOTHING;
	if (c->tls)
		tls_say_end(c->tls);
	if (shutdown(c->fd, SHUT_WR))
		return CONN_WANTS_NOTHING;
	c->is_lingering = true;
	return linger(c, d);
}

enum conn_wants http_conn_run(struct http_conn *c, struct http_desk *d)
{
	bool is_dry = false;
	int r;

	if (c->is_lingering)
		return linger(c, d);
	r = flush(c);
	for (unsigned i = 0; !r; i++) {
		if (c->is_last && !c->full)
			return finish(c, d);
		if (is_dry && !c->has_unparsed && !c->full)
			return CONN_WANTS_READ;
		/* A session may hold bytes that no event will tell of. */
		if (i >= ROUNDS && (c->full || !c->tls))
			return c->full || c->has_unparsed ? CONN_WANTS_WRITE
							  : CONN_WANTS_READ;
		buf_clear(&d->out);
		if (c->full) {
			feed(c, d);
		} else {
			r = take(c, d, &is_dry);
			if (r == -EAGAIN)
				return wants(c, CONN_WANTS_READ);
			if (r <= 0)
				return CONN_WANTS_NOTHING;
		}
		r = push(c, d);
	}
	return r == -EAGAIN ? wants(c, CONN_WANTS_WRITE) : CONN_WANTS_NOTHING;
}
