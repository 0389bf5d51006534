#include "fs/session_dht.h"

#include <stdlib.h>
#include <string.h>

#include "dht/dht_loop.h"
#include "dht/dht_source.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#define NOTE          "dht.nodes"
#define SAVE_EVERY_MS 300000
#define SAVE_FIRST_MS 60000 /* soon, for those who start and stop a lot */

struct session_dht {
	struct session *s; /* borrowed */
	struct dht_loop *loop;
	struct dht_source *source;
	struct timer save;
};

/* ---- the table, as a note ---- */

static void on_note(void *arg, const char *key, const uint8_t *value,
		    size_t len)
{
	if (!strcmp(key, NOTE) && dht_load(arg, value, len) < 0)
		log_warn("dht: the saved nodes cannot be read");
}

void session_dht_load(struct state *state, struct dht *dht)
{
	if (state)
		(void)state_load_notes(state, NOTE, on_note, dht);
}

void session_dht_save(struct state *state, struct dht *dht)
{
	struct buf b;

	if (!state)
		return;
	buf_init(&b, LIMIT_NOTE_BYTES);
	dht_save(dht, &b);
	if (!b.is_broken)
		state_put_note(state, NOTE, b.ptr, b.len, NULL, NULL);
	buf_release(&b);
}

static void on_save(struct timer *timer)
{
	struct session_dht *d = container_of(timer, struct session_dht, save);

	session_dht_save(d->s->state, session_dht_node(d));
	timer_set_ms(timer, SAVE_EVERY_MS);
}

/* ---- private swarms ---- */

static bool is_none(const char *text)
{
	return !strcmp(text, "none");
}

bool session_names_local(const struct opts *o, const struct opts_list *names)
{
	char host[256];
	uint16_t port;
	struct addr a;

	if (addr_is_loopback(&o->bind4) || addr_is_loopback(&o->bind6))
		return true;
	for (size_t i = 0; i < names->num; i++) {
		if (addr_split(names->items[i], host, sizeof(host), &port) < 0)
			continue;
		if (!strcmp(host, "localhost") ||
		    (!addr_parse(host, 0, &a) && addr_is_local(&a)))
			return true;
	}
	return false;
}

/* On a network of its own a DHT has nothing but local addresses, which are
 * not believed otherwise: whoever names such a node, or binds loopback, is on
 * one, and so is who has "none" to begin with. */
static bool is_local_swarm(const struct opts *o)
{
	for (size_t i = 0; i < o->bootstrap.num; i++) {
		if (is_none(o->bootstrap.items[i]))
			return true;
	}
	return session_names_local(o, &o->bootstrap);
}

void session_dht_options(const struct opts *o, struct dht_loop_options *out)
{
	*out = (struct dht_loop_options){
		.allow_local = is_local_swarm(o),
		.bootstrap = o->bootstrap.num
				     ? (const char *const *)o->bootstrap.items
				     : NULL,
		.num_bootstrap = o->bootstrap.num,
	};
	/* The first node of a private swarm has nobody to begin with. */
	if (o->bootstrap.num == 1 && is_none(o->bootstrap.items[0]))
		out->num_bootstrap = 0;
}

/* ---- life ---- */

struct session_dht *session_dht_open(struct session *s)
{
	struct dht_source_options source = { .port = engine_port(s->engine),
					     .workers = s->workers };
	struct dht_loop_options options;
	struct session_dht *d;

	if (s->opts->no_dht || !s->udp)
		return NULL;
	d = mem_alloc(sizeof(*d));
	d->s = s;
	session_dht_options(s->opts, &options);
	d->loop = dht_loop_new(s->loop, s->workers, s->udp, &options);
	session_dht_load(s->state, dht_loop_node(d->loop));
	/* Behind a router that maps UDP and TCP alike, the port that others
	 * see is the better one; ours is as good where none is. */
	source.implied_port = udp_port(s->udp) == source.port;
	d->source = dht_source_new(s->loop, dht_loop_node(d->loop), &source);
	engine_add_source(s->engine, dht_source_face(d->source));
	engine_set_dht_port(s->engine, udp_port(s->udp));
	timer_init(&d->save, s->loop, on_save);
	timer_set_ms(&d->save, SAVE_FIRST_MS);
	return d;
}

void session_dht_stop(struct session_dht *d)
{
	if (!d)
		return;
	timer_stop(&d->save);
	session_dht_save(d->s->state, session_dht_node(d));
}

void session_dht_close(struct session_dht *d)
{
	if (!d)
		return;
	timer_stop(&d->save);
	dht_source_free(d->source);
	dht_loop_free(d->loop);
	free(d);
}

struct dht *session_dht_node(struct session_dht *d)
{
	return d ? dht_loop_node(d->loop) : NULL;
}
