/* Every LOOK_MS each link is looked up. A newer item (greater seq) than the
 * last one makes a magnet, which takes its predecessor's files; the item is put
 * back into the DHT now and then, so that it lives as long as somebody follows
 * it and not just as long as its owner is there. */
#include "fs/follow.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dht/dht.h"
#include "engine/base/bencode.h"
#include "engine/base/hex.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/session_dht.h"

#define LOOK_MS       60000 /* between two look-ups of one link */
#define LOOK_EACH_MS  6000  /* the same, a link: many are looked at rarely */
#define RETRY_MS      5000  /* there was no node to ask */
#define PUT_MS        3600000
#define NOTE_PREFIX   "follow."
#define KNOWN_SIZE    28    /* of a note: seq, infohash */
#define WAIT_FIRST_MS 20000 /* who adds a link hears so soon */

struct waiter {
	struct list node;
	struct timer limit;
	struct follow *follow; /* NULL: it was refused, see r and why */
	int r;
	const char *why; /* static */
	session_add_fn *done;
	void *arg;
};

struct follow {
	struct list node;
	struct follows *follows;
	struct follow_link link;
	int64_t seq; /* -1: nothing was found yet */
	struct infohash infohash;
	int64_t torrent_id; /* 0: not in the library */
	struct list waiters;
	struct timer look;
	struct dht_op *get, *put;
	bool was_found; /* by the look-up under way */
	int64_t put_ms;
};

struct follows {
	struct session *s; /* borrowed */
	struct list all;
	struct list refused; /* struct waiter */
	unsigned num;
	bool is_stopped;
	struct session_listener listener;
};

/* ---- links ---- */

static bool parse_key(const char *text, size_t len, struct follow_link *out)
{
	return len == 2 * sizeof(out->key) &&
	       hex_decode(text, len, out->key, sizeof(out->key));
}

static bool parse_salt(const char *text, size_t len, struct follow_link *out)
{
	if (len % 2 || len / 2 > sizeof(out->salt) ||
	    !hex_decode(text, len, out->salt, len / 2))
		return false;
	out->salt_len = len / 2;
	return true;
}

static const char urn[] = "urn:btpk:";

bool follow_parse(const char *text, struct follow_link *out)
{
	bool has_key = false;

	memset(out, 0, sizeof(*out));
	text += strspn(text, " \t\r\n");
	if (!strncasecmp(text, urn, strlen(urn))) {
		text += strlen(urn);
		return parse_key(text, strcspn(text, " \t\r\n"), out);
	}
	if (strncasecmp(text, "magnet:?", 8))
		return false;
	for (text += 8; *text && !isspace((unsigned char)*text);) {
		size_t len = strcspn(text, "& \t\r\n");

		if (len > 12 && !strncasecmp(text, "xs=", 3) &&
		    !strncasecmp(text + 3, urn, strlen(urn)))
			has_key = parse_key(text + 12, len - 12, out);
		else if (len >= 2 && !strncasecmp(text, "s=", 2) &&
			 !parse_salt(text + 2, len - 2, out))
			return false;
		text += len + (text[len] == '&');
	}
	return has_key;
}

const char *follow_format(const struct follow_link *link,
			  char out[FOLLOW_LINK_MAX])
{
	char key[2 * sizeof(link->key) + 1], salt[2 * LIMIT_DHT_SALT_BYTES + 1];

	hex_encode(link->key, sizeof(link->key), key);
	hex_encode(link->salt, link->salt_len, salt);
	snprintf(out, FOLLOW_LINK_MAX, "magnet:?xs=urn:btpk:%s%s%s", key,
		 link->salt_len ? "&s=" : "", salt);
	return out;
}

static bool is_same(const struct follow_link *a, const struct follow_link *b)
{
	return !memcmp(a->key, b->key, sizeof(a->key)) &&
	       a->salt_len == b->salt_len &&
	       !memcmp(a->salt, b->salt, a->salt_len);
}

/* ---- what is remembered ---- */

static char *note_of(const struct follow *f)
{
	char link[FOLLOW_LINK_MAX];

	return mem_printf(NOTE_PREFIX "%s", follow_format(&f->link, link));
}

static void remember(struct follow *f, state_done_fn *done, void *arg)
{
	uint8_t known[KNOWN_SIZE];
	char *note = note_of(f);

	store_be64(known, (uint64_t)f->seq);
	memcpy(known + 8, f->infohash.b, sizeof(f->infohash.b));
	if (f->follows->s->state)
		state_put_note(f->follows->s->state, note, known, sizeof(known),
			       done, arg);
	free(note);
}

