/* Goal: three nodes on real sockets of one loop: they meet through a name, and
 * what one torrent's source announces the other's finds; a private torrent is
 * left alone, a stopped job stays silent, and announces come at their times. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "dht/dht_loop.h"
#include "dht/dht_source.h"
#include "engine/base/mem.h"

#define NODES 3

struct torrent {
	struct swarm_face face;
	unsigned peers, rounds;
	uint16_t port; /* of the last one */
};

struct lab {
	struct loop *loop;
	struct workers *workers;
	struct udp *udp[NODES];
	struct dht_loop *node[NODES];
	struct dht_source *source[NODES];
};

static void on_stats(struct swarm_face *face, struct peersource_stats *out)
{
	*out = (struct peersource_stats){ .left = 1, .wanted = 50 };
}

static void on_peers(struct swarm_face *face, enum peer_origin origin,
		     const struct addr *addrs, size_t n)
{
	struct torrent *t = container_of(face, struct torrent, face);

	assert_int_equal(origin, ORIGIN_DHT);
	t->peers += (unsigned)n;
	t->port = addrs[0].port;
}

static void on_round_done(struct swarm_face *face)
{
	container_of(face, struct torrent, face)->rounds++;
}

static void new_torrent(struct torrent *t, bool is_private)
{
	*t = (struct torrent){ .face = { .infohash.b = "a torrent of the lab",
					 .is_private = is_private,
					 .stats = on_stats,
					 .on_peers = on_peers,
					 .on_round_done = on_round_done } };
}

static void open_lab(struct lab *l)
{
	static const struct addr lo = { .family = 4, .ip = { 127, 0, 0, 1 } };
	char name[32] = "127.0.0.1:1";
	const char *names[] = { name };

	memset(l, 0, sizeof(*l));
	l->loop = loop_new();
	l->workers = workers_new(l->loop);
	for (unsigned i = 0; i < NODES; i++) {
		struct dht_loop_options o = { .allow_local = true,
					      .bootstrap = names,
					      .num_bootstrap = 1 };
		struct dht_source_options so = { .port = (uint16_t)(7000 + i) };

		assert_int_equal(udp_open(l->loop, &lo, NULL, 0, &l->udp[i]),
				 0);
		l->node[i] = dht_loop_new(l->loop, l->workers, l->udp[i], &o);
		l->source[i] =
			dht_source_new(l->loop, dht_loop_node(l->node[i]), &so);
		if (!i)
			(void)snprintf(name, sizeof(name), "127.0.0.1:%u",
				       udp_port(l->udp[0]));
	}
}

static void close_lab(struct lab *l)
{
	for (unsigned i = 0; i < NODES; i++) {
		dht_source_free(l->source[i]);
		dht_loop_free(l->node[i]);
		udp_close(l->udp[i]);
	}
	workers_free(l->workers);
	loop_free(l->loop);
}

/* Runs until *N reaches WANT, or for too long. */
static void run_until(struct lab *l, const unsigned *n, unsigned want)
{
	for (unsigned i = 0; i < 2000 && *n < want; i++)
		loop_run_once(l->loop, 10);
	assert_true(*n >= want);
}

static void test_loop__one_finds_the_other(void **state)
{
	struct torrent a, b, secret;
	struct peersource_job *ja, *jb;
	struct peersource *sa, *sb;
	char text[200];
	struct lab l;
	struct buf saved;

	open_lab(&l);
	sa = dht_source_face(l.source[1]);
	sb = dht_source_face(l.source[2]);
	new_torrent(&secret, true);
	assert_null(sa->ops->start(sa, &secret.face));
	new_torrent(&a, false);
	new_torrent(&b, false);
	ja = sa->ops->start(sa, &a.face);
	run_until(&l, &a.rounds, 1);
	jb = sb->ops->start(sb, &b.face);
	run_until(&l, &b.peers, 1);
	assert_int_equal(b.port, 7001);
	run_until(&l, &b.rounds, 1);
	sb->ops->describe(jb, text, sizeof(text));
	assert_non_null(strstr(text, "\"state\":\"waiting\""));
	assert_non_null(strstr(text, "\"peers\":1"));
	buf_init(&saved, 0);
	dht_save(dht_loop_node(l.node[1]), &saved);
	assert_true(saved.len > 26);
	buf_release(&saved);
	sa->ops->stop(ja, true);
	sb->ops->stop(jb, true);
	close_lab(&l);
}

static void test_loop__stop_is_silence(void **state)
{
	struct peersource_job *job;
	struct peersource *s;
	struct torrent a;
	struct lab l;

	open_lab(&l);
	s = dht_source_face(l.source[1]);
	new_torrent(&a, false);
	job = s->ops->start(s, &a.face);
	for (unsigned i = 0; i < 3; i++)
		loop_run_once(l.loop, 1);
	s->ops->more(job);
	s->ops->stop(job, true);
	memset(&a, 0x55, sizeof(a));
	for (unsigned i = 0; i < 20; i++)
		loop_run_once(l.loop, 5);
	close_lab(&l);
}

