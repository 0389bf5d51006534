/* How two trackers come to a session. Of two, the one with the smaller id says
 * hello; the other asks it to ("please").
 *
 *     A                                  B
 *     hello(key a, no cookie)       ->   no state, no signature checked
 *                                   <-   cookie: MAC of A's address, a, time
 *     hello(a, cookie, pk, sig)     ->   is A at that address a member with
 *                                        that key? then an unproven session
 *                                   <-   accept(key b, pk, sig)
 *     data                          ->   A has the secret: the session is it
 *
 * Signatures cover both keys, whom is spoken to, and the cookie, so neither can
 * be used again; the keys of the session hang on all of it. An old session
 * stays until the new one is proven: nobody ends one from outside. An id is
 * proven because it holds the hash of the public key (kt.h). */
#include "tracker/overlay/sync_private.h"

#include "engine/base/sha.h"

#define COOKIE_MS        30000 /* this slot and the one before are good */
#define HELLO_FIRST_MS   250
#define HELLO_LAST_MS    5000
#define HELLO_AGAIN_MS   1000 /* not more often, whoever asks */
#define TRANSCRIPT_BYTES 512

static void cookie_of(struct sync *s, const struct addr *from,
		      const uint8_t *key, int64_t slot,
		      uint8_t out[SYNC_COOKIE_BYTES])
{
	uint8_t text[64];
	struct wcursor w = wcursor_of(text, sizeof(text));

	wcursor_u8(&w, from->family);
	wcursor_copy(&w, from->ip, sizeof(from->ip));
	wcursor_be16(&w, from->port);
	wcursor_copy(&w, key, SYNC_KEY_BYTES);
	wcursor_be64(&w, (uint64_t)slot);
	sync_mac_of(s->cookies, text, wcursor_len(&w), out);
}

static bool is_cookie_good(struct sync *s, const struct addr *from,
			   const struct sync_packet_view *v)
{
	int64_t slot = sync_now(s) / COOKIE_MS;
	uint8_t good[SYNC_COOKIE_BYTES];

	for (int i = 0; i < 2; i++) {
		cookie_of(s, from, v->key, slot - i, good);
		if (!memcmp(good, v->cookie, sizeof(good)))
			return true;
	}
	return false;
}

/* --- what is signed, and what the keys hang on --- */

static size_t hello_text(uint8_t out[TRANSCRIPT_BYTES], const uint8_t *key,
			 const uint8_t *pk, const uint8_t *to,
			 const uint8_t *cookie)
{
	struct wcursor w = wcursor_of(out, TRANSCRIPT_BYTES);

	wcursor_copy(&w, "weirfs sync 1 hello", 19);
	wcursor_copy(&w, key, SYNC_KEY_BYTES);
	wcursor_copy(&w, pk, SYNC_KEY_BYTES);
	wcursor_copy(&w, to, KAD_ID_BYTES);
	wcursor_copy(&w, cookie, SYNC_COOKIE_BYTES);
	return wcursor_len(&w);
}

struct parties {
	const uint8_t *key_a, *key_b, *pk_a, *pk_b;
};

static size_t accept_text(uint8_t out[TRANSCRIPT_BYTES],
			  const struct parties *x)
{
	struct wcursor w = wcursor_of(out, TRANSCRIPT_BYTES);

	wcursor_copy(&w, "weirfs sync 1 accept", 20);
	wcursor_copy(&w, x->key_a, SYNC_KEY_BYTES);
	wcursor_copy(&w, x->key_b, SYNC_KEY_BYTES);
	wcursor_copy(&w, x->pk_a, SYNC_KEY_BYTES);
	wcursor_copy(&w, x->pk_b, SYNC_KEY_BYTES);
	return wcursor_len(&w);
}

static void derive(const uint8_t *shared, const struct parties *x, char what,
		   uint8_t out[SHA256_LEN])
{
	uint8_t text[TRANSCRIPT_BYTES + SYNC_KEY_BYTES + 1];
	size_t n = accept_text(text, x);

	text[n++] = (uint8_t)what;
	memcpy(text + n, shared, SYNC_KEY_BYTES);
	sha256(text, n + SYNC_KEY_BYTES, out);
}