static void forget(struct follow *f)
{
	char *note = note_of(f);

	if (f->follows->s->state)
		state_put_note(f->follows->s->state, note, NULL, 0, NULL, NULL);
	free(note);
}

/* ---- waiting for the first look ---- */

static void waiter_end(struct waiter *w, int r, int64_t id, const char *why)
{
	timer_stop(&w->limit);
	list_remove(&w->node);
	w->done(w->arg, r, id, why);
	free(w);
}

static void tell_waiters(struct follow *f, int r, int64_t id, const char *why)
{
	list_foreach_safe(w, &f->waiters, struct waiter, node)
		waiter_end(w, r, id, why);
}

static void on_limit(struct timer *timer)
{
	struct waiter *w = container_of(timer, struct waiter, limit);

	waiter_end(w, w->r, w->follow ? w->follow->torrent_id : 0,
		   w->why ? w->why : "");
}

/* ---- one link ---- */

static void follow_free(struct follow *f)
{
	dht_op_cancel(f->get);
	dht_op_cancel(f->put);
	timer_stop(&f->look);
	list_remove(&f->node);
	f->follows->num--;
	free(f);
}

/* The torrent of the newest item, into the library. */
static void enter(struct follow *f)
{
	struct session *s = f->follows->s;
	struct torrent *before = engine_by_id(s->engine, f->torrent_id);
	struct entry *e;
	char link[FOLLOW_LINK_MAX];

	/* Its removal from here on is not the end of the following. */
	f->torrent_id = 0;
	e = session_add_hash(s, &f->infohash);
	if (!e) {
		tell_waiters(f, -E2BIG, 0, "the library is full");
		return;
	}
	f->torrent_id = e->id;
	if (before && before != e->torrent)
		torrent_adopt(e->torrent, before);
	log_info("%s is %s now", follow_format(&f->link, link), e->hash);
}

static bool infohash_of(struct span v, struct infohash *out)
{
	static const struct bencode_limits limits = { 8, 100 };
	struct bnode n;
	struct span ih;
	size_t len;

	if (bencode_parse(v.ptr, v.len, &limits, &n, &len, NULL) ||
	    len != v.len || !bnode_get_str(n, "ih", &ih) ||
	    ih.len != sizeof(out->b))
		return false;
	memcpy(out->b, ih.ptr, sizeof(out->b));
	return true;
}

static void on_put(void *arg, const struct dht_result *result)
{
	((struct follow *)arg)->put = NULL;
}

static void put_back(struct follow *f, const struct item *value)
{
	struct dht_put_item put = {
		.value = *value,
		.on_done = on_put,
		.arg = f,
	};
	int64_t now = loop_now_ms(f->follows->s->loop);

	if (f->put || (f->put_ms && now - f->put_ms < PUT_MS))
		return;
	f->put = dht_put_item(session_dht_node(f->follows->s->dht), &put);
	f->put_ms = now;
}

static void on_value(void *arg, const struct item *value)
{
	struct follow *f = arg;
	struct infohash ih;

	if (value->seq < f->seq || !infohash_of(value->v, &ih))
		return;
	f->was_found = true;
	if (value->seq > f->seq || !f->torrent_id) {
		f->seq = value->seq;
		f->infohash = ih;
		enter(f);
		remember(f, NULL, NULL);
	}
	put_back(f, value);
}

static void on_looked(void *arg, const struct dht_result *result)
{
	struct follow *f = arg;
	int64_t each = (int64_t)f->follows->num * LOOK_EACH_MS;
	int64_t wait = each > LOOK_MS ? each : LOOK_MS;

	f->get = NULL;
	if (!result->num_nodes)
		wait = RETRY_MS;
	else if (f->was_found || f->torrent_id)
		tell_waiters(f, 0, f->torrent_id, "");
	else if (list_is_empty(&f->waiters))
		wait = LOOK_MS;
	else
		wait = RETRY_MS; /* the node may be new to the network */
	timer_set_ms(&f->look, wait);
}

static void on_look(struct timer *timer)
{
	struct follow *f = container_of(timer, struct follow, look);
	struct dht *dht = session_dht_node(f->follows->s->dht);
	struct dht_get_item get = {
		.is_mutable = true,
		.salt = { f->link.salt, f->link.salt_len },
		.on_value = on_value,
		.on_done = on_looked,
		.arg = f,
	};

	if (!dht || f->get || f->follows->is_stopped)
		return;
	memcpy(get.pk, f->link.key, sizeof(get.pk));
	f->was_found = false;
	f->get = dht_get_item(dht, &get);
	if (!f->get)
		timer_set_ms(&f->look, RETRY_MS);
}