static void test_loop__a_hint_is_enough(void **state)
{
	struct dht_stats stats = { 0 };
	struct peersource *s;
	struct addr there = { .family = 4, .ip = { 127, 0, 0, 1 } };
	struct dht_loop_options o = { .allow_local = true,
				      .bootstrap = (const char *const[]){ "" },
				      .num_bootstrap = 0 };
	struct dht_source_options so = { .port = 7009 };
	struct dht_source *source;
	struct dht_loop *node;
	struct udp *udp;
	struct lab l;

	/* Goal: who knows nobody gets in by what a peer said (BEP 5). */
	open_lab(&l);
	there.port = udp_port(l.udp[0]);
	assert_int_equal(udp_open(l.loop, &there, NULL, 0, &udp), 0);
	node = dht_loop_new(l.loop, l.workers, udp, &o);
	source = dht_source_new(l.loop, dht_loop_node(node), &so);
	s = dht_source_face(source);
	for (unsigned i = 0; i < 10; i++)
		loop_run_once(l.loop, 5);
	dht_stats(dht_loop_node(node), &stats);
	assert_int_equal(stats.good[0], 0);
	s->ops->hint_node(s, &there);
	for (unsigned i = 0; i < 2000 && !stats.good[0]; i++) {
		loop_run_once(l.loop, 10);
		dht_stats(dht_loop_node(node), &stats);
	}
	assert_true(stats.good[0] > 0);
	dht_source_free(source);
	dht_loop_free(node);
	udp_close(udp);
	close_lab(&l);
}

/* A node with nobody to begin with, and a torrent that names one. */
static void get_in_by(struct lab *l, const char *name, bool allow_local,
		      unsigned want)
{
	struct dht_loop_options o = { .allow_local = allow_local,
				      .bootstrap = (const char *const[]){ "" },
				      .num_bootstrap = 0 };
	struct dht_source_options so = { .port = 7009, .workers = l->workers };
	struct addr lo = { .family = 4, .ip = { 127, 0, 0, 1 } };
	struct dht_stats stats = { 0 };
	struct peersource_job *job;
	struct dht_source *source;
	struct peersource *s;
	struct dht_loop *node;
	char text[64];
	const char *texts[] = { "nothing", text };
	struct torrent t;
	struct udp *udp;

	assert_int_equal(udp_open(l->loop, &lo, NULL, 0, &udp), 0);
	node = dht_loop_new(l->loop, l->workers, udp, &o);
	source = dht_source_new(l->loop, dht_loop_node(node), &so);
	s = dht_source_face(source);
	new_torrent(&t, false);
	(void)snprintf(text, sizeof(text), "%s:%u", name, udp_port(l->udp[0]));
	t.face.nodes = texts;
	t.face.num_nodes = ARRAY_LEN(texts);
	job = s->ops->start(s, &t.face);
	for (unsigned i = 0; i < (want ? 2000 : 50) && !stats.good[0]; i++) {
		loop_run_once(l->loop, 10);
		dht_stats(dht_loop_node(node), &stats);
	}
	assert_int_equal(stats.good[0] > 0, want);
	s->ops->stop(job, true);
	dht_source_free(source);
	dht_loop_free(node);
	udp_close(udp);
}

static void test_loop__nodes_of_a_torrent(void **state)
{
	struct lab l;

	/* Goal: who knows nobody gets in by the nodes that a torrent names, by
	 * number or by name; but not to hosts of its own net, unless it is on
	 * one that has no others. */
	open_lab(&l);
	get_in_by(&l, "127.0.0.1", true, 1);
	get_in_by(&l, "localhost", true, 1);
	get_in_by(&l, "127.0.0.1", false, 0);
	get_in_by(&l, "localhost", false, 0);
	close_lab(&l);
}

static void test_schedule__again_and_sooner(void **state)
{
	struct dht_schedule s;

	dht_schedule_init(&s, 1000);
	assert_true(dht_schedule_begin(&s, 1000));
	assert_false(dht_schedule_begin(&s, 1000));
	dht_schedule_end(&s, 2000, UINT32_MAX, true);
	assert_in_range(s.next_ms, 2000 + 15 * 60000, 2000 + 30 * 60000);
	dht_schedule_more(&s, 3000);
	assert_int_equal(s.next_ms, 1000 + 5 * 60000);
	assert_true(dht_schedule_begin(&s, s.next_ms));
	dht_schedule_end(&s, 400000, 0, false);
	assert_int_equal(s.next_ms, 400000 + 60000);
	for (unsigned i = 0; i < 20; i++) {
		assert_true(dht_schedule_begin(&s, s.next_ms));
		dht_schedule_end(&s, 400000, 0, false);
	}
	assert_int_equal(s.next_ms, 400000 + 15 * 60000);
	assert_true(dht_schedule_begin(&s, s.next_ms));
	dht_schedule_nobody(&s, 5000000);
	assert_int_equal(s.next_ms, 5005000);
	assert_int_equal(s.nobody, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loop__one_finds_the_other),
		cmocka_unit_test(test_loop__stop_is_silence),
		cmocka_unit_test(test_loop__a_hint_is_enough),
		cmocka_unit_test(test_loop__nodes_of_a_torrent),
		cmocka_unit_test(test_schedule__again_and_sooner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