static void open_session(struct sync_session *ss, const uint8_t *shared,
			 const struct parties *x, bool is_a)
{
	uint8_t a[SHA256_LEN], b[SHA256_LEN], id[SHA256_LEN];

	derive(shared, x, 'a', a);
	derive(shared, x, 'b', b);
	derive(shared, x, 's', id);
	sync_session_open(ss, load_be64(id), is_a ? a : b, is_a ? b : a);
}

/* --- who says hello --- */

static void say_hello(struct sync *s, struct sync_peer *p)
{
	uint8_t out[SYNC_PACKET_BYTES], text[TRANSCRIPT_BYTES];
	uint8_t key[SYNC_KEY_BYTES];
	const uint8_t *pk = sync_signer_pk(s->signer);
	size_t n;

	sync_dh_public(p->hello.secret, key);
	n = sync_put_hello(out, key, &p->id, p->hello.cookie, pk);
	sync_sign(s->signer, text,
		  hello_text(text, key, pk, p->id.b, p->hello.cookie),
		  out + n - SYNC_SIG_BYTES);
	sync_send_raw(s, &p->addr, out, n);
}

void sync_hello_start(struct sync *s, struct sync_peer *p)
{
	int64_t now = sync_now(s);

	if (p->hello.is_going)
		return;
	p->hello.is_going = true;
	p->hello.tries = 0;
	/* The time of the last attempt is still there. */
	if (p->hello.next_ms < now)
		p->hello.next_ms = now;
	memset(p->hello.cookie, 0, sizeof(p->hello.cookie));
	s->io.random(s->io.arg, p->hello.secret, sizeof(p->hello.secret));
	sync_wake(s);
}

void sync_hello_tick(struct sync *s, struct sync_peer *p)
{
	uint8_t out[SYNC_PACKET_BYTES];
	struct sync_hello_state *h = &p->hello;
	int64_t now = sync_now(s), pause = HELLO_FIRST_MS;

	if (!h->is_going || h->next_ms > now)
		return;
	if (sync_leads(s, &p->id))
		say_hello(s, p);
	else
		sync_send_raw(s, &p->addr, out, sync_put_please(out));
	pause <<= h->tries < 5 ? h->tries : 5;
	h->tries++;
	h->next_ms = now + (pause > HELLO_LAST_MS ? HELLO_LAST_MS : pause);
}

void sync_on_please(struct sync *s, const struct addr *from)
{
	const struct kt_owner *m = sync_member(s, from, NULL);
	struct sync_peer *p = sync_peer_at(s, from);

	if (!p && m && ratelimit_room(&s->hellos, sync_now(s))) {
		ratelimit_take(&s->hellos, 1);
		p = sync_peer_get(s, &m->id, &m->addr);
	}
	if (p && sync_leads(s, &p->id))
		sync_hello_start(s, p);
}

void sync_on_cookie(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v)
{
	struct sync_peer *p = sync_peer_at(s, from);
	uint8_t key[SYNC_KEY_BYTES];

	if (!p || !p->hello.is_going || !sync_leads(s, &p->id))
		return;
	sync_dh_public(p->hello.secret, key);
	if (memcmp(key, v->tag, SYNC_TAG_BYTES) ||
	    !memcmp(p->hello.cookie, v->cookie, SYNC_COOKIE_BYTES))
		return;
	memcpy(p->hello.cookie, v->cookie, SYNC_COOKIE_BYTES);
	say_hello(s, p);
}

static bool is_key_of(const struct kad_id *id, const uint8_t *pk)
{
	uint8_t h[SHA1_LEN];

	sha1(pk, SYNC_KEY_BYTES, h);
	return !memcmp(h + 4, id->b + 4, KAD_ID_BYTES - 4);
}