static struct follow *follow_new(struct follows *follows,
				 const struct follow_link *link)
{
	struct follow *f = mem_alloc(sizeof(*f));

	f->follows = follows;
	f->link = *link;
	f->seq = -1;
	list_init(&f->waiters);
	timer_init(&f->look, follows->s->loop, on_look);
	list_push_back(&follows->all, &f->node);
	follows->num++;
	return f;
}

/* ---- all ---- */

static void on_removed(struct session_listener *l, struct entry *e)
{
	struct follows *f = container_of(l, struct follows, listener);
	char link[FOLLOW_LINK_MAX];

	list_foreach_safe(at, &f->all, struct follow, node) {
		if (at->torrent_id != e->id)
			continue;
		log_info("%s is followed no more",
			 follow_format(&at->link, link));
		forget(at);
		tell_waiters(at, -ENOENT, 0, "it was removed");
		follow_free(at);
	}
}

static void on_note(void *arg, const char *key, const uint8_t *value,
		    size_t len)
{
	struct follows *follows = arg;
	struct follow_link link;
	struct torrent *t;
	struct follow *f;

	if (len != KNOWN_SIZE || follows->num == LIMIT_FOLLOWS ||
	    !follow_parse(key + strlen(NOTE_PREFIX), &link))
		return;
	f = follow_new(follows, &link);
	f->seq = (int64_t)load_be64(value);
	memcpy(f->infohash.b, value + 8, sizeof(f->infohash.b));
	t = f->seq < 0 ? NULL : engine_find(follows->s->engine, &f->infohash);
	f->torrent_id = t ? torrent_id(t) : 0;
	timer_set_ms(&f->look, 0);
}

struct follows *follows_open(struct session *s)
{
	struct follows *f = mem_alloc(sizeof(*f));

	f->s = s;
	list_init(&f->all);
	list_init(&f->refused);
	f->listener.on_removed = on_removed;
	session_listen(s, &f->listener);
	if (s->state)
		(void)state_load_notes(s->state, NOTE_PREFIX, on_note, f);
	return f;
}

void follows_stop(struct follows *f)
{
	if (!f || f->is_stopped)
		return;
	f->is_stopped = true;
	session_unlisten(&f->listener);
	list_foreach_safe(w, &f->refused, struct waiter, node)
		waiter_end(w, w->r, 0, w->why);
	list_foreach_safe(at, &f->all, struct follow, node) {
		tell_waiters(at, -ESHUTDOWN, 0, "shutting down");
		follow_free(at);
	}
}

void follows_close(struct follows *f)
{
	follows_stop(f);
	free(f);
}

static struct follow *find(struct follows *f, const struct follow_link *link)
{
	list_foreach(at, &f->all, struct follow, node) {
		if (is_same(&at->link, link))
			return at;
	}
	return NULL;
}

/* Why LINK cannot be followed, or 0. */
static int refuse(struct follows *f, const struct follow *at, const char **why)
{
	if (!f->s->dht) {
		*why = "a mutable torrent is found through the DHT, and that"
		       " is off (nodht)";
		return -EOPNOTSUPP;
	}
	if (!at && f->num == LIMIT_FOLLOWS) {
		*why = "too many mutable torrents are followed";
		return -E2BIG;
	}
	return 0;
}

void follows_add(struct follows *f, const struct follow_link *link,
		 session_add_fn *done, void *arg)
{
	struct waiter *w = mem_alloc(sizeof(*w));
	struct follow *at = find(f, link);

	w->done = done;
	w->arg = arg;
	timer_init(&w->limit, f->s->loop, on_limit);
	w->r = refuse(f, at, &w->why);
	if (w->r) {
		list_push_back(&f->refused, &w->node);
		timer_set_ms(&w->limit, 0);
		return;
	}
	if (!at) {
		at = follow_new(f, link);
		remember(at, NULL, NULL);
	}
	w->follow = at;
	timer_set_ms(&w->limit, WAIT_FIRST_MS);
	list_push_back(&at->waiters, &w->node);
	if (!at->get)
		timer_set_ms(&at->look, 0);
}

const struct follow_link *follows_of(struct follows *f, int64_t id,
				     int64_t *seq)
{
	list_foreach(at, &f->all, struct follow, node) {
		if (at->torrent_id == id) {
			*seq = at->seq;
			return &at->link;
		}
	}
	return NULL;
}