void sync_on_accept(struct sync *s, const struct addr *from,
		    const struct sync_packet_view *v)
{
	struct sync_peer *p = sync_peer_at(s, from);
	uint8_t key[SYNC_KEY_BYTES], shared[SYNC_KEY_BYTES];
	uint8_t text[TRANSCRIPT_BYTES];
	struct sync_session next = { 0 };
	struct parties x = { key, v->key, sync_signer_pk(s->signer), v->pk };

	if (!p || !p->hello.is_going || !sync_leads(s, &p->id))
		return;
	sync_dh_public(p->hello.secret, key);
	if (memcmp(key, v->tag, SYNC_TAG_BYTES) || !is_key_of(&p->id, v->pk) ||
	    !sync_verify(v->pk, text, accept_text(text, &x), v->sig) ||
	    !sync_dh(p->hello.secret, v->key, shared)) {
		s->stats.bad_hello++;
		return;
	}
	open_session(&next, shared, &x, true);
	p->hello.next_ms = sync_now(s) + HELLO_AGAIN_MS;
	sync_session_replace(s, p, &next);
	/* Whatever it is, it proves to them that the session is good. */
	(void)sync_queue_frame(s, p, SYNC_F_PING, NULL, 0);
	sync_pump(s, p);
}

/* --- who is greeted --- */

static void accept_hello(struct sync *s, struct sync_peer *p,
			 const struct sync_packet_view *v)
{
	uint8_t secret[SYNC_KEY_BYTES], key[SYNC_KEY_BYTES];
	uint8_t shared[SYNC_KEY_BYTES], text[TRANSCRIPT_BYTES];
	const uint8_t *pk = sync_signer_pk(s->signer);
	struct parties x = { v->key, key, v->pk, pk };

	s->io.random(s->io.arg, secret, sizeof(secret));
	sync_dh_public(secret, key);
	if (!sync_dh(secret, v->key, shared)) {
		s->stats.bad_hello++;
		return;
	}
	p->accept_len = sync_put_accept(p->accept, v->key, key, pk);
	sync_sign(s->signer, text, accept_text(text, &x),
		  p->accept + p->accept_len - SYNC_SIG_BYTES);
	memcpy(p->accept_tag, v->key, SYNC_TAG_BYTES);
	open_session(&p->unproven, shared, &x, false);
	p->accepted_ms = sync_now(s);
	sync_send_raw(s, &p->addr, p->accept, p->accept_len);
}

void sync_on_hello(struct sync *s, const struct addr *from,
		   const struct sync_packet_view *v)
{
	uint8_t out[SYNC_PACKET_BYTES], text[TRANSCRIPT_BYTES];
	uint8_t cookie[SYNC_COOKIE_BYTES];
	const struct kt_owner *m;
	struct sync_peer *p;

	struct kad_id to;

	memcpy(to.b, v->to, KAD_ID_BYTES);
	if (!sync_is_same(&to, kt_id(s->kt)))
		return;
	if (!is_cookie_good(s, from, v)) {
		cookie_of(s, from, v->key, sync_now(s) / COOKIE_MS, cookie);
		sync_send_raw(s, from, out,
			      sync_put_cookie(out, v->key, cookie));
		return;
	}
	p = sync_peer_at(s, from);
	if (p && p->accept_len && p->unproven.rx &&
	    !memcmp(p->accept_tag, v->key, SYNC_TAG_BYTES)) {
		sync_send_raw(s, from, p->accept, p->accept_len);
		return;
	}
	/* Strangers take nothing from what members may cost. */
	m = sync_member(s, from, v->pk);
	if (m && ((p && sync_now(s) - p->accepted_ms < HELLO_AGAIN_MS) ||
		  !ratelimit_room(&s->hellos, sync_now(s))))
		return;
	if (m)
		ratelimit_take(&s->hellos, 1);
	if (!m || sync_leads(s, &m->id) ||
	    !sync_verify(v->pk, text,
			 hello_text(text, v->key, v->pk, v->to, v->cookie),
			 v->sig)) {
		s->stats.bad_hello++;
		return;
	}
	p = sync_peer_get(s, &m->id, from);
	if (p)
		accept_hello(s, p, v);
}
